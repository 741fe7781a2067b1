package store

import (
	"context"
	"slices"
	"sort"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"golang.org/x/sync/errgroup"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store/datafile"
	"trajlake/store/delta"
)

// Gather fetches trajectories by their places, in the order asked for, with
// columns named as in Scan. A place may be asked for twice. Places that are not
// in the snapshot are fault.NotFound, those of deleted rows fault.Gone.
func (s *Snapshot) Gather(ctx context.Context, seqs []int64, columns []string) (arrow.Record, error) {
	pl, err := s.plan(ctx, ScanOptions{Columns: columns})
	if err != nil {
		return nil, err
	}
	order := make([]int, len(seqs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case seqs[a] < seqs[b]:
			return -1
		case seqs[a] > seqs[b]:
			return 1
		}
		return 0
	})
	var parts []gathering
	for lo := 0; lo < len(order); {
		seq := seqs[order[lo]]
		p, ok := s.partOf(seq)
		if !ok {
			if seq >= 0 && seq < s.Count(schema.Trajectories) {
				return nil, fault.New(fault.Gone, "gather rows", "the row with the place %d was deleted", seq)
			}
			return nil, fault.New(fault.NotFound, "gather rows", "no row of %s has the place %d", s, seq)
		}
		g := gathering{p: p}
		for ; lo < len(order) && pl.inPart(p, seqs[order[lo]]); lo++ {
			g.seqs = append(g.seqs, seqs[order[lo]])
		}
		parts = append(parts, g)
	}
	if len(parts) == 0 {
		return pl.empty()
	}
	var recs []arrow.Record
	for len(parts) > 0 {
		n := min(len(parts), gatherFiles)
		rec, err := pl.gatherParts(ctx, parts[:n])
		if err != nil {
			return nil, err
		}
		recs, parts = append(recs, rec), parts[n:]
	}
	rec, err := datafile.Concat(recs)
	if err != nil {
		return nil, err
	}
	back := make([]int, len(order))
	inOrder := true
	for i, o := range order {
		back[o] = i
		inOrder = inOrder && i == o
	}
	if inOrder {
		return rec, nil
	}
	return datafile.GatherRecord(rec, back)
}

// gathering is the places that are wanted of one file, ascending.
type gathering struct {
	p    part
	seqs []int64
	// Of the open file:
	file *datafile.File
	done func()
	rows []int64
}

const (
	gatherers   = 8   // files opened at a time: over a network waits count
	gatherFiles = 256 // files of one pass, which are open until it ends
)

// gatherParts fetches the places of some files, all of one after the other's.
func (pl *plan) gatherParts(ctx context.Context, parts []gathering) (arrow.Record, error) {
	defer func() {
		for i := range parts {
			if parts[i].done != nil {
				parts[i].done()
			}
		}
	}()
	e, opening := errgroup.WithContext(ctx)
	e.SetLimit(gatherers)
	for i := range parts {
		g := &parts[i]
		if len(parts) == 1 {
			if err := pl.open(ctx, g); err != nil {
				return nil, err
			}
			break
		}
		e.Go(func() error { return pl.open(opening, g) })
	}
	if err := e.Wait(); err != nil {
		return nil, err
	}
	phys := pl.phys
	if slices.ContainsFunc(parts, func(g gathering) bool { return g.p.file.PlacesColumns }) {
		phys = slices.Concat(phys, []string{"row_version"})
	} else if len(phys) == 0 {
		phys = []string{"trajectory_id"}
	}
	picks := make([]datafile.Pick, len(parts))
	for i, g := range parts {
		picks[i] = datafile.Pick{File: g.file, Rows: g.rows}
	}
	rec, err := datafile.Gather(ctx, picks, phys)
	if err != nil {
		return nil, fault.Wrap("gather rows", err)
	}
	var seqs, versions []int64
	for _, g := range parts {
		at := len(seqs)
		seqs = append(seqs, g.seqs...)
		if g.p.file.PlacesColumns {
			col := array.NewSlice(rec.Column(len(pl.phys)), int64(at), int64(len(seqs)))
			own, err := longs(col, g.p, "row_version")
			if err != nil {
				return nil, err
			}
			versions = append(versions, own...)
			continue
		}
		for range g.seqs {
			versions = append(versions, g.p.file.Version)
		}
	}
	return pl.serve(placed{project(rec, len(pl.phys)), seqs, versions}, pl.phys, pl.columns)
}

