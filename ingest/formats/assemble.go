package formats

import (
	"strings"

	"trajlake/schema/canon"
)

// assemble joins the chunks of a streamed response into one completion. Deltas
// belong together by the index of their choice, and the parts of a tool call by
// the index of the call. A chunk may be wrapped in {__data__}.
func assemble(chunks canon.Value) canon.Value {
	var a assembly
	for _, c := range chunks.Items() {
		if inner := get(c, "__data__"); !inner.IsNull() {
			c = inner
		}
		a.chunk(c)
	}
	if len(a.choices) == 0 {
		return canon.Value{}
	}
	items := make([]canon.Value, len(a.choices))
	for i, c := range a.choices {
		items[i] = c.value(i)
	}
	return canon.Obj(append(a.top, canon.M("choices", canon.Arr(items...)))...)
}

// assembly is a response in the making.
type assembly struct {
	top     []canon.Member
	choices []*choice
}

// maxParts bounds the indexes that chunks may name.
const maxParts = 4096

func (a *assembly) chunk(c canon.Value) {
	for k, v := range c.Members() {
		if k != "choices" && k != "object" && !v.IsNull() {
			a.top = set(a.top, k, v)
		}
	}
	for _, ch := range get(c, "choices").Items() {
		i, ok := get(ch, "index").Int()
		if !ok || i < 0 || i >= maxParts {
			continue
		}
		for int64(len(a.choices)) <= i {
			a.choices = append(a.choices, &choice{})
		}
		a.choices[i].add(ch)
	}
}

// set puts a member into ms, in the place of one of the same key.
func set(ms []canon.Member, key string, v canon.Value) []canon.Member {
	for i := range ms {
		if ms[i].Key == key {
			ms[i].Value = v
			return ms
		}
	}
	return append(ms, canon.M(key, v))
}

// choice is one choice in the making: text members grow, others are replaced.
type choice struct {
	own   []canon.Member
	texts texts
	other []canon.Member
	calls []*partCall
}

// texts are members that grow by pieces, in the order of their first piece.
type texts struct {
	keys  []string
	parts map[string]*strings.Builder
}

func (t *texts) add(key, piece string) {
	if t.parts == nil {
		t.parts = map[string]*strings.Builder{}
	}
	if t.parts[key] == nil {
		t.keys = append(t.keys, key)
		t.parts[key] = &strings.Builder{}
	}
	t.parts[key].WriteString(piece)
}

func (t *texts) members() (ms []canon.Member) {
	for _, k := range t.keys {
		ms = append(ms, canon.M(k, canon.Str(t.parts[k].String())))
	}
	return ms
}

type partCall struct {
	own      []canon.Member
	function texts
}

func (c *choice) add(ch canon.Value) {
	for k, v := range ch.Members() {
		if k != "delta" && k != "index" && !v.IsNull() {
			c.own = set(c.own, k, v)
		}
	}
	for k, v := range get(ch, "delta").Members() {
		s, isText := v.Str()
		switch {
		case v.IsNull():
		case k == "role":
			c.other = set(c.other, k, v)
		case isText:
			c.texts.add(k, s)
		case k == "tool_calls":
			for n, part := range v.Items() {
				c.call(part, n)
			}
		default:
			c.other = set(c.other, k, v)
		}
	}
}

// call adds one piece of a tool call; without an index its place counts.
func (c *choice) call(part canon.Value, place int) {
	i, ok := get(part, "index").Int()
	if !ok {
		i = int64(place)
	}
	if i < 0 || i >= maxParts {
		return
	}
	for int64(len(c.calls)) <= i {
		c.calls = append(c.calls, &partCall{})
	}
	for k, v := range part.Members() {
		switch {
		case v.IsNull() || k == "index":
		case k == "function":
			for fk, fv := range v.Members() {
				if s, isText := fv.Str(); isText {
					c.calls[i].function.add(fk, s)
				}
			}
		default:
			c.calls[i].own = set(c.calls[i].own, k, v)
		}
	}
}

func (c *choice) value(index int) canon.Value {
	msg := append(c.texts.members(), c.other...)
	if len(c.calls) > 0 {
		items := make([]canon.Value, len(c.calls))
		for i, p := range c.calls {
			items[i] = canon.Obj(append(p.own, canon.M("function", canon.Obj(p.function.members()...)))...)
		}
		msg = append(msg, canon.M("tool_calls", canon.Arr(items...)))
	}
	return canon.Obj(append(c.own, canon.M("index", canon.IntOf(int64(index))), canon.M("message", canon.Obj(msg...)))...)
}
