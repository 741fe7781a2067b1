package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"trajlake/internal/term"
	"trajlake/schema"
)

// Greatest lengths of texts in a transcript that is not full, in characters.
const (
	maxTurnText   = 4000
	maxSystemText = 1200
	maxCallText   = 600
)

// transcript prints one trajectory for reading. All texts of the row are escaped.
type transcript struct {
	row    *schema.Trajectory
	style  term.Style
	full   bool
	folded struct {
		Reward      *float64 `json:"reward"`
		Priority    *float64 `json:"priority"`
		Quarantined bool     `json:"quarantined"`
	}
	b bytes.Buffer
}

func (t *transcript) text() []byte {
	t.header()
	for i := range t.row.Turns {
		t.turn(i)
	}
	if len(t.row.Turns) == 0 {
		t.b.WriteString("\nno turns, tokens only\n")
	}
	return t.b.Bytes()
}

// fact prints a line of the header, if there is something to say.
func (t *transcript) fact(name string, parts ...string) {
	var have []string
	for _, p := range parts {
		if p != "" {
			have = append(have, term.Line(p))
		}
	}
	if len(have) > 0 {
		fmt.Fprintf(&t.b, "%s %s\n", t.style.Dim(fmt.Sprintf("%-9s", name)), strings.Join(have, ", "))
	}
}

func (t *transcript) header() {
	r := t.row
	t.b.WriteString(t.style.Bold(term.Line(r.TrajectoryID)) + "\n")
	t.fact("task", join(" / ", str(r.TaskSet), str(r.TaskID)), said("split", str(r.Split)), said("dataset", str(r.Dataset)))
	t.fact("group", join(" #", str(r.GroupID), num(r.GroupIndex)), said("episode", str(r.EpisodeID)), said("parent", str(r.ParentID)), said("attempt", num(r.Attempt)))
	policy := num(r.PolicyVersionMin)
	if most := num(r.PolicyVersionMax); most != policy {
		policy = join("–", policy, most)
	}
	t.fact("model", str(r.Model), said("policy", policy), said("agent", str(r.Agent)), said("harness", str(r.Harness)), said("run", str(r.RunID)))
	t.fact("effort", str(r.Effort), said("effective", str(r.EffortEffective)), said("as", str(r.EffortRaw)), said("mode", str(r.Mode)), said("budget", num(r.ThinkingBudget)))
	t.outcome()
	counts := []string{plural(int64(len(r.Turns)), "turn", "turns")}
	if n := num(r.NumToolCalls); n != "" {
		counts = append(counts, n+" tool calls")
	}
	if n := num(r.NumToolErrors); n != "" && n != "0" {
		counts = append(counts, n+" of them failed")
	}
	t.fact("size", append(counts, said("prompt tokens", num(r.PromptTokens)), said("completion tokens", num(r.CompletionTokens)),
		said("thinking tokens", num(r.ThinkingTokens)), said("token ids", count(len(r.TokenIDs))), said("ms", num(r.DurationMs)))...)
	if s := r.Source; s != nil {
		t.fact("source", str(s.Format), str(s.URI), said("record", num(s.Record)))
	}
	t.fact("place", said("version", num(r.RowVersion)), said("row", num(r.RowSeq)), said("at", when(r.IngestedAt)))
	if len(r.Flags) > 0 {
		t.fact("flags", r.Flags...)
	}
}

func (t *transcript) outcome() {
	r := t.row
	reward := said("reward", float(t.folded.Reward))
	if own := float(r.Reward); own != float(t.folded.Reward) && t.folded.Reward != nil {
		if own == "" {
			own = "none"
		}
		reward += " (the row's own: " + own + ")"
	}
	if reward == "" {
		reward = "not scored"
	}
	success := ""
	if r.Success != nil {
		success = map[bool]string{true: "success", false: "no success"}[*r.Success]
	}
	owner := str(r.Fault)
	if owner == "none" {
		owner = ""
	}
	t.fact("outcome", str(r.Status), success, reward, said("termination", join(" / ", str(r.Termination), str(r.TerminationRaw))),
		said("fault of", owner), said("priority", float(t.folded.Priority)))
	for _, w := range r.Rewards {
		t.fact("", join(" ", str(w.Name), float(w.Value)), said("weight", float(w.Weight)), said("scorer", join(" ", str(w.Scorer), str(w.ScorerVersion))))
	}
	if t.folded.Quarantined {
		t.b.WriteString(t.style.Red("quarantined: not drawn for training") + "\n")
	}
}

