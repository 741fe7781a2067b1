package canon

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"slices"
)

// AppendInt8s writes numbers as an array's elements, with commas between them
// and no brackets.
func AppendInt8s(dst []byte, v []int8) []byte {
	dst = slices.Grow(dst, 5*len(v))
	for i, n := range v {
		if i > 0 {
			dst = append(dst, ',')
		}
		if n >= 0 && n <= 9 { // a mask: nearly every element there is
			dst = append(dst, '0'+byte(n))
			continue
		}
		dst = appendInt32(dst, int32(n))
	}
	return dst
}

// AppendInt32s is AppendInt8s for int32.
func AppendInt32s(dst []byte, v []int32) []byte {
	dst = slices.Grow(dst, 12*len(v)+slack)
	b, at := dst[:cap(dst)], len(dst)
	for i, n := range v {
		if i > 0 {
			b[at] = ','
			at++
		}
		u := uint32(n)
		if n < 0 {
			b[at] = '-'
			at, u = at+1, -u
		}
		at = putInt(b, at, u)
	}
	return b[:at]
}

// threes holds the three digits of each number below 1,000, the first in the
// lowest byte.
var threes = func() (out [1000]uint32) {
	for i := range out {
		n := uint32(i)
		out[i] = '0' + n/100 | ('0'+n/10%10)<<8 | ('0'+n%10)<<16
	}
	return out
}()

// slack is how many bytes behind the end of the text the writers below may
// scribble over; the room is there before they are called.
const slack = 16

func appendInt32(dst []byte, n int32) []byte {
	dst = slices.Grow(dst, 11+slack)
	b, at, u := dst[:cap(dst)], len(dst), uint32(n)
	if n < 0 {
		b[at] = '-'
		at, u = at+1, -u
	}
	return b[:putInt(b, at, u)]
}

// putInt writes u at b[at:] and returns where it ends.
func putInt(b []byte, at int, u uint32) int {
	switch {
	case u < 1000:
		return putHead(b, at, u)
	case u < 1_000_000:
		q := u / 1000
		at = putHead(b, at, q)
		binary.LittleEndian.PutUint32(b[at:], threes[u-1000*q])
		return at + 3
	}
	q := u / 1_000_000
	at = putInt(b, at, q)
	r := u - 1_000_000*q
	q = r / 1000
	binary.LittleEndian.PutUint32(b[at:], threes[q])
	binary.LittleEndian.PutUint32(b[at+3:], threes[r-1000*q])
	return at + 6
}

// putHead writes u, which is below 1,000, without leading zeros.
func putHead(b []byte, at int, u uint32) int {
	n := 3
	if u < 10 {
		n = 1
	} else if u < 100 {
		n = 2
	}
	binary.LittleEndian.PutUint32(b[at:], threes[u]>>(8*(3-n)))
	return at + n
}

// putPadded writes the lowest n digits of u, of at most 9, with leading zeros.
func putPadded(b []byte, at int, u uint32, n int) int {
	var t [slack * 2]byte
	q := u / 1000
	p := q / 1000
	binary.LittleEndian.PutUint32(t[0:], threes[p])
	binary.LittleEndian.PutUint32(t[3:], threes[q-1000*p])
	binary.LittleEndian.PutUint32(t[6:], threes[u-1000*q])
	copy(b[at:at+slack], t[9-n:9-n+slack])
	return at + n
}

// maxFloat32 is more than the bytes of any float32 and the slack.
const maxFloat32 = 48

var tens = [...]uint32{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// AppendFloat32 writes f, which must be finite, as the shortest decimal that
// gives the same float32, in the form of AppendFloat. Log-probabilities make up
// most of a trajectory's text, so this has a path of its own for the magnitudes
// that they have; strconv does the others, and powers of two.
func AppendFloat32(dst []byte, f float32) []byte {
	b32 := math.Float32bits(f) &^ (1 << 31)
	abs := float64(math.Float32frombits(b32))
	if !(abs >= 1e-6 && abs < 1e7) || b32&(1<<23-1) == 0 {
		return appendFloat(dst, float64(f), 32)
	}
	dst = slices.Grow(dst, maxFloat32)
	b, at := dst[:len(dst)+maxFloat32], len(dst)
	if f < 0 {
		b[at] = '-'
		at++
	}
	d, k := shortest32(b32)
	for k < 0 { // drop zeros at the end
		q := d / 10
		if q*10 != d {
			break
		}
		d, k = q, k+1
	}
	if k >= 0 { // below 1e7, so k is small
		for range k {
			d *= 10
		}
		return b[:putInt(b, at, d)]
	}
	decimals := -k
	whole, part := uint32(0), d
	if decimals < len(tens) {
		whole = d / tens[decimals]
		part = d - whole*tens[decimals]
	}
	at = putInt(b, at, whole)
	b[at] = '.'
	at++
	for decimals > 9 {
		b[at] = '0'
		at, decimals = at+1, decimals-1
	}
	return b[:putPadded(b, at, part, decimals)]
}

// shortest32 is the decimal d·10^k with the fewest digits that rounds to the
// positive float with these bits, and among those the nearest; d may end in
// zeros. The float is normal and no power of two, whose neighbours are not
// equally far. It is R. Giulietti's Schubfach method.
func shortest32(b uint32) (d uint32, k int) {
	c, q := b&(1<<23-1)|1<<23, int(b>>23)-150
	if q <= 0 && q > -24 && c&(1<<-q-1) == 0 {
		return c >> -q, 0 // an integer
	}
	k = (q * 1262611) >> 22
	h := q + (-k*1741647)>>19 + 1
	g := powers[-k-minPower]
	odd := c & 1 // the bounds belong to the interval when c is even
	lower := roundToOdd(g, (4*c-2)<<h) + odd
	vb := roundToOdd(g, 4*c<<h)
	upper := roundToOdd(g, (4*c+2)<<h) - odd
	s := vb / 4
	if s >= 10 {
		t := s / 10
		below, above := lower <= 40*t, 40*t+40 <= upper
		if below != above {
			if above {
				t++
			}
			return t, k + 1
		}
	}
	below, above := lower <= 4*s, 4*s+4 <= upper
	mid := 4*s + 2
	if below != above && above || below == above && (vb > mid || vb == mid && s&1 == 1) {
		s++
	}
	return s, k
}

// roundToOdd is the upper part of g·c with a sticky last bit.
func roundToOdd(g uint64, c uint32) uint32 {
	hi, lo := bits.Mul64(g, uint64(c))
	y := uint32(hi)
	if lo>>32 > 1 {
		y |= 1
	}
	return y
}

// minPower is the least k of powers.
const minPower = -31

// powers holds 10^k for k from minPower to 45, each with 64 bits, rounded up.
var powers = powersOfTen()

func powersOfTen() (out [77]uint64) {
	ten, one := big.NewInt(10), big.NewInt(1)
	for i := range out {
		k := i + minPower
		p := new(big.Int).Exp(ten, big.NewInt(int64(max(k, -k))), nil)
		num, den := p, new(big.Int).Set(one)
		if k < 0 {
			num, den = den, p
		}
		shift := 63 - (k*1741647)>>19 // so that the quotient has 64 bits
		if shift >= 0 {
			num = new(big.Int).Lsh(num, uint(shift))
		} else {
			den = new(big.Int).Lsh(den, uint(-shift))
		}
		q, r := new(big.Int).QuoRem(num, den, new(big.Int))
		if r.Sign() != 0 {
			q.Add(q, one)
		}
		out[i] = q.Uint64()
	}
	return out
}
