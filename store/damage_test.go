package store_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"trajlake/internal/testlake"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
)

func TestReadOnlyAndMissing(t *testing.T) {
	if _, err := store.OpenBucket(ctx, blob.NewMemory(), "x", nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("a lake that is not there: %v", err)
	}
	b := blob.NewMemory()
	l := testlake.On(t, b, t.TempDir())
	mustAppend(t, l, testlake.Rows(l, "a", 1, 1))
	ro, err := store.OpenBucket(ctx, b, "test", &store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if _, err := ro.Append(ctx, testlake.Rows(l, "b", 1, 2)); !fault.Is(err, fault.Denied) {
		t.Errorf("append to a read-only lake: %v", err)
	}
	for _, ref := range []string{"17", "-1", "s1.", "s1.!!!", "nonsense"} {
		if _, err := ro.At(ctx, ref); err == nil {
			t.Errorf("snapshot %q opened", ref)
		}
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	b := blob.NewMemory()
	l := testlake.Raw(t, b, t.TempDir())
	defer l.Close()
	mustAppend(t, l, testlake.Rows(l, "a", 5, 1))
	mustAppend(t, l, testlake.Rows(l, "b", 5, 2))
	var data []string
	for info, err := range b.List(ctx, "trajectories/day", "") {
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, info.Key)
	}
	body, err := b.Get(ctx, data[0], 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(body)
	flipped[len(flipped)/3] ^= 1
	cases := []struct {
		name, kind string
		change     func() error
	}{
		{"flipped bit", store.ProblemChecksum, func() error { return b.Put(ctx, data[0], flipped, blob.PutOptions{}) }},
		{"cut short", store.ProblemSize, func() error { return b.Put(ctx, data[0], body[:len(body)-1], blob.PutOptions{}) }},
		{"missing", store.ProblemMissing, func() error { return b.Delete(ctx, data[0]) }},
	}
	for _, c := range cases {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		fresh := testlake.Raw(t, b, t.TempDir())
		r, err := fresh.Verify(ctx, store.VerifyOptions{Deep: true})
		if err != nil || r.OK || !slices.ContainsFunc(r.Problems, func(p store.Problem) bool { return p.Kind == c.kind }) {
			t.Errorf("%s: %+v %v", c.name, r, err)
		}
		fresh.Close()
		if err := b.Put(ctx, data[0], body, blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBlobs(t *testing.T) {
	l := testlake.Open(t)
	d, err := l.PutBlob(ctx, []byte("picture"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := l.PutBlob(ctx, []byte("picture")); err != nil || again != d {
		t.Errorf("stored again: %s %v", again, err)
	}
	if body, err := l.GetBlob(ctx, d); err != nil || string(body) != "picture" {
		t.Errorf("read: %q %v", body, err)
	}
	if _, err := l.GetBlob(ctx, "../../etc/passwd"); !fault.Is(err, fault.Usage) {
		t.Errorf("no digest: %v", err)
	}
}

// TestCrashPoints ends a writer at each of its steps, before and after the step
// took effect, and opens the lake anew: either the whole call is in, or nothing.
func TestCrashPoints(t *testing.T) {
	for _, do := range []blob.Action{blob.FailBefore, blob.LoseAnswer} {
		for step := range 4 {
			t.Run(fmt.Sprintf("put %d action %v", step, do), func(t *testing.T) {
				mem := blob.NewMemory()
				l := testlake.Raw(t, mem, t.TempDir())
				mustAppend(t, l, testlake.Rows(l, "a", 5, 1))
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				faulty := blob.NewFaulty(mem)
				l, err := store.OpenBucket(ctx, faulty, "test", &store.Options{Create: true, IndexDir: t.TempDir()})
				if err != nil {
					t.Fatal(err)
				}
				faulty.Add(blob.Rule{Op: blob.OpPut, Skip: step, Count: blob.Always, Do: do}, blob.Rule{Op: blob.OpGet, Key: "*/_delta_log/*", Skip: step, Count: blob.Always, Do: blob.FailBefore})
				call, cancel := context.WithTimeout(ctx, 300_000_000)
				defer cancel()
				rs, appendErr := l.Append(call, testlake.Rows(l, "b", 5, 2))
				faulty.Clear()
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				fresh := testlake.On(t, mem, t.TempDir())
				got := len(ids(t, head(t, fresh), ""))
				if got != 5 && got != 10 {
					t.Fatalf("%d rows: a call is in by halves", got)
				}
				if appendErr == nil {
					if c, _, _ := statuses(rs); c != 5 || got != 10 {
						t.Fatalf("acknowledged, but %d rows are there", got)
					}
				} else if fault.KindOf(appendErr) == fault.Internal {
					t.Errorf("the failure has no kind: %v", appendErr)
				}
				r := mustAppend(t, fresh, testlake.Rows(fresh, "b", 5, 2))
				if c, d, _ := statuses(r); c+d != 5 || len(ids(t, head(t, fresh), "")) != 10 {
					t.Errorf("sent again: %d committed, %d duplicates", c, d)
				}
			})
		}
	}
}
