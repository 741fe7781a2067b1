package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/delta"
	"trajlake/store/index"
)

// Annotate appends annotations as one version and answers each, in order. Every
// row must carry its annotation_id: the same id with the same content (at not
// counted) is a duplicate, with other content a conflict. The snapshot holds the
// annotations, and everything this process knew before them.
func (l *Lake) Annotate(ctx context.Context, rows []*schema.Annotation) ([]Receipt, *Snapshot, error) {
	ident := &identity[schema.Annotation]{
		table: schema.Annotations, what: "annotation",
		id:     func(r *schema.Annotation) string { return r.AnnotationID },
		digest: func(r *schema.Annotation) (a, b [16]byte) { return annotationDigest(r), [16]byte{} },
	}
	receipts, _, err := commitRows(ctx, l, ident, rows, nil)
	if err != nil {
		return nil, nil, err
	}
	s, err := l.Head(ctx)
	if err != nil {
		return nil, nil, err
	}
	return receipts, s, nil
}

// annotationDigest is over what an annotation says: not its place, not its time,
// which a client may leave to the server. Only the index holds it.
func annotationDigest(r *schema.Annotation) [16]byte {
	var space [512]byte
	b := space[:0]
	texts := [...]*string{&r.AnnotationID, r.Kind, r.TargetKind, r.TargetID, r.Name, r.ValueText, r.ValueJSON, r.Scorer, r.ScorerVersion, r.RunID, r.Author, r.Reason, r.Extra}
	for i, s := range texts {
		if s != nil {
			b = append(binary.AppendUvarint(append(b, byte(i)), uint64(len(*s))), *s...)
		}
	}
	for i, n := range [...]*int32{r.Turn, r.Call, r.SpanStart, r.SpanEnd} {
		if n != nil {
			b = binary.AppendVarint(append(b, byte(len(texts)+i)), int64(*n))
		}
	}
	if r.PolicyVersion != nil {
		b = binary.AppendVarint(append(b, 30), *r.PolicyVersion)
	}
	if r.Value != nil {
		b = binary.BigEndian.AppendUint64(append(b, 31), math.Float64bits(*r.Value))
	}
	sum := sha256.Sum256(b)
	return index.Half(sum[:])
}

// AppendTensors appends tensor pieces as one version and answers each. The key
// (trajectory, name, producer, version, piece) with the same digest is a
// duplicate, with another a conflict. A piece without a source_digest needs its
// trajectory to be in the lake already.
func (l *Lake) AppendTensors(ctx context.Context, rows []*schema.Tensor) ([]Receipt, error) {
	ident := &identity[schema.Tensor]{
		table: schema.Tensors, what: "tensor piece",
		id:     tensorKey,
		digest: func(r *schema.Tensor) (a, b [16]byte) { return tensorDigest(r), [16]byte{} },
	}
	missing, err := l.missingOwners(ctx, rows)
	if err != nil {
		return nil, err
	}
	var keep []*schema.Tensor
	receipts := make([]Receipt, len(rows))
	var at []int
	for i, r := range rows {
		if r.Digest == nil {
			r.Digest = new(PieceDigest(r.Data))
		}
		if r.SourceDigest == nil && missing[r.TrajectoryID] {
			receipts[i] = rejected(tensorKey(r), fault.New(fault.NotFound, "append tensor "+r.Name, "there is no trajectory %s", r.TrajectoryID).
				WithHint("a late tensor needs its row; append the trajectory first"))
			continue
		}
		keep, at = append(keep, r), append(at, i)
	}
	got, _, err := commitRows(ctx, l, ident, keep, nil)
	if err != nil {
		return nil, err
	}
	for i, r := range got {
		receipts[at[i]] = r
	}
	return receipts, nil
}

// tensorKey is the identity of a tensor piece, in one text.
func tensorKey(r *schema.Tensor) string {
	version := int64(0)
	if r.Version != nil {
		version = *r.Version
	}
	return fmt.Sprintf("%s\x00%s\x00%s\x00%d\x00%d", r.TrajectoryID, r.Name, text(r.Producer), version, r.Piece)
}

func tensorDigest(r *schema.Tensor) [16]byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%v\x00%d", text(r.Digest), text(r.DType), r.Shape, r.Pieces))
	return index.Half(sum[:])
}

