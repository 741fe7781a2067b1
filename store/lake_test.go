package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"go.uber.org/goleak"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
	"trajlake/store/blob"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

var ctx = context.Background()

func head(t testing.TB, l *store.Lake) *store.Snapshot {
	t.Helper()
	s, err := l.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustAppend(t testing.TB, l *store.Lake, rows []*schema.Trajectory) []store.Receipt {
	t.Helper()
	r, err := l.Append(ctx, rows)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ids of a snapshot in log order.
func ids(t testing.TB, s *store.Snapshot, pred string) []string {
	t.Helper()
	e, err := where.Parse(pred)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for rec, err := range s.Scan(ctx, store.ScanOptions{Columns: []string{"trajectory_id"}, Where: e}) {
		if err != nil {
			t.Fatal(err)
		}
		col := rec.Column(0).(*array.String)
		for i := range col.Len() {
			out = append(out, col.Value(i))
		}
	}
	return out
}

func statuses(rs []store.Receipt) (committed, duplicate, rejected int) {
	for _, r := range rs {
		switch r.Status {
		case store.Committed:
			committed++
		case store.Duplicate:
			duplicate++
		default:
			rejected++
		}
	}
	return
}

func TestAppendGivesPlacesAndFindsDuplicates(t *testing.T) {
	l := testlake.Open(t)
	rows := testlake.Rows(l, "a", 10, 1)
	first := mustAppend(t, l, rows)
	for i, r := range first {
		if r.Status != store.Committed || r.Version != 1 || r.Seq != int64(i) {
			t.Errorf("receipt %d: %+v", i, r)
		}
	}
	again := mustAppend(t, l, slices.Concat(rows[3:5], testlake.Rows(l, "b", 1, 2)))
	if again[0].Status != store.Duplicate || again[0].Version != 1 || again[0].Seq != 3 || again[2].Status != store.Committed || again[2].Seq != 10 {
		t.Errorf("second call: %+v", again)
	}
	if got := len(ids(t, head(t, l), "")); got != 11 {
		t.Errorf("%d rows, want 11", got)
	}
	if v := head(t, l).Version(); v != 2 {
		t.Errorf("version %d, want 2", v)
	}
}

func TestOnlyDuplicatesMakeNoVersion(t *testing.T) {
	l := testlake.Open(t)
	rows := testlake.Rows(l, "a", 3, 1)
	mustAppend(t, l, rows)
	mustAppend(t, l, rows)
	if v := head(t, l).Version(); v != 1 {
		t.Errorf("version %d after appending the same rows twice, want 1", v)
	}
}

func TestConflictIsRejectedAndOverwritesNothing(t *testing.T) {
	l := testlake.Open(t)
	mustAppend(t, l, testlake.Rows(l, "a", 1, 1))
	other := testlake.Ready(l, testlake.Row("a-0", 99))
	r := mustAppend(t, l, other)
	if r[0].Status != store.Rejected || !fault.Is(r[0].Err, fault.Conflict) {
		t.Fatalf("receipt %+v", r[0])
	}
	got, err := head(t, l).Get(ctx, []string{"a-0"})
	if err != nil || got[0] == nil || *got[0].Turns[0].Text == *other[0].Turns[0].Text {
		t.Errorf("the row was overwritten: %v %v", got[0], err)
	}
}

func TestSameContentWithAnotherDigestIsADuplicate(t *testing.T) {
	l := testlake.Open(t)
	mustAppend(t, l, testlake.Rows(l, "a", 1, 1))
	again := testlake.Rows(l, "a", 1, 1)
	again[0].SourceDigest = slices.Repeat([]byte{7}, 32)
	if r := mustAppend(t, l, again); r[0].Status != store.Duplicate {
		t.Errorf("receipt %+v", r[0])
	}
}

func TestTwoRowsOfOneIDInOneCall(t *testing.T) {
	l := testlake.Open(t)
	a := testlake.Rows(l, "a", 1, 1)[0]
	b := testlake.Rows(l, "a", 1, 1)[0]
	c := testlake.Ready(l, testlake.Row("a-0", 5))[0]
	r := mustAppend(t, l, []*schema.Trajectory{a, b, c})
	if r[0].Status != store.Committed || r[1].Status != store.Duplicate || r[1].Seq != r[0].Seq || !fault.Is(r[2].Err, fault.Conflict) {
		t.Errorf("receipts %+v", r)
	}
}

func TestRowsComeBackAsTheyWere(t *testing.T) {
	l := testlake.Open(t)
	rows := testlake.Rows(l, "a", 40, 3)
	mustAppend(t, l, rows)
	for i, r := range rows {
		got, err := head(t, l).Get(ctx, []string{r.TrajectoryID})
		if err != nil || got[0] == nil {
			t.Fatalf("get %s: %v %v", r.TrajectoryID, got, err)
		}
		if want, have := schema.ContentHash(r), schema.ContentHash(got[0]); string(want) != string(have) {
			t.Errorf("%s came back with another content", r.TrajectoryID)
		}
		if *got[0].RowSeq != int64(i) || *got[0].RowVersion != 1 {
			t.Errorf("%s: place %d of version %d", r.TrajectoryID, *got[0].RowSeq, *got[0].RowVersion)
		}
	}
	if got, err := head(t, l).Get(ctx, []string{"nobody"}); err != nil || got[0] != nil {
		t.Errorf("unknown id: %v %v", got, err)
	}
}

func TestWriters(t *testing.T) {
	const writers, calls, per = 6, 8, 5
	b := blob.NewMemory()
	lakes := make([]*store.Lake, writers)
	for w := range lakes {
		lakes[w] = testlake.On(t, b, t.TempDir())
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	committed := map[string]int{}
	for w, l := range lakes {
		wg.Go(func() {
			for c := range calls {
				// Neighbouring writers hand in the same rows.
				rs, err := l.Append(ctx, testlake.Rows(l, fmt.Sprintf("r%d", (w/2)*calls+c), per, uint64((w/2)*calls+c)))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, r := range rs {
					if r.Status == store.Committed {
						committed[r.ID]++
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	want := writers / 2 * calls * per
	got := ids(t, head(t, lakes[0]), "")
	if len(got) != want || len(committed) != want {
		t.Errorf("%d rows, %d ids committed, want %d", len(got), len(committed), want)
	}
	for id, n := range committed {
		if n != 1 {
			t.Errorf("%s was acknowledged as committed %d times", id, n)
		}
	}
}

func TestSnapshotsStayAsTheyWere(t *testing.T) {
	l := testlake.Open(t)
	var tokens []string
	var want [][]string
	folded := 0
	for i := range 40 {
		mustAppend(t, l, testlake.Rows(l, fmt.Sprintf("v%d", i), 2, uint64(i)))
		s := head(t, l)
		tokens = append(tokens, s.Token())
		want = append(want, ids(t, s, ""))
		if i%19 == 18 {
			n, err := l.Fold(ctx)
			if err != nil {
				t.Fatal(err)
			}
			folded += n
		}
	}
	if folded < 32 {
		t.Fatalf("only %d files were folded", folded)
	}
	for i, token := range tokens {
		s, err := l.At(ctx, token)
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(t, s, ""); !slices.Equal(got, want[i]) {
			t.Errorf("snapshot %d after folding: %d rows, want %d", i, len(got), len(want[i]))
		}
		byNumber, err := l.At(ctx, fmt.Sprint(s.Version()))
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(t, byNumber, ""); !slices.Equal(got, want[i]) {
			t.Errorf("version %d: %d rows, want %d", s.Version(), len(got), len(want[i]))
		}
	}
}

func TestGather(t *testing.T) {
	l := testlake.Open(t)
	var all []*schema.Trajectory
	for i := range 30 {
		rows := testlake.Rows(l, fmt.Sprintf("g%d", i), 3, uint64(i))
		all = append(all, rows...)
		mustAppend(t, l, rows)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 3 {
		s := head(t, l)
		for range 20 {
			seqs := make([]int64, 1+r.IntN(12))
			for i := range seqs {
				seqs[i] = int64(r.IntN(len(all)))
			}
			rec, err := s.Gather(ctx, seqs, []string{"token_ids", "trajectory_id", "row_seq", "turns"})
			if err != nil {
				t.Fatal(err)
			}
			for i, q := range seqs {
				row, err := schema.RowFromArrow[schema.Trajectory](rec, i)
				if err != nil {
					t.Fatal(err)
				}
				if row.TrajectoryID != all[q].TrajectoryID || !slices.Equal(row.TokenIDs, all[q].TokenIDs) || *row.RowSeq != q || *row.Turns[0].Text != *all[q].Turns[0].Text {
					t.Fatalf("round %d: place %d gave %s", round, q, row.TrajectoryID)
				}
			}
		}
		if _, err := l.Fold(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := head(t, l).Gather(ctx, []int64{int64(len(all))}, []string{"trajectory_id"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a place beyond the end: %v", err)
	}
	rec, err := head(t, l).Gather(ctx, nil, []string{"trajectory_id", "reward", "turns", "metadata"})
	if err != nil || rec.NumRows() != 0 || rec.NumCols() != 4 {
		t.Fatalf("no places: %v %v", rec, err)
	}
	w := ipc.NewWriter(io.Discard, ipc.WithSchema(rec.Schema()))
	if err := errors.Join(w.Write(rec), w.Close()); err != nil {
		t.Errorf("a record of no rows cannot be sent: %v", err)
	}
}

func note(kind, target string, value *float64, scorer string) *schema.Annotation {
	a := &schema.Annotation{Kind: new(kind), TargetKind: new("trajectory"), TargetID: new(target), Value: value, Scorer: new(scorer)}
	a.AnnotationID = schema.AnnotationID(a)
	return a
}

func TestAnnotationsFoldIntoTheNextSnapshot(t *testing.T) {
	l := testlake.Open(t)
	rows := testlake.Rows(l, "a", 20, 1)
	mustAppend(t, l, rows)
	before := head(t, l)
	for _, err := range before.Scan(ctx, store.ScanOptions{Columns: []string{"trajectory_id", "priority", "quarantined", "reward", "reward_raw"}}) {
		if err != nil {
			t.Fatalf("the folded view of a lake without annotations: %v", err)
		}
	}
	notes := []*schema.Annotation{
		note("reward", "a-1", new(0.125), "s1"), note("reward", "a-1", new(0.75), "s2"), note("priority", "a-2", new(3.5), ""), note("quarantine", "a-3", nil, "rules"),
	}
	rs, after, err := l.Annotate(ctx, notes)
	if err != nil {
		t.Fatal(err)
	}
	if c, _, _ := statuses(rs); c != 4 {
		t.Fatalf("receipts %+v", rs)
	}
	if rs, _, err = l.Annotate(ctx, notes); err != nil || rs[0].Status != store.Duplicate {
		t.Errorf("the same annotations again: %+v %v", rs, err)
	}
	if got := ids(t, after, "reward = 0.75 and trajectory_id = 'a-1'"); len(got) != 1 {
		t.Errorf("folded reward: %v", got)
	}
	if got := ids(t, after, "priority > 3"); !slices.Equal(got, []string{"a-2"}) {
		t.Errorf("priority: %v", got)
	}
	if got := ids(t, after, "quarantined"); !slices.Equal(got, []string{"a-3"}) {
		t.Errorf("quarantined: %v", got)
	}
	for _, q := range []string{"priority > 0", "quarantined", "reward = 0.75 and trajectory_id = 'a-1'"} {
		pinned, err := l.At(ctx, before.Token())
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(t, pinned, q); len(got) != 0 {
			t.Errorf("the snapshot before sees %s: %v", q, got)
		}
	}
	got, err := after.Get(ctx, []string{"a-1"})
	if err != nil || (got[0].Reward == nil) != (rows[1].Reward == nil) || got[0].Reward != nil && *got[0].Reward != *rows[1].Reward {
		t.Errorf("the row's own reward is %v, it was %v (%v)", got[0].Reward, rows[1].Reward, err)
	}
	if _, s, err := l.Annotate(ctx, []*schema.Annotation{note("restore", "a-3", nil, "rules")}); err != nil || len(ids(t, s, "quarantined")) != 0 {
		t.Errorf("restore left %v, %v", ids(t, s, "quarantined"), err)
	}
}

func TestQuarantineOfAFamily(t *testing.T) {
	l := testlake.Open(t)
	mustAppend(t, l, testlake.Ready(l, testlake.Row("a", 1), testlake.Row("b", 2), testlake.Row("c", 80)))
	q := note("quarantine", "g-0", nil, "")
	q.TargetKind = new("group")
	_, s, err := l.Annotate(ctx, []*schema.Annotation{q})
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(t, s, "quarantined"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("quarantined %v", got)
	}
}

func TestTensors(t *testing.T) {
	l := testlake.Open(t)
	rows := testlake.Rows(l, "a", 1, 1)
	mustAppend(t, l, rows)
	piece := func(id string, n, of int32, data string) *schema.Tensor {
		return &schema.Tensor{TrajectoryID: id, Name: "routed_experts", Piece: n, Pieces: of, DType: new("u8"), Shape: []int64{8}, Data: [][]byte{[]byte(data)}}
	}
	in := []*schema.Tensor{piece("a-0", 0, 2, "abcd"), piece("a-0", 1, 2, "efgh"), piece("nobody", 0, 1, "x")}
	rs, err := l.AppendTensors(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if rs[0].Status != store.Committed || rs[1].Status != store.Committed || !fault.Is(rs[2].Err, fault.NotFound) {
		t.Fatalf("receipts %+v", rs)
	}
	s := head(t, l)
	got, err := s.ReadTensor(ctx, "a-0", "routed_experts", store.TensorOptions{Offset: 2, Length: 4})
	if err != nil || string(got.Data) != "cdef" || !got.Complete {
		t.Errorf("range: %+v %v", got, err)
	}
	if rs, err = l.AppendTensors(ctx, in[:1]); err != nil || rs[0].Status != store.Duplicate {
		t.Errorf("the same piece again: %+v %v", rs, err)
	}
	if rs, err = l.AppendTensors(ctx, []*schema.Tensor{piece("a-0", 0, 2, "zzzz")}); err != nil || !fault.Is(rs[0].Err, fault.Conflict) {
		t.Errorf("another piece under the same key: %+v %v", rs, err)
	}
	other := piece("a-0", 0, 1, "late")
	other.Name, other.SourceDigest = "foreign", slices.Repeat([]byte{1}, 32)
	if _, err := l.AppendTensors(ctx, []*schema.Tensor{other}); err != nil {
		t.Fatal(err)
	}
	list, err := head(t, l).Tensors(ctx, "a-0", "")
	if err != nil || len(list) != 1 || list[0].Name != "routed_experts" {
		t.Errorf("a tensor of another row's digest is listed: %+v %v", list, err)
	}
}

func TestIndexCanBeLost(t *testing.T) {
	b := blob.NewMemory()
	dir := t.TempDir()
	l := testlake.Raw(t, b, dir)
	rows := testlake.Rows(l, "a", 50, 1)
	mustAppend(t, l, rows)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, dir string) {
		l := testlake.On(t, b, dir)
		r := mustAppend(t, l, testlake.Rows(l, "a", 50, 1))
		if c, d, _ := statuses(r); c != 0 || d != 50 {
			t.Errorf("%d committed, %d duplicates, want 0 and 50", c, d)
		}
	}
	t.Run("kept", func(t *testing.T) { check(t, dir) })
	t.Run("deleted", func(t *testing.T) { check(t, t.TempDir()) })
	t.Run("damaged", func(t *testing.T) {
		bad := t.TempDir()
		testlake.On(t, b, bad)
		warm := testlake.Raw(t, b, bad)
		mustAppend(t, warm, testlake.Rows(warm, "a", 50, 1))
		if err := warm.Close(); err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(bad, "*", "*"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no index files to damage: %v", err)
		}
		for _, f := range found {
			if st, err := os.Stat(f); err == nil && st.Mode().IsRegular() && filepath.Base(f) != "LOCK" {
				if err := os.WriteFile(f, []byte("rubbish"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		check(t, bad)
	})
	t.Run("locked", func(t *testing.T) {
		holder := testlake.On(t, b, dir)
		if err := holder.Warm(ctx); err != nil {
			t.Fatal(err)
		}
		check(t, dir)
	})
}

func TestIndexOfAnotherHistoryIsSetAside(t *testing.T) {
	b, dir := blob.NewMemory(), t.TempDir()
	l := testlake.Raw(t, b, dir)
	mustAppend(t, l, testlake.Rows(l, "a", 5, 1))
	copied := copyBucket(t, b)
	mustAppend(t, l, testlake.Rows(l, "b", 5, 2))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// A copy restored in the same place: version 2 of it will be another commit.
	l = testlake.On(t, copied, dir)
	r := mustAppend(t, l, testlake.Rows(l, "b", 5, 2))
	if c, _, _ := statuses(r); c != 5 {
		t.Errorf("rows that only the lost history had are taken for duplicates: %+v", r)
	}
}

func copyBucket(t *testing.T, from blob.Bucket) blob.Bucket {
	t.Helper()
	to := blob.NewMemory()
	for info, err := range from.List(ctx, "", "") {
		if err != nil {
			t.Fatal(err)
		}
		body, err := from.Get(ctx, info.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.Put(ctx, info.Key, body, blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return to
}
