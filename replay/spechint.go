package replay

import (
	"fmt"
	"math"
	"strings"
)

// didYouMean is a hint that names the nearest of the names, or all of them where
// none is near and they are few.
func didYouMean(got string, names []string) string {
	best, least := "", 1+max(len(got)/3, 1)
	for _, name := range names {
		if d := distance(strings.ToLower(got), name); d < least {
			best, least = name, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %s?", best)
	case len(names) <= 24:
		return "possible here: " + strings.Join(names, ", ")
	}
	return ""
}

// distance is the number of letters to insert, delete, replace or swap with their
// neighbour.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return math.MaxInt
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				cost++
			}
			cost = min(cost, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cost = min(cost, rows[i-2][j-2]+1)
			}
			rows[i][j] = cost
		}
	}
	return rows[len(a)][len(b)]
}
