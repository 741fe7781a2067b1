package replay

import (
	"maps"
	"math"
	"math/bits"

	"trajlake/replay/facts"
	"trajlake/replay/law"
	"trajlake/replay/pool"
)

// A group is drawn as a whole: it is the unit that stands at the place of its first
// row, in the stratum of its first eligible one. A row without a group is a group
// of its own, under its trajectory_id.

// unit is a group that was judged.
type unit struct {
	verdict
	key uint32 // place of its first row
	id  uint64
}

// placeGroup is the verdict on a group but for its weight. waits says that time
// alone may change it.
func (s *Sampler) placeGroup(code uint32) (u unit, waits bool) {
	members := s.view.Members(code)
	u = unit{verdict: verdict{reason: tooFew, cell: -1}}
	if len(members) == 0 {
		return u, false
	}
	u.key, u.id = uint32(members[0]), law.ID64(s.view.Text(facts.Group, code))
	spec := s.spec.Group
	n := int64(0)
	var r facts.Row
	for _, seq := range members {
		s.view.Read(seq, &r)
		v := s.rules.place(&r)
		if !v.reason.eligible() {
			continue
		}
		if n == 0 {
			u.cell = v.cell
		}
		n++
	}
	if n < spec.Min {
		return u, false
	}
	why, waits := s.late(members)
	switch {
	case why != drawable:
		u.reason = why
	case spec.ZeroVariance == Drop && s.groupStats(code).equal():
		u.reason = zeroVariance
	case u.cell < 0:
		u.reason = noShare
	default:
		u.reason = drawable
	}
	if u.reason != drawable {
		u.cell = -1
	}
	return u, waits
}

// late is the verdict on a group's completeness. Only live streams wait: a group
// that is not complete is drawn when it has timed out, if the spec wants that.
func (s *Sampler) late(members []int64) (why reason, waits bool) {
	spec := s.spec.Group
	if s.spec.Snapshot.Mode != Live || spec.Size == 0 || s.rolloutsOf(members) >= spec.Size {
		return drawable, false
	}
	since := int64(math.MaxInt64)
	var r facts.Row
	for _, seq := range members {
		s.view.Read(seq, &r)
		if r.Ingested == 0 {
			r.Ingested = r.Finished
		}
		since = min(since, r.Ingested)
	}
	switch {
	case s.asOf.Time-since < spec.Timeout.Microseconds():
		return incomplete, true
	case spec.OnTimeout == TimeoutDrop:
		return timedOut, true // the clock of another node may be behind
	}
	return drawable, true
}

// rolloutsOf is how many rollouts some rows of a group are: an episode is one.
func (s *Sampler) rolloutsOf(members []int64) int64 {
	var c rollouts
	var r facts.Row
	for _, seq := range members {
		s.view.Read(seq, &r)
		c.add(&r)
	}
	return int64(len(c.list))
}

// weighGroup gives a group the mean weight of its eligible members.
func (s *Sampler) weighGroup(u *unit, code uint32, vals values) {
	if u.reason != drawable {
		return
	}
	var sum law.Sum
	n := uint64(0)
	var r facts.Row
	for _, seq := range s.view.Members(code) {
		s.view.Read(seq, &r)
		if s.rules.eligible(&r).eligible() {
			sum = sum.Add(law.Sum{Lo: s.rules.weigh(&r, vals.of(s.exprs, seq))})
			n++
		}
	}
	if sum == (law.Sum{}) {
		u.reason, u.cell = weightZero, -1
		return
	}
	mean, _ := bits.Div64(sum.Hi, sum.Lo, n) // weights are below 2^63, so the mean is
	u.weight = max(mean, 1)
}

// lone is the unit of a row without a group.
func (s *Sampler) lone(r *facts.Row, vals values) unit {
	u := unit{verdict: s.rules.place(r), key: uint32(r.Seq), id: r.ID64}
	switch {
	case !u.reason.eligible():
	case s.spec.Group.Min > 1:
		u.reason, u.cell = ungrouped, -1
	case u.reason == drawable:
		if u.weight = s.rules.weigh(r, vals.of(s.exprs, r.Seq)); u.weight == 0 {
			u.reason, u.cell = weightZero, -1
		}
	}
	return u
}

