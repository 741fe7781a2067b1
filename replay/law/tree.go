package law

import (
	"maps"
	"math/bits"
	"slices"
)

const (
	fanout = 16

	// maxTries is how often a slot is thrown at the whole tree before the rows
	// that cannot be taken are left out of it.
	maxTries = 64
)

// Sum is a sum of weights: a 128-bit integer, so that no number of rows and no
// weights overflow it.
type Sum struct{ Hi, Lo uint64 }

// Add is s + t modulo 2^128.
func (s Sum) Add(t Sum) Sum {
	lo, carry := bits.Add64(s.Lo, t.Lo, 0)
	hi, _ := bits.Add64(s.Hi, t.Hi, carry)
	return Sum{hi, lo}
}

// Sub is s − t modulo 2^128.
func (s Sum) Sub(t Sum) Sum {
	lo, borrow := bits.Sub64(s.Lo, t.Lo, 0)
	hi, _ := bits.Sub64(s.Hi, t.Hi, borrow)
	return Sum{hi, lo}
}

// Less tells whether s < t.
func (s Sum) Less(t Sum) bool {
	return s.Hi < t.Hi || s.Hi == t.Hi && s.Lo < t.Lo
}

// TreeHash is the random number of one try for one slot of a batch.
func TreeHash(seed, position, slot, try uint64) uint64 {
	return Mix64(Mix64(base(seed, position)^slot) ^ try)
}

// Scale maps a 64-bit random number onto [0, total): ⌊h·total / 2^64⌋.
func Scale(h uint64, total Sum) Sum {
	carry, _ := bits.Mul64(h, total.Lo)
	hi, lo := bits.Mul64(h, total.Hi)
	return Sum{hi, lo}.Add(Sum{0, carry})
}

// Tree is a 16-ary sum tree over fixed-point weights; leaves are rows in row_seq
// order. Sums are exact integers, so nothing drifts. The zero Tree is empty.
// Reading methods may run at the same time, Set may not run with any other.
type Tree struct {
	leaves []uint64
	levels [][]Sum // levels[0] sums leaves by 16, each further one the level below; the last has one entry
}

// NewTree makes the tree of the weights, row by row, in one pass. It takes the
// slice: the caller must not use it afterwards.
func NewTree(weights []uint64) *Tree {
	t := &Tree{leaves: weights}
	for n := len(weights); n > 0; {
		m := (n + fanout - 1) / fanout
		level := make([]Sum, m)
		for i := range level {
			var sum Sum
			for j := i * fanout; j < min((i+1)*fanout, n); j++ {
				if depth := len(t.levels); depth > 0 {
					sum = sum.Add(t.levels[depth-1][j])
				} else {
					sum = sum.Add(Sum{0, weights[j]})
				}
			}
			level[i] = sum
		}
		t.levels = append(t.levels, level)
		if n = m; m == 1 {
			break
		}
	}
	return t
}

// Set gives the row at index i its weight; rows that the tree did not have
// before, up to i, have weight 0. A negative index is ignored.
func (t *Tree) Set(i int, weight uint64) {
	if i < 0 {
		return
	}
	if i >= len(t.leaves) {
		t.grow(i + 1)
	}
	old, now := Sum{0, t.leaves[i]}, Sum{0, weight}
	t.leaves[i] = weight
	for _, level := range t.levels {
		i /= fanout
		level[i] = level[i].Sub(old).Add(now)
	}
}

func (t *Tree) grow(n int) {
	t.leaves = append(t.leaves, make([]uint64, n-len(t.leaves))...)
	for depth := 0; ; depth++ {
		n = (n + fanout - 1) / fanout
		if depth == len(t.levels) {
			t.levels = append(t.levels, make([]Sum, 0, n))
			if depth > 0 { // all that there was hangs below the old root
				t.levels[depth] = append(t.levels[depth], t.levels[depth-1][0])
			}
		}
		level := t.levels[depth]
		t.levels[depth] = append(level, make([]Sum, n-len(level))...)
		if n == 1 {
			return
		}
	}
}

// Len is the number of rows, drawn or not.
func (t *Tree) Len() int { return len(t.leaves) }

// Total is the sum of all weights.
func (t *Tree) Total() Sum {
	if len(t.levels) == 0 {
		return Sum{}
	}
	return t.levels[len(t.levels)-1][0]
}

