package rpc

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/flight"

	"trajlake/internal/testlake"
	"trajlake/replay"
	"trajlake/rpc/rpcpb"
	"trajlake/schema/fault"
)

// sent is one record of a sequence and what the server says of it.
type sent struct {
	rec  arrow.Record
	meta BatchMeta
}

// sequence fetches up to n records of a ticket.
func (h *harness) sequence(t *testing.T, ticket *Ticket, n int) (out []sent, err error) {
	t.Helper()
	text, err := json.Marshal(ticket)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := h.client.flight.DoGet(t.Context(), &flight.Ticket{Ticket: text})
	if err != nil {
		return nil, err
	}
	r, err := flight.NewRecordReader(stream)
	if err != nil {
		return nil, Fault("", err)
	}
	defer r.Release()
	for len(out) < n && r.Next() {
		rec := r.Record()
		rec.Retain()
		var m BatchMeta
		if err := json.Unmarshal(r.LatestAppMetadata(), &m); err != nil {
			t.Fatalf("metadata %q: %v", r.LatestAppMetadata(), err)
		}
		out = append(out, sent{rec, m})
	}
	if err := r.Err(); err != nil && !isEOF(err) && len(out) < n {
		return out, Fault("", err)
	}
	return out, nil
}

// TestSequenceEqualsBatches: batch after batch in one call is what the calls for
// single batches give, whatever the stride and the rank.
func TestSequenceEqualsBatches(t *testing.T) {
	h := start(t, nil)
	if _, err := h.lake.Append(t.Context(), testlake.Rows(h.lake, "s", 120, 3)); err != nil {
		t.Fatal(err)
	}
	spec := json.RawMessage(`{"where":"reward > 0","weight":"reward","batch":{"rows":9},"seed":4}`)
	for _, c := range []Ticket{{Batches: 6}, {Position: 7, Stride: 3, Batches: 4}, {Rank: 1, World: 2, Batches: 3}} {
		c.Kind, c.Spec = TicketReplay, spec
		got, err := h.sequence(t, &c, 100)
		if err != nil || uint64(len(got)) != c.Batches {
			t.Fatalf("%d batches, %v", len(got), err)
		}
		for i, s := range got {
			at := c.Position + uint64(i)*max(c.Stride, 1)
			want := h.fetchOne(t, &Ticket{Kind: TicketBatch, Spec: spec, Position: at, Rank: c.Rank, World: c.World})
			sameColumns(t, s.rec, want)
			md := want.Schema().Metadata()
			if id, _ := md.GetValue("batch_id"); s.meta.BatchID != id || s.meta.Position != at || s.meta.Units != 9 {
				t.Errorf("batch %d: %+v", at, s.meta)
			}
		}
	}
	// Endless, until the client goes.
	if got, err := h.sequence(t, &Ticket{Kind: TicketReplay, Spec: spec}, 5); err != nil || len(got) != 5 {
		t.Errorf("%d batches, %v", len(got), err)
	}
	if _, err := h.sequence(t, &Ticket{Kind: TicketReplay, Spec: json.RawMessage(`{"wher":1}`)}, 1); !fault.Is(err, fault.Usage) {
		t.Errorf("a bad spec: %v", err)
	}
}

// TestSmallBatchesTogether: batches that share a record are the same as alone, in
// order, and none is missing; an error behind them comes after them.
func TestSmallBatchesTogether(t *testing.T) {
	h := start(t, nil)
	if _, err := h.lake.Append(t.Context(), testlake.Rows(h.lake, "s", 120, 3)); err != nil {
		t.Fatal(err)
	}
	spec := json.RawMessage(`{"where":"reward > 0","batch":{"rows":5},"seed":4,"unit":"group","group":{"min":1}}`)
	got, err := h.together(t, &Ticket{Kind: TicketReplay, Spec: spec, Position: 2, Stride: 2, Batches: 40, Together: true})
	if err != nil || len(got) != 40 {
		t.Fatalf("%d batches, %v", len(got), err)
	}
	shared := 0
	for i, s := range got {
		at := 2 + 2*uint64(i)
		if s.meta.Position != at {
			t.Fatalf("batch %d has position %d", i, s.meta.Position)
		}
		if s.meta.Rows > 0 {
			shared++
		}
		sameColumns(t, s.rec, h.fetchOne(t, &Ticket{Kind: TicketBatch, Spec: spec, Position: at}))
	}
	if shared < 30 {
		t.Errorf("only %d of 40 batches shared a record", shared)
	}
}

