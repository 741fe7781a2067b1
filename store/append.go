package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/blob"
	"trajlake/store/datafile"
	"trajlake/store/delta"
	"trajlake/store/index"
)

// identity is how rows of a table are told apart.
type identity[T any] struct {
	table  *schema.Table
	what   string // of a row, for messages
	id     func(*T) string
	digest func(*T) (source, content [16]byte)
}

// Append commits rows as one version and answers each, in order: committed,
// duplicate (same id and same source digest or content, answered with the first
// version) or rejected (same id, other content; or an id that was deleted). Rows
// must carry trajectory_id, source_digest and content_hash; row_version and
// row_seq are left null, a fresh file does not hold them.
//
// An error means that nothing of the call is known to be committed; its kind is
// Unavailable when sending the rows again is the right thing to do.
func (l *Lake) Append(ctx context.Context, rows []*schema.Trajectory) ([]Receipt, error) {
	receipts, _, err := l.AppendCounted(ctx, rows)
	return receipts, err
}

// AppendCounted is Append and tells how many versions were tried for: more than
// one means that other writers were faster.
func (l *Lake) AppendCounted(ctx context.Context, rows []*schema.Trajectory) ([]Receipt, int, error) {
	ident := &identity[schema.Trajectory]{
		table: schema.Trajectories, what: "trajectory",
		id: func(r *schema.Trajectory) string { return r.TrajectoryID },
		digest: func(r *schema.Trajectory) (a, b [16]byte) {
			return index.Half(r.SourceDigest), index.Half(r.ContentHash)
		},
	}
	gone, err := l.goneIDs(ctx)
	if err != nil {
		return nil, 0, err
	}
	return commitRows(ctx, l, ident, rows, gone)
}

// appending is one call on its way through the commit loop.
type appending[T any] struct {
	l        *Lake
	ident    *identity[T]
	ix       index.Index
	rows     []*T
	keys     []index.Key
	receipts []Receipt
	fresh    []int        // rows still to be committed, by position
	same     map[int]int  // row → earlier row of the same call with the same id
	base     *delta.State // what fresh was last compared with
	files    []writtenFile
	written  int // how many of fresh the files were written from
}

// writtenFile is a data file that is in the bucket and not yet in the log.
type writtenFile struct {
	add  delta.Add
	rows []int // positions in rows, in file order
}

// commitRows is the write path of every table whose rows have an identity.
func commitRows[T any](ctx context.Context, l *Lake, ident *identity[T], rows []*T, gone *goneSet) ([]Receipt, int, error) {
	op := "append to " + ident.table.Name
	if err := l.writable(op); err != nil {
		return nil, 0, err
	}
	if len(rows) == 0 {
		return nil, 0, nil
	}
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if err := l.evolve(ctx, ident.table); err != nil {
		return nil, 0, fault.Wrap(op, err)
	}
	var receipts []Receipt
	attempts := 0
	err := l.withIndex(ctx, func(ix index.Index) error {
		a := &appending[T]{l: l, ident: ident, ix: ix, rows: rows, receipts: make([]Receipt, len(rows)), keys: make([]index.Key, len(rows)), same: map[int]int{}}
		n, err := a.run(ctx, gone)
		attempts += n
		receipts = a.receipts
		return err
	})
	if l.noteNotDurable(err) || err != nil {
		return nil, attempts, fault.Wrap(op, err)
	}
	if err := l.settle(ctx, ident.table, receipts); err != nil {
		l.noteNotDurable(err)
		return nil, attempts, putError(op, err)
	}
	if err := l.writable(op); err != nil { // a flush failed meanwhile: what was read may vanish
		return nil, attempts, err
	}
	return receipts, attempts, nil
}

// settle makes the versions durable that duplicates are answered from: who
// committed one may have made it visible and not flushed it yet. It flushes once
// for each newest version; what this process committed is flushed already. The
// caller holds writeMu.
func (l *Lake) settle(ctx context.Context, t *schema.Table, receipts []Receipt) error {
	newest := int64(-1)
	for _, r := range receipts {
		if r.Status == Duplicate {
			newest = max(newest, r.Version)
		}
	}
	if have, ok := l.settled[t.Name]; newest < 0 || ok && newest <= have {
		return nil
	}
	seen := l.logs[t.Name].Head().Version
	if err := blob.Settle(ctx, l.bucket, t.Name+"/_delta_log"); err != nil {
		return err
	}
	l.settled[t.Name] = max(seen, newest)
	return nil
}

