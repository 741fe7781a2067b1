package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"

	"trajlake/internal/workload"
	"trajlake/schema"
)

// eachBatch calls fn with the rows of the Arrow stream at path, batch by batch,
// up to limit rows; without a path rows are generated.
func eachBatch(path string, limit int, fn func([]*schema.Trajectory) error) error {
	if path == "" {
		g := workload.New(7, workload.Medium)
		for done := 0; done < limit; done += 1000 {
			rows := make([]*schema.Trajectory, min(1000, limit-done))
			for i := range rows {
				rows[i] = g.Next()
			}
			if err := fn(rows); err != nil {
				return err
			}
		}
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	r, err := ipc.NewReader(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	defer r.Release()
	for done := 0; done < limit; {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		n := min(int(rec.NumRows()), limit-done)
		rows := make([]*schema.Trajectory, n)
		p := newPeerRows(rec)
		for i := range rows {
			rows[i] = p.row(i)
		}
		if err := fn(rows); err != nil {
			return err
		}
		done += n
	}
	return nil
}

// firstRows are the first n rows.
func firstRows(path string, n int) ([]*schema.Trajectory, error) {
	var out []*schema.Trajectory
	err := eachBatch(path, n, func(rows []*schema.Trajectory) error {
		out = append(out, rows...)
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s has no rows", path)
	}
	return out, err
}

// group is a record or a struct column: arrays by name.
type group map[string]arrow.Array

// peerRows reads rows of the peers' workload.
type peerRows struct {
	top, turn, call group
	turns, calls    *array.List
}

func newPeerRows(rec arrow.Record) *peerRows {
	p := &peerRows{top: group{}}
	for i, f := range rec.Schema().Fields() {
		p.top[f.Name] = rec.Column(i)
	}
	p.turns, _ = p.top["turns"].(*array.List)
	if p.turns != nil {
		p.turn = fieldsOf(p.turns.ListValues())
		p.calls, _ = p.turn["tool_calls"].(*array.List)
	}
	if p.calls != nil {
		p.call = fieldsOf(p.calls.ListValues())
	}
	return p
}

func fieldsOf(a arrow.Array) group {
	out := group{}
	if s, ok := a.(*array.Struct); ok {
		for i, f := range s.DataType().(*arrow.StructType).Fields() {
			out[f.Name] = s.Field(i)
		}
	}
	return out
}

func (g group) text(name string, i int) *string {
	switch a := g[name].(type) {
	case *array.String:
		if a.IsValid(i) {
			return new(string([]byte(a.Value(i)))) // must not keep the whole batch alive
		}
	case *array.Int64:
		if a.IsValid(i) {
			return new(strconv.FormatInt(a.Value(i), 10))
		}
	}
	return nil
}

func (g group) long(name string, i int) *int64 {
	switch a := g[name].(type) {
	case *array.Int32:
		if a.IsValid(i) {
			return new(int64(a.Value(i)))
		}
	case *array.Int64:
		if a.IsValid(i) {
			return new(a.Value(i))
		}
	}
	return nil
}

func (g group) short(name string, i int) *int32 {
	if v := g.long(name, i); v != nil {
		return new(int32(*v))
	}
	return nil
}

func (g group) real(name string, i int) *float64 {
	if a, ok := g[name].(*array.Float64); ok && a.IsValid(i) {
		return new(a.Value(i))
	}
	return nil
}

func (g group) yes(name string, i int) *bool {
	if a, ok := g[name].(*array.Boolean); ok && a.IsValid(i) {
		return new(a.Value(i))
	}
	return nil
}

func (g group) time(name string, i int) *schema.Time {
	if a, ok := g[name].(*array.Timestamp); ok && a.IsValid(i) {
		return new(schema.TimeOf(a.Value(i).ToTime(arrow.Microsecond)))
	}
	return nil
}

// statusOf are the workload's words for how a rollout ended that are not ours.
var statusOf = map[string]string{"error": "failed", "timeout": "failed", "truncated": "aborted"}

// row is row i as a trajectory. The peers' numeric effort is our level and, by
// its scale, our name; their content hash stays behind, we take our own.
func (p *peerRows) row(i int) *schema.Trajectory {
	g := p.top
	t := &schema.Trajectory{
		RunID: g.text("run_id", i), TaskID: g.text("task_id", i), TaskSet: g.text("task_set", i), Dataset: g.text("dataset", i),
		Split: g.text("split", i), PromptHash: g.text("prompt_hash", i), GroupID: g.text("group_id", i), GroupIndex: g.short("group_index", i),
		EpisodeID: g.text("episode_id", i), ParentID: g.text("parent_id", i), Agent: g.text("agent", i), Attempt: g.short("attempt", i),
		Model: g.text("model", i), PolicyVersionMin: g.long("policy_version_min", i), PolicyVersionMax: g.long("policy_version_max", i),
		TokenizerID: g.text("tokenizer_id", i), Mode: g.text("mode", i), EnvID: g.text("env_id", i), EnvVersion: g.text("env_version", i),
		Status: g.text("status", i), Fault: g.text("fault", i), Reward: g.real("reward", i), Success: g.yes("success", i),
		NumTurns: g.short("num_turns", i), NumToolCalls: g.short("num_tool_calls", i), PromptTokens: g.long("prompt_tokens", i),
		CompletionTokens: g.long("completion_tokens", i), ThinkingTokens: g.long("thinking_tokens", i), CostUSD: g.real("cost_usd", i),
		StartedAt: g.time("started_at", i), FinishedAt: g.time("finished_at", i),
	}
	if id := g.text("trajectory_id", i); id != nil {
		t.TrajectoryID = *id
	}
	if word := t.Status; word != nil && statusOf[*word] != "" {
		t.Status = new(statusOf[*word])
	}
	if level := g.long("effort", i); level != nil {
		t.EffortLevel = new(int8(*level))
		if name, ok := schema.EffortName(int8(*level)); ok {
			t.Effort = &name
		}
	}
	if p.turns != nil {
		lo, hi := p.turns.ValueOffsets(i)
		t.Turns = make([]schema.Turn, hi-lo)
		for k := range t.Turns {
			p.fillTurn(&t.Turns[k], int(lo)+k)
		}
	}
	t.TokenIDs = listOf[int32](g["token_ids"], i)
	t.LossMask = listOf[int8](g["loss_mask"], i)
	t.Logprobs = listOf[float32](g["logprobs"], i)
	n := int32(len(t.TokenIDs))
	for k := range t.Turns { // spans of the workload may end a little past the tokens
		if e := t.Turns[k].TokenEnd; e != nil && *e > n {
			*e = n
		}
	}
	return t
}

func (p *peerRows) fillTurn(t *schema.Turn, i int) {
	g := p.turn
	*t = schema.Turn{
		Parent: g.short("parent", i), Actor: g.text("actor", i), Role: g.text("role", i), Sampled: g.yes("sampled", i),
		Text: g.text("text", i), Thinking: g.text("thinking", i), FinishReason: g.text("finish_reason", i),
		PolicyVersion: g.long("policy_version", i), TokenStart: g.short("token_start", i), TokenEnd: g.short("token_end", i),
	}
	if t.Parent != nil && *t.Parent < 0 {
		t.Parent = nil // the root
	}
	if p.calls == nil {
		return
	}
	lo, hi := p.calls.ValueOffsets(i)
	for k := int(lo); k < int(hi); k++ {
		c := p.call
		t.ToolCalls = append(t.ToolCalls, schema.ToolCall{
			IDRaw: c.text("id_raw", k), Name: c.text("name", k), ArgsRaw: c.text("args_raw", k), Result: c.text("result", k),
			ResultStatus: c.text("result_status", k), LatencyMs: c.long("latency_ms", k),
		})
	}
}

// listOf copies the list in row i.
func listOf[T int8 | int32 | float32](a arrow.Array, i int) []T {
	l, ok := a.(*array.List)
	if !ok {
		return nil
	}
	lo, hi := l.ValueOffsets(i)
	var all any
	switch v := l.ListValues().(type) {
	case *array.Int32:
		all = v.Int32Values()
	case *array.Int8:
		all = v.Int8Values()
	case *array.Float32:
		all = v.Float32Values()
	}
	typed, _ := all.([]T)
	if int(hi) > len(typed) {
		return nil
	}
	return append([]T(nil), typed[lo:hi]...)
}
