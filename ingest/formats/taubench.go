package formats

import (
	"context"
	"io"
	"iter"
	"path"
	"regexp"
	"slices"
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

// tauBench reads the result files of tau-bench: a list, or JSON lines, of
// {task_id, reward, info, traj, trial}.
type tauBench struct{}

func (tauBench) Name() string { return "tau_bench" }

// Sniff looks for a record with a traj, or for a few-shot file, which is its own
// thing and refused by name.
func (tauBench) Sniff(s *Sample) int {
	r := s.Record()
	switch {
	case r.Has("traj") && r.Has("task_id"):
		return 95
	case r.Has("task_id") && r.Has("reward") && get(r, "info").Has("task"):
		return 90
	case r.Has(fewShotKey) && r.Len() == 1:
		return 60
	}
	return 0
}

func (im tauBench) Read(ctx context.Context, r io.Reader, src Source) iter.Seq[Record] {
	facts := src.Facts
	if facts == nil {
		facts = FileFacts(im.Name(), src.Name)
	}
	all := eachRecord(ctx, r, src, func(d document) []Record { return im.record(d, src, facts) })
	return func(yield func(Record) bool) {
		for rec := range all {
			if !yield(rec) || fault.FieldOf(rec.Err) == fewShotKey {
				return // one such record says what the file is
			}
		}
	}
}

// fewShotKey is the one key of tau-bench's few-shot demonstrations.
const fewShotKey = "messages_display"

// FileFacts are the facts that a format takes from a file's base name, because
// they stand nowhere else; nil where there are none. They are part of a record's
// canonical bytes.
func FileFacts(format, name string) map[string]string {
	if format != "tau_bench" {
		return nil
	}
	return tauFacts(path.Base(strings.ReplaceAll(name, `\`, "/")))
}

var (
	tauRun       = regexp.MustCompile(`^(tool-calling|act|react|few-shot)-(.+)-([0-9.]+)_range_(-?\d+)-(-?\d+)_user-(.+)-(llm|react|verify|reflection|human)_(\d+)\.jsonl?`)
	tauPublished = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9.:-]*)-(airline|retail)(?:[_.].*)?\.jsonl?`)
)

// tauFacts reads the names that tau-bench gives to its results, and those of the
// published ones.
func tauFacts(base string) map[string]string {
	if m := tauRun.FindStringSubmatch(base); m != nil {
		return map[string]string{"agent": m[1], "model": m[2], "temperature": m[3], "user_model": m[6], "user": m[7], "run": m[8]}
	}
	if m := tauPublished.FindStringSubmatch(base); m != nil {
		return map[string]string{"domain": m[2], "model": m[1]}
	}
	return nil
}

// withFacts are the canonical bytes of a record and the file-name facts it was
// read with.
func withFacts(d document, facts map[string]string) []byte {
	if len(facts) == 0 {
		return d.canonical()
	}
	var ms []canon.Member
	for k, f := range facts {
		ms = append(ms, canon.M(k, canon.Str(f)))
	}
	return canon.Append(make([]byte, 0, d.size+256), canon.Obj(canon.M("file", canon.Obj(ms...)), canon.M("record", d.value)))
}

func (im tauBench) record(d document, src Source, facts map[string]string) []Record {
	v := d.value
	if v.Has(fewShotKey) && v.Len() == 1 {
		e := invalid(src.Name, d.line, fewShotKey, "a few-shot demonstration as rendered text: it has no turns, calls or results, and no reward")
		return []Record{{Line: d.line, Index: d.index, Err: e.WithHint("demonstrations are prompts of the agent, not trajectories")}}
	}
	if v.Kind() != canon.Object || !v.Has("traj") {
		return wrong(src, d, im, "it has no traj")
	}
	b := newBuilder(im.Name())
	for k, m := range v.Members() {
		switch k {
		case "task_id":
			if b.row.TaskID = idText(m); b.row.TaskID == nil {
				b.bad(k, "a number or a string", m)
			}
		case "trial":
			if n := b.int(k, m); n != nil {
				b.row.Attempt, b.row.GroupIndex = int32Of(m), int32Of(m)
			}
		case "reward":
			b.row.Reward = b.float(k, m)
		case "info":
			b.tauInfo(m)
		case "traj":
			b.chat(m, chat{list: "traj", status: tauStatus})
		default:
			b.keep(k, m)
		}
	}
	b.tauRun(get(v, "info"), facts, src)
	return b.done(src, d, withFacts(d, facts))
}

// tauStatus is how a call went: tau-bench's environments answer a failed call
// with a text that begins with "Error:" or names an unknown action.
func tauStatus(_ canon.Value, text string) *string {
	if strings.HasPrefix(text, "Error:") || strings.HasPrefix(text, "Unknown action") {
		return some("error")
	}
	return some("ok")
}

// tauInfo maps info: the reward's parts to the rewards list, the rest to extra.
func (b *builder) tauInfo(info canon.Value) {
	if info.Kind() != canon.Object {
		b.keep("info", info)
		return
	}
	ri := get(info, "reward_info")
	parts := get(ri, "info")
	for _, name := range []string{"r_actions", "r_outputs"} {
		if f := number(get(parts, name)); f != nil {
			b.row.Rewards = append(b.row.Rewards, reward(name, f, "tau_bench"))
		}
	}
	if f := number(get(ri, "reward")); f != nil {
		b.row.Rewards = append([]schema.Reward{reward("reward", f, "tau_bench")}, b.row.Rewards...)
	}
	b.keep("info", info)
}

func reward(name string, v *float64, scorer string) schema.Reward {
	return schema.Reward{Name: &name, Value: v, Scorer: &scorer}
}

// tauRun fills what belongs to the run: domain, model, participants, group.
func (b *builder) tauRun(info canon.Value, facts map[string]string, src Source) {
	row := b.row
	d := b.tauDomain(info)
	if d == "" {
		d = facts["domain"]
	}
	if d != "" {
		row.TaskSet, row.EnvID = some("tau-bench-"+d), some("tau-bench-"+d)
	}
	row.Harness = some("tau-bench")
	fact := func(k string) *string {
		if f, ok := facts[k]; ok {
			return &f
		}
		return nil
	}
	row.Model, row.Agent = fact("model"), fact("agent")
	if t := fact("temperature"); t != nil {
		if n, ok := canon.Num(*t); ok {
			row.Sampling = &schema.Sampling{Temperature: number(n)}
		}
	}
	row.Participants = []schema.Participant{
		{Kind: some("agent"), Name: some("assistant"), Model: row.Model, Trainable: some(true)},
		{Kind: some("user_sim"), Name: some("user"), Model: fact("user_model"), Trainable: some(false)},
	}
	for _, t := range b.turns {
		switch *t.Role {
		case "assistant", "user":
			t.Actor = some(*t.Role)
		}
	}
	if row.Reward != nil {
		row.Success = some(*row.Reward >= 1-1e-6)
	}
	row.Status = some("completed")
	b.tauEnd(info)
	b.groupBy(src, fact("run"), row.Model)
}

// tauEnd reads how the conversation ended: a last source of "user" is the user's
// stop, a tool's name that tool's.
func (b *builder) tauEnd(info canon.Value) {
	row := b.row
	source := str(info, "source")
	if source == nil {
		return
	}
	row.TerminationRaw = source
	done := get(info, "reward_info").Kind() == canon.Object
	switch {
	case done && *source == "user":
		row.Termination, row.Terminated, row.Truncated = some("user_stop"), some(true), some(false)
	case done:
		row.Termination, row.Terminated, row.Truncated = some("env_done"), some(true), some(false)
	default: // the environment never said done: the step limit
		row.Termination, row.Terminated, row.Truncated = some("max_turns"), some(false), some(true)
	}
}

// groupBy makes the group of the trials of one task in one run. What tells runs
// apart is the run id that was set, or what the source says of the run.
func (b *builder) groupBy(src Source, facts ...*string) {
	if b.row.TaskID == nil {
		return
	}
	parts := []string{b.format}
	if b.row.TaskSet != nil {
		parts[0] = *b.row.TaskSet
	}
	if id := src.Set["run_id"]; id != "" {
		parts = append(parts, id)
	}
	for _, f := range facts {
		if f != nil {
			parts = append(parts, *f)
		}
	}
	b.row.GroupID = some(strings.Join(append(parts, *b.row.TaskID), ":"))
}

// tauTools are the tools that only one of tau-bench's domains has.
var tauTools = map[string][]string{
	"airline": {"book_reservation", "cancel_reservation", "get_reservation_details", "list_all_airports", "search_direct_flight", "search_onestop_flight",
		"send_certificate", "update_reservation_baggages", "update_reservation_flights", "update_reservation_passengers"},
	"retail": {"cancel_pending_order", "exchange_delivered_order_items", "find_user_id_by_email", "find_user_id_by_name_zip", "get_order_details",
		"get_product_details", "list_all_product_types", "modify_pending_order_address", "modify_pending_order_items", "modify_pending_order_payment",
		"modify_user_address", "return_delivered_order_items"},
}

// tauDomain tells the domain by its tools, and else by the policy's heading.
func (b *builder) tauDomain(info canon.Value) string {
	uses := func(domain string, name *string) bool { return name != nil && slices.Contains(tauTools[domain], *name) }
	for _, domain := range []string{"airline", "retail"} {
		for _, t := range b.turns {
			for i := range t.ToolCalls {
				if uses(domain, t.ToolCalls[i].Name) {
					return domain
				}
			}
		}
		for _, a := range get(info, "task", "actions").Items() {
			if uses(domain, str(a, "name")) {
				return domain
			}
		}
	}
	if len(b.turns) > 0 && b.turns[0].Text != nil {
		head := strings.ToLower(clip(*b.turns[0].Text, 200))
		for _, domain := range []string{"airline", "retail"} {
			if strings.Contains(head, domain+" agent") {
				return domain
			}
		}
	}
	return ""
}
