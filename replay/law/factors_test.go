package law

import (
	"math"
	"math/big"
	"slices"
	"testing"
)

func TestLearnabilityGolden(t *testing.T) {
	even := [2]float64{1, 1}
	for _, c := range []struct {
		s, n  int64
		prior [2]float64
		want  float64
	}{
		{0, 0, even, 0.25}, {1, 2, even, 0.25}, {8, 16, even, 0.25},
		{0, 8, even, goldenLearn[0]}, {1, 1, even, goldenLearn[1]}, {3, 10, even, goldenLearn[2]}, {3, 10, [2]float64{0.5, 2}, goldenLearn[3]},
		{100_000_000, 1_000_000_000, even, goldenLearn[4]}, {9, 3, even, goldenLearn[5]}, {-4, -1, even, 0.25},
		{0, 1 << 60, [2]float64{1e-9, 1e-9}, 0x1p-55},
	} {
		if got := Learnability(c.s, c.n, c.prior); got != c.want {
			t.Errorf("%d of %d, prior %v: %b (%.17g), want %b", c.s, c.n, c.prior, got, got, c.want)
		}
	}
}

func TestLearnabilityIsExact(t *testing.T) {
	r := random(t, 25)
	for range 20_000 {
		n := r.Int64N(1<<28) >> r.IntN(28)
		s := r.Int64N(n + 1)
		prior := [2]float64{math.Ldexp(1+r.Float64(), r.IntN(24)-12), math.Ldexp(1+r.Float64(), r.IntN(24)-12)}
		x := big.NewInt(s)
		x.Add(x.Lsh(x, 32), new(big.Int).SetUint64(Weight(prior[0])))
		y := big.NewInt(n - s)
		y.Add(y.Lsh(y, 32), new(big.Int).SetUint64(Weight(prior[1])))
		whole := new(big.Int).Add(x, y)
		q := new(big.Int).Mul(x, y)
		q.Quo(q.Lsh(q, 55), whole.Mul(whole, whole))
		if got := Learnability(s, n, prior); math.Ldexp(got, 55) != float64(max(q.Uint64(), 1)) {
			t.Fatalf("%d of %d, prior %v: %b, want %d", s, n, prior, got, q)
		}
	}
}

func TestImportanceWeights(t *testing.T) {
	for _, c := range []struct {
		n    []int64
		p    []uint64
		beta float64
		want []float64
	}{
		{nil, nil, 1, []float64{}},
		{[]int64{10, 10, 10}, []uint64{One, One / 2, One / 4}, 1, []float64{0.25, 0.5, 1}},
		{[]int64{10, 10, 10}, []uint64{One, One / 2, One / 4}, 0.5, []float64{0.5, goldenImportance, 1}},
		{[]int64{10, 10, 10}, []uint64{One, One / 2, One / 4}, 0, []float64{1, 1, 1}},
		{[]int64{10, 40}, []uint64{One / 2, One / 2}, 1, []float64{1, 0.25}},
		{[]int64{0, 5}, []uint64{0, One}, 1, []float64{1, 1.0 / (5 << 32)}},
	} {
		if got := ImportanceWeights(c.n, c.p, c.beta); !slices.Equal(got, c.want) {
			t.Errorf("n %v, p %v, beta %v: %b, want %b", c.n, c.p, c.beta, got, c.want)
		}
	}
}
