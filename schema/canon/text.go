package canon

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// str reads a string at p.i, which holds its opening quote.
func (p *parser) str() (string, string) {
	start := p.i + 1
	end := plainEnd(p.s, start)
	if end < len(p.s) && p.s[end] == '"' && end <= p.badUTF8 {
		p.i = end + 1
		return p.s[start:end], ""
	}
	return p.escaped(start, end)
}

// plainEnd is the first place from i on of a quote, a backslash or a control
// character; len(s) if there is none.
func plainEnd(s string, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		hit := ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*0x20)&^x) & high
		if hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
		i += 8
	}
	for i < len(s) && s[i] != '"' && s[i] != '\\' && s[i] >= 0x20 {
		i++
	}
	return i
}

// escaped goes on with a string of which [start, end) is plain.
func (p *parser) escaped(start, end int) (string, string) {
	var buf []byte
	for {
		if end > p.badUTF8 || end >= len(p.s) && p.badUTF8 < len(p.s) {
			p.i = p.badUTF8
			return "", "invalid UTF-8"
		}
		p.i = end
		if end >= len(p.s) {
			return "", "the document ends inside a string"
		}
		switch c := p.s[end]; {
		case c == '"':
			buf = append(buf, p.s[start:end]...)
			p.i = end + 1
			return unsafe.String(unsafe.SliceData(buf), len(buf)), ""
		case c < 0x20:
			return "", fmt.Sprintf("control character %q inside a string", c)
		}
		if buf == nil {
			buf = p.room(start, end)
		}
		buf = append(buf, p.s[start:end]...)
		var fail string
		if buf, fail = p.escape(buf); fail != "" {
			return "", fail
		}
		start = p.i
		end = plainEnd(p.s, start)
	}
}

// room is where a string with escapes is decoded to. In place there is room
// enough: no escape sequence is shorter than what it stands for, and what is
// overwritten has been read.
func (p *parser) room(start, end int) []byte {
	if p.inPlace {
		return unsafe.Slice(unsafe.StringData(p.s), len(p.s))[start:start]
	}
	return make([]byte, 0, p.guess(start, end))
}

// wrote notes a decoded character that would be taken for the end of a line.
func (p *parser) wrote(r rune) {
	if p.inPlace && r == '\n' {
		p.decoded++
	}
}

// guess is a capacity for a string's decoded text: up to the next quote that is
// not escaped, as far as that is near.
func (p *parser) guess(start, end int) int {
	limit := min(len(p.s), end+1<<20)
	for i := end; i < limit; i++ {
		if p.s[i] == '\\' {
			i++
		} else if p.s[i] == '"' {
			return i - start
		}
	}
	return limit - start
}

const escapes = `""\\//` + "b\bf\fn\nr\rt\t"

// escape decodes the escape sequence at p.i onto buf.
func (p *parser) escape(buf []byte) ([]byte, string) {
	if p.i+1 >= len(p.s) {
		p.i = len(p.s)
		return nil, "the document ends inside a string"
	}
	c := p.s[p.i+1]
	if c != 'u' {
		for k := 0; k < len(escapes); k += 2 {
			if escapes[k] == c {
				p.i += 2
				p.wrote(rune(escapes[k+1]))
				return append(buf, escapes[k+1]), ""
			}
		}
		return nil, "unknown escape sequence in a string"
	}
	r, ok := hex4(p.s, p.i+2)
	if !ok {
		return nil, `malformed \u escape in a string`
	}
	n := 6
	if utf16.IsSurrogate(r) {
		low, ok := rune(0), false
		if strings.HasPrefix(p.s[p.i+6:], `\u`) {
			low, ok = hex4(p.s, p.i+8)
		}
		pair := utf16.DecodeRune(r, low)
		if !ok || pair == utf8.RuneError {
			return nil, fmt.Sprintf(`lone surrogate \u%04x: no character, cannot be stored as UTF-8`, r)
		}
		r, n = pair, 12
	}
	p.i += n
	p.wrote(r)
	return utf8.AppendRune(buf, r), ""
}

func hex4(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		switch {
		case isDigit(c):
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
