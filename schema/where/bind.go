package where

import (
	"strings"

	"trajlake/schema"
)

// Bound is a predicate whose names and types have been checked against a list
// of columns. It is immutable and safe for concurrent use.
type Bound struct {
	pred  predicate
	reads []*column
	src   *source
}

// BoundScalar is an arithmetic expression checked against a list of columns. It
// is immutable and safe for concurrent use.
type BoundScalar struct {
	term  scalar
	reads []*column
	src   *source
}

// predicate is a bound expression that is true, false or unknown.
type predicate interface {
	truths(b *batch) ([]Truth, error) // one per row; the caller may change it
	outcomes(s Stats) outcomes
}

// scalar is a bound expression with values of one class.
type scalar interface {
	class() class
	values(b *batch) (vec, error)
	span(s Stats) span
}

// column is one column, field or map that the expression reads.
type column struct {
	index int
	path  []string
	name  string // dotted
	of    *schema.Column
	cls   class
}

// operand is a bound node: a predicate if its class is boolean, else a scalar;
// a null literal is both.
type operand struct {
	node  *node
	pred  predicate
	term  scalar
	konst *value // set if the value is the same for all rows
}

func (o operand) class() class {
	if o.term != nil {
		return o.term.class()
	}
	return classBool
}

// Bind checks the predicate against the columns it may read: names exist, types
// go together, and the whole is a condition. Names match in any case. Errors are
// Usage faults with a PositionError and a hint.
func (e *Expr) Bind(cols []*schema.Column) (*Bound, error) {
	if e == nil {
		return &Bound{pred: constPredicate(True)}, nil
	}
	b := newBinder(&source{text: e.src.text, op: "check predicate"}, cols)
	o, err := b.bind(e.root)
	if err != nil {
		return nil, err
	}
	p, err := b.condition(o)
	if err != nil {
		return nil, err
	}
	return &Bound{pred: p, reads: b.reads, src: b.src}, nil
}

// Bind checks the expression against the columns it may read; it must be a
// number.
func (s *Scalar) Bind(cols []*schema.Column) (*BoundScalar, error) {
	b := newBinder(&source{text: s.src.text, op: "check expression"}, cols)
	o, err := b.bind(s.root)
	if err != nil {
		return nil, err
	}
	if c := o.class(); c != classNull && !c.numeric() {
		return nil, b.src.fail(s.root.pos, "", "the expression must be a number, not a %s", c)
	}
	return &BoundScalar{term: o.term, reads: b.reads, src: b.src}, nil
}

type binder struct {
	src   *source
	cols  map[string]*schema.Column
	names []string
	reads []*column
}

func newBinder(src *source, cols []*schema.Column) *binder {
	b := &binder{src: src, cols: make(map[string]*schema.Column, len(cols))}
	for _, c := range cols {
		b.cols[lower(c.Name)] = c
		b.names = append(b.names, lower(c.Name))
	}
	return b
}

func (b *binder) bind(n *node) (operand, error) {
	switch n.kind {
	case kindLiteral:
		return constant(n, n.value), nil
	case kindColumn:
		return b.column(n)
	case kindNegate, kindArith:
		return b.arith(n)
	case kindCompare, kindDistinct:
		return b.comparison(n)
	case kindBetween:
		return b.between(n)
	case kindIn:
		return b.in(n)
	case kindLike:
		return b.like(n)
	case kindIsNull:
		return b.isNull(n)
	case kindAnd, kindOr, kindNot:
		return b.logic(n)
	default:
		return b.call(n)
	}
}

// constant is the operand of one value.
func constant(n *node, v value) operand {
	o := operand{node: n, konst: &v}
	switch v.cls {
	case classBool:
		o.pred = constPredicate(False)
		if v.i != 0 {
			o.pred = constPredicate(True)
		}
	case classNull:
		o.pred, o.term = constPredicate(Unknown), constScalar(v)
	default:
		o.term = constScalar(v)
	}
	return o
}

// condition is the operand as a predicate.
func (b *binder) condition(o operand) (predicate, error) {
	if o.pred == nil {
		return nil, b.src.fail(o.node.pos, "a condition compares: reward > 0, status = 'completed', parent_id IS NULL", "expected a condition, found a %s", o.class())
	}
	return o.pred, nil
}

