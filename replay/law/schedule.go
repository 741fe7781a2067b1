package law

import "fmt"

// Shares are counted in 1/SharesTotal.
const SharesTotal = 10_000

// Schedule says which stratum every slot of a stream belongs to: Tijdeman's
// schedule for row shares in whole 1/10,000. After any number of slots each
// stratum is less than one slot away from its share. Slots are counted over the
// whole stream: batches of r rows begin at slot position·r. A Schedule does not
// change and may be used by many goroutines.
type Schedule struct {
	strata int
	period []uint16 // stratum of each slot; repeats
}

// NewSchedule makes the schedule of shares in 1/10,000, in the order of the spec,
// which decides ties. The shares must be at least 0 and add up to 10,000; a
// stratum with share 0 gets no slot.
func NewSchedule(shares []int32) (*Schedule, error) {
	divisor, err := checkShares(shares)
	if err != nil {
		return nil, err
	}
	return &Schedule{strata: len(shares), period: tijdeman(shares, divisor)}, nil
}

// checkShares returns the greatest common divisor of shares that add up.
func checkShares(shares []int32) (divisor int64, err error) {
	if len(shares) == 0 || len(shares) > SharesTotal {
		return 0, fmt.Errorf("schedule of %d shares: 1 to %d are possible", len(shares), SharesTotal)
	}
	var sum int64
	for i, a := range shares {
		if a < 0 {
			return 0, fmt.Errorf("share %d is negative: %d", i, a)
		}
		sum += int64(a)
		divisor = gcd(divisor, int64(a))
	}
	if sum != SharesTotal {
		return 0, fmt.Errorf("shares add up to %d of %d", sum, SharesTotal)
	}
	return divisor, nil
}

// tijdeman computes one period. Dividing all shares by a common divisor leaves
// every comparison as it is, and shortens the period.
func tijdeman(shares []int32, divisor int64) []uint16 {
	total := SharesTotal / divisor
	period := make([]uint16, total)
	q := 2*int64(len(shares)) - 2
	if q == 0 {
		return period
	}
	a := make([]int64, len(shares))
	behind := make([]int64, len(shares)) // σ = a·n − x·D
	for i := range shares {
		a[i] = int64(shares[i]) / divisor
	}
	for n := range period {
		best, bestDue := -1, int64(0)
		for i := range a {
			behind[i] += a[i]
			if behind[i]*q < total {
				continue
			}
			due := (q-1)*total - q*behind[i] // its deadline is due/a
			if best < 0 || due*a[best] < bestDue*a[i] {
				best, bestDue = i, due
			}
		}
		behind[best] -= total
		period[n] = uint16(best)
	}
	return period
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Strata is the number of strata.
func (s *Schedule) Strata() int { return s.strata }

// At returns the stratum of a slot, counted from 0 over the whole stream.
func (s *Schedule) At(slot uint64) int {
	return int(s.period[slot%uint64(len(s.period))])
}

// Counts returns how many of the n slots from first on each stratum has.
func (s *Schedule) Counts(first uint64, n int) []int {
	counts := make([]int, s.strata)
	if n <= 0 {
		return counts
	}
	if whole := n / len(s.period); whole > 0 {
		for _, i := range s.period {
			counts[i] += whole
		}
	}
	at := int(first % uint64(len(s.period)))
	for range n % len(s.period) {
		counts[s.period[at]]++
		if at++; at == len(s.period) {
			at = 0
		}
	}
	return counts
}
