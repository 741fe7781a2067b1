// Package pack is a local cache of rows of the lake, for batches that are drawn at
// random: Parquet gives up a page for every column of every row, a pack one stretch of bytes.
//
// Rows never change and have a place for ever, so that a cached row is right
// whenever it is found. The cache is disposable: its files have no name, hold only what
// was read before, and go with the process. When they exceed the limit, the oldest go.
// What is drawn never depends on what is cached.
package pack

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema/fault"
)

// Options are the settings of a Cache; the zero value is good.
type Options struct {
	Dir   string // of the files; "" = the system's folder for temporary files
	Limit int64  // of bytes on disk; 0 = 4 GiB, below 0 = no cache
}

// Null stands among places for a row of nulls.
const Null = int64(-1)

// defaultLimit is the greatest size of the files together.
const defaultLimit = 4 << 30

// Fetch reads rows by their places, in the order asked, with columns in the order asked.
type Fetch func(ctx context.Context, seqs []int64, columns []string) (arrow.Record, error)

// Cache keeps rows. It is safe for concurrent use.
type Cache struct {
	opt  Options
	hits atomic.Int64
	miss atomic.Int64

	mu     sync.Mutex
	sets   map[string]*set // by their columns
	files  segments
	closed bool
}

// set is the rows that are cached with one list of columns.
type set struct {
	schema *arrow.Schema
	where  map[int64]*[chunkRows]place // by place / chunkRows
}

// chunkRows is how many neighbouring rows share a piece of the table.
const chunkRows = 4096

// New makes a cache. Nothing is written before the first row is.
func New(o *Options) *Cache {
	c := &Cache{sets: map[string]*set{}}
	if o != nil {
		c.opt = *o
	}
	if c.opt.Limit == 0 {
		c.opt.Limit = defaultLimit
	}
	c.files = newSegments(c.opt)
	return c
}

// Close gives the files back. Gather goes on without a cache. Idempotent.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed, c.sets = true, nil
	return c.files.close()
}

// Stats tells rows found and not found so far, and the bytes of the files.
func (c *Cache) Stats() (hits, misses, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits.Load(), c.miss.Load(), c.files.bytes
}

// Gather gives rows in the order of seqs, repeated ones included, with the columns
// in the order asked; what is not cached comes from fetch and is cached then. The columns
// must be immutable ones: stored columns of trajectories, not folded ones. The place
// Null gives a row of nulls.
func (c *Cache) Gather(ctx context.Context, seqs []int64, columns []string, fetch Fetch) (arrow.Record, error) {
	nulls := slices.Contains(seqs, Null)
	if !nulls && (c.opt.Limit < 0 || len(seqs) == 0 || len(columns) == 0) {
		return fetch(ctx, seqs, columns)
	}
	key := strings.Join(columns, "\x00")
	frames := make([][]byte, len(seqs))
	sc, pins, missing := c.find(key, seqs, frames)
	defer func() { c.unpin(pins) }()
	c.hits.Add(int64(len(seqs) - len(missing)))
	c.miss.Add(int64(len(missing)))
	if len(missing) > 0 {
		want := make([]int64, len(missing))
		for i, at := range missing {
			want[i] = seqs[at]
		}
		want = slices.Compact(slices.Sorted(slices.Values(want)))
		if want[0] == Null {
			want = want[1:]
		}
		rec, err := fetch(ctx, want, columns)
		if err != nil {
			return nil, err
		}
		if len(missing) == len(seqs) && slices.Equal(want, seqs) {
			if fresh, err := encode(rec); err == nil {
				c.store(key, rec.Schema(), want, fresh)
			}
			return rec, nil
		}
		fresh, err := encode(rec)
		if err != nil {
			return nil, err
		}
		sc = rec.Schema()
		for _, at := range missing {
			if i, ok := slices.BinarySearch(want, seqs[at]); ok {
				frames[at] = fresh[i]
			}
		}
		c.store(key, sc, want, fresh)
	}
	return decode(sc, frames)
}

// find looks the rows up: frames of those that are cached, and which are missing.
// The segments that frames lie in are pinned.
func (c *Cache) find(key string, seqs []int64, frames [][]byte) (*arrow.Schema, []*segment, []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []int
	s := c.sets[key]
	if s == nil {
		missing = make([]int, len(seqs))
		for i := range missing {
			missing[i] = i
		}
		return nil, nil, missing
	}
	var pins []*segment
	var last *segment
	for i, seq := range seqs {
		if seq == Null {
			missing = append(missing, i)
			continue
		}
		chunk := s.where[seq/chunkRows]
		var at place
		if chunk != nil {
			at = chunk[seq%chunkRows]
		}
		seg := c.files.of(at)
		if seg == nil {
			missing = append(missing, i)
			continue
		}
		if seg != last && !slices.Contains(pins, seg) {
			seg.pins++
			pins = append(pins, seg)
		}
		last = seg
		frames[i] = seg.frame(at)
	}
	return s.schema, pins, missing
}

func (c *Cache) unpin(pins []*segment) {
	if len(pins) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range pins {
		s.unpin()
	}
}

// store keeps rows. A disk that is full only means that less is cached.
func (c *Cache) store(key string, sc *arrow.Schema, seqs []int64, frames [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.opt.Limit < 0 {
		return
	}
	s := c.sets[key]
	if s == nil {
		s = &set{schema: sc, where: map[int64]*[chunkRows]place{}}
		c.sets[key] = s
	}
	for i, seq := range seqs {
		chunk := s.where[seq/chunkRows]
		if chunk == nil {
			chunk = new([chunkRows]place)
			s.where[seq/chunkRows] = chunk
		}
		if c.files.of(chunk[seq%chunkRows]) != nil {
			continue // another call was quicker
		}
		at, ok := c.files.put(frames[i])
		if !ok {
			continue
		}
		chunk[seq%chunkRows] = at
	}
}

// encode makes a frame of every row.
func encode(rec arrow.Record) ([][]byte, error) {
	n := int(rec.NumRows())
	out := make([][]byte, n)
	var buf []byte
	starts := make([]int, n+1)
	for i := range n {
		for _, col := range rec.Columns() {
			var err error
			if buf, err = appendRun(buf, col, i, i+1); err != nil {
				return nil, fault.Wrap("keep a row", err)
			}
		}
		starts[i+1] = len(buf)
	}
	for i := range n {
		out[i] = buf[starts[i]:starts[i+1]]
	}
	return out, nil
}

// decode makes a record of frames of one schema.
func decode(sc *arrow.Schema, frames [][]byte) (arrow.Record, error) {
	cols := make([]*column, sc.NumFields())
	for i, f := range sc.Fields() {
		cols[i] = newColumn(f.Type)
	}
	for i, b := range frames {
		if b == nil { // a row of nulls
			for _, col := range cols {
				frames[i] = col.null(frames[i])
			}
			b = frames[i]
		}
		for _, col := range cols {
			b = col.plan(b, 1)
		}
	}
	for _, col := range cols {
		col.reserve()
	}
	for _, b := range frames {
		for _, col := range cols {
			b = col.read(b, 1)
		}
	}
	arrays := make([]arrow.Array, len(cols))
	for i, col := range cols {
		arrays[i] = array.MakeFromData(col.build())
	}
	return array.NewRecord(sc, arrays, int64(len(frames))), nil
}
