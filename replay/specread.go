package replay

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

func (r *reader) snapshot(n node, path string, to *Snapshot) {
	if n.kind == textNode {
		to.Mode = n.text
		return
	}
	to.Version = -1
	r.object(n, path, "live, pinned or a map of version or token", fields{
		"version": r.integer(&to.Version, ""),
		"token":   r.text(&to.Token),
	})
	switch {
	case to.Version >= 0 && to.Token == "":
		to.Mode = AtVersion
	case to.Version < 0 && to.Token != "":
		to.Mode, to.Version = AtToken, 0
	case n.kind == mapNode:
		r.fault(n, path, "", "one of version (a whole number from 0) and token (not empty) is wanted")
	}
}

func (r *reader) difficulty(n node, path string, to *Band) {
	if n.kind == textNode && n.text == Off {
		*to = Band{0, 1}
		return
	}
	r.object(n, path, "off or a map of min, max", fields{"min": r.number(&to.Min), "max": r.number(&to.Max)})
	if slices.Contains(n.keys, "max") && to.Max == 0 {
		r.fault(n, path+".max", "for tasks that are hardly ever solved give a small number", "a number above 0 is wanted")
	}
}

// staleness reads windows in policy versions where no unit is said, and half of
// the successes' window for failures where that is not said.
func (r *reader) staleness(n node, path string, to *Staleness) {
	if n.kind == textNode {
		to.Unit = n.text
		return
	}
	to.Unit = Versions
	r.object(n, path, "off or a map of success, failure, unit", fields{
		"success": r.integer(&to.Success, ""),
		"failure": r.integer(&to.Failure, ""),
		"unit":    r.text(&to.Unit),
	})
	switch {
	case n.kind != mapNode:
	case !slices.Contains(n.keys, "success"):
		r.fault(n, path, "", "success is missing: the greatest age of a row that succeeded")
	case !slices.Contains(n.keys, "failure"):
		to.Failure = to.Success / 2
	}
}

func (r *reader) ageDecay(n node, path string, to *AgeDecay) {
	if n.kind == textNode {
		to.Unit = n.text
		return
	}
	to.Unit = Versions
	r.object(n, path, "off or a map of tau, unit", fields{"tau": r.number(&to.Tau), "unit": r.text(&to.Unit)})
}

func (r *reader) fresh(n node, path string, to *Fresh) {
	if n.kind == textNode {
		to.Unit = n.text
		return
	}
	r.object(n, path, "off or a map of share, age, unit", fields{
		"share": r.share(&to.Share),
		"age":   r.integer(&to.Age, ""),
		"unit":  r.text(&to.Unit),
	})
}

func (r *reader) weight(n node, path string, to *[]Weight) {
	list := []node{n}
	if n.kind == listNode {
		list = n.items
	}
	*to = make([]Weight, len(list))
	for i, item := range list {
		at := path
		if n.kind == listNode {
			at = fmt.Sprintf("%s[%d]", path, i)
		}
		r.factor(item, at, &(*to)[i])
	}
}

func (r *reader) factor(n node, path string, to *Weight) {
	if n.kind == textNode {
		to.Name = n.text
		return
	}
	before := len(r.faults)
	r.object(n, path, "a word, a map of name or expr with alpha and prior, or a list of them", fields{
		"name":  r.text(&to.Name),
		"expr":  r.text(&to.Expr),
		"alpha": func(n node, path string) { r.above0(&to.Alpha)(n, path) },
		"prior": func(n node, path string) { r.prior(n, path, &to.Prior) },
	})
	named, expr := slices.Contains(n.keys, "name"), slices.Contains(n.keys, "expr")
	switch {
	case len(r.faults) > before:
	case named == expr:
		r.fault(n, path, "", "one of name and expr is wanted")
	case expr:
		to.Name = WeightExpr
	case to.Name == WeightExpr:
		r.fault(n, path, "write {expr: …}", "expr is no name")
	}
}

func (r *reader) prior(n node, path string, to *[2]float64) {
	if n.kind != listNode || len(n.items) != len(to) {
		r.wrong(n, path, "a list of two numbers, successes and failures,")
		return
	}
	for i, item := range n.items {
		r.above0(&to[i])(item, fmt.Sprintf("%s[%d]", path, i))
	}
}

// above0 reads a number above 0, for keys where 0 would mean "not said".
func (r *reader) above0(to *float64) func(node, string) {
	return func(n node, path string) {
		before := len(r.faults)
		r.number(to)(n, path)
		if len(r.faults) == before && !(*to > 0) {
			r.fault(n, path, "", "a number above 0 is wanted, this is %s", n.text)
		}
	}
}

