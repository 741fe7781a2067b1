package ingest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// Annotate validates and appends annotations as one version, together with those
// of callers that came while a commit was under way: one receipt for each, in
// order, and the token of a snapshot that holds them. A missing annotation_id is
// derived from what was handed in, a missing target_kind means trajectory, a
// missing time is now. An error is about the call; sending all of it again is safe.
func (g *Ingester) Annotate(ctx context.Context, rows []*schema.Annotation) (receipts []store.Receipt, token string, err error) {
	const op = "annotate"
	receipts = make([]store.Receipt, len(rows))
	g.readyNotes(rows, receipts)
	r := &noteRequest{done: make(chan struct{})}
	var at []int
	for i, row := range rows {
		if receipts[i].Err == nil {
			r.rows, at = append(r.rows, row), append(at, i)
		}
	}
	if err := g.queueNotes(r); err != nil {
		return nil, "", err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, "", fault.New(fault.Unavailable, op, "gave up waiting for the commit: %v", ctx.Err()).
			WithHint("the annotations may still be committed; send them again, committed ones come back as duplicates")
	}
	if r.err != nil {
		return nil, "", fault.Wrap(op, r.err)
	}
	for i, got := range r.receipts {
		receipts[at[i]] = got
	}
	return receipts, r.token, nil
}

// noteChunk is how many annotations are made ready at a time.
const noteChunk = 1024

// readyNotes validates annotations and fills in what they lack, on all processors
// where there are many; what is wrong with one is in its receipt.
func (g *Ingester) readyNotes(rows []*schema.Annotation, receipts []store.Receipt) {
	now := schema.TimeOf(time.Now())
	var next atomic.Int64
	work := func() {
		for {
			lo := int(next.Add(noteChunk)) - noteChunk
			if lo >= len(rows) {
				return
			}
			for i := lo; i < min(lo+noteChunk, len(rows)); i++ {
				g.readyNote(rows[i], &receipts[i], now)
			}
		}
	}
	if len(rows) <= noteChunk {
		work()
		return
	}
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(work)
	}
	wg.Wait()
}

func (g *Ingester) readyNote(r *schema.Annotation, receipt *store.Receipt, now schema.Time) {
	if faults := schema.ValidateAnnotation(r, g.opt.Limits); len(faults) > 0 {
		*receipt = store.Receipt{ID: r.AnnotationID, Status: store.Rejected, Version: -1, Seq: -1, Err: faults.Err("annotate")}
		return
	}
	if r.AnnotationID == "" {
		r.AnnotationID = schema.AnnotationID(r)
	}
	if r.TargetKind == nil {
		r.TargetKind = new("trajectory")
	}
	if r.At == nil {
		r.At = &now
	}
	r.RowVersion, r.RowSeq = nil, nil
}

// notes gathers the annotations of callers while a commit is under way.
type notes struct {
	mu      sync.Mutex
	waiting []*noteRequest
	busy    bool // a committer is running
	closed  bool
	running sync.WaitGroup
}

// noteRequest is one caller's annotations.
type noteRequest struct {
	rows     []*schema.Annotation
	receipts []store.Receipt
	token    string
	err      error
	done     chan struct{}
}

// noteGroup bounds the annotations of several callers in one commit.
const noteGroup = 50_000

// queueNotes hands a request to the committer, which is started if none runs.
func (g *Ingester) queueNotes(r *noteRequest) error {
	n := &g.notes
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return fault.New(fault.Unavailable, "annotate", "the ingester is shutting down").WithHint("send the annotations again; nothing is lost or doubled")
	}
	n.waiting = append(n.waiting, r)
	if !n.busy {
		n.busy = true
		n.running.Go(g.commitNotes)
	}
	return nil
}

// commitNotes commits one group after the other until nobody waits.
func (g *Ingester) commitNotes() {
	for {
		group := g.notes.take()
		if group == nil {
			return
		}
		var rows []*schema.Annotation
		for _, r := range group {
			rows = append(rows, r.rows...)
		}
		ctx, cancel := context.WithTimeout(context.Background(), g.opt.CommitTime)
		receipts, snap, err := g.lake.Annotate(ctx, rows)
		cancel()
		if err != nil {
			g.opt.Logger.Warn("commit of annotations failed", "rows", len(rows), "err", err)
			if errors.Is(err, context.DeadlineExceeded) && !fault.Is(err, fault.Unavailable) {
				err = fault.WrapAs(fault.Unavailable, "commit", err)
			}
		}
		for _, r := range group {
			if r.err = err; err == nil {
				r.token = snap.Token()
				n := min(len(r.rows), len(receipts))
				r.receipts, receipts = receipts[:n], receipts[n:]
			}
			close(r.done)
		}
	}
}

// take removes the next group; nil when nobody waits, and the committer ends.
func (n *notes) take() []*noteRequest {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) == 0 {
		n.busy = false
		return nil
	}
	take, rows := 0, 0
	for _, r := range n.waiting {
		if rows += len(r.rows); take > 0 && rows > noteGroup {
			break
		}
		take++
	}
	group := n.waiting[:take:take]
	n.waiting = n.waiting[take:]
	return group
}

// close refuses new annotations and waits for what was accepted.
func (n *notes) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.running.Wait()
}

// Tensors validates and appends tensor pieces as one version: one receipt for
// each, in order.
func (g *Ingester) Tensors(ctx context.Context, rows []*schema.Tensor) ([]store.Receipt, error) {
	receipts := make([]store.Receipt, len(rows))
	var keep []*schema.Tensor
	var at []int
	for i, r := range rows {
		if faults := schema.ValidateTensor(r, g.opt.Limits); len(faults) > 0 {
			receipts[i] = store.Receipt{ID: r.TrajectoryID, Status: store.Rejected, Version: -1, Seq: -1, Err: faults.Err("append tensor")}
			continue
		}
		r.RowVersion, r.RowSeq = nil, nil
		keep, at = append(keep, r), append(at, i)
	}
	ctx, cancel := context.WithTimeout(ctx, g.opt.CommitTime)
	defer cancel()
	got, err := g.lake.AppendTensors(ctx, keep)
	if err != nil {
		return nil, fault.Wrap("append tensors", err)
	}
	for i, r := range got {
		receipts[at[i]] = r
	}
	return receipts, nil
}
