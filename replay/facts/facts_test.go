package facts

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/google/uuid"

	"trajlake/internal/testlake"
	"trajlake/replay/law"
	"trajlake/schema"
	"trajlake/schema/where"
	"trajlake/store"
)

func appendRows(t testing.TB, l *store.Lake, rows ...*schema.Trajectory) {
	t.Helper()
	receipts, err := l.Append(context.Background(), testlake.Ready(l, rows...))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range receipts {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

func annotate(t testing.TB, l *store.Lake, notes ...*schema.Annotation) {
	t.Helper()
	for _, n := range notes {
		n.AnnotationID = uuid.NewString()
	}
	receipts, _, err := l.Annotate(context.Background(), notes)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range receipts {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

func head(t testing.TB, l *store.Lake) *store.Snapshot {
	t.Helper()
	s, err := l.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func note(kind, target, id string, value float64) *schema.Annotation {
	a := &schema.Annotation{Kind: &kind, TargetKind: &target, TargetID: &id, Name: new("n")}
	if !math.IsNaN(value) {
		a.Value = &value
	}
	return a
}

func openView(t testing.TB, s *store.Snapshot, need Set) *View {
	t.Helper()
	v, err := Open(context.Background(), s, need)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestFactsOfARow(t *testing.T) {
	l := testlake.Open(t)
	full := &schema.Trajectory{
		TrajectoryID: "full", Effort: new("high"), Mode: new("thinking"), Split: new("train"), Status: new("completed"), TaskSet: new("math"), TaskID: new("t-1"),
		GroupID: new("g"), GroupIndex: new(int32(2)), GroupSize: new(int32(4)), EpisodeID: new("e"), ParentID: new("p"),
		Reward: new(0.5), Success: new(true), PolicyVersionMin: new(int64(3)), PolicyVersionMax: new(int64(7)), FinishedAt: new(schema.Time(1_700_000_000_000_001)), IngestedAt: new(schema.Time(5)),
		PromptTokens: new(int64(100)), CompletionTokens: new(int64(5)), TokenIDs: []int32{1, 2, 3}, PromptHash: new("00ff"),
		Turns: []schema.Turn{{Role: new("user"), Text: new("q")}},
	}
	bare := &schema.Trajectory{TrajectoryID: "bare", Turns: []schema.Turn{{Role: new("user"), Text: new("q")}}}
	counted := &schema.Trajectory{TrajectoryID: "counted", PromptTokens: new(int64(100)), CompletionTokens: new(int64(5)), GroupID: new("g"), Success: new(false),
		Turns: []schema.Turn{{Role: new("user"), Text: new("q")}}}
	appendRows(t, l, full, bare, counted)
	annotate(t, l, note("reward", "trajectory", "full", 0.75), note("priority", "trajectory", "full", 3), note("quarantine", "group", "g", math.NaN()))
	v := openView(t, head(t, l), All)
	if v.Rows() != 3 || !v.Has(All) || v.Snapshot().Count(schema.Trajectories) != 3 || v.NewestPolicy() != 7 {
		t.Errorf("rows %d, newest policy %d", v.Rows(), v.NewestPolicy())
	}
	var r Row
	v.Read(0, &r)
	texts := []string{}
	for _, c := range []struct {
		set  Set
		code uint32
	}{{Effort, r.Effort}, {Mode, r.Mode}, {Split, r.Split}, {Status, r.Status}, {TaskSet, r.TaskSet}, {Task, r.Task}, {Group, r.Group}, {Episode, r.Episode}, {Parent, r.Parent}, {Prompt, r.Prompt}} {
		texts = append(texts, v.Text(c.set, c.code))
		if code, ok := v.Code(c.set, v.Text(c.set, c.code)); !ok || code != c.code || code == 0 {
			t.Errorf("code of %q is %d %v, the row has %d", v.Text(c.set, c.code), code, ok, c.code)
		}
	}
	if want := []string{"high", "thinking", "train", "completed", "math", "t-1", "g", "e", "p", "00ff"}; !slices.Equal(texts, want) {
		t.Errorf("texts %q, want %q", texts, want)
	}
	if r.Seq != 0 || r.ID64 != law.ID64("full") || r.GroupIndex != 2 || r.GroupSize != 4 || r.Reward != 0.75 || r.RewardRaw != 0.5 || r.Priority != 3 ||
		!math.IsNaN(r.Advantage) || r.Success != 1 || r.PolicyMin != 3 || r.PolicyMax != 7 || r.Finished != 1_700_000_000_000_001 || r.Ingested != 5 || r.Tokens != 3 || !r.Quarantined || r.Absent {
		t.Errorf("full: %+v", r)
	}
	v.Read(1, &r)
	if r.Effort != 0 || r.Group != 0 || r.GroupIndex != -1 || r.GroupSize != -1 || !math.IsNaN(r.Reward) || !math.IsNaN(r.RewardRaw) || !math.IsNaN(r.Priority) ||
		r.Success != -1 || r.PolicyMin != Null || r.PolicyMax != Null || r.Finished != 0 || r.Tokens != 0 || r.Quarantined || r.Seq != 1 || r.ID64 != law.ID64("bare") {
		t.Errorf("bare: %+v", r)
	}
	v.Read(2, &r)
	if r.Tokens != 105 || r.Success != 0 || !r.Quarantined {
		t.Errorf("counted: %+v", r)
	}
	if got := v.Members(r.Group); !slices.Equal(got, []int64{0, 2}) {
		t.Errorf("members of g: %v", got)
	}
	if got := v.Members(0); len(got) != 0 {
		t.Errorf("members of no group: %v", got)
	}
	if _, ok := v.Code(TaskSet, "nothing"); ok || v.Text(TaskSet, 99) != "" || v.Text(TaskSet, 0) != "" {
		t.Error("a text that no row has")
	}
	if ids := v.IDs(1); ids[0] != law.ID64("bare") {
		t.Errorf("ids from 1: %x", ids)
	}
}

func TestOnly(t *testing.T) {
	l := testlake.Open(t)
	appendRows(t, l, testlake.Rows(l, "a", 9, 1)...)
	annotate(t, l, note("priority", "trajectory", "a-3", 9), note("advantage", "trajectory", "a-3", 2))
	v := openView(t, head(t, l), All)
	w := v.Only(Effort | Advantage)
	var a, b Row
	v.Read(3, &a)
	w.Read(3, &b)
	if w.Has(Reward) || !w.Has(Effort) || !v.Has(All) || b.Effort != a.Effort || b.ID64 != a.ID64 || b.Advantage != 2 || !math.IsNaN(b.Priority) || b.Group != 0 || !math.IsNaN(b.RewardRaw) || b.Tokens != 0 {
		t.Errorf("%+v of %+v", b, a)
	}
	annotate(t, l, note("advantage", "trajectory", "a-4", 3))
	x, ch, err := w.Advance(context.Background(), head(t, l), All)
	if err != nil || !x.Has(All) || !slices.Equal(ch.Touched, []int64{4}) {
		t.Errorf("advanced: %+v, %v", ch, err)
	}
	(&world{t: t}).check(x, "advanced from a part")
}

func TestAdvance(t *testing.T) {
	l := testlake.Open(t)
	appendRows(t, l, testlake.Rows(l, "a", 20, 1)...)
	v := openView(t, head(t, l), All)
	appendRows(t, l, testlake.Rows(l, "b", 5, 2)...)
	annotate(t, l, note("priority", "trajectory", "a-3", 9), note("quarantine", "trajectory", "a-11", math.NaN()))
	w, ch, err := v.Advance(context.Background(), head(t, l), All)
	if err != nil {
		t.Fatal(err)
	}
	if ch.NewFrom != 20 || !slices.Equal(ch.Touched, []int64{3, 11}) || w.Rows() != 25 || v.Rows() != 20 {
		t.Errorf("change %+v, rows %d and %d", ch, v.Rows(), w.Rows())
	}
	var r Row
	if w.Read(3, &r); r.Priority != 9 {
		t.Errorf("priority of a-3: %v", r.Priority)
	}
	if v.Read(3, &r); !math.IsNaN(r.Priority) {
		t.Errorf("the old view changed: %v", r.Priority)
	}
	if w.Read(11, &r); !r.Quarantined {
		t.Error("a-11 is not quarantined")
	}
	if u, ch, err := w.Advance(context.Background(), v.Snapshot(), All); err != nil || ch.NewFrom != 0 || u.Rows() != 20 {
		t.Errorf("back: %v, %+v", err, ch)
	} else if u.Read(3, &r); !math.IsNaN(r.Priority) {
		t.Error("an older snapshot knows a newer priority")
	}
}

func parse(t testing.TB, text string) *where.Expr {
	t.Helper()
	e, err := where.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestTable compares what a view holds with what a scan reads, type by type.
func TestTable(t *testing.T) {
	l := testlake.Open(t)
	w := &world{t: t, r: rand.New(rand.NewPCG(5, 5)), lake: l}
	w.append(80)
	w.annotate(60)
	v := openView(t, head(t, l), All)
	var names []string
	for _, c := range where.FoldedColumns() {
		if _, ok := Holding(c.Name); ok {
			names = append(names, c.Name)
		}
	}
	if len(names) != 23 {
		t.Errorf("held columns: %v", names)
	}
	var seqs []int64
	for i := range v.Rows() {
		seqs = append(seqs, i)
	}
	got, ok := v.Table(names, seqs)
	if !ok {
		t.Fatal("the view does not hold its columns")
	}
	at := 0
	for rec, err := range v.Snapshot().Scan(context.Background(), store.ScanOptions{Columns: names}) {
		if err != nil {
			t.Fatal(err)
		}
		for c, name := range names {
			for i := range int(rec.NumRows()) {
				if a, b := got.Column(c).ValueStr(at+i), rec.Column(c).ValueStr(i); a != b {
					t.Fatalf("%s of row %d: %s, want %s", name, at+i, a, b)
				}
			}
		}
		at += int(rec.NumRows())
	}
	if _, ok := v.Table([]string{"effort", "model"}, seqs); ok {
		t.Error("a column that no view has")
	}
	if _, ok := openView(t, v.Snapshot(), Effort).Table([]string{"mode"}, seqs); ok {
		t.Error("a column that this view does not have")
	}
}

func TestRequire(t *testing.T) {
	l := testlake.Open(t)
	turns := []schema.Turn{{Role: new("user"), Text: new("q")}}
	rows := []*schema.Trajectory{
		{TrajectoryID: "r-0", Turns: turns, TokenIDs: []int32{1}, Logprobs: []float32{0}, LossMask: []int8{1}},
		{TrajectoryID: "r-1", Turns: turns, Reward: new(1.0)},
		{TrajectoryID: "r-2", Turns: turns, TokenIDs: []int32{1}, Reward: new(1.0)},
		{TrajectoryID: "r-3", Turns: turns, TokenIDs: []int32{1}, Reward: new(1.0), Metadata: map[string]string{"a": "b"}},
	}
	appendRows(t, l, rows...)
	var tensors []*schema.Tensor
	piece := func(id, name string, version int64, piece, pieces int32) {
		tensors = append(tensors, &schema.Tensor{TrajectoryID: id, Name: name, Version: &version, Piece: piece, Pieces: pieces, DType: new("uint8"),
			Shape: []int64{2}, Data: [][]byte{{1, byte(piece)}}})
	}
	piece("r-0", "ref", 0, 0, 1)
	piece("r-1", "ref", 0, 0, 2) // half of it
	piece("r-2", "ref", 0, 0, 2)
	piece("r-2", "ref", 0, 1, 2)
	piece("r-2", "mask", 0, 0, 1)
	if _, err := l.AppendTensors(context.Background(), tensors); err != nil {
		t.Fatal(err)
	}
	v := openView(t, head(t, l), 0)
	for _, tt := range []struct {
		columns, tensors []string
		want             []int64
	}{
		{nil, nil, []int64{0, 1, 2, 3}},
		{[]string{"token_ids"}, nil, []int64{0, 2, 3}},
		{[]string{"token_ids", "reward"}, nil, []int64{2, 3}},
		{[]string{"metadata"}, nil, []int64{3}},
		{[]string{"turns", "logprobs"}, nil, []int64{0}},
		{nil, []string{"ref"}, []int64{0, 2}},
		{[]string{"reward"}, []string{"ref", "mask"}, []int64{2}},
		{nil, []string{"none"}, nil},
	} {
		t.Run(fmt.Sprint(tt.columns, tt.tensors), func(t *testing.T) {
			b, err := v.Require(context.Background(), tt.columns, tt.tensors)
			if err != nil {
				t.Fatal(err)
			}
			if got := places(b); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if _, err := v.Require(context.Background(), []string{"nonsense"}, nil); err == nil {
		t.Error("a column that does not exist is not refused")
	}
}

func places(b *Bits) []int64 {
	var out []int64
	for i := range b.Len() {
		if b.Has(i) {
			out = append(out, i)
		}
	}
	if int64(len(out)) != b.Count() {
		panic(fmt.Sprintf("count %d of %v", b.Count(), out))
	}
	return out
}

// plain is a number or a time in microseconds as text.
func plain(a arrow.Array, i int) string {
	if ts, ok := a.(*array.Timestamp); ok {
		return fmt.Sprint(int64(ts.Value(i)))
	}
	return a.ValueStr(i)
}

func listLen(a arrow.Array, i int) int64 {
	if a.IsNull(i) {
		return 0
	}
	from, to := a.(array.ListLike).ValueOffsets(i)
	return to - from
}
