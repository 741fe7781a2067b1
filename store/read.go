package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema/fault"
	"trajlake/store/blob"
	"trajlake/store/datafile"
	"trajlake/store/delta"
)

// tagLastSeq is the tag of a compacted file's greatest place.
const tagLastSeq = "trajlake.lastSeq"

// lastSeq is the greatest place in f, if it is known without reading the file.
func lastSeq(f *delta.File) (int64, bool) {
	if f.PlacesColumns {
		n, err := strconv.ParseInt(f.Tags[tagLastSeq], 10, 64)
		return n, err == nil
	}
	return f.FirstSeq + f.Rows - 1, f.Rows >= 0
}

// dense reports whether row i of f has the place FirstSeq + i.
func dense(f *delta.File) bool {
	last, ok := lastSeq(f)
	return ok && last-f.FirstSeq+1 == f.Rows
}

// placed is a record with the places of its rows.
type placed struct {
	rec      arrow.Record // the columns asked for, in order
	seqs     []int64
	versions []int64
}

// readPart yields the rows of a data file whose places are in [from, p.limit),
// in the order of places.
func (l *Lake) readPart(ctx context.Context, p part, columns []string, from int64) iter.Seq2[placed, error] {
	return func(yield func(placed, error) bool) {
		rows, err := l.rowsOf(ctx, p, from)
		if err != nil {
			yield(placed{}, err)
			return
		}
		for pl, err := range l.readRows(ctx, p, columns, rows) {
			if !yield(pl, err) || err != nil {
				return
			}
		}
	}
}

// rowsOf gives the ranges of file rows whose places are in [from, p.limit).
func (l *Lake) rowsOf(ctx context.Context, p part, from int64) ([]datafile.Range, error) {
	f := p.file
	if dense(f) {
		lo, hi := max(0, from-f.FirstSeq), min(f.Rows, p.limit-f.FirstSeq)
		if lo >= hi {
			return nil, nil
		}
		return []datafile.Range{{From: lo, To: hi}}, nil
	}
	seqs, err := l.places(ctx, p)
	if err != nil {
		return nil, err
	}
	var out []datafile.Range
	for i, s := range seqs {
		if s < from || s >= p.limit {
			continue
		}
		if n := len(out); n > 0 && out[n-1].To == int64(i) {
			out[n-1].To++
			continue
		}
		out = append(out, datafile.Range{From: int64(i), To: int64(i) + 1})
	}
	return out, nil
}

// places reads the row_seq column of a compacted file.
func (l *Lake) places(ctx context.Context, p part) ([]int64, error) {
	file, done, err := l.files.open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer done()
	var out []int64
	for rec, err := range file.Read(ctx, datafile.ReadOptions{Columns: []string{"row_seq"}}) {
		if err != nil {
			return nil, err
		}
		seqs, err := longs(rec.Column(0), p, "row_seq")
		if err != nil {
			return nil, err
		}
		out = append(out, seqs...)
	}
	return out, nil
}

// longs are the values of a column that must be int64 and never null.
func longs(a arrow.Array, p part, name string) ([]int64, error) {
	ints, ok := a.(*array.Int64)
	if !ok || a.NullN() > 0 {
		return nil, fault.New(fault.Corrupt, "read "+p.table.Name+"/"+p.file.Path, "column %s has nulls or another type", name)
	}
	return ints.Int64Values(), nil
}

// readRows yields ranges of file rows with their places.
func (l *Lake) readRows(ctx context.Context, p part, columns []string, rows []datafile.Range) iter.Seq2[placed, error] {
	return func(yield func(placed, error) bool) {
		if len(rows) == 0 {
			return
		}
		file, done, err := l.files.open(ctx, p)
		if err != nil {
			yield(placed{}, err)
			return
		}
		defer done()
		phys := columns
		if p.file.PlacesColumns {
			phys = slices.Concat(columns, []string{"row_seq", "row_version"})
		} else if len(columns) == 0 {
			phys = []string{p.table.Columns[0].Name} // for the count of rows
		}
		at := cursor{rows: rows}
		for rec, err := range file.Read(ctx, datafile.ReadOptions{Columns: phys, Rows: rows}) {
			if err != nil {
				yield(placed{}, err)
				return
			}
			pl, err := l.place(p, rec, len(columns), &at)
			if !yield(pl, err) || err != nil {
				return
			}
		}
	}
}

// cursor walks the rows of ascending ranges.
type cursor struct {
	rows []datafile.Range
	done int64 // rows of rows[0] already taken
}

func (c *cursor) next() int64 {
	for c.rows[0].From+c.done >= c.rows[0].To {
		c.rows, c.done = c.rows[1:], 0
	}
	c.done++
	return c.rows[0].From + c.done - 1
}

// place splits off the place columns, or makes them from the file's tags.
func (l *Lake) place(p part, rec arrow.Record, columns int, at *cursor) (placed, error) {
	n := int(rec.NumRows())
	if p.file.PlacesColumns {
		seqs, err := longs(rec.Column(columns), p, "row_seq")
		if err != nil {
			return placed{}, err
		}
		versions, err := longs(rec.Column(columns+1), p, "row_version")
		if err != nil {
			return placed{}, err
		}
		return placed{project(rec, columns), seqs, versions}, nil
	}
	pl := placed{project(rec, columns), make([]int64, n), make([]int64, n)}
	for i := range n {
		pl.seqs[i], pl.versions[i] = p.file.FirstSeq+at.next(), p.file.Version
	}
	return pl, nil
}

