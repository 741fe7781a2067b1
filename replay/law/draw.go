package law

import (
	"iter"
	"math"
	"math/bits"
	"slices"
)

// Candidate is a unit that may be drawn.
type Candidate struct {
	ID64   uint64 // ID64 of the unit's id
	Weight uint64 // fixed point, see Weight; 0 is never drawn
	Seq    int64  // row_seq of the unit's place; breaks ties, distinct within a draw
}

// Pick is a candidate with its key.
type Pick struct {
	Index  int    // which candidate, counted from 0 in the order they were handed in
	L      uint64 // Key, the numerator of L/Weight
	Weight uint64
	Seq    int64
	P32    uint64 // inclusion probability in 2^−32; One if every candidate was drawn; 0 in picks of Order
}

func (p Pick) before(q Pick) bool {
	return Less(p.L, p.Weight, p.Seq, q.L, q.Weight, q.Seq)
}

func compare(p, q Pick) int {
	switch {
	case p.before(q):
		return -1
	case q.before(p):
		return 1
	}
	return 0
}

// Draw returns the first k candidates in the order of the law, best first, fewer
// if fewer have a weight. It takes O(n) time and O(k) memory.
func Draw(candidates []Candidate, seed, position uint64, k int) []Pick {
	d := NewDrawer(seed, position, k)
	for i := range candidates {
		d.Add(candidates[i])
	}
	return d.Result()
}

// Drawer draws from candidates that come one at a time. It keeps the best k + 1:
// the one that was not drawn gives the others their probability. A Drawer is for
// one goroutine; several of them draw from parts of the candidates, and Merge puts
// the parts together.
type Drawer struct {
	base uint64
	keep int    // k + 1
	n    int    // candidates seen
	heap []Pick // the worst one is the root
	// Only candidates behind this one count, if after is set.
	floor Pick
	after bool
	// The bar that candidates must clear to be looked at, see raise.
	bar   uint64
	shift uint
}

// noBar lets every candidate be looked at.
const noBar = 64

// NewDrawer starts the draw of k units at a position of the stream with a seed.
// A negative k counts as 0.
func NewDrawer(seed, position uint64, k int) *Drawer {
	k = min(max(k, 0), math.MaxInt-1)
	return &Drawer{base: base(seed, position), keep: k + 1, heap: make([]Pick, 0, min(k+1, 4096)), shift: noBar}
}

// Add offers the next candidate. It allocates nothing but the place of the first
// k + 1 candidates, and computes a logarithm only where the candidate may win.
func (d *Drawer) Add(c Candidate) {
	d.n++
	u := uniform(c.ID64, d.base)
	if hi, _ := bits.Mul64(c.Weight, d.bar); hi < -u>>d.shift {
		return
	}
	d.look(d.n-1, u, c.Weight, c.Seq)
}

// AddRun offers candidates by columns: their ids, their weights (nil: all of them
// have weight 1), and places in the log that begin with seq and have no gaps.
// Both columns have one length.
func (d *Drawer) AddRun(ids, weights []uint64, seq int64) {
	first := d.n
	d.n += len(ids)
	if weights == nil {
		for i, id := range ids {
			u := uniform(id, d.base)
			if d.bar>>32 < -u>>d.shift {
				continue
			}
			d.look(first+i, u, 1<<32, seq+int64(i))
		}
		return
	}
	weights = weights[:len(ids)]
	for i, id := range ids {
		u := uniform(id, d.base)
		if hi, _ := bits.Mul64(weights[i], d.bar); hi < -u>>d.shift {
			continue
		}
		d.look(first+i, u, weights[i], seq+int64(i))
	}
}

// AddAt is AddRun of candidates whose places have gaps: candidate i stands at
// seq + offsets[i]. All columns have one length.
func (d *Drawer) AddAt(ids, weights []uint64, seq int64, offsets []uint16) {
	first := d.n
	d.n += len(ids)
	weights, offsets = weights[:len(ids)], offsets[:len(ids)]
	for i, id := range ids {
		u := uniform(id, d.base)
		if hi, _ := bits.Mul64(weights[i], d.bar); hi < -u>>d.shift {
			continue
		}
		d.look(first+i, u, weights[i], seq+int64(offsets[i]))
	}
}

// look compares a candidate that cleared the bar with those that are kept.
func (d *Drawer) look(i int, u, weight uint64, seq int64) {
	if weight == 0 {
		return
	}
	if len(d.heap) == d.keep {
		worst := &d.heap[0]
		ah, al := bits.Mul64(KeyFloor(u), worst.Weight)
		bh, bl := bits.Mul64(worst.L, weight)
		if ah > bh || ah == bh && al > bl {
			return
		}
	}
	d.keepBest(Pick{Index: i, L: NegLog2(u), Weight: weight, Seq: seq})
}

