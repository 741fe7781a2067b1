// Package blobtest is the conformance suite of blob.Bucket. Every
// implementation and every decorator has to pass it.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"trajlake/store/blob"
)

// Run tests the buckets that open returns. Each call of open must give an
// empty bucket of its own and see to its removal through t.Cleanup. Only the
// methods of blob.Bucket are used.
func Run(t *testing.T, open func(t *testing.T) blob.Bucket) {
	for _, c := range []struct {
		name string
		test func(*testing.T, blob.Bucket)
	}{
		{"Absent", testAbsent},
		{"Ranges", testRanges},
		{"Overwrite", testOverwrite},
		{"BodyIsCopied", testBodyIsCopied},
		{"IfAbsent", testIfAbsent},
		{"Stat", testStat},
		{"ListOrder", testListOrder},
		{"ListMany", testListMany},
		{"ListStops", testListStops},
		{"Delete", testDelete},
		{"InvalidKeys", testInvalidKeys},
		{"OddKeys", testOddKeys},
		{"Cancelled", testCancelled},
		{"OpenReader", testOpenReader},
		{"Race", testRace},
		{"RaceBig", testRaceBig},
		{"BigBody", testBigBody},
		{"ReadersAndWriters", testReadersAndWriters},
		{"PutUnique", testPutUnique},
		{"Probe", testProbe},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// put stores body or ends the test.
func put(t *testing.T, b blob.Bucket, key string, body []byte) {
	t.Helper()
	if err := b.Put(t.Context(), key, body, blob.PutOptions{}); err != nil {
		t.Fatalf("put: %v", err)
	}
}

// wantBody checks that key holds body.
func wantBody(t *testing.T, b blob.Bucket, key string, body []byte) {
	t.Helper()
	got, err := b.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	if !bytes.Equal(got, body) {
		t.Fatalf("%s holds %d bytes %.40q, want %d bytes %.40q", key, len(got), got, len(body), body)
	}
}

// wantError checks that err wraps want and names key.
func wantError(t *testing.T, what string, err, want error, key string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	} else if !strings.Contains(err.Error(), key) {
		t.Errorf("%s = %q, which does not name %q", what, err, key)
	}
}

// keys drains a list.
func keys(t *testing.T, seq iter.Seq2[blob.Info, error]) []string {
	t.Helper()
	var got []string
	for info, err := range seq {
		if err != nil {
			t.Fatalf("list after %d keys: %v", len(got), err)
		}
		got = append(got, info.Key)
	}
	return got
}

// random returns n bytes that depend only on seed and n.
func random(seed uint64, n int) []byte {
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(n)})
	body := make([]byte, n)
	rng.Read(body) // cannot fail
	return body
}

func testAbsent(t *testing.T, b blob.Bucket) {
	ctx := t.Context()
	for _, key := range []string{"nothing", "a/b/c"} {
		_, err := b.Get(ctx, key, 0, -1)
		wantError(t, "Get of an absent key", err, blob.ErrNotExist, key)
		_, err = b.Get(ctx, key, 3, 4)
		wantError(t, "ranged Get of an absent key", err, blob.ErrNotExist, key)
		_, err = b.Get(ctx, key, 0, 0)
		wantError(t, "empty Get of an absent key", err, blob.ErrNotExist, key)
		_, err = b.Stat(ctx, key)
		wantError(t, "Stat of an absent key", err, blob.ErrNotExist, key)
	}
	if got := keys(t, b.List(ctx, "", "")); len(got) > 0 {
		t.Errorf("new bucket lists %q", got)
	}
	put(t, b, "a/b/c", []byte("x"))
	// What leads to an object is not an object.
	_, err := b.Get(ctx, "a/b", 0, -1)
	wantError(t, "Get of a directory", err, blob.ErrNotExist, "a/b")
	_, err = b.Stat(ctx, "a/b")
	wantError(t, "Stat of a directory", err, blob.ErrNotExist, "a/b")
	_, err = b.Stat(ctx, "a/b/c/d")
	wantError(t, "Stat below an object", err, blob.ErrNotExist, "a/b/c/d")
	if err := b.Delete(ctx, "a/b"); err != nil {
		t.Errorf("Delete of a directory = %v, want nil", err)
	}
	wantBody(t, b, "a/b/c", []byte("x"))
}

