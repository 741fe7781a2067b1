package facts

import (
	"context"
	"math"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/replay/law"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// View is the facts of all rows of one snapshot. It is immutable, safe for
// concurrent use and needs no closing.
type View struct {
	snap    *store.Snapshot
	has     Set
	rows    []Row
	texts   map[Set]*dictionary
	ids     []uint64
	members map[Set]map[uint32][]int64
	newest  int64
}

type dictionary struct {
	texts []string
	codes map[string]uint32
}

func (d *dictionary) code(text string) uint32 {
	if c, ok := d.codes[text]; ok {
		return c
	}
	d.texts = append(d.texts, text)
	d.codes[text] = uint32(len(d.texts))
	return uint32(len(d.texts))
}

// Open reads the facts in need of every row of snap.
func Open(ctx context.Context, snap *store.Snapshot, need Set) (*View, error) {
	return open(ctx, snap, need, map[Set]*dictionary{})
}

func open(ctx context.Context, snap *store.Snapshot, need Set, texts map[Set]*dictionary) (*View, error) {
	v := &View{snap: snap, has: need, texts: texts, newest: Null, members: map[Set]map[uint32][]int64{Group: {}, Episode: {}, Task: {}}}
	v.rows = make([]Row, snap.Count(schema.Trajectories))
	v.ids = make([]uint64, len(v.rows))
	for i := range v.rows {
		v.rows[i] = blank(int64(i))
	}
	for rec, err := range snap.Scan(ctx, store.ScanOptions{Columns: columnsOf(need)}) {
		if err != nil {
			return nil, fault.Wrap("read facts of "+snap.String(), err)
		}
		v.add(rec)
	}
	return v, nil
}

func blank(seq int64) Row {
	return Row{Seq: seq, GroupIndex: -1, GroupSize: -1, Reward: math.NaN(), RewardRaw: math.NaN(), Priority: math.NaN(), Advantage: math.NaN(),
		Success: -1, PolicyMin: Null, PolicyMax: Null, Absent: true}
}

var textColumns = []struct {
	set  Set
	name string
	at   func(*Row) *uint32
}{
	{Effort, "effort", func(r *Row) *uint32 { return &r.Effort }}, {Mode, "mode", func(r *Row) *uint32 { return &r.Mode }},
	{Split, "split", func(r *Row) *uint32 { return &r.Split }}, {Status, "status", func(r *Row) *uint32 { return &r.Status }},
	{TaskSet, "task_set", func(r *Row) *uint32 { return &r.TaskSet }}, {Task, "task_id", func(r *Row) *uint32 { return &r.Task }},
	{Prompt, "prompt_hash", func(r *Row) *uint32 { return &r.Prompt }}, {Group, "group_id", func(r *Row) *uint32 { return &r.Group }},
	{Episode, "episode_id", func(r *Row) *uint32 { return &r.Episode }}, {Parent, "parent_id", func(r *Row) *uint32 { return &r.Parent }},
}

func columnsOf(need Set) []string {
	out := []string{"row_seq", "trajectory_id", "quarantined"}
	for _, c := range textColumns {
		if need&c.set != 0 {
			out = append(out, c.name)
		}
	}
	for _, c := range []struct {
		set   Set
		names []string
	}{
		{GroupIndex, []string{"group_index", "group_size"}}, {Reward, []string{"reward", "reward_raw"}}, {Success, []string{"success"}},
		{Policy, []string{"policy_version_min", "policy_version_max"}}, {Times, []string{"finished_at", "ingested_at"}},
		{Tokens, []string{"token_ids", "prompt_tokens", "completion_tokens"}}, {Priority, []string{"priority"}}, {Advantage, []string{"advantage"}},
	} {
		if need&c.set != 0 && (c.set != Advantage || hasAdvantage()) {
			out = append(out, c.names...)
		}
	}
	return out
}

// hasAdvantage reports whether the folded view has the column.
func hasAdvantage() bool {
	return slices.ContainsFunc(where.FoldedColumns(), func(c *schema.Column) bool { return c.Name == "advantage" })
}

func (v *View) add(rec arrow.Record) {
	col := map[string]arrow.Array{}
	for i, f := range rec.Schema().Fields() {
		col[f.Name] = rec.Column(i)
	}
	seqs := col["row_seq"].(*array.Int64)
	for i := range int(rec.NumRows()) {
		r := &v.rows[seqs.Value(i)]
		r.Absent = false
		id, _ := text(col["trajectory_id"], i)
		r.ID64 = law.ID64(id)
		v.ids[r.Seq] = r.ID64
		for _, c := range textColumns {
			if t, ok := text(col[c.name], i); ok {
				*c.at(r) = v.dictionary(c.set).code(t)
			}
		}
		fill(col, i, r)
		v.newest = max(v.newest, r.PolicyMax)
		for set, code := range map[Set]uint32{Group: r.Group, Episode: r.Episode, Task: r.Task} {
			if code != 0 {
				v.members[set][code] = append(v.members[set][code], r.Seq)
			}
		}
	}
}

func fill(col map[string]arrow.Array, i int, r *Row) {
	r.GroupIndex, r.GroupSize = int32(long(col["group_index"], i, -1)), int32(long(col["group_size"], i, -1))
	r.Reward, r.RewardRaw = double(col["reward"], i), double(col["reward_raw"], i)
	r.Priority, r.Advantage = double(col["priority"], i), double(col["advantage"], i)
	r.Success = int8(long(col["success"], i, -1))
	r.Quarantined = long(col["quarantined"], i, 0) == 1
	r.PolicyMin, r.PolicyMax = long(col["policy_version_min"], i, Null), long(col["policy_version_max"], i, Null)
	r.Finished, r.Ingested = long(col["finished_at"], i, 0), long(col["ingested_at"], i, 0)
	if l, ok := col["token_ids"].(array.ListLike); ok {
		if from, to := l.ValueOffsets(i); l.IsValid(i) && to > from {
			r.Tokens = to - from
			return
		}
	}
	r.Tokens = long(col["prompt_tokens"], i, 0) + long(col["completion_tokens"], i, 0)
}

func (v *View) dictionary(set Set) *dictionary {
	if v.texts[set] == nil {
		v.texts[set] = &dictionary{codes: map[string]uint32{}}
	}
	return v.texts[set]
}

func text(a arrow.Array, i int) (string, bool) {
	s, ok := a.(array.StringLike)
	if !ok || s.IsNull(i) {
		return "", false
	}
	return s.Value(i), true
}

func double(a arrow.Array, i int) float64 {
	d, ok := a.(*array.Float64)
	if !ok || d.IsNull(i) {
		return math.NaN()
	}
	return d.Value(i)
}

func long(a arrow.Array, i int, null int64) int64 {
	if a == nil || a.IsNull(i) {
		return null
	}
	switch a := a.(type) {
	case *array.Int64:
		return a.Value(i)
	case *array.Int32:
		return int64(a.Value(i))
	case *array.Int8:
		return int64(a.Value(i))
	case *array.Timestamp:
		return int64(a.Value(i))
	case *array.Boolean:
		if a.Value(i) {
			return 1
		}
		return 0
	}
	return null
}

// Advance makes the view of snap with at least the facts in need. Where snap is
// not newer than v's own, Change says that every row is new.
func (v *View) Advance(ctx context.Context, snap *store.Snapshot, need Set) (*View, *Change, error) {
	w, err := open(ctx, snap, need|v.has, map[Set]*dictionary{})
	if err != nil {
		return nil, nil, err
	}
	ch := &Change{NewFrom: int64(len(v.rows))}
	if len(w.rows) < len(v.rows) {
		return w, &Change{}, nil
	}
	for i := range v.rows {
		a, b := &v.rows[i], &w.rows[i]
		if a.Absent != b.Absent || a.Quarantined != b.Quarantined || !same(a.Reward, b.Reward) || !same(a.Priority, b.Priority) || !same(a.Advantage, b.Advantage) {
			ch.Touched = append(ch.Touched, int64(i))
		}
	}
	return w, ch, nil
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// Rows is the number of places: rows ever committed up to the snapshot.
func (v *View) Rows() int64 { return int64(len(v.rows)) }

// Snapshot is what the view is of.
func (v *View) Snapshot() *store.Snapshot { return v.snap }

// Has reports whether the view holds all facts of a set.
func (v *View) Has(s Set) bool { return v.has&s == s }

// Bytes is the memory that the view holds, about, what it shares included.
func (v *View) Bytes() int64 { return int64(176 * len(v.rows)) }

// Read puts the facts of the row at a place into r. The place must be in the view.
func (v *View) Read(seq int64, r *Row) { *r = v.rows[seq] }

// Text is the text of a code of one column; "" for null and for codes that
// are none.
func (v *View) Text(col Set, code uint32) string {
	d := v.texts[col]
	if d == nil || code == 0 || int(code) > len(d.texts) {
		return ""
	}
	return d.texts[code-1]
}

// Code is the code of a text in one column; ok is false when no row has it.
func (v *View) Code(col Set, text string) (code uint32, ok bool) {
	d := v.texts[col]
	if d == nil {
		return 0, false
	}
	code, ok = d.codes[text]
	return code, ok
}

// IDs are the id64 of the rows from a place on, to the end of a chunk: at least
// one, for a place in the view. The caller must not change them.
func (v *View) IDs(seq int64) []uint64 { return v.ids[seq:] }

// Members are the places of a group's rows, ascending: MembersOf(Group, group).
func (v *View) Members(group uint32) []int64 { return v.MembersOf(Group, group) }

// MembersOf are the places of the rows with a code in a column, ascending; nil
// for code 0. The column is Group, Episode or Task, and the view must hold it.
// What it takes to find them is made on first use.
func (v *View) MembersOf(col Set, code uint32) []int64 { return slices.Clone(v.members[col][code]) }

// NewestPolicy is the greatest policy_version_max of the snapshot; Null when no
// row has one.
func (v *View) NewestPolicy() int64 { return v.newest }

// Match gives the rows for which a predicate is true; a nil predicate is true for
// all of them. cold says that the lake was read for it.
func (v *View) Match(ctx context.Context, expr *where.Expr) (match *Bits, cold bool, err error) {
	b := newBits(v.Rows())
	for rec, err := range v.snap.Scan(ctx, store.ScanOptions{Columns: []string{"row_seq"}, Where: expr}) {
		if err != nil {
			return nil, true, fault.Wrap("match rows of "+v.snap.String(), err)
		}
		for _, seq := range rec.Column(0).(*array.Int64).Int64Values() {
			b.set(seq)
		}
	}
	return b.close(), true, nil
}

// Require gives the rows in which all the columns are neither null nor empty and
// which have all the tensors, whole, in the snapshot.
func (v *View) Require(ctx context.Context, columns, tensors []string) (*Bits, error) {
	b := newBits(v.Rows())
	for rec, err := range v.snap.Scan(ctx, store.ScanOptions{Columns: slices.Concat([]string{"row_seq", "trajectory_id"}, columns)}) {
		if err != nil {
			return nil, fault.Wrap("look for required columns in "+v.snap.String(), err)
		}
		for i, seq := range rec.Column(0).(*array.Int64).Int64Values() {
			full := true
			for c := 2; c < int(rec.NumCols()) && full; c++ {
				full = !empty(rec.Column(c), i)
			}
			for k := 0; k < len(tensors) && full; k++ {
				id, _ := text(rec.Column(1), i)
				infos, err := v.snap.Tensors(ctx, id, tensors[k])
				if err != nil {
					return nil, err
				}
				full = slices.ContainsFunc(infos, func(t store.TensorInfo) bool { return t.Complete })
			}
			if full {
				b.set(seq)
			}
		}
	}
	return b.close(), nil
}

// empty reports whether a value is null, or a list or map of nothing.
func empty(a arrow.Array, i int) bool {
	if a.IsNull(i) {
		return true
	}
	if l, ok := a.(array.ListLike); ok {
		from, to := l.ValueOffsets(i)
		return from == to
	}
	return false
}