// PieceDigest is the digest that a tensor piece carries: hex SHA-256 of its bytes.
func PieceDigest(data [][]byte) string {
	h := sha256.New()
	for _, d := range data {
		h.Write(d)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// missingOwners says which trajectories of late tensors the lake has not.
func (l *Lake) missingOwners(ctx context.Context, rows []*schema.Tensor) (map[string]bool, error) {
	var ids []string
	seen := map[string]bool{}
	for _, r := range rows {
		if r.SourceDigest == nil && !seen[r.TrajectoryID] {
			seen[r.TrajectoryID] = true
			ids = append(ids, r.TrajectoryID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	st, err := l.logs[schema.Trajectories.Name].Refresh(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]index.Key, len(ids))
	for i, id := range ids {
		keys[i] = index.KeyOf(index.Trajectory, id)
	}
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	var found []index.Entry
	err = l.withIndex(ctx, func(ix index.Index) (err error) {
		if err := l.syncIndex(ctx, ix, schema.Trajectories, st); err != nil {
			return err
		}
		if found, err = ix.Lookup(keys); err != nil {
			return &indexError{err}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	missing := map[string]bool{}
	for i, e := range found {
		if e.Seq < 0 {
			missing[ids[i]] = true
		}
	}
	return missing, nil
}

// AppendLedger appends ledger rows as one version. Ledger rows have no identity
// of their own: readers take the greatest incarnation per (stream, run, step,
// rank, batch).
func (l *Lake) AppendLedger(ctx context.Context, rows []*schema.LedgerEntry) ([]Receipt, error) {
	op := "append to " + schema.Ledger.Name
	if err := l.writable(op); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, nil
	}
	if err := l.evolve(ctx, schema.Ledger); err != nil {
		return nil, fault.Wrap(op, err)
	}
	add, err := putFile(ctx, l, schema.Ledger, rows)
	if err != nil {
		l.noteNotDurable(err)
		return nil, fault.Wrap(op, err)
	}
	res, err := l.logs[schema.Ledger.Name].Commit(ctx, delta.Tx{Vector: l.known(), Build: func(context.Context, *delta.State) ([]delta.Action, error) {
		a := add
		info := &delta.CommitInfo{Operation: "WRITE", OperationParameters: delta.Params{"mode": "Append", "partitionBy": `["day"]`}}
		return []delta.Action{{Add: &a}, {CommitInfo: info}}, nil
	}})
	if err != nil {
		l.noteNotDurable(err)
		return nil, fault.Wrap(op, err)
	}
	file := res.State.Files.Get(add.Path)
	if file == nil {
		return nil, fault.New(fault.Internal, op, "version %d does not hold the file that it added", res.Version)
	}
	out := make([]Receipt, len(rows))
	for i, r := range rows {
		out[i] = Receipt{ID: text(r.BatchID), Status: Committed, Version: res.Version, Seq: file.FirstSeq + int64(i)}
	}
	return out, nil
}

// readItems reads the index items of one file's rows from a place on.
func (l *Lake) readItems(ctx context.Context, ns byte, p part, from int64) ([]index.Item, error) {
	columns := map[byte][]string{
		index.Trajectory: {"trajectory_id", "source_digest", "content_hash"},
		index.Tensor:     {"trajectory_id", "name", "producer", "version", "piece", "pieces", "dtype", "digest", "shape"},
	}[ns]
	if columns == nil {
		for _, c := range p.table.Columns {
			columns = append(columns, c.Name)
		}
	}
	var out []index.Item
	for pl, err := range l.readPart(ctx, p, columns, from) {
		if err != nil {
			return nil, err
		}
		for i, seq := range pl.seqs {
			id, src, content, err := identityAt(ns, pl, i)
			if err != nil {
				return nil, err
			}
			out = append(out, index.Item{Key: index.KeyOf(ns, id), Entry: index.Entry{Seq: seq, Version: pl.versions[i], Digest: src, Content: content}})
		}
	}
	return out, nil
}

// identityAt is the id and the digests of row i of a record of readItems.
func identityAt(ns byte, pl placed, i int) (id string, src, content [16]byte, err error) {
	switch ns {
	case index.Trajectory:
		id, err = stringAt(pl.rec, 0, i)
		return id, index.Half(bytesAt(pl.rec, 1, i)), index.Half(bytesAt(pl.rec, 2, i)), err
	case index.Annotation:
		r, err := schema.RowFromArrow[schema.Annotation](pl.rec, i)
		if err != nil {
			return "", src, content, err
		}
		return r.AnnotationID, annotationDigest(r), content, nil
	case index.Tensor:
		r, err := schema.RowFromArrow[schema.Tensor](pl.rec, i)
		if err != nil {
			return "", src, content, err
		}
		return tensorKey(r), tensorDigest(r), content, nil
	}
	return "", src, content, errors.New("no identity for this table")
}
