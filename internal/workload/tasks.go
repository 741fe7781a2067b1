package workload

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"trajlake/schema"
)

// taskSet is one made-up environment family.
type taskSet struct {
	name  string
	env   string
	tasks int // number of distinct tasks
	tools []tool
}

type tool struct{ name, kind string }

var taskSets = []taskSet{
	{"retail-desk", "retail", 120, []tool{{"get_order", "other"}, {"refund", "other"}, {"search_catalogue", "search"}}},
	{"repo-fixes", "sandbox", 500, []tool{{"bash", "shell"}, {"edit_file", "file"}, {"run_tests", "code"}}},
	{"web-research", "browser", 300, []tool{{"web_search", "search"}, {"open_page", "browser"}, {"python", "code"}}},
	{"household", "simulator", 200, []tool{{"act", "other"}, {"look", "other"}}},
	{"toy-math", "calculator", 1000, []tool{{"calc", "code"}}},
}

// systemPrompt is long prose and the JSON schemas of the task set's tools.
func systemPrompt(v *vocabulary, set *taskSet, r *rand.Rand) string {
	var b strings.Builder
	fmt.Fprintf(&b, "You work in the %s environment.\n# Tools\n", set.env)
	for _, t := range set.tools {
		fmt.Fprintf(&b, `{"type":"function","function":{"name":%q,"description":%q,"parameters":{"type":"object","properties":{%q:{"type":"string"}}}}}`+"\n",
			t.name, v.text(r, 120), v.name(r))
	}
	b.WriteString("# Rules\n")
	for b.Len() < 24<<10 {
		b.WriteString("- " + v.text(r, 160) + "\n")
	}
	return b.String()
}

// efforts are the requested levels with their share in percent and the part of
// a row's text that is thinking. The empty level is unknown (null).
var efforts = []struct {
	level    string
	percent  int
	thinking float64
}{
	{schema.EffortNone, 20, 0}, {schema.EffortMinimal, 8, 0.05}, {schema.EffortLow, 15, 0.15}, {schema.EffortMedium, 18, 0.3},
	{schema.EffortHigh, 17, 0.45}, {schema.EffortXHigh, 7, 0.55}, {schema.EffortMax, 7, 0.65}, {"", 8, 0.2},
}

// pickEffort gives an index of efforts.
func pickEffort(r *rand.Rand) int {
	at := r.IntN(100)
	for i, e := range efforts {
		if at -= e.percent; at < 0 {
			return i
		}
	}
	return len(efforts) - 1
}

// ending is how a rollout ended.
type ending struct {
	percent     int
	status      string
	termination string
	fault       string
	truncated   bool
	scored      bool
}

// endings hold the unhappy ways; what remains of 100 ends well.
var endings = []ending{
	{2, schema.StatusAborted, "env_error", "infrastructure", false, false},
	{1, schema.StatusFailed, "model_error", "infrastructure", false, false},
	{1, schema.StatusFailed, "tool_error", "environment", false, false},
	{3, schema.StatusCompleted, "max_turns", "policy", true, true},
	{3, schema.StatusCompleted, "max_tokens", "policy", true, true},
	{1, schema.StatusCompleted, "refusal", "policy", false, true},
}

func pickEnding(r *rand.Rand) ending {
	at := r.IntN(100)
	for _, e := range endings {
		if at -= e.percent; at < 0 {
			return e
		}
	}
	return ending{0, schema.StatusCompleted, "agent_stop", "none", false, true}
}

// pickReward is a reward for a task solved with probability p; nil if nobody
// scored it. One in four tasks is graded in parts, and a few rewards lie
// outside of 0 to 1.
func pickReward(r *rand.Rand, p float64, graded bool) *float64 {
	reward := 0.0
	switch k := r.IntN(100); {
	case k < 8:
		return nil
	case k == 8:
		reward = -0.5
	case k == 9:
		reward = 1.5
	case graded:
		reward = float64(int(8*(p+(1-p)*r.Float64()*r.Float64()))) / 8
	case r.Float64() < p:
		reward = 1
	}
	return &reward
}
