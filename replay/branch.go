package replay

import (
	"context"
	"fmt"
	"sort"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/replay/law"
	"trajlake/schema/fault"
	"trajlake/store"
)

// A rollout that forked is one row whose segments form trees. Its branches are the
// paths from a root to a leaf, numbered in the order of the leaves. Rows without
// segments, and rows whose segments name no parents, have one branch: the whole row.
//
// Where units are branches, a unit's key is its number: branches of earlier rows
// come first. The row's id stands for its only branch; of several, branch k is
// called <trajectory_id>#<k>.

// fork is a row with more than one branch.
type fork struct {
	seq   int64
	ids   []uint64 // of its branches
	extra int64    // branches beyond the first of each row before it
}

// forks are all of them, ascending.
type forks []fork

// readForks continues forks with the rows from a place on.
func readForks(ctx context.Context, snap *store.Snapshot, before forks, from, to int64) (forks, error) {
	out := before[:len(before):len(before)]
	if from >= to {
		return out, nil
	}
	extra := out.total()
	for rec, err := range snap.Scan(ctx, store.ScanOptions{Columns: []string{"row_seq", "trajectory_id", "segments"}, From: from, To: to}) {
		if err != nil {
			return nil, fault.Wrap("read segments of "+snap.String(), err)
		}
		seqs := rec.Column(0).(*array.Int64)
		ids, segments := rec.Column(1).(array.StringLike), newSegmentColumn(rec.Column(2))
		for i := range int(rec.NumRows()) {
			n := len(leaves(segments.of(i)))
			if n < 2 {
				continue
			}
			f := fork{seqs.Value(i), make([]uint64, n), extra}
			for k := range f.ids {
				f.ids[k] = law.ID64(fmt.Sprintf("%s#%d", ids.Value(i), k))
			}
			out = append(out, f)
			extra += int64(n - 1)
		}
	}
	return out, nil
}

// total is how many branches there are beyond one for each row.
func (f forks) total() int64 {
	if len(f) == 0 {
		return 0
	}
	last := f[len(f)-1]
	return last.extra + int64(len(last.ids)) - 1
}

// of gives the first key of a row and the number of its branches.
func (f forks) of(seq int64) (first uint32, paths int) {
	i := sort.Search(len(f), func(i int) bool { return f[i].seq >= seq })
	switch {
	case i < len(f) && f[i].seq == seq:
		return uint32(seq + f[i].extra), len(f[i].ids)
	case i < len(f):
		return uint32(seq + f[i].extra), 1
	}
	return uint32(seq + f.total()), 1
}

// row gives the row of a key, and which of its branches the key is.
func (f forks) row(key uint32) (seq int64, path int32) {
	i := sort.Search(len(f), func(i int) bool { return f[i].seq+f[i].extra > int64(key) }) - 1
	if i < 0 {
		return int64(key), 0
	}
	off := int64(key) - f[i].seq - f[i].extra
	if off < int64(len(f[i].ids)) {
		return f[i].seq, int32(off)
	}
	return int64(key) - f[i].extra - int64(len(f[i].ids)) + 1, 0
}

// ids are the numbers by which the branches of a row take part in keyed draws; nil
// for its only one, whose number is the row's.
func (f forks) ids(seq int64) []uint64 {
	i := sort.Search(len(f), func(i int) bool { return f[i].seq >= seq })
	if i < len(f) && f[i].seq == seq {
		return f[i].ids
	}
	return nil
}

// segment is a run of a row's tokens.
type segment struct {
	parent     int32 // −1: none
	keep       int32 // tokens of the parent's path before it; −1: all
	start, end int32
}

// leaves are the segments that end the branches of a row; nil if the whole row is
// the only one.
func leaves(segments []segment) (out []int32) {
	inner, grown := make([]bool, len(segments)), false
	for i, s := range segments {
		if s.parent >= 0 && int(s.parent) < i {
			inner[s.parent], grown = true, true
		}
	}
	if !grown {
		return nil
	}
	for i := range segments {
		if !inner[i] {
			out = append(out, int32(i))
		}
	}
	return out
}

// path is the tokens of the branch that ends in a leaf, as stretches of the row's:
// of each segment's path so much as the next one keeps, and that one's own.
func path(segments []segment, leaf int32) (out [][2]int32) {
	var chain []int32
	for i := leaf; i >= 0; i = segments[i].parent {
		chain = append(chain, i)
	}
	length := int32(0)
	for k := len(chain) - 1; k >= 0; k-- {
		s := segments[chain[k]]
		if s.parent >= 0 && s.keep >= 0 {
			for length > s.keep {
				last := &out[len(out)-1]
				cut := min(length-s.keep, last[1]-last[0])
				last[1] -= cut
				if length -= cut; last[0] == last[1] {
					out = out[:len(out)-1]
				}
			}
		}
		if s.start < s.end {
			out = append(out, [2]int32{s.start, s.end})
			length += s.end - s.start
		}
	}
	return out
}

