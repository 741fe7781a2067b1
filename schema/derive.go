package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"trajlake/schema/canon"
)

// Derive fills the columns that are null and follow from the others: counts, sums
// of usage, the two forms of effort, mode, the outcome flags of a termination,
// the policy versions, prompt_hash, tool_kinds, duration_ms and token_fidelity.
// What is unknown stays null; nothing that was given is changed. It runs after
// the digest of what was handed in was taken, and running it twice is the same
// as once. The rules are in docs/format/identity.md.
func Derive(t *Trajectory) {
	deriveCounts(t)
	deriveUsage(t)
	deriveEffort(t)
	deriveOutcome(t)
	if t.PromptHash == nil {
		t.PromptHash = promptHash(t.Turns)
	}
	if t.ToolKinds == nil {
		t.ToolKinds = toolKinds(t.Turns)
	}
	if t.TokenFidelity == nil {
		set(&t.TokenFidelity, map[bool]string{true: "exact", false: "none"}[len(t.TokenIDs) > 0])
	}
	if t.DurationMs == nil && t.StartedAt != nil && t.FinishedAt != nil && *t.FinishedAt >= *t.StartedAt {
		set(&t.DurationMs, int64(*t.FinishedAt-*t.StartedAt)/1000)
	}
}

func set[T any](to **T, v T) { *to = &v }

func deriveCounts(t *Trajectory) {
	if len(t.Turns) == 0 {
		return
	}
	if t.NumTurns == nil {
		set(&t.NumTurns, int32(len(t.Turns)))
	}
	var calls, failed int32
	known := true
	for i := range t.Turns {
		for k := range t.Turns[i].ToolCalls {
			calls++
			switch status := t.Turns[i].ToolCalls[k].ResultStatus; {
			case status == nil:
				known = false
			case *status == "error" || *status == "timeout":
				failed++
			}
		}
	}
	if t.NumToolCalls == nil {
		t.NumToolCalls = &calls
	}
	if t.NumToolErrors == nil && known {
		t.NumToolErrors = &failed
	}
}

// IsSampled reports whether the policy produced a turn: sampled if it is said,
// else by the role, demonstrations apart.
func (t *Turn) IsSampled() bool {
	if t.Sampled != nil {
		return *t.Sampled
	}
	return value(t.Role) == "assistant" && !value(t.IsDemo)
}

// deriveUsage sums over the sampled turns what every one of them states.
func deriveUsage(t *Trajectory) {
	var completion, thinking, least, most int64
	n, completions, thinkings, versions := 0, 0, 0, 0
	for i := range t.Turns {
		turn := &t.Turns[i]
		if !turn.IsSampled() {
			continue
		}
		n++
		if u := turn.Usage; u != nil && u.Completion != nil {
			completion += *u.Completion
			completions++
		}
		if u := turn.Usage; u != nil && u.Thinking != nil {
			thinking += *u.Thinking
			thinkings++
		}
		if v := turn.PolicyVersion; v != nil {
			if versions == 0 {
				least, most = *v, *v
			}
			least, most = min(least, *v), max(most, *v)
			versions++
		}
	}
	if n == 0 {
		return
	}
	if t.CompletionTokens == nil && completions == n {
		t.CompletionTokens = &completion
	}
	if t.ThinkingTokens == nil && thinkings == n {
		t.ThinkingTokens = &thinking
	}
	if versions == n && t.PolicyVersionMin == nil && t.PolicyVersionMax == nil {
		t.PolicyVersionMin, t.PolicyVersionMax = &least, &most
	}
}

func deriveEffort(t *Trajectory) {
	if t.EffortLevel == nil && t.Effort != nil {
		if n, ok := EffortLevel(*t.Effort); ok {
			t.EffortLevel = &n
		}
	}
	if t.Effort == nil && t.EffortLevel != nil {
		if name, ok := EffortName(*t.EffortLevel); ok {
			t.Effort = &name
		}
	}
	if t.Mode == nil {
		set(&t.Mode, mode(t))
	}
}

// mode is thinking if thinking was effective or was seen; instruct if it was
// explicitly off and none was seen; else unknown.
func mode(t *Trajectory) string {
	level := t.Effort
	if t.EffortEffective != nil {
		level = t.EffortEffective
	}
	off := level != nil && *level == EffortNone || value(t.EffortMode) == EffortModeOff
	on := level != nil && *level != EffortNone && !off || value(t.EffortMode) == EffortModeAlwaysOn
	switch {
	case on || value(t.ThinkingTokens) > 0 || thought(t.Turns):
		return ModeThinking
	case off:
		return ModeInstruct
	}
	return ModeUnknown
}

