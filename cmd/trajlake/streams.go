package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trajlake/internal/term"
	"trajlake/replay"
	"trajlake/rpc"
	"trajlake/schema/fault"
)

func (a *app) streamCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stream",
		Short: "Create, list and look into replay streams",
		Long: `A stream is a named spec that is stored in the lake: trainers draw its batches by
name, position and run, and what they served and trained on stands in the ledger.
A stream is live (it takes new rows in as it goes) unless its spec says snapshot:
pinned. It never changes: another spec is another stream.`,
		Example: `  trajlake stream create mix-a -f mix.yaml --lake ./lake
  trajlake stream list --lake ./lake
  trajlake stream tail mix-a --batches 3 --server 127.0.0.1:7400`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.streamCreateCmd(), a.streamListCmd(), a.streamShowCmd(), a.streamTailCmd())
	return cmd
}

func (a *app) streamCreateCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Store a stream under a name",
		Long: `create fills the spec's defaults in, checks it, and stores it in the lake. The same
spec under the same name is the same stream again; another spec is refused. A
pinned stream draws from the snapshot of this moment for ever.

A name has letters, digits, ".", "_" and "-". The spec: docs/reference/spec.md.`,
		Example: `  trajlake stream create mix-a -f mix.yaml --lake ./lake
  echo 'snapshot: pinned' | trajlake stream create all -f - --server 127.0.0.1:7400 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return fault.New(fault.Usage, "", "no spec is given").WithHint("-f FILE names it, YAML or JSON; - is standard input")
			}
			text, err := readText(file, a.stdin)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), writing, func(b backend) error {
				s, err := b.CreateStream(cmd.Context(), args[0], text)
				if err != nil {
					return fault.Wrap(file, err)
				}
				return a.printStream(s)
			})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the spec, YAML or JSON; - is standard input")
	return cmd
}

// printStream shows a stream: for people the spec key by key.
func (a *app) printStream(s rpc.StreamInfo) error {
	if a.json {
		return a.printJSON(s)
	}
	fmt.Fprintf(a.stdout, "stream     %s\nspec hash  %s\nsnapshot   version %s (%s)\ncreated    %s\n\n", s.Stream, s.SpecHash, thousands(s.Version), s.Snapshot, s.CreatedAt.Format(time.RFC3339))
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(s.Spec, &keys); err != nil {
		return fault.Wrap("show stream", err)
	}
	var rows [][]string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		rows = append(rows, []string{k, term.Line(string(keys[k]))})
	}
	return table(a.stdout, rows)
}

func (a *app) streamListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the streams of the lake",
		Long: `list shows each stream with its spec's hash, the position that its furthest run has
come to, and the version of its newest snapshot.`,
		Example: `  trajlake stream list --lake ./lake
  trajlake stream list --server 127.0.0.1:7400 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(b backend) error {
				list, err := b.Streams(cmd.Context())
				if err != nil {
					return err
				}
				rows := [][]string{{"stream", "position", "version", "spec hash"}}
				for _, s := range list {
					if a.json {
						if err := a.printJSON(s); err != nil {
							return err
						}
						continue
					}
					rows = append(rows, []string{s.Stream, strconv.FormatUint(s.Position, 10), thousands(s.Version), s.SpecHash[:16]})
				}
				if a.json {
					return nil
				}
				if len(list) == 0 {
					a.note("there are no streams; `trajlake stream create NAME -f SPEC` makes one")
					return nil
				}
				return table(a.stdout, rows)
			})
		},
	}
}

func (a *app) streamShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show a stream with its filled-in spec",
		Long: `show prints a stream's name, the hash and the snapshot, and every key of its spec:
those that were given and the defaults of the day on which it was created.`,
		Example: `  trajlake stream show mix-a --lake ./lake
  trajlake stream show mix-a --server 127.0.0.1:7400 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), reading, func(b backend) error {
				s, err := b.Stream(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.printStream(s)
			})
		},
	}
}

func (a *app) streamTailCmd() *cobra.Command {
	var run string
	var from, batches uint64
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "tail NAME",
		Short: "Draw batches of a stream and print which rows they hold",
		Long: `tail draws the batches of a stream one after the other, from position 0 or --from,
and prints the rows of each without their payload. It draws what a trainer of the same
run draws; without --run it has a sequence of its own. Of a live stream, tail claims
positions, as any trainer does. Without --batches it goes on until it is interrupted.`,
		Example: `  trajlake stream tail mix-a --batches 3 --lake ./lake
  trajlake stream tail mix-a --run r1 --from 120 --batches 1 --server 127.0.0.1:7400 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), writing, func(b backend) error {
				req := replay.BatchRequest{Stream: args[0], Run: run, Position: from, World: 1, Step: -1, Policy: -1, Wait: wait}
				for n := uint64(0); batches == 0 || n < batches; n++ {
					batch, err := b.DrawStream(cmd.Context(), req)
					if err != nil {
						return err
					}
					if err := a.printDrawn(batch); err != nil {
						return err
					}
					req.Position++
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "the training run whose sequence is drawn")
	cmd.Flags().Uint64Var(&from, "from", 0, "the first position")
	cmd.Flags().Uint64Var(&batches, "batches", 0, "how many batches; 0 goes on until it is interrupted")
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Second, "how long a batch may wait for data")
	return cmd
}

