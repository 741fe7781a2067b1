package replay

import (
	"context"
	"math"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/replay/facts"
	"trajlake/replay/law"
	"trajlake/schema/fault"
)

// Columns that a batch has beside those of trajectories.
const (
	ColSlot        = "slot"                  // int32: the unit's place in the batch, from 0
	ColStratum     = "stratum"               // string
	ColInclusion   = "inclusion_probability" // double
	ColImportance  = "importance_weight"     // double: greatest of the batch is 1, see the spec's beta
	ColEligible    = "eligible"              // boolean: false for members that a group brings along
	ColVersions    = "staleness_versions"    // int64: ages of the row's oldest span; null where not known
	ColSteps       = "staleness_steps"       // int64
	ColSeconds     = "staleness_seconds"     // double
	ColUses        = "use_count"             // int32: how often the run has drawn the row before; null where nobody counts
	ColRolloutRows = "rollout_rows"          // int32: rows that the row's rollout became
	ColRowIndex    = "row_index"             // int32: which of them it is, from 0
	ColRowWeight   = "row_weight"            // double: 1 / rollout_rows; 0 for a row that stands for a missing one
	ColGroupCount  = "group_rollouts"        // int32, null without a group or where group.stats finds it incomplete
	ColGroupMean   = "group_reward_mean"     // double, over scored rollouts
	ColGroupSpread = "group_reward_std"      // double, of the population
	ColGone        = "gone"                  // string: why the row is no longer there; null for rows that are
)

// Rows fetches the rows of a batch, slot by slot, members of a unit in log order:
// columns of trajectories as named (nil: those of the spec), then the columns of
// the draw. A batch without slots gives a record without rows. Rows that were deleted
// since are holes: null but for what the draw knows, with the reason in the column gone.
func (s *Sampler) Rows(ctx context.Context, b *Batch, columns []string) (arrow.Record, error) {
	if columns == nil {
		columns = s.spec.Columns
	}
	seqs := s.Places(b)
	stored, err := s.snap.Gather(ctx, seqs, s.Stored(columns))
	var gone map[int64]string
	if fault.Is(err, fault.Gone) {
		stored, gone, err = s.gatherAround(ctx, seqs, s.Stored(columns))
	}
	if err != nil {
		return nil, fault.Wrap("fetch batch "+b.ID, err)
	}
	return s.Finish(b, stored, columns, gone)
}

// Stored are the columns that have to be read so that Finish can give some.
func (s *Sampler) Stored(columns []string) []string {
	if s.spec.Unit != UnitBranch || slices.Contains(columns, "segments") {
		return columns
	}
	return append(slices.Clone(columns), "segments")
}

// Finish makes the rows of a batch from what is stored at its Places: the columns of
// Stored, of which those named stay, with null rows where gone has a reason.
func (s *Sampler) Finish(b *Batch, stored arrow.Record, columns []string, gone map[int64]string) (arrow.Record, error) {
	stored, err := s.cutPaths(b, stored)
	if err != nil {
		return nil, err
	}
	if n := len(columns); n < int(stored.NumCols()) {
		stored = array.NewRecord(arrow.NewSchema(stored.Schema().Fields()[:n], nil), stored.Columns()[:n], stored.NumRows())
	}
	return beside(stored, s.Along(b, gone)), nil
}

// gatherAround fetches rows of which some were deleted.
func (s *Sampler) gatherAround(ctx context.Context, seqs []int64, columns []string) (arrow.Record, map[int64]string, error) {
	rows, err := s.snap.Gone(ctx, seqs)
	if err != nil {
		return nil, nil, err
	}
	gone := map[int64]string{}
	for seq, row := range rows {
		gone[seq] = row.Reason
	}
	there := slices.DeleteFunc(slices.Clone(seqs), func(seq int64) bool { _, is := gone[seq]; return is })
	stored, err := s.snap.Gather(ctx, there, columns)
	if err != nil {
		return nil, nil, err
	}
	fields := slices.Clone(stored.Schema().Fields())
	cols := make([]arrow.Array, stored.NumCols())
	for c, col := range stored.Columns() {
		fields[c].Nullable = true
		var pieces []arrow.Array
		from, at := 0, 0 // rows of col that are not yet in pieces, and that were passed
		for _, seq := range seqs {
			if _, is := gone[seq]; !is {
				at++
				continue
			}
			pieces = append(pieces, array.NewSlice(col, int64(from), int64(at)), array.MakeArrayOfNull(memory.DefaultAllocator, col.DataType(), 1))
			from = at
		}
		pieces = append(pieces, array.NewSlice(col, int64(from), int64(at)))
		if cols[c], err = array.Concatenate(pieces, memory.DefaultAllocator); err != nil {
			return nil, nil, fault.WrapAs(fault.Internal, "leave holes for deleted rows", err)
		}
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), cols, int64(len(seqs))), gone, nil
}

