package replay

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"trajlake/schema/fault"
)

// chainKey names the chain of claims of one run of a stream; run "" is the one
// without a run.
type chainKey struct{ stream, run string }

// chain is what this process knows of a run's claims.
type chain struct {
	e   *Engine
	st  *Stream
	run string

	mu       sync.Mutex
	recent   []*held             // contiguous, ascending, up to the newest that is known
	old      []*held             // others, the one used last at the end
	finding  map[uint64]*finding // lookups under way, by position
	claiming *flight[step]
	batches  []*drawnBatch // drawn lately, the one used last at the end
	claimed  fading        // positions that this process claimed
	next     uint64        // the first position that nobody has asked for
	used     time.Time     // when it was last looked at; the engine's mu guards it
	waiting  Wait          // why the last call waited; zero when it got its batch
}

type finding = flight[located]

// held is a claim that this process has seen.
type held struct {
	*Claim
	mine bool // this process made it

	opening *flight[*opened]
	settled *flight[struct{}] // of a sequential claim: its draws are in the ledger
}

// located is the outcome of looking a position up: the claim that holds it, or
// else the last of the chain (nil where there is none).
type located struct{ at, tail *Claim }

// How many claims with their samplers, and how many batches, are kept for a chain.
const (
	keepRecent  = 4
	keepOld     = 4
	keepBatches = 32

	keepChains = 64 // from so many on, those that nobody used for idleChain are let go
	idleChain  = 10 * time.Minute
)

func (e *Engine) chain(st *Stream, run string) *chain {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := chainKey{st.Name, run}
	c := e.chains[k]
	now := time.Now()
	if c == nil {
		if len(e.chains) >= keepChains {
			for k, c := range e.chains { // what it holds can be read again
				if now.Sub(c.used) > idleChain {
					delete(e.chains, k)
				}
			}
		}
		c = &chain{e: e, st: st, run: run, finding: map[uint64]*finding{}}
		e.chains[k] = c
	}
	c.used = now
	return c
}

func (c *chain) top() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}

// known is the claim of a position, if this process holds it. The caller holds mu.
func (c *chain) known(p uint64) *held {
	for i := len(c.recent) - 1; i >= 0; i-- {
		if h := c.recent[i]; h.First <= p && p < h.End() {
			return h
		}
	}
	for i, h := range c.old {
		if h.First <= p && p < h.End() {
			c.old = append(slices.Delete(c.old, i, i+1), h)
			return h
		}
	}
	return nil
}

// tail is the last claim that this process knows of the chain.
func (c *chain) tail() *held {
	if len(c.recent) == 0 {
		return nil
	}
	return c.recent[len(c.recent)-1]
}

// add takes a claim in and returns how it is held. The caller holds mu.
func (c *chain) add(cl *Claim, mine bool, s *opened) *held {
	if h := c.known(cl.First); h != nil {
		return h
	}
	h := &held{Claim: cl, mine: mine}
	if mine {
		c.claimed.add(min(cl.Count, maxClaim), time.Now())
	}
	if s != nil {
		h.opening = &flight[*opened]{done: make(chan struct{}), v: s}
		close(h.opening.done)
	}
	t := c.tail()
	switch {
	case t == nil || cl.First == t.End():
		c.recent = append(c.recent, h)
	case cl.First > t.End(): // this process slept: what it held is old now
		c.old = append(c.old, c.recent...)
		c.recent = []*held{h}
	default:
		c.old = append(c.old, h)
	}
	if n := len(c.recent) - keepRecent; n > 0 {
		c.old = append(c.old, c.recent[:n]...)
		c.recent = slices.Delete(c.recent, 0, n)
	}
	if n := len(c.old) - keepOld; n > 0 {
		c.old = slices.Delete(c.old, 0, n)
	}
	return h
}

// at gives the claim that holds a position: a known one, one of the lake, or a new
// one. A Wait with a reason says that none can be made now.
func (c *chain) at(ctx context.Context, r *BatchRequest) (*held, Wait, error) {
	for {
		c.mu.Lock()
		if h := c.known(r.Position); h != nil {
			c.mu.Unlock()
			return h, Wait{}, nil
		}
		t := c.tail()
		if c.st.endless() {
			c.mu.Unlock()
			return c.endlessClaim(ctx)
		}
		if t == nil || r.Position < t.End() { // not known yet, or forgotten
			c.mu.Unlock()
			found, err := c.look(ctx, r.Position)
			if err != nil {
				return nil, Wait{}, err
			}
			c.mu.Lock()
			if found.at != nil {
				h := c.add(found.at, false, nil)
				c.mu.Unlock()
				return h, Wait{}, nil
			}
			if found.tail != nil {
				c.add(found.tail, false, nil)
			}
			t = c.tail()
		}
		c.mu.Unlock()
		wait, err := c.grow(ctx, t, r)
		if err != nil || wait.Reason != "" {
			return nil, wait, err
		}
	}
}

