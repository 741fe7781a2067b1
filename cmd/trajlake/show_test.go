package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trajlake/internal/term"
	"trajlake/schema"
)

// hostile is a row whose every text tries something with a terminal.
const hostile = `{"trajectory_id":"evil\u202e","task_set":"a\u202eb","task_id":"t\u200b","model":"m\u2066","termination_raw":"t\u001b[31m","reward":0.5,"success":true,"status":"completed","effort":"high",
"turns":[{"role":"system","text":"sys\u001b]0;title\u0007"},
{"role":"user","text":"line one\nline two\u001b]52;c;eA==\u0007\n"},
{"role":"assistant","sampled":true,"thinking":"th\u001b[8mhidden","text":"\u2066iso","finish_reason":"length\u001b","tool_calls":[
 {"name":"sh\u001b[1m","args_raw":"{\"x\":\"\u200b\"}","result":"out\u001bPq\u001b\\","result_status":"error"},
 {"name":"ok","result":"fine","result_status":"ok","result_truncated":true,"result_bytes":12345}]},
{"role":"assistant","blocks":[{"type":"image","mime":"image/png\u001b","digest":"%064d","bytes":5}]}]}`

func TestTranscript(t *testing.T) {
	lake := filepath.Join(t.TempDir(), "lake")
	r := cliWith(t, context.Background(), strings.NewReader(strings.ReplaceAll(strings.ReplaceAll(hostile, "%064d", strings.Repeat("0", 64)), "\n", " ")+"\n"), "import", "--lake", lake, "-")
	if r.code != 0 {
		t.Fatal(r.out, r.err)
	}
	out := ok(t, "show", "--lake", lake, "evil\u202e")
	if i := strings.IndexFunc(out, func(c rune) bool { return c != '\n' && term.Line(string(c)) != string(c) }); i >= 0 {
		t.Errorf("a control character at %d: %q", i, out[i:min(len(out), i+20)])
	}
	out = out[:strings.Index(out, "place")] + out[strings.Index(out, "\n\n"):]
	golden(t, "transcript.golden", out)
	for _, verb := range [][]string{{"ids"}, {"stats"}, {"ids", "--columns", "turns"}} {
		text := ok(t, append(verb, "--lake", lake)...)
		if strings.ContainsAny(text, "\x1b\u202e\u009b") {
			t.Errorf("%v prints control characters: %q", verb, text)
		}
	}
	if e := cli(t, "show", "--lake", lake, "no\x1b[2J"); strings.Contains(e.err, "\x1b") {
		t.Errorf("an error prints them: %q", e.err)
	}
}

func TestTranscriptShortens(t *testing.T) {
	long := strings.Repeat("é", 2*maxTurnText)
	row := &schema.Trajectory{TrajectoryID: "x", Turns: []schema.Turn{{Role: new("assistant"), Text: &long,
		ToolCalls: []schema.ToolCall{{Name: new("f"), Result: &long}}}}}
	short := (&transcript{row: row}).text()
	full := (&transcript{row: row, full: true}).text()
	if n := strings.Count(string(short), "é"); n > maxTurnText+maxCallText || !strings.Contains(string(short), "4,000 more characters") {
		t.Errorf("%d characters were printed", n)
	}
	if n := strings.Count(string(full), "é"); n != 4*maxTurnText {
		t.Errorf("--full prints %d characters", n)
	}
	painted := (&transcript{row: row, style: term.Painted()}).text()
	if !strings.Contains(string(painted), "\x1b[32m") {
		t.Error("a terminal gets no colours")
	}
}

func TestProgressLine(t *testing.T) {
	p := &progress{label: "import", width: 200}
	for _, c := range []struct {
		done, total int64
		took        time.Duration
		want        string
	}{
		{0, 100, 0, "import [                        ]   0%, x"},
		{50, 100, 10 * time.Second, "import [============            ]  50%, 10s left, x"},
		{100, 100, time.Minute, "import [========================] 100%, x"},
		{300, 100, time.Minute, "import [========================] 100%, x"},
		{300, 0, time.Minute, "import, x"},
	} {
		if got := p.line(c.done, c.total, c.took, "x"); got != c.want {
			t.Errorf("%d of %d: %q, want %q", c.done, c.total, got, c.want)
		}
	}
	p.width = 10
	if got := p.line(1, 2, 0, strings.Repeat("x", 50)); len(got) != 9 {
		t.Errorf("a narrow terminal gets %q", got)
	}
	var buffer strings.Builder
	a := &app{stderr: &buffer}
	q := a.progress("import")
	q.update(1, 2, "x")
	q.clear()
	if buffer.Len() != 0 {
		t.Errorf("no terminal, but %q", buffer.String())
	}
}

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 KB", 1234567: "1.23 MB", 999999: "1 MB", 5e12: "5 TB"} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %q, want %q", n, got, want)
		}
	}
}
