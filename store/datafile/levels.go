package datafile

import (
	"encoding/binary"
	"math/bits"
)

// The RLE and bit-packing hybrid of Parquet's levels and dictionary indexes.

// appendLevels decodes exactly n levels, none above top, to dst.
func appendLevels(dst []uint8, src []byte, n, top int) ([]uint8, error) {
	width := bits.Len(uint(top))
	at := len(dst)
	dst = grow(dst, n)
	out := dst[at : at+n]
	err := hybrid(src, width, n, func(i, run int, v uint32) bool {
		if v > uint32(top) {
			return false
		}
		fill(out[i:i+run], uint8(v))
		return true
	}, func(i, count int, packed []byte) bool {
		for k := 0; k < count; k += 8 {
			w := unpack(packedWord(packed[k/8*width:], width), width)
			if k+8 > count {
				w &= 1<<(8*(count-k)) - 1 // what fills up the last group may be anything
			}
			if above(w, top) {
				return false
			}
			if i+k+8 <= len(out) {
				binary.LittleEndian.PutUint64(out[i+k:], w)
				continue
			}
			for j := i + k; j < len(out); j++ {
				out[j] = uint8(w)
				w >>= 8
			}
		}
		return true
	})
	return dst[:at+n], err
}

// packedWord loads eight values of up to 8 bits each.
func packedWord(b []byte, width int) uint64 {
	if len(b) >= 8 {
		return binary.LittleEndian.Uint64(b)
	}
	var w [8]byte
	copy(w[:], b[:min(width, len(b))])
	return binary.LittleEndian.Uint64(w[:])
}

const ones = 0x0101010101010101

// unpack moves eight values of up to 8 bits each to a byte of their own.
func unpack(x uint64, width int) uint64 {
	w := uint(width)
	m := uint64(1)<<(4*w) - 1
	x = x&m | x>>(4*w)&m<<32
	m = (1<<(2*w) - 1) * 0x0000000100000001
	x = x&m | x&(m<<(2*w))<<(16-2*w)
	m = (1<<w - 1) * 0x0001000100010001
	return x&m | x&(m<<w)<<(8-w)
}

// above reports whether one of eight bytes is greater than top.
func above(w uint64, top int) bool {
	if top < 128 { // and then so is every level of that many bits
		return (w+uint64(127-top)*ones)&(128*ones) != 0
	}
	for ; w > 0; w >>= 8 {
		if int(uint8(w)) > top {
			return true
		}
	}
	return false
}

func fill[T uint8 | uint32](s []T, v T) {
	short := s[:min(len(s), 32)]
	for i := range short {
		short[i] = v
	}
	for n := len(short); n < len(s); n *= 2 {
		copy(s[n:], s[:n])
	}
}

// appendIndexes decodes exactly n dictionary indexes, all below size.
func appendIndexes(dst []uint32, src []byte, width, n, size int) ([]uint32, error) {
	return appendSome(dst, src, width, n, size, 0, n)
}

// appendSome decodes indexes [from, to) of n; the others are passed over.
func appendSome(dst []uint32, src []byte, width, n, size, from, to int) ([]uint32, error) {
	if width > 32 {
		return dst, corruptf("dictionary indexes of %d bits", width)
	}
	stop := to
	if width == 0 {
		stop = n // all that such runs are checked by
	}
	at := len(dst)
	dst = grow(dst, to-from)
	out := dst[at:]
	err := hybrid(src, width, stop, func(i, run int, v uint32) bool {
		if int64(v) >= int64(size) {
			return false
		}
		if lo, hi := max(i, from), min(i+run, to); lo < hi {
			fill(out[lo-from:hi-from], v)
		}
		return true
	}, func(i, count int, packed []byte) bool {
		var acc uint64
		first := max(from-i, 0)
		have, pos := 0, first*width/8
		if cut := first * width % 8; cut > 0 && first < count {
			acc, have, pos = uint64(packed[pos])>>cut, 8-cut, pos+1
		}
		mask := uint64(1)<<width - 1
		for k := first; k < min(count, to-i); k++ {
			for have < width {
				acc |= uint64(packed[pos]) << have
				pos++
				have += 8
			}
			v := acc & mask
			acc >>= width
			have -= width
			if v >= uint64(size) {
				return false
			}
			out[i+k-from] = uint32(v)
		}
		return true
	})
	return dst, err
}

