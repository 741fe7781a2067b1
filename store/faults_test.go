package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
)

// hooked is a bucket that calls a function before a read of a data file, once.
type hooked struct {
	blob.Bucket
	armed atomic.Bool
	hook  func()
}

func (h *hooked) Get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if strings.HasSuffix(key, ".parquet") && h.armed.CompareAndSwap(true, false) {
		h.hook()
	}
	return h.Bucket.Get(ctx, key, off, n)
}

// TestHeadMovesWhileRowsAreCompared has a reader move the head after an append
// has compared its rows with an older one: the rows that the newer one holds must
// not be committed again.
func TestHeadMovesWhileRowsAreCompared(t *testing.T) {
	mem := blob.NewMemory()
	other := testlake.On(t, mem, t.TempDir())
	h := &hooked{Bucket: mem}
	l, err := store.OpenBucket(ctx, h, "test", &store.Options{IndexDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mustAppend(t, other, testlake.Rows(other, "first", 3, 1))
	head(t, l)
	mustAppend(t, other, testlake.Rows(other, "x", 3, 2))
	h.hook = func() { head(t, l) }
	h.armed.Store(true)
	r := mustAppend(t, l, testlake.Rows(l, "x", 3, 2))
	if h.armed.Load() {
		t.Fatal("the append compared nothing with the first version")
	}
	if _, d, _ := statuses(r); d != 3 {
		t.Errorf("receipts %+v, want three duplicates", r)
	}
	if got := len(ids(t, head(t, l), "")); got != 6 {
		t.Errorf("%d rows, want 6", got)
	}
}

// TestNothingIsAcknowledgedAfterAFailedFlush: the version is visible, and may
// vanish with the power. The rows sent again must not be called duplicates.
func TestNothingIsAcknowledgedAfterAFailedFlush(t *testing.T) {
	for _, key := range []string{"trajectories/_delta_log/*", "trajectories/*/*", "_trajlake/blobs/*/*"} {
		t.Run(strings.ReplaceAll(key, "/", "."), func(t *testing.T) {
			faulty := blob.NewFaulty(blob.NewMemory())
			l := testlake.Raw(t, faulty, t.TempDir())
			defer l.Close()
			mustAppend(t, l, testlake.Rows(l, "a", 2, 1))
			faulty.Add(blob.Rule{Op: blob.OpPut, Key: key, Do: blob.LoseAnswer, Err: fmt.Errorf("%w; %w", blob.ErrUnknown, blob.ErrNotDurable)})
			var err error
			if strings.HasPrefix(key, "_trajlake") {
				_, err = l.PutBlob(ctx, []byte("x"))
			} else {
				_, err = l.Append(ctx, testlake.Rows(l, "b", 2, 2))
			}
			if !fault.Is(err, fault.Unavailable) {
				t.Fatalf("a failed flush gave %v", err)
			}
			head(t, l) // a reader sees the version, if there is one
			for _, rows := range [][]*schema.Trajectory{testlake.Rows(l, "b", 2, 2), testlake.Rows(l, "a", 2, 1), testlake.Rows(l, "c", 1, 3)} {
				if r, err := l.Append(ctx, rows); !fault.Is(err, fault.Unavailable) {
					t.Errorf("after it %s was answered: %+v %v", rows[0].TrajectoryID, r, err)
				}
			}
			if _, err := l.PutBlob(ctx, []byte("y")); err == nil {
				t.Error("after it a blob was acknowledged")
			}
			if _, _, err := l.Annotate(ctx, []*schema.Annotation{note("priority", "a-0", new(1.0), "")}); err == nil {
				t.Error("after it an annotation was acknowledged")
			}
			select {
			case <-l.Broken():
			default:
				t.Error("the lake does not say that it is broken")
			}
			if !errors.Is(l.Err(), blob.ErrNotDurable) {
				t.Errorf("Err() = %v", l.Err())
			}
		})
	}
}

// TestIndexFailsInUse damages the tables of an index that opens well.
func TestIndexFailsInUse(t *testing.T) {
	mem, dir := blob.NewMemory(), t.TempDir()
	l := testlake.Raw(t, mem, dir)
	rows := testlake.Rows(l, "a", 400, 1)
	mustAppend(t, l, rows)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = testlake.On(t, mem, dir)
	if err := l.Warm(ctx); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables to damage: %v", err)
	}
	for _, f := range tables {
		// In place: the index reads its tables through a shared mapping.
		w, err := os.OpenFile(f, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		st, err := w.Stat()
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(100); at < st.Size()/2; at += 512 {
			if _, err := w.WriteAt([]byte{0x55, 0xaa}, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r := mustAppend(t, l, slices.Concat(testlake.Rows(l, "a", 400, 1), testlake.Rows(l, "b", 1, 2)))
	if c, d, _ := statuses(r); c != 1 || d != 400 {
		t.Errorf("%d committed, %d duplicates, want 1 and 400", c, d)
	}
	if aside, err := filepath.Glob(filepath.Join(dir, "*.bad-*")); err != nil || len(aside) != 1 {
		t.Errorf("folders set aside: %v %v", aside, err)
	}
}

// TestIndexIsClosedUnderReaders drops a failing index while others use it.
func TestIndexIsClosedUnderReaders(t *testing.T) {
	l := testlake.Open(t)
	mustAppend(t, l, testlake.Rows(l, "a", 20, 1))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 10 {
				var err error
				switch g {
				case 0:
					_, err = l.RebuildIndex(ctx)
				case 1:
					_, err = l.AppendTensors(ctx, []*schema.Tensor{{TrajectoryID: "a-1", Name: fmt.Sprint("n", i), Pieces: 1, Data: [][]byte{{1}}}})
				case 2:
					_, err = head(t, l).Lookup(ctx, []string{"a-3", "none"})
				default:
					_, err = l.Append(ctx, testlake.Rows(l, fmt.Sprint("g", i), 1, uint64(i)))
				}
				if err != nil {
					t.Errorf("worker %d: %v", g, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestEqualIDsInOneCallAreComparedWithTheLake(t *testing.T) {
	l := testlake.Open(t)
	mustAppend(t, l, testlake.Rows(l, "a", 1, 1))
	other, same := testlake.Ready(l, testlake.Row("a-0", 99))[0], testlake.Rows(l, "a", 1, 1)[0]
	r := mustAppend(t, l, []*schema.Trajectory{other, same, other})
	if r[0].Status != store.Rejected || r[1].Status != store.Duplicate || r[1].Version != 1 || r[2].Status != store.Rejected {
		t.Errorf("receipts %+v", r)
	}
}

// TestGoneIsAboutTrajectories: what was said of a group says nothing of a row
// whose id is the group's.
func TestGoneIsAboutTrajectories(t *testing.T) {
	l := testlake.Open(t)
	g := note("gone", "x-0", nil, "")
	g.TargetKind = new("group")
	if _, _, err := l.Annotate(ctx, []*schema.Annotation{g, note("gone", "y-0", nil, "")}); err != nil {
		t.Fatal(err)
	}
	r := mustAppend(t, l, slices.Concat(testlake.Rows(l, "x", 1, 1), testlake.Rows(l, "y", 1, 2)))
	if r[0].Status != store.Committed || !fault.Is(r[1].Err, fault.Gone) {
		t.Errorf("receipts %+v", r)
	}
}

// TestLostRaceReadsNoDataFile: the winners state the hashes of their ids, and none
// of them is ours.
func TestLostRaceReadsNoDataFile(t *testing.T) {
	mem := blob.NewMemory()
	other := testlake.On(t, mem, t.TempDir())
	reads := 0
	h := &hooked{Bucket: mem}
	h.hook = func() { reads++; h.armed.Store(true) }
	l, err := store.OpenBucket(ctx, h, "test", &store.Options{IndexDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range 5 {
		mustAppend(t, other, testlake.Rows(other, fmt.Sprint("o", i), 2, uint64(i)))
	}
	h.armed.Store(true)
	r, attempts, err := l.AppendCounted(ctx, testlake.Rows(l, "mine", 2, 99))
	if err != nil || attempts < 2 || r[0].Status != store.Committed {
		t.Fatalf("%+v after %d attempts: %v", r, attempts, err)
	}
	if reads != 0 {
		t.Errorf("%d reads of data files", reads)
	}
	// An id that is there is found, and so is one of ours that the index has not.
	r = mustAppend(t, l, slices.Concat(testlake.Rows(l, "o3", 1, 3), testlake.Rows(l, "mine", 1, 99)))
	if _, d, _ := statuses(r); d != 2 {
		t.Errorf("receipts %+v", r)
	}
}

// settling counts what is made durable for others.
type settling struct {
	blob.Bucket
	dirs []string
	err  error
}

func (s *settling) Settle(_ context.Context, dir string) error {
	s.dirs = append(s.dirs, dir)
	return s.err
}

// TestDuplicatesAreSettled: a version of another process is made durable before a
// duplicate is answered from it, once; one's own is durable.
func TestDuplicatesAreSettled(t *testing.T) {
	mem := blob.NewMemory()
	other := testlake.On(t, mem, t.TempDir())
	s := &settling{Bucket: mem}
	l, err := store.OpenBucket(ctx, s, "test", &store.Options{IndexDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	again := func(l *store.Lake, name string, dups, settled int) {
		t.Helper()
		r := mustAppend(t, l, testlake.Rows(l, name, 2, 1))
		if _, d, _ := statuses(r); d != dups {
			t.Errorf("%s: %d duplicates of %d: %+v", name, d, dups, r)
		}
		if len(s.dirs) != settled || settled > 0 && s.dirs[settled-1] != "trajectories/_delta_log" {
			t.Errorf("%s: settled %q, want %d times", name, s.dirs, settled)
		}
	}
	again(l, "mine", 0, 0)
	again(l, "mine", 2, 0)
	again(other, "a", 0, 0)
	again(other, "b", 0, 0)
	head(t, l)
	again(l, "a", 2, 1)
	again(l, "b", 2, 1)
	again(other, "c", 0, 1)
	again(l, "d", 0, 1)
	again(l, "c", 2, 1) // older than what this process committed
	again(other, "e", 0, 1)
	s.err = fmt.Errorf("settle: %w", blob.ErrNotDurable)
	head(t, l)
	if r, err := l.Append(ctx, testlake.Rows(l, "e", 2, 1)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("duplicates of a version that is not durable are answered: %+v %v", r, err)
	}
	if !errors.Is(l.Err(), blob.ErrNotDurable) {
		t.Errorf("Err() = %v", l.Err())
	}
}
