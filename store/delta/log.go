package delta

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// Options of a Log. The zero value is good.
type Options struct {
	// Engine is engineInfo of commits that do not name one. Default "trajlake".
	Engine string
	// CheckpointEvery is the least number of versions between two checkpoints;
	// a quarter of the live files is the other bound, and the greater counts.
	// 0 means 100; below 0 no checkpoint is written but by Checkpoint.
	CheckpointEvery int64
	// InlineCheckpoints writes due checkpoints before Commit returns, instead
	// of in a goroutine that Close waits for.
	InlineCheckpoints bool
	// Patience bounds the time that one Commit spends on finding out whether a
	// version was written, when the deadline of its context is later. Default
	// one minute.
	Patience time.Duration
	// Logger gets what does not fail a call: a checkpoint that could not be
	// written or read. Nil discards.
	Logger *slog.Logger
	// Now and NewID replace the clock and the source of random ids (UUIDs).
	Now   func() time.Time
	NewID func() string
}

func (o Options) filled() Options {
	if o.Engine == "" {
		o.Engine = "trajlake"
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = 100
	}
	if o.Patience <= 0 {
		o.Patience = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	return o
}

const (
	// staleAfter is for how long a head that was seen is believed to be so
	// recent that no cleaner can have removed the version after it.
	staleAfter = 10 * time.Minute
	// minLogAge is the least age, by the clock of the store, of a version that
	// CleanLog removes. It must be well above staleAfter.
	minLogAge = time.Hour
)

// Log is the log of one table. Use Create or Open; Close it after use. Its
// methods may be called concurrently.
type Log struct {
	b     blob.Bucket
	table string
	opt   Options

	minLogAge, staleAfter time.Duration // the constants; tests shorten them

	committing chan struct{} // held by the one Commit that is under way
	refreshing chan struct{} // held by the one Refresh that is under way

	mu         sync.Mutex
	head       *State
	seen       time.Time // when head was last known to be the newest version
	past       []*State  // states that At made last, newest use first
	checkpoint int64     // newest checkpoint known of, -1 if none
	writing    bool      // a checkpoint is being written
	closed     bool
	crowded    bool // a commit lost a race, and none since was alone

	background sync.WaitGroup
}

func newLog(b blob.Bucket, table string, opt Options) *Log {
	return &Log{
		b: b, table: table, opt: opt.filled(),
		minLogAge: minLogAge, staleAfter: staleAfter,
		committing: make(chan struct{}, 1), refreshing: make(chan struct{}, 1),
		checkpoint: -1,
	}
}

// Table is the name of the table, the key prefix that Open was given.
func (l *Log) Table() string { return l.table }

// TableMeta is what a new table declares.
type TableMeta struct {
	Name             string
	Description      string
	SchemaString     string   // the columns in Spark's JSON, partition columns included
	PartitionColumns []string // nil means "day"
	// Config adds to and overrides DefaultConfig; an empty value takes the
	// property out.
	Config map[string]string
}

// DefaultConfig is the table properties of a new table.
func DefaultConfig() map[string]string {
	return map[string]string{
		"delta.checkpointInterval":           "100",
		"delta.deletedFileRetentionDuration": "interval 7 days",
		"delta.enableExpiredLogCleanup":      "false", // only CleanLog cleans: it keeps what snapshots need
		"delta.logRetentionDuration":         "interval 2 days",
		"delta.parquet.compression.codec":    "zstd",
		"delta.parquet.format.version":       "1.0.0", // DataPageV1
	}
}

// Create makes the table by putting version 0 if it is absent, and opens it. A
// table that exists, or that another process makes at the same time, is opened
// as it is: compare Head().Metadata where that matters.
func Create(ctx context.Context, b blob.Bucket, table string, meta TableMeta, info CommitInfo, opt Options) (*Log, error) {
	l := newLog(b, table, opt)
	op := "create table " + table
	// Not by putting version 0 and seeing: it may have been cleaned from the log.
	if found, err := Open(ctx, b, table, opt); err == nil || !fault.Is(err, fault.NotFound) {
		return found, err
	}
	body, txnID, err := l.versionZero(meta, info)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	if _, err := l.putVersion(ctx, 0, body, txnID); err != nil {
		return nil, fault.Wrap(op, err)
	}
	return Open(ctx, b, table, opt)
}

func (l *Log) versionZero(meta TableMeta, info CommitInfo) (body []byte, txnID string, err error) {
	now := l.opt.Now().UnixMilli()
	config := DefaultConfig()
	maps.Copy(config, meta.Config)
	maps.DeleteFunc(config, func(_, v string) bool { return v == "" })
	m := Metadata{
		ID: l.opt.NewID(), Name: meta.Name, Description: meta.Description,
		Format:       Format{Provider: "parquet", Options: map[string]string{}},
		SchemaString: meta.SchemaString, PartitionColumns: meta.PartitionColumns,
		CreatedTime: &now, Configuration: config,
	}
	if m.PartitionColumns == nil {
		m.PartitionColumns = []string{"day"}
	}
	if m.SchemaString == "" {
		return nil, "", fault.New(fault.Internal, "", "a table needs a schemaString")
	}
	yes := true
	l.fillInfo(&info, "CREATE TABLE", map[string]string{"partitionBy": jsonList(m.PartitionColumns)})
	info.IsBlindAppend = &yes
	info.Trajlake = &Trajlake{Snapshot: Vector{l.table: {}}}
	body, err = encodeCommit([]Action{
		{CommitInfo: &info},
		{Protocol: &Protocol{MinReaderVersion: 1, MinWriterVersion: 2}},
		{Metadata: &m},
	})
	return body, info.TxnID, err
}

// fillInfo puts in what the caller of Create or Commit left out.
func (l *Log) fillInfo(info *CommitInfo, operation string, parameters map[string]string) {
	if info.Timestamp == 0 {
		info.Timestamp = l.opt.Now().UnixMilli()
	}
	if info.Operation == "" {
		info.Operation = operation
	}
	if info.OperationParameters == nil {
		info.OperationParameters = parameters
	}
	if info.EngineInfo == "" {
		info.EngineInfo = l.opt.Engine
	}
	if info.TxnID == "" {
		info.TxnID = l.opt.NewID()
	}
}

// Open reads the newest state of an existing table. No table is
// fault.NotFound, one that needs another protocol fault.Unsupported.
func Open(ctx context.Context, b blob.Bucket, table string, opt Options) (*Log, error) {
	l := newLog(b, table, opt)
	if _, err := l.Refresh(ctx); err != nil {
		return nil, fault.Wrap("open table "+table, err)
	}
	return l, nil
}

// Head is the newest state that is known, without any I/O.
func (l *Log) Head() *State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Refresh reads the versions that are newer than Head and returns the newest
// state. When there is nothing new that is one Get of an object that does not
// exist.
func (l *Log) Refresh(ctx context.Context) (*State, error) {
	if err := acquire(ctx, l.refreshing); err != nil {
		return nil, fault.Wrap("refresh table "+l.table, err)
	}
	defer release(l.refreshing)
	s, err := l.refresh(ctx)
	return s, fault.Wrap("refresh table "+l.table, err)
}

func (l *Log) refresh(ctx context.Context) (*State, error) {
	l.mu.Lock()
	s, seen := l.head, l.seen
	l.mu.Unlock()
	start := l.opt.Now()
	if s != nil && l.stale(seen) {
		// Long out of touch: the version after s may be cleaned, and its
		// absence would then look like the end of the log.
		cleaned, err := l.cleaned(ctx)
		if err != nil {
			return nil, err
		}
		if cleaned > s.Version {
			s = nil
		}
	}
	var err error
	if s == nil {
		s, err = l.load(ctx, -1)
	} else {
		s, err = l.tail(ctx, s, -1)
	}
	if err != nil {
		return nil, err
	}
	return l.advance(s, start), nil
}

// advance makes s the head unless a newer one is known, and returns the head.
// seen is a moment at which no version after s existed.
func (l *Log) advance(s *State, seen time.Time) *State {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.head == nil || s.Version >= l.head.Version {
		l.head = s
		if seen.After(l.seen) {
			l.seen = seen
		}
	}
	return l.head
}

// stale reports whether since is long ago. Monotonic clocks stand still while
// a machine sleeps, the wall clock may be set back: the greater of both counts.
func (l *Log) stale(since time.Time) bool {
	now := l.opt.Now()
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0))) > l.staleAfter
}

