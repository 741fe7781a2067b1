package rpc

import (
	"context"
	"slices"
	"sync"

	"trajlake/replay"
	"trajlake/store"
)

// keptSamplers is how many samplers a server keeps: a trainer asks for batch
// after batch of one spec and snapshot, and opening one reads all candidates.
const keptSamplers = 4

// samplers keeps the samplers that were used last, by snapshot and spec.
type samplers struct {
	mu   sync.Mutex
	list []*samplerSlot // used last stands last
}

type samplerSlot struct {
	key   string
	ready chan struct{} // closed when s or err is set
	s     *replay.Sampler
	err   error
}

// open gives the sampler of a spec at a snapshot; one that is being opened is
// waited for.
func (c *samplers) open(ctx context.Context, snap *store.Snapshot, spec replay.Spec) (*replay.Sampler, error) {
	key := snap.Token() + " " + spec.Hash()
	c.mu.Lock()
	i := slices.IndexFunc(c.list, func(s *samplerSlot) bool { return s.key == key })
	if i >= 0 {
		slot := c.list[i]
		c.list = append(slices.Delete(c.list, i, i+1), slot)
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
	if len(c.list) > keptSamplers {
		c.list = slices.Delete(c.list, 0, 1)
	}
	c.mu.Unlock()
	defer func() {
		if slot.s == nil { // failed, or panicked
			c.mu.Lock()
			c.list = slices.DeleteFunc(c.list, func(s *samplerSlot) bool { return s == slot })
			c.mu.Unlock()
		}
		close(slot.ready)
	}()
	slot.s, slot.err = replay.Open(ctx, snap, spec)
	return slot.s, slot.err
}
