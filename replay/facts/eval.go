package facts

import (
	"context"
	"math"
	"math/bits"
	"runtime"
	"sync/atomic"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"golang.org/x/sync/errgroup"

	"trajlake/schema/where"
)

// Holding is the facts that a column of predicates belongs to, 0 for columns that
// every view has. ok is false for columns that no view has.
func Holding(name string) (facts Set, ok bool) {
	switch name {
	case "quarantined", "row_seq":
		return 0, true
	case "reward_raw":
		return Reward, true
	}
	for _, c := range foldedColumns {
		if c.name == name {
			return c.set, true
		}
	}
	for _, c := range columns {
		if c.name == name && name != "" {
			return c.set, true
		}
	}
	return 0, false
}

// holds reports whether the view has all the columns.
func (v *View) holds(names []string) bool {
	for _, name := range names {
		if set, ok := Holding(name); !ok || !v.Has(set) {
			return false
		}
	}
	return true
}

// isFolded reports whether annotations change one of the columns.
func isFolded(names []string) bool {
	for _, name := range names {
		switch name {
		case "reward", "priority", "advantage", "quarantined":
			return true
		}
	}
	return false
}

// columnOf makes an array of a held column for some places.
func (v *View) columnOf(name string, seqs []int64) arrow.Array {
	mem := memory.DefaultAllocator
	switch name {
	case "row_seq":
		b := array.NewInt64Builder(mem)
		b.AppendValues(seqs, nil)
		return b.NewArray()
	case "quarantined":
		b := array.NewBooleanBuilder(mem)
		for _, seq := range seqs {
			b.Append(bitAt(v.pages[seq>>pageBits].quarantined, int(seq&pageMask)))
		}
		return b.NewArray()
	case "reward_raw":
		return v.floatsOf(seqs, func(*page) *doubles { return nil }, true)
	case "reward":
		return v.floatsOf(seqs, func(p *page) *doubles { return p.reward }, true)
	case "priority":
		return v.floatsOf(seqs, func(p *page) *doubles { return p.priority }, false)
	case "advantage":
		return v.floatsOf(seqs, func(p *page) *doubles { return p.advantage }, false)
	}
	for c := range columns {
		if columns[c].name == name {
			if c < textColumns {
				return v.textsOf(c, seqs)
			}
			return v.longsOf(c, seqs)
		}
	}
	return nil
}

// floatsOf reads a folded column; raw says that rows of pages without it have
// their own reward, and not null.
func (v *View) floatsOf(seqs []int64, of func(*page) *doubles, raw bool) arrow.Array {
	b := array.NewFloat64Builder(memory.DefaultAllocator)
	b.Reserve(len(seqs))
	for _, seq := range seqs {
		x := math.NaN()
		if d := of(v.pages[seq>>pageBits]); d != nil {
			x = d.get(int(seq & pageMask))
		} else if raw {
			x = v.chunks[seq>>chunkBits].raw.get(int(seq & chunkMask))
		}
		if math.IsNaN(x) {
			b.AppendNull()
		} else {
			b.Append(x)
		}
	}
	return b.NewArray()
}

func (v *View) textsOf(c int, seqs []int64) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	b.Reserve(len(seqs))
	d, last, text := v.base.dictionaries[c], int64(0), ""
	for _, seq := range seqs {
		code := v.chunks[seq>>chunkBits].ints[c].get(int(seq&chunkMask), 0)
		if code == 0 {
			b.AppendNull()
			continue
		}
		if code != last {
			last, text = code, d.get(uint32(code))
		}
		b.Append(text)
	}
	return b.NewArray()
}

func (v *View) longsOf(c int, seqs []int64) arrow.Array {
	mem := memory.DefaultAllocator
	values, valid := make([]int64, len(seqs)), make([]bool, len(seqs))
	for i, seq := range seqs {
		n := v.chunks[seq>>chunkBits].ints[c].get(int(seq&chunkMask), absent)
		values[i], valid[i] = n, n != absent
	}
	switch c {
	case colSuccess:
		b := array.NewBooleanBuilder(mem)
		for i, n := range values {
			if valid[i] {
				b.Append(n == 1)
			} else {
				b.AppendNull()
			}
		}
		return b.NewArray()
	case colFinished, colIngested:
		b := array.NewTimestampBuilder(mem, arrow.FixedWidthTypes.Timestamp_us.(*arrow.TimestampType))
		for i, n := range values {
			if valid[i] {
				b.Append(arrow.Timestamp(n))
			} else {
				b.AppendNull()
			}
		}
		return b.NewArray()
	}
	b := array.NewInt64Builder(mem)
	b.AppendValues(values, valid)
	return b.NewArray()
}

