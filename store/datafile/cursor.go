package datafile

import (
	"context"
	"sort"

	"trajlake/schema/fault"
)

// cursor reads one column chunk forward.
type cursor struct {
	f      *File
	g      *group
	leaf   *leaf
	chunk  *chunkMeta
	locs   []pageLoc // nil: no offset index
	dec    *decoder
	dict   *values
	dicted bool
	cur    int // index of page, -1 for none
	page   page
	buf    []byte
	bufOff int64
	keep   bool
}

// cached reports whether the cache has all pages of the chunk.
func (c *cursor) cached() bool {
	if !c.keep || len(c.locs) == 0 {
		return false
	}
	for i := range c.locs {
		if c.f.cache.get(c.f, c.locs[i].off) == nil {
			return false
		}
	}
	return true
}

// kept gives page i from the cache, decoding it first where that lacks it.
func (c *cursor) kept(ctx context.Context, i int) (*page, error) {
	if p := c.f.cache.get(c.f, c.locs[i].off); p != nil {
		return p, nil
	}
	p := &page{stream: stream{leaf: c.leaf}, first: c.locs[i].row}
	if err := c.decode(ctx, i, &p.stream); err != nil {
		return nil, err
	}
	if err := p.seal(int(c.rowsOf(i))); err != nil {
		return nil, err
	}
	c.f.cache.put(c.f, c.locs[i].off, p)
	return p, nil
}

func (c *cursor) estimate(n int64) float64 {
	if c.g.rows == 0 {
		return 0
	}
	if len(c.locs) < 2 || c.chunk.size == 0 {
		return float64(c.chunk.raw) * float64(n) / float64(c.g.rows)
	}
	ratio := float64(c.chunk.raw) / float64(c.chunk.size)
	i := sort.Search(len(c.locs), func(i int) bool { return c.locs[i].row >= n })
	if i == 0 {
		return 0
	}
	p := c.locs[i-1]
	part := float64(n-p.row) / float64(c.rowsOf(i-1))
	return ratio * (float64(p.off-c.locs[0].off) + part*float64(p.size))
}

// presize makes room for about what the ranges hold: growing costs more than
// decoding.
func (c *cursor) presize(s *stream, batch []Range, rows int) {
	part := 1.0
	if int64(rows) < c.g.rows && c.chunk.raw > 0 {
		bytes := 0.0
		for _, r := range batch {
			bytes += c.estimate(r.To) - c.estimate(r.From)
		}
		part = min(1, 1.1*bytes/float64(c.chunk.raw))
	}
	s.reserve(part*float64(c.chunk.values), part*float64(c.chunk.raw), c.chunk.size)
}

// rowsOf is how many rows page i has.
func (c *cursor) rowsOf(i int) int64 {
	if i+1 < len(c.locs) {
		return c.locs[i+1].row - c.locs[i].row
	}
	return c.g.rows - c.locs[i].row
}

