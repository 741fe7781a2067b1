package where

import "strings"

// Levels of binding, loosest first, as SQL has them.
const (
	levelOr = iota + 1
	levelAnd
	levelNot
	levelCompare
	levelSum
	levelProduct
	levelUnary
	levelPrimary
)

func (n *node) level() int {
	switch n.kind {
	case kindOr:
		return levelOr
	case kindAnd:
		return levelAnd
	case kindNot:
		return levelNot
	case kindCompare, kindDistinct, kindBetween, kindIn, kindLike, kindIsNull:
		return levelCompare
	case kindArith:
		if n.op == "+" || n.op == "-" {
			return levelSum
		}
		return levelProduct
	case kindNegate:
		return levelUnary
	case kindLiteral:
		if v := n.value; v.cls == classInt && v.i < 0 || v.cls == classFloat && strings.HasPrefix(v.sql(), "-") {
			return levelUnary
		}
	}
	return levelPrimary
}

func (n *node) sql() string {
	var b strings.Builder
	n.print(&b, levelOr)
	return b.String()
}

// print writes n, in parentheses if it binds more loosely than its place needs.
func (n *node) print(b *strings.Builder, least int) {
	if n.level() < least {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	not := ""
	if n.not {
		not = "NOT "
	}
	switch n.kind {
	case kindLiteral:
		b.WriteString(n.value.sql())
	case kindColumn:
		n.printColumn(b)
	case kindNegate:
		b.WriteByte('-')
		n.kids[0].print(b, levelPrimary)
	case kindArith:
		n.kids[0].print(b, n.level())
		b.WriteString(" " + n.op + " ")
		n.kids[1].print(b, n.level()+1)
	case kindCompare:
		n.printOperands(b, " "+n.op+" ")
	case kindDistinct:
		n.printOperands(b, " IS "+not+"DISTINCT FROM ")
	case kindBetween:
		n.kids[0].print(b, levelSum)
		b.WriteString(" " + not + "BETWEEN ")
		n.kids[1].print(b, levelSum)
		b.WriteString(" AND ")
		n.kids[2].print(b, levelSum)
	case kindIn:
		n.kids[0].print(b, levelSum)
		b.WriteString(" " + not + "IN (")
		printList(b, n.kids[1:], levelSum, ", ")
		b.WriteByte(')')
	case kindLike:
		n.kids[0].print(b, levelSum)
		b.WriteString(" " + not + "LIKE " + value{cls: classString, s: n.text}.sql())
		if n.escape != "" {
			b.WriteString(" ESCAPE " + value{cls: classString, s: n.escape}.sql())
		}
	case kindIsNull:
		n.kids[0].print(b, levelSum)
		b.WriteString(" IS " + not + "NULL")
	case kindAnd:
		printList(b, n.kids, levelNot, " AND ")
	case kindOr:
		printList(b, n.kids, levelAnd, " OR ")
	case kindNot:
		b.WriteString("NOT ")
		n.kids[0].print(b, levelNot)
	case kindLen:
		b.WriteString("len(")
		printList(b, n.kids, levelSum, ", ")
		b.WriteByte(')')
	case kindContains:
		b.WriteString("list_contains(")
		printList(b, n.kids, levelSum, ", ")
		b.WriteByte(')')
	}
}

func (n *node) printOperands(b *strings.Builder, op string) {
	n.kids[0].print(b, levelSum)
	b.WriteString(op)
	n.kids[1].print(b, levelSum)
}

func (n *node) printColumn(b *strings.Builder) {
	for i, name := range n.path {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(sqlName(name))
	}
	if n.hasKey {
		b.WriteString("[" + value{cls: classString, s: n.text}.sql() + "]")
	}
}

func printList(b *strings.Builder, nodes []*node, least int, sep string) {
	for i, k := range nodes {
		if i > 0 {
			b.WriteString(sep)
		}
		k.print(b, least)
	}
}

// sqlName is the name as SQL, in double quotes where it needs them.
func sqlName(name string) string {
	if name != "" && wordEnd(name, 0) == len(name) && !isDigit(name[0]) && !reserved[name] && !quoted[name] {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
