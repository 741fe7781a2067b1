package replay

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"trajlake/replay/law"
	"trajlake/schema/where"
)

// maxAsked bounds the work of asking a predicate about every stratum: bytes of
// predicate times strata.
const maxAsked = 1 << 24

func (c *checker) strata(s Spec) {
	t := s.Strata
	c.word("strata.per", t.Per, []string{PerRows, PerTokens})
	c.word("strata.when_dry", t.WhenDry, []string{DryFail, DryRedistribute, DryAccept, DryWait})
	if t.WhenDry == DryWait && s.Snapshot.Mode != Live {
		c.faults.add("strata.when_dry", "use fail, redistribute or accept", "nothing comes that a pinned snapshot could wait for")
	}
	if !c.by(t) {
		return
	}
	switch {
	case len(t.By) == 0:
		if len(t.Shares)+len(t.Marginals)+len(t.Steps) > 0 {
			c.faults.add("strata.by", "name the columns", "shares of what")
		}
		return
	case len(t.Marginals) > 0:
		c.marginals(t)
		return
	case len(t.Shares) == 0:
		c.faults.add("strata.shares", "give every stratum that is to be drawn its share", "they are missing")
		return
	}
	c.shares("strata.shares", t, t.Shares, t.By)
	if len(t.Steps) > maxSteps {
		c.faults.add("strata.steps", "", "%d pieces; at most %d are possible", len(t.Steps), maxSteps)
		return
	}
	for i, piece := range t.Steps {
		field := fmt.Sprintf("strata.steps[%d]", i)
		if piece.From < 0 || i > 0 && piece.From <= t.Steps[i-1].From {
			c.faults.add(field+".from", "", "steps count from 0 and ascend")
		}
		c.shares(field+".shares", t, piece.Shares, t.By)
		if !slices.EqualFunc(piece.Shares, t.Shares, func(a, b Share) bool { return slices.Equal(a.Of, b.Of) }) {
			c.faults.add(field+".shares", "name a stratum once in each piece; all pieces together may name 2^20", "the pieces cannot be brought to the same strata")
		}
	}
}

// by checks the columns of strata and the bands of ages.
func (c *checker) by(t Strata) (ok bool) {
	before := len(c.faults)
	if len(t.By) > len(strataColumns) {
		c.faults.add("strata.by", "", "%d columns; there are %d to make strata by", len(t.By), len(strataColumns))
		return false
	}
	for i, column := range t.By {
		if !slices.Contains(strataColumns, column) {
			c.faults.add("strata.by", didYouMean(column, strataColumns), "strata cannot be made by %q", column)
		}
		if slices.Contains(t.By[:i], column) {
			c.faults.add("strata.by", "", "%s stands there twice", column)
		}
	}
	aged := slices.Contains(t.By, ByAge)
	switch {
	case aged && len(t.Ages) == 0:
		c.faults.add("strata.ages", "ages: [8, 32] makes the bands <=8, <=32 and >32", "strata by age need the edges of the bands")
	case !aged && (len(t.Ages) > 0 || t.AgeUnit != ""):
		c.faults.add("strata.ages", "put age into strata.by", "there are no strata by age")
	case aged:
		c.word("strata.age_unit", t.AgeUnit, ageUnits)
	}
	if len(t.Ages) > maxEdges {
		c.faults.add("strata.ages", "", "%d edges; at most %d are possible", len(t.Ages), maxEdges)
		return false
	}
	for i, edge := range t.Ages {
		if edge < 0 || i > 0 && edge <= t.Ages[i-1] {
			c.faults.add("strata.ages", "", "edges count from 0 and ascend")
			break
		}
	}
	return len(c.faults) == before
}

// marginals says why Fill could not make shares of them.
func (c *checker) marginals(t Strata) {
	if len(t.Shares) > 0 {
		c.faults.add("strata.marginals", "", "shares or marginals, not both")
		return
	}
	cells := 1
	for _, column := range t.By {
		shares, ok := t.Marginals[column]
		if !ok {
			c.faults.add("strata.marginals", "", "the shares of %s are missing", column)
			continue
		}
		c.shares("strata.marginals."+column, t, shares, []string{column})
		cells *= min(len(shares)+1, maxStrata)
		if cells > maxStrata*maxStrata {
			break
		}
	}
	for _, column := range slices.Sorted(maps.Keys(t.Marginals)) {
		if !slices.Contains(t.By, column) {
			c.faults.add("strata.marginals."+column, "", "%s does not stand in strata.by", column)
		}
	}
	if len(c.faults) == 0 {
		c.faults.add("strata.marginals", "", "they make too many strata; at most %d are possible", maxStrata)
	}
}

func (c *checker) shares(field string, t Strata, shares []Share, by []string) {
	if len(shares) > maxStrata {
		c.faults.add(field, "", "%d strata; at most %d are possible", len(shares), maxStrata)
		return
	}
	seen := map[string]bool{}
	for _, share := range shares {
		if len(c.faults) >= maxFaults {
			return
		}
		name := share.Name()
		at := field + "." + name
		if share.Parts < 0 || share.Parts > law.SharesTotal {
			c.faults.add(at, "", "a share is from 0 to 1")
		}
		if seen[name] {
			c.faults.add(at, "", "it stands there twice")
		}
		seen[name] = true
		if len(share.Of) != len(by) {
			c.faults.add(at, "write "+strings.Join(by, "/"), "%d values for the %d columns of strata.by", len(share.Of), len(by))
			continue
		}
		for i, value := range share.Of {
			words := vocabulary[by[i]]
			if by[i] == ByAge {
				words = append(t.AgeBands(), Unknown)
			}
			if words != nil && !slices.Contains(words, value) || value == "" {
				c.faults.add(at, didYouMean(value, words), "%q is no %s", value, by[i])
			}
		}
	}
	if sum := sumOf(shares); sum != law.SharesTotal {
		c.faults.add(field, "", "they add up to %s, not to 1", decimal(sum))
	}
}

