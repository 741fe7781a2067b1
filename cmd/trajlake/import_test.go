package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const importKeys = "version snapshot files committed duplicates rejected bytes seconds formats errors losses? annotated?"

func TestImportTwice(t *testing.T) {
	lake, file := filepath.Join(t.TempDir(), "lake"), toyFile(t, 20)
	first := cli(t, "import", "--lake", lake, file, "--json").object(t)
	keys(t, "import", first, importKeys)
	if first["committed"] != 20.0 || first["duplicates"] != 0.0 || first["files"] != 1.0 || first["formats"].(map[string]any)["native"] != 20.0 {
		t.Errorf("first import %v", first)
	}
	again := cli(t, "import", "--lake", lake, file, "--json").object(t)
	if again["committed"] != 0.0 || again["duplicates"] != 20.0 || again["version"] != first["version"] || again["snapshot"] != first["snapshot"] {
		t.Errorf("second import %v", again)
	}
}

// TestImportRubbish: what is bad is rejected by file and line, the rest goes in,
// and the lake stays good.
func TestImportRubbish(t *testing.T) {
	dir := t.TempDir()
	put := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	deep := `{"turns":[{"role":"user","text":"x"}],"extra":` + strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000) + "}"
	lines := []string{
		toyRow(0),
		`{"turns": [`,
		`{"turns":"no"}`,
		`{"trajectory_id":"nan","reward":NaN,"turns":[{"role":"user","text":"x"}]}`,
		`{"trajectory_id":"uneven","token_ids":[1,2],"loss_mask":[1],"turns":[{"role":"user"}]}`,
		deep,
		"{\"trajectory_id\":\"utf\",\"turns\":[{\"role\":\"user\",\"text\":\"\xff\"}]}",
		`{"trajectory_id":"toy-000","turns":[{"role":"user","text":"other content"}]}`,
		toyRow(1),
	}
	mixed := put("mixed.jsonl", strings.Join(lines, "\n")+"\n")
	put("binary.json", "\x00\x01\x02\x7fELF\x00")
	put("pointer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 5\n")
	put("empty.jsonl", "")
	put(".hidden", "never read")
	lake := filepath.Join(t.TempDir(), "lake")
	r := cli(t, "import", "--lake", lake, dir, "--json")
	v := r.object(t)
	if r.code != 3 || v["committed"] != 2.0 || v["rejected"] != 9.0 || v["files"] != 4.0 {
		t.Fatalf("exit %d, %v", r.code, v)
	}
	at := map[string]map[string]any{}
	for _, e := range v["errors"].([]any) {
		e := e.(map[string]any)
		keys(t, "an error", e, "file line? field? kind reason hint? trajectory_id?")
		line, _ := e["line"].(float64)
		at[fmt.Sprintf("%s:%.0f", filepath.Base(e["file"].(string)), line)] = e
	}
	for place, kind := range map[string]string{"mixed.jsonl:2": "invalid", "mixed.jsonl:3": "invalid", "mixed.jsonl:4": "invalid", "mixed.jsonl:5": "invalid",
		"mixed.jsonl:6": "invalid", "mixed.jsonl:7": "invalid", "mixed.jsonl:8": "conflict", "binary.json:0": "invalid", "pointer.json:0": "invalid"} {
		if at[place] == nil || at[place]["kind"] != kind {
			t.Errorf("%s: %v, want kind %s", place, at[place], kind)
		}
	}
	if at["mixed.jsonl:3"]["field"] != "turns" {
		t.Errorf("field of line 3: %v", at["mixed.jsonl:3"])
	}
	ok(t, "verify", "--lake", lake, "--deep")
	text := cli(t, "import", "--lake", lake, mixed)
	if text.code != 3 || !strings.Contains(text.out, "mixed.jsonl:3: turns:") || !strings.Contains(text.out, "0 committed, 2 duplicates, 7 rejected") {
		t.Errorf("for people: exit %d, %s", text.code, text.out)
	}
}

