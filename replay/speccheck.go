package replay

import (
	"fmt"
	"slices"
	"strings"

	"trajlake/replay/law"
	"trajlake/schema/where"
)

const (
	maxBatchRows = 1 << 20
	maxFactors   = 16
)

// vocabulary is the values that a column of strata.by can have; task sets are open.
var vocabulary = map[string][]string{
	ByEffort:     {"none", "minimal", "low", "medium", "high", "xhigh", "max", Unknown},
	ByMode:       {"thinking", "instruct", Unknown},
	ByRewardBand: {"unscored", "<0", "0", "(0,0.25]", "(0.25,0.5]", "(0.5,0.75]", "(0.75,1)", "1", ">1"},
	ByTaskSet:    nil,
	ByAge:        nil, // see Strata.AgeBands
}

// checker collects the faults of a spec.
type checker struct {
	faults Faults
}

// Validate reports everything that is wrong with a filled spec at once: values
// that are not possible, values that do not fit each other, and what belongs to the
// language of specs but not to this version. The error has kind Usage and holds
// Faults.
func (s Spec) Validate() error {
	var c checker
	if s.Law != law.Version {
		c.faults.add("law", "", "this version knows law %d, not %d", law.Version, s.Law)
	}
	c.word("unit", s.Unit, []string{UnitTrajectory, UnitGroup}, "episode", "branch", "pair", "task")
	c.snapshot(s)
	if s.Where != "" {
		if _, err := where.Parse(s.Where); err != nil {
			c.faults.add("where", "", "%v", err)
		}
	}
	if s.Scorer != "" {
		c.later("scorer", "no scorer")
	}
	c.strata(s)
	c.weight(s.Weight)
	c.caps(s.Caps)
	c.group(s)
	if s.Limiter != (Limiter{}) {
		c.later("limiter", "off")
	}
	switch {
	case s.Batch.Rows != 0 && s.Batch.Tokens != 0:
		c.faults.add("batch", "", "rows or tokens, not both")
	case s.Batch.Tokens != 0:
		c.later("batch.tokens", "batch.rows")
	case s.Batch.Rows < 1 || s.Batch.Rows > maxBatchRows:
		c.faults.add("batch.rows", "", "1 to %d are possible, not %d", maxBatchRows, s.Batch.Rows)
	}
	c.columns(s.Columns)
	if len(s.Tensors) > 0 {
		c.later("tensors", "[]")
	}
	return c.faults.err("check spec")
}

// later refuses a key that a later version will serve.
func (c *checker) later(field, instead string) {
	c.faults.add(field, "use "+instead, "not in this version")
}

// word checks a value against the words that a key takes, now and later.
func (c *checker) word(field, got string, now []string, later ...string) {
	switch {
	case slices.Contains(now, got):
	case slices.Contains(later, got):
		c.faults.add(field, "use "+strings.Join(now, " or "), "%s is not in this version", got)
	default:
		c.faults.add(field, didYouMean(got, slices.Concat(now, later)), "%q is no possible value", got)
	}
}

func (c *checker) snapshot(s Spec) {
	c.word("snapshot", s.Snapshot.Mode, []string{Pinned, AtVersion, AtToken}, Live)
	if s.Snapshot.Version < 0 {
		c.faults.add("snapshot.version", "", "versions count from 0, this is %d", s.Snapshot.Version)
	}
	if s.Snapshot.Mode == AtToken && s.Snapshot.Token == "" {
		c.faults.add("snapshot.token", "", "it is empty")
	}
	if s.Snapshot.Mode == Live {
		return // what is filled in for live streams is not in this version either
	}
	c.word("sampler", s.Sampler, []string{Keyed}, Tree)
	c.word("staleness.unit", s.Staleness.Unit, []string{Off}, "versions", "steps", "seconds")
	if s.Staleness.Success < 0 || s.Staleness.Failure < 0 {
		c.faults.add("staleness", "", "windows count from 0")
	}
	c.word("age_decay.unit", s.AgeDecay.Unit, []string{Off}, "versions", "steps", "seconds")
	if s.AgeDecay.Unit != Off && !(s.AgeDecay.Tau > 0) {
		c.faults.add("age_decay.tau", "", "a number above 0 is wanted")
	}
}

