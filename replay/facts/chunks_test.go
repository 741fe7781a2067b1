package facts

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/store"
	"trajlake/store/blob"
)

// tiny are rows of little work to make, a group of eight after the other.
func tiny(from, n int) []*schema.Trajectory {
	rows := make([]*schema.Trajectory, n)
	levels := []string{"none", "low", "high"}
	turns := []schema.Turn{{Role: new("user"), Text: new("q")}}
	for i := range rows {
		k := from + i
		rows[i] = &schema.Trajectory{TrajectoryID: fmt.Sprintf("t-%d", k), Effort: &levels[k%3], GroupID: new(fmt.Sprintf("g-%d", k/8)), TaskID: new(fmt.Sprintf("task-%d", k*7%1000)),
			GroupIndex: new(int32(k % 8)), Reward: new(float64(k%5) / 4), PolicyVersionMin: new(int64(k / 1000)), PolicyVersionMax: new(int64(k/1000 + k%3)),
			Model: new(fmt.Sprintf("m-%d", k%4)), PromptTokens: new(int64(k)), Turns: turns}
	}
	return rows
}

// largeLake is a lake whose rows have digests of nothing, for tests of many rows;
// what can be verified without reading rows is, at the end.
func largeLake(t *testing.T) *store.Lake {
	t.Helper()
	l := testlake.Raw(t, blob.NewMemory(), t.TempDir())
	t.Cleanup(func() {
		r, err := l.Verify(context.Background(), store.VerifyOptions{})
		if err != nil || len(r.Problems) > 0 {
			t.Errorf("verify: %v, %v", r, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func appendLarge(t *testing.T, l *store.Lake, rows []*schema.Trajectory) {
	t.Helper()
	for _, r := range rows {
		r.SourceDigest = fmt.Appendf(nil, "%-32s", r.TrajectoryID)
		r.ContentHash = r.SourceDigest
	}
	if _, err := l.Append(context.Background(), rows); err != nil {
		t.Fatal(err)
	}
}

// TestChunks advances views over the borders of chunks and pages, and touches few
// and many rows.
func TestChunks(t *testing.T) {
	ctx := context.Background()
	l := largeLake(t)
	rows := 0
	var v *View
	var err error
	r := rand.New(rand.NewPCG(3, 3))
	first := openView(t, head(t, l), All)
	if v = first; v.Rows() != 0 || v.NewestPolicy() != Null {
		t.Errorf("a lake of nothing has %d rows", v.Rows())
	}
	for _, step := range []struct{ add, touch int }{{16383, 3}, {1, 40}, {1, 0}, {5000, 3000}, {12000, 20000}, {100, 1}} {
		appendLarge(t, l, tiny(rows, step.add))
		rows += step.add
		var notes []*schema.Annotation
		for range step.touch {
			id := fmt.Sprintf("t-%d", r.IntN(rows))
			notes = append(notes, note([]string{"reward", "priority", "quarantine"}[r.IntN(3)], "trajectory", id, r.Float64()))
		}
		if len(notes) > 0 {
			annotate(t, l, notes...)
		}
		if v, _, err = v.Advance(ctx, head(t, l), All); err != nil {
			t.Fatal(err)
		}
		opened := openView(t, v.Snapshot(), All)
		for i := range int64(rows) {
			if a, b := shown(v, i), shown(opened, i); a != b {
				t.Fatalf("row %d of %d\nadvanced %s\n  opened %s", i, rows, a, b)
			}
		}
		w := &world{t: t}
		w.checkMatch(v, fmt.Sprint(rows, " rows"))
		for _, k := range []int{0, 8191, rows - 1} {
			var row Row
			v.Read(int64(k), &row)
			if got := v.Members(row.Group); len(got) != min(8, rows-k/8*8) || got[0] != int64(k/8*8) {
				t.Errorf("members of the group of %d: %v", k, got)
			}
			task := v.MembersOf(Task, row.Task)
			if want := (rows - k%1000 + 999) / 1000; len(task) != want || !slices.IsSorted(task) {
				t.Errorf("%d rows of the task of %d, want %d", len(task), k, want)
			}
		}
		if v.NewestPolicy() != opened.NewestPolicy() {
			t.Errorf("newest policy %d, opened %d", v.NewestPolicy(), opened.NewestPolicy())
		}
	}
	if first.Rows() != 0 || v.Bytes() > int64(rows)*60 {
		t.Errorf("%d bytes for %d rows", v.Bytes(), rows)
	}
	var seen int64
	for seq := int64(0); seq < v.Rows(); seq += int64(len(v.IDs(seq))) {
		seen += int64(len(v.IDs(seq)))
	}
	if seen != v.Rows() {
		t.Errorf("%d ids of %d rows", seen, v.Rows())
	}
}

// TestReadersAndAdvances reads views from many goroutines while others advance
// them, from one view to two different ones too.
func TestReadersAndAdvances(t *testing.T) {
	ctx := context.Background()
	l := testlake.Open(t)
	appendRows(t, l, testlake.Rows(l, "a", 200, 1)...)
	v := openView(t, head(t, l), All)
	appendRows(t, l, testlake.Rows(l, "b", 200, 2)...)
	annotate(t, l, note("priority", "trajectory", "a-3", 1), note("reward", "trajectory", "a-4", 1))
	later := head(t, l)
	want, wantLater := []string{}, []string{}
	for i := range int64(200) {
		want = append(want, shown(v, i))
	}
	o := openView(t, later, All)
	for i := range int64(400) {
		wantLater = append(wantLater, shown(o, i))
	}
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for range 5 {
				if k%2 == 0 {
					w, _, err := v.Advance(ctx, later, All)
					if err != nil {
						t.Error(err)
						return
					}
					for i := range wantLater {
						if got := shown(w, int64(i)); got != wantLater[i] {
							t.Errorf("row %d\n got %s\nwant %s", i, got, wantLater[i])
							return
						}
					}
				}
				for i := range want {
					if got := shown(v, int64(i)); got != want[i] {
						t.Errorf("row %d\n got %s\nwant %s", i, got, want[i])
						return
					}
				}
				if _, _, err := v.Match(ctx, parse(t, "model IS NULL AND reward > 0.3 AND effort = 'high'")); err != nil {
					t.Error(err)
				}
				if _, err := v.Require(ctx, []string{"token_ids"}, []string{"x"}); err != nil {
					t.Error(err)
				}
				v.Members(1)
				v.Bytes()
			}
		})
	}
	wg.Wait()
}

// TestSetsOnDisk evaluates a predicate in one process, and finds it warm in the
// next, unless the file is damaged or of other rows.
func TestSetsOnDisk(t *testing.T) {
	ctx := context.Background()
	l := largeLake(t)
	appendLarge(t, l, tiny(0, 20000))
	expr := parse(t, "model = 'm-1'")
	match := func(v *View, cold bool) {
		t.Helper()
		v.base.sets.store.least = 100
		b, was, err := v.Match(ctx, expr)
		if err != nil {
			t.Fatal(err)
		}
		if was != cold {
			t.Errorf("cold %v, want %v", was, cold)
		}
		for i := range v.Rows() {
			if b.Has(i) != (i%4 == 1) {
				t.Fatalf("row %d: %v", i, b.Has(i))
			}
		}
	}
	v := openView(t, head(t, l), Effort)
	match(v, true)
	match(v, false)
	match(openView(t, v.Snapshot(), 0), false)
	files, err := filepath.Glob(filepath.Join(v.base.sets.store.dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v: %v", files, err)
	}
	older := v.Snapshot()
	appendLarge(t, l, tiny(20000, 3000))
	w, _, err := v.Advance(ctx, head(t, l), 0)
	if err != nil {
		t.Fatal(err)
	}
	match(w, true)
	match(openView(t, head(t, l), 0), false)
	match(openView(t, older, 0), true)       // the end of its last chunk is not that of the file's
	match(openView(t, head(t, l), 0), false) // which stays

	body, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 { // any damage is noticed
		bad := slices.Clone(body)
		bad[(i*7919)%len(bad)] ^= byte(1 << (i % 8))
		if i%4 == 0 {
			bad = bad[:len(bad)*i/40]
		}
		if err := os.WriteFile(files[0], bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if words, _, _ := v.base.sets.store.load("where "+expr.String(), w); words != nil {
			t.Fatalf("a damaged file is taken (%d)", i)
		}
	}
	if err := os.WriteFile(files[0], body, 0o600); err != nil {
		t.Fatal(err)
	}
	// The same rows but one: the chunk of that row is evaluated again.
	other := largeLake(t)
	rows := tiny(0, 23000)
	rows[17000].TrajectoryID, rows[17000].Model = "another", new("m-1")
	appendLarge(t, other, rows)
	o := openView(t, head(t, other), 0)
	_, spans, saved := v.base.sets.store.load("where "+expr.String(), o)
	if !slices.Equal(spans, []span{{0, chunkRows}}) || saved != 0 {
		t.Errorf("of other rows it is right for %v, %d", spans, saved)
	}
	o.base.sets.store.dir = v.base.sets.store.dir
	b, cold, err := o.Match(ctx, expr)
	if err != nil || !cold || !b.Has(17000) || b.Count() != 23000/4+1 {
		t.Errorf("of other rows: %d, cold %v, %v", b.Count(), cold, err)
	}
}

func TestGaps(t *testing.T) {
	for _, tt := range []struct {
		known []span
		n     int64
		want  []span
	}{
		{nil, 10, []span{{0, 10}}}, {[]span{{0, 10}}, 10, nil}, {[]span{{0, 4}}, 10, []span{{4, 10}}}, {[]span{{2, 4}, {6, 8}}, 10, []span{{0, 2}, {4, 6}, {8, 10}}},
		{[]span{{0, 0}}, 3, []span{{0, 3}}}, {nil, 0, nil}, {[]span{{4, 20}}, 10, []span{{0, 4}}},
	} {
		if got := gaps(tt.known, tt.n); !slices.Equal(got, tt.want) {
			t.Errorf("gaps of %v below %d: %v, want %v", tt.known, tt.n, got, tt.want)
		}
	}
}

func TestPacked(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, values := range [][]int64{
		{}, {5}, {absent}, {absent, 5}, {0, 1, absent, 1}, {-3, -3}, {math.MaxInt64, math.MinInt64 + 1, absent}, {math.MaxInt64, math.MaxInt64 - 1}, {1 << 55, 0}, {1 << 56, 0, absent},
	} {
		for range 30 {
			values = append(values, values...)
			if len(values) > 100 || len(values) == 0 {
				break
			}
		}
		p := pack(values)
		for i, v := range values {
			if got := p.get(i, absent); got != v {
				t.Fatalf("%v: value %d is %d", values, i, got)
			}
		}
	}
	for width := range 64 {
		values := make([]int64, 200)
		for i := range values {
			if values[i] = int64(r.Uint64()>>(63-width)) - r.Int64N(10); r.IntN(9) == 0 {
				values[i] = absent
			}
		}
		p := pack(values)
		if got := p.unpack(nil, len(values)); !slices.Equal(got, values) {
			t.Fatalf("width %d: %v became %v", width, values, got)
		}
	}
}

func TestDoubles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var c coder
	for _, distinct := range []int{1, 2, 255, 256, 257, 4096} {
		values := make([]float64, pageRows)
		for i := range values {
			if values[i] = float64(r.IntN(distinct)) / 3; r.IntN(7) == 0 {
				values[i] = math.NaN()
			}
		}
		d := packDoubles(values, &c)
		for i, v := range values {
			if !same(d.get(i), v) {
				t.Fatalf("%d values: %v became %v", distinct, v, d.get(i))
			}
		}
		if back := d.unpack(nil, len(values)); !equal(back, values) {
			t.Errorf("%d values do not come back", distinct)
		}
		if few := d.distinct != nil; few != (distinct < 256) {
			t.Errorf("%d values and null: kept as codes %v", distinct, few)
		}
	}
}

func TestDictionary(t *testing.T) {
	d := newDictionary()
	r := rand.New(rand.NewPCG(1, 1))
	codes := map[string]uint32{}
	texts := []string{"", "\x00", "\x01", "0011223344556677", "00112233445566778", "001122334455667g", "ABCDEF0123456789", "轨迹"}
	for range 3000 {
		texts = append(texts, fmt.Sprintf("g-%d-%d", r.IntN(40), r.IntN(400)), fmt.Sprintf("%016x", r.Uint64()))
	}
	for _, text := range texts {
		want := d.lookup(text)
		code := d.code(text)
		if have, ok := codes[text]; code == 0 || ok && have != code || want != 0 && want != code || ok && want == 0 {
			t.Fatalf("%q: code %d, before %d, looked up %d", text, code, have, want)
		}
		codes[text] = code
	}
	if d.len() != len(codes) || d.get(0) != "" || d.get(uint32(d.len()+1)) != "" || d.lookup("none") != 0 {
		t.Errorf("%d texts have %d codes", len(codes), d.len())
	}
	for text, code := range codes {
		if d.get(code) != text {
			t.Fatalf("code %d of %q is %q", code, text, d.get(code))
		}
	}
}
