package schema

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

func mustParse(t *testing.T, text string) canon.Value {
	t.Helper()
	v, err := canon.Parse([]byte(text), canon.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func fromJSON(t *testing.T, text string) *Trajectory {
	t.Helper()
	row, faults := FromJSON(mustParse(t, text))
	if err := faults.Err("read"); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return row
}

const toy = `{"trajectory_id":"toy-1","task_set":"toy-math","task_id":"add-2-2","group_id":"g1","group_index":0,"model":"m-7b","policy_version_min":3,"policy_version_max":3,
 "effort":"high","mode":"thinking","reward":1.0,"success":true,
 "turns":[{"role":"user","text":"2+2?"},
          {"role":"assistant","sampled":true,"thinking":"use the tool","tool_calls":[{"name":"calc","args_raw":"{\"e\":\"2+2\"}","result":"4","result_status":"ok"}]},
          {"role":"assistant","sampled":true,"text":"4"}],
 "token_ids":[101,7,9],"loss_mask":[0,1,1],"logprobs":[0,-0.11,-0.25]}`

func TestFromJSONToy(t *testing.T) {
	row := fromJSON(t, toy)
	if row.TrajectoryID != "toy-1" || *row.Reward != 1 || len(row.Turns) != 3 || *row.Turns[1].ToolCalls[0].ArgsRaw != `{"e":"2+2"}` ||
		!reflect.DeepEqual(row.TokenIDs, []int32{101, 7, 9}) || !reflect.DeepEqual(row.Logprobs, []float32{0, -0.11, -0.25}) {
		t.Errorf("%s", AppendJSON(nil, row))
	}
	if faults := Validate(row, Limits{}); len(faults) > 0 {
		t.Error(faults)
	}
	want := `{"effort":"high","group_id":"g1","group_index":0,"logprobs":[0,-0.11,-0.25],"loss_mask":[0,1,1],"mode":"thinking","model":"m-7b","policy_version_max":3,"policy_version_min":3,` +
		`"reward":1,"success":true,"task_id":"add-2-2","task_set":"toy-math","token_ids":[101,7,9],"trajectory_id":"toy-1","turns":[{"role":"user","text":"2+2?"},` +
		`{"role":"assistant","sampled":true,"thinking":"use the tool","tool_calls":[{"args_raw":"{\"e\":\"2+2\"}","name":"calc","result":"4","result_status":"ok"}]},` +
		`{"role":"assistant","sampled":true,"text":"4"}]}`
	if got := string(AppendJSON(nil, row)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestFromJSONIsGenerousWhereMeaningIsCertain(t *testing.T) {
	at := TimeOf(time.Date(2026, 3, 4, 5, 6, 7, 123456000, time.UTC))
	for _, c := range []struct {
		name, in string
		ok       func(*Trajectory) bool
	}{
		{"mask of booleans", `{"token_ids":[1,2],"loss_mask":[true,0]}`, func(r *Trajectory) bool { return reflect.DeepEqual(r.LossMask, []int8{1, 0}) }},
		{"integral floats", `{"token_ids":[1.0,2e0],"group_index":3.0}`, func(r *Trajectory) bool { return r.TokenIDs[1] == 2 && *r.GroupIndex == 3 }},
		{"args object", `{"turns":[{"tool_calls":[{"args_raw":{"b": 1.50, "a": 2}}]}]}`, func(r *Trajectory) bool { return *r.Turns[0].ToolCalls[0].ArgsRaw == `{"b":1.50,"a":2}` }},
		{"args", `{"turns":[{"tool_calls":[{"args":{"b":1}},{"args":"x"}]}]}`, func(r *Trajectory) bool {
			return *r.Turns[0].ToolCalls[0].ArgsRaw == `{"b":1}` && *r.Turns[0].ToolCalls[1].ArgsRaw == "x"
		}},
		{"offset time", `{"turns":[{"at":"2026-03-04T06:06:07.1234569+01:00"}]}`, func(r *Trajectory) bool { return *r.Turns[0].At == at }},
		{"integer time", `{"token_ids":[1],"started_at":1772600767123456}`, func(r *Trajectory) bool { return *r.StartedAt == at }},
		{"metadata", `{"token_ids":[1],"metadata":{"s":"x","n":1.0,"o":{"a": [1]},"z":null}}`, func(r *Trajectory) bool {
			return reflect.DeepEqual(r.Metadata, map[string]string{"s": "x", "n": "1.0", "o": `{"a":[1]}`})
		}},
		{"digest", `{"token_ids":[1],"source_digest":"00FF"}`, func(r *Trajectory) bool { return reflect.DeepEqual(r.SourceDigest, []byte{0, 255}) }},
		{"nulls and empties", `{"token_ids":[1],"reward":null,"turns":[],"metadata":{},"source":{},"sampling":{"seed":null}}`, func(r *Trajectory) bool {
			return reflect.DeepEqual(r, &Trajectory{TokenIDs: []int32{1}})
		}},
		{"extra text", `{"token_ids":[1],"extra":"{\"b\":1.0,\"a\":null}"}`, func(r *Trajectory) bool { return *r.Extra == `{"a":null,"b":1}` }},
		{"unknown keys", `{"token_ids":[1],"zeta":{"x":null,"y":[],"z":[null,{}]},"nothing":null,"source":{"who":"me"},"extra":{"k":1},` +
			`"turns":[{"mood":"good","blocks":[{"phase":2}],"tool_calls":[{"score":0.5}],"usage":{"audio":3}}]}`, func(r *Trajectory) bool {
			return *r.Extra == `{"k":1,"source.who":"me","turns[0].tool_calls[0].score":0.5,"turns[0].usage.audio":3,"zeta":{"z":[null,{}]}}` &&
				*r.Turns[0].Extra == `{"mood":"good"}` && *r.Turns[0].Blocks[0].Extra == `{"phase":2}` && r.Source == nil && r.Turns[0].Usage == nil
		}},
		{"row read from a lake", `{"token_ids":[1],"day":"2026-01-01","content_hash":"00"}`, func(r *Trajectory) bool { return r.Extra == nil }},
		{"own key day", `{"token_ids":[1],"day":"monday"}`, func(r *Trajectory) bool { return *r.Extra == `{"day":"monday"}` }},
	} {
		if row := fromJSON(t, c.in); !c.ok(row) {
			t.Errorf("%s: %s", c.name, AppendJSON(nil, row))
		}
	}
}

func TestFromJSONFaults(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`[1]`, "want a JSON object, got array"},
		{`{}`, "turns: a trajectory needs turns or token_ids"},
		{`{"turns":[]}`, "turns: a trajectory needs turns or token_ids"},
		{`{"turns":{}}`, "turns: want a list, got object"},
		{`{"turns":[null]}`, "turns[0]: null in a list"},
		{`{"turns":[{},{},{},{"tool_calls":[{"name":7}]}]}`, "turns[3].tool_calls[0].name: want string, got number"},
		{`{"trajectory_id":7,"reward":"1","success":1,"turns":[{"usage":[]}]}`,
			"trajectory_id: want string, got number; reward: want a number, got string; success: want a boolean, got number; turns[0].usage: want an object, got array"},
		{`{"token_ids":[1,null,2.5,3000000000]}`,
			"token_ids[1]: want an integer, got null; token_ids[2]: want an integer, got 2.5; token_ids[3]: 3000000000 is out of the range of a 32-bit integer"},
		{`{"token_ids":[1],"loss_mask":[300],"logprobs":[1e39,null],"reward":1e400}`,
			"loss_mask[0]: 300 is out of the range of a 8-bit integer; logprobs[0]: 1e39 is out of the range of a 32-bit float; logprobs[1]: want a number, got null; reward: 1e400 is out of the range of a 64-bit float"},
		{`{"token_ids":[1],"started_at":"yesterday","finished_at":1.5,"ingested_at":999999999999999999}`,
			`started_at: "yesterday" is no RFC 3339 time; finished_at: want a time (RFC 3339 text or integer microseconds), got number; ingested_at: the time is outside of the years 1 to 9999`},
		{`{"token_ids":[1],"extra":[1],"metadata":[],"content_hash":"xy"}`, "extra: want an object, got array; metadata: want an object, got array; content_hash: not hex"},
		{`{"token_ids":[1],"extra":"[1]"}`, "extra: the string holds no JSON object"},
		{`{"token_ids":[1],"extra":{"x":1},"x":2}`, "x: the key stands in extra too"},
		{`{"token_ids":[1],"tool_kinds":["a",1]}`, "tool_kinds[1]: want string, got number"},
	} {
		_, faults := FromJSON(mustParse(t, c.in))
		if got := faults.Error(); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
	}
}

func TestManyFaultsAreCounted(t *testing.T) {
	_, faults := FromJSON(mustParse(t, `{"token_ids":[`+strings.TrimSuffix(strings.Repeat("null,", 5000), ",")+`]}`))
	if len(faults) != maxFaults+1 || faults[maxFaults].Reason != "4900 more faults" {
		t.Error(len(faults), faults[len(faults)-1])
	}
}

func TestFaultsAsError(t *testing.T) {
	if err := Faults(nil).Err("append"); err != nil {
		t.Error(err)
	}
	_, faults := FromJSON(mustParse(t, `{"token_ids":[1],"reward":"x","model":1}`))
	err := faults.Err("append row 3")
	if !fault.Is(err, fault.Invalid) || fault.FieldOf(err) != "reward" {
		t.Error(fault.KindOf(err), fault.FieldOf(err))
	}
	if want := "append row 3: reward: want a number, got string (and 1 more: model: want string, got number)"; err.Error() != want {
		t.Errorf("got %s", err)
	}
}

func TestAnnotationFromJSON(t *testing.T) {
	a, faults := AnnotationFromJSON(mustParse(t, `{"target":"toy-1","kind":"reward","name":"tests","value":1,"scorer":"pytest","value_json":{"a":1},"mood":"x"}`))
	if len(faults) > 0 || *a.TargetID != "toy-1" || *a.ValueJSON != `{"a":1}` || *a.Extra != `{"mood":"x"}` {
		t.Error(faults, dump(a))
	}
	if _, faults := TensorFromJSON(mustParse(t, `{"trajectory_id":"a","name":"x","colour":1}`)); faults.Error() != "colour: the table tensors has no such column" {
		t.Error(faults)
	}
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(toy))
	for _, s := range []string{`{"turns":[{"mood":{"a":[null,{}]},"tool_calls":[{"args":{"x":1}}]}],"extra":"{\"a\":1e400}"}`, `{"token_ids":[1],"metadata":{"":"\u0000"},"started_at":-1}`,
		`{"token_ids":[1],"source":{"x":{"y":[]}},"logprobs":[1e-46]}`, `{"turns":[{}],"day":1,"segments":[{}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := canon.Parse(data, canon.Limits{})
		if err != nil {
			return
		}
		row, faults := FromJSON(v)
		Validate(row, Limits{})
		if len(faults) > 0 {
			return
		}
		text := AppendJSON(nil, row)
		again := fromJSON(t, string(text))
		if !reflect.DeepEqual(again, row) {
			t.Fatalf("%s\n%s\n%s", data, text, AppendJSON(nil, again))
		}
		if string(ContentHash(again)) != string(ContentHash(row)) || string(NativeCanonical(again)) != string(NativeCanonical(row)) {
			t.Fatalf("identity changed by a round trip: %s", data)
		}
		Derive(row)
		AppendJSON(nil, row)
	})
}
