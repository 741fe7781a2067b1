package replay

import (
	"fmt"
	"slices"

	"trajlake/replay/facts"
	"trajlake/replay/law"
	"trajlake/replay/pool"
	"trajlake/schema/fault"
)

// DryError says which stratum has no row for a batch that the spec does not want
// to be drawn without.
type DryError struct {
	Position uint64
	Stratum  string
	Slot     int  // of the batch
	Wait     bool // the stream waits for rows
}

// Error says what is dry.
func (e *DryError) Error() string {
	return fmt.Sprintf("stratum %s has no row left for slot %d", e.Stratum, e.Slot)
}

// drawing is one batch in the making.
type drawing struct {
	s        *Sampler
	pools    []*pool.Pool // by cell
	uses     *Uses
	position uint64
	first    uint64 // slot of the schedule that the batch begins at

	sources        []source // by cell; made when they are first asked
	given          []uint64 // slots that each stratum had before, where strata have parts
	allDry         bool     // no stratum of the schedule has a row left; it stays so
	tasks, prompts map[uint32]int64
	picks          []taken
	slots          int // of the schedule, given or left out
	byTokens       *law.TokenSchedule
	mean           int64 // tokens of a row that was left out
	tokens         int64 // of the picks
	notes          map[int]*shortage
}

// taken is one drawn unit.
type taken struct {
	cell         int
	cand         candidate
	task, prompt uint32
	members      []Member
	tokens       int64
}

// candidate is a unit of a pool with what its sampler knows of it.
type candidate struct {
	key    uint32
	weight uint64
	l      uint64 // key of a keyed draw
}

// shortage is what happened to the slots of a dry stratum.
type shortage struct{ left, moved, replaced int }

func (s *Sampler) begin(position uint64, pools []*pool.Pool, uses *Uses) *drawing {
	return &drawing{s: s, pools: pools, uses: uses, position: position, sources: make([]source, len(pools)),
		tasks: map[uint32]int64{}, prompts: map[uint32]int64{}, notes: map[int]*shortage{}}
}

// source gives out the candidates of one cell for one batch.
type source interface {
	// next is the candidate that the slot would get; it stays until it is taken.
	next(slot int) (candidate, bool)
	take()
	// inclusion is called for every pick of the cell after the last slot.
	inclusion(p *taken, picks int) uint64
}

func (d *drawing) source(cell int) source {
	if d.sources[cell] == nil {
		switch order := d.s.spec.Order(); {
		case order != "":
			d.sources[cell] = newOrdered(d, cell, order)
		case d.s.spec.Sampler == Tree:
			d.sources[cell] = newTreeSource(d, cell)
		default:
			d.sources[cell] = newKeyedSource(d, cell)
		}
	}
	return d.sources[cell]
}

// batch fills the slots.
func (d *drawing) batch() (*Batch, error) {
	spec := d.s.spec
	rows := int(spec.Batch.Rows)
	if spec.Batch.Tokens > 0 {
		rows = maxBatchRows
	}
	d.count()
	for ; d.slots < rows && (spec.Batch.Tokens == 0 || d.tokens < spec.Batch.Tokens); d.slots++ {
		cell, ok := d.cellOf(d.slots)
		stratum := d.s.stratumOf(cell)
		d.pass()
		if ok {
			d.take(cell)
			continue
		}
		if spec.Strata.WhenDry == DryFail || spec.Strata.WhenDry == DryWait {
			dry := &DryError{Position: d.position, Stratum: d.s.nameOf(stratum), Slot: d.slots, Wait: spec.Strata.WhenDry == DryWait}
			return nil, &fault.Error{Kind: fault.Exhausted, Op: fmt.Sprintf("draw batch %d", d.position), Err: dry, Field: "strata.when_dry",
				Hint: "lower the stratum's share or the size of batches, or use when_dry redistribute or accept"}
		}
		d.note(stratum).left++
		if d.byTokens != nil && spec.Strata.WhenDry == DryAccept {
			d.byTokens.Give(stratum, d.mean, nil)
		}
		if d.everythingIsDry() {
			if spec.Batch.Tokens == 0 { // every slot that is left is left out
				d.note(stratum).left += rows - d.slots - 1
				d.slots = rows - 1
			} else {
				break
			}
		}
	}
	return d.done(), nil
}

