package datafile

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/parquet-go/parquet-go"

	"trajlake/schema"
)

func mustOpen(t testing.TB, b []byte, table *schema.Table) *File {
	t.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)), table, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// readRows reads a file as rows.
func readRows[T any](t testing.TB, f *File, o ReadOptions) []*T {
	t.Helper()
	var out []*T
	for rec, err := range f.Read(context.Background(), o) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, goRows[T](t, f.table, rec)...)
	}
	return out
}

func randomRows[T any](t testing.TB, seed uint64, n int) []*T {
	r := seeded(t, seed)
	rows := make([]*T, n)
	for i := range rows {
		rows[i] = randomRow[T](r)
	}
	return rows
}

func plainRows[T any](rows []*T) []T {
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = *r
	}
	return out
}

func roundTrip[T any](t *testing.T, table *schema.Table, n int) {
	rows := randomRows[T](t, uint64(n), n)
	// Small pages and row groups, so that a few rows cross every border.
	for _, o := range []*WriteOptions{nil, {PageBytes: 300, PageRows: 7, GroupRows: 50}, {PageRows: 1}} {
		e, err := Encode(table, rows, o)
		if err != nil {
			t.Fatal(err)
		}
		f := mustOpen(t, e.Bytes, table)
		sameRows(t, rows, readRows[T](t, f, ReadOptions{}))
		sameRows(t, rows, readRows[T](t, f, ReadOptions{Bytes: 2000}))

		got, err := parquet.Read[T](bytes.NewReader(e.Bytes), int64(len(e.Bytes)))
		if err != nil {
			t.Fatal("parquet-go:", err)
		}
		other := make([]*T, len(got))
		for i := range got {
			other[i] = &got[i]
		}
		sameRows(t, rows, other)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 2, 17, 200} {
		t.Run(fmt.Sprint("trajectories/", n), func(t *testing.T) { roundTrip[schema.Trajectory](t, schema.Trajectories, n) })
		t.Run(fmt.Sprint("annotations/", n), func(t *testing.T) { roundTrip[schema.Annotation](t, schema.Annotations, n) })
		t.Run(fmt.Sprint("tensors/", n), func(t *testing.T) { roundTrip[schema.Tensor](t, schema.Tensors, n) })
		t.Run(fmt.Sprint("ledger/", n), func(t *testing.T) { roundTrip[schema.LedgerEntry](t, schema.Ledger, n) })
	}
}

// TestReadsParquetGo reads what the library's own writer makes: the oracle is
// its struct decoder by way of the rows that it was given.
func TestReadsParquetGo(t *testing.T) {
	rows := randomRows[schema.Trajectory](t, 5, 150)
	for name, opts := range map[string][]parquet.WriterOption{
		"v1":         {parquet.DataPageVersion(1), parquet.Compression(&parquet.Zstd), parquet.PageBufferSize(4 << 10)},
		"v2":         {parquet.DataPageVersion(2), parquet.Compression(&parquet.Snappy), parquet.PageBufferSize(4 << 10)},
		"v2 none":    {parquet.DataPageVersion(2)},
		"gzip":       {parquet.DataPageVersion(1), parquet.Compression(&parquet.Gzip), parquet.MaxRowsPerRowGroup(40)},
		"one row":    {parquet.DataPageVersion(1), parquet.MaxRowsPerRowGroup(1)},
		"delta text": {parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.DeltaByteArray)},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := parquet.NewGenericWriter[schema.Trajectory](&b, opts...)
			if _, err := w.Write(plainRows(rows)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			f := mustOpen(t, b.Bytes(), schema.Trajectories)
			sameRows(t, rows, readRows[schema.Trajectory](t, f, ReadOptions{}))
			sameRows(t, rows, readRows[schema.Trajectory](t, f, ReadOptions{Bytes: 3000}))
		})
	}
}

func TestProjection(t *testing.T) {
	rows := randomRows[schema.Trajectory](t, 9, 60)
	e, err := Encode(schema.Trajectories, rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, e.Bytes, schema.Trajectories)
	want := []string{"logprobs", "reward", "turns", "trajectory_id"}
	var n int64
	for rec, err := range f.Read(context.Background(), ReadOptions{Columns: want}) {
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range want {
			if rec.ColumnName(i) != name {
				t.Fatalf("column %d is %s, want %s", i, rec.ColumnName(i), name)
			}
		}
		n += rec.NumRows()
	}
	if n != 60 {
		t.Fatalf("%d rows, want 60", n)
	}
	for _, err := range f.Read(context.Background(), ReadOptions{Columns: []string{"no_such"}}) {
		if err == nil {
			t.Fatal("a column that the table has not was read")
		}
	}
}
