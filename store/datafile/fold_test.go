package datafile

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"trajlake/schema"
	"trajlake/schema/fault"
)

func TestFold(t *testing.T) {
	rows := randomRows[schema.Trajectory](t, 31, 120)
	var want []*schema.Trajectory
	var in []FoldInput
	for i := 0; i < 120; i += 30 {
		part := rows[i : i+30]
		for k, r := range part { // a few rows hold their place already
			if r.RowVersion, r.RowSeq = nil, nil; k%7 == 0 {
				v, s := int64(1), int64(1000+i+k)
				r.RowVersion, r.RowSeq = &v, &s
			}
		}
		e, err := Encode(schema.Trajectories, part, &WriteOptions{PageRows: 5, GroupRows: 12})
		if err != nil {
			t.Fatal(err)
		}
		keep := []Range{{0, 4}, {6, 30}}
		in = append(in, FoldInput{File: mustOpen(t, e.Bytes, schema.Trajectories), FirstSeq: int64(5000 + i), Version: int64(i), Rows: keep})
		for k, r := range part {
			if k == 4 || k == 5 {
				continue
			}
			c := *r
			if k%7 != 0 {
				v, s := int64(i), int64(5000+i+k)
				c.RowVersion, c.RowSeq = &v, &s
			}
			want = append(want, &c)
		}
	}
	e, err := Fold(context.Background(), schema.Trajectories, in, &WriteOptions{GroupRows: 50})
	if err != nil {
		t.Fatal(err)
	}
	if e.Rows != int64(len(want)) || e.RowGroups != 3 {
		t.Fatalf("%d rows in %d groups, want %d in 3", e.Rows, e.RowGroups, len(want))
	}
	f := mustOpen(t, e.Bytes, schema.Trajectories)
	sameRows(t, want, readRows[schema.Trajectory](t, f, ReadOptions{}))

	// The same rows by way of structs are the same bytes: one form, one file.
	again, err := Encode(schema.Trajectories, want, &WriteOptions{GroupRows: 50})
	if err != nil {
		t.Fatal(err)
	}
	if again.SHA256 != e.SHA256 {
		t.Error("rows written from records and from structs differ in bytes")
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Fold(ctx, schema.Trajectories, in, nil); fault.KindOf(err) != fault.Cancelled {
		t.Errorf("folding under an ended context gives %v", err)
	}
}

func records(t *testing.T, f *File, o ReadOptions) (out []arrow.Record) {
	t.Helper()
	for rec, err := range f.Read(context.Background(), o) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec)
	}
	return out
}

func TestConcatAndGatherRecord(t *testing.T) {
	rows := randomRows[schema.Trajectory](t, 33, 80)
	e, err := Encode(schema.Trajectories, rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, e.Bytes, schema.Trajectories)
	parts := records(t, f, ReadOptions{Bytes: 5000})
	if len(parts) < 5 {
		t.Fatalf("only %d records", len(parts))
	}
	// Slices have offsets, which joining and taking must respect.
	for i, p := range parts {
		if n := p.NumRows(); n > 1 {
			whole, err := Concat([]arrow.Record{p.NewSlice(0, 1), p.NewSlice(1, n)})
			if err != nil {
				t.Fatal(err)
			}
			parts[i] = whole
		}
	}
	all, err := Concat(parts)
	if err != nil {
		t.Fatal(err)
	}
	sameRows(t, rows, goRows[schema.Trajectory](t, schema.Trajectories, all))

	r := seeded(t, 6)
	cut := all.NewSlice(7, 77)
	for range 20 {
		at := make([]int, r.IntN(40))
		want := make([]*schema.Trajectory, len(at))
		for i := range at {
			at[i] = r.IntN(70)
			want[i] = rows[at[i]+7]
		}
		got, err := GatherRecord(cut, at)
		if err != nil {
			t.Fatal(err)
		}
		sameRows(t, want, goRows[schema.Trajectory](t, schema.Trajectories, got))
	}
	if _, err := GatherRecord(cut, []int{70}); fault.KindOf(err) != fault.Usage {
		t.Errorf("a row past the end gives %v", err)
	}
	if _, err := Concat(nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("no records give %v", err)
	}
}

