package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/datafile"
	"trajlake/store/delta"
)

// Small files are folded when foldFiles neighbours of at most foldSmall bytes
// stand together; a fold takes up to foldBytes or foldMost files.
const (
	foldSmall = 4 << 20 // what a busy writer commits at once is larger: folding it again costs a sixth of an insert
	foldFiles = 16
	foldBytes = 64 << 20
	foldMost  = 1000
)

// Fold joins runs of small neighbouring files of every table into larger ones,
// until there is nothing worth joining, and returns how many files it replaced.
// Rows keep their places, and no snapshot changes. Losing a race against another
// fold is not an error.
func (l *Lake) Fold(ctx context.Context) (folded int, err error) {
	if err := l.writable("fold small files"); err != nil {
		return 0, err
	}
	for _, t := range schema.Tables() {
		for {
			n, err := l.foldOnce(ctx, t)
			if l.noteNotDurable(err) || err != nil {
				return folded, fault.Wrap("fold small files of "+t.Name, err)
			}
			folded += n
			if n == 0 {
				break
			}
		}
	}
	return folded, nil
}

// foldRun is the first run of neighbours worth joining.
func foldRun(st *delta.State) []*delta.File {
	var run []*delta.File
	var bytes int64
	for f := range st.Files.All() {
		if f.Size > foldSmall || f.Rows < 0 || bytes+f.Size > foldBytes || len(run) == foldMost {
			if len(run) >= foldFiles {
				return run
			}
			run, bytes = run[:0:0], 0
			if f.Size > foldSmall || f.Rows < 0 {
				continue
			}
		}
		run, bytes = append(run, f), bytes+f.Size
	}
	if len(run) >= foldFiles {
		return run
	}
	return nil
}

// foldOnce joins one run of one table and returns the number of files replaced.
func (l *Lake) foldOnce(ctx context.Context, t *schema.Table) (int, error) {
	log := l.logs[t.Name]
	st, err := log.Refresh(ctx)
	if err != nil || st.Foreign != nil {
		return 0, err
	}
	if e, err := l.evolution(t, st); err != nil || len(e.Unknown) > 0 {
		return 0, err // this build would lose what a newer one wrote
	}
	run := foldRun(st)
	if run == nil {
		return 0, nil
	}
	add, err := l.joinFiles(ctx, t, st, run)
	if err != nil {
		return 0, err
	}
	_, err = log.Commit(ctx, delta.Tx{Base: st, Vector: l.known(), Build: func(_ context.Context, base *delta.State) ([]delta.Action, error) {
		a := add
		out := []delta.Action{{CommitInfo: &delta.CommitInfo{
			Operation:           "OPTIMIZE",
			OperationParameters: delta.Params{"predicate": "[]", "numFiles": strconv.Itoa(len(run))},
		}}}
		for _, f := range run {
			if base.Files.Get(f.Path) == nil {
				return nil, delta.ErrNothing // another fold, or a deletion, was faster
			}
			out = append(out, delta.Action{Remove: &delta.Remove{
				Path: f.Path, DeletionTimestamp: l.opt.Now().UnixMilli(), DataChange: false,
				ExtendedFileMetadata: true, PartitionValues: f.PartitionValues, Size: f.Size,
			}})
		}
		return append(out, delta.Action{Add: &a}), nil
	}})
	if errors.Is(err, delta.ErrNothing) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	l.log.Info("folded small files", "table", t.Name, "files", len(run))
	return len(run), nil
}

// joinFiles writes a run of neighbours as one file that carries its rows' places.
func (l *Lake) joinFiles(ctx context.Context, t *schema.Table, st *delta.State, run []*delta.File) (delta.Add, error) {
	last, want := int64(-1), int64(0)
	for _, f := range run {
		end, ok := lastSeq(f)
		if !ok || end < f.FirstSeq || f.FirstSeq <= last {
			return delta.Add{}, fault.New(fault.Corrupt, "fold", "the places of %s overlap those before it", f.Path)
		}
		last, want = end, want+f.Rows
	}
	enc, err := l.joinRows(ctx, t, st, run)
	if err != nil {
		return delta.Add{}, err
	}
	if enc.Rows != want {
		return delta.Add{}, fault.New(fault.Internal, "fold", "%d rows became %d", want, enc.Rows)
	}
	add, err := l.putEncoded(ctx, t, enc)
	if err != nil {
		return delta.Add{}, err
	}
	add.DataChange = false
	add.Tags[delta.TagPlaces] = delta.PlacesColumns
	add.Tags[delta.TagFirstSeq] = strconv.FormatInt(run[0].FirstSeq, 10)
	add.Tags[tagLastSeq] = strconv.FormatInt(last, 10)
	return add, nil
}

// joinRows encodes the rows of a run, in the order of their places.
func (l *Lake) joinRows(ctx context.Context, t *schema.Table, st *delta.State, run []*delta.File) (*datafile.Encoded, error) {
	var inputs []datafile.FoldInput
	for _, f := range run {
		file, done, err := l.files.open(ctx, part{t, f, st.NextSeq})
		if err != nil {
			return nil, err
		}
		defer done()
		inputs = append(inputs, datafile.FoldInput{File: file, FirstSeq: f.FirstSeq, Version: f.Version})
	}
	return datafile.Fold(ctx, t, inputs, nil)
}

// String names a part for messages.
func (p part) String() string { return fmt.Sprintf("%s/%s", p.table.Name, p.file.Path) }
