package store_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
)

// world is a lake under random work beside a model of it in plain slices: the
// rows by place, the annotations by place, and every snapshot that was seen.
type world struct {
	t      *testing.T
	r      *rand.Rand
	mem    *blob.Memory
	faults *blob.Faulty
	lakes  []*store.Lake // as many processes as there are
	dirs   []string      // of their indexes

	rows  []modelRow
	byID  map[string]int // place
	notes []*schema.Annotation
	snaps []modelSnap
	fresh int // ids given out
}

type modelRow struct {
	row     *schema.Trajectory
	seed    uint64
	version int64
}

type modelSnap struct {
	token       string
	version     int64
	rows, notes int
}

func TestModel(t *testing.T) {
	worlds, steps := 16, 70
	if testing.Short() {
		worlds, steps = 4, 40
	}
	first := uint64(1)
	if s := os.Getenv("TRAJLAKE_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, worlds = n, 1
	}
	for i := range worlds {
		seed := first + uint64(i)
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { runWorld(t, seed, steps) })
	}
}

func runWorld(t *testing.T, seed uint64, steps int) {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 7)), mem: blob.NewMemory(), byID: map[string]int{}}
	w.faults = blob.NewFaulty(w.mem)
	for range 2 {
		w.dirs = append(w.dirs, t.TempDir())
		w.lakes = append(w.lakes, w.open(len(w.lakes)))
	}
	defer func() {
		for i := range w.lakes {
			w.close(i)
		}
	}()
	w.check(w.some()) // an empty lake is a lake
	for range steps {
		if w.step(); t.Failed() {
			return
		}
	}
	for _, s := range w.snaps {
		if w.checkSnap(w.some(), s); t.Failed() {
			return
		}
	}
	testlake.Verify(t, w.some())
}

func (w *world) open(i int) *store.Lake {
	w.t.Helper()
	l, err := store.OpenBucket(ctx, w.faults, "test", &store.Options{Create: true, IndexDir: w.dirs[i]})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) close(i int) {
	if err := w.lakes[i].Close(); err != nil {
		w.t.Errorf("close: %v", err)
	}
}

func (w *world) some() *store.Lake { return w.lakes[w.r.IntN(len(w.lakes))] }

func (w *world) step() {
	switch n := w.r.IntN(20); {
	case n < 6:
		w.append(w.some())
	case n < 8:
		w.race()
	case n < 11:
		w.annotate(w.some())
	case n < 13:
		if _, err := w.some().Maintain(ctx); err != nil && !fault.Is(err, fault.Unavailable) {
			w.t.Errorf("maintain: %v", err)
		}
	case n < 15:
		w.reopen()
	case n < 17:
		w.spoil()
	default:
		w.check(w.some())
		if len(w.snaps) > 0 {
			w.checkSnap(w.some(), w.snaps[w.r.IntN(len(w.snaps))])
		}
	}
	s, err := w.some().Head(ctx)
	if err != nil {
		w.t.Fatalf("head: %v", err)
	}
	_, notes := s.Position(schema.Annotations)
	w.snaps = append(w.snaps, modelSnap{s.Token(), s.Version(), int(s.Count(schema.Trajectories)), int(notes)})
	if last := w.snaps[len(w.snaps)-1]; last.rows != len(w.rows) || last.notes != len(w.notes) {
		w.t.Errorf("the head has %d rows and %d annotations, want %d and %d", last.rows, last.notes, len(w.rows), len(w.notes))
	}
}

// spoil makes one of the next puts fail, with or without an effect.
func (w *world) spoil() {
	w.faults.Clear()
	w.faults.Add(blob.Rule{Op: blob.OpPut, Skip: w.r.IntN(3), Do: []blob.Action{blob.FailBefore, blob.LoseAnswer}[w.r.IntN(2)]})
}

// reopen ends a process and starts it anew, perhaps without its index or with
// that of the other one.
func (w *world) reopen() {
	i := w.r.IntN(len(w.lakes))
	w.close(i)
	switch w.r.IntN(3) {
	case 0:
		w.dirs[i] = w.t.TempDir()
	case 1:
		j := 1 - i
		w.close(j)
		w.dirs[i], w.dirs[j] = w.dirs[j], w.dirs[i]
		w.lakes[j] = w.open(j)
	}
	w.lakes[i] = w.open(i)
}

// batch makes rows: new ones, known ones again, and known ids with other content.
// want says which may be committed (the seed), are duplicates (-1), conflicts (-2).
func (w *world) batch(l *store.Lake) (rows []*schema.Trajectory, want []int64) {
	for range 1 + w.r.IntN(5) {
		id, seed, expect := fmt.Sprintf("t%03d", w.fresh), w.r.Uint64N(1<<40), int64(0)
		if n := w.r.IntN(6); n < 2 && len(w.rows) > 0 {
			k := w.rows[w.r.IntN(len(w.rows))]
			id, expect = k.row.TrajectoryID, -1
			if n == 0 {
				seed, expect = k.seed+1, -2
			} else {
				seed = k.seed
			}
		} else {
			w.fresh++
			expect = int64(seed)
		}
		rows = append(rows, testlake.Ready(l, testlake.Row(id, seed))...)
		want = append(want, expect)
	}
	return rows, want
}

// send appends until the lake answers. Rows of a call whose outcome was unknown
// may come back as duplicates.
func (w *world) send(l *store.Lake, rows []*schema.Trajectory) (rs []store.Receipt, again bool) {
	for range 5 {
		rs, err := l.Append(ctx, rows)
		if err == nil {
			return rs, again
		}
		if !fault.Is(err, fault.Unavailable) {
			w.t.Errorf("append: %v", err)
		}
		again = true
	}
	w.t.Error("append: the lake does not answer")
	return nil, again
}

