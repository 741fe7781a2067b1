package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"trajlake/internal/term"
	"trajlake/query"
	"trajlake/replay"
	"trajlake/schema/fault"
)

var sampleFormats = []string{"json", "parquet", "arrow"}

// sampleColumns are what a row of sample has as JSON where no columns are asked.
var sampleColumns = []string{"trajectory_id", "task_set", "task_id", "group_id", "effort", "mode", "reward"}

// sampleFlags are the flags of sample; those given go before the spec file.
type sampleFlags struct {
	spec, where, weight, unit string
	batch                     int64
	seed, step                uint64
	columns                   []string
	format, out               string
}

func (a *app) sampleCmd() *cobra.Command {
	var f sampleFlags
	cmd := &cobra.Command{
		Use:   "sample",
		Short: "Draw one reproducible batch",
		Long: `sample draws the batch that a spec, a seed and a step determine from a snapshot:
the same rows with the same values on any machine, any time later. Quarantined rows
are never drawn. The flags stand for keys of the spec and go before --spec FILE
(docs/reference/spec.md), which also has strata, caps and groups.

--format json prints one row per line; without --columns those are the row's
names, reward and effort, and what the draw says of it. parquet and arrow (an IPC
file) hold the whole rows.`,
		Example: `  trajlake sample --lake ./lake --where 'reward > 0' --weight reward --batch 8 --seed 9 --step 4
  trajlake sample --lake ./lake --spec mix.yaml --step 12 --format arrow -o batch.arrow
  trajlake sample --server 127.0.0.1:7400 --unit group --batch 2 --version 12`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec, err := f.read(cmd.Flags(), a)
			if err != nil {
				return err
			}
			if err := a.checkOutput(&f); err != nil {
				return err
			}
			return a.with(cmd.Context(), reading, func(b backend) error { return a.sample(cmd.Context(), b, spec, &f) })
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.spec, "spec", "", "a spec file, YAML or JSON; - is standard input")
	fl.StringVar(&f.where, "where", "", "a predicate over the columns; docs/reference/where.md")
	fl.StringVar(&f.weight, "weight", "uniform", "uniform, reward or priority; several separated by commas are multiplied")
	fl.StringVar(&f.unit, "unit", "trajectory", "what is drawn: trajectory or group")
	fl.Int64Var(&f.batch, "batch", 32, "how many units")
	fl.Uint64Var(&f.seed, "seed", 0, "another seed draws other batches")
	fl.Uint64Var(&f.step, "step", 0, "the batch's position in the sequence, from 0")
	fl.StringSliceVar(&f.columns, "columns", nil, "columns of the rows, separated by commas")
	fl.StringVar(&f.format, "format", "json", strings.Join(sampleFormats, ", "))
	fl.StringVarP(&f.out, "output", "o", "-", "write to this file; - is stdout")
	return cmd
}

// read is the spec that flags and file make together, filled and checked.
func (f *sampleFlags) read(given *pflag.FlagSet, a *app) (replay.Spec, error) {
	var s replay.Spec
	if f.spec != "" {
		text, err := readText(f.spec, a.stdin)
		if err != nil {
			return s, err
		}
		if s, err = replay.ParseSpec(text); err != nil {
			return s, fault.Wrap(f.spec, err)
		}
	}
	if given.Changed("where") {
		s.Where = f.where
	}
	if given.Changed("weight") {
		s.Weight = nil
		for _, name := range strings.Split(f.weight, ",") {
			s.Weight = append(s.Weight, replay.Weight{Name: strings.TrimSpace(name)})
		}
	}
	if given.Changed("unit") {
		s.Unit = f.unit
	}
	if given.Changed("batch") {
		if f.batch < 1 {
			return s, fault.New(fault.Usage, "", "--batch %d: a batch has at least one unit", f.batch)
		}
		s.Batch = replay.BatchSize{Rows: f.batch}
	}
	if given.Changed("seed") {
		s.Seed = f.seed
	}
	if given.Changed("columns") {
		s.Columns = f.columns
	}
	if s.Snapshot.Mode == replay.Live && a.version == "" {
		a.note("sample draws from a fixed snapshot: the newest is taken for snapshot: live")
		s.Snapshot = replay.Snapshot{Mode: replay.Pinned}
	}
	if a.version != "" {
		s.Snapshot = replay.Snapshot{Mode: replay.AtToken, Token: a.version}
		if n, err := strconv.ParseInt(a.version, 10, 64); err == nil {
			s.Snapshot = replay.Snapshot{Mode: replay.AtVersion, Version: n}
		}
	}
	f.columns = nil // the spec's
	if f.format == "json" && s.Columns == nil {
		f.columns = sampleColumns
	}
	filled := s.Fill(replay.Pinned)
	return filled, filled.Validate()
}

