package datafile

import "errors"

// Thrift compact protocol, as far as Parquet's metadata needs it. The reader
// takes hostile input: it never allocates more than the input's length
// justifies, bounds its recursion, and keeps its first error.

const (
	tTrue   = 1
	tFalse  = 2
	tByte   = 3
	tI16    = 4
	tI32    = 5
	tI64    = 6
	tDouble = 7
	tBinary = 8
	tList   = 9
	tSet    = 10
	tMap    = 11
	tStruct = 12
)

const maxThriftDepth = 24

var errThrift = errors.New("malformed thrift metadata")

type compactReader struct {
	b     []byte
	pos   int
	depth int
	err   error
}

func (r *compactReader) fail() {
	if r.err == nil {
		r.err = errThrift
	}
	r.pos = len(r.b)
}

func (r *compactReader) byte() byte {
	if r.pos >= len(r.b) {
		r.fail()
		return 0
	}
	c := r.b[r.pos]
	r.pos++
	return c
}

func (r *compactReader) uvarint() uint64 {
	var v uint64
	for shift := uint(0); shift < 64; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.fail()
	return 0
}

func (r *compactReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// i32 reads an integer that must fit 32 bits.
func (r *compactReader) i32() int32 {
	v := r.varint()
	if int64(int32(v)) != v {
		r.fail()
		return 0
	}
	return int32(v)
}

// bytes is a view into the input.
func (r *compactReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)-r.pos) {
		r.fail()
		return nil
	}
	s := r.b[r.pos : r.pos+int(n) : r.pos+int(n)]
	r.pos += int(n)
	return s
}

// list reads a list header; n never exceeds the bytes that are left, since no
// element is shorter than one byte.
func (r *compactReader) list() (n int, typ byte) {
	h := r.byte()
	typ = h & 0x0f
	u := uint64(h >> 4)
	if u == 15 {
		u = r.uvarint()
	}
	if u > uint64(len(r.b)-r.pos) {
		r.fail()
		return 0, typ
	}
	return int(u), typ
}

// fields calls f for every field of a struct; f must read the field or skip it.
func (r *compactReader) fields(f func(id int16, typ byte)) {
	r.depth++
	defer func() { r.depth-- }()
	if r.depth > maxThriftDepth {
		r.fail()
		return
	}
	var id int16
	for r.err == nil {
		h := r.byte()
		if h&0x0f == 0 {
			return
		}
		if d := int16(h >> 4); d != 0 {
			id += d
		} else {
			id = int16(r.varint())
		}
		f(id, h&0x0f)
	}
}

func (r *compactReader) skip(typ byte) {
	switch typ {
	case tTrue, tFalse:
	case tByte:
		r.byte()
	case tI16, tI32, tI64:
		r.uvarint()
	case tDouble:
		if len(r.b)-r.pos < 8 {
			r.fail()
			return
		}
		r.pos += 8
	case tBinary:
		r.bytes()
	case tList, tSet:
		n, et := r.list()
		for i := 0; i < n && r.err == nil; i++ {
			r.skipElem(et)
		}
	case tMap:
		n := r.uvarint()
		if n == 0 {
			return
		}
		kv := r.byte()
		for i := uint64(0); i < n && r.err == nil; i++ {
			r.skipElem(kv >> 4)
			r.skipElem(kv & 0x0f)
		}
	case tStruct:
		r.fields(func(_ int16, t byte) { r.skip(t) })
	default:
		r.fail()
	}
}

// skipElem differs from skip for booleans, which stand as bytes in containers.
func (r *compactReader) skipElem(typ byte) {
	if r.depth > maxThriftDepth {
		r.fail()
		return
	}
	r.depth++
	if typ == tTrue || typ == tFalse {
		r.byte()
	} else {
		r.skip(typ)
	}
	r.depth--
}

// expect reports whether a field has the wanted type, and skips it if not.
func (r *compactReader) expect(typ, want byte) bool {
	if typ == want {
		return true
	}
	r.skip(typ)
	return false
}

// each reads a list of want and calls f once per element.
func (r *compactReader) each(typ, want byte, size func(n int), f func(i int)) {
	if !r.expect(typ, tList) {
		return
	}
	n, et := r.list()
	if n > 0 && et != want && !(want == tTrue && et == tFalse) {
		for i := 0; i < n && r.err == nil; i++ {
			r.skipElem(et)
		}
		return
	}
	size(n)
	for i := 0; i < n && r.err == nil; i++ {
		f(i)
	}
}

type compactWriter struct {
	b    []byte
	last int16
	up   []int16
}

func (w *compactWriter) uvarint(v uint64) {
	for v >= 0x80 {
		w.b = append(w.b, byte(v)|0x80)
		v >>= 7
	}
	w.b = append(w.b, byte(v))
}

func (w *compactWriter) varint(v int64) { w.uvarint(uint64(v)<<1 ^ uint64(v>>63)) }

func (w *compactWriter) field(id int16, typ byte) {
	if d := id - w.last; d > 0 && d < 16 {
		w.b = append(w.b, byte(d)<<4|typ)
	} else {
		w.b = append(w.b, typ)
		w.varint(int64(id))
	}
	w.last = id
}

func (w *compactWriter) i32(id int16, v int32) { w.field(id, tI32); w.varint(int64(v)) }
func (w *compactWriter) i64(id int16, v int64) { w.field(id, tI64); w.varint(v) }

func (w *compactWriter) bool(id int16, v bool) {
	if v {
		w.field(id, tTrue)
	} else {
		w.field(id, tFalse)
	}
}

func (w *compactWriter) bytes(id int16, v []byte) {
	w.field(id, tBinary)
	w.uvarint(uint64(len(v)))
	w.b = append(w.b, v...)
}

func (w *compactWriter) string(id int16, v string) {
	w.field(id, tBinary)
	w.str(v)
}

func (w *compactWriter) str(v string) {
	w.uvarint(uint64(len(v)))
	w.b = append(w.b, v...)
}

func (w *compactWriter) list(id int16, typ byte, n int) {
	w.field(id, tList)
	w.listHead(typ, n)
}

func (w *compactWriter) listHead(typ byte, n int) {
	if n < 15 {
		w.b = append(w.b, byte(n)<<4|typ)
		return
	}
	w.b = append(w.b, 0xf0|typ)
	w.uvarint(uint64(n))
}

// begin opens a struct: a field's (id > 0), or a list element's or the
// outermost (id 0). end closes it.
func (w *compactWriter) begin(id int16) {
	if id > 0 {
		w.field(id, tStruct)
	}
	w.up = append(w.up, w.last)
	w.last = 0
}

func (w *compactWriter) end() {
	w.b = append(w.b, 0)
	w.last = w.up[len(w.up)-1]
	w.up = w.up[:len(w.up)-1]
}
