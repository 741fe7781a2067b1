package delta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// seedOf is the seed of a random test: TRAJLAKE_SEED, else the time.
func seedOf(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("TRAJLAKE_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("TRAJLAKE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// model is what a table should hold, kept in the plainest way.
type model struct {
	files   []map[string][2]int64 // per version: path → first place, rows
	nextSeq []int64
	vector  []Vector
	oldest  int64 // oldest version that At must be able to read
}

func (m *model) head() int64 { return int64(len(m.files)) - 1 }

func (m *model) push(files map[string][2]int64, nextSeq int64, other Vector) {
	v := Vector{}
	if n := len(m.vector); n > 0 {
		v = m.vector[n-1]
	}
	v = v.Max(other).Max(Vector{testTable: {int64(len(m.files)), nextSeq}})
	m.files, m.nextSeq, m.vector = append(m.files, files), append(m.nextSeq, nextSeq), append(m.vector, v)
}

// compare fails unless s is the model's version.
func (m *model) compare(t *testing.T, step string, s *State) {
	t.Helper()
	want := m.files[s.Version]
	if s.NextSeq != m.nextSeq[s.Version] || s.Files.Len() != len(want) || !s.Vector.Covers(m.vector[s.Version]) || !m.vector[s.Version].Covers(s.Vector) {
		t.Fatalf("%s: version %d has nextSeq %d, %d files, vector %v; want %d, %d, %v", step, s.Version,
			s.NextSeq, s.Files.Len(), s.Vector, m.nextSeq[s.Version], len(want), m.vector[s.Version])
	}
	var last *File
	for f := range s.Files.All() {
		if w, ok := want[f.Path]; !ok || w != [2]int64{f.FirstSeq, f.Rows} {
			t.Fatalf("%s: version %d: file %s at %d with %d rows; want %v", step, s.Version, f.Path, f.FirstSeq, f.Rows, w)
		}
		if last != nil && cmpSeq(last, f) >= 0 {
			t.Fatalf("%s: version %d: %s stands before %s", step, s.Version, last.Path, f.Path)
		}
		last = f
	}
}

// randomCommit gives the actions of a commit on base and what the table then holds.
func randomCommit(r *rand.Rand, base *State, name string) (actions []Action, files map[string][2]int64, nextSeq int64) {
	files, nextSeq = make(map[string][2]int64), base.NextSeq
	var live []*File
	for f := range base.Files.All() {
		live = append(live, f)
		files[f.Path] = [2]int64{f.FirstSeq, f.Rows}
	}
	remove := func(f *File, change bool) {
		delete(files, f.Path)
		actions = append(actions, Action{Remove: &Remove{Path: f.Path, DataChange: change, DeletionTimestamp: time.Now().UnixMilli()}})
	}
	switch kind := r.IntN(10); {
	case kind == 0: // nothing but a commitInfo
		actions = append(actions, Action{CommitInfo: &CommitInfo{Operation: "NOTE"}})
	case kind == 1 && len(live) > 0: // delete a file
		remove(live[r.IntN(len(live))], true)
	case kind == 2 && len(live) > 3: // fold a run of files into one
		from := r.IntN(len(live) - 2)
		to := from + 2 + r.IntN(len(live)-from-1)
		rows := int64(0)
		for _, f := range live[from:min(to, len(live))] {
			remove(f, false)
			rows += f.Rows
		}
		a := addOf(name+"-folded", rows)
		a.Add.DataChange = false
		a.Add.Tags = map[string]string{TagPlaces: PlacesColumns, TagFirstSeq: fmt.Sprint(live[from].FirstSeq)}
		files[a.Add.Path] = [2]int64{live[from].FirstSeq, rows}
		actions = append(actions, a)
	default:
		for i := range 1 + r.IntN(3) {
			rows := int64(r.IntN(5))
			a := addOf(fmt.Sprintf("%s-%d", name, i), rows)
			files[a.Add.Path] = [2]int64{nextSeq, rows}
			nextSeq += rows
			actions = append(actions, a)
		}
		if r.IntN(4) == 0 {
			actions = append(actions, Action{Txn: &Txn{AppID: "lane", Version: base.Version}})
		}
	}
	return actions, files, nextSeq
}

// TestModel runs random operations of two logs on one table against a model.
func TestModel(t *testing.T) {
	r := seedOf(t)
	ctx := context.Background()
	b := blob.NewMemory()
	opt := Options{CheckpointEvery: 7, InlineCheckpoints: true}
	logs := []*Log{mustCreate(t, b, opt), mustCreate(t, b, opt)}
	for _, l := range logs {
		l.minLogAge, l.staleAfter = 0, -time.Hour // versions are cleaned at once, so any head may be out of touch
	}
	m := &model{}
	m.push(map[string][2]int64{}, 0, nil)
	for step := range 600 {
		l := logs[r.IntN(len(logs))]
		name := fmt.Sprintf("s%d", step)
		switch op := r.IntN(20); {
		case op < 10:
			known := Vector{"annotations": {int64(step), int64(2 * step)}}
			var files map[string][2]int64
			var nextSeq int64
			abandon := r.IntN(10) == 0
			res, err := l.Commit(ctx, Tx{Vector: known, Build: func(_ context.Context, base *State) (actions []Action, err error) {
				if abandon && base.Version == m.head() {
					return nil, ErrNothing
				}
				actions, files, nextSeq = randomCommit(r, base, name)
				return actions, nil
			}})
			if abandon && errors.Is(err, ErrNothing) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			m.push(files, nextSeq, known)
			if res.Version != m.head() {
				t.Fatalf("step %d: version %d, want %d", step, res.Version, m.head())
			}
			m.compare(t, name+" commit", res.State)
		case op < 13:
			s, err := l.Refresh(ctx)
			if err != nil || s.Version != m.head() {
				t.Fatalf("step %d: refresh: %v, %v", step, s, err)
			}
			m.compare(t, name+" refresh", s)
		case op < 16:
			v := r.Int64N(m.head() + 3)
			s, err := l.At(ctx, v)
			switch {
			case v > m.head():
				if !fault.Is(err, fault.NotFound) {
					t.Fatalf("step %d: at %d of %d: %v", step, v, m.head(), err)
				}
			case v < m.oldest:
				if err == nil { // from the memory of At
					m.compare(t, name+" remembered", s)
				} else if !fault.Is(err, fault.Gone) {
					t.Fatalf("step %d: at %d, oldest is %d: %v", step, v, m.oldest, err)
				}
			case err != nil:
				t.Fatalf("step %d: at %d: %v", step, v, err)
			default:
				m.compare(t, name+" at", s)
			}
		case op < 17:
			if err := l.Checkpoint(ctx); err != nil {
				t.Fatal(err)
			}
		case op < 18:
			c, err := l.CleanLog(ctx, time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			m.oldest = c.Oldest
			if got, err := l.Oldest(ctx); err != nil || got != m.oldest {
				t.Fatalf("step %d: oldest %d, %v; want %d", step, got, err, m.oldest)
			}
		case op < 19:
			v := r.Int64N(m.head() + 1)
			lg, err := l.Logical(ctx, v)
			if err != nil || lg.NextSeq != m.nextSeq[v] || !lg.Vector.Covers(m.vector[v]) || !m.vector[v].Covers(lg.Vector) {
				t.Fatalf("step %d: logical %d: %+v, %v; want %d %v", step, v, lg, err, m.nextSeq[v], m.vector[v])
			}
		default:
			fresh := mustOpen(t, b)
			m.compare(t, name+" open", fresh.Head())
			if fresh.Head().Version != m.head() {
				t.Fatalf("step %d: opened at %d of %d", step, fresh.Head().Version, m.head())
			}
		}
	}
	l := logs[0]
	if _, err := l.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	var seen []int64
	for e, err := range l.History(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, e.Version)
		if rows := m.nextSeq[e.Version] - m.nextSeq[max(e.Version-1, 0)]; e.Rows != rows {
			t.Errorf("history: version %d added %d rows, want %d", e.Version, e.Rows, rows)
		}
	}
	slices.Reverse(seen)
	for i, v := range seen {
		if int64(i) != v {
			t.Fatalf("history lacks version %d", i)
		}
	}
	if len(seen) != len(m.files) {
		t.Fatalf("history has %d of %d versions", len(seen), len(m.files))
	}
	noProblems(t, l)
}

// TestSorted runs the persistent set against a sorted slice.
func TestSorted(t *testing.T) {
	r := seedOf(t)
	intCmp := func(a, b *int) int { return *a - *b }
	s := sorted[int]{cmp: intCmp}
	var want []int
	for range 4000 {
		x := r.IntN(2500)
		old, before := s, s.n
		if r.IntN(3) == 0 {
			s = s.without(&x)
			want = slices.DeleteFunc(want, func(y int) bool { return y == x })
		} else {
			s = s.with(&x)
			if i, ok := slices.BinarySearch(want, x); !ok {
				want = slices.Insert(want, i, x)
			}
		}
		if old.n != before || s.n != len(want) || (s.get(&x) != nil) != slices.Contains(want, x) {
			t.Fatalf("after %d: %d items, want %d", x, s.n, len(want))
		}
	}
	var got []int
	for x := range s.all() {
		got = append(got, *x)
	}
	if !slices.Equal(got, want) {
		t.Fatal("the set and the slice differ")
	}
	var items []*int
	for i := range want {
		items = append(items, &want[len(want)-1-i], &want[i])
	}
	built := sortedOf(intCmp, items)
	got = got[:0]
	for x := range built.all() {
		got = append(got, *x)
	}
	if !slices.Equal(got, want) || built.n != len(want) {
		t.Fatal("sortedOf differs")
	}
}
