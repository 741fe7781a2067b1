package pool

import (
	"math/bits"
	"slices"

	"trajlake/replay/law"
)

const (
	// blockCap is how many candidates a block holds. A block is what is copied when
	// a pool that shares it changes, so it is small; what is spent on it besides its
	// candidates is spread over this number.
	blockCap = 512
	// run is how many weights one inner sum of a block covers.
	run = 32
	// maxSpan bounds the keys of a block, whose offsets are 16 bits.
	maxSpan = 1 << 16
)

// block is a stretch of the candidates, ascending by key. Only the pool whose
// owner it carries may change it.
type block struct {
	owner   *owner
	base    uint32 // key of the first candidate it was made for; no key is below it
	n       int
	offs    []uint16  // keys less base; nil while the keys are base, base+1, …
	weights []uint64  // nil while all are w
	ids     []uint64  // nil in a pool without ids
	sums    []law.Sum // of each run of weights; nil with weights
	w       uint64
	total   law.Sum
}

// owner is an identity.
type owner struct{ _ byte }

func (b *block) copyFor(o *owner) *block {
	c := *b
	c.owner = o
	c.offs, c.weights, c.ids, c.sums = clone(b.offs), clone(b.weights), clone(b.ids), slices.Clone(b.sums)
	return &c
}

// clone keeps the capacity, so that a full-grown block does not grow again.
func clone[T any](s []T) []T {
	if s == nil {
		return nil
	}
	return append(make([]T, 0, cap(s)), s...)
}

func (b *block) key(i int) uint32 {
	if b.offs == nil {
		return b.base + uint32(i)
	}
	return b.base + uint32(b.offs[i])
}

func (b *block) weight(i int) uint64 {
	if b.weights == nil {
		return b.w
	}
	return b.weights[i]
}

// find is where key stands, or would stand.
func (b *block) find(key uint32) (i int, ok bool) {
	if key < b.base {
		return 0, false
	}
	off := key - b.base
	if b.offs == nil {
		return int(min(off, uint32(b.n))), off < uint32(b.n)
	}
	if off >= maxSpan {
		return b.n, false
	}
	return slices.BinarySearch(b.offs, uint16(off))
}

// sparse gives the block explicit offsets.
func (b *block) sparse() {
	if b.offs != nil {
		return
	}
	b.offs = make([]uint16, b.n, max(b.n, blockCap))
	for i := range b.offs {
		b.offs[i] = uint16(i)
	}
}

// uneven gives the block explicit weights.
func (b *block) uneven() {
	if b.weights != nil {
		return
	}
	b.weights = make([]uint64, b.n, max(b.n, blockCap))
	for i := range b.weights {
		b.weights[i] = b.w
	}
	b.sums = make([]law.Sum, 0, blockCap/run)
	b.refresh(0)
}

// refresh computes the sums of the runs from candidate i on, and the total.
func (b *block) refresh(i int) {
	if b.weights == nil {
		hi, lo := bits.Mul64(b.w, uint64(b.n))
		b.total = law.Sum{Hi: hi, Lo: lo}
		return
	}
	b.sums = b.sums[:min(i/run, len(b.sums))]
	for lo := len(b.sums) * run; lo < b.n; lo += run {
		var s law.Sum
		for _, w := range b.weights[lo:min(lo+run, b.n)] {
			s = plus(s, law.Sum{Lo: w})
		}
		b.sums = append(b.sums, s)
	}
	b.total = law.Sum{}
	for _, s := range b.sums {
		b.total = plus(b.total, s)
	}
}

func (b *block) setWeight(i int, w uint64) {
	if b.weights == nil {
		if w == b.w {
			return
		}
		if b.n == 1 {
			b.w = w
			b.refresh(0)
			return
		}
		b.uneven()
	}
	old := law.Sum{Lo: b.weights[i]}
	b.weights[i] = w
	s := &b.sums[i/run]
	*s = plus(minus(*s, old), law.Sum{Lo: w})
	b.total = plus(minus(b.total, old), law.Sum{Lo: w})
}

