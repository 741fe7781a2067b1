package replay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"trajlake/schema/fault"
	"trajlake/store"
)

// EngineOptions are the settings of NewEngine; the zero value is a good one.
type EngineOptions struct {
	Node   string           // names this process in claims and in the ledger; "" = host name and process id
	Logger *slog.Logger     // nil = discard
	Now    func() time.Time // clock of claims and ledger rows; nil = time.Now. Nothing waits by it
}

// Engine serves the streams of one lake: it claims positions, draws their batches,
// holds trainers back where a limiter says so, and writes the ledger. Any number
// of engines, in any number of processes, may serve the same streams of one lake:
// they meet in the claims, and give the same batch for the same position. An
// Engine is safe for concurrent use. Close waits for its background work.
type Engine struct {
	lake *store.Lake
	node string
	log  *slog.Logger
	now  func() time.Time

	ctx    context.Context // of work that outlives the call that began it
	cancel context.CancelFunc
	work   sync.WaitGroup
	heads  heads
	views  views
	ledger *ledgerWriter
	counts engineCounts

	closing chan struct{} // closed when Close begins

	mu      sync.Mutex
	closed  bool
	streams map[string]*Stream
	chains  map[chainKey]*chain
	limits  map[string]*limitState
	groups  map[string]*groupState
	latest  map[string]*opened // by stream: a sampler to advance others from

	closeOnce sync.Once
	closeErr  error
}

// NewEngine makes an engine over an open lake, which it does not close.
func NewEngine(lake *store.Lake, o *EngineOptions) *Engine {
	e := &Engine{lake: lake, now: time.Now, log: slog.New(slog.DiscardHandler), streams: map[string]*Stream{},
		closing: make(chan struct{}), chains: map[chainKey]*chain{}, limits: map[string]*limitState{}, groups: map[string]*groupState{},
		latest: map[string]*opened{}, views: views{sem: make(chan struct{}, 1)}}
	if o != nil {
		e.node = o.Node
		if o.Logger != nil {
			e.log = o.Logger
		}
		if o.Now != nil {
			e.now = o.Now
		}
	}
	if e.node == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		e.node = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.heads.e = e
	e.ledger = newLedgerWriter(e)
	e.work.Go(func() { e.ledger.run(e.ctx) })
	return e
}

// Close ends the engine: calls under way fail with kind Unavailable, what acks are
// waiting for is written, and background work is waited for. When ctx ends first,
// what is under way is given up; acks that have not returned may be lost then. It
// is idempotent.
func (e *Engine) Close(ctx context.Context) error {
	e.closeOnce.Do(func() {
		e.mu.Lock()
		e.closed = true
		e.mu.Unlock()
		close(e.closing)
		e.ledger.stop()
		done := make(chan struct{})
		go func() {
			<-e.ledger.done
			e.cancel()
			e.work.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-ctx.Done():
			e.closeErr = fault.Wrap("close replay engine", ctx.Err())
			e.cancel()
			<-done
		}
		e.closeErr = errors.Join(e.closeErr, e.ledger.lost())
	})
	return e.closeErr
}

// open fails when the engine is closing.
func (e *Engine) open(op string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return fault.New(fault.Unavailable, op, "the replay engine is closing").WithHint("ask another node, or again when it is back")
	}
	return nil
}

// Create stores a stream under a name: spec need not be filled, and is live unless
// it says otherwise. A pinned stream is pinned to the head of this moment. The same
// spec under the same name is the same stream again; another one is kind Conflict.
// An impossible spec is kind Usage and holds Faults.
func (e *Engine) Create(ctx context.Context, name string, spec Spec) (*Stream, error) {
	op := "create stream " + name
	if err := e.open(op); err != nil {
		return nil, err
	}
	spec = spec.Fill(Live)
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	snap, err := e.snapshotOf(ctx, spec)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	st := &Stream{Name: name, Spec: spec, SpecHash: spec.Hash(), Snapshot: snap.Token(), Created: e.now(), Node: e.node}
	have, _, err := e.lake.PutStream(ctx, name, st.JSON())
	if err != nil {
		return nil, err
	}
	standing, err := parseStream(name, have)
	if err != nil {
		return nil, err
	}
	if standing.SpecHash != st.SpecHash {
		return nil, fault.New(fault.Conflict, op, "a stream of this name has another spec (hash %.16s, this one has %.16s)", standing.SpecHash, st.SpecHash).
			WithHint("streams never change: give the new one another name")
	}
	return e.remember(standing), nil
}

