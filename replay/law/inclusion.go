package law

import (
	"math"
	"math/bits"
)

// Buckets counts weights by their binary logarithm: bucket b holds those with b + 1
// binary digits. It is what the inclusion probability of a tree draw is taken from.
// Whoever keeps weights in a tree keeps Buckets beside it. Weights of 0 do not count.
type Buckets [64]Bucket

// Bucket is the number and the sum of some weights.
type Bucket struct {
	N   uint64
	Sum Sum
}

// Add counts one weight.
func (b *Buckets) Add(w uint64) {
	if w != 0 {
		c := &b[bits.Len64(w)-1]
		c.N++
		c.Sum = c.Sum.Add(Sum{0, w})
	}
}

// Remove takes back one Add of the weight.
func (b *Buckets) Remove(w uint64) {
	if w != 0 {
		c := &b[bits.Len64(w)-1]
		c.N--
		c.Sum = c.Sum.Sub(Sum{0, w})
	}
}

// Merge counts all that other counts.
func (b *Buckets) Merge(other *Buckets) {
	for i := range b {
		b[i].N += other[i].N
		b[i].Sum = b[i].Sum.Add(other[i].Sum)
	}
}

// Count is how many weights there are.
func (b *Buckets) Count() (n uint64) {
	for i := range b {
		n += b[i].N
	}
	return n
}

// Threshold is the t of a draw, in units of 2^−120: a candidate of weight w has the
// inclusion probability 1 − 2^(−w·t). The zero Threshold is that of a draw that
// takes all there is.
type Threshold Sum

const (
	thresholdBits = 127 // a Threshold is below 2^127
	thresholdKept = 32  // binary digits that are worked out
)

// Threshold solves Σ n·(1 − 2^(−m·t)) = k over the buckets, each with its n weights
// counted as n times their mean m, rounded down. By bisection: first the greatest
// h ≤ 126 such that t = 2^h makes less than k, among 7 comparisons from h = 64 and
// steps of 32, 16, …; then, from the digit below h down, each of 31 digits is set
// where with it t still makes less than k. A draw of 0 counts as one of 1. Where
// there are not more than k candidates the result is zero.
func (b *Buckets) Threshold(k uint64) Threshold {
	k = max(k, 1)
	if b.Count() <= k {
		return Threshold{}
	}
	var means []Bucket // with the mean for the sum
	for _, c := range b {
		if c.N > 0 {
			_, rest := bits.Div64(0, c.Sum.Hi, c.N)
			mean, _ := bits.Div64(rest, c.Sum.Lo, c.N)
			means = append(means, Bucket{c.N, Sum{0, mean}})
		}
	}
	want := Sum{k >> 32, k << 32}
	short := func(t Sum) bool {
		var sum Sum
		for _, c := range means {
			hi, lo := bits.Mul64(c.N, Threshold(t).Inclusion(c.Sum.Lo))
			sum = sum.Add(Sum{hi, lo})
			if !sum.Less(want) {
				return false
			}
		}
		return true
	}
	h := 0
	for step := 64; step > 0; step /= 2 {
		if next := h + step; next < thresholdBits && short(digit(next)) {
			h = next
		}
	}
	t := digit(h)
	for i := h - 1; i >= 0 && i > h-thresholdKept; i-- {
		if next := t.Add(digit(i)); short(next) {
			t = next
		}
	}
	return Threshold(t)
}

func digit(i int) Sum {
	if i >= 64 {
		return Sum{1 << (i - 64), 0}
	}
	return Sum{0, 1 << i}
}

// Inclusion is the probability, in 2^−32, with which a draw takes a candidate of
// weight w: at least 1, One for the zero Threshold. A weight of 0 gives 1.
func (t Threshold) Inclusion(w uint64) uint64 {
	if t == (Threshold{}) {
		return One
	}
	if w == 0 {
		return 1
	}
	// w·t has up to 190 binary digits and counts 2^−120; x = ⌊w·t · 2^57⌋ leaves out 63.
	high, mid := bits.Mul64(w, t.Hi)
	over, low := bits.Mul64(w, t.Lo)
	mid, carry := bits.Add64(mid, over, 0)
	if high+carry != 0 || mid>>63 != 0 {
		return inclusionOf(math.MaxUint64)
	}
	return inclusionOf(mid<<1 | low>>63)
}

// inclusionOf is 1 − 2^−x of an exponent in Q.57, in 2^−32 and at least 1. An x of
// 2^64 − 1 stands for all greater ones.
func inclusionOf(x uint64) uint64 {
	m := expOf(x)
	return max((math.MaxUint64-m>>(x>>fractionBits))>>32, 1)
}
