package canon

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"trajlake/schema/parts"
)

// Shape is how documents stand in a stream.
type Shape uint8

// The shapes of a stream.
const (
	Auto    Shape = iota // Array if the first character is '[', else Values
	Values               // JSON lines, or values one after the other
	Element              // the elements of one top-level array
)

// ScanOptions configures a Scanner. The zero value is the defaults.
type ScanOptions struct {
	Shape     Shape
	MaxRecord int64  // greatest size of a record in bytes; 0 = 256 MiB
	Limits    Limits // of each record
	Line      int    // number of the first line; 0 = 1 (for a resumed file)
	Offset    int64  // byte offset of the first byte
}

const (
	defaultMaxRecord = 256 << 20
	scanBuffer       = 256 << 10
)

// Record is one document of a stream.
type Record struct {
	Value  Value
	Index  int   // from 0, bad records counted
	Line   int   // where it begins
	Offset int64 // where it begins, in bytes
	Bytes  int64 // its size
}

// RecordError is a record that is not acceptable; the records after it still come.
type RecordError struct {
	Index  int
	Line   int   // where the error is
	Start  int   // line on which the record begins
	Offset int64 // of the record's first byte
	Bytes  int64 // size of what was skipped
	Path   string
	Msg    string
	// TooLarge says that the record is larger than MaxRecord, and nothing else is known of it.
	TooLarge bool
}

// Error is one line with place and reason.
func (e *RecordError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("line %d: %s", e.Line, e.Msg)
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Path, e.Msg)
}

// Scanner reads the documents of a stream one by one, in memory that is bounded
// by twice MaxRecord however long a line is. It is for one goroutine.
//
// In Values, a stream whose first value ends on its first line is read by lines:
// a line may hold several values, and a bad line is reported and the next one
// read. Otherwise values may span lines, and end where their brackets do.
type Scanner struct {
	r      *bufio.Reader
	opt    ScanOptions
	shape  Shape
	lines  bool // Values, read by lines
	begun  bool
	done   bool
	index  int
	line   int
	offset int64
	rest   string // what follows the first value of a line
	restAt int64  // its offset
	err    error  // of the reader; final
}

// NewScanner makes a Scanner over r. Nothing is read before the first Next.
func NewScanner(r io.Reader, opt ScanOptions) *Scanner {
	if opt.MaxRecord <= 0 {
		opt.MaxRecord = defaultMaxRecord
	}
	s := &Scanner{r: bufio.NewReaderSize(r, scanBuffer), opt: opt, shape: opt.Shape, line: max(opt.Line, 1), offset: opt.Offset}
	return s
}

// Next is the next document. A *RecordError tells of a bad record: call Next
// again for the one after it. At the end the error is io.EOF; any other error is
// the reader's and final.
func (s *Scanner) Next() (Record, error) {
	if !s.begun {
		if err := s.begin(); err != nil {
			return Record{}, s.settle(err)
		}
	}
	for {
		rec, ok, err := s.step()
		if err != nil {
			return Record{}, s.settle(err)
		}
		if ok {
			return rec, nil
		}
	}
}

// Position is the line and byte offset up to which the stream has been read:
// where a later Scanner can go on, when Next has just returned and the shape is
// Values with one value a line.
func (s *Scanner) Position() (line int, offset int64) {
	if s.rest != "" {
		return s.line, s.restAt
	}
	return s.line, s.offset
}

// settle makes an error of the reader, or the end, final.
func (s *Scanner) settle(err error) error {
	var bad *RecordError
	if !errors.As(err, &bad) {
		s.done, s.err = true, err
	}
	return err
}

// begin decides the shape.
func (s *Scanner) begin() error {
	s.begun = true
	if b, _ := s.r.Peek(3); s.offset == 0 && string(b) == "\ufeff" {
		s.skip(3)
	}
	c, err := s.nextByte()
	if err == io.EOF {
		return io.EOF
	}
	if err != nil {
		return err
	}
	if s.shape == Auto {
		s.shape = Values
		if c == '[' {
			s.shape = Element
		}
	}
	if s.shape == Element {
		if c != '[' {
			s.done = true
			return s.bad(s.line, "a top-level array expected, found %q", c)
		}
		s.skip(1)
		return nil
	}
	s.lines = s.firstLineIsWhole()
	return nil
}

