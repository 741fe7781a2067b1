package datafile

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Decoding some rows of a page: the levels are decoded to scratch, of the values
// only those of the rows are copied.

// picking is scratch of a decoder.
type picking struct {
	rep, def []uint8
	vals     values // each slice is a buffer; which one is in use tells the leaf's type
}

// pick appends the rows at spots, ascending, of the page that b holds to s. The
// page begins with row first of its row group and has the given number of rows.
func (d *decoder) pick(s *stream, b []byte, m *chunkMeta, dict *values, first int64, rows int, spots []place) error {
	if len(spots) == rows && spots[rows-1].row-spots[0].row == int64(rows)-1 && distinct(spots) {
		return d.page(s, b, m, dict, rows)
	}
	h, body, _, err := header(b, m)
	if err != nil {
		return err
	}
	if h.typ != pageData && h.typ != pageDataV2 {
		return corruptf("column %v: the offset index points at a page of type %d", s.leaf.path, h.typ)
	}
	rep, def, vals, err := d.split(s.leaf, &h, body, m.codec)
	if err != nil {
		return err
	}
	l, n := s.leaf, int(h.values)
	x := &d.picking
	x.rep, x.def = x.rep[:0], x.def[:0]
	got := n
	if l.rep > 0 {
		if x.rep, err = appendLevels(x.rep, rep, n, l.rep); err != nil {
			return err
		}
		if n > 0 && x.rep[0] != 0 {
			return corruptf("column %v: a page does not begin with a row", l.path)
		}
		got = countByte(x.rep, 0)
	}
	if got != rows {
		return corruptf("column %v: a page has %d rows instead of %d", l.path, got, rows)
	}
	nv := n
	if l.def > 0 {
		if x.def, err = appendLevels(x.def, def, n, l.def); err != nil {
			return err
		}
		nv = countByte(x.def, uint8(l.def))
	}
	src := source{d: d, l: l, raw: vals, enc: h.encoding, n: nv, dict: dict}
	return src.take(s, n, first, spots)
}

// distinct reports whether no row stands twice.
func distinct(spots []place) bool {
	for i := 1; i < len(spots); i++ {
		if spots[i].row == spots[i-1].row {
			return false
		}
	}
	return true
}

// take appends the rows at spots of a page of n entries, whose levels are in the
// decoder's scratch.
func (c *source) take(s *stream, n int, first int64, spots []place) error {
	x, l := &c.d.picking, c.l
	var row int64                // rows passed,
	entry, value := 0, 0         // and with them entries and values
	skip := func(to int64) int { // where row to begins, from the current entry on
		if l.rep == 0 {
			return int(to)
		}
		e := entry
		for r := row; r < to; r++ {
			if k := bytes.IndexByte(x.rep[e+1:], 0); k >= 0 {
				e += k + 1
			} else {
				e = n
			}
		}
		return e
	}
	count := func(from, to int) int {
		if l.def == 0 {
			return to - from
		}
		return countByte(x.def[from:to], uint8(l.def))
	}
	for i := 0; i < len(spots); {
		j := i + 1
		for j < len(spots) && spots[j].row == spots[j-1].row+1 {
			j++
		}
		from, to := spots[i].row-first, spots[j-1].row-first+1
		if from < row { // the same row once more
			row, entry, value = 0, 0, 0
		}
		e0 := skip(from)
		v0 := value + count(entry, e0)
		row, entry, value = from, e0, v0
		e1 := skip(to)
		v1 := v0 + count(e0, e1)
		if l.def > 0 {
			s.def = append(s.def, x.def[e0:e1]...)
		}
		if l.rep > 0 {
			s.rep = append(s.rep, x.rep[e0:e1]...)
		}
		s.n += e1 - e0
		if err := c.values(&s.vals, v0, v1); err != nil {
			return err
		}
		row, entry, value = to, e1, v1
		i = j
	}
	return nil
}

// source gives ranges of a page's values.
type source struct {
	d    *decoder
	l    *leaf
	raw  []byte
	enc  int32
	n    int // values of the page
	dict *values

	decoded bool
	all     values // all of them, for encodings that are decoded from the start
	at, pos int    // of plain byte arrays: value at begins at pos
}

