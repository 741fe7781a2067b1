package store_test

import (
	"path/filepath"
	"slices"
	"testing"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
	"trajlake/store/index"
)

// TestVerifyFindsGhostsInTheIndex: a row that only the index knows would be
// answered as a duplicate, and be lost.
func TestVerifyFindsGhostsInTheIndex(t *testing.T) {
	mem, dir := blob.NewMemory(), t.TempDir()
	l := testlake.Raw(t, mem, dir)
	mustAppend(t, l, testlake.Rows(l, "a", 5, 1))
	name := l.ID() + " " + l.URL()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("index folders %v %v", folders, err)
	}
	ix, _, err := index.Open(folders[0], name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ix.Mark("trajectories")
	if err != nil {
		t.Fatal(err)
	}
	ghost := index.Item{Key: index.KeyOf(index.Trajectory, "ghost"), Entry: index.Entry{Seq: 2, Version: 1}}
	if err := ix.Apply("trajectories", []index.Item{ghost}, m); err != nil {
		t.Fatal(err)
	}
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
	l = testlake.Raw(t, mem, dir)
	defer l.Close()
	r, err := l.Verify(ctx, store.VerifyOptions{})
	if err != nil || !slices.ContainsFunc(r.Problems, func(p store.Problem) bool { return p.Kind == store.ProblemIndex }) {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := l.RebuildIndex(ctx); err != nil {
		t.Fatal(err)
	}
	testlake.Verify(t, l)
}

func TestTokenOfAnotherLake(t *testing.T) {
	a, b := testlake.Open(t), testlake.Open(t)
	if _, err := b.At(ctx, head(t, a).Token()); !fault.Is(err, fault.Usage) {
		t.Errorf("a token of another lake: %v", err)
	}
}

// TestTensorRanges compares ranges of a tensor in uneven pieces with the whole.
func TestTensorRanges(t *testing.T) {
	l := testlake.Open(t)
	mustAppend(t, l, testlake.Rows(l, "a", 1, 1))
	var all []byte
	var rows []*schema.Tensor
	for i, n := range []int{5, 1, 9, 4} {
		var data [][]byte
		for k := range 2 {
			d := make([]byte, n+k)
			for j := range d {
				d[j] = byte(len(all) + j)
			}
			data, all = append(data, d), append(all, d...)
		}
		rows = append(rows, &schema.Tensor{TrajectoryID: "a-0", Name: "x", Piece: int32(i), Pieces: 4, Data: data})
	}
	for _, r := range []*schema.Tensor{rows[2], rows[0], rows[3], rows[1]} {
		if _, err := l.AppendTensors(ctx, []*schema.Tensor{r}); err != nil {
			t.Fatal(err)
		}
	}
	s := head(t, l)
	for lo := range len(all) + 1 {
		for n := range len(all) + 3 - lo {
			got, err := s.ReadTensor(ctx, "a-0", "x", store.TensorOptions{Offset: int64(lo), Length: int64(n)})
			want := all[lo:]
			if n > 0 {
				want = all[lo:min(lo+n, len(all))]
			}
			if err != nil || !slices.Equal(got.Data, want) {
				t.Fatalf("%d bytes from %d: %v %v", n, lo, got, err)
			}
		}
	}
	if _, err := s.ReadTensor(ctx, "a-0", "x", store.TensorOptions{Offset: int64(len(all) + 1)}); !fault.Is(err, fault.Usage) {
		t.Errorf("a range behind the end: %v", err)
	}
}
