package where

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"

	"trajlake/schema"
)

// fileStats are statistics by column name, for tests.
type fileStats map[string]columnStats

type columnStats struct {
	min, max    any
	nulls, rows int64
}

func (s fileStats) Column(name string) (minimum, maximum any, nulls, rows int64, ok bool) {
	c, ok := s[name]
	return c.min, c.max, c.nulls, c.rows, ok
}

// statsOf computes the statistics of a record as a writer may have stored them:
// strings cut and raised, instants rounded outward to milliseconds, bounds wider
// than needed, or things left out.
func (g *generator) statsOf(t *testing.T, rec arrow.Record) fileStats {
	out := fileStats{}
	var add func(path string, c *schema.Column)
	add = func(path string, c *schema.Column) {
		if c.Kind == schema.Struct {
			for _, f := range c.Fields {
				add(path+"."+f.Name, f)
			}
			return
		}
		cls := classOf(c.Kind)
		if !cls.comparable() {
			return
		}
		col := &column{path: strings.Split(path, "."), name: path, of: c, cls: cls}
		v, err := newBatch(rec, []*column{col}).load(col)
		if err != nil {
			t.Fatal(err)
		}
		s := columnStats{rows: rec.NumRows()}
		var low, high value
		for i := range int(rec.NumRows()) {
			if v.isNull(i) {
				s.nulls++
				continue
			}
			x := value{cls: cls}
			switch cls {
			case classString:
				x.s = v.strs[i]
			case classFloat:
				x.f = v.floats[i]
			default:
				x.i = v.ints[i]
			}
			if low.cls == classNull || compareValues(x, low) < 0 {
				low = x
			}
			if high.cls == classNull || compareValues(x, high) > 0 {
				high = x
			}
		}
		s.min, s.max = g.loosen(low, -1), g.loosen(high, 1)
		switch g.IntN(12) {
		case 0:
			s.min = nil
		case 1:
			s.max = nil
		case 2:
			s.nulls = -1
		case 3:
			s.rows = -1
		case 4:
			return
		case 5:
			s.min = int32(1) // of a type that bounds do not have
		}
		out[path] = s
	}
	for _, c := range testColumns() {
		add(c.Name, c)
	}
	return out
}

// loosen is a bound as a writer may store it; side is -1 for a lower bound.
func (g *generator) loosen(v value, side int64) any {
	switch v.cls {
	case classString:
		n := g.IntN(6)
		if n >= len(v.s) {
			return v.s
		}
		if side < 0 {
			return v.s[:n]
		}
		for n > 0 && !utf8.RuneStart(v.s[n]) {
			n--
		}
		if n == 0 {
			return nil
		}
		r, size := utf8.DecodeLastRuneInString(v.s[:n])
		return v.s[:n-size] + string(r+1)
	case classFloat:
		if g.IntN(4) == 0 {
			return v.f + float64(side)*g.Float64()
		}
		return v.f
	case classInt:
		if g.IntN(8) == 0 {
			return float64(v.i) + float64(side)/2
		}
		return v.i + side*int64(g.IntN(2))
	case classBool:
		return v.i == 1
	case classTime:
		if side < 0 {
			return schema.Time(int64(math.Floor(float64(v.i)/1000)) * 1000)
		}
		return schema.Time(int64(math.Ceil(float64(v.i)/1000)) * 1000)
	}
	return nil
}

// TestStatsAreSound compares verdicts with what evaluation selects.
func TestStatsAreSound(t *testing.T) {
	count := map[Verdict]int{}
	for seed := range uint64(600) {
		g := newGenerator(seed)
		g.exponents = true
		rec := g.record(g.IntN(12))
		stats := g.statsOf(t, rec)
		for range 60 {
			text := g.predicate(g.IntN(3))
			e, err := Parse(text)
			if err != nil {
				continue
			}
			b, err := e.Bind(testColumns())
			if err != nil {
				continue
			}
			m, err := b.Filter(rec)
			if err != nil {
				continue
			}
			v := b.Stats(stats)
			count[v]++
			if v == Never && m.Count() > 0 || v == Always && m.Count() < m.Len() {
				var known []string
				for _, c := range b.reads {
					known = append(known, fmt.Sprintf("%s %+v", c.name, stats[c.name]))
				}
				t.Fatalf("seed %d: %s: verdict %v, but rows %s\n%s", seed, text, v, truths(m), strings.Join(known, "\n"))
			}
		}
		rec.Release()
	}
	t.Logf("verdicts: %v", count)
	if count[Never] < 2000 || count[Always] < 500 || count[Maybe] < 2000 {
		t.Errorf("too few of a verdict to mean anything: %v", count)
	}
}

