package formats

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

// fuzzImporter: whatever the bytes, Read ends without a panic, and each record is
// a valid row that native JSON carries, or a fault that says where.
func fuzzImporter(f *testing.F, im Importer) {
	files, err := fixtureFiles()
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
		f.Add(bytes.ReplaceAll(data, []byte(`"`), []byte(`\"`)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		Detect(data, "fuzz.json")
		for rec := range im.Read(context.Background(), bytes.NewReader(data), Source{Name: "fuzz.json", MaxRecord: 1 << 20}) {
			checkRecord(t, im, rec)
		}
	})
}

func checkRecord(t *testing.T, im Importer, rec Record) {
	t.Helper()
	if rec.Err != nil {
		if rec.Row != nil {
			t.Errorf("a row beside the error %v", rec.Err)
		}
		if k := fault.KindOf(rec.Err); k != fault.Invalid || !strings.Contains(rec.Err.Error(), "fuzz.json") {
			t.Errorf("error of kind %s without its place: %v", k, rec.Err)
		}
		return
	}
	if faults := schema.Validate(rec.Row, schema.Limits{}); len(faults) > 0 {
		t.Errorf("%s made an invalid row: %v", im.Name(), faults)
	}
	if len(rec.Canonical) == 0 || rec.ExplicitID != (rec.Row.TrajectoryID != "") {
		t.Errorf("identity: %d canonical bytes, explicit %v, id %q", len(rec.Canonical), rec.ExplicitID, rec.Row.TrajectoryID)
	}
	text := schema.AppendJSON(nil, rec.Row)
	v, err := canon.Parse(text, canon.Limits{})
	if err != nil {
		t.Fatalf("native JSON of the row: %v", err)
	}
	if _, faults := schema.FromJSON(v); len(faults) > 0 {
		t.Errorf("native JSON of the row does not come back: %v\n%s", faults, text)
	}
	for _, e := range Exporters() {
		if _, err := e.Write(&bytes.Buffer{}, rec.Row); err != nil {
			t.Errorf("export as %s: %v", e.Name(), err)
		}
		e.Beside(rec.Row)
	}
	for name, again := range map[string]Importer{"native": native{}, "atif": atif{}} {
		e, _ := ExporterByName(name)
		if back := readAll(t, again, export(t, e, rec.Row), "again.json"); len(back) != 1 {
			t.Errorf("%s: %d rows came back", name, len(back))
		} else {
			sameContent(t, name, rec.Row, back[0].Row)
		}
	}
}

func FuzzNative(f *testing.F)    { fuzzImporter(f, native{}) }
func FuzzOpenAI(f *testing.F)    { fuzzImporter(f, openAI{}) }
func FuzzTauBench(f *testing.F)  { fuzzImporter(f, tauBench{}) }
func FuzzTau2Bench(f *testing.F) { fuzzImporter(f, tau2Bench{}) }
func FuzzATIF(f *testing.F)      { fuzzImporter(f, atif{}) }
func FuzzMiniSWE(f *testing.F)   { fuzzImporter(f, miniSWE{}) }
