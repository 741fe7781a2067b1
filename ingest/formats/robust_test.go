package formats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"trajlake/schema/fault"
)

// TestDetectRefuses: what is no trajectory file is refused in words that say what
// it is and what to do.
func TestDetectRefuses(t *testing.T) {
	for what, c := range map[string]struct{ head, want, hint string }{
		"git-lfs":  {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n", "Git LFS pointer", "git lfs pull"},
		"gzip":     {"\x1f\x8b\x08\x00", "gzip data", ""},
		"parquet":  {"PAR1\x15\x04", "Parquet", ""},
		"binary":   {"abc\x00def", "binary file", ""},
		"utf-16":   {"\xff\xfe{\x00", "UTF-16", ""},
		"text":     {"hello world", "no known trajectory format", "JSON"},
		"number":   {"17", "no known trajectory format", ""},
		"sharegpt": {`{"conversations":[{"from":"human","value":"x"}]}`, "no known trajectory format", "sharegpt"},
		"report":   {`{"a__b-1":{"patch_exists":true,"resolved":false}}`, "no known trajectory format", "verdicts"},
		"object":   {`{"some":1,"thing":2}`, "no known trajectory format", "some, thing"},
	} {
		im, err := Detect([]byte(c.head), "dir/f.jsonl")
		if im != nil || err == nil {
			t.Errorf("%s: importer %v, error %v", what, im, err)
			continue
		}
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "dir/f.jsonl") || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%s: %v (hint: %s)", what, err, fault.HintOf(err))
		}
	}
	for _, blank := range []string{"", " \n\t\n", "\xef\xbb\xbf\n"} {
		if im, err := Detect([]byte(blank), "f"); im == nil || err != nil {
			t.Errorf("blank file %q: %v, %v", blank, im, err)
		}
		for _, im := range All() {
			for rec := range im.Read(context.Background(), strings.NewReader(blank), Source{Name: "f"}) {
				t.Errorf("%s read %+v out of the blank file %q", im.Name(), rec, blank)
			}
		}
	}
}

const goodNative = `{"turns":[{"role":"user","text":"good"}]}`

// TestBadRecords: a bad record is named by file, line and field; the ones around
// it come in.
func TestBadRecords(t *testing.T) {
	for what, c := range map[string]struct{ line, want string }{
		"truncated":    {`{"turns":[{"role":"user","te`, "f.jsonl:2"},
		"invalid utf8": {"{\"turns\":[{\"role\":\"user\",\"text\":\"\xff\"}]}", "invalid UTF-8"},
		"nested":       {strings.Repeat(`{"turns":[`, 2500) + "1" + strings.Repeat("]}", 2500), "nested deeper"},
		"nan":          {`{"reward":NaN,"turns":[{"role":"user"}]}`, "reward"},
		"inf":          {`{"reward":1e999,"turns":[{"role":"user"}]}`, "reward"},
		"wrong type":   {`{"turns":[{"role":"user","text":[1]}]}`, "turns[0].text"},
		"lengths":      {`{"token_ids":[1,2],"logprobs":[0.5]}`, "logprobs"},
		"twice":        {`{"turns":[{"role":"user"}],"turns":[]}`, "turns"},
		"scalar":       {`17`, "f.jsonl:2"},
		"too large":    {`{"turns":[{"role":"user","text":"` + strings.Repeat("x", 1<<20) + `"}]}`, "larger than the limit"},
		"enum":         {`{"effort":"hard","turns":[{"role":"user"}]}`, "effort"},
	} {
		data := goodNative + "\n" + c.line + "\n" + goodNative + "\n"
		var good, bad int
		for rec := range (native{}).Read(context.Background(), strings.NewReader(data), Source{Name: "f.jsonl", MaxRecord: 1 << 20}) {
			if rec.Err == nil {
				good++
				continue
			}
			bad++
			if !fault.Is(rec.Err, fault.Invalid) || !strings.Contains(rec.Err.Error(), c.want) || !strings.Contains(rec.Err.Error(), "f.jsonl:2") {
				t.Errorf("%s: %v", what, rec.Err)
			}
		}
		if good != 2 || bad != 1 {
			t.Errorf("%s: %d good rows and %d errors, want 2 and 1", what, good, bad)
		}
	}
}

// repeated reads head, n times the part, and tail.
type repeated struct {
	head, part, tail string
	n                int
	rest             string
	state            int
}

