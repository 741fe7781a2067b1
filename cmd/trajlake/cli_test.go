package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wrongLine is a command line that goes wrong.
type wrongLine struct {
	args string
	code int
	says string // on stderr
}

func wrongLines(lake, missing, spec string) []wrongLine {
	return []wrongLine{
		{"", 2, "no verb"},
		{"bogus", 2, "unknown command"},
		{"imprt", 2, "did you mean import?"},
		{"stats", 2, "no lake is named"},
		{"stats --lake " + lake + " --server x:1", 2, "both a lake"},
		{"stats --lake " + lake + " extra", 2, "takes no arguments, but \"extra\""},
		{"stats --lake " + lake + " --bogus", 2, "unknown flag"},
		{"stats --lake " + lake + " --log-level loud", 2, "--log-level"},
		{"stats --lake " + lake + " --version 99", 6, "99"},
		{"stats --lake " + lake + " --version nonsense", 2, "nonsense"},
		{"stats --lake " + missing, 6, "open lake " + missing + ": there is no lake\nhint: "},
		{"ids --lake " + missing, 6, "no lake"},
		{"verify --lake " + missing, 6, "no lake"},
		{"versions --lake " + missing, 6, "no lake"},
		{"index rebuild --lake " + missing, 6, "no lake"},
		{"export --lake " + missing, 6, "no lake"},
		{"sample --lake " + missing, 6, "no lake"},
		{"index", 2, "which of its verbs"},
		{"stats --server 127.0.0.1:1", 5, "no server answers at 127.0.0.1:1\nhint: start one with `trajlake serve --lake LAKE --listen 127.0.0.1:1`"},
		{"ids --lake " + lake + " --where reward>", 2, "1:8"},
		{"ids --lake " + lake + " --where rewrd>0", 2, "did you mean reward"},
		{"ids --lake " + lake + " --columns nope", 2, "nope"},
		{"show --lake " + lake, 2, "one ID"},
		{"show --lake " + lake + " absent", 6, "absent"},
		{"import --lake " + lake, 2, "trajlake import: no PATH"},
		{"import --lake " + lake + " " + missing, 6, "none"},
		{"import --lake " + lake + " --format nope x", 2, "formats: auto"},
		{"import --lake " + lake + " --set nope=1 x", 2, "nope"},
		{"import --lake " + lake + " --set model x", 2, "NAME=VALUE"},
		{"annotate --lake " + lake, 2, "-f FILE"},
		{"annotate --lake " + lake + " -f " + missing, 6, "none"},
		{"annotate --lake " + missing + " -f " + spec, 6, "no lake"},
		{"sample --lake " + lake + " --format csv", 2, "csv"},
		{"sample --lake " + lake + " --weight heavy", 2, "heavy"},
		{"sample --lake " + lake + " --unit heap", 2, "heap"},
		{"sample --lake " + lake + " --batch 0", 2, "at least one"},
		{"sample --lake " + lake + " --seed -1", 2, "--seed takes a whole number from 0 to 18446744073709551615, not \"-1\""},
		{"sample --lake " + lake + " --step 1e3", 2, "--step takes a whole number from 0"},
		{"serve --lake " + lake + " --fold-every soon", 2, "--fold-every takes a time such as 500ms, 5s or 2m, not \"soon\""},
		{"sample --lake " + lake + " --where nope>0", 2, "nope"},
		{"sample --lake " + lake + " --spec " + spec, 2, "wher"},
		{"sample --lake " + lake + " --spec " + missing, 6, "none"},
		{"sample --lake " + lake + " --json --format arrow", 2, "-o FILE"},
		{"export --lake " + lake + " --format nope", 2, "nope"},
		{"export --lake " + lake + " --json", 2, "-o FILE"},
		{"export --lake " + lake + " -o " + missing + "/a/b.jsonl", 6, "b.jsonl"},
		{"serve --lake " + lake + " --roles cook", 2, "cook"},
		{"serve --lake " + lake + " --listen 0.0.0.0:0", 2, "--insecure-listen"},
		{"serve --lake " + lake + " --debug-listen 0.0.0.0:0", 2, "--debug-listen"},
		{"serve --server 127.0.0.1:1", 2, "--lake"},
		{"completion powershell", 2, "powershell"},
	}
}

