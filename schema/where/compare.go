package where

import (
	"slices"

	"trajlake/schema/fault"
)

// levelColumns hold names of effort levels, whose order as text means nothing.
var levelColumns = []string{"effort", "effort_effective"}

// comparison binds = <> < <= > >= and IS [NOT] DISTINCT FROM.
func (b *binder) comparison(n *node) (operand, error) {
	left, err := b.bind(n.kids[0])
	if err != nil {
		return operand{}, err
	}
	right, err := b.bind(n.kids[1])
	if err != nil {
		return operand{}, err
	}
	op := n.op
	if n.kind == kindDistinct {
		op = "distinct"
	}
	p, err := b.compare(n, op, left, right)
	return operand{node: n, pred: negated(p, n.not)}, err
}

// compare makes the predicate left op right; op "distinct" is the comparison
// that treats null as a value.
func (b *binder) compare(n *node, op string, left, right operand) (predicate, error) {
	ordered := op != "=" && op != "<>" && op != "distinct"
	left, right, err := b.match(n, left, right, ordered)
	if err != nil {
		return nil, err
	}
	table := compareTables[op]
	if left.term == nil || right.term == nil {
		return &compareBools{table: table, distinct: op == "distinct", a: left.pred, b: right.pred}, nil
	}
	return &comparePredicate{table: table, distinct: op == "distinct", a: left.term, b: right.term}, nil
}

// match checks that two operands may be compared, and turns a string literal
// beside an instant into an instant.
func (b *binder) match(n *node, left, right operand, ordered bool) (operand, operand, error) {
	var err error
	if left, err = b.instant(left, right); err != nil {
		return left, right, err
	}
	if right, err = b.instant(right, left); err != nil {
		return left, right, err
	}
	if ordered {
		for _, o := range []operand{left, right} {
			if o.node.kind == kindColumn && len(o.node.path) == 1 && slices.Contains(levelColumns, o.node.path[0]) {
				err := b.src.fail(n.pos, "compare effort_level: none 0, minimal 10, low 20, medium 30, high 40, xhigh 50, max 60", "%s holds names of levels, which have no order as text", o.node.path[0])
				return left, right, withField(err, o.node.path[0])
			}
		}
	}
	l, r := left.class(), right.class()
	for _, c := range []class{l, r} {
		if !c.comparable() {
			return left, right, b.src.fail(n.pos, "it can be tested with IS NULL; lists have len and list_contains, maps keys, structs fields", "a %s has no = or order", c)
		}
	}
	if l != r && l != classNull && r != classNull && !(l.numeric() && r.numeric()) {
		hint := ""
		switch {
		case l == classString || r == classString:
			hint = "strings stand in single quotes, numbers without quotes"
		case l == classBool || r == classBool:
			hint = "write a boolean as true or false"
		}
		return left, right, b.src.fail(n.pos, hint, "%s and %s cannot be compared", l, r)
	}
	return inClass(left, r), inClass(right, l), nil
}

// inClass is a constant number in the class of what it is compared with, if that
// has exactly its value: comparing within a class is faster.
func inClass(o operand, c class) operand {
	if o.konst == nil {
		return o
	}
	switch v := *o.konst; {
	case v.cls == classInt && c == classFloat:
		if f := float64(v.i); compareIntFloat(v.i, f) == 0 {
			return constant(o.node, value{cls: classFloat, f: f})
		}
	case v.cls == classFloat && c == classInt:
		if i, ok := exactInt(v.f); ok {
			return constant(o.node, value{cls: classInt, i: i})
		}
	}
	return o
}

func (b *binder) instant(o, other operand) (operand, error) {
	if other.class() != classTime || o.konst == nil || o.konst.cls != classString {
		return o, nil
	}
	at, err := parseTime(o.konst.s)
	if err != nil {
		return o, b.src.fail(o.node.pos, "for example '2026-03-01 12:30:00', in UTC", "%v", err)
	}
	return constant(o.node, value{cls: classTime, i: int64(at)}), nil
}

