package replay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
)

const liveSpec = "{staleness: off, age_decay: off, batch: {rows: 4}, seed: 3}"

// ask is batchOf for a batch that may not be there yet.
func ask(t *testing.T, e *Engine, stream, run string, p uint64) (*Drawn, Wait) {
	t.Helper()
	d, err := e.Batch(t.Context(), BatchRequest{Stream: stream, Run: run, Position: p, Step: -1, Policy: -1})
	var w *WaitError
	if errors.As(err, &w) {
		wantKind(t, "waiting", err, fault.Unavailable)
		return nil, w.Wait
	}
	if err != nil {
		t.Fatal(err)
	}
	return d, Wait{}
}

// chainOf reads the claims of a run from the lake and checks that they are a chain.
func chainOf(t *testing.T, e *Engine, stream, run string) (out []*Claim) {
	t.Helper()
	st, err := e.Get(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	end, previous := uint64(0), ""
	for first, err := range e.lake.ListClaims(t.Context(), stream, run, 0) {
		if err != nil {
			t.Fatal(err)
		}
		body, err := e.lake.GetClaim(t.Context(), stream, run, first)
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseClaim(st, run, first, body)
		if err != nil {
			t.Fatal(err)
		}
		if c.First != end || c.Previous != previous {
			t.Fatalf("claim %d follows %q, want %d after %q", c.First, c.Previous, end, previous)
		}
		end, previous = c.End(), c.Name()
		out = append(out, c)
	}
	return out
}

func annotate(t *testing.T, lake *store.Lake, kind, id string, n int) {
	t.Helper()
	_, _, err := lake.Annotate(t.Context(), []*schema.Annotation{{AnnotationID: fmt.Sprint("n", n), Kind: &kind, TargetKind: new("trajectory"), TargetID: &id}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLiveStream: two nodes make one chain of claims; every claim sees what was
// committed before it, and takes quarantined rows out; batches stay what they were.
func TestLiveStream(t *testing.T) {
	es, lakes := engines(t, 2, blob.NewMemory())
	fillLake(t, lakes[0], "a", 6)
	create(t, es[0], "live", liveSpec)
	const positions = 60
	var given []*Drawn
	quarantined := map[string]bool{}
	for p := range uint64(positions) {
		e := es[p/3%2]
		d := batchOf(t, e, "live", "r", p)
		given = append(given, d)
		ids, err := e.rowIDs(t.Context(), d.ids)
		if err != nil {
			t.Fatal(err)
		}
		if d.Claim.First == p { // rows come and go while the claim lasts
			for _, id := range ids {
				if quarantined[id] {
					t.Errorf("batch %d holds %s, which was quarantined before the claim", p, id)
				}
			}
			fillLake(t, lakes[p%2], fmt.Sprintf("b%d", p), 2)
			annotate(t, lakes[(p+1)%2], "quarantine", ids[0], int(p))
			quarantined[ids[0]] = true
		}
	}
	claims := chainOf(t, es[0], "live", "r")
	if len(claims) < 3 || claims[0].Count != 1 {
		t.Errorf("%d claims, the first of %d positions; want several, the first of one", len(claims), claims[0].Count)
	}
	last := claims[len(claims)-1]
	if claims[0].Snapshot == last.Snapshot {
		t.Error("all claims are of one snapshot")
	}
	third := NewEngine(lakes[1], nil)
	defer third.Close(context.Background())
	for _, p := range []uint64{0, 7, 59, 1, 30} {
		d := batchOf(t, third, "live", "r", p)
		if d.ID != given[p].ID || !slices.Equal(d.places(), given[p].places()) {
			t.Errorf("batch %d: %s %v, was %s %v", p, d.ID, d.places(), given[p].ID, given[p].places())
		}
	}
	_, err := third.Batch(t.Context(), BatchRequest{Stream: "live", Run: "r", Position: 1 << 40})
	wantKind(t, "a position far ahead", err, fault.Usage)
	st, err := third.Status(t.Context(), "live", "r")
	if err != nil || st.Position != last.End() || st.Snapshot != last.Snapshot {
		t.Errorf("status %+v, %v; want position %d", st, err, last.End())
	}
}

// TestReadersOfDifferentPace: a slow reader beside a fast one, and one that never
// acks, get what they would have got alone; nobody waits for anybody.
func TestReadersOfDifferentPace(t *testing.T) {
	es, lakes := engines(t, 1, blob.NewMemory())
	e := es[0]
	fillLake(t, lakes[0], "a", 30)
	create(t, e, "live", liveSpec)
	var fast []string
	slow := uint64(0)
	for p := range uint64(200) {
		d := batchOf(t, e, "live", "r", p)
		fast = append(fast, d.ID)
		if p%20 == 0 {
			fillLake(t, lakes[0], fmt.Sprint("b", p), 1)
		}
		if p%10 == 9 { // never acked
			if got := batchOf(t, e, "live", "r", slow); got.ID != fast[slow] {
				t.Fatalf("the slow reader got %s at %d, the fast one %s", got.ID, slow, fast[slow])
			}
			slow++
		}
	}
	if err := e.Ack(t.Context(), ackOf(batchOf(t, e, "live", "r", 3), 0, 3)); err != nil { // long after
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, l := range lines(t, e, LedgerFilter{Run: "r"}) {
		kinds[l.Kind]++
	}
	if kinds[LedgerConsumed] != 1 || kinds[LedgerServed] < 200 {
		t.Errorf("%v, want one consumed row and all that were served", kinds)
	}
}

// TestSameClaimAtOnce asks many nodes for the same positions at the same time.
func TestSameClaimAtOnce(t *testing.T) {
	es, lakes := engines(t, 3, blob.NewMemory())
	fillLake(t, lakes[0], "a", 30)
	create(t, es[0], "live", liveSpec)
	const positions = 40
	got := make([][]string, 6)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			for p := range uint64(positions) {
				d, err := es[i%3].Batch(t.Context(), BatchRequest{Stream: "live", Run: "r", Position: p, Step: int64(p), Policy: int64(i)})
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = append(got[i], d.ID)
			}
		})
	}
	wg.Wait()
	for i := range got {
		if !slices.Equal(got[i], got[0]) {
			t.Errorf("node %d drew %v, node 0 %v", i%3, got[i], got[0])
		}
	}
	chainOf(t, es[0], "live", "r")
}

// TestMissingClaimIsDamage: nothing is drawn past a hole in the chain.
func TestMissingClaimIsDamage(t *testing.T) {
	mem := blob.NewMemory()
	es, lakes := engines(t, 1, mem)
	fillLake(t, lakes[0], "a", 30)
	create(t, es[0], "live", liveSpec)
	for p := range uint64(30) {
		batchOf(t, es[0], "live", "r", p)
	}
	claims := chainOf(t, es[0], "live", "r")
	hole := claims[len(claims)-2]
	key := fmt.Sprintf("_trajlake/claims/live/r/%020d.json", hole.First)
	body, err := mem.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := mem.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	other := NewEngine(lakes[0], nil)
	defer other.Close(context.Background())
	for _, p := range []uint64{hole.First, hole.End()} {
		_, err := other.Batch(t.Context(), BatchRequest{Stream: "live", Run: "r", Position: p})
		wantKind(t, fmt.Sprint("position ", p), err, fault.Corrupt)
	}
	if err := mem.Put(t.Context(), key, body, blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	batchOf(t, other, "live", "r", hole.First)
}

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

// TestClocksApart: the moment of claims never goes back, whatever clocks nodes have.
func TestClocksApart(t *testing.T) {
	mem := blob.NewMemory()
	es, lakes := engines(t, 1, mem)
	fillLake(t, lakes[0], "a", 30)
	create(t, es[0], "live", "{staleness: off, age_decay: {tau: 1000, unit: seconds}, batch: {rows: 4}, seed: 3}")
	ahead := NewEngine(lakes[0], &EngineOptions{Node: "ahead", Now: func() time.Time { return time.Now().Add(time.Hour) }})
	defer ahead.Close(context.Background())
	behind := NewEngine(lakes[0], &EngineOptions{Node: "behind", Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	defer behind.Close(context.Background())
	nodes := []*Engine{es[0], ahead, behind}
	for p := range uint64(40) {
		e := nodes[p/2%3]
		d := batchOf(t, e, "live", "r", p)
		if err := e.Ack(t.Context(), ackOf(d, 0, int64(p))); err != nil {
			t.Fatal(err)
		}
	}
	last := int64(0)
	for _, c := range chainOf(t, es[0], "live", "r") {
		if c.AsOf.Time < last {
			t.Errorf("claim %d: time %d after %d", c.First, c.AsOf.Time, last)
		}
		last = c.AsOf.Time
	}
}

// TestReuseCap: over nodes and restarts no row is drawn more often than the spec
// says, the draws are those of one node alone, and new rows set the stream going.
func TestReuseCap(t *testing.T) {
	es, lakes := engines(t, 2, blob.NewMemory())
	fillLake(t, lakes[0], "a", 40)
	create(t, es[0], "seq", "{staleness: off, age_decay: off, batch: {rows: 4}, caps: {reuse: 2}, strata: {when_dry: wait}, seed: 3}")
	uses := map[int64]int{}
	position, restarts := uint64(0), 0
	draw := func() Wait {
		e := es[position%2]
		if position%7 == 3 { // a node that knows nothing
			e = NewEngine(lakes[restarts%2], nil)
			defer e.Close(context.Background())
			restarts++
		}
		d, w := ask(t, e, "seq", "r", position)
		if d == nil {
			return w
		}
		for _, seq := range d.places() {
			if uses[seq]++; uses[seq] > 2 {
				t.Fatalf("row %d came %d times", seq, uses[seq])
			}
		}
		position++
		return Wait{}
	}
	for position < 20 {
		if w := draw(); w.Reason != "" {
			t.Fatalf("position %d: %s", position, w)
		}
	}
	if w := draw(); w.Reason != WaitDry {
		t.Errorf("all rows are used up: %+v", w)
	}
	fillLake(t, lakes[1], "bb", 4)
	if w := draw(); w.Reason != "" {
		t.Errorf("new rows are there: %s", w)
	}
	chainOf(t, es[0], "seq", "r")
	if restarts == 0 {
		t.Error("no restart took place")
	}
}

// TestLiveUnderFaults has two nodes draw and ack at once over a store that fails at
// random: one chain, one batch for each position, every acked step once.
func TestLiveUnderFaults(t *testing.T) {
	const seed, steps = 21, 50
	t.Logf("seed %d", seed)
	mem := blob.NewMemory()
	faulty := []*blob.Faulty{blob.NewFaulty(mem), blob.NewFaulty(mem)}
	es, lakes := engines(t, 1, mem) // no faults: checks in the end
	fillLake(t, lakes[0], "a", 40)
	create(t, es[0], "live", liveSpec)
	var nodes []*Engine
	for i := range faulty {
		lake := testlake.Raw(t, faulty[i], t.TempDir())
		e := NewEngine(lake, &EngineOptions{Node: fmt.Sprint("faulty-", i)})
		defer lake.Close()
		defer e.Close(context.Background())
		nodes = append(nodes, e)
	}
	var mu sync.Mutex
	ids := map[uint64]string{}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			run := fmt.Sprint("r", i/2) // two trainers for each run, one on each node
			for p := range uint64(steps) {
				if rng.IntN(3) == 0 {
					op := []blob.Op{blob.OpPut, blob.OpList}[rng.IntN(2)]
					faulty[i%2].Add(blob.Rule{Op: op, Skip: rng.IntN(3), Do: []blob.Action{blob.FailBefore, blob.LoseAnswer}[rng.IntN(2)]},
						blob.Rule{Op: blob.OpGet, Do: blob.Wait, Delay: time.Millisecond})
				}
				for try := 0; ; try++ {
					d, err := nodes[i%2].Batch(t.Context(), BatchRequest{Stream: "live", Run: run, Position: p, Step: int64(p), Policy: -1})
					if err == nil {
						mu.Lock()
						key := uint64(i/2)<<32 | p
						if was, ok := ids[key]; ok && was != d.ID {
							t.Errorf("run %s, position %d: %s and %s", run, p, was, d.ID)
						}
						ids[key] = d.ID
						mu.Unlock()
						err = nodes[i%2].Ack(t.Context(), ackOf(d, 0, int64(p)))
					}
					if err == nil {
						break
					}
					if !fault.Is(err, fault.Unavailable) || try == 50 {
						t.Errorf("run %s, step %d, try %d: %v", run, p, try, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	for i := range 2 {
		if faulty[i].Fired() == 0 {
			t.Error("no fault took place")
		}
		faulty[i].Clear()
		run := fmt.Sprint("r", i)
		chainOf(t, es[0], "live", run)
		want := map[int64]string{}
		for p := range int64(steps) {
			want[p] = ids[uint64(i)<<32|uint64(p)]
		}
		checkSteps(t, es[0], run, want)
	}
}
