// Package term writes text of unknown origin to a terminal. A trajectory's text
// is written by models, tools and web pages: it may hold control sequences that
// move the cursor, set the clipboard or the title, and characters that reorder or
// hide what is read. Everything that is not plainly visible is shown by its
// escape instead.
package term

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Text escapes s for display on several lines: line feeds and tabs stay.
func Text(s string) string { return escape(s, true) }

// Line escapes s for display within one line: a line feed is shown as \n, a tab
// as \t.
func Line(s string) string { return escape(s, false) }

func escape(s string, lines bool) string {
	from := 0 // of what was not copied yet
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		bad := r == utf8.RuneError && n == 1
		if !bad && visible(r, lines) {
			i += n
			continue
		}
		b.WriteString(s[from:i])
		if bad {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		} else {
			b.WriteString(name(r))
		}
		i += n
		from = i
	}
	if from == 0 {
		return s
	}
	b.WriteString(s[from:])
	return b.String()
}

// visible reports whether r may stand in a terminal's output: no control
// character, no separator of lines, no format character that reorders or hides
// text. Joiners stay, which scripts and emoji are written with, and the marks
// that are drawn around digits.
func visible(r rune, lines bool) bool {
	switch {
	case r >= ' ' && r < 0x7f:
		return true
	case r == '\n' || r == '\t':
		return lines
	case r == 0x200c || r == 0x200d:
		return true
	case unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return true
	}
	return !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Cs, unicode.Zl, unicode.Zp, hidden)
}

// hidden are further characters that are drawn as nothing: fillers, and selectors
// of which long runs can carry a hidden message. The two emoji selectors stay.
var hidden = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x034f, Hi: 0x034f, Stride: 1}, {Lo: 0x115f, Hi: 0x1160, Stride: 1}, {Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
		{Lo: 0x2065, Hi: 0x2065, Stride: 1}, {Lo: 0x3164, Hi: 0x3164, Stride: 1}, {Lo: 0xfe00, Hi: 0xfe0d, Stride: 1}, {Lo: 0xffa0, Hi: 0xffa0, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0xe0000, Hi: 0xe0fff, Stride: 1}},
}

// name is the visible form of a character that is not.
func name(r rune) string {
	switch r {
	case '\n':
		return `\n`
	case '\t':
		return `\t`
	case '\r':
		return `\r`
	}
	switch {
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// Width is the number of columns of the terminal that w is; 0 where w is none.
func Width(w any) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if size.Col == 0 {
		return 80
	}
	return int(size.Col)
}

// Style paints text, or leaves it as it is.
type Style struct{ on bool }

// StyleOf is the style for w: on where w is a terminal that takes colours and
// NO_COLOR is not set.
func StyleOf(w io.Writer, getenv func(string) string) Style {
	return Style{on: Width(w) > 0 && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

// Painted is the style that is always on.
func Painted() Style { return Style{on: true} }

func (s Style) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bold, Dim, Red, Green, Yellow and Cyan paint text that was escaped before.
func (s Style) Bold(text string) string { return s.paint("1", text) }

// Dim paints text faint.
func (s Style) Dim(text string) string { return s.paint("2", text) }

// Red paints text red.
func (s Style) Red(text string) string { return s.paint("31", text) }

// Green paints text green.
func (s Style) Green(text string) string { return s.paint("32", text) }

// Yellow paints text yellow.
func (s Style) Yellow(text string) string { return s.paint("33", text) }

// Cyan paints text cyan.
func (s Style) Cyan(text string) string { return s.paint("36", text) }
