package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"trajlake/ingest"
	"trajlake/ingest/formats"
	"trajlake/schema"
	"trajlake/schema/fault"
)

func exportFormats() (names []string) {
	for _, e := range formats.Exporters() {
		names = append(names, e.Name())
	}
	return names
}

// exportReport is the outcome of an export.
type exportReport struct {
	place
	Format   string             `json:"format"`
	Rows     int64              `json:"rows"`
	Files    int64              `json:"files"`
	Rejected int64              `json:"rejected"` // rows that the format cannot express
	Losses   []formats.Loss     `json:"losses"`
	Errors   []ingest.Rejection `json:"errors"` // the first 1,000
}

func (a *app) exportCmd() *cobra.Command {
	var format, out, pred string
	var strict bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write trajectories in a format that others read",
		Long: `export writes the trajectories that a predicate selects: ` + strings.Join(exportFormats(), ", ") + `.
native loses nothing. For the others the report lists by column what the format
has no place for; --strict refuses to lose anything and then writes nothing.

-o names a file, a folder (atif: one file for each trajectory), or - for stdout.
A file is written under another name first, so that it is whole or not there.`,
		Example: `  trajlake export --lake ./lake --format native -o all.jsonl
  trajlake export --lake ./lake --format openai --where "success" -o good.jsonl --json
  trajlake export --lake ./lake --format atif -o atif/`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, ok := formats.ExporterByName(format)
			if !ok {
				return fault.New(fault.Usage, "", "--format %q is not known", format).WithHint("one of %s", strings.Join(exportFormats(), ", "))
			}
			if out == "-" && a.json {
				return fault.New(fault.Usage, "", "--json and the rows cannot both go to stdout").WithHint("give -o FILE")
			}
			return a.with(cmd.Context(), reading, func(b backend) error {
				x := &export{format: e, strict: strict, report: exportReport{Format: format, Losses: []formats.Loss{}, Errors: []ingest.Rejection{}}}
				return a.export(cmd.Context(), b, x, out, pred)
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "native", strings.Join(exportFormats(), ", "))
	cmd.Flags().StringVarP(&out, "output", "o", "-", "a file, a folder, or - for stdout")
	cmd.Flags().StringVar(&pred, "where", "", "a predicate over the columns; docs/reference/where.md")
	cmd.Flags().BoolVar(&strict, "strict", false, "fail, and write nothing, when something would be lost")
	return cmd
}

// export is one running export.
type export struct {
	format formats.Exporter
	strict bool
	report exportReport
}

func (a *app) export(ctx context.Context, b backend, x *export, out, pred string) (err error) {
	rows := func(each func(*schema.Trajectory) error) error {
		bar := a.progress("export")
		defer bar.clear()
		x.report.place, err = b.Rows(ctx, a.version, pred, func(row *schema.Trajectory) error {
			bar.update(x.report.Rows, 0, plural(x.report.Rows, "row", "rows")+bar.rate(x.report.Rows))
			// No format has blobs: what was moved out of the row goes back into it.
			if err := ingest.Restore(ctx, row, b.GetBlob); err != nil {
				return err
			}
			return each(row)
		})
		return err
	}
	switch {
	case out == "-":
		w := bufio.NewWriterSize(a.stdout, 256<<10)
		err = rows(func(row *schema.Trajectory) error { return x.line(w, row) })
		err = errors.Join(err, fault.Wrap("write to stdout", w.Flush()))
	case x.isFolder(out):
		err = x.folder(out, rows)
	default:
		x.report.Files = 1
		err = writeFile(out, func(w io.Writer) error {
			return rows(func(row *schema.Trajectory) error { return x.line(w, row) })
		})
	}
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(x.report)
	} else if !a.quiet {
		fmt.Fprintf(a.stderr, "%s as %s\n", plural(x.report.Rows, "row", "rows"), x.report.Format)
		printRejections(a.stderr, x.report.Errors, x.report.Rejected)
		printLosses(a.stderr, x.report.Losses)
	}
	if err == nil && x.report.Rejected > 0 {
		return someRejected
	}
	return err
}

