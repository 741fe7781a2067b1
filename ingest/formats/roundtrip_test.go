package formats

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"trajlake/schema"
)

// readAll imports data and fails on a record that was rejected.
func readAll(t *testing.T, im Importer, data []byte, name string) []Record {
	t.Helper()
	var out []Record
	for rec := range im.Read(context.Background(), bytes.NewReader(data), Source{Name: name}) {
		if rec.Err != nil {
			t.Fatalf("%s record %d of %s: %v", im.Name(), rec.Index, name, rec.Err)
		}
		out = append(out, rec)
	}
	return out
}

func export(t *testing.T, e Exporter, row *schema.Trajectory) []byte {
	t.Helper()
	var buf bytes.Buffer
	if _, err := e.Write(&buf, row); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// sameContent compares two rows by what content_hash covers, and shows where
// they part.
func sameContent(t *testing.T, what string, a, b *schema.Trajectory) {
	t.Helper()
	if bytes.Equal(schema.ContentHash(a), schema.ContentHash(b)) {
		return
	}
	x, y := string(schema.AppendJSON(nil, a)), string(schema.AppendJSON(nil, b))
	i := 0
	for i < len(x) && i < len(y) && x[i] == y[i] {
		i++
	}
	from := max(0, i-120)
	t.Errorf("%s: rows differ at byte %d\n  was %s\n  is  %s", what, i, clip(x[from:], 300), clip(y[from:], 300))
}

// TestRoundTripNative: what is imported, exported as native JSON and imported
// again has the same content.
func TestRoundTripNative(t *testing.T) {
	eachFixtureRow(t, func(t *testing.T, rec Record) {
		again := readAll(t, native{}, export(t, nativeExport{}, rec.Row), "again.jsonl")
		if len(again) != 1 {
			t.Fatalf("%d rows came back", len(again))
		}
		sameContent(t, "native", rec.Row, again[0].Row)
	})
}

// TestRoundTripATIF: ATIF with the columns in its extra loses nothing.
func TestRoundTripATIF(t *testing.T) {
	eachFixtureRow(t, func(t *testing.T, rec Record) {
		again := readAll(t, atif{}, export(t, atifExport{}, rec.Row), "again.json")
		if len(again) != 1 {
			t.Fatalf("%d rows came back", len(again))
		}
		sameContent(t, "atif", rec.Row, again[0].Row)
	})
}

// TestRoundTripOpenAI: messages exported twice are the same messages.
func TestRoundTripOpenAI(t *testing.T) {
	eachFixtureRow(t, func(t *testing.T, rec Record) {
		once := export(t, openAIExport{}, rec.Row)
		if strings.HasPrefix(string(once), `{"messages":[]`) {
			t.Skip("nothing was said in it")
		}
		again := readAll(t, openAI{}, once, "again.jsonl")
		twice := export(t, openAIExport{}, again[0].Row)
		if !bytes.Equal(once, twice) {
			i := 0
			for i < len(once) && i < len(twice) && once[i] == twice[i] {
				i++
			}
			from := max(0, i-120)
			t.Errorf("messages differ at byte %d\n  once  %s\n  twice %s", i, clip(string(once[from:]), 300), clip(string(twice[min(from, len(twice)):]), 300))
		}
	})
}