// insert puts a candidate at place i; the block must have room and reach its key.
func (b *block) insert(i int, key uint32, w, id uint64) {
	if b.n == 0 {
		b.w = w
	}
	if b.offs == nil && (i < b.n || key != b.base+uint32(b.n)) {
		b.sparse()
	}
	if b.offs != nil {
		b.offs = slices.Insert(b.offs, i, uint16(key-b.base))
	}
	if b.weights == nil && w != b.w {
		b.uneven()
	}
	if b.weights != nil {
		b.weights = slices.Insert(b.weights, i, w)
	}
	if b.ids != nil {
		b.ids = slices.Insert(b.ids, i, id)
	}
	b.n++
	if i == b.n-1 && b.weights != nil && len(b.sums) == (b.n-1)/run+1 { // at the end of a begun run
		s := &b.sums[i/run]
		*s = plus(*s, law.Sum{Lo: w})
		b.total = plus(b.total, law.Sum{Lo: w})
		return
	}
	b.refresh(i)
}

func (b *block) remove(i int) {
	if b.offs == nil && i < b.n-1 {
		b.sparse()
	}
	if b.offs != nil {
		b.offs = slices.Delete(b.offs, i, i+1)
	}
	if b.weights != nil {
		b.weights = slices.Delete(b.weights, i, i+1)
	}
	if b.ids != nil {
		b.ids = slices.Delete(b.ids, i, i+1)
	}
	b.n--
	b.refresh(i)
}

// split moves the second half into a block of its own.
func (b *block) split() *block {
	half := b.n / 2
	c := &block{owner: b.owner, base: b.key(half), n: b.n - half, w: b.w}
	if b.offs != nil {
		c.offs = make([]uint16, 0, blockCap)
		for i := half; i < b.n; i++ {
			c.offs = append(c.offs, uint16(b.key(i)-c.base))
		}
		b.offs = b.offs[:half]
	}
	if b.weights != nil {
		c.weights = append(make([]uint64, 0, blockCap), b.weights[half:]...)
		b.weights = b.weights[:half]
		c.sums = make([]law.Sum, 0, blockCap/run)
	}
	if b.ids != nil {
		c.ids = append(make([]uint64, 0, blockCap), b.ids[half:]...)
		b.ids = b.ids[:half]
	}
	b.n = half
	b.refresh(half)
	c.refresh(0)
	return c
}

// at is the candidate whose stretch of the block's cumulative weights holds r.
func (b *block) at(r law.Sum) int {
	if b.weights == nil {
		q, _ := bits.Div64(r.Hi, r.Lo, b.w) // r < n·w, so the quotient fits
		return int(q)
	}
	g := 0
	for !less(r, b.sums[g]) {
		r = minus(r, b.sums[g])
		g++
	}
	i := g * run
	for r.Hi > 0 || r.Lo >= b.weights[i] {
		r = minus(r, law.Sum{Lo: b.weights[i]})
		i++
	}
	return i
}

// before is the sum of the weights before candidate i.
func (b *block) before(i int) law.Sum {
	if b.weights == nil {
		hi, lo := bits.Mul64(b.w, uint64(i))
		return law.Sum{Hi: hi, Lo: lo}
	}
	var s law.Sum
	for _, r := range b.sums[:i/run] {
		s = plus(s, r)
	}
	for _, w := range b.weights[i/run*run : i] {
		s = plus(s, law.Sum{Lo: w})
	}
	return s
}

func (b *block) size() int64 {
	const header = 152
	return int64(header + 2*cap(b.offs) + 8*cap(b.weights) + 8*cap(b.ids) + 16*cap(b.sums))
}

func plus(s, t law.Sum) law.Sum { return s.Add(t) }

func minus(s, t law.Sum) law.Sum { return s.Sub(t) }

func less(s, t law.Sum) bool { return s.Less(t) }