// run answers every row; the caller holds writeMu.
func (a *appending[T]) run(ctx context.Context, gone *goneSet) (attempts int, err error) {
	if err := a.start(ctx, gone); err != nil {
		return 0, err
	}
	if len(a.fresh) > 0 {
		if attempts, err = a.commit(ctx); err != nil {
			return attempts, err
		}
	}
	for i, j := range a.same {
		if a.receipts[i], err = a.sameReceipt(i, j); err != nil {
			return attempts, err
		}
	}
	return attempts, nil
}

// start finds equal ids within the call and drops what the lake already has.
func (a *appending[T]) start(ctx context.Context, gone *goneSet) error {
	first := make(map[index.Key]int, len(a.rows))
	onAll(len(a.rows), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			a.keys[i] = index.KeyOf(namespaces[a.ident.table.Name], a.ident.id(a.rows[i]))
		}
	})
	for i, r := range a.rows {
		id := a.ident.id(r)
		a.receipts[i] = Receipt{ID: id, Version: -1, Seq: -1}
		if id == "" {
			a.receipts[i] = rejected(id, fault.New(fault.Invalid, "append "+a.ident.what, "the row has no id"))
			continue
		}
		if gone.has(id) {
			a.receipts[i] = rejected(id, fault.New(fault.Gone, "append "+a.ident.what+" "+id, "a row with this id was deleted and is not put back"))
			continue
		}
		k := a.keys[i]
		if j, ok := first[k]; ok {
			a.same[i] = j
			continue
		}
		first[k] = i
		a.fresh = append(a.fresh, i)
	}
	return a.compare(ctx, a.l.logs[a.ident.table.Name].Head(), lagAtStart)
}

// How many versions the index may lie behind the log when a call begins, and when
// it has lost a race, which reading data files would only make it lose again.
const (
	lagAtStart = 16
	lagInRace  = 48
)

// compare drops what the lake has at st. The index is brought up to st, unless it
// lies behind by at most lag versions that state the hashes of their rows' ids and
// none of ours is among them: then no data file is read.
func (a *appending[T]) compare(ctx context.Context, st *delta.State, lag int64) error {
	m, err := a.ix.Mark(a.ident.table.Name)
	if err != nil {
		return &indexError{err}
	}
	if st.Version-m.Version > lag || a.mayBeSince(st, m.Version) {
		if err := a.l.syncIndex(ctx, a.ix, a.ident.table, st); err != nil {
			return err
		}
	}
	a.base = st
	return a.drop()
}

// mayBeSince reports whether a fresh row may have come in after a version.
func (a *appending[T]) mayBeSince(st *delta.State, version int64) bool {
	if st.Version <= version {
		return false
	}
	since, ok := st.IDsSince(version)
	if !ok {
		return true
	}
	mine := make(map[uint64]bool, len(a.fresh))
	for _, i := range a.fresh {
		mine[id64(a.ident.id(a.rows[i]))] = true
	}
	for _, ids := range since {
		for _, id := range ids {
			if mine[id] {
				return true
			}
		}
	}
	return false
}

// drop answers the fresh rows whose ids are in the index and keeps the others.
func (a *appending[T]) drop() error {
	keys := make([]index.Key, len(a.fresh))
	for n, i := range a.fresh {
		keys[n] = a.keys[i]
	}
	found, err := a.ix.Lookup(keys)
	if err != nil {
		return &indexError{err}
	}
	kept := a.fresh[:0:0]
	for n, i := range a.fresh {
		e := found[n]
		if e.Seq < 0 {
			kept = append(kept, i)
			continue
		}
		a.receipts[i] = a.known(i, e)
	}
	a.fresh = kept
	return nil
}

// known answers row i, whose id the lake has as e.
func (a *appending[T]) known(i int, e index.Entry) Receipt {
	id := a.ident.id(a.rows[i])
	src, content := a.ident.digest(a.rows[i])
	if !sameRow(src, content, e.Digest, e.Content) {
		return rejected(id, conflict(a.ident.what, id, e.Digest, src))
	}
	return Receipt{ID: id, Status: Duplicate, Version: e.Version, Seq: e.Seq}
}

