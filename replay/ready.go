package replay

import "errors"

// Ready says why the batch at the origin's position cannot be drawn: the stratum
// that is dry, with how many units it has and how many the batch wants of it, or
// groups that are awaited. The zero Wait is that of a batch that can be drawn, or of
// one that is empty for other reasons.
func (s *Sampler) Ready() Wait {
	b, err := s.Draw(s.origin.First)
	var dry *DryError
	if !errors.As(err, &dry) {
		if n := s.units[incomplete] + s.units[tooFew]; err == nil && len(b.Slots) == 0 && s.spec.Unit == UnitGroup && n > 0 {
			return Wait{Reason: WaitGroup, Want: n}
		}
		return Wait{}
	}
	w := Wait{Reason: WaitDry, Stratum: dry.Stratum, Want: int64(dry.Slot + 1)}
	if s.spec.Strata.Per != PerTokens && s.spec.Batch.Rows > 0 {
		w.Want = 0
		for t, n := range s.schedule.Counts(s.slotAt(s.origin.First), int(s.spec.Batch.Rows)) {
			if s.nameOf(t) == dry.Stratum {
				w.Want = int64(n)
			}
		}
	}
	for cell, p := range s.pools {
		if s.nameOf(s.stratumOf(cell)) == dry.Stratum {
			w.Have += int64(p.Len())
		}
	}
	if len(s.waits) > 0 && s.units[incomplete] > 0 {
		w = Wait{Reason: WaitGroup, Stratum: dry.Stratum, Have: w.Have, Want: w.Have + s.units[incomplete]}
	}
	return w
}
