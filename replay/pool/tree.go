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

// Throw draws for one slot by the tree sampler, up to and with its 64th try. ok is
// false if all of them hit candidates that are not to be taken; then comes Last.
func (p *Pool) Throw(seed, position, slot uint64, blocked func(key uint32) bool) (c Candidate, ok bool) {
	total := p.Total()
	if total == (law.Sum{}) {
		return c, false
	}
	for try := range uint64(tries) {
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
