package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/blob"
	"trajlake/store/delta"
	"trajlake/store/index"
)

// Problem is one thing that Verify found wrong.
type Problem struct {
	Kind   string `json:"kind"`
	Object string `json:"object"`
	Detail string `json:"detail"`
}

// Kinds of problems beside those of a log.
const (
	ProblemMissing  = "file_missing"
	ProblemSize     = "file_size"
	ProblemChecksum = "file_checksum"
	ProblemRead     = "file_unreadable"
	ProblemRows     = "file_rows"
	ProblemPlaces   = "places"
	ProblemTwice    = "id_twice"
	ProblemHash     = "content_hash"
	ProblemIndex    = "index"
)

// VerifyOptions are the settings of Verify.
type VerifyOptions struct {
	// Deep reads every byte: checksums, every row's content hash (unless a newer
	// build has added columns, which this one cannot hash).
	Deep bool
	// Progress is called as files are checked; nil = silent.
	Progress func(done, total int64)
}

// Report is what Verify found.
type Report struct {
	Version      int64     `json:"version"`
	Snapshot     string    `json:"snapshot"`
	OK           bool      `json:"ok"`
	Trajectories int64     `json:"trajectories"`
	Files        int64     `json:"files"`
	Bytes        int64     `json:"bytes"`
	Deep         bool      `json:"deep"`
	Problems     []Problem `json:"problems"`
}

// verifier is one run of Verify.
type verifier struct {
	l     *Lake
	s     *Snapshot
	opt   VerifyOptions
	r     *Report
	done  int64
	total int64
	ids   map[index.Key]int64 // of all tables, to their places
}

// Verify checks the lake: every log from its oldest version, every live file
// (present, size; with Deep its checksum and every row), counts against
// statistics, places dense and within the count, ids unique, specs of streams and
// chains of claims, and the index against the log. Damage is in the report; an
// error means that the check could not be made.
func (l *Lake) Verify(ctx context.Context, o VerifyOptions) (*Report, error) {
	s, err := l.Head(ctx)
	if err != nil {
		if !fault.Is(err, fault.Corrupt) {
			return nil, fault.Wrap("verify", err)
		}
		return &Report{Version: -1, Deep: o.Deep, Problems: []Problem{{delta.ProblemUnreadable, l.url, err.Error()}}}, nil
	}
	v := &verifier{l: l, s: s, opt: o, r: &Report{Version: s.Version(), Snapshot: s.Token(), Deep: o.Deep, Problems: []Problem{}}, ids: map[index.Key]int64{}}
	for _, t := range schema.Tables() {
		v.total += int64(s.states[t.Name].Files.Len())
	}
	for _, t := range schema.Tables() {
		if err := v.table(ctx, t); err != nil {
			return nil, fault.Wrap("verify "+t.Name, err)
		}
	}
	if err := v.objects(ctx); err != nil {
		return nil, fault.Wrap("verify streams", err)
	}
	if err := v.index(ctx); err != nil {
		return nil, fault.Wrap("verify index", err)
	}
	v.r.OK = len(v.r.Problems) == 0
	return v.r, nil
}

func (v *verifier) problem(kind, object, format string, args ...any) {
	v.r.Problems = append(v.r.Problems, Problem{kind, object, fmt.Sprintf(format, args...)})
}

func (v *verifier) table(ctx context.Context, t *schema.Table) error {
	problems, err := v.l.logs[t.Name].CheckLog(ctx)
	if err != nil {
		return err
	}
	for _, p := range problems {
		v.problem(p.Kind, p.Object, "%s", p.Detail)
	}
	ns, hasIDs := namespaces[t.Name]
	seen := v.ids // each table's keys are its own
	next, rows := int64(0), int64(0)
	for p := range v.s.parts(t) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.file.FirstSeq < next {
			v.problem(ProblemPlaces, p.String(), "its first place is %d, places below %d are taken", p.file.FirstSeq, next)
		}
		if last, ok := lastSeq(p.file); ok {
			next = last + 1
		}
		v.r.Files++
		v.r.Bytes += p.file.Size
		if !v.bytes(ctx, p) {
			v.step()
			continue
		}
		n, err := v.rows(ctx, p, ns, hasIDs, seen)
		if err != nil {
			if fault.Is(err, fault.Cancelled) || fault.Is(err, fault.Unavailable) {
				return err
			}
			v.problem(ProblemRead, p.String(), "%v", err)
		}
		rows += n
		v.step()
	}
	limit := v.s.Count(t)
	if next > limit {
		v.problem(ProblemPlaces, t.Name, "places go up to %d, the log counts %d rows", next-1, limit)
	}
	gone, err := v.l.goneIDs(ctx)
	if err != nil {
		return err
	}
	if rows < limit && gone == nil {
		v.problem(ProblemPlaces, t.Name, "%d of %d places hold no row, and nothing was deleted", limit-rows, limit)
	}
	if t == schema.Trajectories {
		v.r.Trajectories = rows
	}
	return nil
}

func (v *verifier) step() {
	v.done++
	if v.opt.Progress != nil {
		v.opt.Progress(v.done, v.total)
	}
}

