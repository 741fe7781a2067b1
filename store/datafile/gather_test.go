package datafile

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/parquet-go/parquet-go"

	"trajlake/schema"
	"trajlake/schema/fault"
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

// TestGatherSeveral compares a gather of several files, of this package's and of
// others' writing, with what a plain read of all their rows gives: random rows in
// any order, some of them twice, of columns that are null throughout in some of
// the files, in nested lists and outside.
func TestGatherSeveral(t *testing.T) {
	r := seeded(t, 77)
	cache := NewCache(1 << 20)
	var files []*File
	var all [][]*schema.Trajectory
	for i := range 7 {
		rows := randomRows[schema.Trajectory](t, uint64(80+i), 20+r.IntN(60))
		if i%2 == 0 {
			for _, row := range rows { // columns without any value
				row.Harness, row.Extra, row.TokenIDs, row.Sampling, row.Rewards = nil, nil, nil, nil, nil
				for k := range row.Turns {
					u := &row.Turns[k]
					u.Text, u.Usage, u.Blocks = nil, nil, nil
					for n := range u.ToolCalls {
						u.ToolCalls[n].ArgsRaw, u.ToolCalls[n].SubagentIDs = nil, nil
					}
				}
			}
		}
		var b []byte
		if i == 3 {
			var foreign bytes.Buffer
			w := parquet.NewGenericWriter[schema.Trajectory](&foreign, parquet.MaxRowsPerRowGroup(25), parquet.PageBufferSize(900))
			if _, err := w.Write(plainRows(rows)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			b = foreign.Bytes()
		} else {
			e, err := Encode(schema.Trajectories, rows, &WriteOptions{PageBytes: 200 << r.IntN(5), PageRows: 3 + r.IntN(30), GroupRows: 15 + r.IntN(60)})
			if err != nil {
				t.Fatal(err)
			}
			b = e.Bytes
		}
		opt := &OpenOptions{Parallel: 1 + i%3}
		if i != 5 {
			opt.Cache = cache
		}
		f, err := Open(bytes.NewReader(b), int64(len(b)), schema.Trajectories, opt)
		if err != nil {
			t.Fatal(err)
		}
		files, all = append(files, f), append(all, readRows[schema.Trajectory](t, f, ReadOptions{}))
		sameRows(t, rows, all[i])
	}
	for round := range 40 {
		var picks []Pick
		var want []*schema.Trajectory
		for range 1 + r.IntN(9) {
			i := r.IntN(len(files))
			p := Pick{File: files[i]}
			for range r.IntN(30) {
				at := r.Int64N(files[i].NumRows())
				for range 1 + r.IntN(3)/2*r.IntN(3) {
					p.Rows = append(p.Rows, at)
				}
				for r.IntN(2) == 0 && at+1 < files[i].NumRows() { // neighbours
					at++
					p.Rows = append(p.Rows, at)
				}
			}
			if round%2 == 0 {
				slices.Sort(p.Rows)
			}
			for _, at := range p.Rows {
				want = append(want, all[i][at])
			}
			picks = append(picks, p)
		}
		rec, err := Gather(context.Background(), picks, nil)
		if err != nil {
			t.Fatal(err)
		}
		sameRows(t, want, goRows[schema.Trajectory](t, schema.Trajectories, rec))
		few := []string{"turns", "harness", "token_ids", "trajectory_id"}
		part, err := Gather(context.Background(), picks, few)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range few {
			at := rec.Schema().FieldIndices(name)[0]
			if !array.Equal(part.Column(i), rec.Column(at)) {
				t.Fatalf("column %s differs when it is gathered with few others", name)
			}
		}
	}
	if _, err := Gather(context.Background(), nil, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("a gather of no file gives %v", err)
	}
}
