package ingest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"trajlake/ingest"
	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
)

// TestAnnotateTogether has callers write annotations at once on a store that
// fails now and then: each is committed exactly once, receipts are each caller's
// own, and few versions are made.
func TestAnnotateTogether(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			faulty := blob.NewFaulty(blob.NewMemory())
			l := testlake.On(t, faulty, t.TempDir())
			g := ingest.New(l, nil)
			r := rand.New(rand.NewPCG(seed, 5))
			for range 6 {
				faulty.Add(blob.Rule{Op: blob.OpPut, Key: "annotations/*/*", Skip: r.IntN(3), Do: []blob.Action{blob.FailBefore, blob.LoseAnswer}[r.IntN(2)]})
			}
			const callers, calls, rows = 8, 6, 5
			var wg sync.WaitGroup
			places := make([][]int64, callers)
			for c := range callers {
				wg.Go(func() {
					for n := range calls {
						rs := annotate(t, g, c, n, rows)
						for i, one := range rs {
							// Calls with n = 0 say the same for all callers.
							if one.Status == store.Rejected || one.Status == store.Duplicate && n > 0 && faulty.Fired() == 0 {
								t.Errorf("caller %d, call %d, annotation %d: %+v", c, n, i, one)
							}
							if n > 0 {
								places[c] = append(places[c], one.Seq)
							}
						}
					}
				})
			}
			wg.Wait()
			seen := map[int64]bool{}
			for _, p := range places {
				for _, seq := range p {
					if seen[seq] {
						t.Errorf("two annotations have the place %d", seq)
					}
					seen[seq] = true
				}
			}
			s, err := l.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := s.Count(schema.Annotations), int64(callers*(calls-1)*rows+rows); got != want {
				t.Errorf("%d annotations, want %d", got, want)
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
			if _, _, err := g.Annotate(t.Context(), []*schema.Annotation{priority("x", 1)}); !fault.Is(err, fault.Unavailable) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

func priority(id string, v float64) *schema.Annotation {
	return &schema.Annotation{Kind: new("priority"), TargetID: new(id), Value: &v}
}

// annotate sends until it is answered, every annotation but the last; that one is
// refused.
func annotate(t *testing.T, g *ingest.Ingester, caller, call, n int) []store.Receipt {
	for {
		var rows []*schema.Annotation
		for i := range n {
			id := fmt.Sprintf("t%d-%d-%d", caller, call, i)
			if call == 0 {
				id = fmt.Sprintf("t%d", i)
			}
			rows = append(rows, priority(id, float64(call)))
		}
		rows = append(rows, priority("bad", -1))
		rs, token, err := g.Annotate(context.Background(), rows)
		if fault.Is(err, fault.Unavailable) {
			continue
		}
		if err != nil || len(rs) != n+1 || rs[n].Status != store.Rejected || token == "" {
			t.Errorf("caller %d, call %d: %+v %q %v", caller, call, rs, token, err)
			return nil
		}
		for i, r := range rs[:n] {
			if r.ID != rows[i].AnnotationID {
				t.Errorf("caller %d got the receipt of %s for %s", caller, r.ID, rows[i].AnnotationID)
			}
		}
		return rs[:n]
	}
}

// TestAnnotateGivesUp: a caller whose time is over is told so, and the store that
// hangs blocks nobody's Close for longer than the commit's own time.
func TestAnnotateGivesUp(t *testing.T) {
	faulty := blob.NewFaulty(blob.NewMemory())
	l := testlake.On(t, faulty, t.TempDir())
	g := ingest.New(l, &ingest.Options{CommitTime: 50e6})
	faulty.Add(blob.Rule{Op: blob.OpPut, Key: "annotations/*/*", Do: blob.Hang, Count: blob.Always})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := g.Annotate(ctx, []*schema.Annotation{priority("x", 1)}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a caller that gave up: %v", err)
	}
	if _, _, err := g.Annotate(t.Context(), []*schema.Annotation{priority("y", 1)}); err == nil {
		t.Error("a store that hangs was taken for an answer")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	faulty.Clear()
}
