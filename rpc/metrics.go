package rpc

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
)

// WriteMetrics writes what replay did so far in the text format of Prometheus.
// Without the role of replay it writes the cache of rows only.
func (s *Server) WriteMetrics(w io.Writer) error {
	out := bufio.NewWriter(w)
	metric := func(name, kind, help string, value any) {
		fmt.Fprintf(out, "# HELP trajlake_%s %s\n# TYPE trajlake_%s %s\ntrajlake_%s %v\n", name, help, name, kind, name, value)
	}
	hits, misses, bytes := s.fetch.Cached()
	metric("row_cache_hits_total", "counter", "Rows of batches that the cache of rows had.", hits)
	metric("row_cache_misses_total", "counter", "Rows of batches that were read from the lake.", misses)
	metric("row_cache_bytes", "gauge", "Bytes of the cache of rows on disk.", bytes)
	if e := s.streams.Engine; e != nil {
		st := e.Stats()
		metric("replay_batches_total", "counter", "Batches of streams drawn.", st.Batches)
		metric("replay_claims_total", "counter", "Claims made.", st.Claims)
		metric("replay_claims_lost_total", "counter", "Claims that another node had made.", st.ClaimsLost)
		metric("replay_acks_total", "counter", "Batches acknowledged.", st.Acks)
		metric("replay_refused_total", "counter", "Acknowledgements refused.", st.Refused)
		metric("ledger_commits_total", "counter", "Commits of the ledger.", st.LedgerCommits)
		metric("ledger_rows_total", "counter", "Rows written to the ledger.", st.LedgerRows)
		metric("ledger_errors_total", "counter", "Commits of the ledger that failed.", st.LedgerErrors)
		metric("ledger_dropped_total", "counter", "Rows about served batches that were given up.", st.LedgerDropped)
		metric("ledger_pending", "gauge", "Rows that wait to be written to the ledger.", st.LedgerPending)
		const waits = "replay_waited_seconds_total"
		fmt.Fprintf(out, "# HELP trajlake_%s Time that batches waited for data, by reason.\n# TYPE trajlake_%s counter\n", waits, waits)
		for _, reason := range slices.Sorted(maps.Keys(st.Waited)) {
			fmt.Fprintf(out, "trajlake_%s{reason=%q} %g\n", waits, reason, float64(st.Waited[reason])/1e6)
		}
	}
	return out.Flush()
}
