package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"trajlake/internal/testlake"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
)

// objectBuckets are the stores that small objects are tried on.
func objectBuckets(t *testing.T, try func(t *testing.T, b blob.Bucket)) {
	t.Run("memory", func(t *testing.T) { try(t, blob.NewMemory()) })
	t.Run("dir", func(t *testing.T) {
		b, err := blob.OpenDir(t.TempDir(), true)
		if err != nil {
			t.Fatal(err)
		}
		try(t, b)
	})
	t.Run("s3", func(t *testing.T) {
		_, b := s3(t)
		try(t, b)
	})
}

// TestStreams: the first spec of a name stands.
func TestStreams(t *testing.T) {
	objectBuckets(t, func(t *testing.T, b blob.Bucket) {
		l := testlake.On(t, b, t.TempDir())
		if got, err := l.ListStreams(ctx); err != nil || len(got) > 0 {
			t.Fatalf("streams of a new lake: %q %v", got, err)
		}
		if _, err := l.GetStream(ctx, "a"); !fault.Is(err, fault.NotFound) {
			t.Errorf("a stream that is not there: %v", err)
		}
		for _, name := range []string{"a", "a-b", "A.b_c", strings.Repeat("x", 100), "0"} {
			have, created, err := l.PutStream(ctx, name, []byte(`{"name":1}`))
			if err != nil || !created || string(have) != `{"name":1}` {
				t.Errorf("create %s: %s %v %v", name, have, created, err)
			}
			have, created, err = l.PutStream(ctx, name, []byte(`{"name":2}`))
			if err != nil || created || string(have) != `{"name":1}` {
				t.Errorf("create %s again: %s %v %v", name, have, created, err)
			}
			if body, err := l.GetStream(ctx, name); err != nil || string(body) != `{"name":1}` {
				t.Errorf("read %s: %s %v", name, body, err)
			}
		}
		want := []string{"0", "A.b_c", "a", "a-b", strings.Repeat("x", 100)}
		if got, err := l.ListStreams(ctx); err != nil || !slices.Equal(got, want) {
			t.Errorf("streams %q %v, want %q", got, err, want)
		}
		for _, body := range []string{"", "{", "nope"} {
			if _, _, err := l.PutStream(ctx, "new", []byte(body)); !fault.Is(err, fault.Usage) {
				t.Errorf("spec %q: %v", body, err)
			}
		}
	})
}