// sameRow is the rule of identity: equal source digest or equal content.
func sameRow(src, content, haveSrc, haveContent [16]byte) bool {
	zero := [16]byte{}
	return src == haveSrc && src != zero || content == haveContent && content != zero
}

// sameReceipt answers row i, whose id an earlier row j of the call had. What the
// lake has under the id decides, or else row j, which was just committed.
func (a *appending[T]) sameReceipt(i, j int) (Receipt, error) {
	first := a.receipts[j]
	if first.Status != Committed {
		found, err := a.ix.Lookup(a.keys[i : i+1])
		if err != nil {
			return Receipt{}, &indexError{err}
		}
		if found[0].Seq < 0 {
			return first, nil
		}
		return a.known(i, found[0]), nil
	}
	src, content := a.ident.digest(a.rows[j])
	return a.known(i, index.Entry{Seq: first.Seq, Version: first.Version, Digest: src, Content: content}), nil
}

// commit writes the fresh rows' files and puts them into the log. After a lost
// race the winners' ids are folded in and what is already there is dropped; the
// files are written anew, under new names, only if rows dropped out.
func (a *appending[T]) commit(ctx context.Context) (attempts int, err error) {
	log := a.l.logs[a.ident.table.Name]
	res, err := log.Commit(ctx, delta.Tx{
		Base:   a.base,
		Vector: a.l.known(),
		Build: func(ctx context.Context, st *delta.State) ([]delta.Action, error) {
			// Not only after a lost race: a reader may have moved the head since
			// the rows were compared.
			if st.Version != a.base.Version {
				if err := a.compare(ctx, st, lagInRace); err != nil {
					return nil, err
				}
			}
			if len(a.fresh) == 0 {
				return nil, delta.ErrNothing
			}
			return a.actions(ctx)
		},
	})
	if errors.Is(err, delta.ErrNothing) {
		return res.Attempts, nil
	}
	if err != nil {
		return res.Attempts, err
	}
	return res.Attempts, a.finish(ctx, res)
}

// actions makes sure that the files hold exactly the fresh rows, and names them.
func (a *appending[T]) actions(ctx context.Context) ([]delta.Action, error) {
	if a.files == nil || a.written != len(a.fresh) {
		if err := a.write(ctx); err != nil {
			return nil, err
		}
	}
	ids := delta.IDs{}
	var out []delta.Action
	for i := range a.files {
		add := a.files[i].add
		out = append(out, delta.Action{Add: &add})
		for _, r := range a.files[i].rows {
			ids = append(ids, id64(a.ident.id(a.rows[r])))
		}
	}
	if len(ids) > delta.MaxIDs {
		ids = nil
	}
	info := &delta.CommitInfo{Operation: "WRITE", OperationParameters: delta.Params{"mode": "Append", "partitionBy": `["day"]`}, Trajlake: &delta.Trajlake{IDs: ids}}
	return append(out, delta.Action{CommitInfo: info}), nil
}

// id64 is the 64-bit hash of an id in commitInfo.
func id64(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:8])
}

// splitRows is from how many rows on a commit is encoded as several files at
// once, one for each processor.
const splitRows = 256

