package workload

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	"trajlake/schema"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// bytesPerToken is how much text a token stands for.
const bytesPerToken = 4

// rollouts is what the rows of one group share.
type rollouts struct {
	set          *taskSet
	plan         plan
	id           string
	task         string
	system       string
	prompt       string
	promptTokens []int32
	difficulty   float64 // chance that medium effort solves the task
	graded       bool
	version      int64
	start        time.Time
	subAgents    bool
}

// nextGroup fills the queue with the rows of one group and their sub-agents.
func (g *Generator) nextGroup() {
	r := rand.New(rand.NewPCG(g.seed, g.group))
	p := g.profile
	if p.plan().bytes == 0 {
		switch k := r.IntN(100); {
		case k < 20:
			p = Tiny
		case k < 65:
			p = Small
		case k < 95:
			p = Medium
		default:
			p = Large
		}
	}
	set := r.IntN(len(taskSets))
	s := rollouts{set: &taskSets[set], plan: p.plan(), difficulty: r.Float64(), graded: r.IntN(4) == 0, version: int64(g.group / 16),
		start: epoch.Add(time.Duration(g.group) * 20 * time.Second), subAgents: p != Tiny && r.IntN(10) == 0}
	s.id = fmt.Sprintf("g-%x-%s-%d", g.seed, g.profile, g.group)
	s.task = fmt.Sprintf("%s-%d", s.set.name, r.IntN(s.set.tasks))
	if s.plan.tokens {
		s.system = cut(g.systems[set], s.plan.bytes/24)
	}
	s.prompt = g.words.text(r, 40+s.plan.bytes/100)
	for range (len(s.system) + len(s.prompt)) / bytesPerToken {
		s.promptTokens = append(s.promptTokens, g.tokens.draw(r))
	}
	g.group++
	for i := range GroupSize {
		root := g.rollout(r, &s, fmt.Sprintf("t%s-%d", s.id[1:], i), nil)
		root.GroupID, root.GroupIndex, root.GroupSize = ptr(s.id), ptr(int32(i)), ptr(int32(GroupSize))
		g.queue = append(g.queue, root)
		if s.subAgents && r.IntN(2) == 0 {
			g.queue = append(g.queue, g.subAgent(r, &s, root))
		}
	}
}

// subAgent is a rollout that root's last tool call started.
func (g *Generator) subAgent(r *rand.Rand, s *rollouts, root *schema.Trajectory) *schema.Trajectory {
	id := root.TrajectoryID + "-sub"
	for i := len(root.Turns) - 1; i >= 0; i-- {
		if n := len(root.Turns[i].ToolCalls); n > 0 {
			call := &root.Turns[i].ToolCalls[n-1]
			call.Name, call.Kind, call.SubagentIDs = ptr("delegate"), ptr("agent"), []string{id}
			root.EpisodeID, root.Agent = ptr(root.TrajectoryID), ptr("lead")
			t := g.rollout(r, s, id, root)
			t.ParentCall = ptr(*call.IDRaw)
			return t
		}
	}
	return g.rollout(r, s, id, root)
}

// rollout makes one row; parent is the row that started it, nil for a root.
func (g *Generator) rollout(r *rand.Rand, s *rollouts, id string, parent *schema.Trajectory) *schema.Trajectory {
	effort := pickEffort(r)
	end := pickEnding(r)
	t := &schema.Trajectory{
		TrajectoryID: id, TaskSet: ptr(s.set.name), TaskID: ptr(s.task),
		Status: ptr(end.status), Termination: ptr(end.termination), Fault: ptr(end.fault), Truncated: ptr(end.truncated),
		PolicyVersionMin: ptr(s.version), PolicyVersionMax: ptr(s.version + int64(r.IntN(3))),
	}
	g.effort(t, effort)
	if end.scored {
		t.Reward = pickReward(r, min(1, s.difficulty*(0.6+float64(effort%7)*0.1)), s.graded)
	}
	if t.Reward != nil {
		t.Success = ptr(*t.Reward >= 1)
	}
	start := s.start.Add(time.Duration(r.IntN(5_000)) * time.Millisecond)
	t.StartedAt = ptr(schema.TimeOf(start))
	if parent != nil {
		t.ParentID, t.EpisodeID, t.Agent = ptr(parent.TrajectoryID), ptr(parent.TrajectoryID), ptr("helper")
	}
	if s.plan.tokens {
		t.Model, t.RunID, t.EnvID, t.EnvVersion, t.Split = ptr("m-7b"), ptr(fmt.Sprintf("run-%x", g.seed)), ptr(s.set.env), ptr(fmt.Sprintf("v%d", 1+s.version/8)), ptr("train")
		t.SystemDigest, t.ToolsDigest = digest(s.system), digest(s.set.name)
		t.TokenizerID, t.LogprobMode, t.TokenFidelity = ptr("bpe-150k"), ptr("raw"), ptr("exact")
		t.Sampling = &schema.Sampling{Temperature: ptr(1.0), TopP: ptr(0.95), Seed: ptr(int64(r.Uint32()))}
	}
	b := &builder{Generator: g, r: r, s: s, t: t, at: start}
	b.build(efforts[effort].thinking)
	t.FinishedAt, t.DurationMs = ptr(schema.TimeOf(b.at)), ptr(b.at.Sub(start).Milliseconds())
	return t
}

