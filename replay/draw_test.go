package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/replay/law"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
)

// lakeOf makes a lake in memory; edit changes row i before it is committed, in
// commits of 100 rows.
func lakeOf(t *testing.T, n int, edit func(i int, r *schema.Trajectory)) *store.Lake {
	t.Helper()
	lake, err := store.OpenBucket(t.Context(), blob.NewMemory(), "mem://"+t.Name(), &store.Options{Create: true, IndexDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lake.Close(); err != nil {
			t.Error(err)
		}
	})
	appendRows(t, lake, 0, n, edit)
	return lake
}

func appendRows(t *testing.T, lake *store.Lake, from, n int, edit func(i int, r *schema.Trajectory)) {
	t.Helper()
	for lo := from; lo < from+n; lo += 100 {
		var rows []*schema.Trajectory
		for i := lo; i < min(lo+100, from+n); i++ {
			r := &schema.Trajectory{TrajectoryID: fmt.Sprint("a", i)}
			edit(i, r)
			r.ContentHash = schema.ContentHash(r)
			r.SourceDigest = r.ContentHash
			rows = append(rows, r)
		}
		receipts, err := lake.Append(t.Context(), rows)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range receipts {
			if r.Status != store.Committed {
				t.Fatalf("%+v", r)
			}
		}
	}
}

