package store

import (
	"context"

	"trajlake/schema/where"
	"trajlake/store/datafile"
)

// prunePages narrows ranges of rows to the pages in which the predicate can be
// true by their statistics.
func (pl *plan) prunePages(ctx context.Context, p part, rows []datafile.Range) ([]datafile.Range, error) {
	file, done, err := pl.s.lake.files.open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer done()
	var columns []string
	for _, name := range pl.filter {
		if stored, ok := pl.storedName(name); ok {
			columns = append(columns, stored)
		}
	}
	may, err := file.Prune(columns, func(s datafile.Stats) bool { return pl.bound.Stats(pageStats{pl, s}) != where.Never })
	if err != nil {
		return nil, err
	}
	return intersect(rows, may), nil
}

// pageStats are the statistics of a row group or page as a predicate sees them.
type pageStats struct {
	pl *plan
	s  datafile.Stats
}

// Column implements where.Stats.
func (s pageStats) Column(name string) (lo, hi any, nulls, rows int64, ok bool) {
	stored, ok := s.pl.storedName(name)
	if !ok {
		return nil, nil, -1, -1, false
	}
	return s.s.Column(stored)
}

// intersect gives the rows that are in both of two lists of ascending ranges.
func intersect(a, b []datafile.Range) []datafile.Range {
	var out []datafile.Range
	for len(a) > 0 && len(b) > 0 {
		lo, hi := max(a[0].From, b[0].From), min(a[0].To, b[0].To)
		if lo < hi {
			out = append(out, datafile.Range{From: lo, To: hi})
		}
		if a[0].To < b[0].To {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}