func (r *reader) group(n node, path string, to *Group) {
	r.object(n, path, "a map of size, min, timeout, on_timeout, members, stats, zero_variance", fields{
		"size":          r.integer(&to.Size, "any"),
		"min":           r.positive(&to.Min),
		"timeout":       r.duration(&to.Timeout),
		"on_timeout":    r.text(&to.OnTimeout),
		"members":       r.text(&to.Members),
		"stats":         r.text(&to.Stats),
		"zero_variance": r.text(&to.ZeroVariance),
	})
}

func (r *reader) strata(n node, path string, to *Strata) {
	var shares, steps, marginals node
	keep := func(to *node) func(node, string) { return func(n node, _ string) { *to = n } }
	r.object(n, path, "a map of by, shares, marginals, steps, ages, age_unit, per, when_dry", fields{
		"by":        r.texts(&to.By),
		"shares":    keep(&shares),
		"marginals": keep(&marginals),
		"steps":     keep(&steps),
		"ages":      func(n node, path string) { r.ages(n, path, &to.Ages) },
		"age_unit":  r.text(&to.AgeUnit),
		"per":       r.text(&to.Per),
		"when_dry":  r.text(&to.WhenDry),
	})
	if slices.Contains(n.keys, "shares") {
		to.Shares = r.shares(shares, path+".shares", to.By)
	}
	if slices.Contains(n.keys, "marginals") {
		r.marginals(marginals, path+".marginals", to)
	}
	if slices.Contains(n.keys, "steps") {
		r.steps(steps, path+".steps", to)
	}
}

// shares reads strata with their shares, as a map of names or as a list.
func (r *reader) shares(n node, path string, by []string) (out []Share) {
	switch n.kind {
	case mapNode:
		for i, key := range n.keys {
			share := Share{Of: splitStratum(key, by)}
			r.share(&share.Parts)(n.items[i], path+"."+key)
			out = append(out, share)
		}
	case listNode:
		out = make([]Share, len(n.items))
		for i, item := range n.items {
			share := &out[i]
			r.object(item, fmt.Sprintf("%s[%d]", path, i), "a map of of, share", fields{
				"of":    r.texts(&share.Of),
				"share": r.share(&share.Parts),
			})
		}
	default:
		r.wrong(n, path, "a map or a list of shares")
	}
	return out
}

func (r *reader) marginals(n node, path string, to *Strata) {
	to.Marginals = map[string][]Share{}
	columns := fields{}
	for column := range vocabulary {
		columns[column] = func(n node, path string) { to.Marginals[column] = r.shares(n, path, []string{column}) }
	}
	r.object(n, path, "a map of columns, each with the shares of its values,", columns)
}

func (r *reader) steps(n node, path string, to *Strata) {
	if n.kind != listNode {
		r.wrong(n, path, "a list of maps of from, shares")
		return
	}
	to.Steps = make([]Piece, len(n.items))
	for i, item := range n.items {
		piece := &to.Steps[i]
		r.object(item, fmt.Sprintf("%s[%d]", path, i), "a map of from, shares", fields{
			"from":   r.integer(&piece.From, ""),
			"shares": func(n node, path string) { piece.Shares = r.shares(n, path, to.By) },
		})
	}
}

func (r *reader) ages(n node, path string, to *[]int64) {
	list := []node{n}
	if n.kind == listNode {
		list = n.items
	}
	*to = make([]int64, len(list))
	for i, item := range list {
		r.integer(&(*to)[i], "")(item, fmt.Sprintf("%s[%d]", path, i))
	}
}

// share reads a share as whole 1/10,000: only numbers that are one, as near as a
// float64 comes to it, are taken.
func (r *reader) share(to *int32) func(node, string) {
	return func(n node, path string) {
		var f float64
		before := len(r.faults)
		r.number(&f)(n, path)
		if len(r.faults) > before {
			return
		}
		parts := math.Round(f * 10_000)
		if parts < 0 || parts > 10_000 || parts/10_000 != f {
			r.fault(n, path, "", "a share from 0 to 1 with at most 4 decimal places is wanted, this is %s", n.text)
			return
		}
		*to = int32(parts)
	}
}

// splitStratum splits the name of a stratum into one value for each column. Only
// task sets can hold a slash themselves.
func splitStratum(name string, by []string) []string {
	parts := strings.Split(name, "/")
	extra := len(parts) - len(by)
	if extra <= 0 {
		return parts
	}
	i := slices.Index(by, ByTaskSet)
	if i < 0 {
		return parts
	}
	joined := strings.Join(parts[i:i+extra+1], "/")
	return slices.Concat(parts[:i], []string{joined}, parts[i+extra+1:])
}
