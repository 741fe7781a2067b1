package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// ErrLocked means that another process has the folder; the caller goes on
// without a persistent index.
var ErrLocked = errors.New("index folder is in use by another process")

// ErrNoSpace means that the disk is too full to keep an index; Badger would die
// of it, so the folder is not even opened.
var ErrNoSpace = errors.New("too little free disk space for an index")

// minFree is the free space below which the index is neither opened nor written.
const minFree = 256 << 20

// closeRoom is the free space that closing needs: Badger then writes what it has
// in memory to mapped files, and a full disk would kill the process with SIGBUS.
const closeRoom = 64 << 20

// Format is the version of what the folder holds, digests of annotations among
// it; another one is set aside.
const Format = 2

// Badger is an Index in a Badger folder.
type Badger struct {
	dir    string
	db     *badger.DB
	mu     sync.RWMutex // guards closed against use after Close
	closed bool
}

// Open opens or makes the index in dir for the lake whose identity is lake (lake
// id and canonical URL). A folder that is damaged, of another format or of
// another lake is renamed to <dir>.bad-<time> and a fresh one made; aside is
// then the reason. ErrLocked and ErrNoSpace mean: do without.
func Open(dir, lake string) (ix *Badger, aside string, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, "", fmt.Errorf("make index folder %s: %w", dir, err)
	}
	if free, ok := freeBytes(filepath.Dir(dir)); ok && free < minFree {
		return nil, "", ErrNoSpace
	}
	ix, reason, err := tryOpen(dir, lake)
	if err == nil && reason == "" {
		return ix, "", nil
	}
	if errors.Is(err, ErrLocked) {
		return nil, "", ErrLocked
	}
	if err != nil {
		reason = err.Error()
	}
	if err := SetAside(dir); err != nil {
		return nil, reason, err
	}
	ix, again, err := tryOpen(dir, lake)
	if err == nil && again != "" {
		err = errors.Join(errors.New(again), ix.Close())
	}
	return ix, reason, err
}

// pruneAside keeps the newest folder that was set aside and removes older ones.
func pruneAside(dir string) {
	old, _ := filepath.Glob(dir + ".bad-*")
	sort.Strings(old)
	for _, o := range old[:max(0, len(old)-1)] {
		os.RemoveAll(o)
	}
}

// Remove deletes the index folder; the next Open makes a fresh one. The folder
// must not be open.
func Remove(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove index folder %s: %w", dir, err)
	}
	return nil
}

// SetAside renames the index folder to <dir>.bad-<time>, for somebody to look at;
// the next Open makes a fresh one. The folder must not be open.
func SetAside(dir string) error {
	bad := fmt.Sprintf("%s.bad-%s", dir, time.Now().UTC().Format("20060102T150405.000000"))
	if err := os.Rename(dir, bad); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set aside index folder %s: %w", dir, err)
	}
	pruneAside(dir)
	return nil
}

func tryOpen(dir, lake string) (*Badger, string, error) {
	o := badger.DefaultOptions(dir).
		WithLoggingLevel(badger.ERROR).WithLogger(nil).
		WithMemTableSize(16 << 20).WithNumMemtables(2).WithNumLevelZeroTables(4).WithNumLevelZeroTablesStall(12).
		WithNumCompactors(2).WithBlockCacheSize(16 << 20).WithIndexCacheSize(16 << 20).
		WithValueThreshold(1 << 20).WithValueLogFileSize(64 << 20).
		WithCompression(options.None).WithDetectConflicts(false).WithNumVersionsToKeep(1).
		WithChecksumVerificationMode(options.OnTableAndBlockRead).WithMetricsEnabled(false)
	db, err := openRecovering(o)
	if err != nil {
		if isLocked(err) {
			return nil, "", ErrLocked
		}
		return nil, "", fmt.Errorf("open index folder %s: %w", dir, err)
	}
	ix := &Badger{dir: dir, db: db}
	want := fmt.Sprintf("%d %s", Format, lake)
	got, err := ix.get([]byte("h"))
	if err != nil {
		return nil, "", errors.Join(err, db.Close())
	}
	switch {
	case got == nil:
		err := db.Update(func(t *badger.Txn) error { return t.Set([]byte("h"), []byte(want)) })
		if err != nil {
			return nil, "", errors.Join(err, db.Close())
		}
	case string(got) != want:
		return nil, "it belongs to another lake or format", db.Close()
	}
	return ix, "", nil
}

// openRecovering turns a panic of a damaged folder into an error.
func openRecovering(o badger.Options) (db *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("damaged: %v", r)
		}
	}()
	return badger.Open(o)
}

// recovering turns a panic of a damaged folder into an error.
func recovering(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("damaged: %v", r)
	}
}

func isLocked(err error) bool {
	return errors.Is(err, syscall.EWOULDBLOCK) || strings.Contains(err.Error(), "Cannot acquire directory lock")
}

func freeBytes(dir string) (int64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}

