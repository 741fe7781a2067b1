package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/delta"
	"trajlake/store/index"
)

// IndexState says where the index of ids is kept.
type IndexState struct {
	Place  string // "folder", "memory", or "" while none was needed
	Dir    string // the folder, also of one that could not be had; "" = there is nowhere to keep one
	Reason string // why it is in memory
	Hint   string // what can be done about that
}

// IndexState tells where this process keeps the index.
func (l *Lake) IndexState() IndexState {
	l.ids.mu.Lock()
	defer l.ids.mu.Unlock()
	s := IndexState{Dir: l.indexDir()}
	switch {
	case l.ids.ix == nil:
	case l.ids.ix.Persistent():
		s.Place = "folder"
	default:
		s.Place, s.Reason, s.Hint = "memory", l.ids.reason, l.ids.hint
	}
	return s
}

// openIndex opens the folder, else makes an index in memory and warns of that:
// it costs memory, and the next process reads every id again. The caller holds
// the lock of l.ids.
func (l *Lake) openIndex(ctx context.Context) index.Index {
	dir := l.indexDir()
	var reason error
	var hint string
	switch {
	case dir == "":
		reason, hint = errors.New("there is no folder for it"), "set TRAJLAKE_INDEX to a folder"
	case l.ids.faults >= maxIndexFaults:
		reason, hint = fmt.Errorf("it failed %d times in use", l.ids.faults), "look after the disk and start the process anew"
	default:
		ix, err := l.openFolder(ctx, dir, l.opt.IndexWait)
		if err == nil {
			return ix
		}
		reason, hint = err, indexHint(err)
	}
	l.ids.reason, l.ids.hint = reason.Error(), hint
	level := slog.LevelWarn
	if l.opt.IndexWait == 0 && errors.Is(reason, index.ErrLocked) {
		level = slog.LevelInfo // a short run beside a server
	}
	l.log.Log(ctx, level, "keeping the index in memory, which takes about 140 bytes a row", "dir", dir, "reason", reason, "hint", hint)
	return index.NewMemory()
}

func indexHint(err error) string {
	switch {
	case errors.Is(err, index.ErrLocked):
		return "stop the other process, or give this one a folder of its own with TRAJLAKE_INDEX"
	case errors.Is(err, index.ErrNoSpace):
		return "make room on the disk, or name another folder with TRAJLAKE_INDEX"
	}
	return "make the folder writable, or name another one with TRAJLAKE_INDEX"
}

// lockPause is the time between two tries for the lock of an index folder.
const lockPause = 50 * time.Millisecond

// openFolder opens the index in dir, which is made anew where it is damaged or
// not of this lake. For a lock that another process has it waits up to wait.
func (l *Lake) openFolder(ctx context.Context, dir string, wait time.Duration) (index.Index, error) {
	lake := l.meta.LakeID + " " + l.url
	var ix *index.Badger
	for until := time.Now().Add(wait); ; {
		var aside string
		var err error
		ix, aside, err = index.Open(dir, lake)
		if aside != "" {
			l.log.Warn("index set aside", "dir", dir, "reason", aside)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, index.ErrLocked) {
			return nil, err
		}
		if time.Now().After(until) {
			return nil, lockedBy(dir, err)
		}
		select {
		case <-ctx.Done():
			return nil, lockedBy(dir, err)
		case <-time.After(lockPause):
		}
	}
	stale, err := l.foreignIndex(ctx, ix)
	if err == nil && stale == "" {
		return ix, nil
	}
	if err != nil {
		stale = err.Error()
	}
	l.log.Warn("index does not belong to this log; rebuilding", "dir", dir, "reason", stale)
	if err := errors.Join(ix.Close(), index.Remove(dir)); err != nil {
		return nil, err
	}
	if ix, _, err = index.Open(dir, lake); err != nil {
		return nil, err
	}
	return ix, nil
}

// lockedBy names the process that has the folder, where it says so.
func lockedBy(dir string, err error) error {
	pid, rerr := os.ReadFile(filepath.Join(dir, "LOCK"))
	if text := strings.TrimSpace(string(pid)); rerr == nil && text != "" && len(text) < 12 {
		return fmt.Errorf("%w (%s)", err, text)
	}
	return err
}

// RetryIndex tries once more for the folder of an index that is kept in memory
// because the folder was locked, not writable or without room: the index in it is
// brought up to date beside running appends and then takes the place of the other.
// settled means that there is nothing to try for (any more).
func (l *Lake) RetryIndex(ctx context.Context) (settled bool, err error) {
	const op = "move the index to its folder"
	h, dir := &l.ids, l.indexDir()
	h.mu.Lock()
	settled = h.closed || dir == "" || h.faults >= maxIndexFaults || h.ix != nil && h.ix.Persistent()
	unused := h.ix == nil
	h.mu.Unlock()
	if settled || unused {
		return settled, nil
	}
	ix, err := l.openFolder(ctx, dir, 0)
	if err != nil {
		return false, fault.WrapAs(fault.Unavailable, op, err)
	}
	states, err := l.refresh(ctx)
	if err == nil {
		err = l.catchUp(ctx, ix, states)
	}
	if err != nil {
		return false, errors.Join(fault.Wrap(op, err), ix.Close())
	}
	l.writeMu.Lock() // an append works with one index from its beginning to its end
	defer l.writeMu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.ix != nil && h.ix.Persistent() {
		return true, ix.Close()
	}
	h.ix, h.reason, h.hint = ix, "", ""
	l.log.Info("the index is in its folder again", "dir", dir)
	return true, nil
}

// catchUp feeds an index all tables up to the given states.
func (l *Lake) catchUp(ctx context.Context, ix index.Index, states map[string]*delta.State) error {
	for _, t := range schema.Tables() {
		if err := l.syncIndex(ctx, ix, t, states[t.Name]); err != nil {
			return err
		}
	}
	return nil
}
