package rpc

import (
	"sync"
	"testing"

	"trajlake/internal/testlake"
	"trajlake/replay"
)

// TestSamplersAreBounded opens more samplers than are kept: the ones used last stay.
func TestSamplersAreBounded(t *testing.T) {
	lake := testlake.Open(t)
	if _, err := lake.Append(t.Context(), testlake.Rows(lake, "a", 100, 1)); err != nil {
		t.Fatal(err)
	}
	snap, err := lake.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spec := func(seed int) replay.Spec { return replay.Spec{Seed: uint64(seed)}.Fill(replay.Pinned) }
	first, err := replay.Open(t.Context(), snap, spec(0))
	if err != nil || first.Bytes() < 24*100 {
		t.Fatalf("%d bytes, %v", first.Bytes(), err)
	}
	for _, c := range []struct {
		limit int64
		want  int
	}{{0, keptSamplers}, {5 * first.Bytes(), 5}, {1, 1}} {
		kept := samplers{limit: c.limit}
		var pinned *replay.Sampler
		for seed := range keptSamplers + 10 {
			s, err := kept.open(t.Context(), snap, spec(seed))
			if err != nil {
				t.Fatal(err)
			}
			if seed == 0 {
				pinned = s
			}
			if got := kept.known(snap.Token(), spec(0)); c.want > 1 && got != pinned {
				t.Fatalf("limit %d: after %d others the sampler used all the time is gone", c.limit, seed)
			}
		}
		if len(kept.list) != c.want {
			t.Errorf("limit %d: %d samplers are kept, want %d", c.limit, len(kept.list), c.want)
		}
		if kept.known(snap.Token(), spec(1)) != nil {
			t.Errorf("limit %d: the sampler used first is still there", c.limit)
		}
	}
	var kept samplers
	got := make([]*replay.Sampler, 8)
	var wait sync.WaitGroup
	for i := range got {
		wait.Go(func() { got[i], _ = kept.open(t.Context(), snap, spec(3)) })
	}
	wait.Wait()
	for _, s := range got {
		if s == nil || s != got[0] {
			t.Error("one spec was opened more than once at the same time")
		}
	}
}
