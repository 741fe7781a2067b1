package where

import (
	"fmt"
	"strings"
	"time"

	"trajlake/schema"
)

// parseTime reads an instant: a date, or a date and a time of day with up to six
// fractional digits and a zone (Z, ±hh, ±hh:mm); without a zone it is UTC.
func parseTime(text string) (schema.Time, error) {
	bad := func(why string) (schema.Time, error) {
		return 0, fmt.Errorf("%q is not an instant: %s", text, why)
	}
	s := text
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + s[11:]
	}
	if i := strings.IndexByte(s, '.'); i >= 0 {
		digits := 0
		for i+1+digits < len(s) && isDigit(s[i+1+digits]) {
			digits++
		}
		if digits > 6 {
			return bad("microseconds are the finest unit")
		}
	}
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		zones := []string{"", "Z", "Z07", "Z07:00"}
		if len(layout) == 10 {
			zones = zones[:1]
		}
		for _, zone := range zones {
			t, err := time.Parse(layout+zone, s)
			if err != nil {
				continue
			}
			if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
				return bad("the year is not between 1 and 9999")
			}
			return schema.TimeOf(t), nil
		}
	}
	return bad("expected YYYY-MM-DD or YYYY-MM-DD HH:MM[:SS[.ffffff]], with or without a zone")
}

// hasOffset reports whether an instant names a zone other than Z.
func hasOffset(text string) bool { return len(text) > 10 && strings.ContainsAny(text[10:], "+-") }
