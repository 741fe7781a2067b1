package main

import (
	"github.com/spf13/cobra"

	"trajlake/ingest/formats"
	"trajlake/rpc"
	"trajlake/schema"
	"trajlake/schema/fault"
)

func (a *app) completionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that completes verbs and flags in a shell",
		Long: `completion prints a script for the shell, which completes verbs, flags and the
names of formats, roles, weights and columns.`,
		Example: `  source <(trajlake completion bash)
  trajlake completion zsh > "${fpath[1]}/_trajlake"
  trajlake completion fish > ~/.config/fish/completions/trajlake.fish`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "zsh":
				return fault.Wrap("write completion", root.GenZshCompletion(a.stdout))
			case "fish":
				return fault.Wrap("write completion", root.GenFishCompletion(a.stdout, true))
			}
			return fault.Wrap("write completion", root.GenBashCompletionV2(a.stdout, true))
		},
	}
}

// needVerb is the RunE of a command that only holds others.
func needVerb(cmd *cobra.Command, _ []string) error {
	if err := cmd.Help(); err != nil {
		return err
	}
	return fault.New(fault.Usage, "", "which of its verbs?").WithHint("see `%s --help`", cmd.CommandPath())
}

// completeFlags lets a shell complete the values of a command's flags.
func completeFlags(cmd *cobra.Command) {
	words := map[string][]string{
		"roles":     rpc.Roles(),
		"log-level": logLevels,
		"weight":    {"uniform", "reward", "priority"},
		"unit":      {"trajectory", "group"},
		"columns":   columnNames(),
		"set":       formats.Settable(),
	}
	switch cmd.Name() {
	case "import":
		words["format"] = importFormats()
	case "export":
		words["format"] = exportFormats()
	case "sample":
		words["format"] = sampleFormats
	}
	for flag, list := range words {
		if cmd.Flags().Lookup(flag) != nil || cmd.PersistentFlags().Lookup(flag) != nil {
			// The only error is that the flag has a completion already.
			_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

func columnNames() (names []string) {
	for _, c := range schema.Trajectories.Columns {
		names = append(names, c.Name)
	}
	return names
}
