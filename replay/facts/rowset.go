package facts

import (
	"context"
	"slices"
	"sync"

	"trajlake/schema/fault"
	"trajlake/store"
)

// maxRowSets bounds the sets that are kept in memory: those used last.
const maxRowSets = 64

// rowSets are the places whose rows satisfy conditions over stored columns, which
// never change for a row. They grow with the lake and are shared by all views.
type rowSets struct {
	store setFolder

	mu   sync.Mutex
	sets map[string]*rowSet
	tick int64
}

// rowSet is one condition's.
type rowSet struct {
	used int64 // guarded by rowSets.mu

	turn  turn  // of the one who reads rows
	asked bool  // the disk was looked at
	saved int64 // places that the disk knows

	mu    sync.Mutex // guards what follows; the one whose turn it is changes it
	words []uint64   // replaced, never changed
	upTo  int64      // places below this are known
}

// known gives the words if they reach to place n.
func (s *rowSet) known(n int64) ([]uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.words, s.upTo >= n
}

// turn is a lock that whoever waits for it may give up.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.WrapAs(fault.Cancelled, "wait for another evaluation", ctx.Err())
	}
}

func (t turn) give() { <-t }

func newRowSets(lake *store.Lake) *rowSets {
	return &rowSets{store: setFolder{dir: lake.CacheFolder("rowsets"), least: leastSaved}, sets: map[string]*rowSet{}}
}

func (r *rowSets) size() int64 {
	r.mu.Lock()
	sets := make([]*rowSet, 0, len(r.sets))
	for _, s := range r.sets {
		sets = append(sets, s)
	}
	r.mu.Unlock()
	var n int64
	for _, s := range sets {
		s.mu.Lock()
		n += int64(8 * cap(s.words))
		s.mu.Unlock()
	}
	return n
}

// named finds or makes the set of a name.
func (r *rowSets) named(name string) *rowSet {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tick++
	s := r.sets[name]
	if s == nil {
		if len(r.sets) >= maxRowSets {
			r.dropOldest()
		}
		s = &rowSet{turn: newTurn()}
		r.sets[name] = s
	}
	s.used = r.tick
	return s
}

func (r *rowSets) dropOldest() {
	oldest := ""
	for name, s := range r.sets {
		if oldest == "" || s.used < r.sets[oldest].used {
			oldest = name
		}
	}
	delete(r.sets, oldest)
}

// evaluation finds the rows in [from, to) that satisfy a condition and sets their
// bits in words, which are all 0 there.
type evaluation func(ctx context.Context, words []uint64, from, to int64) error

// get gives the set of a name for the rows of v; what is not known yet is
// evaluated. Words beyond v's rows may have bits. reads says that eval reads the
// lake: such sets are kept on disk, and cold is true when it had to.
func (r *rowSets) get(ctx context.Context, v *View, name string, reads bool, eval evaluation) (words []uint64, cold bool, err error) {
	s := r.named(name)
	if words, ok := s.known(v.rows); ok {
		return words, false, nil
	}
	if err := s.turn.take(ctx); err != nil {
		return nil, false, err
	}
	defer s.turn.give()
	if words, ok := s.known(v.rows); ok {
		return words, false, nil
	}
	known := []span{{0, s.upTo}}
	words = append(make([]uint64, 0, (v.rows+63)/64), s.words...)
	if reads && !s.asked {
		s.asked = true
		if found, spans, saved := r.store.load(name, v); found != nil && s.upTo == 0 {
			words, known, s.saved = append(words[:0], found...), spans, saved
		}
	}
	words = slices.Concat(words, make([]uint64, max(0, int((v.rows+63)/64)-len(words))))
	for _, gap := range gaps(known, v.rows) {
		clearBits(words, gap.from, gap.to)
		if err := eval(ctx, words, gap.from, gap.to); err != nil {
			return nil, reads, err
		}
		cold = reads
	}
	s.mu.Lock()
	s.words, s.upTo = words, v.rows
	s.mu.Unlock()
	if cold && s.upTo-s.saved >= max(r.store.least, s.saved/8) && r.store.save(name, v, words) {
		s.saved = s.upTo
	}
	return words, cold, nil
}

// span is the places [from, to).
type span struct{ from, to int64 }

// gaps are the parts of [0, n) that ascending spans leave out.
func gaps(known []span, n int64) []span {
	var out []span
	at := int64(0)
	for _, k := range known {
		if k.from > at {
			out = append(out, span{at, min(k.from, n)})
		}
		at = max(at, k.to)
	}
	if at < n {
		out = append(out, span{at, n})
	}
	return out
}

// clearBits takes the places [from, to) out of a set.
func clearBits(words []uint64, from, to int64) {
	for i := from; i < to; {
		if i%64 == 0 && i+64 <= to {
			words[i/64] = 0
			i += 64
			continue
		}
		words[i/64] &^= 1 << (i % 64)
		i++
	}
}
