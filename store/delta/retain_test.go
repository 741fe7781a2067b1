package delta

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// longLog is a table with 20 commits of 2 rows, checkpoints at 6 and 12.
func longLog(t *testing.T, b blob.Bucket) *Log {
	l := mustCreate(t, b, fixedOptions())
	l.minLogAge = 0
	for i := range 20 {
		mustCommit(t, l, addOf(fmt.Sprintf("f%02d", i), 2))
		if i == 5 || i == 11 {
			if err := l.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return l
}

// TestTimeTravel: a state is the same from the versions, from a checkpoint, and
// from a checkpoint when what lies before is gone.
func TestTimeTravel(t *testing.T) {
	ctx := context.Background()
	b := blob.NewMemory()
	l := mustCreate(t, b, fixedOptions())
	var want []*State
	want = append(want, l.Head())
	for i := range 20 {
		want = append(want, mustCommit(t, l, addOf(fmt.Sprintf("f%02d", i), int64(i))).State)
	}
	at := func(when string, from int64) {
		t.Helper()
		l := mustOpen(t, b)
		for v := from; v <= 20; v++ {
			s, err := l.At(ctx, v)
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			sameState(t, fmt.Sprintf("%s: version %d", when, v), s, want[v])
		}
	}
	at("from versions", 0)
	for _, v := range []int64{6, 12, 20} {
		if err := l.writeCheckpoint(ctx, want[v]); err != nil {
			t.Fatal(err)
		}
	}
	at("from checkpoints", 0)
	if h, err := l.hint(ctx); err != nil || h.Version != 20 {
		t.Fatalf("hint %+v, %v", h, err)
	}
	l.minLogAge = 0
	c, err := l.CleanLog(ctx, time.Now().Add(time.Hour))
	if err != nil || c != (Cleaned{Versions: 20, Oldest: 20}) {
		t.Fatalf("cleaned %+v, %v", c, err)
	}
	at("after cleaning", 20)
	if _, err := mustOpen(t, b).At(ctx, 12); !fault.Is(err, fault.Gone) {
		t.Fatalf("a cleaned version: %v", err)
	}
	if _, err := l.At(ctx, 21); !fault.Is(err, fault.NotFound) {
		t.Fatalf("a version to come: %v", err)
	}
	if _, err := l.At(ctx, -1); !fault.Is(err, fault.NotFound) {
		t.Fatalf("a negative version: %v", err)
	}
	noProblems(t, l)
}

// TestDamagedCheckpoint: checkpoints are conveniences; a bad one costs time.
func TestDamagedCheckpoint(t *testing.T) {
	ctx := context.Background()
	for name, spoil := range map[string]func(b blob.Bucket, l *Log) error{
		"checkpoint cut": func(b blob.Bucket, l *Log) error {
			key := l.logKey(checkpointName(12))
			body, err := b.Get(ctx, key, 0, -1)
			return errors.Join(err, b.Put(ctx, key, body[:len(body)/2], blob.PutOptions{}))
		},
		"checkpoint of another version": func(b blob.Bucket, l *Log) error {
			body, err := b.Get(ctx, l.logKey(checkpointName(6)), 0, -1)
			return errors.Join(err, b.Put(ctx, l.logKey(checkpointName(12)), body, blob.PutOptions{}))
		},
		"checkpoint empty": func(b blob.Bucket, l *Log) error {
			return b.Put(ctx, l.logKey(checkpointName(12)), nil, blob.PutOptions{})
		},
		"checkpoint gone": func(b blob.Bucket, l *Log) error { return b.Delete(ctx, l.logKey(checkpointName(12))) },
		"hint garbage": func(b blob.Bucket, l *Log) error {
			return b.Put(ctx, l.logKey(lastCheckpointName), []byte("{"), blob.PutOptions{})
		},
		"hint gone": func(b blob.Bucket, l *Log) error { return b.Delete(ctx, l.logKey(lastCheckpointName)) },
		"hint of parts": func(b blob.Bucket, l *Log) error {
			return b.Put(ctx, l.logKey(lastCheckpointName), []byte(`{"version":13,"size":4,"parts":2}`), blob.PutOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := blob.NewMemory()
			l := longLog(t, b)
			want := l.Head()
			if err := spoil(b, l); err != nil {
				t.Fatal(err)
			}
			sameState(t, "opened", mustOpen(t, b).Head(), want)
		})
	}
}

// TestDamagedVersion: a damaged or missing version is reported with its name,
// never skipped.
func TestDamagedVersion(t *testing.T) {
	ctx := context.Background()
	for name, body := range map[string][]byte{
		"truncated": []byte(`{"commitInfo":{"timestamp":1,"operation":"WRITE","trajlake":{"nextSeq":5`),
		"empty":     {}, "blank": []byte("\n\n"), "missing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			b := blob.NewMemory()
			l := longLog(t, b)
			key := l.logKey(jsonName(15))
			err := b.Delete(ctx, key)
			if body != nil {
				err = b.Put(ctx, key, body, blob.PutOptions{})
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(ctx, b, testTable, Options{}); !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), "15") {
				t.Fatalf("opened: %v", err)
			}
			problems, err := l.CheckLog(ctx)
			if err != nil || len(problems) != 1 || problems[0].Object != key {
				t.Fatalf("check: %v, %v", problems, err)
			}
		})
	}
}