// hybrid walks runs until n values are seen. run gets a repeated value, packed
// gets count values in whole groups of eight; both return false on a value that
// is out of range.
func hybrid(src []byte, width, n int, run func(i, run int, v uint32) bool, packed func(i, count int, b []byte) bool) error {
	for i := 0; i < n; {
		h, k := binary.Uvarint(src)
		if k <= 0 {
			return corruptf("levels or indexes are cut off at %d of %d", i, n)
		}
		src = src[k:]
		if h&1 == 0 {
			size := (width + 7) / 8
			if h>>1 == 0 || len(src) < size {
				return corruptf("malformed run at %d of %d", i, n)
			}
			var b [4]byte
			copy(b[:], src[:size])
			src = src[size:]
			count := int(min(h>>1, uint64(n-i)))
			if !run(i, count, binary.LittleEndian.Uint32(b[:])) {
				return corruptf("level or index out of range at %d", i)
			}
			i += count
			continue
		}
		groups := h >> 1
		if groups == 0 || groups > uint64(n)/8+1 && width == 0 {
			return corruptf("malformed run at %d of %d", i, n)
		}
		count := n - i
		if groups < uint64(count+7)/8 {
			count = int(groups) * 8
		}
		need := (count + 7) / 8 * width
		if len(src) < need { // the last group may be cut short by some writers
			if (count*width+7)/8 > len(src) {
				return corruptf("levels or indexes are cut off at %d of %d", i, n)
			}
			src = append(src[:len(src):len(src)], make([]byte, need-len(src))...)
		}
		if !packed(i, count, src) {
			return corruptf("level or index out of range at %d", i)
		}
		src = src[min(uint64(len(src)), groups*uint64(width)):]
		i += count
	}
	return nil
}

// putLevels appends levels of the given width to dst: long runs as runs, the
// rest bit-packed in groups of eight.
func putLevels(dst []byte, lv []uint8, width int) []byte {
	for i := 0; i < len(lv); {
		run := runLen(lv[i:])
		if run >= 8 || i+run == len(lv) {
			dst = binary.AppendUvarint(dst, uint64(run)<<1)
			dst = append(dst, lv[i])
			i += run
			continue
		}
		// Pack groups of eight until a group that starts a long run.
		end := i
		for end < len(lv) && (end == i || runLen(lv[end:]) < 16) {
			end += 8
		}
		if end > len(lv) {
			end = len(lv)
		}
		groups := (end - i + 7) / 8
		dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
		for ; i < end; i += 8 {
			var w uint64
			for j, v := range lv[i:min(i+8, end)] {
				w |= uint64(v) << (j * width)
			}
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], w)
			dst = append(dst, b[:width]...)
		}
		i = end
	}
	return dst
}

// runLen is how often lv's first value stands at its start.
func runLen(lv []uint8) int {
	v := lv[0]
	n := 1
	if len(lv) >= 8 {
		pat := uint64(v) * 0x0101010101010101
		for n = 0; n+8 <= len(lv); n += 8 {
			if x := binary.LittleEndian.Uint64(lv[n:]) ^ pat; x != 0 {
				return n + bits.TrailingZeros64(x)/8
			}
		}
	}
	for n < len(lv) && lv[n] == v {
		n++
	}
	return n
}

// putIndexes appends dictionary indexes of the given width to dst.
func putIndexes(dst []byte, ix []uint32, width int) []byte {
	for i := 0; i < len(ix); {
		run := 1
		for i+run < len(ix) && ix[i+run] == ix[i] {
			run++
		}
		if run >= 8 || i+run == len(ix) {
			dst = binary.AppendUvarint(dst, uint64(run)<<1)
			var b [4]byte
			binary.LittleEndian.PutUint32(b[:], ix[i])
			dst = append(dst, b[:(width+7)/8]...)
			i += run
			continue
		}
		end := i + 8
		for end < len(ix) && !(end+8 <= len(ix) && sameEight(ix[end:end+8])) {
			end += 8
		}
		end = min(end, len(ix))
		groups := (end - i + 7) / 8
		dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
		dst = packIndexes(dst, ix[i:end], width, groups)
		i = end
	}
	return dst
}

func sameEight(ix []uint32) bool {
	for _, v := range ix {
		if v != ix[0] {
			return false
		}
	}
	return true
}

func packIndexes(dst []byte, ix []uint32, width, groups int) []byte {
	want := len(dst) + groups*width
	var acc uint64
	have := 0
	for _, v := range ix {
		acc |= uint64(v) << have
		for have += width; have >= 8; have -= 8 {
			dst = append(dst, byte(acc))
			acc >>= 8
		}
	}
	if have > 0 {
		dst = append(dst, byte(acc))
	}
	for len(dst) < want {
		dst = append(dst, 0)
	}
	return dst
}
