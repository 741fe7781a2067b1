package store

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/datafile"
)

// GoneRow is what is left of a deleted trajectory: its annotation of kind gone.
type GoneRow struct {
	Seq     int64  // the place that it had
	ID      string // trajectory_id
	Reason  string
	Scalars string // JSON object of its top-level scalars, as the annotation holds them
}

// goneNote says where the annotation of a deleted row is.
type goneNote struct {
	place int64 // of the trajectory
	note  int64 // of the annotation
}

func sortGone(notes []goneNote) {
	slices.SortFunc(notes, func(a, b goneNote) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.note, b.note))
	})
}

// Gone tells which of the places belong to deleted trajectories, and what is left
// of them. The annotations are read from the lake's head, whatever the snapshot:
// a deletion is for every snapshot.
func (s *Snapshot) Gone(ctx context.Context, seqs []int64) (map[int64]GoneRow, error) {
	const op = "look for deleted rows"
	l := s.lake
	st, err := l.logs[schema.Annotations.Name].Refresh(ctx)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	if st.NextSeq == 0 || len(seqs) == 0 {
		return nil, nil
	}
	state, err := l.foldTo(ctx, st, st.NextSeq, "")
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	var wanted []goneNote
	for _, seq := range seqs {
		i, ok := slices.BinarySearchFunc(state.goneAt, seq, func(n goneNote, seq int64) int { return cmp.Compare(n.place, seq) })
		if ok {
			wanted = append(wanted, state.goneAt[i])
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	slices.SortFunc(wanted, func(a, b goneNote) int { return cmp.Compare(a.note, b.note) })
	wanted = slices.Compact(wanted)
	out := make(map[int64]GoneRow, len(wanted))
	for p := range tail(schema.Annotations, st, wanted[0].note) {
		last, ok := lastSeq(p.file)
		n, _ := slices.BinarySearchFunc(wanted, last, func(w goneNote, last int64) int {
			if w.note <= last || !ok {
				return -1
			}
			return 1
		})
		if n == 0 {
			continue
		}
		notes := make([]int64, n)
		for i := range notes {
			notes[i] = wanted[i].note
		}
		err := l.eachGone(ctx, p, notes, func(_ int64, row GoneRow) { out[row.Seq] = row })
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		if wanted = wanted[n:]; len(wanted) == 0 {
			break
		}
	}
	return out, nil
}

// goneNotes reads where the rows were that annotations of a file, given by their
// places, delete. Annotations that do not say are left out.
func (l *Lake) goneNotes(ctx context.Context, p part, notes []int64) (out []goneNote, err error) {
	err = l.eachGone(ctx, p, notes, func(note int64, row GoneRow) { out = append(out, goneNote{row.Seq, note}) })
	return out, err
}

// eachGone reads annotations of kind gone by their places, ascending, in one file.
// Places that the file does not hold are passed over.
func (l *Lake) eachGone(ctx context.Context, p part, notes []int64, fn func(note int64, row GoneRow)) error {
	rows, err := l.rowsOf(ctx, p, notes[0])
	if err != nil {
		return err
	}
	if dense(p.file) {
		rows = rows[:0]
		for _, n := range notes {
			if r := n - p.file.FirstSeq; r >= 0 && r < p.file.Rows {
				rows = append(rows, datafile.Range{From: r, To: r + 1})
			}
		}
	}
	cols := []string{"target_id", "reason", "value_json"}
	for pl, err := range l.readRows(ctx, p, cols, rows) {
		if err != nil {
			return err
		}
		var text [3]*array.String
		for i := range text {
			if text[i], err = stringsOf(pl.rec.Column(i), p, cols[i]); err != nil {
				return err
			}
		}
		for i, seq := range pl.seqs {
			if _, ok := slices.BinarySearch(notes, seq); !ok || text[2].IsNull(i) {
				continue
			}
			var at struct {
				Seq *int64 `json:"row_seq"`
			}
			if json.Unmarshal([]byte(text[2].Value(i)), &at) != nil || at.Seq == nil {
				continue // an annotation of somebody's that deletes nothing that had a place
			}
			fn(seq, GoneRow{Seq: *at.Seq, ID: cloned(text[0], i), Reason: cloned(text[1], i), Scalars: cloned(text[2], i)})
		}
	}
	return nil
}

// cloned is a text that outlives its record.
func cloned(a *array.String, i int) string { return string([]byte(a.Value(i))) }

// goneSet is the ids of deleted trajectories; nil when there are none.
type goneSet struct {
	seeds *foldSeeds
	table *foldTable
}

// has reports whether a trajectory was deleted.
func (g *goneSet) has(id string) bool {
	return g != nil && g.table.get(g.seeds.of(onTrajectory, id), 0) != foldAbsent
}

// goneIDs are the ids of deleted trajectories, as far as this process knows the
// log of annotations.
func (l *Lake) goneIDs(ctx context.Context) (*goneSet, error) {
	st := l.logs[schema.Annotations.Name].Head()
	if st.NextSeq == 0 {
		return nil, nil
	}
	s, err := l.foldTo(ctx, st, st.NextSeq, "")
	if err != nil || s.gone.keys == 0 {
		return nil, err
	}
	return &goneSet{l.folds.seeds(), &s.gone}, nil
}