func (c *checker) strata(s Spec) {
	t := s.Strata
	c.word("strata.per", t.Per, []string{PerRows}, PerTokens)
	c.word("strata.when_dry", t.WhenDry, []string{DryFail, DryRedistribute, DryAccept, DryWait})
	if t.WhenDry == DryWait && s.Snapshot.Mode != Live {
		c.faults.add("strata.when_dry", "use fail, redistribute or accept", "nothing comes that a pinned snapshot could wait for")
	}
	before := len(c.faults)
	if len(t.By) > len(vocabulary) {
		c.faults.add("strata.by", "", "%d columns; there are %d to make strata by", len(t.By), len(vocabulary))
		return
	}
	for i, column := range t.By {
		if _, ok := vocabulary[column]; !ok {
			c.faults.add("strata.by", didYouMean(column, []string{ByEffort, ByMode, ByTaskSet, ByRewardBand}), "strata cannot be made by %q", column)
		}
		if slices.Contains(t.By[:i], column) {
			c.faults.add("strata.by", "", "%s stands there twice", column)
		}
	}
	switch {
	case len(c.faults) > before:
		return
	case len(t.By) == 0:
		if len(t.Shares) > 0 {
			c.faults.add("strata.shares", "name the columns in strata.by", "shares of what")
		}
		return
	case len(t.Shares) == 0:
		c.faults.add("strata.shares", "give every stratum that is to be drawn its share", "they are missing")
		return
	}
	c.shares(t)
}

func (c *checker) shares(t Strata) {
	sum, seen := int64(0), map[string]bool{}
	for _, share := range t.Shares {
		name := share.Name()
		field := "strata.shares." + name
		sum += int64(share.Parts)
		if share.Parts < 0 || share.Parts > law.SharesTotal {
			c.faults.add(field, "", "a share is from 0 to 1")
		}
		if seen[name] {
			c.faults.add(field, "", "it stands there twice")
		}
		seen[name] = true
		if len(share.Of) != len(t.By) {
			c.faults.add(field, "write "+strings.Join(t.By, "/"), "%d values for the %d columns of strata.by", len(share.Of), len(t.By))
			continue
		}
		for i, value := range share.Of {
			words := vocabulary[t.By[i]]
			if words != nil && !slices.Contains(words, value) || value == "" {
				c.faults.add(field, didYouMean(value, words), "%q is no %s", value, t.By[i])
			}
		}
	}
	if sum != law.SharesTotal {
		c.faults.add("strata.shares", "", "they add up to %s, not to 1", decimal(sum))
	}
}

// decimal writes a number of 1/10,000 with as many places as it needs.
func decimal(parts int64) string {
	text := fmt.Sprintf("%d.%04d", parts/law.SharesTotal, parts%law.SharesTotal)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

func (c *checker) weight(factors []Weight) {
	if len(factors) == 0 || len(factors) > maxFactors {
		c.faults.add("weight", "", "1 to %d factors are possible, not %d", maxFactors, len(factors))
	}
	for i, f := range factors {
		field := "weight"
		if len(factors) > 1 {
			field = fmt.Sprintf("weight[%d]", i)
		}
		if f.Name == WeightExpr {
			c.faults.add(field, "use uniform, reward or priority", "expressions are not in this version")
			continue
		}
		c.word(field, f.Name, []string{WeightUniform, WeightReward, WeightPriority}, "advantage", "learnability", "rare_success", "efficiency")
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
	if caps.Reuse > 0 {
		c.later("caps.reuse", Off)
	}
	if caps.Cooldown > 0 {
		c.later("caps.cooldown", Off)
	}
}

func (c *checker) group(s Spec) {
	g := s.Group
	if g.Size < 0 || g.Min < 1 {
		c.faults.add("group", "", "size and min count from 1")
	}
	if g.Size > 0 && g.Min > g.Size {
		c.faults.add("group.min", "", "%d of %d members can never be eligible", g.Min, g.Size)
	}
	if g.Timeout < 0 {
		c.faults.add("group.timeout", "", "it is negative")
	}
	c.word("group.on_timeout", g.OnTimeout, []string{"drop"}, "serve", "pad")
	c.word("group.members", g.Members, []string{All, Eligible})
	c.word("group.stats", g.Stats, []string{All, Eligible, CompleteOnly})
	if g.Stats == CompleteOnly && g.Size == 0 {
		c.faults.add("group.stats", "say group.size", "complete_only needs to know how large a group is")
	}
}

func (c *checker) columns(columns []string) {
	var names []string
	for _, column := range where.FoldedColumns() {
		names = append(names, column.Name)
	}
	seen := map[string]bool{}
	for i, name := range columns {
		if len(c.faults) >= maxFaults {
			return
		}
		if !slices.Contains(names, name) {
			c.faults.add(fmt.Sprintf("columns[%d]", i), didYouMean(name, names), "trajectories have no column %q", name)
		}
		if seen[name] {
			c.faults.add(fmt.Sprintf("columns[%d]", i), "", "%s stands there twice", name)
		}
		seen[name] = true
	}
}