func TestTakeOverflow(t *testing.T) {
	text := string(make([]byte, 1<<20))
	e, err := Encode(schema.Trajectories, []*schema.Trajectory{{TrajectoryID: "fat", Extra: &text}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rec := records(t, mustOpen(t, e.Bytes, schema.Trajectories), ReadOptions{Columns: []string{"extra"}})[0]
	if _, err := GatherRecord(rec, make([]int, 2048)); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("2 GiB in one column give %v, want exhausted", err)
	}
}

func TestStats(t *testing.T) {
	r := seeded(t, 40)
	rows := randomRows[schema.Trajectory](t, 41, 300)
	for i, x := range rows {
		x.TrajectoryID = fmt.Sprintf("row-%04d", i)
		v := int64(i)
		x.PolicyVersionMin = &v
	}
	long := string(make([]rune, 0)) + "轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹轨迹\U0010FFFF"
	rows[7].TaskID = &long
	e, err := Encode(schema.Trajectories, rows, &WriteOptions{PageRows: 20, GroupRows: 100})
	if err != nil {
		t.Fatal(err)
	}
	if s := e.Stats["policy_version_min"]; s.Min != int64(0) || s.Max != int64(299) || s.Nulls != 0 {
		t.Errorf("policy_version_min: %+v", s)
	}
	if s := e.Stats["trajectory_id"]; s.Min != "row-0000" || s.Max != "row-0299" {
		t.Errorf("trajectory_id: %+v", s)
	}
	var turnless, pointless int64
	for _, x := range rows {
		if len(x.Turns) == 0 {
			turnless++
		}
		if x.Reward == nil {
			pointless++
		}
	}
	if s := e.Stats["turns"]; s.Min != nil || s.Nulls != turnless {
		t.Errorf("turns: %+v, want %d nulls", s, turnless)
	}
	if s := e.Stats["reward"]; s.Nulls != pointless {
		t.Errorf("reward: %+v, want %d nulls", s, pointless)
	}

	// No statistics may ever rule out a row that is there.
	f := mustOpen(t, e.Bytes, schema.Trajectories)
	for range 200 {
		at := r.IntN(300)
		id, version := rows[at].TrajectoryID, int64(at)
		ranges, err := f.Prune([]string{"trajectory_id", "policy_version_min", "task_id"}, func(s Stats) bool {
			lo, hi, _, _, ok := s.Column("trajectory_id")
			if ok && lo != nil && (id < lo.(string) || id > hi.(string)) {
				return false
			}
			lo, hi, _, _, ok = s.Column("policy_version_min")
			if ok && lo != nil && (version < lo.(int64) || version > hi.(int64)) {
				return false
			}
			lo, hi, _, _, ok = s.Column("task_id")
			if v := rows[at].TaskID; v != nil && ok && lo != nil && (*v < lo.(string) || *v > hi.(string)) {
				return false
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(ranges) != 1 || ranges[0] != (Range{int64(at / 20 * 20), int64(at/20*20 + 20)}) {
			t.Fatalf("row %d is looked for in %v", at, ranges)
		}
		if may, err := f.MightHold("trajectory_id", id); err != nil || !may {
			t.Fatalf("the bloom filter denies %s (%v)", id, err)
		}
	}
	wrong := 0
	for i := range 1000 {
		may, err := f.MightHold("trajectory_id", fmt.Sprintf("none-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if may {
			wrong++
		}
	}
	if wrong > 150 {
		t.Errorf("the bloom filter passes %d of 1000 absent ids", wrong)
	}
	if got, err := f.Prune(nil, func(Stats) bool { return false }); err != nil || got == nil || len(got) != 0 {
		t.Errorf("nothing matches: %v, %v", got, err)
	}
}

func TestRaise(t *testing.T) {
	for _, c := range [][2]string{{"abc", "abd"}, {"a\U0010FFFF", "b"}, {"\uD7FF", "\uE000"}, {"é", "ê"}} {
		if got, ok := raise(c[0]); !ok || got != c[1] {
			t.Errorf("raise(%q) = %q, %v; want %q", c[0], got, ok, c[1])
		}
	}
	if got, ok := raise("\U0010FFFF\U0010FFFF"); ok {
		t.Errorf("nothing is above the last rune, got %q", got)
	}
}

func TestWrongRowType(t *testing.T) {
	if _, err := Encode(schema.Annotations, []*schema.Trajectory{{}}, nil); err == nil {
		t.Error("rows of another table were written")
	}
	w, err := NewRecordWriter(schema.Annotations, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err == nil {
		t.Error("a closed writer was closed again without a word")
	}
	var e *fault.Error
	if err := w.WriteRecord(nil); !errors.As(err, &e) {
		t.Errorf("a closed writer takes records: %v", err)
	}
}
