package delta

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

const foreignAdd = `{"add":{"path":"x.parquet","partitionValues":{"day":null},"size":1,"modificationTime":2,"dataChange":%v,"stats":null,"tags":{"A":null}}}`

// TestForeign: commits of other engines, told apart by what is in them.
func TestForeign(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		body string
		data bool
	}{
		"append":              {`{"commitInfo":{"operation":"WRITE","engineInfo":"other/1"}}` + "\n" + fmt.Sprintf(foreignAdd, true), true},
		"optimize":            {`{"commitInfo":{"operation":"OPTIMIZE","engineInfo":"other/1"}}` + "\n" + fmt.Sprintf(foreignAdd, false) + "\n" + `{"remove":{"path":"day=2026-11-22/a.parquet","dataChange":false}}`, true},
		"delete":              {`{"remove":{"path":"day=2026-11-22/a.parquet","deletionTimestamp":5,"dataChange":true}}` + "\n" + `{"commitInfo":{"operation":"DELETE"}}`, true},
		"no commitInfo":       {fmt.Sprintf(foreignAdd, true), true},
		"change data":         {`{"cdc":{"path":"_change_data/x"}}`, true},
		"higher reader":       {`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}`, true},
		"higher writer":       {`{"protocol":{"minReaderVersion":1,"minWriterVersion":4}}`, true},
		"strange commitInfo":  {`{"commitInfo":{"timestamp":"now","operation":7,"engineInfo":"other/1","trajlake":null}}` + "\n" + fmt.Sprintf(foreignAdd, true), true},
		"properties":          {`{"commitInfo":{"operation":"SET TBLPROPERTIES","operationParameters":{"properties":{"a":1}}}}` + "\n" + `{"metaData":{"id":"i","format":{"provider":"parquet","options":{}},"schemaString":"s","partitionColumns":["day"],"configuration":{"k":"v"}}}`, false},
		"transaction":         {`{"txn":{"appId":"spark","version":3,"lastUpdated":9}}`, false},
		"commitInfo only":     {`{"commitInfo":{"operation":"VACUUM START"}}`, false},
		"an action to come":   {`{"somethingNew":{"a":[1,2]}}`, false},
		"same protocol again": {`{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := blob.NewMemory()
			l := mustCreate(t, b, fixedOptions())
			want := mustCommit(t, l, addOf("a", 2)).State
			key := l.logKey(jsonName(2))
			if err := b.Put(ctx, key, []byte(c.body), blob.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			for when, open := range map[string]func() (*State, error){
				"refreshed": func() (*State, error) { return l.Refresh(ctx) },
				"opened":    func() (*State, error) { return mustOpen(t, b).Head(), nil },
			} {
				s, err := open()
				if err != nil {
					t.Fatalf("%s: %v", when, err)
				}
				if s.NextSeq != want.NextSeq || s.Files.Len() != 1 || fmt.Sprint(s.Vector) != fmt.Sprint(want.Vector) {
					t.Fatalf("%s: %s", when, dump(s))
				}
				if got := s.Foreign != nil; got != c.data || s.Version != map[bool]int64{true: 1, false: 2}[c.data] {
					t.Fatalf("%s: foreign %+v at version %d", when, s.Foreign, s.Version)
				}
			}
			lg, err := l.Logical(ctx, 1)
			if err != nil || lg.NextSeq != 2 {
				t.Fatalf("logical: %+v %v", lg, err)
			}
			_, err = l.Commit(ctx, Tx{Build: build(addOf("b", 1))})
			if !c.data {
				if err != nil {
					t.Fatal(err)
				}
				noProblems(t, l)
				return
			}
			if !fault.Is(err, fault.Unsupported) || !strings.Contains(fault.HintOf(err), jsonName(2)) {
				t.Fatalf("commit: %v (%s)", err, fault.HintOf(err))
			}
			if _, err := l.At(ctx, 2); !fault.Is(err, fault.Unsupported) {
				t.Fatalf("at the foreign version: %v", err)
			}
			if s, err := l.At(ctx, 1); err != nil || s.Version != 1 {
				t.Fatalf("at the version before: %v %v", s, err)
			}
			problems, err := l.CheckLog(ctx)
			if err != nil || len(problems) != 1 || problems[0].Kind != ProblemForeign {
				t.Fatalf("check: %v %v", problems, err)
			}
			// As the hint says.
			if err := b.Delete(ctx, key); err != nil {
				t.Fatal(err)
			}
			if res := mustCommit(t, l, addOf("b", 1)); res.Version != 2 || res.State.Foreign != nil {
				t.Fatalf("after the restore: %+v", res)
			}
			noProblems(t, l)
		})
	}
}

// TestForeignFirst: a table that another engine made with data is refused.
func TestForeignFirst(t *testing.T) {
	ctx := context.Background()
	b := blob.NewMemory()
	body := `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}` + "\n" + fmt.Sprintf(foreignAdd, true)
	if err := b.Put(ctx, testTable+"/_delta_log/"+jsonName(0), []byte(body), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, b, testTable, Options{}); !fault.Is(err, fault.Unsupported) {
		t.Fatalf("opened: %v", err)
	}
	if _, err := Open(ctx, b, "nothing", Options{}); !fault.Is(err, fault.NotFound) {
		t.Fatalf("no table: %v", err)
	}
}

// TestCheckLog: each contradiction is found.
func TestCheckLog(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct{ version, old, new, detail string }{
		"firstSeq":      {"7", `"trajlake.firstSeq":"12"`, `"trajlake.firstSeq":"13"`, "should be 12"},
		"version tag":   {"7", `"trajlake.version":"7"`, `"trajlake.version":"6"`, "should be 7"},
		"numRecords":    {"7", `numRecords\":2`, `numRecords\":3`, "make 15"},
		"nextSeq":       {"7", `"nextSeq":14,"snapshot"`, `"nextSeq":15,"snapshot"`, "nextSeq is 15"},
		"txn":           {"7", `"appId":"trajlake.nextSeq","version":14`, `"appId":"trajlake.nextSeq","version":1`, "says 1"},
		"vector":        {"7", `"trajectories":{"version":7,"nextSeq":14}`, `"trajectories":{"version":7,"nextSeq":9}`, "own table"},
		"vector falls":  {"7", `"snapshot":{"annotations":{"version":3,"nextSeq":4},`, `"snapshot":{`, "falls behind"},
		"read version":  {"7", `"readVersion":6`, `"readVersion":5`, "not built on version 6"},
		"same txnId":    {"7", `000000000009"`, `000000000008"`, "that of version 6"},
		"live twice":    {"7", `f06.parquet`, `f02.parquet`, "is live"},
		"not JSON":      {"7", `{"add"`, `{"add`, "line 3"},
		"ids":           {"7", `"trajlake":{`, `"trajlake":{"ids":"AAA=",`, "whole number"},
		"own not ours":  {"7", `"trajlake":{"nextSeq":14`, `"trajlake":{"nextSeq":"14"`, "line 1"},
		"add no path":   {"7", `"path":"day=2026-11-22/f06.parquet",`, ``, "without a path"},
		"checkpoint":    {"7", `"size":1002`, `"size":1003`, "described otherwise"},
		"not a version": {"0", `"minWriterVersion":2`, `"minWriterVersion":1`, "protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			b := blob.NewMemory()
			l := mustCreate(t, b, fixedOptions())
			for i := range 9 {
				_, err := l.Commit(ctx, Tx{Vector: Vector{"annotations": {3, 4}}, Build: build(addOf(fmt.Sprintf("f%02d", i), 2))})
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Checkpoint(ctx); err != nil {
				t.Fatal(err)
			}
			noProblems(t, l)
			var v int64
			if _, err := fmt.Sscan(c.version, &v); err != nil {
				t.Fatal(err)
			}
			key := l.logKey(jsonName(v))
			body, err := b.Get(ctx, key, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			spoiled := strings.Replace(string(body), c.old, c.new, 1)
			if spoiled == string(body) {
				t.Fatalf("%q is not in %s", c.old, body)
			}
			if err := b.Put(ctx, key, []byte(spoiled), blob.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			problems, err := l.CheckLog(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				if strings.Contains(p.Detail, c.detail) {
					return
				}
			}
			t.Errorf("%q is not among %+v", c.detail, problems)
		})
	}
}

// FuzzParseCommit: no body makes the parser panic, and what parses can be
// written and parses to the same.
func FuzzParseCommit(f *testing.F) {
	f.Add([]byte(`{"commitInfo":{"timestamp":1,"operation":"WRITE","operationParameters":{"a":1},"trajlake":{"nextSeq":1,"snapshot":{"t":{"version":1,"nextSeq":2}},"ids":"AAAAAAAAAAE="}}}`))
	f.Add([]byte(fmt.Sprintf(foreignAdd, true) + "\n\n" + `{"remove":{"path":"a"}}` + "\r\n" + `{"txn":{"appId":"a","version":1}}`))
	f.Add([]byte(`{"metaData":{"id":"i","schemaString":"s","configuration":null}}`))
	f.Add([]byte(`{"protocol":{"minReaderVersion":1}}` + "\n{"))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseCommit(body)
		if err != nil {
			if !fault.Is(err, fault.Corrupt) {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		_ = foreign(3, c)
		s := emptyState().apply("t", c)
		_ = dump(s)
		again, err := encodeCommit(append([]Action{{CommitInfo: &c.info}}, c.actions...))
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		c2, err := parseCommit(again)
		if err != nil {
			t.Fatalf("parse again: %v\n%s", err, again)
		}
		if a, b := dump(s), dump(emptyState().apply("t", c2)); a != b {
			t.Fatalf("first\n%s\nthen\n%s", a, b)
		}
	})
}

// FuzzParseStats: no text makes the reader of statistics panic.
func FuzzParseStats(f *testing.F) {
	f.Add(`{"numRecords":1,"minValues":{"a":1,"s":{"b":"x"}},"maxValues":{"a":"2020-01-01T00:00:00Z"},"nullCount":{"a":0,"s":{"b":1}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseStats(text)
		if err != nil {
			return
		}
		if n := numRecords(text); n != p.NumRecords {
			t.Fatalf("numRecords %d and %d", n, p.NumRecords)
		}
		for kind := range allKinds {
			_ = p.Column("a", allKinds[kind])
			_ = p.Column("s.b", allKinds[kind])
		}
	})
}
