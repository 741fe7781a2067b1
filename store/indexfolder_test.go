package store_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trajlake/internal/testlake"
	"trajlake/store"
	"trajlake/store/blob"
)

// openWarm opens a lake that may wait for its index, with its log.
func openWarm(t *testing.T, b blob.Bucket, dir string, wait time.Duration) (*store.Lake, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	l, err := store.OpenBucket(ctx, b, "test", &store.Options{Create: true, IndexDir: dir, IndexWait: wait, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.Warm(ctx); err != nil {
		t.Fatal(err)
	}
	return l, &log
}

// wantIndex checks where an index is, and that there is a warning where it is in memory.
func wantIndex(t *testing.T, l *store.Lake, log *bytes.Buffer, place, reason string) {
	t.Helper()
	s := l.IndexState()
	if s.Place != place || !strings.Contains(s.Reason, reason) || (reason == "") != (s.Reason == "") {
		t.Errorf("the index is in %+v, want %s because of %q", s, place, reason)
	}
	warned := strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), "keeping the index in memory") && strings.Contains(log.String(), "hint=")
	if warned != (place == "memory") {
		t.Errorf("log: %s", log)
	}
}

// TestIndexInMemoryIsSaid: whyever the folder cannot be had, appends go on, a
// warning says why, and so does the state.
func TestIndexInMemoryIsSaid(t *testing.T) {
	cases := []struct {
		name, reason string
		dir          func(t *testing.T, b blob.Bucket) string
		wait         time.Duration
	}{
		{"locked", "process ", func(t *testing.T, b blob.Bucket) string {
			dir := t.TempDir()
			openWarm(t, b, dir, 0)
			return dir
		}, time.Millisecond},
		{"a file in its place", "not a directory", func(t *testing.T, b blob.Bucket) string {
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return file
		}, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := blob.NewMemory()
			l, log := openWarm(t, b, c.dir(t, b), c.wait)
			wantIndex(t, l, log, "memory", c.reason)
			for want := range 2 {
				if n, d, _ := statuses(mustAppend(t, l, testlake.Rows(l, "a", 5, 1))); n != 5-5*want || d != 5*want {
					t.Errorf("%d committed, %d duplicates", n, d)
				}
			}
			if settled, err := l.RetryIndex(ctx); settled || err == nil {
				t.Errorf("a folder that is not to be had is had: %v", err)
			}
		})
	}
}

// TestIndexWaitsForItsFolder: a process that is about to end is waited for.
func TestIndexWaitsForItsFolder(t *testing.T) {
	b, dir := blob.NewMemory(), t.TempDir()
	before := testlake.Raw(t, b, dir)
	if err := before.Warm(ctx); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() {
		time.Sleep(150 * time.Millisecond)
		closed <- before.Close()
	}()
	l, log := openWarm(t, b, dir, time.Minute)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	wantIndex(t, l, log, "folder", "")
}

// TestIndexMovesToItsFolder: when the other process is gone the folder is taken,
// with what came in meanwhile from both.
func TestIndexMovesToItsFolder(t *testing.T) {
	b, dir := blob.NewMemory(), t.TempDir()
	holder := testlake.Raw(t, b, dir)
	mustAppend(t, holder, testlake.Rows(holder, "a", 30, 1))
	l, log := openWarm(t, b, dir, time.Millisecond)
	wantIndex(t, l, log, "memory", "another process")
	mustAppend(t, l, testlake.Rows(l, "b", 30, 2))
	if settled, err := l.RetryIndex(ctx); settled || err == nil {
		t.Fatalf("the folder was had while another process has it: %v", err)
	}
	mustAppend(t, holder, testlake.Rows(holder, "c", 30, 3))
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if settled, err := l.RetryIndex(ctx); !settled || err != nil {
			t.Fatalf("the folder was not taken: %v", err)
		}
	}
	log.Reset()
	wantIndex(t, l, log, "folder", "")
	for i, name := range []string{"a", "b", "c"} {
		if n, d, _ := statuses(mustAppend(t, l, testlake.Rows(l, name, 30, uint64(i+1)))); n != 0 || d != 30 {
			t.Errorf("%s: %d committed, %d duplicates", name, n, d)
		}
	}
	if n, _, _ := statuses(mustAppend(t, l, testlake.Rows(l, "d", 30, 4))); n != 30 {
		t.Errorf("%d of 30 committed", n)
	}
	testlake.Verify(t, l)
}

// TestRetryIndexBesideAppends: the index changes under appends that run.
func TestRetryIndexBesideAppends(t *testing.T) {
	b, dir := blob.NewMemory(), t.TempDir()
	holder := testlake.Raw(t, b, dir)
	if err := holder.Warm(ctx); err != nil {
		t.Fatal(err)
	}
	l, _ := openWarm(t, b, dir, 0)
	appended := make(chan error, 1)
	go func() {
		for i := range 40 {
			if _, err := l.Append(ctx, testlake.Rows(l, string(rune('a'+i%20)), 5, uint64(i%20))); err != nil {
				appended <- err
				return
			}
			if i == 10 {
				if err := holder.Close(); err != nil {
					appended <- err
					return
				}
			}
		}
		appended <- nil
	}()
	for {
		if settled, _ := l.RetryIndex(ctx); settled {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	if n := head(t, l).Version(); n != 20 {
		t.Errorf("version %d after 20 appends that were made twice", n)
	}
	testlake.Verify(t, l)
}
