// Package blob is the storage seam of trajlake: named, whole objects with an
// atomic "create if absent", kept in memory, in a directory or in an S3
// bucket. Everything above it is tested on these same implementations, so
// nothing above it needs a fake of its own.
//
// # Keys
//
// A key is a relative path of one or more segments joined by '/'. A segment
// is made of [A-Za-z0-9._=-] and does not start with '.'; see [CheckKey].
// These bytes mean the same in a file name, in a URL and in a Delta log entry,
// so that no layer ever has to escape one. A key must not also be the
// "directory" of another key ("a" and "a/b"): a directory cannot hold both.
//
// # Promises
//
// An object is visible whole or not at all. When Put returns nil the object
// survives a crash of the process and of the machine (memory buckets
// excepted) and every later Get, Stat and List sees it. Of any number of
// concurrent Puts with IfAbsent on one fresh key exactly one succeeds; [Probe]
// checks that a store keeps this promise before anything relies on it.
//
// # Errors
//
// Errors name the operation and the key and wrap the sentinels below; more
// than one may apply. Two of them decide what a caller has to do:
//
//   - [ErrUnknown]: the write may or may not have taken place. Read the key
//     back before drawing a conclusion; [PutUnique] does so.
//   - [ErrNotDurable]: stable storage refused to confirm. Reading back proves
//     nothing, since the answer would come from the page cache. Stop writing.
//
// Every Bucket of this package is safe for concurrent use.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Info describes one object.
type Info struct {
	Key     string    // the key, without any prefix the bucket was opened with
	Size    int64     // bytes
	ModTime time.Time // by the clock of the store, not of this process
	ETag    string    // changes when the content changes; otherwise opaque
}

// PutOptions modifies a Put. The zero value overwrites.
type PutOptions struct {
	// IfAbsent makes Put fail with ErrExists when the key already holds an
	// object. Checking and creating are one atomic step.
	IfAbsent bool
}

// Bucket is a flat set of objects. All methods honour ctx, return an error
// wrapping ErrInvalidKey for a malformed key, and may be called concurrently.
type Bucket interface {
	// Get reads the n bytes of key that start at off; n < 0 reads to the end
	// and off equal to the size then gives an empty slice. A range that does
	// not lie wholly inside the object is ErrRange, an absent object
	// ErrNotExist. The slice belongs to the caller.
	Get(ctx context.Context, key string, off, n int64) ([]byte, error)

	// Put stores body under key and returns once that is durable. It does not
	// keep body. With opt.IfAbsent an existing object is ErrExists and stays
	// as it is. An error that leaves the outcome open wraps ErrUnknown.
	Put(ctx context.Context, key string, body []byte, opt PutOptions) error

	// Stat describes the object, or fails with ErrNotExist.
	Stat(ctx context.Context, key string) (Info, error)

	// List yields the objects whose keys begin with prefix (any string of key
	// bytes, not only whole segments) and are greater than startAfter, in
	// ascending order of key bytes. An error is yielded once, last. What is
	// not an object with a valid key is left out. Objects put or deleted
	// during the walk may or may not appear.
	List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error]

	// Delete removes the object. Deleting an absent object succeeds.
	Delete(ctx context.Context, key string) error
}

// The errors of this package, to be tested with errors.Is.
var (
	// ErrNotExist: there is no object under the key.
	ErrNotExist = errors.New("object does not exist")
	// ErrExists: IfAbsent was asked for and the key already holds an object.
	ErrExists = errors.New("object exists")
	// ErrUnknown: the write may or may not have taken place, or may yet.
	ErrUnknown = errors.New("outcome of the write is unknown")
	// ErrInvalidKey: the key (or prefix) is malformed, or names a directory.
	ErrInvalidKey = errors.New("invalid key")
	// ErrRange: the object is shorter than the range asked for.
	ErrRange = errors.New("range is outside the object")
	// ErrUnavailable: the store did not answer, or answered that it cannot
	// serve now. The same call may succeed later.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrDenied: the store refused the credentials or the permission.
	ErrDenied = errors.New("access denied by the store")
	// ErrInvalidURL: the address given to Open is malformed or not supported.
	ErrInvalidURL = errors.New("invalid storage address")
	// ErrNoBucket: the directory or bucket itself does not exist.
	ErrNoBucket = errors.New("bucket does not exist")
	// ErrNotAtomic: the store cannot create-if-absent atomically.
	ErrNotAtomic = errors.New("store has no atomic create-if-absent")
	// ErrNotDurable: stable storage reported a failure while flushing. The
	// object may be visible and yet vanish with the power; a repeated flush
	// that succeeds would say nothing about the lost one. The directory
	// bucket refuses every later Put until it is opened anew.
	ErrNotDurable = errors.New("store could not make the write durable")
)

const (
	maxKeyLen     = 1024 // S3's limit
	maxSegmentLen = 255  // NAME_MAX of the usual file systems
)

// CheckKey returns an error wrapping ErrInvalidKey unless key is well formed:
// at most 1024 bytes, segments of 1 to 255 bytes of [A-Za-z0-9._=-] that do
// not begin with '.', joined by single slashes.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: empty", ErrInvalidKey)
	}
	if len(key) > maxKeyLen {
		return fmt.Errorf("%w %.40q...: longer than %d bytes", ErrInvalidKey, key, maxKeyLen)
	}
	start := 0
	for i := 0; i <= len(key); i++ {
		if i < len(key) && key[i] != '/' {
			if !keyByte(key[i]) {
				return fmt.Errorf("%w %.80q: byte %q at offset %d is not one of [A-Za-z0-9._=/-]", ErrInvalidKey, key, key[i], i)
			}
			continue
		}
		switch seg := key[start:i]; {
		case seg == "":
			return fmt.Errorf("%w %.80q: empty segment at offset %d", ErrInvalidKey, key, start)
		case seg[0] == '.':
			return fmt.Errorf("%w %.80q: segment at offset %d begins with a dot", ErrInvalidKey, key, start)
		case len(seg) > maxSegmentLen:
			return fmt.Errorf("%w %.40q...: segment longer than %d bytes", ErrInvalidKey, key, maxSegmentLen)
		}
		start = i + 1
	}
	return nil
}

// checkPrefix accepts the empty string and every beginning of a valid key.
func checkPrefix(prefix string) error {
	if prefix == "" || CheckKey(prefix) == nil {
		return nil
	}
	// What is left may end in a slash. With one more letter it is a key.
	if err := CheckKey(prefix + "x"); err != nil {
		return fmt.Errorf("prefix %.80q: %w", prefix, err)
	}
	return nil
}

func keyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '.' || c == '_' || c == '=' || c == '-'
}

// keyError says which operation on which key failed.
func keyError(op, key string, err error) error {
	return fmt.Errorf("blob %s %s: %w", op, key, err)
}

// rangeError reports a range that is not inside an object of the given size.
func rangeError(off, n, size int64) error {
	return fmt.Errorf("offset %d length %d of %d bytes: %w", off, n, size, ErrRange)
}

// clip resolves the range (off, n) of Get against an object of size bytes.
func clip(off, n, size int64) (int64, error) {
	if off < 0 || off > size || n > size-off {
		return 0, rangeError(off, n, size)
	}
	if n < 0 {
		n = size - off
	}
	return n, nil
}

// failList is a list that consists of one error.
func failList(err error) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) { yield(Info{}, err) }
}

// Close releases what b holds (file descriptors, idle connections) if it
// holds anything. Decorators pass it on. Closing twice is harmless.
func Close(b Bucket) error {
	if c, ok := b.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