// snapshotOf is what a new stream is pinned to; of a live one the head.
func (e *Engine) snapshotOf(ctx context.Context, spec Spec) (*store.Snapshot, error) {
	if spec.Snapshot.Mode == Live {
		return e.lake.Head(ctx)
	}
	return Resolve(ctx, e.lake, spec)
}

func (e *Engine) remember(st *Stream) *Stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	if known := e.streams[st.Name]; known != nil {
		return known
	}
	e.streams[st.Name] = st
	return st
}

// Get is the stream of a name; kind NotFound where there is none. The Stream must
// not be changed.
func (e *Engine) Get(ctx context.Context, name string) (*Stream, error) {
	e.mu.Lock()
	st := e.streams[name]
	e.mu.Unlock()
	if st != nil {
		return st, nil
	}
	body, err := e.lake.GetStream(ctx, name)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "read stream "+name, "there is no such stream").WithHint("`trajlake stream list` lists them, `stream create` makes one")
	}
	if err != nil {
		return nil, err
	}
	if st, err = parseStream(name, body); err != nil {
		return nil, err
	}
	return e.remember(st), nil
}

// List lists the streams of the lake by name, with how far the chain without a run,
// or else the run that is furthest, has come.
func (e *Engine) List(ctx context.Context) ([]StreamInfo, error) {
	names, err := e.lake.ListStreams(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]StreamInfo, 0, len(names))
	for _, name := range names {
		st, err := e.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		info := StreamInfo{Stream: *st, Last: st.Snapshot}
		runs, err := e.lake.ListRuns(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, run := range runs {
			s, err := e.Status(ctx, name, run)
			if err != nil {
				return nil, err
			}
			if s.Position >= info.Position {
				info.Position, info.Last = s.Position, s.Snapshot
			}
		}
		info.Position = max(info.Position, e.asked(name))
		out = append(out, info)
	}
	return out, nil
}

// asked is the first position of a stream that nobody has asked this process for.
func (e *Engine) asked(stream string) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	var top uint64
	for k, c := range e.chains {
		if k.stream == stream {
			top = max(top, c.top())
		}
	}
	return top
}

// flight is one piece of work that several callers wait for. It runs under the
// engine's context, so that a caller who gives up takes nothing from the others, and
// ends at flightTimeout, so that a store that hangs does not hold up those who come
// later.
type flight[T any] struct {
	done chan struct{}
	v    T
	err  error
}

// flightTimeout is far more than the facts of ten million rows take to read.
const flightTimeout = 5 * time.Minute

// launch begins a flight; after Close it has failed already.
func launch[T any](e *Engine, do func(context.Context) (T, error)) *flight[T] {
	f := &flight[T]{done: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		f.err = fault.New(fault.Unavailable, "", "the replay engine is closing").WithHint("ask another node, or again when it is back")
		close(f.done)
		return f
	}
	e.work.Go(func() {
		defer close(f.done)
		ctx, cancel := context.WithTimeout(e.ctx, flightTimeout)
		defer cancel()
		f.v, f.err = do(ctx)
		if ctx.Err() != nil && f.err != nil {
			f.err = fault.WrapAs(fault.Unavailable, "the store takes too long", f.err)
		}
		if f.err != nil && e.ctx.Err() != nil {
			f.err = fault.WrapAs(fault.Unavailable, "the replay engine is closing", f.err)
		}
	})
	return f
}

// landed reports whether the flight is over.
func (f *flight[T]) landed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func (f *flight[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-f.done:
		return f.v, f.err
	case <-ctx.Done():
		var none T
		return none, fault.Wrap("", ctx.Err())
	}
}

// heads gives the newest snapshot to callers who come together: those who come
// while one is being read share the next one, which is begun after they came.
type heads struct {
	e             *Engine
	mu            sync.Mutex
	running, next *flight[*store.Snapshot]
}

func (h *heads) get(ctx context.Context) (*store.Snapshot, error) {
	h.mu.Lock()
	if h.running != nil && h.running.landed() {
		h.running = nil
	}
	var f *flight[*store.Snapshot]
	switch {
	case h.running == nil:
		f = launch(h.e, h.e.lake.Head)
		h.running = f
	case h.next == nil || h.next.landed():
		before := h.running
		f = launch(h.e, func(ctx context.Context) (*store.Snapshot, error) {
			<-before.done
			h.mu.Lock()
			h.running, h.next = h.next, nil
			h.mu.Unlock()
			return h.e.lake.Head(ctx)
		})
		h.next = f
	default:
		f = h.next
	}
	h.mu.Unlock()
	s, err := f.wait(ctx)
	return s, fault.Wrap("read the head of the lake", err)
}
