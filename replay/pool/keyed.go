package pool

import (
	"runtime"
	"slices"
	"sync"

	"trajlake/replay/law"
)

// parallelFrom is the number of candidates from which a keyed draw uses all processors.
const parallelFrom = 1 << 18

// Queue yields the candidates of a pool in the order of one keyed draw. It is for
// one goroutine; the pool must not change meanwhile.
type Queue struct {
	p              *Pool
	ids            func(key uint32) []uint64
	seed, position uint64
	picks          []law.Pick
	next, asked    int
	end            bool // picks has them all
}

// Keyed starts a keyed draw. ids gives the ids of key, key + 1, … of a pool
// without ids, as many as there are in one piece and at least one. first is how
// many will probably be needed.
func (p *Pool) Keyed(seed, position uint64, first int, ids func(key uint32) []uint64) *Queue {
	return &Queue{p: p, ids: ids, seed: seed, position: position, asked: max(first, 1)}
}

// Next is the next candidate, with key in L, and its key in the pool as Seq; ok is
// false after the last one. Whenever candidates run out the pool is scanned again for
// four times as many.
func (q *Queue) Next() (pick law.Pick, ok bool) {
	if q.next == len(q.picks) && !q.end {
		if len(q.picks) > 0 {
			q.asked = 4 * min(q.asked, q.p.n)
		}
		q.picks = q.p.best(q.seed, q.position, q.asked, q.ids)
		q.end = len(q.picks) < q.asked
	}
	if q.next == len(q.picks) {
		return pick, false
	}
	q.next++
	return q.picks[q.next-1], true
}

// best are the first k in the order of the law.
func (p *Pool) best(seed, position uint64, k int, ids func(uint32) []uint64) []law.Pick {
	parts := 1
	if p.n >= parallelFrom {
		parts = runtime.GOMAXPROCS(0)
	}
	k = min(k, p.n+1)
	found := make([][]law.Pick, parts)
	var wait sync.WaitGroup
	for i := range parts {
		wait.Go(func() {
			d := law.NewDrawer(seed, position, k)
			for _, b := range p.blocks[len(p.blocks)*i/parts : len(p.blocks)*(i+1)/parts] {
				b.offer(d, ids)
			}
			found[i] = d.Result()
		})
	}
	wait.Wait()
	all := slices.Concat(found...)
	if parts > 1 {
		slices.SortFunc(all, func(a, b law.Pick) int {
			if law.Less(a.L, a.Weight, a.Seq, b.L, b.Weight, b.Seq) {
				return -1
			}
			return 1 // no two have the same key
		})
	}
	return all[:min(k, len(all))]
}

// offer hands the candidates of a block in; gapless ones in one piece.
func (b *block) offer(d *law.Drawer, ids func(uint32) []uint64) {
	if b.offs == nil && (b.weights != nil || b.w == law.One) {
		for i := 0; i < b.n; {
			stretch := b.ids
			if stretch == nil {
				stretch = ids(b.base + uint32(i))
			}
			n := min(len(stretch), b.n-i)
			var weights []uint64
			if b.weights != nil {
				weights = b.weights[i : i+n]
			}
			d.AddRun(stretch[:n], weights, int64(b.base)+int64(i))
			i += n
		}
		return
	}
	stretch, from := b.ids, -1 // ids of the keys from base + from on
	for i := range b.n {
		id := i
		if b.ids == nil {
			off := i
			if b.offs != nil {
				off = int(b.offs[i])
			}
			if from < 0 || off-from >= len(stretch) {
				from = off
				stretch = ids(b.base + uint32(off))
			}
			id = off - from
		}
		d.Add(law.Candidate{ID64: stretch[id], Weight: b.weight(i), Seq: int64(b.key(i))})
	}
}
