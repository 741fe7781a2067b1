package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	flag.Parse()
	for _, name := range []string{"TRAJLAKE_LAKE", "TRAJLAKE_SERVER"} {
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
	dir, err := os.MkdirTemp("", "trajlake-cli-index-")
	if err != nil {
		panic(err)
	}
	if err := os.Setenv("TRAJLAKE_INDEX", dir); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(cleaning{m, dir}, goleak.IgnoreAnyFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// cleaning removes the indexes when the tests have run.
type cleaning struct {
	m   *testing.M
	dir string
}

func (c cleaning) Run() int {
	defer os.RemoveAll(c.dir)
	return c.m.Run()
}

// result is how one command line ended.
type result struct {
	code     int
	out, err string
}

// cli runs one command line.
func cli(t *testing.T, args ...string) result {
	t.Helper()
	return cliWith(t, context.Background(), strings.NewReader(""), args...)
}

func cliWith(t *testing.T, ctx context.Context, stdin io.Reader, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := run(ctx, args, stdin, &out, &err)
	return result{code, out.String(), err.String()}
}

// ok runs a command line that must end well and gives its stdout.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	r := cli(t, args...)
	if r.code != 0 {
		t.Fatalf("trajlake %s: exit %d: %s%s", strings.Join(args, " "), r.code, r.err, r.out)
	}
	return r.out
}

// object is the one JSON object on stdout.
func (r result) object(t *testing.T) map[string]any {
	t.Helper()
	if strings.Count(r.out, "\n") != 1 {
		t.Fatalf("stdout is not one line: %q (stderr %q)", r.out, r.err)
	}
	return object(t, r.out)
}

func object(t *testing.T, line string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	return v
}

// objects are the lines of stdout.
func objects(t *testing.T, out string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(out) {
		list = append(list, object(t, line))
	}
	return list
}

// keys checks that an object has exactly these keys, optional ones marked by "?".
func keys(t *testing.T, what string, v map[string]any, want string) {
	t.Helper()
	names := strings.Fields(want)
	for k := range v {
		if !slices.Contains(names, k) && !slices.Contains(names, k+"?") {
			t.Errorf("%s has the key %q", what, k)
		}
	}
	for _, n := range names {
		if _, there := v[n]; !there && !strings.HasSuffix(n, "?") {
			t.Errorf("%s lacks the key %q", what, n)
		}
	}
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it):\n%s\nwant\n%s", name, got, want)
	}
}

// toyRow is a native trajectory.
func toyRow(i int) string {
	levels := []string{"none", "low", "high"}
	reward := []string{"null", "0", "0.5", "1"}[i%4]
	return fmt.Sprintf(`{"trajectory_id":"toy-%03d","task_set":"toy","task_id":"task-%d","group_id":"g%d","group_index":%d,"model":"m","effort":%q,"reward":%s,"turns":[{"role":"user","text":"q%d"},{"role":"assistant","sampled":true,"thinking":"hm","tool_calls":[{"name":"run","args_raw":"{}","result":"r","result_status":"ok"}]},{"role":"assistant","sampled":true,"text":"a"}],"token_ids":[1,2,%d],"loss_mask":[0,1,1],"logprobs":[0,-0.5,-0.25]}`,
		i, i/4, i/4, i%4, levels[i%3], reward, i, i)
}

// toyFile writes n toy rows to a file of its own.
func toyFile(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		b.WriteString(toyRow(i) + "\n")
	}
	return fileOf(t, "toy.jsonl", b.String())
}

func fileOf(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// toyLake is a lake of n toy rows.
func toyLake(t *testing.T, n int) string {
	t.Helper()
	lake := filepath.Join(t.TempDir(), "lake")
	ok(t, "import", "--lake", lake, toyFile(t, n))
	return lake
}

// server is a serve that runs in this process.
type server struct {
	t     *testing.T
	addr  string
	ready map[string]any
	stop  context.CancelFunc
	ended chan int
	log   *bytes.Buffer
}

// serving starts `serve` on a free port; the test's end drains it.
func serving(t *testing.T, lake string, more ...string) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{t: t, stop: cancel, ended: make(chan int, 1), log: new(bytes.Buffer)}
	r, w := io.Pipe()
	args := append([]string{"serve", "--lake", lake, "--listen", "127.0.0.1:0", "--json"}, more...)
	go func() {
		code := run(ctx, args, strings.NewReader(""), w, s.log)
		_ = w.Close()
		s.ended <- code
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("serve ended with %d before it was ready: %s", <-s.ended, s.log)
	}
	s.ready = object(t, line)
	s.addr, _ = s.ready["addr"].(string)
	t.Cleanup(func() {
		if s.ended != nil {
			s.drain()
		}
	})
	return s
}

// drain does what SIGTERM does, and waits.
func (s *server) drain() {
	s.t.Helper()
	s.stop()
	if code := <-s.ended; code != 0 {
		s.t.Errorf("serve ended with %d: %s", code, s.log)
	}
	s.ended = nil
}
