package delta

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// TestGolden pins the bytes of version 0 and of two commits.
func TestGolden(t *testing.T) {
	b := blob.NewMemory()
	l := mustCreate(t, b, fixedOptions())
	info := &CommitInfo{
		Operation: "WRITE", OperationParameters: map[string]string{"mode": "Append", "partitionBy": `["day"]`},
		EngineInfo: "trajlake/1.0", Trajlake: &Trajlake{IDs: IDs{1, 0xfedcba9876543210}},
	}
	vector := Vector{"annotations": {Version: 7, NextSeq: 31}}
	_, err := l.Commit(context.Background(), Tx{Vector: vector, Build: build(Action{CommitInfo: info}, addOf("a", 2))})
	if err != nil {
		t.Fatal(err)
	}
	replaced := addOf("b", 2)
	replaced.Add.DataChange = false
	replaced.Add.Tags = map[string]string{TagPlaces: PlacesColumns, TagFirstSeq: "0"}
	mustCommit(t, l,
		Action{CommitInfo: &CommitInfo{Operation: "OPTIMIZE"}},
		Action{Remove: &Remove{Path: "day=2026-11-22/a.parquet", DeletionTimestamp: 1_700_000_009_000}},
		replaced)
	if addOf("a", 2).Add.Tags != nil || info.TxnID != "" {
		t.Error("Commit changed what it was given")
	}
	for v := range int64(3) {
		got, err := b.Get(context.Background(), l.logKey(jsonName(v)), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", fmt.Sprintf("version%d.json", v))
		if os.Getenv("TRAJLAKE_GOLDEN") == "write" {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("version %d:\ngot  %s\nwant %s", v, got, want)
		}
	}
}

func TestOutcomes(t *testing.T) {
	ctx := context.Background()
	versions := "*/_delta_log/*.json"
	for name, rules := range map[string][]blob.Rule{
		"answer lost":                   {{Op: blob.OpPut, Key: versions, Do: blob.LoseAnswer}},
		"answer lost, 412 to a repeat":  {{Op: blob.OpPut, Key: versions, Do: blob.LoseAnswer, Err: blob.ErrExists}},
		"answer lost, read back fails":  {{Op: blob.OpPut, Key: versions, Do: blob.LoseAnswer}, {Op: blob.OpGet, Key: versions, Count: 3}},
		"not written":                   {{Op: blob.OpPut, Key: versions, Do: blob.FailBefore, Count: 2}},
		"not written, store says so":    {{Op: blob.OpPut, Key: versions, Do: blob.FailBefore, Err: blob.ErrUnavailable}},
		"not written, read back fails":  {{Op: blob.OpPut, Key: versions, Do: blob.FailBefore}, {Op: blob.OpGet, Key: versions}},
		"not written, then answer lost": {{Op: blob.OpPut, Key: versions, Do: blob.FailBefore}, {Op: blob.OpPut, Key: versions, Do: blob.LoseAnswer}},
	} {
		t.Run(name, func(t *testing.T) {
			f := blob.NewFaulty(blob.NewMemory())
			l := mustCreate(t, f, fixedOptions())
			f.Add(rules...)
			calls := 0
			res, err := l.Commit(ctx, Tx{Build: func(context.Context, *State) ([]Action, error) {
				calls++
				return []Action{addOf("a", 5)}, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			if f.Fired() == 0 {
				t.Fatal("no fault took place")
			}
			if calls != 1 || res.Version != 1 || res.State.NextSeq != 5 {
				t.Fatalf("built %d times, result %+v", calls, res)
			}
			f.Clear()
			s := mustOpen(t, f).Head()
			sameState(t, "opened", s, res.State)
			noProblems(t, l)
		})
	}
}

// TestLostRace: the answer is lost and another writer has the version.
func TestLostRace(t *testing.T) {
	ctx := context.Background()
	f := blob.NewFaulty(blob.NewMemory())
	l := mustCreate(t, f, fixedOptions())
	other := mustOpen(t, f)
	mustCommit(t, other, addOf("theirs", 3))
	f.Add(blob.Rule{Op: blob.OpPut, Do: blob.FailBefore})
	var bases []int64
	res, err := l.Commit(ctx, Tx{Vector: Vector{"ledger": {1, 2}}, Build: func(_ context.Context, base *State) ([]Action, error) {
		bases = append(bases, base.Version)
		return []Action{addOf("ours", 2)}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(bases, []int64{0, 1}) || res.Version != 2 || res.Attempts != 2 || f.Fired() != 1 {
		t.Fatalf("bases %v, %d faults, result %+v", bases, f.Fired(), res)
	}
	if got := res.State.Files.Get("day=2026-11-22/ours.parquet"); got.FirstSeq != 3 || got.Version != 2 {
		t.Fatalf("places were not taken anew: %+v", got)
	}
	if res.State.Vector["ledger"] != (Position{1, 2}) || res.State.Vector[testTable] != (Position{2, 5}) {
		t.Fatalf("vector %v", res.State.Vector)
	}

	mustCommit(t, other, addOf("theirs2", 3)) // other refreshes by losing
	n := 0
	res, err = l.Commit(ctx, Tx{Build: func(_ context.Context, base *State) ([]Action, error) {
		if n++; n == 2 {
			return nil, ErrNothing
		}
		return []Action{addOf("ours2", 2)}, nil
	}})
	if !errors.Is(err, ErrNothing) || res.State.Version != 3 || n != 2 {
		t.Fatalf("abandoned after a lost race: %v, %+v", err, res)
	}
	noProblems(t, l)
}

func TestUnreachable(t *testing.T) {
	f := blob.NewFaulty(blob.NewMemory())
	opt := fixedOptions()
	opt.Patience = 50 * time.Millisecond
	l := mustCreate(t, f, opt)
	f.Add(blob.Rule{Count: blob.Always})
	_, err := l.Commit(context.Background(), Tx{Build: build(addOf("a", 1))})
	if !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
		t.Fatalf("store down: %v", err)
	}
	f.Clear()
	// The deadline of the caller passes while the answer is out: what can be
	// found out is found out.
	f.Add(blob.Rule{Op: blob.OpPut, Do: blob.LoseAnswer}, blob.Rule{Op: blob.OpGet, Key: "*/_delta_log/*.json"})
	ctx, cancel := context.WithCancel(context.Background())
	res, err := l.Commit(ctx, Tx{Build: func(context.Context, *State) ([]Action, error) {
		cancel()
		return []Action{addOf("b", 1)}, nil
	}})
	if err == nil {
		t.Fatalf("memory bucket ignored the cancelled context: %+v", res)
	}
	f.Clear()
	if s, err := l.Refresh(context.Background()); err != nil || s.Version != 0 {
		t.Fatalf("a cancelled commit took place: %v %v", s, err)
	}
	f.Add(blob.Rule{Op: blob.OpPut, Err: blob.ErrDenied})
	if _, err := l.Commit(context.Background(), Tx{Build: build(addOf("a", 1))}); !fault.Is(err, fault.Denied) {
		t.Fatalf("denied: %v", err)
	}
	f.Clear()
	mustCommit(t, l, addOf("c", 1))
	noProblems(t, l)
}

// TestOnePut: a commit costs one put, a refresh with nothing new one get.
func TestOnePut(t *testing.T) {
	trace := blob.NewTrace(blob.NewMemory())
	l := mustCreate(t, trace, fixedOptions())
	before := len(trace.Events())
	mustCommit(t, l, addOf("a", 1))
	if calls := trace.Events()[before:]; len(calls) != 1 || calls[0].Op != blob.OpPut || !calls[0].IfAbsent {
		t.Errorf("a commit did %v", calls)
	}
	before = len(trace.Events())
	if _, err := l.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	if calls := trace.Events()[before:]; len(calls) != 1 || calls[0].Op != blob.OpGet {
		t.Errorf("a refresh did %v", calls)
	}
}

func TestRefusals(t *testing.T) {
	l := mustCreate(t, blob.NewMemory(), fixedOptions())
	mustCommit(t, l, addOf("live", 1))
	noStats := addOf("x", 1)
	noStats.Add.Stats = ""
	moved := addOf("y", 1)
	moved.Add.DataChange = false
	hidden := addOf("z", 1)
	hidden.Add.Path = "_hidden/z.parquet"
	blank := addOf("z", 1)
	blank.Add.Path = "a b.parquet"
	for name, c := range map[string]struct {
		actions []Action
		kind    fault.Kind
	}{
		"add twice":       {[]Action{addOf("a", 1), addOf("a", 1)}, fault.Internal},
		"add live":        {[]Action{addOf("live", 1)}, fault.Conflict},
		"remove unknown":  {[]Action{{Remove: &Remove{Path: "nope"}}}, fault.Conflict},
		"no numRecords":   {[]Action{noStats}, fault.Internal},
		"mixed":           {[]Action{addOf("a", 1), moved}, fault.Internal},
		"hidden":          {[]Action{hidden}, fault.Internal},
		"needs encoding":  {[]Action{blank}, fault.Internal},
		"own txn":         {[]Action{{Txn: &Txn{AppID: AppNextSeq, Version: 3}}}, fault.Internal},
		"txn twice":       {[]Action{{Txn: &Txn{AppID: "a"}}, {Txn: &Txn{AppID: "a"}}}, fault.Internal},
		"higher protocol": {[]Action{{Protocol: &Protocol{MinReaderVersion: 3, MinWriterVersion: 7}}}, fault.Unsupported},
		"empty":           {[]Action{{}}, fault.Internal},
	} {
		if _, err := l.Commit(context.Background(), Tx{Build: build(c.actions...)}); err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v := l.Head().Version; v != 1 {
		t.Errorf("a refused commit made version %d", v)
	}
}

// TestRace: many writers, one log each or one shared; no version is lost or
// made twice, places are dense.
func TestRace(t *testing.T) {
	const writers, commits = 8, 12
	dir, err := blob.OpenDir(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for name, b := range map[string]blob.Bucket{"memory": blob.NewMemory(), "dir": dir} {
		t.Run(name, func(t *testing.T) {
			shared := mustCreate(t, b, Options{CheckpointEvery: 10})
			var mu sync.Mutex
			acked := make(map[int64]string)
			var wg sync.WaitGroup
			for w := range writers {
				l := shared
				if w%2 == 1 {
					l = mustOpen(t, b)
				}
				wg.Go(func() {
					for i := range commits {
						name := fmt.Sprintf("w%d-%d", w, i)
						res, err := l.Commit(context.Background(), Tx{Build: build(addOf(name, int64(1+i%3)))})
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						if was, ok := acked[res.Version]; ok {
							t.Errorf("version %d was given to %s and %s", res.Version, was, name)
						}
						acked[res.Version] = name
						mu.Unlock()
						if f := res.State.Files.Get("day=2026-11-22/" + name + ".parquet"); f == nil || f.Version != res.Version {
							t.Errorf("version %d has no file %s", res.Version, name)
						}
					}
				})
			}
			wg.Wait()
			if err := shared.Close(); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, b).Head()
			if s.Version != writers*commits || len(acked) != writers*commits || s.Files.Len() != writers*commits {
				t.Fatalf("head %d, %d acked, %d files", s.Version, len(acked), s.Files.Len())
			}
			seq := int64(0)
			for f := range s.Files.All() {
				if f.FirstSeq != seq {
					t.Fatalf("file %s begins at place %d, not %d", f.Path, f.FirstSeq, seq)
				}
				seq += f.Rows
			}
			if s.NextSeq != seq {
				t.Fatalf("nextSeq %d after %d rows", s.NextSeq, seq)
			}
			noProblems(t, shared)
		})
	}
}

// noProblems fails if the log of the table is not sound.
func noProblems(t testing.TB, l *Log) {
	t.Helper()
	problems, err := l.CheckLog(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s %s: %s", p.Kind, p.Object, p.Detail)
	}
}

// TestCrashPoints stops the store for ever before or after each operation of a
// run, and looks at what is left.
func TestCrashPoints(t *testing.T) {
	for _, do := range []blob.Action{blob.FailBefore, blob.LoseAnswer} {
		for at := 1; ; at++ {
			if done := crashRun(t, do, at); done {
				if at < 20 {
					t.Fatalf("the run has only %d operations", at)
				}
				break
			}
		}
	}
}

// crashRun reports whether the run ended before its crash.
func crashRun(t *testing.T, do blob.Action, at int) (done bool) {
	ctx := context.Background()
	inner := blob.NewMemory()
	calls := 0
	f := blob.NewFaulty(inner,
		blob.Rule{Match: func(blob.Call) bool { calls++; return calls == at }, Do: do, Count: blob.Always},
		blob.Rule{Match: func(blob.Call) bool { return calls > at }, Do: blob.FailBefore, Count: blob.Always})
	opt := fixedOptions()
	opt.CheckpointEvery, opt.Patience = 3, time.Millisecond
	acked := make(map[string]int64)
	steps := func() error {
		l, err := Create(ctx, f, testTable, TableMeta{SchemaString: testSchema}, CommitInfo{}, opt)
		if err != nil {
			return err
		}
		l.minLogAge = 0
		for i := range 8 {
			name := fmt.Sprintf("f%d", i)
			actions := []Action{addOf(name, 2)}
			if i == 5 {
				actions = append(actions, Action{Remove: &Remove{Path: "day=2026-11-22/f1.parquet", DataChange: true, DeletionTimestamp: opt.Now().UnixMilli()}})
			}
			res, err := l.Commit(ctx, Tx{Build: build(actions...)})
			if err != nil {
				return err
			}
			acked[name] = res.Version
		}
		if _, err := l.CleanLog(ctx, time.Now().Add(time.Hour)); err != nil {
			return err
		}
		return l.Close()
	}
	err := steps()
	if err != nil && !fault.Is(err, fault.Unavailable) {
		t.Fatalf("crash at %d: %v is no fault of the store", at, err)
	}
	opt.Patience = 0 // the store is well again
	l := mustCreate(t, inner, opt)
	s := l.Head()
	for name, v := range acked {
		if name == "f1" && s.Version >= 6 {
			continue // removed by f5
		}
		if got := s.Files.Get("day=2026-11-22/" + name + ".parquet"); got == nil || got.Version != v {
			t.Fatalf("crash at %d: %s was acknowledged at version %d; the lake has %+v", at, name, v, got)
		}
	}
	if extra := s.Version - int64(len(acked)); extra < 0 || extra > 1 {
		t.Fatalf("crash at %d: %d commits acknowledged, version %d", at, len(acked), s.Version)
	}
	res := mustCommit(t, l, addOf("after", 1))
	if res.Version != s.Version+1 {
		t.Fatalf("crash at %d: the next version is %d after %d", at, res.Version, s.Version)
	}
	l.minLogAge = 0
	if _, err := l.CleanLog(ctx, time.Now().Add(time.Hour)); err != nil {
		t.Fatalf("crash at %d: clean: %v", at, err)
	}
	for v := range res.Version + 1 {
		lg, err := l.Logical(ctx, v)
		if err != nil || lg.NextSeq != min(2*v, s.NextSeq)+max(v-s.Version, 0) || lg.Vector[testTable] != (Position{v, lg.NextSeq}) {
			t.Fatalf("crash at %d: version %d is logically %+v, %v", at, v, lg, err)
		}
	}
	noProblems(t, l)
	return err == nil && calls < at
}
