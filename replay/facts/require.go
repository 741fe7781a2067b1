package facts

import (
	"context"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// Require gives the rows in which all the columns are neither null nor empty and
// which have all the tensors, whole, in the view's snapshot. What is known of
// stored columns and of tensors is kept, so that only new rows and new tensors
// are read.
func (v *View) Require(ctx context.Context, columns, tensors []string) (*Bits, error) {
	out := v.present()
	for _, name := range columns {
		words, err := v.filled(ctx, name)
		if err != nil {
			return nil, fault.Wrap("look for rows with "+name, err)
		}
		out.and(words)
	}
	for _, name := range tensors {
		words, err := v.base.tensors.get(ctx, v, name)
		if err != nil {
			return nil, fault.Wrap("look for rows with the tensor "+name, err)
		}
		out.and(words)
	}
	return out.close(), nil
}

// filled is the rows in which a column holds something.
func (v *View) filled(ctx context.Context, name string) ([]uint64, error) {
	col := schema.Trajectories.Column(name)
	if col == nil || col.Kind != schema.List && col.Kind != schema.Map {
		e, err := where.Parse(quoted(name) + " IS NOT NULL")
		if err != nil {
			return nil, err
		}
		m, _, err := v.Match(ctx, e)
		if err != nil {
			return nil, err
		}
		return m.words, nil
	}
	words, _, err := v.base.sets.get(ctx, v, "filled "+name, true, v.nonEmpty(name))
	return words, err
}

// nonEmpty finds the rows in which a list or map has elements.
func (v *View) nonEmpty(name string) evaluation {
	return func(ctx context.Context, words []uint64, from, to int64) error {
		o := store.ScanOptions{Columns: []string{"row_seq", name}, From: from, To: to}
		for rec, err := range v.snap.Scan(ctx, o) {
			if err != nil {
				return err
			}
			seqs, ok := rec.Column(0).(*array.Int64)
			if !ok {
				return wrongType(rec, 0)
			}
			for i, seq := range seqs.Int64Values() {
				if !empty(rec.Column(1), i) {
					words[seq/64] |= 1 << (seq % 64)
				}
			}
		}
		return nil
	}
}

// empty reports whether a value is null, or a list or map of nothing.
func empty(a arrow.Array, i int) bool {
	if a.IsNull(i) {
		return true
	}
	if l, ok := a.(array.ListLike); ok {
		from, to := l.ValueOffsets(i)
		return from == to
	}
	return false
}
