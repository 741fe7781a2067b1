package where

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"trajlake/schema/fault"
)

// PositionError says where in the text of a predicate a fault lies. It is the
// cause inside every Usage fault of this package that has a place.
type PositionError struct {
	Text   string // the whole text
	Offset int    // byte offset of the fault in Text
	Msg    string // what is wrong there
}

// Position is the line and column of the fault, both from 1; columns count
// characters.
func (e *PositionError) Position() (line, column int) {
	before := e.Text[:min(e.Offset, len(e.Text))]
	line = 1 + strings.Count(before, "\n")
	return line, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// Error is one line: line:column and the message.
func (e *PositionError) Error() string {
	line, column := e.Position()
	return fmt.Sprintf("%d:%d: %s", line, column, e.Msg)
}

// Caret is two lines for a terminal: the line of the text that holds the fault,
// at most 60 characters around it, and a caret under the place.
func (e *PositionError) Caret() string {
	at := min(e.Offset, len(e.Text))
	start := strings.LastIndexByte(e.Text[:at], '\n') + 1
	end := len(e.Text)
	if i := strings.IndexByte(e.Text[at:], '\n'); i >= 0 {
		end = at + i
	}
	left, right := []rune(e.Text[start:at]), []rune(e.Text[at:end])
	left, right = left[max(0, len(left)-40):], right[:min(20, len(right))]
	show := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, string(left)+string(right))
	return show + "\n" + strings.Repeat(" ", len(left)) + "^"
}

// source is the text a node was parsed from, for errors.
type source struct {
	text string
	op   string // what is being done to it: "parse predicate"
}

func (s *source) fail(pos int, hint, format string, args ...any) error {
	e := fault.WrapAs(fault.Usage, s.op, &PositionError{Text: s.text, Offset: pos, Msg: fmt.Sprintf(format, args...)}).(*fault.Error)
	if hint != "" {
		e = e.WithHint("%s", hint)
	}
	return e
}