func (b *Badger) get(key []byte) (val []byte, err error) {
	err = b.db.View(func(t *badger.Txn) error {
		it, err := t.Get(key)
		if err != nil {
			return err
		}
		val, err = it.ValueCopy(nil)
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	return val, err
}

func (b *Badger) use() (func(), error) {
	b.mu.RLock()
	if b.closed {
		b.mu.RUnlock()
		return nil, errors.New("index is closed")
	}
	return b.mu.RUnlock, nil
}

// ordered is the position of a key in a list, to be sorted.
type ordered struct {
	head uint64 // of the key
	at   int
}

// inOrder is the order of n keys by their first bytes, equal keys as they were:
// neighbours lie together in Badger's lists and blocks, which makes many keys
// about twice as fast.
func inOrder(n int, key func(i int) *Key) []ordered {
	order := make([]ordered, n)
	for i := range order {
		order[i] = ordered{binary.BigEndian.Uint64(key(i)[:8]), i}
	}
	slices.SortFunc(order, func(a, b ordered) int { return cmp.Or(cmp.Compare(a.head, b.head), cmp.Compare(a.at, b.at)) })
	return order
}

// lookupPart is from how many keys on they are looked up on all processors.
const lookupPart = 2048

// Lookup implements Index.
func (b *Badger) Lookup(keys []Key) ([]Entry, error) {
	done, err := b.use()
	if err != nil {
		return nil, err
	}
	defer done()
	out := make([]Entry, len(keys))
	order := inOrder(len(keys), func(i int) *Key { return &keys[i] })
	parts := min(runtime.GOMAXPROCS(0), 1+len(keys)/lookupPart)
	errs := make([]error, parts)
	var wg sync.WaitGroup
	for p := 1; p < parts; p++ {
		wg.Go(func() { errs[p] = b.lookup(keys, order[len(order)*p/parts:len(order)*(p+1)/parts], out) })
	}
	errs[0] = b.lookup(keys, order[:len(order)/parts], out)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("look up in index %s: %w", b.dir, err)
	}
	return out, nil
}

// lookup fills in the entries of some of the keys.
func (b *Badger) lookup(keys []Key, order []ordered, out []Entry) (err error) {
	defer recovering(&err)
	return b.db.View(func(t *badger.Txn) error {
		name := make([]byte, 1+len(Key{}))
		name[0] = 'i'
		for _, o := range order {
			i := o.at
			out[i] = Entry{Seq: -1}
			copy(name[1:], keys[i][:])
			it, err := t.Get(name)
			if errors.Is(err, badger.ErrKeyNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if err := it.Value(func(v []byte) error {
				e, ok := decodeEntry(v)
				if !ok {
					return fmt.Errorf("index entry of %d bytes", len(v))
				}
				out[i] = e
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Apply implements Index.
func (b *Badger) Apply(table string, items []Item, mark Mark) (err error) {
	defer recovering(&err)
	done, err := b.use()
	if err != nil {
		return err
	}
	defer done()
	if free, ok := freeBytes(b.dir); ok && free < minFree {
		return fmt.Errorf("write index %s: %w", b.dir, ErrNoSpace)
	}
	w := b.db.NewWriteBatch()
	defer w.Cancel()
	const size = 1 + len(Key{}) + entrySize
	texts := make([]byte, 0, size*len(items)) // the batch keeps what it is given
	for _, o := range inOrder(len(items), func(i int) *Key { return &items[i].Key }) {
		at := len(texts)
		texts = appendEntry(append(append(texts, 'i'), items[o.at].Key[:]...), items[o.at].Entry)
		key, value := texts[at:at+1+len(Key{})], texts[at+1+len(Key{}):]
		if err := w.Set(slices.Clip(key), slices.Clip(value)); err != nil {
			return fmt.Errorf("write index %s: %w", b.dir, err)
		}
	}
	text, err := json.Marshal(mark)
	if err != nil {
		return err
	}
	if err := w.Set([]byte("m"+table), text); err != nil {
		return fmt.Errorf("write index %s: %w", b.dir, err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write index %s: %w", b.dir, err)
	}
	return nil
}

// Mark implements Index.
func (b *Badger) Mark(table string) (_ Mark, err error) {
	defer recovering(&err)
	done, err := b.use()
	if err != nil {
		return Mark{}, err
	}
	defer done()
	text, err := b.get([]byte("m" + table))
	if err != nil {
		return Mark{}, fmt.Errorf("read index %s: %w", b.dir, err)
	}
	if text == nil {
		return Mark{Version: -1}, nil
	}
	var m Mark
	if err := json.Unmarshal(text, &m); err != nil {
		return Mark{}, fmt.Errorf("read index %s: %w", b.dir, err)
	}
	return m, nil
}

// Each implements Index.
func (b *Badger) Each(fn func(Item) bool) (err error) {
	defer recovering(&err)
	done, err := b.use()
	if err != nil {
		return err
	}
	defer done()
	return b.db.View(func(t *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte{'i'}
		it := t.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			var e Entry
			ok := false
			if err := it.Item().Value(func(v []byte) error { e, ok = decodeEntry(v); return nil }); err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("index %s holds an entry of the wrong size", b.dir)
			}
			if !fn(Item{Key(it.Item().Key()[1:]), e}) {
				return nil
			}
		}
		return nil
	})
}

// Sync implements Index.
func (b *Badger) Sync() error {
	done, err := b.use()
	if err != nil {
		return err
	}
	defer done()
	return b.db.Sync()
}

// Close implements Index.
func (b *Badger) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if free, ok := freeBytes(b.dir); ok && free < closeRoom {
		// Left as a killed process leaves it: locked until this one ends, and
		// recovered by the next Open.
		return fmt.Errorf("close index %s: %w", b.dir, ErrNoSpace)
	}
	return b.db.Close()
}

// Persistent implements Index.
func (b *Badger) Persistent() bool { return true }

func sortedKeys(m map[Key]Entry) []Key {
	out := make([]Key, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Slice(out, func(i, j int) bool { return bytes.Compare(out[i][:], out[j][:]) < 0 })
	return out
}
