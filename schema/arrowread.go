package schema

import (
	"reflect"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema/fault"
)

// RowReader reads rows of type T out of Arrow records of one schema. Columns are
// matched by name at every depth: those that the schema lacks are null, those
// that T lacks are passed over, so that records of an older and of a newer schema
// are both read as far as they are known. Widths may differ (LargeString, large
// and fixed-size lists, dictionaries, other integers and floats whose values
// fit, timestamps of any unit). It is safe for concurrent use.
type RowReader[T Row] struct {
	top []arrowNode
}

// arrowNode pairs a column with its place among the fields of the Arrow schema.
type arrowNode struct {
	col    *Column
	index  int // of the field; -1 = absent
	fields []arrowNode
	elem   *arrowNode
}

// NewRowReader prepares for records of schema s. A column of a type that cannot
// hold it is an error of kind Unsupported that names it.
func NewRowReader[T Row](s *arrow.Schema) (*RowReader[T], error) {
	cols := tableFor(reflect.TypeFor[T]()).Columns
	top, err := arrowNodes("", cols, s.Fields())
	if err != nil {
		return nil, err
	}
	return &RowReader[T]{top}, nil
}

func tableFor(t reflect.Type) *Table {
	for _, table := range Tables() {
		if table.Type == t {
			return table
		}
	}
	return nil
}

// RowFromArrow reads row i of a record; see RowReader, which is faster for many.
func RowFromArrow[T Row](rec arrow.Record, i int) (*T, error) {
	r, err := NewRowReader[T](rec.Schema())
	if err != nil {
		return nil, err
	}
	return r.Row(rec, i)
}

// Row reads row i of a record. The row holds no reference to the record's memory.
// A value that does not fit its column, or null in a list, is an error of kind
// Invalid that names the field.
func (r *RowReader[T]) Row(rec arrow.Record, i int) (*T, error) {
	row := new(T)
	v := reflect.ValueOf(row).Elem()
	for _, n := range r.top {
		if n.index < 0 {
			continue
		}
		if err := n.read(v.Field(n.col.Field), rec.Column(n.index), i); err != nil {
			return nil, err
		}
	}
	return row, nil
}

func arrowNodes(path string, cols []*Column, fields []arrow.Field) ([]arrowNode, error) {
	out := make([]arrowNode, len(cols))
	for i, c := range cols {
		out[i] = arrowNode{col: c, index: -1}
		for k, f := range fields {
			if f.Name != c.Name {
				continue
			}
			n, err := arrowNodeOf(path+c.Name, c, f.Type)
			if err != nil {
				return nil, err
			}
			n.index = k
			out[i] = n
		}
	}
	return out, nil
}

func arrowNodeOf(path string, c *Column, t arrow.DataType) (n arrowNode, err error) {
	n.col = c
	if d, ok := t.(*arrow.DictionaryType); ok {
		t = d.ValueType
	}
	id := t.ID()
	if id == arrow.NULL {
		return n, nil
	}
	ok := false
	switch c.Kind {
	case String:
		ok = id == arrow.STRING || id == arrow.LARGE_STRING || id == arrow.STRING_VIEW
	case Binary:
		ok = id == arrow.BINARY || id == arrow.LARGE_BINARY || id == arrow.FIXED_SIZE_BINARY || id == arrow.BINARY_VIEW
	case Byte, Int, Long:
		ok = arrow.IsInteger(id)
	case Float, Double:
		ok = id == arrow.FLOAT32 || id == arrow.FLOAT64
	case Boolean:
		ok = id == arrow.BOOL
	case Timestamp:
		ok = id == arrow.TIMESTAMP
	case Struct:
		if st, is := t.(*arrow.StructType); is {
			ok = true
			n.fields, err = arrowNodes(path+".", c.Fields, st.Fields())
		}
	case List:
		if l, is := t.(arrow.ListLikeType); is && id != arrow.MAP {
			ok = true
			var elem arrowNode
			elem, err = arrowNodeOf(path, c.Elem, l.Elem())
			n.elem = &elem
		}
	case Map:
		if m, is := t.(*arrow.MapType); is {
			ok = isText(m.KeyType()) && isText(m.ItemType())
		}
	}
	if !ok {
		return n, fault.New(fault.Unsupported, "read Arrow schema", "type %s does not hold a column of type %s", t, c.Kind).WithField(path)
	}
	return n, err
}

func isText(t arrow.DataType) bool {
	return t.ID() == arrow.STRING || t.ID() == arrow.LARGE_STRING || t.ID() == arrow.STRING_VIEW
}

// read sets f to value i of arr.
func (n *arrowNode) read(f reflect.Value, arr arrow.Array, i int) error {
	if arr.IsNull(i) || arr.DataType().ID() == arrow.NULL {
		return nil
	}
	if d, ok := arr.(*array.Dictionary); ok {
		return n.read(f, d.Dictionary(), d.GetValueIndex(i))
	}
	switch n.col.Kind {
	case Struct:
		return n.readStruct(f, arr.(*array.Struct), i)
	case List:
		return n.readList(f, arr.(array.ListLike), i)
	case Map:
		return n.readMap(f, arr.(*array.Map), i)
	case Binary:
		f.SetBytes(bytesAt(arr, i))
		return nil
	}
	if f.Kind() == reflect.Pointer {
		f.Set(reflect.New(f.Type().Elem()))
		f = f.Elem()
	}
	switch n.col.Kind {
	case String:
		f.SetString(textAt(arr, i))
	case Boolean:
		f.SetBool(arr.(*array.Boolean).Value(i))
	case Timestamp:
		ts := arr.(*array.Timestamp)
		f.SetInt(microseconds(int64(ts.Value(i)), ts.DataType().(*arrow.TimestampType).Unit))
	case Float, Double:
		x, ok := floatAt(arr, i)
		if !ok || n.col.Kind == Float && float32Overflows(x) && x-x == 0 {
			return n.invalid("%v does not fit", x)
		}
		f.SetFloat(x)
	default:
		x, ok := intAt(arr, i)
		if !ok || f.OverflowInt(x) {
			return n.invalid("%d does not fit", x)
		}
		f.SetInt(x)
	}
	return nil
}

