package replay

import (
	"context"
	"math"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/replay/facts"
	"trajlake/replay/pack"
	"trajlake/schema"
	"trajlake/schema/fault"
)

// FactColumns are the columns of trajectories that every batch carries.
func FactColumns() []string { return []string{"trajectory_id", "task_id", "effort", "reward"} }

// Fetcher fetches the rows of batches: stored columns from a local cache of rows
// or from the lake, folded ones from the sampler's memory. The values are those of
// Sampler.Rows, whatever is cached. It is safe for concurrent use.
type Fetcher struct {
	cache *pack.Cache
}

// NewFetcher makes a Fetcher with a cache of its own.
func NewFetcher(o *pack.Options) *Fetcher { return &Fetcher{pack.New(o)} }

// Close gives the cache back. Idempotent.
func (f *Fetcher) Close() error { return f.cache.Close() }

// Cached tells rows found in the cache and not, and the bytes that it takes on disk.
func (f *Fetcher) Cached() (hits, misses, bytes int64) { return f.cache.Stats() }

// Rows fetches the rows of a batch, or of a part of one, slot by slot: the columns
// as named (nil: those of the spec), those of FactColumns that are not among them,
// the tensors that the spec names, and the columns of the draw. A row that was deleted
// since it was drawn is there with `gone` set and nulls for what was stored.
func (f *Fetcher) Rows(ctx context.Context, s *Sampler, b *Batch, columns []string) (arrow.Record, error) {
	if columns == nil {
		columns = s.spec.Columns
	}
	columns = slices.Clone(columns)
	for _, c := range FactColumns() {
		if !slices.Contains(columns, c) {
			columns = append(columns, c)
		}
	}
	rec, err := f.rows(ctx, s, b, columns)
	if err != nil {
		return nil, fault.Wrap("fetch batch "+b.ID, err)
	}
	return rec, nil
}

func (f *Fetcher) rows(ctx context.Context, s *Sampler, b *Batch, columns []string) (arrow.Record, error) {
	seqs := s.Places(b)
	gone, err := s.snap.Gone(ctx, seqs)
	if err != nil {
		return nil, err
	}
	var why map[int64]string
	if len(gone) > 0 {
		why = make(map[int64]string, len(gone))
		for seq, g := range gone {
			why[seq] = g.Reason
		}
		for i, seq := range seqs {
			if _, is := gone[seq]; is {
				seqs[i] = pack.Null
			}
		}
	}
	var stored []string
	for _, c := range columns {
		if !s.folded(c) && schema.Trajectories.Column(c) != nil {
			stored = append(stored, c)
		}
	}
	kept, err := f.cache.Gather(ctx, seqs, s.Stored(stored), s.snap.Gather)
	if err != nil {
		return nil, err
	}
	if kept, err = s.cutPaths(b, kept); err != nil {
		return nil, err
	}
	named := frameOf(kept)
	fields, arrays := make([]arrow.Field, len(columns)), make([]arrow.Array, len(columns))
	for i, c := range columns {
		col := named[c]
		switch {
		case col != nil:
		case s.folded(c):
			col = s.foldedColumn(c, seqs)
		default: // a folded column that the sampler does not hold
			one, err := gatherWithNulls(ctx, s, seqs, c)
			if err != nil {
				return nil, err
			}
			col = one
		}
		fields[i], arrays[i] = arrow.Field{Name: c, Type: col.DataType(), Nullable: true}, col
		if at := kept.Schema().FieldIndices(c); len(at) == 1 {
			fields[i] = kept.Schema().Field(at[0])
		}
	}
	for _, name := range s.spec.Tensors {
		col, err := s.tensors(ctx, name, named, seqs)
		if err != nil {
			return nil, err
		}
		fields, arrays = append(fields, arrow.Field{Name: name, Type: col.DataType(), Nullable: true}), append(arrays, col)
	}
	rec := array.NewRecord(arrow.NewSchema(fields, nil), arrays, int64(len(seqs)))
	return beside(rec, s.Along(b, why)), nil
}

// folded tells whether a column's folded value is in the sampler's memory.
func (s *Sampler) folded(column string) bool {
	switch column {
	case "reward":
		return s.view.Has(facts.Reward)
	case "priority":
		return s.view.Has(facts.Priority)
	case "advantage":
		return s.view.Has(facts.Advantage)
	case "quarantined":
		return true
	}
	return false
}

// foldedColumn is a folded column of rows, from memory.
func (s *Sampler) foldedColumn(column string, seqs []int64) arrow.Array {
	var r facts.Row
	if column == "quarantined" {
		out := array.NewBooleanBuilder(memory.DefaultAllocator)
		for _, seq := range seqs {
			if seq == pack.Null {
				out.AppendNull()
				continue
			}
			s.view.Read(seq, &r)
			out.Append(r.Quarantined)
		}
		return out.NewArray()
	}
	out := array.NewFloat64Builder(memory.DefaultAllocator)
	out.Reserve(len(seqs))
	for _, seq := range seqs {
		if seq == pack.Null {
			out.AppendNull()
			continue
		}
		s.view.Read(seq, &r)
		v := r.Reward
		switch column {
		case "priority":
			v = r.Priority
		case "advantage":
			v = r.Advantage
		}
		if math.IsNaN(v) { // null
			out.AppendNull()
			continue
		}
		out.Append(v)
	}
	return out.NewArray()
}

// gatherWithNulls reads one column from the lake, with nulls for rows that are gone.
func gatherWithNulls(ctx context.Context, s *Sampler, seqs []int64, column string) (arrow.Array, error) {
	rec, err := pack.New(&pack.Options{Limit: -1}).Gather(ctx, seqs, []string{column}, s.snap.Gather)
	if err != nil {
		return nil, err
	}
	return rec.Column(0), nil
}
