package replay

import (
	"cmp"
	"container/heap"
	"iter"
	"slices"

	"trajlake/replay/facts"
	"trajlake/replay/law"
	"trajlake/replay/pool"
)

// keyedSource is a cell's candidates in key order.
type keyedSource struct {
	d       *drawing
	queue   *pool.Queue
	head    law.Pick // the next one that the caps let through, if has
	has     bool
	stale   bool // head has to be looked for
	skipped map[capped]law.Pick
}

// capped names what a candidate was skipped for.
type capped struct {
	prompt bool
	code   uint32
}

func newKeyedSource(d *drawing, cell int) *keyedSource {
	rows := d.s.spec.Batch.Rows
	if rows == 0 {
		rows = defaultRows
	}
	first := (rows*int64(d.s.parts[d.s.stratumOf(cell)]))/law.SharesTotal + 2
	return &keyedSource{d: d, queue: d.pools[cell].Keyed(d.s.spec.Seed, d.position, int(first), d.s.ids), stale: true, skipped: map[capped]law.Pick{}}
}

// ids are the id64 of rows from a place on.
func (s *Sampler) ids(key uint32) []uint64 { return s.view.IDs(int64(key)) }

// look finds the next candidate that the caps let through.
func (q *keyedSource) look() bool {
	if q.has && q.d.over(uint32(q.head.Seq)) { // another stratum filled the cap meanwhile
		q.skip(q.head)
		q.stale = true
	}
	for q.stale {
		q.head, q.has = q.queue.Next()
		q.stale = q.has && q.d.over(uint32(q.head.Seq))
		if q.stale {
			q.skip(q.head)
		}
	}
	return q.has
}

func (q *keyedSource) next(int) (candidate, bool) {
	if !q.look() {
		return candidate{}, false
	}
	return candidate{uint32(q.head.Seq), q.head.Weight, q.head.L}, true
}

// skip remembers the first candidate that a cap kept out: it would have come in
// place of a row that counts for the same cap. One that two caps kept out would not.
func (q *keyedSource) skip(p law.Pick) {
	task, prompt := q.d.capsOf(uint32(p.Seq))
	byTask, byPrompt := q.d.full(task, prompt)
	key := capped{false, task}
	switch {
	case byTask && byPrompt:
		return
	case byPrompt:
		key = capped{true, prompt}
	}
	if _, known := q.skipped[key]; !known {
		q.skipped[key] = p
	}
}

func (q *keyedSource) take() { q.has, q.stale = false, true }

// inclusion measures against the candidate that would have come in the pick's place.
func (q *keyedSource) inclusion(p *taken, _ int) uint64 {
	next, ok := law.Pick{}, q.look()
	if ok {
		next = q.head
	}
	for _, key := range []capped{{false, p.task}, {true, p.prompt}} {
		if key.code == 0 {
			continue
		}
		other, is := q.skipped[key]
		if is && (!ok || law.Less(other.L, other.Weight, other.Seq, next.L, next.Weight, next.Seq)) {
			next, ok = other, true
		}
	}
	if !ok {
		return law.One
	}
	return law.Inclusion(p.cand.weight, next.L, next.Weight)
}

// treeSource throws slots at a cell's pool.
type treeSource struct {
	d         *drawing
	pool      *pool.Pool
	cell      int
	taken     map[uint32]struct{}
	slot      int // that head was drawn for
	head      candidate
	has       bool
	dry       bool
	first     []pool.Candidate // first tries of slots
	slots     []uint64         // those slots
	threshold *law.Threshold
}

// newTreeSource throws the slots that the schedule gives to the cell's stratum at
// once, where that is the only cell of the stratum.
func newTreeSource(d *drawing, cell int) *treeSource {
	q := &treeSource{d: d, pool: d.pools[cell], cell: cell, taken: map[uint32]struct{}{}}
	if d.byTokens != nil || d.s.fresh != nil || d.s.spec.Batch.Rows > maxAtOnce {
		return q
	}
	for slot := range uint64(d.s.spec.Batch.Rows) {
		if d.s.schedule.At(d.first+slot) == cell {
			q.slots = append(q.slots, slot)
		}
	}
	q.first = q.pool.First(d.s.spec.Seed, d.position, q.slots)
	return q
}

// maxAtOnce bounds the slots that are thrown at once.
const maxAtOnce = 1 << 16

// throw draws for a slot, with the first try at hand where there is one.
func (q *treeSource) throw(slot uint64) (pool.Candidate, bool) {
	if i, found := slices.BinarySearch(q.slots, slot); found && i < len(q.first) {
		if c := q.first[i]; !q.blocked(c.Key) {
			return c, true
		}
		return q.pool.Throw(q.d.s.spec.Seed, q.d.position, slot, 1, q.blocked)
	}
	return q.pool.Throw(q.d.s.spec.Seed, q.d.position, slot, 0, q.blocked)
}

func (q *treeSource) blocked(key uint32) bool {
	_, is := q.taken[key]
	return is || q.d.over(key)
}

