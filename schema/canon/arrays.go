package canon

import (
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
	dst = slices.Grow(dst, 12*len(v))
	for i, n := range v {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendInt32(dst, n)
	}
	return dst
}

// pairs is "00" to "99".
const pairs = "00010203040506070809" + "10111213141516171819" + "20212223242526272829" + "30313233343536373839" + "40414243444546474849" +
	"50515253545556575859" + "60616263646566676869" + "70717273747576777879" + "80818283848586878889" + "90919293949596979899"

func appendInt32(dst []byte, n int32) []byte {
	dst = slices.Grow(dst, 11)
	b, at, u := dst[:cap(dst)], len(dst), uint32(n)
	if n < 0 {
		b[at] = '-'
		at, u = at+1, -u
	}
	digits := digitsOf(u)
	putDigits(b[at:at+digits], u)
	return b[:at+digits]
}

// digitsOf is how many digits u has.
func digitsOf(u uint32) int {
	n := (bits.Len32(u|1) * 1233) >> 12 // digits, or one less
	if u >= tens[n] {
		n++
	}
	return max(n, 1)
}

var tens = [...]uint32{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, math.MaxUint32}

// putDigits fills b, which is as long as u has digits.
func putDigits(b []byte, u uint32) {
	at := len(b)
	for u >= 100 {
		q := u / 100
		r := 2 * (u - 100*q)
		b[at-1], b[at-2] = pairs[r+1], pairs[r]
		at, u = at-2, q
	}
	if u >= 10 {
		b[1], b[0] = pairs[2*u+1], pairs[2*u]
	} else {
		b[0] = '0' + byte(u)
	}
}

// maxFloat32 is more than the bytes of any float32, and of the blocks in which
// AppendFloat32 writes.
const maxFloat32 = 32

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
	for k < 0 {
		q := d / 10
		if q*10 != d {
			break
		}
		d, k = q, k+1
	}
	n := digitsOf(d)
	switch point := n + k; {
	case k >= 0: // at most 1e7, so the zeros fit
		putDigits(b[at:at+n], d)
		copy(b[at+n:at+n+8], "00000000")
		at += n + k
	case point > 0:
		putDigits(b[at+1:at+1+n], d)
		copy(b[at:at+point], b[at+1:])
		b[at+point] = '.'
		at += n + 1
	default:
		copy(b[at:at+8], "0.000000")
		at += 2 - point
		putDigits(b[at:at+n], d)
		at += n
	}
	return b[:at]
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
