package blob_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"trajlake/store/blob"
)

var once = blob.PutOptions{IfAbsent: true}

// drain returns the keys of a list and the error it ended with.
func drain(seq iter.Seq2[blob.Info, error]) (keys string, err error) {
	for info, e := range seq {
		if e != nil {
			return keys, e
		}
		keys += info.Key + " "
	}
	return keys, nil
}

func fill(t *testing.T, b blob.Bucket, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if err := b.Put(t.Context(), key, []byte("body of "+key), blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFaultyRules(t *testing.T) {
	ctx := t.Context()
	m := blob.NewMemory()
	fill(t, m, "a/1", "a/2", "a/3", "b/1")
	f := blob.NewFaulty(m)
	rule := func(r blob.Rule) { f.Clear(); f.Add(r) }

	rule(blob.Rule{Op: blob.OpGet, Key: "a/*", Skip: 1, Count: 2})
	var got []bool
	for _, key := range []string{"a/1", "b/1", "a/1", "a/2", "a/3"} {
		_, err := f.Get(ctx, key, 0, -1)
		got = append(got, err == nil)
	}
	if want := []bool{true, true, false, false, true}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("gets succeed %v, want %v", got, want)
	}
	if f.Fired() != 2 {
		t.Errorf("Fired = %d, want 2", f.Fired())
	}

	rule(blob.Rule{Op: blob.OpPut})
	err := f.Put(ctx, "p/1", []byte("x"), once)
	if _, statErr := m.Stat(ctx, "p/1"); !errors.Is(err, blob.ErrUnknown) || !errors.Is(statErr, blob.ErrNotExist) {
		t.Errorf("FailBefore put = %v; then stat = %v", err, statErr)
	}
	rule(blob.Rule{Op: blob.OpPut, Do: blob.LoseAnswer})
	err = f.Put(ctx, "p/1", []byte("x"), once)
	if _, statErr := m.Stat(ctx, "p/1"); !errors.Is(err, blob.ErrUnknown) || statErr != nil {
		t.Errorf("LoseAnswer put = %v; then stat = %v", err, statErr)
	}
	own := errors.New("own error")
	rule(blob.Rule{Match: func(c blob.Call) bool { return c.IfAbsent && c.Size == 1 }, Err: own, Count: blob.Always})
	if err := f.Put(ctx, "p/2", []byte("x"), once); !errors.Is(err, own) || errors.Is(err, blob.ErrUnknown) {
		t.Errorf("put with an own error = %v", err)
	}
	rule(blob.Rule{Op: blob.OpDelete, Do: blob.LoseAnswer})
	err = f.Delete(ctx, "p/1")
	if _, statErr := m.Stat(ctx, "p/1"); !errors.Is(err, blob.ErrUnavailable) || !errors.Is(statErr, blob.ErrNotExist) {
		t.Errorf("LoseAnswer delete = %v; then stat = %v", err, statErr)
	}

	rule(blob.Rule{Op: blob.OpGet, Do: blob.CutShort, Keep: 4})
	if body, err := f.Get(ctx, "a/1", 0, -1); string(body) != "body" || err != nil {
		t.Errorf("CutShort get = %q, %v", body, err)
	}
	rule(blob.Rule{Op: blob.OpGet, Do: blob.FlipBit, Keep: 1})
	if body, err := f.Get(ctx, "a/1", 0, -1); string(body) != "`ody of a/1" || err != nil {
		t.Errorf("FlipBit get = %q, %v", body, err)
	}
	if body, err := f.Get(ctx, "a/1", 0, -1); string(body) != "body of a/1" || err != nil {
		t.Errorf("get after damage = %q, %v: the bucket underneath was damaged", body, err)
	}

	for _, c := range []struct {
		rule blob.Rule
		want string
	}{
		{blob.Rule{Op: blob.OpList}, ""},
		{blob.Rule{Op: blob.OpList, Do: blob.CutShort, Keep: 2}, "a/1 a/2 "},
		{blob.Rule{Op: blob.OpList, Do: blob.LoseAnswer}, "a/1 a/2 a/3 b/1 "},
	} {
		rule(c.rule)
		if keys, err := drain(f.List(ctx, "", "")); keys != c.want || !errors.Is(err, blob.ErrUnavailable) {
			t.Errorf("list under %+v = %q, %v", c.rule, keys, err)
		}
		if keys, err := drain(f.List(ctx, "", "")); keys != "a/1 a/2 a/3 b/1 " || err != nil {
			t.Errorf("list after %+v = %q, %v", c.rule, keys, err)
		}
	}
}

func TestFaultyWaitsAndHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := blob.NewMemory()
		start := time.Now()
		if err := blob.NewLatency(m, 3*time.Second).Put(t.Context(), "a", nil, once); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("put with latency took %v", d)
		}
		hang := blob.NewFaulty(m, blob.Rule{Do: blob.Hang})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := hang.Put(ctx, "b", nil, once); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 63*time.Second {
			t.Errorf("hanging put = %v after %v", err, time.Since(start))
		}
		if _, err := m.Stat(t.Context(), "b"); !errors.Is(err, blob.ErrNotExist) {
			t.Errorf("a hanging put took effect: %v", err)
		}
	})
}

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		m := blob.NewMemory()
		fill(t, m, "a/1", "a/2", "a/3")
		f := blob.NewFaulty(m)
		r := blob.NewRetry(f, blob.RetryOptions{Attempts: 4})
		ops := map[blob.Op]func() error{
			blob.OpGet:    func() error { _, err := r.Get(ctx, "a/1", 0, -1); return err },
			blob.OpStat:   func() error { _, err := r.Stat(ctx, "a/1"); return err },
			blob.OpPut:    func() error { return r.Put(ctx, "a/1", []byte("x"), blob.PutOptions{}) },
			blob.OpDelete: func() error { return r.Delete(ctx, "gone") },
			blob.OpList:   func() error { _, err := drain(r.List(ctx, "", "")); return err },
		}
		for op, call := range ops {
			for _, c := range []struct {
				failures int
				err      error
				wantErr  bool
				calls    int
			}{
				{0, nil, false, 0},
				{3, nil, false, 3},
				{4, nil, true, 4},
				{1, errors.New("final"), true, 1},
				{1, blob.ErrDenied, true, 1},
			} {
				f.Clear()
				if c.failures > 0 {
					f.Add(blob.Rule{Op: op, Count: c.failures, Err: c.err})
				}
				before := f.Fired()
				if err := call(); (err != nil) != c.wantErr || f.Fired()-before != c.calls {
					t.Errorf("%s with %+v = %v after %d failures", op, c, err, f.Fired()-before)
				}
			}
		}

		f.Clear()
		f.Add(blob.Rule{Op: blob.OpPut, Count: blob.Always})
		before := f.Fired()
		if err := r.Put(ctx, "b", nil, once); !errors.Is(err, blob.ErrUnknown) || f.Fired() != before+1 {
			t.Errorf("conditional put = %v after %d attempts, want 1", err, f.Fired()-before)
		}

		// A list goes on where it broke off and repeats nothing.
		f.Clear()
		f.Add(blob.Rule{Op: blob.OpList, Do: blob.CutShort, Keep: 1, Count: blob.Always})
		if keys, err := drain(r.List(ctx, "", "")); keys != "a/1 a/2 a/3 " || !errors.Is(err, blob.ErrUnavailable) {
			t.Errorf("list = %q, %v", keys, err)
		}
		f.Clear()
		f.Add(blob.Rule{Op: blob.OpList, Do: blob.CutShort, Keep: 1, Count: 3})
		if keys, err := drain(r.List(ctx, "", "")); keys != "a/1 a/2 a/3 " || err != nil {
			t.Errorf("list = %q, %v", keys, err)
		}

		// The end of the context ends the pauses.
		f.Clear()
		f.Add(blob.Rule{Count: blob.Always})
		short, cancel := context.WithCancel(ctx)
		cancel()
		before = f.Fired()
		if _, err := r.Get(short, "a/1", 0, -1); err == nil || f.Fired() != before+1 {
			t.Errorf("get with an ended context = %v after %d attempts", err, f.Fired()-before)
		}
	})
}

