package replay

import (
	"context"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// opened is the sampler of a claim and the view that it draws from.
type opened struct {
	*Sampler
	node *viewNode
}

// openAt opens the sampler of a claim; near, if not nil, is one of the same spec
// that it may be advanced from. Where decide is given the claim is still to be
// made: its snapshot is the head if the stream is live, and decide sets its moment,
// given the newest policy version of the rows.
func (e *Engine) openAt(ctx context.Context, st *Stream, c *Claim, uses *Uses, near *opened, decide func(newest int64)) (*opened, error) {
	var snap *store.Snapshot
	var err error
	if decide != nil && st.Live() {
		if snap, err = e.heads.get(ctx); err == nil {
			c.Snapshot = snap.Token()
		}
	} else {
		snap, err = e.lake.At(ctx, c.Snapshot)
	}
	if err != nil {
		return nil, err
	}
	node, view, err := e.views.at(ctx, snap, st.Spec.Scorer, Needs(st.Spec))
	if err != nil {
		return nil, fault.Wrap("read the facts of "+snap.String(), err)
	}
	if decide != nil && st.Live() {
		decide(view.NewestPolicy())
	}
	o := Origin{}
	if !st.endless() {
		o = Origin{Stream: c.Stream, Run: c.Run, First: c.First, AsOf: c.AsOf, Carry: c.Carry, Uses: uses}
	}
	var s *Sampler
	if near == nil {
		near = e.nearest(st.Name)
	}
	if near != nil {
		if ch := e.views.between(near.node, node); ch != nil {
			s, err = near.Advance(ctx, view, ch, o)
		}
	}
	if s == nil && err == nil {
		s, err = OpenAt(ctx, view, st.Spec, o)
	}
	if err != nil {
		return nil, err
	}
	op := &opened{s, node}
	e.mu.Lock()
	e.latest[st.Name] = op
	e.mu.Unlock()
	return op, nil
}

// nearest is a sampler of a stream that was opened lately, whatever its run.
func (e *Engine) nearest(stream string) *opened {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.latest[stream]
}

// handOver is what the claim that begins at position takes over from the one before.
func handOver(s *opened, position uint64) (Carry, *Uses, error) {
	carry, err := s.CarryAt(position)
	if err != nil {
		return carry, nil, err
	}
	uses, err := s.UsesAt(position)
	return carry, uses, err
}

// dryness is the reason behind a draw that found too little.
func dryness(s *opened, rows int64) Wait {
	if w := s.Ready(); w.Reason != "" {
		return w
	}
	return Wait{Reason: WaitDry, Stratum: All, Want: rows} // nothing at all, which the spec itself would let pass
}

// usesBefore is how often rows were drawn in the chain before a position, as the
// ledger has it: the draws of every claim are written there before the next claim.
// Two nodes may have written the same ones; a position counts once.
func (c *chain) usesBefore(ctx context.Context, first uint64) (*Uses, error) {
	if !c.counts() || first == 0 {
		return nil, nil
	}
	snap, err := c.e.heads.get(ctx)
	if err != nil {
		return nil, err
	}
	text := "kind = 'served' and stream = " + quote(c.st.Name) + " and run is null"
	if c.run != "" {
		text = "kind = 'served' and stream = " + quote(c.st.Name) + " and run = " + quote(c.run)
	}
	expr, err := where.Parse(text)
	if err != nil {
		return nil, err
	}
	var uses *Uses
	next, early := uint64(0), map[uint64][]int64{}
	for rec, err := range snap.Scan(ctx, store.ScanOptions{Table: schema.Ledger, Columns: []string{"first", "row_seqs"}, Where: expr}) {
		if err != nil {
			return nil, err
		}
		rows, err := schema.NewRowReader[schema.LedgerEntry](rec.Schema())
		if err != nil {
			return nil, err
		}
		for i := range int(rec.NumRows()) {
			row, err := rows.Row(rec, i)
			if err != nil {
				return nil, fault.WrapAs(fault.Corrupt, "read the ledger", err)
			}
			if p := uint64(deref(row.First)); p >= next && p < first {
				early[p] = row.RowSeqs
			}
			for seqs, ok := early[next]; ok; seqs, ok = early[next] {
				uses = uses.With(next, seqs, c.st.Spec.Caps.Cooldown)
				delete(early, next)
				next++
			}
		}
	}
	if next != first {
		return nil, fault.New(fault.Corrupt, c.op(), "the ledger lacks what was drawn at position %d, before %d", next, first).
			WithHint("`trajlake verify` lists damage")
	}
	return uses, nil
}
