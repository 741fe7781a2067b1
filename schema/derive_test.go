package schema

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"trajlake/schema/internal/rowgen"
)

func TestDerive(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"toy", toy, `{"effort":"high","effort_level":40,"group_id":"g1","group_index":0,"logprobs":[0,-0.11,-0.25],"loss_mask":[0,1,1],"mode":"thinking","model":"m-7b","num_tool_calls":1,"num_tool_errors":0,"num_turns":3,` +
			`"policy_version_max":3,"policy_version_min":3,"prompt_hash":"PROMPT","reward":1,"success":true,"task_id":"add-2-2","task_set":"toy-math","token_fidelity":"exact","token_ids":[101,7,9],"tool_kinds":["other"],` +
			`"trajectory_id":"toy-1","turns":TURNS}`},
		{"unknown stays null", `{"token_ids":[1]}`, `{"mode":"unknown","token_fidelity":"exact","token_ids":[1]}`},
		{"a call without a status", `{"turns":[{"tool_calls":[{"name":"web_search"},{"name":"bash","result_status":"error"}]}]}`,
			`{"mode":"unknown","num_tool_calls":2,"num_turns":1,"token_fidelity":"none","tool_kinds":["search","shell"],"turns":TURNS}`},
		{"sums only when every sampled turn has them", `{"turns":[{"role":"assistant","usage":{"completion":5,"thinking":2},"policy_version":4},{"role":"assistant","usage":{"completion":7},"policy_version":3},{"role":"user","usage":{"completion":1}}]}`,
			`{"completion_tokens":12,"mode":"thinking","num_tool_calls":0,"num_tool_errors":0,"num_turns":3,"policy_version_max":4,"policy_version_min":3,"token_fidelity":"none","turns":TURNS}`},
		{"instruct", `{"effort":"none","turns":[{"role":"assistant","text":"x"}]}`,
			`{"effort":"none","effort_level":0,"mode":"instruct","num_tool_calls":0,"num_tool_errors":0,"num_turns":1,"token_fidelity":"none","turns":TURNS}`},
		{"off, but it thought", `{"effort_mode":"off","turns":[{"role":"assistant","thinking":"hm"}]}`,
			`{"effort_mode":"off","mode":"thinking","num_tool_calls":0,"num_tool_errors":0,"num_turns":1,"token_fidelity":"none","turns":TURNS}`},
		{"clamped up", `{"effort":"none","effort_effective":"low","turns":[{}]}`,
			`{"effort":"none","effort_effective":"low","effort_level":0,"mode":"thinking","num_tool_calls":0,"num_tool_errors":0,"num_turns":1,"token_fidelity":"none","turns":TURNS}`},
		{"level to name, cut off", `{"effort_level":45,"termination":"max_turns","started_at":1000000,"finished_at":3500000,"turns":[{}]}`,
			`{"duration_ms":2500,"effort":"high","effort_level":45,"finished_at":"1970-01-01T00:00:03.5Z","mode":"thinking","num_tool_calls":0,"num_tool_errors":0,"num_turns":1,"started_at":"1970-01-01T00:00:01Z",` +
				`"terminated":false,"termination":"max_turns","token_fidelity":"none","truncated":true,"turns":TURNS}`},
		{"given is kept", `{"num_turns":9,"mode":"instruct","effort":"max","termination":"submitted","truncated":true,"tool_kinds":["other"],"turns":[{"tool_calls":[{"name":"bash","result_status":"ok"}]}]}`,
			`{"effort":"max","effort_level":60,"mode":"instruct","num_tool_calls":1,"num_tool_errors":0,"num_turns":9,"terminated":true,"termination":"submitted","token_fidelity":"none","tool_kinds":["other"],"truncated":true,"turns":TURNS}`},
	} {
		row := fromJSON(t, c.in)
		Derive(row)
		want := fromJSON(t, expand(c.want, row))
		if !reflect.DeepEqual(row, want) {
			t.Errorf("%s\n got %s\nwant %s", c.name, dump(row), dump(want))
		}
		if faults := Validate(row, Limits{}); len(faults) > 0 {
			t.Errorf("%s: %v", c.name, faults)
		}
	}
}

// expand puts the row's own turns and prompt hash where a wanted text leaves them open.
func expand(want string, row *Trajectory) string {
	turns := "[]"
	if text := dump(&Trajectory{Turns: row.Turns}); text != "{}" {
		turns = text[len(`{"turns":`) : len(text)-1]
	}
	if row.PromptHash != nil {
		want = strings.ReplaceAll(want, "PROMPT", "02b73fb2816208b83bcabd7f7005a2feee9745a1aa3884689f816503dcf7ea11")
	}
	return strings.ReplaceAll(want, "TURNS", turns)
}

func TestDeriveTwiceIsOnce(t *testing.T) {
	const seed = 3
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		row := new(Trajectory)
		rowgen.Fill(r, row, rowgen.Some(r, 0.4))
		before := dump(row)
		Derive(row)
		once := dump(row)
		Derive(row)
		if dump(row) != once {
			t.Fatalf("%s\n%s\n%s", before, once, dump(row))
		}
	}
}

func TestPromptHashIgnoresWhatIsNotPrompt(t *testing.T) {
	a := fromJSON(t, `{"turns":[{"role":"user","text":"2+2?"},{"role":"assistant","text":"4"}]}`)
	b := fromJSON(t, `{"turns":[{"role":"user","text":"2+2?","at":5,"extra":{"x":1}},{"role":"assistant","text":"5"}]}`)
	c := fromJSON(t, `{"turns":[{"role":"user","text":"2+3?"},{"role":"assistant","text":"4"}]}`)
	d := fromJSON(t, `{"turns":[{"role":"assistant","text":"4"}]}`)
	for _, row := range []*Trajectory{a, b, c, d} {
		Derive(row)
	}
	if *a.PromptHash != *b.PromptHash || *a.PromptHash == *c.PromptHash || d.PromptHash != nil {
		t.Error(*a.PromptHash, *b.PromptHash, *c.PromptHash, d.PromptHash)
	}
}

func TestToolKind(t *testing.T) {
	for name, want := range map[string]string{"web_search": "search", "bash": "shell", "execute_bash": "shell", "str_replace_editor": "file", "read_file": "file",
		"python": "code", "browser.click": "browser", "Task": "agent", "update_task": "other", "get_order_details": "other", "calc": "other", "": "other"} {
		if got := ToolKind(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
