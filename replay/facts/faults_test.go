package facts

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"trajlake/internal/testlake"
	"trajlake/schema/fault"
	"trajlake/store/blob"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// TestUnreadable opens, advances, matches and requires while the store refuses to
// give data files, at every read in turn; what comes after it is right.
func TestUnreadable(t *testing.T) {
	ctx := context.Background()
	bucket := blob.NewFaulty(blob.NewMemory())
	l := testlake.On(t, bucket, t.TempDir())
	appendRows(t, l, testlake.Rows(l, "a", 30, 1)...)
	use := func(v *View) error {
		if _, _, err := v.Match(ctx, parse(t, "model IS NULL AND (reward > 0.5 OR len(turns) > 9)")); err != nil {
			return err
		}
		_, err := v.Require(ctx, []string{"logprobs"}, []string{"ref"})
		return err
	}
	failed := 0
	for skip := range 12 {
		reader := testlake.Raw(t, bucket, t.TempDir())
		snap := head(t, reader)
		bucket.Add(blob.Rule{Op: "get", Key: "trajectories/*/*", Skip: skip, Count: 1, Err: blob.ErrDenied})
		v, err := Open(ctx, snap, All)
		if err == nil {
			err = use(v)
		}
		bucket.Clear()
		if err != nil {
			failed++
			if k := fault.KindOf(err); k != fault.Denied {
				t.Errorf("read %d refused: kind %v: %v", skip, k, err)
			}
		}
		if v == nil {
			v = openView(t, snap, All)
		}
		w := &world{t: t, lake: reader}
		w.check(v, fmt.Sprint("after a refusal of read ", skip))
		if err := use(v); err != nil {
			t.Error(err)
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}
	if failed == 0 {
		t.Error("no read was refused")
	}
}

// TestCancelled gives up at once, and leaves nothing half known.
func TestCancelled(t *testing.T) {
	l := testlake.Open(t)
	appendRows(t, l, testlake.Rows(l, "a", 30, 1)...)
	v := openView(t, head(t, l), All)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, v.Snapshot(), All); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
	if _, _, err := v.Match(ctx, parse(t, "len(turns) > 1")); !errors.Is(err, context.Canceled) {
		t.Errorf("match: %v", err)
	}
	if _, err := v.Require(ctx, []string{"turns"}, []string{"ref"}); !errors.Is(err, context.Canceled) {
		t.Errorf("require: %v", err)
	}
	(&world{t: t}).checkMatch(v, "after cancelled calls")
	if _, _, err := v.Match(context.Background(), parse(t, "nonsense = 1")); fault.KindOf(err) != fault.Usage {
		t.Errorf("a column that there is not: %v", err)
	}
	if _, _, err := v.Match(context.Background(), parse(t, "reward = 'x'")); fault.KindOf(err) != fault.Usage {
		t.Errorf("types that do not go together: %v", err)
	}
}

// TestAbsentIsReadAgain goes back from a view in which a row is absent to an older
// snapshot, in which the row was there.
func TestAbsentIsReadAgain(t *testing.T) {
	l := testlake.Open(t)
	appendRows(t, l, testlake.Rows(l, "a", 30, 1)...)
	older := head(t, l)
	annotate(t, l, note("priority", "trajectory", "a-3", 1))
	v := openView(t, head(t, l), All)
	p := *v.pages[0]
	p.absent = setBit(nil, 7)
	v.pages[0] = &p
	var r Row
	if v.Read(7, &r); !r.Absent || r.ID64 != 0 || r.Group != 0 {
		t.Errorf("absent: %+v", r)
	}
	b, _, err := v.Match(context.Background(), nil)
	if err != nil || b.Has(7) || b.Count() != 29 {
		t.Errorf("all rows: %v, %v", places(b), err)
	}
	for _, seq := range v.Members(func() uint32 { v.Read(6, &r); return r.Group }()) {
		if seq == 7 {
			t.Error("an absent row is a member")
		}
	}
	w, _, err := v.Advance(context.Background(), older, All)
	if err != nil {
		t.Fatal(err)
	}
	(&world{t: t}).check(w, "older")
}
