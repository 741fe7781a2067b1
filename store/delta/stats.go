package delta

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"trajlake/schema"
)

// StringBound is the number of runes that bounds of strings are cut to.
const StringBound = 32

// ColumnStats are the statistics of one column of one file.
type ColumnStats struct {
	// Column is the name; of a field in a struct the names joined by dots.
	Column string
	// Min and Max bound the values that are not null: string, bool, int8 to
	// int64, int, float32, float64, schema.Time or time.Time. Nil, and a value
	// of another type such as []byte, means no bound.
	Min, Max any
	// NullCount is the number of nulls; below 0 it is not known. Of a list or
	// map it counts null lists.
	NullCount int64
}

// Stats are the statistics of one data file, as they stand in add.stats.
type Stats struct {
	NumRecords int64 // rows
	Columns    []ColumnStats
}

// JSON is the text of s in Delta's form. Bounds are widened where the form
// cannot carry them, never narrowed:
//
//   - a string is cut to StringBound runes; a maximum that was cut gets U+10FFFF
//     at its end, or is left out if that would not raise it above every string
//     with this beginning;
//   - a timestamp is ISO 8601 in UTC with milliseconds: the minimum is rounded
//     down, the maximum up;
//   - NaN, infinities, text that is not UTF-8, and binary have no bounds.
func (s Stats) JSON() string {
	var mins, maxs, nulls tree
	for _, c := range s.Columns {
		if v := bound(c.Min, false); v != nil {
			mins.put(c.Column, v)
		}
		if v := bound(c.Max, true); v != nil {
			maxs.put(c.Column, v)
		}
		if c.NullCount >= 0 {
			nulls.put(c.Column, strconv.AppendInt(nil, c.NullCount, 10))
		}
	}
	b := append([]byte(`{"numRecords":`), strconv.FormatInt(s.NumRecords, 10)...)
	b = mins.append(append(b, `,"minValues":`...))
	b = maxs.append(append(b, `,"maxValues":`...))
	b = nulls.append(append(b, `,"nullCount":`...))
	return string(append(b, '}'))
}

// tree is an object whose members are in the order in which they were put.
type tree struct {
	names  []string
	values [][]byte
	inner  []*tree
}

func (t *tree) put(path string, value []byte) {
	name, rest, nested := strings.Cut(path, ".")
	at := -1
	for i, n := range t.names {
		if n == name {
			at = i
		}
	}
	if at < 0 {
		at = len(t.names)
		t.names, t.values, t.inner = append(t.names, name), append(t.values, nil), append(t.inner, nil)
	}
	if !nested {
		t.values[at] = value
		return
	}
	if t.inner[at] == nil {
		t.inner[at] = &tree{}
	}
	t.inner[at].put(rest, value)
}

func (t *tree) append(b []byte) []byte {
	b = append(b, '{')
	for i, name := range t.names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(quote(b, name), ':')
		if t.inner[i] != nil {
			b = t.inner[i].append(b)
		} else {
			b = append(b, t.values[i]...)
		}
	}
	return append(b, '}')
}

// quote appends s, which is valid UTF-8, as a JSON string.
func quote(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, s)
	if err != nil { // not UTF-8: replacement characters stand in
		out, _ = jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\uFFFD"))
	}
	return out
}

// bound is a minimum (or a maximum, if upper) as JSON; nil if it has none.
func bound(v any, upper bool) []byte {
	switch v := v.(type) {
	case string:
		if s, ok := cutString(v, upper); ok {
			return quote(nil, s)
		}
	case bool:
		return strconv.AppendBool(nil, v)
	case int:
		return strconv.AppendInt(nil, int64(v), 10)
	case int8:
		return strconv.AppendInt(nil, int64(v), 10)
	case int16:
		return strconv.AppendInt(nil, int64(v), 10)
	case int32:
		return strconv.AppendInt(nil, int64(v), 10)
	case int64:
		return strconv.AppendInt(nil, v, 10)
	case float32: // all digits of the double, or a reader of doubles would see another bound
		return floatBound(float64(v))
	case float64:
		return floatBound(v)
	case schema.Time:
		return timeBound(v, upper)
	case time.Time:
		t := schema.TimeOf(v)
		if upper && v.Nanosecond()%1000 != 0 {
			t++
		}
		return timeBound(t, upper)
	}
	return nil
}