// thought reports whether a sampled turn holds thinking.
func thought(turns []Turn) bool {
	for i := range turns {
		t := &turns[i]
		if !t.IsSampled() {
			continue
		}
		if value(t.Thinking) != "" || t.Usage != nil && value(t.Usage.Thinking) > 0 {
			return true
		}
		for k := range t.Blocks {
			if b := value(t.Blocks[k].Type); b == "thinking" || b == "redacted_thinking" {
				return true
			}
		}
	}
	return false
}

// deriveOutcome fills terminated and truncated where the termination decides
// them: the episode came to its own end, or it was cut off from outside.
func deriveOutcome(t *Trajectory) {
	if t.Termination == nil {
		return
	}
	var ended bool
	switch *t.Termination {
	case "agent_stop", "user_stop", "submitted", "env_done", "parse_error", "refusal":
		ended = true
	case "max_turns", "max_tokens", "context_full", "token_budget", "time_limit", "cost_limit", "cancelled_stale", "cancelled_overload", "interrupted":
	default:
		return
	}
	if t.Terminated == nil {
		set(&t.Terminated, ended)
	}
	if t.Truncated == nil {
		set(&t.Truncated, !ended)
	}
}

// promptHash is the digest of what the policy was given before its first turn:
// role, text, thinking, blocks and calls of the turns before it; nil if there is
// no such turn, or nothing before it.
func promptHash(turns []Turn) *string {
	first := slices.IndexFunc(turns, func(t Turn) bool { return t.IsSampled() })
	if first <= 0 {
		return nil
	}
	var said []canon.Value
	for i := range turns[:first] {
		t := &turns[i]
		m := texts(nil, "role", t.Role, "text", t.Text, "thinking", t.Thinking)
		var blocks, calls []canon.Value
		for k := range t.Blocks {
			b := &t.Blocks[k]
			blocks = append(blocks, canon.Obj(texts(nil, "type", b.Type, "text", b.Text, "mime", b.Mime, "digest", b.Digest)...))
		}
		for k := range t.ToolCalls {
			c := &t.ToolCalls[k]
			calls = append(calls, canon.Obj(texts(nil, "name", c.Name, "args_raw", c.ArgsRaw, "result", c.Result)...))
		}
		if len(blocks) > 0 {
			m = append(m, canon.M("blocks", canon.Arr(blocks...)))
		}
		if len(calls) > 0 {
			m = append(m, canon.M("tool_calls", canon.Arr(calls...)))
		}
		said = append(said, canon.Obj(m...))
	}
	sum := sha256.Sum256(canon.Append(nil, canon.Arr(said...)))
	text := hex.EncodeToString(sum[:])
	return &text
}

// texts makes members of alternating keys and texts, null ones left out.
func texts(m []canon.Member, pairs ...any) []canon.Member {
	for i := 0; i < len(pairs); i += 2 {
		if s := pairs[i+1].(*string); s != nil {
			m = append(m, canon.M(pairs[i].(string), canon.Str(*s)))
		}
	}
	return m
}

// kindWords are parts of tool names that tell their kind; the first that fits decides.
var kindWords = []struct {
	kind  string
	words []string
}{
	{"agent", []string{"agent", "delegate", "subtask", "handoff"}},
	{"browser", []string{"browser", "browse", "click", "navigate", "goto", "scroll", "screenshot", "web_page", "open_url", "visit", "fetch"}},
	{"search", []string{"search", "retrieve", "lookup", "grep", "find", "google", "bing", "wiki", "query"}},
	{"shell", []string{"bash", "shell", "terminal", "command", "exec_cmd", "cmd"}},
	{"file", []string{"file", "editor", "edit", "patch", "write", "read", "view", "glob", "ls", "str_replace"}},
	{"code", []string{"python", "ipython", "code", "jupyter", "interpreter", "notebook", "eval", "compile", "sql"}},
}

// ToolKind is the kind of tool that a name suggests: search, code, browser,
// shell, file, agent, else other.
func ToolKind(name string) string {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '_' || r == '-' || r == '.' || r == '/' || r == ':' })
	joined := strings.Join(parts, "_")
	if joined == "task" {
		return "agent"
	}
	for _, k := range kindWords {
		for _, w := range k.words {
			if slices.Contains(parts, w) || strings.Contains(w, "_") && strings.Contains(joined, w) {
				return k.kind
			}
		}
	}
	return "other"
}

// toolKinds is the sorted set of the kinds of all calls, given or by name.
func toolKinds(turns []Turn) []string {
	var kinds []string
	for i := range turns {
		for k := range turns[i].ToolCalls {
			c := &turns[i].ToolCalls[k]
			kind := value(c.Kind)
			if kind == "" {
				if c.Name == nil {
					continue
				}
				kind = ToolKind(*c.Name)
			}
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	slices.Sort(kinds)
	return kinds
}
