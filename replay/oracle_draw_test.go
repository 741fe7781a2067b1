package replay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// oracleLake fills a lake at random, annotates it, and says what its rows are.
func oracleLake(t *testing.T, r *rand.Rand) (*store.Lake, []fact) {
	t.Helper()
	maybe := func(values ...string) string { return values[r.IntN(len(values))] }
	facts := make([]fact, 20+r.IntN(80))
	rewards := []float64{-1, 0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9, 1, 1e-9, 3}
	for i := range facts {
		f := fact{seq: int64(i), id: fmt.Sprint("a", i), group: maybe("", "a1", "g1", "g2", "g3", "g4", "g5", "g6"), task: maybe("", "t1", "t2", "t3"),
			prompt: maybe("", "p1", "p2", "p3", "p4", "p5", "p6"), effort: maybe("", "none", "low", "high"), mode: maybe("", "thinking", "unknown"), set: maybe("", "math", "swe")}
		if r.IntN(4) > 0 {
			f.own = ptr(rewards[r.IntN(len(rewards))])
		}
		f.reward = f.own
		facts[i] = f
	}
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	lake := lakeOf(t, 0, nil)
	for lo := 0; lo < len(facts); {
		n := min(1+r.IntN(30), len(facts)-lo)
		appendRows(t, lake, lo, n, func(i int, row *schema.Trajectory) {
			f := facts[i]
			row.GroupID, row.TaskID, row.PromptHash, row.Effort, row.Mode, row.TaskSet, row.Reward = text(f.group), text(f.task), text(f.prompt), text(f.effort), text(f.mode), text(f.set), f.own
		})
		lo += n
	}
	var notes []*schema.Annotation
	for i := range r.IntN(60) {
		f := &facts[r.IntN(len(facts))]
		a := &schema.Annotation{AnnotationID: fmt.Sprint("n", i), TargetKind: ptr("trajectory"), TargetID: ptr(f.id), Scorer: ptr(maybe("x", "y"))}
		switch r.IntN(4) {
		case 0:
			a.Kind, a.Value = ptr("reward"), ptr(rewards[r.IntN(len(rewards))])
			f.reward = a.Value
		case 1:
			a.Kind, a.Value = ptr("priority"), ptr([]float64{-2, 0, 0.5, 1, 7}[r.IntN(5)])
			f.priority = a.Value
		case 2:
			a.Kind, a.Scorer = ptr("quarantine"), nil
			f.quarantined = true
		case 3:
			a.Kind, a.Scorer = ptr("restore"), nil
			f.quarantined = false
		}
		notes = append(notes, a)
	}
	if len(notes) > 0 {
		if _, _, err := lake.Annotate(t.Context(), notes); err != nil {
			t.Fatal(err)
		}
	}
	if r.IntN(2) == 0 {
		if _, err := lake.Fold(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	return lake, facts
}

// oracleWish makes a spec at random.
func oracleWish(r *rand.Rand) wish {
	w := wish{unit: "trajectory", rows: 1 + r.IntN(25), min: 2, seed: r.Uint64(), dry: "accept", weight: [][]string{{"uniform"}, {"reward"}, {"priority"}, {"reward", "priority"}, {"priority", "uniform", "priority"}}[r.IntN(5)]}
	text := fmt.Sprintf("seed: %d\nbatch: {rows: %d}\nweight: [%s]\n", w.seed, w.rows, strings.Join(w.weight, ", "))
	switch r.IntN(5) {
	case 0:
		text, w.where = text+"where: reward > 0.25\n", func(f fact) bool { return f.reward != nil && *f.reward > 0.25 }
	case 1:
		text, w.where = text+"where: reward_raw <= 0.5 and not task_set = 'math'\n", func(f fact) bool { return f.own != nil && *f.own <= 0.5 && f.set != "" && f.set != "math" }
	case 2:
		text, w.where = text+"where: reward is null or priority >= 1\n", func(f fact) bool { return f.reward == nil || f.priority != nil && *f.priority >= 1 }
	default:
		w.where = func(fact) bool { return true }
	}
	if r.IntN(2) == 0 {
		w.unit, w.min = "group", 1+r.IntN(3)
		text += fmt.Sprintf("unit: group\ngroup: {min: %d}\n", w.min)
	}
	if r.IntN(3) > 0 {
		w.perTask, w.perPromp = r.IntN(5), r.IntN(4)
		var caps []string
		if w.perTask > 0 {
			caps = append(caps, fmt.Sprint("per_task: ", w.perTask))
		}
		if w.perPromp > 0 {
			caps = append(caps, fmt.Sprint("per_prompt: ", w.perPromp))
		}
		text += "caps: {" + strings.Join(caps, ", ") + "}\n"
	}
	if r.IntN(4) > 0 {
		text += w.someStrata(r)
	}
	w.text = text
	return w
}

// someStrata chooses columns and shares, and gives the text for them.
func (w *wish) someStrata(r *rand.Rand) string {
	values := map[string][]string{"effort": {"none", "low", "high", "unknown"}, "mode": {"thinking", "unknown"}, "task_set": {"math", "swe", "unknown"},
		"reward_band": {"unscored", "<0", "0", "(0,0.25]", "(0.25,0.5]", "(0.5,0.75]", "(0.75,1)", "1", ">1"}}
	columns := []string{"effort", "mode", "task_set", "reward_band"}
	r.Shuffle(len(columns), func(i, j int) { columns[i], columns[j] = columns[j], columns[i] })
	w.by = columns[:1+r.IntN(2)]
	names := values[w.by[0]]
	if len(w.by) == 2 {
		names = nil
		for _, a := range values[w.by[0]] {
			for _, b := range values[w.by[1]] {
				names = append(names, a+"/"+b)
			}
		}
	}
	names = slices.Clone(names)
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	names = names[:1+r.IntN(min(len(names), 6))]
	left := int64(10_000)
	var parts []string
	for i, name := range names {
		share := left
		if i < len(names)-1 {
			share = r.Int64N(left + 1)
		}
		left -= share
		w.shares = append(w.shares, wishShare{name, share})
		parts = append(parts, fmt.Sprintf("%q: 0.%04d", name, share))
		if share == 10_000 {
			parts[i] = fmt.Sprintf("%q: 1", name)
		}
	}
	w.dry = []string{"fail", "accept", "redistribute"}[r.IntN(3)]
	return fmt.Sprintf("strata: {by: [%s], when_dry: %s, shares: {%s}}\n", strings.Join(w.by, ", "), w.dry, strings.Join(parts, ", "))
}

// TestDrawEqualsTheOracle draws from random lakes by random specs.
func TestDrawEqualsTheOracle(t *testing.T) {
	seed := rand.Uint64()
	lakes := 10
	if testing.Short() {
		lakes = 5
	}
	drawn, dryBatches := 0, 0
	for k := range lakes {
		r := rand.New(rand.NewPCG(seed, uint64(k)))
		lake, facts := oracleLake(t, r)
		snap := head(t, lake)
		for range 8 {
			w := oracleWish(r)
			if err := parse(t, w.text).Fill(Pinned).Validate(); err != nil && w.dry == "fail" && strings.Contains(err.Error(), "no row of this stratum") {
				continue // no batch of it could ever be drawn
			}
			s := sampler(t, snap, w.text)
			schedule := oracleSchedule(w.allShares())
			for _, position := range []uint64{0, uint64(r.IntN(1000)), r.Uint64()} {
				where := fmt.Sprintf("seed %d, lake %d, position %d, spec\n%s", seed, k, position, w.text)
				b, err := s.Draw(position)
				wanted, dry := w.draw(facts, schedule, position)
				if dry {
					if dryBatches++; fault.KindOf(err) != fault.Exhausted {
						t.Fatalf("%s: %v, want a dry stratum", where, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				var got []want
				for _, slot := range b.Slots {
					got = append(got, want{slot.Stratum, int64(slot.P32), slot.Members})
				}
				if !slices.EqualFunc(got, wanted, func(a, b want) bool {
					return a.stratum == b.stratum && a.p32 == b.p32 && slices.Equal(a.members, b.members)
				}) {
					t.Fatalf("%s:\n got %v\nwant %v", where, got, wanted)
				}
				drawn += len(got)
			}
		}
	}
	if drawn < lakes || dryBatches == 0 {
		t.Errorf("seed %d: %d slots, %d dry batches: this proves nothing", seed, drawn, dryBatches)
	}
}
