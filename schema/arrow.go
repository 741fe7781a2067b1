package schema

import (
	"reflect"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/schema/fault"
)

// maxRecordBytes bounds the values of one record: the 32-bit offsets of Arrow's
// List, String and Binary overflow above it, which v17 does not report.
const maxRecordBytes = 1<<31 - 1<<20

// ArrowType is the Arrow type of a column: 32-bit offsets, microseconds in UTC,
// everything nullable, lists of "element".
func ArrowType(c *Column) arrow.DataType {
	switch c.Kind {
	case Byte:
		return arrow.PrimitiveTypes.Int8
	case Int:
		return arrow.PrimitiveTypes.Int32
	case Long:
		return arrow.PrimitiveTypes.Int64
	case Float:
		return arrow.PrimitiveTypes.Float32
	case Double:
		return arrow.PrimitiveTypes.Float64
	case Boolean:
		return arrow.FixedWidthTypes.Boolean
	case Timestamp:
		return arrow.FixedWidthTypes.Timestamp_us
	case Binary:
		return arrow.BinaryTypes.Binary
	case Struct:
		fields := make([]arrow.Field, len(c.Fields))
		for i, f := range c.Fields {
			fields[i] = ArrowField(f)
		}
		return arrow.StructOf(fields...)
	case List:
		return arrow.ListOfField(ArrowField(c.Elem))
	case Map:
		return arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String)
	}
	return arrow.BinaryTypes.String
}

// ArrowField is a column as an Arrow field.
func ArrowField(c *Column) arrow.Field {
	return arrow.Field{Name: c.Name, Type: ArrowType(c), Nullable: true}
}

// ArrowSchema is the Arrow schema of columns, in their order.
func ArrowSchema(cols []*Column) *arrow.Schema {
	fields := make([]arrow.Field, len(cols))
	for i, c := range cols {
		fields[i] = ArrowField(c)
	}
	return arrow.NewSchema(fields, nil)
}

// Row is one of the row types of the four tables.
type Row interface {
	Trajectory | Annotation | Tensor | LedgerEntry
}

// BuildRecord makes one record of the columns cols of rows; cols must be of the
// rows' own table. Empty lists and all-null structs become null. Rows that do
// not fit into 32-bit offsets are an error of kind Exhausted. The caller
// releases the record.
func BuildRecord[T Row](mem memory.Allocator, cols []*Column, rows []*T) (arrow.Record, error) {
	var size int64
	for _, row := range rows {
		v := reflect.ValueOf(row).Elem()
		for _, c := range cols {
			size += sizeOf(v.Field(c.Field))
		}
		if size > maxRecordBytes {
			return nil, fault.New(fault.Exhausted, "build Arrow record", "%d rows hold more than 2 GiB", len(rows)).
				WithHint("ask for fewer rows or columns at once")
		}
	}
	b := array.NewRecordBuilder(mem, ArrowSchema(cols))
	defer b.Release()
	b.Reserve(len(rows))
	for _, row := range rows {
		v := reflect.ValueOf(row).Elem()
		for i, c := range cols {
			appendArrow(b.Field(i), c, v.Field(c.Field))
		}
	}
	return b.NewRecord(), nil
}

// appendArrow appends one value of column c to its builder.
func appendArrow(b array.Builder, c *Column, f reflect.Value) {
	if !c.Required && isNull(c, f) {
		b.AppendNull()
		return
	}
	if f.Kind() == reflect.Pointer {
		f = f.Elem()
	}
	switch b := b.(type) {
	case *array.StringBuilder:
		b.Append(f.String())
	case *array.Int8Builder:
		b.Append(int8(f.Int()))
	case *array.Int32Builder:
		b.Append(int32(f.Int()))
	case *array.Int64Builder:
		b.Append(f.Int())
	case *array.Float32Builder:
		b.Append(float32(f.Float()))
	case *array.Float64Builder:
		b.Append(f.Float())
	case *array.BooleanBuilder:
		b.Append(f.Bool())
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(f.Int()))
	case *array.BinaryBuilder:
		b.Append(f.Bytes())
	case *array.StructBuilder:
		b.Append(true)
		for i, field := range c.Fields {
			appendArrow(b.FieldBuilder(i), field, f.Field(field.Field))
		}
	case *array.MapBuilder:
		b.Append(true)
		keys, items := b.KeyBuilder().(*array.StringBuilder), b.ItemBuilder().(*array.StringBuilder)
		for _, k := range sortedKeys(f.Interface().(map[string]string)) {
			keys.Append(k)
			items.Append(f.Interface().(map[string]string)[k])
		}
	case *array.ListBuilder:
		b.Append(true)
		appendList(b.ValueBuilder(), c.Elem, f)
	}
}

func appendList(b array.Builder, elem *Column, f reflect.Value) {
	switch a := f.Interface().(type) {
	case []int32:
		b.(*array.Int32Builder).AppendValues(a, nil)
	case []int64:
		b.(*array.Int64Builder).AppendValues(a, nil)
	case []int8:
		b.(*array.Int8Builder).AppendValues(a, nil)
	case []float32:
		b.(*array.Float32Builder).AppendValues(a, nil)
	case []float64:
		b.(*array.Float64Builder).AppendValues(a, nil)
	case []string:
		b.(*array.StringBuilder).AppendValues(a, nil)
	default:
		for i := range f.Len() {
			appendArrow(b, elem, f.Index(i))
		}
	}
}
