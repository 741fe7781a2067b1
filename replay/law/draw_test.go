package law

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveDraw is the law read literally: every key by big integers, a full sort.
func naiveDraw(candidates []Candidate, seed, position uint64, k int) []Pick {
	var all []Pick
	for i, c := range candidates {
		if c.Weight > 0 {
			all = append(all, Pick{Index: i, L: naiveKey(c.ID64, seed, position), Weight: c.Weight, Seq: c.Seq})
		}
	}
	slices.SortFunc(all, func(a, b Pick) int {
		switch {
		case naiveBefore(a, b):
			return -1
		case naiveBefore(b, a):
			return 1
		}
		return 0
	})
	for i := range all {
		all[i].P32 = One
		if k < len(all) {
			all[i].P32 = naiveInclusion(all[i].Weight, all[k].L, all[k].Weight)
		}
	}
	return all[:min(k, len(all))]
}

func naiveKey(id64, seed, position uint64) uint64 {
	u := Mix64(id64 ^ Mix64(seed^Mix64(position)))
	if u == 0 {
		u = 1
	}
	n := new(big.Int).SetUint64(u).BitLen() - 1
	m := new(big.Int).Lsh(new(big.Int).SetUint64(u), uint(63-n))
	f := new(big.Int)
	for range 57 {
		m.Rsh(m.Mul(m, m), 64)
		f.Lsh(f, 1)
		if m.BitLen() == 64 {
			f.SetBit(f, 0, 1)
		} else {
			m.Lsh(m, 1)
		}
	}
	l := new(big.Int).Lsh(big.NewInt(int64(64-n)), 57)
	return l.Sub(l, f).Uint64()
}

func naiveInclusion(w, next, wNext uint64) uint64 {
	x := new(big.Int).Mul(new(big.Int).SetUint64(w), new(big.Int).SetUint64(next))
	x.Quo(x, new(big.Int).SetUint64(wNext))
	all := new(big.Int).SetUint64(math.MaxUint64)
	m := new(big.Int).Set(all)
	for i := 1; i <= 57; i++ {
		if x.Bit(57-i) == 1 {
			m.Rsh(m.Mul(m, new(big.Int).SetUint64(halfPowers[i])), 64)
		}
	}
	whole := new(big.Int).Rsh(x, 57)
	if whole.Cmp(big.NewInt(64)) >= 0 {
		m.SetInt64(0)
	} else {
		m.Rsh(m, uint(whole.Uint64()))
	}
	return max(m.Rsh(m.Sub(all, m), 32).Uint64(), 1)
}

// population makes candidates with weights of all sizes, some of them 0, some
// equal, and some twins that only row_seq tells apart.
func population(r *rand.Rand, n int) []Candidate {
	out := make([]Candidate, n)
	for i := range out {
		out[i] = Candidate{ID64: r.Uint64(), Seq: int64(i)}
		switch r.IntN(4) {
		case 0:
			out[i].Weight = 1 << 32
		case 1:
			out[i].Weight = r.Uint64N(maxWeight+1) >> r.IntN(63)
		case 2:
			out[i].Weight = Weight(r.ExpFloat64())
		}
		if i > 0 && r.IntN(10) == 0 {
			out[i].ID64, out[i].Weight = out[i-1].ID64, out[i-1].Weight
		}
	}
	return out
}

func TestDrawGolden(t *testing.T) {
	var candidates []Candidate
	for i := range 40 {
		candidates = append(candidates, Candidate{ID64(fmt.Sprintf("a%d", i)), Weight(float64(i%5) / 4), int64(i)})
	}
	var rows []int
	var p []uint64
	for _, pick := range Draw(candidates, 9, 4, 5) {
		rows, p = append(rows, pick.Index), append(p, pick.P32)
	}
	if want := []int{3, 9, 23, 26, 32}; !slices.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
	if want := []uint64{845779207, 1088925230, 845779207, 302768125, 584193007}; !slices.Equal(p, want) {
		t.Errorf("probabilities %v, want %v", p, want)
	}
}

