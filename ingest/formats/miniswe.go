package formats

import (
	"context"
	"io"
	"iter"
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// miniSWE reads the trajectories of mini-swe-agent (trajectory_format
// mini-swe-agent-1 and 1.1): {info, messages, trajectory_format, instance_id}.
type miniSWE struct{}

func (miniSWE) Name() string { return "mini_swe_agent" }

func (miniSWE) Sniff(s *Sample) int {
	r := s.Record()
	format, _ := get(r, "trajectory_format").Str()
	info := get(r, "info")
	switch {
	case strings.HasPrefix(format, "mini-swe-agent"):
		return 98
	case info.Has("mini_version"):
		return 95
	case info.Has("model_stats") && info.Has("config"):
		return 90
	case info.Has("exit_status") && info.Has("submission") && r.Has("messages"):
		return 85
	}
	return 0
}

func (im miniSWE) Read(ctx context.Context, r io.Reader, src Source) iter.Seq[Record] {
	return eachRecord(ctx, r, src, func(d document) []Record { return im.record(d, src) })
}

func (im miniSWE) record(d document, src Source) []Record {
	v := d.value
	if v.Kind() != canon.Object || !v.Has("messages") || !v.Has("info") {
		return wrong(src, d, im, "it has no info and messages")
	}
	b := newBuilder(im.Name())
	m := miniMap{b}
	info := get(v, "info")
	m.info(info)
	b.chat(get(v, "messages"), chat{list: "messages", key: m.key, resultKey: m.resultKey, done: m.done, status: miniStatus})
	m.outputs()
	m.textActions()
	for k, x := range v.Members() {
		switch k {
		case "info", "messages":
		case "trajectory_format":
			b.row.Source = &schema.Source{Version: str(v, k)}
		case "instance_id":
			if b.row.TaskID = idText(x); b.row.TaskID == nil {
				b.keep(k, x)
			}
		default:
			b.keep(k, x)
		}
	}
	m.clock()
	return b.done(src, d, d.canonical())
}

// miniMap maps the members of one trajectory.
type miniMap struct{ *builder }

// key takes the members of a message that OpenAI's have not.
func (m miniMap) key(t *turn, msg canon.Value, key string, v canon.Value) bool {
	return key == "extra" && v.Kind() == canon.Object // done, when the calls are there
}

// done reads a message's extra.
func (m miniMap) done(t *turn, msg canon.Value, i int) {
	if *t.Role == "event" {
		t.Sampled = some(false)
	}
	var rest []canon.Member
	for k, v := range get(msg, "extra").Members() {
		switch k {
		case "response":
			rest = append(rest, canon.M(k, m.response(t, msg, v)))
		case "timestamp":
			if t.At = m.time(v); t.At == nil {
				rest = append(rest, canon.M(k, v))
			}
		case "cost":
			t.CostUSD = m.float("extra.cost", v)
		case "actions":
			if !sameActions(t, v) {
				rest = append(rest, canon.M(k, v))
			} else {
				m.lose("messages.extra.actions", LossRepeated)
			}
		case "submission", "exit_status", "traceback", "exception_str":
			rest = m.sameAsInfo(rest, k, v)
		default:
			rest = append(rest, canon.M(k, v))
		}
	}
	if len(rest) > 0 {
		t.keep(m.builder, "extra", canon.Obj(rest...))
	}
	if s := t.Text; *t.Role == "event" && s != nil && *s != "" && *s == m.kept("submission") {
		t.Text = nil // the exit message repeats the submission
		m.lose("messages.exit", LossRepeated)
	}
}

// kept is the text that the row's extra holds in info under a key.
func (m miniMap) kept(key string) string {
	for _, x := range m.extra {
		if x.Key == "info" {
			s, _ := get(x.Value, key).Str()
			return s
		}
	}
	return ""
}

// sameAsInfo keeps what the exit message says, unless info says the same.
func (m miniMap) sameAsInfo(rest []canon.Member, key string, v canon.Value) []canon.Member {
	s, ok := v.Str()
	same := s == m.kept(key)
	if key == "exit_status" {
		same = s == text(m.row.TerminationRaw)
	}
	if ok && same {
		m.lose("messages.extra."+key, LossRepeated)
		return rest
	}
	return append(rest, canon.M(key, v))
}

// sameActions reports whether the actions are the calls' commands again.
func sameActions(t *turn, v canon.Value) bool {
	if v.Len() != len(t.ToolCalls) {
		return false
	}
	for i, a := range v.Items() {
		c := &t.ToolCalls[i]
		args, err := canon.Parse([]byte(text(c.ArgsRaw)), canon.Limits{})
		if err != nil || !equal(get(args, "command"), get(a, "command")) || a.Len() > 2 {
			return false
		}
		if id := get(a, "tool_call_id"); text(idText(id)) != text(c.IDRaw) {
			return false
		}
	}
	return true
}

// resultKey takes the members of a tool message that OpenAI's have not.
func (m miniMap) resultKey(r *result, key string, v canon.Value) bool {
	if key != "extra" || v.Kind() != canon.Object {
		return false
	}
	var rest []canon.Member
	for k, x := range v.Members() {
		switch k {
		case "timestamp":
			if r.at = m.time(x); r.at == nil {
				rest = append(rest, canon.M(k, x))
			}
		default:
			rest = append(rest, canon.M(k, x))
		}
	}
	r.rest = append(r.rest, canon.M("extra", prune(canon.Obj(rest...))))
	return true
}

// miniStatus is how a command went: its return code, or the exception that
// stopped it.
func miniStatus(msg canon.Value, content string) *string {
	extra := get(msg, "extra")
	kind, _ := get(extra, "exception_type").Str()
	info, _ := get(extra, "exception_info").Str()
	code, hasCode := get(extra, "returncode").Int()
	switch {
	case strings.Contains(kind, "Timeout"), strings.Contains(info, "timed out"):
		return some("timeout")
	case info != "" || kind != "":
		return some("error")
	case hasCode && code == 0:
		return some("ok")
	case hasCode:
		return some("error")
	}
	return codeInText(content)
}

// codeInText reads the return code that an observation begins with.
func codeInText(content string) *string {
	after, ok := strings.CutPrefix(content, "<returncode>")
	if !ok {
		return nil
	}
	code, _, _ := strings.Cut(after, "</returncode>")
	if code == "0" {
		return some("ok")
	}
	return some("error")
}

// rawOutput replaces a raw output that the result's text holds verbatim by where
// it stands in it.
func rawOutput(extra canon.Value, content string) canon.Value {
	raw, ok := get(extra, "raw_output").Str()
	if !ok || len(raw) < 64 {
		return extra
	}
	i := strings.Index(content, raw)
	if i < 0 {
		return extra
	}
	where := canon.Obj(canon.M("at", canon.IntOf(int64(i))), canon.M("bytes", canon.IntOf(int64(len(raw)))))
	var ms []canon.Member
	for k, v := range extra.Members() {
		if k == "raw_output" {
			v = where
		}
		ms = append(ms, canon.M(k, v))
	}
	return canon.Obj(ms...)
}

// outputs replaces the raw outputs that the results' texts hold.
func (m miniMap) outputs() {
	for _, t := range m.turns {
		for k := range t.ToolCalls {
			for j, x := range t.results[k] {
				if x.Key != "extra" {
					continue
				}
				short := rawOutput(x.Value, text(t.ToolCalls[k].Result))
				if short != x.Value {
					m.lose("messages.extra.raw_output", LossRepeated)
				}
				t.results[k][j].Value = short
			}
		}
	}
}

// textActions links the first generation, which has no tool calls: the action is
// the one fenced block of an answer, and its observation the user message behind
// it.
func (m miniMap) textActions() {
	var kept []*turn
	for i, t := range m.turns {
		if i > 0 && *t.Role == "user" && t.Text != nil && observes(*t.Text) {
			if last := kept[len(kept)-1]; m.textAction(last, t) {
				continue
			}
		}
		kept = append(kept, t)
	}
	m.turns = kept
}

func observes(s string) bool {
	return strings.HasPrefix(s, "<returncode>") || strings.HasPrefix(s, "Observation:")
}

// textAction makes a call of an answer's fenced block, with the observation as
// its result; false if the answer has not exactly one, or calls of its own.
func (m miniMap) textAction(t, observation *turn) bool {
	if *t.Role != "assistant" || len(t.ToolCalls) > 0 || t.Text == nil {
		return false
	}
	parts := strings.Split(*t.Text, "```")
	if len(parts) != 3 {
		return false
	}
	head, command, ok := strings.Cut(parts[1], "\n")
	if head = strings.TrimSpace(head); !ok || head != "bash" && head != "mswea_bash_command" && head != "sh" {
		return false
	}
	command = strings.TrimSuffix(command, "\n")
	c := toolCall(some("bash"))
	c.ArgsRaw = &command
	t.addCall(c, []canon.Member{canon.M("type", canon.Str("text_action"))})
	r := &result{text: observation.Text, status: codeInText(*observation.Text), at: observation.At}
	for _, bl := range observation.Blocks {
		if bl.Extra != nil {
			if x, err := canon.Parse([]byte(*bl.Extra), canon.Limits{}); err == nil {
				r.rest = append(r.rest, canon.M("block", x))
			}
		}
	}
	r.rest = append(r.rest, observation.extra...)
	m.give(t, 0, r, linkAdjacency)
	return true
}
