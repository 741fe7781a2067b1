package formats

import (
	"fmt"
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// atifMap maps the members of one ATIF trajectory.
type atifMap struct {
	*builder
	v      canon.Value
	tokens tokens
	levels []string // efforts of the steps that state one
}

func (m *atifMap) agent(a canon.Value) {
	row := m.row
	if a.IsNull() {
		return
	}
	if a.Kind() != canon.Object {
		m.bad("agent", "an object", a)
		return
	}
	row.Agent, row.Model = str(a, "name"), str(a, "model_name")
	if v := str(a, "version"); v != nil && row.Agent != nil {
		row.Harness = some(*row.Agent + " " + *v)
	}
	if defs := get(a, "tool_definitions"); defs.Len() > 0 {
		row.ToolsDigest = some(digest(canon.Append(nil, defs)))
	}
	if f := number(get(a, "extra", "temperature")); f != nil {
		m.sampling().Temperature = f
	}
	m.keep("agent", without(a, "name", "model_name"))
}

func (m *atifMap) steps(list canon.Value) {
	if list.Kind() != canon.Array {
		m.bad("steps", "a list", list)
		return
	}
	for i, s := range list.Items() {
		field := fmt.Sprintf("steps[%d]", i)
		if s.Kind() != canon.Object {
			m.bad(field, "a step object", s)
			return
		}
		m.step(s, i)
		if m.err != nil {
			m.err.Field = field + "." + strings.TrimPrefix(m.err.Field, field+".")
			return
		}
	}
	m.tokens.close()
}

// sources maps who made a step to the roles of turns.
var sources = map[string]string{"system": "system", "user": "user", "agent": "assistant"}

func (m *atifMap) step(s canon.Value, i int) {
	source, ok := get(s, "source").Str()
	if !ok {
		m.bad("source", "a string", get(s, "source"))
		return
	}
	role, known := sources[source]
	if !known {
		role = roleOf(source)
	}
	t := m.add(role)
	if source != role && source != "agent" {
		t.RoleRaw = &source
	}
	copied, _ := get(s, "is_copied_context").Bool()
	dispatched := false
	if n := integer(get(s, "llm_call_count")); n != nil && *n == 0 {
		dispatched = true
	}
	t.Sampled = some(role == "assistant" && !copied && !dispatched)
	observation := canon.Value{}
	for k, v := range s.Members() {
		if v.IsNull() {
			continue
		}
		switch k {
		case "source":
		case "step_id":
			if n, ok := v.Int(); !ok || n != int64(i)+1 {
				t.keep(m.builder, k, v)
			}
		case "timestamp":
			if t.At = m.time(v); t.At == nil {
				t.keep(m.builder, k, v)
			}
		case "model_name":
			t.Model = str(s, k)
		case "message":
			m.content(t, v, *t.Sampled && !hasReasoning(s))
		case "reasoning_content":
			m.reasoning(t, s, k, v)
		case "reasoning_effort":
			m.stepEffort(t, v)
		case "tool_calls":
			m.calls(t, v)
		case "observation":
			observation = v
		case "metrics":
			m.metrics(t, v)
		default:
			t.keep(m.builder, k, v)
		}
	}
	m.observe(t, observation)
	if own := get(s, "extra", columnsKey); own.Kind() == canon.Object && m.err == nil {
		m.restore(t, own, s)
	}
}

func (m *atifMap) stepEffort(t *turn, v canon.Value) {
	e := schema.EffortFromVendor(schema.DialectATIF, canon.Obj(canon.M("reasoning_effort", v)))
	if e.Requested == "" {
		t.keep(m.builder, "reasoning_effort", v)
		return
	}
	t.Effort = &e.Requested
	if v.Kind() == canon.Number {
		t.keep(m.builder, "reasoning_effort", v)
	}
	m.levels = append(m.levels, e.Requested)
	if m.levels[0] == e.Requested {
		e.Apply(m.row)
	}
}

func (m *atifMap) calls(t *turn, v canon.Value) {
	if v.Kind() != canon.Array {
		m.bad("tool_calls", "a list", v)
		return
	}
	for k, call := range v.Items() {
		if call.Kind() != canon.Object {
			m.bad(fmt.Sprintf("tool_calls[%d]", k), "an object", call)
			return
		}
		c := toolCall(str(call, "function_name"))
		c.IDRaw = idText(get(call, "tool_call_id"))
		setArgs(m.builder, &c, get(call, "arguments"))
		var rest []canon.Member
		for key, x := range call.Members() {
			switch key {
			case "function_name", "tool_call_id", "arguments":
			default:
				if !empty(x) {
					rest = append(rest, canon.M(key, x))
				}
			}
		}
		t.addCall(c, rest)
	}
}

// observe gives the results of a step to its calls: by id, and those without
// one by order if there are as many as calls that wait. A single one behind
// several calls is the last one's. What belongs to no call is a turn of the
// environment.
func (m *atifMap) observe(t *turn, obs canon.Value) {
	results := get(obs, "results")
	if rest := without(obs, "results"); !rest.IsNull() {
		t.keep(m.builder, "observation", rest)
	}
	var loose []*result
	waiting := len(t.ToolCalls)
	for _, v := range results.Items() {
		r := m.result(v)
		if k := callByID(t, r.id); k >= 0 {
			m.giveStep(t, k, r, linkID)
			waiting--
			continue
		}
		loose = append(loose, r)
	}
	for n, r := range loose {
		k, how := -1, linkOrder
		switch {
		case r.id != nil:
			m.flag(FlagOrphanResult)
		case waiting == len(loose):
			k = nextCall(t, false)
		case len(loose) == 1 && waiting > 1:
			k, how = nextCall(t, true), linkAdjacency
		case n < waiting:
			k = nextCall(t, false)
		}
		if k >= 0 {
			m.giveStep(t, k, r, how)
		} else {
			m.environment(t, r)
		}
	}
}

func callByID(t *turn, id *string) int {
	for k := range t.ToolCalls {
		if id != nil && !t.linked[k] && t.ToolCalls[k].IDRaw != nil && *t.ToolCalls[k].IDRaw == *id {
			return k
		}
	}
	return -1
}

// nextCall is the first call without a result, or the last one; -1 if none waits.
func nextCall(t *turn, last bool) int {
	found := -1
	for k := range t.ToolCalls {
		if !t.linked[k] {
			if !last {
				return k
			}
			found = k
		}
	}
	return found
}

// result reads one result of an observation.
func (m *atifMap) result(v canon.Value) *result {
	r := &result{}
	for k, x := range v.Members() {
		if x.IsNull() {
			continue
		}
		switch k {
		case "source_call_id":
			r.id = idText(x)
		case "content":
			s, exact := flatText(x)
			r.text = &s
			if !exact {
				r.rest = append(r.rest, canon.M(k, x))
			}
		case "subagent_trajectory_ref":
			for _, ref := range x.Items() {
				if id := str(ref, "trajectory_id"); id != nil {
					r.subagents = append(r.subagents, *id)
				} else if id := str(ref, "session_id"); id != nil {
					r.subagents = append(r.subagents, *id)
				}
			}
			r.rest = append(r.rest, canon.M(k, x))
		default:
			r.rest = append(r.rest, canon.M(k, x))
		}
	}
	return r
}

func (m *atifMap) giveStep(t *turn, k int, r *result, how string) {
	m.give(t, k, r, how)
	t.ToolCalls[k].SubagentIDs = r.subagents
}

// environment is a turn for a result that no call asked for.
func (m *atifMap) environment(t *turn, r *result) {
	e := m.add("environment")
	e.RoleRaw, e.Sampled, e.Text = some("observation"), some(false), r.text
	if r.id != nil {
		e.extra = append(e.extra, canon.M("source_call_id", canon.Str(*r.id)))
	}
	for _, x := range r.rest {
		e.keep(m.builder, x.Key, x.Value)
	}
}

// metrics maps a step's usage, cost and tokens.
func (m *atifMap) metrics(t *turn, v canon.Value) {
	if v.Kind() != canon.Object {
		m.bad("metrics", "an object", v)
		return
	}
	u := &schema.Usage{
		Prompt: m.int("metrics.prompt_tokens", get(v, "prompt_tokens")), Completion: m.int("metrics.completion_tokens", get(v, "completion_tokens")),
		CacheRead: m.int("metrics.cached_tokens", get(v, "cached_tokens")),
	}
	for _, k := range []string{"reasoning_tokens", "thinking_tokens"} {
		first(&u.Thinking, integer(get(v, "extra", k)))
	}
	if *u != (schema.Usage{}) {
		t.Usage = u
	}
	t.CostUSD = m.float("metrics.cost_usd", get(v, "cost_usd"))
	var rest []canon.Member
	if !m.tokens.step(t, v) {
		for _, k := range []string{"prompt_token_ids", "completion_token_ids", "logprobs"} {
			if x := get(v, k); x.Len() > 0 {
				rest = append(rest, canon.M(k, x))
			}
		}
	}
	more := without(v, "prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd", "prompt_token_ids", "completion_token_ids", "logprobs")
	for k, x := range more.Members() {
		rest = append(rest, canon.M(k, x))
	}
	if len(rest) > 0 {
		t.keep(m.builder, "metrics", canon.Obj(rest...))
	}
}

// root maps the members beside agent and steps.
func (m *atifMap) root() {
	if own := get(m.v, "extra", columnsKey); own.Kind() == canon.Object && m.err == nil {
		m.restoreRow(own)
		return
	}
	for k, v := range m.v.Members() {
		switch k {
		case "schema_version", "agent", "steps", "trajectory_id", "subagent_trajectories":
		case "final_metrics":
			m.finalMetrics(v)
		default:
			m.keep(k, v)
		}
	}
	m.clock()
}

func (m *atifMap) finalMetrics(v canon.Value) {
	row := m.row
	if v.Kind() != canon.Object {
		m.keep("final_metrics", v)
		return
	}
	row.PromptTokens = m.int("final_metrics.total_prompt_tokens", get(v, "total_prompt_tokens"))
	row.CompletionTokens = m.int("final_metrics.total_completion_tokens", get(v, "total_completion_tokens"))
	row.CostUSD = m.float("final_metrics.total_cost_usd", get(v, "total_cost_usd"))
	rest := without(v, "total_prompt_tokens", "total_completion_tokens", "total_cost_usd", "total_steps")
	if n := get(v, "total_steps"); !n.IsNull() {
		if have, ok := n.Int(); !ok || have != int64(get(m.v, "steps").Len()) {
			rest = canon.Obj(append(membersOf(rest), canon.M("total_steps", n))...)
		}
	}
	m.keep("final_metrics", rest)
}

func membersOf(v canon.Value) (ms []canon.Member) {
	for k, x := range v.Members() {
		ms = append(ms, canon.M(k, x))
	}
	return ms
}

// clock takes beginning and end from the times of the steps.
func (m *atifMap) clock() {
	for _, t := range m.turns {
		if t.At == nil {
			continue
		}
		if m.row.StartedAt == nil || *t.At < *m.row.StartedAt {
			m.row.StartedAt = t.At
		}
		if m.row.FinishedAt == nil || *t.At > *m.row.FinishedAt {
			m.row.FinishedAt = t.At
		}
	}
}
