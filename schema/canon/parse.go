package canon

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// Limits bounds what Parse accepts. The zero value is the defaults.
type Limits struct {
	Depth int   // greatest nesting of arrays and objects; 0 = 512
	Bytes int64 // greatest size of the document in bytes; 0 = 4 GiB - 1, which is also the most
}

const (
	inPlaceFrom  = 1 << 20
	maxValues    = 8 << 20 // of one document, arrays of numbers not counted
	defaultDepth = 512
	maxDepth     = 100_000
)

func (l Limits) depth() int {
	switch {
	case l.Depth <= 0:
		return defaultDepth
	case l.Depth > maxDepth:
		return maxDepth
	}
	return l.Depth
}

func (l Limits) bytes() int64 {
	if l.Bytes <= 0 || l.Bytes > math.MaxUint32 {
		return math.MaxUint32
	}
	return l.Bytes
}

// SyntaxError is why and where a document is not acceptable JSON.
type SyntaxError struct {
	Offset int64  // bytes from the start of the document (or of the input, from a Scanner)
	Line   int    // from 1
	Path   string // where in the document: turns[3].text; "" at the top
	Msg    string
}

// Error is one line with place and reason.
func (e *SyntaxError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("line %d, byte %d: %s", e.Line, e.Offset, e.Msg)
	}
	return fmt.Sprintf("line %d, byte %d: %s: %s", e.Line, e.Offset, e.Path, e.Msg)
}

// Parse reads data as one whole document. It copies data once and holds no
// reference to it. The error is always a *SyntaxError.
func Parse(data []byte, lim Limits) (Value, error) {
	if int64(len(data)) > lim.bytes() {
		return Value{}, tooLarge(int64(len(data)), lim)
	}
	return parseOwned(string(data), lim) // nobody else has this copy
}

func tooLarge(size int64, lim Limits) *SyntaxError {
	return &SyntaxError{Offset: lim.bytes(), Line: 1, Msg: fmt.Sprintf("document of %d bytes is larger than the limit of %d", size, lim.bytes())}
}

func parseOwned(s string, lim Limits) (Value, error) {
	v, end, err := parsePrefix(s, true, lim)
	if err != nil {
		return Value{}, err
	}
	if end < len(s) {
		p := parser{s: s, i: end}
		return Value{}, p.error(p.unexpected("text after the end of the document"))
	}
	return v, nil
}

// parsePrefix reads the first document of s and the blanks around it; end is
// where the next one would begin. Of a large document that is owned, which nobody
// else reads, strings with escapes are decoded where they stand.
func parsePrefix(s string, owned bool, lim Limits) (v Value, end int, err error) {
	if int64(len(s)) > lim.bytes() {
		return Value{}, 0, tooLarge(int64(len(s)), lim)
	}
	p := parser{s: s, depth: lim.depth(), inPlace: owned && len(s) >= inPlaceFrom}
	if !utf8.ValidString(s) {
		p.badUTF8 = invalidAt(s)
	} else {
		p.badUTF8 = len(s)
	}
	p.space()
	v, fail := p.value()
	if fail != "" {
		return Value{}, 0, p.error(fail)
	}
	p.space()
	return v, p.i, nil
}

func invalidAt(s string) int {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(s)
}

// parser holds one run over one document. Children are gathered on stacks and
// copied out at their exact number; small slices share slabs.
type parser struct {
	s       string
	i       int
	depth   int // levels left
	badUTF8 int // offset of the first invalid byte; len(s) if none
	inPlace bool
	values  int
	decoded int // line feeds that decoding in place has put into s
	path    []string
	mstack  []Member
	vstack  []Value
	ends    []uint32
	mslab   []Member
	vslab   []Value
	seen    map[string]struct{}
}

// maxPath is about how many bytes of the path to a fault an error shows.
const maxPath = 160

func (p *parser) error(msg string) *SyntaxError {
	var b strings.Builder
	for k := len(p.path) - 1; k >= 0; k-- {
		if e := p.path[k]; e[0] == '[' || b.Len() == 0 {
			b.WriteString(strings.TrimPrefix(e, "."))
		} else {
			b.WriteString(e)
		}
		if b.Len() > maxPath { // of a document that is nested too deeply, say
			b.WriteString("…")
			break
		}
	}
	i := min(p.i, len(p.s))
	return &SyntaxError{Offset: int64(i), Line: 1 + strings.Count(p.s[:i], "\n") - p.decoded, Path: b.String(), Msg: msg}
}

