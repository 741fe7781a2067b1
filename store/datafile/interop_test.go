package datafile

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	pqfile "github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"trajlake/schema"
)

// TestPqarrowReads reads our files with Arrow's own Parquet reader.
func TestPqarrowReads(t *testing.T) {
	rows := randomRows[schema.Trajectory](t, 61, 90)
	for _, o := range []*WriteOptions{nil, {PageBytes: 600, PageRows: 11, GroupRows: 40}} {
		e, err := Encode(schema.Trajectories, rows, o)
		if err != nil {
			t.Fatal(err)
		}
		r, err := pqfile.NewParquetReader(bytes.NewReader(e.Bytes))
		if err != nil {
			t.Fatal(err)
		}
		pr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		table, err := pr.ReadTable(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var got []*schema.Trajectory
		for tr := array.NewTableReader(table, 0); tr.Next(); {
			got = append(got, goRows[schema.Trajectory](t, schema.Trajectories, tr.Record())...)
		}
		sameRows(t, rows, got)
	}
}

// TestForeignFiles reads files that testdata/write.py wrote with pyarrow, Polars
// and DuckDB: other names and nestings of lists and maps, other widths, version
// 2 pages, dictionaries, no page index.
func TestForeignFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.parquet")
	if err != nil || len(files) < 8 {
		t.Fatalf("fixtures are missing: %v %v", files, err)
	}
	want := foreignRows()
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f := mustOpen(t, b, schema.Trajectories)
			sameRows(t, want, readRows[schema.Trajectory](t, f, ReadOptions{}))
			for _, at := range [][]int64{{2, 0, 2, 1}, {3}} {
				rec, err := f.Gather(context.Background(), at, nil)
				if err != nil {
					t.Fatal(err)
				}
				var picked []*schema.Trajectory
				for _, i := range at {
					picked = append(picked, want[i])
				}
				sameRows(t, picked, goRows[schema.Trajectory](t, schema.Trajectories, rec))
			}
		})
	}
}

// foreignRows are the rows of testdata/write.py.
func foreignRows() []*schema.Trajectory {
	p := func(s string) *string { return &s }
	f := func(v float64) *float64 { return &v }
	i8, i32, i64 := func(v int8) *int8 { return &v }, func(v int32) *int32 { return &v }, func(v int64) *int64 { return &v }
	at := schema.Time(1764000000123456)
	yes := true
	return []*schema.Trajectory{
		{
			TrajectoryID: "a", Status: p("completed"), Reward: f(0.5), EffortLevel: i8(30), NumTurns: i32(2), PolicyVersionMin: i64(7), StartedAt: &at, Success: &yes,
			TokenIDs: []int32{1, 2, 3}, Logprobs: []float32{-0.5, -0.25, -1}, Flags: []string{"x", "yy"}, Metadata: map[string]string{"k": "v", "k2": ""},
			Turns: []schema.Turn{
				{Role: p("user"), Text: p("hello")},
				{Role: p("assistant"), ToolCalls: []schema.ToolCall{{Name: p("bash"), SubagentIDs: []string{"s1", "s2"}}, {Name: p("ls")}}},
			},
		},
		{TrajectoryID: "b", Status: p("completed")},
		{TrajectoryID: "轨迹", Reward: f(-1), TokenIDs: []int32{9}, Turns: []schema.Turn{{Text: p("")}, {}}, PolicyVersionMin: i64(-3)},
		{TrajectoryID: "d", Status: p("failed"), Metadata: map[string]string{"only": "one"}, Flags: []string{""}, EffortLevel: i8(0)},
	}
}
