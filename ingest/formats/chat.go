package formats

import (
	"fmt"
	"strings"

	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

// chat is how a format's messages differ from OpenAI's.
type chat struct {
	list string // name of the list in the record, for messages
	// key takes a member that the format has beyond OpenAI's; false leaves it to
	// the common rules.
	key func(t *turn, message canon.Value, key string, v canon.Value) bool
	// resultKey is the same for a tool message.
	resultKey func(r *result, key string, v canon.Value) bool
	// done looks at a turn after all of its members.
	done func(t *turn, message canon.Value, i int)
	// status is how a call went, by its result; nil leaves it null.
	status func(message canon.Value, text string) *string
}

// bad notes that a field has the wrong type: the record is rejected.
func (b *builder) bad(field, want string, got canon.Value) {
	b.reject(field, "%s expected, found %s", want, describe(got))
}

func describe(v canon.Value) string {
	switch v.Kind() {
	case canon.Null:
		return "null"
	case canon.String:
		s, _ := v.Str()
		return fmt.Sprintf("the string %q", clip(s, 40))
	case canon.Number:
		return "the number " + clip(v.Raw(), 40)
	}
	return "a JSON " + v.Kind().String()
}

// reject notes the first reason why the record cannot be a row.
func (b *builder) reject(field, format string, args ...any) {
	if b.err == nil {
		e := fault.New(fault.Invalid, "", format, args...)
		e.Field = field
		b.err = e
	}
}

// roles maps what formats call a role to the lake's roles.
var roles = map[string]string{
	"system": "system", "developer": "developer", "user": "user", "human": "user", "assistant": "assistant", "model": "assistant",
	"ai": "assistant", "gpt": "assistant", "bot": "assistant", "tool": "tool", "function": "tool", "ipython": "tool",
	"environment": "environment", "observation": "environment",
}

// roleOf is the lake's role for a source's, and whether that is one of them;
// what is none of them happened to the run, and is an event.
func roleOf(raw string) string {
	if r, ok := roles[strings.ToLower(raw)]; ok {
		return r
	}
	return "event"
}

// chat reads a list of messages.
func (b *builder) chat(messages canon.Value, c chat) {
	if b.err != nil {
		return
	}
	if messages.Kind() != canon.Array {
		b.bad(c.list, "a list of messages", messages)
		return
	}
	for i, m := range messages.Items() {
		field := fmt.Sprintf("%s[%d]", c.list, i)
		if m.Kind() != canon.Object {
			b.bad(field, "a message object", m)
			return
		}
		raw, ok := get(m, "role").Str()
		if !ok {
			b.bad(field+".role", "a string", get(m, "role"))
			return
		}
		if role := roleOf(raw); role == "tool" {
			b.toolMessage(m, c, raw)
		} else {
			b.message(m, c, role, raw, i)
		}
		if b.err != nil {
			b.err.Field = field + "." + strings.TrimPrefix(b.err.Field, field+".")
			return
		}
	}
}

// message reads a message that is no tool result.
func (b *builder) message(m canon.Value, c chat, role, raw string, i int) {
	t := b.add(role)
	if raw != role {
		t.RoleRaw = &raw
	}
	sampled := role == "assistant"
	t.Sampled = &sampled
	for k, v := range m.Members() {
		if v.IsNull() || k == "role" || c.key != nil && c.key(t, m, k, v) {
			continue
		}
		switch k {
		case "content":
			b.content(t, v, sampled && !hasReasoning(m))
		case "reasoning_content", "reasoning", "thinking":
			b.reasoning(t, m, k, v)
		case "reasoning_details", "thinking_blocks":
			b.thinkingBlocks(t, k, v)
		case "provider_specific_fields":
			b.repeated(t, m, k, v)
		case "refusal":
			if s, ok := v.Str(); ok {
				t.Blocks = append(t.Blocks, block("refusal", &s))
			} else {
				t.keep(b, k, v)
			}
		case "tool_calls":
			b.calls(t, v)
		case "function_call":
			b.functionCall(t, v)
		case "finish_reason":
			t.setFinish(str(m, k))
		case "usage":
			var rest canon.Value
			t.Usage, rest = usageOf(v)
			t.keep(b, k, rest)
		default:
			if v.Kind() != canon.Array || v.Len() > 0 {
				t.keep(b, k, v)
			}
		}
	}
	if c.done != nil {
		c.done(t, m, i)
	}
}

func hasReasoning(m canon.Value) bool {
	for _, k := range []string{"reasoning_content", "reasoning", "thinking", "thinking_blocks", "reasoning_details"} {
		v, _ := m.Get(k)
		if s, isText := v.Str(); isText && s != "" || v.Len() > 0 {
			return true
		}
	}
	return false
}

func (b *builder) calls(t *turn, v canon.Value) {
	if s, ok := v.Str(); ok { // a whole list as a JSON string
		inner, err := canon.Parse([]byte(s), canon.Limits{})
		if err == nil && inner.Kind() == canon.Array {
			v = inner
			b.lose("turns.tool_calls", LossApproximated)
		}
	}
	if v.Kind() != canon.Array {
		b.bad("tool_calls", "a list", v)
		return
	}
	for k, call := range v.Items() {
		openAICall(b, t, call, k)
	}
}

// functionCall reads the form that came before tool_calls: one call, no id.
func (b *builder) functionCall(t *turn, v canon.Value) {
	if v.Kind() != canon.Object {
		b.bad("function_call", "an object", v)
		return
	}
	var c = toolCall(str(v, "name"))
	setArgs(b, &c, get(v, "arguments"))
	rest := []canon.Member{canon.M("type", canon.Str("function_call"))}
	for k, m := range v.Members() {
		if k != "name" && k != "arguments" && !m.IsNull() {
			rest = append(rest, canon.M(k, m))
		}
	}
	t.addCall(c, rest)
}

// toolMessage gives a tool's answer to its call, or keeps it as a turn.
func (b *builder) toolMessage(m canon.Value, c chat, raw string) {
	var r result
	for k, v := range m.Members() {
		if v.IsNull() || k == "role" || c.resultKey != nil && c.resultKey(&r, k, v) {
			continue
		}
		switch k {
		case "tool_call_id":
			r.id = idText(v)
		case "name":
			r.name = str(m, k)
		case "content":
			text, exact := flatText(v)
			r.text = &text
			if !exact {
				r.rest = append(r.rest, canon.M(k, v))
			}
		case "is_error":
			if bad, ok := v.Bool(); ok {
				r.status = some(map[bool]string{true: "error", false: "ok"}[bad])
			} else {
				r.rest = append(r.rest, canon.M(k, v))
			}
		default:
			r.rest = append(r.rest, canon.M(k, v))
		}
	}
	if r.status == nil && c.status != nil && r.text != nil {
		r.status = c.status(m, *r.text)
	}
	if b.link(&r) {
		return
	}
	b.orphan(&r, raw)
}

// orphan keeps a tool result that has no call as a turn of its own.
func (b *builder) orphan(r *result, raw string) {
	t := b.add("tool")
	t.Sampled, t.Text, t.At = some(false), r.text, r.at
	if raw != "tool" {
		t.RoleRaw = &raw
	}
	for k, s := range map[string]*string{"tool_call_id": r.id, "name": r.name, "result_status": r.status} {
		if s != nil {
			t.extra = append(t.extra, canon.M(k, canon.Str(*s)))
		}
	}
	sortMembers(t.extra)
	for _, m := range r.rest {
		t.keep(b, m.Key, m.Value)
	}
}
