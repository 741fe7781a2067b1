// Package pool keeps the candidates of one stratum: an ordered set of keys, each
// with a fixed-point weight, from which both samplers of package replay/law draw.
//
// A key is a unit's place in the log, so a pool's order is the law's order. The
// set is cut into blocks of some hundred candidates with 128-bit sums over them,
// 16 to a node: a draw by the tree sampler, an update and a look-up cost O(log n),
// a draw by the keyed sampler one pass. Candidates that all weigh the same cost a
// few bits each, others 8 to 11 bytes.
//
// A pool is changed by making a new one: [Pool.Clone] shares all blocks with the
// old one, and copies those that it changes afterwards. A pool that nobody changes
// any more may be read by many goroutines.
package pool

import (
	"iter"
	"slices"
	"sort"

	"trajlake/replay/law"
)

const fanout = 16

// Candidate is one member of a pool.
type Candidate struct {
	Key    uint32
	Weight uint64
	ID     uint64 // 0 in a pool without ids
}

// Pool is a set of candidates; New makes an empty one. Reading methods must not
// run while another goroutine changes the pool, and after changes Seal comes first.
type Pool struct {
	withIDs bool
	owner   *owner
	n       int
	firsts  []uint32 // base of each block, ascending
	blocks  []*block
	levels  [][]law.Sum // levels[0] has the blocks' totals, each further one sums 16 of the level below; the last has one entry
	buckets law.Buckets
	stale   bool // levels do not fit blocks
}

// New makes an empty pool. With ids, candidates carry the number by which they take
// part in keyed draws; without, Keyed is told where these are.
func New(withIDs bool) *Pool { return &Pool{withIDs: withIDs, owner: new(owner)} }

// Clone returns a pool with the same candidates that can be changed. p must not be
// changed any more.
func (p *Pool) Clone() *Pool {
	q := *p
	q.owner = new(owner)
	q.firsts, q.blocks = slices.Clone(p.firsts), slices.Clone(p.blocks)
	q.levels = make([][]law.Sum, len(p.levels))
	for i := range p.levels {
		q.levels[i] = slices.Clone(p.levels[i])
	}
	if len(q.blocks) > 16 && q.n < len(q.blocks)*blockCap/8 {
		q.compact()
	}
	return &q
}

// compact packs the candidates into new blocks.
func (p *Pool) compact() {
	fresh := New(p.withIDs)
	for c := range p.All() {
		fresh.Set(c.Key, c.Weight, c.ID)
	}
	fresh.owner = p.owner
	for _, b := range fresh.blocks {
		b.owner = p.owner
	}
	fresh.Seal()
	*p = *fresh
}

// Len is the number of candidates.
func (p *Pool) Len() int { return p.n }

// Total is the sum of their weights.
func (p *Pool) Total() law.Sum {
	if len(p.levels) == 0 {
		return law.Sum{}
	}
	return p.levels[len(p.levels)-1][0]
}

// Buckets counts the weights by their binary logarithm; it must not be changed.
func (p *Pool) Buckets() *law.Buckets { return &p.buckets }

// Bytes is the memory that the pool holds, shared blocks included.
func (p *Pool) Bytes() int64 {
	n := int64(4*cap(p.firsts)+8*cap(p.blocks)) + 64*24
	for _, level := range p.levels {
		n += int64(16 * cap(level))
	}
	for _, b := range p.blocks {
		n += b.size()
	}
	return n
}

// locate finds the block that key is in or would be in; −1 in an empty pool.
func (p *Pool) locate(key uint32) int {
	if last := len(p.firsts) - 1; last >= 0 && key >= p.firsts[last] { // in order of building
		return last
	}
	i := sort.Search(len(p.firsts), func(i int) bool { return p.firsts[i] > key })
	if i == 0 {
		return min(0, len(p.firsts)-1)
	}
	return i - 1
}

// Weight is the weight of a candidate; 0 if the pool does not have it.
func (p *Pool) Weight(key uint32) uint64 {
	if bi := p.locate(key); bi >= 0 {
		if i, ok := p.blocks[bi].find(key); ok {
			return p.blocks[bi].weight(i)
		}
	}
	return 0
}

// ID is the id of a candidate of a pool with ids, 0 where there is none.
func (p *Pool) ID(key uint32) uint64 {
	if bi := p.locate(key); bi >= 0 && p.withIDs {
		if i, ok := p.blocks[bi].find(key); ok {
			return p.blocks[bi].ids[i]
		}
	}
	return 0
}

// mine is block i, ready to be changed.
func (p *Pool) mine(i int) *block {
	if p.blocks[i].owner != p.owner {
		p.blocks[i] = p.blocks[i].copyFor(p.owner)
	}
	return p.blocks[i]
}

