package rpc

import (
	"context"
	"slices"
	"sync"

	"trajlake/replay"
	"trajlake/store"
)

// What a server keeps: a trainer asks for batch after batch of one spec and
// snapshot, and opening a sampler reads all candidates. The newest one stays
// whatever its size.
const (
	keptSamplers     = 32
	keptSamplerBytes = 128 << 20
)

// samplers keeps the samplers that were used last, by snapshot and spec.
type samplers struct {
	limit int64 // of bytes; 0 = keptSamplerBytes
	mu    sync.Mutex
	list  []*samplerSlot // used last stands last
}

type samplerSlot struct {
	key   string
	ready chan struct{} // closed when s or err is set
	s     *replay.Sampler
	err   error
}

// done is the sampler if it is open already.
func (s *samplerSlot) done() *replay.Sampler {
	select {
	case <-s.ready:
		return s.s
	default:
		return nil
	}
}

func samplerKey(token string, spec replay.Spec) string { return token + " " + spec.Hash() }

// known gives a kept sampler by the snapshot's token, nil if there is none: without
// asking the store whether its logs have grown, which a token does not depend on.
func (c *samplers) known(token string, spec replay.Spec) *replay.Sampler {
	key := samplerKey(token, spec)
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := c.use(key)
	if slot == nil {
		return nil
	}
	return slot.done()
}

// use finds a slot and makes it the one used last; mu is held.
func (c *samplers) use(key string) *samplerSlot {
	i := slices.IndexFunc(c.list, func(s *samplerSlot) bool { return s.key == key })
	if i < 0 {
		return nil
	}
	slot := c.list[i]
	c.list = append(slices.Delete(c.list, i, i+1), slot)
	return slot
}

// trim drops what was not used for longest until the rest is within bounds; mu is held.
func (c *samplers) trim() {
	limit, bytes := c.limit, int64(0)
	if limit == 0 {
		limit = keptSamplerBytes
	}
	for i := len(c.list) - 1; i >= 0; i-- {
		if s := c.list[i].done(); s != nil {
			bytes += s.Bytes()
		}
		if kept := len(c.list) - i; kept > 1 && (kept > keptSamplers || bytes > limit) {
			c.list = slices.Delete(c.list, 0, i+1)
			return
		}
	}
}

// open gives the sampler of a spec at a snapshot; one that is being opened is
// waited for.
func (c *samplers) open(ctx context.Context, snap *store.Snapshot, spec replay.Spec) (*replay.Sampler, error) {
	key := samplerKey(snap.Token(), spec)
	c.mu.Lock()
	if slot := c.use(key); slot != nil {
		c.mu.Unlock()
		select {
		case <-slot.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if slot.s != nil {
			return slot.s, nil
		}
		return replay.Open(ctx, snap, spec) // the first one's caller may have given up: that says nothing about this one
	}
	slot := &samplerSlot{key: key, ready: make(chan struct{})}
	c.list = append(c.list, slot)
	c.trim()
	c.mu.Unlock()
	defer func() {
		close(slot.ready)
		c.mu.Lock()
		defer c.mu.Unlock()
		if slot.s == nil { // failed, or panicked
			c.list = slices.DeleteFunc(c.list, func(s *samplerSlot) bool { return s == slot })
		}
		c.trim()
	}()
	slot.s, slot.err = replay.Open(ctx, snap, spec)
	return slot.s, slot.err
}
