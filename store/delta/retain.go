package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/parquet-go/parquet-go"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// versionRecord is what stays of a version when its JSON is cleaned: a row of
// the Parquet objects _trajlake/versions/<table>/<first>-<last>.parquet.
type versionRecord struct {
	Version   int64  `parquet:"version"`
	At        int64  `parquet:"at,timestamp(millisecond)"`
	Operation string `parquet:"operation,dict"`
	Engine    string `parquet:"engine,dict"`
	TxnID     string `parquet:"txn_id,plain"`
	Rows      int64  `parquet:"rows"`           // added by this version
	NextSeq   int64  `parquet:"next_seq"`       // after it
	Snapshot  string `parquet:"snapshot,plain"` // the vector, in JSON
}

func (l *Log) recordPrefix() string { return "_trajlake/versions/" + l.table + "/" }

func (l *Log) recordKey(first, last int64) string {
	return fmt.Sprintf("%s%0*d-%0*d.parquet", l.recordPrefix(), versionDigits, first, versionDigits, last)
}

// recordRange is one records object: the versions it is about.
type recordRange struct{ first, last int64 }

// recordRanges lists the records objects by first version.
func (l *Log) recordRanges(ctx context.Context) ([]recordRange, error) {
	var out []recordRange
	prefix := l.recordPrefix()
	for info, err := range l.b.List(ctx, prefix, "") {
		if err != nil {
			return nil, storeError("list "+prefix, err)
		}
		name, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, prefix), ".parquet")
		a, b, dash := strings.Cut(name, "-")
		first, ok1 := parseCount(a)
		last, ok2 := parseCount(b)
		if ok && dash && ok1 && ok2 && first <= last {
			out = append(out, recordRange{first, last})
		}
	}
	return out, nil
}

// cleaned is the newest version that was cleaned from the log, or is about to
// be; -1 if none. No commit at or below it counts.
func (l *Log) cleaned(ctx context.Context) (int64, error) {
	ranges, err := l.recordRanges(ctx)
	newest := int64(-1)
	for _, r := range ranges {
		newest = max(newest, r.last)
	}
	return newest, err
}

func (l *Log) readRecords(ctx context.Context, r recordRange) ([]versionRecord, error) {
	key := l.recordKey(r.first, r.last)
	body, err := l.b.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, storeError("read "+key, err)
	}
	records, err := decodeRecords(body)
	return records, fault.WrapAs(fault.Corrupt, "read "+key, err)
}

