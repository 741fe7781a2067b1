package datafile

import (
	"encoding/binary"
	"math"

	"github.com/parquet-go/parquet-go/bloom"

	"trajlake/schema"
)

// Stats is what the file's statistics say of some of its rows. It has the shape
// that predicates of schema/where ask for.
type Stats interface {
	// Column gives bounds of a top-level scalar column (strings may be cut, so
	// bounds need not occur), its nulls and the number of rows; -1 and nil are
	// unknown. ok is false if nothing is known.
	Column(name string) (min, max any, nulls, rows int64, ok bool)
}

// Prune gives the rows that can match a predicate: those of the row groups, and
// within them of the pages, for which may says so. may gets the statistics of a
// row group, then those of runs of rows that stand in one page of every column
// of columns (the columns that the predicate reads; none means row groups only).
func (f *File) Prune(columns []string, may func(Stats) bool) (out []Range, err error) {
	defer f.recover("prune", &err)
	for i := range f.groups {
		g := &f.groups[i]
		if g.rows == 0 || !may(&groupStats{f, g}) {
			continue
		}
		cuts, err := f.cuts(g, columns)
		if err != nil {
			return nil, f.fault("prune", err)
		}
		for k := 0; k+1 < len(cuts); k++ {
			if len(cuts) > 2 {
				s, err := f.pageStats(g, columns, cuts[k], cuts[k+1])
				if err != nil {
					return nil, f.fault("prune", err)
				}
				if !may(s) {
					continue
				}
			}
			from, to := g.first+cuts[k], g.first+cuts[k+1]
			if n := len(out); n > 0 && out[n-1].To == from {
				out[n-1].To = to
			} else {
				out = append(out, Range{from, to})
			}
		}
	}
	if out == nil {
		out = []Range{} // nil would mean all rows to Read
	}
	return out, nil
}

// cuts are the rows of a group at which a page of any of the columns begins, and
// its end.
func (f *File) cuts(g *group, columns []string) ([]int64, error) {
	cuts := []int64{0}
	for _, name := range columns {
		l := f.scalar(name)
		if l == nil || g.chunks[l.index].colLen == 0 {
			continue
		}
		locs, err := f.pages(g, l)
		if err != nil {
			return nil, err
		}
		merged := make([]int64, 0, len(cuts)+len(locs))
		i := 0
		for _, p := range locs {
			for i < len(cuts) && cuts[i] < p.row {
				merged = append(merged, cuts[i])
				i++
			}
			if i < len(cuts) && cuts[i] == p.row {
				i++
			}
			merged = append(merged, p.row)
		}
		cuts = append(merged, cuts[i:]...)
	}
	return append(cuts, g.rows), nil
}

// scalar is the leaf of a top-level scalar column; nil if the file has none.
func (f *File) scalar(name string) *leaf {
	if x := f.shape.fields[name]; x != nil && x.leaf != nil && x.leaf.rep == 0 && x.leaf.def <= 1 {
		return x.leaf
	}
	return nil
}

// missing is what is known of a column that the file has not.
func (f *File) missing(name string, rows int64) (lo, hi any, nulls, n int64, ok bool) {
	if f.table.Column(name) != nil && !f.Has(name) {
		return nil, nil, rows, rows, true
	}
	return nil, nil, -1, rows, false
}

// groupStats are the statistics of a row group.
type groupStats struct {
	f *File
	g *group
}

func (s *groupStats) Column(name string) (lo, hi any, nulls, rows int64, ok bool) {
	l := s.f.scalar(name)
	if l == nil {
		return s.f.missing(name, s.g.rows)
	}
	m := s.g.chunks[l.index].stats
	lo, hi = s.f.shape.fields[name].decodeBounds(m.min, m.max)
	if l.def == 0 {
		m.nulls = 0
	}
	return lo, hi, m.nulls, s.g.rows, true
}

// pageStats are the statistics of a run of rows.
type pageStats struct {
	groupStats
	rows int64
	cols map[string]pageBounds
}

type pageBounds struct {
	lo, hi any
	nulls  int64
}

func (f *File) pageStats(g *group, columns []string, from, to int64) (*pageStats, error) {
	s := &pageStats{groupStats{f, g}, to - from, map[string]pageBounds{}}
	for _, name := range columns {
		l := f.scalar(name)
		if l == nil {
			continue
		}
		x, err := f.columnIndex(g, l)
		if err != nil {
			return nil, err
		}
		locs, err := f.pages(g, l)
		if err != nil {
			return nil, err
		}
		if x == nil || len(x.nullPage) != len(locs) {
			continue
		}
		i := locate(locs, from)
		b := pageBounds{nulls: -1}
		if x.nullPage[i] {
			b.nulls = s.rows
		} else {
			b.lo, b.hi = f.shape.fields[name].decodeBounds(x.min[i], x.max[i])
			if l.def == 0 || x.nulls != nil && x.nulls[i] == 0 {
				b.nulls = 0
			}
		}
		s.cols[name] = b
	}
	return s, nil
}

