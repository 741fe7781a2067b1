package replay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"trajlake/replay/law"
)

// maxStrata is how many strata a spec can have: as many as there are parts to share.
const maxStrata = law.SharesTotal

// Strata splits the slots of the stream by columns. Without By there is one stratum.
type Strata struct {
	By        []string           // ByEffort, …
	Shares    []Share            // in an order that decides ties of the schedule
	Marginals map[string][]Share // shares of each column's values by themselves; Fill makes Shares of them
	Steps     []Piece            // shares from a trainer step on, ascending; Shares holds before the first
	Ages      []int64            // edges of the bands of ByAge, ascending
	AgeUnit   string             // Versions, Steps, Seconds, for ByAge
	Per       string             // PerRows or PerTokens
	WhenDry   string             // what happens if a stratum has fewer rows than slots in a batch
}

// Share is a stratum and its part of the slots. Rows of strata without a share are not drawn.
type Share struct {
	Of    []string // one value for each column of By
	Parts int32    // in 1/10,000
}

// Piece is the shares from a trainer step on. In a filled spec all pieces, and
// Strata.Shares, name the same strata in the same order.
type Piece struct {
	From   int64
	Shares []Share
}

// Name is the stratum as batches name it: its values, joined by "/".
func (s Share) Name() string { return strings.Join(s.Of, "/") }

// Schedule is the schedule of the strata's shares; without strata every slot
// belongs to stratum 0.
func (s Strata) Schedule() (*law.Schedule, error) {
	return scheduleOf(s.By, s.Shares)
}

// SharesAt is the shares that hold at a trainer step, and the number of their
// piece: 0 before the first of Steps.
func (s Strata) SharesAt(step int64) (shares []Share, piece int) {
	piece, exact := slices.BinarySearchFunc(s.Steps, step, func(p Piece, step int64) int { return cmp.Compare(p.From, step) })
	if exact {
		piece++
	}
	if piece == 0 {
		return s.Shares, 0
	}
	return s.Steps[piece-1].Shares, piece
}

// ScheduleAt is the schedule of the shares that hold at a trainer step.
func (s Strata) ScheduleAt(step int64) (*law.Schedule, error) {
	shares, _ := s.SharesAt(step)
	return scheduleOf(s.By, shares)
}

func scheduleOf(by []string, shares []Share) (*law.Schedule, error) {
	if len(by) == 0 {
		return law.NewSchedule([]int32{law.SharesTotal})
	}
	parts := make([]int32, len(shares))
	for i, share := range shares {
		parts[i] = share.Parts
	}
	return law.NewSchedule(parts)
}

// AgeBands is the names of the strata that Ages makes, youngest first: "<=8",
// "<=32", ">32". Rows without an age are Unknown.
func (s Strata) AgeBands() []string {
	if len(s.Ages) == 0 {
		return nil
	}
	out := make([]string, 0, len(s.Ages)+1)
	for _, edge := range s.Ages {
		out = append(out, fmt.Sprintf("<=%d", edge))
	}
	return append(out, fmt.Sprintf(">%d", s.Ages[len(s.Ages)-1]))
}

// AgeBand is the number of the band that an age belongs to, an index of AgeBands.
func (s Strata) AgeBand(age int64) int {
	i, _ := slices.BinarySearch(s.Ages, age)
	return i
}

// spread writes the products of marginals into shares, where marginals are all
// there: the last column of By changes fastest. Every cell gets its product
// rounded down, and what is missing to 10,000 goes to the largest remainders,
// the earlier cell in a tie. Otherwise it changes nothing; Validate says why.
func (s Strata) spread() Strata {
	if len(s.Marginals) == 0 || len(s.Marginals) != len(s.By) || len(s.Shares) > 0 {
		return s
	}
	cells := []cell{{product: 1}}
	for _, column := range s.By {
		marginal := s.Marginals[column]
		if sumOf(marginal) != law.SharesTotal || len(cells)*len(marginal) > maxStrata {
			return s
		}
		next := make([]cell, 0, len(cells)*len(marginal))
		for _, c := range cells {
			for _, share := range marginal {
				if len(share.Of) != 1 || share.Parts < 0 {
					return s
				}
				next = append(next, cell{slices.Concat(c.of, share.Of), c.product * uint64(share.Parts)})
			}
		}
		cells = next
	}
	unit := uint64(1) // product of one part of 10,000
	for range len(s.By) - 1 {
		if unit > 1<<62/law.SharesTotal/law.SharesTotal {
			return s
		}
		unit *= law.SharesTotal
	}
	left := int32(law.SharesTotal)
	order := make([]int, len(cells))
	s.Shares = make([]Share, len(cells))
	for i, c := range cells {
		parts := int32(c.product / unit)
		s.Shares[i], order[i] = Share{c.of, parts}, i
		left -= parts
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(cells[b].product%unit, cells[a].product%unit) })
	for _, i := range order[:left] {
		s.Shares[i].Parts++
	}
	s.Marginals = nil
	return s
}

// cell is a combination of values in the making.
type cell struct {
	of      []string
	product uint64
}

func sumOf(shares []Share) (sum int64) {
	for _, share := range shares {
		sum += int64(share.Parts)
	}
	return sum
}

// complete gives all pieces the same strata in the same order, that of their
// first mention, with share 0 where a piece does not name one.
func (s Strata) complete() Strata {
	if len(s.Steps) == 0 {
		return s
	}
	if len(s.Shares) == 0 {
		s.Shares = s.Steps[0].Shares
	}
	s.Steps = slices.Clone(s.Steps)
	place := map[string]int{}
	var all []Share
	note := func(shares []Share) {
		for _, share := range shares {
			key := shareKey(share.Of)
			if _, known := place[key]; !known {
				place[key] = len(all)
				all = append(all, Share{Of: share.Of})
			}
		}
	}
	note(s.Shares)
	for _, piece := range s.Steps {
		note(piece.Shares)
	}
	if len(all)*(len(s.Steps)+1) > 1<<20 {
		return s
	}
	filled := func(shares []Share) []Share {
		out, seen := slices.Clone(all), map[string]bool{}
		for _, share := range shares {
			key := shareKey(share.Of)
			if seen[key] {
				return shares // it stands there twice; Validate says so
			}
			seen[key] = true
			out[place[key]].Parts = share.Parts
		}
		return out
	}
	s.Shares = filled(s.Shares)
	for i := range s.Steps {
		s.Steps[i].Shares = filled(s.Steps[i].Shares)
	}
	return s
}
