package store

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
	"trajlake/schema/fault"
)

// TouchedRow is a row that annotations were about, and its folded columns.
type TouchedRow struct {
	Seq      int64
	Scored   bool    // a reward annotation stands; else the row's own reward counts
	Reward   float64 // NaN = null, these three
	Priority float64
	// Advantage is of any name.
	Advantage float64
	// Family is set when quarantined may have changed, or the row was deleted.
	Family bool
}

// Touched lists the places of trajectories, in both snapshots, whose folded
// columns (reward, priority, advantage, quarantined) the annotations that s has
// and since has not may have changed, or that these deleted. Annotations of a
// group, an episode, a task or an environment touch all its rows. The list is
// ascending, each place once, and may name rows whose values are what they were.
// It is empty when since is not older than s.
func (s *Snapshot) Touched(ctx context.Context, since *Snapshot) ([]int64, error) {
	rows, err := s.TouchedRows(ctx, since)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	out := make([]int64, len(rows))
	for i := range rows {
		out[i] = rows[i].Seq
	}
	return out, nil
}

// TouchedRows is Touched with the rows' folded numbers as s has them, so that
// nothing but quarantined need be read.
func (s *Snapshot) TouchedRows(ctx context.Context, since *Snapshot) ([]TouchedRow, error) {
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
	t := &touching{s: s, v: v, limit: rows, ids: map[string]unplaced{}}
	for p := range tail(schema.Annotations, s.states[schema.Annotations.Name], from) {
		p.limit = limit
		if err := s.lake.eachNote(ctx, p, from, t.note, nil); err != nil {
			return nil, fault.Wrap(op, err)
		}
	}
	for _, g := range v.all.goneAt {
		if g.note >= from && g.place < rows {
			t.rows = append(t.rows, TouchedRow{Seq: g.place, Reward: math.NaN(), Priority: math.NaN(), Advantage: math.NaN(), Family: true})
		}
	}
	if err := t.resolve(ctx); err != nil {
		return nil, fault.Wrap(op, err)
	}
	if err := t.members(ctx); err != nil {
		return nil, fault.Wrap(op, err)
	}
	return t.once(), nil
}

// touching collects the rows that annotations are about.
type touching struct {
	s        *Snapshot
	v        *view
	limit    int64 // places from here on are not asked for
	rows     []TouchedRow
	ids      map[string]unplaced // of trajectories whose place is not known yet
	families [targetKinds]map[string]bool
}

// unplaced is a trajectory whose place is not known yet.
type unplaced struct {
	key    foldKey
	family bool
}

func (t *touching) note(n *note) error {
	if n.kind == noteGone {
		return nil
	}
	verdict := n.kind == noteQuarantine || n.kind == noteRestore
	if n.on != onTrajectory {
		if verdict {
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
			t.row(k, seq, verdict)
			return nil
		}
	}
	if have, ok := t.ids[n.id]; !ok || verdict && !have.family {
		t.ids[string([]byte(n.id))] = unplaced{k, verdict}
	}
	return nil
}

// row adds the trajectory with the key, at its place.
func (t *touching) row(k foldKey, seq int64, family bool) {
	if seq >= t.limit {
		return
	}
	r := TouchedRow{Seq: seq, Family: family, Reward: math.NaN(), Priority: math.NaN(), Advantage: math.NaN()}
	number := func(bits uint64, to *float64) bool {
		if bits != foldAbsent && bits != foldNull {
			*to = math.Float64frombits(bits)
		}
		return bits != foldAbsent
	}
	if b, i := t.v.all.rows.find(k); i >= 0 {
		number(b.at(int(notePriority), i), &r.Priority)
		number(b.at(int(noteAdvantage), i), &r.Advantage)
	}
	r.Scored = number(t.v.reward.rows.get(k, int(noteReward)), &r.Reward)
	t.rows = append(t.rows, r)
}

// once sorts the rows and joins those that stand twice.
func (t *touching) once() []TouchedRow {
	slices.SortFunc(t.rows, func(a, b TouchedRow) int { return cmp.Compare(a.Seq, b.Seq) })
	out := t.rows[:0]
	for _, r := range t.rows {
		if n := len(out); n > 0 && out[n-1].Seq == r.Seq {
			r.Family = r.Family || out[n-1].Family
			out[n-1] = r
			continue
		}
		out = append(out, r)
	}
	return out
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
func (t *touching) found(u unplaced, seq int64) {
	if b, i := t.v.all.rows.find(u.key); i >= 0 {
		b.setPlace(i, seq)
	}
	t.row(u.key, seq, u.family)
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
			if u, ok := t.ids[ids.Value(i)]; ok {
				t.found(u, seq)
			}
		}
	}
	return nil
}

// members finds the rows of the families.
func (t *touching) members(ctx context.Context) error {
	columns := []string{"trajectory_id", "row_seq"}
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
		ids, seqs, err := idColumns(rec)
		if err != nil {
			return err
		}
		for f, names := range wanted {
			values, ok := rec.Column(f + 2).(*array.String)
			if !ok {
				return fault.New(fault.Internal, "scan", "%s is of type %s", columns[f+2], rec.Column(f+2).DataType())
			}
			for i, seq := range seqs {
				if values.IsValid(i) && names[values.Value(i)] {
					t.row(t.v.seeds.of(onTrajectory, ids.Value(i)), seq, true)
				}
			}
		}
	}
	return nil
}
