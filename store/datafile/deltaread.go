package datafile

import "encoding/binary"

// deltaCount is the number of values that a delta header states.
func deltaCount(src []byte) (int, bool) {
	var h [3]uint64
	for i := range h {
		v, k := binary.Uvarint(src)
		if k <= 0 || v > 1<<31 {
			return 0, false
		}
		h[i], src = v, src[k:]
	}
	return int(h[2]), true
}

// deltaInts decodes a DELTA_BINARY_PACKED run of n values and gives what follows.
func deltaInts(src []byte, n int) (out []int64, rest []byte, err error) {
	bad := func() ([]int64, []byte, error) { return nil, nil, corruptf("malformed delta encoding") }
	var h [3]uint64
	for i := range h {
		v, k := binary.Uvarint(src)
		if k <= 0 || v > 1<<31 {
			return bad()
		}
		h[i], src = v, src[k:]
	}
	block, minis := int(h[0]), int(h[1])
	if int(h[2]) != n || minis == 0 || minis > block || block > 1<<16 || block%minis != 0 || block/minis%8 != 0 {
		return bad()
	}
	first, k := binary.Varint(src)
	if k <= 0 {
		return bad()
	}
	src = src[k:]
	if n == 0 {
		return nil, src, nil
	}
	per := block / minis
	out = append(make([]int64, 0, min(n, 8*len(src)*per+1)), first)
	for len(out) < n {
		low, k := binary.Varint(src)
		if k <= 0 || len(src) < k+minis {
			return bad()
		}
		widths := src[k : k+minis]
		src = src[k+minis:]
		for _, w := range widths {
			if len(out) == n {
				break
			}
			size := per / 8 * int(w)
			if w > 64 || len(src) < size {
				return bad()
			}
			for i := 0; i < per && len(out) < n; i++ {
				out = append(out, out[len(out)-1]+low+int64(bitsAt(src, i*int(w), int(w))))
			}
			src = src[size:]
		}
	}
	return out, src, nil
}

// bitsAt reads width bits at bit position pos.
func bitsAt(b []byte, pos, width int) uint64 {
	var v uint64
	for got := 0; got < width; {
		c := uint64(b[pos/8]) >> (pos % 8)
		v |= c << got
		step := 8 - pos%8
		got += step
		pos += step
	}
	if width < 64 {
		v &= 1<<width - 1
	}
	return v
}