func readText(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		text, err := io.ReadAll(io.LimitReader(stdin, 1<<20))
		return text, fault.Wrap("read standard input", err)
	}
	text, err := os.ReadFile(path)
	return text, fault.WrapAs(fault.NotFound, "", err)
}

// checkOutput refuses formats that do not exist and binary ones on a terminal.
func (a *app) checkOutput(f *sampleFlags) error {
	if !slices.Contains(sampleFormats, f.format) {
		return fault.New(fault.Usage, "", "--format %q is not known", f.format).WithHint("one of %s", strings.Join(sampleFormats, ", "))
	}
	if f.out != "-" || f.format == "json" {
		return nil
	}
	if a.json {
		return fault.New(fault.Usage, "", "--json and %s cannot both go to stdout", f.format).WithHint("give -o FILE")
	}
	if term.Width(a.stdout) > 0 {
		return fault.New(fault.Usage, "", "%s is not for a terminal", f.format).WithHint("give -o FILE, or pipe it somewhere")
	}
	return nil
}

// batchReport is what sample says about a batch that went to a file.
type batchReport struct {
	batchFacts
	SpecHash string `json:"spec_hash"`
	Rows     int64  `json:"rows"`
	File     string `json:"file"`
}

// batchFacts stand in every row that sample prints.
type batchFacts struct {
	BatchID  string `json:"batch_id"`
	Position uint64 `json:"position"`
	place
}

func (a *app) sample(ctx context.Context, b backend, spec replay.Spec, f *sampleFlags) error {
	drawn, err := b.Sample(ctx, spec, f.step, f.columns)
	if err != nil {
		return err
	}
	facts := batchFacts{drawn.ID, drawn.Position, drawn.place}
	write := func(w io.Writer) error { return writeBatch(w, f.format, drawn) }
	if f.format == "json" {
		write = func(w io.Writer) error { return writeRows(w, drawn, facts) }
	}
	rows := int64(0)
	for _, r := range drawn.Records {
		rows += r.NumRows()
	}
	if rows == 0 {
		a.note("the batch is empty: nothing in version %d may be drawn by this spec", drawn.Version)
	}
	if f.out == "-" {
		return fault.Wrap("write to stdout", write(a.stdout))
	}
	if err := writeFile(f.out, write); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(batchReport{facts, drawn.SpecHash, rows, f.out})
	}
	a.note("%s of version %d to %s (batch %s)", plural(rows, "row", "rows"), drawn.Version, f.out, drawn.ID)
	return nil
}

// writeRows writes one JSON object per row: the row's columns, what the draw says
// of it, and the batch.
func writeRows(w io.Writer, b *batch, facts batchFacts) error {
	tail, err := compact(facts)
	if err != nil {
		return err
	}
	var line []byte
	for _, rec := range b.Records {
		for i := range int(rec.NumRows()) {
			line = query.AppendRow(line[:0], rec, i)
			line = append(bytes.TrimSuffix(line, []byte("}")), ',')
			line = append(append(line, tail[1:]...), '\n')
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
	}
	return nil
}
