package formats

import (
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// info maps what a mini-swe-agent trajectory says of its run.
func (m miniMap) info(info canon.Value) {
	row := m.row
	row.Harness = some("mini-swe-agent")
	if v := str(info, "mini_version"); v != nil {
		row.Harness = some("mini-swe-agent " + *v)
	}
	stats, config := get(info, "model_stats"), get(info, "config")
	row.CostUSD = m.float("info.model_stats.instance_cost", get(stats, "instance_cost"))
	model := get(config, "model")
	row.Model = str(model, "model_name")
	if a := str(config, "agent_type"); a != nil {
		row.Agent = some((*a)[strings.LastIndexByte(*a, '.')+1:])
	}
	args := get(model, "model_kwargs")
	if f := number(get(args, "temperature")); f != nil {
		m.sampling().Temperature = f
	}
	if f := number(get(args, "top_p")); f != nil {
		m.sampling().TopP = f
	}
	if n := integer(get(args, "max_tokens")); n != nil {
		m.sampling().MaxTokens = n
	}
	m.effort(schema.DialectOpenAI, args)
	m.environment(get(config, "environment"))
	m.exit(info)
	m.keep("info", without(info, "exit_status"))
}

// environment maps the image a run worked in. A tag is a version, not a digest,
// unless it is one.
func (m miniMap) environment(env canon.Value) {
	image, ok := get(env, "image").Str()
	if !ok || image == "" {
		return
	}
	row := m.row
	name, digest, pinned := strings.Cut(image, "@")
	if pinned {
		row.EnvDigest = &digest
	} else if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		name = image[:i]
		row.EnvVersion = some(image[i+1:])
	}
	row.EnvID = &name
	switch {
	case strings.Contains(name, "swebench/sweb.eval"):
		row.TaskSet = some("swe-bench")
	}
}

// exits says what each exit status of mini-swe-agent means.
var exits = map[string]struct{ termination, fault string }{
	"Submitted":                   {"submitted", "none"},
	"LimitsExceeded":              {"max_turns", "policy"},
	"StepLimitExceeded":           {"max_turns", "policy"},
	"CostLimitExceeded":           {"cost_limit", "policy"},
	"FormatError":                 {"parse_error", "policy"},
	"RepeatedFormatError":         {"parse_error", "policy"},
	"ContextWindowExceededError":  {"context_full", "policy"},
	"UserInterruption":            {"interrupted", "none"},
	"KeyboardInterrupt":           {"interrupted", "none"},
	"TimeExceeded":                {"time_limit", "policy"},
	"Timeout":                     {"model_error", "infrastructure"},
	"InternalServerError":         {"model_error", "infrastructure"},
	"ServiceUnavailableError":     {"model_error", "infrastructure"},
	"RateLimitError":              {"model_error", "infrastructure"},
	"APIConnectionError":          {"model_error", "infrastructure"},
	"APIError":                    {"model_error", "infrastructure"},
	"AuthenticationError":         {"model_error", "infrastructure"},
	"BadRequestError":             {"model_error", "infrastructure"},
	"NotFoundError":               {"model_error", "infrastructure"},
	"PermissionDeniedError":       {"model_error", "infrastructure"},
	"RetryError":                  {"model_error", "infrastructure"},
	"BadGatewayError":             {"model_error", "infrastructure"},
	"ContentPolicyViolationError": {"refusal", "none"},
	"CalledProcessError":          {"env_error", "infrastructure"},
	"TimeoutExpired":              {"env_error", "infrastructure"},
	"RuntimeError":                {"env_error", "infrastructure"},
}

// exit maps how a run ended. An exception that is not known is an unknown
// termination with an unknown owner: null, not none.
func (m miniMap) exit(info canon.Value) {
	row := m.row
	status, ok := get(info, "exit_status").Str()
	if !ok || status == "" {
		return
	}
	row.TerminationRaw = &status
	how, known := exits[status]
	if !known {
		row.Termination = some("unknown")
		if info.Has("traceback") || info.Has("exception_str") {
			row.Status = some(schema.StatusFailed)
		}
		return
	}
	row.Termination, row.Fault = &how.termination, &how.fault
	row.Status = some(schema.StatusCompleted)
	switch {
	case how.fault == "infrastructure":
		row.Status, row.Terminated, row.Truncated = some(schema.StatusFailed), some(false), some(true)
	case how.termination == "interrupted":
		row.Status = some(schema.StatusAborted)
	}
}

// clock takes the run's beginning and end from the times of its messages.
func (m miniMap) clock() {
	for _, t := range m.turns {
		for _, at := range []*schema.Time{t.At, t.at} {
			if at == nil {
				continue
			}
			if m.row.StartedAt == nil || *at < *m.row.StartedAt {
				m.row.StartedAt = at
			}
			if m.row.FinishedAt == nil || *at > *m.row.FinishedAt {
				m.row.FinishedAt = at
			}
		}
	}
}
