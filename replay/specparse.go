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
		if d == 0 { // in a Spec the zero value is the default
			r.fault(n, path, "1ms does not wait either", "a duration above 0 is wanted")
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
		"split":    r.texts(&s.Split),
		"scorer":   r.text(&s.Scorer),
		"require": func(n node, path string) {
			r.object(n, path, "a map of columns, tensors", fields{"columns": r.texts(&s.Require.Columns), "tensors": r.texts(&s.Require.Tensors)})
		},
		"difficulty": func(n node, path string) { r.difficulty(n, path, &s.Difficulty) },
		"staleness":  func(n node, path string) { r.staleness(n, path, &s.Staleness) },
		"fresh":      func(n node, path string) { r.fresh(n, path, &s.Fresh) },
		"strata":     func(n node, path string) { r.strata(n, path, &s.Strata) },
		"weight":     func(n node, path string) { r.weight(n, path, &s.Weight) },
		"beta": func(n node, path string) {
			r.number(&s.Beta)(n, path)
			s.betaSaid = s.Beta == 0
		},
		"age_decay": func(n node, path string) { r.ageDecay(n, path, &s.AgeDecay) },
		"caps": r.offOr("a map of per_task, per_prompt, reuse, cooldown, or off", fields{
			"per_task":   r.integer(&s.Caps.PerTask, Off),
			"per_prompt": r.integer(&s.Caps.PerPrompt, Off),
			"reuse":      r.integer(&s.Caps.Reuse, Off),
			"cooldown":   r.integer(&s.Caps.Cooldown, Off),
		}),
		"limiter": r.offOr("a map of min_size, samples_per_insert, slack, or off", fields{
			"min_size":           r.integer(&s.Limiter.MinSize, ""),
			"samples_per_insert": r.number(&s.Limiter.SamplesPerInsert),
			"slack":              r.integer(&s.Limiter.Slack, ""),
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
