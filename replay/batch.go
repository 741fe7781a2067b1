package replay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"

	"trajlake/replay/law"
	"trajlake/schema/fault"
	"trajlake/store"
)

// Batch says which units one batch holds: a function of snapshot, spec, seed and
// position. Rows fetches them.
type Batch struct {
	ID       string // the same for the same batch, wherever it is drawn
	Position uint64
	Version  int64  // of trajectories in the snapshot
	Snapshot string // token
	SpecHash string
	Slots    []Slot
}

// Slot is one unit of a batch.
type Slot struct {
	Stratum string
	P32     uint64   // inclusion probability in 2^−32; law.One is 1
	Members []Member // its rows in log order; one for a trajectory
}

// Probability is the inclusion probability.
func (s Slot) Probability() float64 { return float64(s.P32) / float64(law.One) }

// Draw draws one batch from a snapshot. A Sampler draws many without reading the
// candidates again.
func Draw(ctx context.Context, snap *store.Snapshot, spec Spec, position uint64) (*Sampler, *Batch, error) {
	s, err := Open(ctx, snap, spec)
	if err != nil {
		return nil, nil, err
	}
	b, err := s.Draw(position)
	return s, b, err
}

// Draw draws the batch at a position, counted from 0. It reads nothing. The error
// has kind Exhausted where a stratum is dry and the spec says that this is a failure.
func (s *Sampler) Draw(position uint64) (*Batch, error) {
	b := &Batch{Position: position, Version: s.snap.Version(), Snapshot: s.snap.Token(), SpecHash: s.hash}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%d", b.SpecHash, b.Snapshot, position))
	b.ID = hex.EncodeToString(sum[:16])
	// The schedule has a period of SharesTotal: the remainder keeps the product from overflowing.
	first := position % law.SharesTotal * uint64(s.spec.Batch.Rows)
	d := drawing{s: s, position: position, first: first, tasks: map[uint64]int64{}, prompts: map[uint64]int64{}}
	defer d.stop()
	d.start()
	for slot := range uint64(s.spec.Batch.Rows) {
		t, ok := d.stratumOf(slot)
		if !ok && s.spec.Strata.WhenDry == DryFail {
			name := s.strata[t].name
			return nil, fault.New(fault.Exhausted, fmt.Sprintf("draw batch %d", position), "stratum %s has no row left for slot %d", name, slot).
				WithField("strata.when_dry").WithHint("lower the stratum's share or batch.rows, or use when_dry redistribute or accept")
		}
		if ok {
			d.take(t)
		}
	}
	d.measure()
	for _, p := range d.picks {
		slot := Slot{Stratum: s.strata[p.stratum].name, P32: p.pick.P32, Members: []Member{{p.pick.Seq, true}}}
		if s.spec.Unit == UnitGroup {
			slot.Members = s.strata[p.stratum].members[p.pick.Index]
		}
		b.Slots = append(b.Slots, slot)
	}
	return b, nil
}

// drawing is one batch in the making.
type drawing struct {
	s               *Sampler
	position, first uint64
	queues          []queue // by stratum
	allDry          bool    // no stratum of the schedule has a row left; it stays so
	tasks, prompts  map[uint64]int64
	picks           []taken
}

// queue is a stratum's candidates in key order.
type queue struct {
	next    func() (law.Pick, bool)
	stop    func()
	head    law.Pick // the next one that the caps let through, if has
	has     bool
	stale   bool // head has to be looked for
	skipped map[capped]law.Pick
}

// capped names what a candidate was skipped for.
type capped struct {
	prompt bool
	hash   uint64
}

type taken struct {
	stratum      int
	pick         law.Pick
	task, prompt uint64
}

func (d *drawing) start() {
	counts := d.s.schedule.Counts(d.first, int(d.s.spec.Batch.Rows))
	d.queues = make([]queue, len(d.s.strata))
	for t := range d.queues {
		order := law.Order(d.s.strata[t].candidates, d.s.spec.Seed, d.position, counts[t])
		next, stop := iter.Pull(order)
		d.queues[t] = queue{next: next, stop: stop, stale: true, skipped: map[capped]law.Pick{}}
	}
}

