package where

import (
	"testing"

	"trajlake/schema/fault"
)

// FuzzParse checks that no text makes a panic, that what parses prints as
// something that parses to the same, and that every fault is of kind Usage.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", "reward > 0 and task_set = 'math'", "not (a or b) and c", "metadata['k''1'] like '%a\\_' escape '\\'", "x not in (1, -2.5e-3, null)",
		"len(turns) between 1 and 2*3", `"a""b".c is not distinct from -(-9223372036854775808)`, "t >= timestamp '2026-01-01 10:00:00.123456'",
		"list_contains(tool_kinds, 'code') = true", "((((1))))=1", "- - - 5 < .5", "1e400", "'\x00'", "a = 1 is null", "é", "a.", "a[", "in (", "not",
	} {
		f.Add(text)
	}
	rec := newGenerator(5).record(3)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text)
		if err != nil {
			if !fault.Is(err, fault.Usage) || err.Error() == "" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if e == nil {
			return
		}
		checkFixpoint(t, text, e)
		b, err := e.Bind(testColumns())
		if err != nil {
			if !fault.Is(err, fault.Usage) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		m, err := b.Filter(rec)
		if err != nil {
			if !fault.Is(err, fault.Usage) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if v := b.Stats(fileStats{}); v == Never && m.Count() > 0 || v == Always && m.Count() < m.Len() {
			t.Fatalf("%q: verdict %v, selected %d of %d", text, v, m.Count(), m.Len())
		}
	})
}

// TestRandomPredicatesPrint is the fixpoint for what the generator makes.
func TestRandomPredicatesPrint(t *testing.T) {
	parsed := 0
	for seed := range uint64(4000) {
		g := newGenerator(seed)
		g.exponents = seed%2 == 0
		text := g.predicate(4)
		e, err := Parse(text)
		if err != nil {
			continue
		}
		parsed++
		checkFixpoint(t, text, e)
	}
	if parsed < 2000 {
		t.Errorf("only %d of 4000 random predicates parse", parsed)
	}
}
