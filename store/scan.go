package store

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store/datafile"
)

// ScanOptions say what Scan reads; the zero value is every stored column of every
// trajectory.
type ScanOptions struct {
	Table *schema.Table // nil = trajectories
	// Columns of the records, in this order; nil = all of the table. For
	// trajectories the names mean the folded view: reward is the newest
	// trajectory-level reward annotation's value if there is one, reward_raw the
	// row's own; priority, advantage and quarantined come from annotations.
	Columns  []string
	Where    *where.Expr // nil = all rows
	From, To int64       // places; To 0 = all of the snapshot
	MaxBytes int64       // of one record, about; 0 = 2 MB
	Stats    *ScanStats  // filled in while scanning, if not nil

	ids []string // of Lookup: files whose bloom filter holds none of them are passed over
}

// ScanStats tells what a scan touched.
type ScanStats struct {
	Files, FilesPruned int64
	Rows, RowsSelected int64 // read for the predicate, and selected
}

// Columns of the folded view that no file holds.
const (
	colRewardRaw   = "reward_raw"
	colPriority    = "priority"
	colAdvantage   = "advantage"
	colQuarantined = "quarantined"
)

// plan is a scan made ready: names resolved, predicate bound.
type plan struct {
	s       *Snapshot
	table   *schema.Table
	columns []string // asked for
	phys    []string // to be read from files for the columns
	bound   *where.Bound
	filter  []string // asked for by the predicate
	fold    *view
	opt     ScanOptions
}

// Scan yields the rows of the snapshot in log order, as records of about
// MaxBytes. After an error the sequence ends. Records hold memory of the
// collector's; releasing them is allowed and not needed.
func (s *Snapshot) Scan(ctx context.Context, o ScanOptions) iter.Seq2[arrow.Record, error] {
	return func(yield func(arrow.Record, error) bool) {
		pl, err := s.plan(ctx, o)
		if err != nil {
			yield(nil, err)
			return
		}
		for p := range s.parts(pl.table) {
			if !pl.scanPart(ctx, p, yield) {
				return
			}
		}
	}
}

// plan resolves names and binds the predicate.
func (s *Snapshot) plan(ctx context.Context, o ScanOptions) (*plan, error) {
	pl := &plan{s: s, table: o.Table, columns: o.Columns, opt: o}
	if pl.table == nil {
		pl.table = schema.Trajectories
	}
	known := pl.table.Columns
	if pl.table == schema.Trajectories {
		known = where.FoldedColumns()
	}
	if pl.columns == nil {
		for _, c := range pl.table.Columns {
			pl.columns = append(pl.columns, c.Name)
		}
	}
	for _, name := range pl.columns {
		if !slices.ContainsFunc(known, func(c *schema.Column) bool { return c.Name == name }) {
			return nil, fault.New(fault.Usage, "scan "+pl.table.Name, "there is no column %q", name).
				WithField(name).WithHint("columns: %s", names(known))
		}
	}
	if o.Where != nil {
		b, err := o.Where.Bind(known)
		if err != nil {
			return nil, err
		}
		pl.bound, pl.filter = b, o.Where.Columns()
	}
	if pl.table == schema.Trajectories {
		v, err := s.fold(ctx)
		if err != nil {
			return nil, err
		}
		pl.fold = v
	}
	pl.phys = pl.physical(pl.columns)
	return pl, nil
}

func names(cols []*schema.Column) string {
	var out []string
	for _, c := range cols {
		out = append(out, c.Name)
	}
	return strings.Join(out, ", ")
}

// physical lists the stored columns that are needed to serve columns.
func (pl *plan) physical(columns []string) []string {
	var out []string
	add := func(name string) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, name := range columns {
		switch name {
		case "row_seq", "row_version":
		case colRewardRaw:
			add("reward")
		case "reward":
			add("reward")
			if pl.fold.any(noteReward) {
				add("trajectory_id")
			}
		case colPriority:
			if pl.fold.any(notePriority) {
				add("trajectory_id")
			}
		case colAdvantage:
			if pl.fold.any(noteAdvantage) {
				add("trajectory_id")
			}
		case colQuarantined:
			if pl.fold.any(noteQuarantine) {
				add("trajectory_id")
				for _, f := range families {
					add(f.column)
				}
			}
		default:
			add(name)
		}
	}
	return out
}

