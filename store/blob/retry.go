package blob

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// RetryOptions tunes Retry. The zero value gives the defaults.
type RetryOptions struct {
	Attempts int           // calls of one operation in all; 0 = 6
	Base     time.Duration // upper bound of the first pause; 0 = 50 ms
	Max      time.Duration // upper bound of any pause; 0 = 2 s
}

// Retry is a Bucket that repeats what failed with ErrUnavailable, pausing for
// a random time between zero and a bound that doubles. A Put with IfAbsent is
// passed through once: whether an earlier attempt took effect is a question
// that only its author can settle, see PutUnique.
type Retry struct {
	inner Bucket
	opt   RetryOptions
}

// NewRetry wraps b.
func NewRetry(b Bucket, opt RetryOptions) *Retry {
	if opt.Attempts <= 0 {
		opt.Attempts = 6
	}
	if opt.Base <= 0 {
		opt.Base = 50 * time.Millisecond
	}
	if opt.Max <= 0 {
		opt.Max = 2 * time.Second
	}
	return &Retry{inner: b, opt: opt}
}

// again reports whether the attempt-th failure (from 0) is to be followed by
// another attempt, and pauses first.
func (r *Retry) again(ctx context.Context, attempt int, err error) bool {
	if attempt+1 >= r.opt.Attempts || !errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
		return false
	}
	return pause(ctx, backoff(attempt, r.opt.Base, r.opt.Max)) == nil
}

// backoff draws from [0, min(limit, base·2^attempt)).
func backoff(attempt int, base, limit time.Duration) time.Duration {
	bound := limit
	if attempt < 30 && base<<attempt < limit {
		bound = base << attempt
	}
	return rand.N(bound)
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// do runs f until it succeeds, fails for good, or has been tried enough.
func (r *Retry) do(ctx context.Context, f func() error) error {
	for attempt := 0; ; attempt++ {
		err := f()
		if err == nil || !r.again(ctx, attempt, err) {
			return tried(attempt, err)
		}
	}
}

func tried(attempt int, err error) error {
	if err == nil || attempt == 0 {
		return err
	}
	return fmt.Errorf("after %d attempts: %w", attempt+1, err)
}

// Get implements Bucket.
func (r *Retry) Get(ctx context.Context, key string, off, n int64) (body []byte, err error) {
	err = r.do(ctx, func() (err error) {
		body, err = r.inner.Get(ctx, key, off, n)
		return err
	})
	return body, err
}

// Put implements Bucket.
func (r *Retry) Put(ctx context.Context, key string, body []byte, opt PutOptions) error {
	if opt.IfAbsent {
		return r.inner.Put(ctx, key, body, opt)
	}
	return r.do(ctx, func() error { return r.inner.Put(ctx, key, body, opt) })
}

// Stat implements Bucket.
func (r *Retry) Stat(ctx context.Context, key string) (info Info, err error) {
	err = r.do(ctx, func() (err error) {
		info, err = r.inner.Stat(ctx, key)
		return err
	})
	return info, err
}

// Delete implements Bucket.
func (r *Retry) Delete(ctx context.Context, key string) error {
	return r.do(ctx, func() error { return r.inner.Delete(ctx, key) })
}

// List implements Bucket. A walk that breaks off goes on after the last key
// that was yielded; only attempts that yield nothing count.
func (r *Retry) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		after := startAfter // a sequence may be walked more than once
		for attempt := 0; ; attempt++ {
			var failed error
			for info, err := range r.inner.List(ctx, prefix, after) {
				if err != nil {
					failed = err
					break
				}
				after, attempt = info.Key, 0
				if !yield(info, nil) {
					return
				}
			}
			if failed == nil {
				return
			}
			if !r.again(ctx, attempt, failed) {
				yield(Info{}, tried(attempt, failed))
				return
			}
		}
	}
}

// Close closes the bucket underneath.
func (r *Retry) Close() error { return Close(r.inner) }
