package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/replay/facts"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// Ack says that a rank of a run trained on its part of a batch.
type Ack struct {
	Stream, Run string
	Rank, World int   // World 0 is 1
	Incarnation int64 // what Join gave; 0 only for ranks that never join
	BatchID     string
	Position    uint64
	Step        int64  // of the trainer, from 0; −1 in a Nack that has none
	Policy      int64  // version of the trainer's policy, −1 if unknown
	Node        string // the client
	Lease       int64  // epoch of the consumer's lease, where the positions of the run are leased; 0 where not
}

// Ack writes that a batch was consumed; it is durable when Ack returns nil, and
// sending the same ack again changes nothing. Kind Conflict: the rank has a later
// incarnation, or the run was rolled back since, or the lease is another's now; the
// ledger notes that as refused. Kind Usage: the position of the stream holds another
// batch. After kind Unavailable or Cancelled the ack may count or not: send it again.
func (e *Engine) Ack(ctx context.Context, a Ack) error {
	op := fmt.Sprintf("ack batch %.64s of stream %s", a.BatchID, a.Stream)
	entry, err := e.ackEntry(ctx, op, LedgerConsumed, &a)
	if err != nil {
		return err
	}
	if a.Lease != 0 {
		if err := e.holds(ctx, &a); err != nil {
			return fault.Wrap(op, err)
		}
	}
	if err := e.ledger.write(ctx, &ledgerRow{entry, &a}); err != nil {
		return fault.Wrap(op, err)
	}
	e.counts.acks.Add(1)
	if a.Lease != 0 {
		return fault.Wrap(op, e.Release(ctx, Lease{Stream: a.Stream, Group: a.Run, Position: a.Position, Epoch: a.Lease}, true))
	}
	return nil
}

// Nack writes that a batch was not trained on, and why; otherwise as Ack. The step
// may be −1: there is none.
func (e *Engine) Nack(ctx context.Context, a Ack, reason string) error {
	op := fmt.Sprintf("hand back batch %.64s of stream %s", a.BatchID, a.Stream)
	entry, err := e.ackEntry(ctx, op, LedgerNack, &a)
	if err != nil {
		return err
	}
	entry.Carry = note(reason)
	if err := e.ledger.write(ctx, &ledgerRow{entry, &a}); err != nil {
		return fault.Wrap(op, err)
	}
	if a.Lease != 0 {
		return fault.Wrap(op, e.Release(ctx, Lease{Stream: a.Stream, Group: a.Run, Position: a.Position, Epoch: a.Lease}, false))
	}
	return nil
}

// ackEntry checks an ack against the batch that it is for, and makes its row.
func (e *Engine) ackEntry(ctx context.Context, op, kind string, a *Ack) (*schema.LedgerEntry, error) {
	if err := e.checkRun(ctx, op, a.Stream, a.Run, a.Rank); err != nil {
		return nil, err
	}
	if a.World == 0 {
		a.World = 1
	}
	switch {
	case a.World < 1 || a.World > maxWorld || a.Rank >= a.World:
		return nil, fault.New(fault.Usage, op, "rank %d of %d", a.Rank, a.World).WithField("rank").WithHint("ranks count from 0 to world-1")
	case a.Step < 0 && kind == LedgerConsumed:
		return nil, fault.New(fault.Usage, op, "steps count from 0, this is %d", a.Step).WithField("step")
	case a.Position >= Endless:
		return nil, fault.New(fault.Usage, op, "positions are below 2^63-1").WithField("position")
	}
	d, err := e.standing(ctx, a.Stream, a.Run, a.Position)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	if d.ID != a.BatchID {
		return nil, fault.New(fault.Usage, op, "position %d of run %s holds batch %s", a.Position, a.Run, d.ID).WithField("batch_id").
			WithHint("ack a batch with the stream, run, position and id that it came with")
	}
	ids, err := e.rowIDs(ctx, d)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	_, slots, err := e.part(ctx, d, a.Rank, a.World)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	entry := batchEntry(kind, d, slots, ids, d.sampler.comes)
	entry.Run, entry.Incarnation = new(a.Run), new(a.Incarnation)
	if a.Step >= 0 {
		entry.Step = new(a.Step)
	}
	entry.Rank, entry.World = new(int32(a.Rank)), new(int32(a.World))
	if a.Policy >= 0 {
		entry.PolicyVersion = new(a.Policy)
	}
	e.sign(entry, a.Node)
	return entry, nil
}

