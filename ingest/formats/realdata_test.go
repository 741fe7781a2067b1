package formats

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// dataDir is the folder of real trajectories, which is no part of the project.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("TRAJLAKE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("NO REAL DATA: %v; set TRAJLAKE_DATA to check the importers against real files", err)
	}
	return dir
}

// tally is what an import is checked by: counted once over the rows and once,
// independently, over the raw JSON.
type tally struct {
	Rows, Messages, Calls, Results, Errors, Scored, Thinking, UserCalls int
	Reward                                                              float64
}

func tallyRows(t *testing.T, im Importer, data []byte, name string) tally {
	var n tally
	for rec := range im.Read(context.Background(), bytes.NewReader(data), source(name)) {
		if rec.Err != nil {
			t.Errorf("%v", rec.Err)
			continue
		}
		n.Rows++
		if rec.Row.Reward != nil {
			n.Scored++
			n.Reward += *rec.Row.Reward
		}
		for i := range rec.Row.Turns {
			turn := &rec.Row.Turns[i]
			if turn.RoleRaw == nil || *turn.RoleRaw != "observation" && *turn.RoleRaw != "ticks" {
				n.Messages++
			} else if *turn.RoleRaw == "observation" {
				n.Results++
			}
			if turn.Thinking != nil {
				n.Thinking++
			}
			for k := range turn.ToolCalls {
				c := &turn.ToolCalls[k]
				n.Calls++
				if c.Link != nil && *c.Link != "none" {
					n.Results++
					if *c.Link != "adjacency" {
						n.Messages++
					}
				}
				if c.ResultStatus != nil && *c.ResultStatus == "error" {
					n.Errors++
				}
				if c.Actor != nil && *c.Actor == "user" {
					n.UserCalls++
				}
			}
		}
	}
	return n
}

type object = map[string]any

// documents decodes a file: one value, or one per line.
func documents(t *testing.T, data []byte) (docs []any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	for dec.More() {
		var v any
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		docs = append(docs, v)
	}
	if len(docs) == 1 {
		if list, ok := docs[0].([]any); ok {
			if o, _ := list[0].(object); o["role"] == nil {
				return list
			}
		}
	}
	return docs
}

func list(v any, path ...string) []any {
	for _, p := range path {
		o, _ := v.(object)
		v = o[p]
	}
	l, _ := v.([]any)
	return l
}

// countMessages counts messages of the OpenAI kind.
func (n *tally) countMessages(messages []any) {
	for _, m := range messages {
		o := m.(object)
		n.Messages++
		if s, _ := o["reasoning_content"].(string); s != "" {
			n.Thinking++
		}
		if o["role"] == "tool" {
			n.Results++
			if o["error"] == true {
				n.Errors++
			}
		}
		for _, c := range list(o, "tool_calls") {
			n.Calls++
			if c.(object)["requestor"] == "user" {
				n.UserCalls++
			}
		}
	}
}

func (n *tally) score(v any) {
	if f, ok := v.(float64); ok {
		n.Scored++
		n.Reward += f
	}
}

// check compares the two counts of every file that matches.
func check(t *testing.T, format, pattern string, count func(n *tally, doc any), same func(n *tally)) {
	files, _ := filepath.Glob(filepath.Join(dataDir(t), pattern))
	if len(files) == 0 {
		t.Skipf("NO REAL DATA for %s in %s", pattern, dataDir(t))
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			im, data := detectFile(t, name)
			if im.Name() != format {
				t.Fatalf("read as %s, want %s", im.Name(), format)
			}
			var want tally
			for _, doc := range documents(t, data) {
				count(&want, doc)
			}
			got := tallyRows(t, im, data, name)
			if same != nil {
				same(&got)
				same(&want)
			}
			if got != want {
				t.Errorf("rows give %+v\nraw JSON %+v", got, want)
			}
			t.Logf("%+v", got)
		})
	}
}

func TestRealTauBench(t *testing.T) {
	count := func(n *tally, doc any) {
		o := doc.(object)
		n.Rows++
		n.score(o["reward"])
		n.countMessages(list(o, "traj"))
	}
	noErrors := func(n *tally) { n.Errors = 0 } // the format does not flag them
	check(t, "tau_bench", "tau_bench/gpt*.json", count, noErrors)
	check(t, "tau_bench", "tau_bench/docent*.json", count, noErrors)
}

