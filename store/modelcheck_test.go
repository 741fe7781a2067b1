package store_test

import (
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// seen is how a row is seen through its annotations.
type seen struct {
	reward, scored      *float64 // by anybody, by s1
	priority, advantage *float64
	quarantined         bool
}

// folded is how row i is seen with the first n annotations.
func (w *world) folded(i, n int) seen {
	row := w.rows[i].row
	f := seen{reward: row.Reward, scored: row.Reward}
	stands := map[string]bool{}
	for _, a := range w.notes[:n] {
		own, family := w.about(a, i)
		switch {
		case *a.Kind == "reward" && own:
			f.reward = a.Value
			if *a.Scorer == "s1" {
				f.scored = a.Value
			}
		case *a.Kind == "priority" && own:
			f.priority = a.Value
		case *a.Kind == "advantage" && own:
			f.advantage = a.Value
		case (*a.Kind == "quarantine" || *a.Kind == "restore") && (own || family):
			stands[*a.TargetKind+*a.Scorer+"/"+*a.TargetID] = *a.Kind == "quarantine"
		}
	}
	for _, q := range stands {
		f.quarantined = f.quarantined || q
	}
	return f
}

// about tells whether an annotation's target is row i, or a family of its.
func (w *world) about(a *schema.Annotation, i int) (own, family bool) {
	row := w.rows[i].row
	is := func(id *string) bool { return id != nil && *a.TargetID == *id }
	return *a.TargetKind == "trajectory" && is(&row.TrajectoryID),
		*a.TargetKind == "group" && is(row.GroupID) || *a.TargetKind == "task" && is(row.TaskID)
}

// touched compares what changed between two snapshots of a lake with the model.
func (w *world) touched(s *store.Snapshot, since modelSnap) {
	old, err := w.some().At(ctx, since.token)
	if err == nil && old.Lake() != s.Lake() {
		if old, err = s.Lake().At(ctx, since.token); err != nil {
			w.t.Errorf("open %+v: %v", since, err)
			return
		}
	}
	s = s.ForScorer([]string{"", "s1"}[w.r.IntN(2)])
	rows, err := s.TouchedRows(ctx, old)
	if err != nil {
		w.t.Errorf("touched: %v", err)
		return
	}
	got := make([]int64, 0, len(rows))
	for _, r := range rows {
		got = append(got, r.Seq)
		w.touchedRow(s, old, r)
	}
	want := []int64{}
	for i := range min(since.rows, int(s.Count(schema.Trajectories))) {
		for _, a := range w.notes[min(since.notes, int(s.Count(schema.Annotations))):s.Count(schema.Annotations)] {
			own, family := w.about(a, i)
			if *a.Kind != "label" && own || family && (*a.Kind == "quarantine" || *a.Kind == "restore") {
				want = append(want, int64(i))
				break
			}
		}
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("touched from %+v to %s: %v, want %v", since, s, got, want)
	}
}

// touchedRow compares the folded numbers of a touched row.
func (w *world) touchedRow(s, since *store.Snapshot, r store.TouchedRow) {
	notes, before := int(s.Count(schema.Annotations)), int(since.Count(schema.Annotations))
	f, old := w.folded(int(r.Seq), notes), w.folded(int(r.Seq), before)
	reward := f.reward
	if s.Scorer() == "s1" {
		reward = f.scored
	}
	null := func(v float64) *float64 {
		if math.IsNaN(v) {
			return nil
		}
		return &v
	}
	if !r.Scored {
		r.Reward = math.NaN()
		if own := w.rows[r.Seq].row.Reward; own != nil {
			r.Reward = *own
		}
	}
	if got, want := opt(null(r.Reward))+opt(null(r.Priority))+opt(null(r.Advantage)), opt(reward)+opt(f.priority)+opt(f.advantage); got != want {
		w.t.Errorf("touched row %d of %s for %q: %s, want %s", r.Seq, s, s.Scorer(), got, want)
	}
	if f.quarantined != old.quarantined && !r.Family {
		w.t.Errorf("touched row %d of %s: quarantined changed, and it is not said", r.Seq, s)
	}
}

// check compares the head with the model.
func (w *world) check(l *store.Lake) {
	s, err := l.Head(ctx)
	if err != nil {
		w.t.Errorf("head: %v", err)
		return
	}
	w.compare(s, len(w.rows), len(w.notes))
	if len(w.snaps) > 0 {
		w.touched(s, w.snaps[w.r.IntN(len(w.snaps))])
	}
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
	is   func(i int, f seen) bool
}

func (w *world) question() question {
	k := w.r.IntN(len(w.rows) + 1)
	v := float64(w.r.IntN(9)) / 4
	task := []string{"math", "code", "web"}[w.r.IntN(3)]
	return []question{
		{"", func(int, seen) bool { return true }},
		{fmt.Sprintf("row_seq >= %d", k), func(i int, _ seen) bool { return i >= k }},
		{fmt.Sprintf("reward >= %v", v), func(_ int, f seen) bool { return f.reward != nil && *f.reward >= v }},
		{"reward is null and not quarantined", func(_ int, f seen) bool { return f.reward == nil && !f.quarantined }},
		{fmt.Sprintf("reward_raw < %v", v), func(i int, _ seen) bool { r := w.rows[i].row.Reward; return r != nil && *r < v }},
		{fmt.Sprintf("priority > %v or task_set = '%s'", v, task), func(i int, f seen) bool {
			return f.priority != nil && *f.priority > v || *w.rows[i].row.TaskSet == task
		}},
		{"quarantined", func(_ int, f seen) bool { return f.quarantined }},
		{fmt.Sprintf("trajectory_id < 't%03d' and len(token_ids) > 9", k), func(i int, _ seen) bool {
			return w.rows[i].row.TrajectoryID < fmt.Sprintf("t%03d", k) && len(w.rows[i].row.TokenIDs) > 9
		}},
		{"advantage is not null", func(_ int, f seen) bool { return f.advantage != nil }},
	}[w.r.IntN(9)]
}

var modelColumns = []string{"row_seq", "trajectory_id", "row_version", "reward", "reward_raw", "priority", "quarantined", "task_set", "token_ids", "advantage"}

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
		if q.is(i, w.folded(i, notes)) {
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
	if rec, err = s.ForScorer("s1").Gather(ctx, seqs, []string{"reward", "priority"}); err != nil {
		w.t.Errorf("gather for a scorer: %v", err)
		return
	}
	for i, seq := range seqs {
		f := w.folded(int(seq), notes)
		if got, want := optAt(rec, 0, i)+optAt(rec, 1, i), opt(f.scored)+opt(f.priority); got != want {
			w.t.Errorf("place %d of %s for a scorer: %s, want %s", seq, s, got, want)
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
	f := w.folded(i, n)
	return fmt.Sprint(i, m.row.TrajectoryID, " v", m.version, opt(f.reward), opt(m.row.Reward), opt(f.priority), f.quarantined, *m.row.TaskSet, m.row.TokenIDs, opt(f.advantage))
}

func opt(f *float64) string {
	if f == nil {
		return " null "
	}
	return fmt.Sprintf(" %v ", *f)
}

func optAt(rec arrow.Record, c, i int) string {
	a := rec.Column(c).(*array.Float64)
	if a.IsNull(i) {
		return opt(nil)
	}
	return opt(new(a.Value(i)))
}

func lineOf(rec arrow.Record, i int) string {
	list := rec.Column(8).(*array.List)
	from, to := list.ValueOffsets(i)
	tokens := list.ListValues().(*array.Int32).Int32Values()[from:to]
	return fmt.Sprint(rec.Column(0).(*array.Int64).Value(i), rec.Column(1).(*array.String).Value(i), " v", rec.Column(2).(*array.Int64).Value(i),
		optAt(rec, 3, i), optAt(rec, 4, i), optAt(rec, 5, i), rec.Column(6).(*array.Boolean).Value(i), rec.Column(7).(*array.String).Value(i), tokens, optAt(rec, 9, i))
}
