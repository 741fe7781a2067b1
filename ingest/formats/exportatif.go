package formats

import (
	"fmt"
	"io"
	"slices"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// atifExport writes ATIF 1.7, one trajectory per file, with a trial result of
// Harbor's kind beside it. What ATIF has no place for stands in the extra of the
// root, the steps and the calls under "trajlake", from where the importer takes
// it back.
type atifExport struct{}

func (atifExport) Name() string { return "atif" }
func (atifExport) Lines() bool  { return false }

// atifCarries are the columns that ATIF has a place of its own for.
var atifCarries = []string{"agent", "model", "harness", "cost_usd", "prompt_tokens", "completion_tokens", "tools_digest", "turns.role", "turns.text", "turns.thinking",
	"turns.at", "turns.model", "turns.cost_usd", "turns.usage", "turns.effort", "turns.tool_calls.id_raw", "turns.tool_calls.name", "turns.tool_calls.args_raw",
	"turns.tool_calls.result", "turns.tool_calls.subagent_ids", "turns.tool_calls.link", "turns.tool_calls.kind", "token_ids", "loss_mask", "logprobs", "logprob_mode", "segments",
	"turns.token_start", "turns.token_end", "turns.sampled"}

func (atifExport) Write(w io.Writer, row *schema.Trajectory) ([]Loss, error) {
	x := &atifWriter{row: row, losses: lossOf("atif", LossMoved, row, atifCarries)}
	if row.Extra != nil {
		x.losses = addOnce(x.losses, Loss{"atif", "extra", LossMoved, 1})
	}
	native, err := canon.Parse(schema.AppendJSONWith(nil, row, schema.JSONOptions{WithoutPlace: true}), canon.Limits{})
	if err != nil {
		return nil, wrote("atif", row, err)
	}
	x.native = native
	x.withTokens = tokensFit(row)
	_, err = w.Write(append(canon.Compact(x.document()), '\n'))
	return x.losses, wrote("atif", row, err)
}

// atifWriter writes one row.
type atifWriter struct {
	row        *schema.Trajectory
	native     canon.Value // the row as native JSON, of which the rest goes to extra
	withTokens bool        // the steps carry the tokens
	losses     []Loss
}

func (x *atifWriter) document() canon.Value {
	row := x.row
	ms := []canon.Member{canon.M("schema_version", canon.Str("ATIF-v1.7"))}
	if row.TrajectoryID != "" {
		ms = append(ms, canon.M("trajectory_id", canon.Str(row.TrajectoryID)))
	}
	ext := extraOf(row.Extra)
	if s, ok := get(ext, "session_id").Str(); ok {
		ms = append(ms, canon.M("session_id", canon.Str(s)))
	}
	ms = append(ms, canon.M("agent", x.agent(ext)), canon.M("steps", canon.Arr(x.steps()...)))
	if m := x.finalMetrics(); m.Len() > 0 {
		ms = append(ms, canon.M("final_metrics", m))
	}
	for _, k := range []string{"notes", "continued_trajectory_ref"} {
		if s, ok := get(ext, k).Str(); ok {
			ms = append(ms, canon.M(k, canon.Str(s)))
		}
	}
	but := []string{"turns", "trajectory_id", "source", "import_loss"}
	if x.withTokens {
		but = append(but, "token_ids", "loss_mask", "logprobs", "segments")
	}
	own := without(x.native, but...)
	extra := membersOf(get(ext, "extra"))
	extra = append(slices.DeleteFunc(extra, func(m canon.Member) bool { return m.Key == columnsKey }), canon.M(columnsKey, own))
	return canon.Obj(append(ms, canon.M("extra", canon.Obj(extra...)))...)
}

func (x *atifWriter) agent(ext canon.Value) canon.Value {
	name, version := "unknown", "unknown"
	if x.row.Harness != nil {
		name = *x.row.Harness
	}
	if x.row.Agent != nil {
		name = *x.row.Agent
	}
	if s, ok := get(ext, "agent", "version").Str(); ok {
		version = s
	}
	ms := []canon.Member{canon.M("name", canon.Str(name)), canon.M("version", canon.Str(version))}
	ms = maybe(ms, "model_name", x.row.Model)
	if tools := toolsOf(x.row); !tools.IsNull() {
		ms = append(ms, canon.M("tool_definitions", tools))
	}
	if e := get(ext, "agent", "extra"); e.Kind() == canon.Object {
		ms = append(ms, canon.M("extra", e))
	}
	return canon.Obj(ms...)
}

func (x *atifWriter) finalMetrics() canon.Value {
	var ms []canon.Member
	num := func(key string, n *int64) {
		if n != nil {
			ms = append(ms, canon.M(key, canon.IntOf(*n)))
		}
	}
	num("total_prompt_tokens", x.row.PromptTokens)
	num("total_completion_tokens", x.row.CompletionTokens)
	if x.row.CostUSD != nil {
		ms = append(ms, canon.M("total_cost_usd", canon.FloatOf(*x.row.CostUSD)))
	}
	return canon.Obj(append(ms, canon.M("total_steps", canon.IntOf(int64(len(x.row.Turns)))))...)
}

func (x *atifWriter) steps() []canon.Value {
	steps := make([]canon.Value, len(x.row.Turns))
	for i := range x.row.Turns {
		steps[i] = x.step(i)
	}
	return steps
}

// step writes one turn as a step. Whatever of it the step does not say itself
// stands in its extra.
func (x *atifWriter) step(i int) canon.Value {
	t := &x.row.Turns[i]
	turn := get(x.native, "turns").At(i)
	source := "system"
	if t.Role != nil {
		switch *t.Role {
		case "assistant":
			source = "agent"
		case "user":
			source = "user"
		}
	}
	ms := []canon.Member{canon.M("step_id", canon.IntOf(int64(i)+1))}
	if t.At != nil {
		ms = append(ms, canon.M("timestamp", canon.Str(t.At.String())))
	}
	ms = append(ms, canon.M("source", canon.Str(source)), canon.M("message", messageOf(t)))
	if source == "agent" {
		ms = maybe(ms, "model_name", t.Model)
		ms = maybe(ms, "reasoning_effort", t.Effort)
		ms = maybe(ms, "reasoning_content", t.Thinking)
		if !t.IsSampled() {
			ms = append(ms, canon.M("llm_call_count", canon.IntOf(0)))
		}
		if len(t.ToolCalls) > 0 {
			calls, results := x.calls(t)
			ms = append(ms, canon.M("tool_calls", canon.Arr(calls...)))
			if len(results) > 0 {
				ms = append(ms, canon.M("observation", canon.Obj(canon.M("results", canon.Arr(results...)))))
			}
		}
		if m := x.metrics(i, t); m.Len() > 0 {
			ms = append(ms, canon.M("metrics", m))
		}
	} else if len(t.ToolCalls) > 0 {
		x.losses = addOnce(x.losses, Loss{"atif", "turns.tool_calls", LossMoved, 1})
	}
	return canon.Obj(append(ms, canon.M("extra", canon.Obj(canon.M(columnsKey, x.rest(t, turn, source == "agent")))))...)
}

// messageOf is the step's message: text, or parts where there are images.
func messageOf(t *schema.Turn) canon.Value {
	images := slices.ContainsFunc(t.Blocks, func(b schema.Block) bool { return b.Type != nil && *b.Type == "image" })
	if images {
		return contentOf(t)
	}
	return canon.Str(text(t.Text))
}

// calls writes an agent's calls and their results. Arguments that are no object
// are wrapped.
func (x *atifWriter) calls(t *schema.Turn) (calls, results []canon.Value) {
	for k := range t.ToolCalls {
		c := &t.ToolCalls[k]
		id := fmt.Sprintf("call_%d", k)
		if c.IDRaw != nil && *c.IDRaw != "" {
			id = *c.IDRaw
		}
		args, err := canon.Parse([]byte(text(c.ArgsRaw)), canon.Limits{})
		if err != nil || args.Kind() != canon.Object {
			args = canon.Obj()
			if c.ArgsRaw != nil {
				args = canon.Obj(canon.M("input", canon.Str(*c.ArgsRaw)))
				x.losses = addOnce(x.losses, Loss{"atif", "turns.tool_calls.args_raw", LossApproximated, 1})
			}
		}
		calls = append(calls, canon.Obj(canon.M("tool_call_id", canon.Str(id)), canon.M("function_name", canon.Str(text(c.Name))), canon.M("arguments", args)))
		if c.Result == nil && len(c.SubagentIDs) == 0 {
			continue
		}
		r := []canon.Member{canon.M("source_call_id", canon.Str(id))}
		r = maybe(r, "content", c.Result)
		if len(c.SubagentIDs) > 0 {
			refs := make([]canon.Value, len(c.SubagentIDs))
			for n, s := range c.SubagentIDs {
				refs[n] = canon.Obj(canon.M("trajectory_id", canon.Str(s)))
			}
			r = append(r, canon.M("subagent_trajectory_ref", canon.Arr(refs...)))
		}
		results = append(results, canon.Obj(r...))
	}
	return calls, results
}

func (x *atifWriter) metrics(i int, t *schema.Turn) canon.Value {
	var ms []canon.Member
	num := func(key string, n *int64) {
		if n != nil {
			ms = append(ms, canon.M(key, canon.IntOf(*n)))
		}
	}
	if u := t.Usage; u != nil {
		num("prompt_tokens", u.Prompt)
		num("completion_tokens", u.Completion)
		num("cached_tokens", u.CacheRead)
		var own []canon.Member
		if u.Thinking != nil {
			own = append(own, canon.M("reasoning_tokens", canon.IntOf(*u.Thinking)))
		}
		if u.CacheWrite != nil {
			own = append(own, canon.M("cache_creation_tokens", canon.IntOf(*u.CacheWrite)))
		}
		if len(own) > 0 {
			ms = append(ms, canon.M("extra", canon.Obj(own...)))
		}
	}
	if t.CostUSD != nil {
		ms = append(ms, canon.M("cost_usd", canon.FloatOf(*t.CostUSD)))
	}
	if x.withTokens && t.TokenStart != nil {
		ms = append(ms, stepTokens(x.row, t)...)
	}
	return canon.Obj(ms...)
}

// Beside is the trial result: the reward has no place in ATIF itself.
func (atifExport) Beside(row *schema.Trajectory) (string, []byte) {
	var ms []canon.Member
	if row.TrajectoryID != "" {
		ms = append(ms, canon.M("id", canon.Str(row.TrajectoryID)))
	}
	ms = maybe(ms, "task_name", row.TaskID)
	ms = maybe(ms, "source", row.TaskSet)
	info := maybe(maybe(nil, "name", row.Agent), "version", row.Harness)
	if row.Model != nil {
		info = append(info, canon.M("model_info", canon.Obj(canon.M("name", canon.Str(*row.Model)))))
	}
	ms = append(ms, canon.M("agent_info", canon.Obj(info...)))
	var rewards []canon.Member
	if row.Reward != nil {
		rewards = append(rewards, canon.M("reward", canon.FloatOf(*row.Reward)))
	}
	for i := range row.Rewards {
		if r := &row.Rewards[i]; r.Name != nil && r.Value != nil {
			rewards = append(rewards, canon.M(*r.Name, canon.FloatOf(*r.Value)))
		}
	}
	if len(rewards) > 0 {
		ms = append(ms, canon.M("verifier_result", canon.Obj(canon.M("rewards", canon.Obj(rewards...)))))
	}
	if row.StartedAt != nil {
		ms = append(ms, canon.M("started_at", canon.Str(row.StartedAt.String())))
	}
	if row.FinishedAt != nil {
		ms = append(ms, canon.M("finished_at", canon.Str(row.FinishedAt.String())))
	}
	return ".result.json", append(canon.Compact(canon.Obj(ms...)), '\n')
}
