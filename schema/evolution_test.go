package schema

import (
	"bytes"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// An older and a newer declaration of the trajectories table, cut down.
type olderTurn struct {
	Role *string `parquet:"role,optional,plain"`
	Text *string `parquet:"text,optional,plain"`
}

type olderRow struct {
	TrajectoryID string      `parquet:"trajectory_id,plain"`
	Reward       *float64    `parquet:"reward,optional"`
	Turns        []olderTurn `parquet:"turns,optional,list"`
	TokenIDs     []int32     `parquet:"token_ids,optional,list" parquet-element:",delta"`
}

type newerTurn struct {
	Role    *string  `parquet:"role,optional,plain"`
	Text    *string  `parquet:"text,optional,plain"`
	Sparkle *int64   `parquet:"sparkle,optional"`
	Stars   []string `parquet:"stars,optional,list"`
}

type newerRow struct {
	TrajectoryID string      `parquet:"trajectory_id,plain"`
	Brand        *string     `parquet:"brand,optional,dict"`
	Reward       *float64    `parquet:"reward,optional"`
	Turns        []newerTurn `parquet:"turns,optional,list"`
	TokenIDs     []int32     `parquet:"token_ids,optional,list" parquet-element:",delta"`
}

func reread[T any](t *testing.T, rows []T) *Trajectory {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[T](&buf, parquet.DataPageVersion(1))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	back, err := parquet.Read[Trajectory](bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil || len(back) != len(rows) {
		t.Fatalf("%d rows, %v", len(back), err)
	}
	return &back[0]
}

// TestParquetEvolution compares what the rows say: parquet-go gives a struct of
// nulls for a group that a file lacks.
func TestParquetEvolution(t *testing.T) {
	want := &Trajectory{TrajectoryID: "a", Reward: p(0.5), Turns: []Turn{{Role: p("user"), Text: p("x")}, {Text: p("y")}}, TokenIDs: []int32{1, 2}}
	older := reread(t, []olderRow{{"a", p(0.5), []olderTurn{{p("user"), p("x")}, {nil, p("y")}}, []int32{1, 2}}})
	if dump(older) != dump(want) {
		t.Errorf("older file:\n got %s\nwant %s", dump(older), dump(want))
	}
	newer := reread(t, []newerRow{{"a", p("b"), p(0.5), []newerTurn{{p("user"), p("x"), p(int64(1)), []string{"s", "t"}}, {nil, p("y"), nil, nil}}, []int32{1, 2}}})
	if dump(newer) != dump(want) {
		t.Errorf("newer file:\n got %s\nwant %s", dump(newer), dump(want))
	}
	if string(ContentHash(older)) != string(ContentHash(want)) || string(ContentHash(newer)) != string(ContentHash(want)) {
		t.Error("the schema of the file changes the hash")
	}
}
