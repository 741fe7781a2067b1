package datafile

import (
	"bytes"
	"context"
	"testing"

	"github.com/parquet-go/parquet-go"

	"trajlake/schema"
)

func TestGather(t *testing.T) {
	rows := randomRows[schema.Trajectory](t, 21, 130)
	var foreign bytes.Buffer
	w := parquet.NewGenericWriter[schema.Trajectory](&foreign, parquet.MaxRowsPerRowGroup(60), parquet.PageBufferSize(2000))
	if _, err := w.Write(plainRows(rows)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ours, err := Encode(schema.Trajectories, rows, &WriteOptions{PageBytes: 500, PageRows: 9, GroupRows: 40})
	if err != nil {
		t.Fatal(err)
	}
	r := seeded(t, 4)
	for name, b := range map[string][]byte{"ours": ours.Bytes, "foreign": foreign.Bytes()} {
		for _, opt := range []*OpenOptions{nil, {Cache: NewCache(0), Parallel: 3}, {Cache: NewCache(20000)}} {
			f, err := Open(bytes.NewReader(b), int64(len(b)), schema.Trajectories, opt)
			if err != nil {
				t.Fatal(err)
			}
			for range 12 {
				at := make([]int64, r.IntN(20))
				want := make([]*schema.Trajectory, len(at))
				for i := range at {
					at[i] = int64(r.IntN(len(rows)))
					want[i] = rows[at[i]]
				}
				rec, err := f.Gather(context.Background(), at, nil)
				if err != nil {
					t.Fatal(name, err)
				}
				sameRows(t, want, goRows[schema.Trajectory](t, schema.Trajectories, rec))
			}
			if _, err := f.Gather(context.Background(), []int64{130}, nil); err == nil {
				t.Fatal("a row past the end was read")
			}
			if opt != nil {
				if n := opt.Cache.Bytes(); n == 0 && opt.Parallel > 0 || n > 64<<20 {
					t.Fatalf("%s: cache holds %d bytes", name, n)
				}
				opt.Cache.Forget(f)
				if n := opt.Cache.Bytes(); n != 0 {
					t.Fatalf("%d bytes are left of a forgotten file", n)
				}
			}
		}
	}
}

func TestReadRanges(t *testing.T) {
	rows := randomRows[schema.Trajectory](t, 22, 90)
	e, err := Encode(schema.Trajectories, rows, &WriteOptions{PageBytes: 400, PageRows: 8, GroupRows: 30})
	if err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, e.Bytes, schema.Trajectories)
	for _, ranges := range [][]Range{{}, {{0, 1}}, {{89, 90}}, {{3, 9}, {9, 11}, {28, 33}, {60, 60}, {61, 90}}, {{0, 30}, {60, 90}}} {
		var want []*schema.Trajectory
		for _, x := range ranges {
			want = append(want, rows[x.From:x.To]...)
		}
		sameRows(t, want, readRows[schema.Trajectory](t, f, ReadOptions{Rows: ranges}))
		sameRows(t, want, readRows[schema.Trajectory](t, f, ReadOptions{Rows: ranges, Bytes: 3000}))
	}
	for _, bad := range [][]Range{{{5, 3}}, {{0, 91}}, {{4, 8}, {7, 9}}, {{-1, 2}}} {
		for _, err := range f.Read(context.Background(), ReadOptions{Rows: bad}) {
			if err == nil {
				t.Fatalf("ranges %v were read", bad)
			}
		}
	}
}
