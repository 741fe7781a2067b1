package formats

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

// TestCanonicalIsOfTheSource: the bytes of the source digest do not depend on
// layout, path or Set, and do on every fact of the source.
func TestCanonicalIsOfTheSource(t *testing.T) {
	files, err := fixtureFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		im, data := detectFile(t, name)
		var want [][]byte
		for rec := range im.Read(context.Background(), bytes.NewReader(data), source(name)) {
			if rec.Err == nil {
				want = append(want, rec.Canonical)
			}
		}
		src := source(name)
		src.Facts, src.Name = FileFacts(im.Name(), name), "elsewhere/"+name[strings.LastIndexByte(name, '/')+1:]
		src.Set = map[string]string{"model": "m", "run_id": "r", "task_set": "s", "policy_version": "7"}
		i := 0
		for rec := range im.Read(context.Background(), bytes.NewReader(data), src) {
			if rec.Err != nil {
				continue
			}
			if i >= len(want) || !bytes.Equal(rec.Canonical, want[i]) {
				t.Errorf("%s: record %d has other canonical bytes", name, i)
			}
			if v, err := canon.Parse(rec.Canonical, canon.Limits{}); err != nil || !bytes.Equal(canon.Append(nil, v), rec.Canonical) {
				t.Errorf("%s: record %d: the bytes are not canonical: %v", name, i, err)
			}
			if rec.Row.RunID == nil || *rec.Row.RunID == "" || rec.Row.PolicyVersionMin == nil {
				t.Errorf("%s: record %d: Set did not fill run_id or policy_version", name, i)
			}
			i++
		}
	}
}

func TestCanonicalSeesFacts(t *testing.T) {
	data := []byte(`{"task_id":1,"reward":0,"info":{},"traj":[{"role":"user","content":"x"}]}`)
	named := readAll(t, tauBench{}, data, "a/gpt-4o-airline.json")[0]
	plain := readAll(t, tauBench{}, data, "a/results.json")[0]
	if bytes.Equal(named.Canonical, plain.Canonical) || named.Row.Model == nil || *named.Row.Model != "gpt-4o" || plain.Row.Model != nil {
		t.Errorf("the model of the file's name: %v and %v", named.Row.Model, plain.Row.Model)
	}
	run := FileFacts("tau_bench", "x/tool-calling-gpt-4o-0.5_range_0--1_user-gpt-4o-mini-llm_0511103000.json")
	if run["model"] != "gpt-4o" || run["temperature"] != "0.5" || run["user_model"] != "gpt-4o-mini" || run["run"] != "0511103000" {
		t.Errorf("facts of a run's file: %v", run)
	}
}

// TestTau2Places: a simulation is one and the same record whether it stands in
// the results file or in a file of its own beside it.
func TestTau2Places(t *testing.T) {
	data, err := os.ReadFile("testdata/tau2_bench/results.json")
	if err != nil {
		t.Fatal(err)
	}
	one, err := os.ReadFile("testdata/tau2_bench/simulations/one.json")
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.Replace(string(data), `"simulations": [`, `"simulations": [`+strings.TrimSpace(string(one))+",", 1)
	in := first1(t, []byte(whole), "testdata/tau2_bench/results.json")
	own := first1(t, one, "testdata/tau2_bench/simulations/one.json")
	if !bytes.Equal(in.Canonical, own.Canonical) || !bytes.Equal(schema.ContentHash(in.Row), schema.ContentHash(own.Row)) {
		t.Errorf("two readings of one simulation:\n%s\n%s", in.Canonical, own.Canonical)
	}
}

func first1(t *testing.T, data []byte, name string) Record {
	t.Helper()
	for rec := range (tau2Bench{}).Read(context.Background(), bytes.NewReader(data), source(name)) {
		if rec.Err != nil {
			t.Fatal(rec.Err)
		}
		return rec
	}
	t.Fatal("no record")
	return Record{}
}

