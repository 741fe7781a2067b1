package facts

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"trajlake/internal/testlake"
	"trajlake/replay/law"
	"trajlake/schema"
	"trajlake/schema/where"
	"trajlake/store"
)

// shown is what a view says of a row, in texts.
func shown(v *View, seq int64) string {
	var r Row
	v.Read(seq, &r)
	if r.Absent {
		return fmt.Sprint(seq, " absent")
	}
	texts := []string{}
	for _, c := range []struct {
		set  Set
		code uint32
	}{{Effort, r.Effort}, {Mode, r.Mode}, {Split, r.Split}, {Status, r.Status}, {TaskSet, r.TaskSet}, {Task, r.Task}, {Prompt, r.Prompt}, {Group, r.Group}, {Episode, r.Episode}, {Parent, r.Parent}} {
		texts = append(texts, v.Text(c.set, c.code))
	}
	r.Effort, r.Mode, r.Split, r.Status, r.TaskSet, r.Task, r.Prompt, r.Group, r.Episode, r.Parent = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
	return fmt.Sprintf("%+v %q", r, texts)
}

// expected is the same, by the lake's own reading.
func expected(t *testing.T, s *store.Snapshot) []string {
	t.Helper()
	var out []string
	cols := []string{"row_seq", "trajectory_id", "effort", "mode", "split", "status", "task_set", "task_id", "prompt_hash", "group_id", "episode_id", "parent_id",
		"group_index", "group_size", "reward", "reward_raw", "priority", "advantage", "success", "policy_version_min", "policy_version_max",
		"finished_at", "ingested_at", "token_ids", "prompt_tokens", "completion_tokens", "quarantined"}
	for rec, err := range s.Scan(context.Background(), store.ScanOptions{Columns: cols}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(rec.NumRows()) {
			long := func(c int, null int64) int64 {
				n := null
				if rec.Column(c).IsValid(i) {
					if _, err := fmt.Sscan(plain(rec.Column(c), i), &n); err != nil {
						t.Fatal(err)
					}
				}
				return n
			}
			double := func(c int) float64 {
				v := math.NaN()
				if rec.Column(c).IsValid(i) {
					if _, err := fmt.Sscan(plain(rec.Column(c), i), &v); err != nil {
						t.Fatal(err)
					}
				}
				return v
			}
			texts := []string{}
			for c := 2; c < 12; c++ {
				text := ""
				if rec.Column(c).IsValid(i) {
					text = rec.Column(c).ValueStr(i)
				}
				texts = append(texts, text)
			}
			r := Row{Seq: long(0, 0), ID64: law.ID64(rec.Column(1).ValueStr(i)), GroupIndex: int32(long(12, -1)), GroupSize: int32(long(13, -1)),
				Reward: double(14), RewardRaw: double(15), Priority: double(16), Advantage: double(17), Success: -1, PolicyMin: long(19, Null), PolicyMax: long(20, Null),
				Finished: long(21, 0), Ingested: long(22, 0), Quarantined: rec.Column(26).ValueStr(i) == "true"}
			if rec.Column(18).IsValid(i) {
				r.Success = map[string]int8{"true": 1, "false": 0}[rec.Column(18).ValueStr(i)]
			}
			if r.Tokens = listLen(rec.Column(23), i); r.Tokens == 0 {
				r.Tokens = long(24, 0) + long(25, 0)
			}
			out = append(out, fmt.Sprintf("%+v %q", r, texts))
		}
	}
	return out
}

// world is a lake that grows at random.
type world struct {
	t    *testing.T
	r    *rand.Rand
	lake *store.Lake
	rows int
}

func pick(r *rand.Rand, values ...string) *string {
	if i := r.IntN(len(values) + 1); i < len(values) {
		return &values[i]
	}
	return nil
}

func some[T any](r *rand.Rand, v T) *T {
	if r.IntN(5) == 0 {
		return nil
	}
	return &v
}

