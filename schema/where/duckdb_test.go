package where

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/schema/fault"
)

// duckScript reads an Arrow file, evaluates each predicate over it in DuckDB
// and prints one line for each: T, F and - by row, or ! and the error.
const duckScript = `
import json, sys
import duckdb, pyarrow as pa
c = duckdb.connect(config={"threads": 1})
c.execute("set TimeZone='UTC'")
t = pa.ipc.open_file(sys.argv[1]).read_all()
c.execute("create table t as select * from t")
for p in json.load(open(sys.argv[2])):
    try:
        rows = c.execute("select (" + p + ") from t order by i").fetchall()
        print("".join("-" if v is None else "T" if v else "F" for v, in rows))
    except Exception as e:
        print("!" + str(e).split("\n")[0])
`

// duckdb evaluates the predicates over rec, which needs a column i.
func duckdb(t *testing.T, rec arrow.Record, predicates []string) []string {
	t.Helper()
	python := os.Getenv("TRAJLAKE_TEST_PYTHON")
	dir := t.TempDir()
	data, queries := filepath.Join(dir, "t.arrow"), filepath.Join(dir, "q.json")
	f, err := os.Create(data)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ipc.NewFileWriter(f, ipc.WithSchema(rec.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil && !strings.Contains(err.Error(), "closed") {
		t.Fatal(err)
	}
	q, err := json.Marshal(predicates)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(queries, q, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", duckScript, data, queries)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if len(lines) != len(predicates) {
		t.Fatalf("%d answers to %d predicates\n%s", len(lines), len(predicates), stderr.String())
	}
	return lines
}

func needDuckDB(t *testing.T) {
	t.Helper()
	python := os.Getenv("TRAJLAKE_TEST_PYTHON")
	if python == "" {
		t.Skip("SKIPPED: predicates are not compared with DuckDB: TRAJLAKE_TEST_PYTHON names no python3 with duckdb and pyarrow")
	}
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import duckdb, pyarrow; print(duckdb.__version__)").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: predicates are not compared with DuckDB: %s has no duckdb and pyarrow: %s", python, out)
	} else {
		t.Logf("DuckDB %s", bytes.TrimSpace(out))
	}
}

// numbered is rec with a column i that numbers its rows.
func numbered(rec arrow.Record) arrow.Record {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	for i := range rec.NumRows() {
		b.Append(i)
	}
	fields := append(slices.Clone(rec.Schema().Fields()), arrow.Field{Name: "i", Type: arrow.PrimitiveTypes.Int64})
	return array.NewRecord(arrow.NewSchema(fields, nil), append(slices.Clone(rec.Columns()), b.NewArray()), rec.NumRows())
}

// TestSameAsDuckDB evaluates random predicates over random tables here and in
// DuckDB, as written and as printed, and compares the truth of every row.
func TestSameAsDuckDB(t *testing.T) {
	needDuckDB(t)
	const tables, each = 8, 250
	same, refused, faults := 0, 0, 0
	for seed := range uint64(tables) {
		g := newGenerator(seed)
		g.exponents = seed%2 == 0
		rec := numbered(g.record(1 + g.IntN(60)))
		var want, asked []string
		for len(asked) < 2*each {
			text := g.predicate(3)
			e, err := Parse(text)
			if err != nil {
				continue // a comparison of comparisons, for example
			}
			b, err := e.Bind(testColumns())
			if err != nil {
				continue
			}
			m, err := b.Filter(rec)
			if err != nil {
				if !fault.Is(err, fault.Usage) {
					t.Fatalf("seed %d: %s: %v", seed, text, err)
				}
				faults++
				continue
			}
			asked = append(asked, text, e.String())
			want = append(want, truths(m), truths(m))
		}
		bad := 0
		for i, got := range duckdb(t, rec, asked) {
			switch {
			case got == want[i]:
				same++
			case strings.Contains(got, "Out of Range Error: Overflow"):
				refused++ // DuckDB adds in the width of the columns
			default:
				if bad++; bad <= 5 {
					t.Errorf("seed %d: %s\n  here   %s\n  DuckDB %s", seed, asked[i], want[i], got)
				}
			}
		}
		rec.Release()
	}
	t.Logf("%d the same, %d overflowed in DuckDB, %d faults here (seeds 0 to %d)", same, refused, faults, tables-1)
	if same < tables*each {
		t.Errorf("only %d comparisons were made", same)
	}
}