func (g *Generator) effort(t *schema.Trajectory, i int) {
	name := efforts[i].level
	if name == "" {
		t.Mode = ptr(schema.ModeUnknown)
		return
	}
	level, _ := schema.EffortLevel(name)
	t.Effort, t.EffortLevel = ptr(name), &level
	t.Mode = ptr(schema.ModeThinking)
	if name == schema.EffortNone {
		t.Mode = ptr(schema.ModeInstruct)
	}
}

// builder adds turns to one row, with their tokens.
type builder struct {
	*Generator
	r        *rand.Rand
	s        *rollouts
	t        *schema.Trajectory
	at       time.Time
	thinking int64
}

// build writes the turns: the prompt, steps with tool calls, and the answer.
// think is the part of the sampled text that is thinking.
func (b *builder) build(think float64) {
	p := b.s.plan
	steps := p.minSteps
	if p.maxSteps > p.minSteps {
		steps += b.r.IntN(p.maxSteps - p.minSteps + 1)
	}
	size := int(float64(p.bytes)*(0.75+0.5*b.r.Float64())) - p.fixed - max(0, steps-1)*p.step
	if p.tokens { // a token takes nine bytes beside its text
		size = size * bytesPerToken / (bytesPerToken + 9)
	}
	size = max(size-len(b.s.system)-len(b.s.prompt), 40*(steps+1))
	if b.s.system != "" {
		b.t.Turns = append(b.t.Turns, schema.Turn{Role: ptr("system"), Text: ptr(b.s.system)})
	}
	b.t.Turns = append(b.t.Turns, schema.Turn{Role: ptr("user"), Text: ptr(b.s.prompt)})
	if p.tokens {
		b.prompt()
	}
	var calls, failed int32
	for i := range steps {
		ok := b.step(size/(steps+1), think, i)
		if calls++; !ok {
			failed++
		}
	}
	b.answer(size/(steps+1), think)
	t := b.t
	t.NumTurns, t.NumToolCalls, t.NumToolErrors = ptr(int32(len(t.Turns))), &calls, &failed
	if p.tokens {
		sampled := int64(0)
		for _, m := range t.LossMask {
			sampled += int64(m)
		}
		t.CompletionTokens, t.ThinkingTokens, t.PromptTokens = &sampled, ptr(b.thinking), ptr(int64(len(t.TokenIDs))-sampled)
		t.CostUSD = ptr(float64(len(t.TokenIDs)) / (1 << 20))
	}
}

// prompt adds the tokens that the group shares.
func (b *builder) prompt() {
	b.t.TokenIDs = append(b.t.TokenIDs, b.s.promptTokens...)
	b.t.LossMask = make([]int8, len(b.s.promptTokens))
	b.t.Logprobs = make([]float32, len(b.s.promptTokens))
	split := int32(len(b.s.system) * len(b.s.promptTokens) / (len(b.s.system) + len(b.s.prompt)))
	n := int32(len(b.s.promptTokens))
	b.t.Turns[0].TokenStart, b.t.Turns[0].TokenEnd = ptr(int32(0)), ptr(split)
	b.t.Turns[1].TokenStart, b.t.Turns[1].TokenEnd = ptr(split), ptr(n)
	b.segment(0, n, "prompt")
}

