package replay

import (
	"context"
	"iter"
	"math/bits"
	"slices"

	"trajlake/replay/facts"
	"trajlake/replay/law"
)

// Explanation says what a spec would draw from, and what it leaves out.
// Candidates is Eligible plus all that is Excluded.
type Explanation struct {
	Version    int64            `json:"version"`
	Snapshot   string           `json:"snapshot"`
	SpecHash   string           `json:"spec_hash"`
	Unit       string           `json:"unit"`
	AsOf       ExplainedMoment  `json:"as_of"`
	Candidates int64            `json:"candidates"` // rows of the snapshot
	Eligible   int64            `json:"eligible"`   // rows that can be drawn
	Excluded   map[string]int64 `json:"excluded"`   // the others, by the first reason that holds
	Units      *ExplainedUnits  `json:"units,omitempty"`
	Resting    int64            `json:"resting,omitempty"` // units that a cooldown keeps back just now
	Strata     []ExplainedShare `json:"strata"`
	Staleness  []ExplainedAge   `json:"staleness"` // of eligible rows, in policy versions, youngest first
	Weights    ExplainedWeights `json:"weights"`
	Predicate  string           `json:"predicate"` // "warm": answered from memory; "cold": the lake was read; "none"
	Bytes      int64            `json:"bytes"`     // memory that drawing takes
}

// ExplainedMoment is what ages are measured against; null where nobody knows.
type ExplainedMoment struct {
	Time   int64  `json:"time_us"`
	Step   int64  `json:"step"`
	Policy *int64 `json:"policy"`
}

// ExplainedUnits is about units of several rows, or parts of rows.
type ExplainedUnits struct {
	Candidates int64            `json:"candidates"`
	Eligible   int64            `json:"eligible"`
	Excluded   map[string]int64 `json:"excluded"`
}

// ExplainedShare is one stratum.
type ExplainedShare struct {
	Stratum   string  `json:"stratum"`
	Target    float64 `json:"target"`          // share of the slots or tokens that the spec wants
	Available int64   `json:"available"`       // units that can be drawn
	Share     float64 `json:"share"`           // of all units that can be drawn
	Fresh     *int64  `json:"fresh,omitempty"` // those that are fresh, where the spec keeps fresh ones apart
	PerBatch  int64   `json:"per_batch"`       // slots of a batch, rounded up; 0 where batches or shares are of tokens
	Short     bool    `json:"short"`           // a batch may want more units than there are
}

// ExplainedAge is the eligible rows of some ages.
type ExplainedAge struct {
	From      *int64 `json:"from"` // null: rows whose age is not known
	To        *int64 `json:"to"`
	Rows      int64  `json:"rows"`
	Successes int64  `json:"successes"`
}

// ExplainedWeights sums up the weights of all units that can be drawn.
type ExplainedWeights struct {
	Least     float64 `json:"least"`
	Greatest  float64 `json:"greatest"`
	Mean      float64 `json:"mean"`
	Effective float64 `json:"effective"` // units that would be as uneven as these if they weighed the same: (Σw)²/Σw²
}

// Explain says what a spec draws from a view at an origin.
func Explain(ctx context.Context, view *facts.View, spec Spec, o Origin) (*Explanation, error) {
	s, err := OpenAt(ctx, view, spec, o)
	if err != nil {
		return nil, err
	}
	return s.Explain(), nil
}

// Explain says what the sampler draws from. It looks at every row.
func (s *Sampler) Explain() *Explanation {
	e := &Explanation{Version: s.snap.Version(), Snapshot: s.snap.Token(), SpecHash: s.hash, Unit: s.spec.Unit,
		AsOf: ExplainedMoment{Time: s.asOf.Time, Step: s.asOf.Step}, Predicate: "none", Bytes: s.Bytes()}
	if s.asOf.Policy != UnknownPolicy {
		e.AsOf.Policy = &s.asOf.Policy
	}
	if s.spec.Where != "" {
		e.Predicate = "warm"
		if s.rules.cold {
			e.Predicate = "cold"
		}
	}
	e.Candidates, e.Eligible, e.Excluded = tally(s.rows)
	if s.spec.Unit != UnitTrajectory {
		u := &ExplainedUnits{}
		u.Candidates, u.Eligible, u.Excluded = tally(s.units)
		e.Units = u
	}
	if s.spec.Caps.Cooldown > 0 {
		e.Resting = int64(len(s.newSequence().resting))
	}
	e.Strata = s.explainStrata()
	e.Staleness = s.explainAges()
	e.Weights = s.explainWeights()
	return e
}

