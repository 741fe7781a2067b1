package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/store"
	"trajlake/store/blob"
)

// age makes the objects of a lake's logs look as old as d.
func age(t *testing.T, dir string, d time.Duration) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*", "_delta_log", "*"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs: %v", err)
	}
	at := time.Now().Add(-d)
	for _, f := range logs {
		if err := os.Chtimes(f, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMaintainCleansOldVersionsAndKeepsSnapshots(t *testing.T) {
	dir := t.TempDir()
	l := testlake.OpenDir(t, dir)
	var tokens []string
	for i := range 110 {
		mustAppend(t, l, testlake.Rows(l, fmt.Sprint("m", i), 1, uint64(i)))
		if i%20 == 0 {
			if _, _, err := l.Annotate(ctx, []*schema.Annotation{note("priority", fmt.Sprintf("m%d-0", i), new(1.0), "")}); err != nil {
				t.Fatal(err)
			}
		}
		tokens = append(tokens, head(t, l).Token())
	}
	first, err := l.Maintain(ctx)
	if err != nil || first.Folded < 100 || first.Cleaned != 0 {
		t.Fatalf("first: %+v %v", first, err)
	}
	age(t, dir, 5*24*time.Hour)
	mustAppend(t, l, testlake.Rows(l, "new", 1, 1000))
	if m, err := l.Maintain(ctx); err != nil || m.Cleaned != 0 {
		t.Errorf("within the hour: %+v %v", m, err)
	}
	// Another process, an hour has not gone by for it either, but it has not looked yet.
	other := testlake.OpenDir(t, dir)
	m, err := other.Maintain(ctx)
	if err != nil || m.Cleaned < 100 {
		t.Fatalf("after five days: %+v %v", m, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "trajectories", "_delta_log", "*.json")); len(left) > 20 {
		t.Errorf("%d versions are left in the log", len(left))
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, "_trajlake", "versions", "trajectories", "*.parquet")); len(kept) == 0 {
		t.Error("nothing is kept of the versions")
	}
	fresh := testlake.OpenDir(t, dir)
	for _, lake := range []*store.Lake{l, other, fresh} {
		for i, token := range tokens {
			s, err := lake.At(ctx, token)
			if err != nil {
				t.Fatal(err)
			}
			byNumber, err := lake.At(ctx, fmt.Sprint(s.Version()))
			if err != nil {
				t.Fatal(err)
			}
			if n, m := len(ids(t, s, "")), len(ids(t, byNumber, "")); n != i+1 || m != i+1 {
				t.Fatalf("snapshot %d has %d rows by token, %d by number", i, n, m)
			}
		}
		list, err := lake.History(ctx)
		if err != nil || int64(len(list)) != head(t, lake).Version()+1 {
			t.Errorf("%d versions are listed of %d: %v", len(list), head(t, lake).Version()+1, err)
		}
		r := mustAppend(t, lake, testlake.Rows(lake, "m7", 1, 7))
		if r[0].Status != store.Duplicate || r[0].Version != 8 {
			t.Errorf("a row of a cleaned version: %+v", r[0])
		}
	}
}

// reschema rewrites the schema that a table declares in version 0.
func reschema(t *testing.T, b blob.Bucket, table string, change func(string) string) {
	t.Helper()
	key := table + "/_delta_log/00000000000000000000.json"
	body, err := b.Get(ctx, key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	was := strings.ReplaceAll(string(body), `\"`, `'`)
	now := change(was)
	if now == was {
		t.Fatal("the schema is as before")
	}
	if err := b.Put(ctx, key, []byte(strings.ReplaceAll(now, `'`, `\"`)), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func declared(t *testing.T, b blob.Bucket, table string) (out []string) {
	t.Helper()
	for info, err := range b.List(ctx, table+"/_delta_log/", "") {
		if err != nil {
			t.Fatal(err)
		}
		body, err := b.Get(ctx, info.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(body)) {
			if strings.HasPrefix(line, `{"metaData"`) {
				out = append(out, line)
			}
		}
	}
	return out
}

func TestLakeOfAnOlderBuild(t *testing.T) {
	b := blob.NewMemory()
	if err := testlake.Raw(t, b, t.TempDir()).Close(); err != nil {
		t.Fatal(err)
	}
	without := func(s string) string {
		return strings.Replace(s, `{'name':'licence','type':'string','nullable':true,'metadata':{}},`, "", 1)
	}
	reschema(t, b, "trajectories", without)
	l, other := testlake.On(t, b, t.TempDir()), testlake.On(t, b, t.TempDir())
	if n := len(ids(t, head(t, l), "licence is null")); n != 0 {
		t.Errorf("%d rows in an empty lake", n)
	}
	if len(declared(t, b, "trajectories")) != 1 {
		t.Error("reading has changed the schema")
	}
	row := testlake.Row("a", 1)
	row.Licence = new("MIT")
	mustAppend(t, l, testlake.Ready(l, row))
	mustAppend(t, other, testlake.Rows(other, "b", 1, 2))
	all := declared(t, b, "trajectories")
	if len(all) != 2 || !strings.Contains(all[1], `licence`) {
		t.Errorf("%d declarations, the last of %d bytes", len(all), len(all[len(all)-1]))
	}
	if got := ids(t, head(t, other), "licence = 'MIT'"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("rows %v", got)
	}
}

func TestLakeOfANewerBuild(t *testing.T) {
	b := blob.NewMemory()
	if err := testlake.Raw(t, b, t.TempDir()).Close(); err != nil {
		t.Fatal(err)
	}
	reschema(t, b, "trajectories", func(s string) string {
		return strings.Replace(s, `{'name':'licence'`, `{'name':'colour','type':'string','nullable':true,'metadata':{}},{'name':'licence'`, 1)
	})
	l := testlake.On(t, b, t.TempDir())
	for i := range 40 {
		mustAppend(t, l, testlake.Rows(l, fmt.Sprint("a", i), 1, uint64(i)))
	}
	if n, err := l.Fold(ctx); err != nil || n != 0 {
		t.Errorf("%d files were folded, and their unknown columns lost: %v", n, err)
	}
	if n := len(ids(t, head(t, l), "")); n != 40 {
		t.Errorf("%d rows", n)
	}
	if len(declared(t, b, "trajectories")) != 1 {
		t.Error("an older build has changed the schema")
	}
}
