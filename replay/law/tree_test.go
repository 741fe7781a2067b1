package law

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

func treeBatch(t *Tree, seed, position uint64, k int) (out []int) {
	taken := map[int]struct{}{}
	for slot := range uint64(k) {
		row, ok := t.Draw(seed, position, slot, taken)
		if !ok {
			return out
		}
		taken[row] = struct{}{}
		out = append(out, row)
	}
	return out
}

func treeOf(weights ...uint64) *Tree {
	t := new(Tree)
	for i, w := range weights {
		t.Set(i, w)
	}
	return t
}

func TestTreeHashGolden(t *testing.T) {
	const most = math.MaxUint64
	for _, c := range []struct{ seed, position, slot, try, want uint64 }{
		{0, 0, 0, 0, 0x2130748aaac80268},
		{9, 4, 0, 0, 0x7c53538708af6725},
		{9, 4, 1, 0, 0xfa4feae9d98c560d},
		{9, 4, 0, 1, 0x55dc5cfba1f2ecf7},
		{most, most, 255, 64, 0x683c54d3ac63e1b0},
	} {
		if got := TreeHash(c.seed, c.position, c.slot, c.try); got != c.want {
			t.Errorf("TreeHash(%d, %d, %d, %d) = %016x, want %016x", c.seed, c.position, c.slot, c.try, got, c.want)
		}
	}
}

func TestScaleGolden(t *testing.T) {
	for _, c := range []struct {
		h           uint64
		total, want Sum
	}{
		{0x123456789abcdef0, Sum{0, 0x1400000000}, Sum{0, 0x16c16c16c}},
		{0x123456789abcdef0, Sum{1, 0xc00000fffffffffe}, Sum{0, 0x1fdb97654320febe}},
		{math.MaxUint64, Sum{0, 1}, Sum{0, 0}},
		{math.MaxUint64, Sum{0, 1 << 32}, Sum{0, 1<<32 - 1}},
		{1 << 63, Sum{2, 0}, Sum{1, 0}},
	} {
		if got := Scale(c.h, c.total); got != c.want {
			t.Errorf("Scale(%x, %x) = %x, want %x", c.h, c.total, got, c.want)
		}
	}
}

// lopsided has almost all of its weight in three rows: the slots after them are
// thrown at what is left.
var lopsided = []uint64{1 << 62, 1, 1 << 62, 2, 3, 1 << 61, 4}

func TestTreeDrawGolden(t *testing.T) {
	var fifths []uint64
	for i := range 40 {
		fifths = append(fifths, uint64(i%5)<<30)
	}
	for _, c := range []struct {
		weights  []uint64
		position uint64
		want     []int
	}{
		{fifths, 4, []int{19, 39, 23, 9, 27, 33, 11, 31, 3, 4, 14, 37, 13, 32, 38, 24, 2, 22, 29, 8, 18, 34, 16, 1, 7, 36, 28, 26, 17, 21, 12, 6}},
		{lopsided, 3, []int{0, 2, 5, 6, 4, 3, 1}},
		{lopsided, 4, []int{2, 5, 0, 4, 3, 6, 1}},
		{lopsided, 5, []int{0, 2, 5, 6, 3, 4, 1}},
		{[]uint64{maxWeight, maxWeight, maxWeight, 1, 1 << 62, 1 << 40}, 4, []int{1, 4, 2, 0, 5, 3}},
		{[]uint64{maxWeight, maxWeight, maxWeight, 1, 1 << 62, 1 << 40}, 5, []int{0, 1, 2, 4, 5, 3}},
	} {
		if got := treeBatch(treeOf(c.weights...), 9, c.position, len(c.weights)); !slices.Equal(got, c.want) {
			t.Errorf("position %d: rows %v, want %v", c.position, got, c.want)
		}
		if got := treeOf(c.weights...).Batch(9, c.position, 0, math.MaxInt); !slices.Equal(got, c.want) {
			t.Errorf("position %d: batch %v, want %v", c.position, got, c.want)
		}
	}
}

// TestTreeEqualsNaive grows, changes and asks a tree at random, beside a slice.
func TestTreeEqualsNaive(t *testing.T) {
	r := random(t, 10)
	for range 20 {
		var tree Tree
		var weights []uint64
		for range 400 {
			i := r.IntN(len(weights) + 1 + r.IntN(2)*r.IntN(300))
			w := r.Uint64N(maxWeight+1) >> r.IntN(63)
			tree.Set(i, w)
			for len(weights) <= i {
				weights = append(weights, 0)
			}
			weights[i] = w
		}
		total := new(big.Int)
		for _, w := range weights {
			total.Add(total, new(big.Int).SetUint64(w))
		}
		if got := toBig(tree.Total()); got.Cmp(total) != 0 || tree.Len() != len(weights) {
			t.Fatalf("total %v of %d rows, want %v of %d", got, tree.Len(), total, len(weights))
		}
		for range 200 {
			checkFind(t, r, &tree, weights)
		}
		if got := tree.Find(tree.Total()); got != -1 {
			t.Fatalf("Find(Total) = %d", got)
		}
	}
}

func checkFind(t *testing.T, r *rand.Rand, tree *Tree, weights []uint64) {
	t.Helper()
	at := Scale(r.Uint64(), tree.Total())
	if r.IntN(4) == 0 { // exactly where a row begins
		at = tree.prefix(r.IntN(len(weights)))
	}
	x, want := toBig(at), -1
	for i, w := range weights {
		if x.Cmp(new(big.Int).SetUint64(w)) < 0 {
			want = i
			break
		}
		x.Sub(x, new(big.Int).SetUint64(w))
	}
	if got := tree.Find(at); got != want {
		t.Fatalf("Find(%x) = %d, want %d", at, got, want)
	}
}

