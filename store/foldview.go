package store

import (
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// any reports whether the view holds an annotation of one of the kinds.
func (v *view) any(kinds ...noteKind) bool {
	if v == nil {
		return false
	}
	for _, k := range kinds {
		if v.of(k).has[k] {
			return true
		}
	}
	return false
}

// of is the state that answers for a kind.
func (v *view) of(kind noteKind) *foldState {
	if kind == noteReward {
		return v.reward
	}
	return v.all
}

// keyed are the rows of one record by the hashes of their ids, taken once for all
// folded columns.
type keyed struct {
	v    *view
	ids  *array.String
	seqs []int64
	keys []foldKey
}

func (k *keyed) key(i int) foldKey {
	if k.keys == nil {
		k.keys = make([]foldKey, k.ids.Len())
		for j := range k.keys {
			k.keys[j] = k.v.seeds.of(onTrajectory, k.ids.Value(j))
		}
	}
	return k.keys[i]
}

// value is the newest annotation of a kind of row i, in bits. In passing it notes
// the place of an annotated row.
func (k *keyed) value(i int, kind noteKind) uint64 {
	t := &k.v.of(kind).rows
	b, at := t.find(k.key(i))
	if at < 0 {
		return foldAbsent
	}
	if _, known := b.place(at); !known {
		b.setPlace(at, k.seqs[i])
	}
	return b.at(int(kind), at)
}

// overlay is base with the newest annotation of a kind over it; base nil is all
// null.
func (pl *plan) overlay(k *keyed, base arrow.Array, kind noteKind, n int) arrow.Array {
	b := array.NewFloat64Builder(memory.DefaultAllocator)
	b.Reserve(n)
	raw, _ := base.(*array.Float64)
	over := k.ids != nil && pl.fold.any(kind)
	for i := range n {
		if over {
			if v := k.value(i, kind); v == foldNull {
				b.AppendNull()
				continue
			} else if v != foldAbsent {
				b.Append(math.Float64frombits(v))
				continue
			}
		}
		if raw == nil || raw.IsNull(i) {
			b.AppendNull()
		} else {
			b.Append(raw.Value(i))
		}
	}
	return b.NewFloat64Array()
}

// families are the columns whose values name what a quarantine may be about,
// beside the trajectory itself.
var families = []struct {
	column string
	kind   targetKind
}{{"group_id", onGroup}, {"episode_id", onEpisode}, {"task_id", onTask}, {"env_id", onEnv}}

// quarantined says for each row whether a quarantine of it or of a family of its
// stands: for some name and scorer the newest of quarantine and restore is a
// quarantine.
func (pl *plan) quarantined(k *keyed, stored func(string) arrow.Array, n int) arrow.Array {
	b := array.NewBooleanBuilder(memory.DefaultAllocator)
	b.Reserve(n)
	if k.ids == nil || !pl.fold.any(noteQuarantine) {
		for range n {
			b.Append(false)
		}
		return b.NewBooleanArray()
	}
	fams := make([]*array.String, len(families))
	for i, f := range families {
		fams[i], _ = stored(f.column).(*array.String)
	}
	table := &pl.fold.all.quarantined
	stands := func(key foldKey) bool {
		count := table.get(key, 0)
		return count != foldAbsent && count != 0
	}
	for i := range n {
		is := stands(k.key(i))
		for j, f := range families {
			if !is && fams[j] != nil && fams[j].IsValid(i) {
				is = stands(pl.fold.seeds.of(f.kind, fams[j].Value(i)))
			}
		}
		b.Append(is)
	}
	return b.NewBooleanArray()
}
