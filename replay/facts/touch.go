package facts

import (
	"context"
	"math"
	"slices"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema/fault"
	"trajlake/store"
)

const (
	// touchShare: from one row in so many on of which more must be read than
	// annotations say, all rows are read again.
	touchShare = 4
	// touchBatch bounds the rows of one read.
	touchBatch = 1 << 15
)

// touch brings the folded facts of the rows that w has from v to w's snapshot. It
// lists the places of rows that were annotated, and of those whose facts, as far
// as v holds them, changed.
func (w *View) touch(ctx context.Context, v *View) (seqs, changed []int64, err error) {
	rows, err := w.snap.TouchedRows(ctx, v.snap)
	if err != nil || len(rows) == 0 {
		return nil, nil, err
	}
	for i := range rows {
		seqs = append(seqs, rows[i].Seq)
	}
	p := &patching{w: w, rows: v.rows, seqs: seqs}
	family := p.values(v, rows)
	if int64(len(family)) > v.rows/touchShare {
		if err := w.load(ctx, loading{need: v.has & foldedSets, pages: true}, 0, v.rows); err != nil {
			return nil, nil, err
		}
		return seqs, w.differing(v, seqs), nil
	}
	for lo := 0; lo < len(family); lo += touchBatch {
		if err := p.read(ctx, v.has, family[lo:min(lo+touchBatch, len(family))]); err != nil {
			return nil, nil, err
		}
	}
	return seqs, p.apply(), nil
}

// differing keeps the places whose folded facts are not those of v.
func (w *View) differing(v *View, seqs []int64) []int64 {
	var out []int64
	var a, b Row
	now := &View{has: v.has, chunks: w.chunks, pages: w.pages} // other columns are not there yet
	for _, seq := range seqs {
		v.Read(seq, &a)
		now.Read(seq, &b)
		if a.Absent != b.Absent || a.Quarantined != b.Quarantined || !same(a.Reward, b.Reward) || !same(a.Priority, b.Priority) || !same(a.Advantage, b.Advantage) {
			out = append(out, seq)
		}
	}
	return out
}

// same reports whether two floats are the same value, or both null.
func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// patching puts new values of some rows, in ascending places, into pages.
type patching struct {
	w           *View
	rows        int64 // that the pages hold
	seqs        []int64
	folded      [3][]float64 // nil: not held
	quarantined []bool
	absent      []bool
	coder       coder
	scratch     []float64
}

// values takes the new values from what annotations say, and lists the rows for
// which that is not enough: whether they are quarantined depends on others, or
// they were deleted.
func (p *patching) values(v *View, rows []store.TouchedRow) (family []int) {
	for k, c := range foldedColumns {
		if v.has&c.set != 0 {
			p.folded[k] = make([]float64, len(rows))
		}
	}
	set := func(k, i int, x float64) {
		if p.folded[k] != nil {
			p.folded[k][i] = x
		}
	}
	p.quarantined, p.absent = make([]bool, len(rows)), make([]bool, len(rows))
	for i := range rows {
		r := &rows[i]
		page := v.pages[r.Seq>>pageBits]
		p.quarantined[i], p.absent[i] = bitAt(page.quarantined, int(r.Seq&pageMask)), bitAt(page.absent, int(r.Seq&pageMask))
		reward := r.Reward
		if !r.Scored && v.has&Reward != 0 {
			reward = v.chunks[r.Seq>>chunkBits].raw.get(int(r.Seq & chunkMask))
		}
		set(foldReward, i, reward)
		set(foldPriority, i, r.Priority)
		set(foldAdvantage, i, r.Advantage)
		if r.Family {
			family = append(family, i)
		}
	}
	return family
}

