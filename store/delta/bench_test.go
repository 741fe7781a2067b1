package delta

import (
	"context"
	"fmt"
	"testing"

	"trajlake/store/blob"
)

// manyFiles is a table with n live files, made in commits of 1,000.
func manyFiles(tb testing.TB, n int) *Log {
	l := mustCreate(tb, blob.NewMemory(), Options{CheckpointEvery: -1})
	for i := 0; i < n; {
		var actions []Action
		for ; len(actions) < 1000 && i < n; i++ {
			actions = append(actions, addOf(fmt.Sprintf("f%06d", i), 3))
		}
		mustCommit(tb, l, actions...)
	}
	return l
}

// TestManyFiles: a checkpoint of several chunks and row batches holds what the
// versions hold.
func TestManyFiles(t *testing.T) {
	l := manyFiles(t, 3000)
	want := l.Head()
	if err := l.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	sameState(t, "from the checkpoint", mustOpen(t, l.b).Head(), want)
	n := 0
	for f := range want.Files.From(4500) {
		if f.FirstSeq != int64(4500+3*n) {
			t.Fatalf("file %d from place 4500 begins at %d", n, f.FirstSeq)
		}
		n++
	}
	if n != 1500 {
		t.Fatalf("%d files from place 4500 on", n)
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, files := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			l := manyFiles(b, files)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				mustCommit(b, l, addOf(fmt.Sprintf("g%07d", i), 1))
			}
		})
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	l := manyFiles(b, 20_000)
	ctx := context.Background()
	b.ResetTimer()
	for range b.N {
		if err := l.b.Delete(ctx, l.logKey(checkpointName(l.Head().Version))); err != nil {
			b.Fatal(err)
		}
		if err := l.Checkpoint(ctx); err != nil {
			b.Fatal(err)
		}
		if _, err := l.readCheckpoint(ctx, l.Head().Version, false); err != nil {
			b.Fatal(err)
		}
	}
}
