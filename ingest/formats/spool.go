package formats

import (
	"errors"
	"io"
	"os"

	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

// errStopped says that the reader of the records broke off the loop.
var errStopped = errors.New("stopped")

// spool is a part of a source that has to wait for what stands behind it, in a
// temporary file that is gone when it is closed.
type spool struct {
	f    *os.File
	line int64 // on which it begins
}

// spoolFrom copies r to its end.
func spoolFrom(r io.Reader, line int64) (*spool, error) {
	f, err := os.CreateTemp("", "trajlake-import-*")
	if err != nil {
		return nil, fault.WrapAs(fault.Unavailable, "make a temporary file", err)
	}
	s := &spool{f: f, line: line}
	if _, err := io.Copy(f, r); err != nil {
		return s, err
	}
	return s, nil
}

func (s *spool) reader() (io.Reader, error) {
	_, err := s.f.Seek(0, io.SeekStart)
	return s.f, err
}

// close removes the file; a nil spool has none.
func (s *spool) close() error {
	if s == nil {
		return nil
	}
	return errors.Join(s.f.Close(), os.Remove(s.f.Name()))
}

// sectionError words what stopped the reading of an object member by member.
func sectionError(src Source, line int64, err error) error {
	var syn *canon.SyntaxError
	switch {
	case errors.As(err, &syn):
		return invalid(src.Name, int64(syn.Line), syn.Path, "%s", syn.Msg)
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return invalid(src.Name, line, "", "the input ends inside the object")
	}
	return readError(src, err)
}
