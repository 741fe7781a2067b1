package store

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store/index"
)

const (
	// lookupList is up to how many ids are looked for with a predicate, so that
	// bounds of files and pages rule most of them out.
	lookupList = 256
	// lookupBloom is up to how many ids the bloom filters of files are asked for.
	lookupBloom = 16
)

// Lookup finds the places of ids; -1 where the snapshot has no such trajectory.
// Where this process has an index it answers; the rest is found by statistics,
// bloom filters and the id column of the files that are left.
func (s *Snapshot) Lookup(ctx context.Context, ids []string) ([]int64, error) {
	out := make([]int64, len(ids))
	want := map[string][]int{}
	for i, id := range ids {
		out[i] = -1
		want[id] = append(want[id], i)
	}
	from, err := s.lookupIndexed(ctx, want, out)
	if err != nil || len(want) == 0 || from >= s.Count(schema.Trajectories) {
		return out, err
	}
	o := ScanOptions{Columns: []string{"trajectory_id", "row_seq"}, From: from}
	list := make([]string, 0, len(want))
	for id := range want {
		list = append(list, id)
	}
	if sort.Strings(list); len(list) <= lookupList {
		quoted := make([]string, len(list))
		for i, id := range list {
			quoted[i] = quote(id)
		}
		if o.Where, err = where.Parse("trajectory_id IN (" + strings.Join(quoted, ", ") + ")"); err != nil {
			return nil, fault.Wrap("look up trajectories", err)
		}
	}
	if len(list) <= lookupBloom {
		o.ids = list
	}
	for rec, err := range s.Scan(ctx, o) {
		if err != nil {
			return nil, err
		}
		names, seqs, err := idColumns(rec)
		if err != nil {
			return nil, err
		}
		for i := range seqs {
			for _, at := range want[names.Value(i)] {
				out[at] = seqs[i]
			}
		}
	}
	return out, nil
}

// lookupIndexed fills in what the index knows, if one is open, takes it out of
// want, and tells from which place on the index knows nothing. It never opens an
// index and never fails for one.
func (s *Snapshot) lookupIndexed(ctx context.Context, want map[string][]int, out []int64) (from int64, err error) {
	l := s.lake
	l.ids.mu.Lock()
	ix := l.ids.ix
	l.ids.mu.Unlock()
	if ix == nil || len(want) == 0 {
		return 0, nil
	}
	gone, err := l.goneIDs(ctx) // the index keeps the ids of deleted rows
	if err != nil {
		return 0, err
	}
	for id := range want {
		if gone.has(id) {
			return 0, nil
		}
	}
	list := make([]string, 0, len(want))
	keys := make([]index.Key, 0, len(want))
	for id := range want {
		list = append(list, id)
		keys = append(keys, index.KeyOf(index.Trajectory, id))
	}
	m, err := ix.Mark(schema.Trajectories.Name) // before the look-up: it may grow meanwhile
	if err != nil {
		return 0, nil
	}
	found, err := ix.Lookup(keys)
	if err != nil {
		return 0, nil
	}
	limit := s.Count(schema.Trajectories)
	for i, e := range found {
		if e.Seq < 0 || e.Seq >= limit {
			continue
		}
		for _, at := range want[list[i]] {
			out[at] = e.Seq
		}
		delete(want, list[i])
	}
	return m.NextSeq, nil
}

// mightHold asks the bloom filter of a file for ids; true if it has none.
func (pl *plan) mightHold(ctx context.Context, p part) (bool, error) {
	file, done, err := pl.s.lake.files.open(ctx, p)
	if err != nil {
		return false, err
	}
	defer done()
	for _, id := range pl.opt.ids {
		if may, err := file.MightHold("trajectory_id", id); may || err != nil {
			return may, err
		}
	}
	return false, nil
}

// getRows is how many whole trajectories are fetched at a time.
const getRows = 32

// Get fetches whole trajectories as they were stored, with row_version and
// row_seq filled in; nil where the snapshot has no such id.
func (s *Snapshot) Get(ctx context.Context, ids []string) ([]*schema.Trajectory, error) {
	seqs, err := s.Lookup(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]*schema.Trajectory, len(ids))
	var at []int
	for i, seq := range seqs {
		if seq >= 0 {
			at = append(at, i)
		}
	}
	for chunk := range slices.Chunk(at, getRows) {
		places := make([]int64, len(chunk))
		for k, i := range chunk {
			places[k] = seqs[i]
		}
		op := fmt.Sprintf("get trajectory %s", ids[chunk[0]])
		if len(chunk) > 1 {
			op = fmt.Sprintf("get %d trajectories", len(chunk))
		}
		rec, err := s.Gather(ctx, places, rawColumns())
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		rows, err := newRawReader(rec.Schema())
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		for k, i := range chunk {
			if out[i], err = rows.row(rec, k); err != nil {
				return nil, fault.Wrap(op, err)
			}
		}
	}
	return out, nil
}
