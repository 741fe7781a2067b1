package law

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func tokens(t *testing.T, owed []int64, shares ...int32) *TokenSchedule {
	t.Helper()
	s, err := NewTokenSchedule(shares, owed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokenScheduleGolden(t *testing.T) {
	s := tokens(t, nil, 5000, 3000, 2000)
	var got strings.Builder
	for slot := range 40 {
		i, ok := s.Next(nil)
		if !ok {
			t.Fatal("no stratum")
		}
		fmt.Fprint(&got, i)
		s.Give(i, int64(100*(i+1)+slot%7), nil) // rows of about 100, 200 and 300 tokens
	}
	if want := goldenTokens; got.String() != want {
		t.Errorf("strata %s, want %s", &got, want)
	}
	if want := goldenOwed[:]; !slices.Equal(s.Owed(), want) {
		t.Errorf("owed %v, want %v", s.Owed(), want)
	}
}

// TestTokenScheduleEqualsNaive compares with share·total − given in big integers,
// goes on from the carry now and then, and checks that no stratum is further from
// its share than a few of the longest rows.
func TestTokenScheduleEqualsNaive(t *testing.T) {
	r := random(t, 29)
	for range 50 {
		m := 1 + r.IntN(8)
		shares := make([]int32, m)
		for range 100 {
			shares[r.IntN(1+r.IntN(m))] += 100
		}
		longest := int64(1) << (1 + r.IntN(30))
		given, total := make([]int64, m), int64(0)
		s := tokens(t, nil, shares...)
		for slot := range 500 {
			best, most := -1, new(big.Int)
			for i, a := range shares {
				deficit := new(big.Int).Sub(new(big.Int).Mul(big.NewInt(int64(a)), big.NewInt(total)), new(big.Int).Mul(big.NewInt(SharesTotal), big.NewInt(given[i])))
				if a > 0 && (best < 0 || deficit.Cmp(most) > 0) {
					best, most = i, deficit
				}
				if limit := new(big.Int).Mul(big.NewInt(int64(m)*SharesTotal), big.NewInt(longest)); deficit.CmpAbs(limit) > 0 {
					t.Fatalf("%v, rows of up to %d tokens: stratum %d is owed %v/10,000", shares, longest, i, deficit)
				}
			}
			if got, ok := s.Next(nil); !ok || got != best {
				t.Fatalf("%v: slot %d has stratum %d, want %d", shares, slot, got, best)
			}
			n := 1 + r.Int64N(longest)
			s.Give(best, n, nil)
			given[best], total = given[best]+n, total+n
			if r.IntN(20) == 0 {
				s = tokens(t, s.Owed(), shares...)
			}
		}
	}
}

// TestTokenScheduleDry: dry strata are passed over, and are owed neither more nor
// less for it; the others keep the ratio of their shares.
func TestTokenScheduleDry(t *testing.T) {
	s := tokens(t, nil, 5000, 3000, 2000, 0)
	dry := func(i int) bool { return i == 0 }
	given := make([]float64, 4)
	for range 10_000 {
		i, ok := s.Next(dry)
		if !ok || i == 0 || i == 3 {
			t.Fatalf("stratum %d %v", i, ok)
		}
		s.Give(i, 10, dry)
		given[i] += 10
	}
	if given[1]/given[2] < 1.499 || given[1]/given[2] > 1.501 || s.Owed()[0] != 0 {
		t.Errorf("given %v, owed %v", given, s.Owed())
	}
	if _, ok := s.Next(func(int) bool { return true }); ok {
		t.Error("all strata are dry, but one came")
	}
	before := s.Owed()
	if s.Give(1, -5, nil); s.Owed()[1] != before[1]+3000-10_000 {
		t.Errorf("a row of −5 tokens counts otherwise than one of 1: %v, then %v", before, s.Owed())
	}
	if s.Give(1, 1<<60, nil); s.Owed()[0] != 5000*(maxTokens+1) {
		t.Errorf("owed %v after an enormous row", s.Owed())
	}
}

func TestTokenScheduleRefuses(t *testing.T) {
	for _, c := range []struct {
		shares []int32
		owed   []int64
	}{{nil, nil}, {[]int32{9999}, nil}, {[]int32{5000, 5000}, []int64{1}}, {[]int32{10_000}, []int64{}}} {
		if _, err := NewTokenSchedule(c.shares, c.owed); err == nil {
			t.Errorf("%v with %v was taken", c.shares, c.owed)
		}
	}
}