func TestTraceText(t *testing.T) {
	ctx := t.Context()
	f := blob.NewFaulty(blob.NewMemory())
	tr := blob.NewTrace(f)
	tr.Put(ctx, "t/a", []byte("0123456789"), once)
	tr.Put(ctx, "t/a", []byte("x"), once)
	tr.Put(ctx, "t/b", []byte("x"), blob.PutOptions{})
	tr.Get(ctx, "t/a", 0, -1)
	tr.Get(ctx, "t/a", 4, -1)
	tr.Get(ctx, "t/a", 4, 2)
	tr.Get(ctx, "t/a", 4, 20)
	tr.Stat(ctx, "t/none")
	drain(tr.List(ctx, "t/", "t/a"))
	drain(tr.List(ctx, "", ""))
	tr.Delete(ctx, "t/a")
	f.Add(blob.Rule{Op: blob.OpPut})
	tr.Put(ctx, "t/c", nil, once)
	tr.Put(ctx, "../c", nil, once)
	want := `put-if-absent t/a
put-if-absent t/a: exists
put t/b
get t/a
get t/a [4,end)
get t/a [4,+2)
get t/a [4,+20): out of range
stat t/none: absent
list t/ after t/a: 1 objects
list (all): 2 objects
delete t/a
put-if-absent t/c: unknown
put-if-absent ../c: invalid key
`
	if got := tr.Text(); got != want {
		t.Errorf("trace:\n%s\nwant:\n%s", got, want)
	}
	if e := tr.Events()[0]; e.Size != 10 || e.Err != nil {
		t.Errorf("first event = %+v", e)
	}
	if tr.Reset(); tr.Text() != "" {
		t.Errorf("trace after Reset:\n%s", tr.Text())
	}
}

func TestPutUniqueSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := []byte("txn 1")
		for _, c := range []struct {
			name  string
			rules []blob.Rule
			other bool // another writer is there first
			want  error
		}{
			{"answer lost", []blob.Rule{{Op: blob.OpPut, Do: blob.LoseAnswer}}, false, nil},
			{"request lost", []blob.Rule{{Op: blob.OpPut}}, false, nil},
			{"request lost twice, then the answer", []blob.Rule{{Op: blob.OpPut, Count: 2}, {Op: blob.OpPut, Do: blob.LoseAnswer}}, false, nil},
			{"other is first", nil, true, blob.ErrExists},
			{"request lost and other is first", []blob.Rule{{Op: blob.OpPut}}, true, blob.ErrExists},
			{"first read back fails", []blob.Rule{{Op: blob.OpPut, Do: blob.LoseAnswer}, {Op: blob.OpGet}}, false, nil},
			{"store is gone", []blob.Rule{{Count: blob.Always}}, false, blob.ErrUnknown},
			{"not durable", []blob.Rule{{Op: blob.OpPut, Do: blob.LoseAnswer, Err: fmt.Errorf("%w; %w", blob.ErrUnknown, blob.ErrNotDurable)}}, false, blob.ErrNotDurable},
			{"denied", []blob.Rule{{Op: blob.OpPut, Err: blob.ErrDenied}}, false, blob.ErrDenied},
		} {
			m := blob.NewMemory()
			if c.other {
				fill(t, m, "v/1")
			}
			f := blob.NewFaulty(m, c.rules...)
			err := blob.PutUnique(t.Context(), f, "v/1", body)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
			if len(c.rules) > 0 && f.Fired() == 0 {
				t.Errorf("%s: no fault took place", c.name)
			}
			if got, getErr := m.Get(t.Context(), "v/1", 0, -1); err == nil && string(got) != string(body) {
				t.Errorf("%s: succeeded, but the object is %q, %v", c.name, got, getErr)
			}
		}
	})
}