func TestDrawEqualsNaive(t *testing.T) {
	r := random(t, 5)
	for range 150 {
		candidates := population(r, r.IntN(200))
		if r.IntN(3) == 0 { // tiny weights: all products agree in their high halves
			for i := range candidates {
				candidates[i].Weight &= 3
			}
		}
		seed, position, k := r.Uint64(), r.Uint64N(1000), r.IntN(40)
		want := naiveDraw(candidates, seed, position, k)
		if got := Draw(candidates, seed, position, k); !slices.Equal(got, want) {
			t.Fatalf("seed %d position %d k %d of %d:\n got %+v\nwant %+v", seed, position, k, len(candidates), got, want)
		}
		want = naiveDraw(candidates, seed, position, len(candidates))
		for i := range want {
			want[i].P32 = 0
		}
		if got := slices.Collect(Order(candidates, seed, position, k/4)); !slices.Equal(got, want) {
			t.Fatalf("order, seed %d position %d first %d of %d:\n got %+v\nwant %+v", seed, position, k/4, len(candidates), got, want)
		}
	}
}

func TestOrderStops(t *testing.T) {
	candidates := population(random(t, 6), 100)
	n := 0
	for range Order(candidates, 1, 1, 5) {
		if n++; n == 12 {
			break
		}
	}
	if n != 12 {
		t.Fatalf("%d picks", n)
	}
}

// TestDrawIsAFunctionOfTheSet: the order of arrival does not matter, and taking
// one drawn unit out changes one slot.
func TestDrawIsAFunctionOfTheSet(t *testing.T) {
	r := random(t, 7)
	candidates := population(r, 5000)
	seqs := func(c []Candidate) (out []int64) {
		for _, p := range Draw(c, 3, 8, 64) {
			out = append(out, p.Seq)
		}
		return out
	}
	want := seqs(candidates)
	r.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
	if got := seqs(candidates); !slices.Equal(got, want) {
		t.Fatalf("shuffled: %v, want %v", got, want)
	}
	without := slices.DeleteFunc(slices.Clone(candidates), func(c Candidate) bool { return c.Seq == want[10] })
	if got := seqs(without); !slices.Equal(got[:63], slices.Delete(slices.Clone(want), 10, 11)) {
		t.Fatalf("one taken out: %v, want %v without its item 10 and one more", got, want)
	}
}

func TestDrawEdges(t *testing.T) {
	one := []Candidate{{ID64: 1, Weight: 1, Seq: 0}}
	for _, c := range []struct {
		candidates []Candidate
		k, want    int
	}{
		{nil, 5, 0}, {one, 0, 0}, {one, -3, 0}, {one, 1, 1}, {one, math.MaxInt, 1}, {[]Candidate{{ID64: 1}}, 3, 0},
	} {
		got := Draw(c.candidates, 1, 1, c.k)
		if len(got) != c.want {
			t.Errorf("%d of %d candidates: %d picks, want %d", c.k, len(c.candidates), len(got), c.want)
		}
		for _, p := range got {
			if p.P32 != One {
				t.Errorf("all were drawn, but with probability %d", p.P32)
			}
		}
	}
}

