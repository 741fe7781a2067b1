package replay

import (
	"trajlake/replay/facts"
	"trajlake/replay/pool"
)

// keysOf are the units of a row: n keys from first on. Not for groups, whose units
// are made of several rows.
func (s *Sampler) keysOf(seq int64) (first uint32, n int) {
	if s.spec.Unit == UnitBranch {
		return s.forks.of(seq)
	}
	return uint32(seq), 1
}

// seqOf is the row of a unit of one row or less, and which branch of the row it is.
func (s *Sampler) seqOf(key uint32) (seq int64, path int32) {
	if s.spec.Unit == UnitBranch {
		return s.forks.row(key)
	}
	return int64(key), 0
}

// enterRow gives the units of a row their weight.
func (s *Sampler) enterRow(p *pool.Pool, r *facts.Row, weight uint64) {
	if ids := s.forks.ids(r.Seq); ids != nil {
		first, _ := s.keysOf(r.Seq)
		for k, id := range ids {
			p.Set(first+uint32(k), weight, id)
		}
		return
	}
	first, _ := s.keysOf(r.Seq)
	p.Set(first, weight, r.ID64)
}

// headOf is the row whose task, prompt and policy version stand for a unit: its
// first eligible one.
func (s *Sampler) headOf(key uint32) int64 {
	if s.spec.Unit != UnitGroup {
		seq, _ := s.seqOf(key)
		return seq
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
	seq, _ := s.seqOf(key)
	return []int64{seq}
}

// membersOf are the rows of a unit as a batch names them. uses makes rows that are
// used up ineligible. A group that is short of its size is filled up where the spec
// says so: with its eligible rows, over again.
func (s *Sampler) membersOf(key uint32, uses *Uses) []Member {
	rows := s.rowsOf(key)
	out := make([]Member, 0, len(rows))
	_, path := s.seqOf(key)
	var r facts.Row
	counted, good := s.view.Has(facts.Tokens), []Member(nil)
	for _, seq := range rows {
		m := Member{Seq: seq, Eligible: s.admit.has(seq), Uses: -1, Path: path}
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
