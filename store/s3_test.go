package store_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/store"
	"trajlake/store/blob"
)

// s3 opens a fresh prefix of the S3 bucket that TRAJLAKE_TEST_S3 names.
func s3(t *testing.T) (url string, b blob.Bucket) {
	t.Helper()
	base := os.Getenv("TRAJLAKE_TEST_S3")
	if base == "" {
		t.Skip("NOT RUN: TRAJLAKE_TEST_S3 names no bucket (make test starts a server)")
	}
	bucket, query, _ := strings.Cut(base, "?")
	url = fmt.Sprintf("%s/store-%d?%s", bucket, time.Now().UnixNano(), query)
	b, _, err := blob.Open(ctx, url, true)
	if err != nil {
		t.Fatal(err)
	}
	return url, b
}

func TestLakeOnS3(t *testing.T) {
	url, b := s3(t)
	l := testlake.On(t, b, t.TempDir())
	var all []*schema.Trajectory
	for i := range 20 {
		rows := testlake.Rows(l, fmt.Sprintf("s%d", i), 3, uint64(i))
		all = append(all, rows...)
		mustAppend(t, l, rows)
	}
	if c, d, _ := statuses(mustAppend(t, l, all[:6])); c != 0 || d != 6 {
		t.Errorf("again: %d committed, %d duplicates", c, d)
	}
	before := head(t, l)
	want := ids(t, before, "")
	if n, err := l.Fold(ctx); err != nil || n < 16 {
		t.Fatalf("folded %d files, %v", n, err)
	}
	other, err := store.Open(ctx, url, &store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s, err := other.At(ctx, before.Token())
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(t, s, ""); !slices.Equal(got, want) {
		t.Errorf("another process reads %d rows, want %d", len(got), len(want))
	}
	got, err := s.Get(ctx, []string{all[7].TrajectoryID})
	if err != nil || got[0] == nil || !slices.Equal(got[0].TokenIDs, all[7].TokenIDs) {
		t.Errorf("point read: %v %v", got, err)
	}
}

func TestWritersOnS3(t *testing.T) {
	url, first := s3(t)
	lakes := []*store.Lake{testlake.On(t, first, t.TempDir())}
	for range 3 {
		l, err := store.Open(ctx, url, &store.Options{IndexDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		lakes = append(lakes, l)
	}
	errs := make(chan error, len(lakes))
	for w, l := range lakes {
		go func() {
			var err error
			for c := range 5 {
				if _, err = l.Append(ctx, testlake.Rows(l, fmt.Sprintf("w%d-%d", w/2, c), 4, uint64(w/2*5+c))); err != nil {
					break
				}
			}
			errs <- err
		}()
	}
	for range lakes {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := ids(t, head(t, lakes[0]), ""); len(got) != 2*5*4 {
		t.Errorf("%d rows, want 40", len(got))
	}
}
