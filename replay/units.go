package replay

import "trajlake/replay/facts"

// headOf is the row whose task, prompt and policy version stand for a unit: its
// first eligible one.
func (s *Sampler) headOf(key uint32) int64 {
	if s.spec.Unit != UnitGroup {
		return int64(key)
	}
	for _, seq := range s.rowsOf(key) {
		if s.admit.has(seq) {
			return seq
		}
	}
	return int64(key)
}

// rowsOf are the rows of a unit, in log order.
func (s *Sampler) rowsOf(key uint32) []int64 {
	if s.spec.Unit == UnitGroup {
		var r facts.Row
		if s.view.Read(int64(key), &r); r.Group != 0 {
			return s.view.Members(r.Group)
		}
	}
	return []int64{int64(key)}
}

// membersOf are the rows of a unit as a batch names them. uses makes rows that are
// used up ineligible. A group that is short of its size is filled up where the spec
// says so: with its eligible rows, over again.
func (s *Sampler) membersOf(key uint32, uses *Uses) []Member {
	rows := s.rowsOf(key)
	out := make([]Member, 0, len(rows))
	var r facts.Row
	counted, good := s.view.Has(facts.Tokens), []Member(nil)
	for _, seq := range rows {
		m := Member{Seq: seq, Eligible: s.admit.has(seq), Uses: -1}
		if uses != nil {
			m.Uses = uses.Count(seq)
		}
		if limit := s.spec.Caps.Reuse; limit > 0 && uses.times(seq) >= limit {
			m.Eligible = false
		}
		if counted {
			s.view.Read(seq, &r)
			m.Tokens = r.Tokens
		}
		if out = append(out, m); m.Eligible {
			good = append(good, m)
		}
	}
	if s.spec.Unit != UnitGroup || s.spec.Group.OnTimeout != TimeoutPad || len(good) == 0 {
		return out
	}
	missing := s.spec.Group.Size - s.rolloutsOf(rows)
	for i := int64(0); i < missing; i++ {
		m := good[i%int64(len(good))]
		m.Eligible, m.Pad = false, true
		out = append(out, m)
	}
	return out
}
