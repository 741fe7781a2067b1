package replay

import (
	"cmp"
	"slices"
)

// Part is the slots of one rank of world, by number and in the order of the batch.
// Units stay whole. Numbers of slots differ by at most one between ranks; within
// that, the ranks' sums of tokens² (what attention costs) are evened out: the dearest
// slot first, each to the rank that has least. A slot whose tokens are not known
// counts as one token. It is a function of the batch: all ranks agree without talking,
// and another world cuts the same batch anew. Ranks count from 0; world 0 is 1.
func (b *Batch) Part(rank, world int) []int {
	n := len(b.Slots)
	if world <= 1 {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return all
	}
	order := make([]int, n)
	cost := make([]uint64, n)
	for i := range order {
		order[i], cost[i] = i, b.Slots[i].cost()
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(cost[y], cost[x]) })
	floor, extra := n/world, n%world // so many ranks get one more
	sum, count := make([]uint64, world), make([]int, world)
	var mine []int
	for _, i := range order {
		to := -1
		for r := range world {
			full := count[r] > floor || count[r] == floor && extra == 0
			if !full && (to < 0 || sum[r] < sum[to]) {
				to = r
			}
		}
		if count[to] == floor {
			extra--
		}
		count[to]++
		sum[to] += cost[i]
		if to == rank {
			mine = append(mine, i)
		}
	}
	slices.Sort(mine)
	return mine
}

// cost is the sum of the squares of the members' tokens.
func (s Slot) cost() uint64 {
	var sum uint64
	for _, m := range s.Members {
		t := uint64(min(max(m.Tokens, 1), 1<<24)) // so that no sum of squares overflows
		sum += t * t
	}
	return sum
}
