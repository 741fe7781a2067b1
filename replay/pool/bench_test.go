package pool

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"trajlake/replay/law"
)

var sizes = []int{10_000, 100_000, 1_000_000, 10_000_000}

func poolOf(n int, even bool) *Pool {
	p := New(false)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		w := uint64(1 << 32)
		if !even {
			w = r.Uint64N(1 << 33)
		}
		p.Set(uint32(i), w, 0)
	}
	p.Seal()
	return p
}

// BenchmarkTreeDraw draws batches of 256.
func BenchmarkTreeDraw(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := poolOf(n, false)
			b.ReportMetric(float64(p.Bytes())/float64(n), "B/row")
			position := uint64(0)
			slots := make([]uint64, 256)
			for i := range slots {
				slots[i] = uint64(i)
			}
			for b.Loop() {
				position++
				taken := make(map[uint32]struct{}, 256)
				first := p.First(5, position, slots)
				for slot, c := range first {
					if _, is := taken[c.Key]; is {
						c, _ = p.Throw(5, position, uint64(slot), 1, func(key uint32) bool { _, is := taken[key]; return is })
					}
					taken[c.Key] = struct{}{}
				}
			}
		})
	}
}

// BenchmarkKeyedDraw draws a batch of 256 from a new position.
func BenchmarkKeyedDraw(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := poolOf(n, false)
			ids := make([]uint64, n)
			for i := range ids {
				ids[i] = law.Mix64(uint64(i))
			}
			position := uint64(0)
			for b.Loop() {
				position++
				q := p.Keyed(5, position, 257, func(key uint32) []uint64 { return ids[key:] })
				for range 257 {
					q.Next()
				}
			}
		})
	}
}

// BenchmarkUpdate changes 256 weights a call, at random places: in a pool that no
// reader shares, and through a clone for each call, as readers see it.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range sizes {
		for _, shared := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/shared=%v", n, shared), func(b *testing.B) {
				p := poolOf(n, false)
				r := rand.New(rand.NewPCG(1, 3))
				for b.Loop() {
					if shared {
						p = p.Clone()
					}
					for range 256 {
						p.Set(r.Uint32N(uint32(n)), 1+r.Uint64N(1<<33), 0)
					}
					p.Seal()
				}
				b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "updates/s")
			})
		}
	}
}
