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
	"github.com/parquet-go/parquet-go"

	"trajlake/schema"
	"trajlake/schema/fault"
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
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			want := foreignRows()
			if filepath.Base(name) == "polars.parquet" {
				for _, r := range want {
					r.Metadata = nil
				}
			}
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

// twoLevel is a list node of the old kind: the repeated node is the element.
type twoLevel struct{ parquet.Group }

func (twoLevel) Type() parquet.Type { return parquet.List(parquet.String()).Type() }

// TestOldLists reads the list layouts that no current writer makes any more: bare
// repeated columns, and lists of two levels.
func TestOldLists(t *testing.T) {
	type turn struct {
		Role *string `parquet:"role,optional"`
	}
	type bare struct {
		ID     string   `parquet:"trajectory_id"`
		Tokens []int32  `parquet:"token_ids"`
		Flags  []string `parquet:"flags"`
		Turns  []turn   `parquet:"turns"`
	}
	u, v := "user", ""
	in := []bare{{ID: "a", Tokens: []int32{1, 2}, Flags: []string{"x"}, Turns: []turn{{&u}, {nil}, {&v}}}, {ID: "b"}, {ID: "c", Flags: []string{"", "y"}, Turns: []turn{{nil}}}}
	want := []*schema.Trajectory{
		{TrajectoryID: "a", TokenIDs: []int32{1, 2}, Flags: []string{"x"}, Turns: []schema.Turn{{Role: &u}, {}, {Role: &v}}},
		{TrajectoryID: "b"},
		{TrajectoryID: "c", Flags: []string{"", "y"}, Turns: []schema.Turn{{}}},
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, in); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, b.Bytes(), schema.Trajectories)
	sameRows(t, want, readRows[schema.Trajectory](t, f, ReadOptions{}))

	node := parquet.NewSchema("old", parquet.Group{
		"trajectory_id": parquet.String(),
		"token_ids":     parquet.Optional(twoLevel{parquet.Group{"array": parquet.Repeated(parquet.Leaf(parquet.Int32Type))}}),
		"flags":         parquet.Optional(twoLevel{parquet.Group{"flags_tuple": parquet.Repeated(parquet.String())}}),
		"turns":         parquet.Optional(twoLevel{parquet.Group{"array": parquet.Repeated(parquet.Group{"role": parquet.Optional(parquet.String())})}}),
	})
	// Leaves in order of name: flags, token_ids, trajectory_id, turns.
	str := func(s string, r, d, c int) parquet.Value { return parquet.ByteArrayValue([]byte(s)).Level(r, d, c) }
	num := func(n int32, r, c int) parquet.Value { return parquet.Int32Value(n).Level(r, 2, c) }
	null := func(r, d, c int) parquet.Value { return parquet.NullValue().Level(r, d, c) }
	b.Reset()
	w := parquet.NewWriter(&b, node)
	if _, err := w.WriteRows([]parquet.Row{
		{str("x", 0, 2, 0), num(1, 0, 1), num(2, 1, 1), str("a", 0, 0, 2), str("user", 0, 3, 3), null(1, 2, 3), str("", 1, 3, 3)},
		{null(0, 0, 0), null(0, 1, 1), str("b", 0, 0, 2), null(0, 1, 3)},
		{str("", 0, 2, 0), str("y", 1, 2, 0), null(0, 0, 1), str("c", 0, 0, 2), null(0, 2, 3)},
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f = mustOpen(t, b.Bytes(), schema.Trajectories)
	sameRows(t, want, readRows[schema.Trajectory](t, f, ReadOptions{}))
}

// TestRefusedColumn: a column of another type is refused by name, the others read.
func TestRefusedColumn(t *testing.T) {
	type odd struct {
		ID     string `parquet:"trajectory_id"`
		Reward string `parquet:"reward"`
		Turns  int64  `parquet:"turns"`
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, []odd{{"a", "much", 3}}); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, b.Bytes(), schema.Trajectories)
	if got := readRows[schema.Trajectory](t, f, ReadOptions{Columns: []string{"trajectory_id", "status"}}); got[0].TrajectoryID != "a" || got[0].Status != nil {
		t.Errorf("got %+v", got[0])
	}
	for _, c := range []string{"reward", "turns"} {
		if _, err := f.Gather(context.Background(), []int64{0}, []string{c}); fault.KindOf(err) != fault.Unsupported {
			t.Errorf("column %s gives %v", c, err)
		}
	}
}
