// Package store is the lake: four Delta tables in one bucket, their data files,
// an index beside them, and snapshots across all four. It is the only package
// that knows logs, data files and the index.
//
// Any number of processes may open one lake. They meet at one place: the next
// version of a table's log, created by put-if-absent. A write returns when it
// is durable and visible to every reader. A Snapshot never changes; rows of a
// snapshot are those whose place (row_seq) is below the table's count at that
// version, whatever compaction has done to the files since.
package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/blob"
	"trajlake/store/delta"
)

// FormatVersion is the version of the lake's own objects that this build writes.
// A lake of a higher one is refused.
const FormatVersion = 1

const lakeKey = "_trajlake/lake.json"

// Options are the settings of Open; the zero value opens an existing lake for
// reading and writing.
type Options struct {
	Create   bool   // make the lake if there is none
	ReadOnly bool   // refuse every commit; no probe, no index of ids
	IndexDir string // folder of indexes; "" = $TRAJLAKE_INDEX, else the user's cache folder
	// IndexWait is how long an index folder that another process holds is waited
	// for before the index is kept in memory; 0 = not at all.
	IndexWait time.Duration
	Logger    *slog.Logger // nil = discard
	Now       func() time.Time
	Memory    int64 // bytes that decoded scalar columns may take in the cache; 0 = 64 MB
}

// Lake is one open lake, safe for concurrent use. Close releases the index and
// waits for background work.
type Lake struct {
	url    string
	bucket blob.Bucket
	meta   lakeMeta
	opt    Options
	log    *slog.Logger
	logs   map[string]*delta.Log
	files  *fileCache
	folds  foldCache
	stats  statsCache
	epochs sync.Map // of leases, by name: the greatest seen, a place to look from

	writeMu sync.Mutex // one commit to a table with identity at a time
	ids     indexHolder
	settled map[string]int64 // by table: the version up to which all is known to be durable; under writeMu

	schemas struct {
		mu      sync.Mutex
		known   map[string]comparedSchema // by table
		cleaned time.Time                 // when the logs were last looked through
	}

	broken     chan struct{} // closed when a flush failed
	brokenOnce sync.Once
	brokenErr  error // set before broken is closed

	closeOnce sync.Once
	closeErr  error
}

// lakeMeta is lake.json, written once before version 0 of any table.
type lakeMeta struct {
	LakeID        string `json:"lake_id"`
	FormatVersion int    `json:"format_version"`
	Salt          string `json:"salt"` // hex, 32 bytes
	CreatedAt     string `json:"created_at"`
	salt          [32]byte
}

// Open opens the lake at url: a path, file://… or s3://bucket/prefix?….
func Open(ctx context.Context, url string, o *Options) (*Lake, error) {
	create := o != nil && o.Create && !o.ReadOnly
	b, canonical, err := blob.Open(ctx, url, create)
	if err != nil {
		return nil, openError(url, err)
	}
	l, err := OpenBucket(ctx, b, canonical, o)
	if err != nil {
		return nil, errors.Join(err, blob.Close(b))
	}
	return l, nil
}

// openError gives a bucket's error its kind and advice.
func openError(url string, err error) error {
	op := "open lake " + url
	switch {
	case errors.Is(err, blob.ErrNoBucket), errors.Is(err, blob.ErrNotExist):
		if !strings.HasPrefix(url, "s3:") {
			err = nil // that a directory is not there says no more
		}
		return (&fault.Error{Kind: fault.NotFound, Op: op, Msg: "there is no lake", Err: err}).
			WithHint("`trajlake import` and `trajlake serve` make one")
	case errors.Is(err, blob.ErrDenied):
		return &fault.Error{Kind: fault.Denied, Op: op, Err: err}
	case errors.Is(err, blob.ErrUnavailable):
		return &fault.Error{Kind: fault.Unavailable, Op: op, Err: err}
	case fault.KindOf(err) != fault.Internal:
		return fault.Wrap(op, err)
	}
	return fault.WrapAs(fault.Usage, op, err)
}

// OpenBucket opens the lake in b. canonical is the URL under which the index is
// kept. The lake takes b over and closes it.
func OpenBucket(ctx context.Context, b blob.Bucket, canonical string, o *Options) (*Lake, error) {
	l := &Lake{url: canonical, bucket: b, logs: map[string]*delta.Log{}, settled: map[string]int64{}, broken: make(chan struct{})}
	if o != nil {
		l.opt = *o
	}
	if l.opt.Now == nil {
		l.opt.Now = time.Now
	}
	if l.opt.Memory <= 0 {
		l.opt.Memory = 64 << 20
	}
	l.log = l.opt.Logger
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if err := l.readMeta(ctx); err != nil {
		return nil, err
	}
	if !l.opt.ReadOnly {
		if err := blob.Probe(ctx, b, 1, 4); err != nil {
			return nil, probeError(canonical, err)
		}
	}
	for _, t := range schema.Tables() {
		if err := l.openTable(ctx, t); err != nil {
			return nil, errors.Join(err, l.closeLogs())
		}
	}
	l.files = newFileCache(l)
	return l, nil
}

func probeError(url string, err error) error {
	op := "open lake " + url
	if errors.Is(err, blob.ErrNotAtomic) {
		return (&fault.Error{Kind: fault.Unsupported, Op: op, Msg: "this store cannot create an object atomically if it is absent, so two writers could overwrite each other", Err: err}).
			WithHint("use a store with atomic conditional writes (If-None-Match: *), or a local directory whose file system has link(2)")
	}
	return openError(url, err)
}