// empty is a record of no rows with the plan's columns.
func (pl *plan) empty() (arrow.Record, error) {
	cols := make([]*schema.Column, len(pl.phys))
	for i, name := range pl.phys {
		cols[i] = pl.table.Column(name)
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema.ArrowSchema(cols))
	defer b.Release()
	rec := b.NewRecord() // arrays without buffers, which MakeArrayOfNull gives, cannot be sent
	return pl.serve(placed{rec: rec}, pl.phys, pl.columns)
}

// partOf finds the data file that holds a place.
func (s *Snapshot) partOf(seq int64) (part, bool) {
	limit := s.vector[schema.Trajectories.Name].NextSeq
	if seq < 0 || seq >= limit {
		return part{}, false
	}
	// Files stand by their first place and do not overlap: compaction takes
	// neighbours together.
	files := s.bySeq()
	i := sort.Search(len(files), func(i int) bool { return files[i].FirstSeq > seq }) - 1
	if i < 0 {
		return part{}, false
	}
	last, ok := lastSeq(files[i])
	return part{schema.Trajectories, files[i], limit}, ok && seq <= last
}

// inPart reports whether p holds a place that is at least its first one.
func (pl *plan) inPart(p part, seq int64) bool {
	last, ok := lastSeq(p.file)
	return ok && seq <= last && seq < p.limit
}

// open opens a file and finds the rows of its places.
func (pl *plan) open(ctx context.Context, g *gathering) (err error) {
	l := pl.s.lake
	g.rows = make([]int64, len(g.seqs))
	if dense(g.p.file) {
		for i, s := range g.seqs {
			g.rows[i] = s - g.p.file.FirstSeq
		}
	} else {
		all, err := l.places(ctx, g.p)
		if err != nil {
			return err
		}
		for i, s := range g.seqs {
			r, ok := slices.BinarySearch(all, s)
			if !ok {
				return fault.New(fault.Gone, "gather rows", "the row with the place %d was deleted", s)
			}
			g.rows[i] = int64(r)
		}
	}
	g.file, g.done, err = l.files.open(ctx, g.p)
	return err
}

// quote is id as a string literal of a predicate.
func quote(id string) string { return "'" + strings.ReplaceAll(id, "'", "''") + "'" }

// bySeq lists the files of trajectories by their first place.
func (s *Snapshot) bySeq() []*delta.File {
	s.sortOnce.Do(func() { s.sorted = slices.Collect(s.states[schema.Trajectories.Name].Files.All()) })
	return s.sorted
}

// rawColumns are the stored columns of a trajectory, the reward as the row has it.
func rawColumns() []string {
	var out []string
	for _, c := range schema.Trajectories.Columns {
		name := c.Name
		if name == "reward" {
			name = colRewardRaw
		}
		out = append(out, name)
	}
	return out
}

// Row fetches one trajectory by its place, as it was stored.
func (s *Snapshot) Row(ctx context.Context, seq int64) (*schema.Trajectory, error) {
	rec, err := s.Gather(ctx, []int64{seq}, rawColumns())
	if err != nil {
		return nil, err
	}
	return RawRow(rec, 0)
}

// Rows yields the trajectories that a predicate selects, as they were stored, in
// log order.
func (s *Snapshot) Rows(ctx context.Context, pred *where.Expr) func(yield func(*schema.Trajectory, error) bool) {
	return func(yield func(*schema.Trajectory, error) bool) {
		for rec, err := range s.Scan(ctx, ScanOptions{Columns: rawColumns(), Where: pred}) {
			if err != nil {
				yield(nil, err)
				return
			}
			rows, err := newRawReader(rec.Schema())
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range int(rec.NumRows()) {
				row, err := rows.row(rec, i)
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}