func (s *pageStats) Column(name string) (lo, hi any, nulls, rows int64, ok bool) {
	b, known := s.cols[name]
	if !known {
		// Bounds of the row group hold for its pages, its nulls do not.
		if lo, hi, nulls, _, ok = s.groupStats.Column(name); nulls == s.g.rows && ok {
			return lo, hi, s.rows, s.rows, ok
		}
		if nulls > 0 {
			nulls = -1
		}
		return lo, hi, nulls, s.rows, ok
	}
	return b.lo, b.hi, b.nulls, s.rows, true
}

// columnIndex parses a chunk's column index; nil if it has none or a useless one.
func (f *File) columnIndex(g *group, l *leaf) (*columnIndex, error) {
	c := &g.chunks[l.index]
	if c.colIdx == 0 || c.colLen == 0 {
		return nil, nil
	}
	b, err := f.indexBytes(c.colIdx, c.colLen)
	if err != nil {
		return nil, err
	}
	x, err := parseColumnIndex(b)
	if err != nil {
		return nil, corruptf("column index of %v: %w", l.path, err)
	}
	n := len(x.nullPage)
	if len(x.min) != n || len(x.max) != n || x.nulls != nil && len(x.nulls) != n {
		return nil, corruptf("column index of %v has lists of different lengths", l.path)
	}
	return x, nil
}

// decodeBounds turns encoded bounds into values of the column's kind; nil where
// they are unknown or make no order that the lake can use.
func (f *field) decodeBounds(lo, hi []byte) (any, any) {
	a, okA := f.decodeBound(lo, false)
	b, okB := f.decodeBound(hi, true)
	if !okA || !okB {
		return nil, nil
	}
	return a, b
}

func (f *field) decodeBound(b []byte, upper bool) (any, bool) {
	size := map[int32]int{physBoolean: 1, physInt32: 4, physFloat: 4, physInt64: 8, physDouble: 8}[f.leaf.typ]
	if b == nil || size > 0 && len(b) != size || size == 0 && f.leaf.typ != physBytes {
		return nil, false
	}
	le := binary.LittleEndian
	switch f.col.Kind {
	case schema.String:
		return string(b), true
	case schema.Boolean:
		return b[0] != 0, true
	case schema.Byte, schema.Int, schema.Long:
		if f.leaf.typ == physInt64 {
			return int64(le.Uint64(b)), true
		}
		if f.leaf.uint {
			return int64(le.Uint32(b)), true
		}
		return int64(int32(le.Uint32(b))), true
	case schema.Float, schema.Double:
		v := float64(0)
		if f.leaf.typ == physFloat {
			v = float64(math.Float32frombits(le.Uint32(b)))
		} else {
			v = math.Float64frombits(le.Uint64(b))
		}
		return v, v == v
	case schema.Timestamp:
		if f.leaf.typ != physInt64 {
			return nil, false
		}
		v := longs(f, &values{i64: []int64{int64(le.Uint64(b))}})[0]
		if upper && f.leaf.unit == 1 {
			v++ // nanoseconds were rounded down
		}
		return schema.Time(v), true
	}
	return nil, false
}

// MightHold asks the bloom filter of a string column whether a row with the value
// can be in the file; true if there is no filter. A false answer is certain.
func (f *File) MightHold(column, value string) (may bool, err error) {
	defer f.recover("look up in", &err)
	l := f.scalar(column)
	if l == nil || l.typ != physBytes {
		return f.Has(column), nil
	}
	h := bloom.XXH64{}.Sum64([]byte(value))
	for i := range f.groups {
		c := &f.groups[i].chunks[l.index]
		if c.bloomOff == 0 || c.bloomLen <= 0 {
			return true, nil
		}
		b := make([]byte, min(int64(c.bloomLen), f.size))
		if err := f.readAt(b, c.bloomOff); err != nil {
			return false, f.fault("look up in", err)
		}
		bits, ok := bloomBits(b)
		if !ok || bloom.MakeSplitBlockFilter(bits).Check(h) {
			return true, nil
		}
	}
	return false, nil
}

// bloomBits takes the header off a filter; ok is false for a kind that is not
// known.
func bloomBits(b []byte) (bits []byte, ok bool) {
	r := &compactReader{b: b}
	var n int32
	known := 0
	r.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == tI32:
			n = r.i32()
		case id >= 2 && id <= 4 && typ == tStruct:
			r.fields(func(id int16, typ byte) {
				if id == 1 {
					known++
				}
				r.skip(typ)
			})
		default:
			r.skip(typ)
		}
	})
	if r.err != nil || known != 3 || n <= 0 || n%bloom.BlockSize != 0 || int(n) > len(b)-r.pos {
		return nil, false
	}
	return b[r.pos : r.pos+int(n)], true
}
