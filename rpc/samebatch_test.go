package rpc

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"trajlake/internal/testlake"
	"trajlake/replay"
	"trajlake/schema"
	"trajlake/store"
	"trajlake/store/blob"
)

// sameSpecs cover units, weights, strata, caps and folded columns.
var sameSpecs = []string{
	`{"weight":"reward","batch":{"rows":8},"seed":3}`,
	`{"unit":"group","weight":["reward","priority"],"group":{"min":1},"batch":{"rows":4},"seed":4}`,
	`{"where":"reward is not null","strata":{"by":["effort"],"shares":{"none":0.3,"low":0.3,"high":0.4},"when_dry":"redistribute"},"caps":{"per_task":2},"batch":{"rows":9},"seed":5}`,
}

// drawnAt is what one place draws: batches and their rows, by spec and position.
type drawnAt map[string]drawnBatch

type drawnBatch struct {
	batch *replay.Batch
	rows  arrow.Record
}

func sameDraws(t *testing.T, lake *store.Lake, token string) drawnAt {
	t.Helper()
	out := drawnAt{}
	for k, text := range sameSpecs {
		for _, position := range []uint64{0, 5} {
			spec, err := replay.ParseSpec([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			snap, err := lake.At(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			s, b, err := replay.Draw(t.Context(), snap, spec.Fill(replay.Pinned), position)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := s.Rows(t.Context(), b, nil)
			if err != nil {
				t.Fatal(err)
			}
			out[fmt.Sprint(k, "/", position)] = drawnBatch{b, rows}
		}
	}
	return out
}

// same compares what two places drew: ids, slots, every value of every column.
func (want drawnAt) same(t *testing.T, place string, got drawnAt) {
	t.Helper()
	for at, w := range want {
		g := got[at]
		if fmt.Sprintf("%+v", *g.batch) != fmt.Sprintf("%+v", *w.batch) {
			t.Errorf("%s, %s: %+v, want %+v", place, at, *g.batch, *w.batch)
		}
		if !g.rows.Schema().Equal(w.rows.Schema()) || g.rows.NumRows() == 0 {
			t.Errorf("%s, %s: %d rows of %v", place, at, g.rows.NumRows(), g.rows.Schema())
		}
		sameColumns(t, g.rows, w.rows)
	}
}

// noteRows changes rewards, priorities and the quarantine of some rows.
func noteRows(t *testing.T, lake *store.Lake, round string, value float64) {
	t.Helper()
	var notes []*schema.Annotation
	for i, kind := range []string{"reward", "priority", "quarantine", "reward", "priority"} {
		a := &schema.Annotation{AnnotationID: fmt.Sprint(round, i), Kind: &kind, TargetKind: new("trajectory"), TargetID: new(fmt.Sprintf("first-%d", 3*i+1))}
		if kind != "quarantine" {
			a.Value = &value
		}
		notes = append(notes, a)
	}
	if _, _, err := lake.Annotate(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
}

func copyBucket(t *testing.T, from, to blob.Bucket) {
	t.Helper()
	for info, err := range from.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		body, err := from.Get(t.Context(), info.Key, 0, -1)
		if err == nil {
			err = to.Put(t.Context(), info.Key, body, blob.PutOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheSameBatchEverywhere draws from one snapshot with a warm, a cold, a rebuilt
// and no index, after more was written, after folding, from copies on a directory,
// in memory and on S3, and through a server.
func TestTheSameBatchEverywhere(t *testing.T) {
	ctx := t.Context()
	dir, index := t.TempDir(), t.TempDir()
	lake := testlake.OpenDir(t, dir)
	for lo := range 17 {
		prefix := "first"
		if lo > 0 {
			prefix = fmt.Sprint("more", lo)
		}
		if _, err := lake.Append(ctx, testlake.Rows(lake, prefix, 20, uint64(lo))); err != nil {
			t.Fatal(err)
		}
	}
	noteRows(t, lake, "a", 0.7)
	snap, err := lake.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	token := snap.Token()
	want := sameDraws(t, lake, token)
	want.same(t, "warm", sameDraws(t, lake, token))

	if _, err := lake.Append(ctx, testlake.Rows(lake, "later", 40, 99)); err != nil {
		t.Fatal(err)
	}
	noteRows(t, lake, "b", 1.5)
	want.same(t, "after more rows and annotations", sameDraws(t, lake, token))
	if n, err := lake.Fold(ctx); err != nil || n < 16 {
		t.Fatalf("folded %d files, %v", n, err)
	}
	want.same(t, "after folding", sameDraws(t, lake, token))

	reopen := func(place, url string, o *store.Options) {
		t.Helper()
		other, err := store.Open(ctx, url, o)
		if err != nil {
			t.Fatalf("%s: %v", place, err)
		}
		want.same(t, place, sameDraws(t, other, token))
		if err := other.Close(); err != nil {
			t.Errorf("%s: %v", place, err)
		}
	}
	reopen("cold index", dir, &store.Options{IndexDir: index})
	reopen("warm index", dir, &store.Options{IndexDir: index})
	reopen("without an index", dir, &store.Options{ReadOnly: true})
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	reopen("a copy, index of the original", copied, &store.Options{IndexDir: index})

	from, err := blob.OpenDir(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close(from)
	memory := blob.NewMemory()
	copyBucket(t, from, memory)
	overTheWire(t, "server on a copy in memory", startOn(t, memory, nil), token, want)

	base := os.Getenv("TRAJLAKE_TEST_S3")
	if base == "" {
		t.Log("NOT RUN on S3: TRAJLAKE_TEST_S3 names no bucket (make test starts a server)")
		return
	}
	bucket, query, _ := strings.Cut(base, "?")
	url := fmt.Sprintf("%s/same-%d?%s", bucket, time.Now().UnixNano(), query)
	remote, _, err := blob.Open(context.WithoutCancel(ctx), url, true)
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close(remote)
	copyBucket(t, from, remote)
	reopen("on S3", url, &store.Options{IndexDir: t.TempDir()})
}

// overTheWire compares what Flight brings, twice: the second time from a sampler
// that the server kept.
func overTheWire(t *testing.T, place string, h *harness, token string, want drawnAt) {
	t.Helper()
	for range 2 {
		for k, text := range sameSpecs {
			for _, position := range []uint64{0, 5} {
				w := want[fmt.Sprint(k, "/", position)]
				got := h.fetchOne(t, &Ticket{Kind: TicketBatch, Spec: []byte(text), Position: position, Snapshot: token})
				if id, _ := got.Schema().Metadata().GetValue("batch_id"); id != w.batch.ID {
					t.Errorf("%s, %d/%d: batch %s, want %s", place, k, position, id, w.batch.ID)
				}
				sameColumns(t, got, w.rows)
			}
		}
	}
}