// TestExitCodes runs command lines that go wrong: each has its code, says so on
// stderr and leaves stdout alone.
func TestExitCodes(t *testing.T) {
	lake := toyLake(t, 4)
	missing := filepath.Join(t.TempDir(), "none")
	spec := fileOf(t, "bad.yaml", "wher: reward > 0\n")
	for _, c := range wrongLines(lake, missing, spec) {
		r := cli(t, strings.Fields(c.args)...)
		if r.code != c.code {
			t.Errorf("trajlake %s: exit %d, want %d: %s", c.args, r.code, c.code, r.err)
		}
		start := "trajlake"
		if strings.Contains(c.args, "--json") {
			start = `{"error":`
		}
		if !strings.Contains(r.err, c.says) || !strings.HasPrefix(r.err, start) {
			t.Errorf("trajlake %s says %q, want %q in it", c.args, r.err, c.says)
		}
		if r.out != "" && c.args != "" && c.args != "index" {
			t.Errorf("trajlake %s: stdout %q", c.args, r.out)
		}
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("a verb made %s: %v", missing, err)
	}
}

func TestErrorAsJSON(t *testing.T) {
	r := cli(t, "stats", "--json", "--lake", filepath.Join(t.TempDir(), "none"))
	if r.out != "" {
		t.Errorf("stdout %q", r.out)
	}
	e, _ := object(t, r.err)["error"].(map[string]any)
	keys(t, "the error", e, "verb kind message hint field?")
	if e["kind"] != "not_found" || e["verb"] != "stats" {
		t.Errorf("error %v", e)
	}
}

func TestEnvironmentNamesTheLake(t *testing.T) {
	lake := toyLake(t, 4)
	t.Setenv("TRAJLAKE_LAKE", lake)
	ok(t, "stats")
	t.Setenv("TRAJLAKE_SERVER", "127.0.0.1:1")
	if r := cli(t, "stats"); r.code != 2 {
		t.Errorf("both in the environment: exit %d", r.code)
	}
	ok(t, "stats", "--lake", lake) // the flag goes before both
}

func TestVersionsOfALake(t *testing.T) {
	lake := toyLake(t, 8)
	first := cli(t, "stats", "--lake", lake, "--json").object(t)
	more := fileOf(t, "more.jsonl", toyRow(100)+"\n"+toyRow(101)+"\n")
	ok(t, "import", more, "--lake", lake, "--quiet")
	list := objects(t, ok(t, "versions", "--lake", lake, "--json"))
	if len(list) != 3 {
		t.Fatalf("versions %v", list)
	}
	for _, v := range list {
		keys(t, "a version", v, "version at operation rows")
	}
	if list[2]["rows"] != 2.0 || list[1]["rows"] != 8.0 {
		t.Errorf("rows of the versions: %v", list)
	}
	for _, ref := range []string{"1", first["snapshot"].(string)} {
		if n := cli(t, "stats", "--lake", lake, "--json", "--version", ref).object(t)["trajectories"]; n != 8.0 {
			t.Errorf("version %s has %v trajectories", ref, n)
		}
		if n := strings.Count(ok(t, "ids", "--lake", lake, "--version", ref), "\n"); n != 8 {
			t.Errorf("version %s lists %d", ref, n)
		}
		if r := cli(t, "show", "--lake", lake, "--version", ref, "toy-100"); r.code != 6 {
			t.Errorf("version %s shows a later row: exit %d", ref, r.code)
		}
	}
	if !strings.Contains(ok(t, "versions", "--lake", lake), "operation") {
		t.Error("no table of versions")
	}
}

