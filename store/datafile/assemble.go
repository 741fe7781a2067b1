package datafile

import (
	"bytes"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/schema"
)

// scope is the list that an array stands in. An entry of a leaf's stream is a
// slot of the array if it repeats at most at level rep and is defined at least
// at level def; the levels of the rows themselves are 0 and 0.
type scope struct{ def, rep int }

// assembler turns streams, one per leaf, into arrays. A leaf without a stream is
// null in all of its entries.
type assembler struct {
	streams []*stream // by leaf index
	zeros   []byte    // what null slots hold, shared
}

// needed lists the leaves that arrays of the fields are made from. Of those that
// are null all over the files only the ones are needed whose levels tell the
// lengths of a list or which structs are null.
func needed(fields []*field, files []*File) []*leaf {
	n := &needs{files: files, seen: make([]bool, len(files[0].leaves))}
	for _, f := range fields {
		n.field(f, scope{})
	}
	return n.leaves
}

type needs struct {
	files  []*File
	seen   []bool
	leaves []*leaf
}

func (n *needs) field(f *field, in scope) {
	if f == nil || f.def > in.def && n.shallow(f) {
		return
	}
	switch f.col.Kind {
	case schema.Struct:
		if f.def > in.def {
			n.add(f.probe)
		}
	case schema.List, schema.Map:
		n.add(f.probe)
		in = scope{f.elemDef, f.elemRep}
	default:
		if !n.blank(f.leaf) {
			n.add(f.leaf)
		}
	}
	for _, k := range f.kids {
		n.field(k, in)
	}
}

func (n *needs) blank(l *leaf) bool {
	for _, f := range n.files {
		if !f.blank[l.index] {
			return false
		}
	}
	return true
}

// shallow reports whether no file has a value of the field.
func (n *needs) shallow(f *field) bool {
	for _, x := range n.files {
		if x.depth[f.probe.index] >= f.def {
			return false
		}
	}
	return true
}

func (n *needs) add(l *leaf) {
	if !n.seen[l.index] {
		n.seen[l.index] = true
		n.leaves = append(n.leaves, l)
	}
}

// record builds a record of n rows.
func (a *assembler) record(s *arrow.Schema, fields []*field, n int) (arrow.Record, error) {
	arrs := make([]arrow.Array, len(fields))
	for i := range fields {
		var d arrow.ArrayData
		if f := fields[i]; f == nil {
			d = a.nulls(s.Field(i).Type, n)
		} else {
			var err error
			if d, err = a.array(f, scope{}, n); err != nil {
				return nil, err
			}
		}
		arrs[i] = array.MakeFromData(d)
	}
	return array.NewRecord(s, arrs, int64(n)), nil
}

func (a *assembler) array(f *field, in scope, n int) (arrow.ArrayData, error) {
	if f.def > in.def && a.streams[f.probe.index] == nil {
		return a.nulls(f.typ, n), nil
	}
	switch f.col.Kind {
	case schema.Struct:
		return a.structs(f, in, n)
	case schema.List:
		return a.lists(f, in, n)
	case schema.Map:
		return a.maps(f, in, n)
	}
	return a.scalars(f, in, n)
}

func disagree(f *field) error {
	return corruptf("column %v: its levels disagree with its siblings'", f.probe.path)
}

func buf(b []byte) *memory.Buffer { return memory.NewBufferBytes(b) }

// validity makes the bitmap of the slots of s in a scope: set where the entry is
// defined at least at level def. It is nil when every slot is.
func (f *field) validity(s *stream, in scope, n, def int) (*memory.Buffer, int, error) {
	if def <= in.def && s.leaf.rep == in.rep && in.def == 0 {
		if s.n != n {
			return nil, 0, disagree(f)
		}
		return nil, 0, nil
	}
	bits := make([]byte, (n+7)/8)
	k, valid := 0, 0
	for i := range s.n {
		if s.rep != nil && int(s.rep[i]) > in.rep {
			continue
		}
		d := 0
		if s.def != nil {
			d = int(s.def[i])
		}
		if d < in.def {
			continue
		}
		if k == n {
			return nil, 0, disagree(f)
		}
		if d >= def {
			bits[k>>3] |= 1 << (k & 7)
			valid++
		}
		k++
	}
	if k != n {
		return nil, 0, disagree(f)
	}
	if valid == n {
		return nil, 0, nil
	}
	return buf(bits), n - valid, nil
}