func TestStats(t *testing.T) {
	stats := fileStats{
		"reward":        {0.0, 0.5, 2, 10},
		"num_turns":     {int64(3), int64(8), 0, 10},
		"prompt_tokens": {int64(7), int64(7), 0, 10},
		"status":        {"swe-bench-li", "swe-bench-vf", 0, 10}, // both cut, max raised
		"mode":          {nil, nil, 10, 10},
		"success":       {true, true, 0, 10},
		"started_at":    {schema.Time(1_000_000), schema.Time(2_000_000), 0, 10},
		"source.format": {"atif", "atif", 0, 10},
		"trainable":     {false, true, 0, 10},
		"cost_usd":      {math.NaN(), math.NaN(), 0, 10},
	}
	for _, c := range []struct {
		text string
		want Verdict
	}{
		{"true", Always}, {"false", Never}, {"null", Never},
		{"reward > 0.5", Never}, {"reward >= 0.5", Maybe}, {"reward <= 0.5", Maybe}, {"reward < 0", Never},
		{"reward is null", Maybe}, {"reward is null or reward <= 0.5", Maybe}, {"(reward <= 0.5) is distinct from false", Always},
		{"not reward <= 0.5", Never}, {"reward > num_turns", Never},
		{"num_turns > 2", Always}, {"num_turns > 2.5", Always}, {"num_turns <> 9", Always}, {"num_turns = 9", Never},
		{"num_turns between 3 and 8", Always}, {"num_turns not between 3 and 8", Never}, {"num_turns between 9 and 10", Never},
		{"num_turns in (1, 2, 9)", Never}, {"num_turns not in (1, 2)", Always}, {"num_turns not in (1, null)", Never},
		{"prompt_tokens = 7", Always}, {"prompt_tokens in (6, 7)", Always}, {"prompt_tokens in (6, 8)", Never},
		{"status like 'swe-%'", Always}, {"status like 'tau%'", Never}, {"status like 'swe-bench-li%'", Maybe}, {"status not like 'swe-%'", Never},
		{"status like 'swe-bench-z%'", Never}, {"status like 'a%'", Never}, {"status like '%'", Always}, {"status like '%x'", Maybe},
		{"status = 'swe-bench-lite'", Maybe}, {"status >= 'swe-bench-vf'", Maybe}, {"status > 'swe-bench-vg'", Never}, {"status = 'a'", Never},
		{"mode = 'x'", Never}, {"mode is null", Always}, {"mode is not null", Never}, {"mode is distinct from 'x'", Always}, {"mode like '%'", Never},
		{"success", Always}, {"not success", Never}, {"success = false", Never}, {"success is null", Never}, {"trainable", Maybe},
		{"started_at < timestamp '1970-01-01 00:00:01'", Never}, {"started_at <= '1970-01-01 00:00:02'", Always},
		{"source.format = 'atif'", Always}, {"source.format <> 'atif'", Never}, {"source.format like 'atif'", Always}, {"source.record = 1", Maybe},
		{"metadata['k'] = 'x'", Maybe}, {"len(turns) > 1", Maybe}, {"list_contains(tool_kinds, 'x')", Maybe}, {"quarantined", Maybe},
		{"num_turns + 1 > 0", Maybe}, {"num_turns > 1 + 1", Always}, {"cost_usd > 5", Maybe},
		{"reward > 1 and quarantined", Never}, {"success or quarantined", Always}, {"reward > 1 or quarantined", Maybe},
		{"mode = 'x' and quarantined", Never}, {"(reward > 1) = success", Never}, {"(reward > 0) = success", Maybe},
	} {
		if got := bind(t, c.text).Stats(stats); got != c.want {
			t.Errorf("%s: %v, want %v", c.text, got, c.want)
		}
	}
}
