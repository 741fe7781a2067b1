package replay

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"trajlake/internal/testlake"
	"trajlake/replay/facts"
	"trajlake/schema"
	"trajlake/store"
)

// The model judges rows as docs/format/draw.md and docs/reference/spec.md read:
// over plain structs, in float64, with strings. It shares nothing with the sampler.

// modelRow is a row as the model sees it; "" and nil are null.
type modelRow struct {
	id, group, episode, task, prompt, effort, mode, set, split string
	own, reward, priority, advantage                           *float64
	success                                                    *bool
	min, max                                                   *int64 // policy versions
	finished, ingested                                         int64  // 0: null
	tokens                                                     int
	quarantined                                                bool
}

type modelLake struct {
	r     *rand.Rand
	lake  *store.Lake
	rows  []*modelRow
	notes int
}

const modelBase = int64(1_700_000_000_000_000) // microseconds

func newModelLake(t *testing.T, r *rand.Rand) *modelLake {
	return &modelLake{r: r, lake: testlake.Open(t)}
}

func (m *modelLake) pick(values ...string) string { return values[m.r.IntN(len(values))] }

var modelRewards = []float64{-1, 0, 0.1, 0.25, 0.5, 0.75, 1, 2}

func (m *modelLake) append(t *testing.T, n int) {
	t.Helper()
	var rows []*schema.Trajectory
	r := m.r
	for range n {
		i := len(m.rows)
		x := &modelRow{id: fmt.Sprint("a", i), group: m.pick("", "g1", "g2", "g3", "g4", "g5", "g6"), episode: m.pick("", "", "", "e1", "e2", "e3"), task: m.pick("", "t1", "t2", "t3"),
			prompt: m.pick("", "p1", "p2"), effort: m.pick("", "none", "low", "high"), mode: m.pick("", "thinking"), set: m.pick("", "math", "swe"), split: m.pick("", "train", "test"), tokens: 1 + r.IntN(40)}
		if x.episode != "" {
			x.episode += x.group
		}
		if r.IntN(4) > 0 {
			x.own = new(modelRewards[r.IntN(len(modelRewards))])
		}
		x.reward = x.own
		if r.IntN(3) == 0 {
			x.success = new(r.IntN(2) == 0)
		}
		if r.IntN(6) > 0 {
			x.min = new(int64(i/20 + r.IntN(4)))
			x.max = new(*x.min + r.Int64N(3))
		}
		if r.IntN(4) > 0 {
			x.finished = modelBase + int64(i)*700_000 + r.Int64N(5_000_000)
		}
		m.rows = append(m.rows, x)
		row := &schema.Trajectory{TrajectoryID: x.id, GroupID: modelText(x.group), EpisodeID: modelText(x.episode), TaskID: modelText(x.task), PromptHash: modelText(x.prompt), Effort: modelText(x.effort), Mode: modelText(x.mode),
			TaskSet: modelText(x.set), Split: modelText(x.split), Reward: x.own, Success: x.success, PolicyVersionMin: x.min, PolicyVersionMax: x.max, TokenIDs: make([]int32, x.tokens)}
		if x.finished != 0 {
			row.FinishedAt = new(schema.Time(x.finished))
		}
		if r.IntN(2) == 0 {
			x.ingested = modelBase + int64(i)*700_000 + 6_000_000
			row.IngestedAt = new(schema.Time(x.ingested))
		}
		rows = append(rows, row)
	}
	ready := testlake.Ready(m.lake, rows...)
	for i, row := range ready { // what is derived
		x := m.rows[len(m.rows)-n+i]
		x.mode, x.effort = "", ""
		if row.Mode != nil {
			x.mode = *row.Mode
		}
		if row.Effort != nil {
			x.effort = *row.Effort
		}
	}
	receipts, err := m.lake.Append(t.Context(), ready)
	if err != nil {
		t.Fatal(err)
	}
	for _, receipt := range receipts {
		if receipt.Err != nil {
			t.Fatal(receipt.Err)
		}
	}
}