// inKey and inItem note on the way out of a failed parse where it happened.
func (p *parser) inKey(key string) {
	if len(key) > 100 {
		key = strings.ToValidUTF8(key[:100], "") + "…"
	}
	if plainKey(key) {
		p.path = append(p.path, "."+key)
	} else {
		p.path = append(p.path, "["+strconv.Quote(key)+"]")
	}
}

func (p *parser) inItem(i int) { p.path = append(p.path, "["+strconv.Itoa(i)+"]") }

func plainKey(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && c != '-' && !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != ""
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func (p *parser) space() {
	for p.i < len(p.s) && isSpace(p.s[p.i]) {
		p.i++
	}
}

func (p *parser) unexpected(what string) string {
	if p.i >= len(p.s) {
		return "the document ends too early"
	}
	r, _ := utf8.DecodeRuneInString(p.s[p.i:])
	return fmt.Sprintf("%s: %q", what, r)
}

// value reads one value at p.i; a non-empty second result is the failure.
func (p *parser) value() (Value, string) {
	if p.i >= len(p.s) {
		return Value{}, "the document ends too early"
	}
	if p.values++; p.values > maxValues {
		return Value{}, fmt.Sprintf("the document holds more than %d values", maxValues)
	}
	switch c := p.s[p.i]; {
	case c == '"':
		s, fail := p.str()
		return textValue(String, s), fail
	case c == '{':
		return p.object()
	case c == '[':
		return p.array()
	case c == '-' || isDigit(c):
		return p.number()
	case c == 't':
		return p.literal("true", BoolOf(true))
	case c == 'f':
		return p.literal("false", BoolOf(false))
	case c == 'n':
		return p.literal("null", Value{})
	}
	return Value{}, p.notAValue()
}

func (p *parser) notAValue() string {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if strings.HasPrefix(p.s[p.i:], word) {
			return word + " is no JSON number: write null or leave the key out"
		}
	}
	return p.unexpected("no JSON value begins with")
}

func (p *parser) literal(word string, v Value) (Value, string) {
	if !strings.HasPrefix(p.s[p.i:], word) {
		return Value{}, p.unexpected("no JSON value begins with")
	}
	p.i += len(word)
	return v, ""
}

func (p *parser) number() (Value, string) {
	n := numberLen(p.s[p.i:])
	if n == 0 {
		if strings.HasPrefix(p.s[p.i:], "-I") {
			return Value{}, p.notAValue()
		}
		return Value{}, "malformed number"
	}
	if end := p.i + n; end < len(p.s) {
		if c := p.s[end]; isDigit(c) || c == '.' || c|0x20 == 'e' {
			return Value{}, "malformed number"
		}
	}
	v := textValue(Number, p.s[p.i:p.i+n])
	p.i += n
	return v, ""
}

func (p *parser) enter() string {
	p.depth--
	if p.depth < 0 {
		return "nested deeper than the limit"
	}
	p.i++
	p.space()
	return ""
}

func (p *parser) object() (Value, string) {
	if fail := p.enter(); fail != "" {
		return Value{}, fail
	}
	base := len(p.mstack)
	if p.i < len(p.s) && p.s[p.i] == '}' {
		p.i++
		p.depth++
		return objectOf(nil), ""
	}
	for {
		if p.i >= len(p.s) || p.s[p.i] != '"' {
			return Value{}, p.unexpected("a key in double quotes expected, found")
		}
		key, fail := p.str()
		if fail != "" {
			return Value{}, fail
		}
		p.space()
		if p.i >= len(p.s) || p.s[p.i] != ':' {
			p.inKey(key)
			return Value{}, p.unexpected("':' expected, found")
		}
		p.i++
		p.space()
		v, fail := p.value()
		if fail != "" {
			p.inKey(key)
			return Value{}, fail
		}
		p.mstack = append(p.mstack, Member{key, v})
		p.space()
		if p.i < len(p.s) && p.s[p.i] == ',' {
			p.i++
			p.space()
			continue
		}
		if p.i >= len(p.s) || p.s[p.i] != '}' {
			return Value{}, p.unexpected("',' or '}' expected, found")
		}
		break
	}
	got := p.mstack[base:]
	if dup := duplicateKey(got, &p.seen); dup >= 0 {
		p.inKey(got[dup].Key)
		return Value{}, "the key stands twice in its object"
	}
	p.i++
	p.depth++
	m := take(&p.mslab, got)
	p.mstack = p.mstack[:base]
	return objectOf(m), ""
}

