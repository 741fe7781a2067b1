package where

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// pattern is a compiled LIKE pattern. % stands for any characters, _ for exactly
// one; there is no escape character unless ESCAPE names one.
type pattern struct {
	parts  [][]rune // the runs between %, anyRune for _
	exact  bool     // no wildcard at all
	prefix string   // what every match begins with; all of it if exact
	only   bool     // the pattern is prefix%
	middle string   // the pattern is %middle%, without _
	suffix string   // the pattern is %suffix, without _
	form   likeForm
}

type likeForm uint8

const (
	likeGeneral likeForm = iota
	likeExact
	likePrefix
	likeSuffix
	likeContains
)

const anyRune rune = -1

func compileLike(text, escape string) (*pattern, error) {
	p := &pattern{parts: [][]rune{nil}}
	wild, single := 0, false
	var prefix strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		switch {
		case escape != "" && text[i-size:i] == escape:
			if i == len(text) {
				return nil, errors.New("the pattern ends in its escape character")
			}
			r, size = utf8.DecodeRuneInString(text[i:])
			i += size
		case r == '%':
			wild++
			p.parts = append(p.parts, nil)
			continue
		case r == '_':
			single = true
			r = anyRune
		}
		last := len(p.parts) - 1
		p.parts[last] = append(p.parts[last], r)
		if wild == 0 && !single {
			prefix.WriteRune(r)
		}
	}
	p.prefix = prefix.String()
	first, last := string(p.parts[0]), string(p.parts[len(p.parts)-1])
	switch {
	case single:
	case wild == 0:
		p.form, p.exact = likeExact, true
	case wild == 1 && last == "":
		p.form, p.only = likePrefix, true
	case wild == 1 && first == "":
		p.form, p.suffix = likeSuffix, last
	case wild == 2 && first == "" && last == "":
		p.form, p.middle = likeContains, string(p.parts[1])
	}
	return p, nil
}

func (p *pattern) match(s string) bool {
	switch p.form {
	case likeExact:
		return s == p.prefix
	case likePrefix:
		return strings.HasPrefix(s, p.prefix)
	case likeSuffix:
		return strings.HasSuffix(s, p.suffix)
	case likeContains:
		return strings.Contains(s, p.middle)
	}
	rest, ok := matchRun(s, p.parts[0])
	if !ok || len(p.parts) == 1 {
		return ok && rest == ""
	}
	for _, part := range p.parts[1 : len(p.parts)-1] {
		for ; ; rest = skipRune(rest) {
			if after, ok := matchRun(rest, part); ok {
				rest = after
				break
			}
			if rest == "" {
				return false
			}
		}
	}
	// The last run must stand at the very end: as many characters before it.
	last := p.parts[len(p.parts)-1]
	tail := len(rest)
	for range last {
		if tail == 0 {
			return false
		}
		_, size := utf8.DecodeLastRuneInString(rest[:tail])
		tail -= size
	}
	after, ok := matchRun(rest[tail:], last)
	return ok && after == ""
}

// matchRun matches run at the beginning of s and gives what stands behind it.
func matchRun(s string, run []rune) (string, bool) {
	for _, want := range run {
		if s == "" {
			return "", false
		}
		r, size := utf8.DecodeRuneInString(s)
		if want != anyRune && r != want {
			return "", false
		}
		s = s[size:]
	}
	return s, true
}

func skipRune(s string) string {
	if s == "" {
		return ""
	}
	_, size := utf8.DecodeRuneInString(s)
	return s[size:]
}