// Places are the places of the rows that a batch brings, in the order of Rows.
func (s *Sampler) Places(b *Batch) (seqs []int64) {
	for _, slot := range b.Slots {
		for _, m := range slot.Members {
			if s.comes(m) {
				seqs = append(seqs, m.Seq)
			}
		}
	}
	return seqs
}

// comes tells whether a member is among the rows of a batch.
func (s *Sampler) comes(m Member) bool {
	return m.Eligible || m.Pad || s.spec.Unit == UnitGroup && s.spec.Group.Members == All
}

// beside puts the columns of b behind those of a.
func beside(a, b arrow.Record) arrow.Record {
	fields := append(append([]arrow.Field{}, a.Schema().Fields()...), b.Schema().Fields()...)
	return array.NewRecord(arrow.NewSchema(fields, nil), append(append([]arrow.Array{}, a.Columns()...), b.Columns()...), b.NumRows())
}

// Along is the columns of the draw, for the rows of a batch in the order of Rows,
// without reading the lake. The batch must be one of this sampler, or some of the slots of
// one, which keep their numbers. gone says why rows are no longer there, by place; nil: all are.
func (s *Sampler) Along(b *Batch, gone map[int64]string) arrow.Record {
	a := newAlong()
	stats := map[uint32]groupStats{}
	var r facts.Row
	for _, slot := range b.Slots {
		for _, m := range slot.Members {
			if !s.comes(m) {
				continue
			}
			s.view.Read(m.Seq, &r)
			a.slots.Append(int32(slot.Number))
			a.strata.Append(slot.Stratum)
			a.inclusion.Append(slot.Probability())
			a.importance.Append(slot.Import)
			a.eligible.Append(m.Eligible)
			s.appendAges(a, &r)
			appendUses(a.uses, m.Uses)
			s.appendRollout(a, &r, m)
			s.appendGroup(a, &r, stats)
			if why, is := gone[m.Seq]; is {
				a.gone.Append(why)
			} else {
				a.gone.AppendNull()
			}
		}
	}
	return a.record()
}

// weighImportance says what a loss multiplies the slots of a batch with, see
// law.ImportanceWeights.
func (s *Sampler) weighImportance(b *Batch) {
	n, p := make([]int64, len(b.Slots)), make([]uint64, len(b.Slots))
	for i, slot := range b.Slots {
		n[i], p[i] = slot.N, slot.P32
	}
	for i, w := range law.ImportanceWeights(n, p, s.spec.Beta) {
		b.Slots[i].Import = w
	}
}

// along builds the columns of the draw.
type along struct {
	slots                              *array.Int32Builder
	strata                             *array.StringBuilder
	inclusion, importance              *array.Float64Builder
	eligible                           *array.BooleanBuilder
	versions, steps                    *array.Int64Builder
	seconds                            *array.Float64Builder
	uses, rolloutRows, rowIndex, count *array.Int32Builder
	rowWeight, mean, spread            *array.Float64Builder
	gone                               *array.StringBuilder
}

func newAlong() *along {
	mem := memory.DefaultAllocator
	return &along{array.NewInt32Builder(mem), array.NewStringBuilder(mem), array.NewFloat64Builder(mem), array.NewFloat64Builder(mem), array.NewBooleanBuilder(mem),
		array.NewInt64Builder(mem), array.NewInt64Builder(mem), array.NewFloat64Builder(mem),
		array.NewInt32Builder(mem), array.NewInt32Builder(mem), array.NewInt32Builder(mem), array.NewInt32Builder(mem),
		array.NewFloat64Builder(mem), array.NewFloat64Builder(mem), array.NewFloat64Builder(mem), array.NewStringBuilder(mem)}
}