// tokens adds the tokens of n bytes of text, sampled or read, and their segment.
func (b *builder) tokens(n int, sampled bool) (start, end int32) {
	t := b.t
	start = int32(len(t.TokenIDs))
	for range max(1, n/bytesPerToken) {
		t.TokenIDs = append(t.TokenIDs, b.Generator.tokens.draw(b.r))
		if sampled {
			t.LossMask = append(t.LossMask, 1)
			t.Logprobs = append(t.Logprobs, -float32(b.r.ExpFloat64())/2)
		} else {
			t.LossMask = append(t.LossMask, 0)
			t.Logprobs = append(t.Logprobs, 0)
		}
	}
	end = int32(len(t.TokenIDs))
	reason := "tool"
	if sampled {
		reason = "sampled"
	}
	b.segment(start, end, reason)
	return start, end
}

func (b *builder) segment(start, end int32, reason string) {
	s := schema.Segment{Start: &start, End: &end, Reason: &reason}
	if n := int32(len(b.t.Segments)); n > 0 {
		s.Parent = ptr(n - 1)
	}
	if reason == "sampled" {
		s.PolicyVersion = b.version()
	}
	b.t.Segments = append(b.t.Segments, s)
}

// version is that of the policy at this point of the rollout: it may rise.
func (b *builder) version() *int64 {
	least, most := *b.t.PolicyVersionMin, *b.t.PolicyVersionMax
	return ptr(min(least+int64(len(b.t.Segments)/4), most))
}

// step is one sampled turn that calls a tool, with the tool's result; it reports
// whether the tool worked.
func (b *builder) step(size int, think float64, i int) bool {
	tool := b.s.set.tools[b.r.IntN(len(b.s.set.tools))]
	args := fmt.Sprintf(`{"%s":%q}`, b.words.name(b.r), b.words.text(b.r, size/8))
	thinking := b.words.text(b.r, int(float64(size)*think))
	result := b.words.text(b.r, size-len(args)-len(thinking))
	status := "ok"
	switch b.r.IntN(25) {
	case 0, 1:
		status, result = "error", "Error: "+result
	case 2:
		status = "timeout"
	}
	latency := int64(20 + b.r.ExpFloat64()*400)
	turn := b.sampledTurn(thinking, len(args), "tool_calls")
	turn.ToolCalls = []schema.ToolCall{{IDRaw: ptr(fmt.Sprintf("call_%d", i)), Name: ptr(tool.name), Kind: ptr(tool.kind), ArgsRaw: &args,
		Result: &result, ResultStatus: &status, Link: ptr("id"), LatencyMs: &latency}}
	b.at = b.at.Add(time.Duration(latency) * time.Millisecond)
	b.t.Turns = append(b.t.Turns, turn)
	b.tokens(len(result), false)
	return status == "ok"
}

// answer is the last turn.
func (b *builder) answer(size int, think float64) {
	thinking := b.words.text(b.r, int(float64(size)*think))
	text := b.words.text(b.r, size-len(thinking))
	reason := "stop"
	if *b.t.Truncated {
		reason = "length"
	}
	turn := b.sampledTurn(thinking, len(text), reason)
	turn.Text = &text
	b.t.Turns = append(b.t.Turns, turn)
}

// sampledTurn is a turn of the policy, its tokens added if rows have tokens.
func (b *builder) sampledTurn(thinking string, more int, reason string) schema.Turn {
	turn := schema.Turn{Role: ptr("assistant"), Sampled: ptr(true)}
	if thinking != "" {
		turn.Thinking = &thinking
	}
	b.at = b.at.Add(time.Duration(50+(len(thinking)+more)*5) * time.Millisecond)
	if !b.s.plan.tokens {
		return turn
	}
	turn.FinishReason, turn.PolicyVersion, turn.At = &reason, b.version(), ptr(schema.TimeOf(b.at))
	start, end := b.tokens(len(thinking)+more, true)
	turn.TokenStart, turn.TokenEnd = &start, &end
	think := int64(len(thinking) / bytesPerToken)
	b.thinking += think
	turn.Usage = &schema.Usage{Prompt: ptr(int64(start)), Completion: ptr(int64(end - start)), Thinking: &think}
	return turn
}

func digest(text string) *string {
	sum := sha256.Sum256([]byte(text))
	return ptr(hex.EncodeToString(sum[:]))
}

// cut is text, at most n bytes of it, at the end of a line or word.
func cut(text string, n int) string {
	if n >= len(text) {
		return text
	}
	for n > 0 && text[n] != ' ' && text[n] != '\n' {
		n--
	}
	return text[:n]
}

func ptr[T any](v T) *T { return &v }