// bytes checks that the file is there with the size, and deep with the checksum,
// that the log says.
func (v *verifier) bytes(ctx context.Context, p part) bool {
	key := p.String()
	st, err := v.l.bucket.Stat(ctx, key)
	switch {
	case errors.Is(err, blob.ErrNotExist):
		v.problem(ProblemMissing, key, "the log names it, the store has it not")
		return false
	case err != nil:
		v.problem(ProblemRead, key, "%v", err)
		return false
	case st.Size != p.file.Size:
		v.problem(ProblemSize, key, "it has %d bytes, the log says %d", st.Size, p.file.Size)
		return false
	}
	want := p.file.Tags[tagSHA256]
	if !v.opt.Deep || want == "" {
		return true
	}
	body, err := v.l.bucket.Get(ctx, key, 0, -1)
	if err != nil {
		v.problem(ProblemRead, key, "%v", err)
		return false
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != want {
		v.problem(ProblemChecksum, key, "its SHA-256 is %x, the log says %s", sum, want)
		return false
	}
	return true
}

// rows checks the rows of one file and returns their number.
func (v *verifier) rows(ctx context.Context, p part, ns byte, hasIDs bool, seen map[index.Key]int64) (int64, error) {
	n := int64(0)
	if hasIDs {
		items, err := v.l.readItems(ctx, ns, p, 0)
		if err != nil {
			return 0, err
		}
		n = int64(len(items))
		for _, it := range items {
			if first, twice := seen[it.Key]; twice {
				v.problem(ProblemTwice, p.String(), "the row at place %d has the id of the row at %d", it.Entry.Seq, first)
			}
			seen[it.Key] = it.Entry.Seq
		}
	} else {
		for pl, err := range v.l.readPart(ctx, p, nil, 0) {
			if err != nil {
				return 0, err
			}
			n += int64(len(pl.seqs))
		}
	}
	if p.file.Rows >= 0 && n != p.file.Rows {
		v.problem(ProblemRows, p.String(), "it holds %d rows, its statistics say %d", n, p.file.Rows)
	}
	if v.opt.Deep && p.table == schema.Trajectories {
		if e, err := v.l.evolution(p.table, v.s.states[p.table.Name]); err != nil || len(e.Unknown) > 0 {
			return n, err
		}
		return n, v.hashes(ctx, p)
	}
	return n, nil
}

// hashes computes every row's content hash anew.
func (v *verifier) hashes(ctx context.Context, p part) error {
	var columns []string
	for _, c := range p.table.Columns {
		columns = append(columns, c.Name)
	}
	for pl, err := range v.l.readPart(ctx, p, columns, 0) {
		if err != nil {
			return err
		}
		for i, seq := range pl.seqs {
			row, err := schema.RowFromArrow[schema.Trajectory](pl.rec, i)
			if err != nil {
				return err
			}
			if got := schema.ContentHash(row); hex.EncodeToString(got) != hex.EncodeToString(row.ContentHash) {
				v.problem(ProblemHash, p.String(), "row %s at place %d hashes to %x, it says %x", row.TrajectoryID, seq, got, row.ContentHash)
			}
		}
	}
	return nil
}

// index checks an index that is open, or can be, against the ids in the files: it
// must hold them at their places, and nothing else, since it would call a row that
// it alone knows a duplicate.
func (v *verifier) index(ctx context.Context) error {
	if v.l.opt.ReadOnly {
		return nil
	}
	v.l.writeMu.Lock()
	defer v.l.writeMu.Unlock()
	ix, err := v.l.index(ctx)
	if err != nil || !ix.Persistent() {
		return err
	}
	gone, err := v.l.goneIDs(ctx)
	if err != nil {
		return err
	}
	for _, t := range schema.Tables() {
		if err := v.l.syncIndex(ctx, ix, t, v.s.states[t.Name]); err != nil {
			if _, own := errors.AsType[*indexError](err); own {
				v.problem(ProblemIndex, v.l.indexDir(), "%v", err)
				return nil
			}
			if fault.Is(err, fault.Corrupt) && len(v.r.Problems) > 0 {
				return nil // of damage that is reported already
			}
			return err
		}
	}
	exact := gone == nil // nothing in it may be more than what was read
	for _, t := range schema.Tables() {
		if _, ok := namespaces[t.Name]; ok {
			m, err := ix.Mark(t.Name)
			exact = exact && err == nil && m.NextSeq == v.s.Count(t)
		}
	}
	found := 0
	err = ix.Each(func(it index.Item) bool {
		seq, ok := v.ids[it.Key]
		switch {
		case ok && seq == it.Entry.Seq:
			found++
		case ok:
			v.problem(ProblemIndex, v.l.indexDir(), "the row at place %d is indexed at %d", seq, it.Entry.Seq)
		case exact:
			v.problem(ProblemIndex, v.l.indexDir(), "it holds a row at place %d of version %d that the lake has not", it.Entry.Seq, it.Entry.Version)
		}
		return ctx.Err() == nil
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		v.problem(ProblemIndex, v.l.indexDir(), "%v", err)
		return nil
	}
	if found < len(v.ids) {
		v.problem(ProblemIndex, v.l.indexDir(), "%d of %d rows are not in it", len(v.ids)-found, len(v.ids))
	}
	return nil
}
