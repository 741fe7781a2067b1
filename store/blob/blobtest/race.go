package blobtest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"trajlake/store/blob"
)

// race lets writers create key at the same time, each with a body of its own
// of size bytes, and checks that exactly one did. A writer that got no answer
// is settled by reading back, as every caller has to.
func race(t *testing.T, b blob.Bucket, key string, writers, size int) {
	t.Helper()
	bodies := make([][]byte, writers)
	results := make([]error, writers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range writers {
		bodies[i] = append(fmt.Appendf(nil, "writer %d of %s\n", i, key), random(uint64(i), size)...)
		wg.Go(func() {
			<-start
			results[i] = b.Put(t.Context(), key, bodies[i], blob.PutOptions{IfAbsent: true})
		})
	}
	close(start)
	wg.Wait()
	got, err := b.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatalf("get after race: %v", err)
	}
	owner, winners := -1, 0
	for i, err := range results {
		mine := bytes.Equal(got, bodies[i])
		if mine {
			owner = i
		}
		switch {
		case err == nil:
			if winners++; !mine {
				t.Errorf("%s: writer %d was told it won, but the object is not its own", key, i)
			}
		case errors.Is(err, blob.ErrUnknown):
		case !errors.Is(err, blob.ErrExists):
			t.Errorf("%s: writer %d: %v", key, i, err)
		case mine:
			t.Errorf("%s: writer %d was told it lost, but the object is its own", key, i)
		}
	}
	if owner < 0 {
		t.Errorf("%s: the object is no writer's", key)
	}
	if winners > 1 {
		t.Errorf("%s: %d winners", key, winners)
	}
	if winners == 0 && !errors.Is(results[max(owner, 0)], blob.ErrUnknown) {
		t.Errorf("%s: no winner", key)
	}
}

func testRace(t *testing.T, b blob.Bucket) {
	const rounds, writers = 40, 12
	for round := range rounds {
		race(t, b, fmt.Sprintf("t/_delta_log/%020d.json", round), writers, 700)
	}
	// Also where the directory does not exist yet.
	for round := range 5 {
		race(t, b, fmt.Sprintf("fresh%d/dir/key", round), writers, 10)
	}
	if got := keys(t, b.List(t.Context(), "", "")); len(got) != rounds+5 {
		t.Errorf("%d objects after %d races", len(got), rounds+5)
	}
}

// testRaceBig is above the size at which S3 clients like to split an upload
// in parts, which would drop the condition.
func testRaceBig(t *testing.T, b blob.Bucket) {
	race(t, b, "big/raced", 4, 6<<20)
	race(t, b, "big/raced-17", 2, 17<<20)
}

func testBigBody(t *testing.T, b blob.Bucket) {
	for _, size := range []int{6 << 20, 17<<20 + 1} {
		body := random(uint64(size), size)
		put(t, b, "big/plain", body)
		wantBody(t, b, "big/plain", body)
		part, err := b.Get(t.Context(), "big/plain", int64(size)-70_000, 65_536)
		if err != nil || !bytes.Equal(part, body[size-70_000:size-70_000+65_536]) {
			t.Errorf("Get near the end of %d bytes = %d bytes, %v", size, len(part), err)
		}
	}
}

// testReadersAndWriters overwrites one key with bodies of one repeated byte.
// A reader must never see two different bytes in one object.
func testReadersAndWriters(t *testing.T, b blob.Bucket) {
	const key, rounds = "shared/hint", 40
	put(t, b, key, []byte{0})
	var writers, readers sync.WaitGroup
	var done atomic.Bool
	for w := range 3 {
		writers.Go(func() {
			for i := range rounds {
				c := byte(w*rounds + i)
				if err := b.Put(t.Context(), key, bytes.Repeat([]byte{c}, 1+int(c)*997), blob.PutOptions{}); err != nil {
					t.Errorf("put: %v", err)
				}
			}
		})
	}
	for range 3 {
		readers.Go(func() {
			for !done.Load() {
				body, err := b.Get(t.Context(), key, 0, -1)
				if err != nil {
					t.Errorf("get: %v", err)
					return
				}
				if len(body) == 0 || len(body) != 1+int(body[0])*997 || bytes.Count(body, body[:1]) != len(body) {
					t.Errorf("reader saw %d bytes that no one wrote", len(body))
					return
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
}

func testPutUnique(t *testing.T, b blob.Bucket) {
	ctx := t.Context()
	if err := blob.PutUnique(ctx, b, "u/a", []byte("mine 1")); err != nil {
		t.Fatal(err)
	}
	wantError(t, "PutUnique over another's", blob.PutUnique(ctx, b, "u/a", []byte("yours 2")), blob.ErrExists, "u/a")
	wantBody(t, b, "u/a", []byte("mine 1"))
}

func testProbe(t *testing.T, b blob.Bucket) {
	if err := blob.Probe(t.Context(), b, 3, 8); err != nil {
		t.Errorf("Probe = %v", err)
	}
	if got := keys(t, b.List(t.Context(), "", "")); len(got) > 0 {
		t.Errorf("Probe left %q", got)
	}
}
