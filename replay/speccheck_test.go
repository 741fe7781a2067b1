package replay

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"trajlake/replay/law"
)

func TestFillDefaults(t *testing.T) {
	s := Spec{}.Fill(Pinned)
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	if s.Law != 1 || s.Sampler != Keyed || s.Snapshot.Mode != Pinned || s.Unit != UnitTrajectory || s.Batch.Rows != 32 ||
		s.Staleness.Unit != Off || s.AgeDecay.Unit != Off || s.Fresh.Unit != Off || !s.Difficulty.Off() || s.Beta != 0 ||
		s.Strata.WhenDry != DryAccept || s.Group.Min != 2 || s.Group.ZeroVariance != Keep || len(s.Columns) < 50 || s.Sequential() {
		t.Errorf("pinned: %+v", s)
	}
	if s := (Spec{}).Fill(Live); s.Sampler != Tree || s.Staleness != (Staleness{8, 4, Versions}) || s.AgeDecay != (AgeDecay{8, Versions}) || s.Validate() != nil {
		t.Errorf("live: %+v, %v", s, s.Validate())
	}
	if s := parse(t, "staleness: off\nage_decay: off").Fill(Live); s.Staleness.Unit != Off || s.AgeDecay.Unit != Off {
		t.Errorf("off was overwritten: %+v", s)
	}
	if s := parse(t, "strata: {by: mode, shares: {thinking: 1}}").Fill(Pinned); s.Strata.WhenDry != DryFail {
		t.Errorf("when_dry %s", s.Strata.WhenDry)
	}
	if s := parse(t, "staleness: {success: 9}"); s.Staleness != (Staleness{9, 4, Versions}) {
		t.Errorf("staleness %+v", s.Staleness)
	}
	if s := parse(t, "weight: fifo").Fill(Live); s.AgeDecay.Unit != Off || s.Caps.Reuse != 1 || s.Beta != 0 || s.Order() != OrderFIFO || !s.Sequential() || s.Validate() != nil {
		t.Errorf("fifo: %+v, %v", s, s.Validate())
	}
	if s := parse(t, "weight: newest").Fill(Live); s.Caps.Reuse != 0 || s.Sequential() || s.Order() != OrderNewest {
		t.Errorf("newest: %+v", s)
	}
	if s := parse(t, "weight: [reward, learnability]").Fill(Pinned); s.Beta != 1 || s.Weight[0].Alpha != 1 || s.Weight[1].Prior != [2]float64{1, 1} {
		t.Errorf("weights: %+v", s)
	}
	if s := parse(t, "weight: reward\nbeta: 0").Fill(Pinned); s.Beta != 0 || s.Fill(Pinned).Beta != 0 || parse(t, string(s.JSON())).Fill(Pinned).Beta != 0 {
		t.Errorf("beta 0 was overwritten: %+v", s)
	}
	for _, text := range []string{"batch: {tokens: 9}", "caps: {reuse: 2}", "caps: {cooldown: 2}", "weight: lifo", "strata: {by: mode, shares: {thinking: 1}, per: tokens}"} {
		if !parse(t, text).Fill(Pinned).Sequential() {
			t.Errorf("%s is not sequential", text)
		}
	}
}

// TestFillDoesNotChangeItsArgument: a spec may be filled twice, for two snapshots.
func TestFillDoesNotChangeItsArgument(t *testing.T) {
	for _, text := range []string{
		"weight: [reward, learnability]",
		"strata: {by: effort, steps: [{from: 5, shares: {low: 1}}, {from: 9, shares: {high: 1}}]}",
		"strata: {by: [effort, mode], marginals: {mode: {thinking: 1}, effort: {low: 1}}}",
	} {
		s := parse(t, text)
		before := string(s.JSON())
		s.Fill(Live)
		if after := string(s.JSON()); after != before {
			t.Errorf("%s: it was\n%s, is now\n%s", text, before, after)
		}
	}
}

