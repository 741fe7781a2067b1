package law

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"testing"
)

func bucketsOf(weights []uint64) *Buckets {
	b := new(Buckets)
	for _, w := range weights {
		b.Add(w)
	}
	return b
}

// fifths is the weights of the whole draw that the specification shows.
func fifths() (out []uint64) {
	for i := range 40 {
		out = append(out, Weight(float64(i%5)/4))
	}
	return out
}

func TestThresholdGolden(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []uint64
		k       uint64
		want    Threshold
		p       []uint64 // of the weights ¼, ½, ¾, 1
	}{
		{"fifths", fifths(), 5, goldenThreshold[0], goldenTreeP[0][:]},
		{"fifths", fifths(), 31, goldenThreshold[1], goldenTreeP[1][:]},
		{"fifths", fifths(), 32, Threshold{}, []uint64{One, One, One, One}},
		{"lopsided", lopsided, 3, goldenThreshold[2], goldenTreeP[2][:]},
		{"none", nil, 3, Threshold{}, []uint64{One, One, One, One}},
	} {
		got := bucketsOf(c.weights).Threshold(c.k)
		if got != c.want {
			t.Errorf("%s, k %d: threshold {%#x, %#x}, want {%#x, %#x}", c.name, c.k, got.Hi, got.Lo, c.want.Hi, c.want.Lo)
		}
		for i, want := range c.p {
			if p := got.Inclusion(uint64(i+1) << 30); p != want {
				t.Errorf("%s, k %d: p of %d/4 is %d, want %d", c.name, c.k, i+1, p, want)
			}
		}
	}
}

// naiveThreshold is the law read literally, with big integers.
func naiveThreshold(weights []uint64, k uint64) *big.Int {
	k = max(k, 1)
	var n [64]int64
	var sums [64]*big.Int
	count := uint64(0)
	for _, w := range weights {
		if w == 0 {
			continue
		}
		b := bits.Len64(w) - 1
		if sums[b] == nil {
			sums[b] = new(big.Int)
		}
		n[b]++
		count++
		sums[b].Add(sums[b], new(big.Int).SetUint64(w))
	}
	if count <= k {
		return new(big.Int)
	}
	less := func(t *big.Int) bool {
		total := new(big.Int)
		for b, sum := range sums {
			if sum != nil {
				mean := new(big.Int).Quo(sum, big.NewInt(n[b]))
				total.Add(total, new(big.Int).Mul(big.NewInt(n[b]), naiveTreeInclusion(mean, t)))
			}
		}
		return total.Cmp(new(big.Int).Lsh(new(big.Int).SetUint64(k), 32)) < 0
	}
	power := func(i int) *big.Int { return new(big.Int).Lsh(big.NewInt(1), uint(i)) }
	h := 0
	for _, step := range []int{64, 32, 16, 8, 4, 2, 1} {
		if h+step <= 126 && less(power(h+step)) {
			h += step
		}
	}
	t := power(h)
	for i := h - 1; i >= max(h-31, 0); i-- {
		if next := new(big.Int).Add(t, power(i)); less(next) {
			t = next
		}
	}
	return t
}

func naiveTreeInclusion(w, t *big.Int) *big.Int {
	x := new(big.Int).Mul(w, t)
	x.Rsh(x, 63)
	m := new(big.Int)
	if x.BitLen() <= 64 {
		m = naiveExp(x.Uint64() & (1<<57 - 1))
		m.Rsh(m, uint(x.Uint64()>>57))
	}
	p := new(big.Int).Sub(new(big.Int).SetUint64(math.MaxUint64), m)
	if p.Rsh(p, 32); p.Sign() == 0 {
		p.SetInt64(1)
	}
	return p
}

