package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"trajlake/store"
)

func (a *app) indexCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Look after the local index of a lake",
		Long: `The index maps ids to places. It is a cache beside the lake, in TRAJLAKE_INDEX
or the user's cache folder: deleting it loses nothing.`,
		Example: `  trajlake index rebuild --lake ./lake`,
		Args:    noArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.indexRebuildCmd())
	return cmd
}

func (a *app) indexRebuildCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "rebuild",
		Short: "Throw the index away and build it from the log",
		Long: `rebuild makes the index anew from the lake's log. With --server the server
rebuilds its own; with --lake no other process may hold the index.`,
		Example: `  trajlake index rebuild --lake ./lake
  trajlake index rebuild --server 127.0.0.1:7400 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(b backend) error {
				r, err := b.RebuildIndex(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					p, err := b.Head(cmd.Context())
					if err != nil {
						return err
					}
					return a.printJSON(struct {
						store.RebuildResult
						Snapshot string `json:"snapshot"`
					}{r, p.Snapshot})
				}
				return a.print(fmt.Appendf(nil, "indexed %s up to version %d in %.1f s\n", plural(r.Rows, "row", "rows"), r.Version, r.Seconds))
			})
		},
	}
}