func head(t *testing.T, lake *store.Lake) *store.Snapshot {
	t.Helper()
	snap, err := lake.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func sampler(t *testing.T, snap *store.Snapshot, text string) *Sampler {
	t.Helper()
	s, err := Open(t.Context(), snap, parse(t, text).Fill(Pinned))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

func draw(t *testing.T, s *Sampler, position uint64) *Batch {
	t.Helper()
	b, err := s.Draw(position)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// places are those of the first row of every slot.
func (b *Batch) places() (out []int64) {
	for _, slot := range b.Slots {
		out = append(out, slot.Members[0].Seq)
	}
	return out
}

func ptr[T any](v T) *T { return &v }

func TestDrawGoldenThroughTheLake(t *testing.T) {
	lake := lakeOf(t, 40, func(i int, r *schema.Trajectory) { r.Reward = ptr(float64(i%5) / 4) })
	snap := head(t, lake)
	const spec = "weight: reward\nseed: 9\nbatch: {rows: 5}\ncolumns: [trajectory_id, reward]"
	b := draw(t, sampler(t, snap, spec), 4)
	if got, want := b.places(), []int64{3, 9, 23, 26, 32}; !slices.Equal(got, want) {
		t.Fatalf("places %v, want %v", got, want)
	}
	for i, want := range []uint64{845779207, 1088925230, 845779207, 302768125, 584193007} {
		if b.Slots[i].P32 != want {
			t.Errorf("slot %d: p %d, want %d", i, b.Slots[i].P32, want)
		}
	}
	// The same snapshot gives the same batch after more rows came in, another one does not.
	appendRows(t, lake, 40, 40, func(i int, r *schema.Trajectory) { r.Reward = ptr(1.0) })
	again, err := lake.At(t.Context(), snap.Token())
	if err != nil {
		t.Fatal(err)
	}
	if other := draw(t, sampler(t, again, spec), 4); other.ID != b.ID || !slices.Equal(other.places(), b.places()) {
		t.Errorf("again: %v %s, want %v %s", other.places(), other.ID, b.places(), b.ID)
	}
	if other := draw(t, sampler(t, head(t, lake), spec), 4); other.ID == b.ID || slices.Equal(other.places(), b.places()) {
		t.Errorf("newer snapshot: %v %s", other.places(), other.ID)
	}
	if other := draw(t, sampler(t, snap, spec), 5); other.ID == b.ID || slices.Equal(other.places(), b.places()) {
		t.Errorf("other position: %v %s", other.places(), other.ID)
	}
}

var levels = []string{"none", "low", "high", "max"}

func mixed(i int, r *schema.Trajectory) {
	if i%9 != 0 {
		r.Effort = ptr(levels[i*7/3%4])
	}
	r.TaskID = ptr(fmt.Sprint("task-", i%50))
	r.PromptHash = ptr(fmt.Sprint("prompt-", i%90))
	if i%4 != 0 {
		r.Reward = ptr(float64(i%11) / 10)
	}
}

// TestStrataFollowTheSchedule reads every slot by the law, from the rows alone.
func TestStrataFollowTheSchedule(t *testing.T) {
	const n = 1000
	snap := head(t, lakeOf(t, n, mixed))
	s := sampler(t, snap, "where: reward is not null\nseed: 8\nbatch: {rows: 50}\nstrata: {by: [effort], shares: {none: 0.3, low: 0.3, high: 0.25, max: 0.15}}")
	schedule, err := law.NewSchedule([]int32{3000, 3000, 2500, 1500})
	if err != nil {
		t.Fatal(err)
	}
	candidates := map[string][]law.Candidate{}
	for i := range n {
		r := &schema.Trajectory{}
		if mixed(i, r); r.Effort != nil && r.Reward != nil {
			candidates[*r.Effort] = append(candidates[*r.Effort], law.Candidate{ID64: law.ID64(fmt.Sprint("a", i)), Weight: 1 << 32, Seq: int64(i)})
		}
	}
	for position := range uint64(60) {
		b := draw(t, s, position)
		used := map[string][]law.Pick{}
		for i, count := range schedule.Counts(position*50, 50) {
			used[levels[i]] = law.Draw(candidates[levels[i]], 8, position, count)
		}
		for j, slot := range b.Slots {
			name := levels[schedule.At(position*50+uint64(j))]
			want := used[name][0]
			used[name] = used[name][1:]
			if slot.Stratum != name || slot.Members[0].Seq != want.Seq || slot.P32 != want.P32 {
				t.Fatalf("position %d slot %d: %+v, want %s %+v", position, j, slot, name, want)
			}
		}
		if len(b.Slots) != 50 {
			t.Fatalf("%d slots", len(b.Slots))
		}
	}
}

// TestCaps compares with a walk over all candidates in key order, and checks that
// 1/p stays unbiased although caps keep rows out.
func TestCaps(t *testing.T) {
	const n, batches = 300, 3000
	snap := head(t, lakeOf(t, n, func(i int, r *schema.Trajectory) {
		r.TaskID = ptr(fmt.Sprint("task-", i%3*i%7)) // a few tasks have many rows
		if i%5 == 0 {
			r.TaskID = nil
		}
		r.PromptHash = ptr(fmt.Sprint("prompt-", i%100))
	}))
	s := sampler(t, snap, "seed: 3\nbatch: {rows: 40}\ncaps: {per_task: 4, per_prompt: 2}")
	plain := sampler(t, snap, "seed: 3\nbatch: {rows: 300}")
	total := 0.0
	for position := range uint64(batches) {
		b := draw(t, s, position)
		for _, slot := range b.Slots {
			total += 1 / slot.Probability()
		}
		if position > 30 {
			continue
		}
		tasks, prompts := map[string]int{}, map[string]int{}
		var want []int64
		for _, seq := range draw(t, plain, position).places() {
			i := int(seq)
			task, prompt := fmt.Sprint(i%3*i%7), fmt.Sprint(i%100)
			if i%5 == 0 {
				task = ""
			}
			if len(want) == 40 || task != "" && tasks[task] == 4 || prompts[prompt] == 2 {
				continue
			}
			tasks[task]++
			prompts[prompt]++
			want = append(want, seq)
		}
		if got := b.places(); !slices.Equal(got, want) {
			t.Fatalf("position %d:\n got %v\nwant %v", position, got, want)
		}
	}
	if mean := total / batches; math.Abs(mean/n-1) > 0.03 {
		t.Errorf("sum of 1/p is %.1f per batch, of %d rows", mean, n)
	}
}

func TestDryStrata(t *testing.T) {
	snap := head(t, lakeOf(t, 20, func(i int, r *schema.Trajectory) {
		r.Mode = ptr("thinking")
		if i < 3 {
			r.Mode = ptr("instruct")
		}
	}))
	const spec = "batch: {rows: 12}\nstrata: {by: mode, shares: {instruct: 0.5, thinking: 0.5}, when_dry: "
	_, err := sampler(t, snap, spec+"fail}").Draw(0)
	if fault.KindOf(err) != fault.Exhausted {
		t.Errorf("fail: %v", err)
	}
	for when, want := range map[string][2]int{"accept": {3, 6}, "redistribute": {3, 9}} {
		b := draw(t, sampler(t, snap, spec+when+"}"), 0)
		got := [2]int{}
		for _, slot := range b.Slots {
			if slot.Stratum == "thinking" {
				got[1]++
			} else {
				got[0]++
				if slot.P32 != law.One {
					t.Errorf("%s: all instruct rows are drawn, but with p %v", when, slot.Probability())
				}
			}
		}
		if got != want {
			t.Errorf("%s: %v rows, want %v", when, got, want)
		}
	}
	if b := draw(t, sampler(t, snap, "batch: {rows: 64}"), 0); len(b.Slots) != 20 {
		t.Errorf("without strata: %d of 20 rows", len(b.Slots))
	}
}

func TestQuarantinedRowsAreNotDrawn(t *testing.T) {
	lake := lakeOf(t, 20, mixed)
	before := head(t, lake)
	_, after, err := lake.Annotate(t.Context(), []*schema.Annotation{{
		AnnotationID: "q1", Kind: ptr("quarantine"), TargetKind: ptr("trajectory"), TargetID: ptr("a7"),
	}, {
		AnnotationID: "p1", Kind: ptr("priority"), TargetKind: ptr("trajectory"), TargetID: ptr("a8"), Value: ptr(0.0),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		snap *store.Snapshot
		want int
	}{{before, 20}, {after, 18}} {
		b := draw(t, sampler(t, c.snap, "weight: priority"), 0)
		if len(b.Slots) != c.want || c.want == 18 && (slices.Contains(b.places(), 7) || slices.Contains(b.places(), 8)) {
			t.Errorf("%v: %v", c.snap, b.places())
		}
	}
}

// grouped: groups g0 … g9 of four rollouts; rollout 1 of each is two rows of one
// episode; every third row has no reward; row 50 has no group.
func grouped(i int, r *schema.Trajectory) {
	if i == 50 {
		r.Reward = ptr(1.0)
		return
	}
	r.GroupID = ptr(fmt.Sprint("g", i/5))
	if i%5 == 1 || i%5 == 2 {
		r.EpisodeID = ptr(fmt.Sprint("e", i/5))
	}
	if i%3 != 0 {
		r.Reward = ptr(float64(i%5) / 4)
	}
}

func TestGroups(t *testing.T) {
	snap := head(t, lakeOf(t, 51, grouped))
	b := draw(t, sampler(t, snap, "unit: group\nwhere: reward is not null\ngroup: {min: 3}\nbatch: {rows: 100}\nstrata: {by: reward_band, shares: {'0': 0.5, '(0,0.25]': 0.25, '(0.25,0.5]': 0.25}, when_dry: accept}"), 0)
	var got []int64
	for _, slot := range b.Slots {
		first := slot.Members[0].Seq
		got = append(got, first)
		eligible := 0
		for i, m := range slot.Members {
			if m.Seq != first+int64(i) || m.Eligible != (m.Seq%3 != 0) {
				t.Errorf("group at %d: member %d is %+v", first, i, m)
			}
			if m.Eligible {
				eligible++
			}
		}
		if len(slot.Members) != 5 || eligible < 3 {
			t.Errorf("group at %d: %d members, %d eligible", first, len(slot.Members), eligible)
		}
	}
	slices.Sort(got)
	if want := []int64{0, 5, 10, 15, 20, 25, 30, 35, 40, 45}; !slices.Equal(got, want) {
		t.Errorf("groups at %v, want %v", got, want)
	}
	// min: 1 lets the row without a group in; weights are means over eligible members.
	b = draw(t, sampler(t, snap, "unit: group\nweight: reward\ngroup: {min: 1}\nbatch: {rows: 100}"), 0)
	if len(b.Slots) != 11 || !slices.Contains(b.places(), 50) {
		t.Errorf("min 1: groups at %v", b.places())
	}
}

func TestGroupWeightIsTheMean(t *testing.T) {
	snap := head(t, lakeOf(t, 50, grouped))
	s := sampler(t, snap, "unit: group\nwhere: reward > 0\nweight: reward")
	for c := range s.pools[0].All() {
		sum, n := uint64(0), uint64(0)
		first := int(c.Key)
		for i := first; i < first+5; i++ {
			if i%3 != 0 && i%5 != 0 {
				sum, n = sum+law.Weight(float64(i%5)/4), n+1
			}
		}
		if c.Weight != sum/n || n < 2 || c.ID != law.ID64(fmt.Sprint("g", first/5)) {
			t.Errorf("group at %d: %+v, want weight %d/%d", first, c, sum, n)
		}
	}
}

func TestRows(t *testing.T) {
	snap := head(t, lakeOf(t, 51, grouped))
	for _, c := range []struct {
		stats string
		count int32
	}{{"all", 4}, {"eligible", 3}, {"complete_only", 4}} {
		s := sampler(t, snap, "unit: group\nwhere: trajectory_id <> 'a8'\nbatch: {rows: 3}\nseed: 2\ncolumns: [trajectory_id, reward]\ngroup: {size: 4, members: eligible, stats: "+c.stats+"}")
		b := draw(t, s, 1)
		rec, err := s.Rows(t.Context(), b, nil)
		if err != nil {
			t.Fatal(err)
		}
		f := frameOf(rec)
		at := 0
		for j, slot := range b.Slots {
			for _, m := range slot.Members {
				if !m.Eligible {
					continue
				}
				id, _ := f.text("trajectory_id", at)
				weight := 1.0
				if m.Seq%5 == 1 || m.Seq%5 == 2 {
					weight = 0.5
				}
				count := int32(4)
				if m.Seq/5 == 1 {
					count = c.count
				}
				if id != fmt.Sprint("a", m.Seq) || f[ColSlot].(*array.Int32).Value(at) != int32(j) || *f.double(ColInclusion, at) != slot.Probability() ||
					*f.double(ColRowWeight, at) != weight || f[ColGroupCount].(*array.Int32).Value(at) != count {
					t.Errorf("%s: row %d of %v", c.stats, at, rec)
				}
				at++
			}
		}
		if int(rec.NumRows()) != at || at == 0 {
			t.Errorf("%d rows, want %d", rec.NumRows(), at)
		}
	}
}

func TestGroupStats(t *testing.T) {
	null := math.NaN()
	for _, c := range []struct {
		rollouts []rollout
		want     groupStats
	}{
		{[]rollout{{0, 1}, {0, 0}, {0, null}}, groupStats{shown: true, count: 3, scored: 2, mean: 0.5, spread: 0.5, least: 0, most: 1}},
		{[]rollout{{0, 5}}, groupStats{count: 1, scored: 1, mean: 5, least: 5, most: 5}},
		{[]rollout{{0, null}}, groupStats{count: 1, least: math.Inf(1), most: math.Inf(-1)}},
	} {
		if got := statsOf(c.rollouts, Group{Stats: CompleteOnly, Size: 3}); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.rollouts, got, c.want)
		}
	}
}

func TestDrawConcurrently(t *testing.T) {
	snap := head(t, lakeOf(t, 300, mixed))
	s := sampler(t, snap, "weight: reward\nbatch: {rows: 20}\ncaps: {per_task: 1}")
	want := make([]*Batch, 20)
	for i := range want {
		want[i] = draw(t, s, uint64(i))
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for i := range want {
				b, err := s.Draw(uint64(i))
				if err != nil || !slices.Equal(b.places(), want[i].places()) {
					t.Errorf("position %d: %v %v", i, b, err)
				}
				if _, err := s.Rows(context.Background(), b, []string{"trajectory_id"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

func TestResolve(t *testing.T) {
	lake := lakeOf(t, 150, mixed) // two commits
	snap := head(t, lake)
	for text, want := range map[string]int64{"": 150, "snapshot: {token: " + snap.Token() + "}": 150, fmt.Sprintf("snapshot: {version: %d}", snap.Version()-1): 100} {
		got, err := Resolve(t.Context(), lake, parse(t, text).Fill(Pinned))
		if err != nil || got.Count(schema.Trajectories) != want {
			t.Errorf("%q: %v %v, want %d rows", text, got, err, want)
		}
	}
	if _, err := Resolve(t.Context(), lake, Spec{}.Fill(Live)); fault.KindOf(err) != fault.Usage {
		t.Errorf("live: %v", err)
	}
	var faults Faults
	if _, err := Open(t.Context(), snap, Spec{Unit: "pair"}.Fill(Pinned)); !errors.As(err, &faults) {
		t.Errorf("an invalid spec was opened: %v", err)
	}
}