func decodeRecords(body []byte) (out []versionRecord, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("cannot be decoded: %v", r)
		}
	}()
	f, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, err
	}
	r := parquet.NewGenericReader[versionRecord](f)
	defer func() { err = errors.Join(err, r.Close()) }()
	rows := make([]versionRecord, 256) // not NumRows: a damaged footer may claim any number
	for {
		n, err := r.Read(rows)
		out = append(out, rows[:n]...)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Logical is what stays known of every version for ever.
type Logical struct {
	Version int64
	NextSeq int64  // a row belongs to the snapshot if its row_seq is below
	Vector  Vector // of all tables
}

// Logical tells a version's row count and vector, also when the version was
// cleaned from the log. A version that never was is fault.NotFound.
func (l *Log) Logical(ctx context.Context, version int64) (Logical, error) {
	op := fmt.Sprintf("look up version %d of table %s", version, l.table)
	h := l.Head()
	if version > h.Version {
		var err error
		if h, err = l.Refresh(ctx); err != nil {
			return Logical{}, fault.Wrap(op, err)
		}
	}
	switch {
	case version < 0 || version > h.Version:
		return Logical{}, fault.New(fault.NotFound, op, "versions go from 0 to %d", h.Version)
	case version == h.Version:
		return Logical{version, h.NextSeq, h.Vector}, nil
	}
	// A commit of another engine says nothing: the nearest lower one counts.
	for v := version; v >= 0; v-- {
		c, err := l.version(ctx, v)
		if errors.Is(err, blob.ErrNotExist) {
			out, err := l.recorded(ctx, v)
			out.Version = version
			return out, fault.Wrap(op, err)
		}
		if err != nil {
			return Logical{}, fault.Wrap(op, err)
		}
		if own := c.info.Trajlake; own != nil {
			return Logical{version, own.NextSeq, own.Snapshot}, nil
		}
	}
	return Logical{Version: version}, nil
}

// recorded looks a cleaned version up.
func (l *Log) recorded(ctx context.Context, v int64) (Logical, error) {
	ranges, err := l.recordRanges(ctx)
	if err != nil {
		return Logical{}, err
	}
	for _, r := range ranges {
		if v < r.first || v > r.last {
			continue
		}
		records, err := l.readRecords(ctx, r)
		if err != nil {
			return Logical{}, err
		}
		for i := range records {
			if records[i].Version == v {
				out := Logical{Version: v, NextSeq: records[i].NextSeq}
				if err := json.Unmarshal([]byte(records[i].Snapshot), &out.Vector); err != nil {
					return Logical{}, fault.WrapAs(fault.Corrupt, "read "+l.recordKey(r.first, r.last), err)
				}
				return out, nil
			}
		}
	}
	return Logical{}, fault.New(fault.Gone, "", "version %d is neither in the log nor recorded", v)
}

// Oldest is the oldest version that At can read.
func (l *Log) Oldest(ctx context.Context) (int64, error) {
	ls, err := l.list(ctx, "")
	switch {
	case err != nil:
		return 0, fault.Wrap("list versions of table "+l.table, err)
	case len(ls.versions) > 0 && ls.versions[0] > 0 && len(ls.checkpoints) > 0:
		return ls.checkpoints[0], nil
	}
	return 0, nil
}

// Cleaned is what CleanLog did.
type Cleaned struct {
	Versions int64 // number of versions that were taken out of the log
	Oldest   int64 // oldest version that can be read now
}

// recordBatch is how many versions one records object is about.
const recordBatch = 4096

// CleanLog takes versions out of the log that were superseded before the given
// time, by the clock of the store, and more than an hour before the newest
// version. It keeps the newest checkpoint of that age and everything from it
// on; without such a checkpoint it does nothing. Row counts and vectors of the
// versions are recorded first. Data files are not touched. It can be stopped
// at any point and called again.
func (l *Log) CleanLog(ctx context.Context, before time.Time) (Cleaned, error) {
	c, err := l.cleanLog(ctx, before)
	return c, fault.Wrap("clean log of table "+l.table, err)
}

// CleanExpired is CleanLog of what is older than the table's
// delta.logRetentionDuration, counted from the newest version, by the clock of
// the store. Without that property, or with one that is not understood, nothing
// is cleaned.
func (l *Log) CleanExpired(ctx context.Context) (Cleaned, error) {
	op := "clean log of table " + l.table
	s, err := l.Refresh(ctx)
	if err != nil {
		return Cleaned{}, fault.Wrap(op, err)
	}
	age, ok := parseInterval(s.Metadata.Configuration["delta.logRetentionDuration"])
	if !ok {
		return Cleaned{}, nil
	}
	key := l.logKey(jsonName(s.Version))
	info, err := l.b.Stat(ctx, key)
	if err != nil {
		return Cleaned{}, fault.Wrap(op, storeError("look at "+key, err))
	}
	return l.CleanLog(ctx, info.ModTime.Add(-age))
}

// parseInterval reads a duration of a table property: "interval 2 days".
func parseInterval(text string) (time.Duration, bool) {
	w := strings.Fields(strings.ToLower(text))
	if len(w) != 3 || w[0] != "interval" {
		return 0, false
	}
	n, ok := parseCount(w[1])
	unit, known := map[string]time.Duration{
		"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
	}[strings.TrimSuffix(w[2], "s")]
	if !ok || !known || n > int64(100*365*24*time.Hour/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

func (l *Log) cleanLog(ctx context.Context, before time.Time) (Cleaned, error) {
	ls, err := l.list(ctx, "")
	if err != nil {
		return Cleaned{}, err
	}
	if len(ls.versions) == 0 {
		return Cleaned{}, fault.New(fault.NotFound, "", "there is no table")
	}
	cutoff, ok, err := l.cutoff(ctx, ls, before)
	if err != nil || !ok {
		return Cleaned{Oldest: ls.versions[0]}, err
	}
	n, _ := slices.BinarySearch(ls.versions, cutoff)
	goners := ls.versions[:n]
	for i, v := range ls.versions {
		if v != ls.versions[0]+int64(i) {
			return Cleaned{}, fault.New(fault.Corrupt, "", "version %d is missing: nothing is cleaned", ls.versions[0]+int64(i))
		}
	}
	if err := l.record(ctx, goners); err != nil {
		return Cleaned{}, err
	}
	// Checkpoints first, then versions from the oldest on: what a crash leaves
	// is a log that begins later, never one with a hole.
	var keys []string
	for _, v := range ls.checkpoints {
		if v < cutoff {
			keys = append(keys, l.logKey(checkpointName(v)))
		}
	}
	for _, name := range ls.others {
		if superseded(name, cutoff) {
			keys = append(keys, l.logKey(name))
		}
	}
	for _, v := range goners {
		keys = append(keys, l.logKey(jsonName(v)))
	}
	for _, key := range keys {
		if err := l.b.Delete(ctx, key); err != nil {
			return Cleaned{}, storeError("delete "+key, err)
		}
	}
	return Cleaned{Versions: int64(len(goners)), Oldest: cutoff}, nil
}

// superseded reports whether a log object that is neither a version nor a
// classic checkpoint is about versions below cutoff only. What is not known is
// kept.
func superseded(name string, cutoff int64) bool {
	v, rest, _ := splitName(name)
	if v2, rest2, ok := splitName(rest); ok && rest2 == "compacted.json" {
		return v2 < cutoff
	}
	return v < cutoff && (rest == "crc" || strings.HasPrefix(rest, "checkpoint."))
}

// cutoff is the newest readable checkpoint of ours that is old enough.
func (l *Log) cutoff(ctx context.Context, ls listing, before time.Time) (v int64, ok bool, err error) {
	newest := slices.MaxFunc(ls.json, func(a, b blob.Info) int { return a.ModTime.Compare(b.ModTime) }).ModTime
	if limit := newest.Add(-l.minLogAge); before.After(limit) {
		before = limit
	}
	for _, v := range slices.Backward(ls.checkpoints) {
		i, found := slices.BinarySearch(ls.versions, v)
		if !found || ls.json[i].ModTime.After(before) {
			continue
		}
		_, err := l.readCheckpoint(ctx, v, false)
		if err == nil {
			return v, true, nil
		}
		if ctx.Err() != nil || fault.Is(err, fault.Unavailable) {
			return 0, false, err
		}
	}
	return 0, false, nil
}

// record writes the records of versions, ascending and gapless, that have none.
func (l *Log) record(ctx context.Context, versions []int64) error {
	done, err := l.cleaned(ctx)
	if err != nil {
		return err
	}
	versions = above(versions, done)
	if len(versions) == 0 {
		return nil
	}
	var last Logical
	if v := versions[0] - 1; v >= 0 {
		// Not there if somebody else has cleaned: then it is unknown.
		if last, err = l.recorded(ctx, v); err != nil && !fault.Is(err, fault.Gone) {
			return err
		}
	}
	for batch := range slices.Chunk(versions, recordBatch) {
		records := make([]versionRecord, 0, len(batch))
		commits, errs := l.readAll(ctx, batch)
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for i, c := range commits {
			if own := c.info.Trajlake; own != nil {
				last.NextSeq, last.Vector = own.NextSeq, last.Vector.Max(own.Snapshot)
			}
			r, err := recordOf(batch[i], c, last)
			if err != nil {
				return err
			}
			records = append(records, r)
		}
		if err := l.putRecords(ctx, records); err != nil {
			return err
		}
	}
	return nil
}

func recordOf(v int64, c *commit, at Logical) (versionRecord, error) {
	snapshot, err := json.Marshal(at.Vector, json.Deterministic(true))
	if err != nil {
		return versionRecord{}, fault.WrapAs(fault.Internal, "encode a vector", err)
	}
	e := entryOf(v, c)
	return versionRecord{
		Version: v, At: e.At.UnixMilli(), Operation: e.Operation, Engine: e.Engine, TxnID: e.TxnID,
		Rows: e.Rows, NextSeq: at.NextSeq, Snapshot: string(snapshot),
	}, nil
}

func (l *Log) putRecords(ctx context.Context, records []versionRecord) error {
	first, last := records[0].Version, records[len(records)-1].Version
	key := l.recordKey(first, last)
	var b bytes.Buffer
	w := parquet.NewGenericWriter[versionRecord](&b, parquet.DataPageVersion(1), parquet.Compression(&parquet.Zstd),
		parquet.CreatedBy("trajlake", "1", "0"))
	if _, err := w.Write(records); err != nil {
		return fault.WrapAs(fault.Internal, "encode "+key, err)
	}
	if err := w.Close(); err != nil {
		return fault.WrapAs(fault.Internal, "encode "+key, err)
	}
	switch err := l.b.Put(ctx, key, b.Bytes(), blob.PutOptions{IfAbsent: true}); {
	case errors.Is(err, blob.ErrExists):
		// An earlier or a concurrent cleaner: versions do not change, so it
		// says the same, if it can be read.
		_, err := l.readRecords(ctx, recordRange{first, last})
		return err
	case err != nil:
		return storeError("put "+key, err)
	}
	return nil
}
