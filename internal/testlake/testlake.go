// Package testlake opens lakes for tests: the real store on a memory, directory
// or faulty bucket, verified to the last byte when the test ends.
package testlake

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/store"
	"trajlake/store/blob"
)

// Open opens a fresh lake in memory. When the test ends it is verified and closed.
func Open(t testing.TB) *store.Lake {
	t.Helper()
	return On(t, blob.NewMemory(), t.TempDir())
}

// OpenDir opens a lake in a directory, made if absent; verified and closed at the
// end of the test.
func OpenDir(t testing.TB, dir string) *store.Lake {
	t.Helper()
	b, err := blob.OpenDir(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	return On(t, b, t.TempDir())
}

// On opens a lake on a bucket with its index under indexDir; verified and closed
// at the end of the test.
func On(t testing.TB, b blob.Bucket, indexDir string) *store.Lake {
	t.Helper()
	l := Raw(t, b, indexDir)
	t.Cleanup(func() {
		Verify(t, l)
		if err := l.Close(); err != nil {
			t.Errorf("close lake: %v", err)
		}
	})
	return l
}

// Raw opens a lake that the test closes and verifies itself.
func Raw(t testing.TB, b blob.Bucket, indexDir string) *store.Lake {
	t.Helper()
	l, err := store.OpenBucket(context.Background(), b, "test", &store.Options{Create: true, IndexDir: indexDir})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Verify fails the test if a deep verification finds anything.
func Verify(t testing.TB, l *store.Lake) {
	t.Helper()
	r, err := l.Verify(context.Background(), store.VerifyOptions{Deep: true})
	if err != nil {
		t.Errorf("verify: %v", err)
		return
	}
	for _, p := range r.Problems {
		t.Errorf("verify: %s %s: %s", p.Kind, p.Object, p.Detail)
	}
}

// Row is a small trajectory with a reward, a group, effort and tensors, all
// functions of its id and the seed. It has no digests yet; see Ready.
func Row(id string, seed uint64) *schema.Trajectory {
	r := rand.New(rand.NewPCG(seed, uint64(len(id))))
	n := 1 + r.IntN(20)
	levels := []string{"none", "low", "medium", "high", "max"}
	effort := levels[r.IntN(len(levels))]
	row := &schema.Trajectory{
		TrajectoryID: id,
		TaskSet:      new([]string{"math", "code", "web"}[r.IntN(3)]),
		TaskID:       new(fmt.Sprintf("task-%d", r.IntN(10))),
		GroupID:      new(fmt.Sprintf("g-%d", seed/8)),
		GroupIndex:   new(int32(seed % 8)),
		Effort:       new(effort),
		Mode:         new("thinking"),
		Turns: []schema.Turn{
			{Role: new("user"), Text: new(fmt.Sprintf("question %d", seed))},
			{Role: new("assistant"), Sampled: new(true), Text: new("answer"), ToolCalls: []schema.ToolCall{{Name: new("calc"), ArgsRaw: new("{}"), Result: new("4"), ResultStatus: new("ok")}}},
		},
		TokenIDs: make([]int32, n), LossMask: make([]int8, n), Logprobs: make([]float32, n),
		Metadata: map[string]string{"seed": fmt.Sprint(seed)},
	}
	if r.IntN(4) > 0 {
		row.Reward = new(float64(r.IntN(5)) / 4)
	}
	for i := range n {
		row.TokenIDs[i], row.LossMask[i], row.Logprobs[i] = r.Int32N(150000), int8(r.IntN(2)), -r.Float32()
	}
	return row
}

// Rows are n rows with the ids <prefix>-0 … and digests for the lake.
func Rows(l *store.Lake, prefix string, n int, seed uint64) []*schema.Trajectory {
	out := make([]*schema.Trajectory, n)
	for i := range out {
		out[i] = Row(fmt.Sprintf("%s-%d", prefix, i), seed*1_000_003+uint64(i))
	}
	return Ready(l, out...)
}

// Ready gives rows what ingest gives them: derived columns and digests.
func Ready(l *store.Lake, rows ...*schema.Trajectory) []*schema.Trajectory {
	for _, r := range rows {
		sum := sha256.Sum256(schema.NativeCanonical(r))
		r.SourceDigest = canon.DigestOfSum(l.Salt(), sum)
		schema.Derive(r)
		r.ContentHash = schema.ContentHash(r)
	}
	return rows
}
