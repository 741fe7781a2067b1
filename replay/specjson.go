package replay

import (
	"maps"
	"slices"
	"strconv"

	"trajlake/replay/law"
	"trajlake/schema/canon"
)

// JSON is the spec as canonical JSON, which ParseSpec reads back. Of a filled spec
// it says everything, and the same spec has the same bytes however it was written.
// The order of strata.shares is part of it, because ties in the schedule depend on it.
func (s Spec) JSON() []byte {
	var w members
	if s.Law != 0 {
		w.add("law", canon.IntOf(int64(s.Law)))
	}
	w.word("sampler", s.Sampler)
	switch s.Snapshot.Mode {
	case "":
	case AtVersion:
		w.add("snapshot", canon.Obj(canon.M("version", canon.IntOf(s.Snapshot.Version))))
	case AtToken:
		w.add("snapshot", canon.Obj(canon.M("token", canon.Str(s.Snapshot.Token))))
	default:
		w.word("snapshot", s.Snapshot.Mode)
	}
	w.word("unit", s.Unit)
	w.add("where", canon.Str(s.Where))
	w.add("split", texts(s.Split))
	w.add("scorer", canon.Str(s.Scorer))
	w.add("require", canon.Obj(canon.M("columns", texts(s.Require.Columns)), canon.M("tensors", texts(s.Require.Tensors))))
	w.add("difficulty", s.Difficulty.value())
	if s.Fresh.Unit == Off || s.Fresh.Share == 0 {
		w.word("fresh", Off)
	} else {
		w.add("fresh", s.Fresh.value())
	}
	if s.Staleness.Unit == Off {
		w.word("staleness", Off)
	} else if s.Staleness.Unit != "" {
		w.add("staleness", canon.Obj(canon.M("success", canon.IntOf(s.Staleness.Success)),
			canon.M("failure", canon.IntOf(s.Staleness.Failure)), canon.M("unit", canon.Str(s.Staleness.Unit))))
	}
	if s.AgeDecay.Unit == Off {
		w.word("age_decay", Off)
	} else if s.AgeDecay.Unit != "" {
		w.add("age_decay", canon.Obj(canon.M("tau", canon.FloatOf(s.AgeDecay.Tau)), canon.M("unit", canon.Str(s.AgeDecay.Unit))))
	}
	w.add("strata", s.Strata.value())
	if s.Weight != nil {
		factors := make([]canon.Value, len(s.Weight))
		for i, f := range s.Weight {
			factors[i] = f.value()
		}
		w.add("weight", canon.Arr(factors...))
	}
	if s.Beta != 0 || s.betaSaid {
		w.add("beta", canon.FloatOf(s.Beta))
	}
	w.add("caps", canon.Obj(canon.M("per_task", bound(s.Caps.PerTask)), canon.M("per_prompt", bound(s.Caps.PerPrompt)),
		canon.M("reuse", bound(s.Caps.Reuse)), canon.M("cooldown", bound(s.Caps.Cooldown))))
	w.add("limiter", s.Limiter.value())
	w.add("group", s.Group.value())
	if s.Batch.Tokens != 0 {
		w.add("batch", canon.Obj(canon.M("tokens", canon.IntOf(s.Batch.Tokens))))
	} else if s.Batch.Rows != 0 {
		w.add("batch", canon.Obj(canon.M("rows", canon.IntOf(s.Batch.Rows))))
	}
	if s.Columns != nil {
		w.add("columns", texts(s.Columns))
	}
	w.add("tensors", texts(s.Tensors))
	seed, _ := canon.Num(strconv.FormatUint(s.Seed, 10))
	w.add("seed", seed)
	return canon.Append(nil, canon.Obj(w...))
}

type members []canon.Member

func (m *members) add(key string, v canon.Value) { *m = append(*m, canon.M(key, v)) }

// word adds a word, if there is one.
func (m *members) word(key, word string) {
	if word != "" {
		m.add(key, canon.Str(word))
	}
}

func bound(n int64) canon.Value {
	if n == 0 {
		return canon.Str(Off)
	}
	return canon.IntOf(n)
}

