package formats

import (
	"trajlake/schema"
	"trajlake/schema/canon"
)

// columnsKey is the member of a foreign format's extra in which exporters put the
// columns that the format has no place for, and from which importers take them.
const columnsKey = "trajlake"

// rootExtra reads the extra of a root: our own columns become columns again.
func (m *atifMap) rootExtra(v canon.Value) {
	own := get(v, columnsKey)
	if own.Kind() != canon.Object {
		m.keep("extra", v)
		return
	}
	m.keep("extra", without(v, columnsKey))
	row := canon.Obj(append(membersOf(without(own, "extra")), canon.M("token_ids", canon.Arr(canon.IntOf(0))))...)
	cols, faults := schema.FromJSON(row)
	if len(faults) > 0 {
		m.reject("extra."+columnsKey+"."+faults[0].Field, "%s", faults[0].Reason)
		return
	}
	takeColumns(m.row, cols)
	for k, x := range get(own, "extra").Members() {
		m.extra = append(m.extra, canon.M(k, x))
	}
}

// takeColumns fills the columns of row that are null from cols.
func takeColumns(row, cols *schema.Trajectory) {
	for _, p := range [][2]**string{
		{&row.TaskSet, &cols.TaskSet}, {&row.TaskID, &cols.TaskID}, {&row.GroupID, &cols.GroupID}, {&row.Status, &cols.Status},
		{&row.Effort, &cols.Effort}, {&row.Mode, &cols.Mode}, {&row.Split, &cols.Split}, {&row.Dataset, &cols.Dataset}, {&row.RunID, &cols.RunID},
		{&row.EpisodeID, &cols.EpisodeID}, {&row.ParentID, &cols.ParentID}, {&row.ParentCall, &cols.ParentCall}, {&row.TokenizerID, &cols.TokenizerID},
		{&row.TemplateHash, &cols.TemplateHash}, {&row.EnvID, &cols.EnvID}, {&row.EnvVersion, &cols.EnvVersion}, {&row.EnvDigest, &cols.EnvDigest},
		{&row.SystemDigest, &cols.SystemDigest}, {&row.ToolsDigest, &cols.ToolsDigest}, {&row.Licence, &cols.Licence}, {&row.Visibility, &cols.Visibility},
		{&row.EffortEffective, &cols.EffortEffective}, {&row.EffortRaw, &cols.EffortRaw}, {&row.EffortMode, &cols.EffortMode},
		{&row.ThinkingFidelity, &cols.ThinkingFidelity}, {&row.Termination, &cols.Termination}, {&row.TerminationRaw, &cols.TerminationRaw},
		{&row.Fault, &cols.Fault}, {&row.LogprobMode, &cols.LogprobMode}, {&row.PromptRef, &cols.PromptRef}, {&row.Harness, &cols.Harness},
	} {
		first(p[0], *p[1])
	}
	for _, p := range [][2]**int64{
		{&row.PolicyVersionMin, &cols.PolicyVersionMin}, {&row.PolicyVersionMax, &cols.PolicyVersionMax}, {&row.ThinkingTokens, &cols.ThinkingTokens},
		{&row.DurationMs, &cols.DurationMs}, {&row.ThinkingBudget, &cols.ThinkingBudget}, {&row.ModelMs, &cols.ModelMs}, {&row.EnvMs, &cols.EnvMs},
		{&row.WaitMs, &cols.WaitMs}, {&row.PromptTokens, &cols.PromptTokens}, {&row.CompletionTokens, &cols.CompletionTokens},
	} {
		first(p[0], *p[1])
	}
	for _, p := range [][2]**int32{{&row.GroupIndex, &cols.GroupIndex}, {&row.GroupSize, &cols.GroupSize}, {&row.Attempt, &cols.Attempt}} {
		first(p[0], *p[1])
	}
	for _, p := range [][2]**bool{{&row.Success, &cols.Success}, {&row.Terminated, &cols.Terminated}, {&row.Truncated, &cols.Truncated}, {&row.Trainable, &cols.Trainable}} {
		first(p[0], *p[1])
	}
	first(&row.Reward, cols.Reward)
	first(&row.StartedAt, cols.StartedAt)
	first(&row.FinishedAt, cols.FinishedAt)
	if row.Sampling == nil {
		row.Sampling = cols.Sampling
	}
	if len(row.Rewards) == 0 {
		row.Rewards = cols.Rewards
	}
	if len(row.Participants) == 0 {
		row.Participants = cols.Participants
	}
	if len(row.Metadata) == 0 {
		row.Metadata = cols.Metadata
	}
}
