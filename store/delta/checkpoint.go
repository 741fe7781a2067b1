package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/parquet-go/parquet-go"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// The rows of a classic checkpoint, as the protocol lays them out. Groups that
// an action does not have are null, never empty.
type (
	cpVector struct {
		StorageType    string `parquet:"storageType"`
		PathOrInlineDv string `parquet:"pathOrInlineDv"`
		Offset         *int32 `parquet:"offset,optional"`
		SizeInBytes    int32  `parquet:"sizeInBytes"`
		Cardinality    int64  `parquet:"cardinality"`
	}
	cpAdd struct {
		Path             string             `parquet:"path,plain"`
		PartitionValues  map[string]*string `parquet:"partitionValues" parquet-value:",optional"`
		Size             int64              `parquet:"size"`
		ModificationTime int64              `parquet:"modificationTime"`
		DataChange       bool               `parquet:"dataChange"`
		Stats            *string            `parquet:"stats,optional,plain"`
		Tags             map[string]*string `parquet:"tags,optional" parquet-value:",optional"`
		DeletionVector   *cpVector          `parquet:"deletionVector,optional"`
	}
	cpRemove struct {
		Path              string `parquet:"path,plain"`
		DeletionTimestamp *int64 `parquet:"deletionTimestamp,optional"`
		DataChange        bool   `parquet:"dataChange"`
	}
	cpFormat struct {
		Provider string            `parquet:"provider"`
		Options  map[string]string `parquet:"options"`
	}
	cpMetadata struct {
		ID               string            `parquet:"id"`
		Name             *string           `parquet:"name,optional"`
		Description      *string           `parquet:"description,optional"`
		Format           cpFormat          `parquet:"format"`
		SchemaString     string            `parquet:"schemaString,plain"`
		PartitionColumns []string          `parquet:"partitionColumns,list"`
		CreatedTime      *int64            `parquet:"createdTime,optional"`
		Configuration    map[string]string `parquet:"configuration"`
	}
	cpProtocol struct {
		MinReaderVersion int32    `parquet:"minReaderVersion"`
		MinWriterVersion int32    `parquet:"minWriterVersion"`
		ReaderFeatures   []string `parquet:"readerFeatures,optional,list"`
		WriterFeatures   []string `parquet:"writerFeatures,optional,list"`
	}
	cpTxn struct {
		AppID       string `parquet:"appId"`
		Version     int64  `parquet:"version"`
		LastUpdated *int64 `parquet:"lastUpdated,optional"`
	}
	cpRow struct {
		Txn      *cpTxn      `parquet:"txn,optional"`
		Add      *cpAdd      `parquet:"add,optional"`
		Remove   *cpRemove   `parquet:"remove,optional"`
		MetaData *cpMetadata `parquet:"metaData,optional"`
		Protocol *cpProtocol `parquet:"protocol,optional"`
	}
	cpSidecar struct {
		Path string `parquet:"path"`
	}
	// cpRead is a row of any engine's checkpoint. Columns that a file does not
	// have read as null, those that are not here are not looked at.
	cpRead struct {
		Txn      *cpTxn      `parquet:"txn,optional"`
		Add      *cpAdd      `parquet:"add,optional"`
		Remove   *cpRemove   `parquet:"remove,optional"`
		MetaData *cpMetadata `parquet:"metaData,optional"`
		Protocol *cpProtocol `parquet:"protocol,optional"`
		Sidecar  *cpSidecar  `parquet:"sidecar,optional"`
	}
)

// checkpointKey is the key in a checkpoint's footer that marks it as ours: a
// checkpointMark in JSON. Ours holds interpreted commits only.
const checkpointKey = "trajlake.checkpoint"

type checkpointMark struct {
	Version int64  `json:"version"`
	NextSeq int64  `json:"nextSeq"`
	Vector  Vector `json:"snapshot"`
	Digest  string `json:"digest"` // see digest
}

// hint is the content of _last_checkpoint.
type hint struct {
	Version     int64 `json:"version"`
	Size        int64 `json:"size"` // actions
	SizeInBytes int64 `json:"sizeInBytes,omitzero"`
	NumOfAdds   int64 `json:"numOfAddFiles,omitzero"`
	Parts       int64 `json:"parts,omitzero"`
}