func texts(list []string) canon.Value {
	out := make([]canon.Value, len(list))
	for i, s := range list {
		out[i] = canon.Str(s)
	}
	return canon.Arr(out...)
}

func sharesValue(list []Share) canon.Value {
	out := make([]canon.Value, len(list))
	for i, share := range list {
		out[i] = canon.Obj(canon.M("of", texts(share.Of)), canon.M("share", partsValue(share.Parts)))
	}
	return canon.Arr(out...)
}

func partsValue(parts int32) canon.Value { return canon.FloatOf(float64(parts) / law.SharesTotal) }

func (s Strata) value() canon.Value {
	w := members{canon.M("by", texts(s.By)), canon.M("shares", sharesValue(s.Shares))}
	if s.Marginals != nil {
		var columns members
		for _, column := range slices.Sorted(maps.Keys(s.Marginals)) {
			columns.add(column, sharesValue(s.Marginals[column]))
		}
		w.add("marginals", canon.Obj(columns...))
	}
	if s.Steps != nil {
		pieces := make([]canon.Value, len(s.Steps))
		for i, p := range s.Steps {
			pieces[i] = canon.Obj(canon.M("from", canon.IntOf(p.From)), canon.M("shares", sharesValue(p.Shares)))
		}
		w.add("steps", canon.Arr(pieces...))
	}
	if s.Ages != nil {
		edges := make([]canon.Value, len(s.Ages))
		for i, edge := range s.Ages {
			edges[i] = canon.IntOf(edge)
		}
		w.add("ages", canon.Arr(edges...))
	}
	w.word("age_unit", s.AgeUnit)
	w.word("per", s.Per)
	w.word("when_dry", s.WhenDry)
	return canon.Obj(w...)
}

func (b Band) value() canon.Value {
	if b.Off() || b == (Band{}) {
		return canon.Str(Off)
	}
	w := members{canon.M("min", canon.FloatOf(b.Min))}
	if b.Max != 0 {
		w.add("max", canon.FloatOf(b.Max))
	}
	return canon.Obj(w...)
}

func (f Fresh) value() canon.Value {
	w := members{canon.M("share", partsValue(f.Share)), canon.M("age", canon.IntOf(f.Age))}
	w.word("unit", f.Unit)
	return canon.Obj(w...)
}

// value is a word where there is no more to say.
func (f Weight) value() canon.Value {
	var w members
	if f.Name == WeightExpr {
		w.add("expr", canon.Str(f.Expr))
	} else {
		w.add("name", canon.Str(f.Name))
	}
	if f.Alpha != 0 {
		w.add("alpha", canon.FloatOf(f.Alpha))
	}
	if f.Prior != [2]float64{} {
		w.add("prior", canon.Arr(canon.FloatOf(f.Prior[0]), canon.FloatOf(f.Prior[1])))
	}
	if len(w) == 1 && f.Name != WeightExpr {
		return canon.Str(f.Name)
	}
	return canon.Obj(w...)
}

func (l Limiter) value() canon.Value {
	var w members
	if l.MinSize != 0 {
		w.add("min_size", canon.IntOf(l.MinSize))
	}
	if l.SamplesPerInsert != 0 {
		w.add("samples_per_insert", canon.FloatOf(l.SamplesPerInsert))
	}
	if l.Slack != 0 || l.SamplesPerInsert != 0 {
		w.add("slack", canon.IntOf(l.Slack))
	}
	if w == nil {
		return canon.Str(Off)
	}
	return canon.Obj(w...)
}

func (g Group) value() canon.Value {
	var w members
	if g.Size == 0 {
		w.word("size", "any")
	} else {
		w.add("size", canon.IntOf(g.Size))
	}
	if g.Min != 0 {
		w.add("min", canon.IntOf(g.Min))
	}
	if g.Timeout != 0 {
		w.word("timeout", g.Timeout.String())
	}
	w.word("on_timeout", g.OnTimeout)
	w.word("members", g.Members)
	w.word("stats", g.Stats)
	w.word("zero_variance", g.ZeroVariance)
	return canon.Obj(w...)
}
