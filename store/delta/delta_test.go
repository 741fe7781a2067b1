package delta

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"trajlake/store/blob"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTable = "trajectories"

const testSchema = `{"type":"struct","fields":[{"name":"id","type":"string","nullable":true,"metadata":{}},{"name":"n","type":"long","nullable":true,"metadata":{}},{"name":"day","type":"date","nullable":true,"metadata":{}}]}`

// fixedOptions has a clock that moves one second at each look, and ids that
// are counted.
func fixedOptions() Options {
	var ticks, ids atomic.Int64
	return Options{
		CheckpointEvery: -1, InlineCheckpoints: true, Patience: 5 * time.Second,
		Now:   func() time.Time { return time.UnixMilli(1_700_000_000_000 + 1000*ticks.Add(1)) },
		NewID: func() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", ids.Add(1)) },
	}
}

func mustCreate(t testing.TB, b blob.Bucket, opt Options) *Log {
	t.Helper()
	l, err := Create(context.Background(), b, testTable, TableMeta{Name: testTable, SchemaString: testSchema}, CommitInfo{}, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func mustOpen(t testing.TB, b blob.Bucket) *Log {
	t.Helper()
	l, err := Open(context.Background(), b, testTable, Options{CheckpointEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// addOf is an append of rows rows in a file of that name.
func addOf(name string, rows int64) Action {
	return Action{Add: &Add{
		Path: "day=2026-11-22/" + name + ".parquet", PartitionValues: map[string]string{"day": "2026-11-22"},
		Size: 1000 + rows, ModificationTime: 1_700_000_000_000, DataChange: true,
		Stats: fmt.Sprintf(`{"numRecords":%d,"minValues":{},"maxValues":{},"nullCount":{}}`, rows),
	}}
}

func build(actions ...Action) func(context.Context, *State) ([]Action, error) {
	return func(context.Context, *State) ([]Action, error) { return actions, nil }
}

func mustCommit(t testing.TB, l *Log, actions ...Action) Result {
	t.Helper()
	res, err := l.Commit(context.Background(), Tx{Build: build(actions...)})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// dump is everything a State holds, as text, to compare states by.
func dump(s *State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d nextSeq %d vector %v\n", s.Version, s.NextSeq, s.Vector)
	fmt.Fprintf(&b, "info %s %s ours %v\n", s.Info.Operation, s.Info.TxnID, s.Info.Trajlake != nil)
	fmt.Fprintf(&b, "protocol %v metadata %s %s %v %v\n", s.Protocol, s.Metadata.ID, s.Metadata.SchemaString, s.Metadata.PartitionColumns, s.Metadata.Configuration)
	if s.Foreign != nil {
		fmt.Fprintf(&b, "foreign %+v\n", *s.Foreign)
	}
	for f := range s.Files.All() {
		fmt.Fprintf(&b, "file %s %v %d %d %v %s %v | %d %d %d %v\n", f.Path, f.PartitionValues, f.Size,
			f.ModificationTime, f.DataChange, f.Stats, f.Tags, f.FirstSeq, f.Rows, f.Version, f.PlacesColumns)
	}
	for r := range s.Tombstones() {
		fmt.Fprintf(&b, "tomb %s %d %v\n", r.Path, r.DeletionTimestamp, r.DataChange)
	}
	fmt.Fprintf(&b, "txns %d", len(s.txns))
	for _, id := range slices.Sorted(maps.Keys(s.txns)) {
		fmt.Fprintf(&b, " %s=%d", id, s.txns[id].Version)
	}
	return b.String()
}

// sameState fails unless the two states hold the same.
func sameState(t testing.TB, what string, got, want *State) {
	t.Helper()
	if g, w := dump(got), dump(want); g != w {
		t.Fatalf("%s:\ngot\n%s\nwant\n%s", what, g, w)
	}
}

func TestCreateCommitRefresh(t *testing.T) {
	ctx := context.Background()
	dir, err := blob.OpenDir(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for name, b := range map[string]blob.Bucket{"memory": blob.NewMemory(), "dir": dir} {
		t.Run(name, func(t *testing.T) {
			l := mustCreate(t, b, fixedOptions())
			if s := l.Head(); s.Version != 0 || s.NextSeq != 0 || s.Protocol.MinReaderVersion != 1 || s.Protocol.MinWriterVersion != 2 {
				t.Fatalf("new table: %s", dump(s))
			}
			other := mustOpen(t, b)
			res := mustCommit(t, l, addOf("a", 3), addOf("b", 4))
			if res.Version != 1 || res.Attempts != 1 || res.State.NextSeq != 7 {
				t.Fatalf("commit: %+v", res)
			}
			if f := res.State.Files.Get("day=2026-11-22/b.parquet"); f == nil || f.FirstSeq != 3 || f.Version != 1 || f.Rows != 4 {
				t.Fatalf("file b: %+v", f)
			}
			if got, ok := res.State.Txn(AppNextSeq); !ok || got.Version != 7 {
				t.Fatalf("txn nextSeq: %v %v", got, ok)
			}
			s, err := other.Refresh(ctx)
			if err != nil {
				t.Fatal(err)
			}
			sameState(t, "refreshed", s, res.State)
			sameState(t, "opened", mustOpen(t, b).Head(), res.State)
			again := mustCreate(t, b, Options{CheckpointEvery: -1})
			sameState(t, "created again", again.Head(), res.State)
			if err := l.Checkpoint(ctx); err != nil {
				t.Fatal(err)
			}
			sameState(t, "from checkpoint", mustOpen(t, b).Head(), res.State)
		})
	}
}
