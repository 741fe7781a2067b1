package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

const versionDigits = 20

func jsonName(version int64) string { return fmt.Sprintf("%0*d.json", versionDigits, version) }

func checkpointName(version int64) string {
	return fmt.Sprintf("%0*d.checkpoint.parquet", versionDigits, version)
}

const lastCheckpointName = "_last_checkpoint"

func (l *Log) logKey(name string) string { return l.table + "/_delta_log/" + name }

// jsonList is items as a JSON array, for the values of operationParameters.
func jsonList(items []string) string {
	b, err := json.Marshal(items)
	if err != nil {
		return "[]" // not UTF-8
	}
	return string(b)
}

// splitName takes the version off the name of a log object.
func splitName(name string) (version int64, rest string, ok bool) {
	if len(name) < versionDigits+2 || name[versionDigits] != '.' {
		return 0, "", false
	}
	v, ok := parseCount(name[:versionDigits])
	return v, name[versionDigits+1:], ok
}

// listing is what a walk over the log found, ascending.
type listing struct {
	json        []blob.Info
	versions    []int64 // of json
	checkpoints []int64 // classic ones, in one part
	others      []string
}

// list walks the log objects whose names are greater than after.
func (l *Log) list(ctx context.Context, after string) (listing, error) {
	var out listing
	dir := l.logKey("")
	if after != "" {
		after = dir + after
	}
	for info, err := range l.b.List(ctx, dir, after) {
		if err != nil {
			return listing{}, storeError("list "+dir, err)
		}
		name := strings.TrimPrefix(info.Key, dir)
		v, rest, ok := splitName(name)
		switch {
		case ok && rest == "json":
			out.json = append(out.json, info)
			out.versions = append(out.versions, v)
		case ok && rest == "checkpoint.parquet":
			out.checkpoints = append(out.checkpoints, v)
		case ok:
			out.others = append(out.others, name)
		}
	}
	return out, nil
}

// storeError gives an error of the bucket its kind.
func storeError(op string, err error) error {
	switch {
	case errors.Is(err, blob.ErrDenied):
		return fault.WrapAs(fault.Denied, op, err)
	case errors.Is(err, blob.ErrNoBucket), errors.Is(err, blob.ErrNotExist):
		return fault.WrapAs(fault.NotFound, op, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.WrapAs(fault.Cancelled, op, err)
	case errors.Is(err, blob.ErrUnavailable), errors.Is(err, blob.ErrUnknown):
		return fault.WrapAs(fault.Unavailable, op, err)
	}
	return fault.WrapAs(fault.Internal, op, err)
}

// version reads one commit; an absent one is blob.ErrNotExist.
func (l *Log) version(ctx context.Context, v int64) (*commit, error) {
	key := l.logKey(jsonName(v))
	body, err := l.b.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, storeError("read "+key, err)
	}
	c, err := parseCommit(body)
	return c, fault.Wrap("read "+key, err)
}

// probes is how many versions tail reads one by one before it lists.
const probes = 4

// tail reads the versions after s, up to last (all if last < 0) or to one that
// is not interpreted.
func (l *Log) tail(ctx context.Context, s *State, last int64) (*State, error) {
	for n := 0; last < 0 || s.Version < last; n++ {
		if n == probes {
			ls, err := l.list(ctx, jsonName(s.Version))
			if err != nil {
				return nil, err
			}
			return l.fold(ctx, s, ls.versions, last)
		}
		c, err := l.version(ctx, s.Version+1)
		if errors.Is(err, blob.ErrNotExist) {
			return s.withForeign(nil), nil
		}
		if err != nil {
			return nil, err
		}
		if f := foreign(s.Version+1, c); f != nil {
			return s.withForeign(f), nil
		}
		s = s.apply(l.table, c)
	}
	return s, nil
}

// readers is how many versions are read at a time when many are needed.
const readers = 8

