package schema

import (
	"strings"
	"testing"

	"trajlake/schema/canon"
)

// TestManyEmptyStructs: three bytes of JSON must not become hundreds of bytes of
// row without end.
func TestManyEmptyStructs(t *testing.T) {
	v, err := canon.Parse([]byte(`{"turns":[`+strings.Repeat("{},", 2_000_000)+`{}]}`), canon.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	row, faults := FromJSON(v)
	if len(faults) == 0 || faults[0].Field != "turns" || len(row.Turns) != 0 {
		t.Errorf("faults %v, %d turns", faults, len(row.Turns))
	}
}
