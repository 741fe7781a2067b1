package datafile

import (
	"context"
	"slices"
	"sort"

	"github.com/apache/arrow/go/v17/arrow"
	"golang.org/x/sync/errgroup"

	"trajlake/schema/fault"
)

const (
	gatherGap   = 32 << 10 // pages at most this far apart are read together
	gatherBlock = 8 << 20
	gatherMax   = 1 << 30 // stored bytes of one Gather
)

// Gather reads single rows by their position in the file, in the order given; a
// position may stand more than once. It reads only the pages that hold the rows,
// neighbouring pages together. Column order and nulls are as for Read.
//
// Errors: fault.Usage for a position outside of the file, fault.Exhausted when
// the rows do not fit one record (gather fewer), otherwise as for Read.
func (f *File) Gather(ctx context.Context, rows []int64, columns []string) (rec arrow.Record, err error) {
	defer f.recover("gather from", &err)
	rec, err = f.gather(ctx, rows, columns)
	return rec, f.fault("gather from", err)
}

func (f *File) gather(ctx context.Context, rows []int64, columns []string) (arrow.Record, error) {
	sch, fields, err := f.projection(columns)
	if err != nil {
		return nil, err
	}
	var leaves []*leaf
	for _, x := range fields {
		leaves = x.leaves(leaves)
	}
	spots, err := f.spots(rows)
	if err != nil {
		return nil, err
	}
	g := &gatherer{f: f, dec: decoders.Get().(*decoder), want: map[int64]*wanted{}}
	defer g.dec.release()
	if err := g.plan(spots, leaves); err != nil {
		return nil, err
	}
	if err := g.fetch(ctx); err != nil {
		return nil, err
	}
	a := assembler{streams: make([]*stream, len(f.leaves))}
	for _, l := range leaves {
		if a.streams[l.index], err = g.stream(ctx, l, spots); err != nil {
			return nil, err
		}
	}
	return a.record(sch, fields, len(rows))
}

// place is a wanted row: its row group and its position in it.
type place struct {
	group int
	row   int64
}

func (f *File) spots(rows []int64) ([]place, error) {
	out := make([]place, len(rows))
	for i, r := range rows {
		if r < 0 || r >= f.NumRows() {
			return nil, fault.New(fault.Usage, "", "row %d lies outside of the file's %d", r, f.NumRows())
		}
		g := 0
		if len(f.groups) > 1 {
			g = f.groupAt(r)
		}
		out[i] = place{g, r - f.groups[g].first}
	}
	return out, nil
}

// wanted is a page, or a dictionary, or a whole chunk without page index.
type wanted struct {
	off, size int64
	buf       []byte
	page      *page
}

// gatherer is one Gather on its way.
type gatherer struct {
	f    *File
	dec  *decoder
	want map[int64]*wanted // by offset in the file
	need []*wanted         // those that must be read
}

// locate gives the index of the page that holds a row.
func locate(locs []pageLoc, row int64) int {
	if len(locs) == 1 {
		return 0
	}
	return sort.Search(len(locs), func(i int) bool { return locs[i].row > row }) - 1
}

// plan lists what must be read. Pages of scalar columns may be cached.
func (g *gatherer) plan(spots []place, leaves []*leaf) error {
	var total int64
	for _, l := range leaves {
		for _, s := range spots {
			grp := &g.f.groups[s.group]
			locs, err := g.f.pages(grp, l)
			if err != nil {
				return err
			}
			c := &grp.chunks[l.index]
			if locs == nil {
				g.add(c.start(), c.size)
				continue
			}
			p := locs[locate(locs, s.row)]
			if w := g.add(p.off, int64(p.size)); w != nil {
				if l.rep == 0 {
					w.page = g.f.cache.get(g.f, p.off)
				}
				if n := locs[0].off - c.start(); n > 0 && w.page == nil {
					g.add(c.start(), n)
				}
			}
		}
	}
	for _, w := range g.want {
		if w.page == nil {
			g.need = append(g.need, w)
			total += w.size
		}
	}
	if total > gatherMax {
		return fault.New(fault.Exhausted, "", "%d rows need %d bytes", len(spots), total).WithHint("gather fewer rows at a time")
	}
	return nil
}

// add notes something to read; nil if it was noted before.
func (g *gatherer) add(off, size int64) *wanted {
	if g.want[off] != nil {
		return nil
	}
	w := &wanted{off: off, size: size}
	g.want[off] = w
	return w
}