func TestDrawDoesNotAllocatePerCandidate(t *testing.T) {
	candidates := population(random(t, 8), 20_000)
	d := NewDrawer(1, 1, 100)
	if n := testing.AllocsPerRun(3, func() {
		for i := range candidates {
			d.Add(candidates[i])
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d candidates", n, len(candidates))
	}
}

// simulate draws k of the weights one after the other, each in proportion to
// weight among those that are left.
func simulate(r *rand.Rand, weights []float64, k int) []int {
	left, total := slices.Clone(weights), 0.0
	for _, w := range left {
		total += w
	}
	out := make([]int, 0, k)
	for range k {
		x, last := r.Float64()*total, -1
		for i, w := range left {
			if w == 0 {
				continue
			}
			last = i
			if x -= w; x < 0 {
				break
			}
		}
		out = append(out, last)
		total -= left[last]
		left[last] = 0
	}
	return out
}

// sameDistribution fails if two samples of as many batches differ by more than
// chance, in any slot: chi-square of two samples, beyond 5 standard deviations.
func sameDistribution(t *testing.T, name string, n, k int, a, b func() []int, batches int) {
	t.Helper()
	counts := [2][][]float64{}
	for s, next := range []func() []int{a, b} {
		counts[s] = make([][]float64, k)
		for slot := range k {
			counts[s][slot] = make([]float64, n)
		}
		for range batches {
			for slot, row := range next() {
				counts[s][slot][row]++
			}
		}
	}
	for slot := range k {
		chi, cells := 0.0, 0.0
		for i := range n {
			x, y := counts[0][slot][i], counts[1][slot][i]
			if x+y >= 10 {
				chi += (x - y) * (x - y) / (x + y)
				cells++
			}
		}
		if free := cells - 1; chi > free+5*math.Sqrt(2*free) || chi < free-5*math.Sqrt(2*free) {
			t.Errorf("%s: slot %d: chi-square %.1f at %.0f degrees of freedom", name, slot, chi, free)
		}
	}
}

var skewed = func() []float64 {
	w := make([]float64, 30)
	for i := range w {
		w[i] = math.Pow(1.25, float64(i)) / 100
	}
	return w
}()

func TestFrequenciesFollowTheLaw(t *testing.T) {
	const k, batches = 6, 40_000
	candidates := make([]Candidate, len(skewed))
	var tree Tree
	for i, w := range skewed {
		candidates[i] = Candidate{ID64(fmt.Sprint("row-", i)), Weight(w), int64(i)}
		tree.Set(i, candidates[i].Weight)
	}
	r := random(t, 9)
	simulated := func() []int { return simulate(r, skewed, k) }
	position := uint64(0)
	sameDistribution(t, "keyed", len(skewed), k, simulated, func() (out []int) {
		position++
		for _, p := range Draw(candidates, 5, position, k) {
			out = append(out, p.Index)
		}
		return out
	}, batches)
	sameDistribution(t, "tree", len(skewed), k, simulated, func() []int {
		position++
		return treeBatch(&tree, 5, position, k)
	}, batches)
}

// TestInverseProbabilitiesAreUnbiased: each row's 1/p, summed over the batches
// that hold it, comes to the number of batches.
func TestInverseProbabilitiesAreUnbiased(t *testing.T) {
	const k, batches = 6, 40_000
	candidates := make([]Candidate, 30)
	for i := range candidates {
		candidates[i] = Candidate{ID64(fmt.Sprint("row-", i)), Weight(float64(1+i%5) / 4), int64(i)}
	}
	sum, squares := make([]float64, len(candidates)), make([]float64, len(candidates))
	for position := range uint64(batches) {
		for _, p := range Draw(candidates, 77, position, k) {
			x := float64(One) / float64(p.P32)
			sum[p.Index] += x
			squares[p.Index] += x * x
		}
	}
	for i := range sum {
		mean := sum[i] / batches
		deviation := math.Sqrt((squares[i]/batches - mean*mean) / batches)
		if deviation > 0.03 || math.Abs(mean-1) > 5*deviation {
			t.Errorf("row %d : sum of 1/p is %.3f ± %.3f per batch", i, mean, deviation)
		}
	}
}

func BenchmarkDraw1M(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	candidates := make([]Candidate, 1_000_000)
	for i := range candidates {
		candidates[i] = Candidate{r.Uint64(), Weight(r.Float64()), int64(i)}
	}
	b.ReportAllocs()
	position := uint64(0)
	for b.Loop() {
		position++
		Draw(candidates, 1, position, 256)
	}
}