// firstLineIsWhole looks ahead as far as the buffer goes: is the first line to be
// read on its own? It is where it holds a whole value, or where the second one
// does (then the first is torn), or where it leaves no bracket open. It waits for
// no more input than it needs.
func (s *Scanner) firstLineIsWhole() bool {
	for want := 1; ; want = s.r.Buffered() + 1 {
		_, err := s.r.Peek(min(want, scanBuffer))
		b, _ := s.r.Peek(s.r.Buffered())
		first, rest, more := bytes.Cut(b, []byte("\n"))
		last := err != nil || len(b) >= scanBuffer
		switch {
		case more && (isWhole(first) || !opens(first)):
			return true
		case more:
			second, _, whole := bytes.Cut(rest, []byte("\n"))
			if whole || last {
				second = bytes.TrimSpace(second)
				return len(second) > 2 && second[0] == '{' && isWhole(second)
			}
		case last:
			return true
		}
	}
}

func isWhole(b []byte) bool {
	_, _, err := parsePrefix(string(b), false, Limits{})
	return err == nil
}

// opens reports whether a line leaves a bracket open outside of strings.
func opens(b []byte) bool {
	var st structure
	st.over(b)
	return st.depth > 0 && !st.inString
}

func (s *Scanner) skip(n int) {
	k, _ := s.r.Discard(n)
	s.offset += int64(k)
}

// nextByte skips blanks and shows the byte after them.
func (s *Scanner) nextByte() (byte, error) {
	for {
		b, err := s.r.Peek(1)
		if err != nil {
			return 0, err
		}
		if !isSpace(b[0]) {
			return b[0], nil
		}
		if b[0] == '\n' {
			s.line++
		}
		s.skip(1)
	}
}

func (s *Scanner) bad(start int, format string, args ...any) *RecordError {
	e := &RecordError{Index: s.index, Line: s.line, Start: start, Offset: s.offset, Msg: fmt.Sprintf(format, args...)}
	s.index++
	return e
}

func (s *Scanner) step() (rec Record, ok bool, err error) {
	switch {
	case s.err != nil:
		return rec, false, s.err
	case s.done:
		return rec, false, io.EOF
	case s.shape == Element:
		return s.element()
	case s.lines:
		return s.byLine()
	}
	return s.byBrackets()
}

// byLine reads one value of a line.
func (s *Scanner) byLine() (rec Record, ok bool, err error) {
	text := s.rest
	start := s.restAt
	if text == "" {
		start = s.offset
		buf, size, err := s.readLine()
		if err != nil && (size == 0 || err != io.EOF) {
			return rec, false, err
		}
		if int64(len(buf)) < size {
			e := s.tooLarge(s.line, start, size)
			s.line++
			return rec, false, e
		}
		buf = bytes.TrimRight(buf, "\r\n")
		text = unsafe.String(unsafe.SliceData(buf), len(buf))
	}
	s.rest = ""
	lead := len(text)
	for text != "" && isSpace(text[0]) {
		text = text[1:]
	}
	start += int64(lead - len(text))
	if text == "" {
		s.line++
		return rec, false, nil
	}
	v, end, err := parsePrefix(text, true, s.opt.Limits)
	if err != nil {
		e := s.located(err, s.line, start, int64(len(text)))
		s.line++
		return rec, false, e
	}
	rec = Record{Value: v, Index: s.index, Line: s.line, Offset: start, Bytes: int64(end)}
	s.index++
	if end < len(text) {
		s.rest, s.restAt = text[end:], start+int64(end)
	} else {
		s.line++
	}
	return rec, true, nil
}

// readLine reads up to and with the next newline. Of a line larger than
// MaxRecord only the size is kept: then buf is shorter than size.
func (s *Scanner) readLine() (buf []byte, size int64, err error) {
	var g parts.Buffer
	for {
		part, err := s.r.ReadSlice('\n')
		s.offset += int64(len(part))
		size += int64(len(part))
		more := err == bufio.ErrBufferFull
		switch {
		case size > s.opt.MaxRecord+2: // two for the line's end
			g.Reset()
		case !more && g.Len() == 0:
			return bytes.Clone(part), size, err
		default:
			g.Write(part)
		}
		if !more {
			return g.Take(), size, err
		}
	}
}

func (s *Scanner) tooLarge(line int, offset, size int64) *RecordError {
	e := &RecordError{Index: s.index, Line: line, Start: line, Offset: offset, Bytes: size, TooLarge: true,
		Msg: fmt.Sprintf("record of %d bytes is larger than the limit of %d", size, s.opt.MaxRecord)}
	s.index++
	return e
}

// located turns a document's error into one of the stream.
func (s *Scanner) located(err error, line int, offset, size int64) *RecordError {
	e := &RecordError{Index: s.index, Line: line, Start: line, Offset: offset, Bytes: size, Msg: err.Error()}
	var syn *SyntaxError
	if errors.As(err, &syn) {
		e.Line, e.Path, e.Msg = line+syn.Line-1, syn.Path, syn.Msg
	}
	s.index++
	return e
}

