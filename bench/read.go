package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"trajlake/schema"
	"trajlake/store"
	"trajlake/store/datafile"
)

// scalars are the columns of the peers' scan under our names.
var scalars = []string{"effort_level", "reward", "policy_version_min", "thinking_tokens", "task_id"}

// peerColumns are the columns of a whole row of the peers' workload.
var peerColumns = []string{"trajectory_id", "content_hash", "run_id", "task_id", "task_set", "dataset", "split", "prompt_hash", "group_id",
	"group_index", "episode_id", "parent_id", "agent", "attempt", "model", "policy_version_min", "policy_version_max", "tokenizer_id",
	"effort_level", "mode", "env_id", "env_version", "status", "fault", "reward", "success", "num_turns", "num_tool_calls", "prompt_tokens",
	"completion_tokens", "thinking_tokens", "cost_usd", "started_at", "finished_at", "turns", "token_ids", "loss_mask", "logprobs"}

func openToRead(ctx context.Context, dir string) (*store.Lake, *store.Snapshot, error) {
	l, err := store.Open(ctx, dir, &store.Options{ReadOnly: true})
	if err != nil {
		return nil, nil, err
	}
	snap, err := l.Head(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, snap, nil
}

// takes measures random rows by place, straight from Parquet.
func takes(ctx context.Context, s *settings) error {
	l, snap, err := openToRead(ctx, s.lake)
	if err != nil {
		return err
	}
	n := snap.Count(schema.Trajectories)
	r := rand.New(rand.NewPCG(11, 0))
	for _, set := range []struct {
		name string
		cols []string
	}{{"whole", peerColumns}, {"tensors", []string{"token_ids", "logprobs"}}} {
		for _, k := range []int{1, 32, 256} {
			draws := make([][]int64, max(8, 4096/k)) // a fixed list, walked round and round
			for i := range draws {
				draws[i] = make([]int64, k)
				for j := range draws[i] {
					draws[i][j] = r.Int64N(n)
				}
			}
			at, bytes := 0, int64(0)
			once := func() error {
				rec, err := snap.Gather(ctx, draws[at%len(draws)], set.cols)
				if err != nil {
					return err
				}
				at, bytes = at+1, datafile.RecordBytes(rec)
				rec.Release()
				return nil
			}
			for range draws { // all pages in the page cache, files open: warm
				if err := once(); err != nil {
					return errors.Join(err, l.Close())
				}
			}
			wall, used, runs, err := medians(time.Duration(s.seconds*float64(time.Second)), once)
			if err != nil {
				return errors.Join(err, l.Close())
			}
			emit(figure{"what": "take", "system": "trajlake", "columns": set.name, "batch": k, "ms": round(wall * 1e3), "rows_per_s": int(float64(k) / wall),
				"mb_per_s": round(float64(bytes) / wall / 1e6), "rows_per_cpu_s": int(float64(k) / used), "runs": runs, "bytes_per_row": bytes / int64(k)})
		}
	}
	return l.Close()
}

// scans measures the scan of five scalar columns and the decode of everything.
func scans(ctx context.Context, s *settings) error {
	l, snap, err := openToRead(ctx, s.lake)
	if err != nil {
		return err
	}
	full := int64(30_000)
	if s.limit > 0 {
		full = int64(s.limit)
	}
	for _, c := range []struct {
		what string
		cols []string
		to   int64
	}{{"scan5", scalars, 0}, {"full", peerColumns, full}} {
		var rows, bytes int64
		once := func() error {
			rows, bytes = 0, 0
			for rec, err := range snap.Scan(ctx, store.ScanOptions{Columns: c.cols, To: c.to}) {
				if err != nil {
					return err
				}
				rows, bytes = rows+rec.NumRows(), bytes+datafile.RecordBytes(rec)
				rec.Release()
			}
			return nil
		}
		wall, used, runs, err := medians(22*time.Second, once)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		emit(figure{"what": c.what, "system": "trajlake", "rows": rows, "ms": round(wall * 1e3), "rows_per_s": int(float64(rows) / wall),
			"mb_per_s": round(float64(bytes) / wall / 1e6), "rows_per_cpu_s": int(float64(rows) / used), "mb_per_cpu_s": round(float64(bytes) / used / 1e6), "runs": runs})
	}
	return l.Close()
}

// indexing makes a lake of a million small rows, unless it is there, and measures
// opening it with a warm index and building the index anew.
func indexing(ctx context.Context, s *settings) error {
	n := s.limit
	if n == 0 {
		n = 1_000_000
	}
	dir := filepath.Join(s.dir, fmt.Sprintf("million-%d", n))
	if _, err := os.Stat(dir + ".ok"); err != nil {
		if err := million(ctx, dir, n); err != nil {
			return err
		}
	}
	opt := &store.Options{IndexDir: dir + ".index"}
	l, err := store.Open(ctx, dir, opt)
	if err != nil {
		return err
	}
	r, err := l.RebuildIndex(ctx)
	if err := errors.Join(err, l.Close()); err != nil {
		return err
	}
	emit(figure{"what": "index_rebuild", "system": "trajlake", "rows": r.Rows, "wall_s": round(r.Seconds), "rows_per_s": int(float64(r.Rows) / r.Seconds)})
	var walls []float64
	for range 5 {
		began := time.Now()
		l, err := store.Open(ctx, dir, opt)
		if err != nil {
			return err
		}
		err = l.Warm(ctx)
		walls = append(walls, time.Since(began).Seconds())
		if err := errors.Join(err, l.Close()); err != nil {
			return err
		}
	}
	emit(figure{"what": "open_warm", "system": "trajlake", "rows": r.Rows, "wall_s": round(median(walls)), "max_s": round(quantile(walls, 1))})
	return nil
}

// million fills a lake with n small rows in commits of 5,000 and marks it whole.
func million(ctx context.Context, dir string, n int) error {
	if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(dir+".index")); err != nil {
		return err
	}
	o, err := openLake(ctx, dir)
	if err != nil {
		return err
	}
	began, c := time.Now(), cpu()
	batches := make(chan []*schema.Trajectory, 4)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(batches)
		for at := 0; at < n && ctx.Err() == nil; at += 5000 {
			rows := make([]*schema.Trajectory, min(5000, n-at))
			for i := range rows {
				rows[i] = tiny(at + i)
			}
			batches <- rows
		}
	})
	for rows := range batches {
		if err == nil {
			err = o.add(ctx, rows)
		}
	}
	wg.Wait()
	if err := errors.Join(err, o.close()); err != nil {
		return err
	}
	emit(figure{"what": "fill", "system": "trajlake", "rows": n, "wall_s": round(time.Since(began).Seconds()), "rows_per_cpu_s": int(float64(n) / (cpu() - c))})
	runtime.GC()
	return os.WriteFile(dir+".ok", nil, 0o644)
}

