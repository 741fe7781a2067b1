package schema

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/parquet-go/parquet-go"

	"trajlake/schema/canon"
	"trajlake/schema/internal/rowgen"
)

// route sends rows of one table through one form and back.
type route[T any] func(t *testing.T, rows []*T) []*T

// checkRoute sends full rows, sparse rows, and for every leaf column a row that
// has only that leaf.
func checkRoute[T any](t *testing.T, through route[T]) {
	t.Helper()
	const seed = 11
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var rows []*T
	var names []string
	add := func(name string, want func(string) bool) {
		row := new(T)
		rowgen.Fill(r, row, want)
		rows, names = append(rows, row), append(names, name)
	}
	for range 3 {
		add("all columns", rowgen.All)
		add("half of the columns", rowgen.Some(r, 0.5))
		add("few columns", rowgen.Some(r, 0.1))
	}
	add("no column", func(string) bool { return false })
	for _, leaf := range rowgen.Leaves(new(T)) {
		add(leaf, func(path string) bool { return path == leaf })
	}
	got := through(t, rows)
	if len(got) != len(rows) {
		t.Fatalf("%d rows in, %d out", len(rows), len(got))
	}
	for i := range rows {
		if !reflect.DeepEqual(got[i], rows[i]) {
			t.Errorf("%s:\n got %s\nwant %s", names[i], dump(got[i]), dump(rows[i]))
		}
	}
}

func dump(row any) string {
	w := jsonWriter{}
	v := reflect.ValueOf(row).Elem()
	for _, t := range Tables() {
		if t.Type == v.Type() {
			w.row(t, v)
		}
	}
	return string(w.dst)
}

func jsonRoute[T any](appendJSON func([]byte, *T) []byte, from func(canon.Value) (*T, Faults)) route[T] {
	return func(t *testing.T, rows []*T) (out []*T) {
		for _, row := range rows {
			text := appendJSON(nil, row)
			v, err := canon.Parse(text, canon.Limits{})
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if c := canon.Append(nil, v); !bytes.Equal(c, text) {
				t.Errorf("not canonical:\n%s\n%s", text, c)
			}
			back, faults := from(v)
			for _, f := range faults {
				if f.Kind != FaultMissing {
					t.Errorf("%s: %v", text, f)
				}
			}
			out = append(out, back)
		}
		return out
	}
}

func TestJSONRoundTrip(t *testing.T) {
	t.Run("trajectories", func(t *testing.T) { checkRoute(t, jsonRoute(AppendJSON, FromJSON)) })
	t.Run("annotations", func(t *testing.T) { checkRoute(t, jsonRoute(AppendAnnotationJSON, AnnotationFromJSON)) })
	t.Run("tensors", func(t *testing.T) { checkRoute(t, jsonRoute(AppendTensorJSON, TensorFromJSON)) })
	t.Run("ledger", func(t *testing.T) { checkRoute(t, jsonRoute(AppendLedgerJSON, LedgerFromJSON)) })
}

func parquetRoute[T any](t *testing.T, rows []*T) (out []*T) {
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[T](&buf, parquet.DataPageVersion(1))
	for _, row := range rows {
		if _, err := w.Write([]T{*row}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	back, err := parquet.Read[T](bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range back {
		normalise(reflect.ValueOf(&back[i]).Elem())
		out = append(out, &back[i])
	}
	return out
}

// normalise makes empty lists nil: both mean null.
func normalise(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			normalise(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			normalise(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			normalise(v.Index(i))
		}
		if v.Len() == 0 {
			v.SetZero()
		}
	case reflect.Map:
		if v.Len() == 0 {
			v.SetZero()
		}
	}
}

func TestParquetRoundTrip(t *testing.T) {
	t.Run("trajectories", func(t *testing.T) { checkRoute(t, parquetRoute[Trajectory]) })
	t.Run("annotations", func(t *testing.T) { checkRoute(t, parquetRoute[Annotation]) })
	t.Run("tensors", func(t *testing.T) { checkRoute(t, parquetRoute[Tensor]) })
	t.Run("ledger", func(t *testing.T) { checkRoute(t, parquetRoute[LedgerEntry]) })
}