func (b *binder) between(n *node) (operand, error) {
	var o [3]operand
	for i, k := range n.kids {
		var err error
		if o[i], err = b.bind(k); err != nil {
			return operand{}, err
		}
	}
	low, err := b.compare(n, ">=", o[0], o[1])
	if err != nil {
		return operand{}, err
	}
	high, err := b.compare(n, "<=", o[0], o[2])
	if err != nil {
		return operand{}, err
	}
	both := &logicPredicate{table: &andTable, unit: True, of: []predicate{low, high}}
	return operand{node: n, pred: negated(both, n.not)}, nil
}

// in binds IN: a set if the items are constants, else a chain of comparisons.
func (b *binder) in(n *node) (operand, error) {
	x, err := b.bind(n.kids[0])
	if err != nil {
		return operand{}, err
	}
	var items []value
	var chain []predicate
	allConst := x.term != nil && x.class() != classNull
	for _, k := range n.kids[1:] {
		item, err := b.bind(k)
		if err != nil {
			return operand{}, err
		}
		at := *n
		at.pos = k.pos
		if _, item, err = b.match(&at, x, item, false); err != nil {
			return operand{}, err
		}
		p, err := b.compare(&at, "=", x, item)
		if err != nil {
			return operand{}, err
		}
		chain = append(chain, p)
		if item.konst == nil || item.konst.f != item.konst.f {
			allConst = false // NaN is no key of a set
		} else {
			items = append(items, *item.konst)
		}
	}
	var p predicate = &logicPredicate{table: &orTable, unit: False, of: chain}
	if allConst {
		p = newInPredicate(x.term, items)
	}
	return operand{node: n, pred: negated(p, n.not)}, nil
}

func (b *binder) like(n *node) (operand, error) {
	x, err := b.bind(n.kids[0])
	if err != nil {
		return operand{}, err
	}
	if c := x.class(); c != classString && c != classNull {
		return operand{}, b.src.fail(n.pos, "", "LIKE needs a string, found a %s", c)
	}
	p, err := compileLike(n.text, n.escape)
	if err != nil {
		return operand{}, b.src.fail(n.pos, "", "%v", err)
	}
	return operand{node: n, pred: negated(likePredicate{x.term, p}, n.not)}, nil
}

func (b *binder) isNull(n *node) (operand, error) {
	x, err := b.bind(n.kids[0])
	if err != nil {
		return operand{}, err
	}
	if x.term == nil {
		return operand{node: n, pred: negated(isUnknown{x.pred}, n.not)}, nil
	}
	return operand{node: n, pred: negated(isNull{x.term}, n.not)}, nil
}

// arith binds + - * / and unary minus; constants are computed at once.
func (b *binder) arith(n *node) (operand, error) {
	var of [2]operand
	result, allConst, null := classInt, true, false
	for i, k := range n.kids {
		o, err := b.bind(k)
		if err != nil {
			return operand{}, err
		}
		c := o.class()
		switch {
		case c == classFloat:
			result = classFloat
		case c == classNull:
			null = true
		case c != classInt:
			return operand{}, b.src.fail(n.pos, "", "arithmetic needs numbers, found a %s", c)
		}
		allConst = allConst && o.konst != nil
		of[i] = o
	}
	if null {
		return constant(n, value{}), nil
	}
	if n.op == "/" {
		result = classFloat
	}
	place := place{b.src, n.pos}
	var t scalar = negateScalar{cls: result, x: of[0].term, at: place}
	if n.kind == kindArith {
		t = &arithScalar{op: n.op[0], cls: result, a: of[0].term, b: of[1].term, at: place}
	}
	if !allConst {
		return operand{node: n, term: t}, nil
	}
	v, err := t.values(&batch{n: 1})
	if err != nil {
		return operand{}, err
	}
	if result == classInt {
		return constant(n, value{cls: classInt, i: v.ints[0]}), nil
	}
	return constant(n, value{cls: classFloat, f: v.floats[0]}), nil
}

// place is where in the text an expression stands, for errors while evaluating.
type place struct {
	src *source
	pos int
}

func (p place) overflow() error {
	src := &source{text: p.src.text, op: "evaluate predicate"}
	return src.fail(p.pos, "make one operand a float, for example by * 1e0", "the result does not fit a 64-bit integer")
}

func withField(err error, name string) error {
	if e, ok := err.(*fault.Error); ok {
		return e.WithField(name)
	}
	return err
}
