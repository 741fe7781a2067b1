package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"trajlake/ingest/formats"
	"trajlake/internal/term"
	"trajlake/schema/fault"
)

func (a *app) showCmd() *cobra.Command {
	var full bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one trajectory as a transcript",
		Long: `show prints a trajectory for reading: what it is, how it ended, and its turns
with thinking, tool calls and results. Long texts are shortened unless --full is
given. Control and invisible characters are shown by their escapes.

With --json it prints the trajectory as one native JSON object, the same that
export --format native writes and import takes.`,
		Example: `  trajlake show --lake ./lake toy-1
  trajlake show --lake ./lake toy-1 --full | less -R
  trajlake show --server 127.0.0.1:7400 toy-1 --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("takes one ID, but %d were given", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), reading, func(b backend) error {
				return a.show(cmd.Context(), b, args[0], full)
			})
		},
	}
	cmd.Flags().BoolVar(&full, "full", false, "do not shorten long texts")
	return cmd
}

func (a *app) show(ctx context.Context, b backend, id string, full bool) error {
	rows, err := b.Get(ctx, a.version, []string{id})
	if err != nil {
		return err
	}
	if len(rows) != 1 || rows[0] == nil {
		return errAbsent(id, a.version)
	}
	if a.json {
		native, ok := formats.ExporterByName("native")
		if !ok {
			return fault.New(fault.Internal, "", "there is no native exporter")
		}
		_, err := native.Write(a.stdout, rows[0])
		return err
	}
	t := transcript{row: rows[0], style: term.StyleOf(a.stdout, os.Getenv), full: full}
	if err := t.learned(ctx, b, a.version); err != nil {
		return err
	}
	return a.print(t.text())
}

// learned reads what annotations say about the row: the folded view.
func (t *transcript) learned(ctx context.Context, b backend, ref string) error {
	pred := "trajectory_id = '" + strings.ReplaceAll(t.row.TrajectoryID, "'", "''") + "'"
	for line, err := range b.IDs(ctx, ref, pred, []string{"reward", "priority", "quarantined"}) {
		if err != nil {
			return err
		}
		if err := json.Unmarshal(line, &t.folded); err != nil {
			return fault.Wrap("read the folded view", err)
		}
	}
	return nil
}
