package datafile

import (
	"fmt"
	"strings"
	"testing"

	"trajlake/schema"
)

// TestFatRow: a row whose texts fill a streamed page comes back as it was, between
// rows with long and with short texts.
func TestFatRow(t *testing.T) {
	text := func(i, n int) *string {
		s := strings.Repeat(fmt.Sprintf("%d of the texts, ", i), n/16+1)[:n]
		return &s
	}
	var rows []*schema.Trajectory
	for i, turn := range []int{10, 20 << 10, 300 << 10, 40 << 10, 10} {
		r := &schema.Trajectory{TrajectoryID: fmt.Sprintf("r%d", i)}
		for k := range 100 {
			n := turn
			if k%7 == 3 {
				n = 5
			}
			r.Turns = append(r.Turns, schema.Turn{Role: text(k, 4), Text: text(k, n)})
		}
		rows = append(rows, r)
	}
	enc, err := Encode(schema.Trajectories, rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := readRows[schema.Trajectory](t, mustOpen(t, enc.Bytes, schema.Trajectories), ReadOptions{})
	if len(got) != len(rows) {
		t.Fatalf("%d rows of %d", len(got), len(rows))
	}
	for i := range rows {
		if string(schema.ContentHash(got[i])) != string(schema.ContentHash(rows[i])) {
			t.Errorf("row %d is not what was written", i)
		}
	}
}
