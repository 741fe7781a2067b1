package schema

import (
	"slices"
	"strings"

	"trajlake/schema/canon"
)

// levels is the ordered scale of effort: sparse, so that a level can be put in
// between later.
var levels = [...]struct {
	name  string
	level int8
}{{EffortNone, 0}, {EffortMinimal, 10}, {EffortLow, 20}, {EffortMedium, 30}, {EffortHigh, 40}, {EffortXHigh, 50}, {EffortMax, 60}}

// EffortLevel is a level's place on the scale from 0 (none) to 60 (max); ok is
// false for a name that is no level.
func EffortLevel(name string) (level int8, ok bool) {
	for _, l := range levels {
		if l.name == name {
			return l.level, true
		}
	}
	return 0, false
}

// EffortName is the name of the greatest level at or below a place on the scale;
// ok is false for a place outside of it.
func EffortName(level int8) (name string, ok bool) {
	if level < 0 || level > 60 {
		return "", false
	}
	for _, l := range levels {
		if l.level <= level {
			name = l.name
		}
	}
	return name, true
}

// EffortFromBudget is the level that a thinking budget in tokens amounts to,
// where no level was given.
func EffortFromBudget(tokens int64) string {
	for _, b := range budgets {
		if tokens <= b.most {
			return b.name
		}
	}
	return EffortMax
}

var budgets = [...]struct {
	most int64
	name string
}{{0, EffortNone}, {1024, EffortMinimal}, {4096, EffortLow}, {12288, EffortMedium}, {28672, EffortHigh}, {65536, EffortXHigh}}

// Effort is what a vendor's parameters say about effort. An empty text and a nil
// pointer mean that they say nothing.
type Effort struct {
	Requested string // level asked for
	Effective string // level after the vendor's documented clamping
	Raw       string // the parameters about effort, verbatim, as a JSON object
	Mode      string // off, on, adaptive, always_on
	Budget    *int64 // cap in tokens
	Fidelity  string // how thinking comes back, where the vendor fixes it: raw, summary, encrypted
}

// Apply fills the effort columns of t that are null.
func (e Effort) Apply(t *Trajectory) {
	fill := func(to **string, s string) {
		if *to == nil && s != "" {
			*to = &s
		}
	}
	fill(&t.Effort, e.Requested)
	fill(&t.EffortEffective, e.Effective)
	fill(&t.EffortRaw, e.Raw)
	fill(&t.EffortMode, e.Mode)
	fill(&t.ThinkingFidelity, e.Fidelity)
	if t.ThinkingBudget == nil && e.Budget != nil {
		n := *e.Budget
		t.ThinkingBudget = &n
	}
}

// The dialects of EffortFromVendor. An unknown one is read by the general rules,
// without clamping.
const (
	DialectOpenAI     = "openai"    // chat and Responses
	DialectAnthropic  = "anthropic" // thinking, output_config.effort
	DialectGemini     = "gemini"    // thinkingBudget, thinkingLevel
	DialectDeepSeek   = "deepseek"
	DialectQwen       = "qwen"
	DialectZAI        = "zai" // GLM
	DialectHarmony    = "harmony"
	DialectXAI        = "xai"
	DialectMistral    = "mistral"
	DialectOpenRouter = "openrouter"
	DialectInspect    = "inspect"
	DialectATIF       = "atif"
)

// clamps is each vendor's documented clamping of levels. A level that a vendor's
// table leaves out is passed on as it is.
var clamps = map[string]map[string]string{
	DialectDeepSeek: {EffortMinimal: EffortLow, EffortLow: EffortLow, EffortMedium: EffortHigh, EffortHigh: EffortHigh, EffortXHigh: EffortHigh, EffortMax: EffortMax},
	DialectGemini:   {EffortNone: EffortMinimal, EffortXHigh: EffortHigh, EffortMax: EffortHigh},
	DialectHarmony:  {EffortNone: EffortLow, EffortMinimal: EffortLow, EffortXHigh: EffortHigh, EffortMax: EffortHigh},
	DialectXAI:      {EffortMinimal: EffortLow, EffortXHigh: EffortHigh, EffortMax: EffortHigh},
	DialectMistral:  {EffortMinimal: EffortHigh, EffortLow: EffortHigh, EffortMedium: EffortHigh, EffortXHigh: EffortHigh, EffortMax: EffortHigh},
}

// effortKeys are the parameters that speak of effort, by their last name.
var effortKeys = []string{"reasoning_effort", "effort", "reasoning", "thinking", "output_config", "thinkingConfig", "thinking_config",
	"thinkingBudget", "thinking_budget", "thinkingLevel", "thinking_level", "enable_thinking", "budget_tokens", "reasoning_tokens",
	"extended_thinking_budget", "clear_thinking", "reasoning_summary"}

// wrappers are objects in which such parameters stand.
var wrappers = []string{"chat_template_kwargs", "extra_body", "generationConfig", "generation_config", "llm_args", "model_kwargs", "litellm_extra_body"}

// EffortFromVendor reads a request's parameters (the whole object; other keys
// are passed over) in a vendor's dialect. It never guesses a level: without any
// parameter about effort everything is empty, and an adaptive or default setting
// is a mode, not a level.
func EffortFromVendor(dialect string, params canon.Value) Effort {
	r := effortReader{dialect: dialect}
	r.object(params, 0)
	return r.result()
}

type effortReader struct {
	dialect string
	raw     []canon.Member
	level   string
	mode    string
	budget  *int64
	summary string
}

