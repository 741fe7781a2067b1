package replay

import (
	"slices"
	"time"

	"trajlake/replay/law"
	"trajlake/schema"
)

// defaultRows is the number of units of a batch.
const defaultRows = 32

// Fill returns the spec with every default written in, so that a default that
// changes later does not change it. snapshot is what a spec that says nothing
// about it means: Live for streams, Pinned for samples and nameless replays.
// Filling again changes nothing.
func (s Spec) Fill(snapshot string) Spec {
	setTo(&s.Law, law.Version)
	setTo(&s.Snapshot.Mode, snapshot)
	live := s.Snapshot.Mode == Live
	setTo(&s.Unit, UnitTrajectory)
	if live {
		setTo(&s.Sampler, Tree)
		if s.Staleness.Unit == "" {
			s.Staleness = Staleness{Success: 8, Failure: 4, Unit: Versions}
		}
		if s.AgeDecay.Unit == "" && s.Order() == "" {
			s.AgeDecay = AgeDecay{Tau: 8, Unit: Versions}
		}
	}
	setTo(&s.Sampler, Keyed)
	setTo(&s.Staleness.Unit, Off)
	setTo(&s.AgeDecay.Unit, Off)
	setTo(&s.Difficulty.Max, 1)
	if s.Fresh.Share == 0 {
		s.Fresh = Fresh{Unit: Off}
	}
	setTo(&s.Fresh.Unit, Versions)
	s.Strata = s.Strata.fill(live)
	s.Weight = fillWeight(s.Weight)
	if order := s.Order(); order == OrderFIFO || order == OrderLIFO {
		setTo(&s.Caps.Reuse, 1)
	}
	if s.Beta == 0 && !s.betaSaid && s.weighted() {
		s.Beta = 1
	}
	if s.Beta == 0 {
		s.Beta, s.betaSaid = 0, true // without a sign
	}
	s.Group = s.Group.fill()
	if s.Batch == (BatchSize{}) {
		s.Batch.Rows = defaultRows
	}
	if s.Columns == nil {
		for _, c := range schema.Trajectories.Columns {
			s.Columns = append(s.Columns, c.Name)
		}
	}
	return s
}

// weighted tells whether something else than uniform makes rows likely. Decay by
// age does not count: that it favours new rows is wanted, not to be corrected.
func (s Spec) weighted() bool {
	return s.Order() == "" && slices.ContainsFunc(s.Weight, func(w Weight) bool { return w.Name != WeightUniform })
}

// fillWeight does not change the factors that were handed in.
func fillWeight(factors []Weight) []Weight {
	if factors == nil {
		return []Weight{{Name: WeightUniform}}
	}
	out := slices.Clone(factors)
	for i := range out {
		w := &out[i]
		if !takesAlpha(w.Name) {
			continue
		}
		setTo(&w.Alpha, 1)
		if w.Name == WeightLearnability {
			setTo(&w.Prior, [2]float64{1, 1})
		}
	}
	return out
}

// takesAlpha tells whether an exponent means anything for a factor.
func takesAlpha(name string) bool {
	return name != WeightUniform && !slices.Contains(orders, name)
}

func (s Strata) fill(live bool) Strata {
	setTo(&s.Per, PerRows)
	switch {
	case len(s.By) == 0:
		setTo(&s.WhenDry, DryAccept)
	case live:
		setTo(&s.WhenDry, DryWait)
	}
	setTo(&s.WhenDry, DryFail)
	if slices.Contains(s.By, ByAge) {
		setTo(&s.AgeUnit, Versions)
	}
	return s.spread().complete()
}

func (g Group) fill() Group {
	setTo(&g.Min, 2)
	if g.Size == 1 {
		g.Min = 1
	}
	setTo(&g.Timeout, 10*time.Minute)
	setTo(&g.OnTimeout, TimeoutDrop)
	setTo(&g.Members, All)
	setTo(&g.Stats, All)
	setTo(&g.ZeroVariance, Keep)
	return g
}

// setTo gives a field that says nothing its default.
func setTo[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}