// together fetches batches that may share records.
func (h *harness) together(t *testing.T, ticket *Ticket) (out []sent, err error) {
	t.Helper()
	text, err := json.Marshal(ticket)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := h.client.flight.DoGet(t.Context(), &flight.Ticket{Ticket: text})
	if err != nil {
		return nil, err
	}
	r, err := flight.NewRecordReader(stream)
	if err != nil {
		return nil, Fault("", err)
	}
	defer r.Release()
	for r.Next() {
		var m struct {
			several
			BatchMeta
		}
		if err := json.Unmarshal(r.LatestAppMetadata(), &m); err != nil {
			t.Fatal(err)
		}
		if len(m.Batches) == 0 {
			rec := r.Record()
			rec.Retain()
			out = append(out, sent{rec, m.BatchMeta})
		}
		at := int64(0)
		for _, b := range m.Batches {
			out = append(out, sent{r.Record().NewSlice(at, at+b.Rows), b})
			at += b.Rows
		}
		if at > 0 && at != r.Record().NumRows() {
			t.Errorf("a record of %d rows says %d", r.Record().NumRows(), at)
		}
	}
	if err := r.Err(); err != nil && !isEOF(err) {
		return out, Fault("", err)
	}
	return out, nil
}

// TestSequenceInPieces: a batch above the limit comes in records that say so.
func TestSequenceInPieces(t *testing.T) {
	h := start(t, &Options{MaxBatchBytes: 2000})
	if _, err := h.lake.Append(t.Context(), testlake.Rows(h.lake, "s", 60, 3)); err != nil {
		t.Fatal(err)
	}
	got, err := h.sequence(t, &Ticket{Kind: TicketReplay, Spec: json.RawMessage(`{"batch":{"rows":30}}`), Batches: 2}, 100)
	if err != nil || len(got) < 4 {
		t.Fatalf("%d records, %v", len(got), err)
	}
	rows := map[uint64]int64{}
	for _, s := range got {
		rows[s.meta.Position] += s.rec.NumRows()
		if s.meta.Pieces < 2 || s.meta.Piece >= s.meta.Pieces {
			t.Errorf("%+v", s.meta)
		}
	}
	if rows[0] != 30 || rows[1] != 30 {
		t.Errorf("rows by batch: %v", rows)
	}
}

