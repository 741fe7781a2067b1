package ingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"trajlake/ingest/formats"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// fileImport is one file on its way.
type fileImport struct {
	im      *importer
	path    string
	format  string
	session AppendSession

	batch batch
	notes []*schema.Annotation // of rows that were answered
	sent  chan error           // result of the batch under way; nil = none
}

// batch is rows on their way, each with its line and what is to be noted of it.
type batch struct {
	items []Item
	lines []int64
	notes [][]*schema.Annotation
	size  int64
}

// run reads the records; while one batch is being committed the next is read.
func (fi *fileImport) run(ctx context.Context, f formats.Importer, r io.Reader) error {
	src := formats.Source{Name: fi.path, Set: fi.im.opt.Set}
	if fi.path != "-" {
		src.Open = fi.beside
	}
	for rec := range f.Read(ctx, r, src) {
		fi.im.tally.record(fi.format, rec.Loss)
		if rec.Err != nil {
			fi.im.tally.reject(fi.path, rec.Line, "", rec.Err)
			continue
		}
		if rec.Row == nil {
			fi.notes = append(fi.notes, rec.Annotations...)
			continue
		}
		it := Item{Row: rec.Row, Sum: rec.Sum}
		if rec.Canonical != nil {
			sum := sha256.Sum256(rec.Canonical)
			it.Sum = sum[:]
		}
		b := &fi.batch
		b.items = append(b.items, it)
		b.lines = append(b.lines, rec.Line)
		b.notes = append(b.notes, rec.Annotations)
		b.size += rowBytes(rec.Row)
		if len(b.items) >= batchRows || b.size >= batchBytes {
			if err := fi.flush(ctx); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(fi.flush(ctx), fi.wait()); err != nil {
		return err
	}
	return fi.annotate(ctx)
}

// flush hands the gathered batch to the session, after the one before it.
func (fi *fileImport) flush(ctx context.Context) error {
	if err := fi.wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil || len(fi.batch.items) == 0 {
		return err
	}
	b := fi.batch
	fi.batch = batch{}
	fi.sent = make(chan error, 1)
	go func() { fi.sent <- fi.send(ctx, b) }()
	return nil
}

// wait waits for the batch under way.
func (fi *fileImport) wait() error {
	if fi.sent == nil {
		return nil
	}
	err := <-fi.sent
	fi.sent = nil
	return err
}

// send appends a batch. Notes about a row whose id is derived learn it from the
// receipt.
func (fi *fileImport) send(ctx context.Context, b batch) error {
	receipts, err := retry(ctx, func() ([]store.Receipt, error) { return fi.session.Append(ctx, b.items) })
	if err != nil {
		return err
	}
	rejected := int64(0)
	for i, r := range receipts {
		fi.im.tally.receipt(fi.path, b.lines[i], r)
		if r.Status == store.Rejected {
			rejected++
			continue
		}
		for _, n := range b.notes[i] {
			if n.TargetID == nil || *n.TargetID == "" {
				n.TargetID = new(r.ID)
			}
			fi.notes = append(fi.notes, n)
		}
	}
	fi.im.step(func(p *Progress) { p.Rows += int64(len(receipts)); p.Rejected += rejected })
	return nil
}

func (fi *fileImport) annotate(ctx context.Context) error {
	for notes := range slices.Chunk(fi.notes, 5000) {
		receipts, token, err := fi.im.app.Annotate(ctx, notes)
		if err != nil {
			return err
		}
		for _, r := range receipts {
			if r.Status == store.Rejected {
				fi.im.tally.reject(fi.path, 0, r.ID, r.Err)
			}
		}
		fi.im.tally.annotated(int64(len(receipts)), token)
	}
	return nil
}

// retry repeats a call that the store could not answer a few times; what went
// in meanwhile comes back as duplicates.
func retry(ctx context.Context, call func() ([]store.Receipt, error)) (out []store.Receipt, err error) {
	for pause := 200 * time.Millisecond; ; pause *= 2 {
		out, err = call()
		if err == nil || pause > 2*time.Second || !(fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Exhausted)) {
			return out, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// beside opens a file by its path relative to the folder of this one: in it,
// below it or in its parent, and nowhere else.
func (fi *fileImport) beside(name string) (io.ReadCloser, error) {
	if below, _ := strings.CutPrefix(filepath.ToSlash(filepath.Clean(name)), "../"); !filepath.IsLocal(below) {
		return nil, fault.New(fault.Denied, "open "+name, "it is not beside %s", fi.path)
	}
	return os.Open(filepath.Join(filepath.Dir(fi.path), filepath.FromSlash(name)))
}
