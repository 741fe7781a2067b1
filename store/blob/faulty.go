package blob

import (
	"context"
	"fmt"
	"iter"
	"path"
	"sync"
	"time"
)

// Op names a method of Bucket.
type Op string

// The methods of Bucket.
const (
	OpGet    Op = "get"
	OpPut    Op = "put"
	OpStat   Op = "stat"
	OpList   Op = "list"
	OpDelete Op = "delete"
)

// Call is one call of a method of Bucket.
type Call struct {
	Op       Op
	Key      string // the prefix, for a list
	Off, N   int64  // of a get
	Size     int    // bytes of body, of a put
	IfAbsent bool   // of a put
	After    string // startAfter, of a list
}

// Action is what a Rule does to a call.
type Action int

// The actions.
const (
	// FailBefore fails the call without an effect. For a put the error wraps
	// ErrUnknown, since its author could not tell.
	FailBefore Action = iota
	// LoseAnswer lets the call take effect and then fails it all the same.
	LoseAnswer
	// CutShort ends a list with an error after Keep objects, and makes a get
	// return only the first Keep bytes as if they were all: a lying store.
	CutShort
	// FlipBit inverts bit Keep (taken modulo the length) of what a get
	// returns: damage on the disk or the wire.
	FlipBit
	// Wait lets Delay pass and then does the call.
	Wait
	// Hang blocks until the context of the call ends, without an effect.
	Hang
)

// Always, as the Count of a Rule, makes it act on every matching call.
const Always = -1

// Rule says which calls to spoil and how. All given conditions must hold.
type Rule struct {
	Op    Op              // "" = any
	Key   string          // a pattern of path.Match; "" = any; '*' does not cross '/'
	Match func(Call) bool // nil = any

	Skip  int // matching calls let through first
	Count int // matching calls acted on after those; 0 = 1; Always

	Do    Action
	Err   error         // returned instead of the usual error; nil = ErrUnavailable, and for puts ErrUnknown
	Keep  int           // of CutShort and FlipBit
	Delay time.Duration // of Wait
}

// Faulty is a Bucket that fails on demand. It hides the local files of the
// bucket underneath, so that every read passes through its rules.
type Faulty struct {
	inner Bucket

	mu    sync.Mutex
	rules []*activeRule
	fired int
}

type activeRule struct {
	Rule
	seen int // matching calls so far
}

// NewFaulty wraps b. Of the rules that apply to a call the first acts; the
// later ones do not count it.
func NewFaulty(b Bucket, rules ...Rule) *Faulty {
	f := &Faulty{inner: b}
	f.Add(rules...)
	return f
}

// NewLatency wraps b so that every call begins with a pause of d.
func NewLatency(b Bucket, d time.Duration) Bucket {
	return NewFaulty(b, Rule{Do: Wait, Delay: d, Count: Always})
}

// Add appends rules.
func (f *Faulty) Add(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rules {
		if r.Count == 0 {
			r.Count = 1
		}
		f.rules = append(f.rules, &activeRule{Rule: r})
	}
}

// Clear removes all rules: the faults stop.
func (f *Faulty) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Fired is the number of calls that a rule has acted on. A test of faults
// should check that its faults took place.
func (f *Faulty) Fired() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// pick returns the rule to apply to c, if any.
func (f *Faulty) pick(c Call) *Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if !r.matches(c) {
			continue
		}
		r.seen++
		if r.seen > r.Skip && (r.Count == Always || r.seen <= r.Skip+r.Count) {
			f.fired++
			return &r.Rule
		}
	}
	return nil
}

func (r *Rule) matches(c Call) bool {
	if r.Op != "" && r.Op != c.Op {
		return false
	}
	if r.Key != "" {
		if ok, err := path.Match(r.Key, c.Key); err != nil || !ok {
			return false
		}
	}
	return r.Match == nil || r.Match(c)
}

func (r *Rule) err(c Call) error {
	switch {
	case r.Err != nil:
		return keyError(string(c.Op), c.Key, r.Err)
	case c.Op == OpPut:
		return keyError("put", c.Key, fmt.Errorf("injected: %w; %w", ErrUnknown, ErrUnavailable))
	}
	return keyError(string(c.Op), c.Key, fmt.Errorf("injected: %w", ErrUnavailable))
}

// apply runs do as the rule for c has it.
func (f *Faulty) apply(ctx context.Context, c Call, do func() error) (*Rule, error) {
	r := f.pick(c)
	if r == nil {
		return nil, do()
	}
	switch r.Do {
	case FailBefore:
		return r, r.err(c)
	case LoseAnswer:
		if err := do(); err != nil {
			return r, err
		}
		return r, r.err(c)
	case Wait:
		if err := pause(ctx, r.Delay); err != nil {
			return r, keyError(string(c.Op), c.Key, err)
		}
	case Hang:
		<-ctx.Done()
		return r, keyError(string(c.Op), c.Key, ctx.Err())
	}
	return r, do()
}

// Get implements Bucket.
func (f *Faulty) Get(ctx context.Context, key string, off, n int64) (body []byte, err error) {
	r, err := f.apply(ctx, Call{Op: OpGet, Key: key, Off: off, N: n}, func() (err error) {
		body, err = f.inner.Get(ctx, key, off, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	switch {
	case r == nil || len(body) == 0:
	case r.Do == CutShort:
		body = body[:min(r.Keep, len(body))]
	case r.Do == FlipBit:
		bit := r.Keep % (8 * len(body))
		body[bit/8] ^= 1 << (bit % 8)
	}
	return body, nil
}

// Put implements Bucket.
func (f *Faulty) Put(ctx context.Context, key string, body []byte, opt PutOptions) error {
	c := Call{Op: OpPut, Key: key, Size: len(body), IfAbsent: opt.IfAbsent}
	_, err := f.apply(ctx, c, func() error { return f.inner.Put(ctx, key, body, opt) })
	return err
}

// Stat implements Bucket.
func (f *Faulty) Stat(ctx context.Context, key string) (info Info, err error) {
	_, err = f.apply(ctx, Call{Op: OpStat, Key: key}, func() (err error) {
		info, err = f.inner.Stat(ctx, key)
		return err
	})
	if err != nil {
		return Info{}, err
	}
	return info, nil
}

// Delete implements Bucket.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	_, err := f.apply(ctx, Call{Op: OpDelete, Key: key}, func() error { return f.inner.Delete(ctx, key) })
	return err
}

// List implements Bucket. LoseAnswer fails a list after its last object.
func (f *Faulty) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	c := Call{Op: OpList, Key: prefix, After: startAfter}
	return func(yield func(Info, error) bool) {
		stopped := false
		r, err := f.apply(ctx, c, func() error { return nil })
		late := r != nil && r.Do == LoseAnswer
		if err != nil && !late {
			yield(Info{}, err)
			return
		}
		left := -1
		if r != nil && r.Do == CutShort {
			left = r.Keep
		}
		for info, err := range f.inner.List(ctx, prefix, startAfter) {
			if left == 0 {
				break
			}
			left--
			if !yield(info, err) {
				stopped = true
				break
			}
			if err != nil {
				return
			}
		}
		switch {
		case stopped:
		case late:
			yield(Info{}, err)
		case r != nil && r.Do == CutShort:
			yield(Info{}, r.err(c))
		}
	}
}

// Close closes the bucket underneath.
func (f *Faulty) Close() error { return Close(f.inner) }
