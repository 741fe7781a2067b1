package schema

import (
	"slices"
	"strings"
	"testing"

	"trajlake/schema/fault"
)

func TestEvolve(t *testing.T) {
	now := DeltaSchemaString(Trajectories)
	if e, err := Evolve(now, Trajectories); err != nil || len(e.Missing)+len(e.Unknown) != 0 || e.Schema != now {
		t.Errorf("the same schema: %+v %v", e, err)
	}
	cut := func(s, what string) string {
		if !strings.Contains(s, what) {
			t.Fatalf("no %s in the schema", what)
		}
		return strings.Replace(s, what, "", 1)
	}
	older := cut(now, `{"name":"licence","type":"string","nullable":true,"metadata":{}},`)
	older = cut(older, `{"name":"latency_ms","type":"long","nullable":true,"metadata":{}},`)
	e, err := Evolve(older, Trajectories)
	if err != nil || !slices.Equal(e.Missing, []string{"turns.tool_calls.latency_ms", "licence"}) || len(e.Unknown) != 0 {
		t.Errorf("an older schema: missing %v, unknown %v, %v", e.Missing, e.Unknown, err)
	}
	if again, err := Evolve(e.Schema, Trajectories); err != nil || len(again.Missing)+len(again.Unknown) != 0 {
		t.Errorf("the merged schema: missing %v, unknown %v, %v", again.Missing, again.Unknown, err)
	}
	newer := strings.Replace(older, `{"name":"kind","type":"string","nullable":true,"metadata":{}}`,
		`{"name":"colour","type":"double","nullable":true,"metadata":{"comment":"kept"}},{"name":"kind","type":"string","nullable":true,"metadata":{}}`, 1)
	e, err = Evolve(newer, Trajectories)
	if err != nil || len(e.Unknown) != 1 || !strings.HasSuffix(e.Unknown[0], ".colour") || !strings.Contains(e.Schema, `"comment":"kept"`) {
		t.Errorf("a newer schema: %v %v", e.Unknown, err)
	}
	other := strings.Replace(now, `{"name":"reward","type":"double"`, `{"name":"reward","type":"string"`, 1)
	if _, err := Evolve(other, Trajectories); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "reward") {
		t.Errorf("a column of another type: %v", err)
	}
	if _, err := Evolve("rubbish", Trajectories); err == nil {
		t.Error("rubbish was taken for a schema")
	}
}
