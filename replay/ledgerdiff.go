package replay

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"trajlake/schema/fault"
)

// LedgerDiff compares what two runs consumed, step by step.
type LedgerDiff struct {
	SameSteps       int64  `json:"same_steps"`       // steps at which both consumed the same trajectories, in the same order
	DifferentSteps  int64  `json:"different_steps"`  // steps at which they did not
	FirstDifference *int64 `json:"first_difference"` // the least step that differs or that only one of them has; null where there is none
	OnlyA           int64  `json:"only_a"`           // steps that only the first run has
	OnlyB           int64  `json:"only_b"`
}

// stepSum is what a run consumed at one step: a digest over its batches, by rank
// and position.
type stepSum struct {
	parts map[[2]int64][16]byte
}

// Diff compares the consumed rows of two runs by the trajectories that each step
// was trained on. Kind NotFound: one of them consumed nothing.
func (e *Engine) Diff(ctx context.Context, runA, runB string) (LedgerDiff, error) {
	var d LedgerDiff
	a, err := e.consumedBy(ctx, runA)
	if err != nil {
		return d, err
	}
	b, err := e.consumedBy(ctx, runB)
	if err != nil {
		return d, err
	}
	differs := func(step int64) {
		if d.FirstDifference == nil || step < *d.FirstDifference {
			d.FirstDifference = &step
		}
	}
	for step, sum := range a {
		other, both := b[step]
		switch {
		case !both:
			d.OnlyA++
			differs(step)
		case sum.digest() == other.digest():
			d.SameSteps++
		default:
			d.DifferentSteps++
			differs(step)
		}
	}
	for step := range b {
		if _, both := a[step]; !both {
			d.OnlyB++
			differs(step)
		}
	}
	return d, nil
}

func (e *Engine) consumedBy(ctx context.Context, run string) (map[int64]*stepSum, error) {
	out := map[int64]*stepSum{}
	for l, err := range e.Ledger(ctx, LedgerFilter{Run: run, Kind: LedgerConsumed}) {
		if err != nil {
			return nil, err
		}
		step := deref(l.Step)
		s := out[step]
		if s == nil {
			s = &stepSum{parts: map[[2]int64][16]byte{}}
			out[step] = s
		}
		h := sha256.New()
		for _, id := range l.TrajectoryIDs {
			fmt.Fprintf(h, "%d:%s", len(id), id)
		}
		s.parts[[2]int64{int64(deref(l.Rank)), l.Position}] = [16]byte(h.Sum(nil)[:16])
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, "compare runs", "run %s consumed nothing", run).WithField("run")
	}
	return out, nil
}

func (s *stepSum) digest() [32]byte {
	h := sha256.New()
	for _, k := range slices.SortedFunc(maps.Keys(s.parts), func(a, b [2]int64) int { return slices.Compare(a[:], b[:]) }) {
		part := s.parts[k]
		h.Write(part[:])
	}
	return [32]byte(h.Sum(nil))
}

// Refetch draws a batch again by its id, as a row of the ledger names it: the same
// rows with the same values, however long ago it was. A row that was deleted since
// keeps its slot. Kind NotFound: the ledger does not know the batch.
func (e *Engine) Refetch(ctx context.Context, batchID string) (*Drawn, error) {
	op := "fetch batch " + batchID
	if batchID == "" {
		return nil, fault.New(fault.Usage, "fetch batch", "no batch is named").WithField("batch_id")
	}
	for l, err := range e.Ledger(ctx, LedgerFilter{Batch: batchID, Superseded: true}) {
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		d, err := e.standing(ctx, l.Stream, l.Run, uint64(l.Position))
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		if d.ID != batchID {
			return nil, fault.New(fault.Corrupt, op, "position %d of stream %s, run %q, holds batch %s now", l.Position, l.Stream, l.Run, d.ID).
				WithHint("`trajlake verify` lists damage")
		}
		return &Drawn{Batch: d.Batch, Sampler: d.sampler, Claim: *d.claim, ids: d}, nil
	}
	return nil, fault.New(fault.NotFound, op, "the ledger does not know it").
		WithHint("batches of runs are noted; others are drawn again by spec, snapshot and position")
}

// reasonOf is the reason that a nack or a refusal notes.
func reasonOf(text string) string {
	var n struct {
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return text
	}
	return n.Reason
}
