package law

import (
	"fmt"
	"slices"
)

// maxTokens bounds what one row counts for.
const maxTokens = int64(1) << 40

// TokenSchedule says which stratum comes next where shares are shares of tokens.
// Every stratum is owed its share of all tokens given, less what it was given;
// the one that is owed most comes next. What is owed is the state that a claim
// carries; it stays within a few rows' tokens however long the stream is. A
// TokenSchedule is for one goroutine.
type TokenSchedule struct {
	shares []int64
	owed   []int64 // in 1/10,000 tokens
}

// NewTokenSchedule continues with what Owed gave; nil begins. Shares are those of
// NewSchedule.
func NewTokenSchedule(shares []int32, owed []int64) (*TokenSchedule, error) {
	if _, err := checkShares(shares); err != nil {
		return nil, err
	}
	s := &TokenSchedule{make([]int64, len(shares)), make([]int64, len(shares))}
	for i, a := range shares {
		s.shares[i] = int64(a)
	}
	if owed != nil && len(owed) != len(shares) {
		return nil, fmt.Errorf("%d strata are owed tokens, but there are %d", len(owed), len(shares))
	}
	copy(s.owed, owed)
	return s, nil
}

// Next is the stratum that is owed most, the earlier one in a tie. Strata with
// share 0 and those that dry says are not asked; dry may be nil. ok is false where
// no stratum is left.
func (s *TokenSchedule) Next(dry func(stratum int) bool) (stratum int, ok bool) {
	for i, share := range s.shares {
		if share == 0 || ok && s.owed[i] <= s.owed[stratum] || dry != nil && dry(i) {
			continue
		}
		stratum, ok = i, true
	}
	return stratum, ok
}

// Give notes that a stratum was given a row of so many tokens, at least 1 and at
// most 2^40. The strata that dry says (nil: none) are left out of the split: they are owed no
// more and no less than before.
func (s *TokenSchedule) Give(stratum int, tokens int64, dry func(stratum int) bool) {
	tokens = min(max(tokens, 1), maxTokens)
	shared := int64(0)
	for i, share := range s.shares {
		if i != stratum && dry != nil && dry(i) {
			continue
		}
		s.owed[i] += share * tokens
		shared += share
	}
	s.owed[stratum] -= shared * tokens
}

// Owed is what every stratum is owed, in 1/10,000 tokens; negative where it got
// more than its share. The sum is 0.
func (s *TokenSchedule) Owed() []int64 { return slices.Clone(s.owed) }
