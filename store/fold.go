package store

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/delta"
)

// noteKind is a kind of annotation that decides how rows are seen. The first
// three are the columns of the table of rows.
type noteKind uint8

const (
	noteReward noteKind = iota
	notePriority
	noteAdvantage
	noteQuarantine
	noteRestore
	noteGone
	noteKindCount
)

var noteKinds = map[string]noteKind{
	"reward": noteReward, "priority": notePriority, "advantage": noteAdvantage,
	"quarantine": noteQuarantine, "restore": noteRestore, "gone": noteGone,
}

// foldState is all annotations below one place, folded. It never changes.
type foldState struct {
	upTo        int64
	rows        foldTable // trajectory → reward, priority, advantage
	quarantined foldTable // target → how many quarantines of it stand
	stands      foldTable // target, name and scorer → 1 while a quarantine stands
	gone        foldTable // ids of deleted trajectories
	goneAt      []goneNote
	has         [noteKindCount]bool
}

// foldCache keeps folded states: those that were used last, from which others are
// made. What it loses is read again.
type foldCache struct {
	seedOnce sync.Once
	seed     *foldSeeds
	load     sync.Mutex // held by the one who reads annotations

	mu      sync.Mutex
	states  map[string][]*foldState // by scorer, "" = of all; the last used one last
	scorers []string                // the last used one last
}

const (
	keptStates  = 3 // of one scorer
	keptScorers = 8
)

func (c *foldCache) seeds() *foldSeeds {
	c.seedOnce.Do(func() { c.seed = newFoldSeeds() })
	return c.seed
}

// view is the fold as one snapshot sees it; nil when nothing is annotated.
type view struct {
	seeds  *foldSeeds
	all    *foldState
	reward *foldState // all, or the rewards of one scorer
}

// fold is the snapshot's view, made at the first call and kept.
func (s *Snapshot) fold(ctx context.Context) (*view, error) {
	if v := s.folded.Load(); v != nil {
		return v, nil
	}
	limit := s.vector[schema.Annotations.Name].NextSeq
	if limit == 0 {
		return nil, nil
	}
	st := s.states[schema.Annotations.Name]
	all, err := s.lake.foldTo(ctx, st, limit, "")
	if err != nil {
		return nil, err
	}
	v := &view{s.lake.folds.seeds(), all, all}
	if s.scorer != "" {
		if v.reward, err = s.lake.foldTo(ctx, st, limit, s.scorer); err != nil {
			return nil, err
		}
	}
	s.folded.Store(v)
	return v, nil
}

// ForScorer is the snapshot with reward folded from the annotations of one scorer
// only; rows that it has not scored keep their own. "" is s itself. The token is
// that of s: a scorer is part of a question, not of what is asked.
func (s *Snapshot) ForScorer(scorer string) *Snapshot {
	if scorer == s.scorer {
		return s
	}
	return &Snapshot{lake: s.lake, vector: s.vector, states: s.states, scorer: scorer}
}

// Scorer is the one whose rewards the snapshot folds (see ForScorer); "" when it
// folds everybody's.
func (s *Snapshot) Scorer() string { return s.scorer }

// foldTo is the state of the annotations below limit: for a scorer only the
// rewards that it gave.
func (l *Lake) foldTo(ctx context.Context, st *delta.State, limit int64, scorer string) (*foldState, error) {
	c := &l.folds
	if s := c.nearest(scorer, limit); s.upTo == limit {
		return s, nil
	}
	c.load.Lock()
	defer c.load.Unlock()
	base := c.nearest(scorer, limit) // somebody may have come nearer
	if base.upTo == limit {
		return base, nil
	}
	f := &folding{seeds: c.seeds(), state: base, scorer: scorer}
	for p := range tail(schema.Annotations, st, base.upTo) {
		p.limit = limit
		if err := f.part(ctx, l, p, base.upTo); err != nil {
			return nil, fault.Wrap("fold annotations of "+p.file.Path, err)
		}
	}
	f.flush()
	out := f.state
	if out == base {
		out = new(*base)
	}
	out.upTo = limit
	c.keep(scorer, out)
	return out, nil
}