func (l *Log) hint(ctx context.Context) (hint, error) {
	key := l.logKey(lastCheckpointName)
	body, err := l.b.Get(ctx, key, 0, -1)
	if err != nil {
		return hint{}, storeError("read "+key, err)
	}
	h := hint{Version: -1}
	if err := json.Unmarshal(body, &h); err != nil || h.Version < 0 {
		return hint{}, fault.New(fault.Corrupt, "read "+key, "it names no version")
	}
	return h, nil
}

// noteCheckpoint remembers that a checkpoint of version v exists.
func (l *Log) noteCheckpoint(v int64) {
	l.mu.Lock()
	l.checkpoint = max(l.checkpoint, v)
	l.mu.Unlock()
}

// checkpointIfDue writes a checkpoint of s, or starts to, when the versions
// since the last one have become many. Its failure is logged and no more.
func (l *Log) checkpointIfDue(s *State) {
	if l.opt.CheckpointEvery < 0 {
		return
	}
	tail := max(l.opt.CheckpointEvery, int64(s.Files.Len()/4))
	l.mu.Lock()
	due := !l.closed && !l.writing && s.Version-max(l.checkpoint, 0) >= tail
	if due {
		l.writing = true
		l.background.Add(1)
	}
	l.mu.Unlock()
	if !due {
		return
	}
	work := func() {
		defer l.background.Done()
		const most = 2 * time.Minute
		ctx, cancel := context.WithTimeout(context.Background(), most)
		defer cancel()
		// Another process may have written one.
		if h, err := l.hint(ctx); err == nil {
			l.noteCheckpoint(h.Version)
			if s.Version-h.Version < tail {
				l.endCheckpoint()
				return
			}
		}
		if err := l.writeCheckpoint(ctx, s); err != nil {
			l.opt.Logger.Warn("checkpoint was not written", "table", l.table, "version", s.Version, "error", err)
		}
		l.endCheckpoint()
	}
	if l.opt.InlineCheckpoints {
		work()
		return
	}
	go work()
}

// CheckpointDue writes a checkpoint of the newest version if the log after the
// last one has become long, and returns when it is written.
func (l *Log) CheckpointDue(ctx context.Context) error {
	s, err := l.Refresh(ctx)
	if err != nil {
		return err
	}
	tail := max(l.opt.CheckpointEvery, int64(s.Files.Len()/4))
	l.mu.Lock()
	due := !l.closed && !l.writing && l.opt.CheckpointEvery > 0 && s.Version-max(l.checkpoint, 0) >= tail
	l.writing = l.writing || due
	l.mu.Unlock()
	if !due {
		return nil
	}
	defer l.endCheckpoint()
	if h, err := l.hint(ctx); err == nil {
		l.noteCheckpoint(h.Version)
		if s.Version-h.Version < tail {
			return nil
		}
	}
	return l.writeCheckpoint(ctx, s)
}

func (l *Log) endCheckpoint() {
	l.mu.Lock()
	l.writing = false
	l.mu.Unlock()
}

// Checkpoint writes a checkpoint of the newest state that is known, unless it
// has one. Two writers of one checkpoint do not disturb each other.
func (l *Log) Checkpoint(ctx context.Context) error {
	return l.writeCheckpoint(ctx, l.Head())
}

func (l *Log) writeCheckpoint(ctx context.Context, s *State) error {
	key := l.logKey(checkpointName(s.Version))
	body, size, err := encodeCheckpoint(s, l.opt.Now())
	if err != nil {
		return fault.WrapAs(fault.Internal, "encode "+key, err)
	}
	err = l.b.Put(ctx, key, body, blob.PutOptions{IfAbsent: true})
	if err != nil && !errors.Is(err, blob.ErrExists) {
		return storeError("put "+key, err)
	}
	if err == nil {
		l.noteCheckpoint(s.Version)
	} else if _, err := l.readCheckpoint(ctx, s.Version, false); err != nil {
		return fault.Wrap("write "+key, err) // somebody else's, or damaged: not to be pointed at
	}
	if h, err := l.hint(ctx); err == nil && h.Version >= s.Version {
		return nil
	}
	text, err := json.Marshal(hint{Version: s.Version, Size: size, SizeInBytes: int64(len(body)), NumOfAdds: int64(s.Files.Len())})
	if err != nil {
		return fault.WrapAs(fault.Internal, "encode "+lastCheckpointName, err)
	}
	key = l.logKey(lastCheckpointName)
	if err := l.b.Put(ctx, key, text, blob.PutOptions{}); err != nil {
		return storeError("put "+key, err)
	}
	return nil
}