func toBig(s Sum) *big.Int {
	x := new(big.Int).Lsh(new(big.Int).SetUint64(s.Hi), 64)
	return x.Add(x, new(big.Int).SetUint64(s.Lo))
}

// TestTreeBatchEqualsDraw draws batches from trees of many sizes, crowded ones too.
func TestTreeBatchEqualsDraw(t *testing.T) {
	r := random(t, 14)
	for range 200 {
		weights := make([]uint64, r.IntN(1+r.IntN(6000)))
		for i := range weights {
			if r.IntN(3) > 0 {
				weights[i] = r.Uint64N(maxWeight+1) >> r.IntN(63)
			}
		}
		tree, seed, position, k := NewTree(weights), r.Uint64(), r.Uint64(), r.IntN(300)
		if got, want := tree.Batch(seed, position, 0, k), treeBatch(tree, seed, position, k); !slices.Equal(got, want) {
			t.Fatalf("%d rows, k %d, seed %d, position %d:\n got %v\nwant %v", len(weights), k, seed, position, got, want)
		}
	}
}

func TestTreeEdges(t *testing.T) {
	var tree Tree
	if row, ok := tree.Draw(1, 1, 0, nil); ok {
		t.Errorf("an empty tree gave row %d", row)
	}
	tree.Set(-1, 5)
	if tree.Len() != 0 || tree.Find(Sum{}) != -1 {
		t.Errorf("a negative index made %d rows", tree.Len())
	}
	tree.Set(7, 0)
	if row, ok := tree.Draw(1, 1, 0, nil); ok {
		t.Errorf("a tree without weights gave row %d", row)
	}
	tree.Set(3, 1)
	if row, ok := tree.Draw(1, 1, 0, map[int]struct{}{-4: {}, 99: {}}); !ok || row != 3 {
		t.Errorf("row %d %v, want 3", row, ok)
	}
	if row, ok := tree.Draw(1, 1, 0, map[int]struct{}{3: {}}); ok {
		t.Errorf("all rows are taken, but row %d came", row)
	}
}

// TestTreeDrawLeftOver: the last throw, at what is not taken, is in proportion
// to weights too. All but a trifle of the weight is taken.
func TestTreeDrawLeftOver(t *testing.T) {
	tree := treeOf(lopsided...)
	taken := map[int]struct{}{0: {}, 2: {}, 5: {}}
	counts := make([]float64, tree.Len())
	const draws = 20_000
	for position := range uint64(draws) {
		row, ok := tree.Draw(8, position, 3, taken)
		if !ok {
			t.Fatal("nothing was left")
		}
		counts[row]++
	}
	chi := 0.0
	for row, share := range map[int]float64{1: .1, 3: .2, 4: .3, 6: .4} {
		chi += (counts[row] - share*draws) * (counts[row] - share*draws) / (share * draws)
	}
	if chi > 20 || counts[0]+counts[2]+counts[5] > 0 {
		t.Errorf("counts %v, chi-square %.1f at 3 degrees of freedom", counts, chi)
	}
}

// TestNewTreeEqualsSet: built at once or row by row, the tree is the same.
func TestNewTreeEqualsSet(t *testing.T) {
	r := random(t, 13)
	for _, n := range []int{0, 1, 15, 16, 17, 255, 256, 257, 4096, 5000} {
		weights := make([]uint64, n)
		var grown Tree
		for i := range weights {
			weights[i] = r.Uint64N(maxWeight+1) >> r.IntN(63)
			grown.Set(i, weights[i])
		}
		built := NewTree(slices.Clone(weights))
		if built.Total() != grown.Total() || built.Len() != n || len(built.levels) != len(grown.levels) {
			t.Fatalf("%d rows: total %v in %d levels, want %v in %d", n, built.Total(), len(built.levels), grown.Total(), len(grown.levels))
		}
		for depth := range built.levels {
			if !slices.Equal(built.levels[depth], grown.levels[depth]) {
				t.Fatalf("%d rows: level %d differs", n, depth)
			}
		}
		built.Set(n+20, 7)
		if want := grown.Total().Add(Sum{0, 7}); built.Total() != want {
			t.Fatalf("%d rows and one more: total %v, want %v", n, built.Total(), want)
		}
	}
}

var treeSizes = []int{10_000, 100_000, 1_000_000, 10_000_000}

func benchmarkTree(n int) *Tree {
	r := rand.New(rand.NewPCG(1, 1))
	weights := make([]uint64, n)
	for i := range weights {
		weights[i] = Weight(r.Float64())
	}
	return NewTree(weights)
}

// BenchmarkTreeBatch draws 256 rows, the slots of a batch.
func BenchmarkTreeBatch(b *testing.B) {
	for _, n := range treeSizes {
		tree := benchmarkTree(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			position := uint64(0)
			for b.Loop() {
				position++
				tree.Batch(1, position, 0, 256)
			}
		})
	}
}

// BenchmarkTreeSet changes 256 weights at random places.
func BenchmarkTreeSet(b *testing.B) {
	for _, n := range treeSizes {
		tree, r := benchmarkTree(n), rand.New(rand.NewPCG(2, 1))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				for range 256 {
					tree.Set(r.IntN(n), r.Uint64N(1<<33))
				}
			}
		})
	}
}

func BenchmarkNewTree10M(b *testing.B) {
	weights := make([]uint64, 10_000_000)
	for i := range weights {
		weights[i] = uint64(i)
	}
	for b.Loop() {
		NewTree(weights)
	}
}