// TestNamesOfObjects: no name leads out of its folder or to another's.
func TestNamesOfObjects(t *testing.T) {
	l := testlake.Open(t)
	for _, name := range []string{"", ".", "..", ".a", "-", "a/b", "a b", "ä", "a\x00", "../x", strings.Repeat("x", 101)} {
		errs := map[string]error{}
		_, _, errs["put stream"] = l.PutStream(ctx, name, []byte("{}"))
		_, errs["get stream"] = l.GetStream(ctx, name)
		_, _, errs["put claim"] = l.PutClaim(ctx, name, "r", 0, []byte("{}"))
		_, errs["get claim"] = l.GetClaim(ctx, name, "r", 0)
		_, errs["runs"] = l.ListRuns(ctx, name)
		for _, err := range l.ListClaims(ctx, name, "r", 0) {
			errs["list claims"] = err
		}
		if name != "" && name != "-" {
			_, _, errs["run"] = l.PutClaim(ctx, "s", name, 0, []byte("{}"))
		}
		if name != "-" && name != "a/b" {
			_, _, errs["lease"] = l.PutLease(ctx, name, 1, []byte("x"))
			_, _, errs["last lease"] = l.LastLease(ctx, name)
		}
		for what, err := range errs {
			if !fault.Is(err, fault.Usage) {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
	if _, _, err := l.PutLease(ctx, "a/b/c/d/e", 1, []byte("x")); !fault.Is(err, fault.Usage) {
		t.Errorf("a lease of five names: %v", err)
	}
	if _, _, err := l.PutClaim(ctx, "s", "r", 0, make([]byte, 9<<20)); !fault.Is(err, fault.Usage) {
		t.Errorf("a claim of 9 MB: %v", err)
	}
}

// TestClaims: one winner for each first position, chains of runs apart.
func TestClaims(t *testing.T) {
	objectBuckets(t, func(t *testing.T, b blob.Bucket) {
		l := testlake.Raw(t, b, t.TempDir()) // its claims are no chain
		defer l.Close()
		firsts := []uint64{0, 1, 9, 10, 255, 1 << 40, math.MaxUint64}
		runs := []string{"", "r", "r-1", "r0", "R"}
		for _, run := range runs {
			for _, first := range firsts {
				mine := claim(first, 1, run)
				have, won, err := l.PutClaim(ctx, "s", run, first, mine)
				if err != nil || !won || string(have) != string(mine) {
					t.Fatalf("claim %d of run %q: %s %v %v", first, run, have, won, err)
				}
				if have, won, err = l.PutClaim(ctx, "s", run, first, claim(first, 2, "other")); err != nil || won || string(have) != string(mine) {
					t.Errorf("second claim %d of run %q: %s %v %v", first, run, have, won, err)
				}
				if have, won, err = l.PutClaim(ctx, "s", run, first, mine); err != nil || !won || string(have) != string(mine) {
					t.Errorf("own claim %d of run %q sent again: %s %v %v", first, run, have, won, err)
				}
				if got, err := l.GetClaim(ctx, "s", run, first); err != nil || string(got) != string(mine) {
					t.Errorf("read claim %d of run %q: %s %v", first, run, got, err)
				}
			}
			if _, err := l.GetClaim(ctx, "s", run, 2); !fault.Is(err, fault.NotFound) {
				t.Errorf("a claim that is not there: %v", err)
			}
			for _, from := range []uint64{0, 1, 2, 10, 11, math.MaxUint64} {
				i := slices.IndexFunc(firsts, func(f uint64) bool { return f >= from })
				if got := claims(t, l, "s", run, from); !slices.Equal(got, firsts[i:]) {
					t.Errorf("claims of run %q from %d: %v, want %v", run, from, got, firsts[i:])
				}
			}
		}
		want := []string{"", "R", "r", "r-1", "r0"}
		if got, err := l.ListRuns(ctx, "s"); err != nil || !slices.Equal(got, want) {
			t.Errorf("runs %q %v, want %q", got, err, want)
		}
		if got, err := l.ListRuns(ctx, "none"); err != nil || len(got) > 0 {
			t.Errorf("runs of no stream: %q %v", got, err)
		}
		for range l.ListClaims(ctx, "s", "r", 0) {
			break
		}
	})
}

// claim is a claim's body.
func claim(first, count uint64, node string) []byte {
	return fmt.Appendf(nil, `{"first":%d,"count":%d,"node":%q}`, first, count, node)
}

func claims(t *testing.T, l *store.Lake, stream, run string, from uint64) (out []uint64) {
	t.Helper()
	for first, err := range l.ListClaims(ctx, stream, run, from) {
		if err != nil {
			t.Fatalf("list claims: %v", err)
		}
		out = append(out, first)
	}
	return out
}

// TestLeases: the greatest epoch counts, whatever was seen before and whatever
// the names of other leases are.
func TestLeases(t *testing.T) {
	objectBuckets(t, func(t *testing.T, b blob.Bucket) {
		l := testlake.On(t, b, t.TempDir())
		for _, name := range []string{"a", "a/b", "a/b/-/0", "a-b"} {
			if _, _, err := l.LastLease(ctx, name); !fault.Is(err, fault.NotFound) {
				t.Errorf("lease %s that nobody took: %v", name, err)
			}
			last := uint64(0)
			for _, epoch := range []uint64{1, 2, 9, 10, 3} {
				body := fmt.Appendf(nil, "%s %d", name, epoch)
				if _, won, err := l.PutLease(ctx, name, epoch, body); err != nil || !won {
					t.Fatalf("epoch %d of %s: %v %v", epoch, name, won, err)
				}
				if have, won, err := l.PutLease(ctx, name, epoch, []byte("another")); err != nil || won || string(have) != string(body) {
					t.Errorf("epoch %d of %s again: %s %v %v", epoch, name, have, won, err)
				}
				last = max(last, epoch)
				if got, have, err := l.LastLease(ctx, name); err != nil || got != last || string(have) != fmt.Sprintf("%s %d", name, last) {
					t.Errorf("last epoch of %s is %d (%s) %v, want %d", name, got, have, err, last)
				}
			}
		}
	})
}

// TestOneWinner has processes race for the same claims and epochs.
func TestOneWinner(t *testing.T) {
	objectBuckets(t, func(t *testing.T, b blob.Bucket) {
		const racers, rounds = 6, 20
		l := testlake.On(t, b, t.TempDir())
		if _, _, err := l.PutStream(ctx, "s", []byte("{}")); err != nil {
			t.Fatal(err)
		}
		for n := range uint64(rounds) {
			won := make([]bool, racers)
			have := make([]string, racers)
			var wg sync.WaitGroup
			for i := range racers {
				wg.Go(func() {
					mine := claim(n, 1, fmt.Sprint(i))
					got, ok, err := l.PutClaim(ctx, "s", "r", n, mine)
					if err != nil {
						t.Error(err)
					}
					won[i], have[i] = ok, string(got)
					if ok != (string(got) == string(mine)) {
						t.Errorf("racer %d won: %v, and %s stands", i, ok, got)
					}
				})
			}
			wg.Wait()
			winners := 0
			for i := range racers {
				if won[i] {
					winners++
				}
				if have[i] != have[0] {
					t.Errorf("racers see %s and %s", have[0], have[i])
				}
			}
			if winners != 1 {
				t.Errorf("round %d has %d winners", n, winners)
			}
		}
	})
}

// TestClaimsOnAFaultyStore: whatever the store answers, a claim that is answered
// stands, who is told to have won has won, and a claim sent again after an error
// settles what became of the first.
func TestClaimsOnAFaultyStore(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			mem := blob.NewMemory()
			faulty := blob.NewFaulty(mem)
			l := testlake.Raw(t, faulty, t.TempDir())
			defer l.Close()
			var chain []string // what stands, by position
			for n := range uint64(12) {
				for range r.IntN(4) {
					rule := blob.Rule{Do: []blob.Action{blob.FailBefore, blob.LoseAnswer}[r.IntN(2)], Skip: r.IntN(3)}
					rule.Op = []blob.Op{blob.OpPut, blob.OpGet}[r.IntN(2)]
					faulty.Add(rule)
				}
				said := map[int]bool{}
				for i := range 3 {
					mine := claim(n, 1, fmt.Sprint(i))
					have, won, err := l.PutClaim(ctx, "s", "", n, mine)
					if err != nil {
						if !fault.Is(err, fault.Unavailable) {
							t.Fatalf("claim %d: %v", n, err)
						}
						faulty.Clear()
						if have, won, err = l.PutClaim(ctx, "s", "", n, mine); err != nil {
							t.Fatalf("claim %d again: %v", n, err)
						}
					}
					said[i] = won
					if len(chain) == int(n) {
						chain = append(chain, string(have))
					}
					if string(have) != chain[n] || won != (chain[n] == string(mine)) {
						t.Fatalf("claim %d of %d: %s stands, %s was seen, won %v", n, i, have, chain[n], won)
					}
				}
				if said[0] == said[1] && said[1] == said[2] {
					t.Fatalf("claim %d: who won? %v", n, said)
				}
			}
			faulty.Clear()
			for n, want := range chain {
				if got, err := l.GetClaim(ctx, "s", "", uint64(n)); err != nil || string(got) != want {
					t.Errorf("claim %d is %s, want %s (%v)", n, got, want, err)
				}
			}
		})
	}
}