func (w *world) append(n int) {
	rows := make([]*schema.Trajectory, n)
	r := w.r
	for i := range rows {
		k := w.rows + i
		row := &schema.Trajectory{
			TrajectoryID: fmt.Sprintf("t-%d", k), Effort: pick(r, "none", "low", "high"), Mode: pick(r, "thinking", "instruct"), Split: pick(r, "train", "test"),
			Status: pick(r, "completed", "failed"), TaskSet: pick(r, "math", "code"), TaskID: pick(r, "a", "b", "c", fmt.Sprint(k)), PromptHash: pick(r, "00112233445566778899aabbccddeeff", fmt.Sprintf("%016x", k/8)),
			GroupID: pick(r, fmt.Sprintf("g-%d", k/8), fmt.Sprintf("g-%d", r.IntN(k+1))), GroupIndex: some(r, int32(k%8)), GroupSize: some(r, int32(8)),
			EpisodeID: pick(r, fmt.Sprintf("e-%d", k/3)), ParentID: pick(r, fmt.Sprintf("t-%d", k/2)), EnvID: pick(r, "env-1", "env-2"), Model: pick(r, "m1", "m2"),
			Reward: some(r, float64(r.IntN(9))/8-0.5), Success: some(r, r.IntN(2) == 0), PolicyVersionMin: some(r, int64(k/10)), FinishedAt: some(r, schema.Time(1_700_000_000_000_000+r.Int64N(1<<40))),
			IngestedAt: some(r, schema.Time(1_700_000_000_000_000+int64(k))), PromptTokens: some(r, r.Int64N(1000)), CompletionTokens: some(r, r.Int64N(1000)),
			TokenIDs: make([]int32, r.IntN(4)), Turns: []schema.Turn{{Role: new("user"), Text: new("q")}},
		}
		if row.PolicyVersionMin != nil {
			row.PolicyVersionMax = some(r, *row.PolicyVersionMin+r.Int64N(3))
		}
		rows[i] = row
	}
	appendRows(w.t, w.lake, rows...)
	w.rows += n
}

func (w *world) annotate(n int) {
	var notes []*schema.Annotation
	for range n {
		id := fmt.Sprintf("t-%d", w.r.IntN(w.rows))
		scorer := pick(w.r, "s1", "s2")
		switch w.r.IntN(8) {
		case 0, 1:
			notes = append(notes, note("reward", "trajectory", id, float64(w.r.IntN(9))/8))
		case 2, 3:
			notes = append(notes, note("priority", "trajectory", id, w.r.Float64()))
		case 4:
			notes = append(notes, note("advantage", "trajectory", id, w.r.NormFloat64()))
		case 5:
			notes = append(notes, note("quarantine", "trajectory", id, math.NaN()))
		case 6:
			notes = append(notes, note("restore", "trajectory", id, math.NaN()))
		case 7:
			kind, target := []string{"quarantine", "restore"}[w.r.IntN(2)], w.r.IntN(4)
			notes = append(notes, note(kind, []string{"group", "episode", "task", "env"}[target],
				[]string{fmt.Sprintf("g-%d", w.r.IntN(w.rows/8+1)), fmt.Sprintf("e-%d", w.r.IntN(w.rows/3+1)), "b", "env-2"}[target], math.NaN()))
		}
		notes[len(notes)-1].Scorer = scorer
	}
	annotate(w.t, w.lake, notes...)
}

var modelPredicates = []string{
	"", "effort = 'high'", "task_id IS NULL OR task_id < 'b'", "reward > 0", "reward > reward_raw", "not quarantined and priority > 0.5", "model = 'm1'",
	"model = 'm2' OR reward >= 0.5", "success AND reward IS NOT NULL AND len(token_ids) > 1", "policy_version_max - policy_version_min >= 1 AND row_seq < 70",
	"finished_at > TIMESTAMP '2023-11-20' OR ingested_at IS NULL", "advantage IS NOT NULL OR quarantined", "group_index = 3 AND group_size = 8 AND split <> 'test'",
}

// check compares a view with the lake: rows, members, predicates.
func (w *world) check(v *View, what string) {
	w.t.Helper()
	s := v.Snapshot()
	want := expected(w.t, s)
	if int64(len(want)) != v.Rows() {
		w.t.Fatalf("%s: %d rows, want %d", what, v.Rows(), len(want))
	}
	newest := int64(Null)
	members := map[Set]map[uint32][]int64{Group: {}, Episode: {}, Task: {}}
	for i := range want {
		if got := shown(v, int64(i)); got != want[i] {
			w.t.Fatalf("%s: row %d\n got %s\nwant %s", what, i, got, want[i])
		}
		var r Row
		v.Read(int64(i), &r)
		newest = max(newest, r.PolicyMax)
		members[Group][r.Group] = append(members[Group][r.Group], int64(i))
		members[Episode][r.Episode] = append(members[Episode][r.Episode], int64(i))
		members[Task][r.Task] = append(members[Task][r.Task], int64(i))
		if ids := v.IDs(int64(i)); ids[0] != r.ID64 || int64(len(ids)) > v.Rows()-int64(i) {
			w.t.Fatalf("%s: ids from %d: %d of them", what, i, len(ids))
		}
	}
	if v.NewestPolicy() != newest {
		w.t.Errorf("%s: newest policy %d, want %d", what, v.NewestPolicy(), newest)
	}
	for set, codes := range members {
		for code, places := range codes {
			if code == 0 {
				places = nil
			}
			if got := v.MembersOf(set, code); !slices.Equal(got, places) {
				w.t.Fatalf("%s: members of %q: %v, want %v", what, v.Text(set, code), got, places)
			}
		}
	}
	w.checkMatch(v, what)
}

