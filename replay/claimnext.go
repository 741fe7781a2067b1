package replay

import (
	"context"
	"math"
	"time"

	"trajlake/schema/fault"
)

// pace is how many positions the next claim should hold: a quarter of those that this
// process claimed within about a second, and at least those asked for. So a run that
// draws a few batches at once and then trains for a while is not taken for a fast one, and
// what is left of its last claim, which hides updates until it is used up, is a part of the
// burst. Claims grow by at most four times from one to the next.
func (c *chain) pace(t *held, asked uint64) uint64 {
	if t == nil {
		return asked
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	quarter := uint64(c.claimed.at(time.Now()) / 4)
	return max(asked, min(max(quarter, 1), 4*min(t.Count, maxClaim), maxClaim))
}

// fading is a sum that fades by e in a second: of what came at an even rate, the rate.
type fading struct {
	sum  float64
	then time.Time
}

func (f *fading) at(now time.Time) float64 { return f.sum * math.Exp(-now.Sub(f.then).Seconds()) }

func (f *fading) add(n uint64, now time.Time) {
	*f = fading{f.at(now) + float64(n), now}
}

// asOf is the moment of a new claim. The trainer's word counts, then what the claim
// before had, then the newest version among the rows.
func (c *chain) asOf(t *held, r *BatchRequest, newest int64) AsOf {
	a := AsOf{Time: c.e.now().UnixMicro(), Step: r.Step, Policy: r.Policy}
	if t != nil {
		a.Time = max(a.Time, t.AsOf.Time) // clocks of nodes differ; ages never shrink
	}
	if a.Step < 0 {
		a.Step = -1
		if t != nil {
			a.Step = t.AsOf.Step
		}
	}
	if a.Policy < 0 {
		a.Policy = newest
		if t != nil && t.AsOf.Policy > newest {
			a.Policy = t.AsOf.Policy
		}
	}
	return a
}

// sampler is the sampler of a claim, opened once for all who ask.
func (c *chain) sampler(ctx context.Context, h *held) (*opened, error) {
	c.mu.Lock()
	if h.opening != nil && h.opening.landed() && h.opening.err != nil {
		h.opening = nil // a fault of the store that may be over
	}
	if h.opening == nil {
		var near *opened
		for _, o := range c.recent {
			if o != h && o.opening != nil && o.opening.landed() && o.opening.err == nil && o.First < h.First {
				near = o.opening.v
			}
		}
		h.opening = launch(c.e, func(ctx context.Context) (*opened, error) {
			uses, err := c.usesBefore(ctx, h.First)
			if err != nil {
				return nil, err
			}
			return c.e.openAt(ctx, c.st, h.Claim, uses, near, nil)
		})
	}
	f := h.opening
	c.mu.Unlock()
	return f.wait(ctx)
}

// drawable cuts a claim before the first batch that its snapshot has not got the
// rows for, where the spec says to wait for them or to fail: a position that was
// claimed can be drawn. A live stream claims nothing while nothing at all can be
// drawn, whatever the spec says. A sequential stream's draws are all computed here.
func (c *chain) drawable(s *opened, first, count uint64) (uint64, Wait, error) {
	spec := &c.st.Spec
	waits := c.st.Live() && spec.Strata.WhenDry == DryWait
	look := uint64(1)
	if waits || spec.Sequential() || spec.Strata.WhenDry == DryFail {
		look = count
	}
	for i := range look {
		b, err := s.Draw(first + i)
		dry := fault.Is(err, fault.Exhausted)
		switch {
		case dry && i > 0, err == nil && len(b.Slots) == 0 && i > 0 && c.st.Live():
			return i, Wait{}, nil
		case dry && waits, err == nil && len(b.Slots) == 0 && c.st.Live():
			return 0, dryness(s, max(spec.Batch.Rows, 1)), nil
		case err != nil:
			return 0, Wait{}, err
		}
	}
	return count, Wait{}, nil
}

// drawnBefore is how many units the chain has drawn up to the end of t.
func (c *chain) drawnBefore(t *held, s *opened) (int64, error) {
	if t == nil {
		return 0, nil
	}
	if rows := c.st.Spec.Batch.Rows; rows > 0 {
		return t.Drawn + int64(min(t.Count, Endless/uint64(rows)))*rows, nil
	}
	n := t.Drawn
	for p := t.First; p < t.End(); p++ {
		b, err := s.Draw(p)
		if err != nil {
			return 0, err
		}
		n += int64(len(b.Slots))
	}
	return n, nil
}

// counts reports whether draws depend on how often rows were drawn before: then
// every draw of a claim is in the ledger before the next claim is made.
func (c *chain) counts() bool { return countsUses(&c.st.Spec) }

func countsUses(spec *Spec) bool { return spec.Caps.Reuse > 0 || spec.Caps.Cooldown > 0 }

// settle writes the draws of a claim into the ledger, once; the next claim waits
// for it where the stream counts.
func (c *chain) settle(h *held) *flight[struct{}] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.settled != nil && h.settled.landed() && h.settled.err != nil {
		h.settled = nil
	}
	if h.settled == nil {
		h.settled = launch(c.e, func(ctx context.Context) (struct{}, error) { return struct{}{}, c.record(ctx, h) })
	}
	return h.settled
}

// record writes what a claim draws. Another node may have done it too: readers
// count a position once.
func (c *chain) record(ctx context.Context, h *held) error {
	s, err := c.sampler(ctx, h)
	if err != nil {
		return err
	}
	rows := make([]*ledgerRow, 0, h.Count)
	for p := h.First; p < h.End(); p++ {
		b, err := s.Draw(p)
		if err != nil {
			return err
		}
		d := &drawnBatch{Batch: b, claim: h.Claim, sampler: s.Sampler}
		entry := batchEntry(LedgerServed, d, b.Part(0, 1), nil, func(m Member) bool { return m.Eligible })
		c.e.sign(entry, "")
		rows = append(rows, &ledgerRow{entry: entry})
	}
	return c.e.ledger.write(ctx, rows...)
}
