package schema

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/schema/fault"
	"trajlake/schema/internal/rowgen"
)

func arrowRoute[T Row](t *testing.T, rows []*T) (out []*T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	rec, err := BuildRecord(mem, tableFor(reflect.TypeFor[T]()).Columns, rows)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	r, err := NewRowReader[T](rec.Schema())
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		whole, err := r.Row(rec, i)
		if err != nil {
			t.Fatal(err)
		}
		slice := rec.NewSlice(int64(i), int64(i+1))
		alone, err := RowFromArrow[T](slice, 0)
		slice.Release()
		if err != nil || !reflect.DeepEqual(alone, whole) {
			t.Errorf("row %d of a sliced record differs: %v", i, err)
		}
		out = append(out, whole)
	}
	return out
}

func TestArrowRoundTrip(t *testing.T) {
	t.Run("trajectories", func(t *testing.T) { checkRoute(t, arrowRoute[Trajectory]) })
	t.Run("annotations", func(t *testing.T) { checkRoute(t, arrowRoute[Annotation]) })
	t.Run("tensors", func(t *testing.T) { checkRoute(t, arrowRoute[Tensor]) })
	t.Run("ledger", func(t *testing.T) { checkRoute(t, arrowRoute[LedgerEntry]) })
}

// TestArrowRowsOutliveTheRecord shows that a row holds none of the record's memory.
func TestArrowRowsOutliveTheRecord(t *testing.T) {
	mem := &scribbler{memory.NewGoAllocator()}
	row := fromJSON(t, toy)
	row.SourceDigest = []byte{1, 2, 3}
	rec, err := BuildRecord(mem, Trajectories.Columns, []*Trajectory{row})
	if err != nil {
		t.Fatal(err)
	}
	got, err := RowFromArrow[Trajectory](rec, 0)
	if err != nil {
		t.Fatal(err)
	}
	rec.Release()
	if !reflect.DeepEqual(got, row) {
		t.Errorf("got %s", dump(got))
	}
}

// scribbler overwrites memory when it is freed.
type scribbler struct{ memory.Allocator }

func (s *scribbler) Free(b []byte) {
	for i := range b {
		b[i] = 0xEE
	}
	s.Allocator.Free(b)
}

func TestArrowEvolution(t *testing.T) {
	const seed = 12
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	full := new(Trajectory)
	rowgen.Fill(r, full, rowgen.All)
	// A record of a newer schema: unknown columns, top level and nested, other widths.
	turn := arrow.StructOf(arrow.Field{Name: "text", Type: arrow.BinaryTypes.LargeString, Nullable: true}, arrow.Field{Name: "sparkle", Type: arrow.PrimitiveTypes.Int64, Nullable: true})
	s := arrow.NewSchema([]arrow.Field{
		{Name: "newer", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "trajectory_id", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.BinaryTypes.String}},
		{Name: "reward", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
		{Name: "group_index", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "started_at", Type: arrow.FixedWidthTypes.Timestamp_ns, Nullable: true},
		{Name: "turns", Type: arrow.LargeListOf(turn), Nullable: true},
		{Name: "token_ids", Type: arrow.LargeListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
		{Name: "success", Type: arrow.Null, Nullable: true},
	}, nil)
	rec := recordFromJSON(t, s, `[{"newer":1,"trajectory_id":"a","reward":0.5,"group_index":7,"started_at":"2026-01-01T00:00:00.000001999","turns":[{"text":"hi","sparkle":1},{}],"token_ids":[1,2]}]`)
	defer rec.Release()
	got, err := RowFromArrow[Trajectory](rec, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := fromJSON(t, `{"trajectory_id":"a","reward":0.5,"group_index":7,"started_at":"2026-01-01T00:00:00.000001Z","turns":[{"text":"hi"},{}],"token_ids":[1,2]}`)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %s\nwant %s", dump(got), dump(want))
	}
	// A record of an older schema: any half of the columns.
	cols := Trajectories.Columns[:len(Trajectories.Columns)/2]
	old, err := BuildRecord(memory.DefaultAllocator, cols, []*Trajectory{full})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Release()
	got, err = RowFromArrow[Trajectory](old, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range Trajectories.Columns {
		a, b := reflect.ValueOf(got).Elem().Field(c.Field), reflect.ValueOf(full).Elem().Field(c.Field)
		if i < len(cols) && !reflect.DeepEqual(a.Interface(), b.Interface()) || i >= len(cols) && !a.IsZero() {
			t.Errorf("%s: got %v", c.Name, a)
		}
	}
}

func recordFromJSON(t *testing.T, s *arrow.Schema, text string) arrow.Record {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestArrowFaults(t *testing.T) {
	for _, c := range []struct {
		field arrow.Field
		value string
		kind  fault.Kind
		want  string
	}{
		{arrow.Field{Name: "reward", Type: arrow.BinaryTypes.String}, `"x"`, fault.Unsupported, "reward"},
		{arrow.Field{Name: "turns", Type: arrow.ListOf(arrow.StructOf(arrow.Field{Name: "text", Type: arrow.PrimitiveTypes.Int8}))}, `[{"text":1}]`, fault.Unsupported, "turns.text"},
		{arrow.Field{Name: "group_index", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, `5000000000`, fault.Invalid, "group_index"},
		{arrow.Field{Name: "token_ids", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true}, `[1,null]`, fault.Invalid, "token_ids"},
	} {
		rec := recordFromJSON(t, arrow.NewSchema([]arrow.Field{c.field}, nil), `[{"`+c.field.Name+`":`+c.value+`}]`)
		_, err := RowFromArrow[Trajectory](rec, 0)
		if !fault.Is(err, c.kind) || fault.FieldOf(err) != c.want {
			t.Errorf("%s: %v", c.field, err)
		}
		rec.Release()
	}
}

func TestDeltaSchemaString(t *testing.T) {
	for _, table := range Tables() {
		var s struct {
			Type   string
			Fields []struct {
				Name     string
				Type     json.RawMessage
				Nullable bool
				Metadata map[string]any
			}
		}
		text := DeltaSchemaString(table)
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if n := len(table.Columns); len(s.Fields) != n+1 || s.Fields[n].Name != "day" || string(s.Fields[n].Type) != `"date"` {
			t.Errorf("%s: %d fields", table.Name, len(s.Fields))
		}
		for i, f := range s.Fields {
			if i < len(table.Columns) && f.Name != table.Columns[i].Name || !f.Nullable || f.Metadata == nil {
				t.Errorf("%s: %s", table.Name, f.Name)
			}
		}
	}
	text := DeltaSchemaString(Trajectories)
	for _, want := range []string{
		`{"name":"effort_level","type":"byte","nullable":true,"metadata":{}}`,
		`{"name":"started_at","type":"timestamp","nullable":true,"metadata":{}}`,
		`{"name":"loss_mask","type":{"type":"array","elementType":"byte","containsNull":true},"nullable":true,"metadata":{}}`,
		`{"name":"metadata","type":{"type":"map","keyType":"string","valueType":"string","valueContainsNull":true},"nullable":true,"metadata":{}}`,
		`{"name":"sampling","type":{"type":"struct","fields":[{"name":"temperature","type":"double","nullable":true,"metadata":{}},`,
		`{"name":"subagent_ids","type":{"type":"array","elementType":"string","containsNull":true},"nullable":true,"metadata":{}}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in the schema string", want)
		}
	}
}