func TestImportFromEverywhere(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, pack func(io.Writer) io.WriteCloser, rows ...string) {
		var b bytes.Buffer
		w := pack(&b)
		if _, err := io.WriteString(w, strings.Join(rows, "\n")+"\n"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a.jsonl.gz", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, toyRow(0), toyRow(1))
	write("b.jsonl.zst", func(w io.Writer) io.WriteCloser {
		z, err := zstd.NewWriter(w)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}, toyRow(2))
	lake := filepath.Join(t.TempDir(), "lake")
	for _, c := range []struct {
		stdin string
		args  []string
		want  float64
	}{
		{"", []string{filepath.Join(dir, "*.gz")}, 2},
		{"", []string{dir}, 1},
		{toyRow(3) + "\n", []string{"-"}, 1},
		{`{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]}` + "\n", []string{"-", "--format", "openai", "--set", "model=m,task_set=chat", "--set", "policy_version=7"}, 1},
	} {
		r := cliWith(t, context.Background(), strings.NewReader(c.stdin), append([]string{"import", "--lake", lake, "--json"}, c.args...)...)
		if v := r.object(t); r.code != 0 || v["committed"] != c.want {
			t.Errorf("import %v: exit %d, %v", c.args, r.code, v)
		}
	}
	list := objects(t, ok(t, "ids", "--lake", lake, "--json", "--where", "task_set = 'chat'", "--columns", "model,policy_version_max"))
	if len(list) != 1 || list[0]["model"] != "m" || list[0]["policy_version_max"] != 7.0 {
		t.Errorf("what --set filled: %v", list)
	}
}

// TestInterruptedImport breaks an import off: it says what is in, and the next one
// completes it.
func TestInterruptedImport(t *testing.T) {
	const rows = 1800 // more than one batch
	var all strings.Builder
	for i := range rows {
		all.WriteString(toyRow(i) + "\n")
	}
	lake := filepath.Join(t.TempDir(), "lake")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// The reader gives the last rows only after the interrupt.
	cut := strings.Index(all.String(), toyRow(1700))
	stdin := io.MultiReader(strings.NewReader(all.String()[:cut]), onRead(cancel), strings.NewReader(all.String()[cut:]))
	r := cliWith(t, ctx, stdin, "import", "--lake", lake, "--json", "-")
	v := r.object(t)
	if r.code != 1 || v["incomplete"] != true || v["rejected"] != 0.0 || !strings.Contains(r.err, "import again") {
		t.Fatalf("exit %d, %s%s", r.code, r.out, r.err)
	}
	there := strings.Count(ok(t, "ids", "--lake", lake), "\n")
	if in := int(v["committed"].(float64)); there < in || there >= rows {
		t.Errorf("%d rows are there, %d were said to be", there, in)
	}
	again := cliWith(t, context.Background(), strings.NewReader(all.String()), "import", "--lake", lake, "--json", "-").object(t)
	if again["committed"].(float64)+float64(there) != rows || again["duplicates"] != float64(there) {
		t.Errorf("importing again: %v, with %d there", again, there)
	}
	ok(t, "verify", "--lake", lake)
}

// onRead is an empty stream that calls fn when it is reached.
type onRead func()

func (fn onRead) Read([]byte) (int, error) {
	fn()
	return 0, io.EOF
}

func TestImportSummary(t *testing.T) {
	file := fileOf(t, "x.jsonl", toyRow(0)+"\n{\n"+strings.Repeat("{\"turns\":\"\x1b[2J\"}\n", 3))
	lake := filepath.Join(t.TempDir(), "lake")
	r := cli(t, "import", "--lake", lake, file)
	text := strings.ReplaceAll(r.out, filepath.Dir(file), "DIR")
	text = regexp.MustCompile(`\d+ B in [\d.]+ s`).ReplaceAllString(text, "N B in N s")
	golden(t, "import-summary.golden", text)
	if r.err != "" {
		t.Errorf("stderr %q: there is no terminal", r.err)
	}
}

func TestAnnotate(t *testing.T) {
	lake := toyLake(t, 8)
	file := fileOf(t, "a.jsonl", `{"target_id":"toy-000","kind":"reward","name":"tests","value":0.75,"scorer":"pytest"}
{"target":"toy-001","kind":"quarantine","name":"hack","reason":"edits the tests"}
{"target_id":"toy-002","kind":"rewrd","value":1}
not json
{"target_id":"toy-003","kind":"priority","value":"high"}
`)
	r := cli(t, "annotate", "--lake", lake, "-f", file, "--json")
	v := r.object(t)
	keys(t, "annotate", v, "version snapshot committed duplicates rejected errors")
	if r.code != 3 || v["committed"] != 2.0 || v["rejected"] != 3.0 {
		t.Fatalf("exit %d, %v", r.code, v)
	}
	lines := map[float64]string{}
	for _, e := range v["errors"].([]any) {
		e := e.(map[string]any)
		field, _ := e["field"].(string)
		lines[e["line"].(float64)] = field
	}
	if want := map[float64]string{3: "kind", 4: "", 5: "value"}; fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("rejected lines %v, want %v", lines, want)
	}
	again := cli(t, "annotate", "--lake", lake, "-f", file, "--json").object(t)
	if again["committed"] != 0.0 || again["duplicates"] != 2.0 {
		t.Errorf("annotating again: %v", again)
	}
	at := v["snapshot"].(string)
	if n := strings.Count(ok(t, "ids", "--lake", lake, "--version", at, "--where", "reward = 0.75"), "\n"); n != 1 {
		t.Errorf("%d rows have the new reward", n)
	}
	if s := cli(t, "stats", "--lake", lake, "--json").object(t); s["quarantined"] != 1.0 {
		t.Errorf("quarantined: %v", s["quarantined"])
	}
	for _, row := range objects(t, ok(t, "sample", "--lake", lake, "--batch", "8")) {
		if row["trajectory_id"] == "toy-001" {
			t.Error("a quarantined row was drawn")
		}
	}
	if text := ok(t, "show", "--lake", lake, "toy-000"); !strings.Contains(text, "reward 0.75 (the row's own: none)") {
		t.Errorf("show: %s", text)
	}
	if text := ok(t, "show", "--lake", lake, "toy-001"); !strings.Contains(text, "quarantined") {
		t.Errorf("show: %s", text)
	}
}