// decimal writes a number of 1/10,000 with as many places as it needs.
func decimal(parts int64) string {
	text := fmt.Sprintf("%d.%04d", parts/law.SharesTotal, parts%law.SharesTotal)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// contradictions finds strata that have a share, but that no row can be in and be
// drawn: a stream would wait for them, or fail, for ever. Where the spec gives
// the slots of dry strata away there is none. It is asked last, of a spec that is
// otherwise right.
func (c *checker) contradictions(s Spec) {
	if len(c.faults) > 0 {
		return
	}
	var gate *where.Bound
	if s.Where != "" {
		e, err := where.Parse(s.Where)
		if err != nil {
			return
		}
		if gate, err = e.Bind(where.FoldedColumns()); err != nil {
			return
		}
		if gate.Stats(stratumFacts{}) == where.Never {
			c.faults.add("where", "", "no row can satisfy it")
			return
		}
	}
	if gate != nil && len(s.Split) > 0 && !slices.ContainsFunc(s.Split, func(split string) bool {
		return gate.Stats(stratumFacts{"split": one(split)}) != where.Never
	}) {
		c.faults.add("split", "", "where lets no row of %s through", anyOf(s.Split))
	}
	pieces := append([]Piece{{Shares: s.Strata.Shares}}, s.Strata.Steps...)
	if len(s.Strata.By) == 0 || s.Strata.WhenDry == DryRedistribute || s.Strata.WhenDry == DryAccept {
		return
	}
	if len(s.Where)*len(s.Strata.Shares) > maxAsked {
		gate = nil // a proof of what a stream would find out by itself is not worth seconds
	}
	for i := range s.Strata.Shares {
		if len(c.faults) >= maxFaults {
			return
		}
		if !slices.ContainsFunc(pieces, func(p Piece) bool { return i < len(p.Shares) && p.Shares[i].Parts > 0 }) {
			continue
		}
		if why := s.impossible(s.Strata.Shares[i], gate); why != "" {
			c.faults.add("strata.shares."+s.Strata.Shares[i].Name(), "give the stratum no share, or say when_dry redistribute or accept", "no row of this stratum can be drawn: %s", why)
		}
	}
}

// impossible says why no row of a stratum can be drawn, "" where some may.
func (s Spec) impossible(share Share, gate *where.Bound) string {
	known := stratumFacts{}
	for k, column := range s.Strata.By {
		value := share.Of[k]
		switch column {
		case ByEffort:
			known[column] = one(value)
			if value == Unknown {
				known[column] = columnFact{null: true}
			}
		case ByTaskSet, ByMode: // null and the text unknown are one stratum
			if value != Unknown {
				known[column] = one(value)
			}
		case ByRewardBand:
			known["reward"] = bandFacts[value]
			if slices.Contains([]string{"unscored", "<0", "0"}, value) &&
				slices.ContainsFunc(s.Weight, func(f Weight) bool { return f.Name == WeightReward }) {
				return "weight reward gives its rows the weight 0"
			}
		case ByAge:
			least := int64(0)
			if i := slices.Index(s.Strata.AgeBands(), value); i > 0 {
				least = s.Strata.Ages[i-1] + 1
			}
			if s.Staleness.Unit == s.Strata.AgeUnit && least > max(s.Staleness.Success, s.Staleness.Failure) {
				return "they are beyond the windows of staleness"
			}
			if s.Fresh.Share == law.SharesTotal && s.Fresh.Unit == s.Strata.AgeUnit && least > s.Fresh.Age {
				return "they are not fresh, and fresh has all slots"
			}
		}
	}
	for column, f := range known {
		if f.null && slices.Contains(s.Require.Columns, column) {
			return column + " is null, and require.columns wants it"
		}
	}
	if gate != nil && gate.Stats(known) == where.Never {
		return "where lets none of them through"
	}
	return ""
}

// stratumFacts is what a stratum says about columns, in the terms that predicates
// are decided in.
type stratumFacts map[string]columnFact

// columnFact is a column of a stratum: null, or between two bounds.
type columnFact struct {
	null     bool
	min, max any
}

func one(text string) columnFact { return columnFact{min: text, max: text} }

var bandFacts = map[string]columnFact{
	"unscored":   {null: true},
	"<0":         {max: math.Nextafter(0, -1)},
	"0":          {min: 0.0, max: 0.0},
	"(0,0.25]":   {min: math.Nextafter(0, 1), max: 0.25},
	"(0.25,0.5]": {min: math.Nextafter(0.25, 1), max: 0.5},
	"(0.5,0.75]": {min: math.Nextafter(0.5, 1), max: 0.75},
	"(0.75,1)":   {min: math.Nextafter(0.75, 1), max: math.Nextafter(1, 0)},
	"1":          {min: 1.0, max: 1.0},
	">1":         {min: math.Nextafter(1, 2)},
}

// Column implements where.Stats, as of one row.
func (f stratumFacts) Column(name string) (min, max any, nulls, rows int64, ok bool) {
	known, ok := f[strings.ToLower(name)]
	if known.null {
		nulls = 1
	}
	return known.min, known.max, nulls, 1, ok
}

var _ where.Stats = stratumFacts{}
