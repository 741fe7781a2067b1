package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"trajlake/internal/term"
	"trajlake/store"
)

func (a *app) verifyCmd() *cobra.Command {
	var deep bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that nothing of the lake is missing or damaged",
		Long: `verify checks the logs, that every data file is there with the size that the
log states, counts against statistics, that ids are unique, and the index against
the log. --deep reads every byte: checksums and the content hash of every row.

Exit code 4 means that damage was found; every problem is listed.`,
		Example: `  trajlake verify --lake ./lake
  trajlake verify --lake ./lake --deep --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), reading, func(b backend) error {
				bar := a.progress("verify")
				r, err := b.Verify(cmd.Context(), store.VerifyOptions{Deep: deep, Progress: func(done, total int64) {
					bar.update(done, total, fmt.Sprintf("%s of %s files", thousands(done), thousands(total)))
				}})
				bar.clear()
				if err != nil {
					return err
				}
				return a.verified(r)
			})
		},
	}
	cmd.Flags().BoolVar(&deep, "deep", false, "read every byte: checksums and content hashes")
	return cmd
}

// verified prints the report and ends with damageFound where there is any.
func (a *app) verified(r *store.Report) error {
	var err error
	if a.json {
		err = a.printJSON(r)
	} else {
		state := "ok"
		if !r.OK {
			state = plural(int64(len(r.Problems)), "problem", "problems")
		}
		err = a.print(fmt.Appendf(nil, "version %d: %s in %s: %s\n", r.Version, plural(r.Trajectories, "trajectory", "trajectories"), plural(r.Files, "file", "files"), state))
		for _, p := range r.Problems {
			if err == nil {
				err = a.print(fmt.Appendf(nil, "  %s  %s: %s\n", term.Line(p.Kind), term.Line(p.Object), term.Line(p.Detail)))
			}
		}
	}
	if err == nil && !r.OK {
		return damageFound
	}
	return err
}
