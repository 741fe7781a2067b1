package schema

import (
	"math"
	"strings"
	"testing"

	"trajlake/schema/canon"
)

func p[T any](v T) *T { return &v }

func TestValidate(t *testing.T) {
	nan, inf := math.NaN(), float32(math.Inf(-1))
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	for _, c := range []struct {
		name string
		row  Trajectory
		want string
	}{
		{"empty", Trajectory{}, "turns: a trajectory needs turns or token_ids"},
		{"good", Trajectory{TokenIDs: []int32{1, 2}, LossMask: []int8{0, 1}, Logprobs: []float32{0, -1}}, ""},
		{"only tokens", Trajectory{TokenIDs: []int32{1, 2}}, ""},
		{"numbers", Trajectory{TokenIDs: []int32{1, -2}, LossMask: []int8{0, 2}, Logprobs: []float32{0, inf}, Reward: &nan, GroupIndex: p(int32(-1)), EffortLevel: p(int8(61))},
			"group_index: negative: -1; reward: not a finite number: NaN; token_ids[1]: negative: -2; loss_mask[1]: want 0 or 1, got 2; logprobs[1]: not a finite number: -Inf; effort_level: 61 is outside of 0 to 60"},
		{"signed", Trajectory{TokenIDs: []int32{1}, Sampling: &Sampling{TopK: p(int32(-1)), Seed: p(int64(-5))}}, ""},
		{"lengths", Trajectory{TokenIDs: []int32{1, 2}, LossMask: []int8{0}, Logprobs: []float32{0, -1, 0}, SourceDigest: []byte{1}},
			"source_digest: want 32 bytes, got 1; loss_mask: 1 elements, but token_ids has 2; logprobs: 3 elements, but token_ids has 2"},
		{"loss mask without tokens", Trajectory{Turns: []Turn{{}}, LossMask: []int8{1}}, "loss_mask: 1 elements, but token_ids has 0"},
		{"names", Trajectory{TokenIDs: []int32{1}, Mode: p("Thinking"), ToolKinds: []string{"search", "magic"}, Turns: []Turn{{Role: p("bot"), Effort: p("high")}}},
			`mode: "Thinking" is none of thinking, instruct, unknown; tool_kinds[1]: "magic" is none of search, code, browser, shell, file, agent, other; turns[0].role: "bot" is none of system, developer, user, assistant, tool, environment, event`},
		{"ids", Trajectory{TrajectoryID: strings.Repeat("x", 513), TaskID: p("a\nb"), RunID: p("\u0085"), TokenIDs: []int32{1}},
			"trajectory_id: identifier of 513 bytes is longer than the limit of 512; task_id: control character in an identifier at byte 1; run_id: control character in an identifier at byte 0"},
		{"utf8", Trajectory{TokenIDs: []int32{1}, Metadata: map[string]string{"k\xff": "v"}, Turns: []Turn{{Text: p("ok\uFFFDx\xc3")}}, Flags: []string{"\x80"}},
			`flags[0]: invalid UTF-8 at byte 0; turns[0].text: invalid UTF-8 at byte 6; metadata: invalid UTF-8 under the key "k\xff"`},
		{"extra", Trajectory{TokenIDs: []int32{1}, Extra: p("[1]"), Turns: []Turn{{Extra: p("{")}, {Extra: &deep}, {Blocks: []Block{{Digest: p("ab")}}}}},
			`turns[0].extra: not acceptable JSON: line 1, byte 1: the document ends too early`},
		{"segments", Trajectory{TokenIDs: make([]int32, 10), Segments: []Segment{
			{Start: p(int32(0)), End: p(int32(4))}, {Parent: p(int32(0)), PrefixLen: p(int32(3)), Start: p(int32(4)), End: p(int32(6))},
			{Parent: p(int32(1)), PrefixLen: p(int32(6)), Start: p(int32(8)), End: p(int32(7))}, {Parent: p(int32(3)), End: p(int32(11))}, {PrefixLen: p(int32(1)), Start: p(int32(9)), End: p(int32(11))}}},
			"segments[2].start: 8 is behind end 7; segments[2].prefix_len: 6 is more than the 5 tokens of the parent's path; segments[3].start: start and end come together; " +
				"segments[3].parent: 3 is no earlier segment; segments[4].end: 11 is behind the last of 10 tokens; segments[4].prefix_len: 1 without a parent"},
		{"turns", Trajectory{TokenIDs: make([]int32, 4), Turns: []Turn{{TokenStart: p(int32(0)), TokenEnd: p(int32(4))}, {Parent: p(int32(1)), TokenStart: p(int32(3)), TokenEnd: p(int32(2))}, {Parent: p(int32(-1))}}},
			"turns[2].parent: negative: -1; turns[1].parent: 1 is no earlier turn; turns[1].token_start: 3 is behind token_end 2"},
		{"policy versions", Trajectory{TokenIDs: []int32{1}, PolicyVersionMin: p(int64(3)), PolicyVersionMax: p(int64(2))}, "policy_version_min: greater than policy_version_max"},
	} {
		got := Validate(&c.row, Limits{}).Error()
		if c.name == "extra" {
			if !strings.HasPrefix(got, c.want) || !strings.Contains(got, "turns[1].extra: not acceptable JSON") || !strings.Contains(got, "deeper") ||
				!strings.Contains(got, "turns[2].blocks[0].digest: want 64 hex digits") || !strings.Contains(got, "extra: want the text of a JSON object, got that of a array") {
				t.Errorf("extra: %s", got)
			}
		} else if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestValidateLimits(t *testing.T) {
	row := &Trajectory{Turns: make([]Turn, 5), Metadata: map[string]string{"k": strings.Repeat("x", 100)}}
	got := Validate(row, Limits{Turns: 4, RowBytes: 50, TextBytes: 99}).Error()
	want := `metadata: text of 100 bytes under the key "k" is larger than the limit of 99; the row of 101 bytes is larger than the limit of 50; turns: 5 turns are more than the limit of 4`
	if got != want {
		t.Errorf("got %s", got)
	}
	if n := Size(row); n != 101 {
		t.Errorf("size %d", n)
	}
	if faults := Validate(&Trajectory{Turns: make([]Turn, 100_001)}, Limits{}); len(faults) != 1 {
		t.Error(faults)
	}
}

func TestValidateAnnotationAndTensor(t *testing.T) {
	a := &Annotation{Kind: p("reward"), TargetKind: p("call"), SpanStart: p(int32(3)), SpanEnd: p(int32(1)), ValueJSON: p("{")}
	got := ValidateAnnotation(a, Limits{}).Error()
	for _, want := range []string{"target_id: an annotation needs it", "value: an annotation of kind reward needs it", "call: this target_kind needs it",
		"turn: this target_kind needs it", "span_start: behind span_end", "value_json: not acceptable JSON"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	if faults := ValidateAnnotation(&Annotation{Kind: p("quarantine"), TargetID: p("toy-1")}, Limits{}); len(faults) > 0 {
		t.Error(faults)
	}
	x := &Tensor{Piece: 2, Pieces: 2, Data: [][]byte{make([]byte, MaxTensorPiece), make([]byte, MaxTensorPiece+1)}}
	got = ValidateTensor(x, Limits{}).Error()
	for _, want := range []string{"trajectory_id: a tensor needs it", "name: a tensor needs it", "piece: piece 2 of 2", "data[1]: 1048577 bytes"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
}

func TestEnums(t *testing.T) {
	for word, want := range map[string]string{"HIGH": "high", "x-high": "xhigh", "Off": "none", "maximum": "max", "auto": ""} {
		if got, _ := Efforts.Lookup(word); got != want {
			t.Errorf("%s: got %q", word, got)
		}
	}
	for _, tab := range Tables() {
		var walk func(*plan)
		walk = func(pl *plan) {
			for _, e := range pl.enums {
				if e == nil {
					continue
				}
				for alias, name := range e.aliases {
					if !e.Has(name) || e.Has(alias) {
						t.Errorf("alias %s of %s", alias, name)
					}
				}
			}
			for _, c := range pl.columns {
				for c.Kind == List {
					c = c.Elem
				}
				if c.plan != nil {
					walk(c.plan)
				}
			}
		}
		walk(tab.plan)
	}
	if Trajectories.plan.enums[Trajectories.plan.byName["mode"]] != Modes {
		t.Error("mode has no closed set")
	}
}

func TestEffort(t *testing.T) {
	for _, c := range []struct{ dialect, params, want string }{
		{"openai", `{"temperature":1}`, "|||||"},
		{"openai", `{"reasoning_effort":"high","temperature":1}`, `high|high|on||{"reasoning_effort":"high"}|`},
		{"openai", `{"reasoning":{"effort":"none","summary":"auto"}}`, `none|none|off||{"reasoning":{"effort":"none","summary":"auto"}}|summary`},
		{"anthropic", `{"thinking":{"type":"enabled","budget_tokens":16000}}`, `high|high|on|16000|{"thinking":{"type":"enabled","budget_tokens":16000}}|`},
		{"anthropic", `{"thinking":{"type":"adaptive"},"output_config":{"effort":"medium"}}`, `medium|medium|adaptive||{"thinking":{"type":"adaptive"},"output_config":{"effort":"medium"}}|`},
		{"anthropic", `{"thinking":{"type":"adaptive"}}`, `||adaptive||{"thinking":{"type":"adaptive"}}|`},
		{"anthropic", `{"thinking":{"type":"disabled"}}`, `none|none|off||{"thinking":{"type":"disabled"}}|`},
		{"gemini", `{"generationConfig":{"x":1,"thinkingConfig":{"thinkingBudget":-1}}}`, `||adaptive||{"generationConfig":{"thinkingConfig":{"thinkingBudget":-1}}}|`},
		{"gemini", `{"thinkingConfig":{"thinkingBudget":0}}`, `none|none|off|0|{"thinkingConfig":{"thinkingBudget":0}}|`},
		{"gemini", `{"thinkingLevel":"HIGH"}`, `high|high|on||{"thinkingLevel":"HIGH"}|`},
		{"deepseek", `{"thinking":{"type":"enabled"},"reasoning_effort":"medium"}`, `medium|high|on||{"thinking":{"type":"enabled"},"reasoning_effort":"medium"}|raw`},
		{"deepseek", `{"reasoning_effort":"xhigh"}`, `xhigh|high|on||{"reasoning_effort":"xhigh"}|raw`},
		{"qwen", `{"chat_template_kwargs":{"enable_thinking":false,"foo":1}}`, `none|none|off||{"chat_template_kwargs":{"enable_thinking":false}}|`},
		{"qwen", `{"enable_thinking":true,"thinking_budget":2000}`, `low|low|on|2000|{"enable_thinking":true,"thinking_budget":2000}|raw`},
		{"zai", `{"thinking":{"type":"disabled"},"reasoning_effort":"max"}`, `max|none|off||{"thinking":{"type":"disabled"},"reasoning_effort":"max"}|`},
		{"mistral", `{"reasoning_effort":"low"}`, `low|high|on||{"reasoning_effort":"low"}|`},
		{"openrouter", `{"reasoning":{"max_tokens":70000,"enabled":true}}`, `max|max|on|70000|{"reasoning":{"max_tokens":70000,"enabled":true}}|`},
		{"atif", `{"reasoning_effort":0.5}`, `medium|medium|on||{"reasoning_effort":0.5}|`},
		{"other", `{"thinking":"xhigh"}`, `xhigh|xhigh|on||{"thinking":"xhigh"}|`},
		{"other", `{"thinking":true}`, `||on||{"thinking":true}|`},
		{"other", `{"reasoning_effort":"bananas"}`, `||||{"reasoning_effort":"bananas"}|`},
		{"other", `[1]`, "|||||"},
	} {
		e := EffortFromVendor(c.dialect, mustParse(t, c.params))
		budget := ""
		if e.Budget != nil {
			budget = string(canon.Append(nil, canon.IntOf(*e.Budget)))
		}
		if got := strings.Join([]string{e.Requested, e.Effective, e.Mode, budget, e.Raw, e.Fidelity}, "|"); got != c.want {
			t.Errorf("%s %s\n got %s\nwant %s", c.dialect, c.params, got, c.want)
		}
	}
	last := int8(-1)
	for _, name := range Efforts.Names() {
		n, ok := EffortLevel(name)
		if back, _ := EffortName(n); !ok || n <= last || back != name {
			t.Errorf("level %s: %d", name, n)
		}
		last = n
	}
	for budget, want := range map[int64]string{-1: "none", 0: "none", 1: "minimal", 1024: "minimal", 1025: "low", 12288: "medium", 28672: "high", 65536: "xhigh", 65537: "max"} {
		if got := EffortFromBudget(budget); got != want {
			t.Errorf("budget %d: %s", budget, got)
		}
	}
	if level, ok := HarmonyEffort("You are.\nReasoning: high\n"); !ok || level != "high" {
		t.Error(level)
	}
	row := &Trajectory{Effort: p("low")}
	Effort{Requested: "high", Mode: "on"}.Apply(row)
	if *row.Effort != "low" || *row.EffortMode != "on" || row.EffortRaw != nil {
		t.Error(dump(row))
	}
}

func TestRewardBand(t *testing.T) {
	for r, want := range map[float64]string{-0.1: "<0", 0: "0", 1e-9: "(0,0.25]", 0.25: "(0,0.25]", 0.26: "(0.25,0.5]", 0.5: "(0.25,0.5]", 0.75: "(0.5,0.75]", 0.76: "(0.75,1)", 1: "1", 1.1: ">1"} {
		if got := RewardBand(&r); got != want {
			t.Errorf("%v: %s", r, got)
		}
	}
	if RewardBand(nil) != "unscored" {
		t.Error("null")
	}
}
