// Package formats reads agent trajectories of many formats into rows of the
// lake, and writes rows in the formats that others read.
//
// An Importer turns one stream of bytes into a sequence of Records, in bounded
// memory: a good record is a row, a bad one an error that names line and field,
// and the records behind it still come. It never guesses what it cannot know
// (null is not zero), never invents tokens, and keeps what no column holds in
// the extra of the row or of the turn, under the name it has in the source.
// What was moved, approximated or found to be a repetition is in the record's
// typed losses.
//
// Identity is the caller's: a Record carries the canonical bytes of what was
// read, whatever the mapping made of it, so that a newer importer does not turn
// yesterday's rows into conflicts.
//
// Importers and exporters hold no state: one value serves any number of
// goroutines.
package formats

import (
	"context"
	"io"
	"iter"
	"slices"
	"strings"

	"trajlake/schema"
	"trajlake/schema/fault"
)

// Source says what is being read.
type Source struct {
	// Name is the file's path for messages; "-" for standard input. Only its
	// base name is looked at, and only for the facts that FileFacts names.
	Name string
	// Facts are file-name facts that stand in for what FileFacts reads out of
	// Name; nil leaves it to FileFacts.
	Facts map[string]string
	// Set fills columns that the source leaves null, by column name; see Settable.
	Set map[string]string
	// Open opens a file by its path relative to this one's folder, for formats
	// that spread one record over several files. Nil, or an error from it, means
	// that there is no such file.
	Open func(name string) (io.ReadCloser, error)
	// MaxRecord is the greatest size of one record in bytes; 0 = 256 MiB. A
	// larger one is rejected by itself.
	MaxRecord int64
}

// Record is one record of a source: a row, or why there is none.
type Record struct {
	Line  int64 // on which it begins, from 1; 0 where the source has no lines
	Index int64 // number of the record in the file, from 0
	// Row is the trajectory; nil if Err is set. Its id is set only together with
	// ExplicitID, and its source digest never.
	Row *schema.Trajectory
	// Canonical is what the source digest is taken of: the source record as
	// canonical JSON with the header and file-name facts that the mapping uses,
	// without path and Set.
	Canonical []byte
	// Sum is the SHA-256 of those bytes where the record is so large that they
	// are not held; Canonical is nil then.
	Sum []byte
	// ExplicitID says that Row.TrajectoryID is the source's, by a format that
	// guarantees it to be unique.
	ExplicitID bool
	Loss       []Loss
	// Annotations are facts of this record that belong to the annotations table;
	// their target is the row, and target_id is empty where the row's id is.
	Annotations []*schema.Annotation
	// Err is why the record was rejected: a *fault.Error that names the place.
	Err error
}

// Importer reads one format.
type Importer interface {
	// Name is the format's name on the command line and in source.format.
	Name() string
	// Sniff is how sure the importer is that the sample is of its format, from
	// 0 (no) to 100.
	Sniff(s *Sample) int
	// Read reads r to its end. It never panics on bad input; an error of r
	// itself, or of ctx, is the last record. Breaking off the loop is allowed.
	Read(ctx context.Context, r io.Reader, src Source) iter.Seq[Record]
}

// The kinds of a Loss.
const (
	LossDropped      = "dropped"        // not in the result at all
	LossApproximated = "approximated"   // in the result, but not exactly
	LossMoved        = "moved_to_extra" // kept in extra: no column holds it
	LossRepeated     = "repeated"       // left out after it was found equal to what is kept
)

// Loss is one kind of difference between source and result.
type Loss struct {
	Format string `json:"format"`
	Field  string `json:"field"` // of the source on import, the column on export
	Kind   string `json:"kind"`
	Rows   int64  `json:"rows"` // in how many rows
}

// AddLosses adds more to sum, equal kinds together. The result is sorted.
func AddLosses(sum, more []Loss) []Loss {
	for _, m := range more {
		at, found := slices.BinarySearchFunc(sum, m, compareLoss)
		if found {
			sum[at].Rows += m.Rows
		} else {
			sum = slices.Insert(sum, at, m)
		}
	}
	return sum
}

func compareLoss(a, b Loss) int {
	if c := strings.Compare(a.Format, b.Format); c != 0 {
		return c
	}
	if c := strings.Compare(a.Field, b.Field); c != 0 {
		return c
	}
	return strings.Compare(a.Kind, b.Kind)
}

// All lists the importers, the more particular formats first.
func All() []Importer {
	return []Importer{tau2Bench{}, tauBench{}, atif{}, miniSWE{}, openAI{}, native{}}
}

// ByName finds the importer of a format.
func ByName(name string) (Importer, bool) {
	for _, im := range All() {
		if im.Name() == name {
			return im, true
		}
	}
	return nil, false
}

// SniffBytes is how many first bytes of a file are enough for Detect.
const SniffBytes = 1 << 20

// Detect finds the importer of a file by its first bytes; the name is only for
// the message. A file of blanks is native: there is nothing in it to reject. The
// error is a fault of kind Invalid that says what the file looks like.
func Detect(head []byte, name string) (Importer, error) {
	if err := notText(head, name); err != nil {
		return nil, err
	}
	s := NewSample(head, name)
	if s.Empty() {
		return native{}, nil
	}
	var best Importer
	most := 0
	for _, im := range All() {
		if n := im.Sniff(s); n > most {
			best, most = im, n
		}
	}
	if best == nil {
		return nil, s.unknown()
	}
	return best, nil
}

// detectRecord names the format that one record looks like; "" if none.
func detectRecord(s *Sample) string {
	name, most := "", 0
	for _, im := range All() {
		if n := im.Sniff(s); n > most {
			name, most = im.Name(), n
		}
	}
	return name
}

func invalid(name string, line int64, field, format string, args ...any) *fault.Error {
	e := fault.New(fault.Invalid, at(name, line), format, args...)
	if field != "" {
		e.Field = field
	}
	return e
}