func floatBound(f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	b, err := json.Marshal(f)
	if err != nil {
		return nil
	}
	return b
}

func cutString(s string, upper bool) (string, bool) {
	if !utf8.ValidString(s) {
		return "", false
	}
	runes := 0
	for i, r := range s {
		if runes == StringBound {
			if !upper {
				return s[:i], true
			}
			return s[:i] + string(utf8.MaxRune), r < utf8.MaxRune
		}
		runes++
	}
	return s, true
}

func timeBound(t schema.Time, upper bool) []byte {
	const layout = "2006-01-02T15:04:05.000Z"
	at := t.Time()
	floor := at.Truncate(time.Millisecond) // whole milliseconds since the year 1: rounds down
	if upper && floor.Before(at) {
		floor = floor.Add(time.Millisecond)
	}
	if y := floor.Year(); y < 1 || y > 9999 {
		return nil
	}
	return quote(nil, floor.Format(layout))
}

// Bounds are what statistics say of a column's values that are not null. Min
// and Max are nil if nothing is known, else of the type that belongs to the
// column's kind: string; int64 for byte, int and long; float64; bool;
// schema.Time.
type Bounds struct {
	Min, Max  any
	NullCount int64 // -1 if not known
}

// ParsedStats is a statistics text that was read, by whatever engine written.
type ParsedStats struct {
	NumRecords int64 // -1 if not known
	mins, maxs map[string]jsontext.Value
	nulls      map[string]jsontext.Value
}

// ParseStats reads the text of add.stats. An empty text says nothing, and is
// no error.
func ParseStats(text string) (*ParsedStats, error) {
	p := &ParsedStats{NumRecords: -1}
	if text == "" {
		return p, nil
	}
	var s struct {
		NumRecords *int64                    `json:"numRecords"`
		Mins       map[string]jsontext.Value `json:"minValues"`
		Maxs       map[string]jsontext.Value `json:"maxValues"`
		Nulls      map[string]jsontext.Value `json:"nullCount"`
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, fmt.Errorf("statistics: %s", clipText(err.Error()))
	}
	if s.NumRecords != nil && *s.NumRecords >= 0 {
		p.NumRecords = *s.NumRecords
	}
	p.mins, p.maxs, p.nulls = s.Mins, s.Maxs, s.Nulls
	return p, nil
}

// Column gives the bounds of a column (of a struct's field: names joined by
// dots) that has values of that kind. A value that does not fit the kind is no
// bound. Engines cut timestamps to milliseconds, so a maximum that may have
// been cut is taken to be as late as it can be.
func (p *ParsedStats) Column(column string, kind schema.Kind) Bounds {
	b := Bounds{NullCount: -1}
	if v := lookup(p.nulls, column); v != nil {
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && n >= 0 {
			b.NullCount = n
		}
	}
	b.Min = typed(lookup(p.mins, column), kind, false)
	b.Max = typed(lookup(p.maxs, column), kind, true)
	return b
}

func lookup(m map[string]jsontext.Value, path string) jsontext.Value {
	name, rest, nested := strings.Cut(path, ".")
	v, ok := m[name]
	if !ok || !nested {
		return v
	}
	var inner map[string]jsontext.Value
	if v.Kind() != '{' || json.Unmarshal(v, &inner) != nil {
		return nil
	}
	return lookup(inner, rest)
}

func typed(v jsontext.Value, kind schema.Kind, upper bool) any {
	if len(v) == 0 {
		return nil
	}
	switch kind {
	case schema.String, schema.Timestamp:
		var s string
		if v.Kind() != '"' || json.Unmarshal(v, &s) != nil {
			return nil
		}
		if kind == schema.String {
			return s
		}
		return parseTime(s, upper)
	case schema.Byte, schema.Int, schema.Long:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n
		}
	case schema.Float, schema.Double:
		if f, err := strconv.ParseFloat(string(v), 64); err == nil && v.Kind() == '0' {
			return f
		}
	case schema.Boolean:
		if k := v.Kind(); k == 't' || k == 'f' {
			return k == 't'
		}
	}
	return nil
}

func parseTime(s string, upper bool) any {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"} {
		at, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		t := schema.TimeOf(at)
		if upper && t%1000 == 0 {
			t += 999
		}
		return t
	}
	return nil
}
