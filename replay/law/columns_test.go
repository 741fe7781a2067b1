package law

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

// inColumns cuts candidates with ascending, gapless places into runs.
func inColumns(r *rand.Rand, candidates []Candidate) (runs []Columns) {
	for len(candidates) > 0 {
		n := 1 + r.IntN(len(candidates))
		run := Columns{Seq: candidates[0].Seq}
		for _, c := range candidates[:n] {
			run.IDs, run.Weights = append(run.IDs, c.ID64), append(run.Weights, c.Weight)
		}
		runs, candidates = append(runs, run), candidates[n:]
		if r.IntN(3) == 0 {
			runs = append(runs, Columns{})
		}
	}
	return runs
}

func TestColumnsEqualNaive(t *testing.T) {
	r := random(t, 15)
	for range 150 {
		candidates := population(r, r.IntN(400))
		if r.IntN(3) == 0 {
			for i := range candidates {
				candidates[i].Weight &= 3
			}
		}
		runs := inColumns(r, candidates)
		seed, position, k := r.Uint64(), r.Uint64N(1000), r.IntN(40)
		want := naiveDraw(candidates, seed, position, k)
		if got := DrawColumns(runs, seed, position, k); !slices.Equal(got, want) {
			t.Fatalf("seed %d position %d k %d of %d:\n got %+v\nwant %+v", seed, position, k, len(candidates), got, want)
		}
		want = naiveDraw(candidates, seed, position, len(candidates))
		for i := range want {
			want[i].P32 = 0
		}
		if got := slices.Collect(OrderColumns(runs, seed, position, k/4)); !slices.Equal(got, want) {
			t.Fatalf("order, seed %d position %d first %d of %d:\n got %+v\nwant %+v", seed, position, k/4, len(candidates), got, want)
		}
	}
}

// TestColumnsWithGaps: candidates at places with gaps, beside the same ones one by one.
func TestColumnsWithGaps(t *testing.T) {
	r := random(t, 19)
	for range 50 {
		candidates := population(r, r.IntN(400))
		ids, weights, offsets := make([]uint64, len(candidates)), make([]uint64, len(candidates)), make([]uint16, len(candidates))
		for i := range candidates {
			if i > 0 {
				offsets[i] = offsets[i-1] + uint16(1+r.IntN(100))
			}
			candidates[i].Seq = 7000 + int64(offsets[i])
			ids[i], weights[i] = candidates[i].ID64, candidates[i].Weight
		}
		seed, k := r.Uint64(), r.IntN(40)
		d := NewDrawer(seed, 6, k)
		d.AddAt(ids, weights, 7000, offsets)
		if got, want := d.Result(), naiveDraw(candidates, seed, 6, k); !slices.Equal(got, want) {
			t.Fatalf("seed %d k %d of %d:\n got %+v\nwant %+v", seed, k, len(candidates), got, want)
		}
	}
}

// TestBarRejectsNoWinner draws few of many, so that the bar decides, from weights
// of every size and from equal ones.
func TestBarRejectsNoWinner(t *testing.T) {
	r := random(t, 16)
	for _, shape := range []func() uint64{
		func() uint64 { return 1 << 32 },
		func() uint64 { return r.Uint64N(4) },
		func() uint64 { return maxWeight - r.Uint64N(4) },
		func() uint64 { return r.Uint64N(maxWeight+1) >> r.IntN(63) },
		func() uint64 { return Weight(r.ExpFloat64()) },
	} {
		candidates := make([]Candidate, 30_000)
		for i := range candidates {
			candidates[i] = Candidate{r.Uint64(), shape(), int64(i)}
		}
		for range 5 {
			seed, k := r.Uint64(), r.IntN(20)
			want := naiveDraw(nearest(candidates, seed, 2, 200), seed, 2, k)
			got := Draw(candidates, seed, 2, k)
			for i := range want {
				want[i].Index = int(want[i].Seq)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d k %d:\n got %+v\nwant %+v", seed, k, got, want)
			}
		}
	}
}

// nearest is the candidates that come first, by keys in float64, more than enough
// of them for a naive draw.
func nearest(candidates []Candidate, seed, position uint64, n int) []Candidate {
	type keyed struct {
		Candidate
		key float64
	}
	var all []keyed
	for _, c := range candidates {
		if c.Weight > 0 {
			all = append(all, keyed{c, float64(Key(c.ID64, seed, position)) / float64(c.Weight)})
		}
	}
	slices.SortFunc(all, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
	out := make([]Candidate, min(n, len(all)))
	for i := range out {
		out[i] = all[i].Candidate
	}
	return out
}

// TestColumnsInParallel: the parts that goroutines draw from merge exactly, and no
// goroutine is left.
func TestColumnsInParallel(t *testing.T) {
	defer goleak.VerifyNone(t)
	r := random(t, 17)
	const n = 5*parallelFrom + 77
	ids, weights := make([]uint64, n), make([]uint64, n)
	for i := range ids {
		ids[i], weights[i] = r.Uint64(), r.Uint64N(1<<33)&^1023
	}
	runs := []Columns{{ids[:1000], weights[:1000], 0}, {ids[1000:400_000], weights[1000:400_000], 1000}, {ids[400_000:], weights[400_000:], 400_000}}
	alone := NewDrawer(3, 4, 300)
	alone.AddRun(ids, weights, 0)
	want := alone.Result()
	if got := DrawColumns(runs, 3, 4, 300); !slices.Equal(got, want) {
		t.Fatal("drawn in parts, other picks came")
	}
	even := NewDrawer(3, 4, 300)
	for i, id := range ids {
		even.Add(Candidate{id, 1 << 32, int64(i)})
	}
	if got := DrawColumns([]Columns{{IDs: ids}}, 3, 4, 300); !slices.Equal(got, even.Result()) {
		t.Fatal("without weights, other picks came")
	}
	next := 0
	for p := range OrderColumns(runs, 3, 4, 20) {
		if p.Seq != want[next].Seq || p.Index != want[next].Index {
			t.Fatalf("pick %d is row %d, want %d", next, p.Seq, want[next].Seq)
		}
		if next++; next == 300 {
			break
		}
	}
}

func BenchmarkDrawColumns(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000, 10_000_000} {
		r := rand.New(rand.NewPCG(1, 1))
		run := Columns{IDs: make([]uint64, n), Weights: make([]uint64, n)}
		for i := range n {
			run.IDs[i], run.Weights[i] = r.Uint64(), Weight(r.Float64())
		}
		for _, weighted := range []bool{true, false} {
			c := run
			if !weighted {
				c.Weights = nil
			}
			b.Run(fmt.Sprintf("n=%d/weighted=%v", n, weighted), func(b *testing.B) {
				b.ReportAllocs()
				position := uint64(0)
				for b.Loop() {
					position++
					DrawColumns([]Columns{c}, 1, position, 256)
				}
			})
		}
	}
}
