package facts

import "math/bits"

// Bits is a set of places. It never changes once a view has given it out, and is
// safe for concurrent use. A nil *Bits is the empty set.
type Bits struct {
	words []uint64
	n     int64 // places below this are known
	count int64
}

func newBits(n int64) *Bits { return &Bits{words: make([]uint64, (n+63)/64), n: n} }

// Has reports whether place i is in the set.
func (b *Bits) Has(i int64) bool {
	return b != nil && i >= 0 && i < b.n && b.words[i/64]>>(i%64)&1 == 1
}

// Count is the number of places in the set.
func (b *Bits) Count() int64 {
	if b == nil {
		return 0
	}
	return b.count
}

// Len is the number of places that the set was made for: that of the view's rows.
func (b *Bits) Len() int64 {
	if b == nil {
		return 0
	}
	return b.n
}

func (b *Bits) set(i int64) { b.words[i/64] |= 1 << (i % 64) }

func (b *Bits) clear(i int64) { b.words[i/64] &^= 1 << (i % 64) }

// close counts the set when it is complete.
func (b *Bits) close() *Bits {
	b.count = 0
	for _, w := range b.words {
		b.count += int64(bits.OnesCount64(w))
	}
	return b
}

// grown is a copy of b for n places, the new ones not in it.
func (b *Bits) grown(n int64) *Bits {
	out := newBits(n)
	if b != nil {
		copy(out.words, b.words)
		if n < b.n && n%64 != 0 {
			out.words[n/64] &= 1<<(n%64) - 1
		}
	}
	return out
}

// and keeps the places that are in c, too.
func (b *Bits) and(c *Bits) {
	for i := range b.words {
		if i < len(c.words) {
			b.words[i] &= c.words[i]
		} else {
			b.words[i] = 0
		}
	}
}

func (b *Bits) size() int64 { return int64(8 * cap(b.words)) }
