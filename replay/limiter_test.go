package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// TestLimiterArithmetic: with r samples per insert, exactly floor(r × rows + slack)
// units are drawn, whatever the steps in which rows come.
func TestLimiterArithmetic(t *testing.T) {
	for _, c := range []struct {
		l            Limiter
		rows         int64
		steps        []int64
		want, reason string
	}{
		{Limiter{SamplesPerInsert: 4}, 4, []int64{1, 2, 10}, "[1 2 10]", WaitRatio},
		{Limiter{SamplesPerInsert: 4}, 32, []int64{7, 8, 100, 101}, "[0 1 12 12]", WaitRatio},
		{Limiter{SamplesPerInsert: 0.1, Slack: 5}, 1, []int64{0, 9, 10, 100}, "[5 5 6 15]", WaitRatio},
		{Limiter{MinSize: 10, SamplesPerInsert: 1}, 1, []int64{9, 10}, "[0 10]", WaitRatio},
	} {
		drawn := int64(0)
		var got []int64
		for _, inserts := range c.steps {
			n, w := c.l.batches(inserts, drawn, c.rows)
			drawn += int64(n) * c.rows
			got = append(got, drawn/c.rows)
			if n, w = c.l.batches(inserts, drawn, c.rows); n != 0 || w.Reason != c.reason && inserts >= c.l.MinSize {
				t.Errorf("%+v at %d rows: %d more batches, %v", c.l, inserts, n, w)
			}
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%+v: batches %v, want %s", c.l, got, c.want)
		}
	}
	if n, w := (Limiter{MinSize: 3}).batches(2, 0, 1); n != 0 || w.Reason != WaitMinSize || w.Have != 2 || w.Want != 3 {
		t.Errorf("%d, %+v", n, w)
	}
	if n, _ := (Limiter{}).batches(0, 0, 1); n < 1<<40 {
		t.Errorf("an absent limiter lets %d batches through", n)
	}
	if n, _ := (Limiter{SamplesPerInsert: 1e300}).batches(1<<40, 1<<40, 1); n < 1<<40 {
		t.Errorf("a very wide limiter lets %d batches through", n)
	}
}

// TestSamplesPerInsert has eight writers and one reader: the reader waits, the
// writers never do, and in the end the ratio is exact.
func TestSamplesPerInsert(t *testing.T) {
	es, lakes := engines(t, 2, blob.NewMemory())
	create(t, es[0], "live", "{staleness: off, age_decay: off, batch: {rows: 4}, limiter: {min_size: 8, samples_per_insert: 4}, seed: 3}")
	if _, w := ask(t, es[0], "live", "r", 0); w.Reason != WaitMinSize || w.Want != 8 {
		t.Errorf("an empty lake: %+v", w)
	}
	const writers, commits, rows = 8, 5, 3
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for k := range commits {
				fillLake(t, lakes[i%2], fmt.Sprintf("w%d-%d", i, k), rows)
			}
		})
	}
	position, ratio := uint64(0), int64(4)
	draw := func(e *Engine, wait time.Duration) bool {
		d, err := e.Batch(t.Context(), BatchRequest{Stream: "live", Run: "r", Position: position, Step: -1, Policy: -1, Wait: wait})
		if err != nil {
			var w *WaitError
			if !errors.As(err, &w) || w.Reason != WaitRatio && w.Reason != WaitMinSize {
				t.Fatal(err)
			}
			return false
		}
		position++
		snap, err := lakes[0].At(t.Context(), d.Snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if most := ratio * snap.Count(schema.Trajectories); int64(position)*4 > most {
			t.Fatalf("%d units drawn from %d rows", position*4, most/ratio)
		}
		return true
	}
	for position < 50 {
		draw(es[position%2], time.Minute)
	}
	wg.Wait()
	for draw(es[0], 0) {
	}
	if want := uint64(writers * commits * rows); position != want {
		t.Errorf("%d batches of 4 for %d rows, want %d", position, want, want)
	}
	if s, err := es[0].Status(t.Context(), "live", "r"); err != nil || s.Waiting.Reason != WaitRatio {
		t.Errorf("status %+v, %v", s, err)
	}
	// Changed at run time, on the other node.
	if err := es[1].Limit(t.Context(), "live", Limiter{SamplesPerInsert: 8}); err != nil {
		t.Fatal(err)
	}
	if ratio = 8; !draw(es[0], time.Minute) {
		t.Error("the wider limiter lets nothing through")
	}
	wantKind(t, "an impossible limiter", es[1].Limit(t.Context(), "live", Limiter{SamplesPerInsert: -1}), fault.Usage)
	create(t, es[0], "pinned", pinnedSpec)
	wantKind(t, "limiter of a pinned stream", es[1].Limit(t.Context(), "pinned", Limiter{}), fault.Usage)
}

// TestDryStratumWaits: nothing is claimed while a stratum has not got its rows, and
// the trainer is told which one.
func TestDryStratumWaits(t *testing.T) {
	es, lakes := engines(t, 1, blob.NewMemory())
	effort := func(id, level string) {
		r := testlake.Row(id, 1)
		r.Effort = &level
		if _, err := lakes[0].Append(t.Context(), testlake.Ready(lakes[0], r)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		effort(fmt.Sprint("low", i), "low")
	}
	effort("high0", "high")
	create(t, es[0], "live", "{staleness: off, age_decay: off, batch: {rows: 8}, strata: {by: [effort], shares: {low: 0.5, high: 0.5}, when_dry: wait}, seed: 3}")
	if _, w := ask(t, es[0], "live", "r", 0); w.Reason != WaitDry || w.Stratum != "high" {
		t.Errorf("%+v, want stratum high", w)
	}
	if n := len(chainOf(t, es[0], "live", "r")); n != 0 {
		t.Errorf("%d claims", n)
	}
	done := make(chan *Drawn)
	go func() {
		d, err := es[0].Batch(context.Background(), BatchRequest{Stream: "live", Run: "r", Step: -1, Policy: -1, Wait: time.Minute})
		if err != nil {
			t.Error(err)
		}
		done <- d
	}()
	for i := 1; i < 4; i++ {
		effort(fmt.Sprint("high", i), "high")
	}
	d := <-done
	if d == nil || len(d.Slots) != 8 {
		t.Fatalf("%+v", d)
	}
}

// TestClaimsFollowThePace: claims grow with an even rate, and a few batches drawn
// at once are no reason for a long one.
func TestClaimsFollowThePace(t *testing.T) {
	c := &chain{}
	now := time.Now()
	for range 16 { // a burst, one position in each claim
		c.claimed.add(1, now)
	}
	if n := c.pace(&held{Claim: &Claim{Count: 1}}, 1); n > 4 {
		t.Errorf("after a burst of 16 the next claim has %d", n)
	}
	c.claimed = fading{}
	for i := range 400 { // 100 a second, for four seconds up to now
		c.claimed.add(1, now.Add(time.Duration(i-399)*10*time.Millisecond))
	}
	if n := c.pace(&held{Claim: &Claim{Count: 100}}, 1); n < 20 || n > 27 {
		t.Errorf("at 100 a second the next claim has %d", n)
	}
	c.claimed.then = now.Add(-time.Minute)
	if n := c.pace(&held{Claim: &Claim{Count: 100}}, 1); n != 1 {
		t.Errorf("after a minute the next claim has %d", n)
	}
	if n := c.pace(&held{Claim: &Claim{Count: 1}}, 9); n != 9 {
		t.Errorf("9 were asked for, the next claim has %d", n)
	}
}
