package facts

import (
	"context"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

const (
	// touchShare: from one touched row in so many on, all rows are read again.
	touchShare = 4
	// touchBatch bounds the rows of one read.
	touchBatch = 1 << 15
)

// touch brings the folded facts of the rows that w has from v to w's snapshot. It
// lists the places of rows that were annotated, and of those whose facts, as far
// as v holds them, changed.
func (w *View) touch(ctx context.Context, v *View) (seqs, changed []int64, err error) {
	seqs, err = w.snap.Touched(ctx, v.snap)
	if err != nil || len(seqs) == 0 {
		return nil, nil, err
	}
	if int64(len(seqs)) > v.rows/touchShare {
		if err := w.load(ctx, loading{need: v.has & foldedSets, pages: true}, 0, v.rows); err != nil {
			return nil, nil, err
		}
		return seqs, w.differing(v, seqs), nil
	}
	for lo := 0; lo < len(seqs); lo += touchBatch {
		batch := seqs[lo:min(lo+touchBatch, len(seqs))]
		rec, err := w.snap.Gather(ctx, batch, foldedNames(v.has))
		if err != nil {
			return nil, nil, err
		}
		p := &patching{w: w, rows: v.rows, seqs: batch}
		if err := p.values(rec); err != nil {
			return nil, nil, err
		}
		changed = append(changed, p.apply()...)
	}
	return seqs, changed, nil
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
	coder       coder
	scratch     []float64
}

// values takes the new values from a record of foldedNames.
func (p *patching) values(rec arrow.Record) error {
	p.quarantined = make([]bool, len(p.seqs))
	for c := range int(rec.NumCols()) {
		if rec.ColumnName(c) == "quarantined" {
			b, ok := rec.Column(c).(*array.Boolean)
			if !ok {
				return wrongType(rec, c)
			}
			for i := range p.quarantined {
				p.quarantined[i] = b.IsValid(i) && b.Value(i)
			}
			continue
		}
		d, ok := rec.Column(c).(*array.Float64)
		if !ok {
			return wrongType(rec, c)
		}
		values := append([]float64(nil), d.Float64Values()...)
		for i := range values {
			if d.IsNull(i) {
				values[i] = math.NaN()
			}
		}
		for k, f := range foldedColumns {
			if f.name == rec.ColumnName(c) {
				p.folded[k] = values
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
	p.patchQuarantine(&fresh, differs, lo, hi)
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

// patchQuarantine sets the quarantine bits of rows [lo, hi).
func (p *patching) patchQuarantine(fresh *page, differs []bool, lo, hi int) {
	copied := false
	for i := lo; i < hi; i++ {
		k := int(p.seqs[i] & pageMask)
		if bitAt(fresh.quarantined, k) == p.quarantined[i] {
			continue
		}
		if !copied {
			fresh.quarantined = append(make([]uint64, 0, pageRows/64), fresh.quarantined...)
			fresh.quarantined = fresh.quarantined[:pageRows/64]
			copied = true
		}
		fresh.quarantined[k/64] ^= 1 << (k % 64)
		differs[i-lo] = true
	}
}
