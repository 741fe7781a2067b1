package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"trajlake/internal/term"
	"trajlake/replay"
	"trajlake/schema/fault"
)

// printExplanation shows an explanation: for people what is excluded, the strata
// and the ages as tables.
func (a *app) printExplanation(text json.RawMessage) error {
	if a.json {
		return a.printJSON(text)
	}
	var x replay.Explanation
	if err := json.Unmarshal(text, &x); err != nil {
		return fault.Wrap("read explanation", err)
	}
	fmt.Fprintf(a.stdout, "version     %s (%s)\ncandidates  %s rows\neligible    %s\n", thousands(x.Version), x.Snapshot, thousands(x.Candidates), thousands(x.Eligible))
	a.printExcluded(x.Excluded)
	if u := x.Units; u != nil {
		fmt.Fprintf(a.stdout, "\n%ss      %s, %s of them eligible\n", x.Unit, thousands(u.Candidates), thousands(u.Eligible))
		a.printExcluded(u.Excluded)
	}
	if x.Resting > 0 {
		fmt.Fprintf(a.stdout, "resting     %s (caps.cooldown)\n", thousands(x.Resting))
	}
	fmt.Fprintf(a.stdout, "weights     %.4g to %.4g, mean %.4g; as uneven as %.4g units of one weight\npredicate   %s\nmemory      %s\n\n",
		x.Weights.Least, x.Weights.Greatest, x.Weights.Mean, x.Weights.Effective, x.Predicate, megabytes(x.Bytes))
	rows := [][]string{{"stratum", "target", "has", "available", "per batch", ""}}
	for _, s := range x.Strata {
		note := ""
		if s.Short {
			note = "short: a batch may want more"
		}
		rows = append(rows, []string{term.Line(s.Stratum), percent(s.Target), percent(s.Share), thousands(s.Available), thousands(s.PerBatch), note})
	}
	if err := table(a.stdout, rows); err != nil {
		return err
	}
	rows = [][]string{{"versions behind", "rows", "successes"}}
	for _, s := range x.Staleness {
		rows = append(rows, []string{ages(s), thousands(s.Rows), thousands(s.Successes)})
	}
	fmt.Fprintln(a.stdout)
	return table(a.stdout, rows)
}

// printExcluded lists what excludes how many, the most first.
func (a *app) printExcluded(by map[string]int64) {
	reasons := slices.Sorted(maps.Keys(by))
	slices.SortStableFunc(reasons, func(x, y string) int { return int(by[y] - by[x]) })
	for _, r := range reasons {
		fmt.Fprintf(a.stdout, "  %-18s %s\n", r, thousands(by[r]))
	}
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 2, 64) + " %" }

func megabytes(n int64) string { return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB" }

func ages(s replay.ExplainedAge) string {
	switch {
	case s.From == nil:
		return "unknown"
	case s.To == nil:
		return "from " + thousands(*s.From)
	case *s.From == *s.To:
		return thousands(*s.From)
	}
	return thousands(*s.From) + " to " + thousands(*s.To)
}
