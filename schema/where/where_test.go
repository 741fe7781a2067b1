package where

import (
	"reflect"
	"strings"
	"testing"

	"trajlake/schema/fault"
)

// strip clears what a reparse may change.
func strip(n *node) *node {
	out := *n
	out.pos = 0
	out.kids = nil
	for _, k := range n.kids {
		out.kids = append(out.kids, strip(k))
	}
	return &out
}

// checkFixpoint parses what e prints and compares.
func checkFixpoint(t *testing.T, text string, e *Expr) {
	t.Helper()
	printed := e.String()
	again, err := Parse(printed)
	if err != nil {
		t.Fatalf("%q prints as %q, which does not parse: %v", text, printed, err)
	}
	if again.String() != printed || !reflect.DeepEqual(strip(e.root), strip(again.root)) {
		t.Fatalf("%q prints as %q, which reads as %q", text, printed, again)
	}
}

func TestPrint(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"reward>0", "reward > 0"},
		{"Reward >= .5 AND NOT Success", "reward >= 5e-01 AND NOT success"},
		{"a=1 or b=2 and c=3", "a = 1 OR b = 2 AND c = 3"},
		{"(a=1 or b=2) and c=3", "(a = 1 OR b = 2) AND c = 3"},
		{"not (a=1 and b=2)", "NOT (a = 1 AND b = 2)"},
		{"not a = 1 and b = 2", "NOT a = 1 AND b = 2"},
		{"a and (b and c)", "a AND (b AND c)"},
		{"(a = 1) = b", "(a = 1) = b"},
		{"(a is null) is not null", "(a IS NULL) IS NOT NULL"},
		{"1 - (2 - 3) < 4", "1 - (2 - 3) < 4"},
		{"1 - 2 - 3 < 4", "1 - 2 - 3 < 4"},
		{"(1 + 2) * 3 / 4 < a", "(1 + 2) * 3 / 4 < a"},
		{"a < - -5", "a < 5"},
		{"a < -(-b)", "a < -(-b)"},
		{"a - -5 > 0", "a - -5 > 0"},
		{"a = -9223372036854775808", "a = -9223372036854775808"},
		{"metadata['it''s'] != 'x''y'", "metadata['it''s'] <> 'x''y'"},
		{`"Group" = 1`, `"group" = 1`},
		{`source."format" = 'x' and "a b"."c""d" = 2`, `source.format = 'x' AND "a b"."c""d" = 2`},
		{`s.end = 1`, `s."end" = 1`},
		{"x in (1,2 , null) or y not in ('a')", "x IN (1, 2, null) OR y NOT IN ('a')"},
		{"x not between 1 and 2 + 3", "x NOT BETWEEN 1 AND 2 + 3"},
		{`s like 'a\%' escape '\'`, `s LIKE 'a\%' ESCAPE '\'`},
		{"a is not distinct from b", "a IS NOT DISTINCT FROM b"},
		{"LEN(turns) > 3 and list_contains(tool_kinds, 'code')", "len(turns) > 3 AND list_contains(tool_kinds, 'code')"},
		{"t > timestamp '2026-03-01 12:30'", "t > TIMESTAMPTZ '2026-03-01T12:30:00Z'"},
		{"t > timestamptz '2026-03-01T12:30:00.25+02:00'", "t > TIMESTAMPTZ '2026-03-01T10:30:00.25Z'"},
		{"first = 1 and count = 2", "first = 1 AND count = 2"},
	} {
		e, err := Parse(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if e.String() != c.out {
			t.Errorf("%s prints as %s, want %s", c.in, e, c.out)
		}
		checkFixpoint(t, c.in, e)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ in, want, hint string }{
		{"reward >", "1:9: expected a column", ""},
		{"reward > 0 status", "1:12: expected AND, OR or the end, found `status`", ""},
		{"reward\n == 1", "2:2: `==`", "="},
		{"a = 1 = 2", "1:7: comparisons do not chain", "parentheses"},
		{"a = 1 is null", "1:7: comparisons do not chain", "parentheses"},
		{"a is null in (true)", "1:11: comparisons do not chain", "parentheses"},
		{"s like t", "1:8: expected a pattern", "LIKE"},
		{"s like 'a!' escape '!'", "1:8: the pattern ends", "twice"},
		{"s like 'a' escape 'xx'", "1:19: expected one ASCII", ""},
		{"'abc", "1:1: the string has no closing quote", "twice"},
		{`"" = 1`, "1:1: a name cannot be empty", ""},
		{"at > 1", "1:1: expected a column", `"at"`},
		{"end = 1", "1:1: expected a column", `"end"`},
		{"lower(mode) = 'x'", "1:1: there is no function lower", "list_contains"},
		{"a = 99999999999999999999", "1:5: the integer", "1e19"},
		{"a = 1e999", "1:5: the number", ""},
		{"a = 10abc", "1:5: `10abc` is not a number", ""},
		{"a = 1.2.3", "1:5: `1.2.3`", ""},
		{"a -- b", "1:3: comments", ""},
		{"a in ()", "1:7: expected a column", ""},
		{"t > timestamp 'yesterday'", "1:15: \"yesterday\" is not an instant", "TIMESTAMP"},
		{"t > timestamp '2026-02-30'", "1:15:", ""},
		{"t > timestamp '2026-01-01 10:00:00+01:00'", "1:15: a TIMESTAMP has no time zone", "TIMESTAMPTZ"},
		{"t > date '2026-01-01'", "1:5: `date '…'`", ""},
		{"a = 'é' ; drop", "1:9: unexpected character", ""},
		{"a[1] = 2", "1:3: expected a key", "metadata"},
		{"a not 5", "1:7: expected BETWEEN", ""},
		{"a is 5", "1:6: expected NULL or DISTINCT FROM", ""},
		{"+5 = a", "1:1: expected a column", ""},
		{"a = '\x00'", "1:6: the text is not valid", ""},
		{"a = '\xff'", "1:6: the text is not valid", ""},
		{strings.Repeat("(", 100_000), "the text has 100000 bytes", ""},
		{strings.Repeat("(", 60_000), "nested deeper than 200", "chains"},
		{strings.Repeat("not ", 15_000) + "a", "nested deeper than 200", ""},
		{"a = " + strings.Repeat("- ", 15_000) + "b", "nested deeper than 200", ""},
		{"a = 1" + strings.Repeat("+1", 15_000), "nested deeper than 200", ""},
		{"a" + strings.Repeat(".a", 15_000), "nested deeper than 200", ""},
		{strings.Repeat("len(", 15_000), "nested deeper than 200", ""},
	} {
		_, err := Parse(c.in)
		name := c.in[:min(len(c.in), 30)]
		if err == nil {
			t.Errorf("%q parses", name)
			continue
		}
		if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), c.want) || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%q: %v (hint %q), want %q (hint %q)", name, err, fault.HintOf(err), c.want, c.hint)
		}
	}
}