func (d *Drawer) keepBest(p Pick) {
	switch {
	case d.after && !d.floor.before(p):
		return
	case len(d.heap) < d.keep:
		d.heap = append(d.heap, p)
		d.up(len(d.heap) - 1)
	case p.before(d.heap[0]):
		d.heap[0] = p
		d.down(0)
	default:
		return
	}
	if len(d.heap) == d.keep {
		d.raise()
	}
}

// ln2 is ⌈ln(2) · 2^64⌉.
const ln2 = 0xB17217F7D1CF79AC

// raise sets the bar by the worst candidate that is kept. With v = 2^64 − u a
// candidate's L is at least v · log2(e) / 2^7, so it loses where v is above
// w·(L′·2^7·ln 2/w′). That factor, rounded up, is bar/2^(64−shift); comparing the
// upper halves alone lets a few losers through, and rejects no winner.
func (d *Drawer) raise() {
	worst := &d.heap[0]
	a, _ := bits.Mul64(worst.L, ln2)
	a++
	digits := 55 + bits.Len64(worst.Weight) - bits.Len64(a)
	if digits < 1 {
		d.bar, d.shift = 0, noBar
		return
	}
	digits = min(digits, 64)
	hi, lo := uint64(0), uint64(0) // a · 2^(7+digits)
	if up := 7 + digits; up < 64 {
		hi, lo = a>>(64-up), a<<up
	} else {
		hi = a << (up - 64)
	}
	q, _ := bits.Div64(hi, lo, worst.Weight)
	d.bar, d.shift = q+1, uint(64-digits)
}

// Merge offers all candidates that other has seen, as if they came after those of
// d. Both were made for the same draw, with the same k.
func (d *Drawer) Merge(other *Drawer) {
	for _, p := range other.heap {
		p.Index += d.n
		d.keepBest(p)
	}
	d.n += other.n
}

func (d *Drawer) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !d.heap[parent].before(d.heap[i]) {
			return
		}
		d.heap[parent], d.heap[i] = d.heap[i], d.heap[parent]
		i = parent
	}
}

func (d *Drawer) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(d.heap) {
			return
		}
		if child+1 < len(d.heap) && d.heap[child].before(d.heap[child+1]) {
			child++
		}
		if !d.heap[i].before(d.heap[child]) {
			return
		}
		d.heap[i], d.heap[child] = d.heap[child], d.heap[i]
		i = child
	}
}

// ranked returns what was kept, best first: up to k + 1 picks.
func (d *Drawer) ranked() []Pick {
	picks := slices.Clone(d.heap)
	slices.SortFunc(picks, compare)
	return picks
}

// Result returns the first k of the candidates added so far, best first, with
// their inclusion probabilities. More candidates may follow.
func (d *Drawer) Result() []Pick {
	picks := d.ranked()
	if len(picks) < d.keep {
		for i := range picks {
			picks[i].P32 = One
		}
		return picks
	}
	next := picks[len(picks)-1]
	picks = picks[:len(picks)-1]
	for i := range picks {
		picks[i].P32 = Inclusion(picks[i].Weight, next.L, next.Weight)
	}
	return picks
}

// Order yields all candidates that have a weight, best first, and finds them as
// they are asked for: the way to draw under caps, where rows over the cap are
// skipped in key order. first is how many will probably be needed; every time
// they run out the candidates are scanned again for four times as many. The
// candidates must not change meanwhile. Picks have no P32: the caller knows
// which candidate would have taken a row's slot, and calls Inclusion with it.
func Order(candidates []Candidate, seed, position uint64, first int) iter.Seq[Pick] {
	return order(len(candidates), seed, position, first, func(d *Drawer) {
		for i := range candidates {
			d.Add(candidates[i])
		}
	})
}

// order yields what scan offers; n is the number of candidates.
func order(n int, seed, position uint64, first int, scan func(*Drawer)) iter.Seq[Pick] {
	return func(yield func(Pick) bool) {
		d := NewDrawer(seed, position, first)
		for {
			scan(d)
			picks := d.ranked()
			for _, p := range picks {
				if !yield(p) {
					return
				}
			}
			if len(picks) < d.keep {
				return
			}
			d.floor, d.after = picks[len(picks)-1], true
			d.keep = 4 * min(d.keep, n)
			d.n, d.heap, d.bar, d.shift = 0, d.heap[:0], 0, noBar
		}
	}
}