// Table makes a record of columns as predicates and weights name them, as the
// snapshot has them, for the rows at some places; absent rows must not be among
// them. Nothing is read from the lake: ok is false when the view does not hold one
// of the columns (see Holding).
func (v *View) Table(columns []string, seqs []int64) (rec arrow.Record, ok bool) {
	if !v.holds(columns) {
		return nil, false
	}
	return v.record(columns, seqs), true
}

// record makes a record of held columns for some places.
func (v *View) record(names []string, seqs []int64) arrow.Record {
	fields, cols := make([]arrow.Field, len(names)), make([]arrow.Array, len(names))
	for i, name := range names {
		cols[i] = v.columnOf(name, seqs)
		fields[i] = arrow.Field{Name: name, Type: cols[i].DataType(), Nullable: true}
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), cols, int64(len(seqs)))
}

// condition is one conjunct of a predicate, bound.
type condition struct {
	text    string
	expr    *where.Expr
	bound   *where.Bound
	columns []string
}

func bind(e *where.Expr) (*condition, error) {
	b, err := e.Bind(where.FoldedColumns())
	if err != nil {
		return nil, err
	}
	return &condition{e.String(), e, b, e.Columns()}, nil
}

// places evaluates held columns for single places, ascending, and calls hit for
// those that satisfy the condition.
func (c *condition) places(v *View, seqs []int64, hit func(int64)) error {
	for lo := 0; lo < len(seqs); lo += chunkRows {
		part := seqs[lo:min(lo+chunkRows, len(seqs))]
		mask, err := c.bound.Filter(v.record(c.columns, part))
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

// held evaluates held columns for rows [from, to), chunk by chunk.
func (c *condition) held(v *View) evaluation {
	return func(ctx context.Context, words []uint64, from, to int64) error {
		one, err := c.chunkwise(v, to-from)
		if err != nil {
			return err
		}
		var next atomic.Int64
		next.Store(from >> chunkBits)
		group, ctx := errgroup.WithContext(ctx)
		for range runtime.GOMAXPROCS(0) {
			group.Go(func() error {
				for {
					i := next.Add(1) - 1
					lo, hi := max(from, i<<chunkBits), min(to, (i+1)<<chunkBits)
					if lo >= hi {
						return nil
					}
					if err := ctx.Err(); err != nil {
						return err
					}
					if err := one(words, lo, hi); err != nil {
						return err
					}
				}
			})
		}
		return group.Wait()
	}
}

// chunkwise is how rows of one chunk are evaluated. A condition over one column
// of texts is evaluated once for each text.
func (c *condition) chunkwise(v *View, rows int64) (func(words []uint64, from, to int64) error, error) {
	if len(c.columns) == 1 {
		for k := range textColumns {
			if columns[k].name == c.columns[0] && int64(v.base.dictionaries[k].len()) <= rows {
				return c.byText(v, k)
			}
		}
	}
	return func(words []uint64, from, to int64) error {
		seqs := make([]int64, 0, to-from)
		for seq := from; seq < to; seq++ {
			seqs = append(seqs, seq)
		}
		return c.places(v, seqs, func(seq int64) { words[seq/64] |= 1 << (seq % 64) })
	}, nil
}

func (c *condition) byText(v *View, k int) (func(words []uint64, from, to int64) error, error) {
	d := v.base.dictionaries[k]
	n := d.len()
	hits := make([]bool, n+1)
	for lo := 0; lo <= n; lo += chunkRows {
		b := array.NewStringBuilder(memory.DefaultAllocator)
		hi := min(lo+chunkRows, n+1)
		for code := lo; code < hi; code++ {
			if code == 0 {
				b.AppendNull()
			} else {
				b.Append(d.get(uint32(code)))
			}
		}
		s := arrow.NewSchema([]arrow.Field{{Name: c.columns[0], Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
		mask, err := c.bound.Filter(array.NewRecord(s, []arrow.Array{b.NewArray()}, int64(hi-lo)))
		if err != nil {
			return nil, err
		}
		for i := range hi - lo {
			hits[lo+i] = mask.Selected(i)
		}
	}
	return func(words []uint64, from, to int64) error {
		p := &v.chunks[from>>chunkBits].ints[k]
		for seq := from; seq < to; seq++ {
			if hits[p.get(int(seq&chunkMask), 0)] {
				words[seq/64] |= 1 << (seq % 64)
			}
		}
		return nil
	}, nil
}

// count is the number of bits below n.
func count(words []uint64, n int64) (total int64) {
	for i := range n / 64 {
		total += int64(bits.OnesCount64(words[i]))
	}
	if n%64 != 0 {
		total += int64(bits.OnesCount64(words[n/64] & (1<<(n%64) - 1)))
	}
	return total
}