// nearest is the kept state with the most annotations below limit.
func (c *foldCache) nearest(scorer string, limit int64) *foldState {
	c.mu.Lock()
	defer c.mu.Unlock()
	best, at := &foldState{}, -1
	for i, s := range c.states[scorer] {
		if s.upTo <= limit && s.upTo > best.upTo {
			best, at = s, i
		}
	}
	if at >= 0 && best.upTo == limit {
		c.states[scorer] = append(slices.Delete(c.states[scorer], at, at+1), best)
	}
	return best
}

func (c *foldCache) keep(scorer string, s *foldState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.states == nil {
		c.states = map[string][]*foldState{}
	}
	kept := append(c.states[scorer], s)
	if len(kept) > keptStates {
		kept = slices.Delete(kept, 0, len(kept)-keptStates)
	}
	c.states[scorer] = kept
	if scorer == "" {
		return
	}
	c.scorers = append(slices.DeleteFunc(c.scorers, func(have string) bool { return have == scorer }), scorer)
	if len(c.scorers) > keptScorers {
		delete(c.states, c.scorers[0])
		c.scorers = slices.Delete(c.scorers, 0, 1)
	}
}

// folding reads annotations into a state.
type folding struct {
	seeds  *foldSeeds
	state  *foldState // so far, without what is pending
	scorer string     // of rewards only, if not ""

	rows     []foldUpdate
	verdicts map[foldKey]verdict // by target, name and scorer
	gone     []foldUpdate
	goneAt   []goneNote
	has      [noteKindCount]bool
	text     []byte
}

// verdict is the newest of quarantine and restore.
type verdict struct {
	target foldKey
	stands bool
}

// foldPending is from how many annotations on they are put into the table, or
// half of what it holds if that is more: so that a large table is not copied often.
const foldPending = 1 << 18

// part folds the annotations of one data file.
func (f *folding) part(ctx context.Context, l *Lake, p part, from int64) error {
	return l.eachNote(ctx, p, from, func(n *note) error {
		if f.scorer != "" && (n.kind != noteReward || n.scorer != f.scorer) {
			return nil
		}
		f.add(n)
		if len(f.rows)+len(f.verdicts) >= foldPending && int64(len(f.rows)+len(f.verdicts)) >= f.state.rows.keys/2 {
			f.flush()
		}
		return nil
	}, func(seqs []int64) error {
		if f.scorer != "" {
			return nil
		}
		notes, err := l.goneNotes(ctx, p, seqs)
		f.goneAt = append(f.goneAt, notes...)
		return err
	})
}

// add notes one annotation. n's texts are not kept.
func (f *folding) add(n *note) {
	switch n.kind {
	case noteReward, notePriority, noteAdvantage:
		if n.on != onTrajectory {
			return
		}
		k := f.seeds.of(onTrajectory, n.id)
		f.rows = append(f.rows, foldUpdate{key: k.key, dir: k.dir, col: uint8(n.kind), bits: foldBits(n.value, n.null)})
	case noteQuarantine, noteRestore:
		f.text = append(binary.AppendUvarint(append(f.text[:0], byte(n.on)), uint64(len(n.id))), n.id...)
		f.text = append(append(binary.AppendUvarint(f.text, uint64(len(n.name))), n.name...), n.scorer...)
		if f.verdicts == nil {
			f.verdicts = map[foldKey]verdict{}
		}
		f.verdicts[f.seeds.bytes(f.text)] = verdict{f.seeds.of(n.on, n.id), n.kind == noteQuarantine}
	case noteGone:
		if n.on != onTrajectory {
			return
		}
		k := f.seeds.of(onTrajectory, n.id)
		f.gone = append(f.gone, foldUpdate{key: k.key, dir: k.dir, bits: 1})
	}
	f.has[n.kind] = true
}

