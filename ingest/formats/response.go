package formats

import (
	"slices"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// response reads the raw response that a message was made of: what it repeats is
// checked for equality and left out, what it knows more is filled in, and the
// rest is returned. The raw response is a whole completion, or one choice of it.
func (b *builder) response(t *turn, msg, raw canon.Value) canon.Value {
	var rest []canon.Member
	for k, v := range raw.Members() {
		switch k {
		case "choices":
			if v.Len() != 1 {
				rest = append(rest, canon.M(k, v))
			} else if c := b.choice(t, msg, v.At(0)); !empty(c) {
				rest = append(rest, canon.M(k, canon.Arr(c)))
			}
		case "message", "finish_reason", "index":
			if raw.Has("choices") {
				rest = append(rest, canon.M(k, v))
			}
		case "usage":
			u, more := usageOf(v)
			if !t.fillUsage(u) {
				more = v
			}
			rest = append(rest, canon.M(k, more))
		case "model":
			if t.Model = str(raw, k); t.Model == nil {
				rest = append(rest, canon.M(k, v))
			}
		case "object":
			if s, _ := v.Str(); s != "chat.completion" {
				rest = append(rest, canon.M(k, v))
			}
		default:
			rest = append(rest, canon.M(k, v))
		}
	}
	if raw.Has("message") && !raw.Has("choices") {
		for k, v := range b.choice(t, msg, without(raw, restOf(raw, "message", "finish_reason", "index")...)).Members() {
			rest = append(rest, canon.M(k, v))
		}
	}
	return prune(canon.Obj(rest...))
}

// restOf are the keys of v that are not in but.
func restOf(v canon.Value, but ...string) (keys []string) {
	for k := range v.Members() {
		if !slices.Contains(but, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// fillUsage completes the turn's usage by u; false where they disagree.
func (t *turn) fillUsage(u *schema.Usage) bool {
	switch {
	case u == nil:
		return false
	case t.Usage == nil:
		t.Usage = u
		return true
	}
	pairs := [][2]**int64{
		{&t.Usage.Prompt, &u.Prompt}, {&t.Usage.CacheRead, &u.CacheRead}, {&t.Usage.CacheWrite, &u.CacheWrite},
		{&t.Usage.Completion, &u.Completion}, {&t.Usage.Thinking, &u.Thinking},
	}
	for _, p := range pairs {
		if *p[0] != nil && *p[1] != nil && **p[0] != **p[1] {
			return false
		}
	}
	for _, p := range pairs {
		first(p[0], *p[1])
	}
	return true
}

// choice compares one choice of a response with the message made of it.
func (b *builder) choice(t *turn, msg, choice canon.Value) canon.Value {
	var rest []canon.Member
	for k, v := range choice.Members() {
		switch k {
		case "finish_reason":
			if t.FinishRaw == nil {
				t.setFinish(str(choice, k))
			}
		case "index":
			if n, ok := v.Int(); !ok || n != 0 {
				rest = append(rest, canon.M(k, v))
			}
		case "message":
			rest = append(rest, canon.M(k, b.sameMessage(t, msg, v)))
		default:
			rest = append(rest, canon.M(k, v))
		}
	}
	return prune(canon.Obj(rest...))
}

// sameMessage is what a response's message says that msg does not.
func (b *builder) sameMessage(t *turn, msg, raw canon.Value) canon.Value {
	var rest []canon.Member
	for k, v := range raw.Members() {
		mine := get(msg, k)
		switch {
		case empty(v):
		case k == "role" && isString(v, "assistant"): // a simulated user is a model, too
		case equal(mine, v), k == "content" && isString(v, "") && mine.IsNull(), k == "tool_calls" && sameCalls(t, v):
			b.lose("raw response", LossRepeated)
		case k == "reasoning_content" && t.Thinking == nil:
			b.reasoning(t, msg, k, v)
		case k == "thinking_blocks" && t.Thinking == nil:
			b.thinkingBlocks(t, k, v)
		default:
			rest = append(rest, canon.M(k, v))
		}
	}
	return prune(canon.Obj(rest...))
}

func isString(v canon.Value, want string) bool {
	s, ok := v.Str()
	return ok && s == want
}

// sameCalls reports whether raw calls are the turn's: same ids, names and
// arguments by value. Then the arguments are kept as they were emitted.
func sameCalls(t *turn, raw canon.Value) bool {
	if raw.Len() != len(t.ToolCalls) {
		return false
	}
	for i, c := range raw.Items() {
		mine := &t.ToolCalls[i]
		args, ok := get(c, "function", "arguments").Str()
		if !ok || mine.ArgsRaw == nil || !isString(get(c, "function", "name"), text(mine.Name)) || text(idText(get(c, "id"))) != text(mine.IDRaw) {
			return false
		}
		if args != *mine.ArgsRaw && !sameJSON(args, *mine.ArgsRaw) {
			return false
		}
		if !without(c, "id", "type", "function", "index").IsNull() || !without(get(c, "function"), "name", "arguments").IsNull() {
			return false
		}
	}
	for i, c := range raw.Items() {
		args, _ := get(c, "function", "arguments").Str()
		t.ToolCalls[i].ArgsRaw = &args
	}
	return true
}

func sameJSON(a, b string) bool {
	x, err := canon.Parse([]byte(a), canon.Limits{})
	y, err2 := canon.Parse([]byte(b), canon.Limits{})
	return err == nil && err2 == nil && equal(x, y)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// empty reports whether a value says nothing.
func empty(v canon.Value) bool {
	return v.IsNull() || v.Len() == 0 && (v.Kind() == canon.Array || v.Kind() == canon.Object)
}

// prune is v as extra keeps it: without members of objects that say nothing, at
// every depth; elements of lists stay where they are.
func prune(v canon.Value) canon.Value {
	switch v.Kind() {
	case canon.Array:
		if v.Len() == 0 || v.At(0).Kind() == canon.Number {
			return v
		}
		items := make([]canon.Value, v.Len())
		same := true
		for i, e := range v.Items() {
			items[i] = prune(e)
			same = same && items[i] == e
		}
		if same {
			return v
		}
		return canon.Arr(items...)
	case canon.Object:
		return pruneObject(v)
	}
	return v
}

func pruneObject(v canon.Value) canon.Value {
	ms := make([]canon.Member, 0, v.Len())
	same := true
	for k, m := range v.Members() {
		p := prune(m)
		if same = same && p == m && !empty(p); !empty(p) {
			ms = append(ms, canon.M(k, p))
		}
	}
	if same {
		return v
	}
	return canon.Obj(ms...)
}
