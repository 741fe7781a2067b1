package replay

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestPartSharesEveryBatch: every slot goes to one rank, counts differ by one at
// most, and the costs are nearer to each other than those of every world-th slot.
func TestPartSharesEveryBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var balanced, dealt float64
	for range 300 {
		b := &Batch{Slots: make([]Slot, r.IntN(200))}
		for i := range b.Slots {
			for range 1 + r.IntN(3) {
				b.Slots[i].Members = append(b.Slots[i].Members, Member{Tokens: int64(r.ExpFloat64() * 3000)})
			}
		}
		world := 1 + r.IntN(12)
		var all []int
		least, most := len(b.Slots), 0
		var costs, deals []float64
		for rank := range world {
			part := b.Part(rank, world)
			if !slices.IsSorted(part) {
				t.Fatalf("rank %d of %d: %v is not in order", rank, world, part)
			}
			all = append(all, part...)
			least, most = min(least, len(part)), max(most, len(part))
			c, d := 0.0, 0.0
			for _, i := range part {
				c += float64(b.Slots[i].cost())
			}
			for i := rank; i < len(b.Slots); i += world {
				d += float64(b.Slots[i].cost())
			}
			costs, deals = append(costs, c), append(deals, d)
		}
		slices.Sort(all)
		for i := range all {
			if all[i] != i {
				t.Fatalf("%d slots over %d ranks: %v", len(b.Slots), world, all)
			}
		}
		if len(all) != len(b.Slots) || most-least > 1 {
			t.Fatalf("%d slots over %d ranks: %d given, from %d to %d each", len(b.Slots), world, len(all), least, most)
		}
		balanced += slices.Max(costs) - slices.Min(costs)
		dealt += slices.Max(deals) - slices.Min(deals)
	}
	if balanced*3 > dealt {
		t.Errorf("spread of Σ tokens²: %.3g balanced, %.3g dealt out", balanced, dealt)
	}
}

// TestPartWithoutTokens deals slots of unknown length out in turn.
func TestPartWithoutTokens(t *testing.T) {
	b := &Batch{Slots: make([]Slot, 7)}
	for i := range b.Slots {
		b.Slots[i].Members = []Member{{Seq: int64(i)}}
	}
	if got := b.Part(0, 3); !slices.Equal(got, []int{0, 3, 6}) {
		t.Errorf("rank 0 of 3: %v", got)
	}
	if got := b.Part(2, 3); !slices.Equal(got, []int{2, 5}) {
		t.Errorf("rank 2 of 3: %v", got)
	}
	if got := b.Part(8, 9); len(got) != 0 {
		t.Errorf("rank 8 of 9 of 7 slots: %v", got)
	}
}