// buildGroups judges all groups.
func (s *Sampler) buildGroups(vals values) {
	var seen []bool // by code
	var r facts.Row
	for seq := range s.view.Rows() {
		if s.view.Read(seq, &r); r.Absent {
			continue
		}
		if r.Group == 0 {
			s.enterUnit(s.lone(&r, vals), s.pools)
			continue
		}
		if n := int(r.Group) + 1; n > len(seen) {
			seen = append(seen, make([]bool, n-len(seen))...)
		}
		if !seen[r.Group] {
			seen[r.Group] = true
			u, waits := s.placeGroup(r.Group)
			if waits {
				s.waits[r.Group] = struct{}{}
			}
			s.weighGroup(&u, r.Group, vals)
			s.enterUnit(u, s.pools)
		}
	}
}

func (s *Sampler) enterUnit(u unit, pools []*pool.Pool) {
	s.units[u.reason]++
	if u.weight > 0 {
		pools[u.cell].Set(u.key, u.weight, u.id)
	}
}

// groupChange is the units that have to be judged again, or for the first time.
type groupChange struct {
	codes map[uint32]struct{}
	lone  []int64
}

// groups finds the units of dirty and new rows, and the groups that time may change.
func (a *advance) groups(again []int64) *groupChange {
	c := &groupChange{codes: map[uint32]struct{}{}}
	var r facts.Row
	note := func(seq int64) {
		if r.Group != 0 {
			c.codes[r.Group] = struct{}{}
		} else if !r.Absent {
			c.lone = append(c.lone, seq)
		}
	}
	for _, seq := range again {
		if a.old.view.Read(seq, &r); r.Group != 0 {
			note(seq)
			continue
		}
		note(seq)
		if r.Absent {
			a.now.view.Read(seq, &r)
			note(seq)
		}
	}
	for seq := a.old.view.Rows(); seq < a.now.view.Rows(); seq++ {
		a.now.view.Read(seq, &r)
		note(seq)
	}
	if a.old.asOf.Time != a.now.asOf.Time {
		maps.Copy(c.codes, a.old.waits)
	}
	return c
}

// leaveGroups takes the units of a change out as the old sampler judged them.
func (a *advance) leaveGroups(c *groupChange) {
	leave := func(u unit) {
		if u.reason == drawable {
			if a.old.pools[u.cell].Weight(u.key) == 0 {
				u.reason = weightZero
			} else {
				a.pool(u.cell).Set(u.key, 0, 0)
			}
		}
		a.now.units[u.reason]--
	}
	for code := range c.codes {
		if len(a.old.view.Members(code)) > 0 {
			u, _ := a.old.placeGroup(code)
			leave(u)
		}
	}
	var r facts.Row
	for _, seq := range c.lone {
		if seq < a.old.view.Rows() {
			if a.old.view.Read(seq, &r); !r.Absent {
				u := unit{verdict: a.old.rules.place(&r), key: uint32(seq)}
				if u.reason.eligible() && a.old.spec.Group.Min > 1 {
					u.reason = ungrouped
				}
				leave(u)
			}
		}
	}
}

// enterGroups judges the units of a change.
func (a *advance) enterGroups(c *groupChange, vals values) {
	now := a.now
	enter := func(u unit) {
		now.units[u.reason]++
		if u.weight > 0 {
			a.pool(u.cell).Set(u.key, u.weight, u.id)
		}
	}
	for code := range c.codes {
		delete(now.waits, code)
		if len(now.view.Members(code)) == 0 {
			continue
		}
		u, waits := now.placeGroup(code)
		if waits {
			now.waits[code] = struct{}{}
		}
		now.weighGroup(&u, code, vals)
		enter(u)
	}
	var r facts.Row
	for _, seq := range c.lone {
		if now.view.Read(seq, &r); !r.Absent {
			enter(now.lone(&r, vals))
		}
	}
}