func TestStatsAndIDs(t *testing.T) {
	lake := toyLake(t, 12)
	s := cli(t, "stats", "--lake", lake, "--json").object(t)
	keys(t, "stats", s, "version snapshot trajectories quarantined scored turns tool_calls tool_errors prompt_tokens thinking_tokens completion_tokens cells")
	rows := 0.0
	for _, c := range s["cells"].([]any) {
		cell := c.(map[string]any)
		keys(t, "a cell", cell, "task_set mode effort reward_band rows tokens untold quarantined")
		rows += cell["rows"].(float64)
	}
	if rows != 12 || s["trajectories"] != 12.0 || s["turns"] != 36.0 || s["tool_calls"] != 12.0 {
		t.Errorf("stats %v", s)
	}
	golden(t, "stats.golden", ok(t, "stats", "--lake", lake))
	list := objects(t, ok(t, "ids", "--lake", lake, "--json"))
	for i, v := range list {
		keys(t, "ids", v, "trajectory_id content_hash version")
		if v["trajectory_id"] != object(t, toyRow(i))["trajectory_id"] {
			t.Errorf("row %d is %v: not in lake order", i, v)
		}
	}
	list = objects(t, ok(t, "ids", "--lake", lake, "--json", "--where", "reward > 0.4 AND effort = 'high'", "--columns", "reward,task_id"))
	if len(list) != 2 {
		t.Errorf("selected %v", list)
	}
	for _, v := range list {
		keys(t, "ids", v, "trajectory_id content_hash version reward task_id")
	}
	if out := ok(t, "ids", "--lake", lake, "--where", "trajectory_id = 'toy-002'", "--columns", "reward,effort"); out != "toy-002\t0.5\t\"high\"\n" {
		t.Errorf("ids for people: %q", out)
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	lake := toyLake(t, 4)
	r := cli(t, "verify", "--lake", lake, "--deep", "--json")
	v := r.object(t)
	keys(t, "verify", v, "version snapshot ok trajectories files bytes deep problems")
	if r.code != 0 || v["ok"] != true || len(v["problems"].([]any)) != 0 {
		t.Fatalf("a good lake: exit %d, %v", r.code, v)
	}
	files, err := filepath.Glob(filepath.Join(lake, "trajectories", "day=*", "*.parquet"))
	if err != nil || len(files) != 1 {
		t.Fatalf("data files %v, %v", files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	r = cli(t, "verify", "--lake", lake, "--json")
	v = r.object(t)
	problems := v["problems"].([]any)
	if r.code != 4 || v["ok"] != false || len(problems) == 0 {
		t.Fatalf("a lost file: exit %d, %v", r.code, v)
	}
	keys(t, "a problem", problems[0].(map[string]any), "kind object detail")
	if r := cli(t, "verify", "--lake", lake); r.code != 4 || !strings.Contains(r.out, filepath.Base(files[0])) {
		t.Errorf("for people: exit %d, %q", r.code, r.out)
	}
}

func TestIndexRebuild(t *testing.T) {
	lake := toyLake(t, 4)
	v := cli(t, "index", "rebuild", "--lake", lake, "--json").object(t)
	keys(t, "index rebuild", v, "version rows seconds snapshot")
	if v["rows"] != 4.0 || v["version"] != 1.0 {
		t.Errorf("%v", v)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	keys(t, "version", cli(t, "version", "--json").object(t), "version commit go")
	if !strings.HasPrefix(ok(t, "version"), "trajlake ") {
		t.Error("version for people")
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if len(ok(t, "completion", shell)) < 1000 {
			t.Errorf("completion %s is short", shell)
		}
	}
	for args, want := range map[string]string{
		"im":                           "import",
		"sample --format ":             "parquet",
		"export --format ":             "atif",
		"import --format ":             "tau2_bench",
		"serve --roles ":               "replay",
		"sample --wei":                 "--weight",
		"ids --columns ":               "task_set",
		"import --set ":                "run_id",
		"stats --log-level ":           "debug",
		"sample --lake x --weight pri": "priority",
	} {
		all := append([]string{"__complete"}, strings.Split(args, " ")...)
		if out := ok(t, all...); !strings.Contains(out, want) {
			t.Errorf("completing %q gives %q, want %q in it", args, out, want)
		}
	}
}

func TestHelp(t *testing.T) {
	golden(t, "help.golden", ok(t, "--help"))
	golden(t, "help-import.golden", ok(t, "import", "--help"))
	golden(t, "help-sample.golden", ok(t, "sample", "--help"))
}

// TestCancelled gives up before anything is read.
func TestCancelled(t *testing.T) {
	lake := toyLake(t, 4)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r := cliWith(t, ctx, strings.NewReader(""), "stats", "--lake", lake); r.code != 1 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}
