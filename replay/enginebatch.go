package replay

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"trajlake/schema"
	"trajlake/schema/fault"
)

// BatchRequest asks for one batch of a stream.
type BatchRequest struct {
	Stream   string
	Run      string // "" for the chain that all who name no run share
	Position uint64 // from 0
	Rank     int    // who asks, of how many: the batch is the whole one in any case, and
	World    int    // Part cuts it; 0 is 1
	Step     int64  // of the trainer, −1 if unknown; for the as_of of a new claim
	Policy   int64  // version of the trainer's policy, −1 if unknown; likewise
	Node     string // the client, for the ledger
	Wait     time.Duration
}

// Drawn is one batch of a stream, and the sampler that fetches its rows.
type Drawn struct {
	*Batch
	Sampler *Sampler
	Claim   Claim
	Waited  []Waited // why the call waited, and how long; empty where it did not

	ids *drawnBatch
}

// drawnBatch is a batch that was drawn lately.
type drawnBatch struct {
	*Batch
	claim   *Claim
	sampler *Sampler

	mu        sync.Mutex        // guards what follows
	reading   *flight[[]string] // ids of its rows, see rowIDs
	measuring *flight[*Batch]   // the batch with the tokens of its members, see part
}

// WaitError is why a batch was not drawn within BatchRequest.Wait: it is inside the
// error of Batch, for errors.As.
type WaitError struct {
	Wait
	Position uint64
	Waited   time.Duration
}

// Error names the reason.
func (w *WaitError) Error() string {
	return fmt.Sprintf("waited %s for batch %d: %s", w.Waited.Round(time.Millisecond), w.Position, w.Wait)
}

// Batch draws the batch at a position of a stream. It waits while the limiter, a
// dry stratum or incomplete groups hold the stream back, for at most r.Wait; then
// the error has kind Unavailable and holds a *WaitError. Kind Exhausted: a stratum
// is dry, and the spec says that this is a failure. Positions are asked for in
// order, give or take a prefetch; the same position gives the same batch for ever.
func (e *Engine) Batch(ctx context.Context, r BatchRequest) (*Drawn, error) {
	op := fmt.Sprintf("draw batch %d of stream %s", r.Position, r.Stream)
	if err := errorsFirst(e.open(op), r.check(op)); err != nil {
		return nil, err
	}
	st, err := e.Get(ctx, r.Stream)
	if err != nil {
		return nil, err
	}
	c := e.chain(st, r.Run)
	var waited []Waited
	began := time.Now()
	for n := 0; ; n++ {
		h, wait, err := c.at(ctx, &r)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		if wait.Reason == "" {
			d, err := c.draw(ctx, h, r.Position)
			if err != nil {
				return nil, fault.Wrap(op, err)
			}
			b, slots, err := e.part(ctx, d, r.Rank, r.World)
			if err != nil {
				return nil, fault.Wrap(op, err)
			}
			c.gave(&r)
			e.counts.batch()
			e.served(&r, c, d, slots)
			return &Drawn{Batch: b, Sampler: d.sampler, Claim: *d.claim, Waited: waited, ids: d}, nil
		}
		spent := time.Since(began)
		if spent >= r.Wait {
			c.wait(wait)
			return nil, (&fault.Error{Kind: fault.Unavailable, Op: op, Err: &WaitError{wait, r.Position, spent}}).
				WithHint("ask again; what is missing may come")
		}
		c.wait(wait)
		slept, err := e.pause(ctx, min(pauseAfter(n), r.Wait-spent))
		e.counts.waited(wait.Reason, slept)
		waited = addWaited(waited, wait, slept)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
	}
}

// pauseAfter is how long to wait before looking again, the nth time: a row that is
// committed must be drawable within a second.
func pauseAfter(n int) time.Duration {
	return min(10*time.Millisecond<<min(n, 5), 250*time.Millisecond)
}

// pause sleeps, and returns how long it did; Close wakes it.
func (e *Engine) pause(ctx context.Context, d time.Duration) (time.Duration, error) {
	began := time.Now()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return time.Since(began), nil
	case <-ctx.Done():
		return time.Since(began), ctx.Err()
	case <-e.closing:
		return time.Since(began), e.open("")
	}
}

func addWaited(list []Waited, w Wait, d time.Duration) []Waited {
	for i := range list {
		if list[i].Reason == w.Reason && list[i].Stratum == w.Stratum {
			list[i].For += d
			list[i].Wait = w
			return list
		}
	}
	return append(list, Waited{w, d})
}

func (r *BatchRequest) check(op string) error {
	if r.Run == "-" {
		r.Run = ""
	}
	if r.World == 0 {
		r.World = 1
	}
	switch {
	case r.World < 1 || r.World > maxWorld || r.Rank < 0 || r.Rank >= r.World:
		return fault.New(fault.Usage, op, "rank %d of %d", r.Rank, r.World).WithField("rank").WithHint("ranks count from 0 to world-1")
	case r.Position >= Endless:
		return fault.New(fault.Usage, op, "positions are below 2^63-1").WithField("position")
	case r.Wait < 0:
		return fault.New(fault.Usage, op, "the wait is negative").WithField("wait")
	}
	return nil
}

// gave notes that a position was asked for.
func (c *chain) gave(r *BatchRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = max(c.next, r.Position+1)
	c.waiting = Wait{}
}

