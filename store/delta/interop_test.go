package delta

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// engines runs testdata/read.py, which reads the table with other engines.
func engines(t *testing.T, table string, args ...string) map[string]json.RawMessage {
	t.Helper()
	python := os.Getenv("TRAJLAKE_TEST_PYTHON")
	if python == "" {
		t.Skip("SKIPPED: set TRAJLAKE_TEST_PYTHON to a python with deltalake and polars to read the tables with other engines")
	}
	cmd := exec.Command(python, append([]string{filepath.Join("testdata", "read.py"), table}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return got
}

// putFile writes a data file of rows id0, id0+1, … with n = id, and returns its add.
func putFile(t *testing.T, b blob.Bucket, name string, ids ...int64) Action {
	t.Helper()
	type row struct {
		ID string `parquet:"id,plain"`
		N  int64  `parquet:"n"`
	}
	var body bytes.Buffer
	w := parquet.NewGenericWriter[row](&body, parquet.DataPageVersion(1), parquet.Compression(&parquet.Zstd))
	for _, id := range ids {
		if _, err := w.Write([]row{{fmt.Sprintf("id%03d", id), id}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	a := addOf(name, int64(len(ids)))
	a.Add.Size = int64(body.Len())
	a.Add.Stats = Stats{NumRecords: int64(len(ids)), Columns: []ColumnStats{
		{Column: "id", Min: fmt.Sprintf("id%03d", ids[0]), Max: fmt.Sprintf("id%03d", ids[len(ids)-1])},
		{Column: "n", Min: ids[0], Max: ids[len(ids)-1]},
	}}.JSON()
	if err := b.Put(context.Background(), testTable+"/"+a.Add.Path, body.Bytes(), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestEngines: what is written is read by other engines, before and after a
// checkpoint; what they write is told apart.
func TestEngines(t *testing.T) {
	if os.Getenv("TRAJLAKE_TEST_PYTHON") == "" {
		engines(t, "")
	}
	ctx := context.Background()
	root := t.TempDir()
	b, err := blob.OpenDir(root, false)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	table := filepath.Join(root, testTable)
	l := mustCreate(t, b, Options{CheckpointEvery: -1, Engine: "trajlake/test"})
	mustCommit(t, l, putFile(t, b, "a", 1, 2), Action{CommitInfo: &CommitInfo{Trajlake: &Trajlake{IDs: IDs{1, 2}}}})
	mustCommit(t, l, Action{CommitInfo: &CommitInfo{Operation: "NOTHING"}}) // a commit of commitInfo only
	mustCommit(t, l, putFile(t, b, "b", 3), putFile(t, b, "c", 4, 5))
	merged := putFile(t, b, "d", 1, 2, 3)
	merged.Add.DataChange = false
	merged.Add.Tags = map[string]string{TagPlaces: PlacesColumns, TagFirstSeq: "0"}
	mustCommit(t, l, Action{CommitInfo: &CommitInfo{Operation: "OPTIMIZE"}},
		Action{Remove: &Remove{Path: "day=2026-11-22/a.parquet", DeletionTimestamp: l.opt.Now().UnixMilli()}},
		Action{Remove: &Remove{Path: "day=2026-11-22/b.parquet", DeletionTimestamp: l.opt.Now().UnixMilli()}}, merged)

	check := func(when string, got map[string]json.RawMessage, version, rows int) {
		t.Helper()
		var ids []string
		sum := 0
		for i := 1; i <= rows; i++ {
			ids, sum = append(ids, fmt.Sprintf("id%03d", i)), sum+i
		}
		var rs struct {
			Version, Sum, Txn int
			IDs, Days         []string
		}
		if err := json.Unmarshal(got["deltalake"], &rs); err != nil {
			t.Fatal(err)
		}
		if rs.Version != version || rs.Sum != sum || !reflect.DeepEqual(rs.IDs, ids) || rs.Txn != rows {
			t.Errorf("%s: deltalake sees %s", when, got["deltalake"])
		}
		var pl struct {
			Sum int
			IDs []string
		}
		if err := json.Unmarshal(got["polars"], &pl); err != nil {
			t.Fatal(err)
		}
		if pl.Sum != sum || !reflect.DeepEqual(pl.IDs, ids) {
			t.Errorf("%s: polars sees %s", when, got["polars"])
		}
		pruned, _ := json.Marshal(ids[2:])
		if !reflect.DeepEqual(strings.ReplaceAll(string(got["polars_pruned"]), " ", ""), string(pruned)) {
			t.Errorf("%s: polars with a predicate sees %s", when, got["polars_pruned"])
		}
		if s := string(got["polars_v1"]); s != `["id001", "id002"]` {
			t.Errorf("%s: polars at version 1 sees %s", when, s)
		}
		if string(got["duckdb"]) == "null" {
			t.Log("duckdb has no delta extension here: not read with it")
		} else if s := string(got["duckdb"]); s != fmt.Sprintf(`{"sum": %d}`, sum) {
			t.Errorf("%s: duckdb sees %s", when, s)
		}
	}
	check("before a checkpoint", engines(t, table), 4, 5)
	if err := l.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	check("after a checkpoint", engines(t, table), 4, 5)
	mustCommit(t, l, putFile(t, b, "e", 6))
	check("behind a checkpoint", engines(t, table, "checkpoint"), 5, 6) // makes one of its own

	// The other engine's checkpoint alone has to do when ours and the versions are gone.
	want := l.Head()
	sameState(t, "beside a foreign checkpoint", mustOpen(t, b).Head(), want)
	for v := range int64(5) {
		_ = b.Delete(ctx, l.logKey(jsonName(v)))
		_ = b.Delete(ctx, l.logKey(checkpointName(v)))
	}
	got := mustOpen(t, b).Head()
	if d := difference(got, want); d != "" {
		t.Errorf("from a foreign checkpoint: %s", d)
	}

	// A change of properties is no data: it is taken in, and writing goes on.
	engines(t, table, "properties")
	s, err := l.Refresh(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.Version != 6 || s.Foreign != nil || s.NextSeq != 6 || s.Vector[testTable] != (Position{5, 6}) ||
		s.Metadata.Configuration["delta.dataSkippingNumIndexedCols"] != "8" {
		t.Fatalf("behind a foreign change of properties: %s", dump(s))
	}

	engines(t, table, "append")
	if s, err = l.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if s.Version != 6 || s.Foreign == nil || s.Foreign.Version != 7 || !strings.Contains(s.Foreign.Engine, "delta-rs") {
		t.Fatalf("behind a foreign append: version %d, foreign %+v", s.Version, s.Foreign)
	}
	if _, err := l.Commit(ctx, Tx{Build: build(addOf("f", 1))}); !fault.Is(err, fault.Unsupported) {
		t.Fatalf("commit behind a foreign append: %v", err)
	}
}
