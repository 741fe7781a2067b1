// Package ingest takes rows in: it validates them, gives them their identity,
// gathers them into groups and commits each group once. An answer means that
// the row is durable and visible to every reader; there is no weaker one.
//
// A call that finds the committer idle is committed at once. While a commit is
// under way, calls gather for the next one; after a lost race against another
// process the gathering time is widened (up to MaxDelay), so that many writers
// on one log share fewer, larger versions.
package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// Options are the settings of an Ingester; the zero value is good.
type Options struct {
	MaxDelay   time.Duration // longest gathering time under contention; 0 = 1 s
	MaxBytes   int64         // bytes of rows in one commit; 0 = 32 MB
	MaxRows    int           // rows in one commit; 0 = 20,000
	QueueBytes int64         // bytes of rows that may wait; 0 = 256 MB. Callers beyond it wait
	CommitTime time.Duration // how long a commit is tried while the store does not answer; 0 = 30 s
	Limits     schema.Limits // of a row; zero = the schema's defaults
	Logger     *slog.Logger  // nil = discard
}

func (o *Options) withDefaults() Options {
	out := Options{}
	if o != nil {
		out = *o
	}
	if out.MaxDelay <= 0 {
		out.MaxDelay = time.Second
	}
	if out.MaxBytes <= 0 {
		out.MaxBytes = 32 << 20
	}
	if out.MaxRows <= 0 {
		out.MaxRows = 20_000
	}
	if out.QueueBytes <= 0 {
		out.QueueBytes = 256 << 20
	}
	if out.CommitTime <= 0 {
		out.CommitTime = 30 * time.Second
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	return out
}

// Ingester is the group committer of one lake in one process. It is safe for
// concurrent use. Close waits for what was accepted.
type Ingester struct {
	lake *store.Lake
	opt  Options

	mu      sync.Mutex
	queue   []*request
	queued  int64 // bytes of rows accepted and not yet answered
	freed   chan struct{}
	closed  bool
	wake    chan struct{} // capacity 1
	stopped chan struct{} // closed when the committer has ended

	digesters sync.Pool // of *schema.Digester
	notes     notes
}

// request is one caller's prepared rows.
type request struct {
	rows     []*schema.Trajectory
	bytes    int64
	receipts []store.Receipt
	err      error
	done     chan struct{}
}

// New starts the committer of lake; Close ends it. The lake stays open.
func New(lake *store.Lake, o *Options) *Ingester {
	g := &Ingester{lake: lake, opt: o.withDefaults(), wake: make(chan struct{}, 1), stopped: make(chan struct{}), freed: make(chan struct{})}
	g.digesters.New = func() any { return schema.NewDigester() }
	go g.run()
	return g
}

// Close refuses new calls, commits what was accepted and waits for it. It is
// idempotent.
func (g *Ingester) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.signal()
	g.notes.close()
	<-g.stopped
	return nil
}

// Lake is the lake that the ingester commits to.
func (g *Ingester) Lake() *store.Lake { return g.lake }

func (g *Ingester) signal() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// commit queues rows and waits until they are committed, ctx ends or the
// ingester fails. A nil error means one receipt for each row, in order.
func (g *Ingester) commit(ctx context.Context, rows []*schema.Trajectory, bytes int64) ([]store.Receipt, error) {
	const op = "append"
	r := &request{rows: rows, bytes: bytes, done: make(chan struct{})}
	for {
		g.mu.Lock()
		if g.closed {
			g.mu.Unlock()
			return nil, fault.New(fault.Unavailable, op, "the ingester is shutting down").WithHint("send the rows again; nothing is lost or doubled")
		}
		// A single call larger than the whole queue is let in when it is alone.
		if g.queued == 0 || g.queued+bytes <= g.opt.QueueBytes {
			g.queued += bytes
			g.queue = append(g.queue, r)
			g.mu.Unlock()
			g.signal()
			break
		}
		freed := g.freed
		g.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, fault.New(fault.Exhausted, op, "%d bytes of rows are waiting for the store: %v", g.opt.QueueBytes, ctx.Err()).
				WithHint("the store is slow or down; wait and send the rows again")
		}
	}
	select {
	case <-r.done:
		return r.receipts, r.err
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, op, "gave up waiting for the commit: %v", ctx.Err()).
			WithHint("the rows may still be committed; send them again, committed ones come back as duplicates")
	}
}

// run is the committer: one group after the other until Close and an empty queue.
func (g *Ingester) run() {
	defer close(g.stopped)
	var widen time.Duration
	for {
		if widen > 0 {
			g.gather(widen)
		}
		group, closed := g.take()
		if len(group) == 0 {
			if closed {
				return
			}
			<-g.wake
			continue
		}
		began := time.Now()
		attempts := g.commitGroup(group)
		widen = g.nextDelay(widen, len(group), attempts, time.Since(began))
		g.release(group)
	}
}

// loneDelay is the gathering time after a lost race when there is one caller.
const loneDelay = 5 * time.Millisecond

// gather waits up to d for more callers, less when enough has come together.
func (g *Ingester) gather(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		g.mu.Lock()
		enough := g.closed || g.queued >= g.opt.MaxBytes
		g.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-t.C:
			return
		case <-g.wake:
		}
	}
}

// nextDelay widens the gathering time while commits lose races and narrows it
// when they stop doing so. Where only one caller came, nothing gathers: waiting
// then serves only to let other writers pass, for which little is enough.
func (g *Ingester) nextDelay(last time.Duration, callers, attempts int, took time.Duration) time.Duration {
	if attempts <= 1 {
		return last / 2 / time.Millisecond * time.Millisecond
	}
	if callers == 1 {
		return loneDelay
	}
	return min(g.opt.MaxDelay, max(last*2, took/2, 5*time.Millisecond))
}

// take removes the next group from the queue.
func (g *Ingester) take() (group []*request, closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var bytes int64
	rows := 0
	n := 0
	for _, r := range g.queue {
		if n > 0 && (bytes+r.bytes > g.opt.MaxBytes || rows+len(r.rows) > g.opt.MaxRows) {
			break
		}
		bytes += r.bytes
		rows += len(r.rows)
		n++
	}
	group = append(group, g.queue[:n]...)
	clear(g.queue[:n])
	g.queue = g.queue[n:]
	return group, g.closed
}

// commitGroup commits the rows of a group as one version and answers its callers.
func (g *Ingester) commitGroup(group []*request) (attempts int) {
	ctx, cancel := context.WithTimeout(context.Background(), g.opt.CommitTime)
	defer cancel()
	var rows []*schema.Trajectory
	for _, r := range group {
		rows = append(rows, r.rows...)
	}
	receipts, attempts, err := g.lake.AppendCounted(ctx, rows)
	if err != nil {
		g.opt.Logger.Warn("commit failed", "rows", len(rows), "err", err)
		if errors.Is(err, context.DeadlineExceeded) && !fault.Is(err, fault.Unavailable) {
			err = fault.WrapAs(fault.Unavailable, "append", err)
		}
	}
	for _, r := range group {
		r.err = err
		if err == nil {
			r.receipts, receipts = receipts[:len(r.rows)], receipts[len(r.rows):]
		}
	}
	return attempts
}

// release answers the callers of a group and makes room in the queue.
func (g *Ingester) release(group []*request) {
	var bytes int64
	for _, r := range group {
		bytes += r.bytes
		close(r.done)
	}
	g.mu.Lock()
	g.queued -= bytes
	close(g.freed)
	g.freed = make(chan struct{})
	g.mu.Unlock()
}
