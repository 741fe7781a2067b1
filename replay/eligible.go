package replay

import (
	"context"
	"math"
	"slices"

	"trajlake/replay/facts"
	"trajlake/replay/law"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
)

// reason says why a row, or a unit of rows, is not drawn. The first one that
// holds counts, in this order.
type reason uint8

const (
	drawable reason = iota
	absent          // deleted before the snapshot
	notMatched
	quarantined
	otherSplit
	notComplete // a required column or tensor is missing
	tooEasyOrHard
	fromFuture
	ageUnknown
	tooOld
	usedUp
	noShare    // eligible, but its stratum has no share
	weightZero // eligible, but its weight is 0
	ungrouped  // from here on: units, whose rows are eligible
	tooFew
	incomplete // a group that waits for late members
	timedOut
	zeroVariance
	reasons
)

var reasonNames = [reasons]string{"", "absent", "where", "quarantined", "split", "require", "difficulty", "future", "staleness_unknown", "staleness",
	"reuse", "no_share", "weight_zero", "ungrouped", "group_min", "group_incomplete", "group_timeout", "zero_variance"}

// eligible tells whether a row may be drawn, whatever its share and weight are.
func (r reason) eligible() bool { return r == drawable || r >= noShare }

// admitted tells whether a row counts as one that was inserted for the stream:
// whatever its age and use are.
func (r reason) admitted() bool { return r == drawable || r >= fromFuture }

// verdict is what the rules say about a row.
type verdict struct {
	reason reason
	cell   int32  // stratum and part; −1 without a share
	weight uint64 // 0 if it is not drawn
}

// rules judge rows: a spec against one snapshot, at one moment.
type rules struct {
	spec *Spec
	view *facts.View
	asOf AsOf
	uses *Uses

	match, require *facts.Bits // nil lets every row through
	cold           bool        // the lake was read for match
	splits         map[uint32]bool
	stale          clock
	success        int64 // least place on the clock of a success that is not too old
	failure        int64
	tasks          *tasks // nil if nothing asks for pass rates
	cells          cellIndex
	decay          decay
	weighted       bool // something else than uniform weights and orders
}

// newRules compiles a spec for a view. tasks may be nil if nothing needs them.
func newRules(ctx context.Context, view *facts.View, spec *Spec, asOf AsOf, uses *Uses) (*rules, error) {
	u := &rules{spec: spec, view: view, asOf: asOf, uses: uses, stale: clock{spec.Staleness.Unit, asOf}}
	u.success, u.failure = u.stale.oldest(spec.Staleness.Success), u.stale.oldest(spec.Staleness.Failure)
	if spec.Where != "" {
		expr, err := where.Parse(spec.Where)
		if err != nil {
			return nil, err
		}
		if u.match, u.cold, err = view.Match(ctx, expr); err != nil {
			return nil, err
		}
	}
	if len(spec.Require.Columns)+len(spec.Require.Tensors) > 0 {
		var err error
		if u.require, err = view.Require(ctx, spec.Require.Columns, spec.Require.Tensors); err != nil {
			return nil, err
		}
	}
	if len(spec.Split) > 0 {
		u.splits = map[uint32]bool{}
		for _, split := range spec.Split {
			if code, ok := view.Code(facts.Split, split); ok {
				u.splits[code] = true
			}
		}
	}
	u.cells = newCellIndex(view, spec, asOf)
	u.weighted = spec.Order() == "" && !slices.Equal(spec.Weight, []Weight{{Name: WeightUniform}})
	return u, nil
}

// Needs is the facts that a view must hold for samplers of a filled spec.
func Needs(spec Spec) facts.Set {
	need := facts.Group | facts.Episode | facts.Reward | facts.Success | facts.Policy | facts.Times
	if len(spec.Split) > 0 {
		need |= facts.Split
	}
	if !spec.Difficulty.Off() || spec.Caps.PerTask > 0 {
		need |= facts.Task
	}
	if spec.Caps.PerPrompt > 0 {
		need |= facts.Prompt
	}
	if spec.Strata.Per == PerTokens || spec.Batch.Tokens > 0 {
		need |= facts.Tokens
	}
	for _, by := range spec.Strata.By {
		need |= map[string]facts.Set{ByEffort: facts.Effort, ByMode: facts.Mode, ByTaskSet: facts.TaskSet}[by]
	}
	for _, w := range spec.Weight {
		need |= map[string]facts.Set{WeightPriority: facts.Priority, WeightAdvantage: facts.Advantage, WeightLearnability: facts.Task}[w.Name]
	}
	return need
}

