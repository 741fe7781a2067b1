package replay

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// LedgerFilter says which rows of the ledger are wanted; what is zero lets all through.
type LedgerFilter struct {
	Stream     string
	Run        string
	Step       *int64
	Trajectory string // id: rows whose batches hold it
	Batch      string // batch_id
	Kind       string // LedgerConsumed, …
	At         string // version or token; "" = the head
	Superseded bool   // also what a later incarnation or a rollback put out of force, marked
}

// LedgerLine is one row of the ledger.
type LedgerLine struct {
	Kind          string    `json:"kind"`
	Stream        string    `json:"stream"`
	Run           string    `json:"run,omitempty"`
	Step          *int64    `json:"step"`
	Rank          *int32    `json:"rank"`
	World         *int32    `json:"world,omitempty"`
	Incarnation   *int64    `json:"incarnation,omitempty"`
	Position      int64     `json:"position"`
	Count         int64     `json:"count,omitempty"` // positions, of a claim
	BatchID       string    `json:"batch_id,omitempty"`
	Version       int64     `json:"version"` // of trajectories in the snapshot drawn from
	Snapshot      string    `json:"snapshot"`
	SpecHash      string    `json:"spec_hash"`
	PolicyVersion *int64    `json:"policy_version,omitempty"`
	TrajectoryIDs []string  `json:"trajectory_ids"`
	RowSeqs       []int64   `json:"row_seqs,omitempty"`
	Inclusion     []float64 `json:"inclusion,omitempty"`
	Staleness     []int64   `json:"staleness,omitempty"`
	Reason        string    `json:"reason,omitempty"` // of a nack or a refusal
	Superseded    bool      `json:"superseded,omitempty"`
	Node          string    `json:"node,omitempty"`
	At            time.Time `json:"at"`
	Seq           int64     `json:"row_seq"` // its place in the ledger
}

// Ledger yields rows of the ledger in the order in which they were written. What was
// acked twice comes once. A consumed row is left out when its rank later went on,
// in a greater incarnation, from the same or an earlier step, or when the run was
// rolled back to such a step: the work of that row was undone. An error is yielded
// once, last.
func (e *Engine) Ledger(ctx context.Context, f LedgerFilter) iter.Seq2[LedgerLine, error] {
	return func(yield func(LedgerLine, error) bool) {
		if err := e.readLedger(ctx, f, func(l LedgerLine) bool { return yield(l, nil) }); err != nil {
			yield(LedgerLine{}, fault.Wrap("read the ledger", err))
		}
	}
}

// readLedger calls show for every row; false ends it.
func (e *Engine) readLedger(ctx context.Context, f LedgerFilter, show func(LedgerLine) bool) error {
	snap, err := e.lake.At(ctx, f.At)
	if err != nil {
		return err
	}
	seq := int64(-1)
	if f.Trajectory != "" {
		if seq, err = placeOf(ctx, snap, f.Trajectory); err != nil {
			return err
		}
	}
	past, err := e.readHistory(ctx, snap, f)
	if err != nil {
		return err
	}
	expr, err := f.predicate()
	if err != nil {
		return err
	}
	for rec, err := range snap.Scan(ctx, store.ScanOptions{Table: schema.Ledger, Where: expr}) {
		if err != nil {
			return err
		}
		rows, err := schema.NewRowReader[schema.LedgerEntry](rec.Schema())
		if err != nil {
			return err
		}
		for i := range int(rec.NumRows()) {
			row, err := rows.Row(rec, i)
			if err != nil {
				return fault.WrapAs(fault.Corrupt, "", err)
			}
			if f.Trajectory != "" && !slices.Contains(row.TrajectoryIDs, f.Trajectory) && (seq < 0 || !slices.Contains(row.RowSeqs, seq)) {
				continue
			}
			line := ledgerLineOf(row)
			if line.Snapshot != "" {
				if line.Version, err = e.lake.VersionOf(line.Snapshot); err != nil {
					return fault.WrapAs(fault.Corrupt, fmt.Sprintf("row %d", line.Seq), err)
				}
			}
			line.Superseded = past.supersedes(row)
			if line.Superseded && !f.Superseded || past.repeats(row) {
				continue
			}
			if !show(line) {
				return nil
			}
		}
	}
	return nil
}

// predicate is the part of the filter that the store evaluates.
func (f LedgerFilter) predicate() (*where.Expr, error) {
	var parts []string
	for _, p := range []struct{ column, value string }{{"stream", f.Stream}, {"run", f.Run}, {"batch_id", f.Batch}, {"kind", f.Kind}} {
		if p.value != "" {
			parts = append(parts, p.column+" = "+quote(p.value))
		}
	}
	if f.Step != nil {
		parts = append(parts, fmt.Sprintf("step = %d", *f.Step), "kind <> 'claim'")
	}
	if len(parts) == 0 {
		return nil, nil
	}
	return where.Parse(strings.Join(parts, " and "))
}

