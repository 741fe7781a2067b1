package replay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"trajlake/internal/testlake"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
)

// engines opens one lake n times over one bucket, each with an engine: n nodes.
// Every engine is closed, every lake verified, and no goroutine is left.
func engines(t *testing.T, n int, bucket blob.Bucket) ([]*Engine, []*store.Lake) {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if !t.Failed() {
			goleak.VerifyNone(t, leaks)
		}
	})
	var es []*Engine
	var lakes []*store.Lake
	for i := range n {
		lake := testlake.On(t, bucket, t.TempDir())
		e := NewEngine(lake, &EngineOptions{Node: fmt.Sprint("node-", i)})
		t.Cleanup(func() {
			if err := e.Close(context.Background()); err != nil {
				t.Errorf("close engine: %v", err)
			}
		})
		es, lakes = append(es, e), append(lakes, lake)
	}
	return es, lakes
}

// fill commits n rows with the ids prefix-0 ….
func fillLake(t *testing.T, lake *store.Lake, prefix string, n int) {
	t.Helper()
	receipts, err := lake.Append(t.Context(), testlake.Rows(lake, prefix, n, uint64(len(prefix))))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range receipts {
		if r.Status != store.Committed {
			t.Fatalf("%+v", r)
		}
	}
}

func create(t *testing.T, e *Engine, name, text string) *Stream {
	t.Helper()
	st, err := e.Create(t.Context(), name, parse(t, text))
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return st
}

