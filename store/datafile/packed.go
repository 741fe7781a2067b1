package datafile

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Encoders of what token arrays are stored as. A row has thousands of their
// values and little else, so these loops are a large part of an append;
// docs/decisions/0009 has what they cost and what the library's cost.

const (
	deltaBlock = 128 // values of a block
	deltaMini  = 32  // values of a miniblock
)

// appendDelta appends v in DELTA_BINARY_PACKED. Differences wrap around, as the
// format says.
func appendDelta(dst []byte, v []int32) []byte {
	dst = binary.AppendUvarint(dst, deltaBlock)
	dst = binary.AppendUvarint(dst, deltaBlock/deltaMini)
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	if len(v) == 0 {
		return append(dst, 0)
	}
	last := v[0]
	dst = binary.AppendVarint(dst, int64(last))
	var d [deltaBlock]uint32
	for rest := v[1:]; len(rest) > 0; {
		n := min(deltaBlock, len(rest))
		least := int32(math.MaxInt32)
		for i, x := range rest[:n] {
			e := x - last
			d[i], last = uint32(e), x
			least = min(least, e)
		}
		rest = rest[n:]
		for i := n; i < deltaBlock; i++ { // a miniblock is whole, its values behind the last are no matter
			d[i] = uint32(least)
		}
		dst = binary.AppendVarint(dst, int64(least))
		widths := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		for m := range (n + deltaMini - 1) / deltaMini {
			part := (*[deltaMini]uint32)(d[m*deltaMini:])
			var all uint32
			for i := range part {
				part[i] -= uint32(least)
				all |= part[i]
			}
			width := bits.Len32(all)
			dst[widths+m] = byte(width)
			dst = pack32(dst, part, width)
		}
	}
	return dst
}

// pack32 appends 32 values of width bits, the lowest bit first.
func pack32(dst []byte, v *[deltaMini]uint32, width int) []byte {
	at := len(dst)
	dst = grow(dst, 4*width)
	var word uint64
	have := 0
	for i := 0; i < len(v); i += 2 {
		two := uint64(v[i]) | uint64(v[i+1])<<width
		word |= two << have
		if have += 2 * width; have >= 64 {
			binary.LittleEndian.PutUint64(dst[at:], word)
			at += 8
			have -= 64
			word = two >> (2*width - have)
		}
	}
	if have > 0 { // 32 bits
		binary.LittleEndian.PutUint32(dst[at:], uint32(word))
	}
	return dst
}

// repeat is a value of a mask, as an index into the dictionary, that stands n
// times one after the other.
type repeat struct {
	index uint32
	n     int
}

// addRepeat adds n times the same value to the mask of the page.
func (c *column) addRepeat(index uint32, n int) {
	c.masked += n
	if k := len(c.mask); k > 0 && c.mask[k-1].index == index {
		c.mask[k-1].n += n
		return
	}
	c.mask = append(c.mask, repeat{index, n})
}

// putBytes adds a list of 8-bit integers by dictionary: masks are long runs of
// few values, which indexes store in next to nothing.
func (c *column) putBytes(rep, elemRep uint8, v []int8) {
	c.run(len(v), rep, elemRep)
	for b := raw(v); len(b) > 0; {
		n := runLen(b)
		c.addRepeat(c.smallIndex(int8(b[0])), n)
		b = b[n:]
	}
}

// putRepeats appends dictionary indexes of the given width: runs of eight and
// more as runs, the rest bit-packed in groups of eight. k.ix is scratch space.
func (k *core) putRepeats(dst []byte, list []repeat, width int) []byte {
	open := k.ix[:0] // to be bit-packed
	pack := func() {
		if groups := (len(open) + 7) / 8; groups > 0 {
			dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
			dst = packIndexes(dst, open, width, groups)
			open = open[:0]
		}
	}
	for _, r := range list {
		n := r.n
		for ; n > 0 && (len(open)%8 != 0 || n < 8); n-- {
			open = append(open, r.index)
		}
		if n == 0 {
			continue
		}
		pack()
		dst = binary.AppendUvarint(dst, uint64(n)<<1)
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], r.index)
		dst = append(dst, b[:(width+7)/8]...)
	}
	pack()
	k.ix = open
	return dst
}
