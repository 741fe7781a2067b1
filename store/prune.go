package store

import (
	"context"

	"trajlake/store/datafile"
)

// prunePages narrows ranges of rows to the pages in which the predicate can be
// true by their statistics.
func (pl *plan) prunePages(_ context.Context, _ part, rows []datafile.Range) ([]datafile.Range, error) {
	return rows, nil
}
