package formats

import (
	"crypto/sha256"
	"encoding/hex"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// tau2Map maps the members of one simulation.
type tau2Map struct{ *builder }

// key takes the members of a message that OpenAI's have not.
func (m tau2Map) key(t *turn, msg canon.Value, key string, v canon.Value) bool {
	switch key {
	case "turn_idx": // its place in the list, which the graph of turns keeps
	case "timestamp":
		if t.At = m.time(v); t.At == nil {
			t.keep(m.builder, key, v)
		}
	case "cost":
		t.CostUSD = m.float(key, v)
	case "generation_time_seconds":
		if f := m.float(key, v); f != nil {
			m.row.ModelMs = some(value(m.row.ModelMs) + int64(*f*1000+0.5))
			t.keep(m.builder, key, v)
		}
	case "raw_data": // done, when the calls are there
	default:
		return false
	}
	return true
}

// resultKey takes the members of a tool message: tau2 links by id.
func (m tau2Map) resultKey(r *result, key string, v canon.Value) bool {
	switch key {
	case "id":
		r.id = idText(v)
	case "requestor":
		s, ok := v.Str()
		r.actor = &s
		return ok
	case "error":
		bad, ok := v.Bool()
		if !ok {
			return false
		}
		r.status = some(map[bool]string{true: "error", false: "ok"}[bad])
	case "turn_idx":
	case "timestamp":
		if r.at = m.time(v); r.at == nil {
			return false
		}
	default:
		return false
	}
	return true
}

// done closes a turn: who acted, whether a model of the policy wrote it, and
// what the raw response says beyond it.
func (m tau2Map) done(t *turn, msg canon.Value, i int) {
	switch *t.Role {
	case "assistant", "user":
		t.Actor = some(*t.Role)
	}
	for k := range t.ToolCalls {
		first(&t.ToolCalls[k].Actor, t.Actor)
	}
	raw := get(msg, "raw_data")
	if *t.Role == "assistant" && i == 0 && raw.IsNull() && get(msg, "usage").IsNull() && len(t.ToolCalls) == 0 {
		t.Sampled = some(false) // the greeting that the simulator puts in the agent's mouth
	}
	if raw.Kind() == canon.Object {
		t.keep(m.builder, "raw_data", m.response(t, msg, raw))
	} else {
		t.keep(m.builder, "raw_data", raw)
	}
}

// members maps what a simulation says beside its messages.
func (m tau2Map) members(v canon.Value) {
	row := m.row
	for k, x := range v.Members() {
		switch k {
		case "id", "messages":
		case "task_id":
			if row.TaskID = idText(x); row.TaskID == nil {
				m.bad(k, "a string or a number", x)
			}
		case "trial":
			if m.int(k, x) != nil {
				row.Attempt, row.GroupIndex = int32Of(x), int32Of(x)
			}
		case "seed":
			if n := m.int(k, x); n != nil {
				m.sampling().Seed = n
			}
		case "start_time":
			row.StartedAt = m.timeOr(k, x)
		case "end_time":
			row.FinishedAt = m.timeOr(k, x)
		case "duration":
			if f := m.float(k, x); f != nil {
				row.DurationMs = some(int64(*f*1000 + 0.5))
			}
		case "agent_cost":
			row.CostUSD = m.float(k, x)
		case "termination_reason":
			m.termination(x)
		case "reward_info":
			m.reward(x)
		default:
			m.keep(k, x)
		}
	}
	first(&row.Status, some(schema.StatusCompleted))
}

func (b *builder) sampling() *schema.Sampling {
	if b.row.Sampling == nil {
		b.row.Sampling = &schema.Sampling{}
	}
	return b.row.Sampling
}

// termination normalises how the run ended.
func (m tau2Map) termination(v canon.Value) {
	raw, ok := v.Str()
	if !ok {
		m.keep("termination_reason", v)
		return
	}
	row := m.row
	row.TerminationRaw = &raw
	name, known := schema.Terminations.Lookup(raw)
	if !known {
		name = map[string]string{"agent_error": "model_error", "user_error": "env_error", "infrastructure_error": "env_error"}[raw]
	}
	if name == "" {
		name = "unknown"
	}
	row.Termination = &name
	switch name {
	case "user_stop", "agent_stop":
		row.Terminated, row.Truncated = some(true), some(false)
	case "unknown":
	case "model_error", "env_error":
		row.Terminated, row.Truncated, row.Status = some(false), some(true), some(schema.StatusFailed)
		row.Fault = some("infrastructure")
		if raw == "user_error" {
			row.Fault = some("environment")
		}
	default:
		row.Terminated, row.Truncated = some(false), some(true)
	}
}

// reward maps the verdict and its parts. Their weights are not in the file: the
// reward is the product of the parts that the basis names.
func (m tau2Map) reward(v canon.Value) {
	if v.Kind() != canon.Object {
		m.keep("reward_info", v)
		return
	}
	row := m.row
	row.Reward = m.float("reward_info.reward", get(v, "reward"))
	if row.Reward != nil {
		row.Rewards = append(row.Rewards, reward("reward", row.Reward, "tau2_bench"))
		row.Success = some(*row.Reward >= 1-1e-6)
	}
	parts := get(v, "reward_breakdown")
	for k, x := range parts.Members() {
		if f := m.float("reward_info.reward_breakdown."+k, x); f != nil {
			row.Rewards = append(row.Rewards, reward(k, f, "tau2_bench"))
		}
	}
	but := []string{"reward"}
	if parts.Kind() == canon.Object {
		but = append(but, "reward_breakdown")
	}
	m.keep("reward_info", without(v, but...))
}

// header maps what the results file says of the run and the task.
func (m tau2Map) header(h *tau2Header, task canon.Value) {
	row, info := m.row, h.info
	row.Harness = some("tau2-bench")
	agent, env := get(info, "agent_info"), get(info, "environment_info")
	row.Agent, row.Model = str(agent, "implementation"), str(agent, "llm")
	if d := str(env, "domain_name"); d != nil {
		row.TaskSet, row.EnvID = some("tau2-bench-"+*d), some("tau2-bench-"+*d)
	}
	if c := str(info, "git_commit"); c != nil && *c != "unknown" {
		row.EnvVersion = c
	}
	args := get(agent, "llm_args")
	if f := number(get(args, "temperature")); f != nil {
		m.sampling().Temperature = f
	}
	if f := number(get(args, "top_p")); f != nil {
		m.sampling().TopP = f
	}
	if n := integer(get(args, "max_tokens")); n != nil {
		m.sampling().MaxTokens = n
	}
	m.effort("openai", args)
	if p, ok := get(env, "policy").Str(); ok {
		row.SystemDigest = &h.policy
		for i, x := range m.extra {
			if s, same := x.Value.Str(); x.Key == "policy" && same && s == p { // whissle repeats it in each simulation
				m.extra = append(m.extra[:i], m.extra[i+1:]...)
				m.lose("policy", LossRepeated)
				break
			}
		}
	}
	if defs := get(env, "tool_defs"); defs.Len() > 0 {
		row.ToolsDigest = some(digest(canon.Append(nil, defs)))
	}
	row.Participants = tau2Participants(info)
	m.keep("info", info)
	m.keep("task", task)
	rest := h.rest
	if !h.timestamp.IsNull() {
		rest = append([]canon.Member{canon.M("timestamp", h.timestamp)}, rest...)
	}
	if len(rest) > 0 {
		m.keep("results", canon.Obj(rest...))
	}
}

// digest is the hex SHA-256 of shared content: a system prompt, tool schemas.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
