package formats

import (
	"trajlake/schema"
	"trajlake/schema/canon"
)

// columnsKey is the member of an ATIF extra (of the root and of each step) in
// which the exporter puts what the format has no place for, and from which the
// importer takes it back.
const columnsKey = "trajlake"

// restoreRow takes the columns that the exporter put into the root's extra: they
// stand for everything but turns, and tokens that the steps carry.
func (m *atifMap) restoreRow(own canon.Value) {
	row := m.row
	members := membersOf(without(own, "turns"))
	carried := !own.Has("token_ids")
	if carried {
		members = append(members, canon.M("token_ids", canon.Arr(canon.IntOf(0))))
	}
	cols, faults := schema.FromJSON(canon.Obj(members...))
	if len(faults) > 0 {
		m.reject("extra."+columnsKey+"."+faults[0].Field, "%s", faults[0].Reason)
		return
	}
	cols.Source = row.Source
	if carried {
		cols.TokenIDs, cols.LossMask, cols.Logprobs, cols.Segments = row.TokenIDs, row.LossMask, row.Logprobs, row.Segments
	}
	*row = *cols
	m.extra, m.losses, m.flags, m.restored = membersOf(get(own, "extra")), nil, nil, true
}

// restore makes a turn what it was before the exporter wrote it as a step: what
// the step says itself, and the rest from its extra.
func (m *atifMap) restore(t *turn, own, step canon.Value) {
	if !own.Has("text") && isString(get(step, "message"), "") {
		t.Text = nil
	}
	v := own
	if !own.Has("role") {
		v = canon.Obj(append(membersOf(own), canon.M("role", canon.Str(*t.Role)))...)
	}
	row, faults := schema.FromJSON(canon.Obj(canon.M("turns", canon.Arr(v))))
	if len(faults) > 0 {
		m.reject("extra."+columnsKey+"."+faults[0].Field, "%s", faults[0].Reason)
		return
	}
	was := &row.Turns[0]
	first(&was.Text, t.Text)
	first(&was.Thinking, t.Thinking)
	first(&was.At, t.At)
	first(&was.Model, t.Model)
	first(&was.Effort, t.Effort)
	first(&was.Usage, t.Usage)
	first(&was.CostUSD, t.CostUSD)
	if !own.Has("role") {
		was.Role = nil
	}
	for k := range min(len(was.ToolCalls), len(t.ToolCalls)) {
		c, say := &was.ToolCalls[k], &t.ToolCalls[k]
		first(&c.Name, say.Name)
		first(&c.ArgsRaw, say.ArgsRaw)
		first(&c.Result, say.Result)
		c.SubagentIDs = say.SubagentIDs
	}
	*t = turn{Turn: *was, extra: membersOf(extraOf(was.Extra)), restored: true}
}

// rest is what a step does not say of its turn, for the step's extra.
func (x *atifWriter) rest(t *schema.Turn, turn canon.Value, agent bool) canon.Value {
	but := []string{"at"}
	if t.Text != nil && *t.Text != "" && messageOf(t).Kind() == canon.String {
		but = append(but, "text")
	}
	if agent {
		but = append(but, "model", "effort", "cost_usd", "tool_calls")
		if t.Usage != nil && t.Usage.CacheWrite == nil {
			but = append(but, "usage")
		}
		if t.Thinking != nil && *t.Thinking != "" {
			but = append(but, "thinking")
		}
	}
	ms := membersOf(without(turn, but...))
	if !agent || len(t.ToolCalls) == 0 {
		return canon.Obj(ms...)
	}
	calls := make([]canon.Value, len(t.ToolCalls))
	for k, c := range get(turn, "tool_calls").Items() {
		said := []string{"name", "subagent_ids", "result"}
		if args := text(t.ToolCalls[k].ArgsRaw); sameBytes(args) {
			said = append(said, "args_raw")
		}
		calls[k] = canon.Obj(membersOf(without(c, said...))...)
	}
	return canon.Obj(append(ms, canon.M("tool_calls", canon.Arr(calls...)))...)
}

// sameBytes reports whether arguments are an object that is written again just
// as it is.
func sameBytes(args string) bool {
	v, err := canon.Parse([]byte(args), canon.Limits{})
	return err == nil && v.Kind() == canon.Object && string(canon.Compact(v)) == args
}
