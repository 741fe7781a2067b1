package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Reader reads one object at any place. ReadAt may be called concurrently.
type Reader interface {
	io.ReaderAt
	io.Closer
	// Size is the length of the object in bytes.
	Size() int64
}

// ReaderOpener is implemented by buckets that can keep an object open, which
// then stays readable even while it is deleted or overwritten.
type ReaderOpener interface {
	// OpenReader opens key, or fails with ErrNotExist.
	OpenReader(ctx context.Context, key string) (Reader, error)
}

// LocalPather is implemented by buckets whose objects are files.
type LocalPather interface {
	// LocalPath names the file that holds key, whether it exists or not. It
	// reports false for a malformed key.
	LocalPath(key string) (string, bool)
}

// OpenReader opens key for reading at random places. size is the length the
// caller expects, and a bucket that learns another length fails with
// ErrRange; with size < 0 the length is asked of the bucket.
//
// Where the bucket is no ReaderOpener every ReadAt is one ranged Get under
// ctx, so ctx must outlive the reader, and an object that changes meanwhile is
// seen changing. Lake objects never change.
func OpenReader(ctx context.Context, b Bucket, key string, size int64) (Reader, error) {
	if ro, ok := undecorated(b).(ReaderOpener); ok {
		r, err := ro.OpenReader(ctx, key)
		if err != nil {
			return nil, err
		}
		if size >= 0 && r.Size() != size {
			err := fmt.Errorf("object has %d bytes, expected %d: %w", r.Size(), size, ErrRange)
			return nil, errors.Join(keyError("open", key, err), r.Close())
		}
		return r, nil
	}
	if size < 0 {
		info, err := b.Stat(ctx, key)
		if err != nil {
			return nil, err
		}
		size = info.Size
	}
	return &rangeReader{ctx: ctx, b: b, key: key, size: size}, nil
}

// LocalPath names the file that holds key if b keeps objects as files.
func LocalPath(b Bucket, key string) (string, bool) {
	if lp, ok := undecorated(b).(LocalPather); ok {
		return lp.LocalPath(key)
	}
	return "", false
}

// undecorated looks through the decorators that add nothing to a local read.
// Those that exist to see or spoil every operation are not looked through.
func undecorated(b Bucket) Bucket {
	for {
		r, ok := b.(*Retry)
		if !ok {
			return b
		}
		b = r.inner
	}
}

// rangeReader reads by ranged Gets.
type rangeReader struct {
	ctx  context.Context // a ReadAt has no context of its own
	b    Bucket
	key  string
	size int64
}

func (r *rangeReader) Size() int64  { return r.size }
func (r *rangeReader) Close() error { return nil }

func (r *rangeReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, keyError("read", r.key, rangeError(off, int64(len(p)), r.size))
	}
	if off >= r.size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), r.size-off)
	if want == 0 {
		return 0, nil
	}
	body, err := r.b.Get(r.ctx, r.key, off, want)
	if err != nil {
		return 0, err
	}
	// A store that lies about lengths must not make stale bytes of p look read.
	if n := copy(p, body); int64(n) < want {
		return n, keyError("read", r.key, io.ErrUnexpectedEOF)
	}
	if want < int64(len(p)) {
		return int(want), io.EOF
	}
	return int(want), nil
}
