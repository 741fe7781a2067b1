package where

import (
	"slices"
	"testing"
)

func TestConjuncts(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"reward > 0", []string{"reward > 0"}},
		{"reward > 0 AND (success AND model = 'a') AND (success OR model = 'b')", []string{"reward > 0", "success", "model = 'a'", "success OR model = 'b'"}},
		{"NOT (success AND model = 'a')", []string{"NOT (success AND model = 'a')"}},
		{"reward BETWEEN 0 AND 1 AND success", []string{"reward BETWEEN 0 AND 1", "success"}},
	} {
		e, err := Parse(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range e.Conjuncts() {
			got = append(got, c.String())
			if again, err := Parse(c.String()); err != nil || again.String() != c.String() {
				t.Errorf("%q is no predicate of its own: %v", c, err)
			}
			if _, err := c.Bind(FoldedColumns()); err != nil {
				t.Errorf("bind %q: %v", c, err)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: operands %q, want %q", tt.text, got, tt.want)
		}
	}
}
