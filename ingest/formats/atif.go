package formats

import (
	"context"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// atif reads the Agent Trajectory Interchange Format, versions 1.1 to 1.7: one
// object per file, or several as lines or a list. Embedded sub-agents are rows
// of their own behind their parent's.
type atif struct{}

func (atif) Name() string { return "atif" }

func (atif) Sniff(s *Sample) int {
	r := s.Record()
	version, _ := get(r, "schema_version").Str()
	switch {
	case strings.HasPrefix(version, "ATIF-v"):
		return 98
	case get(r, "steps").At(0).Has("step_id") && r.Has("agent"):
		return 85
	case get(r, "steps").At(0).Has("source") && get(r, "steps").At(0).Has("message"):
		return 70
	case isTrialResult(r):
		return 50
	}
	return 0
}

// isTrialResult reports whether v is a trial's result as Harbor and the exporter
// write it beside a trajectory: it holds no record of its own.
func isTrialResult(v canon.Value) bool {
	if v.Has("steps") || v.Has("simulations") || v.Has("messages") {
		return false
	}
	named := v.Has("trial_name") || v.Has("task_name") || v.Has("started_at") || v.Has("id")
	return get(v, "verifier_result").Has("rewards") || get(v, "agent_info").Kind() == canon.Object && named
}

func (im atif) Read(ctx context.Context, r io.Reader, src Source) iter.Seq[Record] {
	return eachRecord(ctx, r, src, func(d document) []Record {
		if isTrialResult(d.value) {
			return nil
		}
		out := im.record(d, src, nil)
		if len(out) == 1 && out[0].Row != nil {
			out[0].Annotations = im.verdict(src, out[0].Row)
		}
		return out
	})
}

// record maps one trajectory and its embedded sub-agents.
func (im atif) record(d document, src Source, parent *atifParent) []Record {
	v := d.value
	if v.Kind() != canon.Object || !v.Has("steps") {
		return wrong(src, d, im, "it has no steps")
	}
	b := newBuilder(im.Name())
	m := &atifMap{builder: b, v: v, tokens: tokens{b: b}}
	version, _ := get(v, "schema_version").Str()
	if version != "" {
		b.row.Source = &schema.Source{Version: &version}
	}
	m.agent(get(v, "agent"))
	m.steps(get(v, "steps"))
	m.root()
	id := ""
	if s, ok := get(v, "trajectory_id").Str(); ok && s != "" {
		if atLeast(version, 7) {
			id = s
		} else {
			b.keep("trajectory_id", canon.Str(s))
		}
	}
	canonical := d.canonical
	if parent != nil {
		parent.apply(b.row, id, get(v, "session_id"))
		canonical = func() []byte {
			return canon.Append(nil, canon.Obj(canon.M("parent", canon.Str(parent.id)), canon.M("record", v)))
		}
	}
	out := b.done(src, d, canonical())
	if out[0].Row == nil {
		return out
	}
	if id != "" {
		out[0].Row.TrajectoryID, out[0].ExplicitID = id, true
	}
	own := &atifParent{id: id, episode: id, calls: out[0].Row}
	if parent != nil && parent.episode != "" {
		own.episode = parent.episode
	}
	for _, sub := range get(v, "subagent_trajectories").Items() {
		out = append(out, im.record(document{value: sub, line: d.line, index: d.index}, src, own)...)
	}
	return out
}

// atifParent is what an embedded sub-agent knows of where it stands.
type atifParent struct {
	id, episode string
	calls       *schema.Trajectory
}

// apply fills the sub-agent's lineage: only ids that are identities count.
func (p *atifParent) apply(row *schema.Trajectory, id string, session canon.Value) {
	if p.episode != "" {
		first(&row.EpisodeID, &p.episode)
	}
	if p.id == "" {
		return
	}
	row.ParentID = &p.id
	name, _ := session.Str()
	for i := range p.calls.Turns {
		for k := range p.calls.Turns[i].ToolCalls {
			for _, ref := range p.calls.Turns[i].ToolCalls[k].SubagentIDs {
				if ref != "" && (ref == id || ref == name) {
					row.ParentCall = some(fmt.Sprintf("%d.%d", i, k))
					return
				}
			}
		}
	}
}

// atLeast reports whether a schema version is ATIF 1.minor or later.
func atLeast(version string, minor int) bool {
	var major, have int
	if n, _ := fmt.Sscanf(version, "ATIF-v%d.%d", &major, &have); n != 2 {
		return false
	}
	return major > 1 || major == 1 && have >= minor
}

// verdict reads the trial result that stands beside a trajectory: its rewards
// are facts that came later than the trajectory, and become annotations.
func (im atif) verdict(src Source, row *schema.Trajectory) []*schema.Annotation {
	if src.Open == nil || row.Reward != nil {
		return nil
	}
	base := path.Base(strings.ReplaceAll(src.Name, `\`, "/"))
	for _, name := range []string{strings.TrimSuffix(base, ".json") + ".result.json", "../result.json"} {
		f, err := src.Open(name)
		if err != nil {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(f, 16<<20))
		f.Close()
		if err != nil {
			continue
		}
		v, err := canon.Parse(data, canon.Limits{})
		if err != nil || !get(v, "verifier_result").Has("rewards") {
			continue
		}
		return rewardAnnotations(v, row)
	}
	return nil
}

func rewardAnnotations(trial canon.Value, row *schema.Trajectory) (out []*schema.Annotation) {
	for name, v := range get(trial, "verifier_result", "rewards").Members() {
		f := number(v)
		if f == nil {
			continue
		}
		a := &schema.Annotation{Kind: some("reward"), TargetKind: some("trajectory"), TargetID: some(row.TrajectoryID), Name: some(name), Value: f,
			Scorer: some("harbor"), Reason: str(trial, "trial_name")}
		if at := (&builder{}).time(get(trial, "finished_at")); at != nil {
			a.At = at
		}
		out = append(out, a)
	}
	return out
}
