package replay

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"trajlake/schema"
)

// TestExplain: every row is counted once, under the first reason that holds.
func TestExplain(t *testing.T) {
	lake := rowsLake(t, 40, func(i int, r *schema.Trajectory) {
		r.Effort = new(levels[i%2])
		r.Split = new([]string{"train", "test"}[min(i/30, 1)])
		r.Reward = new(float64(i % 5))
		r.Success = new(i%2 == 0)
		if i > 0 {
			r.PolicyVersionMin, r.PolicyVersionMax = new(int64(i)), new(int64(i))
		}
	})
	quarantine := &schema.Annotation{AnnotationID: "q", Kind: new("quarantine"), TargetKind: new("trajectory"), TargetID: new("a26")}
	if _, _, err := lake.Annotate(t.Context(), []*schema.Annotation{quarantine}); err != nil {
		t.Fatal(err)
	}
	o := Origin{AsOf: AsOf{Time: 1, Policy: 27, Step: 3}}
	s := at(t, lake, "split: train\nwhere: reward <> 2\nstaleness: {success: 20, failure: 9, unit: versions}\nage_decay: off\nweight: reward\nbatch: {rows: 4}\nstrata: {by: effort, shares: {none: 1}}", o)
	e := s.Explain()
	want := map[string]int64{"where": 8, "quarantined": 1, "split": 8, "future": 2, "staleness_unknown": 1, "staleness": 9}
	left := int64(40)
	for _, n := range want {
		left -= n
	}
	// Of the rest, odd ones are of the other stratum, and reward 0 weighs nothing.
	for i := range 40 {
		if i%5 == 2 || i == 26 || i >= 28 || i == 0 || i%2 == 0 && 27-i > 20 || i%2 == 1 && 27-i > 9 {
			continue
		}
		if i%2 == 1 {
			want["no_share"]++
		} else if i%5 == 0 {
			want["weight_zero"]++
		} else {
			continue
		}
		left--
	}
	if !maps.Equal(e.Excluded, want) || e.Eligible != left || e.Candidates != 40 {
		t.Errorf("%d candidates, %d eligible, excluded %v; want %d, %v", e.Candidates, e.Eligible, e.Excluded, left, want)
	}
	if len(e.Strata) != 1 || e.Strata[0].Stratum != "none" || e.Strata[0].Available != left || e.Strata[0].PerBatch != 4 || e.Strata[0].Share != 1 || e.Strata[0].Short {
		t.Errorf("strata %+v", e.Strata)
	}
	sum := int64(0)
	for _, age := range e.Staleness {
		if sum += age.Rows; age.From == nil || *age.To > 32 || *age.From > *age.To {
			t.Errorf("ages %+v", age)
		}
	}
	if sum != left || *e.AsOf.Policy != 27 || e.Weights.Least != 1 || e.Weights.Greatest != 4 {
		t.Errorf("%d rows have an age; %+v", sum, e.Weights)
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{`"candidates":`, `"eligible":`, `"excluded":{`, `"strata":[{"stratum":`, `"target":`, `"available":`, `"share":`, `"staleness":[`} {
		if !strings.Contains(string(text), key) {
			t.Errorf("%s lacks %s", text, key)
		}
	}
}

// TestExplainGroups counts units too.
func TestExplainGroups(t *testing.T) {
	lake := rowsLake(t, 51, grouped)
	e := at(t, lake, bare+"unit: group\ngroup: {min: 3, zero_variance: keep}\nwhere: reward is not null", Origin{}).Explain()
	if e.Candidates != 51 || e.Eligible != 34 || e.Excluded["where"] != 17 || !reflect.DeepEqual(e.Units, &ExplainedUnits{Candidates: 11, Eligible: 10, Excluded: map[string]int64{"ungrouped": 1}}) {
		t.Errorf("%+v %+v", e, e.Units)
	}
}

// TestScorer: rewards are those of one scorer only.
func TestScorer(t *testing.T) {
	lake := rowsLake(t, 6, nil)
	for i, scorer := range []string{"x", "y", "x"} {
		a := &schema.Annotation{AnnotationID: scorer + levels[i], Kind: new("reward"), TargetKind: new("trajectory"), TargetID: new("a" + string(rune('1'+i))), Value: new(1.0), Scorer: &scorer}
		if _, _, err := lake.Annotate(t.Context(), []*schema.Annotation{a}); err != nil {
			t.Fatal(err)
		}
	}
	for scorer, want := range map[string][]int64{"": {1, 2, 3}, "x": {1, 3}, "y": {2}} {
		got := draw(t, sampler(t, head(t, lake), "scorer: '"+scorer+"'\nweight: reward"), 0).places()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("scorer %q: rows %v, want %v", scorer, got, want)
		}
	}
}
