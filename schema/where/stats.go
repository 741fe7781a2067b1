package where

import (
	"strings"

	"trajlake/schema"
)

// Stats is what is known about the columns of a file, row group or page.
//
// Column gives bounds of the non-null values of a column (a nested field by its
// dotted name): no value is less than min or greater than max, which need not
// occur themselves, so cut strings and rounded instants are fine. Bounds are
// string, int64, float64, bool or schema.Time, or nil where unknown. nulls is
// the exact number of null rows and rows the number of rows; -1 where unknown.
// ok is false if nothing is known. Where a column's value in the reader's view
// can differ from the stored one (the folded reward), ok must be false.
type Stats interface {
	Column(name string) (min, max any, nulls, rows int64, ok bool)
}

// Verdict is what statistics say about a predicate.
type Verdict uint8

// The verdicts.
const (
	Maybe  Verdict = iota // some rows may be selected: look at them
	Never                 // no row can be selected
	Always                // every row is selected
)

// String is the verdict's name in lower case.
func (v Verdict) String() string { return [...]string{"maybe", "never", "always"}[v] }

// Stats says whether no row, every row or perhaps some row of what s describes
// is selected. It errs on the side of Maybe. Where the verdict is Never or
// Always, faults that evaluation would meet, such as overflow, are not reported.
func (b *Bound) Stats(s Stats) Verdict {
	switch o := b.pred.outcomes(s); {
	case o&can(True) == 0:
		return Never
	case o == can(True):
		return Always
	}
	return Maybe
}

// outcomes is a set of truths that holds at least all that occur.
type outcomes uint8

const anyOutcome = outcomes(1<<False | 1<<True | 1<<Unknown)

func can(t Truth) outcomes { return 1 << t }

func (o outcomes) has(t Truth) bool { return o&can(t) != 0 }

// span is what is known of a scalar's values: bounds, unknown where their class
// is null, whether some may be null, and whether some may be values.
type span struct {
	lo, hi value
	null   bool
	some   bool
}

var anySpan = span{null: true, some: true}

// below reports whether every value of s is certainly less than every one of t.
func (s span) below(t span) bool {
	return s.hi.cls != classNull && t.lo.cls != classNull && compareValues(s.hi, t.lo) < 0
}

// meets reports whether some value of s may equal one of t.
func (s span) meets(t span) bool { return !s.below(t) && !t.below(s) }

// point reports whether all values of s are the same.
func (s span) point() bool {
	return s.lo.cls != classNull && s.hi.cls != classNull && compareValues(s.lo, s.hi) == 0
}

// mayBeLess reports whether a value of s may be less than one of t.
func (s span) mayBeLess(t span) bool {
	return s.lo.cls == classNull || t.hi.cls == classNull || compareValues(s.lo, t.hi) < 0
}

func columnSpan(s Stats, name string, c class) span {
	low, high, nulls, rows, ok := s.Column(name)
	if !ok || nulls > rows && rows >= 0 {
		return anySpan
	}
	out := span{null: nulls != 0, some: nulls < 0 || rows < 0 || nulls < rows}
	if rows == 0 {
		return span{}
	}
	out.lo, out.hi = bound(low, c), bound(high, c)
	if out.lo.cls != classNull && out.hi.cls != classNull && compareValues(out.lo, out.hi) > 0 {
		out.lo, out.hi = value{}, value{}
	}
	return out
}

// bound is a bound of class c, or the null value where it is of another.
func bound(v any, c class) value {
	var out value
	switch v := v.(type) {
	case string:
		out = value{cls: classString, s: v}
	case int64:
		out = value{cls: classInt, i: v}
	case float64:
		if v == v {
			out = value{cls: classFloat, f: v}
		}
	case bool:
		out = boolValue(v)
	case schema.Time:
		out = value{cls: classTime, i: int64(v)}
	}
	if out.cls == c || out.cls.numeric() && c.numeric() {
		return out
	}
	return value{}
}

func (c columnScalar) span(s Stats) span { return columnSpan(s, c.name, c.cls) }

func (mapScalar) span(Stats) span { return anySpan }

func (lenScalar) span(Stats) span { return anySpan }

func (s *arithScalar) span(st Stats) span {
	a, b := s.a.span(st), s.b.span(st)
	return span{null: a.null || b.null, some: a.some && b.some}
}

func (s negateScalar) span(st Stats) span {
	x := s.x.span(st)
	return span{null: x.null, some: x.some}
}

