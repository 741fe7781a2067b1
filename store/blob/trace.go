package blob

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
)

// Event is one finished call and how it ended.
type Event struct {
	Call
	Objects int   // objects yielded, of a list
	Bytes   int   // bytes returned, of a get
	Err     error // nil on success
}

// Trace is a Bucket that writes down every call, in the order in which the
// calls end. Its text is meant for comparison with a golden file. It hides the
// local files of the bucket underneath, so that no read escapes it.
type Trace struct {
	inner Bucket

	mu     sync.Mutex
	events []Event
}

// NewTrace wraps b.
func NewTrace(b Bucket) *Trace { return &Trace{inner: b} }

// Events returns what was recorded so far.
func (t *Trace) Events() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Event(nil), t.events...)
}

// Reset forgets what was recorded.
func (t *Trace) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = nil
}

// Text renders the events, one a line, without sizes, which depend on
// compression: "put-if-absent a/b: exists", "get a/b [4,+8)", "list a/ after
// a/b: 3 objects".
func (t *Trace) Text() string {
	var s strings.Builder
	for _, e := range t.Events() {
		s.WriteString(e.String())
		s.WriteByte('\n')
	}
	return s.String()
}

// String renders the event as a line of Text.
func (e Event) String() string {
	s := string(e.Op)
	if e.IfAbsent {
		s += "-if-absent"
	}
	if e.Key == "" {
		s += " (all)"
	} else {
		s += " " + e.Key
	}
	switch {
	case e.Op == OpGet && e.N < 0 && e.Off > 0:
		s += fmt.Sprintf(" [%d,end)", e.Off)
	case e.Op == OpGet && e.N >= 0:
		s += fmt.Sprintf(" [%d,+%d)", e.Off, e.N)
	case e.Op == OpList && e.After != "":
		s += " after " + e.After
	}
	if e.Err != nil {
		return s + ": " + shortError(e.Err)
	}
	if e.Op == OpList {
		s += fmt.Sprintf(": %d objects", e.Objects)
	}
	return s
}

// shortError names an error by its sentinel, for the rest varies by bucket.
func shortError(err error) string {
	for _, known := range []struct {
		err  error
		name string
	}{
		{ErrNotExist, "absent"}, {ErrExists, "exists"}, {ErrNotDurable, "not durable"}, {ErrUnknown, "unknown"},
		{ErrInvalidKey, "invalid key"}, {ErrRange, "out of range"}, {ErrUnavailable, "unavailable"},
		{context.Canceled, "cancelled"}, {context.DeadlineExceeded, "deadline exceeded"},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return err.Error()
}

func (t *Trace) record(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
}

// Get implements Bucket.
func (t *Trace) Get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	body, err := t.inner.Get(ctx, key, off, n)
	t.record(Event{Call: Call{Op: OpGet, Key: key, Off: off, N: n}, Bytes: len(body), Err: err})
	return body, err
}

// Put implements Bucket.
func (t *Trace) Put(ctx context.Context, key string, body []byte, opt PutOptions) error {
	err := t.inner.Put(ctx, key, body, opt)
	t.record(Event{Call: Call{Op: OpPut, Key: key, Size: len(body), IfAbsent: opt.IfAbsent}, Err: err})
	return err
}

// Stat implements Bucket.
func (t *Trace) Stat(ctx context.Context, key string) (Info, error) {
	info, err := t.inner.Stat(ctx, key)
	t.record(Event{Call: Call{Op: OpStat, Key: key}, Err: err})
	return info, err
}

// Delete implements Bucket.
func (t *Trace) Delete(ctx context.Context, key string) error {
	err := t.inner.Delete(ctx, key)
	t.record(Event{Call: Call{Op: OpDelete, Key: key}, Err: err})
	return err
}

// List implements Bucket. The event is written when the walk ends.
func (t *Trace) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		e := Event{Call: Call{Op: OpList, Key: prefix, After: startAfter}}
		defer func() { t.record(e) }()
		for info, err := range t.inner.List(ctx, prefix, startAfter) {
			if err != nil {
				e.Err = err
			} else {
				e.Objects++
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// Close closes the bucket underneath.
func (t *Trace) Close() error { return Close(t.inner) }
