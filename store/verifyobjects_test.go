package store_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"trajlake/internal/testlake"
	"trajlake/store"
	"trajlake/store/blob"
)

// link is a claim as a replay node writes it.
func link(first, count uint64, previous, snapshot string) string {
	return fmt.Sprintf(`{"stream":"s","run":"r","spec_hash":"h","snapshot":%q,"first":%d,"count":%d,"previous":%q}`, snapshot, first, count, previous)
}

// TestVerifyChains: verify finds what is wrong with a chain or a spec, names the
// object, and finds nothing else.
func TestVerifyChains(t *testing.T) {
	name := func(n uint64) string { return fmt.Sprintf("%020d", n) }
	stream, claims := "_trajlake/streams/s/spec.json", "_trajlake/claims/s/r/"
	for _, c := range []struct {
		what   string
		damage map[string]string // of what stands there instead; "" = nothing
		want   []string          // the objects that are named
	}{
		{"nothing", nil, nil},
		{"a spec that is not JSON", map[string]string{stream: "{"}, []string{stream}},
		{"a spec of another stream", map[string]string{stream: `{"stream":"t","spec_hash":"h"}`}, []string{stream}},
		{"a spec of another hash", map[string]string{stream: `{"stream":"s","spec_hash":"h","spec":{}}`}, []string{stream}},
		{"no spec", map[string]string{stream: ""}, []string{stream}},
		{"no first claim", map[string]string{claims + name(0) + ".json": ""}, []string{claims + name(3) + ".json"}},
		{"no second claim", map[string]string{claims + name(3) + ".json": ""}, []string{claims + name(300) + ".json"}},
		{"no last claim", map[string]string{claims + name(301) + ".json": ""}, nil}, // it was never made
		{"a claim that goes too far", map[string]string{claims + name(0) + ".json": link(0, 4, "", "")}, []string{claims + name(3) + ".json"}},
		{"a claim that does not go far enough", map[string]string{claims + name(0) + ".json": link(0, 2, "", "")}, []string{claims + name(3) + ".json"}},
		{"a claim of no positions", map[string]string{claims + name(301) + ".json": link(301, 0, name(300), "")}, []string{claims + name(301) + ".json"}},
		{"a claim without end", map[string]string{claims + name(301) + ".json": link(301, 1<<63-1, name(300), "")}, nil},
		{"a claim of another place", map[string]string{claims + name(301) + ".json": link(300, 1, name(300), "")}, []string{claims + name(301) + ".json"}},
		{"a claim that is not JSON", map[string]string{claims + name(3) + ".json": "x"}, []string{claims + name(3) + ".json"}},
		{"another predecessor", map[string]string{claims + name(301) + ".json": link(301, 1, name(3), "")}, []string{claims + name(301) + ".json"}},
		{"another run", map[string]string{claims + name(301) + ".json": strings.Replace(link(301, 1, name(300), ""), `"r"`, `"q"`, 1)}, []string{claims + name(301) + ".json"}},
		{"another spec", map[string]string{claims + name(301) + ".json": strings.Replace(link(301, 1, name(300), ""), `"h"`, `"i"`, 1)}, []string{claims + name(301) + ".json"}},
		{"a snapshot of no lake", map[string]string{claims + name(301) + ".json": link(301, 1, name(300), "s1.AAAA")}, []string{claims + name(301) + ".json"}},
		{"a snapshot to come", map[string]string{claims + name(301) + ".json": link(301, 1, name(300), "later")}, []string{claims + name(301) + ".json"}},
		{"a chain of a folder that is no stream", map[string]string{"_trajlake/claims/-/r/" + name(0) + ".json": "{}"}, []string{"_trajlake/claims/-"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			mem := blob.NewMemory()
			l := testlake.Raw(t, mem, t.TempDir())
			defer l.Close()
			mustAppend(t, l, testlake.Rows(l, "a", 2, 1))
			put := func(key, body string) {
				t.Helper()
				if err := mem.Put(ctx, key, []byte(body), blob.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			token := head(t, l).Token()
			put(stream, `{"stream":"s","spec_hash":"h"}`)
			put(claims+name(0)+".json", link(0, 3, "", token))
			put(claims+name(3)+".json", link(3, 297, name(0), token))
			put(claims+name(300)+".json", link(300, 1, name(3), token))
			put(claims+name(301)+".json", link(301, 1, name(300)+".json", ""))
			put("_trajlake/claims/s/-/"+name(0)+".json", `{"first":0,"count":5}`)
			for key, body := range c.damage {
				if strings.Contains(body, "later") { // of a copy of the lake that went on
					other := testlake.Raw(t, copyBucket(t, mem), t.TempDir())
					mustAppend(t, other, testlake.Rows(other, "b", 2, 9))
					body = strings.Replace(body, "later", head(t, other).Token(), 1)
					if err := other.Close(); err != nil {
						t.Fatal(err)
					}
				}
				if err := mem.Delete(ctx, key); err != nil {
					t.Fatal(err)
				}
				if body != "" {
					put(key, body)
				}
			}
			r, err := l.Verify(ctx, store.VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range r.Problems {
				got = append(got, p.Object)
				if p.Kind != store.ProblemClaim && p.Kind != store.ProblemStream {
					t.Errorf("%+v", p)
				}
			}
			slices.Sort(got)
			if !slices.Equal(slices.Compact(got), c.want) || r.OK != (c.want == nil) {
				t.Errorf("problems %+v, want %q", r.Problems, c.want)
			}
		})
	}
}

// hidden is a bucket whose lists do not show one key: it was put while the folder
// was being read.
type hidden struct {
	*blob.Memory
	key string
}

func (h hidden) List(ctx context.Context, prefix, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range h.Memory.List(ctx, prefix, after) {
			if info.Key != h.key && !yield(info, err) {
				return
			}
		}
	}
}

// TestVerifyWhileClaimsAreMade: a claim that a list did not show is no missing link.
func TestVerifyWhileClaimsAreMade(t *testing.T) {
	mem := blob.NewMemory()
	l := testlake.On(t, hidden{mem, fmt.Sprintf("_trajlake/claims/s/r/%020d.json", 1)}, t.TempDir())
	if _, _, err := l.PutStream(ctx, "s", []byte(`{"spec_hash":"h"}`)); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(3) {
		previous := ""
		if n > 0 {
			previous = fmt.Sprintf("%020d", n-1)
		}
		if _, _, err := l.PutClaim(ctx, "s", "r", n, []byte(link(n, 1, previous, ""))); err != nil {
			t.Fatal(err)
		}
	}
}
