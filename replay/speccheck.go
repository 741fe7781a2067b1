package replay

import (
	"fmt"
	"slices"
	"strings"

	"trajlake/replay/law"
	"trajlake/schema"
	"trajlake/schema/where"
)

// Bounds of a spec's numbers and lists.
const (
	maxBatchRows   = 1 << 20
	maxBatchTokens = 1 << 40
	maxGroupSize   = 1 << 16
	maxFactors     = 16
	maxSteps       = 1000
	maxEdges       = 100
	maxNames       = 1000
	minTau, maxTau = 0.001, 1e12
	maxAlpha       = 8
	maxPrior       = 1e6
)

// ageUnits are what ages are counted in.
var ageUnits = []string{Versions, Steps, Seconds}

// checker collects the faults of a spec.
type checker struct {
	faults Faults
}

// Validate reports everything that is wrong with a filled spec at once: values
// that are not possible, values that do not fit each other or leave nothing to
// draw, and words that are kept for later versions. The error has kind Usage and
// holds Faults.
func (s Spec) Validate() error {
	var c checker
	if s.Law != law.Version {
		c.faults.add("law", "", "this version knows law %d, not %d", law.Version, s.Law)
	}
	c.word("unit", s.Unit, []string{UnitTrajectory, UnitGroup, UnitBranch}, "episode", "pair", "task")
	c.word("sampler", s.Sampler, []string{Keyed, Tree})
	c.snapshot(s.Snapshot)
	c.eligibility(s)
	c.ages(s)
	c.strata(s)
	c.weight(s)
	c.caps(s.Caps)
	c.limiter(s)
	c.group(s.Group)
	c.batch(s.Batch)
	c.columns("columns", s.Columns)
	c.names("tensors", s.Tensors)
	c.contradictions(s)
	return c.faults.err("check spec")
}

// word checks a value against the words that a key takes. Reserved ones belong to
// the language of specs, but no version takes them yet.
func (c *checker) word(field, got string, words []string, reserved ...string) {
	switch {
	case slices.Contains(words, got):
	case slices.Contains(reserved, got):
		c.faults.add(field, "use "+anyOf(words), "%s is kept for a later version; this one cannot draw by it", got)
	default:
		c.faults.add(field, didYouMean(got, words), "%q is no possible value", got)
	}
}

// anyOf lists words: a, b or c.
func anyOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func (c *checker) snapshot(s Snapshot) {
	c.word("snapshot", s.Mode, []string{Live, Pinned, AtVersion, AtToken})
	if s.Version < 0 {
		c.faults.add("snapshot.version", "", "versions count from 0, this is %d", s.Version)
	}
	if s.Mode == AtToken && s.Token == "" {
		c.faults.add("snapshot.token", "", "it is empty")
	}
}

func (c *checker) eligibility(s Spec) {
	if s.Where != "" {
		if err := checkPredicate(s.Where); err != nil {
			c.faults.add("where", "", "%v", err)
		}
	}
	c.names("split", s.Split)
	c.columns("require.columns", s.Require.Columns)
	c.names("require.tensors", s.Require.Tensors)
	b := s.Difficulty
	switch {
	case !(b.Min >= 0 && b.Max <= 1):
		c.faults.add("difficulty", "", "pass rates are from 0 to 1")
	case b.Min > b.Max:
		c.faults.add("difficulty", "", "no pass rate is from %v to %v", b.Min, b.Max)
	}
}

func checkPredicate(predicate string) error {
	e, err := where.Parse(predicate)
	if err == nil {
		_, err = e.Bind(where.FoldedColumns())
	}
	return err
}

