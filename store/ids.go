package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/delta"
	"trajlake/store/index"
)

// indexHolder opens the id index when it is first needed.
type indexHolder struct {
	mu     sync.Mutex
	ix     index.Index
	closed bool
	faults int    // of folders that failed in use; from maxIndexFaults on none is opened
	reason string // why the index is in memory
	hint   string
}

// maxIndexFaults is how many index folders may fail in use before the process
// keeps its index in memory.
const maxIndexFaults = 2

// indexError marks a failure of the index itself, which costs time and nothing
// else: the index is a cache.
type indexError struct{ err error }

func (e *indexError) Error() string { return "index: " + e.err.Error() }
func (e *indexError) Unwrap() error { return e.err }

// withIndex runs fn with the index. When the index fails, fn is run again with
// another one, at last with one in memory: a bad index never stops a write. The
// caller holds writeMu, and what fn did before is undone or harmless.
func (l *Lake) withIndex(ctx context.Context, fn func(index.Index) error) error {
	for {
		ix, err := l.index(ctx)
		if err != nil {
			return err
		}
		err = fn(ix)
		var bad *indexError
		if !errors.As(err, &bad) || !ix.Persistent() {
			return err
		}
		l.discardIndex(ix, bad.err)
	}
}

// discardIndex closes an index that failed and sets its folder aside, unless the
// disk is only full. The next use opens another one. The caller holds writeMu.
func (l *Lake) discardIndex(ix index.Index, reason error) {
	h := &l.ids
	h.mu.Lock()
	defer h.mu.Unlock()
	l.log.Warn("index fails and is not used any more; another one is built from the log", "dir", l.indexDir(), "reason", reason)
	if h.ix != ix {
		return
	}
	h.ix = nil
	h.faults++
	err := ix.Close()
	if ix.Persistent() && !errors.Is(reason, index.ErrNoSpace) {
		err = errors.Join(err, index.SetAside(l.indexDir()))
	}
	if err != nil {
		l.log.Warn("close index", "err", err)
	}
}

func (h *indexHolder) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.ix == nil {
		return nil
	}
	err := h.ix.Sync()
	// A full disk costs the index, which the log makes anew, and no more.
	if cerr := h.ix.Close(); !errors.Is(cerr, index.ErrNoSpace) {
		err = errors.Join(err, cerr)
	}
	h.ix = nil
	return err
}

// indexDir is the lake's index folder; "" when there is nowhere to keep one.
func (l *Lake) indexDir() string {
	root := l.indexRoot()
	if root == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(l.meta.LakeID + "\n" + l.url))
	return filepath.Join(root, hex.EncodeToString(sum[:12]))
}

// index is the id index, opened on first use: the Badger folder if its lock can
// be had, else a map of this process. Either is brought up to date by syncIndex.
func (l *Lake) index(ctx context.Context) (index.Index, error) {
	l.ids.mu.Lock()
	defer l.ids.mu.Unlock()
	if l.ids.closed {
		return nil, fault.New(fault.Unavailable, "open index", "the lake is closed")
	}
	if l.ids.ix != nil {
		return l.ids.ix, nil
	}
	l.ids.ix = l.openIndex(ctx)
	return l.ids.ix, nil
}

// foreignIndex says why the index does not belong to the logs; "" if it does.
func (l *Lake) foreignIndex(ctx context.Context, ix index.Index) (string, error) {
	for name, log := range l.logs {
		m, err := ix.Mark(name)
		if err != nil {
			return "", err
		}
		if m.Version < 0 {
			continue
		}
		head := log.Head()
		if m.Version > head.Version { // perhaps this process has not looked for long
			if head, err = log.Refresh(ctx); err != nil {
				return "", err
			}
		}
		if m.Version > head.Version || m.NextSeq > head.NextSeq {
			return fmt.Sprintf("it holds version %d of %s, the log ends at %d", m.Version, name, head.Version), nil
		}
		txn, err := log.TxnID(ctx, m.Version)
		if err != nil && !fault.Is(err, fault.Gone) {
			return "", err
		}
		if err != nil || txn != m.TxnID {
			return fmt.Sprintf("version %d of %s is another commit", m.Version, name), nil
		}
	}
	return "", nil
}

