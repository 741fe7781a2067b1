package facts

import (
	"math"

	"trajlake/replay/law"
)

// Rows are kept in chunks; what annotations change in smaller pages, so that a
// change copies little.
const (
	chunkBits = 14
	chunkRows = 1 << chunkBits
	pageBits  = 12
	pageRows  = 1 << pageBits
	chunkMask = chunkRows - 1
	pageMask  = pageRows - 1
)

// The integer columns of a chunk; the codes of texts come first.
const (
	colEffort = iota
	colMode
	colSplit
	colStatus
	colTaskSet
	colTask
	colPrompt
	colGroup
	colEpisode
	colParent
	textColumns
)

const (
	colGroupIndex = textColumns + iota
	colGroupSize
	colSuccess
	colPolicyMin
	colPolicyMax
	colFinished
	colIngested
	colTokens
	intColumns
)

// column describes an integer column: the facts it belongs to and its name in
// the table; Tokens has no name, for it is made of several columns.
type column struct {
	set  Set
	name string
}

var columns = [intColumns]column{
	colEffort: {Effort, "effort"}, colMode: {Mode, "mode"}, colSplit: {Split, "split"}, colStatus: {Status, "status"},
	colTaskSet: {TaskSet, "task_set"}, colTask: {Task, "task_id"}, colPrompt: {Prompt, "prompt_hash"}, colGroup: {Group, "group_id"},
	colEpisode: {Episode, "episode_id"}, colParent: {Parent, "parent_id"},
	colGroupIndex: {GroupIndex, "group_index"}, colGroupSize: {GroupIndex, "group_size"}, colSuccess: {Success, "success"},
	colPolicyMin: {Policy, "policy_version_min"}, colPolicyMax: {Policy, "policy_version_max"},
	colFinished: {Times, "finished_at"}, colIngested: {Times, "ingested_at"}, colTokens: {Tokens, ""},
}

// textColumn is the column of codes of one set; -1 when it is none.
func textColumn(set Set) int {
	for c := range textColumns {
		if columns[c].set == set {
			return c
		}
	}
	return -1
}

// chunk is what of up to chunkRows rows never changes. It is immutable.
type chunk struct {
	rows  int
	ids   []uint64
	ints  [intColumns]packed
	raw   doubles // reward_raw
	print uint64  // of the ids, in order
	index *memberIndex
}

// page is what annotations decide of up to pageRows rows. It is immutable.
type page struct {
	reward      *doubles // nil: reward_raw
	priority    *doubles // nil: all null
	advantage   *doubles // nil: all null
	quarantined []uint64 // nil: none
	absent      []uint64 // nil: none
}

// fingerprint continues the print of ids in order.
func fingerprint(print uint64, ids []uint64) uint64 {
	for _, id := range ids {
		print = law.Mix64(print ^ id)
	}
	return print
}

func bitAt(words []uint64, i int) bool { return words != nil && words[i/64]>>(i%64)&1 == 1 }

func (c *chunk) size() int64 {
	n := int64(8*cap(c.ids)) + c.raw.size() + c.index.size()
	for i := range c.ints {
		n += c.ints[i].size()
	}
	const head = 1500
	return n + head
}

func (p *page) size() int64 {
	const head = 72
	n := int64(head + 8*(cap(p.quarantined)+cap(p.absent)))
	for _, d := range []*doubles{p.reward, p.priority, p.advantage} {
		if d != nil {
			n += d.size()
		}
	}
	return n
}

// builder collects the rows of one chunk: what has no slice is not collected.
type builder struct {
	rows         int
	ids          []uint64
	ints         [intColumns][]int64
	raw          []float64
	folded       [3][]float64 // reward, priority, advantage
	inQuarantine []uint64
	present      []uint64
	coder        coder
}

// The folded floats of a builder.
const (
	foldReward = iota
	foldPriority
	foldAdvantage
)

var foldedColumns = [3]column{{Reward, "reward"}, {Priority, "priority"}, {Advantage, "advantage"}}

func newBuilder(need Set, static, ids, pages bool) *builder {
	b := &builder{inQuarantine: make([]uint64, chunkRows/64), present: make([]uint64, chunkRows/64)}
	if ids {
		b.ids = make([]uint64, chunkRows)
	}
	if static {
		for c := range b.ints {
			if need&columns[c].set != 0 {
				b.ints[c] = make([]int64, chunkRows)
			}
		}
	}
	if need&Reward != 0 {
		b.raw = make([]float64, chunkRows)
	}
	for k, c := range foldedColumns {
		if pages && need&c.set != 0 {
			b.folded[k] = make([]float64, chunkRows)
		}
	}
	return b
}

