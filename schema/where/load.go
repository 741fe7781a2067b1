package where

import (
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema/fault"
)

// columnScalar is a column or field that is not boolean.
type columnScalar struct{ *column }

func (c columnScalar) class() class { return c.cls }

func (c columnScalar) values(b *batch) (vec, error) { return b.load(c.column) }

// columnPredicate is a boolean column or field.
type columnPredicate struct{ *column }

func (c columnPredicate) truths(b *batch) ([]Truth, error) {
	v, err := b.load(c.column)
	if err != nil {
		return nil, err
	}
	out := make([]Truth, b.n)
	for i := range out {
		out[i] = Truth(v.ints[i])
		if v.null != nil && v.null[i] {
			out[i] = Unknown
		}
	}
	return out, nil
}

// load reads a column of the record, once for each batch.
func (b *batch) load(c *column) (vec, error) {
	if b.known[c.index] {
		return b.cache[c.index], nil
	}
	arr, null, err := b.find(c)
	if err != nil {
		return vec{}, err
	}
	v, err := c.read(arr)
	if err != nil {
		return vec{}, err
	}
	v.null = addNulls(null, arr)
	b.cache[c.index], b.known[c.index] = v, true
	return v, nil
}

// find walks from the record to the array of the column; null marks the rows
// where a struct above it is null, nil if none is.
func (b *batch) find(c *column) (arr arrow.Array, null []bool, err error) {
	at := b.rec.Schema().FieldIndices(c.path[0])
	if len(at) != 1 {
		return nil, nil, fault.New(fault.Internal, "evaluate predicate", "the record has %d columns of the name", len(at)).WithField(c.path[0])
	}
	arr = b.rec.Column(at[0])
	for i, name := range c.path[1:] {
		s, ok := arr.(*array.Struct)
		if !ok {
			return nil, nil, c.wrongType(arr, strings.Join(c.path[:i+1], "."))
		}
		null = addNulls(null, arr)
		k, ok := s.DataType().(*arrow.StructType).FieldIdx(name)
		if !ok {
			return nil, nil, fault.New(fault.Internal, "evaluate predicate", "the record's struct has no such field").WithField(c.name)
		}
		arr = s.Field(k)
	}
	return arr, null, nil
}

func (c *column) wrongType(arr arrow.Array, name string) error {
	return fault.New(fault.Internal, "evaluate predicate", "the record has a %s where the schema has a %s", arr.DataType(), c.of.Kind).WithField(name)
}

// addNulls marks arr's nulls in null, which may be nil; nil if there are none.
func addNulls(null []bool, arr arrow.Array) []bool {
	if arr.NullN() == 0 && arr.DataType().ID() != arrow.NULL {
		return null
	}
	if null == nil {
		null = make([]bool, arr.Len())
	}
	bits, offset := arr.NullBitmapBytes(), arr.Data().Offset()
	if len(bits) == 0 { // an array of type null, or one that has nulls some other way
		for i := range null {
			null[i] = null[i] || arr.IsNull(i)
		}
		return null
	}
	for i := range null {
		k := uint(offset + i)
		null[i] = null[i] || bits[k/8]>>(k%8)&1 == 0
	}
	return null
}

// read turns an array of the column's kind into a vec, without its nulls.
func (c *column) read(arr arrow.Array) (vec, error) {
	var v vec
	if arr.DataType().ID() == arrow.NULL {
		v.ints, v.floats, v.strs = make([]int64, arr.Len()), make([]float64, arr.Len()), make([]string, arr.Len())
		return v, nil
	}
	ok := true
	switch c.cls {
	case classInt:
		v.ints, ok = readInts(arr)
	case classTime:
		v.ints, ok = readTimes(arr)
	case classBool:
		v.ints, ok = readBools(arr)
	case classFloat:
		v.floats, ok = readFloats(arr)
	case classString:
		v.strs, ok = readStrings(arr)
	}
	if !ok {
		return v, c.wrongType(arr, c.name)
	}
	return v, nil
}

func readInts(arr arrow.Array) ([]int64, bool) {
	switch a := arr.(type) {
	case *array.Int64:
		return a.Int64Values(), true
	case *array.Int32:
		return widen[int64](a.Int32Values()), true
	case *array.Int16:
		return widen[int64](a.Int16Values()), true
	case *array.Int8:
		return widen[int64](a.Int8Values()), true
	}
	return nil, false
}

func readFloats(arr arrow.Array) ([]float64, bool) {
	switch a := arr.(type) {
	case *array.Float64:
		return a.Float64Values(), true
	case *array.Float32:
		return widen[float64](a.Float32Values()), true
	}
	return nil, false
}

func widen[W, N int8 | int16 | int32 | int64 | float32 | float64](in []N) []W {
	out := make([]W, len(in))
	for i, x := range in {
		out[i] = W(x)
	}
	return out
}

func readBools(arr arrow.Array) ([]int64, bool) {
	a, ok := arr.(*array.Boolean)
	if !ok {
		return nil, false
	}
	out := make([]int64, a.Len())
	for i := range out {
		if a.Value(i) {
			out[i] = 1
		}
	}
	return out, true
}