// Set gives a candidate its weight, and its id if the pool has ids; weight 0 takes
// it out. In key order, building costs O(1) for each.
func (p *Pool) Set(key uint32, w, id uint64) {
	bi := p.locate(key)
	if bi < 0 {
		p.add(0, key, w, id)
		return
	}
	i, ok := p.blocks[bi].find(key)
	if !ok {
		p.add(bi, key, w, id)
		return
	}
	old := p.blocks[bi].weight(i)
	if old == w {
		return
	}
	b := p.mine(bi)
	p.buckets.Remove(old)
	if w == 0 {
		b.remove(i)
		p.n--
	} else {
		b.setWeight(i, w)
		p.buckets.Add(w)
	}
	p.changed(bi, law.Sum{Lo: old}, law.Sum{Lo: w})
}

// add puts a new candidate into block bi, or next to it.
func (p *Pool) add(bi int, key uint32, w, id uint64) {
	if w == 0 {
		return
	}
	p.n++
	p.buckets.Add(w)
	if len(p.blocks) == 0 {
		p.open(0, key, w, id)
		return
	}
	b := p.blocks[bi]
	switch {
	case key < b.base: // only before the first block
		p.open(0, key, w, id)
		return
	case key-b.base >= maxSpan, b.n == blockCap && key > b.key(b.n-1):
		p.open(bi+1, key, w, id)
		return
	}
	b = p.mine(bi)
	if b.n == blockCap {
		c := b.split()
		p.firsts, p.blocks = slices.Insert(p.firsts, bi+1, c.base), slices.Insert(p.blocks, bi+1, c)
		p.stale = true
		if key >= c.base {
			b = c
		}
	}
	i, _ := b.find(key)
	b.insert(i, key, w, id)
	p.changed(bi, law.Sum{}, law.Sum{Lo: w})
}

// open makes a block for one candidate.
func (p *Pool) open(bi int, key uint32, w, id uint64) {
	b := &block{owner: p.owner, base: key, n: 1, w: w, total: law.Sum{Lo: w}}
	if p.withIDs {
		b.ids = append(make([]uint64, 0, blockCap), id)
	}
	p.firsts, p.blocks = slices.Insert(p.firsts, bi, key), slices.Insert(p.blocks, bi, b)
	p.stale = true
}

func (p *Pool) changed(bi int, old, now law.Sum) {
	if p.stale {
		return
	}
	for _, level := range p.levels {
		level[bi] = plus(minus(level[bi], old), now)
		bi /= fanout
	}
}

// Seal makes the pool ready to be drawn from.
func (p *Pool) Seal() {
	if !p.stale {
		return
	}
	p.stale = false
	level := make([]law.Sum, len(p.blocks))
	for i, b := range p.blocks {
		level[i] = b.total
	}
	p.levels = [][]law.Sum{level}
	for len(level) > 1 {
		up := make([]law.Sum, (len(level)+fanout-1)/fanout)
		for i, s := range level {
			up[i/fanout] = plus(up[i/fanout], s)
		}
		p.levels = append(p.levels, up)
		level = up
	}
}

func (p *Pool) candidate(bi, i int) Candidate {
	b := p.blocks[bi]
	c := Candidate{Key: b.key(i), Weight: b.weight(i)}
	if b.ids != nil {
		c.ID = b.ids[i]
	}
	return c
}

// All yields the candidates by ascending key.
func (p *Pool) All() iter.Seq[Candidate] {
	return func(yield func(Candidate) bool) {
		for bi, b := range p.blocks {
			for i := range b.n {
				if !yield(p.candidate(bi, i)) {
					return
				}
			}
		}
	}
}

// Between yields the candidates with lo ≤ key < hi, ascending.
func (p *Pool) Between(lo, hi uint32) iter.Seq[Candidate] {
	return func(yield func(Candidate) bool) {
		bi := max(p.locate(lo), 0)
		for ; bi < len(p.blocks) && (p.blocks[bi].base < hi); bi++ {
			i, _ := p.blocks[bi].find(lo)
			for ; i < p.blocks[bi].n; i++ {
				if c := p.candidate(bi, i); c.Key >= hi || !yield(c) {
					return
				}
			}
		}
	}
}

// Backward yields the candidates by descending key.
func (p *Pool) Backward() iter.Seq[Candidate] {
	return func(yield func(Candidate) bool) {
		for bi := len(p.blocks) - 1; bi >= 0; bi-- {
			for i := p.blocks[bi].n - 1; i >= 0; i-- {
				if !yield(p.candidate(bi, i)) {
					return
				}
			}
		}
	}
}
