package datafile

import (
	"math"
	"slices"
	"unsafe"

	"trajlake/schema/fault"
)

// stream is a decoded piece of one leaf column: levels, and the values of the
// entries whose definition level is the leaf's maximum.
type stream struct {
	leaf *leaf
	n    int     // entries
	def  []uint8 // nil when the leaf has no definition levels
	rep  []uint8 // nil when the leaf has no repetition levels
	vals values
}

// reserve makes room for n entries that decode to about the given bytes, as the
// footer has it. Of what a footer claims, only so much is believed as the stored
// bytes make likely; the rest grows as it comes.
func (s *stream) reserve(n, bytes float64, stored int64) {
	s.make(int(min(n, 64*float64(stored)+1024, 1<<20)), int(min(bytes, 64*float64(stored)+1024, 16<<20)))
}

func (s *stream) make(n, bytes int) {
	if s.leaf.def > 0 {
		s.def = make([]uint8, 0, n)
	}
	if s.leaf.rep > 0 {
		s.rep = make([]uint8, 0, n)
	}
	v := &s.vals
	most := min(n, bytes) // a column of nulls takes no bytes
	switch s.leaf.typ {
	case physInt32:
		v.i32 = make([]int32, 0, most)
	case physInt64:
		v.i64 = make([]int64, 0, most)
	case physFloat:
		v.f32 = make([]float32, 0, most)
	case physDouble:
		v.f64 = make([]float64, 0, most)
	case physBytes:
		v.offs = append(make([]int32, 0, most+1), 0)
		v.data = make([]byte, 0, max(bytes-4*most, 0))
	}
}

// values holds one of its slices, by the leaf's physical type.
type values struct {
	n    int
	i32  []int32
	i64  []int64
	f32  []float32
	f64  []float64
	bool []uint8 // one byte each
	data []byte  // of byte arrays, end to end
	offs []int32 // n+1 offsets into data
}

// grow makes room for n more elements without setting them.
func grow[T any](s []T, n int) []T {
	if cap(s)-len(s) < n {
		s = slices.Grow(s, n)
	}
	return s[:len(s)+n]
}