func TestMarginals(t *testing.T) {
	s := parse(t, "strata: {by: [mode, effort], marginals: {effort: {low: 0.3333, high: 0.6667}, mode: {thinking: 0.7, instruct: 0.2, unknown: 0.1}}}").Fill(Pinned)
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	want := []Share{{[]string{"thinking", "low"}, 2333}, {[]string{"thinking", "high"}, 4667}, {[]string{"instruct", "low"}, 667}, {[]string{"instruct", "high"}, 1333},
		{[]string{"unknown", "low"}, 333}, {[]string{"unknown", "high"}, 667}}
	if got := fmt.Sprint(s.Strata.Shares); got != fmt.Sprint(want) || s.Strata.Marginals != nil {
		t.Errorf("shares %v, want %v", got, want)
	}
	explicit := parse(t, "strata: {by: [mode, effort], shares: {thinking/low: 0.2333, thinking/high: 0.4667, instruct/low: 0.0667, instruct/high: 0.1333, unknown/low: 0.0333, unknown/high: 0.0667}}").Fill(Pinned)
	if explicit.Hash() != s.Hash() {
		t.Error("marginals and the same shares have different hashes")
	}
}

// TestMarginalsAddUp: whatever the marginals, cells add up to 1 and none is a part
// or more away from its product.
func TestMarginalsAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 1))
	t.Log("seed 31")
	marginal := func(words []string) (out []Share) {
		left := int32(law.SharesTotal)
		for i, w := range words {
			parts := r.Int32N(left + 1)
			if i == len(words)-1 {
				parts = left
			}
			left -= parts
			out = append(out, Share{[]string{w}, parts})
		}
		return out
	}
	for range 300 {
		s := Strata{By: []string{ByEffort, ByMode, ByRewardBand}, Marginals: map[string][]Share{}}
		products := []float64{1}
		for _, column := range s.By {
			m := marginal(vocabulary[column])
			s.Marginals[column] = m
			var next []float64
			for _, p := range products {
				for _, share := range m {
					next = append(next, p*float64(share.Parts)/law.SharesTotal)
				}
			}
			products = next
		}
		full := s.fill(false)
		if sum := sumOf(full.Shares); sum != law.SharesTotal || len(full.Shares) != len(products) {
			t.Fatalf("%d cells add up to %d: %v", len(full.Shares), sum, s.Marginals)
		}
		for i, share := range full.Shares {
			if off := float64(share.Parts) - products[i]*law.SharesTotal; off <= -1.0001 || off >= 1.0001 {
				t.Fatalf("cell %s has %d parts, its product is %v", share.Name(), share.Parts, products[i])
			}
		}
	}
}

func TestSharesBySteps(t *testing.T) {
	s := parse(t, "strata: {by: effort, shares: {low: 1}, steps: [{from: 10, shares: {high: 0.5, low: 0.5}}, {from: 20, shares: {high: 1}}]}").Fill(Pinned)
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		step      int64
		piece     int
		low, high int32
	}{{-1, 0, 10000, 0}, {0, 0, 10000, 0}, {9, 0, 10000, 0}, {10, 1, 5000, 5000}, {19, 1, 5000, 5000}, {20, 2, 0, 10000}, {1 << 40, 2, 0, 10000}} {
		shares, piece := s.Strata.SharesAt(c.step)
		if piece != c.piece || len(shares) != 2 || shares[0].Name() != "low" || shares[0].Parts != c.low || shares[1].Parts != c.high {
			t.Errorf("step %d: piece %d, %v", c.step, piece, shares)
		}
		schedule, err := s.Strata.ScheduleAt(c.step)
		if err != nil || schedule.Counts(0, 10_000)[1] != int(c.high) {
			t.Errorf("step %d: %v", c.step, err)
		}
	}
	first := parse(t, "strata: {by: effort, steps: [{from: 10, shares: {high: 1}}]}").Fill(Pinned)
	if shares, _ := first.Strata.SharesAt(0); len(shares) != 1 || shares[0].Parts != law.SharesTotal || first.Validate() != nil {
		t.Errorf("before the first piece: %v, %v", shares, first.Validate())
	}
}

