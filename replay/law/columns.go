package law

import (
	"iter"
	"runtime"
	"sync"
)

// Columns is a run of candidates as two columns. Their places in the log begin with
// Seq and have no gaps; rows that are no candidates have weight 0.
type Columns struct {
	IDs     []uint64 // ID64 of each
	Weights []uint64 // as long as IDs; nil: all have weight 1
	Seq     int64
}

// parallelFrom is how many candidates make a second goroutine worth its start.
const parallelFrom = 1 << 17

// DrawColumns is Draw over runs of candidates; a Pick's Index counts through all
// of them. It uses as many processors as there are, and returns when all are done.
func DrawColumns(runs []Columns, seed, position uint64, k int) []Pick {
	d := NewDrawer(seed, position, k)
	d.scan(runs)
	return d.Result()
}

// OrderColumns is Order over runs of candidates.
func OrderColumns(runs []Columns, seed, position uint64, first int) iter.Seq[Pick] {
	return order(count(runs), seed, position, first, func(d *Drawer) { d.scan(runs) })
}

func count(runs []Columns) (n int) {
	for _, r := range runs {
		n += len(r.IDs)
	}
	return n
}

// scan offers all runs, in parts of about the same length that do not wait for
// each other.
func (d *Drawer) scan(runs []Columns) {
	n := count(runs)
	parts := min(runtime.GOMAXPROCS(0), n/parallelFrom)
	if parts < 2 {
		for _, r := range runs {
			d.AddRun(r.IDs, r.Weights, r.Seq)
		}
		return
	}
	drawers := make([]Drawer, parts)
	var wait sync.WaitGroup
	for i := range drawers {
		part := &drawers[i]
		*part = Drawer{base: d.base, keep: d.keep, heap: make([]Pick, 0, min(d.keep, 4096)), floor: d.floor, after: d.after, shift: noBar}
		wait.Go(func() {
			for _, r := range slice(runs, n*i/parts, n*(i+1)/parts) {
				part.AddRun(r.IDs, r.Weights, r.Seq)
			}
		})
	}
	wait.Wait()
	for i := range drawers {
		d.Merge(&drawers[i])
	}
}

// slice is candidates from to to of the runs.
func slice(runs []Columns, from, to int) (out []Columns) {
	for _, r := range runs {
		a, b := min(max(from, 0), len(r.IDs)), min(max(to, 0), len(r.IDs))
		from, to = from-len(r.IDs), to-len(r.IDs)
		if a == b {
			continue
		}
		part := Columns{IDs: r.IDs[a:b], Seq: r.Seq + int64(a)}
		if r.Weights != nil {
			part.Weights = r.Weights[a:b]
		}
		out = append(out, part)
	}
	return out
}
