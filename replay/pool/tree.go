package pool

import (
	"slices"

	"trajlake/replay/law"
)

// tries is how often a slot is thrown at the whole pool before the candidates that
// cannot be taken are left out.
const tries = 64

// find is the candidate whose stretch of the cumulative weights holds r < Total.
func (p *Pool) find(r law.Sum) Candidate {
	node := 0
	for depth := len(p.levels) - 2; depth >= 0; depth-- {
		node *= fanout
		level := p.levels[depth]
		for !less(r, level[node]) {
			r = minus(r, level[node])
			node++
		}
	}
	return p.candidate(node, p.blocks[node].at(r))
}

// before is the sum of the weights of the keys before key.
func (p *Pool) before(key uint32) law.Sum {
	bi := p.locate(key)
	if bi < 0 {
		return law.Sum{}
	}
	i, _ := p.blocks[bi].find(key)
	s := p.blocks[bi].before(i)
	for _, level := range p.levels {
		for j := bi &^ (fanout - 1); j < bi; j++ {
			s = plus(s, level[j])
		}
		bi /= fanout
	}
	return s
}

// First is the first try of many slots, which nearly always is their last one. The
// descents go side by side, so that memory is waited for once and not once for each;
// nil for an empty pool.
func (p *Pool) First(seed, position uint64, slots []uint64) []Candidate {
	total := p.Total()
	if total == (law.Sum{}) {
		return nil
	}
	rest, nodes := make([]law.Sum, len(slots)), make([]int, len(slots))
	for i, slot := range slots {
		rest[i] = law.Scale(law.TreeHash(seed, position, slot, 0), total)
	}
	for depth := len(p.levels) - 2; depth >= 0; depth-- {
		level := p.levels[depth]
		for i := range slots {
			node, r := nodes[i]*fanout, rest[i]
			for !less(r, level[node]) {
				r = minus(r, level[node])
				node++
			}
			nodes[i], rest[i] = node, r
		}
	}
	out := make([]Candidate, len(slots))
	for i, node := range nodes { // touch what at will read
		b := p.blocks[node]
		if b.weights != nil {
			out[i].Weight = b.sums[0].Lo ^ b.weights[0]
		}
	}
	for i, node := range nodes {
		out[i] = p.candidate(node, p.blocks[node].at(rest[i]))
	}
	return out
}

// Throw draws for one slot by the tree sampler, from the given try up to and with
// the 64th. ok is false if all of them hit candidates that are not to be taken; then
// comes Last.
func (p *Pool) Throw(seed, position, slot, from uint64, blocked func(key uint32) bool) (c Candidate, ok bool) {
	total := p.Total()
	if total == (law.Sum{}) {
		return c, false
	}
	for try := from; try < tries; try++ {
		c = p.find(law.Scale(law.TreeHash(seed, position, slot, try), total))
		if !blocked(c.Key) {
			return c, true
		}
	}
	return c, false
}

// Last is the last throw of a slot: the candidates without count as weight 0. ok is
// false if nothing else is left. Keys in without that the pool does not have change
// nothing.
func (p *Pool) Last(seed, position, slot uint64, without []uint32) (c Candidate, ok bool) {
	without = slices.Compact(slices.Sorted(slices.Values(without)))
	total := p.Total()
	for _, key := range without {
		total = minus(total, law.Sum{Lo: p.Weight(key)})
	}
	if total == (law.Sum{}) {
		return c, false
	}
	r := law.Scale(law.TreeHash(seed, position, slot, tries), total)
	for _, key := range without {
		w := p.Weight(key)
		if w == 0 {
			continue
		}
		if less(r, p.before(key)) {
			break
		}
		r = plus(r, law.Sum{Lo: w})
	}
	return p.find(r), true
}