func tally(by [reasons]int64) (all, good int64, excluded map[string]int64) {
	excluded = map[string]int64{}
	for why, n := range by {
		all += n
		if reason(why) == drawable {
			good = n
		} else if n > 0 {
			excluded[reasonNames[why]] = n
		}
	}
	return all, good, excluded
}

func (s *Sampler) explainStrata() []ExplainedShare {
	out := make([]ExplainedShare, len(s.parts))
	parts, all := s.rules.cells.parts(), int64(0)
	for _, p := range s.pools {
		all += int64(p.Len())
	}
	for t, share := range s.parts {
		x := ExplainedShare{Stratum: s.nameOf(t), Target: float64(share) / law.SharesTotal}
		for cell := t * parts; cell < (t+1)*parts; cell++ {
			x.Available += int64(s.pools[cell].Len())
		}
		if parts == 2 {
			fresh := int64(s.pools[2*t].Len())
			x.Fresh = &fresh
		}
		if all > 0 {
			x.Share = float64(x.Available) / float64(all)
		}
		if s.spec.Strata.Per == PerRows && s.spec.Batch.Rows > 0 {
			x.PerBatch = (s.spec.Batch.Rows*int64(share) + law.SharesTotal - 1) / law.SharesTotal
		}
		x.Short = share > 0 && x.Available < max(x.PerBatch, 1)
		out[t] = x
	}
	return out
}

// explainAges counts eligible rows of age 0, 1, 2, 3–4, 5–8, 9–16 and so on.
// eligibleRows are the rows that Eligible counts: those that are drawn by themselves,
// or, in groups, whatever their own stratum and weight are.
func (s *Sampler) eligibleRows() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		if s.spec.Unit == UnitGroup {
			for seq := range s.view.Rows() {
				if s.admit.has(seq) && !yield(seq) {
					return
				}
			}
			return
		}
		for _, p := range s.pools {
			last := int64(-1) // branches of a row follow each other
			for c := range p.All() {
				if seq, _ := s.seqOf(c.Key); seq != last {
					if last = seq; !yield(seq) {
						return
					}
				}
			}
		}
	}
}

func (s *Sampler) explainAges() []ExplainedAge {
	rows := map[int]*ExplainedAge{}
	var r facts.Row
	for seq := range s.eligibleRows() {
		s.view.Read(seq, &r)
		age, known := clock{Versions, s.asOf}.ageOf(&r)
		i := 1 << 10
		if known && age > 0 {
			i = bits.Len64(uint64(age-1)) + 1
		} else if known {
			i = 0
		}
		if rows[i] == nil {
			rows[i] = &ExplainedAge{}
			if known {
				from, to := int64(0), int64(0)
				if i > 0 {
					from, to = int64(1)<<(i-1)/2+1, int64(1)<<(i-1)
				}
				rows[i].From, rows[i].To = &from, &to
			}
		}
		rows[i].Rows++
		if succeeded(&r) {
			rows[i].Successes++
		}
	}
	out := make([]ExplainedAge, 0, len(rows))
	for i := range 1<<10 + 1 {
		if rows[i] != nil {
			out = append(out, *rows[i])
		}
	}
	return slices.Clip(out)
}

func (s *Sampler) explainWeights() (w ExplainedWeights) {
	n, sum, squares := 0, 0.0, 0.0
	for _, p := range s.pools {
		for c := range p.All() {
			x := float64(c.Weight) / float64(law.One)
			if n == 0 {
				w.Least = x
			}
			n++
			w.Least, w.Greatest = min(w.Least, x), max(w.Greatest, x)
			sum += x
			squares += x * x
		}
	}
	if n > 0 {
		w.Mean, w.Effective = sum/float64(n), sum*sum/squares
	}
	return w
}