func (a *assembler) structs(f *field, in scope, n int) (arrow.ArrayData, error) {
	var valid *memory.Buffer
	var missing int
	var err error
	if s := a.streams[f.probe.index]; s != nil || f.def > in.def {
		if valid, missing, err = f.validity(s, in, n, f.def); err != nil {
			return nil, err
		}
	}
	kids := make([]arrow.ArrayData, len(f.kids))
	for i, k := range f.kids {
		if k == nil {
			kids[i] = a.nulls(f.typ.(*arrow.StructType).Field(i).Type, n)
		} else if kids[i], err = a.array(k, in, n); err != nil {
			return nil, err
		}
	}
	return array.NewData(f.typ, n, []*memory.Buffer{valid}, kids, missing, 0), nil
}

// offsets computes a list's offsets and validity from one leaf beneath it.
func (a *assembler) offsets(f *field, in scope, n int) (offs []int32, valid *memory.Buffer, missing int, err error) {
	s := a.streams[f.probe.index]
	offs = make([]int32, n+1)
	bits := make([]byte, (n+7)/8)
	k, good, count := 0, 0, 0
	for i := 0; i < s.n; {
		d := int(s.def[i])
		if int(s.rep[i]) <= in.rep && d >= in.def {
			if k == n {
				return nil, nil, 0, disagree(f)
			}
			offs[k] = int32(count)
			if d >= f.def {
				bits[k>>3] |= 1 << (k & 7)
				good++
			}
			k++
		}
		if s.leaf.rep == 1 { // the rest of the row are elements
			next := bytes.IndexByte(s.rep[i+1:], 0) + 1
			if next == 0 {
				next = s.n - i
			}
			if d >= f.elemDef {
				count += next
			} else if next > 1 {
				return nil, nil, 0, disagree(f)
			}
			i += next
			continue
		}
		if int(s.rep[i]) <= f.elemRep && d >= f.elemDef {
			count++
		}
		i++
	}
	if k != n || count > math.MaxInt32 {
		return nil, nil, 0, disagree(f)
	}
	offs[n] = int32(count)
	if good < n {
		valid, missing = buf(bits), n-good
	}
	return offs, valid, missing, nil
}

func (a *assembler) lists(f *field, in scope, n int) (arrow.ArrayData, error) {
	offs, valid, missing, err := a.offsets(f, in, n)
	if err != nil {
		return nil, err
	}
	elem, err := a.array(f.kids[0], scope{f.elemDef, f.elemRep}, int(offs[n]))
	if err != nil {
		return nil, err
	}
	return array.NewData(f.typ, n, []*memory.Buffer{valid, buf(raw(offs))}, []arrow.ArrayData{elem}, missing, 0), nil
}

func (a *assembler) maps(f *field, in scope, n int) (arrow.ArrayData, error) {
	offs, valid, missing, err := a.offsets(f, in, n)
	if err != nil {
		return nil, err
	}
	var kv [2]arrow.ArrayData
	for i, k := range f.kids {
		if kv[i], err = a.array(k, scope{f.elemDef, f.elemRep}, int(offs[n])); err != nil {
			return nil, err
		}
	}
	if kv[0].NullN() > 0 {
		return nil, corruptf("column %v: a map has a null key", f.probe.path)
	}
	entries := array.NewData(f.typ.(*arrow.MapType).Elem(), int(offs[n]), []*memory.Buffer{nil}, kv[:], 0, 0)
	return array.NewData(f.typ, n, []*memory.Buffer{valid, buf(raw(offs))}, []arrow.ArrayData{entries}, missing, 0), nil
}

// scalars places a leaf's values into its slots.
func (a *assembler) scalars(f *field, in scope, n int) (arrow.ArrayData, error) {
	s := a.streams[f.leaf.index]
	if s == nil { // of an element of lists that are all null or empty
		if n > 0 {
			return nil, disagree(f)
		}
		return a.nulls(f.typ, 0), nil
	}
	if s.leaf.rep != in.rep {
		return nil, disagree(f)
	}
	v := &s.vals
	var valid *memory.Buffer
	var missing int
	var err error
	if v.n != n { // else every slot has its value
		if valid, missing, err = f.validity(s, in, n, s.leaf.def); err != nil {
			return nil, err
		}
	}
	if v.n != n-missing {
		return nil, disagree(f)
	}
	var bits []byte
	if valid != nil {
		bits = valid.Bytes()
	}
	bufs := []*memory.Buffer{valid, nil}
	switch f.col.Kind {
	case schema.String, schema.Binary:
		bufs[1] = buf(raw(spreadOffsets(v.offs, bits, n)))
		bufs = append(bufs, buf(v.data))
	case schema.Boolean:
		bufs[1] = buf(packBits(spread(v.bool, bits, n)))
	case schema.Byte:
		small, err := narrow(f, v.i32)
		if err != nil {
			return nil, err
		}
		bufs[1] = buf(spread(small, bits, n))
	case schema.Int:
		bufs[1] = buf(raw(spread(v.i32, bits, n)))
	case schema.Long, schema.Timestamp:
		bufs[1] = buf(raw(spread(longs(f, v), bits, n)))
	case schema.Float:
		bufs[1] = buf(raw(spread(v.f32, bits, n)))
	case schema.Double:
		bufs[1] = buf(raw(spread(doubles(v), bits, n)))
	}
	return array.NewData(f.typ, n, bufs, nil, missing, 0), nil
}

