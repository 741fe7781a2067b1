package datafile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync/atomic"

	"github.com/apache/arrow/go/v17/arrow"

	"trajlake/schema"
	"trajlake/schema/fault"
)

// Source is the bytes of one data file. ReadAt must be safe for concurrent use.
type Source interface {
	io.ReaderAt
	Size() int64
}

// OpenOptions are the options of Open; the zero value and nil are good defaults.
type OpenOptions struct {
	// Name of the object, for errors.
	Name string
	// Cache shares decoded pages of scalar columns between files; nil keeps none.
	Cache *Cache
	// Parallel bounds how many reads of one Gather are in flight at once; it
	// pays where a read is a request over a network. Default 1.
	Parallel int
}

// File is one open data file: its footer and page indexes. It is immutable and
// safe for concurrent use, and it holds no file handle of its own.
type File struct {
	src    io.ReaderAt
	name   string
	size   int64
	table  *schema.Table
	meta   *fileMeta
	layout *layout
	shape  *fileShape
	leaves []*leaf
	groups []group
	// Of each leaf, from the file's statistics: whether all of it is null, and the
	// greatest definition level that an entry has.
	blank  []bool
	depth  []int
	index  []byte // the page indexes, when they stand together
	idxOff int64
	cache  *Cache
	par    int
}

// group is a row group with its place in the file.
type group struct {
	*groupMeta
	first  int64
	chunks []chunk
}

// chunk is a column chunk with its page locations, parsed when first needed.
type chunk struct {
	*chunkMeta
	locs atomic.Pointer[[]pageLoc]
}

const (
	tailGuess    = 64 << 10 // bytes read at the first go
	maxFooter    = 256 << 20
	maxPageIndex = 64 << 20
	maxGroupRows = math.MaxInt32
)

// Open reads and checks the footer and the page indexes of a Parquet file whose
// rows are t's. Columns are matched by name; a column that the file has not
// reads as null, one that the table has not is ignored, and one whose type
// cannot hold the table's is refused when it is asked for.
//
// Errors: fault.Corrupt for a damaged file, fault.Unsupported for a feature that
// is not read (encryption, data in other files), the source's own otherwise.
func Open(src io.ReaderAt, size int64, t *schema.Table, opt *OpenOptions) (f *File, err error) {
	if opt == nil {
		opt = &OpenOptions{}
	}
	f = &File{src: src, name: opt.Name, size: size, table: t, cache: opt.Cache, par: max(opt.Parallel, 1)}
	if f.name == "" {
		f.name = "data file"
	}
	defer f.recover("open", &err)
	if f.layout, err = layoutOf(t); err != nil {
		return nil, fault.WrapAs(fault.Internal, "open "+f.name, err)
	}
	if err := f.readTail(); err != nil {
		return nil, f.fault("open", err)
	}
	if f.shape = f.meta.shape; f.shape == nil {
		if f.shape, err = newFileShape(t, f.meta.schema); err != nil {
			return nil, f.fault("open", corrupt(err))
		}
		f.meta.schema = nil
	}
	f.leaves = f.shape.leaves
	if err := f.checkGroups(); err != nil {
		return nil, f.fault("open", err)
	}
	return f, nil
}

// corruptError marks an error as damage of the file.
type corruptError struct{ error }

func (e corruptError) Unwrap() error { return e.error }

func corrupt(err error) error { return corruptError{err} }

func corruptf(format string, args ...any) error { return corruptError{fmt.Errorf(format, args...)} }

// fault turns an error of this package into a fault that names the object.
func (f *File) fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	op := doing + " " + f.name
	var c corruptError
	if errors.As(err, &c) {
		return &fault.Error{Kind: fault.Corrupt, Op: op, Err: c.error}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &fault.Error{Kind: fault.Corrupt, Op: op, Msg: "the object is shorter than it should be", Err: err}
	}
	return fault.Wrap(op, err)
}

// recover turns a panic over hostile bytes into fault.Corrupt. It is the last
// guard: the decoders check before they index.
func (f *File) recover(doing string, err *error) {
	if p := recover(); p != nil {
		*err = &fault.Error{Kind: fault.Corrupt, Op: doing + " " + f.name, Msg: fmt.Sprintf("malformed content: %v", p)}
	}
}

