package blob

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Memory is a Bucket in the memory of this process. Use NewMemory.
type Memory struct {
	mu      sync.RWMutex
	objects map[string]memObject
	puts    uint64 // number of puts so far, the source of ETags
}

// memObject is immutable once stored; an overwrite replaces it.
type memObject struct {
	body []byte
	info Info
}

// NewMemory returns an empty bucket.
func NewMemory() *Memory {
	return &Memory{objects: make(map[string]memObject)}
}

func (m *Memory) lookup(ctx context.Context, op, key string) (memObject, error) {
	if err := ctx.Err(); err != nil {
		return memObject{}, keyError(op, key, err)
	}
	if err := CheckKey(key); err != nil {
		return memObject{}, keyError(op, key, err)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	o, ok := m.objects[key]
	if !ok {
		return memObject{}, keyError(op, key, ErrNotExist)
	}
	return o, nil
}

// Get implements Bucket.
func (m *Memory) Get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	o, err := m.lookup(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	n, err = clip(off, n, o.info.Size)
	if err != nil {
		return nil, keyError("get", key, err)
	}
	return append(make([]byte, 0, n), o.body[off:off+n]...), nil
}

// Put implements Bucket.
func (m *Memory) Put(ctx context.Context, key string, body []byte, opt PutOptions) error {
	if err := ctx.Err(); err != nil {
		return keyError("put", key, err)
	}
	if err := CheckKey(key); err != nil {
		return keyError("put", key, err)
	}
	kept := bytes.Clone(body)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; ok && opt.IfAbsent {
		return keyError("put", key, ErrExists)
	}
	m.puts++
	m.objects[key] = memObject{body: kept, info: Info{
		Key: key, Size: int64(len(kept)), ModTime: time.Now(), ETag: "m" + strconv.FormatUint(m.puts, 10),
	}}
	return nil
}

// Stat implements Bucket.
func (m *Memory) Stat(ctx context.Context, key string) (Info, error) {
	o, err := m.lookup(ctx, "stat", key)
	return o.info, err
}

// List implements Bucket. It walks the state at its first step.
func (m *Memory) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	if err := checkPrefix(prefix); err != nil {
		return failList(err)
	}
	return func(yield func(Info, error) bool) {
		for _, info := range m.snapshot(prefix, startAfter) {
			if err := ctx.Err(); err != nil {
				yield(Info{}, keyError("list", prefix, err))
				return
			}
			if !yield(info, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Info{}, keyError("list", prefix, err))
		}
	}
}

func (m *Memory) snapshot(prefix, startAfter string) []Info {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var infos []Info
	for key, o := range m.objects {
		if strings.HasPrefix(key, prefix) && key > startAfter {
			infos = append(infos, o.info)
		}
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Key, b.Key) })
	return infos
}

// Delete implements Bucket.
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return keyError("delete", key, err)
	}
	if err := CheckKey(key); err != nil {
		return keyError("delete", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}

// OpenReader implements ReaderOpener without copying the object.
func (m *Memory) OpenReader(ctx context.Context, key string) (Reader, error) {
	o, err := m.lookup(ctx, "open", key)
	if err != nil {
		return nil, err
	}
	return memReader{bytes.NewReader(o.body)}, nil
}

type memReader struct{ *bytes.Reader }

func (memReader) Close() error { return nil }
