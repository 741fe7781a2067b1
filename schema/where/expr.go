package where

import (
	"slices"

	"trajlake/schema"
)

// kind is what a node of the parsed tree is.
type kind uint8

const (
	kindLiteral kind = iota
	kindColumn
	kindNegate
	kindArith    // op: + - * /
	kindCompare  // op: = <> < <= > >=
	kindDistinct // not: IS NOT DISTINCT FROM
	kindBetween
	kindIn
	kindLike
	kindIsNull
	kindAnd
	kindOr
	kindNot
	kindLen
	kindContains
)

// node is one node of the parsed tree, never changed after parsing. AND and OR
// hold all their operands in one node, so that long chains are not deep.
type node struct {
	kind   kind
	not    bool // NOT IN, NOT LIKE, NOT BETWEEN, IS NOT NULL, IS NOT DISTINCT FROM
	hasKey bool // of a column: path['key']
	op     string
	path   []string // of a column: its name and the fields below it
	text   string   // key of a map, pattern of LIKE
	escape string   // of LIKE; "" for none
	value  value
	kids   []*node
	pos    int // byte offset in the text
	depth  int
}

// Expr is a parsed predicate. A nil *Expr is the empty predicate: it selects
// every row, and all its methods work.
type Expr struct {
	root *node
	src  *source
}

// Scalar is a parsed arithmetic expression, such as the weight of a stream.
type Scalar struct {
	root *node
	src  *source
}

// String prints the predicate as SQL that parses to the same predicate and that
// DuckDB accepts with the same meaning; "" for the empty predicate.
func (e *Expr) String() string {
	if e == nil {
		return ""
	}
	return e.root.sql()
}

// String prints the expression as SQL that parses to the same expression.
func (s *Scalar) String() string { return s.root.sql() }

// Columns lists the names of the top-level columns that the predicate reads,
// lower case, sorted, each once. They are names of the folded view.
func (e *Expr) Columns() []string {
	if e == nil {
		return nil
	}
	return e.root.columns()
}

// Columns lists the names of the top-level columns that the expression reads,
// lower case, sorted, each once.
func (s *Scalar) Columns() []string { return s.root.columns() }

func (n *node) columns() []string {
	var out []string
	n.walk(func(n *node) {
		if n.kind == kindColumn {
			out = append(out, n.path[0])
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}

func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, k := range n.kids {
		k.walk(visit)
	}
}

// FoldedColumns is the column list of the folded view of trajectories: the
// table's own columns, where reward means the folded reward, and after them
// reward_raw (the row's own reward), priority and advantage (double, null where
// none was given) and quarantined (boolean, never null). The caller may append
// to it.
func FoldedColumns() []*schema.Column {
	out := slices.Clone(schema.Trajectories.Columns)
	return append(out,
		&schema.Column{Name: "reward_raw", Kind: schema.Double, Field: -1},
		&schema.Column{Name: "priority", Kind: schema.Double, Field: -1},
		&schema.Column{Name: "advantage", Kind: schema.Double, Field: -1},
		&schema.Column{Name: "quarantined", Kind: schema.Boolean, Required: true, Field: -1})
}
