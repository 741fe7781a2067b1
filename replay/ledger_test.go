package replay

import (
	"fmt"
	"slices"
	"testing"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/blob"
)

func TestLateAcksAreRefused(t *testing.T) {
	es, lakes := engines(t, 2, blob.NewMemory())
	fillLake(t, lakes[0], "a", 40)
	create(t, es[0], "mix", pinnedSpec)
	join := func(e *Engine) int64 {
		i, err := e.Join(t.Context(), "mix", "r", 0)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	first := join(es[0])
	for i := range int64(5) {
		if err := es[0].Ack(t.Context(), ackOf(batchOf(t, es[0], "mix", "r", uint64(i)), first, i)); err != nil {
			t.Fatal(err)
		}
	}
	second := join(es[1])
	d := batchOf(t, es[0], "mix", "r", 5)
	wantKind(t, "ack of an earlier incarnation", es[0].Ack(t.Context(), ackOf(d, first, 5)), fault.Conflict)
	wantKind(t, "ack without an incarnation", es[0].Ack(t.Context(), ackOf(d, 0, 5)), fault.Conflict)
	wantKind(t, "ack of an incarnation that never was", es[0].Ack(t.Context(), ackOf(d, second+5, 5)), fault.Conflict)
	if err := es[0].Ack(t.Context(), ackOf(d, second, 5)); err != nil {
		t.Fatal(err)
	}
	if refused := lines(t, es[1], LedgerFilter{Run: "r", Kind: LedgerRefused}); len(refused) != 3 || refused[0].Reason == "" {
		t.Errorf("refused %+v, want three rows with reasons", refused)
	}
	// The trainer goes back to step 2: steps from there on do not count until done anew.
	if err := es[1].Rollback(t.Context(), "mix", "r", 2); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "ack from the future", es[0].Ack(t.Context(), ackOf(batchOf(t, es[0], "mix", "r", 6), second, 6)), fault.Conflict)
	if got := stepsOf(lines(t, es[0], LedgerFilter{Run: "r", Kind: LedgerConsumed})); !slices.Equal(got, []int64{0, 1}) {
		t.Errorf("steps %v after the rollback, want 0 and 1", got)
	}
	if got := lines(t, es[0], LedgerFilter{Run: "r", Kind: LedgerConsumed, Superseded: true}); len(got) != 6 {
		t.Errorf("%d rows with those superseded, want 6", len(got))
	}
	third := join(es[0])
	other := batchOf(t, es[0], "mix", "r", 9) // goes on with another batch
	if err := es[0].Ack(t.Context(), ackOf(other, third, 2)); err != nil {
		t.Fatal(err)
	}
	got := lines(t, es[0], LedgerFilter{Run: "r", Kind: LedgerConsumed})
	if !slices.Equal(stepsOf(got), []int64{0, 1, 2}) || got[2].BatchID != other.ID {
		t.Errorf("steps %v, batch %s; want 0 to 2 and %s", stepsOf(got), got[2].BatchID, other.ID)
	}
}

func stepsOf(list []LedgerLine) (out []int64) {
	for _, l := range list {
		out = append(out, *l.Step)
	}
	return out
}