// TestSameTextInDuckDB compares the predicates of the other tests, and those
// that analysts write, over one table.
func TestSameTextInDuckDB(t *testing.T) {
	needDuckDB(t)
	rec := numbered(newGenerator(99).record(200))
	texts := []string{
		"reward is not null and status = 'tau'", "reward > 0", "reward >= 0.5 and reward <= 1.5",
		"policy_version_min >= 3", "status not in ('a','b') and mode = 'tau'", "num_tool_errors / num_tool_calls > 0.5",
		"num_turns > 0 and prompt_tokens / num_turns >= 1.5", "num_turns/0 > 1", "0e0/num_turns = 0e0/0", "len(tool_kinds) >= 2 and list_contains(tool_kinds, 'swe-gym')",
		"started_at >= TIMESTAMP '2026-01-01' and started_at < '2026-04-01'", "started_at = timestamp '2026-03-01T12:30:00Z'",
		"source.format like 'swe-%' or metadata['k'] is null", "not (reward > 0 and success) or quarantined",
		"effort_level between 10 and 40", "priority is distinct from null", "-num_turns < 0", "- (num_turns) > -3 - -2", "a = 1",
		strings.Repeat("num_turns = 1 or ", 3000) + "success", "num_turns in (1" + strings.Repeat(", 7", 8000) + ")",
		strings.Repeat("(", 190) + "success" + strings.Repeat(")", 190), strings.Repeat("not ", 190) + "success", "0" + strings.Repeat(" + num_turns", 190) + " > 0e0",
		"mode like 'a\\_b'", "mode like '%'", "mode not like '_%_'", `"Reward" > 0 and "mode" <> ''`, "success in (true, null)", "null", "mode in (null)", "null = null", "1e0 / 0 in (reward, 0e0/0)", "0e0 / num_turns in (0e0/0, 1)",
	}
	var asked, want []string
	for _, text := range texts {
		e, err := Parse(text)
		if err != nil {
			t.Fatalf("%.80s: %v", text, err)
		}
		b, err := e.Bind(testColumns())
		if err != nil {
			continue
		}
		m, err := b.Filter(rec)
		if err != nil {
			t.Fatalf("%.80s: %v", text, err)
		}
		asked, want = append(asked, text, e.String()), append(want, truths(m), truths(m))
	}
	for i, got := range duckdb(t, rec, asked) {
		if got != want[i] {
			t.Errorf("%.200s\n  here   %s\n  DuckDB %s", asked[i], want[i], got)
		}
	}
	if len(asked) < 2*(len(texts)-5) {
		t.Errorf("only %d of %d predicates were compared", len(asked)/2, len(texts))
	}
}

// TestReservedWords checks that every column's name prints as DuckDB takes it,
// and that words which DuckDB refuses unquoted are refused here.
func TestReservedWords(t *testing.T) {
	needDuckDB(t)
	words := slices.Sorted(func(yield func(string) bool) {
		for w := range reserved {
			if !yield(w) {
				return
			}
		}
	})
	for w := range quoted {
		words = append(words, w)
	}
	for _, c := range FoldedColumns() {
		words = append(words, c.Name)
	}
	words = append(words, "at", "first", "count", "call", "turn", "day", "name", "kind", "value")
	slices.Sort(words)
	words = slices.Compact(words)
	fields := make([]arrow.Field, len(words))
	cols := make([]arrow.Array, len(words))
	b := array.NewInt64Builder(memory.DefaultAllocator)
	b.Append(1)
	one := b.NewArray()
	var asked []string
	for i, w := range words {
		fields[i], cols[i] = arrow.Field{Name: w, Type: arrow.PrimitiveTypes.Int64}, one
		e, err := Parse(fmt.Sprintf("%q = 1 and 1 < %q + 2", w, w))
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, e.String(), w+" = 1")
	}
	rec := numbered(array.NewRecord(arrow.NewSchema(fields, nil), cols, 1))
	for i, got := range duckdb(t, rec, asked) {
		_, err := Parse(asked[i])
		if i%2 == 0 && got != "T" {
			t.Errorf("%s: DuckDB says %s", asked[i], got)
		}
		if i%2 == 1 && err == nil && got[0] == '!' {
			t.Errorf("%s parses here, and DuckDB says %s", asked[i], got)
		}
	}
}
