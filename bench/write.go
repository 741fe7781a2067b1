package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"trajlake/ingest"
	"trajlake/schema"
	"trajlake/store"
)

// opened is a lake with its committer, the index inside the lake's folder.
type opened struct {
	lake *store.Lake
	ing  *ingest.Ingester
}

func openLake(ctx context.Context, dir string) (*opened, error) {
	l, err := store.Open(ctx, dir, &store.Options{Create: true, IndexDir: dir + ".index"})
	if err != nil {
		return nil, err
	}
	return &opened{l, ingest.New(l, nil)}, nil
}

func (o *opened) close() error { return errors.Join(o.ing.Close(), o.lake.Close()) }

// add appends rows and insists that each is committed.
func (o *opened) add(ctx context.Context, rows []*schema.Trajectory) error {
	items := make([]ingest.Item, len(rows))
	for i := range rows {
		items[i].Row = rows[i]
	}
	receipts, err := o.ing.Append(ctx, items)
	if err != nil {
		return err
	}
	for i := range receipts {
		if receipts[i].Status != store.Committed {
			return fmt.Errorf("row %s: %v %w", receipts[i].ID, receipts[i].Status, receipts[i].Err)
		}
	}
	return nil
}

// load makes a lake of the workload's rows, in commits of 1,000.
func load(ctx context.Context, s *settings) error {
	if err := os.RemoveAll(s.lake); err != nil {
		return err
	}
	o, err := openLake(ctx, s.lake)
	if err != nil {
		return err
	}
	began, c, n := time.Now(), cpu(), 0
	limit := s.limit
	if limit == 0 {
		limit = 1 << 30
		if s.rows == "" {
			limit = 20_000
		}
	}
	err = eachBatch(s.rows, limit, func(rows []*schema.Trajectory) error {
		n += len(rows)
		return o.add(ctx, rows)
	})
	folded := 0
	if err == nil {
		for {
			k, ferr := o.lake.Fold(ctx)
			if folded += k; ferr != nil || k == 0 {
				err = ferr
				break
			}
		}
	}
	if err := errors.Join(err, o.close()); err != nil {
		return err
	}
	emit(figure{"what": "load", "system": "trajlake", "rows": n, "folded": folded, "wall_s": round(time.Since(began).Seconds()), "cpu_s": round(cpu() - c)})
	return nil
}

// appends measures durable appends in process: validation, identity, content
// hash, data file, log and index, everything between the caller and the receipt.
func appends(ctx context.Context, s *settings) error {
	pool, err := firstRows(s.rows, 3000)
	if err != nil {
		return err
	}
	for _, text := range strings.Split(s.sizes, ",") {
		size, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if err := appendBatches(ctx, s, pool, size); err != nil {
			return err
		}
	}
	return nil
}

func appendBatches(ctx context.Context, s *settings, pool []*schema.Trajectory, size int) error {
	dir, err := os.MkdirTemp(s.dir, "append")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // the folder is the caller's scratch space
	path := filepath.Join(dir, "lake")
	o, err := openLake(ctx, path)
	if err != nil {
		return err
	}
	next := 0
	batch := func() []*schema.Trajectory {
		rows := make([]*schema.Trajectory, size)
		for i := range rows {
			row := *pool[next%len(pool)]
			row.TrajectoryID = fmt.Sprintf("%s-%d", row.TrajectoryID, next)
			rows[i] = &row
			next++
		}
		return rows
	}
	if err := o.add(ctx, batch()); err != nil { // makes the folders
		return errors.Join(err, o.close())
	}
	var ms []float64
	began, c := time.Now(), cpu()
	for time.Since(began).Seconds() < s.seconds && len(ms) < 4000 {
		t := time.Now()
		if err := o.add(ctx, batch()); err != nil {
			return errors.Join(err, o.close())
		}
		ms = append(ms, time.Since(t).Seconds()*1e3)
	}
	wall, used := time.Since(began).Seconds(), cpu()-c
	if err := o.close(); err != nil {
		return err
	}
	disk, err := diskBytes(path)
	if err != nil {
		return err
	}
	n := float64(len(ms))
	emit(figure{"what": "append", "system": "trajlake", "batch": size, "durable": true, "commits": len(ms), "commits_per_s": round(n / wall),
		"rows_per_s": int(n * float64(size) / wall), "rows_per_cpu_s": int(n * float64(size) / used), "p50_ms": round(median(ms)),
		"max_ms": round(quantile(ms, 1)), "disk_per_row": disk / int64(next)})
	return nil
}