// TestCleanLog: what is cleaned, what is kept, and what is refused.
func TestCleanLog(t *testing.T) {
	ctx := context.Background()
	b := blob.NewMemory()
	l := longLog(t, b)
	l.minLogAge = minLogAge
	if c, err := l.CleanLog(ctx, time.Now().Add(time.Hour)); err != nil || c.Versions != 0 {
		t.Fatalf("a young log was cleaned: %+v, %v", c, err)
	}
	l.minLogAge = 0
	info, err := b.Stat(ctx, l.logKey(jsonName(7)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.CleanLog(ctx, info.ModTime)
	if err != nil || c != (Cleaned{Versions: 6, Oldest: 6}) {
		t.Fatalf("cleaned %+v, %v", c, err)
	}
	for v := range int64(21) {
		_, err := b.Stat(ctx, l.logKey(jsonName(v)))
		if gone := errors.Is(err, blob.ErrNotExist); gone != (v < 6) {
			t.Errorf("version %d: %v", v, err)
		}
	}
	if c, err = l.CleanLog(ctx, time.Now().Add(time.Hour)); err != nil || c != (Cleaned{Versions: 6, Oldest: 12}) {
		t.Fatalf("cleaned %+v, %v", c, err)
	}
	if ranges, err := l.recordRanges(ctx); err != nil || len(ranges) != 2 || ranges[1] != (recordRange{6, 11}) {
		t.Fatalf("records %v, %v", ranges, err)
	}
	noProblems(t, l)
}

// TestStalledWriter: a writer that slept while the version after its state was
// cleaned must not win that number.
func TestStalledWriter(t *testing.T) {
	ctx := context.Background()
	b := blob.NewMemory()
	l := longLog(t, b)
	for name, asleep := range map[string]bool{"before building": true, "while building": false} {
		t.Run(name, func(t *testing.T) {
			stalled := mustOpen(t, b)
			// As if it had been opened at version 3, long ago.
			old, err := l.At(ctx, 3)
			if err != nil {
				t.Skip("cleaned already")
			}
			stalled.head = old
			clean := func() {
				if _, err := l.CleanLog(ctx, time.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				stalled.staleAfter = -time.Hour // any time is too long
			}
			if asleep {
				clean()
			}
			built := 0
			res, err := stalled.Commit(ctx, Tx{Build: func(_ context.Context, base *State) ([]Action, error) {
				if built++; built == 1 && !asleep {
					clean()
				}
				return []Action{addOf("late-"+strings.ReplaceAll(name, " ", "-"), 1)}, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			if res.Version <= 20 {
				t.Fatalf("it won version %d, which was cleaned", res.Version)
			}
			if _, err := b.Stat(ctx, l.logKey(jsonName(4))); !errors.Is(err, blob.ErrNotExist) {
				t.Fatalf("version 4 lies in the log again: %v", err)
			}
			noProblems(t, stalled)
		})
		b = blob.NewMemory()
		l = longLog(t, b)
	}
}
