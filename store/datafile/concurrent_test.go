package datafile

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"trajlake/schema"
)

// TestConcurrent writes from several goroutines, which share pooled state, and
// reads one file from several, which share its cache. It is meant for -race.
func TestConcurrent(t *testing.T) {
	rows := randomRows[schema.Trajectory](t, 71, 40)
	want, err := Encode(schema.Trajectories, rows, &WriteOptions{PageRows: 9})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(bytes.NewReader(want.Bytes), int64(len(want.Bytes)), schema.Trajectories, &OpenOptions{Cache: NewCache(100 << 10), Parallel: 2})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 5 {
				e, err := Encode(schema.Trajectories, rows, &WriteOptions{PageRows: 9})
				if err != nil || e.SHA256 != want.SHA256 {
					t.Errorf("equal rows give other bytes (%v)", err)
				}
				at := int64((7*g + i) % 40)
				rec, err := f.Gather(context.Background(), []int64{at, 39 - at}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				got := goRows[schema.Trajectory](t, schema.Trajectories, rec)
				if got[0].TrajectoryID != rows[at].TrajectoryID || got[1].TrajectoryID != rows[39-at].TrajectoryID {
					t.Errorf("rows %d and %d are others", at, 39-at)
				}
			}
		})
	}
	wg.Wait()
}
