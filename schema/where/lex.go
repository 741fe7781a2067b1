package where

import (
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEnd    tokenKind = iota
	tokWord             // an identifier or keyword; text is lower case
	tokQuoted           // a "quoted identifier"; text is unescaped and lower case
	tokString
	tokInt
	tokFloat
	tokSymbol
)

type token struct {
	kind tokenKind
	text string
	pos  int // byte offset
}

// is reports whether the token is the given keyword (lower case) or symbol.
func (t token) is(text string) bool {
	return (t.kind == tokWord || t.kind == tokSymbol) && t.text == text
}

// describe names the token in an error.
func (t token) describe() string {
	switch t.kind {
	case tokEnd:
		return "the end"
	case tokString:
		return "a string"
	case tokQuoted:
		return `"` + t.text + `"`
	}
	return "`" + t.text + "`"
}

// lex splits the whole text; it ends with a tokEnd.
func lex(src *source) ([]token, error) {
	text := src.text
	var out []token
	for i := 0; i < len(text); {
		c := text[i]
		var t token
		var err error
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case isLetter(c):
			t = token{tokWord, text[i:wordEnd(text, i)], i}
			i += len(t.text)
			t.text = lower(t.text)
		case c == '\'' || c == '"':
			t, i, err = lexQuoted(src, i)
		case isDigit(c) || c == '.' && i+1 < len(text) && isDigit(text[i+1]):
			t, i, err = lexNumber(src, i)
		default:
			t, i, err = lexSymbol(src, i)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return append(out, token{tokEnd, "", len(text)}), nil
}

func lexQuoted(src *source, start int) (token, int, error) {
	text, quote := src.text, src.text[start]
	var b strings.Builder
	for i := start + 1; i < len(text); i++ {
		if text[i] != quote {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == quote {
			b.WriteByte(quote)
			i++
			continue
		}
		if quote == '\'' {
			return token{tokString, b.String(), start}, i + 1, nil
		}
		if b.Len() == 0 {
			return token{}, 0, src.fail(start, "strings stand in single quotes: ''", "a name cannot be empty")
		}
		return token{tokQuoted, lower(b.String()), start}, i + 1, nil
	}
	if quote == '\'' {
		return token{}, 0, src.fail(start, "a quote inside a string is written twice: 'it''s'", "the string has no closing quote")
	}
	return token{}, 0, src.fail(start, "strings stand in single quotes, names in double quotes", "the quoted name has no closing quote")
}

func lexNumber(src *source, start int) (token, int, error) {
	text, kind, i := src.text, tokInt, start
	for i < len(text) && isDigit(text[i]) {
		i++
	}
	if i < len(text) && text[i] == '.' {
		kind = tokFloat
		for i++; i < len(text) && isDigit(text[i]); i++ {
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		j := i + 1
		if j < len(text) && (text[j] == '+' || text[j] == '-') {
			j++
		}
		if j < len(text) && isDigit(text[j]) {
			kind = tokFloat
			for i = j; i < len(text) && isDigit(text[i]); i++ {
			}
		}
	}
	if i < len(text) && (isLetter(text[i]) || text[i] == '.') {
		return token{}, 0, src.fail(start, "", "`%s` is not a number", text[start:wordEnd(text, i+1)])
	}
	return token{kind, text[start:i], start}, i, nil
}

func lexSymbol(src *source, i int) (token, int, error) {
	text := src.text
	if i+1 < len(text) {
		switch two := text[i : i+2]; two {
		case "<=", ">=", "<>", "!=":
			if two == "!=" {
				two = "<>"
			}
			return token{tokSymbol, two, i}, i + 2, nil
		case "==":
			return token{}, 0, src.fail(i, "write = for equality", "`==` is not an operator here")
		case "--", "/*":
			return token{}, 0, src.fail(i, "put a blank between two minus signs", "comments are not part of a predicate")
		case "&&", "||":
			return token{}, 0, src.fail(i, "write AND, OR", "`%s` is not an operator here", two)
		}
	}
	if strings.IndexByte("=<>+-*/(),.[]", text[i]) >= 0 {
		return token{tokSymbol, text[i : i+1], i}, i + 1, nil
	}
	r, _ := utf8.DecodeRuneInString(text[i:])
	return token{}, 0, src.fail(i, "names with other characters than letters, digits and _ stand in double quotes, strings in single quotes", "unexpected character %q", r)
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

func wordEnd(text string, i int) int {
	for i < len(text) && (isLetter(text[i]) || isDigit(text[i])) {
		i++
	}
	return i
}

// lower folds ASCII letters only, as names are folded in DuckDB.
func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] |= 0x20
				}
			}
			return string(b)
		}
	}
	return s
}