// isFolder reports whether out is to be a folder of files.
func (x *export) isFolder(out string) bool {
	if st, err := os.Stat(out); err == nil {
		return st.IsDir()
	}
	ext := filepath.Ext(out)
	return strings.HasSuffix(out, "/") || !x.format.Lines() && ext != ".json" && ext != ".jsonl"
}

// row writes one row to w; ok is false where the format cannot express it.
func (x *export) row(w io.Writer, row *schema.Trajectory) (ok bool, err error) {
	var b bytes.Buffer
	losses, err := x.format.Write(&b, row)
	if err != nil {
		if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unsupported) {
			return false, err
		}
		x.report.Rejected++
		if len(x.report.Errors) < 1000 {
			x.report.Errors = append(x.report.Errors, ingest.Rejection{Field: fault.FieldOf(err), Kind: fault.KindOf(err).String(),
				Reason: err.Error(), Hint: fault.HintOf(err), ID: row.TrajectoryID})
		}
		return false, nil
	}
	if err := x.lose(row, losses); err != nil {
		return false, err
	}
	_, err = w.Write(b.Bytes())
	return true, fault.Wrap("write "+row.TrajectoryID, err)
}

// lose counts losses; with --strict only what stays recoverable passes.
func (x *export) lose(row *schema.Trajectory, losses []formats.Loss) error {
	x.report.Losses = formats.AddLosses(x.report.Losses, losses)
	for _, l := range losses {
		if x.strict && l.Kind != formats.LossMoved && l.Kind != formats.LossRepeated {
			return fault.New(fault.Unsupported, "", "%s: %s has no place for %s", row.TrajectoryID, x.report.Format, l.Field).
				WithHint("export without --strict and read the report of losses, or use --format native")
		}
	}
	return nil
}

// line writes one row into a file of many. What would stand in a file beside it
// has no place there.
func (x *export) line(w io.Writer, row *schema.Trajectory) error {
	ok, err := x.row(w, row)
	if err != nil || !ok {
		return err
	}
	x.report.Rows++
	if suffix, content := x.format.Beside(row); len(content) > 0 {
		return x.lose(row, []formats.Loss{{Format: x.report.Format, Field: "the file " + suffix + " beside it", Kind: formats.LossDropped, Rows: 1}})
	}
	return nil
}

// folder writes into a folder: one file for formats of lines, else one for each
// row. They are gathered under a hidden name and moved when all are written.
func (x *export) folder(dir string, rows func(func(*schema.Trajectory) error) error) error {
	op := "export to " + dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.WrapAs(kindOfOS(err), op, err)
	}
	if x.format.Lines() {
		x.report.Files = 1
		return writeFile(filepath.Join(dir, "trajectories.jsonl"), func(w io.Writer) error {
			return rows(func(row *schema.Trajectory) error { return x.line(w, row) })
		})
	}
	work, err := os.MkdirTemp(dir, ".export-*")
	if err != nil {
		return fault.WrapAs(kindOfOS(err), op, err)
	}
	defer os.RemoveAll(work)
	var names []string
	put := func(name string, content []byte) error {
		if err := os.WriteFile(filepath.Join(work, name), content, 0o644); err != nil {
			return fault.Wrap(op, err)
		}
		names = append(names, name)
		return nil
	}
	err = rows(func(row *schema.Trajectory) error {
		var b bytes.Buffer
		ok, err := x.row(&b, row)
		if err != nil || !ok {
			return err
		}
		x.report.Rows++
		name := formats.FileName(row)
		if err := put(name+".json", b.Bytes()); err != nil {
			return err
		}
		if suffix, content := x.format.Beside(row); len(content) > 0 {
			return put(name+suffix, content)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(work, name), filepath.Join(dir, name)); err != nil {
			return fault.Wrap(op, err)
		}
	}
	x.report.Files = int64(len(names))
	return nil
}