// printDrawn prints a batch, for people a line for each row.
func (a *app) printDrawn(b rpc.BatchInfo) error {
	if a.json {
		return a.printJSON(b)
	}
	fmt.Fprintf(a.stdout, "batch %d  %s  version %s  %s\n", b.Position, b.BatchID, thousands(b.Version), plural(int64(len(b.Rows)), "row", "rows"))
	for _, note := range append(b.Waited, b.Dry...) {
		fmt.Fprintf(a.stdout, "  %s\n", term.Line(note))
	}
	rows := [][]string{{"  trajectory", "stratum", "probability", "staleness"}}
	for _, text := range b.Rows {
		var r struct {
			ID        string   `json:"trajectory_id"`
			Stratum   string   `json:"stratum"`
			P         float64  `json:"inclusion_probability"`
			Staleness *float64 `json:"staleness"`
		}
		if err := json.Unmarshal(text, &r); err != nil {
			return fault.Wrap("read batch", err)
		}
		age := "-"
		if r.Staleness != nil {
			age = strconv.FormatFloat(*r.Staleness, 'g', -1, 64)
		}
		rows = append(rows, []string{"  " + term.Line(r.ID), term.Line(r.Stratum), strconv.FormatFloat(r.P, 'g', 4, 64), age})
	}
	return table(a.stdout, rows)
}

func (a *app) explainCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "explain [NAME]",
		Short: "Tell what a stream or a spec could draw, and what excludes how many rows",
		Long: `explain counts the candidates of a stream (or of a spec, with -f), how many of them
are eligible, what excludes the others, how full each stratum is, and how old the
eligible rows are. It draws nothing.`,
		Example: `  trajlake explain mix-a --lake ./lake
  trajlake explain -f mix.yaml --server 127.0.0.1:7400 --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var name string
			var text []byte
			if len(args) == 1 {
				name = args[0]
			}
			if (name == "") == (file == "") {
				return fault.New(fault.Usage, "", "a stream's name or -f SPEC is wanted, one of them")
			}
			if file != "" {
				var err error
				if text, err = readText(file, a.stdin); err != nil {
					return err
				}
			}
			return a.with(cmd.Context(), reading, func(b backend) error {
				x, err := b.Explain(cmd.Context(), name, text, a.version)
				if err != nil {
					return err
				}
				return a.printExplanation(x)
			})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "a spec, YAML or JSON; - is standard input")
	return cmd
}

func (a *app) ledgerCmd() *cobra.Command {
	var f replay.LedgerFilter
	var step int64
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Tell what was served and what was trained on",
		Long: `ledger lists what stands in the lake's ledger: claims of positions, batches that were
served, consumed (a trainer acknowledged them), handed back or refused. The flags
narrow it down: --run R --step N is what step N of run R was trained on, --trajectory ID
is every batch that held it. What a restarted trainer did again comes once.`,
		Example: `  trajlake ledger --run r1 --step 120 --lake ./lake --json
  trajlake ledger --trajectory toy-1 --server 127.0.0.1:7400
  trajlake ledger diff r1 r2 --lake ./lake`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("step") {
				f.Step = &step
			}
			f.At = a.version
			return a.with(cmd.Context(), reading, func(b backend) error {
				rows := [][]string{{"kind", "stream", "run", "step", "rank", "position", "version", "rows", "batch"}}
				for l, err := range b.Ledger(cmd.Context(), f) {
					if err != nil {
						return err
					}
					if a.json {
						if err := a.printJSON(l); err != nil {
							return err
						}
						continue
					}
					rows = append(rows, []string{l.Kind, l.Stream, orDash(&l.Run), numberOrDash(l.Step), rankOf(l), strconv.FormatInt(l.Position, 10),
						thousands(l.Version), strconv.Itoa(len(l.TrajectoryIDs)), orDash(&l.BatchID)})
				}
				if a.json {
					return nil
				}
				return table(a.stdout, rows)
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.Run, "run", "", "a training run")
	fl.StringVar(&f.Stream, "stream", "", "a stream")
	fl.Int64Var(&step, "step", 0, "a step of the trainer")
	fl.StringVar(&f.Trajectory, "trajectory", "", "batches that hold this trajectory")
	fl.StringVar(&f.Batch, "batch", "", "a batch by its id")
	fl.StringVar(&f.Kind, "kind", "", strings.Join(ledgerKinds, ", "))
	fl.BoolVar(&f.Superseded, "superseded", false, "also what a restarted or rolled-back trainer did again")
	cmd.AddCommand(a.ledgerDiffCmd())
	return cmd
}

var ledgerKinds = []string{replay.LedgerClaim, replay.LedgerServed, replay.LedgerConsumed, replay.LedgerNack, replay.LedgerRefused}

func numberOrDash(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}

func rankOf(l replay.LedgerLine) string {
	if l.Rank == nil {
		return "-"
	}
	return strconv.Itoa(int(*l.Rank))
}

func (a *app) ledgerDiffCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "diff RUN_A RUN_B",
		Short: "Compare what two runs were trained on, step by step",
		Long: `diff compares the acknowledged batches of two runs by the trajectories that each
step was trained on, and names the first step that differs.`,
		Example: `  trajlake ledger diff r1 r2 --lake ./lake
  trajlake ledger diff r1 r2 --server 127.0.0.1:7400 --json`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), reading, func(b backend) error {
				d, err := b.LedgerDiff(cmd.Context(), args[0], args[1])
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(d)
				}
				fmt.Fprintf(a.stdout, "same steps        %s\ndifferent steps   %s\nfirst difference  %s\nonly in %-9s %s\nonly in %-9s %s\n", thousands(d.SameSteps), thousands(d.DifferentSteps),
					numberOrDash(d.FirstDifference), term.Line(args[0]), thousands(d.OnlyA), term.Line(args[1]), thousands(d.OnlyB))
				return a.print(nil)
			})
		},
	}
}
