package main

import (
	"bufio"
	"encoding/json"

	"github.com/spf13/cobra"

	"trajlake/internal/term"
	"trajlake/schema/fault"
)

func (a *app) idsCmd() *cobra.Command {
	var pred string
	var columns []string
	cmd := &cobra.Command{
		Use:   "ids",
		Short: "List trajectories in lake order",
		Long: `ids lists the trajectories of a snapshot in the order in which the lake got
them. With --json each line is an object: trajectory_id, content_hash, version
(the one that committed the row) and the columns asked for.`,
		Example: `  trajlake ids --lake ./lake
  trajlake ids --lake ./lake --where "effort = 'high' and reward > 0.5" --json
  trajlake ids --lake ./lake --columns task_id,reward --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(b backend) error {
				w := bufio.NewWriterSize(a.stdout, 64<<10)
				for line, err := range b.IDs(cmd.Context(), a.version, pred, columns) {
					if err == nil && !a.json {
						line, err = idText(line, columns)
					}
					if err != nil {
						return err
					}
					_, _ = w.Write(line) // the error stays and Flush returns it
					_ = w.WriteByte('\n')
				}
				return fault.Wrap("write to stdout", w.Flush())
			})
		},
	}
	cmd.Flags().StringVar(&pred, "where", "", "a predicate over the columns; docs/reference/where.md")
	cmd.Flags().StringSliceVar(&columns, "columns", nil, "further columns, separated by commas")
	return cmd
}

// idText is a line for people: the id, and the asked columns as JSON, separated
// by tabs.
func idText(line json.RawMessage, columns []string) ([]byte, error) {
	var row map[string]json.RawMessage
	if err := json.Unmarshal(line, &row); err != nil {
		return nil, fault.Wrap("read row", err)
	}
	var id string
	if err := json.Unmarshal(row["trajectory_id"], &id); err != nil {
		return nil, fault.Wrap("read row", err)
	}
	out := []byte(term.Line(id))
	for _, c := range columns {
		out = append(append(out, '\t'), term.Line(string(row[c]))...)
	}
	return out, nil
}