// writers measures several processes that append ten rows at a time to one lake.
func writers(ctx context.Context, s *settings) error {
	const procs, batch = 8, 10
	if s.worker {
		return writer(ctx, s, batch)
	}
	dir, err := os.MkdirTemp(s.dir, "writers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // the folder is the caller's scratch space
	lake := filepath.Join(dir, "lake")
	o, err := openLake(ctx, lake)
	if err != nil {
		return err
	}
	if err := o.close(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	began := cpu()
	var cmds []*exec.Cmd
	var outs []*bufio.Scanner
	var ins []io.WriteCloser
	for range procs {
		cmd := exec.CommandContext(ctx, self, "writers", "-worker", "-lake", lake, "-rows", s.rows, "-seconds", fmt.Sprint(s.seconds))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 16<<20)
		cmds, outs, ins = append(cmds, cmd), append(outs, lines), append(ins, in)
	}
	for _, out := range outs { // all are ready before the first begins
		out.Scan()
	}
	for _, in := range ins {
		_, err = in.Write([]byte("\n"))
	}
	var ok, failed int
	var ms []float64
	for i, out := range outs {
		var r struct {
			OK, Failed int
			Ms         []float64
		}
		out.Scan()
		err = errors.Join(err, json.Unmarshal(out.Bytes(), &r), cmds[i].Wait())
		ok, failed, ms = ok+r.OK, failed+r.Failed, append(ms, r.Ms...)
	}
	if err != nil {
		return err
	}
	found, err := countRows(ctx, lake)
	emit(figure{"what": "concurrent", "system": "trajlake", "processes": procs, "batch": batch, "seconds": s.seconds, "ok": ok, "failed": failed,
		"commits_per_s": round(float64(ok) / s.seconds), "p50_ms": round(median(ms)), "p99_ms": round(quantile(ms, 0.99)), "cpu_s": round(cpu() - began),
		"rows_expected": ok * batch, "rows_found": found})
	return err
}

func countRows(ctx context.Context, dir string) (n int64, err error) {
	l, err := store.Open(ctx, dir, &store.Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	snap, err := l.Head(ctx)
	if err == nil {
		n = snap.Count(schema.Trajectories)
	}
	return n, errors.Join(err, l.Close())
}

// writer is one of the processes: it says that it is ready, waits for a line,
// appends for the time given, and reports. Each row has an id of its own.
func writer(ctx context.Context, s *settings, batch int) error {
	pool, err := firstRows(s.rows, batch)
	if err != nil {
		return err
	}
	l, err := store.Open(ctx, s.lake, &store.Options{IndexDir: s.lake + ".index"})
	if err != nil {
		return err
	}
	o := &opened{l, ingest.New(l, nil)}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return errors.Join(err, o.close())
	}
	var ok, failed, next int
	var ms []float64
	began := time.Now()
	for time.Since(began).Seconds() < s.seconds {
		rows := make([]*schema.Trajectory, len(pool))
		for i := range rows {
			row := *pool[i]
			row.TrajectoryID = fmt.Sprintf("w%d-%d", os.Getpid(), next)
			rows[i], next = &row, next+1
		}
		t := time.Now()
		if err := o.add(ctx, rows); err != nil {
			fmt.Fprintln(os.Stderr, err)
			failed++
		} else {
			ok++
		}
		ms = append(ms, time.Since(t).Seconds()*1e3)
	}
	emit(figure{"ok": ok, "failed": failed, "ms": ms})
	return o.close()
}
