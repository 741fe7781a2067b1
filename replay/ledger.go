package replay

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"trajlake/schema"
	"trajlake/schema/fault"
)

// The kinds of ledger rows.
const (
	LedgerClaim    = "claim"    // positions were pinned to a snapshot
	LedgerServed   = "served"   // a batch was handed out; may be lost in a crash, except of sequential streams
	LedgerConsumed = "consumed" // a batch was trained on
	LedgerNack     = "nack"     // a batch was handed back
	LedgerRefused  = "refused"  // an ack that did not count
)

// ledgerRow is a row on its way into the ledger.
type ledgerRow struct {
	entry *schema.LedgerEntry
	ack   *Ack // set for what a run's fence decides on
}

// ledgerGroup is rows that are written together, and who waits for them.
type ledgerGroup struct {
	rows []*ledgerRow
	errs []error // by row
	done chan struct{}
}

// ledgerWriter writes the ledger by group commit: what comes while a commit is
// under way goes into the next one. Rows that nobody waits for ride along, or go by
// themselves once a second.
type ledgerWriter struct {
	e    *Engine
	kick chan struct{} // room for one
	quit chan struct{}
	done chan struct{} // closed when run has ended

	mu      sync.Mutex
	stopped bool
	groups  []*ledgerGroup
	queued  int // rows in groups
	lazy    []*schema.LedgerEntry
	count   EngineStats
	failed  error // of the rows that were given up at the end
	space   chan struct{}
}

// Bounds of the writer.
const (
	ledgerQueue = 8192                  // rows that may wait; more wait outside
	ledgerLazy  = 8192                  // rows nobody waits for; the oldest are given up
	ledgerPause = 25 * time.Millisecond // least time from commit to commit
	ledgerFlush = time.Second           // how long a row that nobody waits for may wait

	ledgerTimeout = time.Minute // after which a commit that hangs is given up; its rows may count or not
)

func newLedgerWriter(e *Engine) *ledgerWriter {
	return &ledgerWriter{e: e, kick: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), space: make(chan struct{}, 1)}
}

// later writes a row some time; it may be lost in a crash.
func (w *ledgerWriter) later(entry *schema.LedgerEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		w.count.LedgerDropped++
		return
	}
	w.lazy = append(w.lazy, entry)
	if n := len(w.lazy) - ledgerLazy; n > 0 {
		w.lazy = slices.Delete(w.lazy, 0, n)
		w.count.LedgerDropped += int64(n)
	}
}

// write returns when the rows are durable, or with the error of the first one that
// is not. When ctx ends first they may be written all the same.
func (w *ledgerWriter) write(ctx context.Context, rows ...*ledgerRow) error {
	g := &ledgerGroup{rows: rows, errs: make([]error, len(rows)), done: make(chan struct{})}
	if err := w.enqueue(ctx, g); err != nil {
		return err
	}
	select {
	case <-g.done:
		return errors.Join(g.errs...)
	case <-ctx.Done():
		return fault.Wrap("wait for the ledger", ctx.Err())
	}
}

