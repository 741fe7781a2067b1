package blobtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"trajlake/store/blob"
)

func testListOrder(t *testing.T, b blob.Bucket) {
	ctx := t.Context()
	// The slash sorts between '.' and '0', which a walk of directories has to
	// take care of.
	all := []string{
		"a-/x", "a-b", "a.b", "a/-", "a/B/c", "a/b-c", "a/b.c", "a/b/c/d", "a/b/d", "a/b0", "a/bb/c", "a/c",
		"a0", "a=1/p", "a_", "aa", "b/a", "t/_delta_log/00000000000000000009.json", "t/_delta_log/00000000000000000010.json",
	}
	if !slices.IsSorted(all) {
		t.Fatal("the test's own keys are not sorted")
	}
	for i := range all {
		put(t, b, all[(i*7)%len(all)], []byte("x")) // 7 and 19 share no factor
	}
	want := func(prefix, after string) (keys []string) {
		for _, k := range all {
			if strings.HasPrefix(k, prefix) && k > after {
				keys = append(keys, k)
			}
		}
		return keys
	}
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b/", "a/b/c/d", "a-", "a.", "b/", "t/_delta_log/0000", "zz", "a/b/c/d/e"} {
		afters := append([]string{"", "a", "a/", "a/b", "a/b/", "a/b/c", "a/b/c/d", "a/b/zzz", "a/b/c/d0", "a-b", "a.", "t/_delta_log/00000000000000000009.", "zzz"}, all...)
		for _, after := range afters {
			if got := keys(t, b.List(ctx, prefix, after)); !slices.Equal(got, want(prefix, after)) {
				t.Errorf("List(%q, %q)\n got %q\nwant %q", prefix, after, got, want(prefix, after))
			}
		}
	}
}

func testListMany(t *testing.T, b blob.Bucket) {
	// More than a page of the S3 protocol, which is 1000 keys.
	const n = 1203
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("log/%04d/%d.json", i/400, i+10000))
	}
	next := make(chan string)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for key := range next {
				if err := b.Put(t.Context(), key, []byte(key), blob.PutOptions{}); err != nil {
					t.Errorf("put: %v", err)
				}
			}
		})
	}
	for _, key := range all {
		next <- key
	}
	close(next)
	wg.Wait()
	for _, from := range []int{0, 1, 399, 400, 1000, n - 1} {
		got := keys(t, b.List(t.Context(), "log/", all[from]))
		if !slices.Equal(got, all[from+1:]) {
			t.Errorf("List after key %d has %d keys, want %d in order", from, len(got), n-from-1)
		}
	}
	if got := keys(t, b.List(t.Context(), "", "")); !slices.Equal(got, all) {
		t.Errorf("List has %d keys, want %d in order", len(got), n)
	}
}

func testListStops(t *testing.T, b blob.Bucket) {
	for _, key := range []string{"a/1", "a/2", "b", "c"} {
		put(t, b, key, []byte("x"))
	}
	seq := b.List(t.Context(), "", "")
	for range 2 { // a sequence can be walked again
		var got []string
		for info, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, info.Key); len(got) == 2 {
				break
			}
		}
		if !slices.Equal(got, []string{"a/1", "a/2"}) {
			t.Errorf("first two keys = %q", got)
		}
	}
}

func testOpenReader(t *testing.T, b blob.Bucket) {
	ctx := t.Context()
	body := random(3, 100_000)
	put(t, b, "r/a", body)
	for _, size := range []int64{-1, int64(len(body))} {
		r, err := blob.OpenReader(ctx, b, "r/a", size)
		if err != nil {
			t.Fatal(err)
		}
		if r.Size() != int64(len(body)) {
			t.Errorf("Size = %d", r.Size())
		}
		var wg sync.WaitGroup
		for _, off := range []int{0, 1, 4096, 99_999} {
			wg.Go(func() {
				p := make([]byte, min(5000, len(body)-off))
				if n, err := r.ReadAt(p, int64(off)); n != len(p) || err != nil && err != io.EOF || !bytes.Equal(p, body[off:off+n]) {
					t.Errorf("ReadAt(%d, %d) = %d, %v", len(p), off, n, err)
				}
			})
		}
		wg.Wait()
		p := make([]byte, 10)
		if n, err := r.ReadAt(p, 99_995); n != 5 || err != io.EOF || !bytes.Equal(p[:5], body[99_995:]) {
			t.Errorf("ReadAt over the end = %d, %v", n, err)
		}
		if n, err := r.ReadAt(p, 100_000); n != 0 || err != io.EOF {
			t.Errorf("ReadAt at the end = %d, %v", n, err)
		}
		if _, err := r.ReadAt(p, -1); err == nil {
			t.Error("ReadAt at -1 succeeds")
		}
		whole, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err != nil || !bytes.Equal(whole, body) {
			t.Errorf("whole object reads as %d bytes, %v", len(whole), err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if _, err := blob.OpenReader(ctx, b, "r/none", -1); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("OpenReader of an absent key = %v", err)
	}
	r, err := blob.OpenReader(ctx, b, "r/a", 100_001)
	if err == nil {
		// Buckets that do not look at opening find out at the read.
		_, err = r.ReadAt(make([]byte, 2), 99_999)
		r.Close()
	}
	if !errors.Is(err, blob.ErrRange) {
		t.Errorf("reading a shorter object than expected = %v", err)
	}
}
