package replay

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

// Faults is everything that is wrong with a spec, each fault with the path of its
// key (Field), a reason and, where there is one, a hint.
type Faults []*fault.Error

// Error is one line with all faults.
func (f Faults) Error() string {
	parts := make([]string, len(f))
	for i, e := range f {
		parts[i] = e.Error()
		if e.Hint != "" {
			parts[i] += " (" + e.Hint + ")"
		}
	}
	return strings.Join(parts, "; ")
}

// Unwrap gives the faults to errors.Is and errors.As.
func (f Faults) Unwrap() []error {
	out := make([]error, len(f))
	for i, e := range f {
		out[i] = e
	}
	return out
}

// err is the faults as one error of kind Usage; nil if there are none.
func (f Faults) err(op string) error {
	if len(f) == 0 {
		return nil
	}
	return fault.WrapAs(fault.Usage, op, f)
}

// maxFaults bounds the faults that are reported; a spec with more is no spec.
const maxFaults = 100

func (f *Faults) add(field, hint, format string, args ...any) {
	if len(*f) >= maxFaults {
		return
	}
	*f = append(*f, &fault.Error{Kind: fault.Usage, Field: field, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// ParseSpec reads a spec as it was written, in YAML or JSON. It fills nothing in.
// The error has kind Usage and holds Faults: unknown keys and values of the wrong
// type, all of them. Validate checks what the values mean.
func ParseSpec(data []byte) (Spec, error) {
	root, err := parseNode(data)
	if err != nil {
		return Spec{}, fault.WrapAs(fault.Usage, "read spec", err)
	}
	var r reader
	s := r.spec(root)
	return s, r.faults.err("read spec")
}

// reader turns nodes into values of a spec, and collects what it cannot use.
type reader struct{ faults Faults }

func (r *reader) fault(n node, path, hint, format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	if n.line > 0 {
		reason = fmt.Sprintf("line %d: %s", n.line, reason)
	}
	r.faults.add(path, hint, "%s", reason)
}

// wrong is the fault of a value of another type than the key takes.
func (r *reader) wrong(n node, path, want string) {
	hint := ""
	switch n.kind {
	case nullNode:
		hint = "leave the key out to get its default"
	case boolNode:
		hint = `off and none are words here; a writer of YAML 1.1 or JSON has to quote them: "off", "none"`
	}
	what := n.kind.String()
	if n.kind == textNode {
		what = fmt.Sprintf("the text %.60q", n.text)
	}
	r.fault(n, path, hint, "%s is wanted, this is %s", want, what)
}

type fields map[string]func(n node, path string)

// object hands the members of a map to their readers and refuses unknown keys.
func (r *reader) object(n node, path, want string, f fields) {
	if n.kind != mapNode {
		r.wrong(n, path, want)
		return
	}
	for i, key := range n.keys {
		at := key
		if path != "" {
			at = path + "." + key
		}
		read := f[key]
		if read == nil {
			r.fault(n.items[i], at, didYouMean(key, slices.Sorted(maps.Keys(f))), "unknown key")
			continue
		}
		read(n.items[i], at)
	}
}

func (r *reader) text(to *string) func(node, string) {
	return func(n node, path string) {
		if n.kind != textNode {
			r.wrong(n, path, "a text")
			return
		}
		*to = n.text
	}
}

// integer reads a whole number; where word is not "", the word stands for 0, and 0
// itself is refused.
func (r *reader) integer(to *int64, word string) func(node, string) {
	want := "a whole number"
	if word != "" {
		want = fmt.Sprintf("a whole number from 1 or %q", word)
	}
	return func(n node, path string) {
		if word != "" && n.kind == textNode && n.text == word {
			*to = 0
			return
		}
		if n.kind != numberNode {
			r.wrong(n, path, want)
			return
		}
		v, _ := canon.Num(n.text)
		i, ok := v.Int()
		if !ok || word != "" && i < 1 {
			r.fault(n, path, "", "%s is wanted, this is %s", want, n.text)
			return
		}
		*to = i
	}
}

func (r *reader) seed(to *uint64) func(node, string) {
	return func(n node, path string) {
		if n.kind != numberNode {
			r.wrong(n, path, "a whole number")
			return
		}
		v, err := strconv.ParseUint(n.text, 10, 64)
		if err != nil {
			r.fault(n, path, "", "a whole number from 0 to 2^64 − 1 is wanted, this is %s", n.text)
			return
		}
		*to = v
	}
}

func (r *reader) number(to *float64) func(node, string) {
	return func(n node, path string) {
		if n.kind != numberNode {
			r.wrong(n, path, "a number")
			return
		}
		v, _ := canon.Num(n.text)
		f, ok := v.Float()
		if !ok || math.IsInf(f, 0) {
			r.fault(n, path, "", "a decimal number is wanted, this is %s", n.text)
			return
		}
		*to = f
	}
}

func (r *reader) duration(to *time.Duration) func(node, string) {
	return func(n node, path string) {
		d, err := time.ParseDuration(n.text)
		if n.kind != textNode || err != nil {
			r.fault(n, path, "", "a duration like 600s or 10m is wanted")
			return
		}
		*to = d
	}
}

// texts reads a list of texts; one text alone is a list of one.
func (r *reader) texts(to *[]string) func(node, string) {
	return func(n node, path string) {
		if n.kind == textNode {
			*to = []string{n.text}
			return
		}
		if n.kind != listNode {
			r.wrong(n, path, "a list of texts")
			return
		}
		*to = make([]string, len(n.items))
		for i, item := range n.items {
			r.text(&(*to)[i])(item, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

// either reads a word, or a map.
func (r *reader) either(to *string, want string, f fields) func(node, string) {
	return func(n node, path string) {
		if n.kind == textNode {
			*to = n.text
			return
		}
		r.object(n, path, want, f)
	}
}

func (r *reader) spec(root node) (s Spec) {
	var version int64
	r.object(root, "", "a map of keys", fields{
		"law":      r.positive(&version),
		"sampler":  r.text(&s.Sampler),
		"snapshot": func(n node, path string) { r.snapshot(n, path, &s.Snapshot) },
		"unit":     r.text(&s.Unit),
		"where":    r.text(&s.Where),
		"scorer":   r.text(&s.Scorer),
		"staleness": r.either(&s.Staleness.Unit, "off or a map of success, failure, unit", fields{
			"success": r.integer(&s.Staleness.Success, ""),
			"failure": r.integer(&s.Staleness.Failure, ""),
			"unit":    r.text(&s.Staleness.Unit),
		}),
		"strata": func(n node, path string) { r.strata(n, path, &s.Strata) },
		"weight": func(n node, path string) { r.weight(n, path, &s.Weight) },
		"age_decay": r.either(&s.AgeDecay.Unit, "off or a map of tau, unit", fields{
			"tau":  r.number(&s.AgeDecay.Tau),
			"unit": r.text(&s.AgeDecay.Unit),
		}),
		"caps": r.offOr("a map of per_task, per_prompt, reuse, cooldown, or off", fields{
			"per_task":   r.integer(&s.Caps.PerTask, Off),
			"per_prompt": r.integer(&s.Caps.PerPrompt, Off),
			"reuse":      r.integer(&s.Caps.Reuse, Off),
			"cooldown":   r.integer(&s.Caps.Cooldown, Off),
		}),
		"limiter": r.offOr("a map of min_size, samples_per_insert, or off", fields{
			"min_size":           r.integer(&s.Limiter.MinSize, ""),
			"samples_per_insert": r.number(&s.Limiter.SamplesPerInsert),
		}),
		"group": func(n node, path string) { r.group(n, path, &s.Group) },
		"batch": func(n node, path string) {
			r.object(n, path, "a map of rows or tokens", fields{
				"rows":   r.positive(&s.Batch.Rows),
				"tokens": r.positive(&s.Batch.Tokens),
			})
		},
		"columns": r.texts(&s.Columns),
		"tensors": r.texts(&s.Tensors),
		"seed":    r.seed(&s.Seed),
	})
	s.Law = int(min(version, math.MaxInt32))
	return s
}

// offOr reads a map; the word off leaves everything in it at zero.
func (r *reader) offOr(want string, f fields) func(node, string) {
	return func(n node, path string) {
		if n.kind == textNode && n.text == Off {
			return
		}
		r.object(n, path, want, f)
	}
}

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

func (r *reader) weight(n node, path string, to *[]Weight) {
	list := []node{n}
	if n.kind == listNode {
		list = n.items
	}
	*to = make([]Weight, len(list))
	for i, item := range list {
		at, f := path, &(*to)[i]
		if n.kind == listNode {
			at = fmt.Sprintf("%s[%d]", path, i)
		}
		if item.kind == textNode {
			f.Name = item.text
			continue
		}
		f.Name = WeightExpr
		r.object(item, at, "a word, {expr: …} or a list of them", fields{"expr": r.text(&f.Expr)})
	}
}

func (r *reader) group(n node, path string, to *Group) {
	r.object(n, path, "a map of size, min, timeout, on_timeout, members, stats", fields{
		"size":       r.integer(&to.Size, "any"),
		"min":        r.positive(&to.Min),
		"timeout":    r.duration(&to.Timeout),
		"on_timeout": r.text(&to.OnTimeout),
		"members":    r.text(&to.Members),
		"stats":      r.text(&to.Stats),
	})
}

// positive reads a whole number from 1.
func (r *reader) positive(to *int64) func(node, string) {
	return func(n node, path string) {
		before := len(r.faults)
		r.integer(to, "")(n, path)
		if len(r.faults) == before && *to < 1 {
			r.fault(n, path, "", "a whole number from 1 is wanted, this is %s", n.text)
		}
	}
}

func (r *reader) strata(n node, path string, to *Strata) {
	var shares node
	r.object(n, path, "a map of by, shares, per, when_dry", fields{
		"by":       r.texts(&to.By),
		"shares":   func(n node, _ string) { shares = n },
		"per":      r.text(&to.Per),
		"when_dry": r.text(&to.WhenDry),
	})
	path += ".shares"
	switch shares.kind {
	case nullNode:
		if shares.line > 0 || slices.Contains(n.keys, "shares") {
			r.wrong(shares, path, "a map or a list of shares")
		}
	case mapNode:
		for i, key := range shares.keys {
			at := path + "." + key
			share := Share{Of: splitStratum(key, to.By)}
			r.share(&share.Parts)(shares.items[i], at)
			to.Shares = append(to.Shares, share)
		}
	case listNode:
		to.Shares = make([]Share, len(shares.items))
		for i, item := range shares.items {
			share := &to.Shares[i]
			r.object(item, fmt.Sprintf("%s[%d]", path, i), "a map of of, share", fields{
				"of":    r.texts(&share.Of),
				"share": r.share(&share.Parts),
			})
		}
	default:
		r.wrong(shares, path, "a map or a list of shares")
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

// didYouMean is a hint that names the nearest of the names, or all of them where
// none is near and they are few.
func didYouMean(got string, names []string) string {
	best, least := "", 1+max(len(got)/3, 1)
	for _, name := range names {
		if d := distance(strings.ToLower(got), name); d < least {
			best, least = name, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %s?", best)
	case len(names) <= 24:
		return "possible here: " + strings.Join(names, ", ")
	}
	return ""
}

// distance is the number of letters to insert, delete, replace or swap with their
// neighbour.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return math.MaxInt
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				cost++
			}
			cost = min(cost, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cost = min(cost, rows[i-2][j-2]+1)
			}
			rows[i][j] = cost
		}
	}
	return rows[len(a)][len(b)]
}
