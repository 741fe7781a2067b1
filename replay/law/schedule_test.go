package law

import (
	"crypto/sha256"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func schedule(t *testing.T, shares ...int32) *Schedule {
	t.Helper()
	s, err := NewSchedule(shares)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScheduleGolden(t *testing.T) {
	for _, c := range []struct {
		shares []int32
		want   string
	}{
		{[]int32{3000, 3000, 2500, 1500}, "0123012012301201320101230120123012013201"},
		{[]int32{5000, 5000}, "010101010101"},
		{[]int32{3333, 3333, 3334}, "201201201201201201201201"},
		{[]int32{10000}, "000000"},
	} {
		s := schedule(t, c.shares...)
		var got strings.Builder
		for slot := range len(c.want) {
			fmt.Fprint(&got, s.At(uint64(slot)))
		}
		if got.String() != c.want {
			t.Errorf("%v: %s, want %s", c.shares, &got, c.want)
		}
	}
}

// TestSchedulePeriodGolden holds whole periods: the start of the SHA-256 of
// 10,000 strata, one byte each.
func TestSchedulePeriodGolden(t *testing.T) {
	for _, c := range []struct {
		shares []int32
		want   string
	}{
		{[]int32{3333, 3333, 3334}, "7211e1588905c83b"},
		{[]int32{4001, 0, 2999, 1700, 1300}, "3ca3aadc1be74cc0"},
	} {
		s := schedule(t, c.shares...)
		period := make([]byte, SharesTotal)
		for slot := range period {
			period[slot] = byte(s.At(uint64(slot)))
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(period))[:16]; got != c.want {
			t.Errorf("%v: period %s, want %s", c.shares, got, c.want)
		}
	}
}

// naiveSchedule is the rule read literally, in fractions, without dividing the
// shares by a common divisor.
func naiveSchedule(shares []int32, slots int) (out []int) {
	d, q := int64(SharesTotal), int64(2*len(shares)-2)
	given := make([]int64, len(shares))
	for n := range slots {
		var due *big.Rat
		best := 0
		for i, a := range shares {
			s := int64(a)*int64(n+1) - given[i]*d
			if len(shares) == 1 || s*q < d {
				continue
			}
			if r := big.NewRat((q-1)*d-q*s, int64(a)); due == nil || r.Cmp(due) < 0 {
				due, best = r, i
			}
		}
		given[best]++
		out = append(out, best)
	}
	return out
}

func TestScheduleIsNeverARowOff(t *testing.T) {
	r := random(t, 11)
	for range 30 {
		m := 1 + r.IntN(12)
		shares := make([]int32, m)
		unit := []int{1, 25, 100, 500}[r.IntN(4)] // common divisors shorten the period
		for range SharesTotal / unit {
			shares[r.IntN(1+r.IntN(m))] += int32(unit)
		}
		s := schedule(t, shares...)
		given := make([]int64, m)
		for slot := range uint64(SharesTotal + 100) {
			given[s.At(slot)]++
			for i, a := range shares {
				if off := int64(a)*int64(slot+1) - given[i]*SharesTotal; off <= -SharesTotal || off >= SharesTotal {
					t.Fatalf("%v: after %d slots stratum %d has %d", shares, slot+1, i, given[i])
				}
			}
		}
		want := naiveSchedule(shares, 300)
		for slot := range want {
			if got := s.At(uint64(slot)); got != want[slot] {
				t.Fatalf("%v: slot %d has stratum %d, want %d", shares, slot, got, want[slot])
			}
		}
	}
}

func TestScheduleCounts(t *testing.T) {
	r := random(t, 12)
	for _, s := range []*Schedule{
		schedule(t, 3000, 3000, 2500, 1500), schedule(t, 3333, 3333, 3334), schedule(t, 10000), schedule(t, 1, 9998, 1),
	} {
		for range 20 {
			first, n := r.Uint64N(1<<40), r.IntN(25_000)
			want := make([]int, s.Strata())
			for j := range n {
				want[s.At(first+uint64(j))]++
			}
			if got := s.Counts(first, n); !slices.Equal(got, want) {
				t.Fatalf("Counts(%d, %d) = %v, want %v", first, n, got, want)
			}
		}
		if got := s.Counts(5, -1); slices.Max(got) != 0 {
			t.Errorf("Counts of -1 slots: %v", got)
		}
	}
}

func TestScheduleManyStrata(t *testing.T) {
	shares := slices.Repeat([]int32{1}, SharesTotal)
	s := schedule(t, shares...)
	counts := s.Counts(0, SharesTotal)
	if slices.Min(counts) != 1 || slices.Max(counts) != 1 {
		t.Error("10,000 equal strata do not get one slot each")
	}
}

func TestScheduleRefuses(t *testing.T) {
	for _, shares := range [][]int32{nil, {}, {9999}, {10001}, {5000, 5001}, {-1, 10001}, make([]int32, SharesTotal+1)} {
		if _, err := NewSchedule(shares); err == nil {
			t.Errorf("%d shares starting %v were taken", len(shares), shares[:min(3, len(shares))])
		}
	}
}
