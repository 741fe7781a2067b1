package where

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a predicate's text. Chains of AND, OR and IN lists may be as long as
// the text; nesting of any other sort may not.
const (
	MaxText  = 64 << 10 // bytes
	MaxDepth = 200      // levels of parentheses, NOT, minus and chained arithmetic
)

// Parse reads a predicate. Blank text is the empty predicate, a nil *Expr, which
// selects everything. Errors are Usage faults with a PositionError and a hint.
func Parse(text string) (*Expr, error) {
	src := &source{text: text, op: "parse predicate"}
	if strings.Trim(text, " \t\r\n") == "" {
		return nil, nil
	}
	root, err := parse(src)
	if err != nil {
		return nil, err
	}
	return &Expr{root: root, src: src}, nil
}

// ParseScalar reads an arithmetic expression of the same grammar, such as
// `reward * priority / (1 + num_tool_errors)`. Blank text is an error.
func ParseScalar(text string) (*Scalar, error) {
	src := &source{text: text, op: "parse expression"}
	root, err := parse(src)
	if err != nil {
		return nil, err
	}
	return &Scalar{root: root, src: src}, nil
}

func parse(src *source) (*node, error) {
	if len(src.text) > MaxText {
		return nil, src.fail(MaxText, "put long lists of ids into a file or an annotation", "the text has %d bytes, the limit is %d", len(src.text), MaxText)
	}
	if !utf8.ValidString(src.text) || strings.IndexByte(src.text, 0) >= 0 {
		at := strings.IndexByte(src.text, 0)
		for i, r := range src.text {
			if r == utf8.RuneError || r == 0 {
				at = i
				break
			}
		}
		return nil, src.fail(at, "", "the text is not valid UTF-8 without NUL bytes")
	}
	tokens, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{src: src, tokens: tokens}
	root, err := p.or()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokEnd {
		return nil, p.unexpected(t, "AND, OR or the end")
	}
	return root, nil
}

type parser struct {
	src    *source
	tokens []token
	next   int
	depth  int
}

func (p *parser) peek() token { return p.tokens[p.next] }

func (p *parser) take() token {
	t := p.tokens[p.next]
	if t.kind != tokEnd {
		p.next++
	}
	return t
}

// accept takes the next token if it is the keyword or symbol.
func (p *parser) accept(text string) bool {
	if p.peek().is(text) {
		p.next++
		return true
	}
	return false
}

func (p *parser) expect(text string) error {
	if p.accept(text) {
		return nil
	}
	return p.unexpected(p.peek(), "`"+strings.ToUpper(text)+"`")
}

func (p *parser) unexpected(t token, want string) error {
	hint := ""
	if t.kind == tokWord && reserved[t.text] {
		hint = "a column of this name is written \"" + t.text + "\", in double quotes"
	}
	return p.src.fail(t.pos, hint, "expected %s, found %s", want, t.describe())
}

// enter counts one level of nesting; the caller leaves by p.depth--.
func (p *parser) enter(pos int) error {
	if p.depth++; p.depth > MaxDepth {
		return p.tooDeep(pos)
	}
	return nil
}

func (p *parser) tooDeep(pos int) error {
	return p.src.fail(pos, "chains of AND, OR and IN lists may be long; other nesting may not", "nested deeper than %d levels", MaxDepth)
}

// make finishes a node: its depth is one above its deepest operand's.
func (p *parser) make(n node) (*node, error) {
	for _, k := range n.kids {
		n.depth = max(n.depth, k.depth)
	}
	if n.depth++; n.depth > MaxDepth {
		return nil, p.tooDeep(n.pos)
	}
	return &n, nil
}

func (p *parser) or() (*node, error)  { return p.chain("or", kindOr, p.and) }
func (p *parser) and() (*node, error) { return p.chain("and", kindAnd, p.not) }

func (p *parser) chain(word string, k kind, operand func() (*node, error)) (*node, error) {
	first, err := operand()
	if err != nil || !p.peek().is(word) {
		return first, err
	}
	n := node{kind: k, pos: p.peek().pos, kids: []*node{first}}
	for p.accept(word) {
		next, err := operand()
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, next)
	}
	return p.make(n)
}

func (p *parser) not() (*node, error) {
	t := p.peek()
	if !p.accept("not") {
		return p.predicate()
	}
	if err := p.enter(t.pos); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	x, err := p.not()
	if err != nil {
		return nil, err
	}
	return p.make(node{kind: kindNot, pos: t.pos, kids: []*node{x}})
}