// TestStreamOverTheWire creates a stream, draws, acknowledges, is refused, reads
// the ledger and has a batch again, all through the server.
func TestStreamOverTheWire(t *testing.T) {
	h := start(t, nil)
	ctx := t.Context()
	if _, err := h.lake.Append(ctx, testlake.Rows(h.lake, "s", 80, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.client.CreateStream(ctx, "mix", []byte("snapshot: pinned\nbatch: {rows: 6}\nseed: 2\ncolumns: [token_ids]\n")); err != nil {
		t.Fatal(err)
	}
	list, err := h.client.Streams(ctx)
	if err != nil || len(list) != 1 || list[0].Stream != "mix" {
		t.Fatalf("%v %v", list, err)
	}
	got, err := h.sequence(t, &Ticket{Kind: TicketStream, Stream: "mix", Run: "r", Batches: 3}, 10)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d batches, %v", len(got), err)
	}
	info, err := h.client.DrawStream(ctx, replay.BatchRequest{Stream: "mix", Run: "r", Position: 1})
	if err != nil || info.BatchID != got[1].meta.BatchID || len(info.Rows) != 6 || info.Stream != "mix" {
		t.Errorf("%+v %v", info.BatchMeta, err)
	}
	join, err := h.client.replay.Join(ctx, &rpcpb.JoinRequest{Stream: "mix", Run: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for step, s := range got {
		req := &rpcpb.AckRequest{Stream: "mix", Run: "r", World: 1, Incarnation: join.GetIncarnation(), BatchId: s.meta.BatchID, Position: s.meta.Position, Step: int64(step)}
		if _, err := h.client.replay.Ack(ctx, req); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.client.replay.Join(ctx, &rpcpb.JoinRequest{Stream: "mix", Run: "r"}); err != nil {
		t.Fatal(err)
	}
	_, err = h.client.replay.Ack(ctx, &rpcpb.AckRequest{Stream: "mix", Run: "r", World: 1, Incarnation: join.GetIncarnation(), BatchId: got[2].meta.BatchID, Position: 2, Step: 3})
	if !fault.Is(Fault("", err), fault.Conflict) {
		t.Errorf("an ack of a fenced process: %v", err)
	}
	var steps []int64
	for l, err := range h.client.Ledger(ctx, replay.LedgerFilter{Run: "r", Kind: replay.LedgerConsumed}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := texts(got[*l.Step].rec, "trajectory_id"); !slices.Equal(l.TrajectoryIDs, want) {
			t.Errorf("step %d: %v, want %v", *l.Step, l.TrajectoryIDs, want)
		}
		steps = append(steps, *l.Step)
	}
	if !slices.Equal(steps, []int64{0, 1, 2}) {
		t.Errorf("steps %v", steps)
	}
	again, err := h.sequence(t, &Ticket{Kind: TicketRefetch, BatchID: got[1].meta.BatchID}, 2)
	if err != nil || len(again) != 1 {
		t.Fatalf("%d batches, %v", len(again), err)
	}
	sameColumns(t, again[0].rec, got[1].rec)
	if _, err := h.sequence(t, &Ticket{Kind: TicketRefetch, BatchID: "00"}, 1); !fault.Is(err, fault.NotFound) {
		t.Errorf("a batch that nobody drew: %v", err)
	}
}

// TestWaitOverTheWire: a stream that lacks data says what it waits for, and the
// reason crosses the wire.
func TestWaitOverTheWire(t *testing.T) {
	h := start(t, nil)
	ctx := t.Context()
	if _, err := h.lake.Append(ctx, testlake.Rows(h.lake, "s", 5, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.client.CreateStream(ctx, "live", []byte("limiter: {min_size: 50}\nbatch: {rows: 2}\nstaleness: \"off\"\nage_decay: \"off\"\n")); err != nil {
		t.Fatal(err)
	}
	_, err := h.client.DrawStream(ctx, replay.BatchRequest{Stream: "live", Wait: 20 * time.Millisecond})
	var w *replay.WaitError
	if !errors.As(err, &w) || w.Reason != replay.WaitMinSize || w.Have != 5 || w.Want != 50 || !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	if _, err := h.client.replay.SetLimiter(ctx, &rpcpb.SetLimiterRequest{Stream: "live", MinSize: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.client.DrawStream(ctx, replay.BatchRequest{Stream: "live", Wait: 5 * time.Second}); err != nil {
		t.Errorf("after the limiter was lowered: %v", err)
	}
	out := new(writerSink)
	if err := h.server.WriteMetrics(out); err != nil || len(out.text) == 0 {
		t.Errorf("metrics: %q %v", out.text, err)
	}
}

type writerSink struct{ text []byte }

func (w *writerSink) Write(p []byte) (int, error) {
	w.text = append(w.text, p...)
	return len(p), nil
}