func (w *world) checkMatch(v *View, what string) {
	w.t.Helper()
	for _, text := range modelPredicates {
		e, err := where.Parse(text)
		if err != nil {
			w.t.Fatal(err)
		}
		got, _, err := v.Match(context.Background(), e)
		if err != nil {
			w.t.Fatal(err)
		}
		if want := scanned(w.t, v.Snapshot(), e); !slices.Equal(places(got), want) {
			w.t.Fatalf("%s: %s selects %v, want %v", what, text, places(got), want)
		}
	}
	got, err := v.Require(context.Background(), []string{"token_ids", "reward"}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if want := scanned(w.t, v.Snapshot(), parse(w.t, "len(token_ids) > 0 AND reward IS NOT NULL")); !slices.Equal(places(got), want) {
		w.t.Fatalf("%s: required columns are in %v, want %v", what, places(got), want)
	}
}

func scanned(t *testing.T, s *store.Snapshot, e *where.Expr) (out []int64) {
	t.Helper()
	for rec, err := range s.Scan(context.Background(), store.ScanOptions{Columns: []string{"row_seq"}, Where: e}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(rec.NumRows()) {
			var n int64
			if _, err := fmt.Sscan(plain(rec.Column(0), i), &n); err != nil {
				t.Fatal(err)
			}
			out = append(out, n)
		}
	}
	return out
}

// TestAdvancedIsOpened grows lakes at random and compares, at every snapshot, the
// view that was advanced, one that is opened and what the lake itself reads; and
// goes back to older snapshots and to those of one scorer.
func TestAdvancedIsOpened(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := &world{t: t, r: rand.New(rand.NewPCG(seed, 7)), lake: testlake.Open(t)}
			w.append(1 + w.r.IntN(40))
			v := openView(t, head(t, w.lake), Set(w.r.Uint64())&All)
			var snaps []*store.Snapshot
			for step := range 8 {
				for range w.r.IntN(3) {
					switch w.r.IntN(3) {
					case 0:
						w.append(1 + w.r.IntN(30))
					default:
						w.annotate(1 + w.r.IntN(12))
					}
				}
				if w.r.IntN(4) == 0 {
					if _, err := w.lake.Fold(ctx); err != nil {
						t.Fatal(err)
					}
				}
				s := head(t, w.lake)
				snaps = append(snaps, s)
				next, ch, err := v.Advance(ctx, s, Set(w.r.Uint64())&All)
				if err != nil {
					t.Fatal(err)
				}
				checkChange(t, v, next, ch)
				if v = next; step == 3 {
					if v, _, err = v.Advance(ctx, s, All); err != nil {
						t.Fatal(err)
					}
				}
				if v.Has(All) {
					w.check(v, fmt.Sprintf("step %d, advanced", step))
					w.check(openView(t, s, All), fmt.Sprintf("step %d, opened", step))
				} else {
					w.checkMatch(v, fmt.Sprintf("step %d, some facts", step))
				}
			}
			for i := range 6 {
				s := snaps[w.r.IntN(len(snaps))].ForScorer([]string{"", "s1", "s2"}[w.r.IntN(3)])
				next, ch, err := v.Advance(ctx, s, All)
				if err != nil {
					t.Fatal(err)
				}
				checkChange(t, v, next, ch)
				v = next
				w.check(v, fmt.Sprintf("jump %d to %s", i, s))
			}
		})
	}
}

// checkChange sees to it that all rows that differ are among those that Change
// names.
func checkChange(t *testing.T, v, w *View, ch *Change) {
	t.Helper()
	if !slices.IsSorted(ch.Touched) || len(slices.Compact(slices.Clone(ch.Touched))) != len(ch.Touched) {
		t.Errorf("touched rows are not in order: %v", ch.Touched)
	}
	for i := range min(v.Rows(), w.Rows(), ch.NewFrom) {
		if w.has != v.has {
			break
		}
		_, touched := slices.BinarySearch(ch.Touched, i)
		if differ := shown(v, i) != shown(w, i); differ != touched {
			t.Errorf("row %d differs: %v, touched: %v\n%s\n%s", i, differ, touched, shown(v, i), shown(w, i))
		}
	}
}
