package ingest

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"trajlake/ingest/formats"
	"trajlake/schema/fault"
	"trajlake/store"
)

// maxReported is how many rejections and losses a report spells out; the counts
// cover all.
const maxReported = 1000

// Rejection is one record or file that did not go in.
type Rejection struct {
	File   string `json:"file"`
	Line   int64  `json:"line,omitempty"` // from 1
	Field  string `json:"field,omitempty"`
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
	ID     string `json:"trajectory_id,omitempty"`
}

// ImportReport is the outcome of an import.
type ImportReport struct {
	Version    int64            `json:"version"`
	Snapshot   string           `json:"snapshot"`
	Files      int64            `json:"files"`
	Committed  int64            `json:"committed"`
	Duplicates int64            `json:"duplicates"`
	Rejected   int64            `json:"rejected"`
	Bytes      int64            `json:"bytes"` // read, before decompression
	Seconds    float64          `json:"seconds"`
	Formats    map[string]int64 `json:"formats"` // records by format, rejected ones included
	Errors     []Rejection      `json:"errors"`  // the first 1,000, by file and line
	Losses     []formats.Loss   `json:"losses,omitempty"`
	Annotated  int64            `json:"annotated,omitempty"` // annotations committed beside the rows
}

// tally collects a report from several goroutines.
type tally struct {
	mu     sync.Mutex
	report ImportReport
	losses map[lossKey]int64
}

type lossKey struct{ format, field, kind string }

func newTally() *tally {
	return &tally{report: ImportReport{Version: -1, Formats: map[string]int64{}, Errors: []Rejection{}}, losses: map[lossKey]int64{}}
}

// RejectionOf words why a record of a file did not go in: place, field and reason
// apart, so that none stands twice.
func RejectionOf(file string, line int64, id string, err error) Rejection {
	return Rejection{
		File: file, Line: line, Field: fault.FieldOf(err), Kind: fault.KindOf(err).String(),
		Reason: reasonOf(err), Hint: fault.HintOf(err), ID: id,
	}
}

// reject counts one record that did not go in.
func (t *tally) reject(file string, line int64, id string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Rejected++
	if len(t.report.Errors) < maxReported {
		t.report.Errors = append(t.report.Errors, RejectionOf(file, line, id, err))
	}
}

// reasonOf is what went wrong without the place, which a report names apart.
func reasonOf(err error) string {
	for {
		var e *fault.Error
		if !errors.As(err, &e) {
			return err.Error()
		}
		if e.Msg != "" {
			bare := *e
			bare.Op, bare.Field = "", ""
			return bare.Error()
		}
		if e.Err == nil {
			return err.Error()
		}
		err = e.Err
	}
}

// receipt counts one answered row.
func (t *tally) receipt(file string, line int64, r store.Receipt) {
	if r.Status == store.Rejected {
		t.reject(file, line, r.ID, r.Err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.Status == store.Duplicate {
		t.report.Duplicates++
	} else {
		t.report.Committed++
	}
	t.report.Version = max(t.report.Version, r.Version)
}

// record counts one record of a format, with its losses.
func (t *tally) record(format string, losses []formats.Loss) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Formats[format]++
	for _, l := range losses {
		t.losses[lossKey{l.Format, l.Field, l.Kind}] += max(1, l.Rows)
	}
}

func (t *tally) file() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Files++
}

// finish sorts what was collected and returns the report.
func (t *tally) finish() *ImportReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortStableFunc(t.report.Errors, func(a, b Rejection) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	t.report.Losses = t.report.Losses[:0]
	for k, n := range t.losses {
		t.report.Losses = append(t.report.Losses, formats.Loss{Format: k.format, Field: k.field, Kind: k.kind, Rows: n})
	}
	slices.SortFunc(t.report.Losses, func(a, b formats.Loss) int {
		return cmp.Or(cmp.Compare(a.Format, b.Format), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Kind, b.Kind))
	})
	return &t.report
}

// annotated counts annotations that went in beside the rows.
func (t *tally) annotated(n int64, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Annotated += n
	t.report.Snapshot = token
}
