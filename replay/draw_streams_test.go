package replay

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/internal/testlake"
	"trajlake/replay/facts"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// rowsOf commits n rows to a fresh lake; edit changes row i, "a<i>".
func rowsLake(t *testing.T, n int, edit func(i int, r *schema.Trajectory)) *store.Lake {
	t.Helper()
	lake := testlake.Open(t)
	moreRows(t, lake, 0, n, edit)
	return lake
}

func moreRows(t *testing.T, lake *store.Lake, from, n int, edit func(i int, r *schema.Trajectory)) {
	t.Helper()
	var rows []*schema.Trajectory
	for i := from; i < from+n; i++ {
		r := &schema.Trajectory{TrajectoryID: fmt.Sprint("a", i), TokenIDs: []int32{1}}
		if edit != nil {
			edit(i, r)
		}
		rows = append(rows, r)
	}
	receipts, err := lake.Append(t.Context(), testlake.Ready(lake, rows...))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range receipts {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

// at opens a sampler of a spec's text, filled for live streams, at an origin.
func at(t *testing.T, lake *store.Lake, text string, o Origin) *Sampler {
	t.Helper()
	spec := parse(t, text).Fill(Live)
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	view, err := facts.Open(t.Context(), head(t, lake), Needs(spec))
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenAt(t.Context(), view, spec, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const bare = "staleness: off\nage_decay: off\n"

// TestFrequenciesThroughSamplers compares whole samplers, over a lake, with an
// independent simulation of successive draws in proportion to weight, slot by slot,
// and checks that the sum of 1/p is unbiased.
func TestFrequenciesThroughSamplers(t *testing.T) {
	const n, k, batches = 24, 5, 12_000
	lake := rowsLake(t, n, func(i int, r *schema.Trajectory) { r.Reward = new(math.Pow(1.25, float64(i)) / 100) })
	for _, name := range []string{Keyed, Tree} {
		s := at(t, lake, bare+fmt.Sprintf("sampler: %s\nweight: reward\nseed: 77\nbatch: {rows: %d}", name, k), Origin{})
		r := rand.New(rand.NewPCG(3, 9))
		var got, want [k][n]float64
		inverse, squares := [n]float64{}, [n]float64{}
		for position := range uint64(batches) {
			for slot, x := range draw(t, s, position).Slots {
				seq := x.Members[0].Seq
				got[slot][seq]++
				inverse[seq] += 1 / x.Probability()
				squares[seq] += 1 / x.Probability() / x.Probability()
			}
			left, total := [n]float64{}, 0.0
			for i := range left {
				left[i] = math.Pow(1.25, float64(i)) / 100
				total += left[i]
			}
			for slot := range k {
				x, i := r.Float64()*total, 0
				for ; i < n-1 && (left[i] == 0 || x >= left[i]); i++ {
					x -= left[i]
				}
				for left[i] == 0 {
					i--
				}
				want[slot][i]++
				total -= left[i]
				left[i] = 0
			}
		}
		for slot := range k {
			chi, cells := 0.0, 0.0
			for i := range n {
				if a, b := got[slot][i], want[slot][i]; a+b >= 10 {
					chi += (a - b) * (a - b) / (a + b)
					cells++
				}
			}
			if free := cells - 1; math.Abs(chi-free) > 5*math.Sqrt(2*free) {
				t.Errorf("%s, slot %d: chi-square %.1f at %.0f degrees of freedom", name, slot, chi, free)
			}
		}
		for i := range n {
			mean := inverse[i] / batches
			spread := math.Sqrt((squares[i]/batches - mean*mean) / batches)
			bias := 0.0
			if name == Tree { // its p is that of a whole batch under a common threshold, close to 1/p being unbiased
				bias = 0.12
			}
			if math.Abs(mean-1) > 5*spread+bias {
				t.Errorf("%s: row %d: mean of 1/p %.3f ± %.3f, want 1", name, i, mean, spread)
			}
		}
	}
}

func TestOrders(t *testing.T) {
	lake := rowsLake(t, 25, func(i int, r *schema.Trajectory) {
		if i%6 > 0 {
			r.PolicyVersionMin, r.PolicyVersionMax = new(int64(i%4)), new(int64(i%4))
		}
		r.Reward = new(float64(i % 2))
	})
	for _, c := range []struct {
		text string
		want [][]int64
	}{
		{"weight: fifo\nbatch: {rows: 4}\nwhere: reward > 0", [][]int64{{1, 3, 5, 7}, {9, 11, 13, 15}, {17, 19, 21, 23}, {}}},
		{"weight: lifo\nbatch: {rows: 5}", [][]int64{{24, 23, 22, 21, 20}, {19, 18, 17, 16, 15}}},
		{"weight: newest\nbatch: {rows: 8}", [][]int64{{3, 7, 11, 15, 19, 23, 2, 10}, {3, 7, 11, 15, 19, 23, 2, 10}}},
		{"weight: newest\nbatch: {rows: 3}\ncaps: {reuse: 1}", [][]int64{{3, 7, 11}, {15, 19, 23}, {2, 10, 14}}},
		{"weight: fifo\nbatch: {rows: 3}\ncaps: {reuse: 2, cooldown: 1}", [][]int64{{0, 1, 2}, {3, 4, 5}, {0, 1, 2}, {3, 4, 5}, {6, 7, 8}}},
	} {
		s := at(t, lake, bare+c.text, Origin{})
		for position, want := range c.want {
			b := draw(t, s, uint64(position))
			if got := b.places(); !slices.Equal(got, want) {
				t.Errorf("%s: position %d: %v, want %v", c.text, position, got, want)
			}
			for _, slot := range b.Slots {
				if slot.P32 != 1<<32 {
					t.Errorf("%s: p is %v", c.text, slot.Probability())
				}
			}
		}
	}
}

// TestClaimsOfASequence: claims cut at any position give what one sampler does, with
// rows that come in between seen by later claims only.
func TestClaimsOfASequence(t *testing.T) {
	lake := rowsLake(t, 60, mixed)
	for _, text := range []string{"caps: {reuse: 2}\nbatch: {rows: 7}", "caps: {reuse: 3, cooldown: 2}\nbatch: {rows: 6}\nsampler: keyed",
		"batch: {tokens: 9}", "strata: {by: effort, shares: {low: 0.5, high: 0.25, max: 0.25}, per: tokens, when_dry: redistribute}\nbatch: {rows: 5}\ncaps: {cooldown: 1}"} {
		whole := at(t, lake, bare+text, Origin{})
		s, o := whole, Origin{}
		for cut := uint64(0); cut < 9; {
			for position := cut; position < 9; position++ {
				a, errA := whole.Draw(position)
				b, errB := s.Draw(position)
				if (errA == nil) != (errB == nil) || errA == nil && !slices.Equal(a.places(), b.places()) {
					t.Fatalf("%s: claim from %d, position %d: %v %v, want %v %v", text, cut, position, b.places(), errB, a.places(), errA)
				}
			}
			cut += 1 + cut%3
			o.First = cut
			var err error
			if o.Carry, err = whole.CarryAt(cut); err != nil {
				t.Fatal(err)
			}
			if o.Uses, err = whole.UsesAt(cut); err != nil {
				t.Fatal(err)
			}
			if s, err = s.Advance(t.Context(), s.View(), &facts.Change{NewFrom: s.View().Rows()}, o); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Draw(cut - 1); fault.KindOf(err) != fault.Usage {
				t.Errorf("%s: a position before the claim: %v", text, err)
			}
		}
	}
}

// TestTokenShares: strata whose rows differ 30-fold in length get their shares of
// the tokens, within the longest row.
func TestTokenShares(t *testing.T) {
	lake := rowsLake(t, 400, func(i int, r *schema.Trajectory) {
		r.Effort = new(levels[i%4])
		r.TokenIDs = make([]int32, []int{10, 20, 100, 300}[i%4]+i%7)
	})
	s := at(t, lake, bare+"strata: {by: effort, shares: {none: 0.1, low: 0.2, high: 0.3, max: 0.4}, per: tokens}\nbatch: {tokens: 2000}", Origin{})
	given, total := map[string]int64{}, int64(0)
	for position := range uint64(50) {
		sum := int64(0)
		b := draw(t, s, position)
		for _, slot := range b.Slots {
			given[slot.Stratum] += slot.Members[0].Tokens
			if sum >= 2000 {
				t.Fatalf("position %d: %d tokens before the last row", position, sum)
			}
			sum += slot.Members[0].Tokens
		}
		if total += sum; sum < 2000 {
			t.Fatalf("position %d: %d tokens", position, sum)
		}
		for name, share := range map[string]float64{"none": .1, "low": .2, "high": .3, "max": .4} {
			if off := float64(given[name]) - share*float64(total); math.Abs(off) > 307*2 {
				t.Fatalf("position %d: %s has %d of %d tokens, %.0f off its share", position, name, given[name], total, off)
			}
		}
	}
}

func TestFreshAnchor(t *testing.T) {
	version := func(i int, r *schema.Trajectory) {
		r.PolicyVersionMin, r.PolicyVersionMax = new(int64(i/10)), new(int64(i/10))
		r.Mode = new([]string{"thinking", "instruct"}[i%2])
	}
	lake := rowsLake(t, 200, version)
	o := Origin{AsOf: AsOf{Time: 1, Policy: 19}}
	s := at(t, lake, bare+"fresh: {share: 0.25, age: 2, unit: versions}\nbatch: {rows: 9}\nstrata: {by: mode, shares: {thinking: 0.5, instruct: 0.5}}", o)
	fresh, slots := map[string]float64{}, map[string]float64{}
	for position := range uint64(40) {
		for _, slot := range draw(t, s, position).Slots {
			slots[slot.Stratum]++
			if slot.Members[0].Seq >= 170 {
				fresh[slot.Stratum]++
			}
			for name := range slots {
				if off := fresh[name] - slots[name]/4; math.Abs(off) >= 1 {
					t.Fatalf("position %d: %v of %v slots of %s are fresh", position, fresh[name], slots[name], name)
				}
			}
		}
	}
	// While nothing is old, fresh rows take all slots, and the batch says so.
	o.AsOf.Policy = 20
	young := at(t, rowsLake(t, 20, func(i int, r *schema.Trajectory) { version(i+190, r) }), bare+"fresh: {share: 0.5, age: 2, unit: versions}\nbatch: {rows: 8}", o)
	if b := draw(t, young, 0); len(b.Slots) != 8 || len(b.Dry) != 1 {
		t.Errorf("%d slots, dry %q", len(b.Slots), b.Dry)
	}
	// Without a fresh row the spec's rule decides.
	o.AsOf.Policy = 100
	old := at(t, lake, bare+"fresh: {share: 0.5, age: 2, unit: versions}\nbatch: {rows: 8}\nstrata: {by: mode, shares: {thinking: 1}, when_dry: wait}", o)
	if _, err := old.Draw(0); fault.KindOf(err) != fault.Exhausted || old.Ready().Reason != WaitDry {
		t.Errorf("no fresh row: %v, %+v", err, old.Ready())
	}
}

func TestSharesThatFollowSteps(t *testing.T) {
	lake := rowsLake(t, 100, func(i int, r *schema.Trajectory) { r.Effort = new([]string{"low", "high"}[i%2]) })
	const text = bare + "strata: {by: effort, shares: {low: 1}, steps: [{from: 100, shares: {low: 0.5, high: 0.5}}, {from: 200, shares: {high: 1}}]}\nbatch: {rows: 10}"
	o := Origin{AsOf: AsOf{Time: 1, Policy: UnknownPolicy}}
	for _, c := range []struct{ step, low int }{{0, 10}, {99, 10}, {100, 5}, {199, 5}, {200, 0}} {
		o.AsOf.Step = int64(c.step)
		s := at(t, lake, text, o)
		low := 0
		for _, slot := range draw(t, s, o.First).Slots {
			if slot.Stratum == "low" {
				low++
			}
		}
		if low != c.low {
			t.Errorf("step %d: %d of 10 slots are low, want %d", c.step, low, c.low)
		}
		o.First += 3
		var err error
		if o.Carry, err = s.CarryAt(o.First); err != nil || o.Carry.Slots != o.First*10 {
			t.Errorf("carry %+v, %v", o.Carry, err)
		}
	}
}

// TestGroupsThatWait follows groups of four through completeness, timeouts and
// variance.
func TestGroupsThatWait(t *testing.T) {
	const hour = int64(3600) * 1_000_000
	lake := rowsLake(t, 11, func(i int, r *schema.Trajectory) {
		r.GroupID = new(fmt.Sprint("g", i/4)) // g0 and g1 have four rows, g2 three
		r.Reward = new(float64(i / 4 * (i % 2)))
		r.IngestedAt = new(schema.Time(100 * hour))
	})
	for _, c := range []struct {
		text    string
		hours   int64
		groups  []int64
		reason  reason
		rows    int
		members int
	}{
		{"on_timeout: drop", 1, []int64{0, 4}, incomplete, 1, 4},
		{"on_timeout: drop", 3, []int64{0, 4}, timedOut, 1, 4},
		{"on_timeout: serve", 1, []int64{0, 4}, incomplete, 1, 4},
		{"on_timeout: serve", 3, []int64{0, 4, 8}, incomplete, 0, 3},
		{"on_timeout: drop, zero_variance: drop", 1, []int64{4}, zeroVariance, 1, 4},
		{"on_timeout: pad", 3, []int64{0, 4, 8}, incomplete, 0, 4},
	} {
		text := bare + "unit: group\ngroup: {size: 4, min: 2, timeout: 2h, " + c.text + "}\nbatch: {rows: 5}"
		o := Origin{AsOf: AsOf{Time: (100 + c.hours) * hour, Policy: UnknownPolicy}}
		s := at(t, lake, text, o)
		b := draw(t, s, 0)
		got := b.places()
		slices.Sort(got)
		if !slices.Equal(got, c.groups) || s.units[c.reason] != int64(c.rows) {
			t.Errorf("%s after %d h: groups at %v, want %v; verdicts %v", c.text, c.hours, got, c.groups, s.units)
		}
		for _, slot := range b.Slots {
			if slot.Members[0].Seq == c.groups[len(c.groups)-1] && len(slot.Members) != c.members {
				t.Errorf("%s: %+v", c.text, slot)
			}
		}
		rec, err := s.Rows(t.Context(), b, []string{"trajectory_id"})
		if err != nil {
			t.Fatal(err)
		}
		sum, f := 0.0, frameOf(rec)
		for i := range int(rec.NumRows()) {
			sum += *f.double(ColRowWeight, i)
		}
		if want := 4*float64(len(c.groups)) - map[bool]float64{true: 1}[c.groups[len(c.groups)-1] == 8]; sum != want {
			t.Errorf("%s: row weights sum to %v, want %v", c.text, sum, want)
		}
		// The last member comes: all groups are complete, for samplers advanced to it too.
		if c.hours == 3 && c.text == "on_timeout: pad" {
			moreRows(t, lake, 11, 1, func(i int, r *schema.Trajectory) { r.GroupID, r.Reward = new("g2"), new(1.0) })
			view, change, err := s.View().Advance(t.Context(), head(t, lake), Needs(s.Spec()))
			if err != nil {
				t.Fatal(err)
			}
			if s, err = s.Advance(t.Context(), view, change, o); err != nil {
				t.Fatal(err)
			}
			if len(s.waits) != 0 || s.units[drawable] != 3 || slices.ContainsFunc(draw(t, s, 0).Slots, func(x Slot) bool { return x.Pad || len(x.Members) != 4 }) {
				t.Errorf("complete: waits %v, verdicts %v", s.waits, s.units)
			}
			return
		}
	}
}

// TestColumnsOfTheDraw reads the columns that every row comes with.
func TestColumnsOfTheDraw(t *testing.T) {
	const second = 1_000_000
	lake := rowsLake(t, 12, func(i int, r *schema.Trajectory) {
		r.Reward = new(float64(i + 1))
		if i > 0 {
			r.PolicyVersionMin, r.PolicyVersionMax = new(int64(i)), new(int64(i+3))
			r.FinishedAt = new(schema.Time(int64(i) * second))
		}
		if i%3 == 1 {
			r.EpisodeID = new("e")
		}
	})
	o := Origin{Stream: "s", AsOf: AsOf{Time: 20*second + second/2, Step: 60, Policy: 15}}
	s := at(t, lake, bare+"weight: reward\nbeta: 0.5\nbatch: {rows: 6}\ncaps: {reuse: 5}", o)
	draw(t, s, 0)
	b := draw(t, s, 1)
	rec, err := s.Rows(t.Context(), b, []string{"trajectory_id"})
	if err != nil {
		t.Fatal(err)
	}
	f := frameOf(rec)
	first := map[int64]bool{}
	for _, seq := range draw(t, s, 0).places() {
		first[seq] = true
	}
	greatest := 0.0
	for _, slot := range b.Slots {
		greatest = max(greatest, 1/slot.Probability())
	}
	for i, slot := range b.Slots {
		seq := slot.Members[0].Seq
		id, _ := f.text("trajectory_id", i)
		uses := int32(0)
		if first[seq] {
			uses = 1
		}
		want := math.Sqrt(1 / slot.Probability() / greatest)
		got := *f.double(ColImportance, i)
		if id != fmt.Sprint("a", seq) || math.Abs(got-want) > 1e-9 || f.int32(ColUses, i) != uses {
			t.Errorf("row %s: importance %v, want %v; uses %v, want %v", id, got, want, f.int32(ColUses, i), uses)
		}
		if seq == 0 {
			if !f[ColVersions].IsNull(i) || !f[ColSteps].IsNull(i) || !f[ColSeconds].IsNull(i) {
				t.Errorf("row without an age has one: %v", rec)
			}
		} else if f.long(ColVersions, i) != 15-seq || f.long(ColSteps, i) != 4*(15-seq) || *f.double(ColSeconds, i) != 20.5-float64(seq) {
			t.Errorf("row %d: ages %d %d %v", seq, f.long(ColVersions, i), f.long(ColSteps, i), *f.double(ColSeconds, i))
		}
		rows, index, weight := int32(1), int32(0), 1.0
		if seq%3 == 1 {
			rows, index, weight = 4, int32(seq/3), 0.25
		}
		if f.int32(ColRolloutRows, i) != rows || f.int32(ColRowIndex, i) != index || *f.double(ColRowWeight, i) != weight || !f[ColGone].IsNull(i) {
			t.Errorf("row %d: %d of %d rows, weight %v", seq, f.int32(ColRowIndex, i), f.int32(ColRolloutRows, i), *f.double(ColRowWeight, i))
		}
	}
}

func (f frame) int32(name string, i int) int32 { return f[name].(*array.Int32).Value(i) }
