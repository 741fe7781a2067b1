// Package pb has the rows of the trajectories, annotations and tensors tables as
// protobuf messages, generated from trajlake.proto, and their conversions to and
// from the row structs of package schema.
//
// The conversions follow the column tree and match fields by name, so that a
// column is carried as soon as the message has its field. Texts, numbers and
// lists of texts are shared between message and row, not copied: after a
// conversion neither is changed.
package pb

//go:generate python -m grpc_tools.protoc -I. --go_out=. --go_opt=paths=source_relative trajlake.proto

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// mapping pairs the columns of a struct with the fields of its message.
type mapping struct {
	fields  []pair
	columns map[string]bool
	unknown int // index of the message's unknown_json
	extra   int // index of the struct's extra column; -1 if there is none
}

type pair struct {
	col *schema.Column
	msg int // index of the message's Go field
	sub *mapping
}

var (
	trajectories = mappingOf(reflect.TypeFor[Trajectory](), schema.Trajectories.Columns)
	annotations  = mappingOf(reflect.TypeFor[Annotation](), schema.Annotations.Columns)
	tensors      = mappingOf(reflect.TypeFor[Tensor](), schema.Tensors.Columns)
)

func mappingOf(msg reflect.Type, cols []*schema.Column) *mapping {
	byName := make(map[string]int)
	for i := range msg.NumField() {
		for part := range strings.SplitSeq(msg.Field(i).Tag.Get("protobuf"), ",") {
			if name, ok := strings.CutPrefix(part, "name="); ok {
				byName[name] = i
			}
		}
	}
	m := &mapping{columns: make(map[string]bool), unknown: byName["unknown_json"], extra: -1}
	for _, c := range cols {
		m.columns[c.Name] = true
		if c.Name == "extra" {
			m.extra = c.Field
		}
		i, ok := byName[c.Name]
		if !ok {
			continue
		}
		f := pair{col: c, msg: i}
		t := msg.Field(i).Type
		switch {
		case c.Kind == schema.Struct:
			f.sub = mappingOf(t.Elem(), c.Fields)
		case c.Kind == schema.List && c.Elem.Kind == schema.Struct:
			f.sub = mappingOf(t.Elem().Elem(), c.Elem.Fields)
		}
		m.fields = append(m.fields, f)
	}
	return m
}

// Row converts a message to a row, with all faults of the message by field, as
// schema.FromJSON does: keys under unknown_json are kept in extra.
func (x *Trajectory) Row() (*schema.Trajectory, schema.Faults) {
	row := new(schema.Trajectory)
	faults := toRow(trajectories, reflect.ValueOf(row).Elem(), reflect.ValueOf(x).Elem())
	return row, faults
}

// Row converts a message to a row, with all faults of the message by field.
func (x *Annotation) Row() (*schema.Annotation, schema.Faults) {
	row := new(schema.Annotation)
	faults := toRow(annotations, reflect.ValueOf(row).Elem(), reflect.ValueOf(x).Elem())
	return row, faults
}

// Row converts a message to a row, with all faults of the message by field. A
// tensor has no extra column: unknown_json is a fault.
func (x *Tensor) Row() (*schema.Tensor, schema.Faults) {
	row := new(schema.Tensor)
	faults := toRow(tensors, reflect.ValueOf(row).Elem(), reflect.ValueOf(x).Elem())
	return row, faults
}

// FromTrajectory converts a row to a message.
func FromTrajectory(row *schema.Trajectory) *Trajectory {
	x := new(Trajectory)
	fromRow(trajectories, reflect.ValueOf(x).Elem(), reflect.ValueOf(row).Elem())
	return x
}

// FromAnnotation converts a row to a message.
func FromAnnotation(row *schema.Annotation) *Annotation {
	x := new(Annotation)
	fromRow(annotations, reflect.ValueOf(x).Elem(), reflect.ValueOf(row).Elem())
	return x
}

// FromTensor converts a row to a message.
func FromTensor(row *schema.Tensor) *Tensor {
	x := new(Tensor)
	fromRow(tensors, reflect.ValueOf(x).Elem(), reflect.ValueOf(row).Elem())
	return x
}

// reader turns one message into a row.
type reader struct {
	faults schema.Faults
	loose  []canon.Member // unknown keys of structs without an extra column, by path
}

func (r *reader) fault(field, kind, format string, args ...any) {
	r.faults = append(r.faults, schema.Fault{Field: field, Kind: kind, Reason: fmt.Sprintf(format, args...)})
}

