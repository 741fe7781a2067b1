package where

import (
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/schema/fault"
)

// small is a record of a few rows, from JSON, of some of the test columns.
func small(t testing.TB, names, rows string) arrow.Record {
	t.Helper()
	var fields []arrow.Field
	for _, name := range strings.Fields(names) {
		for _, c := range testColumns() {
			if c.Name == name {
				fields = append(fields, arrow.Field{Name: name, Type: arrowType(c), Nullable: true})
			}
		}
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema(fields, nil), strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func bind(t testing.TB, text string) *Bound {
	t.Helper()
	e, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	b, err := e.Bind(testColumns())
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return b
}

// truths is a predicate's outcome by row: T, F or - for unknown.
func truths(m *Mask) string {
	var b strings.Builder
	for i := range m.Len() {
		b.WriteByte("FT-"[m.Truth(i)])
	}
	return b.String()
}

func TestFilter(t *testing.T) {
	rec := small(t, "status mode reward num_turns prompt_tokens success started_at source tool_kinds metadata turns flags", `[
		{"status":"ok","mode":"thinking","reward":0.5,"num_turns":3,"prompt_tokens":"9007199254740993","success":true,"started_at":"2026-03-01 00:00:00","source":{"format":"atif","record":1},"tool_kinds":["code","shell"],"metadata":[{"key":"k","value":"v"}],"turns":[{"role":"user"},{"role":"tool"}],"flags":[]},
		{"status":"Ok","mode":null,"reward":null,"num_turns":0,"prompt_tokens":-1,"success":false,"started_at":null,"source":null,"tool_kinds":[null,"code"],"metadata":[],"turns":[],"flags":[null]},
		{"status":null,"mode":"","reward":0,"num_turns":null,"prompt_tokens":null,"success":null,"started_at":"2026-03-01 00:00:00.000001","source":{"format":null,"record":7},"tool_kinds":null,"metadata":null,"turns":null,"flags":null}]`)
	for _, c := range []struct{ text, want string }{
		{"true", "TTT"},
		{"null", "---"},
		{"reward > 0", "T-F"},
		{"reward = 0.5", "T-F"},
		{"NOT reward > 0", "F-T"},
		{"reward is null", "FTF"},
		{"reward > 0 or success", "T--"},
		{"reward > 0 and success", "TFF"},
		{"reward is not distinct from null", "FTF"},
		{"reward is distinct from 0", "TTF"},
		{"status = 'ok'", "TF-"},
		{"status < 'a'", "FT-"},
		{"mode <> ''", "T-F"},
		{"mode like '%in%'", "T-F"},
		{"mode not like '%in%'", "F-T"},
		{"success", "TF-"},
		{"success = false", "FT-"},
		{"success > false", "TF-"},
		{"(success) is null", "FFT"},
		{"(success = null) is null", "TTT"},
		{"prompt_tokens = 9007199254740993", "TF-"},
		{"prompt_tokens > 9007199254740992.0", "TF-"},
		{"prompt_tokens in (9007199254740992.0)", "FF-"},
		{"num_turns in (3, null)", "T--"},
		{"num_turns not in (3, null)", "F--"},
		{"num_turns in (3.0, 0.5, prompt_tokens)", "TF-"},
		{"num_turns / 2 = 1.5", "TF-"},
		{"1 / num_turns > 5", "FT-"},
		{"num_turns - 3 between -3 and 0", "TT-"},
		{"-num_turns < 0", "TF-"},
		{"started_at > timestamp '2026-03-01'", "F-T"},
		{"started_at = '2026-03-01T01:00:00+01:00'", "T-F"},
		{"started_at in ('2026-03-01')", "T-F"},
		{"source.format = 'atif'", "T--"},
		{"source.record > 1", "F-T"},
		{"source is null", "FTF"},
		{"source.record is null", "FTF"},
		{"len(tool_kinds) = 2", "TT-"},
		{"len(turns) > 0", "TF-"},
		{"list_contains(tool_kinds, 'code')", "TT-"},
		{"list_contains(tool_kinds, 'shell')", "TF-"},
		{"list_contains(tool_kinds, null)", "---"},
		{"list_contains(flags, null)", "---"},
		{"list_contains(flags, '')", "FF-"},
		{"list_contains(tool_kinds, metadata['k'])", "F--"},
		{"metadata['k'] = 'v'", "T--"},
		{"metadata['z'] is null", "TTT"},
		{"metadata is null", "FFT"},
		{"tool_kinds is null", "FFT"},
		{"num_turns = 3 and null", "-F-"},
	} {
		m, err := bind(t, c.text).Filter(rec)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := truths(m); got != c.want || m.Count() != strings.Count(c.want, "T") {
			t.Errorf("%s: %s with count %d, want %s", c.text, got, m.Count(), c.want)
		}
		part := rec.NewSlice(1, 3)
		m, err = bind(t, c.text).Filter(part)
		if err != nil || truths(m) != c.want[1:] {
			t.Errorf("%s on a slice: %v %v, want %s", c.text, m, err, c.want[1:])
		}
		part.Release()
	}
}

func TestEmptyPredicate(t *testing.T) {
	e, err := Parse(" \n")
	if err != nil || e != nil || e.String() != "" || e.Columns() != nil {
		t.Fatalf("blank text: %v, %v", e, err)
	}
	b, err := e.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := b.Filter(small(t, "reward", `[{"reward":null},{"reward":1}]`))
	if err != nil || m.Count() != 2 || b.Stats(nil) != Always {
		t.Fatalf("it selects %v, %v", m, err)
	}
}

func TestColumns(t *testing.T) {
	e, err := Parse("Reward > 0 AND source.format = 'x' OR metadata['a'] = mode AND list_contains(tool_kinds, 'b') AND reward < 1")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(e.Columns(), " "); got != "metadata mode reward source tool_kinds" {
		t.Fatal(got)
	}
}

func TestOverflow(t *testing.T) {
	rec := small(t, "prompt_tokens num_turns", `[{"prompt_tokens":"9223372036854775807","num_turns":null},{"prompt_tokens":"-9223372036854775808","num_turns":1}]`)
	for _, text := range []string{"prompt_tokens + 1 > 0", "prompt_tokens - 1 > 0", "prompt_tokens * 2 > 0", "2 * prompt_tokens > 0", "-prompt_tokens > 0", "prompt_tokens * -1 > 0", "-1 * prompt_tokens > 0"} {
		_, err := bind(t, text).Filter(rec)
		if !fault.Is(err, fault.Usage) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"prompt_tokens + num_turns > 0", "prompt_tokens + 1.5 > 0", "prompt_tokens * 0 = 0"} {
		if _, err := bind(t, text).Filter(rec); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	e, err := Parse("reward > 9223372036854775807 + 1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Bind(testColumns()); !fault.Is(err, fault.Usage) {
		t.Errorf("overflow of constants: %v", err)
	}
}

func TestBindErrors(t *testing.T) {
	for _, c := range []struct{ in, want, hint string }{
		{"rewad > 0", "1:1: there is no column rewad", "did you mean reward?"},
		{"a = 1 and\n  num_trns > 0", "1:1: there is no column a", ""},
		{"reward > 0 and\n  num_trns > 0", "2:3: there is no column num_trns", "did you mean num_turns?"},
		{"source.fromat = 'x'", "1:1: there is no field source.fromat", "did you mean format?"},
		{"source.zzzzzz = 'x'", "1:1: there is no field source.zzzzzz", "format, version, uri, record"},
		{"mode.x = 'x'", "1:1: mode is a string and has no fields", ""},
		{"metadata.k = 'x'", "1:1: metadata is a map", "metadata['k']"},
		{"mode['k'] = 'x'", "1:1: mode is a string", "metadata"},
		{"effort > 'low'", "1:8: effort holds names of levels", "effort_level"},
		{"'low' <= EFFORT_effective", "1:7: effort_effective holds", "effort_level"},
		{"effort between 'low' and 'max'", "1:8: effort holds", "effort_level"},
		{"reward = '1'", "1:8: float and string cannot be compared", "quotes"},
		{"mode = 1", "1:6: string and integer cannot be compared", "quotes"},
		{"mode in ('a', 1)", "1:15: string and integer cannot be compared", "quotes"},
		{"success = 1", "1:9: boolean and integer cannot be compared", "true or false"},
		{"started_at > 5", "1:12: timestamp and integer cannot be compared", ""},
		{"started_at > 'soon'", "1:14: \"soon\" is not an instant", "2026"},
		{"turns = 1", "1:7: a list has no =", "IS NULL"},
		{"content_hash = 'x'", "1:14: a binary has no =", "IS NULL"},
		{"reward", "1:1: expected a condition, found a float", "reward > 0"},
		{"not reward", "1:5: expected a condition", ""},
		{"reward > 0 and 1", "1:16: expected a condition", ""},
		{"mode + 1 > 0", "1:6: arithmetic needs numbers", ""},
		{"-mode = 'a'", "1:1: arithmetic needs numbers", ""},
		{"success + 1 > 0", "1:9: arithmetic needs numbers", ""},
		{"reward like 'a'", "1:8: LIKE needs a string", ""},
		{"success like 'a'", "1:9: LIKE needs a string", ""},
		{"len(mode) > 1", "1:5: expected a list, found a string", "tool_kinds"},
		{"list_contains(mode, 'a')", "1:15: expected a list", ""},
		{"list_contains(tool_kinds, 1)", "1:1: string and integer cannot be compared", ""},
		{"list_contains(turns, 1)", "1:1: a struct has no =", ""},
	} {
		e, err := Parse(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		_, err = e.Bind(FoldedColumns())
		if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), c.want) || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%s: %v (hint %q), want %q (hint %q)", c.in, err, fault.HintOf(err), c.want, c.hint)
		}
	}
}

func TestEvalFloat(t *testing.T) {
	rec := small(t, "reward num_turns", `[{"reward":0.5,"num_turns":3},{"reward":null,"num_turns":0},{"reward":2,"num_turns":null}]`)
	for _, c := range []struct {
		text string
		want [3]float64
		null string
	}{
		{"reward * 2", [3]float64{1, 0, 4}, "FTF"},
		{"num_turns", [3]float64{3, 0, 0}, "FFT"},
		{"1 + 2", [3]float64{3, 3, 3}, "FFF"},
		{"null", [3]float64{}, "TTT"},
		{"reward / (1 + num_turns)", [3]float64{0.125, 0, 0}, "FTT"},
	} {
		s, err := ParseScalar(c.text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Bind(testColumns())
		if err != nil {
			t.Fatal(err)
		}
		values, null, err := b.EvalFloat(rec)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			isNull := null != nil && null[i]
			if isNull != (c.null[i] == 'T') || !isNull && values[i] != want {
				t.Errorf("%s row %d: %v (null %v), want %v", c.text, i, values[i], isNull, want)
			}
		}
	}
	for _, text := range []string{"", "mode", "success", "reward > 0", "turns"} {
		s, err := ParseScalar(text)
		if err == nil {
			_, err = s.Bind(testColumns())
		}
		if !fault.Is(err, fault.Usage) {
			t.Errorf("%q as a number: %v", text, err)
		}
	}
}

func TestRecordOfOtherShape(t *testing.T) {
	b := bind(t, "reward > 0 and source.record = 1")
	if _, err := b.Filter(small(t, "mode", `[{"mode":"a"}]`)); !fault.Is(err, fault.Internal) {
		t.Errorf("a record without the column: %v", err)
	}
	fields := []arrow.Field{{Name: "reward", Type: arrow.BinaryTypes.String}}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema(fields, nil), strings.NewReader(`[{"reward":"x"}]`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Filter(rec); !fault.Is(err, fault.Internal) {
		t.Errorf("a record with another type: %v", err)
	}
}

func TestScalarComparisonAllocations(t *testing.T) {
	g := newGenerator(3)
	b := bind(t, "reward > 0 and prompt_tokens between 1 and 10 and status = 'tau' and run_id like 'swe-%'")
	count := func(rows int) float64 {
		rec := g.record(rows)
		defer rec.Release()
		return testing.AllocsPerRun(5, func() {
			if _, err := b.Filter(rec); err != nil {
				t.Fatal(err)
			}
		})
	}
	if few, many := count(10), count(5000); many > few+4 {
		t.Errorf("%v allocations for 10 rows, %v for 5000", few, many)
	}
}

func TestCaret(t *testing.T) {
	e := &PositionError{Text: "reward > 0\n  é and rewad", Offset: len("reward > 0\n  é and "), Msg: "x"}
	if got, want := e.Caret(), "  é and rewad\n        ^"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := e.Error(), "2:9: x"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
