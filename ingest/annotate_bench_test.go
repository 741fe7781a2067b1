package ingest_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"trajlake/ingest"
	"trajlake/schema"
	"trajlake/store"
	"trajlake/store/blob"
)

// BenchmarkAnnotate writes priorities back as the server does: validated, given
// an id, durable on return. The number is of annotations in a call, and of callers
// at once. Target: 100,000/s.
func BenchmarkAnnotate(b *testing.B) {
	for _, c := range []struct{ rows, callers int }{{256, 1}, {256, 32}, {10_000, 1}, {100_000, 1}} {
		b.Run(fmt.Sprintf("%dx%d", c.rows, c.callers), func(b *testing.B) {
			bucket, err := blob.OpenDir(b.TempDir(), true)
			if err != nil {
				b.Fatal(err)
			}
			ctx := context.Background()
			l, err := store.OpenBucket(ctx, bucket, "bench", &store.Options{Create: true, IndexDir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			g := ingest.New(l, nil)
			defer g.Close()
			kind := "priority"
			var busy time.Duration
			for round := range b.N {
				b.StopTimer()
				rows := make([][]*schema.Annotation, c.callers)
				for k := range rows {
					rows[k] = make([]*schema.Annotation, c.rows)
					for i := range rows[k] {
						rows[k][i] = &schema.Annotation{Kind: &kind, TargetID: new(fmt.Sprintf("t%d-%d", k, i)), Value: new(float64(round) + float64(i)/1e6)}
					}
				}
				began := cpu(b)
				b.StartTimer()
				var wg sync.WaitGroup
				for k := range rows {
					wg.Go(func() {
						if rs, _, err := g.Annotate(ctx, rows[k]); err != nil || rs[c.rows-1].Status != store.Committed {
							b.Errorf("%v", err)
						}
					})
				}
				wg.Wait()
				busy += cpu(b) - began
			}
			n := float64(c.rows*c.callers) * float64(b.N)
			b.ReportMetric(n/b.Elapsed().Seconds(), "annotations/s")
			b.ReportMetric(float64(busy.Nanoseconds())/n, "cpu-ns/annotation")
		})
	}
}

// cpu is the processor time that this process has taken.
func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
