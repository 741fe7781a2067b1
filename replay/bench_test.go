package replay

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"trajlake/internal/testlake"
	"trajlake/replay/facts"
	"trajlake/schema"
	"trajlake/store/blob"
)

// benchRows is the size of the benchmarks' lake; TRAJLAKE_BENCH_ROWS sets another.
func benchRows() int {
	if n, err := strconv.Atoi(os.Getenv("TRAJLAKE_BENCH_ROWS")); err == nil {
		return n
	}
	return 100_000
}

// processor is the time that this process has spent on a processor: what a machine
// with other work does not change much.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchView(b *testing.B, n int, need facts.Set) *facts.View {
	b.Helper()
	lake := testlake.Raw(b, blob.NewMemory(), b.TempDir())
	b.Cleanup(func() { lake.Close() })
	for lo := 0; lo < n; lo += 20_000 {
		var rows []*schema.Trajectory
		for i := lo; i < min(lo+20_000, n); i++ {
			rows = append(rows, &schema.Trajectory{TrajectoryID: fmt.Sprint("a", i), TokenIDs: []int32{1}, Effort: &levels[i*7%4], Reward: new(float64(i%11) / 10), GroupID: new(fmt.Sprint("g", i/8)),
				TaskID: new(fmt.Sprint("t", i%500)), PolicyVersionMin: new(int64(i * 40 / n)), PolicyVersionMax: new(int64(i * 40 / n))})
		}
		if _, err := lake.Append(b.Context(), testlake.Ready(lake, rows...)); err != nil {
			b.Fatal(err)
		}
	}
	snap, err := lake.Head(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	view, err := facts.Open(b.Context(), snap, need)
	if err != nil {
		b.Fatal(err)
	}
	return view
}

// BenchmarkSamplers draws batches of 256 by several specs, opens samplers, and
// advances them over 1,000 touched rows; B/row is what a further stream takes.
func BenchmarkSamplers(b *testing.B) {
	n := benchRows()
	view := benchView(b, n, facts.All&^facts.Tokens)
	var touched []int64
	for i := range 1000 {
		touched = append(touched, int64(i*(n/1000)))
	}
	b.ReportMetric(float64(view.Bytes())/float64(n), "view-B/row")
	for _, c := range []struct{ name, text string }{
		{"uniform", "batch: {rows: 256}"},
		{"weights", "batch: {rows: 256}\nweight: [reward, priority]"},
		{"strata", "batch: {rows: 256}\nweight: reward\nstrata: {by: effort, shares: {none: 0.25, low: 0.25, high: 0.25, max: 0.25}}"},
		{"live", "batch: {rows: 256}\nweight: learnability\nstaleness: {success: 20, failure: 20}\nage_decay: {tau: 8, unit: versions}"},
		{"caps", "batch: {rows: 256}\ncaps: {per_task: 2}"},
		{"groups", "batch: {rows: 32}\nunit: group"},
		{"reuse", "batch: {rows: 256}\ncaps: {reuse: 4, cooldown: 2}"},
	} {
		for _, kind := range []string{Tree, Keyed} {
			spec, err := ParseSpec([]byte(c.text + "\nsampler: " + kind + "\nseed: 3"))
			if err != nil {
				b.Fatal(err)
			}
			spec = spec.Fill(Pinned)
			s, err := OpenAt(b.Context(), view, spec, Origin{})
			if err != nil {
				b.Fatal(err)
			}
			b.Run(c.name+"/"+kind+"/draw", func(b *testing.B) {
				position, cpu := uint64(0), processor()
				for b.Loop() {
					if _, err := s.Draw(position); err != nil {
						b.Fatal(err)
					}
					position++
				}
				b.ReportMetric(float64(processor()-cpu)/float64(b.N), "cpu-ns/op")
				b.ReportMetric(float64(s.Bytes())/float64(n), "B/row")
			})
		}
		spec, _ := ParseSpec([]byte(c.text))
		spec = spec.Fill(Live)
		s, err := OpenAt(b.Context(), view, spec, Origin{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name+"/open", func(b *testing.B) {
			cpu := processor()
			for b.Loop() {
				if _, err := OpenAt(b.Context(), view, spec, Origin{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processor()-cpu)/float64(b.N)/float64(n), "cpu-ns/row")
		})
		b.Run(c.name+"/advance", func(b *testing.B) {
			cpu := processor()
			for b.Loop() {
				if _, err := s.Advance(b.Context(), view, &facts.Change{NewFrom: view.Rows(), Touched: touched}, Origin{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processor()-cpu)/float64(b.N)/float64(len(touched)), "cpu-ns/touched")
		})
	}
}