func toRow(m *mapping, row, msg reflect.Value) schema.Faults {
	var r reader
	r.message(m, row, msg, "")
	if len(r.loose) > 0 && m.extra >= 0 {
		r.keep(row.Field(m.extra), r.loose, "")
	}
	return r.faults
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// message fills the struct v and reports whether anything in it was set.
func (r *reader) message(m *mapping, v, msg reflect.Value, path string) (set bool) {
	for i := range m.fields {
		f := &m.fields[i]
		set = r.field(f, v.Field(f.col.Field), msg.Field(f.msg), path) || set
	}
	if text, _ := msg.Field(m.unknown).Interface().(*string); text != nil {
		set = r.unknown(m, v, *text, path) || set
	}
	return set
}

func (r *reader) field(f *pair, to, from reflect.Value, path string) (set bool) {
	switch from.Kind() {
	case reflect.Pointer:
		if from.IsNil() {
			return false
		}
	case reflect.Slice, reflect.Map:
		if from.Len() == 0 {
			return false
		}
	}
	c := f.col
	switch {
	case c.Kind == schema.Struct:
		s := reflect.New(to.Type().Elem())
		if r.message(f.sub, s.Elem(), from.Elem(), join(path, c.Name)) {
			to.Set(s)
			return true
		}
		return false
	case c.Kind == schema.List && f.sub != nil:
		list := reflect.MakeSlice(to.Type(), from.Len(), from.Len())
		for k := range from.Len() {
			r.message(f.sub, list.Index(k), from.Index(k).Elem(), fmt.Sprintf("%s[%d]", join(path, c.Name), k))
		}
		to.Set(list)
	case c.Kind == schema.List && from.Type() == reflect.TypeFor[[]byte]():
		return r.packed(to, from.Bytes(), join(path, c.Name))
	case c.Kind == schema.Byte:
		n := *from.Interface().(*int32)
		if n < math.MinInt8 || n > math.MaxInt8 {
			r.fault(join(path, c.Name), schema.FaultRange, "%d is out of the range of a 8-bit integer", n)
			return true
		}
		small := int8(n)
		to.Set(reflect.ValueOf(&small))
	case c.Kind == schema.Timestamp:
		at := schema.Time(*from.Interface().(*int64))
		to.Set(reflect.ValueOf(&at))
	case from.Kind() == reflect.Pointer && to.Kind() != reflect.Pointer: // a required column
		to.Set(from.Elem())
	default:
		to.Set(from)
	}
	return true
}

// packed takes a per-token array apart.
func (r *reader) packed(to reflect.Value, b []byte, path string) bool {
	if _, bytes := to.Interface().([]int8); !bytes && len(b)%4 != 0 {
		r.fault(path, schema.FaultLength, "%d bytes are no whole number of elements of 4", len(b))
		return true
	}
	switch to := to.Addr().Interface().(type) {
	case *[]int32:
		*to = make([]int32, len(b)/4)
		for i := range *to {
			(*to)[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
		}
	case *[]float32:
		*to = make([]float32, len(b)/4)
		for i := range *to {
			(*to)[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	case *[]int8:
		*to = make([]int8, len(b))
		for i := range *to {
			(*to)[i] = int8(b[i])
		}
	}
	return true
}

// unknown keeps the keys of an unknown_json.
func (r *reader) unknown(m *mapping, v reflect.Value, text, path string) (set bool) {
	obj, err := canon.Parse([]byte(text), canon.Limits{})
	if err != nil || obj.Kind() != canon.Object {
		r.fault(join(path, "unknown_json"), schema.FaultText, "the string holds no JSON object")
		return false
	}
	var own []canon.Member
	for key, value := range obj.Members() {
		switch {
		case m.columns[key]:
			r.fault(join(path, key), schema.FaultTwice, "the key is a column, but stands in unknown_json")
		case m.extra >= 0:
			own = append(own, canon.M(key, value))
		case path == "":
			r.fault(key, schema.FaultUnknown, "the table has no such column")
		default:
			r.loose = append(r.loose, canon.M(join(path, key), value))
		}
	}
	if m.extra < 0 || len(own) == 0 {
		return false
	}
	r.keep(v.Field(m.extra), own, path)
	return !v.Field(m.extra).IsNil()
}

func (r *reader) keep(extra reflect.Value, unknown []canon.Member, path string) {
	to := extra.Addr().Interface().(**string)
	text, faults := schema.KeepUnknown(*to, unknown)
	*to = text
	for _, f := range faults {
		f.Field = join(path, f.Field)
		r.faults = append(r.faults, f)
	}
}

// fromRow fills a message from the struct v.
func fromRow(m *mapping, msg, v reflect.Value) {
	for i := range m.fields {
		f := &m.fields[i]
		from, to := v.Field(f.col.Field), msg.Field(f.msg)
		switch from.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			if from.IsNil() {
				continue
			}
		case reflect.String:
			if from.Len() == 0 {
				continue
			}
		}
		switch {
		case f.col.Kind == schema.Struct:
			sub := reflect.New(to.Type().Elem())
			fromRow(f.sub, sub.Elem(), from.Elem())
			to.Set(sub)
		case f.col.Kind == schema.List && f.sub != nil:
			list := reflect.MakeSlice(to.Type(), from.Len(), from.Len())
			for k := range from.Len() {
				sub := reflect.New(to.Type().Elem().Elem())
				fromRow(f.sub, sub.Elem(), from.Index(k))
				list.Index(k).Set(sub)
			}
			to.Set(list)
		case f.col.Kind == schema.List && to.Type() == reflect.TypeFor[[]byte]():
			to.SetBytes(pack(from.Interface()))
		case f.col.Kind == schema.Byte:
			n := int32(from.Elem().Int())
			to.Set(reflect.ValueOf(&n))
		case f.col.Kind == schema.Timestamp:
			n := from.Elem().Int()
			to.Set(reflect.ValueOf(&n))
		case to.Kind() == reflect.Pointer && from.Kind() != reflect.Pointer:
			p := reflect.New(from.Type())
			p.Elem().Set(from)
			to.Set(p)
		default:
			to.Set(from)
		}
	}
}

func pack(list any) []byte {
	var b []byte
	switch a := list.(type) {
	case []int32:
		b = make([]byte, 0, 4*len(a))
		for _, n := range a {
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		}
	case []float32:
		b = make([]byte, 0, 4*len(a))
		for _, n := range a {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(n))
		}
	case []int8:
		b = make([]byte, 0, len(a))
		for _, n := range a {
			b = append(b, byte(n))
		}
	}
	return b
}