// read takes the new values of some rows from the lake.
func (p *patching) read(ctx context.Context, has Set, rows []int) error {
	seqs := make([]int64, len(rows))
	for k, i := range rows {
		seqs[k] = p.seqs[i]
	}
	rec, err := p.w.snap.Gather(ctx, seqs, foldedNames(has))
	if fault.Is(err, fault.Gone) {
		if len(rows) == 1 {
			p.absent[rows[0]] = true
			return nil
		}
		half := len(rows) / 2 // few rows are deleted, so that few halves fail
		if err := p.read(ctx, has, rows[:half]); err != nil {
			return err
		}
		return p.read(ctx, has, rows[half:])
	}
	if err != nil {
		return err
	}
	for c := range int(rec.NumCols()) {
		name := rec.ColumnName(c)
		if name == "quarantined" {
			b, ok := rec.Column(c).(*array.Boolean)
			if !ok {
				return wrongType(rec, c)
			}
			for k, i := range rows {
				p.quarantined[i] = b.IsValid(k) && b.Value(k)
			}
			continue
		}
		d, ok := rec.Column(c).(*array.Float64)
		if !ok {
			return wrongType(rec, c)
		}
		at := slices.IndexFunc(foldedColumns[:], func(f column) bool { return f.name == name })
		for k, i := range rows {
			if p.folded[at][i] = math.NaN(); d.IsValid(k) {
				p.folded[at][i] = d.Value(k)
			}
		}
	}
	return nil
}

// apply makes new pages and lists the places that changed.
func (p *patching) apply() (changed []int64) {
	for lo := 0; lo < len(p.seqs); {
		hi, at := lo, p.seqs[lo]>>pageBits
		for hi < len(p.seqs) && p.seqs[hi]>>pageBits == at {
			hi++
		}
		if touched := p.page(at, lo, hi); len(touched) > 0 {
			changed = append(changed, touched...)
		}
		lo = hi
	}
	return changed
}

// page applies rows [lo, hi), all of one page.
func (p *patching) page(at int64, lo, hi int) (changed []int64) {
	old := p.w.pages[at]
	fresh := *old
	raw := &p.w.chunks[at<<pageBits>>chunkBits].raw
	from := int(at << pageBits & chunkMask)
	n := int(min(p.rows-at<<pageBits, pageRows))
	differs := make([]bool, hi-lo)
	for k, values := range p.folded {
		if values == nil {
			continue
		}
		d, shift := old.column(k, nil), 0
		if k == foldReward && d == nil {
			d, shift = raw, from
		}
		any := false
		for i := lo; i < hi; i++ {
			was := math.NaN()
			if d != nil {
				was = d.get(int(p.seqs[i]&pageMask) + shift)
			}
			if !same(was, values[i]) {
				differs[i-lo], any = true, true
			}
		}
		if any {
			fresh.setColumn(k, p.patched(d, shift, n, values, lo, hi))
		}
	}
	fresh.quarantined = p.patchBits(fresh.quarantined, p.quarantined, differs, lo, hi)
	fresh.absent = p.patchBits(fresh.absent, p.absent, differs, lo, hi)
	for i, d := range differs {
		if d {
			changed = append(changed, p.seqs[lo+i])
		}
	}
	if changed != nil {
		p.w.pages[at] = &fresh
	}
	return changed
}

func (p *page) setColumn(k int, d *doubles) {
	switch k {
	case foldReward:
		p.reward = d
	case foldPriority:
		p.priority = d
	case foldAdvantage:
		p.advantage = d
	}
}

// patched is d, nil for nulls, with the new values of rows [lo, hi).
func (p *patching) patched(d *doubles, shift, n int, values []float64, lo, hi int) *doubles {
	p.scratch = p.scratch[:0]
	for i := range n {
		v := math.NaN()
		if d != nil {
			v = d.get(i + shift)
		}
		p.scratch = append(p.scratch, v)
	}
	for i := lo; i < hi; i++ {
		p.scratch[p.seqs[i]&pageMask] = values[i]
	}
	out := packDoubles(p.scratch, &p.coder)
	return &out
}

// patchBits sets the bits of rows [lo, hi) in a copy of words, if they differ.
func (p *patching) patchBits(words []uint64, values, differs []bool, lo, hi int) []uint64 {
	copied := false
	for i := lo; i < hi; i++ {
		k := int(p.seqs[i] & pageMask)
		if bitAt(words, k) == values[i] {
			continue
		}
		if !copied {
			words, copied = append(make([]uint64, 0, pageRows/64), words...)[:pageRows/64], true
		}
		words[k/64] ^= 1 << (k % 64)
		differs[i-lo] = true
	}
	return words
}
