package replay

import (
	"context"
	"math"

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
// the draw. A batch without slots gives a record without rows.
func (s *Sampler) Rows(ctx context.Context, b *Batch, columns []string) (arrow.Record, error) {
	if columns == nil {
		columns = s.spec.Columns
	}
	stored, err := s.snap.Gather(ctx, s.Places(b), columns)
	if err != nil {
		return nil, fault.Wrap("fetch batch "+b.ID, err)
	}
	return beside(stored, s.Along(b, nil)), nil
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
// without reading the lake. The batch must be one of this sampler, or a part of one
// (some of its slots): slots are numbered, and importance weights scaled, within what is
// given. gone says why rows are no longer there, by place; nil: all are.
func (s *Sampler) Along(b *Batch, gone map[int64]string) arrow.Record {
	a := newAlong()
	weights := s.ImportanceWeights(b)
	stats := map[uint32]groupStats{}
	var r facts.Row
	for i, slot := range b.Slots {
		for _, m := range slot.Members {
			if !s.comes(m) {
				continue
			}
			s.view.Read(m.Seq, &r)
			a.slots.Append(int32(i))
			a.strata.Append(slot.Stratum)
			a.inclusion.Append(slot.Probability())
			a.importance.Append(weights[i])
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

// ImportanceWeights are what a loss multiplies the slots of a batch with, see
// law.ImportanceWeights.
func (s *Sampler) ImportanceWeights(b *Batch) []float64 {
	n, p := make([]int64, len(b.Slots)), make([]uint64, len(b.Slots))
	for i, slot := range b.Slots {
		n[i], p[i] = slot.N, slot.P32
	}
	return law.ImportanceWeights(n, p, s.spec.Beta)
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

// appendRollout says how many rows the row's rollout became: one rollout counts
// once however many they are.
func (s *Sampler) appendRollout(a *along, r *facts.Row, m Member) {
	rows, index := int32(1), int32(0)
	if r.Episode != 0 {
		all := s.view.MembersOf(facts.Episode, r.Episode)
		rows = int32(len(all))
		for i, seq := range all {
			if seq == r.Seq {
				index = int32(i)
			}
		}
	}
	a.rolloutRows.Append(rows)
	a.rowIndex.Append(index)
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