// reset makes the builder that of n rows, none of which is there.
func (b *builder) reset(n int) {
	b.rows = n
	clear(b.ids)
	clear(b.inQuarantine)
	clear(b.present)
	for c := range b.ints {
		for i := range b.ints[c] {
			b.ints[c][i] = absent
		}
	}
	for _, f := range [][]float64{b.raw, b.folded[0], b.folded[1], b.folded[2]} {
		for i := range f {
			f[i] = math.NaN()
		}
	}
}

// preload puts the first n rows of a chunk that is to grow into the builder.
func (b *builder) preload(c *chunk, pages []*page, n int) {
	if b.ids != nil {
		copy(b.ids, c.ids[:n])
	}
	for i := range b.ints {
		if b.ints[i] != nil {
			c.ints[i].unpack(b.ints[i][:0], n)
		}
	}
	if b.raw != nil {
		c.raw.unpack(b.raw[:0], n)
	}
	for k, p := range pages {
		m := min(pageRows, n-k*pageRows)
		if m <= 0 {
			return
		}
		for f := range b.folded {
			if b.folded[f] == nil {
				continue
			}
			dst := b.folded[f][k*pageRows:]
			if d := p.column(f, &c.raw); d == &c.raw {
				copy(dst[:m], b.raw[k*pageRows:])
			} else if d != nil {
				d.unpack(dst[:0], m)
			}
		}
		for i := range m {
			at := k*pageRows + i
			if bitAt(p.quarantined, i) {
				b.inQuarantine[at/64] |= 1 << (at % 64)
			}
			if !bitAt(p.absent, i) {
				b.present[at/64] |= 1 << (at % 64)
			}
		}
	}
}

// column is a folded column of the page; raw stands for rewards nobody changed,
// nil for nulls.
func (p *page) column(f int, raw *doubles) *doubles {
	switch f {
	case foldPriority:
		return p.priority
	case foldAdvantage:
		return p.advantage
	}
	if p.reward == nil {
		return raw
	}
	return p.reward
}

// chunk packs the rows. Columns that are not needed are those of old, which may
// be nil.
func (b *builder) chunk(old *chunk) *chunk {
	c := &chunk{rows: b.rows, index: &memberIndex{}}
	if old != nil {
		*c = *old
		c.rows = b.rows
		c.index = &memberIndex{}
	}
	if b.ids != nil {
		c.ids = append(make([]uint64, 0, b.rows), b.ids[:b.rows]...)
		c.print = fingerprint(0, c.ids)
	}
	for i := range b.ints {
		if b.ints[i] != nil {
			c.ints[i] = pack(b.ints[i][:b.rows])
		}
	}
	if b.raw != nil {
		c.raw = packDoubles(b.raw[:b.rows], &b.coder)
	}
	return c
}

// page packs page k; what is not needed is that of old, which may be nil.
func (b *builder) page(k int, old *page) *page {
	p := &page{}
	if old != nil {
		*p = *old
	}
	from, to := k*pageRows, min((k+1)*pageRows, b.rows)
	if f := b.folded[foldReward]; f != nil {
		p.reward = nil
		if !equal(f[from:to], b.raw[from:to]) {
			p.reward = new(packDoubles(f[from:to], &b.coder))
		}
	}
	if f := b.folded[foldPriority]; f != nil {
		p.priority = b.unlessNull(f[from:to])
	}
	if f := b.folded[foldAdvantage]; f != nil {
		p.advantage = b.unlessNull(f[from:to])
	}
	p.quarantined, p.absent = nil, nil
	for i := from; i < to; i++ {
		if bitAt(b.inQuarantine, i) {
			p.quarantined = setBit(p.quarantined, i-from)
		}
		if !bitAt(b.present, i) {
			p.absent = setBit(p.absent, i-from)
		}
	}
	return p
}

func setBit(words []uint64, i int) []uint64 {
	if words == nil {
		words = make([]uint64, pageRows/64)
	}
	words[i/64] |= 1 << (i % 64)
	return words
}

// unlessNull packs a column; one of nulls is nil.
func (b *builder) unlessNull(values []float64) *doubles {
	for _, v := range values {
		if !math.IsNaN(v) {
			return new(packDoubles(values, &b.coder))
		}
	}
	return nil
}

// equal reports whether two columns hold the same values and nulls.
func equal(a, b []float64) bool {
	for i := range a {
		if !same(a[i], b[i]) {
			return false
		}
	}
	return true
}
