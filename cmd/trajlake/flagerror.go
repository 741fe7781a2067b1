package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// takes says, by the type of a flag, what its value may be.
var takes = map[string]string{
	"uint64":   "a whole number from 0 to 18446744073709551615",
	"int64":    "a whole number",
	"int":      "a whole number",
	"float64":  "a number",
	"bool":     "true or false",
	"duration": "a time such as 500ms, 5s or 2m",
}

// flagError says of a flag's value that cannot be read what it may be.
func flagError(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	what, known := takes[bad.GetFlag().Value.Type()]
	if !known {
		return err
	}
	value := bad.GetValue()
	if len(value) > 60 {
		value = strings.ToValidUTF8(value[:60], "") + "…"
	}
	return fmt.Errorf("--%s takes %s, not %q", bad.GetFlag().Name, what, value)
}