func (c *chain) wait(w Wait) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = w
}

// draw draws a position of a claim, or finds it among the batches drawn lately.
func (c *chain) draw(ctx context.Context, h *held, p uint64) (*drawnBatch, error) {
	if d := c.lately(p); d != nil {
		return d, nil
	}
	s, err := c.sampler(ctx, h)
	if err != nil {
		return nil, err
	}
	b, err := s.Draw(p)
	if err != nil {
		return nil, err
	}
	d := &drawnBatch{Batch: b, claim: h.Claim, sampler: s.Sampler}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.batches {
		if o.Position == p {
			return o, nil
		}
	}
	c.batches = append(c.batches, d)
	if n := len(c.batches) - keepBatches; n > 0 {
		c.batches = slices.Delete(c.batches, 0, n)
	}
	return d, nil
}

func (c *chain) lately(p uint64) *drawnBatch {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, d := range c.batches {
		if d.Position == p {
			c.batches = append(slices.Delete(c.batches, i, i+1), d)
			return d
		}
	}
	return nil
}

// RunStatus is how far a run of a stream has come, as its claims and this process
// know it.
type RunStatus struct {
	Stream, Run string
	Position    uint64 // the first that no claim holds; of a pinned stream the first that this process was not asked for
	Claims      uint64 // first position of the newest claim
	Snapshot    string // token of the newest claim
	AsOf        AsOf
	Inserts     int64 // rows committed to the lake since that snapshot
	Limiter     Limiter
	Waiting     Wait // why the last call to this process got no batch; zero if it got one
}

// Status tells how far a run has come and why it waits; run "" is the chain of
// those who name none.
func (e *Engine) Status(ctx context.Context, stream, run string) (RunStatus, error) {
	if run == "-" {
		run = ""
	}
	st, err := e.Get(ctx, stream)
	if err != nil {
		return RunStatus{}, err
	}
	c := e.chain(st, run)
	s := RunStatus{Stream: stream, Run: run, Snapshot: st.Snapshot}
	if st.Live() {
		if s.Limiter, err = e.limiter(ctx, st); err != nil {
			return s, err
		}
	}
	last, err := c.last(ctx)
	if err != nil {
		return s, err
	}
	c.mu.Lock()
	s.Waiting, s.Position = c.waiting, c.next
	c.mu.Unlock()
	if last != nil {
		s.Claims, s.Snapshot, s.AsOf = last.First, last.Snapshot, last.AsOf
		if !st.endless() {
			s.Position = last.End()
		}
	}
	s.Inserts, err = e.insertsSince(ctx, s.Snapshot)
	return s, err
}

// last is the newest claim of the chain, nil where there is none.
func (c *chain) last(ctx context.Context) (*Claim, error) {
	c.mu.Lock()
	t := c.tail()
	c.mu.Unlock()
	end := uint64(0)
	var last *Claim
	if t != nil {
		last, end = t.Claim, t.End()
	} else {
		for first, err := range c.e.lake.ListClaims(ctx, c.st.Name, c.run, 0) {
			if err != nil {
				return nil, err
			}
			end = first
		}
	}
	for end < Endless {
		cl, err := c.read(ctx, end)
		if fault.Is(err, fault.NotFound) {
			return last, nil
		}
		if err != nil {
			return nil, err
		}
		last, end = cl, cl.End()
	}
	return last, nil
}

func (e *Engine) insertsSince(ctx context.Context, token string) (int64, error) {
	snap, err := e.lake.At(ctx, token)
	if err != nil {
		return 0, err
	}
	head, err := e.heads.get(ctx)
	if err != nil {
		return 0, err
	}
	return head.Count(schema.Trajectories) - snap.Count(schema.Trajectories), nil
}

// EngineStats counts what an engine did since it was made.
type EngineStats struct {
	Batches, Claims, ClaimsLost int64            // claims made, and found made by others
	Waited                      map[string]int64 // microseconds by reason
	Acks, Refused               int64
	LedgerCommits, LedgerRows   int64
	LedgerErrors, LedgerDropped int64 // commits that failed; served rows that were given up
	LedgerPending               int64 // rows that wait to be written
}

// engineCounts is EngineStats in the making.
type engineCounts struct {
	batches, claims, claimsLost, acks atomic.Int64
	waits                             [len(waitReasons)]atomic.Int64
}

var waitReasons = [...]string{WaitMinSize, WaitRatio, WaitDry, WaitGroup}

func (n *engineCounts) claim(won bool) {
	if won {
		n.claims.Add(1)
	} else {
		n.claimsLost.Add(1)
	}
}

func (n *engineCounts) batch() { n.batches.Add(1) }

func (n *engineCounts) waited(reason string, d time.Duration) {
	if i := slices.Index(waitReasons[:], reason); i >= 0 {
		n.waits[i].Add(d.Microseconds())
	}
}

// Stats is what the engine did so far.
func (e *Engine) Stats() EngineStats {
	s := e.ledger.stats()
	s.Batches, s.Claims, s.ClaimsLost = e.counts.batches.Load(), e.counts.claims.Load(), e.counts.claimsLost.Load()
	s.Acks = e.counts.acks.Load()
	s.Waited = map[string]int64{}
	for i, reason := range waitReasons {
		s.Waited[reason] = e.counts.waits[i].Load()
	}
	return s
}
