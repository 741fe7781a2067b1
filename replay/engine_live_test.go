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

// TestWriteBackIsSeenByTheNextClaim: streams of different scorers share one node, and
// each sees rewards and priorities that were written back before its claim.
func TestWriteBackIsSeenByTheNextClaim(t *testing.T) {
	es, lakes := engines(t, 1, blob.NewMemory())
	e := es[0]
	fillLake(t, lakes[0], "a", 12)
	create(t, e, "any", "{staleness: off, age_decay: off, where: \"reward > 0\", batch: {rows: 4}, seed: 3}")
	create(t, e, "strict", "{staleness: off, age_decay: off, scorer: strict, where: \"reward > 0\", batch: {rows: 4}, seed: 3}")
	create(t, e, "priority", "{staleness: off, age_decay: off, weight: priority, batch: {rows: 4}, seed: 3}")
	write := func(kind, scorer string, value func(i int) float64) {
		var notes []*schema.Annotation
		for i := range 12 {
			a := &schema.Annotation{AnnotationID: fmt.Sprint(kind, scorer, i), Kind: &kind, TargetKind: new("trajectory"), TargetID: new(fmt.Sprint("a-", i)), Value: new(value(i))}
			if scorer != "" {
				a.Scorer = &scorer
			}
			notes = append(notes, a)
		}
		if _, _, err := lakes[0].Annotate(t.Context(), notes); err != nil {
			t.Fatal(err)
		}
	}
	only := func(stream string, p uint64, want ...int64) {
		t.Helper()
		d := batchOf(t, e, stream, "r", p)
		got := d.places()
		slices.Sort(got)
		if d.Claim.First != p || !slices.Equal(got, want) {
			t.Errorf("%s: %v from the claim at %d, want %v", stream, got, d.Claim.First, want)
		}
	}
	write("reward", "strict", func(i int) float64 { return float64(i / 8) }) // 8 to 11 are right
	write("reward", "lax", func(i int) float64 { return float64(1 - i/4) })  // 0 to 3 are
	write("priority", "", func(i int) float64 { return float64(i / 8) })
	only("any", 0, 0, 1, 2, 3)
	only("strict", 0, 8, 9, 10, 11)
	only("priority", 0, 8, 9, 10, 11)
	write("reward", "last", func(i int) float64 { return float64(i % 3 / 2) }) // 2, 5, 8, 11
	write("priority", "later", func(i int) float64 { return float64(i % 3 / 2) })
	only("any", 1, 2, 5, 8, 11)
	only("strict", 1, 8, 9, 10, 11)
	only("priority", 1, 2, 5, 8, 11)
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
	t.Run("memory", func(t *testing.T) { drawUnderFaults(t, blob.NewMemory()) })
	t.Run("directory", func(t *testing.T) {
		dir, err := blob.OpenDir(t.TempDir(), true)
		if err != nil {
			t.Fatal(err)
		}
		drawUnderFaults(t, dir)
	})
}

func drawUnderFaults(t *testing.T, mem blob.Bucket) {
	const seed, steps = 21, 50
	t.Logf("seed %d", seed)
	open := struct{ blob.Bucket }{mem} // that no node closes for the others
	faulty := []*blob.Faulty{blob.NewFaulty(open), blob.NewFaulty(open)}
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
