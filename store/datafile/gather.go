package datafile

import (
	"context"
	"runtime"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/apache/arrow/go/v17/arrow"
	"golang.org/x/sync/errgroup"

	"trajlake/schema/fault"
)

const (
	gatherGap  = 32 << 10 // pages at most this far apart are read together over a network,
	localGap   = 8 << 10  // and from a local file
	gatherMax  = 1 << 30  // stored bytes of one file
	gatherWave = 64 << 20 // stored bytes in memory at a time, one file's at least
	gatherWide = 8        // files read at a time
	keptBuffer = 16 << 20 // bytes of a buffer that is kept for the next wave
	crowd      = 64 << 10 // stored bytes from which on leaves are decoded side by side
)

// Pick is the rows that Gather wants of one file, by position; a position may
// stand more than once.
type Pick struct {
	File *File
	Rows []int64
}

// Gather reads single rows by their position in the file, in the order given; a
// position may stand more than once. It reads only the pages that hold the rows,
// neighbouring pages together. Column order and nulls are as for Read.
//
// Errors: fault.Usage for a position outside of the file, fault.Exhausted when
// the rows do not fit one record (gather fewer), otherwise as for Read.
func (f *File) Gather(ctx context.Context, rows []int64, columns []string) (arrow.Record, error) {
	return Gather(ctx, []Pick{{f, rows}}, columns)
}

// Gather reads rows of several files of one table into one record: the rows of
// the first pick, then those of the second, and so on, each as File.Gather gives
// them. Errors are those of File.Gather, and fault.Usage without any pick.
func Gather(ctx context.Context, picks []Pick, columns []string) (arrow.Record, error) {
	if len(picks) == 0 {
		return nil, fault.New(fault.Usage, "gather rows", "of no file")
	}
	var recs []arrow.Record
	for i := 0; i < len(picks); { // files whose columns are alike go together
		j := i + 1
		for j < len(picks) && picks[j].File.shape == picks[i].File.shape {
			j++
		}
		rec, err := gather(ctx, picks[i:j], columns)
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
		i = j
	}
	return Concat(recs)
}

func gather(ctx context.Context, picks []Pick, columns []string) (arrow.Record, error) {
	first := picks[0].File
	sch, fields, err := first.projection(columns)
	if err != nil {
		return nil, first.fault("gather from", err)
	}
	files := make([]*File, len(picks))
	for i, p := range picks {
		files[i] = p.File
	}
	g := &gatherer{leaves: needed(fields, files)}
	back, err := g.plan(picks)
	if err != nil {
		return nil, err
	}
	if err := g.waves(ctx); err != nil {
		return nil, err
	}
	a := assembler{streams: make([]*stream, len(first.leaves))}
	n := 0
	for _, p := range picks {
		n += len(p.Rows)
	}
	for i, l := range g.leaves {
		a.streams[l.index] = g.streams[i]
	}
	var rec arrow.Record
	func() {
		defer first.recover("gather from", &err)
		rec, err = a.record(sch, fields, n)
	}()
	if err != nil {
		return nil, first.fault("gather from", err)
	}
	if back != nil {
		return GatherRecord(rec, back)
	}
	return rec, nil
}

// gatherer is one Gather of files with the same columns on its way.
type gatherer struct {
	leaves  []*leaf   // that are read
	streams []*stream // of each
	hauls   []*haul
}

// haul is what is wanted of one file.
type haul struct {
	f     *File
	spots []place // ascending
	want  []wanted
	runs  [][]run // of each leaf, in the order of spots
	bytes int64   // to be read
}

// place is a wanted row: its row group and its position in it.
type place struct {
	group int
	row   int64
}

// wanted is a page, or a dictionary, or a whole chunk without page index.
type wanted struct {
	off, size int64
	buf       []byte
	page      *page // from the cache
}

// run is spots [from, to), which lie in one page.
type run struct {
	page, dict int // indexes of haul.want; dict is -1 for none
	loc        int // index of the page in the chunk, -1 for all of the chunk
	from, to   int
}

