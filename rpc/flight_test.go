package rpc

import (
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/flight"

	"trajlake/replay"
	"trajlake/schema"
	"trajlake/schema/fault"
)

// TestBatch finds a batch over Flight to be the one drawn here.
func TestBatch(t *testing.T) {
	h := start(t, nil)
	h.fill(t, 100)
	spec := []byte(`{"where":"reward > 0","weight":"reward","batch":{"rows":16},"seed":9}`)
	snap, err := h.lake.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := replay.ParseSpec(spec)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for pos := range uint64(4) {
		sampler, b, err := replay.Draw(t.Context(), snap, parsed.Fill(replay.Pinned), pos)
		if err != nil {
			t.Fatal(err)
		}
		want, err := sampler.Rows(t.Context(), b, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := h.fetchOne(t, &Ticket{Kind: TicketBatch, Spec: spec, Position: pos})
		sameColumns(t, got, want)
		md := got.Schema().Metadata()
		if id, _ := md.GetValue("batch_id"); id != b.ID || seen[id] {
			t.Errorf("position %d: batch id %q, want %q, a new one", pos, id, b.ID)
		}
		seen[b.ID] = true
		info, err := h.client.Sample(t.Context(), spec, pos, "")
		if err != nil {
			t.Fatal(err)
		}
		if info.BatchID != b.ID || len(info.Rows) != 16 {
			t.Errorf("sample says %s with %d rows", info.BatchID, len(info.Rows))
		}
		var ranks []string
		for rank := range 3 {
			part := h.fetchOne(t, &Ticket{Kind: TicketBatch, Spec: spec, Position: pos, Snapshot: snap.Token(), Rank: rank, World: 3})
			ranks = append(ranks, texts(part, "trajectory_id")...)
		}
		all := texts(got, "trajectory_id")
		if none := h.fetchOne(t, &Ticket{Kind: TicketBatch, Spec: spec, Position: pos, Rank: 20, World: 21}); none.NumRows() != 0 || !none.Schema().Equal(got.Schema()) {
			t.Errorf("the rank without a slot got %d rows of %s", none.NumRows(), none.Schema())
		}
		if len(ranks) != len(all) || len(unique(append(ranks, all...))) != len(unique(all)) {
			t.Errorf("the ranks together have %v, the batch %v", ranks, all)
		}
	}
}

// TestBatchesAtOnce fetches many batches at a time and finds each as it is alone.
func TestBatchesAtOnce(t *testing.T) {
	h := start(t, nil)
	h.fill(t, 200)
	spec := []byte(`{"where":"reward > 0","weight":"reward","batch":{"rows":16},"seed":7}`)
	const positions = 12
	var alone [positions]arrow.Record
	for pos := range alone {
		alone[pos] = h.fetchOne(t, &Ticket{Kind: TicketBatch, Spec: spec, Position: uint64(pos)})
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 3 * positions {
				pos := (i*(worker+1) + worker) % positions
				for rec, err := range h.client.Fetch(t.Context(), &Ticket{Kind: TicketBatch, Spec: spec, Position: uint64(pos)}) {
					if err != nil {
						t.Error(err)
						return
					}
					sameColumns(t, rec, alone[pos])
				}
			}
		})
	}
	wg.Wait()
}

func unique(in []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range in {
		out[s] = true
	}
	return out
}

func texts(rec arrow.Record, column string) (out []string) {
	col := rec.Column(rec.Schema().FieldIndices(column)[0]).(*array.String)
	for i := range col.Len() {
		out = append(out, strings.Clone(col.Value(i)))
	}
	return out
}

// fetchOne is the only record of a ticket.
func (h *harness) fetchOne(t *testing.T, ticket *Ticket) (out arrow.Record) {
	t.Helper()
	for rec, err := range h.client.Fetch(t.Context(), ticket) {
		if err != nil {
			t.Fatal(err)
		}
		if out != nil {
			t.Fatal("more than one record")
		}
		rec.Retain()
		out = rec
	}
	return out
}

// sameColumns compares every column of want with got's of that name.
func sameColumns(t *testing.T, got, want arrow.Record) {
	t.Helper()
	for i, f := range want.Schema().Fields() {
		at := got.Schema().FieldIndices(f.Name)
		if len(at) != 1 {
			t.Errorf("%d columns %s", len(at), f.Name)
			continue
		}
		if !array.Equal(got.Column(at[0]), want.Column(i)) {
			t.Errorf("column %s: got %v, want %v", f.Name, got.Column(at[0]), want.Column(i))
		}
	}
}

func TestBatchInPieces(t *testing.T) {
	h := start(t, &Options{MaxBatchBytes: 4000})
	h.fill(t, 64)
	rows, pieces := int64(0), 0
	spec := []byte(`{"batch":{"rows":40},"columns":["token_ids","turns"]}`)
	for rec, err := range h.client.Fetch(t.Context(), &Ticket{Kind: TicketBatch, Spec: spec}) {
		if err != nil {
			t.Fatal(err)
		}
		rows += rec.NumRows()
		pieces++
	}
	if rows != 40 || pieces < 2 {
		t.Errorf("%d rows in %d pieces", rows, pieces)
	}
}

func TestScan(t *testing.T) {
	h := start(t, nil)
	h.fill(t, 50)
	rec := h.fetchOne(t, &Ticket{Kind: TicketScan, Columns: []string{"trajectory_id", "reward"}, Where: "reward >= 0.5"})
	if rec.NumRows() != 24 || rec.NumCols() != 2 {
		t.Errorf("%d rows of %d columns", rec.NumRows(), rec.NumCols())
	}
	none := h.fetchOne(t, &Ticket{Kind: TicketScan, Columns: []string{"trajectory_id"}, Where: "reward > 100"})
	if none.NumRows() != 0 || none.Schema().Field(0).Name != "trajectory_id" {
		t.Errorf("an empty scan: %v", none)
	}
	if notes := h.fetchOne(t, &Ticket{Kind: TicketScan, Table: "annotations"}); notes.NumRows() != 0 || notes.NumCols() != int64(len(schema.Annotations.Columns)) {
		t.Errorf("an empty table: %v", notes)
	}
	for _, bad := range []*Ticket{{Kind: "dance"}, {Kind: TicketScan, Where: "reward >"}, {Kind: TicketScan, Columns: []string{"nope"}}, {Kind: TicketBatch, Spec: []byte(`{"wher":"x"}`)}, {Kind: TicketBatch, Rank: 3, World: 2}} {
		for _, err := range h.client.Fetch(t.Context(), bad) {
			if !fault.Is(err, fault.Usage) {
				t.Errorf("%+v: %v (%s)", bad, err, fault.KindOf(err))
			}
		}
	}
	stream, err := h.client.flight.ListFlights(t.Context(), &flight.Criteria{})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	if err := allOf(stream.Recv, func(i *flight.FlightInfo) error {
		counts[i.GetFlightDescriptor().GetPath()[0]] = i.GetTotalRecords()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(counts) != 4 || counts["trajectories"] != 50 {
		t.Errorf("flights %v", counts)
	}
}

// TestScanCancel leaves a scan in the middle; TestMain sees a goroutine that stays.
func TestScanCancel(t *testing.T) {
	h := start(t, nil)
	h.fill(t, 200)
	for range 5 {
		for _, err := range h.client.Fetch(t.Context(), &Ticket{Kind: TicketScan}) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
}
