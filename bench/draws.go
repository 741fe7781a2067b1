package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"trajlake/ingest"
	"trajlake/replay"
	"trajlake/replay/law"
	"trajlake/replay/pack"
	"trajlake/replay/pool"
	"trajlake/schema"
	"trajlake/store"
	"trajlake/store/datafile"
)

// each calls fn for window and returns the microseconds of its calls.
func each(window time.Duration, fn func()) (us []float64) {
	fn()
	for began := time.Now(); len(us) < 3 || time.Since(began) < window; {
		t := time.Now()
		fn()
		us = append(us, float64(time.Since(t).Nanoseconds())/1e3)
	}
	return us
}

// draws measures selection alone, over pools of 10 thousand to 10 million weighted
// rows: 256 draws by the tree, 256 by keys (the first use of a position), and 256 new
// weights, in place and in a clone as readers of a stream see them.
func draws(_ context.Context, s *settings) error {
	for n := 10_000; n <= max(10_000, s.limit); n *= 10 {
		p := pool.New(false)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range n {
			p.Set(uint32(i), r.Uint64N(1<<33), 0)
		}
		p.Seal()
		ids := make([]uint64, n)
		for i := range ids {
			ids[i] = law.Mix64(uint64(i))
		}
		window := time.Duration(s.seconds * float64(time.Second))
		position := uint64(0)
		slots := make([]uint64, 256)
		for i := range slots {
			slots[i] = uint64(i)
		}
		line := func(op string, us []float64) {
			emit(figure{"what": op, "system": "trajlake", "items": n, "batch": 256, "p50_us": round(median(us)), "p99_us": round(quantile(us, 0.99)),
				"per_s": int(256e6 / median(us)), "bytes_per_row": round(float64(p.Bytes()) / float64(n))})
		}
		line("draw_tree", each(window, func() {
			position++
			taken := make(map[uint32]struct{}, len(slots))
			for slot, c := range p.First(5, position, slots) {
				if _, is := taken[c.Key]; is {
					c, _ = p.Throw(5, position, uint64(slot), 1, func(key uint32) bool { _, is := taken[key]; return is })
				}
				taken[c.Key] = struct{}{}
			}
		}))
		line("draw_keyed", each(window, func() {
			position++
			q := p.Keyed(5, position, 257, func(key uint32) []uint64 { return ids[key:] })
			for range 257 {
				q.Next()
			}
		}))
		change := func() {
			for range 256 {
				p.Set(r.Uint32N(uint32(n)), 1+r.Uint64N(1<<33), 0)
			}
			p.Seal()
		}
		line("update", each(window, change))
		line("update_shared", each(window, func() { p = p.Clone(); change() }))
	}
	return nil
}

// cached measures random rows from the local cache of rows, in process, where all
// of them are in it: what takes measures from Parquet.
func cached(ctx context.Context, s *settings) error {
	l, snap, err := openToRead(ctx, s.lake)
	if err != nil {
		return err
	}
	c := pack.New(&pack.Options{Dir: s.dir})
	defer c.Close() // its files go with the process in any case
	n := snap.Count(schema.Trajectories)
	r := rand.New(rand.NewPCG(11, 0))
	for _, set := range []struct {
		name string
		cols []string
	}{{"whole", peerColumns}, {"tensors", []string{"token_ids", "logprobs"}}} {
		for _, k := range []int{1, 32, 256} {
			lists := make([][]int64, max(8, 4096/k))
			for i := range lists {
				lists[i] = make([]int64, k)
				for j := range lists[i] {
					lists[i][j] = r.Int64N(n)
				}
			}
			at, bytes := 0, int64(0)
			once := func() error {
				rec, err := c.Gather(ctx, lists[at%len(lists)], set.cols, snap.Gather)
				if err != nil {
					return err
				}
				at, bytes = at+1, datafile.RecordBytes(rec)
				rec.Release()
				return nil
			}
			for range lists {
				if err := once(); err != nil {
					return errors.Join(err, l.Close())
				}
			}
			wall, used, runs, err := medians(time.Duration(s.seconds*float64(time.Second)), once)
			if err != nil {
				return errors.Join(err, l.Close())
			}
			emit(figure{"what": "take_cache", "system": "trajlake", "columns": set.name, "batch": k, "ms": round(wall * 1e3), "rows_per_s": int(float64(k) / wall),
				"rows_per_cpu_s": int(float64(k) / used), "runs": runs, "bytes_per_row": bytes / int64(k)})
		}
	}
	return l.Close()
}

// memory measures, over the lake that indexing makes: priorities written back
// durably, 100,000 a call, and anonymous memory per trajectory of an open lake with
// its index, folded annotations and one live prioritised stream, and of each further stream.
func memory(ctx context.Context, s *settings) (err error) {
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
	if err := writeBack(ctx, dir, n); err != nil {
		return err
	}
	before := anonymous()
	l, err := store.Open(ctx, dir, &store.Options{IndexDir: dir + ".index"})
	if err != nil {
		return err
	}
	e := replay.NewEngine(l, nil)
	defer func() { err = errors.Join(err, e.Close(ctx), l.Close()) }()
	if err := l.Warm(ctx); err != nil {
		return err
	}
	const further = 4
	var bytes []float64
	for i := range 1 + further {
		spec, err := replay.ParseSpec(fmt.Appendf(nil, "{weight: priority, staleness: off, batch: {rows: 256}, columns: [reward], seed: %d}", i))
		if err != nil {
			return err
		}
		name := fmt.Sprintf("memory-%d-%d", os.Getpid(), i)
		if _, err := e.Create(ctx, name, spec); err != nil {
			return err
		}
		began := time.Now()
		if _, err := e.Batch(ctx, replay.BatchRequest{Stream: name, Step: -1, Policy: -1, Wait: time.Minute}); err != nil {
			return err
		}
		bytes = append(bytes, float64(anonymous()-before)/float64(n))
		emit(figure{"what": "open_stream", "system": "trajlake", "streams": i + 1, "items": n, "wall_s": round(time.Since(began).Seconds()), "bytes_per_row": round(bytes[i])})
	}
	emit(figure{"what": "memory", "system": "trajlake", "items": n, "bytes_per_row": round(bytes[0]), "further_bytes_per_row": round((bytes[further] - bytes[0]) / further)})
	return nil
}

// writeBack gives each of the n rows of a lake a priority.
func writeBack(ctx context.Context, dir string, n int) error {
	l, err := store.Open(ctx, dir, &store.Options{IndexDir: dir + ".index"})
	if err != nil {
		return err
	}
	g := ingest.New(l, nil)
	var rates []float64
	for lo := 0; lo < n && err == nil; lo += 100_000 {
		notes := make([]*schema.Annotation, min(100_000, n-lo))
		for i := range notes {
			notes[i] = &schema.Annotation{TargetID: new(fmt.Sprintf("01J%023d", lo+i)), Kind: new("priority"), Value: new(rand.Float64())}
		}
		began := time.Now()
		_, _, err = g.Annotate(ctx, notes)
		rates = append(rates, float64(len(notes))/time.Since(began).Seconds())
	}
	emit(figure{"what": "write_back", "system": "trajlake", "rows_per_call": min(100_000, n), "rows_per_s": int(median(rates)), "least": int(quantile(rates, 0)), "calls": len(rates)})
	return errors.Join(err, g.Close(), l.Close())
}

// anonymous is the memory of this process that no file stands behind, after what
// is not in use was given back.
func anonymous() int64 {
	debug.FreeOSMemory()
	return statusKB(os.Getpid(), "RssAnon") * 1024
}