// ages checks everything that is counted in ages, but for strata.
func (c *checker) ages(s Spec) {
	units := append([]string{Off}, ageUnits...)
	c.word("staleness.unit", s.Staleness.Unit, units)
	if s.Staleness.Success < 0 || s.Staleness.Failure < 0 {
		c.faults.add("staleness", "", "windows count from 0")
	}
	c.word("age_decay.unit", s.AgeDecay.Unit, units)
	if s.AgeDecay.Unit != Off && !(s.AgeDecay.Tau >= minTau && s.AgeDecay.Tau <= maxTau) {
		c.faults.add("age_decay.tau", "", "a number from %v to %v is wanted", minTau, float64(maxTau))
	}
	if s.Fresh.Share < 0 || s.Fresh.Share > law.SharesTotal {
		c.faults.add("fresh.share", "", "a share is from 0 to 1")
	}
	if s.Fresh.Share != 0 {
		c.word("fresh.unit", s.Fresh.Unit, ageUnits)
	}
	if s.Fresh.Age < 0 {
		c.faults.add("fresh.age", "", "ages count from 0")
	}
	order := s.Order()
	if order == "" {
		return
	}
	if s.AgeDecay.Unit != Off {
		c.faults.add("age_decay", "leave it out", "rows that come in order (%s) have no weight to decay", order)
	}
	if s.Fresh.Share != 0 {
		c.faults.add("fresh", "leave it out, or draw by weight", "rows that come in order (%s) cannot be mixed with fresh ones", order)
	}
	if s.Beta != 0 {
		c.faults.add("beta", "leave it out", "rows that come in order (%s) have no probability to correct for", order)
	}
}

func (c *checker) weight(s Spec) {
	if len(s.Weight) == 0 || len(s.Weight) > maxFactors {
		c.faults.add("weight", "", "1 to %d factors are possible, not %d", maxFactors, len(s.Weight))
	}
	if !(s.Beta >= 0 && s.Beta <= 1) {
		c.faults.add("beta", "", "a number from 0 to 1 is wanted, this is %v", s.Beta)
	}
	for i, f := range s.Weight {
		field := "weight"
		if len(s.Weight) > 1 {
			field = fmt.Sprintf("weight[%d]", i)
		}
		c.factor(field, f)
		if len(s.Weight) > 1 && slices.Contains(orders, f.Name) {
			c.faults.add(field, "", "%s is an order and stands alone", f.Name)
		}
	}
}

func (c *checker) factor(field string, f Weight) {
	c.word(field, f.Name, slices.Concat([]string{WeightUniform, WeightReward, WeightAdvantage, WeightLearnability, WeightPriority, WeightExpr}, orders),
		"rare_success", "efficiency")
	if f.Name == WeightExpr {
		e, err := where.ParseScalar(f.Expr)
		if err == nil {
			_, err = e.Bind(where.FoldedColumns())
		}
		if err != nil {
			c.faults.add(field+".expr", "", "%v", err)
		}
	}
	switch {
	case !takesAlpha(f.Name):
		if f.Alpha != 0 && f.Alpha != 1 {
			c.faults.add(field+".alpha", "leave it out", "%s has no exponent", f.Name)
		}
	case !(f.Alpha > 0 && f.Alpha <= maxAlpha):
		c.faults.add(field+".alpha", "", "a number above 0, at most %d, is wanted, this is %v", maxAlpha, f.Alpha)
	}
	if f.Name != WeightLearnability {
		if f.Prior != [2]float64{} {
			c.faults.add(field+".prior", "leave it out", "only learnability has a prior")
		}
		return
	}
	for _, p := range f.Prior {
		if !(p > 0 && p <= maxPrior) {
			c.faults.add(field+".prior", "", "numbers above 0, at most %v, are wanted, not %v", maxPrior, p)
		}
	}
}

func (c *checker) caps(caps Caps) {
	for _, b := range []struct {
		field string
		n     int64
	}{{"caps.per_task", caps.PerTask}, {"caps.per_prompt", caps.PerPrompt}, {"caps.reuse", caps.Reuse}, {"caps.cooldown", caps.Cooldown}} {
		if b.n < 0 {
			c.faults.add(b.field, "", "a whole number from 1 or off is wanted, not %d", b.n)
		}
	}
}

func (c *checker) limiter(s Spec) {
	if s.Limiter == (Limiter{}) {
		return
	}
	if s.Snapshot.Mode != Live {
		c.faults.add("limiter", "leave it out, or use snapshot live", "a snapshot that does not change gets no rows that a limiter could wait for")
	}
	l := s.Limiter
	if l.MinSize < 0 {
		c.faults.add("limiter.min_size", "", "rows count from 0")
	}
	if !(l.SamplesPerInsert >= 0 && l.SamplesPerInsert <= maxBatchTokens) {
		c.faults.add("limiter.samples_per_insert", "leave it out for no bound", "a number above 0 is wanted, this is %v", l.SamplesPerInsert)
	}
	if l.Slack < 0 {
		c.faults.add("limiter.slack", "", "a whole number from 0 is wanted, this is %d", l.Slack)
	}
	if l.Slack > 0 && l.SamplesPerInsert == 0 {
		c.faults.add("limiter.slack", "say limiter.samples_per_insert", "slack of what")
	}
}

