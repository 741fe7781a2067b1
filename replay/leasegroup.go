package replay

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"trajlake/schema/fault"
)

// Lease is a position of a group's run that one consumer has for a time.
type Lease struct {
	Stream, Group string
	Consumer      string
	Position      uint64
	Epoch         int64 // tells this lease of the position from others; goes into Ack.Lease
	TTL           time.Duration
}

// groupJSON is the leases of a group of competing consumers: one epoch of the lease
// group/<stream>/<group>. Each epoch holds everything.
type groupJSON struct {
	Format int         `json:"format"`
	Stream string      `json:"stream"`
	Group  string      `json:"group"`
	Next   uint64      `json:"next"`   // the first position that nobody ever had
	Free   []uint64    `json:"free"`   // positions that were given back, ascending
	Leases []leaseJSON `json:"leases"` // outstanding, by position
	Nonce  string      `json:"nonce"`
	Node   string      `json:"node"`
	At     string      `json:"at"`
}

type leaseJSON struct {
	Position uint64 `json:"position"`
	Epoch    int64  `json:"epoch"`   // in which it was given
	Renewed  int64  `json:"renewed"` // the last epoch in which its holder was heard of
	Consumer string `json:"consumer"`
	TTL      int64  `json:"ttl_ms"`
}

// maxLeases bounds the positions that a group may have out.
const maxLeases = 1024

// groupState is what this process saw of a group's leases.
type groupState struct {
	sem  chan struct{} // one caller at a time: the others of this process would only lose
	mu   sync.Mutex
	seen map[leaseMark]time.Time // when a lease was first seen as renewed last, by our own clock
}

type leaseMark struct {
	position uint64
	renewed  int64
}

func groupName(stream, group string) string { return "group/" + stream + "/" + group }

// expired says which lease was not renewed for its time, by this process's clock,
// since it was first seen so. It forgets leases that are no more.
func (s *groupState) expired(g *groupJSON, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[leaseMark]time.Time, len(g.Leases))
	out := -1
	for i, l := range g.Leases {
		k := leaseMark{l.Position, l.Renewed}
		since, ok := s.seen[k]
		if !ok {
			since = now
		}
		seen[k] = since
		if out < 0 && now.Sub(since) >= time.Duration(l.TTL)*time.Millisecond {
			out = i
		}
	}
	s.seen = seen
	return out
}

// Lease gives a consumer a position of the group's run that no other consumer has:
// one whose lease ran out, one that was given back, or the next. The consumer draws
// it with Batch (Run is the group), acks it with Ack.Lease, and renews in time; a
// consumer that does not come back loses the position to another one after ttl, as
// the others' clocks measure it. Positions therefore come at least once.
func (e *Engine) Lease(ctx context.Context, stream, group, consumer string, ttl time.Duration) (Lease, error) {
	op := fmt.Sprintf("lease a position of stream %s to group %s", stream, group)
	if err := e.checkRun(ctx, op, stream, group, 0); err != nil {
		return Lease{}, err
	}
	if ttl < time.Millisecond || ttl > 24*time.Hour {
		return Lease{}, fault.New(fault.Usage, op, "a lease lasts from a millisecond to a day, not %s", ttl).WithField("ttl")
	}
	var out Lease
	err := e.changeGroup(ctx, op, stream, group, func(epoch int64, g *groupJSON, s *groupState) error {
		l := leaseJSON{Epoch: epoch, Renewed: epoch, Consumer: consumer, TTL: ttl.Milliseconds()}
		if i := s.expired(g, time.Now()); i >= 0 {
			l.Position = g.Leases[i].Position
			g.Leases = slices.Delete(g.Leases, i, i+1)
		} else if len(g.Leases) >= maxLeases {
			return fault.New(fault.Exhausted, "", "%d positions are leased already", len(g.Leases)).WithHint("ack or release some")
		} else if len(g.Free) > 0 {
			l.Position, g.Free = g.Free[0], g.Free[1:]
		} else {
			l.Position = g.Next
			g.Next++
		}
		g.Leases = append(g.Leases, l)
		slices.SortFunc(g.Leases, func(a, b leaseJSON) int { return cmp.Compare(a.Position, b.Position) })
		out = Lease{stream, group, consumer, l.Position, epoch, ttl}
		return nil
	})
	return out, err
}