// plan finds the pages. Rows are taken in ascending order; back is where each
// one wanted then stands, nil if they were in that order already.
func (g *gatherer) plan(picks []Pick) (back []int, err error) {
	sorted := true
	at := 0
	for _, p := range picks {
		h := &haul{f: p.File}
		rows := p.Rows
		if !slices.IsSorted(rows) {
			if sorted {
				sorted, back = false, upTo(at)
			}
			order := upTo(len(rows))
			slices.SortStableFunc(order, func(a, b int) int { return int(min(max(rows[a]-rows[b], -1), 1)) })
			rows = make([]int64, len(order))
			back = append(back, order...)
			for i, o := range order {
				rows[i] = p.Rows[o]
				back[at+o] = at + i
			}
		} else if !sorted {
			for i := range rows {
				back = append(back, at+i)
			}
		}
		at += len(rows)
		if h.spots, err = p.File.spots(rows); err == nil {
			err = h.plan(g.leaves)
		}
		if err != nil {
			return nil, p.File.fault("gather from", err)
		}
		g.hauls = append(g.hauls, h)
	}
	return back, nil
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
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

// locate gives the index of the page that holds a row.
func locate(locs []pageLoc, row int64) int {
	if len(locs) == 1 {
		return 0
	}
	return sort.Search(len(locs), func(i int) bool { return locs[i].row > row }) - 1
}

// rowsIn is how many rows page i has.
func rowsIn(grp *group, locs []pageLoc, i int) int64 {
	if i+1 < len(locs) {
		return locs[i+1].row - locs[i].row
	}
	return grp.rows - locs[i].row
}

// plan lists the file's runs and what they need. Pages of scalar columns may be
// cached.
func (h *haul) plan(leaves []*leaf) error {
	h.runs = make([][]run, len(leaves))
	h.want = make([]wanted, 0, len(leaves)+len(leaves)/4)
	all := make([]run, 0, len(leaves)+len(leaves)/4)
	for k, l := range leaves {
		begin := len(all)
		dict, dictGroup := -1, -1
		for i := 0; i < len(h.spots); {
			at := h.spots[i]
			grp := &h.f.groups[at.group]
			locs, err := h.f.pages(grp, l)
			if err != nil {
				return err
			}
			c := &grp.chunks[l.index]
			r := run{page: len(h.want), dict: -1, loc: -1, from: i}
			end := grp.rows
			if locs == nil {
				h.add(c.start(), c.size, nil)
			} else {
				r.loc = locate(locs, at.row)
				p := locs[r.loc]
				end = p.row + rowsIn(grp, locs, r.loc)
				var have *page
				if l.rep == 0 {
					have = h.f.cache.get(h.f, p.off)
				}
				h.add(p.off, int64(p.size), have)
				if n := locs[0].off - c.start(); n > 0 && have == nil {
					if dictGroup != at.group {
						dict, dictGroup = len(h.want), at.group
						h.add(c.start(), n, nil)
					}
					r.dict = dict
				}
			}
			for i++; i < len(h.spots) && h.spots[i].group == at.group && h.spots[i].row < end; i++ {
			}
			r.to = i
			all = append(all, r)
		}
		h.runs[k] = all[begin:len(all):len(all)]
	}
	if h.bytes > gatherMax {
		return fault.New(fault.Exhausted, "", "%d rows need %d bytes", len(h.spots), h.bytes).WithHint("gather fewer rows at a time")
	}
	return nil
}

func (h *haul) add(off, size int64, have *page) {
	h.want = append(h.want, wanted{off: off, size: size, page: have})
	if have == nil {
		h.bytes += size
	}
}

// waves decodes the hauls to the streams, as many at a time as memory may hold.
func (g *gatherer) waves(ctx context.Context) error {
	g.streams = make([]*stream, len(g.leaves))
	for i := 0; i < len(g.hauls); {
		j, bytes := i, int64(0)
		for ; j < len(g.hauls) && (j == i || bytes+g.hauls[j].bytes <= gatherWave); j++ {
			bytes += g.hauls[j].bytes
		}
		if err := g.wave(ctx, g.hauls[i:j], bytes); err != nil {
			return err
		}
		i = j
	}
	return nil
}

// wave reads what is needed of some files and decodes it to the streams.
func (g *gatherer) wave(ctx context.Context, hauls []*haul, bytes int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	buf := buffers.Get().(*[]byte)
	defer func() { // nothing refers to it any more: decoding copies
		if cap(*buf) <= keptBuffer {
			buffers.Put(buf)
		}
	}()
	if err := fetch(ctx, hauls, buf); err != nil {
		return err
	}
	order := upTo(len(g.leaves))
	if n := min(runtime.GOMAXPROCS(0), len(order)); n > 1 && bytes >= crowd {
		sizes := make([]int64, len(order)) // the largest first, lest one worker be left with it
		for k := range order {
			for _, h := range hauls {
				for _, r := range h.runs[k] {
					sizes[k] += h.want[r.page].size
				}
			}
		}
		slices.SortFunc(order, func(a, b int) int { return int(min(max(sizes[b]-sizes[a], -1), 1)) })
		var next atomic.Int64
		e, ctx := errgroup.WithContext(ctx)
		for range n {
			e.Go(func() error {
				return g.decode(ctx, hauls, func() int {
					if i := int(next.Add(1)) - 1; i < len(order) {
						return order[i]
					}
					return -1
				})
			})
		}
		return e.Wait()
	}
	k := -1
	return g.decode(ctx, hauls, func() int {
		if k++; k < len(order) {
			return k
		}
		return -1
	})
}

// decode appends the hauls' rows to the streams of the leaves that next names.
func (g *gatherer) decode(ctx context.Context, hauls []*haul, next func() int) error {
	d := decoders.Get().(*decoder)
	defer d.release()
	for k := next(); k >= 0; k = next() {
		if g.streams[k] == nil {
			g.streams[k] = g.reserved(k)
		}
		for _, h := range hauls {
			if err := h.decode(ctx, d, g.streams[k], h.runs[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// reserved makes the stream of a leaf with room for about what the rows hold.
func (g *gatherer) reserved(k int) *stream {
	s := &stream{leaf: g.leaves[k]}
	var n, size float64
	var stored int64
	for _, h := range g.hauls {
		for _, r := range h.runs[k] {
			grp := &h.f.groups[h.spots[r.from].group]
			c := &grp.chunks[s.leaf.index]
			part := float64(r.to-r.from) / float64(grp.rows)
			n += part * float64(c.values)
			size += part * float64(c.raw)
			stored += c.size
		}
	}
	s.reserve(1.1*n+8, 1.1*size+64, stored)
	return s
}

// dictionaries are decoded once per leaf; see haul.decode.
type dictionary struct {
	at   int // index in haul.want, -1 for none
	vals *values
}

// decode appends runs of a leaf to s.
func (h *haul) decode(ctx context.Context, d *decoder, s *stream, runs []run) (err error) {
	defer h.f.recover("gather from", &err)
	if err := ctx.Err(); err != nil {
		return err
	}
	have := dictionary{at: -1}
	for _, r := range runs {
		if r.dict >= 0 && r.dict != have.at {
			w := &h.want[r.dict]
			c := h.f.groups[h.spots[r.from].group].chunks[s.leaf.index].chunkMeta
			v, err := d.dict(s.leaf, c, w.buf)
			if err != nil {
				return h.f.fault("gather from", err)
			}
			have = dictionary{r.dict, v}
		}
		dict := have.vals
		if r.dict < 0 {
			dict = nil
		}
		if err := h.run(d, s, r, dict); err != nil {
			return h.f.fault("gather from", err)
		}
	}
	return nil
}

// run appends the rows of one page to s.
func (h *haul) run(d *decoder, s *stream, r run, dict *values) (err error) {
	w, l := &h.want[r.page], s.leaf
	spots := h.spots[r.from:r.to]
	grp := &h.f.groups[spots[0].group]
	c := grp.chunks[l.index].chunkMeta
	p := w.page
	switch {
	case p != nil:
	case r.loc < 0:
		if p, err = d.whole(l, c, w.buf, int(grp.rows)); err != nil {
			return err
		}
	default:
		locs, err := h.f.pages(grp, l)
		if err != nil {
			return err
		}
		first, rows := locs[r.loc].row, rowsIn(grp, locs, r.loc)
		if l.rep > 0 || h.f.cache == nil {
			return d.pick(s, w.buf, c, dict, first, int(rows), spots)
		}
		p = &page{stream: stream{leaf: l}, first: first}
		if err := d.page(&p.stream, w.buf, c, dict, int(rows)); err != nil {
			return err
		}
		if err := p.seal(int(rows)); err != nil {
			return err
		}
		h.f.cache.put(h.f, w.off, p)
	}
	for i := 0; i < len(spots); {
		k := int(spots[i].row - p.first)
		j := i + 1
		for j < len(spots) && spots[j].row == spots[j-1].row+1 {
			j++
		}
		if err := s.appendRows(p, k, k+j-i); err != nil {
			return err
		}
		i = j
	}
	return nil
}