func (b *binder) logic(n *node) (operand, error) {
	preds := make([]predicate, len(n.kids))
	for i, k := range n.kids {
		o, err := b.bind(k)
		if err != nil {
			return operand{}, err
		}
		if preds[i], err = b.condition(o); err != nil {
			return operand{}, err
		}
	}
	switch n.kind {
	case kindAnd:
		return operand{node: n, pred: &logicPredicate{table: &andTable, unit: True, of: preds}}, nil
	case kindOr:
		return operand{node: n, pred: &logicPredicate{table: &orTable, unit: False, of: preds}}, nil
	}
	return operand{node: n, pred: notPredicate{preds[0]}}, nil
}

func negated(p predicate, not bool) predicate {
	if not {
		return notPredicate{p}
	}
	return p
}

func (b *binder) column(n *node) (operand, error) {
	c := b.cols[n.path[0]]
	if c == nil {
		return operand{}, b.unknown(n, n.path[0], "column", b.names)
	}
	for i, name := range n.path[1:] {
		if c.Kind != schema.Struct {
			hint := ""
			if c.Kind == schema.Map {
				hint = "a map is read as " + n.path[0] + "['" + name + "']"
			}
			return operand{}, b.src.fail(n.pos, hint, "%s is a %s and has no fields", strings.Join(n.path[:i+1], "."), classOf(c.Kind))
		}
		var next *schema.Column
		var fields []string
		for _, f := range c.Fields {
			if fields = append(fields, lower(f.Name)); fields[len(fields)-1] == name {
				next = f
			}
		}
		if next == nil {
			return operand{}, b.unknown(n, strings.Join(n.path[:i+2], "."), "field", fields)
		}
		c = next
	}
	col := b.read(n, c)
	switch {
	case n.hasKey && col.cls != classMap:
		return operand{}, b.src.fail(n.pos, "only maps have keys, for example metadata['branch']", "%s is a %s", col.name, col.cls)
	case n.hasKey:
		return operand{node: n, term: mapScalar{col, n.text}}, nil
	case col.cls == classBool:
		return operand{node: n, pred: columnPredicate{col}}, nil
	}
	return operand{node: n, term: columnScalar{col}}, nil
}

// read registers the column, once for all places that read it.
func (b *binder) read(n *node, c *schema.Column) *column {
	name := strings.Join(n.path, ".")
	for _, r := range b.reads {
		if r.of == c && r.name == name {
			return r
		}
	}
	col := &column{index: len(b.reads), path: n.path, name: name, of: c, cls: classOf(c.Kind)}
	b.reads = append(b.reads, col)
	return col
}

func (b *binder) unknown(n *node, name, what string, known []string) error {
	hint := ""
	if near := nearest(name[strings.LastIndexByte(name, '.')+1:], known); near != "" {
		hint = "did you mean " + near + "?"
	} else if what == "field" {
		hint = "its fields are " + strings.Join(known, ", ")
	}
	return withField(b.src.fail(n.pos, hint, "there is no %s %s", what, name), name)
}

func (b *binder) call(n *node) (operand, error) {
	list, err := b.bind(n.kids[0])
	if err != nil {
		return operand{}, err
	}
	col, ok := list.term.(columnScalar)
	isList := ok && col.cls == classList
	null := list.konst != nil && list.konst.cls == classNull
	if !isList && !null {
		return operand{}, b.src.fail(n.kids[0].pos, "list columns are, for example, turns, tool_kinds and flags", "expected a list, found a %s", list.class())
	}
	if n.kind == kindLen {
		if null {
			return constant(n, value{}), nil
		}
		return operand{node: n, term: lenScalar{col.column}}, nil
	}
	x, err := b.bind(n.kids[1])
	if err != nil || null {
		return constant(n, value{}), err
	}
	elem := operand{node: n.kids[0], term: columnScalar{&column{of: col.of.Elem, name: col.name, cls: classOf(col.of.Elem.Kind)}}}
	if elem.class() == classBool {
		elem.pred = columnPredicate{}
	}
	if _, x, err = b.match(n, elem, x, false); err != nil {
		return operand{}, err
	}
	if x.term == nil {
		return operand{}, b.src.fail(n.pos, "", "lists of booleans cannot be searched")
	}
	return operand{node: n, pred: containsPredicate{list: col.column, elem: elem.class(), x: x.term}}, nil
}
