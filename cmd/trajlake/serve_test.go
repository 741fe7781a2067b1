package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestServerAnswersAsTheLake runs every reading verb on a lake and through a
// server of it: the answers are the same, byte by byte.
func TestServerAnswersAsTheLake(t *testing.T) {
	lake := toyLake(t, 24)
	s := serving(t, lake)
	keys(t, "the ready line", s.ready, "event addr version snapshot index")
	if s.ready["index"] != "folder" || s.ready["event"] != "ready" || s.ready["version"] != 1.0 {
		t.Errorf("ready line %v", s.ready)
	}
	dir := t.TempDir()
	for _, c := range []string{
		"stats --json", "stats", "ids --json", "ids", "ids --json --where reward>0 --columns reward,turns,extra",
		"versions --json", "verify --json", "verify --deep --json",
		"show toy-003", "show toy-003 --json", "show toy-003 --full --version 1",
		"sample --batch 4 --seed 3", "sample --batch 4 --columns logprobs --step 7", "sample --unit group --batch 2 --where reward>0",
		"sample --batch 4 --weight reward --where reward>0 --format arrow", "sample --batch 4 --format parquet --columns turns,token_ids",
		"sample --batch 3 --where reward>2",
		"export --format native", "export --format openai --where success", "export --format atif -o -",
	} {
		args := strings.Fields(c)
		here := cli(t, append(args, "--lake", lake)...)
		there := cli(t, append(args, "--server", s.addr)...)
		if here.code != 0 || there.code != 0 {
			t.Errorf("%s: exit %d (%s) and %d (%s)", c, here.code, here.err, there.code, there.err)
			continue
		}
		if here.out != there.out {
			t.Errorf("%s: the lake says\n%.2000s\nthe server\n%.2000s", c, here.out, there.out)
		}
	}
	for _, c := range []struct {
		args string
		code int
	}{
		{"show absent", 6}, {"ids --where rewrd>0", 2}, {"stats --version 99", 6}, {"ids --columns nope", 2}, {"sample --where nope>0", 2},
	} {
		here := cli(t, append(strings.Fields(c.args), "--lake", lake)...)
		there := cli(t, append(strings.Fields(c.args), "--server", s.addr)...)
		if here.code != c.code || there.code != c.code {
			t.Errorf("%s: exit %d (%s) and %d (%s), want %d", c.args, here.code, here.err, there.code, there.err, c.code)
		}
	}
	for _, target := range [][]string{{"--lake", lake}, {"--server", s.addr}} {
		out := filepath.Join(dir, target[0])
		v := cli(t, append([]string{"export", "--format", "atif", "--json", "-o", out}, target...)...).object(t)
		keys(t, "export", v, "version snapshot format rows files rejected losses errors")
		if v["rows"] != 24.0 || v["version"] != 1.0 {
			t.Errorf("export %s: %v", target, v)
		}
	}
	s.drain()
}

func TestServerTakesRows(t *testing.T) {
	lake := filepath.Join(t.TempDir(), "lake")
	s := serving(t, lake)
	file := toyFile(t, 40)
	first := cli(t, "import", "--server", s.addr, file, "--json").object(t)
	keys(t, "import", first, importKeys)
	if first["committed"] != 40.0 {
		t.Errorf("import: %v", first)
	}
	if again := cli(t, "import", "--server", s.addr, file, "--json").object(t); again["duplicates"] != 40.0 || again["committed"] != 0.0 {
		t.Errorf("importing again: %v", again)
	}
	r := cliWith(t, context.Background(), strings.NewReader(`{"target_id":"toy-000","kind":"reward","value":1}`+"\n{\"kind\":\"no\"}\n"),
		"annotate", "--server", s.addr, "-f", "-", "--json")
	v := r.object(t)
	keys(t, "annotate", v, "version snapshot committed duplicates rejected errors")
	if r.code != 3 || v["committed"] != 1.0 || v["rejected"] != 1.0 {
		t.Errorf("annotate: exit %d, %v", r.code, v)
	}
	keys(t, "index rebuild", cli(t, "index", "rebuild", "--server", s.addr, "--json").object(t), "version rows seconds snapshot")
	s.drain()
	// What was acknowledged is there, also for a process that opens the lake itself.
	if n := strings.Count(ok(t, "ids", "--lake", lake), "\n"); n != 40 {
		t.Errorf("%d rows after the server ended", n)
	}
	ok(t, "verify", "--lake", lake, "--deep")
	if r := cli(t, "stats", "--server", s.addr); r.code != 5 || !strings.Contains(r.err, "hint: ") {
		t.Errorf("a server that ended: exit %d, %s", r.code, r.err)
	}
}

