package facts

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/google/uuid"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/store"
	"trajlake/store/blob"
)

// benchLake is the lake of TRAJLAKE_FACTS_LAKE, for large ones, or a small one in
// memory; and its head.
func benchLake(b *testing.B) (*store.Lake, *store.Snapshot) {
	b.Helper()
	dir := os.Getenv("TRAJLAKE_FACTS_LAKE")
	var l *store.Lake
	if dir != "" {
		var err error
		if l, err = store.Open(context.Background(), dir, nil); err != nil {
			b.Fatal(err)
		}
	} else {
		l = testlake.Raw(b, blob.NewMemory(), b.TempDir())
		for at := 0; at < 1<<16; at += 1 << 14 {
			rows := tiny(at, 1<<14)
			for _, r := range rows {
				r.SourceDigest = fmt.Appendf(nil, "%-32s", r.TrajectoryID)
				r.ContentHash = r.SourceDigest
			}
			if _, err := l.Append(context.Background(), rows); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l, head(b, l)
}

func BenchmarkOpen(b *testing.B) {
	_, s := benchLake(b)
	for _, bench := range []struct {
		name string
		need Set
	}{{"few", Effort | TaskSet | Reward | Policy}, {"all", All}} {
		b.Run(bench.name, func(b *testing.B) {
			var v *View
			for b.Loop() {
				v = openView(b, s, bench.need)
			}
			b.ReportMetric(float64(v.Rows())*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(v.Bytes())/float64(v.Rows()), "B/row")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	_, s := benchLake(b)
	all := openView(b, s, All)
	for _, bench := range []struct {
		name string
		need Set
	}{{"few", Effort | TaskSet | Reward | Policy}, {"all", All}} {
		b.Run(bench.name, func(b *testing.B) {
			v, seq := all.Only(bench.need), int64(0)
			var r Row
			for b.Loop() {
				v.Read(seq, &r)
				if seq++; seq == v.Rows() {
					seq = 0
				}
			}
		})
	}
}

// BenchmarkMatch evaluates a conjunct over text, one over numbers that annotations
// change and one that is known.
func BenchmarkMatch(b *testing.B) {
	ctx := context.Background()
	_, s := benchLake(b)
	v := openView(b, s, All)
	for _, text := range []string{"effort = 'high'", "reward > 0.3", "effort = 'high' AND reward > 0.3"} {
		b.Run(text, func(b *testing.B) {
			e := parse(b, text)
			for b.Loop() {
				if len(e.Conjuncts()) == 1 {
					v.match, v.base.sets = newMatches(), newRowSets(s.Lake())
				}
				if _, _, err := v.Match(ctx, e); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(v.Rows())*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkAdvance advances by rows that are new, and by annotated ones.
func BenchmarkAdvance(b *testing.B) {
	ctx := context.Background()
	l, s := benchLake(b)
	v := openView(b, s, All)
	advance := func(b *testing.B) {
		s := head(b, l)
		b.StartTimer()
		w, _, err := v.Advance(ctx, s, All)
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		v = w
	}
	b.Run("1000 rows", func(b *testing.B) {
		b.StopTimer()
		for range b.N {
			rows := tiny(int(v.Rows()), 1000)
			for _, r := range rows {
				r.TrajectoryID = uuid.NewString()
				r.SourceDigest = []byte(r.TrajectoryID)
				r.ContentHash = r.SourceDigest
			}
			if _, err := l.Append(ctx, rows); err != nil {
				b.Fatal(err)
			}
			advance(b)
		}
	})
	b.Run("10000 priorities", func(b *testing.B) {
		b.StopTimer()
		for n := range b.N {
			var seqs []int64
			for i := range 10000 {
				seqs = append(seqs, int64(n*10000+i*7)%s.Count(schema.Trajectories))
			}
			rec, err := s.Gather(ctx, seqs, []string{"trajectory_id"})
			if err != nil {
				b.Fatal(err)
			}
			var notes []*schema.Annotation
			for i := range seqs {
				notes = append(notes, note("priority", "trajectory", rec.Column(0).ValueStr(i), float64(i)/float64(n+1)))
			}
			annotate(b, l, notes...)
			advance(b)
		}
	})
}