// fetch reads what is needed, neighbours together.
func (g *gatherer) fetch(ctx context.Context) error {
	slices.SortFunc(g.need, func(a, b *wanted) int { return int(min(max(a.off-b.off, -1), 1)) })
	var blocks [][]*wanted
	for i := 0; i < len(g.need); {
		end := g.need[i].off + g.need[i].size
		j := i + 1
		for ; j < len(g.need); j++ {
			w := g.need[j]
			if w.off > end+gatherGap || w.off+w.size-g.need[i].off > gatherBlock {
				break
			}
			end = max(end, w.off+w.size)
		}
		blocks = append(blocks, g.need[i:j])
		i = j
	}
	if g.f.par == 1 || len(blocks) < 2 {
		for _, b := range blocks {
			if err := g.read(ctx, b); err != nil {
				return err
			}
		}
		return nil
	}
	e, ctx := errgroup.WithContext(ctx)
	e.SetLimit(g.f.par)
	for _, b := range blocks {
		e.Go(func() error { return g.read(ctx, b) })
	}
	return e.Wait()
}

func (g *gatherer) read(ctx context.Context, block []*wanted) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	from := block[0].off
	var to int64
	for _, w := range block {
		to = max(to, w.off+w.size)
	}
	b := make([]byte, to-from)
	if err := g.f.readAt(b, from); err != nil {
		return err
	}
	for _, w := range block {
		w.buf = b[w.off-from : w.off-from+w.size : w.off-from+w.size]
	}
	return nil
}

// stream puts a leaf's rows together, in the order wanted.
func (g *gatherer) stream(ctx context.Context, l *leaf, spots []place) (*stream, error) {
	s := &stream{leaf: l}
	var n, size float64
	var stored int64
	for _, at := range spots {
		grp := &g.f.groups[at.group]
		c := &grp.chunks[l.index]
		n += float64(c.values) / float64(grp.rows)
		size += float64(c.raw) / float64(grp.rows)
		stored = max(stored, c.size)
	}
	s.reserve(1.3*n+8, 1.3*size+64, stored)
	for _, at := range spots {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		grp := &g.f.groups[at.group]
		locs, err := g.f.pages(grp, l)
		if err != nil {
			return nil, err
		}
		var p *page
		if locs == nil {
			p, err = g.whole(grp, l)
		} else {
			i := locate(locs, at.row)
			if lone := rowsIn(grp, locs, i) == 1 && l.rep > 0; lone { // decode in place
				if err := g.lone(s, grp, l, locs, i); err != nil {
					return nil, err
				}
				continue
			}
			p, err = g.page(grp, l, locs, i)
		}
		if err != nil {
			return nil, err
		}
		k := int(at.row - p.first)
		if err := s.appendRows(p, k, k+1); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// page decodes a page once.
func (g *gatherer) page(grp *group, l *leaf, locs []pageLoc, i int) (*page, error) {
	loc := locs[i]
	w := g.want[loc.off]
	if w.page != nil {
		return w.page, nil
	}
	c := grp.chunks[l.index].chunkMeta
	dict, err := g.dict(c, l, locs)
	if err != nil {
		return nil, err
	}
	rows := rowsIn(grp, locs, i)
	p := &page{stream: stream{leaf: l}, first: loc.row}
	if err := g.dec.page(&p.stream, w.buf, c, dict, int(rows)); err != nil {
		return nil, err
	}
	if err := p.seal(int(rows)); err != nil {
		return nil, err
	}
	w.page, w.buf = p, nil
	if l.rep == 0 {
		g.f.cache.put(g.f, loc.off, p)
	}
	return p, nil
}

// lone decodes a page of one row to s.
func (g *gatherer) lone(s *stream, grp *group, l *leaf, locs []pageLoc, i int) error {
	c := grp.chunks[l.index].chunkMeta
	dict, err := g.dict(c, l, locs)
	if err != nil {
		return err
	}
	return g.dec.page(s, g.want[locs[i].off].buf, c, dict, 1)
}

// rowsIn is how many rows page i has.
func rowsIn(grp *group, locs []pageLoc, i int) int64 {
	if i+1 < len(locs) {
		return locs[i+1].row - locs[i].row
	}
	return grp.rows - locs[i].row
}

// dict decodes a chunk's dictionary once; nil if it has none.
func (g *gatherer) dict(c *chunkMeta, l *leaf, locs []pageLoc) (*values, error) {
	if locs[0].off <= c.start() {
		return nil, nil
	}
	d := g.want[c.start()]
	if d == nil {
		return nil, nil
	}
	if d.page == nil {
		v, err := g.dec.dict(l, c, d.buf)
		if err != nil {
			return nil, err
		}
		if v == nil {
			v = &values{}
		}
		d.page = &page{stream: stream{vals: *v}}
	}
	return &d.page.vals, nil
}

// whole decodes a chunk without page index.
func (g *gatherer) whole(grp *group, l *leaf) (*page, error) {
	c := grp.chunks[l.index].chunkMeta
	w := g.want[c.start()]
	if w.page == nil {
		p, err := g.dec.whole(l, c, w.buf, int(grp.rows))
		if err != nil {
			return nil, err
		}
		w.page, w.buf = p, nil
	}
	return w.page, nil
}