// Find returns the row whose stretch of the cumulative weights holds r: the first
// one with prefix ≤ r < prefix + weight. It is −1 where r is not below Total.
func (t *Tree) Find(r Sum) int {
	if !r.Less(t.Total()) {
		return -1
	}
	node := 0
	for depth := len(t.levels) - 2; depth >= 0; depth-- {
		node *= fanout
		for !r.Less(t.levels[depth][node]) {
			r = r.Sub(t.levels[depth][node])
			node++
		}
	}
	node *= fanout
	for !r.Less(Sum{0, t.leaves[node]}) {
		r = r.Sub(Sum{0, t.leaves[node]})
		node++
	}
	return node
}

// prefix is the sum of the weights before row i.
func (t *Tree) prefix(i int) Sum {
	var s Sum
	for j := i &^ (fanout - 1); j < i; j++ {
		s = s.Add(Sum{0, t.leaves[j]})
	}
	for _, level := range t.levels {
		i /= fanout
		for j := i &^ (fanout - 1); j < i; j++ {
			s = s.Add(level[j])
		}
	}
	return s
}

// Draw returns the row that a slot of a batch gets; slot is counted from 0 within
// the batch. taken are the rows that it may not be: those that earlier slots got,
// and those over a cap. ok is false if no other row has a weight. The order of
// slots matters, that of taken does not.
func (t *Tree) Draw(seed, position, slot uint64, taken map[int]struct{}) (row int, ok bool) {
	total := t.Total()
	if total == (Sum{}) {
		return 0, false
	}
	for try := range uint64(maxTries) {
		row = t.Find(Scale(TreeHash(seed, position, slot, try), total))
		if _, is := taken[row]; !is {
			return row, true
		}
	}
	// Almost all of the weight is taken: throw once more, at what is left.
	out := slices.Sorted(maps.Keys(taken))
	for _, i := range out {
		if i >= 0 && i < len(t.leaves) {
			total = total.Sub(Sum{0, t.leaves[i]})
		}
	}
	if total == (Sum{}) {
		return 0, false
	}
	r := Scale(TreeHash(seed, position, slot, maxTries), total)
	for _, i := range out {
		if i < 0 || i >= len(t.leaves) {
			continue
		}
		if r.Less(t.prefix(i)) {
			break
		}
		r = r.Add(Sum{0, t.leaves[i]})
	}
	return t.Find(r), true
}

// Batch returns the rows that k slots get, counted from slot on, none of them twice:
// those that Draw gives one after the other. It returns fewer if nothing more has
// a weight. From a large tree it is several times as fast as Draw, because it
// reads for many slots at once.
func (t *Tree) Batch(seed, position, slot uint64, k int) []int {
	k = min(max(k, 0), len(t.leaves))
	rows := make([]int, k)
	total := t.Total()
	if total == (Sum{}) {
		return rows[:0]
	}
	for first := 0; first < k; first += together {
		n := min(together, k-first)
		var at [together]Sum
		for i := range n {
			at[i] = Scale(TreeHash(seed, position, slot+uint64(first+i), 0), total)
		}
		t.findAll(at[:n], rows[first:first+n])
	}
	taken := make(map[int]struct{}, k)
	for i, row := range rows {
		if _, is := taken[row]; is {
			var ok bool
			if row, ok = t.Draw(seed, position, slot+uint64(i), taken); !ok {
				return rows[:i]
			}
			rows[i] = row
		}
		taken[row] = struct{}{}
	}
	return rows
}

// together is how many descents go side by side. Every level is read for all of
// them before it is looked at: the reads of one descent wait for each other, those
// of many do not.
const together = 32

// findAll is Find for many places below Total, which it changes.
func (t *Tree) findAll(at []Sum, rows []int) {
	for i := range rows {
		rows[i] = 0
	}
	for depth := len(t.levels) - 2; depth >= 0; depth-- {
		level := t.levels[depth]
		touchSums(level, rows)
		for i, r := range at {
			node := rows[i] * fanout
			for !r.Less(level[node]) {
				r = r.Sub(level[node])
				node++
			}
			at[i], rows[i] = r, node
		}
	}
	touch(t.leaves, rows)
	for i, r := range at {
		node := rows[i] * fanout
		for r.Hi != 0 || r.Lo >= t.leaves[node] {
			r = r.Sub(Sum{0, t.leaves[node]})
			node++
		}
		rows[i] = node
	}
}

// touchSums reads the children of nodes, one word for each line of the cache.
func touchSums(level []Sum, nodes []int) (read uint64) {
	for _, node := range nodes {
		first := node * fanout
		last := min(first+fanout, len(level)) - 1
		read += level[first].Lo + level[min(first+4, last)].Lo + level[min(first+8, last)].Lo + level[last].Lo
	}
	return read
}

func touch(leaves []uint64, nodes []int) (read uint64) {
	for _, node := range nodes {
		first := node * fanout
		read += leaves[first] + leaves[min(first+fanout, len(leaves))-1]
	}
	return read
}
