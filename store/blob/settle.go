package blob

import "context"

// Settler is implemented by buckets in which an object can be read before it is
// durable: its name is visible from the moment it is given, and whoever gave it
// may not have flushed it yet.
type Settler interface {
	// Settle makes durable the objects of a folder (the keys that begin with
	// dir and a slash, not those further down) that could be read when it was
	// called.
	Settle(ctx context.Context, dir string) error
}

// Settle returns when every object directly in the folder dir that can be read
// now is durable, whoever put it. Who tells somebody that a thing is stored,
// because an object that another process has put says so, has to call it before.
// Where only durable objects can be read it does nothing. An error that wraps
// ErrNotDurable is final.
func Settle(ctx context.Context, b Bucket, dir string) error {
	if s, ok := b.(Settler); ok {
		return s.Settle(ctx, dir)
	}
	return nil
}

// Settle implements Settler: it flushes the directory and, the first time, those
// above it.
func (d *Dir) Settle(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return keyError("settle", dir, err)
	}
	if err := CheckKey(dir); err != nil {
		return keyError("settle", dir, err)
	}
	err := d.health()
	if err == nil {
		err = d.anchor(dir)
	}
	if err == nil {
		err = d.flush(dir)
	}
	if err != nil {
		return keyError("settle", dir, err)
	}
	return nil
}

// Settle implements Settler.
func (r *Retry) Settle(ctx context.Context, dir string) error { return Settle(ctx, r.inner, dir) }

// Settle implements Settler; no rule applies to it.
func (f *Faulty) Settle(ctx context.Context, dir string) error { return Settle(ctx, f.inner, dir) }

// Settle implements Settler; it is not written down, for most buckets do nothing.
func (t *Trace) Settle(ctx context.Context, dir string) error { return Settle(ctx, t.inner, dir) }
