package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const toySpec = "snapshot: pinned\nwhere: reward > 0\nbatch: {rows: 4}\nseed: 3\n"

func TestStreamVerbs(t *testing.T) {
	lake := toyLake(t, 40)
	spec := fileOf(t, "s.yaml", toySpec)
	created := ok(t, "stream", "create", "mix", "-f", spec, "--lake", lake, "--json")
	keys(t, "a stream", objects(t, created)[0], "stream spec_hash spec version snapshot created_at")
	if shown := ok(t, "stream", "show", "mix", "--lake", lake, "--json"); shown != created {
		t.Errorf("show:\n%s\ncreate:\n%s", shown, created)
	}
	if again := ok(t, "stream", "create", "mix", "-f", spec, "--lake", lake, "--json"); again != created {
		t.Errorf("created again: %s", again)
	}
	keys(t, "a line", objects(t, ok(t, "stream", "list", "--lake", lake, "--json"))[0], "stream spec_hash position version snapshot")

	batches := objects(t, ok(t, "stream", "tail", "mix", "--lake", lake, "--batches", "5", "--json"))
	if len(batches) != 5 {
		t.Fatalf("%d batches", len(batches))
	}
	for i, b := range batches {
		keys(t, "a batch", b, "batch_id position version snapshot spec_hash units stream as_of rows")
		if b["position"] != float64(i) {
			t.Errorf("batch %d has position %v", i, b["position"])
		}
		for _, r := range b["rows"].([]any) {
			row := r.(map[string]any)
			if _, has := row["staleness"]; !has || row["reward"].(float64) <= 0 || row["stratum"] != "all" {
				t.Errorf("row %v", row)
			}
		}
	}
	ok(t, "import", "--lake", lake, fileOf(t, "more.jsonl", toyRow(200)+"\n"))
	later := objects(t, ok(t, "stream", "tail", "mix", "--lake", lake, "--from", "3", "--batches", "1", "--json"))
	if later[0]["batch_id"] != batches[3]["batch_id"] {
		t.Errorf("position 3 is another batch from a lake that has grown")
	}
	for name, args := range map[string][]string{
		"table": {"stream", "list"}, "show": {"stream", "show", "mix"}, "tail": {"stream", "tail", "mix", "--batches", "1"}, "explain": {"explain", "mix"}, "ledger": {"ledger"},
	} {
		if out := ok(t, append(args, "--lake", lake)...); len(out) == 0 || strings.ContainsRune(out, '\x1b') {
			t.Errorf("%s prints %q", name, out)
		}
	}
}

func TestExplain(t *testing.T) {
	lake := toyLake(t, 40)
	var x struct {
		Candidates, Eligible int64
		Excluded             map[string]int64
		Strata               []map[string]any
	}
	text := ok(t, "explain", "-f", fileOf(t, "s.yaml", toySpec), "--lake", lake, "--json")
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		t.Fatal(err)
	}
	sum := x.Eligible
	for _, n := range x.Excluded {
		sum += n
	}
	if x.Candidates != 40 || sum != 40 || x.Excluded["where"] == 0 || len(x.Strata) != 1 {
		t.Errorf("%+v", x)
	}
}

// TestLiveTailAndLedger: a live stream's claims stand in the ledger.
func TestLiveTailAndLedger(t *testing.T) {
	lake := toyLake(t, 40)
	ok(t, "stream", "create", "live", "-f", fileOf(t, "l.yaml", "batch: {rows: 2}\nstaleness: off\nage_decay: off\n"), "--lake", lake)
	ok(t, "stream", "tail", "live", "--run", "r1", "--batches", "3", "--lake", lake)
	var kinds []string
	for _, l := range objects(t, ok(t, "ledger", "--run", "r1", "--lake", lake, "--json")) {
		kinds = append(kinds, l["kind"].(string))
		if l["stream"] != "live" || l["run"] != "r1" || l["spec_hash"] == "" {
			t.Errorf("line %v", l)
		}
	}
	if !slices.Contains(kinds, "claim") || !slices.Contains(kinds, "served") {
		t.Errorf("kinds %v", kinds)
	}
	if lines := objects(t, ok(t, "ledger", "--run", "r2", "--lake", lake, "--json")); len(lines) != 0 {
		t.Errorf("another run has %v", lines)
	}
}

func TestStreamRefusals(t *testing.T) {
	lake := toyLake(t, 8)
	ok(t, "stream", "create", "mix", "-f", fileOf(t, "s.yaml", toySpec), "--lake", lake)
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"stream", "create", "mix", "-f", fileOf(t, "o.yaml", "seed: 4\n")}, 3, "another spec"},
		{[]string{"stream", "create", "a/b", "-f", fileOf(t, "p.yaml", toySpec)}, 2, "a/b"},
		{[]string{"stream", "create", "bad", "-f", fileOf(t, "q.yaml", "wher: x\n")}, 2, "wher"},
		{[]string{"stream", "create", "bad"}, 2, "no spec"},
		{[]string{"stream", "show", "none"}, 6, "no such stream"},
		{[]string{"stream", "tail", "none"}, 6, "no such stream"},
		{[]string{"stream", "tail"}, 2, "arg"},
		{[]string{"explain"}, 2, "one of them"},
		{[]string{"ledger", "diff", "r1", "r2"}, 6, "r1"},
		{[]string{"stream", "list", "more"}, 2, "takes no arguments"},
	} {
		r := cli(t, append(c.args, "--lake", lake)...)
		if r.code != c.code || !strings.Contains(r.err, c.text) {
			t.Errorf("%v: exit %d, %q; want %d and %q", c.args, r.code, r.err, c.code, c.text)
		}
	}
}