// values appends values [from, to) to v.
func (c *source) values(v *values, from, to int) (err error) {
	switch {
	case from == to:
		return nil
	case c.enc == encPlain:
		switch c.l.typ {
		case physInt32, physFloat:
			return v.appendPlain(c.l, c.raw[min(4*from, len(c.raw)):], to-from)
		case physInt64, physDouble:
			return v.appendPlain(c.l, c.raw[min(8*from, len(c.raw)):], to-from)
		case physBytes:
			return c.byteArrays(v, from, to)
		}
	case c.enc == encPlainDict || c.enc == encRLEDict:
		if c.dict == nil || len(c.raw) == 0 {
			return corruptf("a dictionary page is missing")
		}
		if c.d.ix, err = appendSome(c.d.ix[:0], c.raw[1:], int(c.raw[0]), c.n, c.dict.n, from, to); err != nil {
			return err
		}
		return v.appendDict(c.dict, c.d.ix)
	}
	if !c.decoded {
		c.all = c.d.picking.vals.emptied(c.l.typ)
		if err := c.d.values(&c.all, c.l, c.raw, c.enc, c.n, c.dict); err != nil {
			return err
		}
		c.d.picking.vals.keep(&c.all)
		c.decoded = true
	}
	return v.appendFrom(&c.all, from, to)
}

// emptied gives the buffer of a physical type.
func (v *values) emptied(typ int32) (out values) {
	switch typ {
	case physInt32:
		out.i32 = v.i32[:0]
	case physInt64, physInt96:
		out.i64 = v.i64[:0]
	case physFloat:
		out.f32 = v.f32[:0]
	case physDouble:
		out.f64 = v.f64[:0]
	case physBoolean:
		out.bool = v.bool[:0]
	default:
		out.data, out.offs = v.data[:0], v.offs[:0]
	}
	return out
}

// keep takes the buffers of o for the next time, unless they are large.
func (v *values) keep(o *values) {
	if o.bytes() > 4<<20 {
		return
	}
	switch {
	case o.i32 != nil:
		v.i32 = o.i32
	case o.i64 != nil:
		v.i64 = o.i64
	case o.f32 != nil:
		v.f32 = o.f32
	case o.f64 != nil:
		v.f64 = o.f64
	case o.bool != nil:
		v.bool = o.bool
	default:
		v.data, v.offs = o.data, o.offs
	}
}

// byteArrays appends plain byte arrays [from, to).
func (c *source) byteArrays(v *values, from, to int) error {
	if from < c.at {
		c.at, c.pos = 0, 0
	}
	begin, err := passArrays(c.raw, c.pos, from-c.at)
	if err != nil {
		return err
	}
	end, err := passArrays(c.raw, begin, to-from)
	if err != nil {
		return err
	}
	c.at, c.pos = to, end
	src := c.raw[begin:end]
	if int64(len(v.data))+int64(len(src)) > math.MaxInt32 {
		return errTooLong()
	}
	if len(v.offs) == 0 {
		v.offs = append(v.offs, 0)
	}
	at, pos := len(v.offs), len(v.data)
	v.offs = grow(v.offs, to-from)
	v.data = grow(v.data, len(src)-4*(to-from))
	for i := range v.offs[at:] {
		k := int(binary.LittleEndian.Uint32(src))
		copy(v.data[pos:], src[4:4+k])
		src = src[4+k:]
		pos += k
		v.offs[at+i] = int32(pos)
	}
	v.n += to - from
	return nil
}

// passArrays gives where n byte arrays that begin at pos end.
func passArrays(b []byte, pos, n int) (int, error) {
	for range n {
		if len(b)-pos < 4 {
			return 0, corruptf("a byte array is cut off")
		}
		k := binary.LittleEndian.Uint32(b[pos:])
		if uint64(k) > uint64(len(b)-pos-4) {
			return 0, corruptf("a byte array of %d bytes is cut off", k)
		}
		pos += 4 + int(k)
	}
	return pos, nil
}