// syncIndex feeds the index the rows of t that it has not, up to state.
func (l *Lake) syncIndex(ctx context.Context, ix index.Index, t *schema.Table, st *delta.State) error {
	ns, ok := namespaces[t.Name]
	if !ok {
		return nil
	}
	m, err := ix.Mark(t.Name)
	if err != nil {
		return &indexError{err}
	}
	if m.Version >= st.Version {
		return nil
	}
	apply := func(items []index.Item, m index.Mark) error {
		if err := ix.Apply(t.Name, items, m); err != nil {
			return &indexError{err}
		}
		return nil
	}
	for p := range tail(t, st, m.NextSeq) {
		items, err := l.readItems(ctx, ns, p, m.NextSeq)
		if err != nil {
			return fault.Wrap(fmt.Sprintf("index %s of %s", p.file.Path, t.Name), err)
		}
		for chunk := range slices.Chunk(items, 50_000) { // the mark moves only with the last file
			if err := apply(chunk, m); err != nil {
				return err
			}
		}
	}
	return apply(nil, index.Mark{Version: st.Version, TxnID: st.Info.TxnID, NextSeq: st.NextSeq})
}

// tail yields the files of st that may hold places from seq on.
func tail(t *schema.Table, st *delta.State, seq int64) func(yield func(part) bool) {
	return func(yield func(part) bool) {
		for f := range st.Files.All() {
			if f.Rows >= 0 && !f.PlacesColumns && f.FirstSeq+f.Rows <= seq {
				continue
			}
			if last, ok := lastSeq(f); ok && last < seq {
				continue
			}
			if !yield(part{t, f, st.NextSeq}) {
				return
			}
		}
	}
}

// namespaces are the tables whose rows have an identity.
var namespaces = map[string]byte{
	schema.Trajectories.Name: index.Trajectory,
	schema.Annotations.Name:  index.Annotation,
	schema.Tensors.Name:      index.Tensor,
}

// RebuildResult is the outcome of RebuildIndex.
type RebuildResult struct {
	Version int64   `json:"version"`
	Rows    int64   `json:"rows"`
	Seconds float64 `json:"seconds"`
}

// RebuildIndex throws the index away and builds it from the log. Where another
// process holds the index's folder it fails as Unavailable.
func (l *Lake) RebuildIndex(ctx context.Context) (RebuildResult, error) {
	const op = "rebuild index"
	began := time.Now()
	dir := l.indexDir()
	if dir == "" {
		return RebuildResult{}, fault.New(fault.Usage, op, "there is no folder for an index").WithHint("set TRAJLAKE_INDEX to a folder")
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return RebuildResult{}, fault.WrapAs(fault.Denied, op, err)
	}
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.ids.mu.Lock()
	if l.ids.ix != nil {
		if err := l.ids.ix.Close(); err != nil {
			l.log.Warn("close index", "err", err)
		}
		l.ids.ix = nil
	}
	probe, _, err := index.Open(dir, l.meta.LakeID+" "+l.url) // takes the lock, or says who has it
	if err == nil {
		err = errors.Join(probe.Close(), index.Remove(dir))
	}
	l.ids.mu.Unlock()
	if errors.Is(err, index.ErrLocked) {
		return RebuildResult{}, fault.WrapAs(fault.Unavailable, op, err).(*fault.Error).WithHint("stop the server that uses the index, or rebuild through it (--server)")
	}
	if err != nil {
		return RebuildResult{}, fault.Wrap(op, err)
	}
	rows, version, err := l.warm(ctx)
	if err != nil {
		return RebuildResult{}, fault.Wrap(op, err)
	}
	return RebuildResult{Version: version, Rows: rows, Seconds: time.Since(began).Seconds()}, nil
}

// warm opens the index and brings it up to date with every table.
func (l *Lake) warm(ctx context.Context) (rows, version int64, err error) {
	states, err := l.refresh(ctx)
	if err != nil {
		return 0, 0, err
	}
	err = l.withIndex(ctx, func(ix index.Index) error { return l.catchUp(ctx, ix, states) })
	if err != nil {
		return 0, 0, err
	}
	st := states[schema.Trajectories.Name]
	return st.NextSeq, st.Version, nil
}

// Warm brings the index up to date, so that the first append does not have to.
func (l *Lake) Warm(ctx context.Context) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	_, _, err := l.warm(ctx)
	return fault.Wrap("warm index", err)
}
