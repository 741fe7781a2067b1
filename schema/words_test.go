package schema

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWordsFindWhatElementsHold puts one value among others that are good, at
// every place of arrays of every small length.
func TestWordsFindWhatElementsHold(t *testing.T) {
	const seed = 12
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	float := func() float32 { return math.Float32frombits(r.Uint32() &^ (1 << 23)) } // finite
	minusZero := float32(math.Copysign(0, -1))
	for n := range 21 {
		ids, mask, logprobs := make([]int32, n), make([]int8, n), make([]float32, n)
		for i := range n {
			ids[i], mask[i], logprobs[i] = r.Int32(), int8(r.IntN(2)), float()
		}
		for i := range n {
			for _, bad := range []int32{-1, math.MinInt32} {
				v := slices.Clone(ids)
				v[i] = bad
				if k := firstWith(bytesOf(v), 4, anyNegative); k > i {
					t.Fatalf("%d at %d of %d: looked for from %d on", bad, i, n, k)
				}
			}
			for _, bad := range []int8{-1, 2, 3, math.MinInt8} {
				v := slices.Clone(mask)
				v[i] = bad
				if k := firstWith(bytesOf(v), 1, anyNoMask); k > i {
					t.Fatalf("%d at %d of %d: looked for from %d on", bad, i, n, k)
				}
			}
			for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.Float32frombits(0xffffffff), math.Float32frombits(0x7f800001)} {
				v := slices.Clone(logprobs)
				v[i] = bad
				if k := firstWith(bytesOf(v), 4, anyInfinite); k > i {
					t.Fatalf("%v at %d of %d: looked for from %d on", bad, i, n, k)
				}
			}
			v := slices.Clone(logprobs)
			v[i] = minusZero
			if k := firstWith(bytesOf(v), 4, anyMinusZero); k > i {
				t.Fatalf("-0 at %d of %d: looked for from %d on", i, n, k)
			}
		}
		if k := firstWith(bytesOf(ids), 4, anyNegative); k < n-1 {
			t.Fatalf("good ids are looked at from %d of %d on", k, n)
		}
		if k := firstWith(bytesOf(mask), 1, anyNoMask); k < n-7 {
			t.Fatalf("a good mask is looked at from %d of %d on", k, n)
		}
		if k := firstWith(bytesOf(logprobs), 4, anyInfinite); k < n-1 {
			t.Fatalf("good log-probabilities are looked at from %d of %d on", k, n)
		}
	}
}