func (c *checker) group(g Group) {
	if g.Size < 0 || g.Min < 1 {
		c.faults.add("group", "", "size and min count from 1")
	}
	if g.Size > 0 && g.Min > g.Size {
		c.faults.add("group.min", "", "%d of %d members can never be eligible", g.Min, g.Size)
	}
	if g.Size > maxGroupSize {
		c.faults.add("group.size", "", "1 to %d are possible, not %d", maxGroupSize, g.Size)
	}
	if g.Timeout < 0 {
		c.faults.add("group.timeout", "", "it is negative")
	}
	c.word("group.on_timeout", g.OnTimeout, []string{TimeoutDrop, TimeoutServe, TimeoutPad})
	c.word("group.members", g.Members, []string{All, Eligible})
	c.word("group.stats", g.Stats, []string{All, Eligible, CompleteOnly})
	c.word("group.zero_variance", g.ZeroVariance, []string{Keep, Drop})
	if g.Stats == CompleteOnly && g.Size == 0 {
		c.faults.add("group.stats", "say group.size", "complete_only needs to know how large a group is")
	}
	if g.OnTimeout == TimeoutPad && g.Size == 0 {
		c.faults.add("group.on_timeout", "say group.size", "pad needs to know how large a group is")
	}
	if g.ZeroVariance == Drop && g.Size == 1 {
		c.faults.add("group.zero_variance", "use keep", "the rewards of a group of 1 are always equal, so none could be drawn")
	}
}

func (c *checker) batch(b BatchSize) {
	switch {
	case b.Rows != 0 && b.Tokens != 0:
		c.faults.add("batch", "", "rows or tokens, not both")
	case b.Tokens != 0:
		if b.Tokens < 0 || b.Tokens > maxBatchTokens {
			c.faults.add("batch.tokens", "", "1 to %d are possible, not %d", int64(maxBatchTokens), b.Tokens)
		}
	case b.Rows < 1 || b.Rows > maxBatchRows:
		c.faults.add("batch.rows", "", "1 to %d are possible, not %d", maxBatchRows, b.Rows)
	}
}

// columns checks names of columns of trajectories; those that the folded view
// adds are drawn along, too.
func (c *checker) columns(field string, columns []string) {
	var names []string
	for _, column := range where.FoldedColumns() {
		names = append(names, column.Name)
	}
	seen := map[string]bool{}
	for i, name := range columns {
		if len(c.faults) >= maxFaults {
			return
		}
		at := fmt.Sprintf("%s[%d]", field, i)
		if !slices.Contains(names, name) {
			c.faults.add(at, didYouMean(name, names), "trajectories have no column %q", name)
		}
		if seen[name] {
			c.faults.add(at, "", "%s stands there twice", name)
		}
		seen[name] = true
	}
}

// names checks a list of texts that may be anything.
func (c *checker) names(field string, list []string) {
	if len(list) > maxNames {
		c.faults.add(field, "", "%d names; at most %d are possible", len(list), maxNames)
		return
	}
	for i, name := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if name == "" {
			c.faults.add(at, "", "it is empty")
		}
		if slices.Contains(list[:i], name) {
			c.faults.add(at, "", "%s stands there twice", name)
		}
	}
}

// vocabulary is the values that a column of strata.by can have; task sets are open.
var vocabulary = map[string][]string{
	ByEffort:     {"none", "minimal", "low", "medium", "high", "xhigh", "max", Unknown},
	ByMode:       {"thinking", "instruct", Unknown},
	ByRewardBand: schema.RewardBands(),
	ByTaskSet:    nil,
	ByAge:        nil, // see Strata.AgeBands
}

var strataColumns = []string{ByEffort, ByMode, ByTaskSet, ByRewardBand, ByAge}
