package law

import (
	"math"
	"math/bits"
)

// expOf is 2^−f for a fraction f of 57 binary places, in units of 2^−64, rounded
// down. f = 0 would be 2^64 and gives 2^64 − 1: callers see to it.
func expOf(f uint64) uint64 {
	m := uint64(math.MaxUint64)
	for f &= 1<<fractionBits - 1; f != 0; {
		top := bits.Len64(f) // the bit of 2^−i, i = 58 − top
		m, _ = bits.Mul64(m, halfPowers[fractionBits+1-top])
		f &^= 1 << (top - 1)
	}
	return m
}

// Factor is a power of 2 that weights are multiplied by: 2^−x for the x of an age.
type Factor struct {
	m     uint64 // in units of 2^−64; 0 stands for 2^64
	shift int    // 2^−shift times m
}

// log2e57 is ⌊log2(e) · 2^57⌋.
const log2e57 = log2e >> 6

// most is the greatest shift: it leaves nothing of any weight, or everything.
const most = 128

// Decay is exp(−age/tau) as a Factor: with x = ⌊|age| · 1000 · log2(e) / tauMilli⌋
// in Q.57 it is 2^−x, or for a negative age 2^x. tauMilli is tau in thousandths
// of the unit of age; less than 1 counts as 1. Age 0 leaves weights as they are.
func Decay(age, tauMilli int64) Factor {
	distance := uint64(age)
	if age < 0 {
		distance = -distance
	}
	x, fits := uint64(0), false
	if over, thousandths := bits.Mul64(distance, 1000); over == 0 {
		divisor := uint64(max(tauMilli, 1))
		if hi, lo := bits.Mul64(thousandths, log2e57); hi < divisor {
			x, _ = bits.Div64(hi, lo, divisor)
			fits = true
		}
	}
	switch whole, fraction := int(x>>fractionBits), x&(1<<fractionBits-1); {
	case !fits && age > 0:
		return Factor{shift: most}
	case !fits:
		return Factor{shift: -most}
	case fraction == 0 && age >= 0:
		return Factor{shift: whole}
	case fraction == 0:
		return Factor{shift: -whole}
	case age >= 0:
		return Factor{expOf(fraction), whole}
	default: // 2^x = 2^⌈x⌉ · 2^−(⌈x⌉−x)
		return Factor{expOf(1<<fractionBits - fraction), -whole - 1}
	}
}

// DecayWeight is a weight times a factor, rounded down, at most 2^63 − 1. A weight
// above 0 stays above 0: it becomes at least 1.
func DecayWeight(w uint64, f Factor) uint64 {
	if w == 0 {
		return 0
	}
	hi, lo := w, uint64(0) // w · m
	if f.m != 0 {
		hi, lo = bits.Mul64(w, f.m)
	}
	switch {
	case f.shift >= 64:
		return 1
	case f.shift >= 0:
		return min(max(hi>>f.shift, 1), maxWeight)
	case f.shift <= -64 || hi>>(63+f.shift) != 0: // m is about 2^63 or more
		return maxWeight
	}
	return max(hi<<-f.shift|lo>>(64+f.shift), 1)
}

// landmarkTaus is how many tau lie between two landmarks.
const landmarkTaus = 4

// Landmark is the moment that ages are counted from, so that weights need not
// change while time goes on: only their ratios matter to a draw, and a common
// factor cancels. It is the last multiple of 4 tau (at least of 1 unit) at or
// before newest, the time of the newest row that counts: the least of the moment
// of the draw and the greatest time of any row. A row of time t has the age
// Landmark − t, which is negative for rows after the landmark; their factor is
// below e^4. The weights of all rows change when the landmark moves, and not
// between. However old all rows are, the newest of them do not underflow.
func Landmark(newest, tauMilli int64) int64 {
	period := max(min(max(tauMilli, 1), math.MaxInt64/landmarkTaus)*landmarkTaus/1000, 1)
	behind := newest % period
	if behind < 0 {
		behind += period
	}
	if newest < math.MinInt64+behind {
		return math.MinInt64
	}
	return newest - behind
}

// powBits is the number of binary places of a logarithm within Pow.
const powBits = 52

// maxAlpha bounds the exponent of Pow.
const maxAlpha = uint64(16) << 32

// Pow is x^alpha, calculated with integers alone, so that it is the same on every
// processor; math.Pow is not. alpha counts as Weight(alpha), at most 16; 1 gives x
// itself. x ≤ 0 and NaN give 0. The relative error is below 2^−46.
func Pow(x, alpha float64) float64 {
	a := min(Weight(alpha), maxAlpha)
	switch {
	case !(x > 0):
		return 0
	case a == 1<<32 || math.IsInf(x, 1):
		return x
	}
	exponent, u := apart(x)
	f := uint64(0)
	for m, i := u, 0; i < powBits; i++ {
		m, _ = bits.Mul64(m, m)
		top := m >> 63
		f = f<<1 | top
		m <<= 1 - top
	}
	v := int64(exponent)<<powBits + int64(f) // log2(x)
	magnitude := uint64(v)
	if v < 0 {
		magnitude = -magnitude
	}
	hi, lo := bits.Mul64(magnitude, a)
	switch {
	case hi >= 1<<30 && v > 0:
		return math.Inf(1)
	case hi >= 1<<30:
		return 0x1p-1022
	}
	y := int64(hi<<32 | lo>>32)
	if v < 0 {
		y = -y
		if lo<<32 != 0 { // rounded down, away from 0
			y--
		}
	}
	whole := -(-y >> powBits) // rounded up
	rest := whole<<powBits - y
	m := uint64(1) << 63
	if rest != 0 {
		m = expOf(uint64(rest) << (fractionBits - powBits))
		whole--
	}
	return max(math.Ldexp(float64(m>>11), int(whole)-52), 0x1p-1022)
}

// apart takes a positive finite number apart: x = u · 2^(exponent−63), u ≥ 2^63.
func apart(x float64) (exponent int, u uint64) {
	b := math.Float64bits(x)
	e, mant := int(b>>52), b&(1<<52-1)
	if e == 0 {
		e = 1
	} else {
		mant |= 1 << 52
	}
	zeros := bits.LeadingZeros64(mant)
	return e - 1075 + 63 - zeros, mant << zeros
}
