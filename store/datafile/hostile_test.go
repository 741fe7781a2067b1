package datafile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/parquet-go/parquet-go"

	"trajlake/schema"
	"trajlake/schema/fault"
)

// tryAll opens and reads a file in every way; it must never panic, and errors
// must say that the file is damaged or not supported.
func tryAll(t *testing.T, b []byte) {
	ok := func(err error) bool {
		if err == nil {
			return false
		}
		switch fault.KindOf(err) {
		case fault.Corrupt, fault.Unsupported, fault.Exhausted:
		default:
			t.Fatalf("a damaged file gives %v: %v", fault.KindOf(err), err)
		}
		return true
	}
	f, err := Open(bytes.NewReader(b), int64(len(b)), schema.Trajectories, &OpenOptions{Name: "x.parquet", Cache: NewCache(1 << 20)})
	if ok(err) {
		return
	}
	if f.NumRows() > 1e6 {
		return // an honest reader would take its time over that many nulls
	}
	ctx := context.Background()
	for _, err := range f.Read(ctx, ReadOptions{}) {
		if ok(err) {
			break
		}
	}
	for at := int64(0); at < min(f.NumRows(), 3); at++ {
		_, err := f.Gather(ctx, []int64{at}, nil)
		ok(err)
	}
	_, err = f.Prune([]string{"reward", "trajectory_id", "status"}, func(s Stats) bool {
		s.Column("reward")
		s.Column("trajectory_id")
		s.Column("status")
		return true
	})
	ok(err)
	_, err = f.MightHold("trajectory_id", "x")
	ok(err)
}

func seeds(t testing.TB) [][]byte {
	rows := randomRows[schema.Trajectory](t, 51, 6)
	var out [][]byte
	for _, o := range []*WriteOptions{nil, {PageRows: 1, PageBytes: 50}} {
		e, err := Encode(schema.Trajectories, rows, o)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Bytes)
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, plainRows(rows), parquet.Compression(&parquet.Snappy)); err != nil {
		t.Fatal(err)
	}
	return append(out, b.Bytes())
}

func FuzzOpenRead(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { tryAll(t, b) })
}

// TestDamaged flips and cuts at random; the fuzzer goes on where it ends.
func TestDamaged(t *testing.T) {
	r := seeded(t, 52)
	for _, b := range seeds(t) {
		for range 150 {
			bad := bytes.Clone(b)
			from := 0
			if r.IntN(2) == 0 {
				from = max(len(bad)-30000, 0) // the metadata
			}
			for range 1 + r.IntN(4) {
				bad[from+r.IntN(len(bad)-from)] = byte(r.Uint32())
			}
			tryAll(t, bad)
			tryAll(t, b[:r.IntN(len(b))])
		}
	}
}

// TestFlippedData proves that damage in the data is noticed, not read.
func TestFlippedData(t *testing.T) {
	rows := randomRows[schema.Trajectory](t, 53, 20)
	e, err := Encode(schema.Trajectories, rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, e.Bytes, schema.Trajectories)
	l := f.shape.fields["token_ids"].probe
	at := f.groups[0].chunks[l.index].start() + f.groups[0].chunks[l.index].size - 1
	bad := bytes.Clone(e.Bytes)
	bad[at] ^= 0x40
	g, err := Open(bytes.NewReader(bad), int64(len(bad)), schema.Trajectories, &OpenOptions{Name: "part-7.parquet"})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range g.Read(context.Background(), ReadOptions{Columns: []string{"token_ids"}}) {
		if fault.KindOf(err) != fault.Corrupt || !bytes.Contains([]byte(err.Error()), []byte("part-7.parquet")) {
			t.Errorf("a flipped bit gives %v", err)
		}
	}
	for _, err := range g.Read(context.Background(), ReadOptions{Columns: []string{"reward"}}) {
		if err != nil {
			t.Errorf("a column that is whole cannot be read: %v", err)
		}
	}
}

// failing is a source whose reads fail after a while.
type failing struct {
	io.ReaderAt
	left int
}

var errDown = errors.New("the store is down")

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, fault.WrapAs(fault.Unavailable, "get range", errDown)
	}
	return f.ReaderAt.ReadAt(p, off)
}

// TestSourceFails: a failure of the store is not damage of the file.
func TestSourceFails(t *testing.T) {
	e, err := Encode(schema.Trajectories, randomRows[schema.Trajectory](t, 54, 300), nil)
	if err != nil {
		t.Fatal(err)
	}
	for left := range 4 {
		src := &failing{bytes.NewReader(e.Bytes), left}
		f, err := Open(src, int64(len(e.Bytes)), schema.Trajectories, nil)
		for _, x := range readErr(f, err) {
			if x != nil && (fault.KindOf(x) != fault.Unavailable || !errors.Is(x, errDown)) {
				t.Errorf("after %d reads: %v: %v", left, fault.KindOf(x), x)
			}
		}
		if err == nil {
			src.left = 0
			if _, err := f.Gather(context.Background(), []int64{3}, nil); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("gather after %d reads: %v", left, err)
			}
		}
	}
}

func readErr(f *File, err error) []error {
	if err != nil {
		return []error{err}
	}
	var out []error
	for _, err := range f.Read(context.Background(), ReadOptions{}) {
		out = append(out, err)
	}
	return out
}