// bytes gives n bytes at off, reading up to a window ahead within the chunk.
func (c *cursor) bytes(ctx context.Context, off, n int64) ([]byte, error) {
	if off >= c.bufOff && off+n <= c.bufOff+int64(len(c.buf)) {
		return c.buf[off-c.bufOff : off-c.bufOff+n], nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	end := c.chunk.start() + c.chunk.size
	if off < c.chunk.start() || off+n > end {
		return nil, corruptf("column %v: bytes %d+%d lie outside of its chunk", c.leaf.path, off, n)
	}
	n = min(max(n, window), end-off)
	c.buf, c.bufOff = make([]byte, n), off
	if err := c.f.readAt(c.buf, off); err != nil {
		c.buf = nil
		return nil, err
	}
	return c.buf, nil
}

// take appends the rows [from, to) of the row group to s. Calls ascend.
func (c *cursor) take(ctx context.Context, s *stream, from, to int64) error {
	if c.locs == nil {
		if c.cur < 0 {
			if err := c.whole(ctx); err != nil {
				return err
			}
		}
		return s.appendRows(&c.page, int(from), int(to))
	}
	i := sort.Search(len(c.locs), func(i int) bool { return c.locs[i].row > from }) - 1
	for ; from < to; i++ {
		p, rows := c.locs[i], c.rowsOf(i)
		end := min(to, p.row+rows)
		if c.keep {
			kept, err := c.kept(ctx, i)
			if err == nil {
				err = s.appendRows(kept, int(from-p.row), int(end-p.row))
			}
			if err != nil {
				return err
			}
			from = end
			continue
		}
		if from == p.row && end == p.row+rows && c.cur != i {
			if err := c.decode(ctx, i, s); err != nil {
				return err
			}
			from = end
			continue
		}
		if c.cur != i {
			c.page = page{stream: stream{leaf: c.leaf}, first: p.row}
			if err := c.decode(ctx, i, &c.page.stream); err != nil {
				return err
			}
			if err := c.page.seal(int(rows)); err != nil {
				return err
			}
			c.cur = i
		}
		if err := s.appendRows(&c.page, int(from-p.row), int(end-p.row)); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// decode appends page i to s.
func (c *cursor) decode(ctx context.Context, i int, s *stream) error {
	if err := c.loadDict(ctx); err != nil {
		return err
	}
	p := c.locs[i]
	b, err := c.bytes(ctx, p.off, int64(p.size))
	if err != nil {
		return err
	}
	return c.dec.page(s, b[:p.size], c.chunk, c.dict, int(c.rowsOf(i)))
}

// page decodes the one data page that b holds, of the given number of rows.
func (d *decoder) page(s *stream, b []byte, m *chunkMeta, dict *values, rows int) error {
	h, body, _, err := header(b, m)
	if err != nil {
		return err
	}
	if h.typ != pageData && h.typ != pageDataV2 {
		return corruptf("column %v: the offset index points at a page of type %d", s.leaf.path, h.typ)
	}
	before := s.n
	if err := d.dataPage(s, &h, body, m.codec, dict); err != nil {
		return err
	}
	got := s.n - before
	if s.leaf.rep > 0 {
		if got > 0 && s.rep[before] != 0 {
			return corruptf("column %v: a page does not begin with a row", s.leaf.path)
		}
		got = countByte(s.rep[before:], 0)
	}
	if got != rows {
		return corruptf("column %v: a page has %d rows instead of %d", s.leaf.path, got, rows)
	}
	return nil
}

// loadDict reads the dictionary, if the chunk begins with one.
func (c *cursor) loadDict(ctx context.Context) error {
	if c.dicted || len(c.locs) == 0 {
		return nil
	}
	c.dicted = true
	n := c.locs[0].off - c.chunk.start()
	if n <= 0 {
		return nil
	}
	b, err := c.bytes(ctx, c.chunk.start(), n)
	if err != nil {
		return err
	}
	c.dict, err = c.dec.dict(c.leaf, c.chunk, b[:n])
	return err
}

func (d *decoder) dict(l *leaf, m *chunkMeta, b []byte) (*values, error) {
	h, body, _, err := header(b, m)
	if err != nil || h.typ != pageDict {
		return nil, err
	}
	return d.dictPage(l, &h, body, m.codec)
}

// whole reads and decodes the chunk as one page.
func (c *cursor) whole(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b := make([]byte, c.chunk.size)
	if err := c.f.readAt(b, c.chunk.start()); err != nil {
		return err
	}
	p, err := c.dec.whole(c.leaf, c.chunk, b, int(c.g.rows))
	if err == nil {
		c.page, c.cur = *p, 0
	}
	return err
}

// whole decodes a chunk as one page, for files without offset index: their pages
// may begin within a row.
func (d *decoder) whole(l *leaf, m *chunkMeta, b []byte, rows int) (*page, error) {
	if m.raw > maxWhole {
		return nil, fault.New(fault.Exhausted, "", "column %v has no page index and %d bytes in one row group", l.path, m.raw).WithHint("write the file again with a page index or smaller row groups")
	}
	var dict *values
	p := &page{stream: stream{leaf: l}}
	for int64(p.n) < m.values {
		h, body, rest, err := header(b, m)
		if err != nil {
			return nil, err
		}
		b = rest
		switch h.typ {
		case pageDict:
			dict, err = d.dictPage(l, &h, body, m.codec)
		case pageData, pageDataV2:
			err = d.dataPage(&p.stream, &h, body, m.codec, dict)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, p.seal(rows)
}
