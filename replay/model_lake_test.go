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