func (t *transcript) turn(i int) {
	u := &t.row.Turns[i]
	role := str(u.Role)
	if role == "" {
		role = "turn"
	}
	head := fmt.Sprintf("[%d] %s", i, term.Line(role))
	switch role {
	case "assistant":
		head = t.style.Green(head)
	case "user":
		head = t.style.Cyan(head)
	case "tool", "environment":
		head = t.style.Yellow(head)
	}
	var notes []string
	add := func(s string) {
		if s != "" {
			notes = append(notes, term.Line(s))
		}
	}
	if str(u.Actor) != role {
		add(str(u.Actor))
	}
	add(said("after turn", num(u.Parent)))
	if u.IsDemo != nil && *u.IsDemo {
		add("demonstration")
	}
	add(said("reward", float(u.Reward)))
	add(said("effort", str(u.Effort)))
	if f := str(u.FinishReason); f != "stop" && f != "tool_calls" {
		add(said("finished by", f))
	}
	if len(notes) > 0 {
		head += " " + t.style.Dim("("+strings.Join(notes, ", ")+")")
	}
	fmt.Fprintf(&t.b, "\n%s\n", t.style.Bold(head))
	t.body("  ", str(u.Thinking), maxTurnText, t.style.Dim)
	most := maxTurnText
	if role == "system" || role == "developer" {
		most = maxSystemText
	}
	t.body("  ", str(u.Text), most, nil)
	if u.Text == nil {
		t.blocks(u.Blocks)
	}
	for k := range u.ToolCalls {
		t.call(&u.ToolCalls[k])
	}
}

// blocks prints the parts of a turn that has no text of its own.
func (t *transcript) blocks(list []schema.Block) {
	for i := range list {
		b := &list[i]
		if b.Text != nil {
			t.body("  ", str(b.Text), maxTurnText, nil)
			continue
		}
		t.body("  ", "<"+join(" ", str(b.Type), str(b.Mime), said("bytes", num(b.Bytes)), str(b.Digest))+">", maxCallText, t.style.Dim)
	}
}

func (t *transcript) call(c *schema.ToolCall) {
	name := str(c.Name)
	if name == "" {
		name = "(no name)"
	}
	t.body("  → ", join(" ", name, str(c.ArgsRaw)), maxCallText, t.style.Cyan)
	if c.ArgsError != nil {
		t.body("    ! ", str(c.ArgsError), maxCallText, t.style.Red)
	}
	status, paint := str(c.ResultStatus), t.style.Yellow
	if status == "ok" {
		status = ""
	} else if status != "" {
		status = "(" + status + ") "
		paint = t.style.Red
	}
	if c.Result != nil || status != "" {
		t.body("  ← ", status+str(c.Result), maxCallText, paint)
	}
	if c.ResultTruncated != nil && *c.ResultTruncated {
		t.body("    ", "(cut; "+said("full size in bytes", num(c.ResultBytes))+")", maxCallText, t.style.Dim)
	}
}

// body prints a text behind a mark, further lines indented as deep, shortened to
// most characters unless the transcript is full.
func (t *transcript) body(mark, text string, most int, paint func(string) string) {
	if text == "" {
		return
	}
	more := ""
	if n := utf8.RuneCountInString(text); !t.full && n > most {
		cut := 0
		for range most {
			_, size := utf8.DecodeRuneInString(text[cut:])
			cut += size
		}
		text, more = text[:cut], fmt.Sprintf("… %s more characters; --full shows them", thousands(int64(n-most)))
	}
	text = term.Text(strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n"))
	indent := strings.Repeat(" ", utf8.RuneCountInString(mark))
	for i, line := range strings.Split(text, "\n") {
		if i == 0 {
			line = mark + line
		} else if line != "" {
			line = indent + line
		}
		if paint != nil {
			line = paint(line)
		}
		t.b.WriteString(line + "\n")
	}
	if more != "" {
		t.b.WriteString(indent + t.style.Dim(more) + "\n")
	}
}

func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func num[T int8 | int32 | int64](n *T) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(int64(*n), 10)
}

func float(f *float64) string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(*f, 'g', -1, 64)
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func when(t *schema.Time) string {
	if t == nil {
		return ""
	}
	return t.String()
}

// said is name and value, or nothing where there is no value.
func said(name, value string) string {
	if value == "" {
		return ""
	}
	return name + " " + value
}

// join puts the parts that are there together.
func join(sep string, parts ...string) string {
	var have []string
	for _, p := range parts {
		if p != "" {
			have = append(have, p)
		}
	}
	return strings.Join(have, sep)
}
