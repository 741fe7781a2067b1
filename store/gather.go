package store

import (
	"context"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

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
	recs, err := pl.gatherParts(ctx, parts)
	if err != nil {
		return nil, err
	}
	if len(recs) == 0 {
		return pl.empty()
	}
	rec := recs[0]
	if len(recs) > 1 {
		if rec, err = datafile.Concat(recs); err != nil {
			return nil, err
		}
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
}

// gatherers is how many files are read at a time: what counts on a store across
// a network is the number of waits one after the other.
const gatherers = 8

func (pl *plan) gatherParts(ctx context.Context, parts []gathering) ([]arrow.Record, error) {
	recs := make([]arrow.Record, len(parts))
	errs := make([]error, len(parts))
	if len(parts) == 1 {
		recs[0], errs[0] = pl.gatherPart(ctx, parts[0].p, parts[0].seqs)
		return recs, errs[0]
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(gatherers, len(parts)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(parts) {
					return
				}
				recs[i], errs[i] = pl.gatherPart(ctx, parts[i].p, parts[i].seqs)
				if errs[i] != nil {
					next.Store(int64(len(parts))) // no more of it
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return recs, nil
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

// gatherPart fetches ascending places of one file.
func (pl *plan) gatherPart(ctx context.Context, p part, seqs []int64) (arrow.Record, error) {
	l := pl.s.lake
	rows := make([]int64, len(seqs))
	versions := make([]int64, len(seqs))
	if dense(p.file) {
		for i, s := range seqs {
			rows[i] = s - p.file.FirstSeq
		}
	} else {
		all, err := l.places(ctx, p)
		if err != nil {
			return nil, err
		}
		for i, s := range seqs {
			r, ok := slices.BinarySearch(all, s)
			if !ok {
				return nil, fault.New(fault.Gone, "gather rows", "the row with the place %d was deleted", s)
			}
			rows[i] = int64(r)
		}
	}
	file, done, err := l.files.open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer done()
	phys := pl.phys
	if p.file.PlacesColumns {
		phys = slices.Concat(phys, []string{"row_version"})
	} else if len(phys) == 0 {
		phys = []string{"trajectory_id"}
	}
	rec, err := file.Gather(ctx, rows, phys)
	if err != nil {
		return nil, fault.Wrap("gather rows", err)
	}
	if p.file.PlacesColumns {
		if versions, err = longs(rec.Column(len(pl.phys)), p, "row_version"); err != nil {
			return nil, err
		}
	} else {
		for i := range versions {
			versions[i] = p.file.Version
		}
	}
	return pl.serve(placed{project(rec, len(pl.phys)), seqs, versions}, pl.phys, pl.columns)
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
