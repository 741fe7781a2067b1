package query

import (
	"cmp"
	"context"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// StatsReport counts the trajectories of a snapshot. Sums are over the rows that
// state a number; a row that does not counts as nothing.
type StatsReport struct {
	Version          int64  `json:"version"`
	Snapshot         string `json:"snapshot"`
	Trajectories     int64  `json:"trajectories"`
	Quarantined      int64  `json:"quarantined"` // of the trajectories
	Scored           int64  `json:"scored"`      // with a reward, folded
	Turns            int64  `json:"turns"`
	ToolCalls        int64  `json:"tool_calls"`
	ToolErrors       int64  `json:"tool_errors"`
	PromptTokens     int64  `json:"prompt_tokens"`
	ThinkingTokens   int64  `json:"thinking_tokens"`
	CompletionTokens int64  `json:"completion_tokens"`
	Cells            []Cell `json:"cells"` // ordered by task set, mode, effort and reward band
}

// Cell is one combination of task set, mode, effort and reward band. A task set
// or an effort that is not known is null.
type Cell struct {
	TaskSet     *string `json:"task_set"`
	Mode        string  `json:"mode"`
	Effort      *string `json:"effort"`
	RewardBand  string  `json:"reward_band"` // of the folded reward
	Rows        int64   `json:"rows"`
	Tokens      int64   `json:"tokens"`      // completion tokens, thinking included
	Untold      int64   `json:"untold"`      // rows that do not state their tokens
	Quarantined int64   `json:"quarantined"` // of the rows
}

var statsColumns = []string{
	"task_set", "mode", "effort", "reward", "quarantined",
	"num_turns", "num_tool_calls", "num_tool_errors",
	"prompt_tokens", "thinking_tokens", "completion_tokens",
}

// cellKey is a cell's coordinates; a null is told from an empty text.
type cellKey struct {
	taskSet, effort       string
	hasTaskSet, hasEffort bool
	mode, band            string
}

// Stats counts the snapshot's trajectories, from scalar columns only.
func Stats(ctx context.Context, snap *store.Snapshot) (*StatsReport, error) {
	r := &StatsReport{Version: snap.Version(), Snapshot: snap.Token(), Cells: []Cell{}}
	cells := map[cellKey]*Cell{}
	for rec, err := range snap.Scan(ctx, store.ScanOptions{Columns: statsColumns}) {
		if err != nil {
			return nil, fault.Wrap("stats", err)
		}
		c, err := statsOf(rec)
		if err != nil {
			return nil, err
		}
		for i := range int(rec.NumRows()) {
			c.add(r, cells, i)
		}
	}
	for _, c := range cells {
		r.Cells = append(r.Cells, *c)
	}
	bands := schema.RewardBands()
	slices.SortFunc(r.Cells, func(a, b Cell) int {
		return cmp.Or(comparePtr(a.TaskSet, b.TaskSet, cmp.Compare[string]), cmp.Compare(a.Mode, b.Mode),
			comparePtr(a.Effort, b.Effort, compareEffort),
			cmp.Compare(slices.Index(bands, a.RewardBand), slices.Index(bands, b.RewardBand)))
	})
	return r, nil
}

// comparePtr puts null last.
func comparePtr(a, b *string, compare func(a, b string) int) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return compare(*a, *b)
}

func compareEffort(a, b string) int {
	x, _ := schema.EffortLevel(a)
	y, _ := schema.EffortLevel(b)
	return cmp.Or(cmp.Compare(x, y), cmp.Compare(a, b))
}

// statsRecord is the columns of one record.
type statsRecord struct {
	taskSet, mode, effort    *array.String
	reward                   *array.Float64
	quarantined              *array.Boolean
	turns, calls, errs       *array.Int32
	prompt, thinking, tokens *array.Int64
}

func statsOf(rec arrow.Record) (c statsRecord, err error) {
	ok := true
	c = statsRecord{
		taskSet: as[*array.String](rec, 0, &ok), mode: as[*array.String](rec, 1, &ok), effort: as[*array.String](rec, 2, &ok),
		reward: as[*array.Float64](rec, 3, &ok), quarantined: as[*array.Boolean](rec, 4, &ok),
		turns: as[*array.Int32](rec, 5, &ok), calls: as[*array.Int32](rec, 6, &ok), errs: as[*array.Int32](rec, 7, &ok),
		prompt: as[*array.Int64](rec, 8, &ok), thinking: as[*array.Int64](rec, 9, &ok), tokens: as[*array.Int64](rec, 10, &ok),
	}
	if !ok {
		return c, fault.New(fault.Internal, "stats", "unexpected columns %s", rec.Schema())
	}
	return c, nil
}

// as is column i of rec as a T; ok turns false where it is none.
func as[T arrow.Array](rec arrow.Record, i int, ok *bool) T {
	a, is := rec.Column(i).(T)
	*ok = *ok && is
	return a
}

// add counts row i.
func (c *statsRecord) add(r *StatsReport, cells map[cellKey]*Cell, i int) {
	r.Trajectories++
	r.Turns += sum32(c.turns, i)
	r.ToolCalls += sum32(c.calls, i)
	r.ToolErrors += sum32(c.errs, i)
	r.PromptTokens += sum64(c.prompt, i)
	r.ThinkingTokens += sum64(c.thinking, i)
	tokens := sum64(c.tokens, i)
	r.CompletionTokens += tokens

	k := cellKey{mode: schema.ModeUnknown}
	if c.taskSet.IsValid(i) {
		k.taskSet, k.hasTaskSet = c.taskSet.Value(i), true
	}
	if c.effort.IsValid(i) {
		k.effort, k.hasEffort = c.effort.Value(i), true
	}
	if c.mode.IsValid(i) {
		k.mode = c.mode.Value(i)
	}
	var reward *float64
	if c.reward.IsValid(i) {
		v := c.reward.Value(i)
		reward = &v
		r.Scored++
	}
	k.band = schema.RewardBand(reward)
	cell := cells[k]
	if cell == nil {
		cell = k.cell()
		cells[k] = cell
	}
	cell.Rows++
	cell.Tokens += tokens
	if c.tokens.IsNull(i) {
		cell.Untold++
	}
	if c.quarantined.IsValid(i) && c.quarantined.Value(i) {
		cell.Quarantined++
		r.Quarantined++
	}
}

// cell is an empty cell with copies of the key's texts, which may lie in a
// record's memory.
func (k *cellKey) cell() *Cell {
	c := &Cell{RewardBand: k.band}
	own := func(s string) string { return string([]byte(s)) }
	k.taskSet, k.effort, k.mode = own(k.taskSet), own(k.effort), own(k.mode)
	c.Mode = k.mode
	if k.hasTaskSet {
		c.TaskSet = &k.taskSet
	}
	if k.hasEffort {
		c.Effort = &k.effort
	}
	return c
}

func sum32(a *array.Int32, i int) int64 {
	if a.IsNull(i) {
		return 0
	}
	return int64(a.Value(i))
}

func sum64(a *array.Int64, i int) int64 {
	if a.IsNull(i) {
		return 0
	}
	return a.Value(i)
}