func (q *treeSource) next(slot int) (candidate, bool) {
	if q.has && q.slot == slot && !q.blocked(q.head.key) {
		return q.head, true
	}
	if q.dry || len(q.taken) == q.pool.Len() {
		return candidate{}, false
	}
	c, ok := q.throw(uint64(slot))
	if !ok {
		c, ok = q.pool.Last(q.d.s.spec.Seed, q.d.position, uint64(slot), q.without())
	}
	q.slot, q.head, q.has, q.dry = slot, candidate{key: c.Key, weight: c.Weight}, ok, !ok
	return q.head, ok
}

// without are the candidates that cannot be taken.
func (q *treeSource) without() []uint32 {
	var out []uint32
	if len(q.d.tasks) == 0 && len(q.d.prompts) == 0 {
		for key := range q.taken {
			out = append(out, key)
		}
		return out
	}
	for c := range q.pool.All() {
		if q.blocked(c.Key) {
			out = append(out, c.Key)
		}
	}
	return out
}

func (q *treeSource) take() {
	q.taken[q.head.key] = struct{}{}
	q.has = false
}

func (q *treeSource) inclusion(p *taken, picks int) uint64 {
	if q.threshold == nil {
		t := q.pool.Buckets().Threshold(uint64(picks))
		q.threshold = &t
	}
	return q.threshold.Inclusion(p.cand.weight)
}

// ordered gives a cell's candidates in an order, without chance.
type ordered struct {
	d    *drawing
	all  iter.Seq[candidate]
	list []candidate // found so far
	at   int
	end  bool
}

func newOrdered(d *drawing, cell int, order string) *ordered {
	p := d.pools[cell]
	o := &ordered{d: d}
	switch order {
	case OrderFIFO:
		o.all = candidates(p.All())
	case OrderLIFO:
		o.all = candidates(p.Backward())
	default:
		o.all = d.s.newestFirst(p)
	}
	return o
}

func candidates(all iter.Seq[pool.Candidate]) iter.Seq[candidate] {
	return func(yield func(candidate) bool) {
		for c := range all {
			if !yield(candidate{key: c.Key, weight: c.Weight}) {
				return
			}
		}
	}
}

func (o *ordered) next(int) (candidate, bool) {
	for {
		if o.at == len(o.list) && !o.more() {
			return candidate{}, false
		}
		if c := o.list[o.at]; !o.d.over(c.key) {
			return c, true
		}
		o.at++ // a cap that is full stays full
	}
}

// more looks for about twice as many candidates as there were; sequences are
// short walks, so to begin anew costs little.
func (o *ordered) more() bool {
	if o.end {
		return false
	}
	want := 2*len(o.list) + int(max(o.d.s.spec.Batch.Rows, defaultRows))
	o.list = o.list[:0]
	for c := range o.all {
		if len(o.list) == want {
			return o.at < want
		}
		o.list = append(o.list, c)
	}
	o.end = true
	return o.at < len(o.list)
}

func (o *ordered) take() { o.at++ }

func (o *ordered) inclusion(*taken, int) uint64 { return law.One }

// newestFirst yields candidates by descending policy version of their first
// eligible row, those without one last; then by place. Of trajectories, pages
// whose rows are older than what is asked for are not looked at.
func (s *Sampler) newestFirst(p *pool.Pool) iter.Seq[candidate] {
	return func(yield func(candidate) bool) {
		pages := make([]int, len(s.pages))
		for i := range pages {
			pages[i] = i
		}
		slices.SortStableFunc(pages, func(a, b int) int { return cmp.Compare(s.pages[b].newest.hi, s.pages[a].newest.hi) })
		var ready versionHeap
		var r facts.Row
		for i, page := range pages {
			lo, _ := s.keysOf(int64(page) * pageRows)
			hi, _ := s.keysOf(int64(page+1) * pageRows)
			for c := range p.Between(lo, hi) {
				s.view.Read(s.headOf(c.Key), &r)
				heap.Push(&ready, versioned{candidate{key: c.Key, weight: c.Weight}, r.PolicyMax})
			}
			last := i+1 == len(pages)
			if !last && s.spec.Unit == UnitGroup { // the first eligible row may be on another page
				continue
			}
			for len(ready) > 0 && (last || ready[0].version > s.pages[pages[i+1]].newest.hi) {
				if !yield(heap.Pop(&ready).(versioned).candidate) {
					return
				}
			}
		}
	}
}

type versioned struct {
	candidate
	version int64
}

// versionHeap has the newest on top.
type versionHeap []versioned

func (h versionHeap) Len() int { return len(h) }

func (h versionHeap) Less(i, j int) bool {
	return h[i].version > h[j].version || h[i].version == h[j].version && h[i].key < h[j].key
}

func (h versionHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push and Pop are for container/heap.
func (h *versionHeap) Push(x any) { *h = append(*h, x.(versioned)) }

func (h *versionHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