func (d *drawing) stop() {
	for _, q := range d.queues {
		q.stop()
	}
}

// stratumOf says which stratum fills a slot: the schedule's, or, if that one is
// dry and the spec says so, that of the next slot of the schedule whose stratum is
// not. ok is false if it is dry.
func (d *drawing) stratumOf(slot uint64) (t int, ok bool) {
	scheduled := d.s.schedule.At(d.first + slot)
	if d.ready(scheduled) {
		return scheduled, true
	}
	if d.s.spec.Strata.WhenDry == DryRedistribute && !d.allDry {
		for later := range uint64(law.SharesTotal) {
			if t := d.s.schedule.At(d.first + slot + later); d.ready(t) {
				return t, true
			}
		}
		d.allDry = true
	}
	return scheduled, false
}

// ready looks for the next candidate of a stratum that the caps let through.
func (d *drawing) ready(t int) bool {
	q := &d.queues[t]
	if q.has && d.over(t, q.head) { // another stratum filled the cap meanwhile
		q.skip(d, t, q.head)
		q.stale = true
	}
	for q.stale {
		q.head, q.has = q.next()
		q.stale = q.has && d.over(t, q.head)
		if q.stale {
			q.skip(d, t, q.head)
		}
	}
	return q.has
}

func (d *drawing) hashes(t int, p law.Pick) (task, prompt uint64) {
	s := &d.s.strata[t]
	if s.tasks != nil {
		task = s.tasks[p.Index]
	}
	if s.prompts != nil {
		prompt = s.prompts[p.Index]
	}
	return task, prompt
}

func (d *drawing) full(task, prompt uint64) (byTask, byPrompt bool) {
	caps := d.s.spec.Caps
	byTask = caps.PerTask > 0 && task != 0 && d.tasks[task] >= caps.PerTask
	byPrompt = caps.PerPrompt > 0 && prompt != 0 && d.prompts[prompt] >= caps.PerPrompt
	return byTask, byPrompt
}

func (d *drawing) over(t int, p law.Pick) bool {
	byTask, byPrompt := d.full(d.hashes(t, p))
	return byTask || byPrompt
}

// skip remembers the first candidate that a cap kept out: it would have come in
// place of a row that counts for the same cap. One that two caps kept out would not.
func (q *queue) skip(d *drawing, t int, p law.Pick) {
	task, prompt := d.hashes(t, p)
	byTask, byPrompt := d.full(task, prompt)
	key := capped{false, task}
	switch {
	case byTask && byPrompt:
		return
	case byPrompt:
		key = capped{true, prompt}
	}
	if _, known := q.skipped[key]; !known {
		q.skipped[key] = p
	}
}

func (d *drawing) take(t int) {
	q := &d.queues[t]
	task, prompt := d.hashes(t, q.head)
	d.tasks[task]++
	d.prompts[prompt]++
	d.picks = append(d.picks, taken{t, q.head, task, prompt})
	q.has, q.stale = false, true
}

// measure gives every pick its inclusion probability, by the candidate that would
// have come in its place.
func (d *drawing) measure() {
	for i := range d.picks {
		p := &d.picks[i]
		q := &d.queues[p.stratum]
		next, ok := law.Pick{}, d.ready(p.stratum)
		if ok {
			next = q.head
		}
		for _, key := range []capped{{false, p.task}, {true, p.prompt}} {
			other, is := q.skipped[key]
			if is && (!ok || law.Less(other.L, other.Weight, other.Seq, next.L, next.Weight, next.Seq)) {
				next, ok = other, true
			}
		}
		p.pick.P32 = law.One
		if ok {
			p.pick.P32 = law.Inclusion(p.pick.Weight, next.L, next.Weight)
		}
	}
}
