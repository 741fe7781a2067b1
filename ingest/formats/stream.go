package formats

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"sync"

	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

// document is one record of a source before mapping.
type document struct {
	value canon.Value
	line  int64
	index int64
	size  int64 // bytes of it in the source; 0 if not known
}

// canonical are the canonical bytes of the whole document.
func (d document) canonical() []byte { return canon.Append(make([]byte, 0, d.size+64), d.value) }

// mapping makes the records of one document; most formats make one.
type mapping func(d document) []Record

// opened is a source of which the beginning has been looked at. sample, for those
// who need it, is to be called before r is read.
type opened struct {
	r      *bufio.Reader
	sample func() *Sample
}

// openSource looks at the first bytes of r. The error is of r, or says that the
// bytes are no text.
func openSource(r io.Reader, src Source) (*opened, error) {
	br := bufio.NewReaderSize(r, sniffWindow)
	head, err := br.Peek(sniffWindow)
	if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, readError(src, err)
	}
	if err := notText(head, src.Name); err != nil {
		return nil, err
	}
	return &opened{br, sync.OnceValue(func() *Sample { return NewSample(head, src.Name) })}, nil
}

// sniffWindow is how much of a file an importer looks at to tell its shape.
const sniffWindow = 256 << 10

func readError(src Source, err error) error {
	if k := fault.KindOf(err); k != fault.Internal {
		return fault.Wrap("read "+src.Name, err)
	}
	return fault.WrapAs(fault.Unavailable, "read "+src.Name, err)
}

// eachRecord is the common Read: the documents of r, mapped one by one. They are
// the elements of a top-level array, else one value after the other.
func eachRecord(ctx context.Context, r io.Reader, src Source, m mapping) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		o, err := openSource(r, src)
		if err != nil {
			yield(Record{Err: err})
			return
		}
		opt := canon.ScanOptions{Shape: canon.Auto, MaxRecord: src.MaxRecord}
		scanAll(ctx, o.r, src, opt, 0, m, yield)
	}
}

// scanAll maps the documents of one scanner; done is false if the loop was broken off.
func scanAll(ctx context.Context, r io.Reader, src Source, opt canon.ScanOptions, first int64, m mapping, yield func(Record) bool) (next int64, done bool) {
	sc := canon.NewScanner(r, opt)
	next = first
	for {
		if err := ctx.Err(); err != nil {
			yield(Record{Index: next, Err: fault.WrapAs(fault.Cancelled, "import "+src.Name, err)})
			return next, false
		}
		rec, err := sc.Next()
		var bad *canon.RecordError
		switch {
		case err == io.EOF:
			return next, true
		case errors.As(err, &bad):
			next = first + int64(bad.Index) + 1
			if !yield(Record{Line: int64(bad.Start), Index: next - 1, Err: syntaxError(src, bad)}) {
				return next, false
			}
			continue
		case err != nil:
			yield(Record{Index: next, Err: readError(src, err)})
			return next, false
		}
		next = first + int64(rec.Index) + 1
		for _, out := range m(document{rec.Value, int64(rec.Line), next - 1, rec.Bytes}) {
			if !yield(out) {
				return next, false
			}
		}
	}
}

func syntaxError(src Source, bad *canon.RecordError) error {
	e := invalid(src.Name, int64(bad.Line), bad.Path, "%s", bad.Msg)
	if bad.TooLarge {
		return e.WithHint("the record was skipped; split it, or leave its large parts out")
	}
	return e
}

// eachValue maps values that stand one behind the other and may span lines, each
// held whole. What is behind a broken one is not read.
func eachValue(ctx context.Context, r *bufio.Reader, src Source, m mapping, yield func(Record) bool) {
	s := section{r: r, line: 1, max: recordLimit(src)}
	s.skipBOM()
	for index := int64(0); ; index++ {
		if err := ctx.Err(); err != nil {
			yield(Record{Index: index, Err: fault.WrapAs(fault.Cancelled, "import "+src.Name, err)})
			return
		}
		if _, err := s.peek(); err == io.EOF {
			return
		}
		line := s.line
		v, err := s.value()
		if err != nil {
			yield(Record{Line: line, Index: index, Err: sectionError(src, line, err)})
			return
		}
		for _, out := range m(document{value: v, line: line, index: index}) {
			if !yield(out) {
				return
			}
		}
	}
}

// wrong is the record of a document that is not what the importer reads.
func wrong(src Source, d document, im Importer, why string) []Record {
	e := invalid(src.Name, d.line, "", "not a %s record: %s", im.Name(), why)
	if other := detectRecord(sampleOf(d.value)); other != "" && other != im.Name() {
		e.WithHint("it looks like %s: keep one format in a file", other)
	}
	return []Record{{Line: d.line, Index: d.index, Err: e}}
}