// write encodes the fresh rows, on all processors where that pays, and puts the
// files into the bucket. Files of an earlier attempt stay behind as orphans.
func (a *appending[T]) write(ctx context.Context) error {
	parts := 1
	if len(a.fresh) >= splitRows {
		parts = runtime.GOMAXPROCS(0)
	}
	files := make([]writtenFile, parts)
	errs := make([]error, parts)
	var wg sync.WaitGroup
	for p := range parts {
		lo, hi := len(a.fresh)*p/parts, len(a.fresh)*(p+1)/parts
		files[p].rows = a.fresh[lo:hi]
		rows := make([]*T, 0, hi-lo)
		for _, i := range files[p].rows {
			rows = append(rows, a.rows[i])
		}
		wg.Go(func() { files[p].add, errs[p] = putFile(ctx, a.l, a.ident.table, rows) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	a.files, a.written = files, len(a.fresh)
	return nil
}

// manyRows is from how many rows on digests are taken on all processors.
const manyRows = 2048

// onAll runs do over the parts of n rows, one for each processor where that pays.
func onAll(n int, do func(lo, hi int)) {
	parts := min(runtime.GOMAXPROCS(0), 1+n/manyRows)
	var wg sync.WaitGroup
	for p := 1; p < parts; p++ {
		wg.Go(func() { do(n*p/parts, n*(p+1)/parts) })
	}
	do(0, n/parts)
	wg.Wait()
}

// putFile encodes rows as one data file, stores it and describes it.
func putFile[T any](ctx context.Context, l *Lake, t *schema.Table, rows []*T) (delta.Add, error) {
	enc, err := datafile.Encode(t, rows, nil)
	if err != nil {
		return delta.Add{}, err
	}
	return l.putEncoded(ctx, t, enc)
}

// putEncoded stores an encoded file under a new name and describes it.
func (l *Lake) putEncoded(ctx context.Context, t *schema.Table, enc *datafile.Encoded) (delta.Add, error) {
	path := l.dataPath()
	if err := l.bucket.Put(ctx, t.Name+"/"+path, enc.Bytes, blob.PutOptions{}); err != nil {
		return delta.Add{}, putError(fmt.Sprintf("write %s/%s", t.Name, path), err)
	}
	return delta.Add{
		Path:             path,
		PartitionValues:  map[string]string{schema.PartitionColumn: path[len(schema.PartitionColumn)+1:][:len("2006-01-02")]},
		Size:             int64(len(enc.Bytes)),
		ModificationTime: l.opt.Now().UnixMilli(),
		DataChange:       true,
		Stats:            statsOf(t, enc),
		Tags:             map[string]string{tagSHA256: hex.EncodeToString(enc.SHA256[:])},
	}, nil
}

// tagSHA256 is the tag of a file's checksum.
const tagSHA256 = "trajlake.sha256"

// putError gives a failed write its kind: nothing of it is acknowledged.
func putError(op string, err error) error {
	if errors.Is(err, blob.ErrNotDurable) {
		return notDurable(op, err)
	}
	if errors.Is(err, blob.ErrDenied) {
		return fault.WrapAs(fault.Denied, op, err)
	}
	if errors.Is(err, context.Canceled) {
		return fault.WrapAs(fault.Cancelled, op, err)
	}
	return (&fault.Error{Kind: fault.Unavailable, Op: op, Err: err}).WithHint("send the rows again; nothing is lost or doubled")
}

// finish answers the committed rows and feeds the index.
func (a *appending[T]) finish(ctx context.Context, res delta.Result) error {
	a.l.settled[a.ident.table.Name] = res.Version // with all before it: they stand in one directory
	items := make([]index.Item, 0, len(a.fresh))
	lo := res.State.NextSeq
	for _, f := range a.files {
		file := res.State.Files.Get(f.add.Path)
		if file == nil {
			return fault.New(fault.Internal, "commit", "version %d does not hold the file %s that it added", res.Version, f.add.Path)
		}
		lo = min(lo, file.FirstSeq)
		at := len(items)
		items = items[:at+len(f.rows)]
		onAll(len(f.rows), func(lo, hi int) {
			for n := lo; n < hi; n++ {
				i, seq := f.rows[n], file.FirstSeq+int64(n)
				a.receipts[i] = Receipt{ID: a.ident.id(a.rows[i]), Status: Committed, Version: res.Version, Seq: seq}
				src, content := a.ident.digest(a.rows[i])
				items[at+n] = index.Item{Key: a.keys[i], Entry: index.Entry{Seq: seq, Version: res.Version, Digest: src, Content: content}}
			}
		})
	}
	m, err := a.ix.Mark(a.ident.table.Name)
	if err == nil && m.NextSeq == lo {
		m = index.Mark{Version: res.Version, TxnID: res.State.Info.TxnID, NextSeq: res.State.NextSeq}
		err = a.ix.Apply(a.ident.table.Name, items, m)
	}
	if err != nil { // the rows are committed whatever becomes of the cache
		a.l.discardIndex(a.ix, err)
	}
	return nil
}

// known is the vector of what this process knows of all tables.
func (l *Lake) known() delta.Vector {
	v := delta.Vector{}
	for name, log := range l.logs {
		st := log.Head()
		v = v.Max(st.Vector).Max(delta.Vector{name: {Version: st.Version, NextSeq: st.NextSeq}})
	}
	return v
}
