package formats

import (
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// usageOf reads token counts of the OpenAI and the Anthropic kind into one
// meaning: prompt includes what was read from and written to the cache. rest is
// what no column holds; sums that follow from the rest are left out.
func usageOf(v canon.Value) (u *schema.Usage, rest canon.Value) {
	if v.Kind() != canon.Object {
		return nil, v
	}
	u = &schema.Usage{}
	var more []canon.Member
	anthropic := v.Has("input_tokens") && !v.Has("prompt_tokens")
	for k, m := range v.Members() {
		switch k {
		case "prompt_tokens", "input_tokens":
			u.Prompt = integer(m)
		case "completion_tokens", "output_tokens":
			u.Completion = integer(m)
		case "cache_read_input_tokens":
			more = settle(&u.CacheRead, k, m, more)
		case "cache_creation_input_tokens":
			more = settle(&u.CacheWrite, k, m, more)
		case "prompt_tokens_details", "input_tokens_details":
			more = settleDetails(k, m, more, map[string]**int64{"cached_tokens": &u.CacheRead, "cache_write_tokens": &u.CacheWrite})
		case "completion_tokens_details", "output_tokens_details":
			more = settleDetails(k, m, more, map[string]**int64{"reasoning_tokens": &u.Thinking, "thinking_tokens": &u.Thinking})
		case "total_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens":
		default:
			if !m.IsNull() {
				more = append(more, canon.M(k, m))
			}
		}
	}
	first(&u.CacheRead, integer(get(v, "prompt_cache_hit_tokens")))
	more = append(more, unexpectedSums(v, u)...)
	if anthropic && u.Prompt != nil {
		u.Prompt = some(*u.Prompt + value(u.CacheRead) + value(u.CacheWrite))
	}
	if *u == (schema.Usage{}) {
		u = nil
	}
	if len(more) > 0 {
		rest = canon.Obj(more...)
	}
	return u, rest
}

// unexpectedSums keeps the redundant counts that do not follow from the others.
func unexpectedSums(v canon.Value, u *schema.Usage) (kept []canon.Member) {
	for _, s := range []struct {
		key  string
		want int64
	}{
		{"total_tokens", value(u.Prompt) + value(u.Completion)},
		{"prompt_cache_hit_tokens", value(u.CacheRead)},
		{"prompt_cache_miss_tokens", value(u.Prompt) - value(u.CacheRead)},
	} {
		if m, ok := v.Get(s.key); ok && !m.IsNull() {
			if n, isInt := m.Int(); !isInt || n != s.want {
				kept = append(kept, canon.M(s.key, m))
			}
		}
	}
	return kept
}

// settle sets a count that is not known yet; what says something else is kept.
func settle(dst **int64, key string, m canon.Value, more []canon.Member) []canon.Member {
	n := integer(m)
	switch {
	case m.IsNull():
	case n == nil || *dst != nil && **dst != *n:
		return append(more, canon.M(key, m))
	default:
		*dst = n
	}
	return more
}

// settleDetails settles the counts inside a details object and keeps its rest.
func settleDetails(key string, v canon.Value, more []canon.Member, counts map[string]**int64) []canon.Member {
	var rest []canon.Member
	for k, m := range v.Members() {
		if dst, ok := counts[k]; ok {
			rest = settle(dst, k, m, rest)
		} else if !m.IsNull() {
			rest = append(rest, canon.M(k, m))
		}
	}
	if len(rest) > 0 {
		more = append(more, canon.M(key, canon.Obj(rest...)))
	}
	return more
}

func first[T any](dst **T, v *T) {
	if *dst == nil {
		*dst = v
	}
}

func value(p *int64) int64 {
	if p == nil {
		return 0
	}
	return *p
}

// sumUsage fills the row's prompt tokens: the sum over the sampled turns where
// every one of them states it. schema.Derive does the same for the others.
func (b *builder) sumUsage() {
	var sum int64
	n := 0
	for _, t := range b.turns {
		if t.Sampled == nil || !*t.Sampled {
			continue
		}
		if t.Usage == nil || t.Usage.Prompt == nil {
			return
		}
		sum += *t.Usage.Prompt
		n++
	}
	if n > 0 {
		first(&b.row.PromptTokens, &sum)
	}
}

// finishReasons maps what vendors say to one vocabulary.
var finishReasons = map[string]string{
	"stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "eos": "stop",
	"length": "length", "max_tokens": "length", "model_context_window_exceeded": "length",
	"tool_calls": "tool_calls", "function_call": "tool_calls", "tool_use": "tool_calls",
	"content_filter": "content_filter", "safety": "content_filter", "refusal": "refusal",
}

// setFinish gives a turn its finish reason, as said and normalised.
func (t *turn) setFinish(raw *string) {
	if raw == nil || *raw == "" {
		return
	}
	t.FinishRaw = raw
	if n, ok := finishReasons[strings.ToLower(*raw)]; ok {
		t.FinishReason = &n
	} else {
		t.FinishReason = some("other")
	}
}