// encodeCheckpoint also tells the number of actions.
func encodeCheckpoint(s *State, now time.Time) (body []byte, size int64, err error) {
	expired := now.Add(-tombstoneAge).UnixMilli()
	sum, err := digest(s, expired)
	if err != nil {
		return nil, 0, err
	}
	mark, err := json.Marshal(checkpointMark{s.Version, s.NextSeq, s.Vector, sum}, json.Deterministic(true))
	if err != nil {
		return nil, 0, err
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[cpRow](&b, parquet.DataPageVersion(1), parquet.Compression(&parquet.Snappy),
		parquet.CreatedBy("trajlake", "1", "0"), parquet.KeyValueMetadata(checkpointKey, string(mark)))
	rows := make([]cpRow, 0, 256)
	flush := func() error {
		n, err := w.Write(rows)
		size += int64(n)
		rows = rows[:0]
		return err
	}
	for row := range checkpointRows(s, expired) {
		if rows = append(rows, row); len(rows) == cap(rows) {
			if err := flush(); err != nil {
				return nil, 0, err
			}
		}
	}
	if err := flush(); err != nil {
		return nil, 0, err
	}
	if err := w.Close(); err != nil {
		return nil, 0, err
	}
	return b.Bytes(), size, nil
}

// readCheckpoint reads the checkpoint of version v into a state. One that is
// not ours is refused unless foreign is set; it is then believed if every file
// in it carries its places.
func (l *Log) readCheckpoint(ctx context.Context, v int64, foreign bool) (*State, error) {
	key := l.logKey(checkpointName(v))
	op := "read " + key
	body, err := l.b.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, storeError(op, err)
	}
	s, mark, err := decodeCheckpoint(body)
	if err != nil {
		return nil, fault.WrapAs(fault.Corrupt, op, err)
	}
	s.Version = v
	if mark != nil {
		s.NextSeq, s.Vector = mark.NextSeq, mark.Vector
		if sum, err := digest(s, math.MinInt64); err != nil || sum != mark.Digest {
			return nil, fault.New(fault.Corrupt, op, "its content is not that of its digest")
		}
	} else {
		if !foreign {
			return nil, fault.New(fault.Unsupported, op, "it was written by another engine")
		}
		if err := l.adopt(s); err != nil {
			return nil, fault.Wrap(op, err)
		}
	}
	c, err := l.version(ctx, v)
	switch {
	case errors.Is(err, blob.ErrNotExist): // cleaned by somebody: the state is known without it
	case err != nil:
		return nil, err
	default:
		s.Info = c.info
		if own := c.info.Trajlake; own != nil {
			s.Vector = s.Vector.Max(own.Snapshot)
		}
	}
	l.noteCheckpoint(v)
	return s, nil
}

// adopt completes a state from another engine's checkpoint.
func (l *Log) adopt(s *State) error {
	t, ok := s.txns[AppNextSeq]
	for f := range s.Files.All() {
		if !ok || !placed(&f.Add) {
			return fault.New(fault.Unsupported, "", "file %s has no place: it was added by another engine", f.Path)
		}
		if !f.PlacesColumns && f.FirstSeq+max(f.Rows, 0) > t.Version {
			return fault.New(fault.Corrupt, "", "file %s lies behind nextSeq %d", f.Path, t.Version)
		}
	}
	s.NextSeq = t.Version
	s.Vector = Vector{l.table: s.position()}
	return nil
}

func decodeCheckpoint(body []byte) (s *State, mark *checkpointMark, err error) {
	defer func() {
		if r := recover(); r != nil { // the reader meets a damaged or very strange file
			s, mark, err = nil, nil, fmt.Errorf("cannot be decoded: %v", r)
		}
	}()
	f, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, nil, err
	}
	if text, ok := f.Lookup(checkpointKey); ok {
		mark = &checkpointMark{}
		if err := json.Unmarshal([]byte(text), mark); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", checkpointKey, err)
		}
	}
	r := parquet.NewGenericReader[cpRead](f)
	defer func() { err = errors.Join(err, r.Close()) }()
	fold := checkpointFold{txns: make(map[string]Txn)}
	rows := make([]cpRead, 256)
	for {
		clear(rows) // a null group must not keep what the row before had
		n, err := r.Read(rows)
		for i := range rows[:n] {
			if err := fold.row(&rows[i]); err != nil {
				return nil, nil, err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
	}
	s, err = fold.state()
	return s, mark, err
}