func testRanges(t *testing.T, b blob.Bucket) {
	ctx := t.Context()
	body := []byte("0123456789")
	put(t, b, "d/ten", body)
	put(t, b, "d/empty", nil)
	for _, c := range []struct {
		key    string
		off, n int64
		want   string
		err    error
	}{
		{"d/ten", 0, -1, "0123456789", nil},
		{"d/ten", 0, 10, "0123456789", nil},
		{"d/ten", 0, 1, "0", nil},
		{"d/ten", 0, 4, "0123", nil},
		{"d/ten", 9, 1, "9", nil},
		{"d/ten", 3, -1, "3456789", nil},
		{"d/ten", 3, 4, "3456", nil},
		{"d/ten", 0, 0, "", nil},
		{"d/ten", 5, 0, "", nil},
		{"d/ten", 10, 0, "", nil},
		{"d/ten", 10, -1, "", nil},
		{"d/ten", 0, 11, "", blob.ErrRange},
		{"d/ten", 9, 2, "", blob.ErrRange},
		{"d/ten", 10, 1, "", blob.ErrRange},
		{"d/ten", 11, 0, "", blob.ErrRange},
		{"d/ten", 11, -1, "", blob.ErrRange},
		{"d/ten", -1, -1, "", blob.ErrRange},
		{"d/ten", 1, 1<<63 - 1, "", blob.ErrRange},
		{"d/empty", 0, -1, "", nil},
		{"d/empty", 0, 0, "", nil},
		{"d/empty", 0, 1, "", blob.ErrRange},
		{"d/empty", 1, -1, "", blob.ErrRange},
	} {
		got, err := b.Get(ctx, c.key, c.off, c.n)
		if !errors.Is(err, c.err) || string(got) != c.want {
			t.Errorf("Get(%s, %d, %d) = %q, %v; want %q, %v", c.key, c.off, c.n, got, err, c.want, c.err)
		}
	}
}

func testOverwrite(t *testing.T, b blob.Bucket) {
	key := "day=2026-11-22/part-1.parquet"
	for _, body := range []string{"first", "2", "", "a longer body than all before"} {
		put(t, b, key, []byte(body))
		wantBody(t, b, key, []byte(body))
	}
	if got := keys(t, b.List(t.Context(), "", "")); !slices.Equal(got, []string{key}) {
		t.Errorf("list after overwriting = %q", got)
	}
}

