package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"trajlake/schema/fault"
)

const everything = `
snapshot: live
unit: trajectory
where: reward is not null and task_set = 'math'
staleness: {success: 8, failure: 4, unit: versions}
strata: {by: [effort], shares: {none: 0.3, low: 0.3, high: 0.25, max: 0.15}, per: rows, when_dry: wait}
weight: reward
age_decay: {tau: 8, unit: versions}
caps: {per_task: 64, per_prompt: 8, reuse: 4, cooldown: 1}
limiter: {min_size: 1000, samples_per_insert: 4}
group: {size: 8, min: 8, timeout: 600s, on_timeout: drop, members: all, stats: all}
batch: {rows: 256}
columns: [token_ids, loss_mask, logprobs, reward]
tensors: [routed_experts]
seed: 5
`

func parse(t *testing.T, text string) Spec {
	t.Helper()
	s, err := ParseSpec([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// faultyKeys are the keys that an error finds fault with.
func faultyKeys(t *testing.T, err error) (out []string) {
	t.Helper()
	var faults Faults
	if !errors.As(err, &faults) || fault.KindOf(err) != fault.Usage {
		t.Fatalf("%v (%v) holds no faults of kind usage", err, fault.KindOf(err))
	}
	for _, f := range faults {
		out = append(out, f.Field)
	}
	return out
}

func TestParseSpecEverything(t *testing.T) {
	got := parse(t, everything)
	want := Spec{
		Snapshot:  Snapshot{Mode: Live},
		Unit:      UnitTrajectory,
		Where:     "reward is not null and task_set = 'math'",
		Staleness: Staleness{Success: 8, Failure: 4, Unit: "versions"},
		Strata: Strata{By: []string{"effort"}, Per: PerRows, WhenDry: DryWait, Shares: []Share{
			{[]string{"none"}, 3000}, {[]string{"low"}, 3000}, {[]string{"high"}, 2500}, {[]string{"max"}, 1500}}},
		Weight:   []Weight{{Name: WeightReward}},
		AgeDecay: AgeDecay{Tau: 8, Unit: "versions"},
		Caps:     Caps{64, 8, 4, 1},
		Limiter:  Limiter{MinSize: 1000, SamplesPerInsert: 4},
		Group:    Group{Size: 8, Min: 8, Timeout: 10 * time.Minute, OnTimeout: "drop", Members: All, Stats: All},
		Batch:    BatchSize{Rows: 256},
		Columns:  []string{"token_ids", "loss_mask", "logprobs", "reward"},
		Tensors:  []string{"routed_experts"},
		Seed:     5,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := got.Fill(Live).Validate(); err != nil {
		t.Error(err)
	}
}

// TestSpecRoundTrip: a spec's JSON gives the same spec, filled or not.
func TestSpecRoundTrip(t *testing.T) {
	for _, text := range []string{
		everything, "", "{}", "seed: 18446744073709551615", "snapshot: {version: 0}", "snapshot: {token: abc}",
		"strata: {by: [task_set, reward_band], shares: {'a/b/(0,0.25]': 0.9999, 'x/<0': 0.0001}}",
		"weight: [reward, {expr: 'a*b'}]", "unit: group\ngroup: {size: 1}", "batch: {tokens: 5}", "columns: []",
		"staleness: off\nage_decay: off\ncaps: off\nlimiter: off", "limiter: {samples_per_insert: 0.5}", "limiter: {samples_per_insert: 2, slack: 64}",
		"staleness: {success: 9}", "age_decay: {tau: 0.125}", "split: train", "split: [train, dev]\nscorer: tests\nrequire: {columns: token_ids, tensors: [routed]}",
		"difficulty: {min: 0.1}", "difficulty: {max: 0.5}", "difficulty: off", "fresh: {share: 0.25, age: 2, unit: steps}", "fresh: {share: 0.25}", "fresh: off",
		"beta: 0\nweight: priority", "beta: 0.5", "beta: -0", "weight: priority", "weight: {name: priority, alpha: 0.6}", "weight: fifo", "weight: newest",
		"weight: [{expr: 'a*b', alpha: 2}, {name: learnability, prior: [2, 0.5]}]",
		"strata: {by: [effort, age], ages: [8, 32], age_unit: steps, shares: {low/<=8: 0.5, high/>32: 0.5}}",
		"strata: {by: [effort, mode], marginals: {mode: {thinking: 0.7, instruct: 0.3}, effort: {low: 0.5, high: 0.5}}}",
		"strata: {by: [effort, mode], marginals: {mode: {thinking: 0.7, instruct: 0.2}}}",
		"strata: {by: effort, steps: [{from: 0, shares: {low: 1}}, {from: 100, shares: {low: 0.5, high: 0.5}}]}",
		"unit: branch\ngroup: {zero_variance: drop, on_timeout: pad, size: 8}",
	} {
		s := parse(t, text)
		for _, s := range []Spec{s, s.Fill(Pinned), s.Fill(Live)} {
			again := parse(t, string(s.JSON()))
			if !bytes.Equal(again.JSON(), s.JSON()) {
				t.Errorf("%s:\n %s gives\n %s", text, s.JSON(), again.JSON())
			}
		}
		full := s.Fill(Pinned)
		if again := parse(t, string(full.JSON())).Fill(Live); again.Hash() != full.Hash() {
			t.Errorf("%s: filled again it is\n %s, not\n %s", text, again.JSON(), full.JSON())
		}
	}
}

func TestSpecHash(t *testing.T) {
	base := parse(t, "weight: reward\nstrata: {by: effort, shares: {low: 0.5, high: 0.5}}").Fill(Pinned)
	for _, same := range []string{
		`{"strata":{"shares":{"low":5e-1,"high":0.50},"by":["effort"]},"weight":["reward"],"seed":0}`,
		"weight: [reward]\nbatch: {rows: 32}\nstrata:\n  by: [effort]\n  shares:\n  - {of: low, share: 0.5}\n  - {of: [high], share: 0.5}\nsnapshot: pinned\n",
	} {
		if got := parse(t, same).Fill(Pinned); got.Hash() != base.Hash() {
			t.Errorf("%s\n is %s,\nnot %s", same, got.JSON(), base.JSON())
		}
	}
	for _, other := range []string{
		"weight: reward\nstrata: {by: effort, shares: {high: 0.5, low: 0.5}}", // ties of the schedule
		"weight: reward\nstrata: {by: effort, shares: {low: 0.5, high: 0.5}}\nseed: 1",
	} {
		if parse(t, other).Fill(Pinned).Hash() == base.Hash() {
			t.Errorf("%s has the same hash", other)
		}
	}
	if h := base.Hash(); len(h) != 64 {
		t.Errorf("hash %q", h)
	}
}

// TestSpecHashGolden: a spec that was stored keeps its hash. Where this changes, lakes
// no longer know their streams.
func TestSpecHashGolden(t *testing.T) {
	for text, want := range map[string]string{
		everything: "1a13aa88f06e33e0",
		"columns: [reward]\nweight: [{name: learnability, alpha: 0.5}]\nfresh: {share: 0.25}\nstrata: {by: [effort, age], ages: 8, shares: {low/<=8: 0.5, high/>8: 0.5}, steps: [{from: 7, shares: {low/>8: 1}}]}": "4bfe1dc69af4a6d4",
	} {
		if got := parse(t, text).Fill(Live).Hash()[:16]; got != want {
			t.Errorf("%s has the hash %s, want %s", parse(t, text).Fill(Live).JSON(), got, want)
		}
	}
}

// TestWordsAreWords: nothing of YAML 1.1's booleans and nulls is left.
func TestWordsAreWords(t *testing.T) {
	s := parse(t, "staleness: off\nstrata: {by: [effort], shares: {none: 0.4, max: 0.6}}\nwhere: no\nscorer: yes")
	if s.Staleness.Unit != Off || s.Strata.Shares[0].Name() != "none" || s.Where != "no" || s.Scorer != "yes" {
		t.Errorf("%+v", s)
	}
	s = parse(t, "strata:\n  by: reward_band\n  shares:\n    0: 0.25\n    1: 0.25\n    '<0': 0.25\n    (0,0.25]: 0.25\n")
	if err := s.Fill(Pinned).Validate(); err != nil {
		t.Error(err)
	}
}

func TestParseSpecRefuses(t *testing.T) {
	for _, c := range []struct {
		text   string
		fields []string
		say    string
	}{
		{"batchs: {rows: 3}", []string{"batchs"}, "did you mean batch?"},
		{"a: 1\nseed: x\nbatch: {row: 3}\n", []string{"a", "seed", "batch.row"}, "line 3: unknown key (did you mean rows?)"},
		{"strata: {by: [effort], share: {low: 1}}", []string{"strata.share"}, "did you mean shares?"},
		{`{"staleness": false}`, []string{"staleness"}, `"off"`},
		{"where: ~", []string{"where"}, "leave the key out"},
		{"seed: -1", []string{"seed"}, "0 to 2^64"},
		{"seed: 1.5", []string{"seed"}, "1.5"},
		{"seed: 0x10", []string{"seed"}, "0x10"},
		{"seed: .inf", []string{"seed"}, ""},
		{"batch: {rows: 0}", []string{"batch.rows"}, "from 1"},
		{"batch: {rows: 1e400}", []string{"batch.rows"}, "1e400"},
		{"batch: 32", []string{"batch"}, "a map of rows or tokens"},
		{"limiter: {slack: -1.5}", []string{"limiter.slack"}, "a whole number"},
		{"caps: {per_task: 0}", []string{"caps.per_task"}, "from 1 or"},
		{"strata: {by: effort, shares: {low: 0.33333, high: 0.5}}", []string{"strata.shares.low"}, "4 decimal places"},
		{"strata: {by: effort, shares: {low: 1.5, high: -1}}", []string{"strata.shares.low", "strata.shares.high"}, "from 0 to 1"},
		{"strata: {by: effort, shares: }", []string{"strata.shares"}, ""},
		{"strata: {by: effort, shares: 3}", []string{"strata.shares"}, ""},
		{"snapshot: {version: 1, token: x}", []string{"snapshot"}, "one of version"},
		{"snapshot: {}", []string{"snapshot"}, "one of version"},
		{"group: {timeout: 600}", []string{"group.timeout"}, "600s"},
		{"group: {timeout: 0s}", []string{"group.timeout"}, "1ms"},
		{"columns: {a: 1}", []string{"columns"}, "a list of texts"},
		{"columns: [a, 1]", []string{"columns[1]"}, "a text"},
		{"weight: 3", []string{"weight"}, ""},
		{"weight: [reward, {exp: a}]", []string{"weight[1].exp"}, "did you mean expr?"},
		{"weight: {alpha: 2}", []string{"weight"}, "one of name and expr"},
		{"weight: {name: reward, expr: a}", []string{"weight"}, "one of name and expr"},
		{"weight: {name: expr}", []string{"weight"}, "write {expr: …}"},
		{"weight: {name: reward, alpha: 0}", []string{"weight.alpha"}, "above 0"},
		{"weight: {name: learnability, prior: [1]}", []string{"weight.prior"}, "two numbers"},
		{"weight: {name: learnability, prior: [1, 0]}", []string{"weight.prior[1]"}, "above 0"},
		{"staleness: {failure: 3}", []string{"staleness"}, "success is missing"},
		{"difficulty: {max: 0}", []string{"difficulty.max"}, "above 0"},
		{"difficulty: [0, 1]", []string{"difficulty"}, "a map of min, max"},
		{"fresh: {shares: 0.5}", []string{"fresh.shares"}, "did you mean share?"},
		{"fresh: {share: 0.12345}", []string{"fresh.share"}, "4 decimal places"},
		{"strata: {by: effort, marginals: {efort: {low: 1}}}", []string{"strata.marginals.efort"}, "did you mean effort?"},
		{"strata: {by: effort, steps: {from: 1}}", []string{"strata.steps"}, "a list"},
		{"strata: {by: effort, steps: [{from: 1.5, share: {low: 1}}]}", []string{"strata.steps[0].from", "strata.steps[0].share"}, "did you mean shares?"},
		{"strata: {by: age, ages: [a]}", []string{"strata.ages[0]"}, "a whole number"},
		{"split: 3", []string{"split"}, "a list of texts"},
		{"require: [token_ids]", []string{"require"}, "a map of columns, tensors"},
		{"beta: high", []string{"beta"}, "a number"},
		{"- a", []string{""}, "a map of keys"},
		{`{"seeds": 1, "unti": 1}`, []string{"seeds", "unti"}, "did you mean unit?"},
	} {
		_, err := ParseSpec([]byte(c.text))
		if err == nil {
			t.Errorf("%q was taken", c.text)
			continue
		}
		if got := faultyKeys(t, err); !slices.Equal(got, c.fields) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%q: fields %q, want %q, and %q in: %v", c.text, got, c.fields, c.say, err)
		}
	}
}

func TestParseSpecSyntax(t *testing.T) {
	for _, c := range []struct{ text, say string }{
		{"a: [", ""}, {"seed: 1\nseed: 2", "seed"}, {`{"seed":1,"seed":2}`, "seed"}, {"seed: 1\n---\nseed: 2", "second document"},
		{"where: &a x\nscorer: *a", "anchors"}, {"where: !!str x", "tags"}, {"? [a]\n: b", ""},
		{"where: \"" + strings.Repeat("x", 1<<20) + "\"", "at most"},
		{strings.Repeat("\n", 20_000) + "seed: 1", "lines"},
		{strings.Repeat("[", 40_000), "nested deeper"}, {strings.Repeat("{a: ", 40_000), "nested deeper"},
		{strings.Repeat("- ", 40_000), "nested deeper"}, {strings.Repeat("x: [\n", 40_000), "nested deeper"},
		{"where:\n" + strings.Repeat("? ", 40_000), "nested deeper"},
		{"\xff\xfe", ""}, {"a\x00b: 1", ""},
	} {
		_, err := ParseSpec([]byte(c.text))
		if err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%.40q: %v, want a fault of kind usage with %q", c.text, err, c.say)
		}
	}
	for _, text := range []string{"", "\n", "# nothing\n", "---\nseed: 1\n", "{}", "seed: 1\r\nunit: group\r\n", "{seed: 3}"} {
		parse(t, text)
	}
}

func TestStrataSchedule(t *testing.T) {
	s := parse(t, "strata: {by: [task_set, mode], shares: {a/b/thinking: 0.3, c/unknown: 0.7}}").Strata
	if got := s.Shares[0].Of; !slices.Equal(got, []string{"a/b", "thinking"}) || s.Shares[1].Name() != "c/unknown" {
		t.Errorf("%+v", s)
	}
	schedule, err := s.Schedule()
	if err != nil {
		t.Fatal(err)
	}
	if got := schedule.Counts(0, 10_000); !slices.Equal(got, []int{3000, 7000}) {
		t.Errorf("slots %v", got)
	}
}

// TestJSONSchema: the published schema is this one, and names exactly the keys
// that the reader takes.
func TestJSONSchema(t *testing.T) {
	published, err := os.ReadFile("../docs/reference/spec.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(published, JSONSchema()) {
		t.Error("docs/reference/spec.schema.json differs from replay/spec.schema.json: copy it")
	}
	var root map[string]any
	if err := json.Unmarshal(JSONSchema(), &root); err != nil {
		t.Fatal(err)
	}
	want := keysOf(root, "")
	for _, key := range []string{"name", "expr", "alpha", "prior"} { // behind a $ref
		want["weight."+key] = true
	}
	got := map[string]bool{}
	probe(t, "", got)
	if !maps.Equal(got, want) {
		t.Errorf("the reader takes %v\nthe schema has %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// keysOf lists the paths of all properties of a schema.
func keysOf(s map[string]any, path string) map[string]bool {
	out := map[string]bool{}
	properties, _ := s["properties"].(map[string]any)
	for key, sub := range properties {
		at := strings.TrimPrefix(path+"."+key, ".")
		out[at] = true
		maps.Copy(out, keysOf(sub.(map[string]any), at))
	}
	for _, variant := range asList(s["oneOf"]) {
		sub := variant.(map[string]any)
		if sub["type"] != "array" { // strata.shares as a list has keys of its own
			maps.Copy(out, keysOf(sub, path))
		}
	}
	return out
}

func asList(v any) []any {
	list, _ := v.([]any)
	return list
}

// probe asks the reader, by the keys that it proposes in place of a wrong one.
func probe(t *testing.T, path string, got map[string]bool) {
	t.Helper()
	document := any(map[string]any{"@@@@@@@@@@@@@@@@@@": 1})
	parts := strings.Split(path, ".")
	for i := len(parts) - 1; i >= 0 && path != ""; i-- {
		document = map[string]any{parts[i]: document}
	}
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParseSpec(text)
	var faults Faults
	if !errors.As(err, &faults) {
		return
	}
	for _, f := range faults {
		list, found := strings.CutPrefix(f.Hint, "possible here: ")
		if !found {
			continue
		}
		for key := range strings.SplitSeq(list, ", ") {
			at := strings.TrimPrefix(path+"."+key, ".")
			got[at] = true
			if path != "weight" {
				probe(t, at, got)
			}
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(`{"seed":1,"weight":["reward",{"expr":"a"}]}`))
	f.Add([]byte("strata: {by: [effort], shares: {none: 1}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSpec(data)
		if err != nil {
			return
		}
		full := s.Fill(Pinned)
		_ = full.Validate()
		again, err := ParseSpec(full.JSON())
		if err != nil {
			t.Fatalf("%q: its JSON %s: %v", data, full.JSON(), err)
		}
		if again.Hash() != full.Hash() {
			t.Fatalf("%q: %s and %s", data, full.JSON(), again.JSON())
		}
	})
}
