package replay

import (
	"context"
	"maps"
	"slices"

	"trajlake/replay/facts"
	"trajlake/replay/pool"
	"trajlake/schema/fault"
)

// Advance makes the sampler of the same spec for the view that this one's view was
// advanced to, and another origin. It judges only rows that may have changed sides:
// new ones, those that annotations touched, those that the predicate or required
// columns see otherwise, those that time or the trainer moved over an edge, and
// those of tasks and groups of such rows. What comes out is equal to what OpenAt makes.
func (s *Sampler) Advance(ctx context.Context, view *facts.View, ch *facts.Change, o Origin) (*Sampler, error) {
	n := &Sampler{view: view, snap: view.Snapshot(), spec: s.spec, hash: s.hash, origin: o}
	if ch == nil || ch.NewFrom != s.view.Rows() {
		return OpenAt(ctx, view, *s.spec, o)
	}
	if err := n.prepare(ctx, s); err != nil {
		return nil, fault.Wrap("read candidates of "+n.snap.String(), err)
	}
	a := advance{old: s, now: n, dirty: map[int64]struct{}{}, edited: map[int]bool{}}
	a.age(ch)
	n.rules.decay = newDecay(n.spec, n.asOf, allAges(n.pages))
	if !n.rules.comparable(s.rules) || len(n.parts) != len(s.parts) {
		if err := n.build(ctx); err != nil {
			return nil, fault.Wrap("read candidates of "+n.snap.String(), err)
		}
		return n, nil
	}
	a.collect(ch)
	if err := a.judge(ctx); err != nil {
		return nil, fault.Wrap("read candidates of "+n.snap.String(), err)
	}
	return n, nil
}

// advance is one sampler becoming another.
type advance struct {
	old, now *Sampler
	dirty    map[int64]struct{} // places below those that are new
	edited   map[int]bool       // cells whose pool is the new sampler's own
}

// age takes new rows into the pages, and touched ones: deleted rows have no age.
func (a *advance) age(ch *facts.Change) {
	n := a.now.view.Rows()
	a.now.pages = slices.Clone(a.old.pages)
	var r facts.Row
	for seq := ch.NewFrom; seq < n; seq++ {
		if seq/pageRows == int64(len(a.now.pages)) {
			a.now.pages = append(a.now.pages, noAges)
		}
		a.now.view.Read(seq, &r)
		a.now.pages[seq/pageRows].add(&r)
	}
	again := map[int64]bool{}
	for _, seq := range ch.Touched {
		if a.now.view.Read(seq, &r); r.Absent && !again[seq/pageRows] {
			again[seq/pageRows] = true
			page := noAges
			for i := seq / pageRows * pageRows; i < min((seq/pageRows+1)*pageRows, n); i++ {
				a.now.view.Read(i, &r)
				page.add(&r)
			}
			a.now.pages[seq/pageRows] = page
		}
	}
}

// collect finds the old rows that have to be judged again.
func (a *advance) collect(ch *facts.Change) {
	for _, seq := range ch.Touched {
		a.dirty[seq] = struct{}{}
	}
	n := ch.NewFrom
	note := func(seq int64) {
		if seq < n {
			a.dirty[seq] = struct{}{}
		}
	}
	a.old.rules.match.Differ(a.now.rules.match, note)
	a.old.rules.require.Differ(a.now.rules.require, note)
	if a.now.spec.Caps.Reuse > 0 {
		a.now.origin.Uses.differ(a.old.origin.Uses, note)
	}
	before, after := a.old.rules.edges(), a.now.rules.edges()
	for i, page := range a.old.pages {
		if !page.moved(before, after) {
			continue
		}
		for seq := int64(i) * pageRows; seq < min(int64(i+1)*pageRows, n); seq++ {
			a.dirty[seq] = struct{}{}
		}
	}
	if a.old.rules.tasks != nil {
		a.countTasks(note)
	}
}