func batchOf(t *testing.T, e *Engine, stream, run string, p uint64) *Drawn {
	t.Helper()
	d, err := e.Batch(t.Context(), BatchRequest{Stream: stream, Run: run, Position: p, Step: -1, Policy: -1})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ackOf(d *Drawn, incarnation, step int64) Ack {
	return Ack{Stream: d.Claim.Stream, Run: d.Claim.Run, Incarnation: incarnation, BatchID: d.ID, Position: d.Position, Step: step, Policy: -1}
}

func lines(t *testing.T, e *Engine, f LedgerFilter) (out []LedgerLine) {
	t.Helper()
	for l, err := range e.Ledger(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func wantKind(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: %v, want kind %s", what, err, kind)
	}
}

const pinnedSpec = "{snapshot: pinned, weight: reward, batch: {rows: 8}, seed: 5}"

func TestStreamIsStoredOnce(t *testing.T) {
	es, lakes := engines(t, 2, blob.NewMemory())
	fillLake(t, lakes[0], "a", 50)
	st := create(t, es[0], "mix", pinnedSpec)
	fillLake(t, lakes[0], "bb", 10)
	if again := create(t, es[1], "mix", pinnedSpec); again.Snapshot != st.Snapshot || again.SpecHash != st.SpecHash {
		t.Errorf("created again: %+v, want %+v", again, st)
	}
	_, err := es[1].Create(t.Context(), "mix", parse(t, "{snapshot: pinned, seed: 6}"))
	wantKind(t, "another spec", err, fault.Conflict)
	for _, text := range []string{"{snapshot: pinned, where: \"nothing = 1\"}", "{snapshot: pinned, columns: [nothing]}", "{snapshot: pinned, batch: {rows: 9999999}}"} {
		_, err = es[0].Create(t.Context(), "bad", parse(t, text))
		wantKind(t, text, err, fault.Usage)
	}
	_, err = es[0].Create(t.Context(), "no/name", parse(t, pinnedSpec))
	wantKind(t, "name", err, fault.Usage)
	_, err = es[1].Get(t.Context(), "bad")
	wantKind(t, "refused stream", err, fault.NotFound)
	got, err := es[1].Get(t.Context(), "mix")
	if err != nil || string(got.JSON()) != string(st.JSON()) {
		t.Errorf("get: %s, %v, want %s", got.JSON(), err, st.JSON())
	}
	list, err := es[1].List(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "mix" || list[0].Last != st.Snapshot {
		t.Errorf("list: %+v, %v", list, err)
	}
}

// TestPinnedBatches: a stream draws what a sampler over its snapshot draws, on every
// node, with and without a run; the run's claim is written.
func TestPinnedBatches(t *testing.T) {
	es, lakes := engines(t, 2, blob.NewMemory())
	fillLake(t, lakes[0], "a", 60)
	st := create(t, es[0], "mix", pinnedSpec)
	snap := head(t, lakes[0])
	fillLake(t, lakes[0], "bb", 30)
	s := sampler(t, snap, pinnedSpec)
	for p := range uint64(10) {
		want := draw(t, s, p)
		for i, e := range es {
			for _, run := range []string{"", "r1", "-"} {
				d := batchOf(t, e, "mix", run, p)
				if d.ID != want.ID || !slices.Equal(d.places(), want.places()) || d.Snapshot != st.Snapshot {
					t.Fatalf("node %d, run %q, batch %d: %s %v, want %s %v", i, run, p, d.ID, d.places(), want.ID, want.places())
				}
			}
		}
	}
	if _, err := lakes[0].GetClaim(t.Context(), "mix", "r1", 0); err != nil {
		t.Error(err)
	}
	_, err := lakes[0].GetClaim(t.Context(), "mix", "", 0)
	wantKind(t, "claim without a run", err, fault.NotFound)
	list, err := es[0].List(t.Context())
	if err != nil || list[0].Position != 10 {
		t.Errorf("list: %+v, %v", list, err)
	}
	for _, r := range []BatchRequest{{Stream: "none"}, {Stream: "mix", Rank: 2, World: 2}, {Stream: "mix", Position: Endless}, {Stream: "mix", Run: "a/b"}, {Stream: "mix", Wait: -1}} {
		if _, err := es[0].Batch(t.Context(), r); !fault.Is(err, fault.Usage) && !fault.Is(err, fault.NotFound) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// trainer is a training process that can be killed: what it knows after that is
// what it saved.
type trainer struct {
	position uint64
	step     int64
}

// TestKilledTrainer kills a trainer a hundred times at random points, on two nodes:
// of a pinned stream, of a live one that rows come into, of one that counts uses. It
// sees what one that was never killed sees, and the ledger has every step once.
func TestKilledTrainer(t *testing.T) {
	for name, text := range map[string]string{"pinned": pinnedSpec, "live": liveSpec,
		"reuse": "{staleness: off, age_decay: off, batch: {rows: 2}, caps: {reuse: 3, cooldown: 2}, strata: {when_dry: wait}, seed: 3}"} {
		t.Run(name, func(t *testing.T) { killTrainer(t, text, name != "pinned") })
	}
}

func killTrainer(t *testing.T, text string, live bool) {
	const seed, steps, kills = 7, 120, 100
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	es, lakes := engines(t, 2, blob.NewMemory())
	fillLake(t, lakes[0], "a", 100)
	create(t, es[0], "mix", text)
	saved, killed, rounds := trainer{}, 0, 0
	seen := map[int64]string{}
	for ; saved.step < steps; rounds++ {
		if live && rounds%10 == 0 {
			fillLake(t, lakes[rounds/10%2], fmt.Sprint("b", rounds), 3)
		}
		now := saved
		e := es[rng.IntN(2)]
		incarnation, err := e.Join(t.Context(), "mix", "killed", 0)
		if err != nil {
			t.Fatal(err)
		}
		ctx, kill := context.WithCancel(t.Context())
		for now.step < steps {
			at := 4 // where it is killed in this step, if it is
			if killed < kills && rng.IntN(2) == 0 {
				at = rng.IntN(4)
				killed++
			}
			if at == 0 {
				break
			}
			d, err := e.Batch(ctx, BatchRequest{Stream: "mix", Run: "killed", Position: now.position, Step: now.step, Policy: -1})
			if err != nil {
				t.Fatal(err)
			}
			if was, ok := seen[now.step]; ok && was != d.ID {
				t.Fatalf("step %d came twice, with other rows", now.step)
			}
			seen[now.step] = d.ID
			if at == 1 {
				break
			}
			a := ackOf(d, incarnation, now.step)
			if at == 2 { // in the middle of the ack: it may count or not
				go kill()
				if err := e.Ack(ctx, a); err != nil && !fault.Is(err, fault.Cancelled) {
					t.Fatal(err)
				}
				break
			}
			if err := e.Ack(ctx, a); err != nil {
				t.Fatal(err)
			}
			now.step, now.position = now.step+1, now.position+1
			if at == 3 { // acked, and not saved
				break
			}
			saved = now
		}
		kill()
	}
	if killed != kills {
		t.Errorf("%d kills, want %d", killed, kills)
	}
	checkKilled(t, es[1], lakes[1], steps, live)
	t.Logf("%d incarnations", rounds)
}

// checkKilled compares the run that was killed with the batches of a node that knows
// nothing but what the lake has.
func checkKilled(t *testing.T, e *Engine, lake *store.Lake, steps int64, live bool) {
	calm := NewEngine(lake, nil)
	defer calm.Close(context.Background())
	want := map[int64]string{}
	for i := range steps {
		want[i] = batchOf(t, calm, "mix", "killed", uint64(i)).ID
		if !live && batchOf(t, calm, "mix", "calm", uint64(i)).ID != want[i] {
			t.Fatalf("batch %d differs from that of a run that was never killed", i)
		}
	}
	checkSteps(t, e, "killed", want)
	if err := e.Ack(t.Context(), ackOf(batchOf(t, e, "mix", "calm", 0), 0, 0)); err != nil {
		t.Fatal(err)
	}
	d, err := e.Diff(t.Context(), "calm", "killed")
	if err != nil || d.SameSteps+d.DifferentSteps != 1 || d.OnlyB != steps-1 || d.OnlyA != 0 || d.FirstDifference == nil {
		t.Errorf("diff %+v, %v", d, err)
	}
	if !live && (d.SameSteps != 1 || *d.FirstDifference != 1) {
		t.Errorf("diff %+v of a pinned stream", d)
	}
}

// checkSteps compares the consumed rows of a run with the batch of each step.
func checkSteps(t *testing.T, e *Engine, run string, want map[int64]string) {
	t.Helper()
	got := map[int64]string{}
	for _, l := range lines(t, e, LedgerFilter{Run: run, Kind: LedgerConsumed}) {
		if was, twice := got[*l.Step]; twice {
			t.Errorf("step %d stands there twice: %s and %s", *l.Step, was, l.BatchID)
		}
		got[*l.Step] = l.BatchID
		if len(l.TrajectoryIDs) == 0 {
			t.Errorf("step %d names no rows", *l.Step)
		}
	}
	for step, id := range want {
		if got[step] != id {
			t.Errorf("step %d: batch %q, want %s", step, got[step], id)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d steps, want %d", len(got), len(want))
	}
}

// TestCompetingConsumers: consumers on two nodes share the positions of a group;
// those of a consumer that dies come to another one.
func TestCompetingConsumers(t *testing.T) {
	es, lakes := engines(t, 2, blob.NewMemory())
	fillLake(t, lakes[0], "a", 40)
	create(t, es[0], "mix", pinnedSpec)
	const ttl = 30 * time.Millisecond
	lease := func(e *Engine, who string, ttl time.Duration) Lease {
		l, err := e.Lease(t.Context(), "mix", "g", who, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	dead := lease(es[0], "dead", ttl)
	a, b := lease(es[0], "a", time.Hour), lease(es[1], "b", time.Hour)
	if dead.Position != 0 || a.Position != 1 || b.Position != 2 {
		t.Fatalf("positions %d %d %d, want 0 1 2", dead.Position, a.Position, b.Position)
	}
	if err := es[1].Release(t.Context(), b, false); err != nil {
		t.Fatal(err)
	}
	if again := lease(es[0], "a", time.Hour); again.Position != 2 {
		t.Errorf("position %d, want 2, which was given back", again.Position)
	}
	var over Lease
	for next := uint64(3); ; next++ { // es[1] sees the lease, waits by its own clock, and takes it over
		if over = lease(es[1], "b", time.Hour); over.Position == 0 {
			break
		}
		if over.Position != next {
			t.Fatalf("position %d, want %d", over.Position, next)
		}
		time.Sleep(5 * time.Millisecond)
	}
	wantKind(t, "renewal of a lease that ran out", es[0].Renew(t.Context(), dead), fault.Conflict)
	wantKind(t, "release of a lease that ran out", es[0].Release(t.Context(), dead, true), fault.Conflict)
	if err := es[1].Renew(t.Context(), over); err != nil {
		t.Error(err)
	}
	d := batchOf(t, es[0], "mix", "g", 0)
	late := ackOf(d, 0, 0)
	late.Lease = dead.Epoch
	wantKind(t, "ack of a lease that ran out", es[0].Ack(t.Context(), late), fault.Conflict)
	mine := ackOf(d, 0, 0)
	mine.Lease = over.Epoch
	if err := es[1].Ack(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	if err := es[1].Release(t.Context(), over, true); err != nil {
		t.Errorf("releasing again: %v", err)
	}
	_, err := es[0].Lease(t.Context(), "mix", "g", "a", 0)
	wantKind(t, "no time", err, fault.Usage)
}

// TestFaultyStore runs two nodes over a store that fails at random, loses answers
// and is slow at times. What was acked is in the ledger once; the others can be
// acked again.
func TestFaultyStore(t *testing.T) {
	const seed = 11
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	faulty := blob.NewFaulty(blob.NewMemory())
	es, lakes := engines(t, 2, faulty)
	fillLake(t, lakes[0], "a", 60)
	create(t, es[0], "mix", pinnedSpec)
	want := map[int64]string{}
	for i := range int64(60) {
		faulty.Clear()
		for range rng.IntN(3) {
			ops := []blob.Op{blob.OpPut, blob.OpGet, blob.OpList}
			do := []blob.Action{blob.FailBefore, blob.LoseAnswer}[rng.IntN(2)]
			op := ops[rng.IntN(3)]
			if op == blob.OpGet {
				do = blob.FailBefore
			}
			faulty.Add(blob.Rule{Op: op, Skip: rng.IntN(4), Count: 1 + rng.IntN(2), Do: do})
		}
		for try := 0; ; try++ {
			e := es[rng.IntN(2)]
			d, err := e.Batch(t.Context(), BatchRequest{Stream: "mix", Run: "r", Position: uint64(i), Step: i, Policy: -1})
			if err == nil {
				if was, ok := want[i]; ok && was != d.ID {
					t.Fatalf("position %d gave %s and %s", i, was, d.ID)
				}
				want[i] = d.ID
				err = e.Ack(t.Context(), ackOf(d, 0, i))
			}
			if err == nil {
				break
			}
			if !fault.Is(err, fault.Unavailable) || try == 50 {
				t.Fatalf("try %d of step %d: %v", try, i, err)
			}
		}
	}
	if faulty.Fired() == 0 {
		t.Error("no fault took place")
	}
	faulty.Clear()
	checkSteps(t, es[0], "r", want)
}

// TestClientsThatStop: callers that give up leave nothing behind, and those who
// come after them are served.
func TestClientsThatStop(t *testing.T) {
	faulty := blob.NewFaulty(blob.NewMemory())
	es, lakes := engines(t, 1, faulty)
	fillLake(t, lakes[0], "a", 40)
	create(t, es[0], "mix", pinnedSpec)
	faulty.Add(blob.Rule{Op: blob.OpPut, Do: blob.Hang, Count: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := es[0].Batch(ctx, BatchRequest{Stream: "mix", Run: "r", Step: -1, Policy: -1})
	wantKind(t, "batch while the store hangs", err, fault.Cancelled)
	d := batchOf(t, es[0], "mix", "r", 0)
	gone, cancelNow := context.WithCancel(t.Context())
	cancelNow()
	if err := es[0].Ack(gone, ackOf(d, 0, 0)); err != nil {
		wantKind(t, "ack of a client that is gone", err, fault.Cancelled)
	}
	if err := es[0].Ack(t.Context(), ackOf(d, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, es[0], LedgerFilter{Kind: LedgerConsumed}); len(got) != 1 {
		t.Errorf("%d consumed rows, want 1", len(got))
	}
}

func TestClose(t *testing.T) {
	es, lakes := engines(t, 1, blob.NewMemory())
	e := es[0]
	fillLake(t, lakes[0], "a", 40)
	create(t, e, "mix", pinnedSpec)
	var ds []*Drawn
	for p := range uint64(20) {
		ds = append(ds, batchOf(t, e, "mix", "r", p))
	}
	acks := make(chan error, len(ds))
	for i, d := range ds {
		go func() { acks <- e.Ack(context.Background(), ackOf(d, 0, int64(i))) }()
	}
	first := <-acks // the others may be anywhere
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	durable := 0
	for i := range ds {
		err := first
		if i > 0 {
			err = <-acks
		}
		if err == nil {
			durable++
		} else {
			wantKind(t, "ack while closing", err, fault.Unavailable)
		}
	}
	other := NewEngine(lakes[0], nil)
	defer other.Close(context.Background())
	if got := lines(t, other, LedgerFilter{Kind: LedgerConsumed}); len(got) < durable || durable == 0 {
		t.Errorf("%d rows, %d acks were answered", len(got), durable)
	}
	_, err := e.Batch(t.Context(), BatchRequest{Stream: "mix"})
	wantKind(t, "batch after close", err, fault.Unavailable)
	wantKind(t, "ack after close", e.Ack(t.Context(), ackOf(ds[0], 0, 0)), fault.Unavailable)
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestDamagedObjects: what cannot be right is named, never guessed around.
func TestDamagedObjects(t *testing.T) {
	st := &Stream{Name: "mix", SpecHash: "abc"}
	good := Claim{Stream: "mix", SpecHash: "abc", Snapshot: "s1.x", First: 5, Count: 3, Previous: claimName(2)}
	if c, err := parseClaim(st, "", 5, good.JSON()); err != nil || c.First != 5 || c.End() != 8 || c.Previous != good.Previous {
		t.Fatalf("%+v, %v", c, err)
	}
	for name, edit := range map[string]func(c *Claim){
		"other place": func(c *Claim) { c.First = 6 }, "other stream": func(c *Claim) { c.Stream = "x" }, "other run": func(c *Claim) { c.Run = "x" },
		"other spec": func(c *Claim) { c.SpecHash = "x" }, "no positions": func(c *Claim) { c.Count = 0 }, "no snapshot": func(c *Claim) { c.Snapshot = "" },
	} {
		c := good
		edit(&c)
		_, err := parseClaim(st, "", 5, c.JSON())
		wantKind(t, name, err, fault.Corrupt)
	}
	for text, kind := range map[string]fault.Kind{"": fault.Corrupt, "{": fault.Corrupt, "{}": fault.Corrupt, "null": fault.Corrupt, `{"format":2}`: fault.Unsupported, `{"format":1,"count":-1}`: fault.Corrupt} {
		_, err := parseClaim(st, "", 5, []byte(text))
		wantKind(t, "claim "+text, err, kind)
		_, err = parseStream("mix", []byte(text))
		if !fault.Is(err, kind) && !fault.Is(err, fault.Corrupt) {
			t.Errorf("stream %s: %v", text, err)
		}
	}
	if end := (&Claim{First: 7, Count: Endless}).End(); end != Endless {
		t.Errorf("end %d of an endless claim", end)
	}
}