func TestCheckSet(t *testing.T) {
	for _, bad := range []map[string]string{{"reward": "1"}, {"policy_version": "new"}} {
		if err := CheckSet(bad); !fault.Is(err, fault.Usage) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if err := CheckSet(map[string]string{"model": "m", "policy_version": "3"}); err != nil {
		t.Error(err)
	}
}

func TestAddLosses(t *testing.T) {
	a := []Loss{{"x", "f", "k", 2}}
	got := AddLosses(AddLosses(nil, a), []Loss{{"x", "e", "k", 1}, {"x", "f", "k", 1}})
	if len(got) != 2 || got[0] != (Loss{"x", "e", "k", 1}) || got[1] != (Loss{"x", "f", "k", 3}) {
		t.Errorf("%v", got)
	}
}

// TestNothingLost: every text of a source record is found in its rows, their
// extra included, unless it was left out as a repetition or for a reason that
// the losses name.
func TestNothingLost(t *testing.T) {
	files, err := fixtureFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		im, data := detectFile(t, name)
		for rec := range im.Read(context.Background(), bytes.NewReader(data), source(name)) {
			if rec.Err != nil {
				continue
			}
			canonical := rec.Canonical
			if im.Name() == "native" { // large columns stand in it as their sums
				canonical = documentAt(t, data, rec.Index)
			}
			for _, l := range lost(rec, canonical) {
				t.Errorf("%s record %d: %s", name, rec.Index, l)
			}
		}
	}
}

// documentAt is the canonical JSON of a file's document with the index.
func documentAt(t *testing.T, data []byte, index int64) []byte {
	t.Helper()
	for sc := canon.NewScanner(bytes.NewReader(data), canon.ScanOptions{}); ; {
		rec, err := sc.Next()
		var bad *canon.RecordError
		switch {
		case errors.As(err, &bad):
			continue
		case err != nil:
			t.Fatalf("no document %d: %v", index, err)
		case int64(rec.Index) == index:
			return canon.Append(nil, rec.Value)
		}
	}
}

// lost lists the texts of a record's source that are not in its row.
func lost(rec Record, canonical []byte) (out []string) {
	var b strings.Builder
	row, _ := canon.Parse(schema.AppendJSON(nil, rec.Row), canon.Limits{})
	gather(&b, row)
	have := b.String()
	v, _ := canon.Parse(canonical, canon.Limits{})
	if v.Has("choice") { // one of several answers: the others are other rows
		return nil
	}
	leaves(v, "", func(path, s string) {
		switch {
		case len(s) < 4, strings.Contains(s, "think>"), strings.Contains(path, "headers"), strings.Contains(path, "subagent_trajectories"),
			strings.HasSuffix(path, ".type"), strings.HasSuffix(path, ".object"), strings.HasSuffix(path, ".role"), strings.Contains(path, "__data__"), strings.HasSuffix(path, "__type__"):
		case strings.Contains(path, "time"), strings.HasSuffix(path, "_at"): // times are columns in another form
		case strings.HasPrefix(s, `{"id"`): // a call as JSON in a string
		case !strings.Contains(have, s):
			out = append(out, path+" is lost: "+clip(s, 80))
		}
	})
	return out
}

// gather writes all texts of v, those inside JSON texts included.
func gather(w *strings.Builder, v canon.Value) {
	leaves(v, "", func(_, s string) {
		w.WriteString(s)
		w.WriteByte('\n')
		if strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
			if inner, err := canon.Parse([]byte(s), canon.Limits{}); err == nil {
				gather(w, inner)
			}
		}
	})
}

// leaves visits the strings of v.
func leaves(v canon.Value, path string, f func(path, s string)) {
	if s, ok := v.Str(); ok {
		f(path, s)
	}
	for _, x := range v.Items() {
		leaves(x, path, f)
	}
	for k, x := range v.Members() {
		leaves(x, path+"."+k, f)
	}
}