func (r *repeated) Read(p []byte) (int, error) {
	for r.rest == "" {
		switch {
		case r.state == 0:
			r.rest, r.state = r.head, 1
		case r.state == 1 && r.n > 0:
			r.rest = r.part
			r.n--
		case r.state == 1:
			r.rest, r.state = r.tail, 2
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// TestStreams: long files and long lines are read in bounded memory.
func TestStreams(t *testing.T) {
	filler := strings.Repeat("policy ", 2000)
	message := `{"role":"user","content":"` + filler + `"}`
	sim := `{"id":"x","task_id":"1","termination_reason":"user_stop","reward_info":{"reward":1},"messages":[` + message + "]}"
	header := `{"info":{"environment_info":{"domain_name":"airline","policy":"p"},"agent_info":{},"user_info":{}},"tasks":[{"id":"1"}],"simulations":[`
	for what, c := range map[string]struct {
		im   Importer
		r    *repeated
		rows int
		errs int
	}{
		"array of 60 MB":              {tauBench{}, &repeated{head: "[", part: `{"task_id":1,"reward":1,"info":{},"traj":[` + message + "]},\n", n: 4000, tail: `{"task_id":1,"traj":[` + message + "]}]"}, 4001, 0},
		"lines of 60 MB":              {openAI{}, &repeated{part: `{"messages":[` + message + "]}\n", n: 4000}, 4000, 0},
		"tau2 results of 60 MB":       {tau2Bench{}, &repeated{head: header, part: sim + ",", n: 4000, tail: sim + "]}"}, 4001, 0},
		"tau2, header after the list": {tau2Bench{}, &repeated{head: `{"simulations":[`, part: sim + ",", n: 1000, tail: sim + `],"tasks":[{"id":"1"}],"info":{"environment_info":{}}}`}, 1001, 0},
		"a line of 60 MB":             {native{}, &repeated{head: goodNative + "\n" + `{"turns":[{"role":"user","text":"`, part: filler, n: 4500, tail: "\"}]}\n" + goodNative}, 2, 1},
		"one string without end":      {native{}, &repeated{head: `{"turns":[{"role":"user","text":"`, part: filler, n: 4500}, 0, 1},
	} {
		t.Run(what, func(t *testing.T) {
			var rows, errs int
			var most uint64
			for rec := range c.im.Read(context.Background(), c.r, Source{Name: "big.json", MaxRecord: 4 << 20}) {
				if rec.Err != nil {
					errs++
					t.Log(rec.Err)
				} else {
					rows++
				}
				if rows%1000 == 1 || rec.Err != nil {
					var m runtime.MemStats
					runtime.GC()
					runtime.ReadMemStats(&m)
					most = max(most, m.HeapAlloc)
				}
			}
			if rows != c.rows || errs != c.errs {
				t.Errorf("%d rows and %d errors, want %d and %d", rows, errs, c.rows, c.errs)
			}
			if most > 32<<20 {
				t.Errorf("%d MB were alive", most>>20)
			}
		})
	}
}

// TestReaderFails: an error of the reader or of the context is the last record,
// with its own kind; breaking off reads no more.
func TestReaderFails(t *testing.T) {
	for _, im := range All() {
		data := []byte(`{"messages":[],"turns":[],"traj":[],"steps":[],"info":{"environment_info":{}},"simulations":[{`)
		var last Record
		for rec := range im.Read(context.Background(), io.MultiReader(bytes.NewReader(data), failing{}), Source{Name: "f"}) {
			last = rec
		}
		if !fault.Is(last.Err, fault.Unavailable) || !errors.Is(last.Err, errDisk) {
			t.Errorf("%s: %v", im.Name(), last.Err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		n := 0
		for rec := range im.Read(ctx, strings.NewReader(goodNative), Source{Name: "f"}) {
			n++
			last = rec
		}
		if n > 1 || n == 1 && im.Name() != "tau2_bench" && !fault.Is(last.Err, fault.Cancelled) {
			t.Errorf("%s: %d records, %v", im.Name(), n, last.Err)
		}
	}
	n := 0
	for range (native{}).Read(context.Background(), &repeated{part: goodNative + "\n", n: 1 << 40}, Source{Name: "f"}) {
		if n++; n == 3 {
			break
		}
	}
}

var errDisk = fmt.Errorf("the disk is gone")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errDisk }
