// Package schema is the vocabulary of the lake: the rows of its four tables as
// Go types, their columns as one tree from which every other form is derived
// (Parquet, Delta, Arrow, protobuf, native JSON), validation, identity by
// digest, and the effort scale.
//
// The Go declarations in rows.go are the single source. A column is added by
// adding an optional field at the end of its struct: older files then read as
// null, and files of a newer schema are read as far as their columns are known.
package schema

import (
	"fmt"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

// Version is the version of the row schema that this build writes.
const Version = 1

// PartitionColumn is the one partition column of all four tables: the UTC date
// on which the file was written. It is not stored in the files.
const PartitionColumn = "day"

// Kind is the type of a column, in the terms of Delta's schema.
type Kind uint8

// The kinds of a column.
const (
	String Kind = iota
	Byte        // 8-bit signed
	Int         // 32-bit signed
	Long        // 64-bit signed
	Float       // 32-bit
	Double      // 64-bit
	Boolean
	Timestamp // microseconds since the epoch, UTC
	Binary
	Struct
	List
	Map // string to string
)

var kindNames = [...]string{"string", "byte", "integer", "long", "float", "double", "boolean", "timestamp", "binary", "struct", "array", "map"}

// String is Delta's name of the kind.
func (k Kind) String() string { return kindNames[k] }

// Column is one column, or one field of a nested one.
type Column struct {
	Name     string
	Kind     Kind
	Required bool      // never null in files that trajlake writes
	Fields   []*Column // of a Struct, in order
	Elem     *Column   // of a List; its name is "element"
	Field    int       // index of the Go struct field it is declared by

	plan *plan   // of a Struct
	off  uintptr // of the Go struct field
}

// absent reports that the field of c in the Go struct at base is a nil pointer,
// slice or map, which is what most fields of a row are: asking reflection for
// each of them costs more than writing the others. The first word of all three is
// a pointer that is nil then.
func (c *Column) absent(base unsafe.Pointer) bool {
	return !c.Required && *(*unsafe.Pointer)(unsafe.Add(base, c.off)) == nil
}

// Table names one of the four Delta tables of a lake.
type Table struct {
	Name    string
	Columns []*Column // without the partition column
	Type    reflect.Type
	parquet *parquet.Schema
	plan    *plan
}

// Parquet is the schema of the files that trajlake writes for the table.
func (t *Table) Parquet() *parquet.Schema { return t.parquet }

// Column finds a top-level column by its exact name; nil if there is none.
func (t *Table) Column(name string) *Column {
	for _, c := range t.Columns {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// The four tables of a lake.
var (
	Trajectories = tableOf[Trajectory]("trajectories")
	Annotations  = tableOf[Annotation]("annotations")
	Tensors      = tableOf[Tensor]("tensors")
	Ledger       = tableOf[LedgerEntry]("ledger")
)

// Tables lists the four tables in the order of a snapshot vector.
func Tables() []*Table { return []*Table{Trajectories, Annotations, Tensors, Ledger} }

// TableByName finds a table; nil if there is none of that name.
func TableByName(name string) *Table {
	for _, t := range Tables() {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Time is an instant: microseconds since 1970-01-01T00:00:00Z.
type Time int64

// TimeOf converts t, rounding down to the microsecond.
func TimeOf(t time.Time) Time { return Time(t.UnixMicro()) }

// Time is the instant in UTC.
func (t Time) Time() time.Time { return time.UnixMicro(int64(t)).UTC() }

// String is RFC 3339 in UTC with as many fractional digits as needed, at most six.
func (t Time) String() string { return t.Time().Format("2006-01-02T15:04:05.999999Z") }

func tableOf[T any](name string) *Table {
	typ := reflect.TypeFor[T]()
	columns := fieldsOf(typ)
	return &Table{Name: name, Columns: columns, Type: typ, parquet: parquet.SchemaOf(new(T)), plan: planOf(name, columns)}
}

func fieldsOf(t reflect.Type) []*Column {
	var out []*Column
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("parquet"), ",")
		c := columnOf(name, f.Type)
		c.Field, c.off = i, f.Offset
		switch f.Type.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
		default:
			c.Required = true
		}
		out = append(out, c)
	}
	return out
}

func columnOf(name string, t reflect.Type) *Column {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	c := &Column{Name: name}
	switch {
	case t == reflect.TypeFor[Time]():
		c.Kind = Timestamp
	case t == reflect.TypeFor[[]byte]():
		c.Kind = Binary
	case t.Kind() == reflect.String:
		c.Kind = String
	case t.Kind() == reflect.Int8:
		c.Kind = Byte
	case t.Kind() == reflect.Int32:
		c.Kind = Int
	case t.Kind() == reflect.Int64:
		c.Kind = Long
	case t.Kind() == reflect.Float32:
		c.Kind = Float
	case t.Kind() == reflect.Float64:
		c.Kind = Double
	case t.Kind() == reflect.Bool:
		c.Kind = Boolean
	case t.Kind() == reflect.Struct:
		c.Kind = Struct
		c.Fields = fieldsOf(t)
	case t.Kind() == reflect.Slice:
		c.Kind = List
		c.Elem = columnOf("element", t.Elem())
		c.Elem.Required = t.Elem().Kind() != reflect.Pointer
	case t.Kind() == reflect.Map:
		c.Kind = Map
	default:
		panic(fmt.Sprintf("schema: column %s has no kind for %v", name, t)) // a broken declaration: every build would hit it
	}
	return c
}