func TestAgeBands(t *testing.T) {
	s := Strata{Ages: []int64{0, 8, 32}}
	bands := s.AgeBands()
	if want := []string{"<=0", "<=8", "<=32", ">32"}; !slices.Equal(bands, want) {
		t.Fatalf("bands %q", bands)
	}
	for age, want := range map[int64]string{-3: "<=0", 0: "<=0", 1: "<=8", 8: "<=8", 9: "<=32", 32: "<=32", 33: ">32", 1 << 60: ">32"} {
		if got := bands[s.AgeBand(age)]; got != want {
			t.Errorf("age %d is in %s, want %s", age, got, want)
		}
	}
	if (Strata{}).AgeBands() != nil {
		t.Error("there are bands without edges")
	}
}

type badSpec struct {
	text   string
	fields []string
	say    string
}

func checkRefused(t *testing.T, snapshot string, list []badSpec) {
	t.Helper()
	for _, c := range list {
		err := parse(t, c.text).Fill(snapshot).Validate()
		if err == nil {
			t.Errorf("%q was taken", c.text)
			continue
		}
		if got := faultyKeys(t, err); !slices.Equal(got, c.fields) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%q: fields %q, want %q, and %q in: %v", c.text, got, c.fields, c.say, err)
		}
	}
}

func TestValidate(t *testing.T) {
	checkRefused(t, Pinned, []badSpec{
		{"unit: episode", []string{"unit"}, "episode is kept for a later version; this one cannot draw by it (use trajectory, group or branch)"},
		{"unit: pair\nweight: [rare_success, efficiency]", []string{"unit", "weight[0]", "weight[1]"}, "rare_success is kept for a later version"},
		{"unit: task", []string{"unit"}, "kept for a later version"},
		{"unit: trajectorys", []string{"unit"}, "did you mean trajectory?"},
		{"law: 2", []string{"law"}, "law 1"},
		{"sampler: tre", []string{"sampler"}, "did you mean tree?"},
		{"snapshot: alive", []string{"snapshot"}, "did you mean live?"},
		{"where: reward >", []string{"where"}, ""},
		{"where: rewrd > 0", []string{"where"}, "rewrd"},
		{"where: reward", []string{"where"}, ""},
		{"split: ['']", []string{"split[0]"}, "empty"},
		{"split: [a, b, a]", []string{"split[2]"}, "twice"},
		{"require: {columns: [token_id], tensors: ['']}", []string{"require.columns[0]", "require.tensors[0]"}, "did you mean token_ids?"},
		{"difficulty: {min: 0.6, max: 0.5}", []string{"difficulty"}, "no pass rate"},
		{"difficulty: {min: -0.6}", []string{"difficulty"}, "0 to 1"},
		{"difficulty: {max: 1.5}", []string{"difficulty"}, "0 to 1"},
		{"staleness: {success: -1, failure: 1, unit: days}", []string{"staleness.unit", "staleness"}, "possible here: off, versions, steps, seconds"},
		{"age_decay: {tau: 0}", []string{"age_decay.tau"}, "0.001"},
		{"age_decay: {tau: 1, unit: step}", []string{"age_decay.unit"}, "did you mean steps?"},
		{"fresh: {share: 0.5, age: -1, unit: off}", []string{"fresh.unit", "fresh.age"}, "possible here: versions, steps, seconds"},
		{"weight: {expr: trajectory_id}", []string{"weight.expr"}, "number"},
		{"weight: {expr: rewrd * 2}", []string{"weight.expr"}, "rewrd"},
		{"weight: [reward, {expr: ''}]", []string{"weight[1].expr"}, ""},
		{"weight: rewrd", []string{"weight"}, "did you mean reward?"},
		{"weight: []", []string{"weight"}, "factors"},
		{"weight: [fifo, reward]", []string{"weight[0]"}, "stands alone"},
		{"weight: fifo\nbeta: 1\nage_decay: {tau: 1}\nfresh: {share: 0.5}", []string{"age_decay", "fresh", "beta"}, "in order (fifo)"},
		{"weight: {name: uniform, alpha: 2}", []string{"weight.alpha"}, "no exponent"},
		{"weight: {name: reward, alpha: 9}", []string{"weight.alpha"}, "at most 8"},
		{"weight: {name: reward, prior: [1, 1]}", []string{"weight.prior"}, "only learnability"},
		{"weight: {name: learnability, prior: [1.0e+9, 1]}", []string{"weight.prior"}, "at most 1e+06"},
		{"beta: 1.5", []string{"beta"}, "0 to 1"},
		{"strata: {by: effort}", []string{"strata.shares"}, "missing"},
		{"strata: {shares: {low: 1}}", []string{"strata.by"}, "shares of what"},
		{"strata: {marginals: {effort: {low: 1}}}", []string{"strata.by"}, "shares of what"},
		{"strata: {by: efort, shares: {low: 1}}", []string{"strata.by"}, "did you mean effort?"},
		{"strata: {by: [effort, effort], shares: {low/low: 1}}", []string{"strata.by"}, "twice"},
		{"strata: {by: effort, shares: {low: 0.5, hihg: 0.4}}", []string{"strata.shares.hihg", "strata.shares"}, "add up to 0.9, not to 1"},
		{"strata: {by: [effort, mode], shares: {low: 1}}", []string{"strata.shares.low"}, "write effort/mode"},
		{"strata: {by: [effort], shares: [{of: low, share: 0.5}, {of: low, share: 0.5}]}", []string{"strata.shares.low"}, "twice"},
		{"strata: {by: task_set, shares: {'': 1}}", []string{"strata.shares."}, ""},
		{"strata: {by: effort, shares: {low: 1}, per: token, when_dry: wait}", []string{"strata.per", "strata.when_dry"}, "did you mean tokens?"},
		{"strata: {by: age, shares: {'<=8': 1}}", []string{"strata.ages"}, "need the edges"},
		{"strata: {by: effort, ages: 8, shares: {low: 1}}", []string{"strata.ages"}, "put age into strata.by"},
		{"strata: {by: age, ages: [8, 8], shares: {'<=8': 1}}", []string{"strata.ages"}, "ascend"},
		{"strata: {by: age, ages: [8], shares: {'<=9': 1}}", []string{"strata.shares.<=9"}, "did you mean <=8?"},
		{"strata: {by: [effort, mode], marginals: {effort: {low: 1}}}", []string{"strata.marginals"}, "the shares of mode are missing"},
		{"strata: {by: effort, marginals: {effort: {low: 0.5}}}", []string{"strata.marginals.effort"}, "add up to 0.5"},
		{"strata: {by: effort, marginals: {effort: {low: 1}, mode: {thinking: 1}}}", []string{"strata.marginals.mode"}, "does not stand in strata.by"},
		{"strata: {by: effort, shares: {low: 1}, marginals: {effort: {low: 1}}}", []string{"strata.marginals"}, "not both"},
		{"strata: {by: effort, shares: {low: 1}, steps: [{from: 4, shares: {low: 0.5}}, {from: 4, shares: {high: 1}}]}",
			[]string{"strata.steps[0].shares", "strata.steps[1].from"}, "ascend"},
		{"batch: {rows: 9999999}", []string{"batch.rows"}, "1048576"},
		{"batch: {rows: 9, tokens: 9}", []string{"batch"}, "not both"},
		{"columns: [rewards, reward, reward, token_id]", []string{"columns[2]", "columns[3]"}, "did you mean token_ids?"},
		{"tensors: [a, a]", []string{"tensors[1]"}, "twice"},
		{"group: {size: 2, min: 3, on_timeout: pads, members: al, stats: some, zero_variance: no}",
			[]string{"group.min", "group.on_timeout", "group.members", "group.stats", "group.zero_variance"}, "did you mean all?"},
		{"group: {stats: complete_only, on_timeout: pad}", []string{"group.stats", "group.on_timeout"}, "say group.size"},
		{"group: {size: 1, zero_variance: drop}", []string{"group.zero_variance"}, "none could be drawn"},
		{"limiter: {min_size: 100}", []string{"limiter"}, "snapshot live"},
	})
	checkRefused(t, Live, []badSpec{
		{"limiter: {min_size: -1, samples_per_insert: -0.5, slack: -2}", []string{"limiter.min_size", "limiter.samples_per_insert", "limiter.slack"}, "0"},
		{"limiter: {slack: 5}", []string{"limiter.slack"}, "slack of what"},
	})
}

