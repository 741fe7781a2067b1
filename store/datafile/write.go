package datafile

import (
	"crypto/sha256"
	"unsafe"

	"github.com/klauspost/compress/zstd"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/parts"
)

// WriteOptions are the options of a Writer; the zero value and nil are good
// defaults. docs/decisions has the measurements behind them.
type WriteOptions struct {
	// PageBytes is the size before compression at which a page ends, at the next
	// row boundary. Default 16 KB.
	PageBytes int
	// PageRows bounds the rows of a page, so that one row of a scalar column is
	// cheap to read. Default 1,024.
	PageRows int
	// GroupBytes and GroupRows bound a row group, before compression. Defaults
	// 48 MB and 131,072 rows.
	GroupBytes int
	GroupRows  int
	// Metadata is added to the file's key-value metadata.
	Metadata map[string]string
}

const (
	defaultPageBytes  = 16 << 10
	defaultPageRows   = 1024
	defaultGroupBytes = 48 << 20
	defaultGroupRows  = 128 << 10
)

// CreatedBy is what the footer of every file names as its writer.
const CreatedBy = "trajlake"

// Keys of the key-value metadata of every file.
const (
	MetaTable  = "trajlake.table"
	MetaSchema = "trajlake.schema"
)

// Encoded is one finished data file.
type Encoded struct {
	Bytes     []byte
	Rows      int64
	RowGroups int
	// Stats has every top-level column: bounds and nulls of the scalar ones, only
	// the nulls (rows without a value) of the others.
	Stats  map[string]ColumnStats
	SHA256 [sha256.Size]byte // of Bytes
}

// Encode writes rows as one file. It is safe for concurrent use; the rows are
// only read. Rows are stored as they are: validation is the caller's.
//
// Errors: fault.Internal if T is not the table's row type, fault.Invalid for a
// row that no page can hold (more than 1 GiB or 16 M values in one column).
func Encode[T any](t *schema.Table, rows []*T, opt *WriteOptions) (*Encoded, error) {
	w, err := NewWriter[T](t, opt)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := w.Write(r); err != nil {
			return nil, err
		}
	}
	return w.Close()
}

// Writer builds one data file in memory. It belongs to one goroutine.
type Writer[T any] struct{ recordWriter }

// NewWriter begins a file of the table's rows.
func NewWriter[T any](t *schema.Table, opt *WriteOptions) (*Writer[T], error) {
	var z T
	if got := typeOf(&z); got != t.Type {
		return nil, fault.New(fault.Internal, "write data file", "rows of table %s are %v, not %v", t.Name, t.Type, got)
	}
	w := &Writer[T]{}
	return w, w.open(t, opt)
}

// Write adds one row.
func (w *Writer[T]) Write(row *T) error {
	if w.core == nil {
		return errClosed()
	}
	for _, s := range w.core.layout.root.kids {
		w.core.shred(s, unsafe.Pointer(row), 0, 0)
	}
	return w.endRow()
}

func errClosed() error {
	return fault.New(fault.Internal, "write data file", "the writer is closed")
}

// recordWriter is the part of a Writer that does not know the row type.
type recordWriter struct {
	core *core
	opt  WriteOptions
}

func (w *recordWriter) open(t *schema.Table, opt *WriteOptions) error {
	l, err := layoutOf(t)
	if err != nil {
		return fault.WrapAs(fault.Internal, "write data file", err)
	}
	if opt != nil {
		w.opt = *opt
	}
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&w.opt.PageBytes, defaultPageBytes)
	def(&w.opt.PageRows, defaultPageRows)
	def(&w.opt.GroupBytes, defaultGroupBytes)
	def(&w.opt.GroupRows, defaultGroupRows)
	w.core = l.cores.Get().(*core)
	w.core.reset()
	return nil
}

// core is the reusable state of a writer.
type core struct {
	layout *layout
	cols   []column
	rows   int64 // of the row group
	paged  []int64
	flat   int // raw bytes of finished pages of the row group
	total  int64

	out    []byte
	groups []groupMeta
	spots  [][]spot // page locations and bounds of each group's chunks
	ids    []uint64

	zstd             *zstd.Encoder
	body, packedPage []byte
	head             []byte
	ix               []uint32 // scratch of putRepeats
	last             bool     // the next row group is the file's last
	keys             []string
}

// spot is what the page index of one chunk is made from.
type spot struct {
	locs   []pageLoc
	bounds []bounds
}

func newCore(l *layout) *core {
	k := &core{layout: l, cols: make([]column, len(l.leaves)), paged: make([]int64, len(l.leaves)), zstd: newZstd()}
	for i := range k.cols {
		k.cols[i].leaf = l.leaves[i]
		k.cols[i].top = l.top[i] != nil && l.top[i].Kind != schema.Binary
		k.cols[i].inner = inner(l.leaves[i])
	}
	return k
}

