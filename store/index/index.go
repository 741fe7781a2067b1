// Package index answers, for one lake, whether an id is already there and where:
// id → place, source digest and content hash. It is a cache of the log and never
// the truth: it can be deleted, damaged, foreign or locked, and nothing is lost.
//
// Two implementations share one interface: Open keeps the index in a Badger
// folder and remembers the last applied version of each table; NewMemory holds
// it in a map, for a process that did not get the folder's lock.
package index

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// Entry is what the index knows about one key.
type Entry struct {
	Seq     int64    // row_seq of the row
	Version int64    // version that committed it
	Digest  [16]byte // first half of the source digest, or of the row's own digest
	Content [16]byte // first half of the content hash; zero where there is none
}

// Key is the first half of SHA-256 over a namespace byte and the id.
type Key [16]byte

// Namespaces of keys, one for each table that has an identity.
const (
	Trajectory = 't'
	Annotation = 'a'
	Tensor     = 'x'
	Ledger     = 'l'
)

// KeyOf makes the key of id in a namespace.
func KeyOf(namespace byte, id string) Key {
	h := sha256.New()
	h.Write([]byte{namespace})
	h.Write([]byte(id))
	var sum [32]byte
	h.Sum(sum[:0])
	return Key(sum[:16])
}

// Half is the first 16 bytes of a digest, zero padded.
func Half(digest []byte) (h [16]byte) {
	copy(h[:], digest)
	return h
}

// Mark says how much of a table's log an index holds.
type Mark struct {
	Version int64  // last applied version; -1 = nothing
	TxnID   string // of that version, to notice a log that is another one
	NextSeq int64
}

// Item is one key with its entry.
type Item struct {
	Key   Key
	Entry Entry
}

// Index is safe for concurrent lookups; Apply calls must be serialised by the
// caller, in the order of versions.
type Index interface {
	// Lookup fills found[i] for the keys that are there; entries of the others
	// have Seq -1.
	Lookup(keys []Key) ([]Entry, error)
	// Apply adds the items and then sets the table's mark. A crash between the
	// two leaves items that a later Apply writes again, equal.
	Apply(table string, items []Item, mark Mark) error
	// Mark is the table's mark; Version is -1 before the first Apply.
	Mark(table string) (Mark, error)
	// Each calls fn for every item of a namespace-free dump, in key order, until
	// fn returns false.
	Each(fn func(Item) bool) error
	// Sync makes what was applied durable, where that means something.
	Sync() error
	// Close releases the index; it is idempotent.
	Close() error
	// Persistent tells whether the index outlives the process.
	Persistent() bool
}

// entrySize is the size of an entry; one without a content hash, as annotations
// and tensors have it, is stored without.
const (
	entrySize = 8 + 8 + 16 + 16
	shortSize = entrySize - 16
)

func appendEntry(b []byte, e Entry) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(e.Seq))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Version))
	b = append(b, e.Digest[:]...)
	if e.Content == [16]byte{} {
		return b
	}
	return append(b, e.Content[:]...)
}

func decodeEntry(b []byte) (Entry, bool) {
	if len(b) != entrySize && len(b) != shortSize {
		return Entry{}, false
	}
	e := Entry{Seq: int64(binary.BigEndian.Uint64(b)), Version: int64(binary.BigEndian.Uint64(b[8:]))}
	copy(e.Digest[:], b[16:])
	copy(e.Content[:], b[shortSize:])
	return e, true
}

// Memory is an Index in a map.
type Memory struct {
	mu    sync.RWMutex
	items map[Key]Entry
	marks map[string]Mark
}

// NewMemory makes an empty in-memory index.
func NewMemory() *Memory {
	return &Memory{items: map[Key]Entry{}, marks: map[string]Mark{}}
}

// Lookup implements Index.
func (m *Memory) Lookup(keys []Key) ([]Entry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]Entry, len(keys))
	for i, k := range keys {
		e, ok := m.items[k]
		if !ok {
			e = Entry{Seq: -1}
		}
		out[i] = e
	}
	return out, nil
}

// Apply implements Index.
func (m *Memory) Apply(table string, items []Item, mark Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, it := range items {
		m.items[it.Key] = it.Entry
	}
	m.marks[table] = mark
	return nil
}

// Mark implements Index.
func (m *Memory) Mark(table string) (Mark, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if mk, ok := m.marks[table]; ok {
		return mk, nil
	}
	return Mark{Version: -1}, nil
}

// Each implements Index; the order of a map index is by key.
func (m *Memory) Each(fn func(Item) bool) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, k := range sortedKeys(m.items) {
		if !fn(Item{k, m.items[k]}) {
			return nil
		}
	}
	return nil
}

// Sync implements Index; there is nothing to do.
func (m *Memory) Sync() error { return nil }

// Close implements Index; the map is left to the collector.
func (m *Memory) Close() error { return nil }

// Persistent implements Index.
func (m *Memory) Persistent() bool { return false }
