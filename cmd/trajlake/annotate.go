package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"trajlake/ingest"
	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
	"trajlake/store"
)

// annotateBatch is how many annotations are committed as one version.
const annotateBatch = 5000

// annotateReport is the outcome of annotate.
type annotateReport struct {
	place
	Committed  int64              `json:"committed"`
	Duplicates int64              `json:"duplicates"`
	Rejected   int64              `json:"rejected"`
	Errors     []ingest.Rejection `json:"errors"` // the first 1,000
}

func (a *app) annotateCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "annotate -f FILE",
		Short: "Append facts learned later: rewards, labels, priorities, quarantine",
		Long: `annotate reads one JSON object per line: target_id (or target), target_kind
(trajectory unless said), kind (reward, label, priority, advantage, quarantine,
restore, review), name, value, scorer, reason and the other columns of the table.

Nothing is overwritten: the newest annotation of a kind counts from the next
snapshot on. The same annotation again is a duplicate. Bad lines are rejected by
line and the rest goes in; then the exit code is 3.`,
		Example: `  echo '{"target_id":"toy-1","kind":"reward","name":"tests","value":1,"scorer":"pytest"}' |
    trajlake annotate --lake ./lake -f -
  trajlake annotate --server 127.0.0.1:7400 -f rewards.jsonl --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usage(cmd, fault.New(fault.Usage, "", "-f FILE is missing"))
			}
			r := a.stdin
			if file != "-" {
				f, err := os.Open(file)
				if err != nil {
					return fault.WrapAs(fault.NotFound, "", err)
				}
				defer f.Close()
				r = f
			}
			return a.with(cmd.Context(), writing, func(b backend) error {
				return a.annotate(cmd.Context(), b, file, r)
			})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the annotations, one JSON object per line; - is standard input")
	return cmd
}

// annotating is one run of annotate.
type annotating struct {
	b      backend
	file   string
	rows   []*schema.Annotation
	lines  []int64
	report annotateReport
}

func (a *app) annotate(ctx context.Context, b backend, file string, r io.Reader) error {
	run := annotating{b: b, file: file, report: annotateReport{Errors: []ingest.Rejection{}}}
	err := run.all(ctx, r)
	head, herr := b.Head(context.WithoutCancel(ctx))
	if err == nil {
		err = herr
	}
	run.report.place = head
	if a.json {
		if perr := a.printJSON(run.report); err == nil {
			err = perr
		}
	} else {
		fmt.Fprintf(a.stdout, "%s committed, %s, %s rejected\n", thousands(run.report.Committed),
			plural(run.report.Duplicates, "duplicate", "duplicates"), thousands(run.report.Rejected))
		printRejections(a.stdout, run.report.Errors, run.report.Rejected)
	}
	if err == nil && run.report.Rejected > 0 {
		return someRejected
	}
	return err
}

// all reads the lines and commits them in batches.
func (run *annotating) all(ctx context.Context, r io.Reader) error {
	s := canon.NewScanner(r, canon.ScanOptions{MaxRecord: 16 << 20})
	for {
		rec, err := s.Next()
		var bad *canon.RecordError
		switch {
		case errors.Is(err, io.EOF):
			return run.flush(ctx)
		case errors.As(err, &bad):
			run.reject(int64(bad.Line), "", &fault.Error{Kind: fault.Invalid, Field: bad.Path, Msg: bad.Msg})
			continue
		case err != nil:
			return errors.Join(fault.Wrap("read "+run.file, err), run.flush(ctx))
		}
		row, faults := schema.AnnotationFromJSON(rec.Value)
		if err := faults.Err(""); err != nil {
			run.reject(int64(rec.Line), row.AnnotationID, err)
			continue
		}
		run.rows, run.lines = append(run.rows, row), append(run.lines, int64(rec.Line))
		if len(run.rows) == annotateBatch {
			if err := run.flush(ctx); err != nil {
				return err
			}
		}
	}
}

func (run *annotating) flush(ctx context.Context) error {
	if len(run.rows) == 0 {
		return nil
	}
	receipts, _, err := run.b.Appender().Annotate(ctx, run.rows)
	if err != nil {
		return err
	}
	for i, r := range receipts {
		switch r.Status {
		case store.Committed:
			run.report.Committed++
		case store.Duplicate:
			run.report.Duplicates++
		default:
			run.reject(run.lines[i], r.ID, r.Err)
		}
	}
	run.rows, run.lines = nil, nil
	return nil
}

func (run *annotating) reject(line int64, id string, err error) {
	run.report.Rejected++
	if len(run.report.Errors) < 1000 {
		run.report.Errors = append(run.report.Errors, ingest.RejectionOf(run.file, line, id, err))
	}
}