// standing is the batch at a position that is claimed; it claims none.
func (e *Engine) standing(ctx context.Context, stream, run string, p uint64) (*drawnBatch, error) {
	st, err := e.Get(ctx, stream)
	if err != nil {
		return nil, err
	}
	c := e.chain(st, run)
	if d := c.lately(p); d != nil {
		return d, nil
	}
	c.mu.Lock()
	h := c.known(p)
	c.mu.Unlock()
	if h == nil && st.endless() {
		h, _, err = c.endlessClaim(ctx)
	} else if h == nil {
		var l located
		if l, err = c.look(ctx, p); err == nil && l.at == nil {
			return nil, fault.New(fault.Usage, "", "position %d was never drawn", p).WithField("position")
		}
		if err == nil {
			c.mu.Lock()
			h = c.add(l.at, false, nil)
			c.mu.Unlock()
		}
	}
	if err != nil {
		return nil, err
	}
	return c.draw(ctx, h, p)
}

// rowIDs is the trajectory ids of all rows of a batch, members that come along
// included, read once.
func (e *Engine) rowIDs(ctx context.Context, d *drawnBatch) ([]string, error) {
	d.mu.Lock()
	if d.reading != nil && d.reading.landed() && d.reading.err != nil {
		d.reading = nil
	}
	if d.reading == nil {
		d.reading = launch(e, func(ctx context.Context) ([]string, error) { return readIDs(ctx, d) })
	}
	f := d.reading
	d.mu.Unlock()
	return f.wait(ctx)
}

// all is the places of all rows of a batch, those that only come along included.
func (b *Batch) all() (seqs []int64) {
	for _, s := range b.Slots {
		for _, m := range s.Members {
			seqs = append(seqs, m.Seq)
		}
	}
	return seqs
}

// readIDs reads the ids of all rows of a batch; a deleted row has left its own behind.
func readIDs(ctx context.Context, d *drawnBatch) ([]string, error) {
	op := "read the ids of batch " + d.ID
	seqs := d.all()
	ids := make([]string, 0, len(seqs))
	if len(seqs) == 0 {
		return ids, nil
	}
	rec, gone, err := d.gather(ctx, seqs, "trajectory_id")
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	col, ok := rec.Column(0).(array.StringLike)
	if !ok {
		return nil, fault.New(fault.Internal, op, "they are %s", rec.Column(0).DataType())
	}
	for i, seq := range seqs {
		if g, is := gone[seq]; is {
			ids = append(ids, g.ID)
		} else {
			ids = append(ids, col.Value(i))
		}
	}
	return ids, nil
}

// gather reads stored columns of rows of the batch, with nulls for those in gone.
func (d *drawnBatch) gather(ctx context.Context, seqs []int64, columns ...string) (arrow.Record, map[int64]store.GoneRow, error) {
	snap := d.sampler.Snapshot()
	rec, err := snap.Gather(ctx, seqs, columns)
	if !fault.Is(err, fault.Gone) {
		return rec, nil, err
	}
	gone, err := snap.Gone(ctx, seqs)
	if err != nil {
		return nil, nil, err
	}
	rec, _, err = d.sampler.gatherAround(ctx, seqs, columns)
	return rec, gone, err
}

// part is the slots of a rank's part of the batch. It is cut by the lengths of rows;
// where the sampler does not know them they are read, so that every node cuts alike.
func (e *Engine) part(ctx context.Context, d *drawnBatch, rank, world int) (*Batch, []int, error) {
	if world == 1 || d.sampler.View().Has(facts.Tokens) {
		return d.Batch, d.Part(rank, world), nil
	}
	d.mu.Lock()
	if d.measuring != nil && d.measuring.landed() && d.measuring.err != nil {
		d.measuring = nil
	}
	if d.measuring == nil {
		d.measuring = launch(e, func(ctx context.Context) (*Batch, error) { return measure(ctx, d) })
	}
	f := d.measuring
	d.mu.Unlock()
	b, err := f.wait(ctx)
	if err != nil {
		return nil, nil, fault.Wrap("read the lengths of the rows of batch "+d.ID, err)
	}
	return b, b.Part(rank, world), nil
}

// measure is the batch with the tokens of its members.
func measure(ctx context.Context, d *drawnBatch) (*Batch, error) {
	b := *d.Batch
	seqs := b.all()
	if len(seqs) == 0 {
		return &b, nil
	}
	rec, _, err := d.gather(ctx, seqs, "token_ids", "prompt_tokens", "completion_tokens")
	if err != nil {
		return nil, err
	}
	ids, _ := rec.Column(0).(array.ListLike)
	counts := frameOf(rec)
	b.Slots = slices.Clone(b.Slots)
	row := 0
	for i := range b.Slots {
		b.Slots[i].Members = slices.Clone(b.Slots[i].Members)
		for k := range b.Slots[i].Members {
			n := int64(0)
			if ids != nil && ids.IsValid(row) {
				from, to := ids.ValueOffsets(row)
				n = to - from
			}
			if n == 0 {
				n = max(counts.long("prompt_tokens", row), 0) + max(counts.long("completion_tokens", row), 0)
			}
			b.Slots[i].Members[k].Tokens = n
			row++
		}
	}
	return &b, nil
}

