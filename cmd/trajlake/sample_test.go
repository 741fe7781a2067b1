package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"trajlake/query"
)

func drawn(t *testing.T, out string) (ids []string) {
	t.Helper()
	for _, row := range objects(t, out) {
		ids = append(ids, row["trajectory_id"].(string))
	}
	return ids
}

func TestSampleIsAFunction(t *testing.T) {
	lake := toyLake(t, 40)
	base := []string{"sample", "--lake", lake, "--where", "reward > 0", "--weight", "reward", "--batch", "8", "--seed", "9", "--version", "1"}
	first := ok(t, append(base, "--step", "4")...)
	rows := objects(t, first)
	if len(rows) != 8 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, r := range rows {
		keys(t, "a row", r, "trajectory_id task_set task_id group_id effort mode reward slot stratum inclusion_probability importance_weight eligible staleness_versions staleness_steps staleness_seconds use_count rollout_rows row_index row_weight gone group_rollouts group_reward_mean group_reward_std batch_id position version snapshot")
		if p := r["inclusion_probability"].(float64); p <= 0 || p > 1 || r["reward"].(float64) <= 0 || r["version"] != 1.0 || r["position"] != 4.0 {
			t.Errorf("row %v", r)
		}
	}
	ok(t, "import", "--lake", lake, fileOf(t, "more.jsonl", toyRow(200)+"\n"+toyRow(201)+"\n"))
	if again := ok(t, append(base, "--step", "4")...); again != first {
		t.Errorf("the same batch is another one:\n%s\n%s", first, again)
	}
	for _, other := range [][]string{{"--step", "5"}, {"--step", "4", "--seed", "10"}} {
		if out := ok(t, append(slices.Clone(base), other...)...); slices.Equal(drawn(t, out), drawn(t, first)) {
			t.Errorf("%v draws the same batch", other)
		}
	}
}

func TestSampleSpec(t *testing.T) {
	lake := toyLake(t, 40)
	spec := fileOf(t, "s.yaml", "where: reward > 0\nweight: reward\nbatch: {rows: 6}\nseed: 5\nstrata: {by: [effort], shares: {none: 0.5, high: 0.5}, when_dry: accept}\n")
	out := ok(t, "sample", "--lake", lake, "--spec", spec)
	var strata []string
	for _, r := range objects(t, out) {
		strata = append(strata, r["stratum"].(string))
	}
	if got, want := fmt.Sprint(strata), "[none high none high none high]"; got != want {
		t.Errorf("strata %s, want %s", got, want)
	}
	flags := ok(t, "sample", "--lake", lake, "--spec", spec, "--batch", "2", "--seed", "6", "--where", "reward = 1")
	if n := len(objects(t, flags)); n != 2 {
		t.Errorf("the flags go before the file: %d rows", n)
	}
	text, err := os.ReadFile(spec)
	if err != nil {
		t.Fatal(err)
	}
	if r := cliWith(t, context.Background(), bytes.NewReader(text), "sample", "--lake", lake, "--spec", "-"); r.out != out {
		t.Errorf("the spec from stdin draws another batch: %s%s", r.out, r.err)
	}
	live := fileOf(t, "live.json", `{"snapshot":"live","staleness":"off","age_decay":"off","sampler":"keyed"}`)
	if r := cli(t, "sample", "--lake", lake, "--spec", live, "--batch", "1"); r.code != 0 || !strings.Contains(r.err, "fixed snapshot") {
		t.Errorf("a live spec: exit %d, %s", r.code, r.err)
	}
}

// asJSON is every row of the records, without regard to how they are cut.
func asJSON(recs []arrow.Record) (rows []string) {
	for _, rec := range recs {
		for i := range int(rec.NumRows()) {
			rows = append(rows, string(query.AppendRow(nil, rec, i)))
		}
	}
	return rows
}

