package store

import (
	"context"
	"slices"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
	"trajlake/schema/fault"
)

// Touched lists the places of trajectories, in both snapshots, whose folded
// columns (reward, priority, advantage, quarantined) the annotations that s has
// and since has not may have changed. Annotations of a group, an episode, a task
// or an environment touch all its rows. The list is ascending, each place once,
// and may name rows whose values are what they were. It is empty when since is
// not older than s.
func (s *Snapshot) Touched(ctx context.Context, since *Snapshot) ([]int64, error) {
	const op = "list annotated rows"
	if since.lake != s.lake {
		return nil, fault.New(fault.Usage, op, "the snapshots belong to two lakes")
	}
	from, limit := since.Count(schema.Annotations), s.Count(schema.Annotations)
	rows := min(s.Count(schema.Trajectories), since.Count(schema.Trajectories))
	if from >= limit || rows == 0 {
		return nil, nil
	}
	v, err := s.fold(ctx)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	t := &touching{s: s, v: v, limit: rows, ids: map[string]foldKey{}}
	for p := range tail(schema.Annotations, s.states[schema.Annotations.Name], from) {
		p.limit = limit
		if err := s.lake.eachNote(ctx, p, from, t.note, nil); err != nil {
			return nil, fault.Wrap(op, err)
		}
	}
	if err := t.resolve(ctx); err != nil {
		return nil, fault.Wrap(op, err)
	}
	if err := t.members(ctx); err != nil {
		return nil, fault.Wrap(op, err)
	}
	slices.Sort(t.places)
	return slices.Compact(t.places), nil
}

// touching collects the rows that annotations are about.
type touching struct {
	s        *Snapshot
	v        *view
	limit    int64 // places from here on are not asked for
	places   []int64
	ids      map[string]foldKey // of trajectories whose place is not known yet
	families [targetKinds]map[string]bool
}

func (t *touching) note(n *note) error {
	if n.kind == noteGone {
		return nil
	}
	if n.on != onTrajectory {
		if n.kind == noteQuarantine || n.kind == noteRestore {
			if t.families[n.on] == nil {
				t.families[n.on] = map[string]bool{}
			}
			if !t.families[n.on][n.id] {
				t.families[n.on][string([]byte(n.id))] = true
			}
		}
		return nil
	}
	k := t.v.seeds.of(onTrajectory, n.id)
	if b, i := t.v.all.rows.find(k); i >= 0 {
		if seq, ok := b.place(i); ok {
			t.place(seq)
			return nil
		}
	}
	if _, ok := t.ids[n.id]; !ok {
		t.ids[string([]byte(n.id))] = k
	}
	return nil
}

func (t *touching) place(seq int64) {
	if seq < t.limit {
		t.places = append(t.places, seq)
	}
}

// lookupShare: from one wanted id in so many rows on, reading the ids of all rows
// is quicker than looking each up.
const lookupShare = 32

// resolve finds the places of the trajectories and remembers them.
func (t *touching) resolve(ctx context.Context) error {
	if len(t.ids) == 0 {
		return nil
	}
	if int64(len(t.ids)) > lookupList && int64(len(t.ids)) > t.s.Count(schema.Trajectories)/lookupShare {
		return t.scanIDs(ctx)
	}
	ids := make([]string, 0, len(t.ids))
	for id := range t.ids {
		ids = append(ids, id)
	}
	seqs, err := t.s.Lookup(ctx, ids)
	if err != nil {
		return err
	}
	for i, seq := range seqs {
		if seq >= 0 {
			t.found(t.ids[ids[i]], seq)
		}
	}
	return nil
}

// found notes the place of a trajectory, here and in the table.
func (t *touching) found(k foldKey, seq int64) {
	if b, i := t.v.all.rows.find(k); i >= 0 {
		b.setPlace(i, seq)
	}
	t.place(seq)
}

func (t *touching) scanIDs(ctx context.Context) error {
	for rec, err := range t.s.Scan(ctx, ScanOptions{Columns: []string{"trajectory_id", "row_seq"}}) {
		if err != nil {
			return err
		}
		ids, seqs, err := idColumns(rec)
		if err != nil {
			return err
		}
		for i, seq := range seqs {
			if k, ok := t.ids[ids.Value(i)]; ok {
				t.found(k, seq)
			}
		}
	}
	return nil
}

// members finds the rows of the families.
func (t *touching) members(ctx context.Context) error {
	columns := []string{"row_seq"}
	var wanted []map[string]bool
	for _, f := range families {
		if ids := t.families[f.kind]; ids != nil {
			columns, wanted = append(columns, f.column), append(wanted, ids)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	for rec, err := range t.s.Scan(ctx, ScanOptions{Columns: columns, To: t.limit}) {
		if err != nil {
			return err
		}
		seqs, ok := rec.Column(0).(*array.Int64)
		if !ok {
			return fault.New(fault.Internal, "scan", "row_seq is of type %s", rec.Column(0).DataType())
		}
		for f, ids := range wanted {
			values, ok := rec.Column(f + 1).(*array.String)
			if !ok {
				return fault.New(fault.Internal, "scan", "%s is of type %s", columns[f+1], rec.Column(f+1).DataType())
			}
			for i := range values.Len() {
				if values.IsValid(i) && ids[values.Value(i)] {
					t.place(seqs.Value(i))
				}
			}
		}
	}
	return nil
}