// TestIdenticalTwins: two equal rows without an id are two rows, from a lake and
// from a server, however often they are imported.
func TestIdenticalTwins(t *testing.T) {
	twin := `{"turns":[{"role":"user","text":"same"}]}` + "\n"
	file := fileOf(t, "twins.jsonl", twin+twin+toyRow(0)+"\n"+twin)
	lake := filepath.Join(t.TempDir(), "lake")
	s := serving(t, lake)
	for _, target := range [][]string{{"--server", s.addr}, {"--lake", lake}, {"--server", s.addr}} {
		ok(t, append([]string{"import", file}, target...)...)
		if n := strings.Count(ok(t, "ids", "--lake", lake), "\n"); n != 4 {
			t.Errorf("after import with %v: %d rows, want 4", target, n)
		}
	}
	s.drain()
}

func TestRolesOfAServer(t *testing.T) {
	lake := toyLake(t, 4)
	s := serving(t, lake, "--roles", "query")
	ok(t, "stats", "--server", s.addr)
	for _, c := range [][]string{{"import", toyFile(t, 5)}, {"sample"}} {
		if r := cli(t, append(c, "--server", s.addr)...); r.code != 1 || !strings.Contains(r.err, "role") {
			t.Errorf("%v at a server of queries: exit %d, %s", c, r.code, r.err)
		}
	}
	s.drain()
}

// TestServerFolds imports many small files and waits until the background work
// has joined them: no snapshot changes.
func TestServerFolds(t *testing.T) {
	lake := filepath.Join(t.TempDir(), "lake")
	s := serving(t, lake, "--fold-every", "20ms")
	for i := range 20 {
		ok(t, "import", "--server", s.addr, fileOf(t, "one.jsonl", toyRow(i)+"\n"))
	}
	at := cli(t, "stats", "--server", s.addr, "--json").object(t)["snapshot"].(string)
	before := ok(t, "ids", "--server", s.addr, "--json", "--version", at)
	for !strings.Contains(ok(t, "versions", "--server", s.addr, "--json"), `"OPTIMIZE"`) { // ends when the test is given up
		runtime.Gosched()
	}
	if after := ok(t, "ids", "--server", s.addr, "--json", "--version", at); after != before || strings.Count(after, "\n") != 20 {
		t.Errorf("folding changed a snapshot:\n%s\n%s", before, after)
	}
	s.drain()
	ok(t, "verify", "--lake", lake, "--deep")
}

func TestServeRefusesATakenPort(t *testing.T) {
	s := serving(t, filepath.Join(t.TempDir(), "a"))
	r := cli(t, "serve", "--lake", filepath.Join(t.TempDir(), "b"), "--listen", s.addr)
	if r.code != 5 || !strings.Contains(r.err, "127.0.0.1:0") {
		t.Errorf("exit %d, %s", r.code, r.err)
	}
	s.drain()
}

func TestServeProfiles(t *testing.T) {
	s := serving(t, filepath.Join(t.TempDir(), "a"), "--debug-listen", "127.0.0.1:0")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://%s/debug/pprof/cmdline", s.ready["debug"]))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %s", resp.Status)
	}
	s.drain()
}

// TestServeWithoutItsIndexFolder: a server whose index folder another process has
// says so and works.
func TestServeWithoutItsIndexFolder(t *testing.T) {
	lake := toyLake(t, 3)
	first := serving(t, lake)
	second := serving(t, lake)
	if second.ready["index"] != "memory" {
		t.Errorf("the second server's index: %v", second.ready)
	}
	o := object(t, ok(t, "import", "--server", second.addr, "--json", toyFile(t, 5)))
	if o["committed"] != 2.0 || o["duplicates"] != 3.0 {
		t.Errorf("%v", o)
	}
	first.drain()
	second.drain()
	log := second.log.String()
	if !strings.Contains(log, "level=WARN") || !strings.Contains(log, "in use by another process") || !strings.Contains(log, "hint=") {
		t.Errorf("the second server does not say that its index is in memory: %s", log)
	}
}