// fold applies the given versions, ascending, to s, up to last (all if
// last < 0). They must follow s without a gap.
func (l *Log) fold(ctx context.Context, s *State, versions []int64, last int64) (*State, error) {
	s = s.withForeign(nil)
	for batch := range slices.Chunk(versions, 4*readers) {
		commits, errs := l.readAll(ctx, batch)
		for i, v := range batch {
			if last >= 0 && v > last {
				return s, nil
			}
			if v != s.Version+1 {
				return nil, fault.New(fault.Corrupt, "read log of table "+l.table,
					"version %d is missing: the log goes on with %d", s.Version+1, v)
			}
			if errs[i] != nil {
				return nil, errs[i]
			}
			if f := foreign(v, commits[i]); f != nil {
				return s.withForeign(f), nil
			}
			s = s.apply(l.table, commits[i])
		}
	}
	return s, nil
}

func (l *Log) readAll(ctx context.Context, versions []int64) ([]*commit, []error) {
	commits := make([]*commit, len(versions))
	errs := make([]error, len(versions))
	var wg sync.WaitGroup
	for r := range min(readers, len(versions)) {
		wg.Go(func() {
			for i := r; i < len(versions); i += readers {
				commits[i], errs[i] = l.version(ctx, versions[i])
			}
		})
	}
	wg.Wait()
	return commits, errs
}

// load reads a state from scratch: the newest if target < 0, else that of the
// version target.
func (l *Log) load(ctx context.Context, target int64) (*State, error) {
	const attempts = 3 // a cleaner may take away what was just listed
	for n := 1; ; n++ {
		s, err := l.loadOnce(ctx, target)
		if err == nil || n == attempts || !errors.Is(err, blob.ErrNotExist) {
			return s, err
		}
	}
}

func (l *Log) loadOnce(ctx context.Context, target int64) (*State, error) {
	s, after, err := l.base(ctx, target)
	if err != nil {
		return nil, err
	}
	s, err = l.fold(ctx, s, after, target)
	switch {
	case err != nil:
		return nil, err
	case s.Version < 0:
		return nil, s.Foreign.err("read log", l.table)
	case target >= 0 && s.Version < target:
		return nil, fault.New(fault.Corrupt, "read log of table "+l.table, "version %d is missing", s.Version+1)
	}
	return s, nil
}

// base finds the state to start from and the versions that follow it.
func (l *Log) base(ctx context.Context, target int64) (s *State, after []int64, err error) {
	if target < 0 {
		if hint, err := l.hint(ctx); err == nil {
			s, err := l.readCheckpoint(ctx, hint.Version, false)
			if err == nil {
				ls, err := l.list(ctx, jsonName(s.Version))
				return s, ls.versions, err
			}
			if ctx.Err() != nil {
				return nil, nil, err
			}
			l.opt.Logger.Warn("checkpoint is not used", "table", l.table, "version", hint.Version, "error", err)
		}
	}
	ls, err := l.list(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	if len(ls.versions) == 0 {
		return nil, nil, fault.New(fault.NotFound, "read log", "there is no table at %s", l.table)
	}
	fromZero := ls.versions[0] == 0
	// First our own checkpoints; the log from its beginning; then those of
	// other engines, which are believed only if every file has its places.
	for _, foreign := range []bool{false, true} {
		for _, v := range slices.Backward(ls.checkpoints) {
			if target >= 0 && v > target {
				continue
			}
			s, err := l.readCheckpoint(ctx, v, foreign)
			if err == nil {
				return s, above(ls.versions, v), nil
			}
			if ctx.Err() != nil || fault.Is(err, fault.Unavailable) {
				return nil, nil, err
			}
			l.opt.Logger.Warn("checkpoint is not used", "table", l.table, "version", v, "error", err)
		}
		if fromZero {
			return emptyState(), ls.versions, nil
		}
	}
	if target >= 0 {
		return nil, nil, fault.New(fault.Gone, "read log", "version %d is no longer in the log", target).
			WithHint("The oldest version that can be read physically is given by Oldest; row counts and snapshots of older ones remain.")
	}
	return nil, nil, fault.New(fault.Corrupt, "read log of table "+l.table,
		"it begins at version %d and has no checkpoint that can be used", ls.versions[0])
}

func above(versions []int64, v int64) []int64 {
	i, found := slices.BinarySearch(versions, v)
	if found {
		i++
	}
	return versions[i:]
}