func testBodyIsCopied(t *testing.T, b blob.Bucket) {
	body := []byte("as it was")
	put(t, b, "k", body)
	copy(body, "##")
	got, err := b.Get(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	copy(got, "**")
	wantBody(t, b, "k", []byte("as it was"))
}

func testIfAbsent(t *testing.T, b blob.Bucket) {
	ctx := t.Context()
	once := blob.PutOptions{IfAbsent: true}
	for _, key := range []string{"top", "_delta_log/00000000000000000000.json", "x/y/z"} {
		if err := b.Put(ctx, key, []byte("one"), once); err != nil {
			t.Fatalf("first put: %v", err)
		}
		wantError(t, "second Put", settled(ctx, b, key, []byte("two")), blob.ErrExists, key)
		wantError(t, "same Put again", settled(ctx, b, key, []byte("one")), blob.ErrExists, key)
		wantBody(t, b, key, []byte("one"))
		if err := b.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
		if err := b.Put(ctx, key, []byte("three"), once); err != nil {
			t.Fatalf("put after delete: %v", err)
		}
		wantBody(t, b, key, []byte("three"))
	}
	put(t, b, "plain", []byte("p"))
	wantError(t, "Put over a plain one", settled(ctx, b, "plain", nil), blob.ErrExists, "plain")
	wantBody(t, b, "plain", []byte("p"))
}

// settled puts body over an object that is there, if absent. A store may cut the
// connection instead of answering a put that it refuses; the outcome is then
// unknown, and the put is made again, which changes nothing.
func settled(ctx context.Context, b blob.Bucket, key string, body []byte) error {
	for n := 1; ; n++ {
		err := b.Put(ctx, key, body, blob.PutOptions{IfAbsent: true})
		if !errors.Is(err, blob.ErrUnknown) || n == 5 {
			return err
		}
	}
}

func testStat(t *testing.T, b blob.Bucket) {
	ctx := t.Context()
	put(t, b, "s/a", random(1, 1000))
	info, err := b.Stat(ctx, "s/a")
	if err != nil {
		t.Fatal(err)
	}
	if info.Key != "s/a" || info.Size != 1000 || info.ModTime.IsZero() || info.ETag == "" {
		t.Errorf("Stat = %+v", info)
	}
	again, err := b.Stat(ctx, "s/a")
	if err != nil || again.ETag != info.ETag || !again.ModTime.Equal(info.ModTime) {
		t.Errorf("Stat of an untouched object changed: %+v, then %+v, %v", info, again, err)
	}
	for listed, err := range b.List(ctx, "s/", "") {
		if err != nil || listed.Key != info.Key || listed.Size != info.Size || listed.ETag != info.ETag {
			t.Errorf("List = %+v, %v; Stat = %+v", listed, err, info)
		}
	}
	put(t, b, "s/a", random(2, 1001))
	changed, err := b.Stat(ctx, "s/a")
	if err != nil || changed.ETag == info.ETag || changed.Size != 1001 {
		t.Errorf("Stat after overwriting = %+v, %v; before %+v", changed, err, info)
	}
}

func testDelete(t *testing.T, b blob.Bucket) {
	ctx := t.Context()
	put(t, b, "d/a", []byte("x"))
	put(t, b, "d/ab", []byte("y"))
	for range 3 {
		if err := b.Delete(ctx, "d/a"); err != nil {
			t.Errorf("Delete = %v", err)
		}
	}
	if err := b.Delete(ctx, "never/was/there"); err != nil {
		t.Errorf("Delete of an absent key = %v", err)
	}
	_, err := b.Get(ctx, "d/a", 0, -1)
	wantError(t, "Get after Delete", err, blob.ErrNotExist, "d/a")
	wantBody(t, b, "d/ab", []byte("y"))
	if got := keys(t, b.List(ctx, "d/", "")); !slices.Equal(got, []string{"d/ab"}) {
		t.Errorf("list after delete = %q", got)
	}
	if err := b.Delete(ctx, "d/ab"); err != nil {
		t.Fatal(err)
	}
	put(t, b, "d/a", []byte("z"))
	wantBody(t, b, "d/a", []byte("z"))
}

func testInvalidKeys(t *testing.T, b blob.Bucket) {
	ctx := t.Context()
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", ".hidden", "a/.tmp", ".tmp/x",
		"a b", "a\\b", "a\x00b", "a\nb", "a%2Fb", "a+b", "a:b", "a?b", "a#b", "a*b", "~", "é", "a\xff",
		strings.Repeat("a", 256), strings.Repeat("a/", 512) + "a",
	} {
		shown := fmt.Sprintf("%.20q", key)
		check := func(op string, err error) {
			t.Helper()
			if !errors.Is(err, blob.ErrInvalidKey) {
				t.Errorf("%s(%s) = %v, want %v", op, shown, err, blob.ErrInvalidKey)
			}
		}
		_, err := b.Get(ctx, key, 0, -1)
		check("Get", err)
		_, err = b.Stat(ctx, key)
		check("Stat", err)
		check("Put", b.Put(ctx, key, []byte("x"), blob.PutOptions{}))
		check("Put if absent", b.Put(ctx, key, []byte("x"), blob.PutOptions{IfAbsent: true}))
		check("Delete", b.Delete(ctx, key))
	}
	for _, prefix := range []string{"/", "a//", "..", "../", "a/.", "a b", "%"} {
		n := 0
		for _, err := range b.List(ctx, prefix, "") {
			if n++; !errors.Is(err, blob.ErrInvalidKey) {
				t.Errorf("List(%q) = %v, want %v", prefix, err, blob.ErrInvalidKey)
			}
		}
		if n != 1 {
			t.Errorf("List(%q) yielded %d times, want one error", prefix, n)
		}
	}
	if got := keys(t, b.List(ctx, "", "")); len(got) > 0 {
		t.Errorf("bucket lists %q after nothing but invalid keys", got)
	}
}

func testOddKeys(t *testing.T, b blob.Bucket) {
	for i, key := range []string{
		"a..b", "a.", "-", "_", "=", "---", "a=b=c/d-e_f.g", "con", "a/-rf", "A/a", "0",
		strings.Repeat("k", 255), strings.Repeat("long/", 100) + "end",
	} {
		body := fmt.Appendf(nil, "body %d", i)
		put(t, b, key, body)
		wantBody(t, b, key, body)
		if got := keys(t, b.List(t.Context(), key, "")); !slices.Contains(got, key) {
			t.Errorf("List(%.20q...) = %q", key, got)
		}
		// One at a time: "a." may not be told from "a" on some systems.
		if err := b.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%.20q...) = %v", key, err)
		}
	}
}

func testCancelled(t *testing.T, b blob.Bucket) {
	put(t, b, "c/a", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check := func(op string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context = %v", op, err)
		}
	}
	_, err := b.Get(ctx, "c/a", 0, -1)
	check("Get", err)
	_, err = b.Stat(ctx, "c/a")
	check("Stat", err)
	check("Put", b.Put(ctx, "c/b", []byte("y"), blob.PutOptions{}))
	check("Put if absent", b.Put(ctx, "c/c", []byte("y"), blob.PutOptions{IfAbsent: true}))
	check("Delete", b.Delete(ctx, "c/a"))
	var last error
	for _, err := range b.List(ctx, "", "") {
		last = err
	}
	check("List", last)
	if got := keys(t, b.List(t.Context(), "", "")); !slices.Equal(got, []string{"c/a"}) {
		t.Errorf("cancelled calls left %q", got)
	}
}
