package replay

import (
	"strconv"

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
	w.add("scorer", canon.Str(s.Scorer))
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
			factors[i] = canon.Str(f.Name)
			if f.Name == WeightExpr {
				factors[i] = canon.Obj(canon.M("expr", canon.Str(f.Expr)))
			}
		}
		w.add("weight", canon.Arr(factors...))
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

func (s Strata) value() canon.Value {
	shares := make([]canon.Value, len(s.Shares))
	for i, share := range s.Shares {
		shares[i] = canon.Obj(canon.M("of", texts(share.Of)), canon.M("share", canon.FloatOf(float64(share.Parts)/10_000)))
	}
	w := members{canon.M("by", texts(s.By)), canon.M("shares", canon.Arr(shares...))}
	w.word("per", s.Per)
	w.word("when_dry", s.WhenDry)
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
	return canon.Obj(w...)
}
