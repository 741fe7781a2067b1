package facts

import (
	"context"
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// Match gives the rows of the view for which a predicate is true; a nil predicate
// is true for all of them. The operands of its outermost AND are evaluated apart.
// One that reads stored columns only is true or false of a row for ever: its rows
// are kept in memory and on the local disk, and only new rows are evaluated. One
// that reads what annotations change is evaluated for new and annotated rows. cold
// says that the lake was read.
func (v *View) Match(ctx context.Context, expr *where.Expr) (match *Bits, cold bool, err error) {
	out := v.present()
	for _, e := range expr.Conjuncts() {
		c, err := bind(e)
		if err != nil {
			return nil, false, err
		}
		var words []uint64
		var read bool
		if isFolded(c.columns) {
			words, read, err = v.match.get(ctx, v, c)
		} else {
			words, read, err = v.base.sets.get(ctx, v, "where "+c.text, !v.holds(c.columns), c.static(v))
		}
		cold = cold || read
		if err != nil {
			return nil, cold, fault.Wrap("match rows of "+v.snap.String(), err)
		}
		out.and(words)
	}
	return out.close(), cold, nil
}

// present is the set of the view's rows without the absent ones, not counted yet.
func (v *View) present() *Bits {
	b := newBits(v.rows)
	for i := range b.words {
		b.words[i] = math.MaxUint64
	}
	if v.rows%64 != 0 {
		b.words[len(b.words)-1] = 1<<(v.rows%64) - 1
	}
	for k, p := range v.pages {
		if p.absent == nil {
			continue
		}
		for i, w := range p.absent {
			if at := k*pageRows/64 + i; at < len(b.words) {
				b.words[at] &^= w
			}
		}
	}
	return b
}

// static evaluates a condition over stored columns: those that the view has, or
// the lake's.
func (c *condition) static(v *View) evaluation {
	if v.holds(c.columns) {
		return c.held(v)
	}
	return c.scanned(v)
}

// scanned evaluates a condition by reading the lake.
func (c *condition) scanned(v *View) evaluation {
	return func(ctx context.Context, words []uint64, from, to int64) error {
		o := store.ScanOptions{Columns: []string{"row_seq"}, Where: c.expr, From: from, To: to}
		for rec, err := range v.snap.Scan(ctx, o) {
			if err != nil {
				return err
			}
			seqs, ok := rec.Column(0).(*array.Int64)
			if !ok {
				return wrongType(rec, 0)
			}
			for _, seq := range seqs.Int64Values() {
				words[seq/64] |= 1 << (seq % 64)
			}
		}
		return nil
	}
}

// matches are the rows of one view that satisfy conditions over what annotations
// change.
type matches struct {
	mu      sync.Mutex
	entries map[string]*matched
	turns   map[string]turn // of those who evaluate a condition
}

// matched is one condition's rows, as they were before the view or one of those it
// was advanced from. What it points to never changes.
type matched struct {
	words []uint64
	stale []int64 // places to evaluate again, ascending
	from  int64   // places from here on were never evaluated
	idle  int     // advances since it was evaluated or asked for
}

// An entry that nobody asked for during maxIdle advances is dropped, and one for
// which more than one row in staleShare would have to be evaluated again.
const (
	maxIdle    = 64
	staleShare = 4
)

func newMatches() *matches { return &matches{entries: map[string]*matched{}, turns: map[string]turn{}} }

// known is what is known of a condition, and the turn of those who evaluate it.
func (m *matches) known(name string, rows int64) (e matched, t turn, complete bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.turns[name] == nil {
		m.turns[name] = newTurn()
	}
	if have := m.entries[name]; have != nil {
		have.idle = 0
		e = *have
	}
	return e, m.turns[name], len(e.stale) == 0 && e.from == rows && e.words != nil
}

func (m *matches) size() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var n int64
	for _, e := range m.entries {
		n += int64(8 * (cap(e.words) + cap(e.stale)))
	}
	return n
}

// after is what is known for a view that differs by ch.
func (m *matches) after(ch *Change) *matches {
	out := newMatches()
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, e := range m.entries {
		next := &matched{e.words, ch.Touched, min(e.from, ch.NewFrom), e.idle + 1}
		if len(e.stale) > 0 {
			next.stale = slices.Concat(e.stale, ch.Touched)
			slices.Sort(next.stale)
			next.stale = slices.Compact(next.stale)
		}
		if next.idle <= maxIdle && int64(len(next.stale)) <= next.from/staleShare+1024 {
			out.entries[name] = next
		}
	}
	return out
}

// get gives the rows of v that satisfy a condition.
func (m *matches) get(ctx context.Context, v *View, c *condition) (words []uint64, cold bool, err error) {
	e, t, complete := m.known(c.text, v.rows)
	if complete {
		return e.words, false, nil
	}
	if err := t.take(ctx); err != nil {
		return nil, false, err
	}
	defer t.give()
	if e, _, complete = m.known(c.text, v.rows); complete {
		return e.words, false, nil
	}
	words = slices.Concat(e.words, make([]uint64, max(0, int((v.rows+63)/64)-len(e.words))))
	for _, seq := range e.stale {
		words[seq/64] &^= 1 << (seq % 64)
	}
	clearBits(words, e.from, v.rows)
	hit := func(seq int64) { words[seq/64] |= 1 << (seq % 64) }
	held := v.holds(c.columns)
	switch {
	case len(e.stale) == 0:
	case held:
		err = c.places(v, e.stale, hit)
	default:
		err = c.gathered(ctx, v, e.stale, hit)
	}
	if err == nil && e.from < v.rows {
		eval := c.scanned(v)
		if held {
			eval = c.held(v)
		}
		err = eval(ctx, words, e.from, v.rows)
	}
	if err != nil {
		return nil, !held, err
	}
	m.mu.Lock()
	m.entries[c.text] = &matched{words: words, from: v.rows}
	m.mu.Unlock()
	return words, !held, nil
}

// gathered evaluates a condition for single places by reading the lake.
func (c *condition) gathered(ctx context.Context, v *View, seqs []int64, hit func(int64)) error {
	for lo := 0; lo < len(seqs); lo += touchBatch {
		part := slices.DeleteFunc(slices.Clone(seqs[lo:min(lo+touchBatch, len(seqs))]), v.absent)
		rec, err := v.snap.Gather(ctx, part, c.columns)
		if err != nil {
			return err
		}
		mask, err := c.bound.Filter(rec)
		if err != nil {
			return err
		}
		for i, seq := range part {
			if mask.Selected(i) {
				hit(seq)
			}
		}
	}
	return nil
}

// Bits is a set of places. It never changes and is safe for concurrent use. A nil
// *Bits is the empty set.
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

// Differ yields the places that are in one of two sets only, ascending. nil is the
// empty set.
func (b *Bits) Differ(o *Bits, yield func(place int64)) {
	var x, y []uint64
	if b != nil {
		x = b.words
	}
	if o != nil {
		y = o.words
	}
	for i := range max(len(x), len(y)) {
		var w uint64
		if i < len(x) {
			w = x[i]
		}
		if i < len(y) {
			w ^= y[i]
		}
		for ; w != 0; w &= w - 1 {
			yield(int64(i*64 + bits.TrailingZeros64(w)))
		}
	}
}

// and keeps the places that are among the words, too, which are as many.
func (b *Bits) and(words []uint64) {
	for i := range b.words {
		b.words[i] &= words[i]
	}
}

// close counts the set when it is complete.
func (b *Bits) close() *Bits {
	b.count = count(b.words, b.n)
	return b
}