func TestThresholdEqualsNaive(t *testing.T) {
	r := random(t, 26)
	for range 400 {
		n := r.IntN(300)
		weights := make([]uint64, n)
		size := r.IntN(63)
		for i := range weights {
			switch r.IntN(3) {
			case 0:
				weights[i] = r.Uint64N(maxWeight+1) >> size
			case 1:
				weights[i] = r.Uint64N(maxWeight+1) >> r.IntN(63)
			}
		}
		k := r.Uint64N(uint64(n + 3))
		b := bucketsOf(weights)
		got := b.Threshold(k)
		if want := naiveThreshold(weights, k); toBig(Sum(got)).Cmp(want) != 0 {
			t.Fatalf("k %d of %v: {%#x, %#x}, want %x", k, weights, got.Hi, got.Lo, want)
		}
		if got == (Threshold{}) {
			continue
		}
		for _, w := range append(weights, r.Uint64N(maxWeight+1)) {
			if w == 0 {
				continue
			}
			if p, want := got.Inclusion(w), naiveTreeInclusion(new(big.Int).SetUint64(w), toBig(Sum(got))); p != want.Uint64() {
				t.Fatalf("weight %d at {%#x, %#x}: %d, want %d", w, got.Hi, got.Lo, p, want)
			}
		}
	}
}

// TestThresholdSolves: the probabilities of all candidates add up to k, as nearly
// as a bucket's mean stands for its weights.
func TestThresholdSolves(t *testing.T) {
	r := random(t, 27)
	for _, n := range []int{2, 30, 1000, 50_000} {
		for _, spread := range []int{1, 8, 40} {
			weights := make([]uint64, n)
			for i := range weights {
				weights[i] = (1<<62 + r.Uint64N(1<<62)) >> r.IntN(spread)
			}
			for _, k := range []uint64{1, uint64(n) / 10, uint64(n) / 2, uint64(n) - 1} {
				k = max(k, 1)
				threshold, sum := bucketsOf(weights).Threshold(k), 0.0
				for _, w := range weights {
					sum += float64(threshold.Inclusion(w)) / float64(One)
				}
				if math.Abs(sum-float64(k)) > 0.03*float64(k) {
					t.Errorf("%d of %d over %d sizes: probabilities add up to %v", k, n, spread, sum)
				}
			}
		}
	}
}

func TestBuckets(t *testing.T) {
	r := random(t, 28)
	var all, left, right Buckets
	var kept []uint64
	for i := range 1000 {
		w := r.Uint64() >> r.IntN(65)
		all.Add(w)
		if i%3 == 0 {
			left.Add(w)
		} else {
			right.Add(w)
		}
		kept = append(kept, w)
	}
	if left.Merge(&right); left != all {
		t.Error("merged buckets differ")
	}
	for _, w := range kept[:400] {
		all.Remove(w)
	}
	if all != *bucketsOf(kept[400:]) {
		t.Error("after removal buckets differ")
	}
}

// TestTreeInverseProbabilitiesAreUnbiased: each row's 1/p, summed over the batches
// of the tree sampler that hold it, comes to the number of batches. The solution
// of Σ p = k is an approximation for few slots: 2 per cent of 1 are let pass.
func TestTreeInverseProbabilitiesAreUnbiased(t *testing.T) {
	const k, batches = 24, 20_000
	weights := make([]uint64, 120)
	for i := range weights {
		weights[i] = Weight(float64(1+i%5) / 4)
	}
	tree, threshold := NewTree(weights), bucketsOf(weights).Threshold(k)
	sum, squares := make([]float64, len(weights)), make([]float64, len(weights))
	for position := range uint64(batches) {
		for _, row := range treeBatch(tree, 77, position, k) {
			x := float64(One) / float64(threshold.Inclusion(weights[row]))
			sum[row] += x
			squares[row] += x * x
		}
	}
	for i := range sum {
		mean := sum[i] / batches
		deviation := math.Sqrt((squares[i]/batches - mean*mean) / batches)
		if deviation > 0.03 || math.Abs(mean-1) > 0.02+5*deviation {
			t.Errorf("row %d: sum of 1/p is %.3f ± %.3f per batch", i, mean, deviation)
		}
	}
}

func BenchmarkThreshold(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, spread := range []int{1, 10, 63} {
		var buckets Buckets
		for range 100_000 {
			buckets.Add((1<<62 + r.Uint64N(1<<62)) >> r.IntN(spread))
		}
		b.Run(fmt.Sprintf("sizes=%d", spread), func(b *testing.B) {
			for b.Loop() {
				buckets.Threshold(256)
			}
		})
	}
}