func TestAckTwiceIsOnce(t *testing.T) {
	es, lakes := engines(t, 2, blob.NewMemory())
	fillLake(t, lakes[0], "a", 40)
	create(t, es[0], "mix", pinnedSpec)
	d := batchOf(t, es[0], "mix", "r", 3)
	for _, e := range []*Engine{es[0], es[1], es[0]} {
		if err := e.Ack(t.Context(), ackOf(d, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	bad := ackOf(d, 0, 0)
	bad.BatchID = batchOf(t, es[0], "mix", "r", 4).ID
	wantKind(t, "id of another position", es[0].Ack(t.Context(), bad), fault.Usage)
	none := ackOf(d, 0, 0)
	none.Run = ""
	wantKind(t, "ack without a run", es[0].Ack(t.Context(), none), fault.Usage)
	none.Run, none.Step = "r", -1
	wantKind(t, "negative step", es[0].Ack(t.Context(), none), fault.Usage)
	got := lines(t, es[1], LedgerFilter{Run: "r", Kind: LedgerConsumed})
	if len(got) != 1 || got[0].Position != 3 || got[0].BatchID != d.ID || got[0].Version != d.Version || len(got[0].RowSeqs) != 8 {
		t.Errorf("%+v", got)
	}
	if err := es[0].Nack(t.Context(), ackOf(batchOf(t, es[0], "mix", "r", 4), 0, -1), "loss is NaN"); err != nil {
		t.Fatal(err)
	}
	if nack := lines(t, es[1], LedgerFilter{Run: "r", Kind: LedgerNack}); len(nack) != 1 || nack[0].Reason != "loss is NaN" {
		t.Errorf("%+v", nack)
	}
	id := got[0].TrajectoryIDs[2]
	if used := lines(t, es[1], LedgerFilter{Trajectory: id, Kind: LedgerConsumed}); len(used) != 1 {
		t.Errorf("%d rows used %s", len(used), id)
	}
	again, err := es[1].Refetch(t.Context(), d.ID)
	if err != nil || !slices.Equal(again.places(), d.places()) {
		t.Errorf("fetched again: %v, %v", again, err)
	}
	_, err = es[1].Refetch(t.Context(), "0123")
	wantKind(t, "unknown batch", err, fault.NotFound)
	_, err = es[1].Diff(t.Context(), "r", "other")
	wantKind(t, "run without rows", err, fault.NotFound)
}

// TestServedRowsRideAlong: what was handed out is noted without anybody waiting.
func TestServedRowsRideAlong(t *testing.T) {
	es, lakes := engines(t, 1, blob.NewMemory())
	fillLake(t, lakes[0], "a", 40)
	create(t, es[0], "mix", pinnedSpec)
	for p := range uint64(4) {
		batchOf(t, es[0], "mix", "r", p)
		batchOf(t, es[0], "mix", "r", p)
	}
	if err := es[0].Ack(t.Context(), ackOf(batchOf(t, es[0], "mix", "r", 0), 0, 0)); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, l := range lines(t, es[0], LedgerFilter{Stream: "mix"}) {
		kinds = append(kinds, l.Kind)
	}
	if want := []string{"claim", "served", "served", "served", "served", "consumed"}; !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
}

// TestRanksShareABatch: the parts of ranks are the batch, cut alike on every node,
// and the ledger names to each rank its own rows.
func TestRanksShareABatch(t *testing.T) {
	es, lakes := engines(t, 2, blob.NewMemory())
	fillLake(t, lakes[0], "a", 60)
	create(t, es[0], "mix", pinnedSpec)
	const world = 3
	var got []int64
	for rank := range world {
		var first []int
		for i, e := range es {
			d, err := e.Batch(t.Context(), BatchRequest{Stream: "mix", Run: "r", Rank: rank, World: world, Step: -1, Policy: -1})
			if err != nil {
				t.Fatal(err)
			}
			part := d.Part(rank, world)
			if i == 0 {
				first = part
				a := ackOf(d, 0, 0)
				a.Rank, a.World = rank, world
				if err := es[1].Ack(t.Context(), a); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(part, first) {
				t.Errorf("rank %d: slots %v on one node, %v on the other", rank, first, part)
			}
			for _, slot := range d.Slots {
				if slot.Members[0].Tokens == 0 {
					t.Fatalf("slot %+v has no length", slot)
				}
			}
		}
		l := lines(t, es[0], LedgerFilter{Run: "r", Kind: LedgerConsumed})[rank]
		if int(*l.Rank) != rank || *l.World != world || len(l.RowSeqs) != len(first) {
			t.Errorf("rank %d: %+v, want %d rows", rank, l, len(first))
		}
		got = append(got, l.RowSeqs...)
	}
	want := batchOf(t, es[0], "mix", "r", 0).places()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the ranks had %v, the batch %v", got, want)
	}
}

// TestDeletedRowsStayInTheLedger: a batch with a row that was deleted since is acked
// and fetched again with the row's id and place.
func TestDeletedRowsStayInTheLedger(t *testing.T) {
	es, lakes := engines(t, 2, blob.NewMemory())
	fillLake(t, lakes[0], "a", 20)
	create(t, es[0], "mix", pinnedSpec)
	d := batchOf(t, es[0], "mix", "r", 0)
	ids, err := es[0].rowIDs(t.Context(), d.ids)
	if err != nil {
		t.Fatal(err)
	}
	g := &schema.Annotation{AnnotationID: "g", Kind: new("gone"), TargetKind: new("trajectory"), TargetID: &ids[2], Reason: new("licence"),
		ValueJSON: new(fmt.Sprintf(`{"row_seq":%d}`, d.places()[2]))}
	if _, _, err := lakes[0].Annotate(t.Context(), []*schema.Annotation{g}); err != nil {
		t.Fatal(err)
	}
	for rank := range 2 {
		a := ackOf(d, 0, int64(rank))
		a.Rank, a.World = rank, 2
		if err := es[1].Ack(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if got := lines(t, es[0], LedgerFilter{Trajectory: ids[2], Kind: LedgerConsumed}); len(got) != 1 {
		t.Errorf("%d rows name the deleted trajectory", len(got))
	}
	again, err := es[1].Refetch(t.Context(), d.ID)
	if err != nil || !slices.Equal(again.places(), d.places()) {
		t.Fatalf("%v, %v", again, err)
	}
	f := NewFetcher(nil)
	defer f.Close()
	rec, err := f.Rows(t.Context(), again.Sampler, again.Batch, []string{"trajectory_id"})
	if err != nil {
		t.Fatal(err)
	}
	if why, ok := frameOf(rec).text(ColGone, 2); !ok || why != "licence" {
		t.Errorf("row 2 is gone for %q, want licence", why)
	}
}