// succeeded is the outcome of a row: what its source says of success, else whether
// its reward is above 0. A row without either counts as a failure.
func succeeded(r *facts.Row) bool {
	if r.Success >= 0 {
		return r.Success == 1
	}
	return r.Reward > 0
}

// eligible looks for the first reason why a row must not be drawn.
func (u *rules) eligible(r *facts.Row) reason {
	switch {
	case r.Absent:
		return absent
	case u.match != nil && !u.match.Has(r.Seq):
		return notMatched
	case r.Quarantined:
		return quarantined
	case u.splits != nil && !u.splits[r.Split]:
		return otherSplit
	case u.require != nil && !u.require.Has(r.Seq):
		return notComplete
	case !u.spec.Difficulty.Off() && !u.tasks.within(r.Task, u.spec.Difficulty):
		return tooEasyOrHard
	}
	if why := u.inWindow(r); why != drawable {
		return why
	}
	if limit := u.spec.Caps.Reuse; limit > 0 && u.uses.times(r.Seq) >= limit {
		return usedUp
	}
	return drawable
}

func (u *rules) inWindow(r *facts.Row) reason {
	if u.stale.unit == Off {
		return drawable
	}
	if u.asOf.Policy != UnknownPolicy && r.PolicyMax > u.asOf.Policy { // Null is less than all
		return fromFuture
	}
	if u.stale.silent() {
		return drawable
	}
	t, known := u.stale.born(r)
	switch {
	case !known:
		return ageUnknown
	case t >= u.success && succeeded(r), t >= u.failure && !succeeded(r):
		return drawable
	}
	return tooOld
}

// place is the verdict on a row but for its weight.
func (u *rules) place(r *facts.Row) verdict {
	v := verdict{reason: u.eligible(r), cell: -1}
	if v.reason == drawable {
		if v.cell = u.cells.of(r); v.cell < 0 {
			v.reason = noShare
		}
	}
	return v
}

// judge is the whole verdict; factors are the values of the weight's expressions.
func (u *rules) judge(r *facts.Row, factors []float64) verdict {
	v := u.place(r)
	if v.reason == drawable {
		if v.weight = u.weigh(r, factors); v.weight == 0 {
			v.reason = weightZero
		}
	}
	return v
}

func (u *rules) weigh(r *facts.Row, factors []float64) uint64 {
	if !u.weighted {
		return u.decay.apply(law.One, r)
	}
	return u.decay.apply(u.weightOf(r, factors), r)
}

// edges are the moments at which rows change sides; between two moments only rows
// between the edges can.
func (u *rules) edges() []edge {
	var out []edge
	if u.stale.unit != Off {
		out = append(out, edge{scale: 1, at: u.asOf.Policy})
		if u.asOf.Policy < math.MaxInt64 {
			out[0].at++
		}
		out = append(out, u.stale.edge(u.spec.Staleness.Success), u.stale.edge(u.spec.Staleness.Failure))
	}
	if c := u.cells.fresh; c.unit != Off {
		out = append(out, c.edge(u.spec.Fresh.Age))
	}
	for _, age := range u.spec.Strata.Ages {
		out = append(out, u.cells.age.edge(age))
	}
	if u.decay.unit != Off {
		out = append(out, u.decay.edge(u.asOf))
	}
	return out
}

// comparable tells whether rows judged by old and by u differ only where facts,
// bits, uses, pass rates or sides of edges do.
func (u *rules) comparable(old *rules) bool {
	return (u.asOf.Policy == UnknownPolicy) == (old.asOf.Policy == UnknownPolicy) && u.decay.like(old.decay)
}

