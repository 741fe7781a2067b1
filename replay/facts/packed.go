package facts

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// absent marks null in the values that packed is made of.
const absent = math.MinInt64

// packed is a column of integers in as few bits as its range takes: of each
// value its distance from base; 0 stands for null where there are nulls. It
// never changes.
type packed struct {
	data   []byte // with eight bytes to spare, so that every value is one load
	width  uint8  // bits of a value; at most 56, or 64
	nulls  bool   // 0 is null
	mask   uint64
	base   int64
	lo, hi int64 // of the values; lo > hi: all are null
}

// pack makes a column of values, absent being null.
func pack(values []int64) packed {
	p := packed{lo: math.MaxInt64, hi: math.MinInt64}
	for _, v := range values {
		if v == absent {
			p.nulls = true
			continue
		}
		p.lo, p.hi = min(p.lo, v), max(p.hi, v)
	}
	if p.lo > p.hi {
		p.data = make([]byte, 8)
		return p
	}
	p.base = p.lo
	if p.nulls {
		p.base-- // no value is the least integer, which is absent
	}
	p.setWidth(uint64(p.hi) - uint64(p.base))
	p.data = make([]byte, (len(values)*int(p.width)+7)/8+8)
	if p.width == 0 {
		return p
	}
	for i, v := range values {
		var u uint64
		if v != absent {
			u = uint64(v) - uint64(p.base)
		}
		p.put(i, u)
	}
	return p
}

func (p *packed) setWidth(greatest uint64) {
	p.width = uint8(bits.Len64(greatest))
	if p.width > 56 {
		p.width = 64
	}
	p.mask = math.MaxUint64 >> (64 - p.width)
}

// put sets a value that is 0 so far.
func (p *packed) put(i int, u uint64) {
	at := i * int(p.width)
	b := p.data[at>>3:]
	binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)|u<<(at&7))
}

// raw is the value's distance from base.
func (p *packed) raw(i int) uint64 {
	at := uint(i) * uint(p.width)
	return binary.LittleEndian.Uint64(p.data[at>>3:]) >> (at & 7) & p.mask
}

// get is value i, or null.
func (p *packed) get(i int, null int64) int64 {
	u := p.raw(i)
	if u == 0 && p.nulls {
		return null
	}
	return p.base + int64(u)
}

// unpack appends the first n values, null as absent.
func (p *packed) unpack(dst []int64, n int) []int64 {
	for i := range n {
		dst = append(dst, p.get(i, absent))
	}
	return dst
}

func (p *packed) size() int64 { return int64(cap(p.data)) }

// maxDistinct is how many different floats of one column are kept as a list of
// them and codes.
const maxDistinct = 256

// doubles is a column of floats, NaN being null. It never changes.
type doubles struct {
	distinct []float64 // nil: plain has the values
	codes    packed    // places in distinct
	plain    []float64
}

// coder finds the few different values of a column.
type coder struct {
	slots    [1024]uint16 // place in distinct, plus 1
	distinct []float64
	codes    []int64
}

// packDoubles makes a column of values; c is for reuse.
func packDoubles(values []float64, c *coder) doubles {
	clear(c.slots[:])
	c.distinct, c.codes = c.distinct[:0], c.codes[:0]
	for _, v := range values {
		code := c.code(v)
		if code < 0 {
			return doubles{plain: append([]float64(nil), values...)}
		}
		c.codes = append(c.codes, code)
	}
	return doubles{distinct: append([]float64{}, c.distinct...), codes: pack(c.codes)}
}

// code is the place of v among the distinct values; -1 when they are too many.
func (c *coder) code(v float64) int64 {
	b := math.Float64bits(v)
	for at := b * 0x9E3779B97F4A7C15 >> 54; ; at = (at + 1) % uint64(len(c.slots)) {
		k := c.slots[at]
		if k == 0 {
			if len(c.distinct) == maxDistinct {
				return -1
			}
			c.distinct = append(c.distinct, v)
			c.slots[at] = uint16(len(c.distinct))
			return int64(len(c.distinct) - 1)
		}
		if math.Float64bits(c.distinct[k-1]) == b {
			return int64(k - 1)
		}
	}
}

func (d *doubles) get(i int) float64 {
	if d.distinct == nil {
		return d.plain[i]
	}
	return d.distinct[d.codes.base+int64(d.codes.raw(i))]
}

// unpack appends the first n values.
func (d *doubles) unpack(dst []float64, n int) []float64 {
	if d.distinct == nil {
		return append(dst, d.plain[:n]...)
	}
	for i := range n {
		dst = append(dst, d.get(i))
	}
	return dst
}

func (d *doubles) size() int64 {
	return int64(8*(cap(d.distinct)+cap(d.plain))) + d.codes.size()
}
