package replay

import (
	"slices"

	"trajlake/replay/facts"
)

// tasks is the pass rate of every task in a snapshot: over its rollouts that have
// a reward and are not quarantined. An episode is one rollout, with the outcome of
// its first row that counts.
type tasks struct {
	known []taskScore // by code
}

type taskScore struct{ successes, trials int32 }

func (t *tasks) of(task uint32) taskScore {
	if task == 0 || int(task) >= len(t.known) {
		return taskScore{}
	}
	return t.known[task]
}

// within tells whether a task's pass rate lies in a band; that of a task without
// scored rollouts does not.
func (t *tasks) within(task uint32, band Band) bool {
	score := t.of(task)
	if score.trials == 0 {
		return false
	}
	rate := float64(score.successes) / float64(score.trials)
	return rate >= band.Min && rate <= band.Max
}

// needTasks tells whether rules ask for pass rates.
func needTasks(spec *Spec) bool {
	return !spec.Difficulty.Off() || slices.ContainsFunc(spec.Weight, func(w Weight) bool { return w.Name == WeightLearnability })
}

func countTasks(view *facts.View) *tasks {
	t := &tasks{}
	seen := map[[2]uint32]struct{}{} // task and episode
	var r facts.Row
	for seq := range view.Rows() {
		view.Read(seq, &r)
		if !t.counts(&r, seen) {
			continue
		}
		t.count(&r)
	}
	return t
}

// counts tells whether a row stands for a rollout of its task.
func (t *tasks) counts(r *facts.Row, seen map[[2]uint32]struct{}) bool {
	if r.Task == 0 || r.Quarantined || r.Reward != r.Reward {
		return false
	}
	if r.Episode == 0 {
		return true
	}
	key := [2]uint32{r.Task, r.Episode}
	if _, is := seen[key]; is {
		return false
	}
	seen[key] = struct{}{}
	return true
}

func (t *tasks) count(r *facts.Row) {
	if n := int(r.Task) + 1; n > len(t.known) {
		t.known = append(t.known, make([]taskScore, n-len(t.known))...)
	}
	t.known[r.Task].trials++
	if succeeded(r) {
		t.known[r.Task].successes++
	}
}

// advanced counts some tasks anew, and names those whose score changed by that.
func (t *tasks) advanced(view *facts.View, touched map[uint32]struct{}) (next *tasks, changed []uint32) {
	next = &tasks{known: slices.Clone(t.known)}
	var r facts.Row
	for task := range touched {
		if int(task) < len(next.known) {
			next.known[task] = taskScore{}
		}
		seen := map[[2]uint32]struct{}{}
		for _, member := range view.MembersOf(facts.Task, task) {
			if view.Read(member, &r); next.counts(&r, seen) {
				next.count(&r)
			}
		}
		if next.of(task) != t.of(task) {
			changed = append(changed, task)
		}
	}
	return next, changed
}

func (t *tasks) size() int64 {
	if t == nil {
		return 0
	}
	return int64(8 * cap(t.known))
}
