package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"trajlake/ingest"
	"trajlake/rpc"
	"trajlake/schema"
	"trajlake/store"
)

// tokenRows are distinct rows of token arrays alone, as a replay buffer's peers
// store them: Zipf token ids, random logprobs, a mask of runs; 9 bytes a token.
func tokenRows(tokens, n int) []*schema.Trajectory {
	r := rand.New(rand.NewPCG(1, uint64(tokens)))
	z := rand.NewZipf(r, 1.1, 1, 149_999)
	out := make([]*schema.Trajectory, n)
	for i := range out {
		t := &schema.Trajectory{TokenIDs: make([]int32, tokens), Logprobs: make([]float32, tokens), LossMask: make([]int8, tokens)}
		on, left := int8(0), 0
		for k := range tokens {
			if left == 0 {
				on, left = 1-on, 50+r.IntN(450)
			}
			left--
			t.TokenIDs[k] = int32((z.Uint64() * 2654435761) % 151_643)
			t.Logprobs[k] = -float32(r.ExpFloat64())
			t.LossMask[k] = on
		}
		out[i] = t
	}
	return out
}

// insert measures a client process of a server: s.clients callers, each with a
// session of its own, that send calls of many rows or, with -single, one row and
// wait for its receipt.
func insert(ctx context.Context, s *settings) error {
	conns := make([]*rpc.Client, 1)
	if s.single { // clients of their own
		conns = make([]*rpc.Client, s.clients)
	}
	for i := range conns {
		c, err := rpc.Dial(ctx, s.addr)
		if err != nil {
			return err
		}
		conns[i] = c
	}
	pool := tokenRows(s.tokens, max(16, min(256, (64<<20)/(s.tokens*9))))
	perCall := max(1, (8<<20)/(s.tokens*9))
	if s.single {
		perCall = 1
	}
	server, err := pidOf(s.addr)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var ms []float64
	var rows int
	var errs error
	var wg sync.WaitGroup
	began, used, serverUsed := time.Now(), cpu(), processCPU(server)
	for n := range s.clients {
		wg.Go(func() {
			got, lat, err := inserter(ctx, conns[n%len(conns)], s, pool, perCall, n, began)
			mu.Lock()
			defer mu.Unlock()
			rows, ms, errs = rows+got, append(ms, lat...), errors.Join(errs, err)
		})
	}
	wg.Wait()
	wall := time.Since(began).Seconds()
	for _, c := range conns {
		errs = errors.Join(errs, c.Close())
	}
	if errs != nil {
		return errs
	}
	emit(figure{"what": "insert", "system": "trajlake", "client": "go", "payload_bytes": s.tokens * 9, "clients": s.clients, "rows_per_call": perCall,
		"rows_per_s": round(float64(rows) / wall), "mb_per_s": round(float64(rows) * float64(s.tokens*9) / wall / 1e6), "p50_ms": round(median(ms)),
		"p99_ms": round(quantile(ms, 0.99)), "cpu_s_client": round(cpu() - used), "cpu_s_server": round(processCPU(server) - serverUsed), "rows": rows, "wall_s": round(wall)})
	return nil
}

// inserter is one caller; it begins no new call when the window is over.
func inserter(ctx context.Context, c *rpc.Client, s *settings, pool []*schema.Trajectory, perCall, n int, began time.Time) (rows int, ms []float64, err error) {
	session, err := c.OpenSession(ctx)
	if err != nil {
		return 0, nil, err
	}
	for call := 0; time.Since(began).Seconds() < s.seconds; call++ {
		items := make([]ingest.Item, perCall)
		for i := range items {
			row := *pool[(call*perCall+i+n)%len(pool)]
			row.TrajectoryID = fmt.Sprintf("%d-%d-%d-%d", os.Getpid(), n, call, i)
			items[i].Row = &row
		}
		t := time.Now()
		receipts, err := session.Append(ctx, items)
		if err != nil {
			return rows, ms, err
		}
		ms = append(ms, time.Since(t).Seconds()*1e3)
		for i := range receipts {
			if receipts[i].Status != store.Committed {
				return rows, ms, fmt.Errorf("row %s: %v %w", receipts[i].ID, receipts[i].Status, receipts[i].Err)
			}
		}
		rows += len(receipts)
	}
	return rows, ms, nil
}

