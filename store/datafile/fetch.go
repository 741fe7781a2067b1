package datafile

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// block is neighbouring things that are read together.
type block struct {
	off, size int64
	wants     []*wanted
	buf       []byte
}

// buffers are what waves read to, for the next ones.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// fetch reads what the hauls need to buf, which grows, several files at a time.
func fetch(ctx context.Context, hauls []*haul, buf *[]byte) error {
	blocks := make([][]block, len(hauls))
	var total int64
	for i, h := range hauls {
		blocks[i] = h.blocks()
		for _, b := range blocks[i] {
			total += b.size
		}
	}
	if int64(cap(*buf)) < total {
		*buf = make([]byte, total)
	}
	rest := (*buf)[:total]
	for i := range blocks {
		for k := range blocks[i] {
			b := &blocks[i][k]
			b.buf, rest = rest[:b.size:b.size], rest[b.size:]
		}
	}
	if len(hauls) == 1 {
		return hauls[0].f.fault("gather from", hauls[0].fetch(ctx, blocks[0]))
	}
	e, ctx := errgroup.WithContext(ctx)
	e.SetLimit(gatherWide)
	for i, h := range hauls {
		e.Go(func() error { return h.f.fault("gather from", h.fetch(ctx, blocks[i])) })
	}
	return e.Wait()
}

// blocks lists what is needed of the file, neighbours together.
func (h *haul) blocks() (out []block) {
	need := make([]*wanted, 0, len(h.want))
	for i := range h.want {
		if h.want[i].page == nil {
			need = append(need, &h.want[i])
		}
	}
	slices.SortFunc(need, func(a, b *wanted) int { return int(min(max(a.off-b.off, -1), 1)) })
	gap := int64(localGap)
	if h.f.par > 1 {
		gap = gatherGap
	}
	for i := 0; i < len(need); {
		from, end := need[i].off, need[i].off+need[i].size
		j := i + 1
		for ; j < len(need); j++ {
			w := need[j]
			if w.off > end+gap || w.off+w.size-from > maxBlock {
				break
			}
			end = max(end, w.off+w.size)
		}
		out = append(out, block{off: from, size: end - from, wants: need[i:j]})
		i = j
	}
	return out
}

// fetch reads the blocks of the file.
func (h *haul) fetch(ctx context.Context, blocks []block) error {
	var e errgroup.Group
	e.SetLimit(h.f.par)
	for _, b := range blocks {
		if h.f.par > 1 {
			e.Go(func() error { return h.read(ctx, b) })
		} else if err := h.read(ctx, b); err != nil {
			return err
		}
	}
	return e.Wait()
}

func (h *haul) read(ctx context.Context, b block) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := h.f.readAt(b.buf, b.off); err != nil {
		return err
	}
	for _, w := range b.wants {
		at := w.off - b.off
		w.buf = b.buf[at : at+w.size : at+w.size]
	}
	return nil
}
