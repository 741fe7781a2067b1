package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"trajlake/schema"
	"trajlake/store/blob"
)

// priorities are n priority annotations, of trajectories t0, t1…, as a trainer
// writes them back; round tells one write-back from the next.
func priorities(n, round int) []*schema.Annotation {
	rows := make([]schema.Annotation, n)
	out := make([]*schema.Annotation, n)
	kind, on := "priority", "trajectory"
	for i := range rows {
		rows[i] = schema.Annotation{AnnotationID: fmt.Sprintf("p-%d-%d", round, i), Kind: &kind, TargetKind: &on, TargetID: new(fmt.Sprintf("t%d", i)), Value: new(float64(i%1000) + float64(round))}
		out[i] = &rows[i]
	}
	return out
}

// cpu is the processor time that this process has taken.
func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// openForBench opens a lake in a directory, with its index.
func openForBench(b *testing.B) *Lake {
	b.Helper()
	bucket, err := blob.OpenDir(b.TempDir(), true)
	if err != nil {
		b.Fatal(err)
	}
	l, err := OpenBucket(context.Background(), bucket, "bench", &Options{Create: true, IndexDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}

// BenchmarkFold reads a million priorities, written back in one call, into the
// fold: from nothing, and as news to rows that have one already. It reports the
// memory that stays for a trajectory. Target: 1 s.
func BenchmarkFold(b *testing.B) {
	ctx := context.Background()
	const n = 1_000_000
	l := openForBench(b)
	_, first, err := l.Annotate(ctx, priorities(n, 0))
	if err != nil {
		b.Fatal(err)
	}
	_, second, err := l.Annotate(ctx, priorities(n, 1))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		s    *Snapshot
		news bool
	}{{"first", first, false}, {"again", second, true}} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				l.folds.states = nil
				if c.news {
					if _, err := first.fold(ctx); err != nil {
						b.Fatal(err)
					}
				}
				c.s.folded.Store(nil)
				first.folded.Store(nil)
				runtime.GC()
				b.StartTimer()
				v, err := c.s.fold(ctx)
				if err != nil {
					b.Fatal(err)
				}
				if v.all.rows.keys != n {
					b.Fatalf("%d keys", v.all.rows.keys)
				}
				b.ReportMetric(float64(v.all.rows.bytes())/n, "B/trajectory")
			}
		})
	}
}

// BenchmarkAnnotate writes priorities back, durable on return. Target: 100,000/s.
func BenchmarkAnnotate(b *testing.B) {
	for _, n := range []int{256, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := openForBench(b)
			ctx := context.Background()
			var busy time.Duration
			for i := range b.N {
				b.StopTimer()
				rows := priorities(n, i)
				began := cpu(b)
				b.StartTimer()
				if _, _, err := l.Annotate(ctx, rows); err != nil {
					b.Fatal(err)
				}
				busy += cpu(b) - began
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "annotations/s")
			b.ReportMetric(float64(busy.Nanoseconds())/float64(n)/float64(b.N), "cpu-ns/annotation")
		})
	}
}

// BenchmarkTouched lists the rows of a write-back to 200,000 trajectories: the
// first time, when their places are looked up in the index or found by reading
// ids, and when they are known.
func BenchmarkTouched(b *testing.B) {
	const n = 200_000
	ctx := context.Background()
	l := openForBench(b)
	rows := make([]*schema.Trajectory, n)
	for i := range rows {
		id := fmt.Sprintf("t%d", i)
		sum := sha256.Sum256([]byte(id))
		rows[i] = &schema.Trajectory{TrajectoryID: id, SourceDigest: sum[:], ContentHash: sum[:]}
	}
	if _, err := l.Append(ctx, rows); err != nil {
		b.Fatal(err)
	}
	since, err := l.Head(ctx)
	if err != nil {
		b.Fatal(err)
	}
	round := 0
	for _, c := range []struct {
		name  string
		notes int
		known bool
	}{{"index", 256, false}, {"index", 4096, false}, {"scan", 100_000, false}, {"known", 256, true}, {"known", 100_000, true}} {
		round++
		_, s, err := l.Annotate(ctx, priorities(c.notes, round))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%s/%d", c.name, c.notes), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				if !c.known {
					l.folds.states = nil
					s.folded.Store(nil)
				}
				if _, err := s.fold(ctx); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				got, err := s.TouchedRows(ctx, since)
				if err != nil || len(got) != c.notes {
					b.Fatalf("%d rows, %v", len(got), err)
				}
			}
		})
		since = s
	}
}
