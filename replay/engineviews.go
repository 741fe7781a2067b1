package replay

import (
	"context"
	"slices"
	"sync"

	"trajlake/replay/facts"
	"trajlake/schema"
	"trajlake/store"
)

// views keeps the facts of the snapshots that streams were claimed at lately. Each
// was advanced from one before, where there was one, so that they share nearly all
// they hold; what differs is remembered for longer than the view itself, and lets a
// sampler follow over several of them.
type views struct {
	sem chan struct{} // one view is made at a time

	mu    sync.Mutex
	nodes []*viewNode // by when they were made
}

// viewNode is a view, or what is left of it.
type viewNode struct {
	view   *facts.View // nil when it was let go
	scorer string
	rows   int64
	from   *viewNode // it was advanced from; nil where that is not known any more
	change facts.Change
}

// How many views are held, how many changes from view to view, and how many places
// those may name in all.
const (
	keepViews   = 4
	keepChanges = 256
	keepTouched = 1 << 22
)

// at is the view of a snapshot as a scorer sees it, with at least the facts in need.
func (v *views) at(ctx context.Context, snap *store.Snapshot, scorer string, need facts.Set) (*viewNode, *facts.View, error) {
	select {
	case v.sem <- struct{}{}:
		defer func() { <-v.sem }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	token := snap.Token()
	v.mu.Lock()
	var base *viewNode
	var from *facts.View
	for _, n := range v.nodes {
		if n.view == nil {
			continue
		}
		if from = n.view; n.scorer != scorer { // it shares what no scorer decides
			continue
		}
		if n.view.Snapshot().Token() == token && n.view.Has(need) {
			v.mu.Unlock()
			return n, n.view, nil
		}
		if notAfter(n.view.Snapshot(), snap) && (base == nil || notAfter(base.view.Snapshot(), n.view.Snapshot())) {
			base = n
		}
	}
	if base != nil {
		from = base.view
	}
	v.mu.Unlock()
	n := &viewNode{scorer: scorer}
	var err error
	if from == nil {
		n.view, err = facts.Open(ctx, snap.ForScorer(scorer), need)
	} else {
		var ch *facts.Change
		n.view, ch, err = from.Advance(ctx, snap.ForScorer(scorer), need)
		if err == nil && base != nil && ch.NewFrom == from.Rows() {
			n.from, n.change = base, *ch
		}
	}
	if err != nil {
		return nil, nil, err
	}
	n.rows = n.view.Rows()
	held := n.view
	v.mu.Lock()
	defer v.mu.Unlock()
	v.nodes = append(v.nodes, n)
	v.trim()
	return n, held, nil
}

// trim lets go of old views, and later of what changed. The caller holds mu.
func (v *views) trim() {
	views, touched := 0, 0
	for i := len(v.nodes) - 1; i >= 0; i-- {
		n := v.nodes[i]
		views++
		touched += len(n.change.Touched)
		if views > keepViews {
			n.view = nil
		}
		if views > keepChanges || views > keepViews && touched > keepTouched {
			gone := v.nodes[:i+1]
			for _, later := range v.nodes[i+1:] {
				if slices.Contains(gone, later.from) {
					later.from = nil
				}
			}
			v.nodes = slices.Clone(v.nodes[i+1:])
			return
		}
	}
}

// between is all that changed from one view to a later one; nil if that is not known.
func (v *views) between(from, to *viewNode) *facts.Change {
	v.mu.Lock()
	defer v.mu.Unlock()
	if from == nil || to == nil {
		return nil
	}
	ch := &facts.Change{NewFrom: from.rows}
	for n := to; n != from; n = n.from {
		if n.from == nil {
			return nil
		}
		for _, seq := range n.change.Touched {
			if seq < from.rows {
				ch.Touched = append(ch.Touched, seq)
			}
		}
	}
	slices.Sort(ch.Touched)
	ch.Touched = slices.Compact(ch.Touched)
	return ch
}

// notAfter reports whether b holds all that a does.
func notAfter(a, b *store.Snapshot) bool {
	for _, t := range []*schema.Table{schema.Trajectories, schema.Annotations, schema.Tensors} {
		if a.Count(t) > b.Count(t) {
			return false
		}
	}
	return true
}
