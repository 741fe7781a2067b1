package delta

import (
	"bytes"
	"context"
	"testing"

	"trajlake/store/blob"
)

// TestFlippedCheckpoint inverts bits of a checkpoint, one at a time. Either the
// damage is noticed and the state comes from the versions, or it did not matter.
func TestFlippedCheckpoint(t *testing.T) {
	ctx := context.Background()
	b := blob.NewMemory()
	l := longLog(t, b)
	key := l.logKey(checkpointName(12))
	whole, err := b.Get(ctx, key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	want, err := l.readCheckpoint(ctx, 12, false)
	if err != nil {
		t.Fatal(err)
	}
	noticed := 0
	const stride = 32 // of bytes: all of them take a minute
	r := seedOf(t)
	flips := 0
	for at := r.IntN(stride); at < len(whole); at += stride {
		flips++
		body := bytes.Clone(whole)
		body[at] ^= 1 << r.IntN(8)
		if err := b.Put(ctx, key, body, blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		got, err := l.readCheckpoint(ctx, 12, false)
		if err != nil {
			noticed++
			continue
		}
		if dump(got) != dump(want) {
			t.Errorf("a flip in byte %d of %d changes the state:\n%s", at, len(whole), dump(got))
		}
	}
	if noticed == 0 {
		t.Error("no flip was noticed")
	}
	t.Logf("%d of %d flips noticed", noticed, flips)
}
