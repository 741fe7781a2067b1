package replay

import (
	"context"

	"trajlake/schema"
	"trajlake/schema/fault"
)

// chainUses is how often each row was drawn in a chain before a position.
type chainUses struct{}

// openAt opens the sampler of a claim. Where decide is given the claim is still to
// be made: its snapshot is the head if the stream is live, and decide sets its
// moment, given the newest policy version of the rows.
func (e *Engine) openAt(ctx context.Context, st *Stream, c *Claim, uses *chainUses, near *Sampler, decide func(newest int64)) (*Sampler, error) {
	if decide != nil && st.Live() {
		snap, err := e.heads.get(ctx)
		if err != nil {
			return nil, err
		}
		c.Snapshot = snap.Token()
		decide(UnknownPolicy)
	}
	snap, err := e.lake.At(ctx, c.Snapshot)
	if err != nil {
		return nil, err
	}
	if near != nil && near.Snapshot().Token() == c.Snapshot && !st.Live() {
		return near, nil
	}
	return Open(ctx, snap, st.Spec)
}

// handOver is what the claim that begins at position takes over from the one before.
func handOver(*Sampler, uint64) (Carry, *chainUses, error) { return Carry{}, nil, nil }

// admitted is the rows that count as inserts.
func admitted(s *Sampler) int64 { return s.Snapshot().Count(schema.Trajectories) }

// dryness is the reason behind a draw that found too little.
func dryness(_ *Sampler, err error) Wait {
	return Wait{Reason: WaitDry, Stratum: fault.FieldOf(err)}
}

func (c *chain) usesBefore(context.Context, uint64) (*chainUses, error) { return nil, nil }