// pidOf finds the process of a server that the caller started and put into the
// environment; 0 means that its processor time is not counted.
func pidOf(string) (int, error) {
	text := os.Getenv("BENCH_SERVER_PID")
	if text == "" {
		return 0, nil
	}
	return strconv.Atoi(text)
}

// processCPU is user and system time of another process so far.
func processCPU(pid int) float64 {
	if pid == 0 {
		return 0
	}
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return math.NaN()
	}
	fields := strings.Fields(string(body[strings.LastIndexByte(string(body), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// statusKB is a line of /proc/PID/status in kB.
func statusKB(pid int, name string) int64 {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return -1
}

// idle serves a lake, lets a client read from it, and measures the server's
// anonymous memory when nothing happens any more.
func idle(ctx context.Context, s *settings) error {
	cmd := exec.CommandContext(ctx, s.bin, "serve", "--lake", s.lake, "--listen", "127.0.0.1:0", "--json")
	cmd.Env = append(os.Environ(), "TRAJLAKE_INDEX="+s.lake+".index")
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var up struct {
		Addr string `json:"addr"`
	}
	err = errors.Join(err, json.Unmarshal(line, &up))
	ready := time.Since(began).Seconds()
	var c *rpc.Client
	if err == nil {
		c, err = rpc.Dial(ctx, up.Addr)
	}
	var total int64
	if err == nil {
		report, serr := c.Stats(ctx, "")
		if err = serr; report != nil {
			total = report.Trajectories
		}
		err = errors.Join(err, c.Close())
	}
	time.Sleep(10 * time.Second)
	anon, peak := statusKB(cmd.Process.Pid, "RssAnon"), statusKB(cmd.Process.Pid, "VmHWM")
	err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
	emit(figure{"what": "serve_idle", "system": "trajlake", "rows": total, "ready_s": round(ready), "rss_anon_mb": anon / 1000, "rss_peak_mb": peak / 1000})
	return err
}

// big imports one trajectory of 2,000 turns of 100 KB and measures the peak memory.
func big(ctx context.Context, s *settings) error {
	dir, err := os.MkdirTemp(s.dir, "big")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // the folder is the caller's scratch space
	file := filepath.Join(dir, "big.jsonl")
	if err := writeBig(file); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, s.bin, "import", file, "--lake", filepath.Join(dir, "lake"), "--json")
	cmd.Env = append(os.Environ(), "TRAJLAKE_INDEX="+filepath.Join(dir, "index"))
	cmd.Stderr = os.Stderr
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	var r struct {
		Committed int `json:"committed"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return err
	}
	u, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	emit(figure{"what": "big_import", "system": "trajlake", "committed": r.Committed, "wall_s": round(time.Since(began).Seconds()), "rss_peak_mb": u.Maxrss / 1000})
	return nil
}

func writeBig(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	r := rand.New(rand.NewPCG(3, 3))
	fmt.Fprint(w, `{"trajectory_id":"big","turns":[`)
	text := make([]byte, 100_000)
	for k := range 2000 {
		for j := range text {
			text[j] = "etaoinshrdlucmfwypvbgkjqxz      "[r.IntN(32)]
		}
		role := []string{"user", "assistant"}[k%2]
		if k > 0 {
			fmt.Fprint(w, ",")
		}
		fmt.Fprintf(w, `{"role":%q,"text":%q}`, role, text)
	}
	fmt.Fprint(w, "]}\n")
	return errors.Join(w.Flush(), f.Close())
}
