package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"trajlake/query"
)

func (a *app) statsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Count rows and tokens by task set, mode, effort and reward band",
		Long: `stats counts the trajectories of a snapshot and splits rows and completion
tokens (thinking included) by task set, mode, requested effort and reward band.
Rewards are folded: a later reward annotation counts in place of the row's own.
Quarantined rows are counted, and counted again as quarantined.`,
		Example: `  trajlake stats --lake ./lake
  trajlake stats --server 127.0.0.1:7400 --json
  trajlake stats --lake ./lake --version 12`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(b backend) error {
				r, err := b.Stats(cmd.Context(), a.version)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(r)
				}
				return a.printStats(r)
			})
		},
	}
}

func (a *app) printStats(r *query.StatsReport) error {
	fmt.Fprintf(a.stdout, "version       %s\ntrajectories  %s (%s scored, %s quarantined)\nturns         %s\ntool calls    %s (%s failed)\ntokens        %s completion, %s of them thinking; %s prompt\n",
		thousands(r.Version), thousands(r.Trajectories), thousands(r.Scored), thousands(r.Quarantined), thousands(r.Turns),
		thousands(r.ToolCalls), thousands(r.ToolErrors), thousands(r.CompletionTokens), thousands(r.ThinkingTokens), thousands(r.PromptTokens))
	if len(r.Cells) == 0 {
		return a.print(nil)
	}
	rows := [][]string{{"task set", "mode", "effort", "reward", "rows", "tokens"}}
	for _, c := range r.Cells {
		tokens := thousands(c.Tokens)
		if c.Untold == c.Rows {
			tokens = "-"
		}
		rows = append(rows, []string{orDash(c.TaskSet), c.Mode, orDash(c.Effort), c.RewardBand, thousands(c.Rows), tokens})
	}
	fmt.Fprintln(a.stdout)
	return table(a.stdout, rows)
}

func orDash(s *string) string {
	if s == nil || *s == "" {
		return "-"
	}
	return *s
}