// count finds how many slots each stratum had before the batch, of which its parts
// have their shares. Where shares are of tokens nobody counts slots by stratum, and the
// number of all slots stands in.
func (d *drawing) count() {
	if d.s.fresh == nil {
		return
	}
	d.given = make([]uint64, len(d.s.parts))
	for t, n := range d.s.schedule.Counts(0, int(d.first%law.SharesTotal)) {
		d.given[t] = d.first/law.SharesTotal*uint64(d.s.parts[t]) + uint64(n)
		if d.byTokens != nil {
			d.given[t] = d.first
		}
	}
}

// pass counts the slot that was looked at: for the stratum that the schedule gave it.
func (d *drawing) pass() {
	switch {
	case d.s.fresh == nil:
	case d.byTokens != nil:
		for t := range d.given {
			d.given[t]++
		}
	default:
		d.given[d.s.schedule.At(d.first+uint64(d.slots))]++
	}
}

// everythingIsDry tells whether no cell of any stratum with a share has a row left.
func (d *drawing) everythingIsDry() bool {
	if d.allDry {
		return true
	}
	for cell := range d.pools {
		if d.s.parts[d.s.stratumOf(cell)] > 0 && d.ready(cell, d.slots) {
			return false
		}
	}
	d.allDry = true
	return true
}

func (d *drawing) ready(cell, slot int) bool {
	_, ok := d.source(cell).next(slot)
	return ok
}

// cellOf says which cell fills a slot: the schedule's, or, if that one is dry and
// the spec says so, one of another stratum. ok is false if the slot has no row;
// the cell then is one of the dry stratum.
func (d *drawing) cellOf(slot int) (cell int, ok bool) {
	if d.byTokens != nil {
		return d.cellByTokens(slot)
	}
	scheduled := d.s.schedule.At(d.first + uint64(slot))
	cell, ok = d.within(scheduled, slot)
	if ok || d.s.spec.Strata.WhenDry != DryRedistribute || d.allDry {
		return cell, ok
	}
	for later := range uint64(law.SharesTotal) {
		if t := d.s.schedule.At(d.first + uint64(slot) + later); t != scheduled {
			if other, ok := d.any(t, slot); ok {
				d.note(scheduled).moved++
				return other, true
			}
		}
	}
	d.allDry = true
	return cell, false
}

func (d *drawing) cellByTokens(slot int) (cell int, ok bool) {
	dry := d.dryAt(slot)
	if d.s.spec.Strata.WhenDry == DryRedistribute {
		first, _ := d.byTokens.Next(nil)
		t, ok := d.byTokens.Next(dry)
		if !ok {
			return first * d.s.rules.cells.parts(), false
		}
		if t != first {
			d.note(first).moved++
		}
		return d.within(t, slot)
	}
	t, _ := d.byTokens.Next(nil)
	return d.within(t, slot)
}

func (d *drawing) dryAt(slot int) func(int) bool {
	return func(stratum int) bool {
		_, ok := d.any(stratum, slot)
		return !ok
	}
}

// within is the cell of a stratum that a slot falls to. Its fresh part takes the
// slots that the part's own schedule says; a slot of the replayed part that is dry
// takes a fresh row.
func (d *drawing) within(stratum, slot int) (cell int, ok bool) {
	if d.s.fresh == nil {
		return stratum, d.ready(stratum, slot)
	}
	cell = 2*stratum + d.s.fresh.At(d.given[stratum])
	if d.ready(cell, slot) {
		return cell, true
	}
	if cell%2 == 1 && d.ready(cell-1, slot) {
		d.note(stratum).replaced++
		return cell - 1, true
	}
	return cell, false
}

// any is a cell of a stratum that has a row left, the fresh one before the other.
func (d *drawing) any(stratum, slot int) (cell int, ok bool) {
	parts := d.s.rules.cells.parts()
	for cell = stratum * parts; cell < (stratum+1)*parts; cell++ {
		if d.ready(cell, slot) {
			return cell, true
		}
	}
	return stratum * parts, false
}