// pastStates is how many states At keeps.
const pastStates = 4

// At is the state at a version: from a checkpoint and the versions after it.
// A version above the head is fault.NotFound; one that was cleaned from the
// log is fault.Gone, and Logical still tells its row count and vector.
func (l *Log) At(ctx context.Context, version int64) (*State, error) {
	op := fmt.Sprintf("read table %s at version %d", l.table, version)
	if version < 0 {
		return nil, fault.New(fault.NotFound, op, "versions begin at 0")
	}
	h := l.Head()
	if version > h.Version {
		var err error
		if h, err = l.Refresh(ctx); err != nil {
			return nil, fault.Wrap(op, err)
		}
	}
	switch {
	case version > h.Version && h.Foreign != nil && version >= h.Foreign.Version:
		return nil, h.Foreign.err(op, l.table)
	case version > h.Version:
		return nil, fault.New(fault.NotFound, op, "the newest version is %d", h.Version)
	case version == h.Version:
		return h, nil
	}
	if s := l.recall(version); s != nil {
		return s, nil
	}
	s, err := l.load(ctx, version)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	l.remember(s)
	return s, nil
}

func (l *Log) recall(version int64) *State {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.past {
		if s.Version == version {
			copy(l.past[1:i+1], l.past[:i])
			l.past[0] = s
			return s
		}
	}
	return nil
}

func (l *Log) remember(s *State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.past = append([]*State{s}, l.past[:min(len(l.past), pastStates-1)]...)
}

// Close waits for a checkpoint that is being written. It is idempotent. Calls
// that are under way may finish; later commits write no checkpoints.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.background.Wait()
	return nil
}

// acquire takes a lock that is a channel of capacity one, unless ctx ends first.
func acquire(ctx context.Context, lock chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func release(lock chan struct{}) { <-lock }
