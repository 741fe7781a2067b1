// Package law is law 1 of the draw: which rows a batch holds, in which order,
// and how probable each of them was.
//
// Everything here is a pure function of integers. No result depends on the
// processor, on the order in which candidates are handed in, on how they are
// split over nodes, or on any cache; a batch drawn years ago is drawn again bit
// by bit. Floating point appears at the entrance and the exit alone: [Weight] and
// [Pow] take a float64 apart into integers instead of calculating with it, and
// [ImportanceWeights] rounds every step by itself.
//
// Two samplers draw from one and the same distribution, successive sampling
// without replacement in proportion to weights:
//
//   - keyed ([Draw], [Drawer], [Order], [DrawColumns]): every candidate gets a key from its id,
//     the seed and the position, and the smallest keys win. Nothing has to be
//     maintained, shards merge exactly, and taking one row out changes one slot.
//   - tree ([Tree]): a sum tree over weights in log order, descended by a hash of
//     seed, position, slot and try. A draw costs O(log n).
//
// [Schedule] says which stratum each slot of a stream belongs to, [TokenSchedule]
// where shares are of tokens. [Decay], [Pow] and [Learnability] make weights,
// [Inclusion] and [Buckets] probabilities, [ImportanceWeights] what comes of both.
//
// The specification with its golden vectors is docs/format/draw.md. What this
// package computes for law 1 never changes; a better law gets another number.
package law

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"
)

const (
	// Version is the number of the law that this package computes; specs store it.
	Version = 1

	// One is probability 1 in the unit of inclusion probabilities, 2^−32.
	One = uint64(1) << 32

	// fractionBits is the number of binary places of a key (Q7.57).
	fractionBits = 57

	// maxWeight is the greatest fixed-point weight.
	maxWeight = uint64(1)<<63 - 1
)

// Mix64 is the finaliser of splitmix64, a bijection of 64-bit numbers.
func Mix64(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// ID64 is the number by which a unit takes part in keyed draws: the first eight
// bytes, big-endian, of the SHA-256 of its id in UTF-8.
func ID64(unit string) uint64 {
	sum := sha256.Sum256([]byte(unit))
	return binary.BigEndian.Uint64(sum[:8])
}

// base is what seed and position put into every hash of one draw.
func base(seed, position uint64) uint64 {
	return Mix64(seed ^ Mix64(position))
}

// Uniform is the candidate's random number in [1, 2^64) for one draw. A greater
// number is a better one. Key turns it into the key.
func Uniform(id64, seed, position uint64) uint64 {
	return uniform(id64, base(seed, position))
}

func uniform(id64, base uint64) uint64 {
	return max(Mix64(id64^base), 1)
}

// Key is L of a candidate in one draw: an exponential random number (in units of
// ln 2, Q7.57). It is NegLog2 of Uniform.
func Key(id64, seed, position uint64) uint64 {
	return NegLog2(Uniform(id64, seed, position))
}

// NegLog2 is 64 − log2(u) in Q7.57, computed by 57 truncating squarings and never
// below the true value. u = 0 counts as 1.
func NegLog2(u uint64) uint64 {
	u = max(u, 1)
	n := bits.Len64(u) - 1
	m := u << (63 - n)
	var f uint64
	for range fractionBits {
		m, _ = bits.Mul64(m, m)
		top := m >> 63
		f = f<<1 | top
		m <<= 1 - top
	}
	return 64<<fractionBits - uint64(n)<<fractionBits - f
}

// log2e is ⌊log2(e) · 2^63⌋.
const log2e = 0xB8AA3B295C17F0BB

// KeyFloor is a lower bound of NegLog2(u) that costs one multiplication:
// (2^64 − u) · log2(e), rounded down. Near u = 2^64, where the winners are, it is
// tight, so that almost every candidate can be rejected without the logarithm.
func KeyFloor(u uint64) uint64 {
	hi, _ := bits.Mul64(-max(u, 1), log2e) // (2^64 − u) · log2 e / 2
	return hi >> (63 - fractionBits)
}

// Weight is a weight as fixed point, Q32.32: ⌊w · 2^32 + ½⌋, at most 2^63 − 1.
// Zero, negative numbers and NaN give 0, which is never drawn; every positive
// weight gives at least 1. The conversion is exact for every float64.
func Weight(w float64) uint64 {
	b := math.Float64bits(w)
	if b == 0 || b>>63 == 1 || math.IsNaN(w) {
		return 0
	}
	exp, mant := int(b>>52), b&(1<<52-1)
	if exp == 0 {
		exp = 1 // subnormal
	} else {
		mant |= 1 << 52
	}
	shift := exp - 1075 + 32 // w · 2^32 = mant · 2^shift
	switch {
	case shift > 63-bits.Len64(mant): // +Inf comes here too
		return maxWeight
	case shift >= 0:
		return mant << shift
	case shift < -63:
		return 1
	}
	return max((mant+1<<(-shift-1))>>-shift, 1)
}

// Less tells whether candidate a comes before candidate b: by L/w, compared as
// L_a·w_b < L_b·w_a in 128 bits, then by the smaller row_seq.
func Less(la, wa uint64, seqA int64, lb, wb uint64, seqB int64) bool {
	ah, al := bits.Mul64(la, wb)
	bh, bl := bits.Mul64(lb, wa)
	if ah != bh {
		return ah < bh
	}
	if al != bl {
		return al < bl
	}
	return seqA < seqB
}

// Inclusion is the probability, in units of 2^−32, that a candidate of weight w
// has a key below next/wNext, that is 1 − 2^(−w·next/wNext). next and wNext are
// L and weight of the candidate that would have taken the row's slot, in a plain
// draw the first one that was not drawn. The result is between 1 and 2^32 − 1;
// where no candidate was left over the probability is [One]. Both weights must
// be positive; for others the result is 1.
func Inclusion(w, next, wNext uint64) uint64 {
	if w == 0 || wNext == 0 {
		return 1
	}
	hi, lo := bits.Mul64(w, next)
	if hi >= wNext { // the exponent is 128 or more
		return inclusionOf(math.MaxUint64)
	}
	x, _ := bits.Div64(hi, lo, wNext)
	return inclusionOf(x)
}
