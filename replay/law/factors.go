package law

import (
	"math"
	"math/bits"
)

// learnBits is the number of binary places of Learnability.
const learnBits = 55

// Learnability is p(1−p) for the mean p of the posterior of a task's pass rate:
// with s successes of n trials and a prior of a successes and b failures,
// (s+a)(n−s+b)/(n+a+b)². The prior counts as Q32.32, at least 2^−32 and below 2^28;
// the quotient is exact, rounded down to 55 binary places and at least 2^−55.
// From 2^28 trials on, trials and successes are halved until they are fewer.
func Learnability(successes, trials int64, prior [2]float64) float64 {
	n := uint64(max(trials, 0))
	s := min(uint64(max(successes, 0)), n)
	for n >= 1<<28 {
		n, s = n>>1, s>>1
	}
	const least, greatest = 1, 1<<60 - 1
	x := s<<32 + min(max(Weight(prior[0]), least), greatest)
	y := (n-s)<<32 + min(max(Weight(prior[1]), least), greatest)
	rest, whole := product(x, y), product(x+y, x+y)
	q := uint64(0)
	for range learnBits {
		rest = rest.Add(rest)
		q <<= 1
		if !rest.Less(whole) {
			rest = rest.Sub(whole)
			q |= 1
		}
	}
	return math.Ldexp(float64(max(q, 1)), -learnBits)
}

func product(x, y uint64) Sum {
	hi, lo := bits.Mul64(x, y)
	return Sum{hi, lo}
}

// ImportanceWeights is what the rows of a batch are to be multiplied by in a loss:
// (1/(n·p))^beta, divided by the greatest of the batch, where n is the number of
// candidates of the row's stratum and p its inclusion probability in 2^−32. Both
// lists are of one length. One row's n and p are multiplied in float64, 2^32 is
// divided by the product, the quotient by the greatest quotient, and that is put to
// the power by Pow: four roundings in this order. beta 0 gives 1 for all.
func ImportanceWeights(n []int64, p32 []uint64, beta float64) []float64 {
	out := make([]float64, min(len(n), len(p32)))
	greatest := 0.0
	for i := range out {
		expected := float64(float64(max(n[i], 1)) * float64(max(p32[i], 1)))
		out[i] = float64(One) / expected
		greatest = max(greatest, out[i])
	}
	for i := range out {
		if !(beta > 0) {
			out[i] = 1
			continue
		}
		out[i] = Pow(out[i]/greatest, beta)
	}
	return out
}