func (p *parser) array() (Value, string) {
	if fail := p.enter(); fail != "" {
		return Value{}, fail
	}
	if p.i < len(p.s) && p.s[p.i] == ']' {
		p.i++
		p.depth++
		return arrayOf(nil), ""
	}
	base := len(p.vstack)
	if p.i < len(p.s) && (p.s[p.i] == '-' || isDigit(p.s[p.i])) {
		v, done, fail := p.numbers()
		if done || fail != "" {
			return v, fail
		}
	}
	for {
		v, fail := p.value()
		if fail != "" {
			p.inItem(len(p.vstack) - base)
			return Value{}, fail
		}
		p.vstack = append(p.vstack, v)
		p.space()
		if p.i < len(p.s) && p.s[p.i] == ',' {
			p.i++
			p.space()
			continue
		}
		if p.i >= len(p.s) || p.s[p.i] != ']' {
			p.inItem(len(p.vstack) - base)
			return Value{}, p.unexpected("',' or ']' expected, found")
		}
		break
	}
	p.i++
	p.depth++
	a := take(&p.vslab, p.vstack[base:])
	p.vstack = p.vstack[:base]
	return arrayOf(a), ""
}

// numbers reads an array as a numArray as long as its elements are numbers; at
// the first that is none, those before it go to the stack and done is false.
func (p *parser) numbers() (v Value, done bool, fail string) {
	start := p.i
	p.ends = p.ends[:0]
	for p.i < len(p.s) && (p.s[p.i] == '-' || isDigit(p.s[p.i])) {
		if _, fail := p.number(); fail != "" {
			p.inItem(len(p.ends))
			return Value{}, false, fail
		}
		p.ends = append(p.ends, uint32(p.i-start))
		p.space()
		if p.i < len(p.s) && p.s[p.i] == ',' {
			p.i++
			p.space()
			continue
		}
		if p.i >= len(p.s) || p.s[p.i] != ']' {
			p.inItem(len(p.ends))
			return Value{}, false, p.unexpected("',' or ']' expected, found")
		}
		a := &numArray{text: p.s[start : start+int(p.ends[len(p.ends)-1])], ends: append([]uint32(nil), p.ends...)}
		p.i++
		p.depth++
		return Value{unsafe.Pointer(a), uint64(Array)<<kindShift | numericFlag | uint64(len(a.ends))}, true, ""
	}
	a := numArray{p.s[start:], p.ends}
	for i := range p.ends {
		p.vstack = append(p.vstack, a.at(i))
	}
	return Value{}, false, ""
}

// take copies got to a slice of its exact length, small ones out of a shared slab.
func take[T any](slab *[]T, got []T) []T {
	const least, most = 32, 1024
	n := len(got)
	if n > cap(*slab)-len(*slab) {
		next := min(max(2*cap(*slab), least), most)
		if n > next/4 {
			return append([]T(nil), got...)
		}
		*slab = make([]T, 0, next)
	}
	at := len(*slab)
	*slab = append(*slab, got...)
	return (*slab)[at : at+n : at+n]
}

// duplicateKey is the index of the first member whose key stands before it; -1 if none.
func duplicateKey(ms []Member, seen *map[string]struct{}) int {
	if len(ms) <= 12 {
		for i := 1; i < len(ms); i++ {
			for j := range i {
				if ms[i].Key == ms[j].Key {
					return i
				}
			}
		}
		return -1
	}
	var own map[string]struct{}
	if seen == nil {
		seen = &own
	}
	if *seen == nil || len(ms) > 4096 {
		*seen = make(map[string]struct{}, len(ms))
	}
	clear(*seen)
	for i := range ms {
		(*seen)[ms[i].Key] = struct{}{}
		if len(*seen) != i+1 {
			return i
		}
	}
	if len(ms) > 4096 {
		*seen = nil
	}
	return -1
}
