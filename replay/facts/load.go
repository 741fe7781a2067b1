package facts

import (
	"context"
	"math"
	"runtime"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"golang.org/x/sync/errgroup"

	"trajlake/replay/law"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// loading is one read of facts from the lake into chunks and pages of a view
// under construction.
type loading struct {
	v      *View
	need   Set
	ids    bool // ids too: the chunks are new
	static bool
	pages  bool
}

// minShare is the least number of chunks worth a goroutine of its own.
const minShare = 8

// load reads rows [from, to). A chunk that from cuts is grown: its first rows come
// from the chunk that is there.
func (v *View) load(ctx context.Context, l loading, from, to int64) error {
	if from >= to {
		return nil
	}
	l.v = v
	first, last := from>>chunkBits, (to+chunkMask)>>chunkBits
	for int64(len(v.chunks)) < last {
		v.chunks = append(v.chunks, nil)
	}
	for int64(len(v.pages)) < (to+pageMask)>>pageBits {
		v.pages = append(v.pages, nil)
	}
	workers := max(1, min(int64(runtime.GOMAXPROCS(0)), (last-first)/minShare))
	group, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		lo, hi := first+(last-first)*w/workers, first+(last-first)*(w+1)/workers
		group.Go(func() error { return l.run(ctx, max(from, lo<<chunkBits), min(to, hi<<chunkBits)) })
	}
	return group.Wait()
}

// run reads rows [from, to); only from may lie within a chunk.
func (l *loading) run(ctx context.Context, from, to int64) error {
	f := &filling{loading: l, b: newBuilder(l.need, l.static, l.ids, l.pages), to: to}
	f.start(from)
	for rec, err := range l.v.snap.Scan(ctx, store.ScanOptions{Columns: l.columns(), From: from, To: to}) {
		if err != nil {
			return err
		}
		if err := f.record(ctx, rec); err != nil {
			return err
		}
	}
	return f.advance(ctx, to)
}

// columns are the columns to scan; row_seq is the first.
func (l *loading) columns() []string {
	out := []string{"row_seq"}
	if l.ids {
		out = append(out, "trajectory_id")
	}
	if l.static {
		for _, c := range columns {
			if l.need&c.set != 0 && c.name != "" {
				out = append(out, c.name)
			}
		}
		if l.need&Tokens != 0 {
			out = append(out, "token_ids", "prompt_tokens", "completion_tokens")
		}
	}
	if l.need&Reward != 0 {
		out = append(out, "reward_raw")
	}
	if l.pages {
		out = append(out, foldedNames(l.need)...)
	}
	return out
}

// foldedNames are the columns of what annotations decide.
func foldedNames(need Set) []string {
	out := []string{"quarantined"}
	for _, c := range foldedColumns {
		if need&c.set != 0 && hasColumn(c.name) {
			out = append(out, c.name)
		}
	}
	return out
}

func hasColumn(name string) bool {
	return slices.ContainsFunc(where.FoldedColumns(), func(c *schema.Column) bool { return c.Name == name })
}

// filling is one goroutine's part of a loading: the chunk it is at.
type filling struct {
	*loading
	b    *builder
	base int64 // place of the chunk's first row
	from int64 // places below this are in the builder already
	to   int64
	at   []int32 // of each row of a record, its place in the chunk

	recent [textColumns][recentTexts]recentText
}

// start makes the builder that of the chunk of place from.
func (f *filling) start(from int64) {
	f.base, f.from = from&^chunkMask, from
	f.b.reset(int(min(f.to-f.base, chunkRows)))
	if n := int(from - f.base); n > 0 {
		pages := f.v.pages[f.base>>pageBits : (from+pageMask)>>pageBits]
		f.b.preload(f.v.chunks[f.base>>chunkBits], pages, n)
	}
}

// advance finishes the chunks before the one that holds place to.
func (f *filling) advance(ctx context.Context, to int64) error {
	for f.base < to && (f.base+chunkRows <= to || to == f.to) {
		if err := f.finish(ctx); err != nil {
			return err
		}
		next := f.base + chunkRows
		if next >= f.to {
			f.base = next
			return nil
		}
		f.start(next)
	}
	return nil
}

// finish puts the chunk into the view.
func (f *filling) finish(ctx context.Context) error {
	if err := f.fillGone(ctx); err != nil {
		return err
	}
	if f.static {
		i := f.base >> chunkBits
		f.v.chunks[i] = f.b.chunk(f.v.chunks[i])
	}
	if f.pages {
		for k := 0; k*pageRows < f.b.rows; k++ {
			i := f.base>>pageBits + int64(k)
			f.v.pages[i] = f.b.page(k, f.v.pages[i])
		}
	}
	return nil
}

// record takes the rows of one record, which are in the order of places.
func (f *filling) record(ctx context.Context, rec arrow.Record) error {
	seqs, ok := rec.Column(0).(*array.Int64)
	if !ok {
		return wrongType(rec, 0)
	}
	places := seqs.Int64Values()
	for lo := 0; lo < len(places); {
		if err := f.advance(ctx, places[lo]&^chunkMask); err != nil {
			return err
		}
		hi := lo
		for f.at = f.at[:0]; hi < len(places) && places[hi] < f.base+chunkRows; hi++ {
			at := int32(places[hi] - f.base)
			f.at = append(f.at, at)
			f.b.present[at/64] |= 1 << (at % 64)
		}
		for i := 1; i < int(rec.NumCols()); i++ {
			if !f.take(rec.ColumnName(i), array.NewSlice(rec.Column(i), int64(lo), int64(hi))) {
				return wrongType(rec, i)
			}
		}
		lo = hi
	}
	return nil
}

