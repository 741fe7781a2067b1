package formats

import (
	"fmt"
	"io"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// openAIExport writes one {messages, tools} object per line, for supervised
// fine-tuning: thinking as reasoning_content, and weight 0 on answers that the
// policy did not give.
type openAIExport struct{}

func (openAIExport) Name() string                               { return "openai" }
func (openAIExport) Lines() bool                                { return true }
func (openAIExport) Beside(*schema.Trajectory) (string, []byte) { return "", nil }

// openAICarries are the columns that messages carry.
var openAICarries = []string{"turns.role", "turns.role_raw", "turns.sampled", "turns.is_demo", "turns.text", "turns.thinking", "turns.blocks",
	"turns.tool_calls.id_raw", "turns.tool_calls.name", "turns.tool_calls.kind", "turns.tool_calls.args_raw", "turns.tool_calls.args_error",
	"turns.tool_calls.result", "turns.tool_calls.link", "turns.actor", "turns.tool_calls.actor", "tools_digest", "system_digest", "turns.extra"}

func (openAIExport) Write(w io.Writer, row *schema.Trajectory) ([]Loss, error) {
	x := &openAIWriter{row: row, losses: lossOf("openai", LossDropped, row, openAICarries)}
	x.system()
	for i := range row.Turns {
		x.turn(i)
	}
	if extraOf(row.Extra).Len() > 0 {
		x.lose("extra", LossDropped)
	}
	ms := []canon.Member{canon.M("messages", canon.Arr(x.messages...))}
	if tools := toolsOf(row); !tools.IsNull() {
		ms = append(ms, canon.M("tools", tools))
	}
	_, err := w.Write(append(canon.Compact(canon.Obj(ms...)), '\n'))
	return x.losses, wrote("openai", row, err)
}

// openAIWriter gathers the messages of one row.
type openAIWriter struct {
	row      *schema.Trajectory
	messages []canon.Value
	losses   []Loss
}

func (x *openAIWriter) lose(field, kind string) {
	x.losses = addOnce(x.losses, Loss{Format: "openai", Field: field, Kind: kind, Rows: 1})
}

func (x *openAIWriter) say(ms ...canon.Member) { x.messages = append(x.messages, canon.Obj(ms...)) }

// system puts the agent's policy in front where the source keeps it outside of
// the messages (tau2-bench): a model is not trained without its instructions.
func (x *openAIWriter) system() {
	for i := range x.row.Turns {
		if r := x.row.Turns[i].Role; r != nil && (*r == "system" || *r == "developer") {
			return
		}
	}
	if policy, ok := get(extraOf(x.row.Extra), "info", "environment_info", "policy").Str(); ok {
		x.say(canon.M("role", canon.Str("system")), canon.M("content", canon.Str(policy)))
		x.lose("extra.info.environment_info.policy", LossApproximated)
	}
}

func (x *openAIWriter) turn(i int) {
	t := &x.row.Turns[i]
	extra := extraOf(t.Extra)
	if without(extra, "tool_calls", "tool_results", "thinking_placement", "thinking_field", "name", "tool_call_id").Len() > 0 {
		x.lose("turns.extra", LossDropped)
	}
	if t.Parent != nil && int(*t.Parent) != i-1 {
		x.lose("turns.parent", LossDropped)
	}
	role := "user"
	if t.Role != nil {
		role = *t.Role
	}
	switch role {
	case "assistant":
		x.assistant(i, t, extra)
	case "system", "developer", "user":
		x.plain(role, t, extra)
	case "environment":
		if t.RoleRaw == nil || *t.RoleRaw != "user" {
			x.lose("turns.role", LossApproximated)
		}
		x.plain("user", t, extra)
	case "tool":
		id, _ := get(extra, "tool_call_id").Str()
		ms := []canon.Member{canon.M("role", canon.Str("tool")), canon.M("tool_call_id", canon.Str(id))}
		x.say(append(ms, canon.M("content", contentOf(t)))...)
	default:
		x.lose("turns.role", LossDropped) // an event is nothing that was said
	}
}

// plain writes a message that calls nothing; calls that a user made are lost.
func (x *openAIWriter) plain(role string, t *schema.Turn, extra canon.Value) {
	if len(t.ToolCalls) > 0 {
		x.lose("turns.tool_calls", LossDropped)
		if t.Text == nil && len(t.Blocks) == 0 {
			return
		}
	}
	ms := []canon.Member{canon.M("role", canon.Str(role)), canon.M("content", contentOf(t))}
	if name, ok := get(extra, "name").Str(); ok {
		ms = append(ms, canon.M("name", canon.Str(name)))
	}
	x.say(ms...)
}

func (x *openAIWriter) assistant(i int, t *schema.Turn, extra canon.Value) {
	ms := []canon.Member{canon.M("role", canon.Str("assistant")), canon.M("content", contentOf(t))}
	ms = maybe(ms, "reasoning_content", t.Thinking)
	for k := range t.Blocks {
		if b := &t.Blocks[k]; b.Type != nil && *b.Type == "refusal" && b.Offset == nil {
			ms = maybe(ms, "refusal", b.Text)
		}
	}
	if name, ok := get(extra, "name").Str(); ok {
		ms = append(ms, canon.M("name", canon.Str(name)))
	}
	if !t.IsSampled() {
		ms = append(ms, canon.M("weight", canon.IntOf(0)))
	}
	var calls []canon.Value
	var answers []canon.Value
	for k := range t.ToolCalls {
		c := &t.ToolCalls[k]
		id := fmt.Sprintf("call_%d_%d", i, k)
		if c.IDRaw != nil && *c.IDRaw != "" {
			id = *c.IDRaw
		}
		kind := callType(extra, k)
		if kind == "text_action" { // the call stands in the text
			if c.Result != nil {
				answers = append(answers, canon.Obj(canon.M("role", canon.Str("user")), canon.M("content", canon.Str(*c.Result))))
			}
			continue
		}
		calls = append(calls, x.call(c, id, kind))
		if c.Result != nil {
			answers = append(answers, canon.Obj(canon.M("role", canon.Str("tool")), canon.M("tool_call_id", canon.Str(id)),
				canon.M("content", x.result(extra, k, *c.Result))))
		}
	}
	if len(calls) > 0 {
		ms = append(ms, canon.M("tool_calls", canon.Arr(calls...)))
	}
	x.say(ms...)
	x.messages = append(x.messages, answers...)
}

// call is one element of tool_calls.
func (x *openAIWriter) call(c *schema.ToolCall, id, kind string) canon.Value {
	args, name := "", ""
	if c.ArgsRaw != nil {
		args = *c.ArgsRaw
	}
	if c.Name != nil {
		name = *c.Name
	}
	ms := []canon.Member{canon.M("id", canon.Str(id))}
	if kind == "custom" {
		return canon.Obj(append(ms, canon.M("type", canon.Str("custom")),
			canon.M("custom", canon.Obj(canon.M("name", canon.Str(name)), canon.M("input", canon.Str(args)))))...)
	}
	if c.IDRaw == nil {
		x.lose("turns.tool_calls.id_raw", LossApproximated)
	}
	return canon.Obj(append(ms, canon.M("type", canon.Str("function")),
		canon.M("function", canon.Obj(canon.M("name", canon.Str(name)), canon.M("arguments", canon.Str(args)))))...)
}

// result is a tool's answer: as parts where the source had parts.
func (x *openAIWriter) result(extra canon.Value, k int, text string) canon.Value {
	if parts := get(get(extra, "tool_results").At(k), "content"); parts.Kind() == canon.Array {
		return parts
	}
	return canon.Str(text)
}

// contentOf is a turn's content: its text, or parts where a block is neither
// text nor thinking. Null without either.
func contentOf(t *schema.Turn) canon.Value {
	parts := false
	for i := range t.Blocks {
		switch k := t.Blocks[i].Type; {
		case k == nil, *k == "text" && t.Blocks[i].Extra == nil, *k == "thinking", *k == "redacted_thinking", *k == "refusal":
		default:
			parts = true
		}
	}
	if !parts {
		if t.Text == nil {
			return canon.Value{}
		}
		return canon.Str(*t.Text)
	}
	var items []canon.Value
	for i := range t.Blocks {
		if p := partOf(&t.Blocks[i]); !p.IsNull() {
			items = append(items, p)
		}
	}
	return canon.Arr(items...)
}

// partOf is a block as a content part; null for thinking, which stands elsewhere.
func partOf(b *schema.Block) canon.Value {
	if b.Type == nil {
		return canon.Value{}
	}
	kind := *b.Type
	switch kind {
	case "thinking", "redacted_thinking":
		return canon.Value{}
	}
	if name, ok := mediaParts[kind]; ok {
		kind = name
	}
	extra := extraOf(b.Extra)
	var ms []canon.Member
	if !extra.Has("type") {
		ms = append(ms, canon.M("type", canon.Str(kind)))
	}
	key := "text"
	if kind == "refusal" {
		key = "refusal"
	}
	ms = maybe(ms, key, b.Text)
	return canon.Obj(append(ms, membersOf(extra)...)...)
}