func (r *effortReader) object(v canon.Value, depth int) {
	for key, m := range v.Members() {
		switch {
		case m.IsNull():
		case slices.Contains(effortKeys, key):
			r.raw = append(r.raw, canon.M(key, m))
			r.parameter(key, m)
		case depth < 2 && slices.Contains(wrappers, key):
			before := len(r.raw)
			r.object(m, depth+1)
			if len(r.raw) > before {
				inner := canon.Obj(slices.Clone(r.raw[before:])...)
				r.raw = append(r.raw[:before], canon.M(key, inner))
			}
		}
	}
}

// parameter reads one parameter about effort.
func (r *effortReader) parameter(key string, m canon.Value) {
	switch key {
	case "reasoning_effort", "effort", "thinkingLevel", "thinking_level":
		r.word(m)
	case "thinkingBudget", "thinking_budget", "budget_tokens", "reasoning_tokens", "extended_thinking_budget", "max_tokens":
		r.tokens(m)
	case "enable_thinking", "enabled":
		r.enabled(m)
	case "type":
		if s, ok := m.Str(); ok {
			if mode, ok := EffortModes.Lookup(s); ok {
				r.mode = mode
			}
		}
	case "reasoning_summary", "summary":
		if s, ok := m.Str(); ok && s != "none" {
			r.summary = "summary"
		}
	case "thinking", "reasoning", "output_config", "thinkingConfig", "thinking_config":
		if m.Kind() != canon.Object {
			r.enabled(m)
			r.word(m)
			return
		}
		for k, inner := range m.Members() {
			r.parameter(k, inner)
		}
	}
}

// word reads a level, or a mode that stands in its place, or a number.
func (r *effortReader) word(m canon.Value) {
	if f, ok := m.Float(); ok { // a share of the scale, as ATIF allows
		if f >= 0 && f <= 1 {
			r.level, _ = EffortName(int8(f*60 + 0.5))
		}
		return
	}
	s, _ := m.Str()
	if level, ok := Efforts.Lookup(s); ok {
		r.level = level
		if level == EffortNone && r.mode == "" {
			r.mode = EffortModeOff
		}
	} else if mode, ok := EffortModes.Lookup(s); ok {
		r.mode = mode
	}
}

func (r *effortReader) tokens(m canon.Value) {
	n, ok := m.Int()
	switch {
	case !ok:
	case n < 0:
		r.mode = EffortModeAdaptive
	default:
		r.budget = &n
		if n == 0 {
			r.mode = EffortModeOff
		}
	}
}

func (r *effortReader) enabled(m canon.Value) {
	if on, ok := m.Bool(); ok && on && r.mode != EffortModeAdaptive {
		r.mode = EffortModeOn
	} else if ok && !on {
		r.mode = EffortModeOff
	}
}

func (r *effortReader) result() Effort {
	if len(r.raw) == 0 {
		return Effort{}
	}
	e := Effort{Mode: r.mode, Budget: r.budget, Requested: r.level, Fidelity: r.summary, Raw: string(canon.Compact(canon.Obj(r.raw...)))}
	if e.Requested == "" && e.Budget != nil {
		e.Requested = EffortFromBudget(*e.Budget)
	}
	if e.Mode == EffortModeOff {
		if e.Requested == "" || e.Budget != nil && r.level == "" {
			e.Requested = EffortNone
		}
	} else if e.Mode == "" && e.Requested != "" && e.Requested != EffortNone {
		e.Mode = EffortModeOn
	}
	e.Effective = r.effective(e)
	if e.Fidelity == "" {
		switch r.dialect {
		case DialectDeepSeek, DialectQwen, DialectZAI, DialectHarmony:
			e.Fidelity = "raw"
		}
		if e.Effective == EffortNone {
			e.Fidelity = ""
		}
	}
	return e
}

// effective is the level after clamping. A switch that is off wins over a level
// beside it, where the vendor can be switched off.
func (r *effortReader) effective(e Effort) string {
	level := e.Requested
	if e.Mode == EffortModeOff {
		level = EffortNone
	}
	if to, ok := clamps[r.dialect][level]; ok && !(level == EffortNone && r.dialect == DialectGemini && e.Budget != nil) {
		return to
	}
	return level
}

// HarmonyEffort finds the level in a Harmony system text ("Reasoning: high");
// ok is false if it states none.
func HarmonyEffort(system string) (level string, ok bool) {
	for line := range strings.Lines(system) {
		word, found := strings.CutPrefix(strings.TrimSpace(line), "Reasoning:")
		if found {
			return Efforts.Lookup(word)
		}
	}
	return "", false
}

// RewardBand is the band of a reward: unscored for null, else one of <0, 0,
// (0,0.25], (0.25,0.5], (0.5,0.75], (0.75,1), 1 and >1. NaN, which no row holds,
// is unscored.
func RewardBand(reward *float64) string {
	if reward == nil || *reward != *reward {
		return "unscored"
	}
	switch r := *reward; {
	case r < 0:
		return "<0"
	case r == 0:
		return "0"
	case r > 1:
		return ">1"
	case r == 1:
		return "1"
	case r > 0.75:
		return "(0.75,1)"
	case r > 0.5:
		return "(0.5,0.75]"
	case r > 0.25:
		return "(0.25,0.5]"
	}
	return "(0,0.25]"
}

// RewardBands lists the bands in their order.
func RewardBands() []string {
	return []string{"unscored", "<0", "0", "(0,0.25]", "(0.25,0.5]", "(0.5,0.75]", "(0.75,1)", "1", ">1"}
}
