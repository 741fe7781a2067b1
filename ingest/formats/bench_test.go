package formats

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkImport reads real files again and again: MB/s of JSON, rows and
// canonical bytes included.
func BenchmarkImport(b *testing.B) {
	dir := os.Getenv("TRAJLAKE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	for _, c := range []struct {
		im      Importer
		pattern string
	}{
		{tauBench{}, "tau_bench/gpt*.json"}, {tau2Bench{}, "tau2_bench/gpt-4.1_telecom*.json"}, {miniSWE{}, "mini_swe_agent/deepseek_chat_dev/pylint*1333*.json"},
		{atif{}, "atif/terminus_2__hello-world-context-summarization.trajectory.json"},
	} {
		files, _ := filepath.Glob(filepath.Join(dir, c.pattern))
		if len(files) == 0 {
			b.Skipf("NO REAL DATA in %s", dir)
		}
		data, err := os.ReadFile(files[0])
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.im.Name(), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				for rec := range c.im.Read(context.Background(), bytes.NewReader(data), Source{Name: files[0]}) {
					if rec.Err != nil {
						b.Fatal(rec.Err)
					}
				}
			}
		})
	}
}
