package schema

import "strings"

// Levels of effort, in order; see EffortLevel.
const (
	EffortNone    = "none"
	EffortMinimal = "minimal"
	EffortLow     = "low"
	EffortMedium  = "medium"
	EffortHigh    = "high"
	EffortXHigh   = "xhigh"
	EffortMax     = "max"
)

// Values of mode, the label that curation balances by.
const (
	ModeThinking = "thinking"
	ModeInstruct = "instruct"
	ModeUnknown  = "unknown"
)

// Values of effort_mode: how thinking was switched.
const (
	EffortModeUnknown  = "unknown"
	EffortModeOff      = "off"
	EffortModeOn       = "on"
	EffortModeAdaptive = "adaptive"
	EffortModeAlwaysOn = "always_on"
)

// Values of status.
const (
	StatusCompleted = "completed"
	StatusFailed    = "failed"
	StatusAborted   = "aborted"
	StatusRunning   = "running"
)

// Enum is a closed set of names for a column, with the other words that vendors
// and tools use for them. It is read-only.
type Enum struct {
	names   []string
	aliases map[string]string
}

func enum(names string, aliases ...string) *Enum {
	e := &Enum{names: strings.Fields(names), aliases: make(map[string]string)}
	for _, line := range aliases {
		name, words, _ := strings.Cut(line, ":")
		for _, w := range strings.Fields(words) {
			e.aliases[w] = name
		}
	}
	return e
}

// Names lists the names, in their order.
func (e *Enum) Names() []string { return append([]string(nil), e.names...) }

// Has reports whether name is one of the names, exactly.
func (e *Enum) Has(name string) bool {
	for _, n := range e.names {
		if n == name {
			return true
		}
	}
	return false
}

// Lookup is the name that a word of a source stands for: a name or an alias,
// whatever its case, with '-' and blanks as '_'.
func (e *Enum) Lookup(word string) (name string, ok bool) {
	word = strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(strings.TrimSpace(word)))
	if e.Has(word) {
		return word, true
	}
	name, ok = e.aliases[word]
	return name, ok
}

// The closed sets of names.
var (
	Efforts = enum("none minimal low medium high xhigh max",
		"none:off disabled no_think", "minimal:min", "medium:mid med moderate", "xhigh:x_high extra_high very_high extra", "max:maximum ultra")
	Modes            = enum("thinking instruct unknown", "instruct:non_thinking no_think", "thinking:think reasoning")
	EffortModes      = enum("unknown off on adaptive always_on", "off:disabled none false", "on:enabled true", "adaptive:auto dynamic default", "always_on:always")
	ThinkingFidelity = enum("raw summary encrypted omitted none unknown", "raw:full", "summary:summarized summarised auto", "encrypted:redacted")
	Statuses         = enum("completed failed aborted running",
		"completed:complete done success succeeded finished ok", "failed:failure error errored", "aborted:cancelled canceled interrupted killed stopped", "running:in_progress pending started")
	Terminations = enum("agent_stop user_stop submitted env_done max_turns max_tokens context_full token_budget time_limit cost_limit parse_error tool_error env_error model_error refusal cancelled_stale cancelled_overload interrupted unknown",
		"agent_stop:stop end_turn agent_finish finished", "submitted:submit", "env_done:done", "max_turns:max_steps turn_limit step_limit limitsexceeded",
		"max_tokens:length token_limit", "context_full:context_length_exceeded context context_window exit_context", "time_limit:timeout time exit_total_execution_time working_limit",
		"cost_limit:cost exit_cost", "parse_error:format_error exit_format", "tool_error:too_many_errors", "env_error:environment_error exit_environment_error",
		"model_error:api_error exit_api exit_error llm_error", "refusal:content_filter", "interrupted:keyboardinterrupt cancelled canceled")
	FaultOwners      = enum("none policy environment infrastructure judge", "policy:agent model", "environment:env user_sim", "infrastructure:infra api", "judge:verifier grader")
	LogprobModes     = enum("raw processed unknown", "raw:raw_logprobs", "processed:processed_logprobs")
	TokenFidelities  = enum("exact rebuilt none", "rebuilt:retokenized retokenised")
	Roles            = enum("system developer user assistant tool environment event", "assistant:ai model gpt agent bot", "user:human", "tool:function observation tool_result ipython", "environment:env")
	ToolKinds        = enum("search code browser shell file agent other")
	ResultStatuses   = enum("ok error timeout cancelled rejected missing", "ok:success completed", "error:failed failure", "cancelled:canceled", "timeout:timed_out")
	Links            = enum("id order name_order same_object adjacency none")
	ParticipantKinds = enum("agent user_sim human tool judge", "user_sim:user user_simulator", "agent:assistant")
	SegmentReasons   = enum("sampled prompt tool forced injected copied redacted")
	AnnotationKinds  = enum("reward label priority advantage quarantine restore review gone supersede")
	TargetKinds      = enum("trajectory turn call span group episode task env")
	LedgerKinds      = enum("claim served consumed nack refused")
)

// enumAt is the closed set of the column at a path of column names that begins
// with its table; nil if it takes any text.
func enumAt(path string) *Enum {
	switch path {
	case "trajectories.effort", "trajectories.effort_effective", "trajectories.turns.effort":
		return Efforts
	case "trajectories.mode":
		return Modes
	case "trajectories.effort_mode":
		return EffortModes
	case "trajectories.thinking_fidelity":
		return ThinkingFidelity
	case "trajectories.status":
		return Statuses
	case "trajectories.termination":
		return Terminations
	case "trajectories.fault":
		return FaultOwners
	case "trajectories.logprob_mode":
		return LogprobModes
	case "trajectories.token_fidelity":
		return TokenFidelities
	case "trajectories.turns.role":
		return Roles
	case "trajectories.tool_kinds", "trajectories.turns.tool_calls.kind":
		return ToolKinds
	case "trajectories.turns.tool_calls.result_status":
		return ResultStatuses
	case "trajectories.turns.tool_calls.link":
		return Links
	case "trajectories.participants.kind":
		return ParticipantKinds
	case "trajectories.segments.reason":
		return SegmentReasons
	case "annotations.kind":
		return AnnotationKinds
	case "annotations.target_kind":
		return TargetKinds
	case "ledger.kind":
		return LedgerKinds
	}
	return nil
}