func (a *along) record() arrow.Record {
	var fields []arrow.Field
	var cols []arrow.Array
	for _, c := range []struct {
		name  string
		build array.Builder
	}{{ColSlot, a.slots}, {ColStratum, a.strata}, {ColInclusion, a.inclusion}, {ColImportance, a.importance}, {ColEligible, a.eligible},
		{ColVersions, a.versions}, {ColSteps, a.steps}, {ColSeconds, a.seconds}, {ColUses, a.uses},
		{ColRolloutRows, a.rolloutRows}, {ColRowIndex, a.rowIndex}, {ColRowWeight, a.rowWeight},
		{ColGroupCount, a.count}, {ColGroupMean, a.mean}, {ColGroupSpread, a.spread}, {ColGone, a.gone}} {
		col := c.build.NewArray()
		fields = append(fields, arrow.Field{Name: c.name, Type: col.DataType(), Nullable: true})
		cols = append(cols, col)
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), cols, int64(cols[0].Len()))
}

func (s *Sampler) appendAges(a *along, r *facts.Row) {
	if age, known := (clock{Versions, s.asOf}).ageOf(r); known {
		a.versions.Append(age)
	} else {
		a.versions.AppendNull()
	}
	if age, known := (clock{Steps, s.asOf}).ageOf(r); known && s.asOf.Step > 0 {
		a.steps.Append(age)
	} else {
		a.steps.AppendNull()
	}
	if t, known := finishedAt(r); known && s.asOf.Time != 0 {
		a.seconds.Append(max(float64(s.asOf.Time-t)/microseconds, 0))
	} else {
		a.seconds.AppendNull()
	}
}

func appendUses(to *array.Int32Builder, uses int32) {
	if uses < 0 {
		to.AppendNull()
		return
	}
	to.Append(uses)
}

// appendRollout says how many rows the row's rollout became, or branches where
// those are drawn: one rollout counts once however many they are.
func (s *Sampler) appendRollout(a *along, r *facts.Row, m Member) {
	rows, index := 0, 0
	all := []int64{r.Seq}
	if r.Episode != 0 {
		all = s.view.MembersOf(facts.Episode, r.Episode)
	}
	for _, seq := range all {
		if seq == r.Seq {
			index = rows + int(m.Path)
		}
		n := 1
		if s.spec.Unit == UnitBranch {
			_, n = s.forks.of(seq)
		}
		rows += n
	}
	a.rolloutRows.Append(int32(rows))
	a.rowIndex.Append(int32(index))
	if m.Pad {
		a.rowWeight.Append(0)
		return
	}
	a.rowWeight.Append(1 / float64(max(rows, 1)))
}

func (s *Sampler) appendGroup(a *along, r *facts.Row, known map[uint32]groupStats) {
	g := groupStats{}
	if r.Group != 0 {
		var is bool
		if g, is = known[r.Group]; !is {
			g = s.groupStats(r.Group)
			known[r.Group] = g
		}
	}
	if !g.shown {
		a.count.AppendNull()
	} else {
		a.count.Append(g.count)
	}
	if !g.shown || g.scored == 0 {
		a.mean.AppendNull()
		a.spread.AppendNull()
		return
	}
	a.mean.Append(g.mean)
	a.spread.Append(g.spread)
}

// frame finds the columns of a record by name. Columns that it has not read as null.
type frame map[string]arrow.Array

func frameOf(rec arrow.Record) frame {
	f := make(frame, rec.NumCols())
	for i, field := range rec.Schema().Fields() {
		f[field.Name] = rec.Column(i)
	}
	return f
}

func (f frame) text(name string, i int) (string, bool) {
	col, ok := f[name].(array.StringLike)
	if !ok || col.IsNull(i) {
		return "", false
	}
	return col.Value(i), true
}

func (f frame) double(name string, i int) *float64 {
	col, ok := f[name].(*array.Float64)
	if !ok || col.IsNull(i) || math.IsNaN(col.Value(i)) {
		return nil
	}
	v := col.Value(i)
	return &v
}

func (f frame) long(name string, i int) int64 {
	col, ok := f[name].(*array.Int64)
	if !ok || col.IsNull(i) {
		return 0
	}
	return col.Value(i)
}