// brokenStore breaks one promise of a memory bucket.
type brokenStore struct {
	blob.Bucket
	put func(ctx context.Context, key string, body []byte, opt blob.PutOptions) error
}

func (b brokenStore) Put(ctx context.Context, key string, body []byte, opt blob.PutOptions) error {
	return b.put(ctx, key, body, opt)
}

func TestProbe(t *testing.T) {
	ctx := t.Context()
	m := blob.NewMemory()
	var mu sync.Mutex
	puts := 0
	for name, put := range map[string]func(context.Context, string, []byte, blob.PutOptions) error{
		"ignores the condition": func(ctx context.Context, key string, body []byte, opt blob.PutOptions) error {
			return m.Put(ctx, key, body, blob.PutOptions{})
		},
		"refuses but overwrites": func(ctx context.Context, key string, body []byte, opt blob.PutOptions) error {
			mu.Lock()
			defer mu.Unlock()
			err := m.Put(ctx, key, body, opt)
			if errors.Is(err, blob.ErrExists) {
				return errors.Join(err, m.Put(ctx, key, body, blob.PutOptions{}))
			}
			return err
		},
		"ignores the condition once it is quiet": func(ctx context.Context, key string, body []byte, opt blob.PutOptions) error {
			mu.Lock()
			defer mu.Unlock()
			if puts++; puts > 4 {
				return m.Put(ctx, key, body, blob.PutOptions{})
			}
			return m.Put(ctx, key, body, opt)
		},
		"stores other bytes": func(ctx context.Context, key string, body []byte, opt blob.PutOptions) error {
			return m.Put(ctx, key, []byte("garbage"), opt)
		},
	} {
		if err := blob.Probe(ctx, brokenStore{m, put}, 1, 4); !errors.Is(err, blob.ErrNotAtomic) {
			t.Errorf("probe of a store that %s = %v", name, err)
		}
	}
	// Lost answers are no breach, and silence is not atomicity.
	if err := blob.Probe(ctx, blob.NewFaulty(m, blob.Rule{Op: blob.OpPut, Do: blob.LoseAnswer, Count: 3}), 1, 4); err != nil {
		t.Errorf("probe with lost answers = %v", err)
	}
	if err := blob.Probe(ctx, blob.NewFaulty(m, blob.Rule{Op: blob.OpPut, Count: blob.Always}), 1, 4); !errors.Is(err, blob.ErrUnavailable) || errors.Is(err, blob.ErrNotAtomic) {
		t.Errorf("probe of a silent store = %v", err)
	}
	if err := blob.Probe(ctx, blob.NewFaulty(m, blob.Rule{Op: blob.OpPut, Err: blob.ErrDenied}), 1, 4); !errors.Is(err, blob.ErrDenied) {
		t.Errorf("probe of a store that denies = %v", err)
	}
	if keys, err := drain(m.List(ctx, "", "")); keys != "" || err != nil {
		t.Errorf("probes left %q, %v", keys, err)
	}
}

func TestRangeReaderDistrustsLengths(t *testing.T) {
	m := blob.NewMemory()
	fill(t, m, "a")
	f := blob.NewFaulty(m, blob.Rule{Op: blob.OpGet, Do: blob.CutShort, Keep: 3})
	r, err := blob.OpenReader(t.Context(), f, "a", -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := []byte("~~~~~~")
	if n, err := r.ReadAt(p, 0); n != 3 || err == nil || !strings.HasPrefix(string(p), "bod~") {
		t.Errorf("ReadAt from a store that cuts short = %d, %v, %q", n, err, p)
	}
}
