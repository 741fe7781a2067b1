package store

import (
	"context"
	"math"
	"sync"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/delta"
)

// noted is one annotation as the fold needs it.
type noted struct {
	seq   int64
	kind  noteKind
	key   string // name and scorer
	value float64
	null  bool
}

type noteKind uint8

const (
	noteReward noteKind = iota
	notePriority
	noteQuarantine
	noteRestore
	noteGone
)

var noteKinds = map[string]noteKind{
	"reward": noteReward, "priority": notePriority, "quarantine": noteQuarantine, "restore": noteRestore, "gone": noteGone,
}

// target is what annotations are about: a kind and an id.
type target struct{ kind, id string }

// foldCache holds, by target, the annotations that decide how a row is seen. It
// only grows: a snapshot looks at those below its own count, so one structure
// serves all snapshots.
type foldCache struct {
	load sync.Mutex // held by the one who reads annotations

	mu      sync.RWMutex
	upTo    int64 // places below this are in
	notes   map[target][]noted
	goneIDs map[string]bool
	has     [noteGone + 1]int64 // least place of each kind, plus 1; 0 = none
}

// view is the fold as one snapshot sees it; nil when nothing is annotated.
type view struct {
	c     *foldCache
	limit int64
}

// fold brings the cache up to the snapshot's annotations.
func (s *Snapshot) fold(ctx context.Context) (*view, error) {
	limit := s.vector[schema.Annotations.Name].NextSeq
	if limit == 0 {
		return nil, nil
	}
	if err := s.lake.foldTo(ctx, s.states[schema.Annotations.Name], limit); err != nil {
		return nil, err
	}
	return &view{&s.lake.folds, limit}, nil
}

// foldTo reads the annotations below limit that the cache has not.
func (l *Lake) foldTo(ctx context.Context, st *delta.State, limit int64) error {
	c := &l.folds
	c.load.Lock()
	defer c.load.Unlock()
	c.mu.RLock()
	from := c.upTo
	c.mu.RUnlock()
	if from >= limit {
		return nil
	}
	var read []noteAt
	for p := range tail(schema.Annotations, st, from) {
		p.limit = limit
		var err error
		if read, err = l.foldPart(ctx, p, from, read); err != nil {
			return fault.Wrap("fold annotations of "+p.file.Path, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.notes == nil {
		c.notes, c.goneIDs = map[target][]noted{}, map[string]bool{}
	}
	for _, n := range read {
		c.add(n.a, n.seq)
	}
	c.upTo = limit
	return nil
}

// noteAt is an annotation and its place.
type noteAt struct {
	a   *schema.Annotation
	seq int64
}

// foldPart appends the annotations of one file that matter to the fold.
func (l *Lake) foldPart(ctx context.Context, p part, from int64, out []noteAt) ([]noteAt, error) {
	cols := []string{"annotation_id", "kind", "target_kind", "target_id", "name", "scorer", "value"}
	var rows *schema.RowReader[schema.Annotation]
	for pl, err := range l.readPart(ctx, p, cols, from) {
		if err != nil {
			return nil, err
		}
		if rows == nil {
			if rows, err = schema.NewRowReader[schema.Annotation](pl.rec.Schema()); err != nil {
				return nil, err
			}
		}
		for i, seq := range pl.seqs {
			a, err := rows.Row(pl.rec, i)
			if err != nil {
				return nil, err
			}
			if _, ok := noteKinds[text(a.Kind)]; ok {
				out = append(out, noteAt{a, seq})
			}
		}
	}
	return out, nil
}

func (c *foldCache) add(a *schema.Annotation, seq int64) {
	kind, ok := noteKinds[text(a.Kind)]
	if !ok || a.TargetID == nil {
		return
	}
	t := target{text(a.TargetKind), *a.TargetID}
	if t.kind == "" {
		t.kind = "trajectory"
	}
	n := noted{seq: seq, kind: kind, key: text(a.Name) + "\x00" + text(a.Scorer), null: a.Value == nil}
	if a.Value != nil {
		n.value = *a.Value
	}
	if kind == noteGone && t.kind == "trajectory" {
		c.goneIDs[t.id] = true
	}
	c.notes[t] = append(c.notes[t], n)
	if c.has[kind] == 0 || seq < c.has[kind]-1 {
		c.has[kind] = seq + 1
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// any reports whether the view holds an annotation of one of the kinds.
func (v *view) any(kinds ...noteKind) bool {
	if v == nil {
		return false
	}
	v.c.mu.RLock()
	defer v.c.mu.RUnlock()
	for _, k := range kinds {
		if first := v.c.has[k]; first != 0 && first-1 < v.limit {
			return true
		}
	}
	return false
}

// last is the value of the trajectory's newest annotation of a kind; ok is false
// when there is none. A value of null is NaN.
func (v *view) last(id string, kind noteKind) (value float64, ok bool) {
	if v == nil {
		return 0, false
	}
	v.c.mu.RLock()
	defer v.c.mu.RUnlock()
	best := int64(-1)
	for _, n := range v.c.notes[target{"trajectory", id}] {
		if n.kind == kind && n.seq < v.limit && n.seq > best {
			best, value = n.seq, n.value
			if n.null {
				value = math.NaN()
			}
		}
	}
	return value, best >= 0
}

// quarantined reports whether a quarantine of any of the targets stands: for some
// name and scorer the newest of quarantine and restore is a quarantine.
func (v *view) quarantined(targets ...target) bool {
	if v == nil {
		return false
	}
	v.c.mu.RLock()
	defer v.c.mu.RUnlock()
	for _, t := range targets {
		notes := v.c.notes[t]
		if len(notes) == 0 {
			continue
		}
		newest := map[string]noted{}
		for _, n := range notes {
			if (n.kind == noteQuarantine || n.kind == noteRestore) && n.seq < v.limit {
				if have, ok := newest[n.key]; !ok || n.seq > have.seq {
					newest[n.key] = n
				}
			}
		}
		for _, n := range newest {
			if n.kind == noteQuarantine {
				return true
			}
		}
	}
	return false
}

// goneIDs are the ids of deleted trajectories, as far as this process has read
// the annotations; nil when nothing was deleted.
func (l *Lake) goneIDs(ctx context.Context) (map[string]bool, error) {
	st := l.logs[schema.Annotations.Name].Head()
	if st.NextSeq == 0 {
		return nil, nil
	}
	if err := l.foldTo(ctx, st, st.NextSeq); err != nil {
		return nil, err
	}
	l.folds.mu.RLock()
	defer l.folds.mu.RUnlock()
	if len(l.folds.goneIDs) == 0 {
		return nil, nil
	}
	out := make(map[string]bool, len(l.folds.goneIDs))
	for id := range l.folds.goneIDs {
		out[id] = true
	}
	return out, nil
}