// tiny is a row of about a kilobyte, by number.
func tiny(i int) *schema.Trajectory {
	r := rand.New(rand.NewPCG(5, uint64(i)))
	t := &schema.Trajectory{
		TrajectoryID: fmt.Sprintf("01J%023d", i), TaskSet: new([]string{"swe", "math", "search", "tool"}[i%4]), TaskID: new(fmt.Sprintf("task%d", i/8%20_000)),
		GroupID: new(fmt.Sprintf("g%d", i/8)), GroupIndex: new(int32(i % 8)), Reward: new(float64(r.IntN(2))), Mode: new("thinking"),
		Effort: new([]string{"low", "medium", "high"}[r.IntN(3)]), Model: new("m1"), RunID: new("run0"), PolicyVersionMin: new(int64(i / 400)),
		PolicyVersionMax: new(int64(i / 400)), PromptTokens: new(int64(r.IntN(3000))), CompletionTokens: new(int64(r.IntN(3000))),
	}
	for k := range 4 {
		role := []string{"user", "assistant"}[k%2]
		text := make([]byte, 40)
		for j := range text {
			text[j] = "etaoinshrdlu "[r.IntN(13)]
		}
		t.Turns = append(t.Turns, schema.Turn{Role: &role, Text: new(string(text)), Sampled: new(k%2 == 1)})
	}
	for range 16 {
		t.TokenIDs = append(t.TokenIDs, r.Int32N(150_000))
		t.LossMask = append(t.LossMask, int8(r.IntN(2)))
		t.Logprobs = append(t.Logprobs, -r.Float32())
	}
	return t
}
