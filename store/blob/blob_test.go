package blob_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"trajlake/store/blob"
	"trajlake/store/blob/blobtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMemory(*testing.T) blob.Bucket { return blob.NewMemory() }

func newDir(t *testing.T) blob.Bucket {
	d, err := blob.OpenDir(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

func TestConformance(t *testing.T) {
	bases := map[string]func(*testing.T) blob.Bucket{"memory": newMemory, "dir": newDir}
	wrappers := map[string]func(blob.Bucket) blob.Bucket{
		"plain":   func(b blob.Bucket) blob.Bucket { return b },
		"faulty":  func(b blob.Bucket) blob.Bucket { return blob.NewFaulty(b) },
		"latency": func(b blob.Bucket) blob.Bucket { return blob.NewLatency(b, time.Microsecond) },
		"trace":   func(b blob.Bucket) blob.Bucket { return blob.NewTrace(b) },
		"retry":   func(b blob.Bucket) blob.Bucket { return blob.NewRetry(b, blob.RetryOptions{}) },
	}
	for base, open := range bases {
		for name, wrap := range wrappers {
			t.Run(base+"/"+name, func(t *testing.T) {
				if testing.Short() && base == "dir" && name != "plain" {
					t.Skip("SKIPPED with -short: decorators over a directory")
				}
				blobtest.Run(t, func(t *testing.T) blob.Bucket { return wrap(open(t)) })
			})
		}
	}
}