// Renew makes a lease last for its TTL from now. Kind Conflict: it is another's now.
func (e *Engine) Renew(ctx context.Context, l Lease) error {
	op := l.op("renew the lease of")
	return e.changeGroup(ctx, op, l.Stream, l.Group, func(epoch int64, g *groupJSON, _ *groupState) error {
		i := g.find(l.Position, l.Epoch)
		if i < 0 {
			return l.taken()
		}
		g.Leases[i].Renewed = epoch
		if l.TTL > 0 {
			g.Leases[i].TTL = max(l.TTL.Milliseconds(), 1)
		}
		return nil
	})
}

// Release ends a lease: done says that the position was consumed (Ack does that),
// otherwise another consumer may have it at once. Releasing again changes nothing.
// Kind Conflict: the position is leased to another one now.
func (e *Engine) Release(ctx context.Context, l Lease, done bool) error {
	op := l.op("release")
	return e.changeGroup(ctx, op, l.Stream, l.Group, func(_ int64, g *groupJSON, _ *groupState) error {
		i := g.find(l.Position, l.Epoch)
		if i < 0 {
			if slices.ContainsFunc(g.Leases, func(o leaseJSON) bool { return o.Position == l.Position }) {
				return l.taken()
			}
			return errNothing
		}
		g.Leases = slices.Delete(g.Leases, i, i+1)
		if !done {
			at, _ := slices.BinarySearch(g.Free, l.Position)
			g.Free = slices.Insert(g.Free, at, l.Position)
		}
		return nil
	})
}

// holds refuses the ack of a consumer whose lease is another's now.
func (e *Engine) holds(ctx context.Context, a *Ack) error {
	l := Lease{Stream: a.Stream, Group: a.Run, Position: a.Position, Epoch: a.Lease}
	_, body, err := e.lake.LastLease(ctx, groupName(a.Stream, a.Run))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	g, err := parseGroup(a.Stream, a.Run, body)
	if err != nil {
		return err
	}
	if g.find(a.Position, a.Lease) < 0 {
		return l.taken()
	}
	return nil
}

func (l Lease) op(what string) string {
	return fmt.Sprintf("%s position %d of stream %s, group %s", what, l.Position, l.Stream, l.Group)
}

func (l Lease) taken() error {
	return fault.New(fault.Conflict, "", "the lease of position %d ran out", l.Position).
		WithHint("another consumer may have the position; take a new one, and renew leases in time")
}

func (g *groupJSON) find(position uint64, epoch int64) int {
	return slices.IndexFunc(g.Leases, func(l leaseJSON) bool { return l.Position == position && l.Epoch == epoch })
}

func parseGroup(stream, group string, body []byte) (*groupJSON, error) {
	g := &groupJSON{Format: objectFormat, Stream: stream, Group: group}
	if body == nil {
		return g, nil
	}
	op := "read group " + group + " of stream " + stream
	if err := readObject(op, body, g, &g.Format); err != nil {
		return nil, err
	}
	if g.Stream != stream || g.Group != group {
		return nil, fault.New(fault.Corrupt, op, "it says that it is group %q of stream %q", g.Group, g.Stream)
	}
	return g, nil
}

// errNothing, from a change, leaves everything as it is.
var errNothing = fault.New(fault.Internal, "", "nothing to change")

// changeGroup makes the next epoch of a group.
func (e *Engine) changeGroup(ctx context.Context, op, stream, group string, change func(epoch int64, g *groupJSON, s *groupState) error) error {
	name := groupName(stream, group)
	e.mu.Lock()
	s := e.groups[name]
	if s == nil {
		s = &groupState{sem: make(chan struct{}, 1)}
		e.groups[name] = s
	}
	e.mu.Unlock()
	select {
	case s.sem <- struct{}{}:
		defer func() { <-s.sem }()
	case <-ctx.Done():
		return fault.Wrap(op, ctx.Err())
	}
	nonce := uuid.NewString()
	_, err := e.nextEpoch(ctx, name, func(epoch uint64, before []byte) ([]byte, error) {
		g, err := parseGroup(stream, group, before)
		if err != nil {
			return nil, err
		}
		if err := change(int64(epoch), g, s); err != nil {
			return nil, err
		}
		g.Nonce, g.Node, g.At = nonce, e.node, stamp(e.now())
		return objectJSON(g), nil
	})
	if err == errNothing {
		return nil
	}
	return fault.Wrap(op, err)
}
