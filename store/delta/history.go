package delta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// Entry is one version in the history of a table.
type Entry struct {
	Version   int64
	At        time.Time // by the clock of its writer, UTC
	Operation string
	Rows      int64 // added by it, of commits of ours
	TxnID     string
	Engine    string
}

func entryOf(v int64, c *commit) Entry {
	e := Entry{
		Version: v, At: time.UnixMilli(c.info.Timestamp).UTC(),
		Operation: c.info.Operation, TxnID: c.info.TxnID, Engine: c.info.EngineInfo,
	}
	for _, a := range c.actions {
		if a.Add != nil && a.Add.fresh() && c.ours() {
			e.Rows += max(numRecords(a.Add.Stats), 0)
		}
	}
	return e
}

// History yields the versions from Head downwards: those in the log, then the
// recorded ones that were cleaned from it. An error is yielded once, last.
func (l *Log) History(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for v := l.Head().Version; v >= 0; v-- {
			c, err := l.version(ctx, v)
			if errors.Is(err, blob.ErrNotExist) {
				l.recordedHistory(ctx, v, yield)
				return
			}
			if err != nil {
				yield(Entry{}, fault.Wrap("history of table "+l.table, err))
				return
			}
			if !yield(entryOf(v, c), nil) {
				return
			}
		}
	}
}

// recordedHistory yields what is recorded of the versions from v downwards.
func (l *Log) recordedHistory(ctx context.Context, v int64, yield func(Entry, error) bool) {
	ranges, err := l.recordRanges(ctx)
	if err != nil {
		yield(Entry{}, fault.Wrap("history of table "+l.table, err))
		return
	}
	slices.SortFunc(ranges, func(a, b recordRange) int { return int(b.last - a.last) })
	for _, r := range ranges {
		records, err := l.readRecords(ctx, r)
		if err != nil {
			yield(Entry{}, fault.Wrap("history of table "+l.table, err))
			return
		}
		for _, r := range slices.Backward(records) {
			if r.Version > v {
				continue // two cleaners recorded it
			}
			v = r.Version - 1
			e := Entry{r.Version, time.UnixMilli(r.At).UTC(), r.Operation, r.Rows, r.TxnID, r.Engine}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// TxnID is the transaction id of a version, also when the version was cleaned
// from the log; fault.Gone if it is neither in the log nor recorded.
func (l *Log) TxnID(ctx context.Context, version int64) (string, error) {
	op := fmt.Sprintf("look up version %d of table %s", version, l.table)
	if h := l.Head(); h.Version == version {
		return h.Info.TxnID, nil
	}
	c, err := l.version(ctx, version)
	if err == nil {
		return c.info.TxnID, nil
	}
	if !errors.Is(err, blob.ErrNotExist) {
		return "", fault.Wrap(op, err)
	}
	ranges, err := l.recordRanges(ctx)
	if err != nil {
		return "", fault.Wrap(op, err)
	}
	for _, r := range ranges {
		if version < r.first || version > r.last {
			continue
		}
		records, err := l.readRecords(ctx, r)
		if err != nil {
			return "", fault.Wrap(op, err)
		}
		for i := range records {
			if records[i].Version == version {
				return records[i].TxnID, nil
			}
		}
	}
	return "", fault.New(fault.Gone, op, "it is neither in the log nor recorded")
}