// readTimes gives microseconds.
func readTimes(arr arrow.Array) ([]int64, bool) {
	a, ok := arr.(*array.Timestamp)
	if !ok || a.DataType().(*arrow.TimestampType).Unit != arrow.Microsecond {
		return nil, false
	}
	out := make([]int64, a.Len())
	for i, t := range a.TimestampValues() {
		out[i] = int64(t)
	}
	return out, true
}

// readStrings refers to the array's memory.
func readStrings(arr arrow.Array) ([]string, bool) {
	out := make([]string, arr.Len())
	switch a := arr.(type) {
	case array.StringLike:
		for i := range out {
			out[i] = a.Value(i)
		}
		return out, true
	case *array.Dictionary:
		dict, ok := readStrings(a.Dictionary())
		if _, nested := a.Dictionary().(*array.Dictionary); !ok || nested {
			return nil, false
		}
		for i := range out {
			if !a.IsNull(i) {
				out[i] = dict[a.GetValueIndex(i)]
			}
		}
		return out, true
	}
	return nil, false
}

// mapScalar is column['key'].
type mapScalar struct {
	*column
	key string
}

func (m mapScalar) class() class { return classString }

func (m mapScalar) values(b *batch) (vec, error) {
	arr, null, err := b.find(m.column)
	if err != nil {
		return vec{}, err
	}
	out := vec{null: make([]bool, b.n), strs: make([]string, b.n)}
	null = addNulls(null, arr)
	if arr.DataType().ID() == arrow.NULL {
		copy(out.null, null)
		return out, nil
	}
	a, ok := arr.(*array.Map)
	if !ok {
		return vec{}, m.wrongType(arr, m.name)
	}
	keys, okKeys := a.Keys().(array.StringLike)
	items, okItems := a.Items().(array.StringLike)
	if !okKeys || !okItems {
		return vec{}, m.wrongType(arr, m.name)
	}
	for i := range b.n {
		out.null[i] = true
		if null != nil && null[i] {
			continue
		}
		for k, end := a.ValueOffsets(i); k < end; k++ {
			if keys.Value(int(k)) == m.key {
				out.null[i] = items.IsNull(int(k))
				out.strs[i] = items.Value(int(k))
				break
			}
		}
	}
	return out, nil
}

// list gives the column's array as a list; nil if all its rows are null.
func (b *batch) list(c *column) (array.ListLike, []bool, error) {
	arr, null, err := b.find(c)
	if err != nil {
		return nil, nil, err
	}
	null = addNulls(null, arr)
	if arr.DataType().ID() == arrow.NULL {
		return nil, null, nil
	}
	a, ok := arr.(array.ListLike)
	if !ok {
		return nil, nil, c.wrongType(arr, c.name)
	}
	return a, null, nil
}

// lenScalar is len(list); null for a null list.
type lenScalar struct{ *column }

func (l lenScalar) class() class { return classInt }

func (l lenScalar) values(b *batch) (vec, error) {
	a, null, err := b.list(l.column)
	out := vec{null: null, ints: make([]int64, b.n)}
	if err != nil || a == nil {
		return out, err
	}
	for i := range out.ints {
		start, end := a.ValueOffsets(i)
		out.ints[i] = end - start
	}
	return out, nil
}

// containsPredicate is list_contains(list, x): unknown if the list or x is null.
// Null elements match nothing.
type containsPredicate struct {
	list *column
	elem class
	x    scalar
}

func (p containsPredicate) truths(b *batch) ([]Truth, error) {
	x, err := p.x.values(b)
	if err != nil {
		return nil, err
	}
	a, null, err := b.list(p.list)
	if err != nil {
		return nil, err
	}
	out := make([]Truth, b.n)
	if a == nil || b.n == 0 {
		return fillTruth(out, Unknown), nil
	}
	first, _ := a.ValueOffsets(0)
	_, last := a.ValueOffsets(b.n - 1)
	child := array.NewSlice(a.ListValues(), first, last)
	defer child.Release()
	elem := column{of: p.list.of.Elem, name: p.list.name, cls: p.elem}
	values, err := elem.read(child)
	if err != nil {
		return nil, err
	}
	values.null = addNulls(nil, child)
	eq := compareTables["="]
	var hit [1]Truth
	for i := range out {
		start, end := a.ValueOffsets(i)
		if null != nil && null[i] || x.isNull(i) {
			out[i] = Unknown
			continue
		}
		one := x.slice(i)
		for k := int(start - first); k < int(end-first) && out[i] == False; k++ {
			if values.null != nil && values.null[k] {
				continue
			}
			item := values.slice(k)
			compareVecs(hit[:], eq, &item, p.elem, &one, p.x.class())
			out[i] = hit[0]
		}
	}
	return out, nil
}

// slice is row i alone.
func (v *vec) slice(i int) vec {
	k := v.at(i)
	one := vec{same: true}
	if v.ints != nil {
		one.ints = v.ints[k : k+1]
	}
	if v.floats != nil {
		one.floats = v.floats[k : k+1]
	}
	if v.strs != nil {
		one.strs = v.strs[k : k+1]
	}
	return one
}

func fillTruth(out []Truth, t Truth) []Truth {
	for i := range out {
		out[i] = t
	}
	return out
}