func TestRealTau2Bench(t *testing.T) {
	check(t, "tau2_bench", "tau2_bench/*.json", func(n *tally, doc any) {
		sims := list(doc, "simulations")
		if sims == nil {
			sims = []any{doc}
		}
		for _, s := range sims {
			o := s.(object)
			n.Rows++
			if ri, ok := o["reward_info"].(object); ok {
				n.score(ri["reward"])
			}
			n.countMessages(list(o, "messages"))
			for _, m := range list(o, "messages") {
				if m := m.(object); m["role"] == "tool" && m["error"] == nil && bytes.HasPrefix([]byte(m["content"].(string)), []byte("Error")) {
					n.Errors++
				}
			}
		}
	}, nil)
}

func TestRealMiniSWE(t *testing.T) {
	for _, pattern := range []string{"mini_swe_agent/deep*/*.traj.json", "atif/rfc__mini*.json"} {
		check(t, "mini_swe_agent", pattern, func(n *tally, doc any) {
			n.Rows++
			n.countMessages(list(doc, "messages"))
			for _, m := range list(doc, "messages") {
				if extra, ok := m.(object)["extra"].(object); ok && m.(object)["role"] == "tool" {
					if code, ok := extra["returncode"].(float64); ok && code != 0 && extra["exception_type"] == nil {
						n.Errors++
					}
				}
			}
			if version := doc.(object)["trajectory_format"]; version == "mini-swe-agent-1" {
				n.Calls, n.Results, n.Messages = 2, 2, n.Messages-2 // two actions and observations in text
			}
		}, nil)
	}
}

func TestRealATIF(t *testing.T) {
	for _, pattern := range []string{"atif/*.trajectory*.json", "atif/openagents*.json"} {
		check(t, "atif", pattern, func(n *tally, doc any) {
			o := doc.(object)
			if o["schema_version"] == nil { // counted by its own test
				return
			}
			n.Rows++
			for _, s := range list(o, "steps") {
				step := s.(object)
				n.Messages++
				if r, _ := step["reasoning_content"].(string); r != "" {
					n.Thinking++
				}
				n.Calls += len(list(step, "tool_calls"))
				n.Results += len(list(step, "observation", "results"))
				n.Messages += min(len(list(step, "tool_calls")), len(list(step, "observation", "results")))
			}
		}, nil)
	}
}

func TestRealOpenAI(t *testing.T) {
	check(t, "openai", "mini_swe_agent/tests/*.json", func(n *tally, doc any) {
		n.Rows++
		n.countMessages(doc.([]any))
	}, nil)
}

// TestRealExchanges: recorded, streamed responses are assembled: one answer per
// recording, with the calls that the chunks begin.
func TestRealExchanges(t *testing.T) {
	check(t, "openai", "api_openai_llamastack_recordings/*.json", func(n *tally, doc any) {
		o := doc.(object)
		n.Rows++
		n.countMessages(list(o, "request", "body", "messages"))
		n.Messages++
		chunks := list(o, "response", "body")
		if chunks == nil {
			data := o["response"].(object)["body"].(object)["__data__"].(object)
			chunks = []any{object{"__data__": object{"choices": []any{object{"delta": data["choices"].([]any)[0].(object)["message"]}}}}}
		}
		ids, thinking := map[any]bool{}, false
		for _, c := range chunks {
			for _, ch := range list(c, "__data__", "choices") {
				delta, _ := ch.(object)["delta"].(object)
				for k, call := range list(delta, "tool_calls") {
					at, ok := call.(object)["index"]
					if !ok || at == nil {
						at = float64(k)
					}
					ids[at] = true
				}
				for _, k := range []string{"reasoning", "reasoning_content"} {
					s, _ := delta[k].(string)
					thinking = thinking || s != ""
				}
			}
		}
		n.Calls += len(ids)
		if thinking {
			n.Thinking++
		}
	}, func(n *tally) { n.Errors = 0 })
}

// TestRealNothingLost looks for every text of one real file of each kind in its rows.
func TestRealNothingLost(t *testing.T) {
	for _, pattern := range []string{"tau_bench/docent*.json", "tau2_bench/ironshell_ironforge_v3*.json", "tau2_bench/button*.json", "atif/*1.trajectory.json", "atif/*context-summarization.trajectory.json",
		"mini_swe_agent/deepseek_reasoner_dev/pvlib*1072*.json", "mini_swe_agent/deepseek_reasoner_dev/*1854*.json", "atif/openagents*.json", "atif/rfc__mini*.json"} {
		files, _ := filepath.Glob(filepath.Join(dataDir(t), pattern))
		for _, name := range files {
			im, data := detectFile(t, name)
			n := 0
			for rec := range im.Read(context.Background(), bytes.NewReader(data), source(name)) {
				if n++; n > 10 || rec.Err != nil {
					break
				}
				for _, l := range lost(rec, rec.Canonical) {
					t.Errorf("%s record %d: %s", filepath.Base(name), rec.Index, l)
				}
			}
		}
	}
}