func (f *File) readAt(p []byte, off int64) error {
	if off < 0 || off > f.size-int64(len(p)) {
		return corruptf("bytes %d+%d lie outside of the file's %d", off, len(p), f.size)
	}
	n, err := f.src.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// readTail reads the footer, and the page indexes that stand before it.
func (f *File) readTail() error {
	if f.size < 12 {
		return corruptf("%d bytes are no Parquet file", f.size)
	}
	off := max(f.size-tailGuess, 0)
	tail := make([]byte, f.size-off)
	if err := f.readAt(tail, off); err != nil {
		return err
	}
	end := tail[len(tail)-8:]
	switch string(end[4:]) {
	case "PAR1":
	case "PARE":
		return fault.New(fault.Unsupported, "", "the footer is encrypted")
	default:
		return corruptf("no Parquet magic at the end")
	}
	n := int64(binary.LittleEndian.Uint32(end))
	if n > f.size-12 || n > maxFooter {
		return corruptf("footer of %d bytes in a file of %d", n, f.size)
	}
	foot := f.size - 8 - n
	raw := tail
	if foot < off {
		raw = make([]byte, n)
		if err := f.readAt(raw, foot); err != nil {
			return err
		}
	} else {
		raw = tail[foot-off : foot-off+n]
	}
	m, err := parseFileMeta(raw, f.layout)
	if err != nil {
		return corruptf("footer: %w", err)
	}
	f.meta = m
	return f.readIndex(tail, off, foot)
}

// readIndex keeps the bytes of the page indexes, which writers put together
// between the data and the footer.
func (f *File) readIndex(tail []byte, off, foot int64) error {
	from, to := int64(math.MaxInt64), int64(0)
	for g := range f.meta.groups {
		for c := range f.meta.groups[g].chunks {
			m := &f.meta.groups[g].chunks[c]
			for _, s := range [2]struct {
				off int64
				n   int32
			}{{m.offIdx, m.offLen}, {m.colIdx, m.colLen}} {
				if s.off == 0 || s.n == 0 {
					continue
				}
				if s.off < 4 || s.n < 0 || s.off+int64(s.n) > foot {
					return corruptf("page index at %d+%d lies outside of the file", s.off, s.n)
				}
				from, to = min(from, s.off), max(to, s.off+int64(s.n))
			}
		}
	}
	if to == 0 || to-from > maxPageIndex {
		return nil
	}
	f.index, f.idxOff = make([]byte, to-from), from
	if from >= off {
		copy(f.index, tail[from-off:])
		return nil
	}
	return f.readAt(f.index, from)
}

// indexBytes gives the bytes of one page index.
func (f *File) indexBytes(off int64, n int32) ([]byte, error) {
	if f.index != nil {
		return f.index[off-f.idxOff : off-f.idxOff+int64(n)], nil
	}
	b := make([]byte, n)
	return b, f.readAt(b, off)
}

// checkGroups checks every number of the footer that later code relies on.
func (f *File) checkGroups() error {
	f.groups = make([]group, len(f.meta.groups))
	f.blank = make([]bool, len(f.leaves))
	ours := strings.HasPrefix(f.meta.createdBy, CreatedBy) // others have counted nulls of lists in various ways
	f.depth = make([]int, len(f.leaves))
	for j := range f.blank {
		f.blank[j] = ours
	}
	var rows int64
	for i := range f.meta.groups {
		m := &f.meta.groups[i]
		if m.rows < 0 || m.rows > maxGroupRows {
			return corruptf("row group %d has %d rows", i, m.rows)
		}
		if len(m.chunks) != len(f.leaves) {
			return corruptf("row group %d has %d column chunks for %d columns", i, len(m.chunks), len(f.leaves))
		}
		g := group{groupMeta: m, first: rows, chunks: make([]chunk, len(m.chunks))}
		for j := range m.chunks {
			c := &m.chunks[j]
			if err := f.checkChunk(c, f.leaves[j], m.rows); err != nil {
				return fmt.Errorf("row group %d: %w", i, err)
			}
			g.chunks[j].chunkMeta = c
			f.blank[j] = f.blank[j] && c.stats.nulls == c.values
			f.depth[j] = max(f.depth[j], c.depth(f.leaves[j], ours))
		}
		f.groups[i] = g
		rows += m.rows
	}
	if rows != f.meta.rows {
		return corruptf("the footer counts %d rows, its row groups %d", f.meta.rows, rows)
	}
	return nil
}

func (f *File) checkChunk(c *chunkMeta, l *leaf, rows int64) error {
	switch {
	case c.elsewhere:
		return fault.New(fault.Unsupported, "", "column %v stands in another file", l.path)
	case c.typ != l.typ:
		return corruptf("column %v: chunk of type %d, schema of type %d", l.path, c.typ, l.typ)
	case c.values < 0 || c.values > math.MaxInt32 || l.rep == 0 && c.values != rows || c.values < rows:
		return corruptf("column %v: %d values for %d rows", l.path, c.values, rows)
	case c.raw < 0 || c.size < 0 || c.dataOff < 0 || c.dictOff < 0:
		return corruptf("column %v: negative sizes", l.path)
	case rows > 0 && (c.start() < 4 || c.start() > f.size || c.size > f.size-c.start()):
		return corruptf("column %v: bytes %d+%d lie outside of the file's %d", l.path, c.start(), c.size, f.size)
	}
	return nil
}

// depth is the greatest definition level in the chunk, as far as is known.
func (c *chunkMeta) depth(l *leaf, known bool) int {
	if !known || len(c.depths) != l.def+1 {
		return l.def
	}
	d := l.def
	for d > 0 && c.depths[d] == 0 {
		d--
	}
	return d
}

// fileShape is a file's physical schema and the table's columns bound to it.
type fileShape struct {
	leaves []*leaf
	fields map[string]*field // by top-level column; nil where the file's type does not fit
	refuse map[string]error  // why a column of the file cannot be read
}

func newFileShape(t *schema.Table, elems []schemaElem) (*fileShape, error) {
	root, leaves, err := buildTree(elems)
	if err != nil {
		return nil, err
	}
	s := &fileShape{leaves: leaves, fields: map[string]*field{}, refuse: map[string]error{}}
	for _, col := range t.Columns {
		for _, n := range root.kids {
			if n.name != col.Name {
				continue
			}
			b, err := bind(col, n)
			if err != nil {
				s.refuse[col.Name] = err
			} else if b != nil {
				s.fields[col.Name] = b
			}
			break
		}
	}
	return s, nil
}

// NumRows is the number of rows of the file.
func (f *File) NumRows() int64 { return f.meta.rows }

// Size is the size of the file in bytes.
func (f *File) Size() int64 { return f.size }

// Name is the name that the file was opened under.
func (f *File) Name() string { return f.name }

// Table is the table whose rows the file holds.
func (f *File) Table() *schema.Table { return f.table }

// Metadata is one value of the file's key-value metadata; "" if it has none.
func (f *File) Metadata(key string) string { return f.meta.keyValues[key] }

// CreatedBy names the writer of the file.
func (f *File) CreatedBy() string { return f.meta.createdBy }

// Has reports whether the file holds a top-level column. Reading a column that
// it does not hold gives nulls.
func (f *File) Has(column string) bool {
	return f.shape.fields[column] != nil || f.shape.refuse[column] != nil
}

// projection resolves column names to an Arrow schema and the file's fields (nil
// for a column that the file has not). No names means every column of the table.
func (f *File) projection(names []string) (*arrow.Schema, []*field, error) {
	cols := f.table.Columns
	if names != nil {
		cols = make([]*schema.Column, len(names))
	}
	for i, n := range names {
		if cols[i] = f.table.Column(n); cols[i] == nil {
			return nil, nil, fault.New(fault.Usage, "", "table %s has no column %q", f.table.Name, n)
		}
	}
	fields := make([]*field, len(cols))
	arrows := make([]arrow.Field, len(cols))
	for i, c := range cols {
		if err := f.shape.refuse[c.Name]; err != nil {
			return nil, nil, fault.WrapAs(fault.Unsupported, "", err)
		}
		fields[i], arrows[i] = f.shape.fields[c.Name], f.layout.arrow[c]
	}
	return arrow.NewSchema(arrows, nil), fields, nil
}

// pages gives the locations of a chunk's data pages; nil if the file has no
// offset index for it.
func (f *File) pages(g *group, l *leaf) ([]pageLoc, error) {
	c := &g.chunks[l.index]
	if p := c.locs.Load(); p != nil {
		return *p, nil
	}
	if c.offIdx == 0 || c.offLen == 0 {
		return nil, nil
	}
	b, err := f.indexBytes(c.offIdx, c.offLen)
	if err != nil {
		return nil, err
	}
	locs, err := parseOffsetIndex(b)
	if err != nil {
		return nil, corruptf("offset index of column %v: %w", l.path, err)
	}
	end, row := c.start(), int64(-1)
	for _, p := range locs {
		if p.off < end || p.size <= 0 || p.off+int64(p.size) > c.start()+c.size || p.row <= row || p.row >= g.rows {
			return nil, corruptf("offset index of column %v is out of order", l.path)
		}
		end, row = p.off+int64(p.size), p.row
	}
	if g.rows > 0 && (len(locs) == 0 || locs[0].row != 0) {
		return nil, corruptf("offset index of column %v does not begin at row 0", l.path)
	}
	c.locs.Store(&locs)
	return locs, nil
}