// cellIndex finds the cell of a row: its stratum, and within it the fresh or the
// replayed part where the spec keeps them apart.
type cellIndex struct {
	by        []string
	codes     [maxBy]map[uint32]uint16 // by column: code of a text to the number of its value, from 1
	bands     [maxBy]map[string]uint16 // the same for bands of rewards and ages
	strata    map[[maxBy]uint16]int32
	age       clock
	ages      Strata
	ageNames  []string
	fresh     clock // Off: every stratum is one cell
	freshFrom int64
}

// maxBy is the number of columns that strata can be made by.
const maxBy = 5

var stratumSets = map[string]facts.Set{ByEffort: facts.Effort, ByMode: facts.Mode, ByTaskSet: facts.TaskSet}

func newCellIndex(view *facts.View, spec *Spec, asOf AsOf) cellIndex {
	x := cellIndex{by: spec.Strata.By, ages: spec.Strata, ageNames: spec.Strata.AgeBands(),
		age: clock{spec.Strata.AgeUnit, asOf}, fresh: clock{Off, asOf}}
	if spec.Fresh.Share > 0 {
		x.fresh.unit = spec.Fresh.Unit
		x.freshFrom = x.fresh.oldest(spec.Fresh.Age)
	}
	if len(x.by) == 0 {
		return x
	}
	x.strata = map[[maxBy]uint16]int32{}
	var numbers [maxBy]map[string]uint16
	for i, by := range x.by {
		numbers[i] = map[string]uint16{}
		x.bands[i] = numbers[i]
		if stratumSets[by] != 0 {
			x.codes[i] = map[uint32]uint16{}
		}
	}
	for t, share := range spec.Strata.Shares {
		var key [maxBy]uint16
		for i, value := range share.Of {
			n := numbers[i][value]
			if n == 0 {
				n = uint16(len(numbers[i]) + 1)
				numbers[i][value] = n
				x.learn(view, i, value, n)
			}
			key[i] = n
		}
		x.strata[key] = int32(t)
	}
	return x
}

// learn notes the code of a value.
func (x *cellIndex) learn(view *facts.View, i int, value string, n uint16) {
	set := stratumSets[x.by[i]]
	if set == 0 {
		return
	}
	if code, ok := view.Code(set, value); ok {
		x.codes[i][code] = n
	}
	if value == Unknown {
		x.codes[i][0] = n
	}
}

// parts is the number of cells of a stratum.
func (x *cellIndex) parts() int {
	if x.fresh.unit == Off {
		return 1
	}
	return 2
}

func (x *cellIndex) of(r *facts.Row) int32 {
	stratum := int32(0)
	if len(x.by) > 0 {
		var key [maxBy]uint16
		for i, by := range x.by {
			switch by {
			case ByEffort:
				key[i] = x.codes[i][r.Effort]
			case ByMode:
				key[i] = x.codes[i][r.Mode]
			case ByTaskSet:
				key[i] = x.codes[i][r.TaskSet]
			case ByRewardBand:
				key[i] = x.bands[i][schema.RewardBand(&r.Reward)]
			case ByAge:
				key[i] = x.bands[i][x.band(r)]
			}
		}
		var ok bool
		if stratum, ok = x.strata[key]; !ok {
			return -1
		}
	}
	if x.fresh.unit == Off {
		return stratum
	}
	if x.isFresh(r) {
		return 2 * stratum
	}
	return 2*stratum + 1
}

func (x *cellIndex) band(r *facts.Row) string {
	t, known := x.age.born(r)
	age, is := x.age.age(t)
	if !known || !is {
		return Unknown
	}
	return x.ageNames[x.ages.AgeBand(age)]
}

// isFresh lets rows without an age replay; without a moment all rows are fresh.
func (x *cellIndex) isFresh(r *facts.Row) bool {
	if x.fresh.silent() {
		return true
	}
	t, known := x.fresh.born(r)
	return known && t >= x.freshFrom
}

// unsuited is the error of a view that does not hold what a spec needs.
func unsuited(view *facts.View, spec Spec) error {
	if !view.Has(Needs(spec)) {
		return fault.New(fault.Internal, "open sampler", "the view of %s lacks facts that the spec needs", view.Snapshot())
	}
	return nil
}