// section is a reader of the members of one top-level object that holds no more
// than one of them in memory.
type section struct {
	r    *bufio.Reader
	line int64 // of the next byte, from 1
	off  int64
	max  int64
}

func (s *section) byte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.off++
		if c == '\n' {
			s.line++
		}
	}
	return c, err
}

// peek is the next byte that is no blank, not consumed.
func (s *section) peek() (byte, error) {
	for {
		c, err := s.byte()
		if err != nil {
			return 0, err
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			s.off--
			return c, s.r.UnreadByte()
		}
	}
}

func (s *section) skipBOM() {
	if b, _ := s.r.Peek(3); string(b) == "\xef\xbb\xbf" {
		s.r.Discard(3)
		s.off += 3
	}
}

// open reads the bracket that an object begins with; false if there is none.
func (s *section) open() (bool, error) {
	s.skipBOM()
	c, err := s.peek()
	if err != nil || c != '{' {
		return false, err
	}
	_, err = s.byte()
	return true, err
}

// key reads the next key of the object and its colon. done is set at the
// object's end.
func (s *section) key() (key string, done bool, err error) {
	c, err := s.peek()
	if err == nil && c == ',' {
		s.byte()
		c, err = s.peek()
	}
	switch {
	case err != nil:
		return "", false, err
	case c == '}':
		s.byte()
		return "", true, nil
	case c != '"':
		return "", false, &canon.SyntaxError{Line: int(s.line), Offset: s.off, Msg: "a key in double quotes expected"}
	}
	v, err := s.value()
	if err != nil {
		return "", false, err
	}
	key, _ = v.Str()
	if c, err = s.peek(); err == nil && c != ':' {
		err = &canon.SyntaxError{Line: int(s.line), Offset: s.off, Path: clip(key, 60), Msg: "':' expected"}
	}
	if err == nil {
		s.byte()
	}
	return key, false, err
}

// value reads one whole value into memory.
func (s *section) value() (canon.Value, error) {
	if _, err := s.peek(); err != nil {
		return canon.Value{}, err
	}
	line := s.line
	var buf bytes.Buffer
	b := &bounded{s: s}
	n, err := io.Copy(&buf, io.LimitReader(b, s.max+1))
	if err != nil {
		return canon.Value{}, err
	}
	if n > s.max {
		return canon.Value{}, &canon.SyntaxError{Line: int(line), Offset: s.off, Msg: "the value is larger than the limit of a record"}
	}
	if !b.closed {
		return canon.Value{}, io.ErrUnexpectedEOF
	}
	v, err := canon.Parse(buf.Bytes(), canon.Limits{})
	var syn *canon.SyntaxError
	if errors.As(err, &syn) {
		syn.Line += int(line) - 1
	}
	return v, err
}

// bounded reads exactly one JSON value of a section: it ends where the value's
// brackets or quotes do.
type bounded struct {
	s       *section
	depth   int
	str     bool
	escaped bool
	begun   bool
	scalar  bool
	closed  bool
}

// Read gives as many bytes of the value as are buffered and fit.
func (b *bounded) Read(p []byte) (int, error) {
	if b.closed {
		return 0, io.EOF
	}
	if _, err := b.s.r.Peek(1); err != nil {
		b.closed = b.scalar && err == io.EOF
		return 0, err
	}
	buf, _ := b.s.r.Peek(min(b.s.r.Buffered(), len(p)))
	n := 0
	for n < len(buf) && !b.closed {
		if b.str && !b.escaped {
			if n += plainText(buf[n:]); n == len(buf) {
				break
			}
		}
		if take := b.step(buf[n]); !take {
			break
		}
		n++
	}
	copy(p, buf[:n])
	b.s.line += int64(bytes.Count(buf[:n], []byte{'\n'}))
	b.s.off += int64(n)
	_, err := b.s.r.Discard(n)
	return n, err
}

// plainText is how many bytes of a string's text come before a quote or backslash.
func plainText(p []byte) int {
	n := bytes.IndexByte(p, '"')
	if n < 0 {
		n = len(p)
	}
	if k := bytes.IndexByte(p[:n], '\\'); k >= 0 {
		n = k
	}
	return n
}

// step follows one byte; false means that it stands behind the value.
func (b *bounded) step(c byte) bool {
	switch {
	case b.escaped:
		b.escaped = false
	case b.str:
		b.escaped = c == '\\'
		if c == '"' {
			b.str = false
			b.closed = b.depth == 0
		}
	case c == '"':
		b.str, b.begun = true, true
	case c == '{' || c == '[':
		b.depth++
		b.begun = true
	case (c == '}' || c == ']') && !b.scalar:
		b.depth--
		b.closed = b.depth <= 0
	case !b.begun && c != ' ' && c != '\t' && c != '\r' && c != '\n':
		b.begun, b.scalar = true, true
	case b.scalar && (c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t' || c == '\r' || c == '\n'):
		b.closed = true
		return false
	}
	return true
}