// endlessClaim is the one claim of a pinned stream. It is written for a run only.
func (c *chain) endlessClaim(ctx context.Context) (*held, Wait, error) {
	cl := &Claim{Stream: c.st.Name, Run: c.run, SpecHash: c.st.SpecHash, Snapshot: c.st.Snapshot, Count: Endless, Node: c.e.node, At: c.e.now()}
	if c.run != "" {
		have, won, err := c.e.lake.PutClaim(ctx, cl.Stream, cl.Run, 0, cl.JSON())
		if err != nil {
			return nil, Wait{}, err
		}
		if cl, err = parseClaim(c.st, c.run, 0, have); err != nil {
			return nil, Wait{}, err
		}
		if won {
			c.e.ledger.later(claimEntry(cl))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.add(cl, false, nil), Wait{}, nil
}

// look finds a position among the claims of the lake, once for all who ask.
func (c *chain) look(ctx context.Context, p uint64) (located, error) {
	c.mu.Lock()
	f := c.finding[p]
	if f == nil {
		f = launch(c.e, func(ctx context.Context) (located, error) {
			l, err := c.find(ctx, p)
			c.mu.Lock()
			delete(c.finding, p)
			c.mu.Unlock()
			return l, err
		})
		if !f.landed() {
			c.finding[p] = f
		}
	}
	c.mu.Unlock()
	return f.wait(ctx)
}

// find reads the lake: claims hold at most maxClaim positions, so that only the
// names of those that may reach p are listed.
func (c *chain) find(ctx context.Context, p uint64) (located, error) {
	from := p - min(p, maxClaim-1)
	var best *uint64
	beyond := false
	for first, err := range c.e.lake.ListClaims(ctx, c.st.Name, c.run, from) {
		if err != nil {
			return located{}, err
		}
		if first > p {
			beyond = true
			break
		}
		best = &first
	}
	if best == nil {
		switch {
		case beyond:
			return located{}, c.broken(from)
		case from > 0:
			return located{}, c.ahead(p)
		}
		return located{}, nil
	}
	cl, err := c.read(ctx, *best)
	if err != nil {
		return located{}, err
	}
	if err := c.linked(ctx, cl); err != nil {
		return located{}, err
	}
	for cl.End() <= p {
		next, err := c.read(ctx, cl.End())
		if fault.Is(err, fault.NotFound) {
			if beyond {
				return located{}, c.broken(cl.End())
			}
			return located{tail: cl}, nil
		}
		if err != nil {
			return located{}, err
		}
		cl = next
	}
	return located{at: cl}, nil
}

func (c *chain) read(ctx context.Context, first uint64) (*Claim, error) {
	body, err := c.e.lake.GetClaim(ctx, c.st.Name, c.run, first)
	if err != nil {
		return nil, err
	}
	return parseClaim(c.st, c.run, first, body)
}

// linked checks that the claim before is there and ends where this one begins.
func (c *chain) linked(ctx context.Context, cl *Claim) error {
	if cl.First == 0 {
		return nil
	}
	var first uint64
	if _, err := fmt.Sscanf(cl.Previous, "%d", &first); err != nil || first >= cl.First {
		return c.broken(cl.First)
	}
	before, err := c.read(ctx, first)
	if fault.Is(err, fault.NotFound) || err == nil && before.End() != cl.First {
		return c.broken(first)
	}
	return err
}

// broken is a chain with a hole. It is never filled: nobody could say what was
// drawn there.
func (c *chain) broken(at uint64) error {
	return fault.New(fault.Corrupt, c.op(), "the claim of position %d is missing, later ones are there", at).
		WithHint("`trajlake verify` lists damage; bring the object back, or go on under another run")
}

func (c *chain) ahead(p uint64) error {
	return fault.New(fault.Usage, c.op(), "position %d is far beyond the last claim", p).WithField("position").
		WithHint("positions are asked for in order; `trajlake stream show` says how far the stream has come")
}

func (c *chain) op() string {
	if c.run == "" {
		return "claim positions of stream " + c.st.Name
	}
	return "claim positions of stream " + c.st.Name + " for run " + c.run
}

// step is the outcome of an attempt to make the chain longer: it is, or there is
// something to wait for.
type step struct{ wait Wait }

// grow makes the chain longer after t (nil: at its beginning), by this process or
// another. One attempt is under way at a time; who comes meanwhile shares it.
func (c *chain) grow(ctx context.Context, t *held, r *BatchRequest) (Wait, error) {
	most := uint64(maxClaim)
	if c.st.Spec.Sequential() {
		most = maxSequential
	}
	end := uint64(0)
	if t != nil {
		end = t.End()
	}
	if r.Position >= end && r.Position-end >= most {
		return Wait{}, c.ahead(r.Position)
	}
	c.mu.Lock()
	if now := c.tail(); now != t { // somebody was faster
		c.mu.Unlock()
		return Wait{}, nil
	}
	if c.claiming == nil || c.claiming.landed() {
		asked := *r
		c.claiming = launch(c.e, func(ctx context.Context) (step, error) {
			w, err := c.attempt(ctx, t, end, &asked, most)
			return step{w}, err
		})
	}
	f := c.claiming
	c.mu.Unlock()
	s, err := f.wait(ctx)
	return s.wait, err
}

// attempt follows a claim that another process made, or makes one.
func (c *chain) attempt(ctx context.Context, t *held, end uint64, r *BatchRequest, most uint64) (Wait, error) {
	if t == nil || !t.mine { // where others claim, looking is cheaper than losing
		if followed, err := c.follow(ctx, end); followed || err != nil {
			return Wait{}, err
		}
	}
	cl, s, wait, err := c.propose(ctx, t, end, r, most)
	if err != nil {
		return Wait{}, err
	}
	if wait.Reason != "" {
		if t != nil && t.mine { // nothing for us to claim: perhaps another process has
			if followed, err := c.follow(ctx, end); followed || err != nil {
				return Wait{}, err
			}
		}
		return wait, nil
	}
	have, won, err := c.e.lake.PutClaim(ctx, cl.Stream, cl.Run, cl.First, cl.JSON())
	if err != nil {
		return Wait{}, err
	}
	if !won {
		s = nil
		if cl, err = parseClaim(c.st, c.run, end, have); err != nil {
			return Wait{}, err
		}
		if t != nil && cl.Previous != t.Name() {
			return Wait{}, c.broken(end)
		}
	}
	c.e.counts.claim(won)
	c.mu.Lock()
	h := c.add(cl, won, s)
	c.mu.Unlock()
	if won {
		c.e.ledger.later(claimEntry(cl))
	}
	if c.counts() {
		c.settle(h)
	}
	return Wait{}, nil
}

// follow takes in the claim at the end of the chain, if there is one by now.
func (c *chain) follow(ctx context.Context, end uint64) (bool, error) {
	cl, err := c.read(ctx, end)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	c.add(cl, false, nil)
	c.mu.Unlock()
	return true, nil
}

// propose makes the claim that would come at end, with its sampler.
func (c *chain) propose(ctx context.Context, t *held, end uint64, r *BatchRequest, most uint64) (*Claim, *opened, Wait, error) {
	cl := &Claim{Stream: c.st.Name, Run: c.run, SpecHash: c.st.SpecHash, Snapshot: c.st.Snapshot, First: end, Node: c.e.node, At: c.e.now()}
	var before *opened
	var err error
	if t != nil {
		if before, err = c.sampler(ctx, t); err != nil {
			return nil, nil, Wait{}, err
		}
		cl.Previous = t.Name()
	}
	var uses *Uses
	if t != nil {
		if c.counts() {
			if _, err := c.settle(t).wait(ctx); err != nil {
				return nil, nil, Wait{}, err
			}
		}
		if cl.Carry, uses, err = handOver(before, end); err != nil {
			return nil, nil, Wait{}, err
		}
	}
	if cl.Drawn, err = c.drawnBefore(t, before); err != nil {
		return nil, nil, Wait{}, err
	}
	s, err := c.e.openAt(ctx, c.st, cl, uses, before, func(newest int64) { cl.AsOf = c.asOf(t, r, newest) })
	if err != nil {
		return nil, nil, Wait{}, err
	}
	cl.Snapshot = s.Snapshot().Token()
	count := min(c.pace(t, r.Position-end+1), most)
	if c.st.Live() {
		limit, err := c.e.limiter(ctx, c.st)
		if err != nil {
			return nil, nil, Wait{}, err
		}
		allowed, wait := limit.batches(s.Admitted(), cl.Drawn, max(c.st.Spec.Batch.Rows, 1))
		if wait.Reason != "" {
			return nil, nil, wait, nil
		}
		count = min(count, allowed)
	}
	var wait Wait
	cl.Count, wait, err = c.drawable(s, end, count)
	return cl, s, wait, err
}