// raw views a slice of numbers as bytes. Parquet and Arrow are little-endian,
// and so is every processor that the lake is built for.
func raw[T int8 | int32 | int64 | float32 | float64 | uint32](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

// appendRaw appends n numbers in Parquet's plain encoding.
func appendRaw[T int32 | int64 | float32 | float64](dst []T, src []byte, n int) ([]T, error) {
	var z T
	size := int(unsafe.Sizeof(z))
	if n > len(src)/size {
		return dst, corruptf("%d bytes are too few for %d values of %d", len(src), n, size)
	}
	at := len(dst)
	dst = grow(dst, n)
	copy(raw(dst[at:]), src[:n*size])
	return dst, nil
}

// errTooLong says that a column of one record passes 32-bit offsets.
func errTooLong() error {
	return fault.New(fault.Exhausted, "", "a column of the record would pass 2 GiB").WithHint("read fewer rows at a time")
}

// addBytes appends one byte array.
func (v *values) addBytes(b []byte) error {
	if len(v.offs) == 0 {
		v.offs = append(v.offs, 0)
	}
	if len(v.data)+len(b) > math.MaxInt32 {
		return errTooLong()
	}
	v.data = append(v.data, b...)
	v.offs = append(v.offs, int32(len(v.data)))
	return nil
}

// appendFrom appends values [from, to) of o.
func (v *values) appendFrom(o *values, from, to int) error {
	switch {
	case from == to:
		return nil
	case o.i32 != nil:
		v.i32 = append(v.i32, o.i32[from:to]...)
	case o.i64 != nil:
		v.i64 = append(v.i64, o.i64[from:to]...)
	case o.f32 != nil:
		v.f32 = append(v.f32, o.f32[from:to]...)
	case o.f64 != nil:
		v.f64 = append(v.f64, o.f64[from:to]...)
	case o.bool != nil:
		v.bool = append(v.bool, o.bool[from:to]...)
	default:
		if len(v.offs) == 0 {
			v.offs = append(v.offs, 0)
		}
		lo, hi := o.offs[from], o.offs[to]
		if len(v.data)+int(hi-lo) > math.MaxInt32 {
			return errTooLong()
		}
		d := int32(len(v.data)) - lo
		v.data = append(v.data, o.data[lo:hi]...)
		at := len(v.offs)
		v.offs = grow(v.offs, to-from)
		for i, x := range o.offs[from+1 : to+1] {
			v.offs[at+i] = x + d
		}
	}
	v.n += to - from
	return nil
}

// appendDict appends the dictionary's values at the given indexes, which are
// known to be in range.
func (v *values) appendDict(dict *values, ix []uint32) error {
	switch {
	case len(ix) == 0:
		return nil
	case dict.i32 != nil:
		v.i32 = pick(v.i32, dict.i32, ix)
	case dict.i64 != nil:
		v.i64 = pick(v.i64, dict.i64, ix)
	case dict.f32 != nil:
		v.f32 = pick(v.f32, dict.f32, ix)
	case dict.f64 != nil:
		v.f64 = pick(v.f64, dict.f64, ix)
	case dict.bool != nil:
		v.bool = pick(v.bool, dict.bool, ix)
	default:
		total := len(v.data)
		for _, i := range ix {
			total += int(dict.offs[i+1] - dict.offs[i])
		}
		if total > math.MaxInt32 {
			return errTooLong()
		}
		if len(v.offs) == 0 {
			v.offs = append(v.offs, 0)
		}
		v.data = slices.Grow(v.data, total-len(v.data))
		v.offs = slices.Grow(v.offs, len(ix))
		for _, i := range ix {
			v.data = append(v.data, dict.data[dict.offs[i]:dict.offs[i+1]]...)
			v.offs = append(v.offs, int32(len(v.data)))
		}
	}
	v.n += len(ix)
	return nil
}

func pick[T any](dst, dict []T, ix []uint32) []T {
	at := len(dst)
	dst = grow(dst, len(ix))
	for k, i := range ix {
		dst[at+k] = dict[i]
	}
	return dst
}

func (v *values) bytes() int64 {
	return int64(cap(v.i32)+cap(v.f32)+cap(v.offs))*4 + int64(cap(v.i64)+cap(v.f64))*8 + int64(cap(v.bool)+cap(v.data))
}

// page is a decoded data page (or a whole chunk, where the file has no offset
// index), with where each of its rows begins.
type page struct {
	stream
	first int64 // its first row in the row group
	rows  int
	// entry[k] is the entry at which row k begins, value[e] how many values stand
	// before entry e; nil where that is k or e itself.
	entry []int32
	value []int32
}

func (p *page) bytes() int64 {
	return p.vals.bytes() + int64(cap(p.def)+cap(p.rep)) + int64(cap(p.entry)+cap(p.value))*4 + 256
}

// seal computes the row index of a decoded page and checks that it begins a row
// and has as many as the file's index says (rows < 0: not known).
func (p *page) seal(rows int) error {
	p.entry, p.value = nil, nil
	p.rows = p.n
	if p.leaf.rep > 0 {
		if p.n > 0 && p.rep[0] != 0 {
			return corruptf("a page of column %v does not begin with a row", p.leaf.path)
		}
		p.entry = make([]int32, 0, max(rows, 0)+1)
		for i, r := range p.rep {
			if r == 0 {
				p.entry = append(p.entry, int32(i))
			}
		}
		p.rows = len(p.entry)
		p.entry = append(p.entry, int32(p.n))
	}
	if rows >= 0 && p.rows != rows {
		return corruptf("a page of column %v has %d rows instead of %d", p.leaf.path, p.rows, rows)
	}
	if p.leaf.def > 0 && p.vals.n != p.n {
		p.value = make([]int32, p.n+1)
		var k int32
		for i, d := range p.def {
			p.value[i] = k
			if int(d) == p.leaf.def {
				k++
			}
		}
		p.value[p.n] = k
	}
	return nil
}

// appendRows appends the page's rows [from, to), counted within the page.
func (s *stream) appendRows(p *page, from, to int) error {
	e0, e1 := from, to
	if p.entry != nil {
		e0, e1 = int(p.entry[from]), int(p.entry[to])
	}
	v0, v1 := e0, e1
	if p.value != nil {
		v0, v1 = int(p.value[e0]), int(p.value[e1])
	}
	if p.def != nil {
		s.def = append(s.def, p.def[e0:e1]...)
	}
	if p.rep != nil {
		s.rep = append(s.rep, p.rep[e0:e1]...)
	}
	s.n += e1 - e0
	return s.vals.appendFrom(&p.vals, v0, v1)
}
