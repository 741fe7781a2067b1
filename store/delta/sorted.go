package delta

import (
	"iter"
	"slices"
	"sort"
)

// chunkLen is the number of items a chunk of a sorted set grows to before it
// is split. An insertion copies one chunk and the list of chunks.
const chunkLen = 256

// sorted is an immutable ordered set of *T: a list of chunks, each an ordered
// slice that is never changed once it is in a set. Deriving a set with one
// more or one less item copies one chunk and the list.
type sorted[T any] struct {
	cmp    func(a, b *T) int
	chunks [][]*T
	n      int
}

// find gives the place of x: the chunk, the index in it, and whether an equal
// item is there.
func (s sorted[T]) find(x *T) (chunk, at int, ok bool) {
	// The first chunk whose last item is not below x.
	chunk = sort.Search(len(s.chunks), func(i int) bool {
		c := s.chunks[i]
		return s.cmp(c[len(c)-1], x) >= 0
	})
	if chunk == len(s.chunks) {
		return chunk, 0, false
	}
	at, ok = slices.BinarySearchFunc(s.chunks[chunk], x, s.cmp)
	return chunk, at, ok
}

// get is the item equal to x, or nil.
func (s sorted[T]) get(x *T) *T {
	if c, i, ok := s.find(x); ok {
		return s.chunks[c][i]
	}
	return nil
}

// with is the set with x put in, in place of an equal item.
func (s sorted[T]) with(x *T) sorted[T] {
	c, i, ok := s.find(x)
	if c == len(s.chunks) { // above all others: to the end of the last chunk
		if c == 0 {
			return sorted[T]{s.cmp, [][]*T{{x}}, 1}
		}
		c--
		i = len(s.chunks[c])
	}
	old := s.chunks[c]
	fresh := make([]*T, 0, len(old)+1)
	fresh = append(fresh, old[:i]...)
	fresh = append(fresh, x)
	n := s.n + 1
	if ok {
		i, n = i+1, s.n
	}
	fresh = append(fresh, old[i:]...)

	chunks := make([][]*T, 0, len(s.chunks)+1)
	chunks = append(chunks, s.chunks[:c]...)
	if len(fresh) > chunkLen {
		cut := len(fresh) / 2
		if c == len(s.chunks)-1 && fresh[len(fresh)-1] == x {
			cut = chunkLen // items mostly come in order: leave full chunks behind
		}
		chunks = append(chunks, fresh[:cut:cut], fresh[cut:])
	} else {
		chunks = append(chunks, fresh)
	}
	chunks = append(chunks, s.chunks[c+1:]...)
	return sorted[T]{s.cmp, chunks, n}
}

// without is the set without the item equal to x.
func (s sorted[T]) without(x *T) sorted[T] {
	c, i, ok := s.find(x)
	if !ok {
		return s
	}
	old := s.chunks[c]
	chunks := make([][]*T, 0, len(s.chunks))
	chunks = append(chunks, s.chunks[:c]...)
	if len(old) > 1 {
		fresh := make([]*T, 0, len(old)-1)
		fresh = append(append(fresh, old[:i]...), old[i+1:]...)
		chunks = append(chunks, fresh)
	}
	chunks = append(chunks, s.chunks[c+1:]...)
	return sorted[T]{s.cmp, chunks, s.n - 1}
}

// all yields the items in order.
func (s sorted[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, c := range s.chunks {
			for _, x := range c {
				if !yield(x) {
					return
				}
			}
		}
	}
}

// sortedOf builds a set from items in any order; of equal items the last stays.
func sortedOf[T any](cmp func(a, b *T) int, items []*T) sorted[T] {
	items = slices.Clone(items)
	slices.SortStableFunc(items, cmp)
	kept := items[:0]
	for _, x := range items {
		if len(kept) > 0 && cmp(kept[len(kept)-1], x) == 0 {
			kept[len(kept)-1] = x
		} else {
			kept = append(kept, x)
		}
	}
	s := sorted[T]{cmp: cmp, n: len(kept)}
	for c := range slices.Chunk(kept, chunkLen) {
		s.chunks = append(s.chunks, c)
	}
	return s
}
