package datafile

import (
	"context"
	"iter"
	"slices"
	"sort"

	"github.com/apache/arrow/go/v17/arrow"

	"trajlake/schema/fault"
)

// Range is the rows [From, To) of a file.
type Range struct{ From, To int64 }

// ReadOptions say what Read reads; the zero value is everything.
type ReadOptions struct {
	// Columns are names of top-level columns; nil means all of the table. The
	// records have them in this order.
	Columns []string
	// Rows are ascending ranges that do not overlap; nil means all rows.
	Rows []Range
	// Bytes is the size of a record to aim at, estimated from the file's
	// metadata. Default 2 MB. A single row is never split.
	Bytes int64
}

const (
	defaultRecord = 2 << 20
	maxRecord     = 64 << 20 // a record of more than one row is cut above this
	window        = 512 << 10
	smallChunk    = 128 << 10
	maxBlock      = 4 << 20
	maxEntries    = 1 << 24 // of one page
	maxWhole      = 1 << 30 // of a chunk that must be decoded whole
	keptLeaves    = 16      // a scan of at most so many leaves, all scalar, fills the cache
)

// Read streams the rows as records, in file order. Memory is bounded by the
// record size, except that a column chunk of a file without page indexes is
// decoded whole. Records hold Go-managed memory: releasing them is optional.
// After an error the sequence ends.
func (f *File) Read(ctx context.Context, o ReadOptions) iter.Seq2[arrow.Record, error] {
	return func(yield func(arrow.Record, error) bool) {
		s, err := f.newScan(&o)
		if err != nil {
			yield(nil, f.fault("read", err))
			return
		}
		defer s.dec.release()
		for {
			rec, err := s.next(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			if rec == nil {
				return
			}
			for part := range cut(rec) {
				if !yield(part, nil) {
					return
				}
			}
		}
	}
}

// cut slices a record that turned out too large.
func cut(rec arrow.Record) iter.Seq[arrow.Record] {
	return func(yield func(arrow.Record) bool) {
		n := rec.NumRows()
		parts := min((RecordBytes(rec)+maxRecord-1)/maxRecord, n)
		if parts <= 1 {
			yield(rec)
			return
		}
		for i := range parts {
			if !yield(rec.NewSlice(n*i/parts, n*(i+1)/parts)) {
				return
			}
		}
	}
}

// scan is one Read on its way.
type scan struct {
	f       *File
	schema  *arrow.Schema
	fields  []*field
	leaves  []*leaf
	ranges  []Range
	target  int64
	keep    bool // decoded pages go into the cache
	dec     *decoder
	group   int // index of the row group of cursors; -1 before the first
	cursors []*cursor
}

func (f *File) newScan(o *ReadOptions) (*scan, error) {
	sch, fields, err := f.projection(o.Columns)
	if err != nil {
		return nil, err
	}
	s := &scan{f: f, schema: sch, fields: fields, target: o.Bytes, group: -1, dec: decoders.Get().(*decoder)}
	if s.target <= 0 {
		s.target = defaultRecord
	}
	s.target = min(s.target, maxRecord)
	s.leaves = needed(fields, []*File{f})
	s.keep = f.cache != nil && len(s.leaves) <= keptLeaves && !slices.ContainsFunc(s.leaves, func(l *leaf) bool { return l.rep > 0 })
	if s.ranges = slices.Clone(o.Rows); o.Rows == nil && f.NumRows() > 0 {
		s.ranges = []Range{{0, f.NumRows()}}
	}
	var end int64
	for _, r := range s.ranges {
		if r.From < end || r.To < r.From || r.To > f.NumRows() {
			return nil, fault.New(fault.Usage, "", "rows [%d, %d) do not ascend or lie outside of the file's %d", r.From, r.To, f.NumRows())
		}
		end = r.To
	}
	return s, nil
}

// next gives the next record; nil at the end.
func (s *scan) next(ctx context.Context) (rec arrow.Record, err error) {
	defer s.f.recover("read", &err)
	if err := ctx.Err(); err != nil {
		return nil, s.f.fault("read", err)
	}
	for len(s.ranges) > 0 && s.ranges[0].From == s.ranges[0].To {
		s.ranges = s.ranges[1:]
	}
	if len(s.ranges) == 0 {
		return nil, nil
	}
	if err := s.enter(ctx); err != nil {
		return nil, s.f.fault("read", err)
	}
	batch, rows := s.batch()
	a := assembler{streams: make([]*stream, len(s.f.leaves))}
	for i, c := range s.cursors {
		st := &stream{leaf: s.leaves[i]}
		c.presize(st, batch, rows)
		for _, r := range batch {
			if err := c.take(ctx, st, r.From, r.To); err != nil {
				return nil, s.f.fault("read", err)
			}
		}
		a.streams[st.leaf.index] = st
	}
	rec, err = a.record(s.schema, s.fields, rows)
	return rec, s.f.fault("read", err)
}

// groupAt is the index of the row group that holds a row.
func (f *File) groupAt(row int64) int {
	return sort.Search(len(f.groups), func(i int) bool { return f.groups[i].first+f.groups[i].rows > row })
}

// enter makes cursors for the row group of the next row.
func (s *scan) enter(ctx context.Context) error {
	i := s.f.groupAt(s.ranges[0].From)
	if i == s.group {
		return nil
	}
	s.group = i
	g := &s.f.groups[i]
	s.cursors = s.cursors[:0]
	for _, l := range s.leaves {
		locs, err := s.f.pages(g, l)
		if err != nil {
			return err
		}
		c := &g.chunks[l.index]
		s.cursors = append(s.cursors, &cursor{f: s.f, g: g, leaf: l, chunk: c.chunkMeta, locs: locs, dec: s.dec, cur: -1, keep: s.keep})
	}
	if s.ranges[0].From == g.first && s.ranges[0].To >= g.first+g.rows {
		return s.prefetch(ctx)
	}
	return nil
}

// prefetch reads small neighbouring chunks of the row group together.
func (s *scan) prefetch(ctx context.Context) error {
	var small []*cursor
	for _, c := range s.cursors {
		if c.chunk.size > 0 && c.chunk.size <= smallChunk && !c.cached() {
			small = append(small, c)
		}
	}
	sort.Slice(small, func(i, j int) bool { return small[i].chunk.start() < small[j].chunk.start() })
	for i := 0; i < len(small); {
		from, to := small[i].chunk.start(), small[i].chunk.start()+small[i].chunk.size
		j := i + 1
		for ; j < len(small); j++ {
			m := small[j].chunk
			if m.start() > to+smallChunk || m.start()+m.size-from > maxBlock {
				break
			}
			to = max(to, m.start()+m.size)
		}
		if j > i+1 {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := make([]byte, to-from)
			if err := s.f.readAt(b, from); err != nil {
				return err
			}
			for _, c := range small[i:j] {
				c.buf, c.bufOff = b, from
			}
		}
		i = j
	}
	return nil
}

// batch takes the next rows off s.ranges, all of the current row group, that
// come near the target size. The ranges it gives count from the group's start.
func (s *scan) batch() (out []Range, rows int) {
	g := &s.f.groups[s.group]
	left := float64(s.target)
	for len(s.ranges) > 0 {
		r := &s.ranges[0]
		if r.From == r.To {
			s.ranges = s.ranges[1:]
			continue
		}
		from, to := r.From-g.first, min(r.To-g.first, g.rows)
		if from >= g.rows {
			break
		}
		base := s.estimate(from)
		fits := sort.Search(int(to-from), func(n int) bool { return s.estimate(from+int64(n)+1)-base > left })
		if fits == 0 && rows > 0 {
			break
		}
		fits = max(fits, 1)
		end := from + int64(fits)
		left -= s.estimate(end) - base
		out = append(out, Range{from, end})
		rows += fits
		r.From += int64(fits)
		if end < to || left <= 0 {
			break
		}
	}
	return out, rows
}

// estimate is about how many bytes the projected columns of the group's first n
// rows take when decoded.
func (s *scan) estimate(n int64) float64 {
	var sum float64
	for _, c := range s.cursors {
		sum += c.estimate(n)
	}
	return sum + float64(n)*float64(len(s.fields))
}
