package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"trajlake/ingest"
	"trajlake/ingest/formats"
	"trajlake/internal/term"
	"trajlake/schema/fault"
)

// listed is how many rejections and losses a summary for people spells out.
const listed = 20

func importFormats() []string {
	names := []string{"auto"}
	for _, f := range formats.All() {
		names = append(names, f.Name())
	}
	return names
}

func (a *app) importCmd() *cobra.Command {
	var format string
	var set []string
	cmd := &cobra.Command{
		Use:   "import PATH…",
		Short: "Commit trajectories from files, folders, globs or standard input",
		Long: `import reads files of agent trajectories into the lake, which it makes if there is
none. A PATH is a file, a folder (walked), a pattern, or - for standard input; gzip
and zstd are read through. The format is found by content, or named by --format:
` + wrapped(importFormats()[1:]) + `.

Each trajectory goes in exactly once: importing the same files again, after a
crash or Ctrl-C too, finds what is there as duplicates. Bad records are rejected by
file and line, and the rest goes in. Then the exit code is 3.

--set fills columns that the source leaves empty:
` + wrapped(formats.Settable()) + `.`,
		Example: `  trajlake import --lake ./lake runs/ more/*.jsonl.gz
  trajlake import --lake ./lake --set task_set=tau-bench-retail,run_id=r7 results.json
  zstdcat big.jsonl.zst | trajlake import --server 127.0.0.1:7400 --format openai -
  trajlake import --lake s3://bucket/lake traces.jsonl --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no PATH is given; - is standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			fill, err := parseSet(set)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), creating, func(b backend) error {
				return a.importPaths(cmd.Context(), b, args, ingest.ImportOptions{Format: format, Set: fill, Stdin: a.stdin})
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "auto", "the files' format, auto = by content")
	cmd.Flags().StringArrayVar(&set, "set", nil, "NAME=VALUE,… fills columns that the source leaves empty; may be given several times")
	return cmd
}

// wrapped lists words in lines of at most 80 characters.
func wrapped(words []string) string {
	var b strings.Builder
	width := 0
	for i, w := range words {
		if i < len(words)-1 {
			w += ","
		}
		switch {
		case width == 0:
		case width+1+len(w) > 80:
			b.WriteByte('\n')
			width = 0
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(w)
		width += len(w)
	}
	return b.String()
}

// parseSet reads the values of --set; of a name given twice the last counts.
func parseSet(args []string) (map[string]string, error) {
	set := map[string]string{}
	for _, arg := range args {
		for _, pair := range strings.Split(arg, ",") {
			name, value, ok := strings.Cut(pair, "=")
			if name = strings.TrimSpace(name); !ok || name == "" {
				return nil, fault.New(fault.Usage, "", "--set %q is not NAME=VALUE", pair).WithHint("--set model=m-7b,run_id=r1")
			}
			set[name] = value
		}
	}
	return set, formats.CheckSet(set)
}

// importReport is the report as JSON; incomplete tells that the import broke off.
type importReport struct {
	*ingest.ImportReport
	Incomplete bool `json:"incomplete,omitempty"`
}

func (a *app) importPaths(ctx context.Context, b backend, paths []string, o ingest.ImportOptions) error {
	bar := a.progress("import")
	o.Progress = func(p ingest.Progress) {
		remark := plural(p.Rows, "row", "rows") + " in"
		if p.Rejected > 0 {
			remark += ", " + thousands(p.Rejected) + " rejected"
		}
		if p.TotalFiles > 1 {
			remark += fmt.Sprintf(", file %s of %s", thousands(p.Files), thousands(p.TotalFiles))
		}
		bar.update(p.Bytes, p.TotalBytes, remark+bar.rate(p.Rows))
	}
	tuning, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { tuneMemory(tuning) })
	report, err := ingest.ImportFiles(ctx, b.Appender(), paths, o)
	stop()
	wg.Wait()
	bar.clear()
	if report == nil {
		return err
	}
	if err != nil && ctx.Err() != nil {
		forget(report)
		err = fault.New(fault.Cancelled, "", "interrupted").WithHint("import again: what is in comes back as duplicates and the rest goes in")
	}
	head, herr := b.Head(context.WithoutCancel(ctx))
	if herr == nil {
		report.Version, report.Snapshot = head.Version, head.Snapshot
	} else if err == nil {
		err = herr
	}
	if a.json {
		if perr := a.printJSON(importReport{report, err != nil}); err == nil {
			err = perr
		}
	} else {
		out := a.stdout
		if err != nil {
			out = a.stderr
		}
		importSummary(out, report)
	}
	if err == nil && report.Rejected > 0 {
		return someRejected
	}
	return err
}

// forget takes out of a report what was not rejected but given up.
func forget(r *ingest.ImportReport) {
	all := len(r.Errors)
	r.Errors = slices.DeleteFunc(r.Errors, func(e ingest.Rejection) bool { return e.Kind == fault.Cancelled.String() })
	r.Rejected -= int64(all - len(r.Errors))
}

// importSummary tells people what went in and what did not.
func importSummary(w io.Writer, r *ingest.ImportReport) {
	fmt.Fprintf(w, "%s committed, %s, %s from %s, %s in %.1f s\n", thousands(r.Committed), plural(r.Duplicates, "duplicate", "duplicates"),
		thousands(r.Rejected)+" rejected", plural(r.Files, "file", "files"), bytesText(r.Bytes), r.Seconds)
	fmt.Fprintf(w, "the lake is at version %d\n", r.Version)
	printRejections(w, r.Errors, r.Rejected)
	printLosses(w, r.Losses)
}

// printRejections lists what was rejected, by place; the same reason again is
// counted at the first place.
func printRejections(w io.Writer, list []ingest.Rejection, all int64) {
	type kind struct{ reason, hint string }
	places := map[kind][]string{}
	var order []kind
	for _, e := range list {
		at := e.File
		if e.Line > 0 {
			at = fmt.Sprintf("%s:%d", e.File, e.Line)
		}
		if at == "" {
			at = e.ID
		}
		k := kind{shortReason(e.Reason, at, e.File), e.Hint}
		if e.Field != "" && !strings.HasPrefix(k.reason, e.Field) {
			k.reason = e.Field + ": " + k.reason
		}
		if places[k] == nil {
			order = append(order, k)
		}
		places[k] = append(places[k], at)
	}
	for i, k := range order {
		if i == listed {
			fmt.Fprintf(w, "  … and %d more kinds of rejection; --json lists the first 1,000\n", len(order)-listed)
			break
		}
		more := ""
		if n := len(places[k]) - 1; n > 0 {
			more = fmt.Sprintf(" (and %s more, up to %s)", thousands(int64(n)), term.Line(places[k][n]))
		}
		fmt.Fprintf(w, "  %s: %s%s\n", term.Line(places[k][0]), term.Line(k.reason), more)
		if k.hint != "" {
			fmt.Fprintf(w, "    hint: %s\n", term.Line(k.hint))
		}
	}
	if more := all - int64(len(list)); more > 0 {
		fmt.Fprintf(w, "  … and %s more\n", thousands(more))
	}
}

// shortReason is a reason without the place in front of it, which is printed beside it.
func shortReason(reason, at, file string) string {
	for _, place := range []string{at, file} {
		if i := strings.Index(reason, place+": "); place != "" && i >= 0 && i <= len("decompress ") {
			return reason[i+len(place)+2:]
		}
	}
	return reason
}

// printLosses lists what a format did not carry, the most frequent first as far
// as there is room.
func printLosses(w io.Writer, losses []formats.Loss) {
	if len(losses) == 0 {
		return
	}
	fmt.Fprintln(w, "not carried as it was:")
	rows := [][]string{{"  format", "field", "what", "rows"}}
	for i, l := range losses {
		if i == listed {
			break
		}
		rows = append(rows, []string{"  " + l.Format, l.Field, strings.ReplaceAll(l.Kind, "_", " "), thousands(l.Rows)})
	}
	_ = table(w, rows) // as every summary, as far as the terminal takes it
	if len(losses) > listed {
		fmt.Fprintf(w, "  … and %d more kinds; --json lists them\n", len(losses)-listed)
	}
}
