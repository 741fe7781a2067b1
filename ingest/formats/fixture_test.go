package formats

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trajlake/schema"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// fixtures are the hand-made inputs, by format.
func fixtures(t *testing.T) []string {
	t.Helper()
	files, err := fixtureFiles()
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	return files
}

// fixtureFiles are the files below testdata but the golden ones and those that
// only stand beside another.
func fixtureFiles() (files []string, err error) {
	err = filepath.WalkDir("testdata", func(name string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(filepath.Base(name), ".json") && !strings.Contains(name, "golden") && !strings.HasSuffix(name, ".result.json") {
			files = append(files, name)
		}
		return err
	})
	return files, err
}

// source is a file as the command line would hand it over.
func source(name string) Source {
	return Source{Name: name, Open: func(rel string) (io.ReadCloser, error) { return os.Open(filepath.Join(filepath.Dir(name), rel)) }}
}

func detectFile(t *testing.T, name string) (Importer, []byte) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	im, err := Detect(data[:min(len(data), SniffBytes)], name)
	if err != nil {
		t.Fatalf("detect %s: %v", name, err)
	}
	return im, data
}

// eachFixtureRow runs f over every good row of every fixture.
func eachFixtureRow(t *testing.T, f func(t *testing.T, rec Record)) {
	for _, name := range fixtures(t) {
		im, data := detectFile(t, name)
		for rec := range im.Read(context.Background(), bytes.NewReader(data), source(name)) {
			if rec.Err == nil {
				t.Run(fmt.Sprintf("%s/%d", name, rec.Index), func(t *testing.T) { f(t, rec) })
			}
		}
	}
}

// TestGolden: each fixture is read as its folder's format, and gives exactly the
// rows, losses, annotations and errors of its golden file.
func TestGolden(t *testing.T) {
	for _, name := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			im, data := detectFile(t, name)
			if want := strings.Split(name, "/")[1]; im.Name() != want {
				t.Errorf("read as %s, want %s", im.Name(), want)
			}
			var got bytes.Buffer
			for rec := range im.Read(context.Background(), bytes.NewReader(data), source(name)) {
				writeRecord(&got, rec)
			}
			golden := strings.Replace(name, "testdata/", "testdata/golden/", 1) + ".txt"
			if *update {
				os.MkdirAll(filepath.Dir(golden), 0o755)
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", got.Bytes(), want)
			}
		})
	}
}

func writeRecord(w *bytes.Buffer, rec Record) {
	fmt.Fprintf(w, "# record %d, line %d\n", rec.Index, rec.Line)
	if rec.Err != nil {
		fmt.Fprintf(w, "error: %v\n", rec.Err)
		return
	}
	if rec.ExplicitID {
		fmt.Fprintln(w, "id is the source's")
	}
	w.Write(append(schema.AppendJSON(nil, rec.Row), '\n'))
	for _, l := range rec.Loss {
		fmt.Fprintf(w, "loss: %s %s\n", l.Kind, l.Field)
	}
	for _, a := range rec.Annotations {
		fmt.Fprintf(w, "annotation: %s\n", schema.AppendAnnotationJSON(nil, a))
	}
}