func (c constScalar) span(Stats) span {
	v := value(c)
	if v.cls == classNull {
		return span{null: true}
	}
	if v.f != v.f {
		return span{some: true}
	}
	return span{lo: v, hi: v, some: true}
}

func (c constPredicate) outcomes(Stats) outcomes { return can(Truth(c)) }

func (c columnPredicate) outcomes(s Stats) outcomes {
	v := columnSpan(s, c.name, classBool)
	var out outcomes
	if v.null {
		out |= can(Unknown)
	}
	if v.some && (v.lo.cls == classNull || v.lo.i == 0) {
		out |= can(False)
	}
	if v.some && (v.hi.cls == classNull || v.hi.i == 1) {
		out |= can(True)
	}
	return out
}

func (p notPredicate) outcomes(s Stats) outcomes {
	of, out := p.of.outcomes(s), outcomes(0)
	for t := range Truth(3) {
		if of.has(t) {
			out |= can(notTable[t])
		}
	}
	return out
}

func (p *logicPredicate) outcomes(s Stats) outcomes {
	out := p.of[0].outcomes(s)
	for _, next := range p.of[1:] {
		out = combine(out, next.outcomes(s), func(x, y Truth) Truth { return p.table[x*3+y] })
	}
	return out
}

// combine is what f can give for truths out of a and b.
func combine(a, b outcomes, f func(x, y Truth) Truth) outcomes {
	var out outcomes
	for x := range Truth(3) {
		for y := range Truth(3) {
			if a.has(x) && b.has(y) {
				out |= can(f(x, y))
			}
		}
	}
	return out
}

func (p isNull) outcomes(s Stats) outcomes {
	v := p.of.span(s)
	var out outcomes
	if v.null {
		out |= can(True)
	}
	if v.some {
		out |= can(False)
	}
	return out
}

func (p isUnknown) outcomes(s Stats) outcomes {
	of, out := p.of.outcomes(s), outcomes(0)
	if of.has(Unknown) {
		out |= can(True)
	}
	if of.has(True) || of.has(False) {
		out |= can(False)
	}
	return out
}

func (p *comparePredicate) outcomes(s Stats) outcomes {
	a, b := p.a.span(s), p.b.span(s)
	var out outcomes
	if a.some && b.some {
		if a.mayBeLess(b) {
			out |= can(p.table[0])
		}
		if a.meets(b) {
			out |= can(p.table[1])
		}
		if b.mayBeLess(a) {
			out |= can(p.table[2])
		}
	}
	switch {
	case !p.distinct:
		if a.null && (b.null || b.some) || b.null && a.some {
			out |= can(Unknown)
		}
	default:
		if a.null && b.null {
			out |= can(False)
		}
		if a.null && b.some || a.some && b.null {
			out |= can(True)
		}
	}
	return out
}

func (p *compareBools) outcomes(s Stats) outcomes {
	return combine(p.a.outcomes(s), p.b.outcomes(s), p.of)
}

func (p *inPredicate) outcomes(s Stats) outcomes {
	x := p.x.span(s)
	var out outcomes
	if x.null {
		out |= can(Unknown)
	}
	if !x.some {
		return out
	}
	all := false
	for _, v := range p.items {
		item := span{lo: v, hi: v}
		if x.meets(item) {
			out |= can(True)
			all = all || x.point()
		}
	}
	switch {
	case all:
	case p.null:
		out |= can(Unknown)
	default:
		out |= can(False)
	}
	return out
}

func (p likePredicate) outcomes(s Stats) outcomes {
	x := p.x.span(s)
	var out outcomes
	if x.null {
		out |= can(Unknown)
	}
	if !x.some {
		return out
	}
	prefix := p.p.prefix
	lo, hi := x.lo.cls != classNull, x.hi.cls != classNull
	above := lo && x.lo.s > prefix && !strings.HasPrefix(x.lo.s, prefix)
	below := hi && x.hi.s < prefix
	if !above && !below {
		out |= can(True)
	}
	inside := lo && hi && strings.HasPrefix(x.lo.s, prefix) && strings.HasPrefix(x.hi.s, prefix)
	sure := p.p.only && (inside || prefix == "") || p.p.exact && x.point() && x.lo.s == prefix
	if !sure {
		out |= can(False)
	}
	return out
}

func (p containsPredicate) outcomes(s Stats) outcomes {
	return anyOutcome
}
