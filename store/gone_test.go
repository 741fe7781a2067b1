package store_test

import (
	"fmt"
	"testing"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
)

// TestGone: what an annotation of kind gone says of a place holds for every
// snapshot, in whichever file it stands.
func TestGone(t *testing.T) {
	l := testlake.Raw(t, blob.NewMemory(), t.TempDir())
	defer l.Close()
	mustAppend(t, l, testlake.Rows(l, "a", 10, 1))
	before := head(t, l)
	if got, err := before.Gone(ctx, []int64{0, 1}); err != nil || len(got) > 0 {
		t.Errorf("nothing was deleted, yet %v (%v)", got, err)
	}
	for i := range 6 {
		notes := []*schema.Annotation{note("priority", fmt.Sprint("a-", i), new(1.0), "")}
		g := note("gone", fmt.Sprint("a-", i), nil, "")
		g.Reason, g.ValueJSON = new("licence"), new(fmt.Sprintf(`{"row_seq":%d,"task_set":"math"}`, i))
		notes = append(notes, g)
		if i == 5 { // deletes nothing that had a place
			g.ValueJSON = nil
		}
		if _, _, err := l.Annotate(ctx, notes); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		got, err := before.Gone(ctx, []int64{9, 3, 0, 3, 5, 77})
		if err != nil || len(got) != 2 {
			t.Fatalf("gone: %v %v", got, err)
		}
		for _, seq := range []int64{0, 3} {
			want := store.GoneRow{Seq: seq, ID: fmt.Sprint("a-", seq), Reason: "licence", Scalars: fmt.Sprintf(`{"row_seq":%d,"task_set":"math"}`, seq)}
			if got[seq] != want {
				t.Errorf("place %d: %+v, want %+v", seq, got[seq], want)
			}
		}
	}
	check()
	rows, err := head(t, l).TouchedRows(ctx, before)
	if err != nil || len(rows) != 6 {
		t.Fatalf("touched %+v %v", rows, err)
	}
	for i, r := range rows {
		if r.Seq != int64(i) || r.Family != (i != 5) {
			t.Errorf("touched row %d: %+v", i, r)
		}
	}
	for i := range 20 { // enough small files
		if _, _, err := l.Annotate(ctx, []*schema.Annotation{note("priority", "a-9", new(float64(i)), "")}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := l.Fold(ctx); err != nil || n == 0 {
		t.Fatalf("folded %d files, %v", n, err)
	}
	check()
	rs, err := l.Append(ctx, testlake.Rows(l, "a", 10, 1))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rs {
		if gone := fault.Is(r.Err, fault.Gone); gone != (i <= 5) {
			t.Errorf("row %d sent again: %+v", i, r)
		}
	}
}

// TestScorersAndAdvantages: the folded view of one scorer, and of advantages of
// any name.
func TestScorersAndAdvantages(t *testing.T) {
	l := testlake.Open(t)
	mustAppend(t, l, testlake.Rows(l, "a", 3, 1))
	named := note("advantage", "a-0", new(-2.0), "x")
	named.Name = new("gae")
	named.AnnotationID = schema.AnnotationID(named)
	_, s, err := l.Annotate(ctx, []*schema.Annotation{note("advantage", "a-0", new(1.0), ""), named, note("reward", "a-1", new(0.5), "one"), note("reward", "a-1", new(0.25), "two")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ scorer, pred string }{{"", "advantage = -2"}, {"", "reward = 0.25 and trajectory_id = 'a-1'"}, {"one", "reward = 0.5 and trajectory_id = 'a-1'"}, {"one", "advantage = -2"}, {"two", "reward = 0.25 and trajectory_id = 'a-1'"}, {"none", "trajectory_id = 'a-1' and (reward = reward_raw or reward is null and reward_raw is null)"}} {
		if got := ids(t, s.ForScorer(c.scorer), c.pred); len(got) != 1 {
			t.Errorf("for scorer %q, %s: %v", c.scorer, c.pred, got)
		}
	}
	if s.ForScorer("") != s || s.ForScorer("one").Token() != s.Token() {
		t.Error("a snapshot for a scorer is another snapshot")
	}
}

// TestTouchedOfTwoLakes is refused.
func TestTouchedOfTwoLakes(t *testing.T) {
	a, b := testlake.Open(t), testlake.Open(t)
	if _, err := head(t, a).Touched(ctx, head(t, b)); !fault.Is(err, fault.Usage) {
		t.Errorf("touched between two lakes: %v", err)
	}
}