// quote writes a text as a literal of the grammar of predicates.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// placeOf is the place of a trajectory, −1 where the lake does not have it (any
// more): rows that hold its id are found all the same.
func placeOf(ctx context.Context, snap *store.Snapshot, id string) (int64, error) {
	expr, err := where.Parse("trajectory_id = " + quote(id))
	if err != nil {
		return -1, err
	}
	for rec, err := range snap.Scan(ctx, store.ScanOptions{Columns: []string{"row_seq"}, Where: expr}) {
		if err != nil {
			return -1, err
		}
		if rec.NumRows() > 0 {
			return frameOf(rec).long("row_seq", 0), nil
		}
	}
	return -1, nil
}

func ledgerLineOf(r *schema.LedgerEntry) LedgerLine {
	l := LedgerLine{Kind: deref(r.Kind), Stream: deref(r.Stream), Run: deref(r.Run), Step: r.Step, Rank: r.Rank, World: r.World, Incarnation: r.Incarnation,
		Position: deref(r.First), BatchID: deref(r.BatchID), Snapshot: deref(r.Snapshot), SpecHash: deref(r.SpecHash), PolicyVersion: r.PolicyVersion,
		TrajectoryIDs: r.TrajectoryIDs, RowSeqs: r.RowSeqs, Inclusion: r.Inclusion, Staleness: r.Staleness, Node: deref(r.Node), Seq: deref(r.RowSeq)}
	if l.TrajectoryIDs == nil {
		l.TrajectoryIDs = []string{}
	}
	switch l.Kind {
	case LedgerClaim:
		l.Count = deref(r.Count)
	case LedgerNack, LedgerRefused:
		l.Reason = reasonOf(deref(r.Carry))
	}
	if r.At != nil {
		l.At = r.At.Time()
	}
	return l
}

func deref[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}

// rankKey names a rank of a run of a stream.
type rankKey struct {
	stream, run string
	rank        int32
}

// history is what decides which consumed rows count.
type history struct {
	runs  map[chainKey]*runJSON
	first map[rankKey]map[int64]int64 // the least step that each incarnation consumed
	seen  map[rankKey]*repeats
}

// repeats finds rows that say again what an earlier one said. Acks are repeated
// soon, so that it remembers the last steps only.
type repeats struct {
	keys  map[[16]byte]bool
	order [][16]byte
}

const repeatWindow = 4096

// readHistory reads the steps that incarnations began with, where there was more
// than one.
func (e *Engine) readHistory(ctx context.Context, snap *store.Snapshot, f LedgerFilter) (*history, error) {
	h := &history{runs: map[chainKey]*runJSON{}, first: map[rankKey]map[int64]int64{}, seen: map[rankKey]*repeats{}}
	expr, err := LedgerFilter{Stream: f.Stream, Run: f.Run, Kind: LedgerConsumed}.predicate()
	if err != nil {
		return nil, err
	}
	columns := []string{"stream", "run", "incarnation", "step", "rank"}
	for rec, err := range snap.Scan(ctx, store.ScanOptions{Table: schema.Ledger, Columns: columns, Where: expr}) {
		if err != nil {
			return nil, err
		}
		rows, err := schema.NewRowReader[schema.LedgerEntry](rec.Schema())
		if err != nil {
			return nil, err
		}
		for i := range int(rec.NumRows()) {
			row, err := rows.Row(rec, i)
			if err != nil {
				return nil, fault.WrapAs(fault.Corrupt, "", err)
			}
			k := keyOf(row)
			if h.first[k] == nil {
				h.first[k] = map[int64]int64{}
			}
			least, ok := h.first[k][deref(row.Incarnation)]
			if step := deref(row.Step); !ok || step < least {
				h.first[k][deref(row.Incarnation)] = step
			}
			h.runs[chainKey{k.stream, k.run}] = nil
		}
	}
	for k := range h.runs {
		if h.runs[k], err = e.runState(ctx, k.stream, k.run); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func keyOf(r *schema.LedgerEntry) rankKey {
	return rankKey{deref(r.Stream), deref(r.Run), deref(r.Rank)}
}

// supersedes reports whether a consumed row was put out of force.
func (h *history) supersedes(r *schema.LedgerEntry) bool {
	if deref(r.Kind) != LedgerConsumed {
		return false
	}
	k, step, mine := keyOf(r), deref(r.Step), deref(r.Incarnation)
	if h.runs[chainKey{k.stream, k.run}].rolledBack(mine, step) {
		return true
	}
	for incarnation, first := range h.first[k] {
		if incarnation > mine && first <= step {
			return true
		}
	}
	return false
}

// repeats reports whether an equal row came before; it remembers this one.
func (h *history) repeats(r *schema.LedgerEntry) bool {
	kind := deref(r.Kind)
	if kind == LedgerRefused {
		return false
	}
	k := keyOf(r)
	s := h.seen[k]
	if s == nil {
		s = &repeats{keys: map[[16]byte]bool{}}
		h.seen[k] = s
	}
	step := int64(-1)
	if r.Step != nil {
		step = *r.Step
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%d|%d|%d|%s|%d", kind, step, deref(r.World), deref(r.Incarnation), deref(r.BatchID), deref(r.First)))
	key := [16]byte(sum[:16])
	if s.keys[key] {
		return true
	}
	if len(s.order) >= repeatWindow {
		delete(s.keys, s.order[0])
		s.order = s.order[1:]
	}
	s.keys[key], s.order = true, append(s.order, key)
	return false
}
