package where

import "testing"

// BenchmarkFilter gives the time for one row of each predicate.
func BenchmarkFilter(b *testing.B) {
	rec := newGenerator(1).record(20_000)
	for _, text := range []string{
		"reward > 0", "reward is not null", "status = 'tau'", "status in ('tau', 'a', 'b')", "run_id like 'swe-%'",
		"num_turns between 2 and 10", "prompt_tokens + num_turns > 3", "reward > 0 and not quarantined and effort_level >= 20", "list_contains(tool_kinds, 'tau')",
	} {
		b.Run(text, func(b *testing.B) {
			p := bind(b, text)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Filter(rec); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rec.NumRows()), "ns/row")
		})
	}
}
