// Command gen writes trajectories of our own making as native JSONL to standard
// output: the same ones for the same seed. It serves the demo, tests and
// benchmarks.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"

	"trajlake/internal/workload"
)

func main() {
	n := flag.Int("n", 1000, "how many trajectories")
	seed := flag.Uint64("seed", 1, "of the generator")
	profile := flag.String("profile", "small", "size: mixed, tiny (400 B), small (4 KB), medium (40 KB), large (400 KB)")
	flag.Parse()
	if err := run(*n, *seed, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(n int, seed uint64, profile string) error {
	profiles := []workload.Profile{workload.Mixed, workload.Tiny, workload.Small, workload.Medium, workload.Large}
	for _, p := range profiles {
		if strings.EqualFold(p.String(), profile) {
			w := bufio.NewWriterSize(os.Stdout, 1<<20)
			if err := workload.New(seed, p).WriteJSONL(w, n); err != nil {
				return err
			}
			return w.Flush()
		}
	}
	return fmt.Errorf("there is no profile %q", profile)
}