// segmentColumn reads the column segments.
type segmentColumn struct {
	list                     *array.List
	parent, keep, start, end *array.Int32
}

func newSegmentColumn(col arrow.Array) segmentColumn {
	list, ok := col.(*array.List)
	if !ok {
		return segmentColumn{}
	}
	c := segmentColumn{list: list}
	fields := list.ListValues().(*array.Struct)
	kind := fields.DataType().(*arrow.StructType)
	for _, f := range []struct {
		name string
		to   **array.Int32
	}{{"parent", &c.parent}, {"prefix_len", &c.keep}, {"start", &c.start}, {"end", &c.end}} {
		if i, ok := kind.FieldIdx(f.name); ok {
			*f.to, _ = fields.Field(i).(*array.Int32)
		}
	}
	return c
}

func (c segmentColumn) of(i int) []segment {
	if c.list == nil || c.list.IsNull(i) {
		return nil
	}
	from, to := c.list.ValueOffsets(i)
	out := make([]segment, 0, to-from)
	value := func(a *array.Int32, k int, null int32) int32 {
		if a == nil || a.IsNull(k) {
			return null
		}
		return a.Value(k)
	}
	for k := int(from); k < int(to); k++ {
		out = append(out, segment{value(c.parent, k, -1), value(c.keep, k, -1), value(c.start, k, 0), value(c.end, k, 0)})
	}
	return out
}

// byToken are the columns that hold one value for each token.
var byToken = map[string]bool{"token_ids": true, "loss_mask": true, "logprobs": true}

// cutPaths leaves of the rows of a batch's branches the tokens on their paths: in
// token_ids, loss_mask and logprobs. All else stays that of the whole row.
func (s *Sampler) cutPaths(b *Batch, stored arrow.Record) (arrow.Record, error) {
	if s.spec.Unit != UnitBranch {
		return stored, nil
	}
	at := stored.Schema().FieldIndices("segments")
	if len(at) == 0 {
		return nil, fault.New(fault.Internal, "cut branches of batch "+b.ID, "the rows were read without segments")
	}
	segments := newSegmentColumn(stored.Column(at[0]))
	var paths [][][2]int32 // nil: the whole row
	i := 0
	for _, slot := range b.Slots {
		for _, m := range slot.Members {
			if !s.comes(m) {
				continue
			}
			var p [][2]int32
			row := segments.of(i)
			if ends := leaves(row); int(m.Path) < len(ends) {
				p = path(row, ends[m.Path])
				if p == nil {
					p = [][2]int32{}
				}
			}
			paths = append(paths, p)
			i++
		}
	}
	cols := append([]arrow.Array{}, stored.Columns()...)
	for c, field := range stored.Schema().Fields() {
		if !byToken[field.Name] {
			continue
		}
		cut, err := cutLists(cols[c], paths)
		if err != nil {
			return nil, fault.WrapAs(fault.Corrupt, "cut branches of batch "+b.ID, err)
		}
		cols[c] = cut
	}
	return array.NewRecord(stored.Schema(), cols, stored.NumRows()), nil
}

// cutLists keeps stretches of each row's list.
func cutLists(col arrow.Array, paths [][][2]int32) (arrow.Array, error) {
	list, ok := col.(array.ListLike)
	if !ok {
		return col, nil
	}
	mem := memory.DefaultAllocator
	build := array.NewBuilder(mem, col.DataType()).(array.ListLikeBuilder)
	for i, p := range paths {
		if list.IsNull(i) {
			build.AppendNull()
			continue
		}
		from, to := list.ValueOffsets(i)
		switch {
		case from == to: // a row without, say, logprobs
			p = nil
		case p == nil:
			p = [][2]int32{{0, int32(to - from)}}
		}
		build.Append(true)
		for _, stretch := range p {
			lo, hi := from+int64(stretch[0]), from+int64(stretch[1])
			if stretch[0] < 0 || lo > hi || hi > to {
				return nil, fault.New(fault.Corrupt, "cut a path", "segment from %d to %d of %d tokens", stretch[0], stretch[1], to-from)
			}
			appendStretch(build.ValueBuilder(), list.ListValues(), int(lo), int(hi))
		}
	}
	return build.NewArray(), nil
}

func appendStretch(to array.Builder, from arrow.Array, lo, hi int) {
	switch from := from.(type) {
	case *array.Int32:
		to.(*array.Int32Builder).AppendValues(from.Int32Values()[lo:hi], nil)
	case *array.Int8:
		to.(*array.Int8Builder).AppendValues(from.Int8Values()[lo:hi], nil)
	case *array.Float32:
		to.(*array.Float32Builder).AppendValues(from.Float32Values()[lo:hi], nil)
	}
}
