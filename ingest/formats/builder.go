package formats

import (
	"slices"
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

func some[T any](v T) *T { return &v }

// builder gathers one row, what no column holds, and the losses.
type builder struct {
	format string
	row    *schema.Trajectory
	extra  []canon.Member
	turns  []*turn
	losses []Loss
	flags  []string
	err    *fault.Error // why the record cannot be a row

	restored bool // an exporter of ours wrote it: nothing is left to work out
}

// turn is a turn in the making.
type turn struct {
	schema.Turn
	extra   []canon.Member
	calls   [][]canon.Member // per call: what its source object had besides
	results [][]canon.Member // per call: what its result had besides
	linked  []bool           // per call: a result was found
	at      *schema.Time     // when the last of its results came

	restored bool
}

func newBuilder(format string) *builder {
	return &builder{format: format, row: &schema.Trajectory{}}
}

// lose notes a loss once.
func (b *builder) lose(field, kind string) {
	l := Loss{Format: b.format, Field: field, Kind: kind, Rows: 1}
	if at, found := slices.BinarySearchFunc(b.losses, l, compareLoss); !found {
		b.losses = slices.Insert(b.losses, at, l)
	}
}

// flag adds a data-quality flag once.
func (b *builder) flag(code string) {
	if !slices.Contains(b.flags, code) {
		b.flags = append(b.flags, code)
	}
}

// keep puts a value that no column holds into the row's extra. Nulls say nothing
// and are left out.
func (b *builder) keep(key string, v canon.Value) {
	if v = prune(v); !empty(v) {
		b.extra = append(b.extra, canon.M(key, v))
		b.lose(key, LossMoved)
	}
}

// keepRest keeps the members of v that are not in but.
func (b *builder) keepRest(v canon.Value, but ...string) {
	for k, m := range v.Members() {
		if !slices.Contains(but, k) {
			b.keep(k, m)
		}
	}
}

// keep puts a value that no column of the turn holds into its extra.
func (t *turn) keep(b *builder, key string, v canon.Value) {
	if v = prune(v); !empty(v) {
		t.extra = append(t.extra, canon.M(key, v))
		b.lose("turns."+key, LossMoved)
	}
}

// add appends a turn.
func (b *builder) add(role string) *turn {
	t := &turn{}
	t.Role = &role
	b.turns = append(b.turns, t)
	return t
}

// without is v less some of its members; null if nothing is left.
func without(v canon.Value, but ...string) canon.Value {
	var ms []canon.Member
	for k, m := range v.Members() {
		if !slices.Contains(but, k) && !m.IsNull() {
			ms = append(ms, canon.M(k, m))
		}
	}
	if len(ms) == 0 {
		return canon.Value{}
	}
	return canon.Obj(ms...)
}

// objectText is the JSON text of the members; nil without members.
func objectText(ms []canon.Member) *string {
	if len(ms) == 0 {
		return nil
	}
	return some(string(canon.Append(nil, canon.Obj(ms...))))
}

// lists makes one array of the members per call, trailing empty ones left out;
// null if all are empty.
func lists(per [][]canon.Member) canon.Value {
	n := len(per)
	for n > 0 && len(per[n-1]) == 0 {
		n--
	}
	if n == 0 {
		return canon.Value{}
	}
	items := make([]canon.Value, n)
	for i, ms := range per[:n] {
		items[i] = canon.Obj(ms...)
	}
	return canon.Arr(items...)
}

// done is the record of the row, or of the reason why there is none.
func (b *builder) done(src Source, d document, canonical []byte) []Record {
	rec := Record{Line: d.line, Index: d.index}
	if b.err == nil {
		if !b.restored {
			b.closeCalls()
			b.sumUsage()
		}
		b.finish(src, d)
		if faults := schema.Validate(b.row, schema.Limits{}); len(faults) > 0 {
			rec.Err = faults.Err(at(src.Name, d.line))
			return []Record{rec}
		}
		schema.Derive(b.row)
		rec.Row, rec.Canonical, rec.Loss = b.row, canonical, b.losses
		return []Record{rec}
	}
	b.err.Op = at(src.Name, d.line)
	rec.Err = b.err
	return []Record{rec}
}

// finish closes the turns and fills what is not the source's.
func (b *builder) finish(src Source, d document) {
	row := b.row
	row.Turns = make([]schema.Turn, len(b.turns))
	for i, t := range b.turns {
		if v := lists(t.calls); !v.IsNull() {
			t.keep(b, "tool_calls", v)
		}
		if v := lists(t.results); !v.IsNull() {
			t.keep(b, "tool_results", v)
		}
		t.Turn.Extra = objectText(t.extra)
		row.Turns[i] = t.Turn
	}
	row.Extra = objectText(b.extra)
	applySet(row, src.Set)
	if row.Source == nil {
		row.Source = &schema.Source{}
	}
	row.Source.Format, row.Source.URI, row.Source.Record = some(b.format), some(src.Name), some(d.index)
	if row.Model != nil && synthetic(*row.Model) {
		b.flag(FlagSynthetic)
	}
	slices.Sort(b.flags)
	row.Flags = append(row.Flags, b.flags...)
	for _, l := range b.losses {
		row.ImportLoss = append(row.ImportLoss, l.Kind+":"+l.Field)
	}
}

// The data-quality flags that importers raise.
const (
	FlagDuplicateCallID = "data.duplicate_call_id" // a vendor's call id stands more than once in the trajectory
	FlagOrphanResult    = "data.orphan_result"     // a tool result without its call
	FlagMissingResult   = "data.missing_result"    // a tool call without a result
	FlagArgsUnparsable  = "data.args_unparsable"   // arguments that should be JSON and are not
	FlagThinkUnbalanced = "data.think_unbalanced"  // a thinking tag without its partner
	FlagHarmonyLeak     = "data.harmony_leak"      // Harmony control tokens in text
	FlagSynthetic       = "data.synthetic"         // no model wrote it: hand-made or generated rows
)

// synthetic reports whether a model's name says that there was no model.
func synthetic(model string) bool {
	switch strings.ToLower(model) {
	case "synthetic", "model", "dummy", "fake", "mock", "test", "test-model", "fake-model", "mock-model", "dummy-model":
		return true
	}
	return false
}

// text is the string at key; nil if there is none. Another kind is an error of
// the record.
func str(v canon.Value, key string) *string {
	x, _ := v.Get(key)
	if s, ok := x.Str(); ok {
		return &s
	}
	return nil
}

// idText is a name that sources write as a string or as a number.
func idText(v canon.Value) *string {
	if s, ok := v.Str(); ok && s != "" {
		return &s
	}
	if v.Kind() == canon.Number {
		return some(string(canon.Append(nil, v)))
	}
	return nil
}

func get(v canon.Value, path ...string) canon.Value {
	for _, k := range path {
		v, _ = v.Get(k)
	}
	return v
}

func number(v canon.Value) *float64 {
	if f, ok := v.Float(); ok {
		return &f
	}
	return nil
}

func integer(v canon.Value) *int64 {
	if n, ok := v.Int(); ok {
		return &n
	}
	return nil
}

func int32Of(v canon.Value) *int32 {
	if n, ok := v.Int(); ok && n >= -1<<31 && n < 1<<31 {
		return some(int32(n))
	}
	return nil
}