// readMeta reads lake.json, or makes it when the lake may be created.
func (l *Lake) readMeta(ctx context.Context) error {
	op := "open lake " + l.url
	body, err := l.bucket.Get(ctx, lakeKey, 0, -1)
	if errors.Is(err, blob.ErrNotExist) {
		if !l.opt.Create || l.opt.ReadOnly {
			return fault.New(fault.NotFound, op, "there is no lake").WithHint("`trajlake import` and `trajlake serve` make one")
		}
		body, err = l.writeMeta(ctx)
	}
	if err != nil {
		return openError(l.url, err)
	}
	if err := json.Unmarshal(body, &l.meta); err != nil {
		return fault.WrapAs(fault.Corrupt, op+": read "+lakeKey, err)
	}
	if l.meta.FormatVersion > FormatVersion || l.meta.FormatVersion < 1 {
		return fault.New(fault.Unsupported, op, "the lake has format version %d, this build knows up to %d", l.meta.FormatVersion, FormatVersion).
			WithHint("use a newer trajlake")
	}
	salt, err := hex.DecodeString(l.meta.Salt)
	if err != nil || len(salt) != 32 {
		return fault.New(fault.Corrupt, op, "%s holds no 32-byte salt", lakeKey)
	}
	l.meta.salt = [32]byte(salt)
	return nil
}

func (l *Lake) writeMeta(ctx context.Context) ([]byte, error) {
	if err := blob.Probe(ctx, l.bucket, 1, 4); err != nil {
		return nil, probeError(l.url, err)
	}
	a, b := uuid.New(), uuid.New()
	m := lakeMeta{LakeID: uuid.NewString(), FormatVersion: FormatVersion, CreatedAt: schema.TimeOf(l.opt.Now()).String()}
	m.Salt = hex.EncodeToString(append(a[:], b[:]...))
	body, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	err = l.bucket.Put(ctx, lakeKey, append(body, '\n'), blob.PutOptions{IfAbsent: true})
	if err != nil && !errors.Is(err, blob.ErrExists) && !errors.Is(err, blob.ErrUnknown) {
		return nil, err
	}
	return l.bucket.Get(ctx, lakeKey, 0, -1) // whoever won, that one stands
}

// openTable opens one table's log, or makes it.
func (l *Lake) openTable(ctx context.Context, t *schema.Table) error {
	log, err := delta.Open(ctx, l.bucket, t.Name, delta.Options{Logger: l.log, Now: l.opt.Now})
	if fault.Is(err, fault.NotFound) && !l.opt.ReadOnly {
		log, err = l.createTable(ctx, t)
	}
	if err != nil {
		return fault.Wrap("open lake "+l.url, err)
	}
	l.logs[t.Name] = log
	return nil
}

// Close ends background work and releases the index and the bucket. It is
// idempotent.
func (l *Lake) Close() error {
	l.closeOnce.Do(func() {
		l.writeMu.Lock() // waits for a commit under way
		defer l.writeMu.Unlock()
		l.closeErr = errors.Join(l.ids.close(), l.closeLogs(), l.files.close(), blob.Close(l.bucket))
	})
	return l.closeErr
}

func (l *Lake) closeLogs() error {
	var err error
	for _, g := range l.logs {
		err = errors.Join(err, g.Close())
	}
	return err
}

// ID is the lake's identity, which a copy of the lake shares.
func (l *Lake) ID() string { return l.meta.LakeID }

// URL is the lake's canonical URL.
func (l *Lake) URL() string { return l.url }

// Salt keys the source digests of this lake.
func (l *Lake) Salt() [32]byte { return l.meta.salt }

// writable refuses commits to a lake that was opened for reading.
func (l *Lake) writable(op string) error {
	if l.opt.ReadOnly {
		return fault.New(fault.Denied, op, "the lake was opened for reading only")
	}
	select {
	case <-l.broken:
		return notDurable(op, l.brokenErr)
	default:
		return nil
	}
}

// Broken is closed when stable storage has refused to confirm a write: what is
// visible then may vanish with the power, so that this Lake acknowledges nothing
// any more, duplicates included. The process should end with an error; Err says
// why.
func (l *Lake) Broken() <-chan struct{} { return l.broken }

// Err is why the lake takes no writes any more; nil unless Broken is closed.
func (l *Lake) Err() error {
	select {
	case <-l.broken:
		return notDurable("write to lake "+l.url, l.brokenErr)
	default:
		return nil
	}
}

// noteNotDurable breaks the lake when err is a flush that failed, and says so.
func (l *Lake) noteNotDurable(err error) bool {
	if !errors.Is(err, blob.ErrNotDurable) {
		return false
	}
	l.brokenOnce.Do(func() {
		l.brokenErr = err
		close(l.broken)
	})
	return true
}

func notDurable(op string, err error) error {
	return (&fault.Error{Kind: fault.Unavailable, Op: op, Msg: "stable storage refused to confirm a write, so nothing is acknowledged any more", Err: err}).
		WithHint("check the disk, start the process anew, and send the rows again")
}

// indexRoot is the folder under which indexes are kept; "" when there is none.
func (l *Lake) indexRoot() string {
	if l.opt.IndexDir != "" {
		return l.opt.IndexDir
	}
	if dir := os.Getenv("TRAJLAKE_INDEX"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return dir + "/trajlake/index"
}

// day is the partition of a file written now.
func (l *Lake) day() string { return l.opt.Now().UTC().Format(time.DateOnly) }

// dataPath names a new data file of a table: unique, under its day.
func (l *Lake) dataPath() string {
	return fmt.Sprintf("%s=%s/part-%s.parquet", schema.PartitionColumn, l.day(), uuid.NewString())
}