func wrongType(rec arrow.Record, i int) error {
	return fault.New(fault.Internal, "read facts", "column %s is of type %s", rec.ColumnName(i), rec.Column(i).DataType())
}

// take puts the values of one column into the builder.
func (f *filling) take(name string, a arrow.Array) bool {
	switch name {
	case "trajectory_id":
		ids, ok := a.(*array.String)
		for i := 0; ok && i < ids.Len(); i++ {
			f.b.ids[f.at[i]] = law.ID64(ids.Value(i))
		}
		return ok
	case "quarantined":
		bools, ok := a.(*array.Boolean)
		for i := 0; ok && i < bools.Len(); i++ {
			if bools.IsValid(i) && bools.Value(i) {
				f.b.inQuarantine[f.at[i]/64] |= 1 << (f.at[i] % 64)
			}
		}
		return ok
	case "reward_raw":
		return f.floats(f.b.raw, a)
	case "token_ids", "prompt_tokens", "completion_tokens":
		return f.tokens(name, a)
	}
	for k, c := range foldedColumns {
		if c.name == name {
			return f.floats(f.b.folded[k], a)
		}
	}
	for c := range columns {
		if columns[c].name == name {
			if c < textColumns {
				return f.texts(c, a)
			}
			return f.longs(f.b.ints[c], a)
		}
	}
	return false
}

func (f *filling) floats(dst []float64, a arrow.Array) bool {
	d, ok := a.(*array.Float64)
	if !ok {
		return false
	}
	for i, v := range d.Float64Values() {
		if d.IsValid(i) {
			dst[f.at[i]] = v
		}
	}
	return true
}

// texts translates a column of texts. Rows that follow each other often have the
// same one.
func (f *filling) texts(c int, a arrow.Array) bool {
	s, ok := a.(*array.String)
	if !ok {
		return false
	}
	d := f.v.base.dictionaries[c]
	d.mu.Lock()
	defer d.mu.Unlock()
	dst, recent := f.b.ints[c], &f.recent[c]
	for i := range s.Len() {
		if s.IsNull(i) {
			continue
		}
		t := s.Value(i)
		r := &recent[recentSlot(t)]
		if r.text != t || r.code == 0 {
			r.text, r.code = t, d.code(t)
		}
		dst[f.at[i]] = int64(r.code)
	}
	return true
}

// recentText is a text, in memory of a record, with its code.
type recentText struct {
	text string
	code uint32
}

// recentTexts is how many texts of a column are found without a dictionary: those
// of levels, sets and states, and the ids of the run that the rows are of.
const recentTexts = 64

func recentSlot(t string) int {
	if t == "" {
		return 0
	}
	return (len(t)*13 + int(t[0])*5 + int(t[len(t)-1])) % recentTexts
}

func (f *filling) longs(dst []int64, a arrow.Array) bool {
	switch a := a.(type) {
	case *array.Int64:
		for i, v := range a.Int64Values() {
			if a.IsValid(i) {
				dst[f.at[i]] = v
			}
		}
	case *array.Int32:
		for i, v := range a.Int32Values() {
			if a.IsValid(i) {
				dst[f.at[i]] = int64(v)
			}
		}
	case *array.Timestamp:
		for i, v := range a.TimestampValues() {
			if a.IsValid(i) {
				dst[f.at[i]] = int64(v)
			}
		}
	case *array.Boolean:
		for i := range a.Len() {
			if a.IsValid(i) {
				dst[f.at[i]] = 0
				if a.Value(i) {
					dst[f.at[i]] = 1
				}
			}
		}
	default:
		return false
	}
	return true
}

// tokens counts token_ids, which come first; where there are none, it adds up
// prompt and completion tokens. While a chunk is being made a count of token_ids
// is kept negative, so that the others are not added to it.
func (f *filling) tokens(name string, a arrow.Array) bool {
	dst := f.b.ints[colTokens]
	if name == "token_ids" {
		l, ok := a.(array.ListLike)
		for i := 0; ok && i < a.Len(); i++ {
			dst[f.at[i]] = 0
			if from, to := l.ValueOffsets(i); a.IsValid(i) && to > from {
				dst[f.at[i]] = from - to
			}
		}
		return ok
	}
	n, ok := a.(*array.Int64)
	if !ok {
		return false
	}
	for i, v := range n.Int64Values() {
		if at := f.at[i]; dst[at] >= 0 && n.IsValid(i) {
			dst[at] = clampedSum(dst[at], v)
		}
	}
	if name == "completion_tokens" {
		for _, at := range f.at {
			if dst[at] < 0 {
				dst[at] = -dst[at]
			}
		}
	}
	return true
}

// clampedSum adds counts; what is negative or too large for a count is cut off.
func clampedSum(a, b int64) int64 {
	if b = max(b, 0); a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// quoted is a column's name as a predicate takes it.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
