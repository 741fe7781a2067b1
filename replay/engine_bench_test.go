package replay

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"trajlake/internal/testlake"
	"trajlake/store/blob"
)

// BenchmarkTenStreams has ten trainers draw and ack ten batches of 32 a second each,
// from ten live streams on one node, while a writer commits rows every second. Every
// call of the store takes 25 ms. One iteration is one batch of each trainer, so that
// -benchtime=36000x is an hour. What is reported: how long calls took, how many
// ledger rows waited at most, and how far the slowest trainer was behind its pace.
func BenchmarkTenStreams(b *testing.B) {
	const streams, pace, latency, inFlight = 10, 100 * time.Millisecond, 25 * time.Millisecond, 8
	slow := blob.NewFaulty(blob.NewMemory())
	lake := testlake.Raw(b, slow, b.TempDir())
	e := NewEngine(lake, nil)
	defer lake.Close()
	defer e.Close(context.Background())
	if _, err := lake.Append(b.Context(), testlake.Rows(lake, "a", 5000, 1)); err != nil {
		b.Fatal(err)
	}
	for i := range streams {
		spec, err := ParseSpec([]byte(fmt.Sprintf("{staleness: off, age_decay: off, weight: reward, batch: {rows: 32}, seed: %d}", i)))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := e.Create(b.Context(), fmt.Sprint("s", i), spec); err != nil {
			b.Fatal(err)
		}
	}
	slow.Add(blob.Rule{Do: blob.Wait, Delay: latency, Count: blob.Always})
	ctx, stop := context.WithCancel(b.Context())
	var writer, trainers sync.WaitGroup
	var most int64
	writer.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if n%4 == 0 {
				if _, err := lake.Append(ctx, testlake.Rows(lake, fmt.Sprint("w", n), 20, 1)); err != nil && ctx.Err() == nil {
					b.Error(err)
				}
			}
			most = max(most, e.Stats().LedgerPending)
			time.Sleep(250 * time.Millisecond)
		}
	})
	var mu sync.Mutex
	var draws, acks []time.Duration
	var behind time.Duration
	b.ResetTimer()
	for i := range streams {
		trainers.Go(func() {
			var acking sync.WaitGroup
			room := make(chan struct{}, inFlight)
			began := time.Now()
			for p := range b.N {
				if early := time.Until(began.Add(time.Duration(p) * pace)); early > 0 {
					time.Sleep(early)
				}
				at := time.Now()
				d, err := e.Batch(ctx, BatchRequest{Stream: fmt.Sprint("s", i), Run: "r", Position: uint64(p), Step: int64(p), Policy: -1})
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				draws = append(draws, time.Since(at))
				behind = max(behind, at.Sub(began)-time.Duration(p)*pace)
				mu.Unlock()
				room <- struct{}{}
				acking.Go(func() {
					at := time.Now()
					if err := e.Ack(ctx, ackOf(d, 0, int64(p))); err != nil {
						b.Error(err)
					}
					mu.Lock()
					acks = append(acks, time.Since(at))
					mu.Unlock()
					<-room
				})
			}
			acking.Wait()
		})
	}
	trainers.Wait()
	b.StopTimer()
	stop()
	writer.Wait()
	reportTimes(b, "draw", draws)
	reportTimes(b, "ack", acks)
	b.ReportMetric(float64(most), "rows-waiting-max")
	b.ReportMetric(float64(behind.Milliseconds()), "behind-ms")
	b.ReportMetric(float64(e.Stats().LedgerCommits)/b.Elapsed().Seconds(), "commits/s")
}

func reportTimes(b *testing.B, name string, d []time.Duration) {
	slices.Sort(d)
	b.ReportMetric(float64(d[len(d)/2].Microseconds())/1e3, name+"-p50-ms")
	b.ReportMetric(float64(d[len(d)*99/100].Microseconds())/1e3, name+"-p99-ms")
}
