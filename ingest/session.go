package ingest

import (
	"context"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
	"trajlake/store"
)

// Item is one row as it was handed in.
type Item struct {
	Row *schema.Trajectory
	// Sum is the SHA-256 of the source record's canonical bytes, from which the
	// source digest is taken; nil means a native row, whose own canonical form is
	// used.
	Sum []byte
	// Fault, when set, says why the record is rejected; Row is then not looked at.
	Fault error
}

// Session is one writer's or one file's sequence of rows: equal rows without an
// id (twins) are numbered over its life, in the order handed in. Its Append
// calls are taken one after the other.
type Session struct {
	g    *Ingester
	mu   sync.Mutex
	seen map[[16]byte]int64
}

// Session starts a session. seen, which may be nil, carries the counts of a
// broken session on: how many rows of each source digest (hex) it had
// acknowledged, so that rows sent again get the numbers they had.
func (g *Ingester) Session(seen map[string]int64) (*Session, error) {
	s := &Session{g: g, seen: map[[16]byte]int64{}}
	for text, n := range seen {
		d, err := hex.DecodeString(text)
		if err != nil || len(d) != 32 || n < 0 {
			return nil, fault.New(fault.Usage, "resume session", "%q is not the hex form of a source digest", text)
		}
		s.seen[[16]byte(d)] = n
	}
	return s, nil
}

// Append hands in one call's rows; twins are numbered within the call. See
// Session.Append.
func (g *Ingester) Append(ctx context.Context, items []Item) ([]store.Receipt, error) {
	s := &Session{g: g, seen: map[[16]byte]int64{}}
	return s.Append(ctx, items)
}

// Append gives one receipt for each item, in order: committed at a version,
// duplicate, or rejected with the reason. An error is about the call: nothing
// of it is known to be committed, and sending all of it again is safe.
func (s *Session) Append(ctx context.Context, items []Item) ([]store.Receipt, error) {
	receipts, rows, at, bytes, err := s.prepare(ctx, items)
	if err != nil || len(rows) == 0 {
		return receipts, err
	}
	got, err := s.g.commit(ctx, rows, bytes)
	if err != nil {
		return nil, err
	}
	for i, r := range got {
		r.Digest = receipts[at[i]].Digest
		receipts[at[i]] = r
	}
	return receipts, nil
}

// prepare validates items, gives them identity and digests, and returns the
// rows to commit with their positions in items.
func (s *Session) prepare(ctx context.Context, items []Item) (receipts []store.Receipt, rows []*schema.Trajectory, at []int, bytes int64, err error) {
	sizes := make([]int64, len(items))
	errs := make([]error, len(items))
	salt := s.g.lake.Salt()
	each(len(items), func(i int) { sizes[i], errs[i] = s.g.prepareRow(ctx, &items[i], salt) })
	receipts = make([]store.Receipt, len(items))
	s.mu.Lock()
	for i := range items {
		it := &items[i]
		if err := errs[i]; err != nil {
			if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Conflict) {
				s.mu.Unlock()
				return nil, nil, nil, 0, err
			}
			receipts[i] = store.Receipt{Status: store.Rejected, Err: err}
			if it.Row != nil {
				receipts[i].ID = it.Row.TrajectoryID
			}
			continue
		}
		receipts[i].Digest = it.Row.SourceDigest
		if it.Row.TrajectoryID == "" {
			key := [16]byte(it.Row.SourceDigest)
			n := s.seen[key]
			it.Row.TrajectoryID = derivedID(it.Row, n)
			s.seen[key]++
			if n > 0 { // its hash was taken with the id of the first
				it.Row.ContentHash = schema.ContentHash(it.Row)
			}
		}
		rows = append(rows, it.Row)
		at = append(at, i)
		bytes += sizes[i]
	}
	s.mu.Unlock()
	return receipts, rows, at, bytes, nil
}

// each runs fn for 0 … n-1, on all processors when n is worth it, and returns
// when all have ended.
func each(n int, fn func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n/16)
	if workers < 2 {
		for i := range n {
			fn(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				fn(i)
			}
		})
	}
	wg.Wait()
}

// prepareRow does for one row all that does not depend on its neighbours. The
// source digest is taken first, from what was handed in. The content hash of a
// row without an id is that of the first of its twins.
func (g *Ingester) prepareRow(ctx context.Context, it *Item, salt [32]byte) (size int64, err error) {
	const op = "append row"
	if it.Fault != nil {
		return 0, fault.WrapAs(fault.Invalid, "", it.Fault)
	}
	d := g.digesters.Get().(*schema.Digester)
	defer g.digesters.Put(d)
	row := it.Row
	if row == nil {
		return 0, fault.New(fault.Invalid, op, "no row")
	}
	if faults := schema.Validate(row, g.opt.Limits); len(faults) > 0 {
		return 0, faults.Err(op)
	}
	sum := it.Sum
	if sum == nil {
		native := d.NativeSum(row)
		sum = native[:]
		it.Sum = sum // a call sent again must not take the digest of the row as it is now
	}
	row.SourceDigest = canon.DigestOfSum(salt, [32]byte(sum))
	row.RowVersion, row.RowSeq, row.IngestedAt = nil, nil, nil
	media, err := g.moveMedia(ctx, row)
	if err != nil {
		return 0, err
	}
	oversized, err := g.moveOversized(ctx, row)
	if err != nil {
		return 0, err
	}
	if media || oversized {
		d.Forget() // the turns are not those that were handed in
	}
	schema.Derive(row) // fills columns beside turns and tokens only
	now := schema.TimeOf(time.Now())
	row.IngestedAt = &now
	if row.TrajectoryID == "" { // most likely the first of its twins
		row.TrajectoryID = derivedID(row, 0)
		defer func() { row.TrajectoryID = "" }()
	}
	row.ContentHash = d.ContentHash(row)
	return rowBytes(row), nil
}

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// derivedID is the id of a row whose source guarantees none: its format and
// half of its source digest, and for the n-th further twin "-n".
func derivedID(row *schema.Trajectory, twin int64) string {
	format := "native"
	if row.Source != nil && row.Source.Format != nil && *row.Source.Format != "" {
		format = *row.Source.Format
	}
	id := strings.ReplaceAll(format, "/", "-") + "-" + idEncoding.EncodeToString(row.SourceDigest[:16])
	if twin > 0 {
		id = fmt.Sprintf("%s-%d", id, twin)
	}
	return id
}

// rowBytes estimates the memory that a row holds, from its variable parts.
func rowBytes(row *schema.Trajectory) int64 {
	n := int64(1024) + int64(len(row.TokenIDs))*9
	for i := range row.Turns {
		t := &row.Turns[i]
		n += 512 + textBytes(t.Text) + textBytes(t.Thinking) + textBytes(t.Extra)
		for j := range t.Blocks {
			n += 128 + textBytes(t.Blocks[j].Text) + textBytes(t.Blocks[j].Extra)
		}
		for j := range t.ToolCalls {
			n += 192 + textBytes(t.ToolCalls[j].ArgsRaw) + textBytes(t.ToolCalls[j].Result)
		}
	}
	for k, v := range row.Metadata {
		n += int64(len(k) + len(v))
	}
	return n + textBytes(row.Extra)
}

func textBytes(s *string) int64 {
	if s == nil {
		return 0
	}
	return int64(len(*s))
}