// project keeps the first n columns of rec.
func project(rec arrow.Record, n int) arrow.Record {
	if n == int(rec.NumCols()) {
		return rec
	}
	s := arrow.NewSchema(rec.Schema().Fields()[:n], nil)
	return array.NewRecord(s, rec.Columns()[:n], rec.NumRows())
}

// fileCache keeps data files open: their footers, and for local ones the handle.
type fileCache struct {
	l     *Lake
	pages *datafile.Cache
	limit int

	mu      sync.Mutex
	handles map[string]*openFile
	tick    int64
}

type openFile struct {
	file *datafile.File
	src  io.Closer
	refs int
	used int64
	dead bool // evicted; closed by its last user
}

// maxOpenFiles bounds file handles and footers in memory.
const maxOpenFiles = 512

func newFileCache(l *Lake) *fileCache {
	return &fileCache{l: l, pages: datafile.NewCache(l.opt.Memory), limit: maxOpenFiles, handles: map[string]*openFile{}}
}

// wholeBytes is the size up to which a file without a local handle is fetched
// whole: one request instead of one for the footer and one for each column.
const wholeBytes = 4 << 20

// open opens a data file, or shares it with others; done gives it back.
func (c *fileCache) open(ctx context.Context, p part) (f *datafile.File, done func(), err error) {
	key := p.table.Name + "/" + p.file.Path
	c.mu.Lock()
	if of, ok := c.handles[key]; ok {
		c.use(of)
		c.mu.Unlock()
		return of.file, func() { c.done(of) }, nil
	}
	c.mu.Unlock()
	of, err := c.load(ctx, key, p)
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	if have, ok := c.handles[key]; ok { // somebody else was faster
		c.use(have)
		c.mu.Unlock()
		return have.file, func() { c.done(have) }, of.src.Close()
	}
	c.handles[key] = of
	c.use(of)
	stale := c.evict()
	c.mu.Unlock()
	for _, s := range stale {
		if err := s.src.Close(); err != nil {
			c.l.log.Warn("close data file", "err", err)
		}
	}
	return of.file, func() { c.done(of) }, nil
}

func (c *fileCache) use(of *openFile) {
	c.tick++
	of.used = c.tick
	of.refs++
}

func (c *fileCache) done(of *openFile) {
	c.mu.Lock()
	of.refs--
	closing := of.dead && of.refs == 0
	c.mu.Unlock()
	if closing {
		if err := of.src.Close(); err != nil {
			c.l.log.Warn("close data file", "err", err)
		}
	}
}

// evict takes the least recently used files out until a quarter is free; those
// nobody uses are returned to be closed. The caller holds the lock.
func (c *fileCache) evict() (closing []*openFile) {
	if len(c.handles) <= c.limit {
		return nil
	}
	keys := make([]string, 0, len(c.handles))
	for k := range c.handles {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return int(c.handles[a].used - c.handles[b].used) })
	for _, k := range keys[:len(keys)-c.limit*3/4] {
		of := c.handles[k]
		delete(c.handles, k)
		c.pages.Forget(of.file)
		of.dead = true
		if of.refs == 0 {
			closing = append(closing, of)
		}
	}
	return closing
}

// nothing is a closer of nothing.
type nothing struct{}

func (nothing) Close() error { return nil }

func (c *fileCache) load(ctx context.Context, key string, p part) (*openFile, error) {
	var src datafile.Source
	var closer io.Closer = nothing{}
	opt := &datafile.OpenOptions{Name: key, Cache: c.pages}
	_, local := blob.LocalPath(c.l.bucket, key)
	if !local && p.file.Size <= wholeBytes {
		body, err := c.l.bucket.Get(ctx, key, 0, -1)
		if err != nil {
			return nil, readError(key, err)
		}
		if int64(len(body)) != p.file.Size {
			return nil, fault.New(fault.Corrupt, "read "+key, "the object has %d bytes, the log says %d", len(body), p.file.Size)
		}
		src = wholeFile(body)
	} else {
		r, err := blob.OpenReader(context.WithoutCancel(ctx), c.l.bucket, key, p.file.Size)
		if err != nil {
			return nil, readError(key, err)
		}
		src, closer = r, r
		if !local {
			opt.Parallel = 8
		}
	}
	f, err := datafile.Open(src, p.file.Size, p.table, opt)
	if err != nil {
		return nil, errors.Join(fault.Wrap("open "+key, err), closer.Close())
	}
	return &openFile{file: f, src: closer}, nil
}

// wholeFile is an object that was fetched whole.
type wholeFile []byte

func (b wholeFile) Size() int64 { return int64(len(b)) }

func (b wholeFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(b)) {
		return 0, fmt.Errorf("offset %d of %d bytes: %w", off, len(b), blob.ErrRange)
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readError gives a failed read its kind.
func readError(key string, err error) error {
	op := "read " + key
	switch {
	case errors.Is(err, blob.ErrNotExist):
		return fault.WrapAs(fault.Corrupt, op+": the log names a file that is not there", err)
	case errors.Is(err, blob.ErrRange):
		return fault.WrapAs(fault.Corrupt, op+": the file has another size than the log says", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.WrapAs(fault.Cancelled, op, err)
	case errors.Is(err, blob.ErrDenied):
		return fault.WrapAs(fault.Denied, op, err)
	}
	return fault.WrapAs(fault.Unavailable, op, err)
}

func (c *fileCache) close() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for k, of := range c.handles {
		delete(c.handles, k)
		of.dead = true
		if of.refs == 0 {
			err = errors.Join(err, of.src.Close())
		}
	}
	return err
}