// parquetRecords reads a Parquet file with Arrow's reader.
func parquetRecords(t *testing.T, path string) (list []arrow.Record) {
	t.Helper()
	p, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	reader, err := pqarrow.NewFileReader(p, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	tab, err := reader.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Release()
	tr := array.NewTableReader(tab, 0)
	defer tr.Release()
	for tr.Next() {
		rec := tr.Record()
		rec.Retain()
		list = append(list, rec)
	}
	return list
}

// TestSampleFormats writes one batch in every format and reads all of them back.
func TestSampleFormats(t *testing.T) {
	lake := toyLake(t, 16)
	dir := t.TempDir()
	sample := func(format string, more ...string) map[string]any {
		out := filepath.Join(dir, "b."+format)
		v := cli(t, append([]string{"sample", "--lake", lake, "--batch", "9", "--seed", "2", "--format", format, "-o", out, "--json"}, more...)...).object(t)
		keys(t, "sample -o", v, "batch_id position version snapshot spec_hash rows file")
		if v["rows"] != 9.0 || v["file"] != out {
			t.Errorf("%s: %v", format, v)
		}
		return v
	}
	arrowFacts, parquetFacts := sample("arrow"), sample("parquet")
	if arrowFacts["batch_id"] != parquetFacts["batch_id"] {
		t.Errorf("batches %v and %v", arrowFacts, parquetFacts)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "b.arrow"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewFileReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var ipcRows []arrow.Record
	for i := range r.NumRecords() {
		rec, err := r.Record(i)
		if err != nil {
			t.Fatal(err)
		}
		ipcRows = append(ipcRows, rec)
	}
	if id, _ := r.Schema().Metadata().GetValue("batch_id"); id != arrowFacts["batch_id"] {
		t.Errorf("the file names batch %q", id)
	}
	parquetRows := parquetRecords(t, filepath.Join(dir, "b.parquet"))
	a, b := asJSON(ipcRows), asJSON(parquetRows)
	if len(a) != 9 || !slices.Equal(a, b) {
		t.Errorf("Arrow and Parquet differ:\n%.1500s\n%.1500s", a, b)
	}
	// The rows are those of the JSON form, and hold what was imported.
	ids := drawn(t, ok(t, "sample", "--lake", lake, "--batch", "9", "--seed", "2"))
	for i, row := range a {
		v := object(t, row)
		var want map[string]any
		var n int
		if _, err := fmt.Sscanf(ids[i], "toy-%d", &n); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(toyRow(n)), &want); err != nil {
			t.Fatal(err)
		}
		for k, x := range want {
			if fmt.Sprint(v[k]) != fmt.Sprint(x) {
				t.Errorf("%s: %s is %v, want %v", ids[i], k, v[k], x)
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
}

func TestExportRoundTrip(t *testing.T) {
	lake := toyLake(t, 12)
	dir := t.TempDir()
	out := filepath.Join(dir, "all.jsonl")
	v := cli(t, "export", "--lake", lake, "--format", "native", "-o", out, "--json").object(t)
	keys(t, "export", v, "version snapshot format rows files rejected losses errors")
	if v["rows"] != 12.0 || v["files"] != 1.0 || len(v["losses"].([]any)) != 0 {
		t.Errorf("export %v", v)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if stdout := ok(t, "export", "--lake", lake); stdout != string(text) {
		t.Error("stdout and file differ")
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if shown := ok(t, "show", "--lake", lake, "toy-000", "--json"); shown != first+"\n" {
		t.Errorf("show --json is not what export writes:\n%s\n%s", shown, first)
	}
	if again := cli(t, "import", "--lake", lake, out, "--json").object(t); again["duplicates"] != 12.0 {
		t.Errorf("importing the export into its lake: %v", again)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	ok(t, "import", "--lake", copied, out)
	hashes := func(lake string) (list []any) {
		for _, row := range objects(t, ok(t, "ids", "--lake", lake, "--json")) {
			list = append(list, row["trajectory_id"], row["content_hash"])
		}
		return list
	}
	if a, b := hashes(lake), hashes(copied); !slices.Equal(a, b) {
		t.Errorf("the lake and what was made of its export:\n%v\n%v", a, b)
	}
	if n := strings.Count(ok(t, "export", "--lake", lake, "--where", "reward = 1"), "\n"); n != 3 {
		t.Errorf("--where selects %d rows", n)
	}
	ok(t, "export", "--lake", lake, "-o", dir)
	if _, err := os.Stat(filepath.Join(dir, "trajectories.jsonl")); err != nil {
		t.Error(err)
	}
}

func TestExportLosses(t *testing.T) {
	lake := toyLake(t, 4)
	dir := filepath.Join(t.TempDir(), "out")
	v := cli(t, "export", "--lake", lake, "--format", "openai", "-o", dir+"/", "--json").object(t)
	losses := v["losses"].([]any)
	if len(losses) == 0 {
		t.Fatal("messages carry everything?")
	}
	keys(t, "a loss", losses[0].(map[string]any), "format field kind rows")
	strict := filepath.Join(dir, "strict.jsonl")
	if r := cli(t, "export", "--lake", lake, "--format", "openai", "-o", strict, "--strict"); r.code != 1 || !strings.Contains(r.err, "no place for") {
		t.Errorf("--strict: exit %d, %s", r.code, r.err)
	}
	ok(t, "export", "--lake", lake, "--format", "native", "-o", filepath.Join(dir, "native.jsonl"), "--strict")
	v = cli(t, "export", "--lake", lake, "--format", "atif", "-o", dir, "--json").object(t)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := float64(len(names)), v["files"].(float64)+2; got != want || slices.Contains(names, "strict.jsonl") || !slices.Contains(names, "toy-000.json") {
		t.Errorf("the folder holds %v", names)
	}
	if r := cli(t, "import", "--lake", filepath.Join(t.TempDir(), "back"), dir+"/toy-000.json", "--json").object(t); r["committed"] != 1.0 {
		t.Errorf("importing an ATIF file: %v", r)
	}
}

// TestSampleOfNothing: where no row is eligible, the batch is empty and a file of
// it has its columns.
func TestSampleOfNothing(t *testing.T) {
	lake := toyLake(t, 4)
	if out := ok(t, "sample", "--lake", lake, "--where", "reward > 2"); out != "" {
		t.Errorf("rows: %s", out)
	}
	for _, format := range []string{"arrow", "parquet"} {
		out := filepath.Join(t.TempDir(), "none."+format)
		v := cli(t, "sample", "--lake", lake, "--where", "reward > 2", "--format", format, "-o", out, "--json").object(t)
		if v["rows"] != 0.0 {
			t.Errorf("%s: %v", format, v)
		}
	}
}
