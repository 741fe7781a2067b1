package replay

import (
	"context"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/schema/fault"
	"trajlake/store"
)

// Columns that a batch has beside those of trajectories.
const (
	ColSlot        = "slot"                  // int32: the unit's place in the batch, from 0
	ColStratum     = "stratum"               // string
	ColInclusion   = "inclusion_probability" // double
	ColEligible    = "eligible"              // boolean: false for members that a group brings along
	ColRowWeight   = "row_weight"            // double: 1 / rows of the row's rollout
	ColGroupCount  = "group_rollouts"        // int32, null without a group or where group.stats finds it incomplete
	ColGroupMean   = "group_reward_mean"     // double, over scored rollouts
	ColGroupSpread = "group_reward_std"      // double, of the population
)

// Rows fetches the rows of a batch, slot by slot, members of a unit in log order:
// columns of trajectories as named (nil: those of the spec), then the columns of
// the draw. A batch without slots gives a record without rows.
func (s *Sampler) Rows(ctx context.Context, b *Batch, columns []string) (arrow.Record, error) {
	if columns == nil {
		columns = s.spec.Columns
	}
	var seqs []int64
	for _, slot := range b.Slots {
		for _, m := range slot.Members {
			if m.Eligible || s.spec.Group.Members == All {
				seqs = append(seqs, m.Seq)
			}
		}
	}
	stats, err := s.rollouts(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := s.snap.Gather(ctx, seqs, columns)
	if err != nil {
		return nil, fault.Wrap("fetch batch "+b.ID, err)
	}
	return s.join(b, stored, seqs, stats), nil
}

// join puts the columns of the draw beside the stored ones.
func (s *Sampler) join(b *Batch, stored arrow.Record, seqs []int64, stats *rollouts) arrow.Record {
	mem := memory.DefaultAllocator
	slots, strata, inclusion := array.NewInt32Builder(mem), array.NewStringBuilder(mem), array.NewFloat64Builder(mem)
	eligible, weight := array.NewBooleanBuilder(mem), array.NewFloat64Builder(mem)
	count, mean, spread := array.NewInt32Builder(mem), array.NewFloat64Builder(mem), array.NewFloat64Builder(mem)
	for i, slot := range b.Slots {
		for _, m := range slot.Members {
			if !m.Eligible && s.spec.Group.Members != All {
				continue
			}
			slots.Append(int32(i))
			strata.Append(slot.Stratum)
			inclusion.Append(slot.Probability())
			eligible.Append(m.Eligible)
			weight.Append(1 / float64(stats.rowsOf(m.Seq)))
			stats.appendGroup(m.Seq, count, mean, spread)
		}
	}
	fields := append([]arrow.Field{}, stored.Schema().Fields()...)
	cols := append([]arrow.Array{}, stored.Columns()...)
	for _, c := range []struct {
		name  string
		build array.Builder
	}{{ColSlot, slots}, {ColStratum, strata}, {ColInclusion, inclusion}, {ColEligible, eligible}, {ColRowWeight, weight},
		{ColGroupCount, count}, {ColGroupMean, mean}, {ColGroupSpread, spread}} {
		a := c.build.NewArray()
		fields = append(fields, arrow.Field{Name: c.name, Type: a.DataType(), Nullable: true})
		cols = append(cols, a)
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), cols, int64(len(seqs)))
}

// rollouts knows which rollout, and which group, every row belongs to. A rollout
// is an episode, or a row without one; it counts once however many rows it became.
type rollouts struct {
	rolloutOf, groupOf []int32 // by place; −1 for none
	rows               []int32 // of each rollout
	groups             []groupStats
}

// groupStats are over the rollouts of a group that group.stats lets count.
type groupStats struct {
	shown        bool
	count        int32
	scored       int32
	mean, spread float64
}

// rolloutState is a rollout while the rows are read: the reward of its first row
// that has one is its reward.
type rolloutState struct {
	group  int32
	counts bool
	scored bool
	reward float64
}

func (s *Sampler) rollouts(ctx context.Context) (*rollouts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats != nil {
		return s.stats, nil
	}
	n := int64(len(s.eligible)) * 64
	r := &rollouts{rolloutOf: filled(n), groupOf: filled(n)}
	var states []rolloutState
	episodes, groups := map[string]int32{}, map[string]int32{}
	onlyEligible := s.spec.Group.Stats == Eligible
	for rec, err := range s.snap.Scan(ctx, store.ScanOptions{Columns: []string{"row_seq", "group_id", "episode_id", "reward"}}) {
		if err != nil {
			return nil, fault.Wrap("read groups of "+s.snap.String(), err)
		}
		f := frameOf(rec)
		for i := range int(rec.NumRows()) {
			seq := f.long("row_seq", i)
			episode, has := f.text("episode_id", i)
			rollout, known := episodes[episode]
			if !has || !known {
				rollout = int32(len(states))
				states, r.rows = append(states, rolloutState{group: -1}), append(r.rows, 0)
				if has {
					episodes[episode] = rollout
				}
			}
			r.rolloutOf[seq] = rollout
			r.rows[rollout]++
			st := &states[rollout]
			if id, ok := f.text("group_id", i); ok {
				g, known := groups[id]
				if !known {
					g = int32(len(groups))
					groups[id] = g
				}
				r.groupOf[seq], st.group = g, g
			}
			if onlyEligible && !s.eligible.has(seq) {
				continue
			}
			st.counts = true
			if reward := f.double("reward", i); reward != nil && !st.scored {
				st.scored, st.reward = true, *reward
			}
		}
	}
	r.groups = groupStatsOf(states, len(groups), s.spec.Group)
	s.stats = r
	s.bytes.Add(r.size())
	return r, nil
}

func filled(n int64) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = -1
	}
	return out
}

// groupStatsOf sums in log order. Products are rounded before they are added, so
// that no processor fuses the two and all of them give the same bits.
func groupStatsOf(states []rolloutState, groups int, spec Group) []groupStats {
	out := make([]groupStats, groups)
	for _, st := range states {
		if st.group < 0 || !st.counts {
			continue
		}
		g := &out[st.group]
		g.count++
		if st.scored {
			g.scored++
			g.mean += st.reward
		}
	}
	for i := range out {
		out[i].shown = spec.Stats != CompleteOnly || int64(out[i].count) >= spec.Size
		if out[i].scored > 0 {
			out[i].mean /= float64(out[i].scored)
		}
	}
	for _, st := range states {
		if st.group >= 0 && st.counts && st.scored {
			d := st.reward - out[st.group].mean
			out[st.group].spread += float64(d * d)
		}
	}
	for i := range out {
		if out[i].scored > 0 {
			out[i].spread = math.Sqrt(out[i].spread / float64(out[i].scored))
		}
	}
	return out
}

func (r *rollouts) size() int64 {
	const group = 32
	return int64(4*(cap(r.rolloutOf)+cap(r.groupOf)+cap(r.rows)) + group*cap(r.groups))
}

func (r *rollouts) rowsOf(seq int64) int32 { return r.rows[r.rolloutOf[seq]] }

func (r *rollouts) appendGroup(seq int64, count *array.Int32Builder, mean, spread *array.Float64Builder) {
	if g := r.groupOf[seq]; g < 0 || !r.groups[g].shown {
		count.AppendNull()
		mean.AppendNull()
		spread.AppendNull()
	} else if st := r.groups[g]; st.scored == 0 {
		count.Append(st.count)
		mean.AppendNull()
		spread.AppendNull()
	} else {
		count.Append(st.count)
		mean.Append(st.mean)
		spread.Append(st.spread)
	}
}