func (n *arrowNode) invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, "read Arrow row", format, args...).WithField(n.col.Name)
}

func (n *arrowNode) readStruct(f reflect.Value, arr *array.Struct, i int) error {
	s := f
	if f.Kind() == reflect.Pointer {
		s = reflect.New(f.Type().Elem()).Elem()
	}
	for _, child := range n.fields {
		if child.index < 0 {
			continue
		}
		if err := child.read(s.Field(child.col.Field), arr.Field(child.index), i); err != nil {
			return err
		}
	}
	if f.Kind() == reflect.Pointer && !allNull(n.col.plan, s) {
		f.Set(s.Addr())
	}
	return nil
}

func (n *arrowNode) readList(f reflect.Value, arr array.ListLike, i int) error {
	start, end := arr.ValueOffsets(i)
	values := arr.ListValues()
	count := int(end - start)
	if count == 0 {
		return nil
	}
	if values.NullN() > 0 {
		for k := start; k < end; k++ {
			if values.IsNull(int(k)) {
				return n.invalid("null in a list")
			}
		}
	}
	switch v := values.(type) {
	case *array.Int32:
		if f.Type() == reflect.TypeFor[[]int32]() {
			f.Set(reflect.ValueOf(append([]int32(nil), v.Int32Values()[start:end]...)))
			return nil
		}
	case *array.Int64:
		if f.Type() == reflect.TypeFor[[]int64]() {
			f.Set(reflect.ValueOf(append([]int64(nil), v.Int64Values()[start:end]...)))
			return nil
		}
	case *array.Int8:
		if f.Type() == reflect.TypeFor[[]int8]() {
			f.Set(reflect.ValueOf(append([]int8(nil), v.Int8Values()[start:end]...)))
			return nil
		}
	case *array.Float32:
		if f.Type() == reflect.TypeFor[[]float32]() {
			f.Set(reflect.ValueOf(append([]float32(nil), v.Float32Values()[start:end]...)))
			return nil
		}
	}
	list := reflect.MakeSlice(f.Type(), count, count)
	for k := range count {
		if err := n.elem.read(list.Index(k), values, int(start)+k); err != nil {
			return err
		}
	}
	f.Set(list)
	return nil
}

func (n *arrowNode) readMap(f reflect.Value, arr *array.Map, i int) error {
	start, end := arr.ValueOffsets(i)
	if start == end {
		return nil
	}
	m := make(map[string]string, end-start)
	for k := int(start); k < int(end); k++ {
		if !arr.Items().IsNull(k) {
			m[textAt(arr.Keys(), k)] = textAt(arr.Items(), k)
		}
	}
	f.Set(reflect.ValueOf(m))
	return nil
}

func textAt(arr arrow.Array, i int) string {
	switch a := arr.(type) {
	case *array.String:
		return strings.Clone(a.Value(i))
	case *array.LargeString:
		return strings.Clone(a.Value(i))
	case *array.StringView:
		return strings.Clone(a.Value(i))
	}
	return ""
}

func bytesAt(arr arrow.Array, i int) []byte {
	var b []byte
	switch a := arr.(type) {
	case *array.Binary:
		b = a.Value(i)
	case *array.LargeBinary:
		b = a.Value(i)
	case *array.FixedSizeBinary:
		b = a.Value(i)
	case *array.BinaryView:
		b = a.Value(i)
	}
	return append([]byte{}, b...)
}

func floatAt(arr arrow.Array, i int) (float64, bool) {
	switch a := arr.(type) {
	case *array.Float64:
		return a.Value(i), true
	case *array.Float32:
		return float64(a.Value(i)), true
	}
	return 0, false
}

func intAt(arr arrow.Array, i int) (int64, bool) {
	switch a := arr.(type) {
	case *array.Int8:
		return int64(a.Value(i)), true
	case *array.Int16:
		return int64(a.Value(i)), true
	case *array.Int32:
		return int64(a.Value(i)), true
	case *array.Int64:
		return a.Value(i), true
	case *array.Uint8:
		return int64(a.Value(i)), true
	case *array.Uint16:
		return int64(a.Value(i)), true
	case *array.Uint32:
		return int64(a.Value(i)), true
	case *array.Uint64:
		return int64(a.Value(i)), a.Value(i) < 1<<63
	}
	return 0, false
}

// microseconds converts to microseconds, rounding down.
func microseconds(n int64, unit arrow.TimeUnit) int64 {
	switch unit {
	case arrow.Second:
		return n * 1_000_000
	case arrow.Millisecond:
		return n * 1_000
	case arrow.Nanosecond:
		return (n - ((n%1000 + 1000) % 1000)) / 1000
	}
	return n
}