func (w *world) append(l *store.Lake) {
	rows, want := w.batch(l)
	rs, again := w.send(l, rows)
	w.take(rows, want, rs, again)
}

// race has both processes append at once, partly the same rows.
func (w *world) race() {
	rows, want := w.batch(w.lakes[0])
	more, wantMore := w.batch(w.lakes[1])
	cut := w.r.IntN(len(rows) + 1)
	both := [][]*schema.Trajectory{rows, slices.Concat(more, testlake.Ready(w.lakes[1], clones(rows[:cut])...))}
	wants := [][]int64{want, slices.Concat(wantMore, want[:cut])}
	rs := make([][]store.Receipt, 2)
	var wg sync.WaitGroup
	for i := range both {
		wg.Go(func() { rs[i], _ = w.send(w.lakes[i], both[i]) })
	}
	wg.Wait()
	w.take(slices.Concat(both...), slices.Concat(wants...), slices.Concat(rs...), true)
}

func clones(rows []*schema.Trajectory) []*schema.Trajectory {
	out := make([]*schema.Trajectory, len(rows))
	for i, r := range rows {
		c := *r
		c.RowSeq, c.RowVersion = nil, nil
		out[i] = &c
	}
	return out
}

// take checks receipts and puts what was committed into the model. Where a row
// could have been committed by another call, a duplicate of it is as good.
func (w *world) take(rows []*schema.Trajectory, want []int64, rs []store.Receipt, others bool) {
	if len(rs) != len(rows) {
		w.t.Errorf("%d receipts for %d rows", len(rs), len(rows))
		return
	}
	type placed struct {
		i   int
		rec store.Receipt
	}
	fresh := map[int64]placed{}
	committed := map[string]int{}
	for i, r := range rs {
		id := rows[i].TrajectoryID
		switch {
		case want[i] == -2:
			if r.Status != store.Rejected || !fault.Is(r.Err, fault.Conflict) {
				w.t.Errorf("%s with other content: %+v", id, r)
			}
			continue
		case want[i] == -1:
			k := w.rows[w.byID[id]]
			if r.Status != store.Duplicate || r.Seq != int64(w.byID[id]) || r.Version != k.version {
				w.t.Errorf("%s again: %+v, want place %d of version %d", id, r, w.byID[id], k.version)
			}
			continue
		case r.Status == store.Rejected || r.Status == store.Duplicate && !others:
			w.t.Errorf("%s is new: %+v", id, r)
			continue
		case r.Status == store.Committed:
			committed[id]++
		}
		if have, ok := fresh[r.Seq]; ok && rows[have.i].TrajectoryID != id {
			w.t.Errorf("%s and %s have the place %d", id, rows[have.i].TrajectoryID, r.Seq)
		}
		fresh[r.Seq] = placed{i, r}
	}
	for id, n := range committed {
		if n > 1 {
			w.t.Errorf("%s was committed %d times", id, n)
		}
	}
	for range fresh {
		p, ok := fresh[int64(len(w.rows))]
		if !ok {
			w.t.Errorf("no row got the place %d", len(w.rows))
			return
		}
		w.byID[p.rec.ID] = len(w.rows)
		w.rows = append(w.rows, modelRow{rows[p.i], uint64(want[p.i]), p.rec.Version})
	}
}

func (w *world) annotate(l *store.Lake) {
	if len(w.rows) == 0 {
		return
	}
	var notes []*schema.Annotation
	for range 1 + w.r.IntN(3) {
		kind := []string{"reward", "reward", "priority", "quarantine", "restore", "label", "advantage"}[w.r.IntN(7)]
		row := w.rows[w.r.IntN(len(w.rows))].row
		if w.r.IntN(10) == 0 { // an annotation may come before its row
			row = testlake.Row(fmt.Sprintf("t%03d", w.fresh+w.r.IntN(3)), w.r.Uint64())
		}
		a := &schema.Annotation{Kind: &kind, TargetKind: new("trajectory"), TargetID: new(row.TrajectoryID), Scorer: new([]string{"", "s1"}[w.r.IntN(2)])}
		a.AnnotationID = fmt.Sprint("n", w.r.Uint64())
		switch kind {
		case "reward", "priority", "advantage":
			if w.r.IntN(5) > 0 {
				a.Value = new(float64(w.r.IntN(9)) / 4)
			}
		case "quarantine", "restore":
			switch w.r.IntN(4) {
			case 0:
				a.TargetKind, a.TargetID = new("group"), row.GroupID
			case 1:
				a.TargetKind, a.TargetID = new("task"), row.TaskID
			}
		}
		notes = append(notes, a)
	}
	for range 5 {
		rs, s, err := l.Annotate(ctx, notes)
		if fault.Is(err, fault.Unavailable) {
			continue
		}
		if err != nil {
			w.t.Errorf("annotate: %v", err)
			return
		}
		for i, r := range rs {
			if r.Status == store.Rejected || r.Seq != int64(len(w.notes)) {
				w.t.Errorf("annotation %d: %+v, want place %d", i, r, len(w.notes))
			}
			w.notes = append(w.notes, notes[i])
		}
		if _, n := s.Position(schema.Annotations); n < int64(len(w.notes)) {
			w.t.Errorf("the snapshot of the receipt has %d annotations, want %d", n, len(w.notes))
		}
		return
	}
	w.t.Error("annotate: the lake does not answer")
}