// flush puts what is pending into a new state.
func (f *folding) flush() {
	if len(f.rows)+len(f.verdicts)+len(f.gone)+len(f.goneAt) == 0 {
		return
	}
	old := f.state
	s := &foldState{has: old.has, goneAt: old.goneAt}
	for k, has := range f.has {
		s.has[k] = s.has[k] || has
	}
	s.rows = old.rows.advance(f.rows)
	s.gone = old.gone.advance(f.gone)
	s.stands, s.quarantined = f.judge()
	if len(f.goneAt) > 0 {
		s.goneAt = append(slices.Clip(s.goneAt), f.goneAt...)
		sortGone(s.goneAt)
	}
	f.state, f.rows, f.gone, f.goneAt = s, f.rows[:0], f.gone[:0], nil
	clear(f.verdicts)
}

// judge counts, for each target with news, the quarantines that stand.
func (f *folding) judge() (stands, quarantined foldTable) {
	var marks, counts []foldUpdate
	change := map[foldKey]int{}
	for k, v := range f.verdicts {
		was := f.state.stands.get(k, 0)
		stood := was != foldAbsent && was != 0
		if stood == v.stands {
			continue
		}
		u := foldUpdate{key: k.key, dir: k.dir}
		if v.stands {
			u.bits = 1
			change[v.target]++
		} else {
			change[v.target]--
		}
		marks = append(marks, u)
	}
	for k, by := range change {
		n := 0
		if was := f.state.quarantined.get(k, 0); was != foldAbsent {
			n = int(was)
		}
		counts = append(counts, foldUpdate{key: k.key, dir: k.dir, bits: uint64(n + by)})
	}
	return f.state.stands.advance(marks), f.state.quarantined.advance(counts)
}

// note is one annotation as the fold needs it.
type note struct {
	seq              int64
	kind             noteKind
	on               targetKind
	id, name, scorer string // valid during the call only
	value            float64
	null             bool
}

// eachNote calls fn for the annotations of a file, from a place on, that decide
// how rows are seen, in the order of places; then gone with the places of those
// that delete, if there are any.
func (l *Lake) eachNote(ctx context.Context, p part, from int64, fn func(*note) error, gone func(seqs []int64) error) error {
	cols := []string{"kind", "target_kind", "target_id", "name", "scorer", "value"}
	var deleted []int64
	for pl, err := range l.readPart(ctx, p, cols, from) {
		if err != nil {
			return err
		}
		var text [5]*array.String
		for i := range text {
			if text[i], err = stringsOf(pl.rec.Column(i), p, cols[i]); err != nil {
				return err
			}
		}
		values, ok := pl.rec.Column(5).(*array.Float64)
		if !ok {
			return fault.New(fault.Corrupt, "read "+p.String(), "column value is of type %s", pl.rec.Column(5).DataType())
		}
		var n note
		for i, seq := range pl.seqs {
			kind, ok := noteKinds[text[0].Value(i)]
			on, known := targetNames[text[1].Value(i)]
			if !ok || !known || text[2].IsNull(i) {
				continue
			}
			n = note{seq: seq, kind: kind, on: on, id: text[2].Value(i), name: text[3].Value(i), scorer: text[4].Value(i), null: values.IsNull(i), value: values.Value(i)}
			if err := fn(&n); err != nil {
				return err
			}
			if kind == noteGone {
				deleted = append(deleted, seq)
			}
		}
	}
	if len(deleted) == 0 || gone == nil {
		return nil
	}
	return gone(deleted)
}

// stringsOf is a column that must hold texts; a null reads as "".
func stringsOf(a arrow.Array, p part, name string) (*array.String, error) {
	s, ok := a.(*array.String)
	if !ok {
		return nil, fault.New(fault.Corrupt, "read "+p.String(), "column %s is of type %s", name, a.DataType())
	}
	return s, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
