package store_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/store"
)

// TestFoldUnderWriters has readers look at snapshots, new ones and kept ones, while
// a writer gives all rows a new priority in each call: a snapshot shows the
// priorities of one call, the same at every look, whichever were folded since.
func TestFoldUnderWriters(t *testing.T) {
	const rows, rounds, readers = 300, 30, 3
	l := testlake.Open(t)
	mustAppend(t, l, testlake.Rows(l, "a", rows, 1))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			kept := map[int64]*store.Snapshot{}
			for {
				s, err := l.Head(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				round := roundOf(t, s, rows)
				for want, old := range kept {
					if got := roundOf(t, old, rows); got != want {
						t.Errorf("the snapshot of round %d shows %d", want, got)
					}
					touched, err := s.TouchedRows(ctx, old)
					if err != nil || (len(touched) == rows) != (round > want) {
						t.Errorf("%d rows touched from round %d to %d (%v)", len(touched), want, round, err)
					}
					for _, r := range touched {
						if r.Priority != float64(round) {
							t.Errorf("touched row %d has the priority %v in round %d", r.Seq, r.Priority, round)
							break
						}
					}
				}
				if kept[round] = s; len(kept) > 4 {
					delete(kept, round-4)
				}
				select {
				case <-stop:
					return
				default:
				}
				if t.Failed() {
					return
				}
			}
		})
	}
	for round := 1; round <= rounds; round++ {
		var notes []*schema.Annotation
		for i := range rows {
			notes = append(notes, note("priority", fmt.Sprint("a-", i), new(float64(round)), ""))
		}
		if _, _, err := l.Annotate(ctx, notes); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

// roundOf is the priority that all rows of a snapshot have; 0 where none has one.
func roundOf(t *testing.T, s *store.Snapshot, rows int) int64 {
	n, round := 0, int64(-1)
	for rec, err := range s.Scan(ctx, store.ScanOptions{Columns: []string{"priority", "row_seq"}}) {
		if err != nil {
			t.Error(err)
			return -1
		}
		p := rec.Column(0).(*array.Float64)
		for i := range p.Len() {
			v := int64(0)
			if p.IsValid(i) {
				v = int64(p.Value(i))
			}
			if n++; round >= 0 && v != round {
				t.Errorf("%s shows priorities %d and %d", s, round, v)
				return -1
			}
			round = v
		}
	}
	if n != rows {
		t.Errorf("%s has %d rows", s, n)
	}
	return round
}