func (k *core) reset() {
	k.rows, k.flat, k.total, k.last = 0, 0, 0, false
	k.out = append(k.out[:0:0], "PAR1"...)
	k.groups, k.spots, k.ids = nil, nil, k.ids[:0]
	for i := range k.cols {
		c := &k.cols[i]
		c.startChunk(k.layout.enc[i])
		c.file, c.page, c.absent = bounds{}, bounds{}, 0
		c.decided, c.codec = false, codecNone
		c.def, c.rep, c.n = c.def[:0], c.rep[:0], 0
		c.dropValues()
		k.paged[i] = 0
	}
}

// release gives the core back, unless one fat file has bloated its buffers.
func (k *core) release() {
	kept := cap(k.body) + cap(k.packedPage) + 4*cap(k.ix)
	for i := range k.cols {
		c := &k.cols[i]
		kept += cap(c.plain) + cap(c.pages) + cap(c.def) + cap(c.rep) + 4*cap(c.i32)
		c.file, c.group, c.page = bounds{}, bounds{}, bounds{} // they point into rows
		clear(c.index[:cap(c.index)])
	}
	k.out, k.groups, k.spots = nil, nil, nil
	if kept <= 64<<20 {
		k.layout.cores.Put(k)
	}
}

// endRow ends the pages that are full, and the row group if it is.
func (w *recordWriter) endRow() error {
	k := w.core
	k.rows++
	k.total++
	open := 0
	for i := range k.cols {
		c := &k.cols[i]
		size := c.size()
		if size >= c.room(w.opt.PageBytes) || k.rows-k.paged[i] >= int64(w.opt.PageRows) {
			if err := w.flushPage(i); err != nil {
				return err
			}
			continue
		}
		open += size
	}
	if k.flat+open >= w.opt.GroupBytes || k.rows >= int64(w.opt.GroupRows) {
		return w.flushGroup()
	}
	return nil
}

func (w *recordWriter) flushPage(i int) error {
	k := w.core
	c := &k.cols[i]
	before := c.raw
	if err := c.flushPage(k, k.paged[i]); err != nil {
		return fault.Wrap("write data file of "+k.layout.table.Name, err)
	}
	k.paged[i] = k.rows
	k.flat += int(c.raw - before)
	return nil
}

// flushGroup ends the row group.
func (w *recordWriter) flushGroup() error {
	k := w.core
	if k.rows == 0 {
		return nil
	}
	g := groupMeta{rows: k.rows, chunks: make([]chunkMeta, len(k.cols))}
	spots := make([]spot, len(k.cols))
	size, pages := len(k.out), 0
	for i := range k.cols {
		if err := w.flushPage(i); err != nil {
			return err
		}
		size += int(k.cols[i].stored()) + len(k.cols[i].dictRaw) + 64
		pages += len(k.cols[i].locs)
	}
	// With room for the footer too: the file is not moved again, unless it has
	// another row group.
	if room := size + 512*len(k.cols) + 96*pages; cap(k.out) < room {
		k.out = append(parts.Make(room), k.out...)
	}
	for i := range k.cols {
		c := &k.cols[i]
		c.flushChunk(k, &g.chunks[i])
		g.bytes += g.chunks[i].raw
		spots[i] = spot{append([]pageLoc(nil), c.locs...), append([]bounds(nil), c.index...)}
		if i == k.layout.idLeaf {
			k.bloom(&g.chunks[i])
		}
		c.startChunk(k.layout.enc[i])
		if cap(c.pages) > fatPage {
			c.pages = nil
		}
		k.paged[i] = 0
	}
	k.groups, k.spots = append(k.groups, g), append(k.spots, spots)
	k.rows, k.flat = 0, 0
	return nil
}

// Close ends the file. The writer is of no use afterwards; closing it again is
// an error, abandoning it without Close leaks nothing.
func (w *recordWriter) Close() (*Encoded, error) {
	k := w.core
	if k == nil {
		return nil, errClosed()
	}
	w.core = nil
	defer k.release()
	f := recordWriter{core: k, opt: w.opt}
	k.last = true
	if err := f.flushGroup(); err != nil {
		return nil, err
	}
	k.footer(w.opt.Metadata)
	e := &Encoded{Bytes: k.out, Rows: k.total, RowGroups: len(k.groups), Stats: map[string]ColumnStats{}, SHA256: sha256.Sum256(k.out)}
	for _, s := range k.layout.root.kids {
		c := &k.cols[s.lo]
		if len(s.kids) == 0 {
			e.Stats[s.col.Name] = c.file.stats(s.col.Kind)
		} else {
			e.Stats[s.col.Name] = ColumnStats{Nulls: c.absent}
		}
	}
	return e, nil
}

// Rows is how many rows were written so far.
func (w *recordWriter) Rows() int64 {
	if w.core == nil {
		return 0
	}
	return w.core.total
}

// Size is about how many bytes the file has so far.
func (w *recordWriter) Size() int64 {
	if w.core == nil {
		return 0
	}
	n := len(w.core.out)
	for i := range w.core.cols {
		n += int(w.core.cols[i].stored()) + w.core.cols[i].size()
	}
	return int64(n)
}