// batchEntry is a ledger row about slots of a batch: those of their rows that keep
// wants. ids are those of all rows of the batch, or nil.
func batchEntry(kind string, d *drawnBatch, slots []int, ids []string, keep func(Member) bool) *schema.LedgerEntry {
	c, b := d.claim, d.Batch
	e := &schema.LedgerEntry{Kind: &kind, Stream: &c.Stream, SpecHash: &c.SpecHash, First: new(int64(b.Position)), Count: new(int64(1)),
		BatchID: &b.ID, Snapshot: &b.Snapshot, Carry: new(carryText(c.Carry))}
	if c.Run != "" {
		e.Run = &c.Run
	}
	if c.AsOf != (AsOf{}) {
		e.AsOf = new(schema.TimeOf(time.UnixMicro(c.AsOf.Time)))
	}
	first := make([]int, len(b.Slots)+1) // of each slot's rows in ids
	for i, s := range b.Slots {
		first[i+1] = first[i] + len(s.Members)
	}
	aged := false
	for _, i := range slots {
		s := b.Slots[i]
		for k, m := range s.Members {
			if m.Pad || !keep(m) {
				continue
			}
			e.RowSeqs = append(e.RowSeqs, m.Seq)
			e.Inclusion = append(e.Inclusion, s.Probability())
			if ids != nil {
				e.TrajectoryIDs = append(e.TrajectoryIDs, ids[first[i]+k])
			}
			versions, known := d.sampler.StalenessOf(m.Seq)
			if !known {
				versions = staleUnknown
			}
			aged = aged || known
			e.Staleness = append(e.Staleness, versions)
		}
	}
	if !aged {
		e.Staleness = nil
	}
	return e
}

// staleUnknown stands in a ledger row's staleness, in versions, for rows of unknown
// policy; the list is null where nothing is known at all.
const staleUnknown = math.MinInt64

func carryText(c Carry) string {
	text, err := json.Marshal(c)
	if err != nil { // numbers only
		return "{}"
	}
	return string(text)
}

// note is a text for the ledger's JSON column.
func note(reason string) *string {
	text, err := json.Marshal(map[string]string{"reason": reason})
	if err != nil {
		return nil
	}
	return new(string(text))
}

// sign writes in who says so and when.
func (e *Engine) sign(entry *schema.LedgerEntry, node string) {
	if node == "" {
		node = e.node
	}
	entry.Node, entry.At = &node, new(schema.TimeOf(e.now()))
}

// claimEntry is the ledger row of a claim.
func claimEntry(c *Claim) *schema.LedgerEntry {
	e := &schema.LedgerEntry{Kind: new(LedgerClaim), Stream: &c.Stream, SpecHash: &c.SpecHash, First: new(int64(c.First)), Count: new(int64(c.Count)),
		Snapshot: &c.Snapshot, Carry: new(carryText(c.Carry)), Node: &c.Node, At: new(schema.TimeOf(c.At))}
	if c.Run != "" {
		e.Run = &c.Run
	}
	if c.AsOf != (AsOf{}) {
		e.AsOf, e.Step = new(schema.TimeOf(time.UnixMicro(c.AsOf.Time))), new(c.AsOf.Step)
		if c.AsOf.Policy != UnknownPolicy {
			e.PolicyVersion = new(c.AsOf.Policy)
		}
	}
	return e
}

// served notes that a batch was handed out to a run. A stream that counts how often
// rows were drawn has it in the ledger already.
func (e *Engine) served(r *BatchRequest, c *chain, d *drawnBatch, slots []int) {
	if r.Run == "" || c.counts() {
		return
	}
	row := batchEntry(LedgerServed, d, slots, nil, d.sampler.comes)
	row.Rank, row.World = new(int32(r.Rank)), new(int32(r.World))
	if r.Step >= 0 {
		row.Step = &r.Step
	}
	if r.Policy >= 0 {
		row.PolicyVersion = &r.Policy
	}
	e.sign(row, r.Node)
	e.ledger.later(row)
}

// refusedEntry is the row of an ack that does not count.
func refusedEntry(entry *schema.LedgerEntry, why error) *schema.LedgerEntry {
	e := *entry
	e.Kind, e.Carry = new(LedgerRefused), note(why.Error())
	return &e
}