// scanPart yields what one file holds; false ends the scan.
func (pl *plan) scanPart(ctx context.Context, p part, yield func(arrow.Record, error) bool) bool {
	l := pl.s.lake
	count := func(n *int64, by int64) {
		if pl.opt.Stats != nil {
			*n += by
		}
	}
	st := pl.opt.Stats
	if st == nil {
		st = &ScanStats{}
	}
	count(&st.Files, 1)
	if pl.opt.To > 0 {
		p.limit = min(p.limit, pl.opt.To)
	}
	if pl.bound != nil && pl.bound.Stats(pl.fileStats(p)) == where.Never {
		count(&st.FilesPruned, 1)
		return true
	}
	if last, ok := lastSeq(p.file); ok && last < pl.opt.From {
		return true
	}
	if pl.opt.ids != nil {
		may, err := pl.mightHold(ctx, p)
		if err != nil {
			yield(nil, err)
			return false
		}
		if !may {
			count(&st.FilesPruned, 1)
			return true
		}
	}
	rows, err := l.rowsOf(ctx, p, pl.opt.From)
	if err == nil && pl.bound != nil && len(rows) > 0 {
		rows, err = pl.selectRows(ctx, p, rows, st)
	}
	if err != nil {
		yield(nil, err)
		return false
	}
	for r, err := range l.readRows(ctx, p, pl.phys, rows) {
		var rec arrow.Record
		if err == nil {
			rec, err = pl.serve(r, pl.phys, pl.columns)
		}
		if !yield(rec, err) || err != nil {
			return false
		}
	}
	return true
}

// selectRows evaluates the predicate over its own columns and keeps the rows
// for which it is true.
func (pl *plan) selectRows(ctx context.Context, p part, rows []datafile.Range, st *ScanStats) ([]datafile.Range, error) {
	phys := pl.physical(pl.filter)
	rows, err := pl.prunePages(ctx, p, rows)
	if err != nil {
		return nil, err
	}
	at := cursor{rows: rows}
	var out []datafile.Range
	for r, err := range pl.s.lake.readRows(ctx, p, phys, rows) {
		if err != nil {
			return nil, err
		}
		rec, err := pl.serve(r, phys, pl.filter)
		if err != nil {
			return nil, err
		}
		mask, err := pl.bound.Filter(rec)
		if err != nil {
			return nil, err
		}
		if pl.opt.Stats != nil {
			st.Rows += int64(len(r.seqs))
			st.RowsSelected += int64(mask.Count())
		}
		for i := range r.seqs {
			row := at.next()
			if !mask.Selected(i) {
				continue
			}
			if n := len(out); n > 0 && out[n-1].To == row {
				out[n-1].To++
			} else {
				out = append(out, datafile.Range{From: row, To: row + 1})
			}
		}
	}
	return out, nil
}

// serve makes the columns asked for from the stored ones in r.
func (pl *plan) serve(r placed, phys, columns []string) (arrow.Record, error) {
	fields := make([]arrow.Field, len(columns))
	cols := make([]arrow.Array, len(columns))
	stored := func(name string) arrow.Array {
		i := slices.Index(phys, name)
		if i < 0 {
			return nil
		}
		return r.rec.Column(i)
	}
	n := len(r.seqs)
	ids, _ := stored("trajectory_id").(*array.String)
	k := &keyed{v: pl.fold, ids: ids, seqs: r.seqs}
	for i, name := range columns {
		switch name {
		case "row_seq":
			cols[i] = int64Array(r.seqs)
		case "row_version":
			cols[i] = int64Array(r.versions)
		case colRewardRaw:
			cols[i] = stored("reward")
		case "reward":
			cols[i] = stored("reward")
			if pl.fold.any(noteReward) {
				cols[i] = pl.overlay(k, cols[i], noteReward, n)
			}
		case colPriority:
			cols[i] = pl.overlay(k, nil, notePriority, n)
		case colAdvantage:
			cols[i] = pl.overlay(k, nil, noteAdvantage, n)
		case colQuarantined:
			cols[i] = pl.quarantined(k, stored, n)
		default:
			cols[i] = stored(name)
		}
		if cols[i] == nil {
			return nil, fault.New(fault.Internal, "scan", "column %s was not read", name)
		}
		fields[i] = arrow.Field{Name: name, Type: cols[i].DataType(), Nullable: true}
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), cols, int64(n)), nil
}

func int64Array(v []int64) arrow.Array {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	b.AppendValues(v, nil)
	return b.NewInt64Array()
}

// Frame reads columns of all rows, one or more records for each data file, in
// log order.
func (s *Snapshot) Frame(ctx context.Context, columns []string) ([]arrow.Record, error) {
	var out []arrow.Record
	for rec, err := range s.Scan(ctx, ScanOptions{Columns: columns}) {
		if err != nil {
			return nil, fmt.Errorf("read columns %s: %w", strings.Join(columns, ", "), err)
		}
		out = append(out, rec)
	}
	return out, nil
}