// spread moves dense values to the slots whose bit is set; the others are zero.
func spread[T any](v []T, bits []byte, n int) []T {
	if bits == nil {
		return v
	}
	out := make([]T, n)
	k := 0
	for i := range out {
		if bits[i>>3]>>(i&7)&1 == 1 {
			out[i] = v[k]
			k++
		}
	}
	return out
}

func spreadOffsets(offs []int32, bits []byte, n int) []int32 {
	if len(offs) == 0 {
		return make([]int32, n+1)
	}
	if bits == nil {
		return offs
	}
	out := make([]int32, n+1)
	k := 0
	for i := range n {
		out[i] = offs[k]
		k += int(bits[i>>3] >> (i & 7) & 1)
	}
	out[n] = offs[k]
	return out
}

func packBits(v []uint8) []byte {
	out := make([]byte, (len(v)+7)/8)
	for i, b := range v {
		out[i>>3] |= b << (i & 7)
	}
	return out
}

// narrow turns 32-bit integers into bytes.
func narrow(f *field, v []int32) ([]byte, error) {
	out := make([]byte, len(v))
	for i, x := range v {
		if int32(int8(x)) != x {
			return nil, corruptf("column %v: %d does not fit a byte", f.leaf.path, x)
		}
		out[i] = byte(x)
	}
	return out, nil
}

// longs widens 32-bit integers and scales timestamps to microseconds.
func longs(f *field, v *values) []int64 {
	if f.leaf.typ == physInt32 {
		out := make([]int64, len(v.i32))
		for i, x := range v.i32 {
			if out[i] = int64(x); f.leaf.uint {
				out[i] = int64(uint32(x))
			}
		}
		return out
	}
	unit := f.leaf.unit
	if f.leaf.typ == physInt96 {
		unit = 1
	}
	if f.col.Kind != schema.Timestamp || unit == 1e3 {
		return v.i64
	}
	out := make([]int64, len(v.i64))
	for i, x := range v.i64 {
		if unit > 1e3 {
			out[i] = x * (unit / 1e3)
			continue
		}
		if out[i] = x / 1e3; x%1e3 < 0 {
			out[i]--
		}
	}
	return out
}

func doubles(v *values) []float64 {
	if v.f32 == nil {
		return v.f64
	}
	out := make([]float64, len(v.f32))
	for i, x := range v.f32 {
		out[i] = float64(x)
	}
	return out
}

// nulls is an array of n nulls of any type of the schema.
func (a *assembler) nulls(t arrow.DataType, n int) arrow.ArrayData {
	bufs := []*memory.Buffer{a.zero((n + 7) / 8)}
	var kids []arrow.ArrayData
	switch t := t.(type) {
	case *arrow.StructType:
		for _, f := range t.Fields() {
			kids = append(kids, a.nulls(f.Type, n))
		}
	case *arrow.MapType:
		bufs = append(bufs, a.zero(4*(n+1)))
		kids = append(kids, a.nulls(t.Elem(), 0))
	case *arrow.ListType:
		bufs = append(bufs, a.zero(4*(n+1)))
		kids = append(kids, a.nulls(t.Elem(), 0))
	case *arrow.StringType, *arrow.BinaryType:
		bufs = append(bufs, a.zero(4*(n+1)), buf(nil))
	case *arrow.BooleanType:
		bufs = append(bufs, a.zero((n+7)/8))
	case arrow.FixedWidthDataType:
		bufs = append(bufs, a.zero(t.BitWidth()/8*n))
	}
	return array.NewData(t, n, bufs, kids, n, 0)
}

// zero is a buffer of n zero bytes that others share.
func (a *assembler) zero(n int) *memory.Buffer {
	if n >= len(a.zeros) {
		a.zeros = make([]byte, max(n+1, 2*len(a.zeros), 1<<10))
	}
	return buf(a.zeros[:n:n])
}

// RecordBytes is how many bytes the buffers of a record hold.
func RecordBytes(rec arrow.Record) int64 {
	var sum int64
	for _, c := range rec.Columns() {
		sum += dataBytes(c.Data())
	}
	return sum
}

func dataBytes(d arrow.ArrayData) int64 {
	var sum int64
	for _, b := range d.Buffers() {
		if b != nil {
			sum += int64(b.Len())
		}
	}
	for _, k := range d.Children() {
		sum += dataBytes(k)
	}
	return sum
}
