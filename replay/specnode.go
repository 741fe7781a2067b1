package replay

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"trajlake/schema/canon"
)

const (
	maxSpecBytes = 1 << 20
	maxSpecDepth = 32
	maxSpecLines = 10_000 // of YAML: the parser's time grows with the square of a map's keys
)

// node is a value of a spec before it has a meaning, be it written in YAML or JSON.
type node struct {
	kind  nodeKind
	text  string // of a text; of a number as written
	items []node
	keys  []string // of a map: keys[i] belongs to items[i]
	line  int      // 0 if not known
}

type nodeKind uint8

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	textNode
	listNode
	mapNode
)

func (k nodeKind) String() string {
	return [...]string{"null", "a boolean", "a number", "a text", "a list", "a map"}[k]
}

// parseNode reads one YAML or JSON document.
func parseNode(data []byte) (node, error) {
	if len(data) > maxSpecBytes {
		return node{}, fmt.Errorf("it has %d bytes; at most %d are read", len(data), maxSpecBytes)
	}
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		if v, err := canon.Parse(data, canon.Limits{Depth: maxSpecDepth}); err == nil {
			return jsonNode(v), nil
		}
	}
	if line := tooDeep(data); line > 0 {
		return node{}, fmt.Errorf("line %d: nested deeper than %d", line, maxSpecDepth)
	}
	if lines := bytes.Count(data, []byte("\n")); lines > maxSpecLines {
		return node{}, fmt.Errorf("it has %d lines; at most %d are read", lines, maxSpecLines)
	}
	file, err := parseYAML(data)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil && syntax.GetToken().Position != nil {
			return node{}, fmt.Errorf("line %d: %s", syntax.GetToken().Position.Line, syntax.GetMessage())
		}
		return node{}, err
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			return node{}, fmt.Errorf("line %d: a second document begins; a spec is one", lineOf(doc.Body))
		}
		body = doc.Body
	}
	if body == nil {
		return node{kind: mapNode}, nil
	}
	return yamlNode(body, 0)
}

// parseYAML turns a panic of the parser into an error: specs come from anywhere.
func parseYAML(data []byte) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it cannot be read as YAML: %v", p)
		}
	}()
	return parser.ParseBytes(data, 0)
}

// tooDeep returns the line at which a document is nested so deeply that the
// parser, whose time grows with the square of the depth, would take long; 0 if it
// is not. It counts brackets, without regard to quotes, and indicators.
func tooDeep(data []byte) int {
	open, number := 0, 0
	for line := range strings.Lines(string(data)) {
		number++
		for _, c := range line {
			switch c {
			case '[', '{':
				open++
			case ']', '}':
				open = max(open-1, 0)
			}
			if open > maxSpecDepth {
				return number
			}
		}
		if indicators(line) > maxSpecDepth {
			return number
		}
	}
	return 0
}

// indicators counts what a line begins with that opens a nested value.
func indicators(line string) (n int) {
	for _, word := range strings.Fields(line) {
		if word != "-" && word != "?" && word != ":" && word[0] != '!' && word[0] != '&' {
			break
		}
		n++
	}
	return n
}

func jsonNode(v canon.Value) node {
	switch v.Kind() {
	case canon.Bool:
		b, _ := v.Bool()
		return node{kind: boolNode, text: fmt.Sprint(b)}
	case canon.Number:
		return node{kind: numberNode, text: v.Raw()}
	case canon.String:
		s, _ := v.Str()
		return node{kind: textNode, text: s}
	case canon.Array:
		n := node{kind: listNode}
		for _, item := range v.Items() {
			n.items = append(n.items, jsonNode(item))
		}
		return n
	case canon.Object:
		n := node{kind: mapNode}
		for key, item := range v.Members() {
			n.keys, n.items = append(n.keys, key), append(n.items, jsonNode(item))
		}
		return n
	}
	return node{}
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

func yamlNode(n ast.Node, depth int) (node, error) {
	out := node{line: lineOf(n)}
	if depth > maxSpecDepth {
		return out, fmt.Errorf("line %d: nested deeper than %d", out.line, maxSpecDepth)
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		out.kind, out.text = boolNode, n.Token.Value
	case *ast.IntegerNode:
		out.kind, out.text = numberNode, n.Token.Value
	case *ast.FloatNode:
		out.kind, out.text = numberNode, n.Token.Value
	case *ast.InfinityNode:
		out.kind, out.text = numberNode, n.Token.Value
	case *ast.NanNode:
		out.kind, out.text = numberNode, n.Token.Value
	case *ast.StringNode:
		out.kind, out.text = textNode, n.Value
	case *ast.LiteralNode:
		out.kind, out.text = textNode, n.Value.Value
	case *ast.SequenceNode:
		out.kind = listNode
		for _, value := range n.Values {
			item, err := yamlNode(value, depth+1)
			if err != nil {
				return out, err
			}
			out.items = append(out.items, item)
		}
	case *ast.MappingNode:
		out.kind = mapNode
		for _, pair := range n.Values {
			if err := out.addPair(pair, depth); err != nil {
				return out, err
			}
		}
	case *ast.MappingValueNode:
		out.kind = mapNode
		return out, out.addPair(n, depth)
	default:
		return out, fmt.Errorf("line %d: a spec has no anchors, aliases, tags or merge keys", out.line)
	}
	return out, nil
}

func (n *node) addPair(pair *ast.MappingValueNode, depth int) error {
	var key string
	switch k := pair.Key.(type) {
	case *ast.StringNode:
		key = k.Value
	case *ast.NullNode, *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		key = k.GetToken().Value
	default:
		return fmt.Errorf("line %d: a key of a spec is a word", lineOf(pair))
	}
	item, err := yamlNode(pair.Value, depth+1)
	if err != nil {
		return err
	}
	item.line = lineOf(pair.Key)
	n.keys, n.items = append(n.keys, key), append(n.items, item)
	return nil
}