// countTasks counts anew the tasks of dirty and new rows; where a score changed, all
// rows of the task are dirty.
func (a *advance) countTasks(note func(int64)) {
	touched := map[uint32]struct{}{}
	var r facts.Row
	for seq := range a.dirty {
		a.old.view.Read(seq, &r)
		touched[r.Task] = struct{}{}
		a.now.view.Read(seq, &r)
		touched[r.Task] = struct{}{}
	}
	for seq := a.old.view.Rows(); seq < a.now.view.Rows(); seq++ {
		a.now.view.Read(seq, &r)
		touched[r.Task] = struct{}{}
	}
	delete(touched, 0)
	var changed []uint32
	a.now.rules.tasks, changed = a.old.rules.tasks.advanced(a.now.view, touched)
	for _, task := range changed {
		for _, seq := range a.now.view.MembersOf(facts.Task, task) {
			note(seq)
		}
	}
}

// pool is the new sampler's own pool of a cell.
func (a *advance) pool(cell int32) *pool.Pool {
	if !a.edited[int(cell)] {
		a.edited[int(cell)] = true
		a.now.pools[cell] = a.now.pools[cell].Clone()
	}
	return a.now.pools[cell]
}

func (a *advance) judge(ctx context.Context) error {
	old, now := a.old, a.now
	now.pools, now.admit = slices.Clone(old.pools), old.admit.clone()
	now.rows, now.units, now.waits = old.rows, old.units, maps.Clone(old.waits)
	again := slices.Sorted(maps.Keys(a.dirty))
	var groups *groupChange
	if now.spec.Unit == UnitGroup {
		groups = a.groups(again)
	}
	vals, err := now.exprs.read(ctx, now.snap, old.view.Rows(), now.view.Rows(), a.present(again, groups))
	if err != nil {
		return err
	}
	if groups != nil {
		a.leaveGroups(groups)
	}
	var r facts.Row
	for _, seq := range again {
		old.view.Read(seq, &r)
		was := old.rules.place(&r)
		if now.spec.Unit != UnitGroup && was.reason == drawable {
			if first, _ := old.keysOf(seq); old.pools[was.cell].Weight(first) == 0 {
				was.reason = weightZero
			} else if now.view.Read(seq, &r); now.rules.place(&r).cell != was.cell {
				now.enterRow(a.pool(was.cell), &r, 0)
			}
		}
		now.rows[was.reason]--
		a.enter(seq, vals)
	}
	for seq := old.view.Rows(); seq < now.view.Rows(); seq++ {
		a.enter(seq, vals)
	}
	if groups != nil {
		a.enterGroups(groups, vals)
	}
	for cell := range a.edited {
		now.pools[cell].Seal()
	}
	return nil
}

// enter judges a row and puts it where it belongs.
func (a *advance) enter(seq int64, vals values) {
	now := a.now
	var r facts.Row
	now.view.Read(seq, &r)
	v := now.verdict(&r, vals)
	now.rows[v.reason]++
	now.admit.set(seq, v.reason.eligible())
	if now.spec.Unit == UnitGroup || v.cell < 0 {
		return
	}
	if first, _ := now.keysOf(seq); now.pools[v.cell].Weight(first) != v.weight {
		now.enterRow(a.pool(v.cell), &r, v.weight)
	}
}

// present are the rows that are there among some, and the members of groups.
func (a *advance) present(seqs []int64, groups *groupChange) []int64 {
	if a.now.exprs == nil {
		return nil
	}
	if groups != nil {
		for code := range groups.codes {
			seqs = append(seqs, a.now.view.Members(code)...)
		}
		slices.Sort(seqs)
		seqs = slices.Compact(seqs)
	}
	var r facts.Row
	return slices.DeleteFunc(slices.Clone(seqs), func(seq int64) bool {
		a.now.view.Read(seq, &r)
		return r.Absent || seq >= a.old.view.Rows()
	})
}
