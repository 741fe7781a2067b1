package store_test

import (
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// folded is how row i is seen with the first n annotations.
func (w *world) folded(i, n int) (reward, priority *float64, quarantined bool) {
	row := w.rows[i].row
	reward = row.Reward
	stands := map[string]bool{}
	for _, a := range w.notes[:n] {
		own := *a.TargetKind == "trajectory" && *a.TargetID == row.TrajectoryID
		group := *a.TargetKind == "group" && row.GroupID != nil && *a.TargetID == *row.GroupID
		switch {
		case *a.Kind == "reward" && own:
			reward = a.Value
		case *a.Kind == "priority" && own:
			priority = a.Value
		case (*a.Kind == "quarantine" || *a.Kind == "restore") && (own || group):
			stands[*a.TargetKind+*a.Scorer] = *a.Kind == "quarantine"
		}
	}
	for _, q := range stands {
		quarantined = quarantined || q
	}
	return reward, priority, quarantined
}

// check compares the head with the model.
func (w *world) check(l *store.Lake) {
	s, err := l.Head(ctx)
	if err != nil {
		w.t.Errorf("head: %v", err)
		return
	}
	w.compare(s, len(w.rows), len(w.notes))
}

// checkSnap opens an old snapshot by its token and by its number.
func (w *world) checkSnap(l *store.Lake, want modelSnap) {
	s, err := l.At(ctx, want.token)
	if err != nil {
		w.t.Errorf("open %+v: %v", want, err)
		return
	}
	w.compare(s, want.rows, want.notes)
	s, err = l.At(ctx, fmt.Sprint(want.version))
	if err != nil {
		w.t.Errorf("open version %d: %v", want.version, err)
		return
	}
	// A number means what the writer of that version knew of the annotations.
	_, notes := s.Position(schema.Annotations)
	if int(notes) > want.notes {
		w.t.Errorf("version %d knows %d annotations of %d", want.version, notes, want.notes)
		return
	}
	w.compare(s, want.rows, int(notes))
}

// question is a predicate in both languages.
type question struct {
	text string
	is   func(i int, reward, priority *float64, quarantined bool) bool
}

func (w *world) question() question {
	k := w.r.IntN(len(w.rows) + 1)
	v := float64(w.r.IntN(9)) / 4
	task := []string{"math", "code", "web"}[w.r.IntN(3)]
	return []question{
		{"", func(int, *float64, *float64, bool) bool { return true }},
		{fmt.Sprintf("row_seq >= %d", k), func(i int, _, _ *float64, _ bool) bool { return i >= k }},
		{fmt.Sprintf("reward >= %v", v), func(_ int, r, _ *float64, _ bool) bool { return r != nil && *r >= v }},
		{"reward is null and not quarantined", func(_ int, r, _ *float64, q bool) bool { return r == nil && !q }},
		{fmt.Sprintf("reward_raw < %v", v), func(i int, _, _ *float64, _ bool) bool { r := w.rows[i].row.Reward; return r != nil && *r < v }},
		{fmt.Sprintf("priority > %v or task_set = '%s'", v, task), func(i int, _, p *float64, _ bool) bool {
			return p != nil && *p > v || *w.rows[i].row.TaskSet == task
		}},
		{"quarantined", func(_ int, _, _ *float64, q bool) bool { return q }},
		{fmt.Sprintf("trajectory_id < 't%03d' and len(token_ids) > 9", k), func(i int, _, _ *float64, _ bool) bool {
			return w.rows[i].row.TrajectoryID < fmt.Sprintf("t%03d", k) && len(w.rows[i].row.TokenIDs) > 9
		}},
	}[w.r.IntN(8)]
}

var modelColumns = []string{"row_seq", "trajectory_id", "row_version", "reward", "reward_raw", "priority", "quarantined", "task_set", "token_ids"}

func (w *world) compare(s *store.Snapshot, rows, notes int) {
	q := w.question()
	var pred *where.Expr
	if q.text != "" {
		var err error
		if pred, err = where.Parse(q.text); err != nil {
			w.t.Fatal(err)
		}
	}
	var want []string
	for i := range rows {
		if reward, priority, quarantined := w.folded(i, notes); q.is(i, reward, priority, quarantined) {
			want = append(want, w.line(i, notes))
		}
	}
	var got []string
	for rec, err := range s.Scan(ctx, store.ScanOptions{Columns: modelColumns, Where: pred, MaxBytes: int64(1 + w.r.IntN(4000))}) {
		if err != nil {
			w.t.Errorf("scan %q: %v", q.text, err)
			return
		}
		for i := range int(rec.NumRows()) {
			got = append(got, lineOf(rec, i))
		}
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("%s with %q: %d rows, want %d\n%.2000q\n%.2000q", s, q.text, len(got), len(want), got, want)
	}
	if rows > 0 {
		w.points(s, rows, notes)
	}
}

// points compares single rows: by place, by id, whole.
func (w *world) points(s *store.Snapshot, rows, notes int) {
	seqs := make([]int64, 1+w.r.IntN(10))
	names := make([]string, len(seqs))
	for i := range seqs {
		seqs[i] = int64(w.r.IntN(rows))
		names[i] = w.rows[w.r.IntN(len(w.rows))].row.TrajectoryID
	}
	rec, err := s.Gather(ctx, seqs, modelColumns)
	if err != nil {
		w.t.Errorf("gather %v: %v", seqs, err)
		return
	}
	for i, seq := range seqs {
		if got, want := lineOf(rec, i), w.line(int(seq), notes); got != want {
			w.t.Errorf("gather place %d of %s: %s, want %s", seq, s, got, want)
		}
	}
	if _, err := s.Gather(ctx, []int64{int64(rows)}, modelColumns); !fault.Is(err, fault.NotFound) {
		w.t.Errorf("the place behind the last of %s: %v", s, err)
	}
	names = append(names, "nobody")
	found, err := s.Lookup(ctx, names)
	if err != nil {
		w.t.Errorf("look up: %v", err)
		return
	}
	for i, name := range names {
		want, ok := w.byID[name]
		if !ok || want >= rows {
			want = -1
		}
		if found[i] != int64(want) {
			w.t.Errorf("look up %s in %s: %d, want %d", name, s, found[i], want)
		}
	}
	id := w.rows[w.r.IntN(rows)].row.TrajectoryID
	row, err := s.Get(ctx, []string{id})
	if err != nil || row[0] == nil {
		w.t.Errorf("get %s of %s: %v", id, s, err)
		return
	}
	if want := w.rows[w.byID[id]]; string(schema.ContentHash(row[0])) != string(want.row.ContentHash) || *row[0].RowVersion != want.version {
		w.t.Errorf("get %s of %s: other content, or version %d, want %d", id, s, *row[0].RowVersion, want.version)
	}
}

// line is row i as modelColumns show it with the first n annotations.
func (w *world) line(i, n int) string {
	m := w.rows[i]
	reward, priority, quarantined := w.folded(i, n)
	return fmt.Sprint(i, m.row.TrajectoryID, " v", m.version, opt(reward), opt(m.row.Reward), opt(priority), quarantined, *m.row.TaskSet, m.row.TokenIDs)
}

func opt(f *float64) string {
	if f == nil {
		return " null "
	}
	return fmt.Sprintf(" %v ", *f)
}

func lineOf(rec arrow.Record, i int) string {
	num := func(c int) *float64 {
		a := rec.Column(c).(*array.Float64)
		if a.IsNull(i) {
			return nil
		}
		return new(a.Value(i))
	}
	list := rec.Column(8).(*array.List)
	from, to := list.ValueOffsets(i)
	tokens := list.ListValues().(*array.Int32).Int32Values()[from:to]
	return fmt.Sprint(rec.Column(0).(*array.Int64).Value(i), rec.Column(1).(*array.String).Value(i), " v", rec.Column(2).(*array.Int64).Value(i),
		opt(num(3)), opt(num(4)), opt(num(5)), rec.Column(6).(*array.Boolean).Value(i), rec.Column(7).(*array.String).Value(i), tokens)
}
