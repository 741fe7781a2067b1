package main

import (
	"time"

	"github.com/spf13/cobra"
)

func (a *app) versionsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "versions",
		Short: "List the versions of the lake, oldest first",
		Long: `versions lists the commits of the trajectories table: when, what and how many
rows it added. Any of them can be read again with --version.`,
		Example: `  trajlake versions --lake ./lake
  trajlake versions --server 127.0.0.1:7400 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(b backend) error {
				list, err := b.History(cmd.Context())
				if err != nil {
					return err
				}
				rows := [][]string{{"version", "at", "operation", "rows"}}
				for _, v := range list {
					if a.json {
						if err := a.printJSON(v); err != nil {
							return err
						}
						continue
					}
					rows = append(rows, []string{thousands(v.Version), v.At.UTC().Format(time.RFC3339), v.Operation, thousands(v.Rows)})
				}
				if a.json {
					return nil
				}
				return table(a.stdout, rows)
			})
		},
	}
}