// enqueue waits for room.
func (w *ledgerWriter) enqueue(ctx context.Context, g *ledgerGroup) error {
	for {
		w.mu.Lock()
		if w.stopped {
			w.mu.Unlock()
			return fault.New(fault.Unavailable, "write to the ledger", "the replay engine is closing").WithHint("send the ack again when it is back")
		}
		if w.queued == 0 || w.queued+len(g.rows) <= ledgerQueue {
			w.groups = append(w.groups, g)
			w.queued += len(g.rows)
			room := w.queued < ledgerQueue
			w.mu.Unlock()
			signal(w.kick)
			if room {
				signal(w.space) // the next one that waits may fit too
			}
			return nil
		}
		w.mu.Unlock()
		select {
		case <-w.space:
		case <-ctx.Done():
			return fault.Wrap("wait for room in the ledger's queue", ctx.Err())
		case <-w.quit:
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// stop lets run write what is waiting, and end.
func (w *ledgerWriter) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	close(w.quit)
}

// lost is the error with which rows were given up when the writer ended.
func (w *ledgerWriter) lost() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

func (w *ledgerWriter) stats() EngineStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.count
	s.LedgerPending = int64(w.queued + len(w.lazy))
	return s
}

// run commits groups until stop; under a context that has ended it fails them.
func (w *ledgerWriter) run(ctx context.Context) {
	defer close(w.done)
	flush := time.NewTicker(ledgerFlush)
	defer flush.Stop()
	for last := false; !last; {
		select {
		case <-w.kick:
		case <-flush.C:
		case <-w.quit:
			last = true
		case <-ctx.Done():
			last = true
		}
		began := time.Now()
		for first := true; first || last; first = false { // the last time until nothing is left
			groups, lazy := w.take()
			if len(groups) == 0 && len(lazy) == 0 {
				break
			}
			err := w.commit(ctx, groups, lazy)
			if last && len(groups) == 0 && err != nil {
				w.giveUp(len(lazy), err)
				return
			}
		}
		if rest := ledgerPause - time.Since(began); rest > 0 && !last {
			t := time.NewTimer(rest)
			select {
			case <-t.C:
			case <-w.quit:
			}
			t.Stop()
		}
	}
}

func (w *ledgerWriter) giveUp(rows int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lazy = nil
	w.count.LedgerDropped += int64(rows)
	w.failed = fault.Wrap("write the last served rows to the ledger", err)
}

func (w *ledgerWriter) take() ([]*ledgerGroup, []*schema.LedgerEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	groups, lazy := w.groups, w.lazy
	w.groups, w.lazy, w.queued = nil, nil, 0
	signal(w.space)
	return groups, lazy
}

// commit writes groups and lazy rows as one version of the ledger and answers the
// groups. Lazy rows of a commit that failed are kept for the next one.
func (w *ledgerWriter) commit(ctx context.Context, groups []*ledgerGroup, lazy []*schema.LedgerEntry) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	runs, faults := w.runsOf(ctx, groups)
	rows := slices.Clone(lazy)
	var refused int64
	for _, g := range groups {
		for i, r := range g.rows {
			if r.ack == nil {
				rows = append(rows, r.entry)
				continue
			}
			k := chainKey{r.ack.Stream, r.ack.Run}
			if g.errs[i] = faults[k]; g.errs[i] == nil {
				g.errs[i] = runs[k].admit("ack batch "+r.ack.BatchID, r.ack)
				if g.errs[i] != nil {
					refused++
					rows = append(rows, refusedEntry(r.entry, g.errs[i]))
					continue
				}
				rows = append(rows, r.entry)
			}
		}
	}
	var err error
	if len(rows) > 0 {
		_, err = w.e.lake.AppendLedger(ctx, rows)
	}
	for _, g := range groups {
		for i := range g.errs {
			if g.errs[i] == nil {
				g.errs[i] = err
			}
		}
		close(g.done)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count.Refused += refused
	if err != nil {
		w.count.LedgerErrors++
		w.lazy = append(lazy, w.lazy...)
		return err
	}
	w.count.LedgerCommits++
	w.count.LedgerRows += int64(len(rows))
	return nil
}

// runsOf reads the state of every run that acks are for, at once. A Join that was
// answered before an ack was sent is seen here, whichever node answered it.
func (w *ledgerWriter) runsOf(ctx context.Context, groups []*ledgerGroup) (map[chainKey]*runJSON, map[chainKey]error) {
	runs, faults := map[chainKey]*runJSON{}, map[chainKey]error{}
	for _, g := range groups {
		for _, r := range g.rows {
			if r.ack != nil {
				runs[chainKey{r.ack.Stream, r.ack.Run}] = nil
			}
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	sem := make(chan struct{}, 16)
	for _, k := range slices.Collect(maps.Keys(runs)) {
		wg.Go(func() {
			sem <- struct{}{}
			defer func() { <-sem }()
			state, err := w.e.runState(ctx, k.stream, k.run)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				faults[k] = err
			} else {
				runs[k] = state
			}
		})
	}
	wg.Wait()
	return runs, faults
}
