package pack_test

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/internal/testlake"
	"trajlake/internal/workload"
	"trajlake/replay/pack"
	"trajlake/schema"
	"trajlake/store"
)

// wide is a snapshot of rows with everything a row can have.
func wide(tb testing.TB, n int) *store.Snapshot {
	l := testlake.Open(tb)
	g := workload.New(4, workload.Mixed)
	var rows []*schema.Trajectory
	for range n {
		rows = append(rows, g.Next())
	}
	if _, err := l.Append(tb.Context(), testlake.Ready(l, rows...)); err != nil {
		tb.Fatal(err)
	}
	s, err := l.Head(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// stored are all columns that the table holds.
func stored() []string {
	var names []string
	for _, c := range schema.Trajectories.Columns {
		names = append(names, c.Name)
	}
	return names
}

// TestGatherEqualsTheStore reads random rows, some of them again and again, and
// compares every value with what the store gives, with room for everything and with
// room for little.
func TestGatherEqualsTheStore(t *testing.T) {
	rows, rounds := 300, 40
	if testing.Short() {
		rows, rounds = 60, 15
	}
	snap := wide(t, rows)
	n := snap.Count(schema.Trajectories)
	for name, limit := range map[string]int64{"roomy": 0, "tight": 3_000_000, "off": -1} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 8))
			c := pack.New(&pack.Options{Dir: t.TempDir(), Limit: limit})
			defer c.Close()
			for round := range rounds {
				columns := [][]string{stored(), {"token_ids", "logprobs", "trajectory_id"}, {"turns"}}[round%3]
				seqs := make([]int64, r.IntN(40))
				for i := range seqs {
					seqs[i] = r.Int64N(n)
				}
				want, err := snap.Gather(t.Context(), seqs, columns)
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.Gather(t.Context(), seqs, columns, snap.Gather)
				if err != nil {
					t.Fatal(err)
				}
				if !array.RecordEqual(got, want) {
					t.Fatalf("round %d, rows %v: not what the store gives", round, seqs)
				}
			}
			hits, misses, bytes := c.Stats()
			if limit >= 0 && (hits == 0 || misses == 0 || bytes == 0) || limit > 0 && bytes > limit {
				t.Errorf("%d found, %d not, %d bytes of %d", hits, misses, bytes, limit)
			}
			if left, err := os.ReadDir(t.TempDir()); err != nil || len(left) != 0 {
				t.Errorf("files with names: %v %v", left, err)
			}
		})
	}
}

// TestNullRows: the place Null gives a row of nulls between others.
func TestNullRows(t *testing.T) {
	snap := wide(t, 20)
	c := pack.New(&pack.Options{Dir: t.TempDir()})
	defer c.Close()
	for range 2 { // cold, then warm
		got, err := c.Gather(t.Context(), []int64{pack.Null, 5, pack.Null, 2}, stored(), snap.Gather)
		if err != nil {
			t.Fatal(err)
		}
		want, err := snap.Gather(t.Context(), []int64{5, 2}, stored())
		if err != nil {
			t.Fatal(err)
		}
		for i, col := range got.Columns() {
			if !col.IsNull(0) || !col.IsNull(2) {
				t.Errorf("%s of a row that is not there is not null", got.ColumnName(i))
			}
			for at, row := range map[int64]int64{1: 0, 3: 1} {
				if !array.SliceEqual(col, at, at+1, want.Column(i), row, row+1) {
					t.Errorf("%s of row %d is not what the store gives", got.ColumnName(i), at)
				}
			}
		}
	}
}

// TestConcurrentGather reads from many goroutines while segments come and go, and after Close.
func TestConcurrentGather(t *testing.T) {
	rows, rounds := 200, 30
	if testing.Short() {
		rows, rounds = 60, 6
	}
	snap := wide(t, rows)
	n := snap.Count(schema.Trajectories)
	c := pack.New(&pack.Options{Dir: t.TempDir(), Limit: 1 << 20})
	columns := []string{"token_ids", "turns", "trajectory_id"}
	var wg sync.WaitGroup
	for w := range uint64(6) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(w, 1))
			for range rounds {
				seqs := make([]int64, 16)
				for i := range seqs {
					seqs[i] = r.Int64N(n)
				}
				got, err := c.Gather(t.Context(), seqs, columns, snap.Gather)
				if err != nil {
					t.Error(err)
					return
				}
				want, err := snap.Gather(t.Context(), seqs, columns)
				if err != nil || !array.RecordEqual(got, want) {
					t.Errorf("rows %v: not what the store gives (%v)", seqs, err)
					return
				}
			}
			if w == 3 {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDiskThatTakesNothing: the cache gives up, the rows come all the same.
func TestDiskThatTakesNothing(t *testing.T) {
	snap := wide(t, 20)
	c := pack.New(&pack.Options{Dir: t.TempDir() + "/absent"})
	defer c.Close()
	for range 2 {
		got, err := c.Gather(t.Context(), []int64{3, 1}, []string{"trajectory_id"}, snap.Gather)
		if err != nil || got.NumRows() != 2 {
			t.Fatal(got, err)
		}
	}
	if hits, misses, bytes := c.Stats(); hits != 0 || misses != 4 || bytes != 0 {
		t.Error(hits, misses, bytes)
	}
}

// TestFetchFailure is the caller's to see, and leaves the cache usable.
func TestFetchFailure(t *testing.T) {
	snap := wide(t, 20)
	c := pack.New(&pack.Options{Dir: t.TempDir()})
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fail := func(ctx context.Context, _ []int64, _ []string) (arrow.Record, error) { return nil, ctx.Err() }
	if _, err := c.Gather(ctx, []int64{1}, []string{"turns"}, fail); err == nil {
		t.Fatal("no error")
	}
	if _, err := c.Gather(t.Context(), []int64{1}, []string{"turns"}, snap.Gather); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkGather: rows in the cache; the figures are of rows.
func BenchmarkGather(b *testing.B) {
	snap := wide(b, 2000)
	n := snap.Count(schema.Trajectories)
	for _, set := range []struct {
		name    string
		columns []string
	}{{"whole", stored()}, {"tensors", []string{"token_ids", "logprobs"}}} {
		b.Run(set.name, func(b *testing.B) {
			c := pack.New(&pack.Options{Dir: b.TempDir()})
			defer c.Close()
			all := make([]int64, n)
			for i := range all {
				all[i] = int64(i)
			}
			for part := range slices.Chunk(all, 256) {
				if _, err := c.Gather(b.Context(), part, set.columns, snap.Gather); err != nil {
					b.Fatal(err)
				}
			}
			_, _, bytes := c.Stats()
			b.SetBytes(bytes / n)
			r := rand.New(rand.NewPCG(1, 1))
			seqs := make([]int64, 256)
			b.ResetTimer()
			for i := 0; i < b.N; i += len(seqs) {
				for j := range seqs {
					seqs[j] = r.Int64N(n)
				}
				if _, err := c.Gather(b.Context(), seqs, set.columns, snap.Gather); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