func (d *drawing) note(stratum int) *shortage {
	if d.notes[stratum] == nil {
		d.notes[stratum] = &shortage{}
	}
	return d.notes[stratum]
}

// capsOf is the task and the prompt that count for a unit; 0 for none.
func (d *drawing) capsOf(key uint32) (task, prompt uint32) {
	caps := d.s.spec.Caps
	if caps.PerTask == 0 && caps.PerPrompt == 0 {
		return 0, 0
	}
	var r facts.Row
	d.s.view.Read(d.s.headOf(key), &r)
	if caps.PerTask > 0 {
		task = r.Task
	}
	if caps.PerPrompt > 0 {
		prompt = r.Prompt
	}
	return task, prompt
}

func (d *drawing) full(task, prompt uint32) (byTask, byPrompt bool) {
	caps := d.s.spec.Caps
	byTask = caps.PerTask > 0 && task != 0 && d.tasks[task] >= caps.PerTask
	byPrompt = caps.PerPrompt > 0 && prompt != 0 && d.prompts[prompt] >= caps.PerPrompt
	return byTask, byPrompt
}

func (d *drawing) over(key uint32) bool {
	if len(d.tasks) == 0 && len(d.prompts) == 0 {
		return false
	}
	byTask, byPrompt := d.full(d.capsOf(key))
	return byTask || byPrompt
}

func (d *drawing) take(cell int) {
	source := d.source(cell)
	c, _ := source.next(d.slots)
	source.take()
	p := taken{cell: cell, cand: c}
	if p.task, p.prompt = d.capsOf(c.key); p.task != 0 {
		d.tasks[p.task]++
	}
	if p.prompt != 0 {
		d.prompts[p.prompt]++
	}
	p.members = d.s.membersOf(c.key, d.uses)
	for _, m := range p.members {
		if !m.Pad && (m.Eligible || d.s.spec.Group.Members == All) {
			p.tokens += m.Tokens
		}
	}
	d.tokens += max(p.tokens, 1)
	if d.byTokens != nil {
		var dry func(int) bool
		if d.s.spec.Strata.WhenDry == DryRedistribute {
			dry = d.dryAt(d.slots)
		}
		d.byTokens.Give(d.s.stratumOf(cell), p.tokens, dry)
	}
	d.picks = append(d.picks, p)
}

// done measures probabilities and writes the batch.
func (d *drawing) done() *Batch {
	b := d.s.header(d.position)
	picks := make([]int, len(d.pools))
	for _, p := range d.picks {
		picks[p.cell]++
	}
	b.Slots = make([]Slot, 0, len(d.picks))
	for i := range d.picks {
		p := &d.picks[i]
		slot := Slot{Number: i, Stratum: d.s.nameOf(d.s.stratumOf(p.cell)), P32: d.source(p.cell).inclusion(p, picks[p.cell]), Weight: p.cand.weight,
			N: int64(d.pools[p.cell].Len()), Uses: -1, Members: p.members}
		for _, m := range p.members {
			if m.Eligible {
				slot.Uses = max(slot.Uses, m.Uses)
			}
		}
		slot.Pad = len(p.members) > 0 && p.members[len(p.members)-1].Pad
		b.Slots = append(b.Slots, slot)
	}
	d.s.weighImportance(b)
	b.Dry = d.shortages()
	return b
}

// shortages is what the batch says of its dry strata.
func (d *drawing) shortages() (out []string) {
	for stratum := range d.s.parts {
		n := d.notes[stratum]
		if n == nil {
			continue
		}
		for _, what := range []struct {
			slots int
			text  string
		}{{n.moved, "went to other strata"}, {n.left, "were left out"}, {n.replaced, "of replayed rows took fresh ones"}} {
			if what.slots > 0 {
				out = append(out, fmt.Sprintf("%s: %d slots %s", d.s.nameOf(stratum), what.slots, what.text))
			}
		}
	}
	return slices.Clip(out)
}
