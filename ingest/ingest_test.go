package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"trajlake/ingest"
	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

var ctx = context.Background()

// start opens an ingester on a fresh lake.
func start(t *testing.T, o *ingest.Options) (*ingest.Ingester, *store.Lake) {
	t.Helper()
	l := testlake.Open(t)
	return on(t, l, o), l
}

func on(t *testing.T, l *store.Lake, o *ingest.Options) *ingest.Ingester {
	g := ingest.New(l, o)
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func native(t testing.TB, text string) *schema.Trajectory {
	t.Helper()
	v, err := canon.Parse([]byte(text), canon.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	row, faults := schema.FromJSON(v)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return row
}

func count(rs []store.Receipt) (out [3]int) {
	for _, r := range rs {
		out[r.Status]++
	}
	return out
}

func trajectories(t testing.TB, l *store.Lake) int64 {
	t.Helper()
	s, err := l.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s.Count(schema.Trajectories)
}

const idless = `{"task_id":"t","turns":[{"role":"user","text":"hi"}]}`

func TestTwinsKeepTheirNumbers(t *testing.T) {
	g, l := start(t, nil)
	items := func() []ingest.Item {
		return []ingest.Item{{Row: native(t, idless)}, {Row: native(t, idless)}, {Row: native(t, strings.Replace(idless, "hi", "ho", 1))}}
	}
	first, err := g.Append(ctx, items())
	if err != nil {
		t.Fatal(err)
	}
	if first[1].ID != first[0].ID+"-1" || !strings.HasPrefix(first[0].ID, "native-") || first[2].ID == first[0].ID {
		t.Errorf("ids %s, %s, %s", first[0].ID, first[1].ID, first[2].ID)
	}
	again, err := g.Append(ctx, items())
	if err != nil || count(again) != [3]int{0, 3, 0} || again[1].ID != first[1].ID {
		t.Errorf("the same call again: %+v %v", again, err)
	}
	// A session numbers over its life, and a resumed one goes on.
	s, err := g.Session(nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.Append(ctx, []ingest.Item{{Row: native(t, idless)}}); err != nil {
			t.Fatal(err)
		}
	}
	resumed, err := g.Session(map[string]int64{fmt.Sprintf("%x", first[0].Digest): 2})
	if err != nil {
		t.Fatal(err)
	}
	r, err := resumed.Append(ctx, []ingest.Item{{Row: native(t, idless)}})
	if err != nil || r[0].ID != first[0].ID+"-2" || r[0].Status != store.Duplicate {
		t.Errorf("third twin in a resumed session: %+v %v", r, err)
	}
	if n := trajectories(t, l); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
}

func TestBadRowsAreRejectedByNameAndTheRestGoesIn(t *testing.T) {
	g, l := start(t, nil)
	bad := native(t, idless)
	bad.LossMask = []int8{1}
	bad.TokenIDs = []int32{1, 2}
	rs, err := g.Append(ctx, []ingest.Item{{Row: native(t, idless)}, {Row: bad}, {Fault: fault.New(fault.Invalid, "", "no JSON")}, {Row: native(t, `{"trajectory_id":"x","turns":[{"role":"user"}]}`)}})
	if err != nil || count(rs) != [3]int{2, 0, 2} {
		t.Fatalf("receipts %+v %v", rs, err)
	}
	if f := fault.FieldOf(rs[1].Err); f != "loss_mask" {
		t.Errorf("the fault is in %q: %v", f, rs[1].Err)
	}
	if n := trajectories(t, l); n != 2 {
		t.Errorf("%d rows", n)
	}
}

func TestExactlyOnceWhenTheStoreFailsInTheMiddle(t *testing.T) {
	faulty := blob.NewFaulty(blob.NewMemory())
	l, err := store.OpenBucket(ctx, faulty, "test", &store.Options{Create: true, IndexDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { testlake.Verify(t, l); l.Close() })
	g := on(t, l, &ingest.Options{CommitTime: 200 * time.Millisecond})
	for step := range 6 {
		for _, do := range []blob.Action{blob.FailBefore, blob.LoseAnswer} {
			rows := make([]ingest.Item, 3)
			for i := range rows {
				rows[i].Row = native(t, fmt.Sprintf(`{"trajectory_id":"s%d-%d-%d","turns":[{"role":"user","text":"x"}]}`, step, do, i))
			}
			faulty.Add(blob.Rule{Op: blob.OpPut, Skip: step % 3, Count: 1 + step%2, Do: do})
			rs, err := g.Append(ctx, rows)
			faulty.Clear()
			if err != nil {
				if k := fault.KindOf(err); k != fault.Unavailable {
					t.Errorf("step %d: kind %v: %v", step, k, err)
				}
				if rs, err = g.Append(ctx, rows); err != nil {
					t.Fatal(err)
				}
			}
			if c := count(rs); c[store.Rejected] != 0 {
				t.Errorf("step %d: %+v", step, rs)
			}
		}
	}
	if n := trajectories(t, l); n != 36 {
		t.Errorf("%d rows, want 36", n)
	}
}

func TestManyCallersShareCommits(t *testing.T) {
	slow := blob.NewLatency(blob.NewMemory(), 5*time.Millisecond)
	l, err := store.OpenBucket(ctx, slow, "test", &store.Options{Create: true, IndexDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { testlake.Verify(t, l); l.Close() })
	g := on(t, l, nil)
	var wg sync.WaitGroup
	for c := range 64 {
		wg.Go(func() {
			rs, err := g.Append(ctx, []ingest.Item{{Row: native(t, fmt.Sprintf(`{"trajectory_id":"c%d","turns":[{"role":"user"}]}`, c))}})
			if err != nil || rs[0].Status != store.Committed {
				t.Errorf("caller %d: %+v %v", c, rs, err)
			}
		})
	}
	wg.Wait()
	s, err := l.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.Version() > 32 {
		t.Errorf("64 callers took %d commits", s.Version())
	}
}

func TestCallersWaitWhenTheQueueIsFull(t *testing.T) {
	faulty := blob.NewFaulty(blob.NewMemory())
	l, err := store.OpenBucket(ctx, faulty, "test", &store.Options{Create: true, IndexDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { faulty.Clear(); l.Close() })
	g := on(t, l, &ingest.Options{QueueBytes: 1, CommitTime: 300 * time.Millisecond})
	faulty.Add(blob.Rule{Op: blob.OpPut, Count: blob.Always, Do: blob.Hang})
	var wg sync.WaitGroup
	for c := range 3 {
		wg.Go(func() {
			call, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			_, err := g.Append(call, []ingest.Item{{Row: native(t, fmt.Sprintf(`{"trajectory_id":"q%d","turns":[{"role":"user"}]}`, c))}})
			if k := fault.KindOf(err); k != fault.Unavailable && k != fault.Exhausted {
				t.Errorf("caller %d: %v", c, err)
			}
			if fault.HintOf(err) == "" {
				t.Errorf("caller %d is not told what to do: %v", c, err)
			}
		})
	}
	wg.Wait()
}

func TestOversizedTextGoesInByReference(t *testing.T) {
	g, l := start(t, nil)
	row := native(t, `{"trajectory_id":"big","turns":[{"role":"assistant","text":"x","tool_calls":[{"name":"cat","result":"r"}]}]}`)
	long := strings.Repeat("0123456789abcdef", 1<<20+1) // 16 MiB and 16 bytes
	row.Turns[0].ToolCalls[0].Result = &long
	rs, err := g.Append(ctx, []ingest.Item{{Row: row}})
	if err != nil || rs[0].Status != store.Committed {
		t.Fatalf("%+v %v", rs, err)
	}
	s, err := l.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(ctx, []string{"big"})
	if err != nil {
		t.Fatal(err)
	}
	call, block := got[0].Turns[0].ToolCalls[0], got[0].Turns[0].Blocks[0]
	if len(*call.Result) >= len(long) || !*call.ResultTruncated || *call.ResultBytes != int64(len(long)) || *block.Bytes != int64(len(long)) {
		t.Errorf("call %d bytes, truncated %v; block %+v", len(*call.Result), *call.ResultTruncated, block)
	}
	body, err := l.GetBlob(ctx, *block.Digest)
	if err != nil || string(body) != long {
		t.Errorf("blob of %d bytes, %v", len(body), err)
	}
}

func TestClosedIngesterRefuses(t *testing.T) {
	l := testlake.Open(t)
	g := ingest.New(l, nil)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Append(ctx, []ingest.Item{{Row: native(t, idless)}}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("append after close: %v", err)
	}
}

func write(t *testing.T, dir, name string, body []byte) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, body, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestImportFiles(t *testing.T) {
	g, l := start(t, nil)
	dir := t.TempDir()
	var lines bytes.Buffer
	for i := range 1200 {
		fmt.Fprintf(&lines, "{\"trajectory_id\":\"n-%d\",\"turns\":[{\"role\":\"user\",\"text\":\"%d\"}]}\n", i, i)
	}
	lines.WriteString("{\"trajectory_id\":\"broken\",\n")
	lines.WriteString("{\"trajectory_id\":\"nan\",\"reward\":\"x\",\"turns\":[{\"role\":\"user\"}]}\n")
	lines.WriteString("{\"trajectory_id\":\"last\",\"turns\":[{\"role\":\"user\"}]}\n")
	write(t, dir, "a.jsonl", lines.Bytes())
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	fmt.Fprintf(w, "%s\n%s\n", idless, idless)
	w.Close()
	write(t, dir, "sub/b.jsonl.gz", z.Bytes())
	write(t, dir, "sub/empty.jsonl", nil)
	write(t, dir, "sub/.hidden", []byte("not looked at"))
	write(t, dir, "sub/binary.bin", []byte{0, 1, 2, 0xff, 0xfe})
	write(t, dir, "lfs.jsonl", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"))

	r, err := ingest.ImportFiles(ctx, g, []string{dir}, ingest.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Committed != 1203 || r.Duplicates != 0 || r.Rejected != 4 || r.Files != 5 {
		t.Errorf("first: %+v", r)
	}
	found := false
	for _, e := range r.Errors {
		if e.Line == 1202 && e.Field == "reward" && strings.HasSuffix(e.File, "a.jsonl") {
			found = true
		}
	}
	if !found {
		t.Errorf("no rejection names file, line and field: %+v", r.Errors)
	}
	again, err := ingest.ImportFiles(ctx, g, []string{dir}, ingest.ImportOptions{})
	if err != nil || again.Committed != 0 || again.Duplicates != 1203 {
		t.Errorf("again: %+v %v", again, err)
	}
	if n := trajectories(t, l); n != 1203 {
		t.Errorf("%d rows", n)
	}
	if _, err := ingest.ImportFiles(ctx, g, []string{filepath.Join(dir, "nothing")}, ingest.ImportOptions{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a path that is not there: %v", err)
	}
	if _, err := ingest.ImportFiles(ctx, g, []string{dir}, ingest.ImportOptions{Format: "nonsense"}); !fault.Is(err, fault.Usage) {
		t.Errorf("an unknown format: %v", err)
	}
}