// predicate is one comparison, or an operand alone. Comparisons do not chain:
// what `a = b IS NULL` means differs between readers, so it needs parentheses.
func (p *parser) predicate() (*node, error) {
	left, err := p.additive()
	if err != nil {
		return nil, err
	}
	n, err := p.comparison(left)
	if err != nil || n == nil {
		return left, err
	}
	t := p.peek()
	for _, word := range []string{"=", "<>", "<", "<=", ">", ">=", "is", "in", "like", "between", "not"} {
		if t.is(word) {
			return nil, p.src.fail(t.pos, "put parentheses around one of the comparisons, or AND between them", "comparisons do not chain: unexpected %s", t.describe())
		}
	}
	return n, nil
}

// comparison reads what follows the left operand; nil, nil if nothing does.
func (p *parser) comparison(left *node) (*node, error) {
	t := p.peek()
	if t.kind == tokSymbol {
		switch t.text {
		case "=", "<>", "<", "<=", ">", ">=":
			p.take()
			right, err := p.additive()
			if err != nil {
				return nil, err
			}
			return p.make(node{kind: kindCompare, op: t.text, pos: t.pos, kids: []*node{left, right}})
		}
		return nil, nil
	}
	if p.accept("is") {
		return p.is(left, t.pos)
	}
	not := p.accept("not")
	switch {
	case p.accept("between"):
		return p.between(left, not, t.pos)
	case p.accept("in"):
		return p.in(left, not, t.pos)
	case p.accept("like"):
		return p.like(left, not, t.pos)
	case not:
		return nil, p.unexpected(p.peek(), "BETWEEN, IN or LIKE after NOT")
	}
	return nil, nil
}

func (p *parser) is(left *node, pos int) (*node, error) {
	not := p.accept("not")
	if p.accept("null") {
		return p.make(node{kind: kindIsNull, not: not, pos: pos, kids: []*node{left}})
	}
	if !p.accept("distinct") {
		return nil, p.unexpected(p.peek(), "NULL or DISTINCT FROM")
	}
	if err := p.expect("from"); err != nil {
		return nil, err
	}
	right, err := p.additive()
	if err != nil {
		return nil, err
	}
	return p.make(node{kind: kindDistinct, not: not, pos: pos, kids: []*node{left, right}})
}

func (p *parser) between(left *node, not bool, pos int) (*node, error) {
	low, err := p.additive()
	if err != nil {
		return nil, err
	}
	if err := p.expect("and"); err != nil {
		return nil, err
	}
	high, err := p.additive()
	if err != nil {
		return nil, err
	}
	return p.make(node{kind: kindBetween, not: not, pos: pos, kids: []*node{left, low, high}})
}

func (p *parser) in(left *node, not bool, pos int) (*node, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	n := node{kind: kindIn, not: not, pos: pos, kids: []*node{left}}
	for {
		item, err := p.additive()
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, item)
		if !p.accept(",") {
			break
		}
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	return p.make(n)
}

func (p *parser) like(left *node, not bool, pos int) (*node, error) {
	t := p.take()
	if t.kind != tokString {
		return nil, p.src.fail(t.pos, "a pattern is a string literal: LIKE 'swe-%'", "expected a pattern, found %s", t.describe())
	}
	n := node{kind: kindLike, not: not, text: t.text, pos: pos, kids: []*node{left}}
	if p.accept("escape") {
		e := p.take()
		if e.kind != tokString || len(e.text) > 1 || e.text >= "\x80" {
			return nil, p.src.fail(e.pos, `for example LIKE '10\%' ESCAPE '\'`, "expected one ASCII character in quotes after ESCAPE, found %s", e.describe())
		}
		n.escape = e.text
	}
	if _, err := compileLike(n.text, n.escape); err != nil {
		return nil, p.src.fail(t.pos, "write the escape character twice to mean itself", "%v", err)
	}
	return p.make(n)
}

func (p *parser) additive() (*node, error)       { return p.arith("+", "-", p.multiplicative) }
func (p *parser) multiplicative() (*node, error) { return p.arith("*", "/", p.unary) }

func (p *parser) arith(op1, op2 string, operand func() (*node, error)) (*node, error) {
	left, err := operand()
	for err == nil && (p.peek().is(op1) || p.peek().is(op2)) {
		t := p.take()
		var right *node
		if right, err = operand(); err != nil {
			break
		}
		left, err = p.make(node{kind: kindArith, op: t.text, pos: t.pos, kids: []*node{left, right}})
	}
	return left, err
}