// byBrackets reads one value that may span lines.
func (s *Scanner) byBrackets() (rec Record, ok bool, err error) {
	c, err := s.nextByte()
	if err != nil {
		return rec, false, err
	}
	if c != '{' && c != '[' {
		line, start := s.line, s.offset
		buf, size, err := s.readLine()
		s.line++
		if err != nil && (size == 0 || err != io.EOF) {
			return rec, false, err
		}
		if int64(len(buf)) < size {
			return rec, false, s.tooLarge(line, start, size)
		}
		v, perr := parseOwned(string(bytes.TrimRight(buf, "\r\n")), s.opt.Limits)
		if perr != nil {
			return rec, false, s.located(perr, line, start, size)
		}
		rec = Record{Value: v, Index: s.index, Line: line, Offset: start, Bytes: size}
		s.index++
		return rec, true, nil
	}
	return s.bracketed(false)
}

// element reads one element of the top-level array.
func (s *Scanner) element() (rec Record, ok bool, err error) {
	c, err := s.nextByte()
	if err == io.EOF {
		s.done = true
		return rec, false, s.bad(s.line, "the input ends inside the top-level array")
	}
	if err != nil {
		return rec, false, err
	}
	switch c {
	case ',':
		s.skip(1)
		return rec, false, nil
	case ']':
		s.skip(1)
		s.done = true
		if c, err := s.nextByte(); err == nil {
			return rec, false, s.bad(s.line, "text after the end of the top-level array: %q", c)
		}
		return rec, false, nil
	case '}':
		s.done = true
		return rec, false, s.bad(s.line, "a value or ']' expected in the top-level array, found '}'")
	}
	return s.bracketed(true)
}

// bracketed reads a value up to where its brackets close; inArray, a scalar ends
// before the comma or bracket that follows it.
func (s *Scanner) bracketed(inArray bool) (rec Record, ok bool, err error) {
	line, start := s.line, s.offset
	var st structure
	st.scalarEnds = inArray
	var g parts.Buffer
	var size int64
	for !st.closed {
		part, err := s.r.Peek(1)
		if err == nil {
			part, _ = s.r.Peek(s.r.Buffered())
		}
		if len(part) == 0 {
			if err == io.EOF {
				s.done = true
				e := s.bad(line, "the input ends inside a record that begins on line %d", line)
				e.Offset, e.Bytes = start, size
				return rec, false, e
			}
			return rec, false, err
		}
		n := st.over(part)
		size += int64(n)
		if size > s.opt.MaxRecord {
			g.Reset()
		} else {
			g.Write(part[:n])
		}
		s.line += bytes.Count(part[:n], []byte{'\n'})
		s.skip(n)
	}
	if size > s.opt.MaxRecord {
		return rec, false, s.tooLarge(line, start, size)
	}
	buf := g.Take()
	v, perr := parseOwned(unsafe.String(unsafe.SliceData(buf), len(buf)), s.opt.Limits)
	if perr != nil {
		return rec, false, s.located(perr, line, start, size)
	}
	rec = Record{Value: v, Index: s.index, Line: line, Offset: start, Bytes: size}
	s.index++
	return rec, true, nil
}

// structure follows brackets and strings, and nothing else of the grammar.
type structure struct {
	depth      int
	inString   bool
	escaped    bool
	scalarEnds bool // at depth 0, a comma or closing bracket ends the value
	closed     bool
}

// over goes over b and returns how many of its bytes belong to the value.
func (st *structure) over(b []byte) int {
	text := unsafe.String(unsafe.SliceData(b), len(b)) // a view
	for i := 0; i < len(b); i++ {
		if st.inString && !st.escaped {
			if i = plainEnd(text, i); i == len(b) {
				break
			}
		}
		c := b[i]
		if st.inString {
			switch {
			case st.escaped:
				st.escaped = false
			case c == '\\':
				st.escaped = true
			case c == '"':
				st.inString = false
			}
			continue
		}
		switch c {
		case '"':
			st.inString = true
		case '{', '[':
			st.depth++
		case '}', ']':
			if st.depth == 0 && st.scalarEnds {
				st.closed = true
				return i
			}
			if st.depth--; st.depth <= 0 {
				st.closed = true
				return i + 1
			}
		case ',':
			if st.depth == 0 && st.scalarEnds {
				st.closed = true
				return i
			}
		}
	}
	return len(b)
}
