package store_test

import (
	"testing"

	"trajlake/internal/testlake"
	"trajlake/schema/fault"
)

func TestVersionOfToken(t *testing.T) {
	l := testlake.Open(t)
	mustAppend(t, l, testlake.Rows(l, "a", 3, 1))
	s := head(t, l)
	if v, err := l.VersionOf(s.Token()); err != nil || v != s.Version() || v == 0 {
		t.Errorf("version %d, %v; want %d", v, err, s.Version())
	}
	other := testlake.Open(t)
	for _, token := range []string{"", "12", "s1.", "s1.!!", head(t, other).Token()} {
		if _, err := l.VersionOf(token); !fault.Is(err, fault.Usage) {
			t.Errorf("%q: %v, want kind usage", token, err)
		}
	}
}