func (p *parser) unary() (*node, error) {
	t := p.peek()
	if !p.accept("-") {
		return p.primary()
	}
	if n := p.peek(); n.kind == tokInt { // so that the least integer can be written
		if v, err := strconv.ParseInt("-"+n.text, 10, 64); err == nil {
			p.take()
			return p.make(node{kind: kindLiteral, pos: t.pos, value: value{cls: classInt, i: v}})
		}
	}
	if err := p.enter(t.pos); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	x, err := p.unary()
	if err != nil {
		return nil, err
	}
	if x.kind == kindLiteral { // -5 is a literal, so that it prints and parses as one
		switch v := x.value; {
		case v.cls == classFloat:
			v.f = -v.f
			return p.make(node{kind: kindLiteral, pos: t.pos, value: v})
		case v.cls == classInt && v.i != math.MinInt64:
			v.i = -v.i
			return p.make(node{kind: kindLiteral, pos: t.pos, value: v})
		}
	}
	return p.make(node{kind: kindNegate, pos: t.pos, kids: []*node{x}})
}

func (p *parser) primary() (*node, error) {
	t := p.take()
	switch t.kind {
	case tokString:
		return p.make(node{kind: kindLiteral, pos: t.pos, value: value{cls: classString, s: t.text}})
	case tokInt:
		v, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			return nil, p.src.fail(t.pos, "write it as a float, for example 1e19", "the integer %s does not fit 64 bits", t.text)
		}
		return p.make(node{kind: kindLiteral, pos: t.pos, value: value{cls: classInt, i: v}})
	case tokFloat:
		v, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			return nil, p.src.fail(t.pos, "", "the number %s does not fit a 64-bit float", t.text)
		}
		return p.make(node{kind: kindLiteral, pos: t.pos, value: value{cls: classFloat, f: v}})
	case tokQuoted:
		return p.column(t)
	case tokWord:
		return p.word(t)
	}
	if t.is("(") {
		if err := p.enter(t.pos); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		return n, p.expect(")")
	}
	return nil, p.unexpected(t, "a column, a literal or `(`")
}

// word is a keyword literal, a function call or a column.
func (p *parser) word(t token) (*node, error) {
	switch t.text {
	case "true", "false":
		return p.make(node{kind: kindLiteral, pos: t.pos, value: boolValue(t.text == "true")})
	case "null":
		return p.make(node{kind: kindLiteral, pos: t.pos})
	}
	switch next := p.peek(); {
	case next.is("("):
		return p.call(t)
	case next.kind == tokString && (t.text == "timestamp" || t.text == "timestamptz"):
		at, err := parseTime(next.text)
		if err != nil {
			return nil, p.src.fail(next.pos, "for example TIMESTAMP '2026-03-01 12:30:00', in UTC", "%v", err)
		}
		if t.text == "timestamp" && hasOffset(next.text) {
			return nil, p.src.fail(next.pos, "write TIMESTAMPTZ, or give the time in UTC", "a TIMESTAMP has no time zone: readers differ in what they do with one")
		}
		p.take()
		return p.make(node{kind: kindLiteral, pos: t.pos, value: value{cls: classTime, i: int64(at)}})
	case next.kind == tokString:
		return nil, p.src.fail(t.pos, "literals are numbers, 'strings', true, false, null and TIMESTAMP '…'", "`%s '…'` is not a literal here", t.text)
	}
	if reserved[t.text] {
		return nil, p.unexpected(t, "a column, a literal or `(`")
	}
	return p.column(t)
}

// call is len(x) or list_contains(list, x).
func (p *parser) call(name token) (*node, error) {
	n := node{pos: name.pos}
	args := 1
	switch name.text {
	case "len":
		n.kind = kindLen
	case "list_contains":
		n.kind, args = kindContains, 2
	default:
		return nil, p.src.fail(name.pos, "the functions are len(list) and list_contains(list, value)", "there is no function %s", name.text)
	}
	if err := p.enter(name.pos); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.take() // the parenthesis
	for i := range args {
		if i > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		arg, err := p.additive()
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, arg)
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	return p.make(n)
}

// column is name, name.field… or path['key'].
func (p *parser) column(t token) (*node, error) {
	n := node{kind: kindColumn, pos: t.pos, path: []string{t.text}}
	for p.accept(".") {
		field := p.take()
		if field.kind != tokWord && field.kind != tokQuoted {
			return nil, p.unexpected(field, "a field's name after `.`")
		}
		n.path = append(n.path, field.text)
		if len(n.path) > MaxDepth {
			return nil, p.tooDeep(field.pos)
		}
	}
	if p.accept("[") {
		key := p.take()
		if key.kind != tokString {
			return nil, p.src.fail(key.pos, "for example metadata['branch']", "expected a key in quotes, found %s", key.describe())
		}
		n.hasKey, n.text = true, key.text
		if err := p.expect("]"); err != nil {
			return nil, err
		}
	}
	return p.make(n)
}