func modelText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (m *modelLake) annotate(t *testing.T, n int) {
	t.Helper()
	var notes []*schema.Annotation
	for range n {
		x := m.rows[m.r.IntN(len(m.rows))]
		m.notes++
		a := &schema.Annotation{AnnotationID: fmt.Sprint("n", m.notes), TargetKind: new("trajectory"), TargetID: new(x.id), Name: new("n")}
		switch value := modelRewards[m.r.IntN(len(modelRewards))]; m.r.IntN(5) {
		case 0:
			a.Kind, a.Value, x.reward = new("reward"), &value, &value
		case 1:
			a.Kind, a.Value, x.priority = new("priority"), &value, &value
		case 2:
			a.Kind, a.Value, x.advantage = new("advantage"), &value, &value
		case 3:
			a.Kind, x.quarantined = new("quarantine"), true
		case 4:
			a.Kind, x.quarantined = new("restore"), false
		}
		notes = append(notes, a)
	}
	if _, _, err := m.lake.Annotate(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
}

// spec makes a spec at random, of all that samplers know.
func (m *modelLake) spec(t *testing.T) Spec {
	t.Helper()
	for {
		s := m.anySpec()
		if err := s.Validate(); err == nil {
			return s
		} else if !strings.Contains(err.Error(), "strata") && !strings.Contains(err.Error(), "group") && !strings.Contains(err.Error(), "caps") {
			t.Fatalf("%s: %v", s.JSON(), err)
		}
	}
}

func (m *modelLake) anySpec() Spec {
	r := m.r
	unit := func() string { return m.pick(Versions, Seconds, Steps, Versions) }
	s := Spec{Seed: r.Uint64(), Batch: BatchSize{Rows: 1 + r.Int64N(20)}, Sampler: m.pick(Keyed, Tree), Unit: m.pick(UnitTrajectory, UnitTrajectory, UnitGroup),
		Staleness: Staleness{Unit: Off}, AgeDecay: AgeDecay{Unit: Off}, Columns: []string{"trajectory_id"}}
	s.Where = m.pick("", "", "reward > 0.25", "task_set = 'math' or reward is null", "priority >= 1", "length(trajectory_id) > 2")
	if strings.Contains(s.Where, "length") {
		s.Where = "num_turns is null"
	}
	if r.IntN(4) == 0 {
		s.Split = []string{"train", "nowhere"}
	}
	if r.IntN(5) == 0 {
		s.Require.Columns = []string{"effort"}
	}
	if r.IntN(5) == 0 {
		s.Difficulty = Band{0.3, 0.8}
	}
	if r.IntN(2) == 0 {
		s.Staleness = Staleness{r.Int64N(9), r.Int64N(5), unit()}
	}
	if r.IntN(3) == 0 {
		s.AgeDecay = AgeDecay{1 + 4*r.Float64(), unit()}
	}
	if r.IntN(4) == 0 {
		s.Fresh = Fresh{3000, r.Int64N(6), unit()}
	}
	switch r.IntN(3) {
	case 0:
		s.Strata = Strata{By: []string{m.pick(ByEffort, ByMode, ByTaskSet, ByRewardBand)}, WhenDry: m.pick(DryAccept, DryRedistribute)}
	case 1:
		s.Strata = Strata{By: []string{ByAge, ByTaskSet}, Ages: []int64{1, 4}, AgeUnit: unit(), WhenDry: DryAccept}
	}
	s.Strata.Shares = m.shares(s.Strata)
	switch r.IntN(8) {
	case 0:
		s.Weight = []Weight{{Name: m.pick(OrderFIFO, OrderLIFO, OrderNewest)}}
		s.AgeDecay = AgeDecay{Unit: Off}
		s.Fresh = Fresh{}
	case 1, 2:
	default:
		for range 1 + r.IntN(2) {
			name := m.pick(WeightReward, WeightAdvantage, WeightPriority, WeightLearnability, WeightExpr, WeightUniform)
			w := Weight{Name: name}
			if name == WeightExpr {
				w.Expr = "reward * 2 + 1"
			}
			if name != WeightUniform && r.IntN(2) == 0 {
				w.Alpha = 0.6
			}
			s.Weight = append(s.Weight, w)
		}
	}
	if s.Unit == UnitGroup {
		s.Group = Group{Size: int64(r.IntN(3) * 4), Min: 1 + r.Int64N(3), ZeroVariance: m.pick(Keep, Drop), OnTimeout: m.pick(TimeoutDrop, TimeoutServe, TimeoutPad),
			Stats: m.pick(All, Eligible), Timeout: time.Duration(1+r.Int64N(400)) * time.Hour * 24}
	}
	if r.IntN(4) == 0 {
		s.Caps.Reuse = 1 + r.Int64N(3)
	}
	if r.IntN(5) == 0 {
		s.Caps.Cooldown = 1 + r.Int64N(3)
	}
	if r.IntN(5) == 0 {
		s.Caps.PerTask = 2
	}
	return s.Fill(m.pick(Pinned, Live))
}

func (m *modelLake) shares(s Strata) []Share {
	values := map[string][]string{ByEffort: {"none", "low", "high", Unknown}, ByMode: {"thinking", Unknown}, ByTaskSet: {"math", Unknown}, ByRewardBand: {"unscored", "0", "1", ">1", "(0,0.25]"}, ByAge: {"<=1", "<=4", ">4", Unknown}}
	cells := [][]string{nil}
	for _, by := range s.By {
		var next [][]string
		for _, c := range cells {
			for _, v := range values[by] {
				next = append(next, slices.Concat(c, []string{v}))
			}
		}
		cells = next
	}
	if len(s.By) == 0 {
		return nil
	}
	m.r.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
	cells = cells[:1+m.r.IntN(len(cells))]
	var out []Share
	left := int32(10_000)
	for i, c := range cells {
		parts := left / int32(len(cells)-i)
		left -= parts
		out = append(out, Share{c, parts})
	}
	return out
}

// moment makes an origin at random.
func (m *modelLake) origin(s Spec, first uint64, uses *Uses) Origin {
	o := Origin{Stream: "s", First: first, AsOf: AsOf{Time: modelBase + int64(len(m.rows))*700_000 + m.r.Int64N(9_000_000), Step: int64(len(m.rows)/5) + m.r.Int64N(5) - 2, Policy: int64(len(m.rows)/20) + m.r.Int64N(5)}}
	if m.r.IntN(8) == 0 {
		o.AsOf.Policy = UnknownPolicy
	}
	if s.Caps.Reuse > 0 || s.Caps.Cooldown > 0 {
		o.Uses = uses
	}
	return o
}

// born is when a row was finished, else ingested; 0 for null.
func (x *modelRow) born() int64 {
	if x.finished != 0 {
		return x.finished
	}
	return x.ingested
}

// age is in whole units, rounded up; ok is false where it is not known.
func (x *modelRow) age(unit string, at AsOf) (age float64, ok bool) {
	switch unit {
	case Seconds:
		t := x.born()
		if t == 0 {
			return 0, false
		}
		return max(math.Ceil(float64(at.Time-t)/1e6), 0), true
	case Versions, Steps:
		if x.min == nil || at.Policy == UnknownPolicy {
			return 0, false
		}
		age = float64(max(at.Policy-*x.min, 0))
		if unit == Steps && at.Step > 0 && at.Policy > 0 {
			age *= max(math.Floor(float64(at.Step)/float64(at.Policy)+0.5), 1)
		}
		return age, true
	}
	return 0, false
}

func (x *modelRow) passed() bool {
	if x.success != nil {
		return *x.success
	}
	return x.reward != nil && *x.reward > 0
}

// learns is successes and trials of a task.
func (m *modelLake) learns(task string) (s, n float64) {
	seen := map[string]bool{}
	for _, x := range m.rows {
		if x.task != task || task == "" || x.quarantined || x.reward == nil || x.episode != "" && seen[x.episode] {
			continue
		}
		seen[x.episode] = true
		if n++; x.passed() {
			s++
		}
	}
	return s, n
}

// eligible is the model's word for all that admit says.
func (m *modelLake) eligible(s Spec, at AsOf, uses *Uses, i int) bool {
	x := m.rows[i]
	switch s.Where {
	case "reward > 0.25":
		if x.reward == nil || *x.reward <= 0.25 {
			return false
		}
	case "task_set = 'math' or reward is null":
		if x.set != "math" && x.reward != nil {
			return false
		}
	case "priority >= 1":
		if x.priority == nil || *x.priority < 1 {
			return false
		}
	}
	if x.quarantined || len(s.Split) > 0 && x.split != "train" || len(s.Require.Columns) > 0 && x.effort == "" {
		return false
	}
	if !s.Difficulty.Off() {
		if p, n := m.learns(x.task); n == 0 || p/n < s.Difficulty.Min || p/n > s.Difficulty.Max {
			return false
		}
	}
	if unit := s.Staleness.Unit; unit != Off {
		if at.Policy != UnknownPolicy && x.max != nil && *x.max > at.Policy {
			return false
		}
		window := s.Staleness.Failure
		if x.passed() {
			window = s.Staleness.Success
		}
		if age, ok := x.age(unit, at); unit == Seconds || at.Policy != UnknownPolicy {
			if !ok || age > float64(window) {
				return false
			}
		}
	}
	return s.Caps.Reuse == 0 || int64(uses.Count(int64(i))) < s.Caps.Reuse
}

// stratum is the number of a row's stratum, −1 for none; fresh the part.
func (m *modelLake) stratum(s Spec, at AsOf, i int) (stratum int, fresh bool) {
	x := m.rows[i]
	var values []string
	for _, by := range s.Strata.By {
		v := map[string]string{ByEffort: x.effort, ByMode: x.mode, ByTaskSet: x.set, ByRewardBand: oracleBand(x.reward)}[by]
		if by == ByAge {
			if age, ok := x.age(s.Strata.AgeUnit, at); ok {
				v = ">4"
				if age <= 4 {
					v = "<=4"
				}
				if age <= 1 {
					v = "<=1"
				}
			}
		}
		if v == "" {
			v = Unknown
		}
		values = append(values, v)
	}
	if len(values) > 0 {
		stratum = slices.IndexFunc(s.Strata.Shares, func(x Share) bool { return slices.Equal(x.Of, values) })
	}
	if s.Fresh.Share > 0 {
		age, ok := x.age(s.Fresh.Unit, at)
		fresh = ok && age <= float64(s.Fresh.Age) || s.Fresh.Unit != Seconds && at.Policy == UnknownPolicy
	}
	return stratum, fresh
}

// weight is a row's weight but for a factor that all rows share.
func (m *modelLake) weight(s Spec, at AsOf, i int) float64 {
	x, w := m.rows[i], 1.0
	value := func(p *float64, null float64) float64 {
		if p == nil {
			return null
		}
		return *p
	}
	for _, f := range s.Weight {
		v := 1.0
		switch f.Name {
		case WeightReward:
			v = max(value(x.reward, 0), 0)
		case WeightAdvantage:
			v = math.Abs(value(x.advantage, 0))
		case WeightPriority:
			v = max(value(x.priority, 1), 0)
		case WeightLearnability:
			p, n := m.learns(x.task)
			v = (p + 1) * (n - p + 1) / (n + 2) / (n + 2)
		case WeightExpr:
			if v = 0; x.reward != nil {
				v = max(*x.reward*2+1, 0)
			}
		}
		if f.Alpha != 0 {
			v = math.Pow(v, f.Alpha)
		}
		w *= v
	}
	return w
}

func TestSamplersEqualTheModel(t *testing.T) {
	seed := rand.Uint64()
	rounds := 40
	if testing.Short() {
		rounds = 15
	}
	drawn, advanced := 0, 0
	for round := range rounds {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		m := newModelLake(t, r)
		m.append(t, 30+r.IntN(120))
		spec := m.spec(t)
		name := fmt.Sprintf("seed %d round %d spec %s", seed, round, spec.JSON())
		view, err := facts.Open(t.Context(), head(t, m.lake), Needs(spec)|facts.Tokens)
		if err != nil {
			t.Fatal(name, err)
		}
		s, err := OpenAt(t.Context(), view, spec, m.origin(spec, 0, nil))
		if err != nil {
			t.Fatal(name, err)
		}
		for step := range 6 {
			m.check(t, s, fmt.Sprint(name, " step ", step))
			drawn += m.drawAll(t, s, name)
			first := s.origin.First + 2
			uses, err := s.UsesAt(first)
			if err != nil {
				uses = s.origin.Uses
			}
			if r.IntN(2) == 0 {
				m.append(t, 1+r.IntN(40))
			}
			m.annotate(t, r.IntN(12))
			next, change, err := view.Advance(t.Context(), head(t, m.lake), Needs(spec)|facts.Tokens)
			if err != nil {
				t.Fatal(name, err)
			}
			view = next
			o := m.origin(spec, first, uses)
			if r.IntN(3) == 0 {
				o.AsOf = s.origin.AsOf
			}
			if s, err = s.Advance(t.Context(), view, change, o); err != nil {
				t.Fatal(name, err)
			}
			fresh, err := OpenAt(t.Context(), view, spec, o)
			if err != nil {
				t.Fatal(name, err)
			}
			sameSampler(t, s, fresh, name)
			advanced++
		}
	}
	if drawn < rounds || advanced == 0 {
		t.Errorf("seed %d: %d slots drawn: this proves nothing", seed, drawn)
	}
}

// same fails if an advanced sampler is not what one made anew is.
func sameSampler(t *testing.T, a, b *Sampler, name string) {
	t.Helper()
	if a.rows != b.rows || a.units != b.units {
		t.Fatalf("%s: verdicts\n%v %v, want\n%v %v", name, a.rows, a.units, b.rows, b.units)
	}
	if !slices.Equal(a.pages, b.pages) || len(a.waits) != len(b.waits) {
		t.Fatalf("%s: ages or waits differ", name)
	}
	for seq := range a.view.Rows() {
		if a.admit.has(seq) != b.admit.has(seq) {
			t.Fatalf("%s: row %d is eligible: %v", name, seq, a.admit.has(seq))
		}
	}
	for cell := range b.pools {
		x, y := slices.Collect(a.pools[cell].All()), slices.Collect(b.pools[cell].All())
		if !slices.Equal(x, y) {
			t.Fatalf("%s: cell %d\n%v, want\n%v", name, cell, x, y)
		}
	}
	for k := range uint64(3) {
		x, errX := a.Draw(a.origin.First + k)
		y, errY := b.Draw(b.origin.First + k)
		if (errX == nil) != (errY == nil) || errX == nil && (x.ID != y.ID || !slices.EqualFunc(x.Slots, y.Slots, func(p, q Slot) bool {
			return p.Stratum == q.Stratum && p.P32 == q.P32 && p.N == q.N && slices.Equal(p.Members, q.Members)
		})) {
			t.Fatalf("%s: batch %d\n%+v %v, want\n%+v %v", name, k, x, errX, y, errY)
		}
	}
}

// check compares the candidates with the model's.
func (m *modelLake) check(t *testing.T, s *Sampler, name string) {
	t.Helper()
	at, uses := s.origin.AsOf, s.origin.Uses
	type want struct{ weight, n float64 }
	cells := make([]map[uint32]*want, len(s.pools))
	for i := range cells {
		cells[i] = map[uint32]*want{}
	}
	count := map[string]int{}
	for i, x := range m.rows {
		ok := m.eligible(*s.spec, at, uses, i)
		if s.admit.has(int64(i)) != ok {
			t.Fatalf("%s: row %d %+v: eligible %v, want %v", name, i, *x, !ok, ok)
		}
		if !ok || s.spec.Unit != UnitTrajectory {
			continue
		}
		stratum, fresh := m.stratum(*s.spec, at, i)
		if stratum < 0 {
			count["no_share"]++
			continue
		}
		w := m.weight(*s.spec, at, i)
		if w == 0 {
			count["weight_zero"]++
			continue
		}
		cell := stratum
		if s.spec.Fresh.Share > 0 {
			if cell = 2*stratum + 1; fresh {
				cell = 2 * stratum
			}
		}
		cells[cell][uint32(i)] = &want{w * m.decays(*s.spec, at, i), 1}
	}
	if s.spec.Unit == UnitGroup {
		return // their rows are compared; see TestGroupsEqualTheModel
	}
	if int(s.rows[noShare]) != count["no_share"] || int(s.rows[weightZero]) != count["weight_zero"] {
		t.Fatalf("%s: %v without a share or weight, want %v", name, s.rows, count)
	}
	unit := 0.0 // what the model's 1 is among the weights
	for _, cell := range cells {
		for key, w := range cell {
			if got := 0; got == 0 && unit == 0 {
				for _, p := range s.pools {
					if x := p.Weight(key); x > 1<<20 {
						unit = float64(x) / w.weight
					}
				}
			}
		}
	}
	for cell, p := range s.pools {
		if p.Len() != len(cells[cell]) {
			t.Fatalf("%s: cell %d has %d candidates, want %d", name, cell, p.Len(), len(cells[cell]))
		}
		for c := range p.All() {
			w := cells[cell][c.Key]
			if w == nil {
				t.Fatalf("%s: cell %d has row %d", name, cell, c.Key)
			}
			if got := float64(c.Weight); unit > 0 && math.Abs(got-unit*w.weight) > got*1e-5+4 {
				t.Fatalf("%s: row %d %+v: weight %v, want %v", name, c.Key, *m.rows[c.Key], got, unit*w.weight)
			}
		}
	}
}

// decays is exp(−age/tau) for ages that, unlike those of windows, are not rounded.
func (m *modelLake) decays(s Spec, at AsOf, i int) float64 {
	x, unit := m.rows[i], s.AgeDecay.Unit
	if unit == Off || unit != Seconds && at.Policy == UnknownPolicy {
		return 1
	}
	now, per, tau := float64(at.Policy), 1.0, math.Floor(s.AgeDecay.Tau*1000+0.5)/1000
	var t float64
	if unit == Seconds {
		now, t = math.Floor(float64(at.Time)/1e6), math.Floor(float64(x.born())/1e6)
	} else if unit == Steps && at.Step > 0 && at.Policy > 0 {
		per = max(math.Floor(float64(at.Step)/float64(at.Policy)+0.5), 1)
	}
	greatest := math.Inf(-1)
	for _, y := range m.rows {
		switch {
		case unit == Seconds && y.born() != 0:
			greatest = max(greatest, math.Floor(float64(y.born())/1e6))
		case unit == Seconds:
		case y.min != nil:
			greatest = max(greatest, float64(*y.min))
		}
	}
	if unit == Seconds && x.born() == 0 || unit != Seconds && x.min == nil { // counts as if it were of the landmark's time
		period := max(math.Floor(tau*4), 1)
		mark := math.Floor(min(greatest, now)*per/period) * period
		return math.Exp(-(now*per - mark) / tau)
	}
	if unit != Seconds {
		t = float64(*x.min)
	}
	return math.Exp(-(now - min(t, now)) * per / tau)
}

// drawAll draws some batches and looks at every row of them.
func (m *modelLake) drawAll(t *testing.T, s *Sampler, name string) (slots int) {
	t.Helper()
	uses := map[int64]int64{}
	last := map[int64]uint64{}
	for position := s.origin.First; position < s.origin.First+4; position++ {
		b, err := s.Draw(position)
		if err != nil {
			continue
		}
		slots += len(b.Slots)
		seen, tasks := map[int64]bool{}, map[string]int{}
		for _, slot := range b.Slots {
			good := 0
			for _, m2 := range slot.Members {
				x := m.rows[m2.Seq]
				if !m2.Eligible {
					continue
				}
				if good++; good == 1 {
					tasks[x.task]++
				}
				if !m.eligible(*s.spec, s.origin.AsOf, s.origin.Uses, int(m2.Seq)) || seen[m2.Seq] {
					t.Fatalf("%s: position %d: row %d is not to be drawn: %+v", name, position, m2.Seq, *x)
				}
				if limit := s.spec.Caps.Reuse; limit > 0 && uses[m2.Seq]+int64(s.origin.Uses.Count(m2.Seq)) >= limit {
					t.Fatalf("%s: position %d: row %d is used up", name, position, m2.Seq)
				}
				if p, was := last[m2.Seq]; was && position-p <= uint64(s.spec.Caps.Cooldown) {
					t.Fatalf("%s: position %d: row %d rests since %d", name, position, m2.Seq, p)
				}
				seen[m2.Seq] = true
			}
			least := 1
			if s.spec.Unit == UnitGroup {
				least = int(s.spec.Group.Min)
			}
			if good < least || slot.P32 == 0 || slot.Weight == 0 || slot.N == 0 {
				t.Fatalf("%s: position %d: slot %+v", name, position, slot)
			}
		}
		for seq := range seen {
			uses[seq]++
			last[seq] = position
		}
		for task, n := range tasks {
			if limit := s.spec.Caps.PerTask; limit > 0 && task != "" && int64(n) > limit {
				t.Fatalf("%s: position %d: %d rows of task %s", name, position, n, task)
			}
		}
	}
	return slots
}