// TestValidateContradictions: strata with a share that nothing can ever fill.
func TestValidateContradictions(t *testing.T) {
	checkRefused(t, Live, []badSpec{
		{"where: reward > 1 and 1 = 2", []string{"where"}, "no row can satisfy it"},
		{"where: effort = 'high'\nstrata: {by: effort, shares: {low: 0.5, high: 0.5}}", []string{"strata.shares.low"}, "where lets none of them through"},
		{"where: effort in ('high', 'max')\nstrata: {by: [effort, mode], marginals: {effort: {low: 0.5, high: 0.5}, mode: {thinking: 1}}}", []string{"strata.shares.low/thinking"}, "where"},
		{"where: reward is not null\nstrata: {by: reward_band, shares: {unscored: 0.5, '1': 0.5}}", []string{"strata.shares.unscored"}, "where"},
		{"where: reward > 0.5\nstrata: {by: reward_band, shares: {'(0.25,0.5]': 0.5, '1': 0.5}}", []string{"strata.shares.(0.25,0.5]"}, "where"},
		{"where: effort is not null\nstrata: {by: effort, shares: {low: 0.9, unknown: 0.1}}", []string{"strata.shares.unknown"}, "where"},
		{"where: task_set = 'math'\nstrata: {by: task_set, shares: {code: 0.5, math: 0.5}}", []string{"strata.shares.code"}, "where"},
		{"where: split = 'train'\nsplit: [dev, test]", []string{"split"}, "lets no row of dev or test through"},
		{"weight: reward\nstrata: {by: reward_band, shares: {'0': 0.5, '1': 0.5}}", []string{"strata.shares.0"}, "the weight 0"},
		{"require: {columns: [reward]}\nstrata: {by: reward_band, shares: {unscored: 0.5, '1': 0.5}}", []string{"strata.shares.unscored"}, "require.columns"},
		{"staleness: {success: 8}\nstrata: {by: age, ages: [4, 8], shares: {'<=4': 0.5, '>8': 0.5}}", []string{"strata.shares.>8"}, "windows of staleness"},
		{"staleness: off\nfresh: {share: 1, age: 4}\nstrata: {by: age, ages: [4], shares: {'<=4': 0.5, '>4': 0.5}}", []string{"strata.shares.>4"}, "not fresh"},
		{"where: effort = 'high'\nstrata: {by: effort, shares: {high: 1}, steps: [{from: 9, shares: {low: 1}}]}", []string{"strata.shares.low"}, "where"},
	})
	for _, text := range []string{
		"where: effort = 'high'\nstrata: {by: effort, shares: {low: 0, high: 1}}",
		"where: effort = 'high'\nstrata: {by: effort, shares: {low: 0.5, high: 0.5}, when_dry: redistribute}",
		"where: reward > 0.25\nstrata: {by: reward_band, shares: {'(0.25,0.5]': 0.5, '1': 0.5}}",
		"where: mode = 'unknown'\nstrata: {by: mode, shares: {unknown: 1}}",
		"where: mode is null\nstrata: {by: mode, shares: {unknown: 1}}",
		"where: split = 'train'\nsplit: [dev, train]",
		"staleness: {success: 8}\nstrata: {by: age, ages: [4, 8], shares: {'<=4': 0.5, '<=8': 0.5}}",
		"staleness: {success: 8}\nstrata: {by: age, ages: [8], age_unit: seconds, shares: {'<=8': 0.5, '>8': 0.5}}",
		"require: {columns: [reward]}\nstrata: {by: effort, shares: {low: 0.5, unknown: 0.5}}",
	} {
		if err := parse(t, text).Fill(Live).Validate(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestValidateTakes(t *testing.T) {
	for _, text := range []string{
		"unit: group\ngroup: {size: 8, min: 4, members: eligible, stats: complete_only, on_timeout: pad, zero_variance: drop}",
		"unit: branch", "sampler: tree", "scorer: pytest", "tensors: [routed_experts]", "batch: {tokens: 524288}", "caps: {reuse: 4, cooldown: 1}",
		"strata: {by: [task_set, mode], shares: {a/b/thinking: 0.5, c/unknown: 0.5}, when_dry: redistribute}",
		"snapshot: {token: x}\nweight: [reward, priority]\ncaps: {per_task: 3, per_prompt: 1, reuse: off}",
		"strata: {by: effort, shares: {low: 1, high: 0}}", "strata: {by: effort, shares: {low: 1}, per: tokens}",
		"weight: [{name: learnability, alpha: 0.5, prior: [2, 2]}, {expr: 'reward / (1 + num_tool_errors)', alpha: 8}]",
		"staleness: {success: 100, failure: 50, unit: seconds}\nage_decay: {tau: 3600, unit: seconds}", "difficulty: {min: 0.1, max: 0.9}",
		"require: {columns: [token_ids, logprobs], tensors: [routed_experts]}", "weight: lifo", "weight: newest\nstrata: {by: mode, shares: {thinking: 1}}",
		"fresh: {share: 1, age: 0}", "weight: uniform\nbeta: 1",
	} {
		if err := parse(t, text).Fill(Pinned).Validate(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestValidateLargeSpecs: what is too large is refused, what is just large enough is
// checked in good time.
func TestValidateLargeSpecs(t *testing.T) {
	var shares []Share
	for i := range maxStrata {
		shares = append(shares, Share{[]string{fmt.Sprint("set-", i)}, 1})
	}
	s := Spec{Strata: Strata{By: []string{ByTaskSet}, Shares: shares}}
	s.Where = "task_set in ('x'" + strings.Repeat(", 'set-77'", 5000) + ") or reward > 0"
	if err := s.Fill(Pinned).Validate(); err != nil {
		t.Errorf("%d strata: %.300v", maxStrata, err)
	}
	for i := range 200 {
		s.Strata.Steps = append(s.Strata.Steps, Piece{int64(i), []Share{{[]string{fmt.Sprint("other-", i)}, law.SharesTotal}}})
	}
	err := s.Fill(Pinned).Validate()
	if err == nil || !strings.Contains(err.Error(), "cannot be brought to the same strata") {
		t.Errorf("%d strata in 200 pieces: %.300v", maxStrata, err)
	}
}

// TestSpecOfTheManual: the example that shows every key is a spec, and names them all.
func TestSpecOfTheManual(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/spec.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/reference/spec.md has no example in YAML")
	}
	if err := parse(t, text).Fill(Live).Validate(); err != nil {
		t.Error(err)
	}
	var root struct{ Properties map[string]any }
	if err := json.Unmarshal(JSONSchema(), &root); err != nil {
		t.Fatal(err)
	}
	for key := range root.Properties {
		if key != "law" && !strings.Contains("\n"+text, "\n"+key+":") {
			t.Errorf("the example lacks %s", key)
		}
	}
}