// TestObjectsAndErrorsOfTheStore gives each error its kind.
func TestObjectsAndErrorsOfTheStore(t *testing.T) {
	faulty := blob.NewFaulty(blob.NewMemory())
	l := testlake.Raw(t, faulty, t.TempDir())
	defer l.Close()
	if _, _, err := l.PutStream(ctx, "s", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		kind fault.Kind
	}{{blob.ErrUnavailable, fault.Unavailable}, {blob.ErrDenied, fault.Denied}, {context.DeadlineExceeded, fault.Cancelled}} {
		faulty.Clear()
		faulty.Add(blob.Rule{Op: blob.OpGet, Do: blob.FailBefore, Err: c.err, Count: blob.Always}, blob.Rule{Op: blob.OpList, Do: blob.FailBefore, Err: c.err, Count: blob.Always})
		_, err := l.GetStream(ctx, "s")
		_, errList := l.ListStreams(ctx)
		_, errRuns := l.ListRuns(ctx, "s")
		_, _, errLease := l.LastLease(ctx, "s")
		for what, err := range map[string]error{"get": err, "list": errList, "runs": errRuns, "lease": errLease} {
			if !fault.Is(err, c.kind) {
				t.Errorf("%s on a store that says %v: %v", what, c.err, err)
			}
		}
	}
	faulty.Clear()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := l.PutClaim(gone, "s", "", 0, []byte("{}")); !fault.Is(err, fault.Cancelled) {
		t.Errorf("a caller that gave up: %v", err)
	}
	faulty.Add(blob.Rule{Op: blob.OpPut, Key: "_trajlake/claims/*/*/*", Do: blob.LoseAnswer, Err: fmt.Errorf("%w; %w", blob.ErrUnknown, blob.ErrNotDurable)})
	if _, _, err := l.PutClaim(ctx, "s", "", 0, []byte("{}")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a claim whose flush failed: %v", err)
	}
	if _, _, err := l.PutClaim(ctx, "s", "", 0, []byte("{}")); !fault.Is(err, fault.Unavailable) || !errors.Is(l.Err(), blob.ErrNotDurable) {
		t.Errorf("after a flush that failed a claim was answered: %v", err)
	}
}

// TestObjectsOfAReadOnlyLake can be read.
func TestObjectsOfAReadOnlyLake(t *testing.T) {
	mem := blob.NewMemory()
	l := testlake.On(t, mem, t.TempDir())
	if _, _, err := l.PutStream(ctx, "s", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	ro, err := store.OpenBucket(ctx, mem, "test", &store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if _, err := ro.GetStream(ctx, "s"); err != nil {
		t.Error(err)
	}
	if _, _, err := ro.PutClaim(ctx, "s", "", 0, []byte("{}")); !fault.Is(err, fault.Denied) {
		t.Errorf("a claim in a lake opened for reading: %v", err)
	}
}
