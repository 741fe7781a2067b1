package delta

import (
	"math"
	"strings"
	"testing"
	"time"

	"trajlake/schema"
)

var allKinds = []schema.Kind{
	schema.String, schema.Byte, schema.Int, schema.Long, schema.Float, schema.Double,
	schema.Boolean, schema.Timestamp, schema.Binary, schema.Struct, schema.List, schema.Map,
}

func TestStatsJSON(t *testing.T) {
	at := func(s string) schema.Time {
		x, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return schema.TimeOf(x)
	}
	long := strings.Repeat("ä", StringBound)
	top := string(rune(0x10FFFF))
	for name, c := range map[string]struct {
		col  ColumnStats
		want string
	}{
		"integers":        {ColumnStats{"a", int8(-3), int64(math.MaxInt64), 2}, `"minValues":{"a":-3},"maxValues":{"a":9223372036854775807},"nullCount":{"a":2}`},
		"no null count":   {ColumnStats{"a", 1, 2, -1}, `"minValues":{"a":1},"maxValues":{"a":2},"nullCount":{}`},
		"all null":        {ColumnStats{"a", nil, nil, 9}, `"minValues":{},"maxValues":{},"nullCount":{"a":9}`},
		"floats":          {ColumnStats{"a", float32(0.1), 1e300, 0}, `"minValues":{"a":0.10000000149011612},"maxValues":{"a":1e+300},"nullCount":{"a":0}`},
		"not numbers":     {ColumnStats{"a", math.NaN(), math.Inf(1), 0}, `"minValues":{},"maxValues":{},"nullCount":{"a":0}`},
		"bool":            {ColumnStats{"a", false, true, 0}, `"minValues":{"a":false},"maxValues":{"a":true},"nullCount":{"a":0}`},
		"binary":          {ColumnStats{"a", []byte("x"), []byte("y"), 0}, `"minValues":{},"maxValues":{},"nullCount":{"a":0}`},
		"strings":         {ColumnStats{"a", `q"` + "\n", long, 0}, `"minValues":{"a":"q\"\n"},"maxValues":{"a":"` + long + `"},"nullCount":{"a":0}`},
		"cut strings":     {ColumnStats{"a", long + "x", long + "x", 0}, `"minValues":{"a":"` + long + `"},"maxValues":{"a":"` + long + top + `"},"nullCount":{"a":0}`},
		"cut at the top":  {ColumnStats{"a", long + top, long + top, 0}, `"minValues":{"a":"` + long + `"},"maxValues":{},"nullCount":{"a":0}`},
		"not UTF-8":       {ColumnStats{"a", "\xff", "a\xc3", 0}, `"minValues":{},"maxValues":{},"nullCount":{"a":0}`},
		"times":           {ColumnStats{"a", at("2026-11-22T01:02:03.000001Z"), at("2026-11-22T01:02:03.999001Z"), 0}, `"minValues":{"a":"2026-11-22T01:02:03.000Z"},"maxValues":{"a":"2026-11-22T01:02:04.000Z"},"nullCount":{"a":0}`},
		"times before 0":  {ColumnStats{"a", at("1969-12-31T23:59:59.9995Z"), at("1969-12-31T23:59:59.9995Z"), 0}, `"minValues":{"a":"1969-12-31T23:59:59.999Z"},"maxValues":{"a":"1970-01-01T00:00:00.000Z"},"nullCount":{"a":0}`},
		"go times":        {ColumnStats{"a", time.Unix(0, 1999), time.Unix(0, 1), 0}, `"minValues":{"a":"1970-01-01T00:00:00.000Z"},"maxValues":{"a":"1970-01-01T00:00:00.001Z"},"nullCount":{"a":0}`},
		"times far out":   {ColumnStats{"a", schema.Time(math.MinInt64), schema.Time(math.MaxInt64), 0}, `"minValues":{},"maxValues":{},"nullCount":{"a":0}`},
		"nested":          {ColumnStats{"s.b.c", 1, 2, 3}, `"minValues":{"s":{"b":{"c":1}}},"maxValues":{"s":{"b":{"c":2}}},"nullCount":{"s":{"b":{"c":3}}}`},
		"unknown Go type": {ColumnStats{"a", struct{}{}, []int{1}, 0}, `"minValues":{},"maxValues":{},"nullCount":{"a":0}`},
	} {
		want := `{"numRecords":10,` + c.want + `}`
		if got := (Stats{10, []ColumnStats{c.col}}).JSON(); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
	several := Stats{1, []ColumnStats{{"s.a", 1, 1, 0}, {"x", 2, 2, 0}, {"s.b", 3, 3, 0}}}.JSON()
	if want := `{"numRecords":1,"minValues":{"s":{"a":1,"b":3},"x":2},"maxValues":{"s":{"a":1,"b":3},"x":2},"nullCount":{"s":{"a":0,"b":0},"x":0}}`; several != want {
		t.Errorf("several: %s", several)
	}
}

func TestParseStats(t *testing.T) {
	text := `{"numRecords":7,"tightBounds":true,
		"minValues":{"s":{"f":"a"},"n":-1,"big":9007199254740993,"d":1.5E1,"b":false,"t":"2026-11-22T01:02:03.004Z","u":"2026-11-22 01:02:03.004005","z":"2026-11-22T03:02:03.004+02:00","bad":{"x":1},"e":1e3},
		"maxValues":{"s":{"f":"b"},"n":5,"d":"NaN","b":true,"t":"2026-11-22T01:02:03.004Z","u":"2026-11-22 01:02:03.004005","z":null},
		"nullCount":{"s":{"f":2},"n":0,"bad":-1}}`
	p, err := ParseStats(text)
	if err != nil || p.NumRecords != 7 || numRecords(text) != 7 {
		t.Fatalf("%+v %v", p, err)
	}
	base := schema.TimeOf(time.Date(2026, 11, 22, 1, 2, 3, 4_000_000, time.UTC))
	for _, c := range []struct {
		column string
		kind   schema.Kind
		want   Bounds
	}{
		{"s.f", schema.String, Bounds{"a", "b", 2}},
		{"s.g", schema.String, Bounds{nil, nil, -1}},
		{"s", schema.String, Bounds{nil, nil, -1}},
		{"n", schema.Long, Bounds{int64(-1), int64(5), 0}},
		{"n", schema.Double, Bounds{-1.0, 5.0, 0}},
		{"n", schema.String, Bounds{nil, nil, 0}},
		{"big", schema.Long, Bounds{int64(9007199254740993), nil, -1}},
		{"d", schema.Double, Bounds{15.0, nil, -1}},
		{"e", schema.Long, Bounds{nil, nil, -1}},
		{"b", schema.Boolean, Bounds{false, true, -1}},
		{"t", schema.Timestamp, Bounds{base, base + 999, -1}}, // may have been cut to milliseconds
		{"u", schema.Timestamp, Bounds{base + 5, base + 5, -1}},
		{"z", schema.Timestamp, Bounds{base, nil, -1}},
		{"bad", schema.Long, Bounds{nil, nil, -1}},
		{"n.x", schema.Long, Bounds{nil, nil, -1}},
		{"none", schema.Long, Bounds{nil, nil, -1}},
	} {
		if got := p.Column(c.column, c.kind); got != c.want {
			t.Errorf("%s as %v: %+v, want %+v", c.column, c.kind, got, c.want)
		}
	}
	for _, bad := range []string{"{", "[]", `{"numRecords":"x"}`, `{"minValues":3}`} {
		if _, err := ParseStats(bad); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
	if p, err := ParseStats(""); err != nil || p.NumRecords != -1 || numRecords("") != -1 {
		t.Errorf("nothing: %+v %v", p, err)
	}
}
