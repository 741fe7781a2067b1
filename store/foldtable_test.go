package store

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestFoldTable compares tables under random updates with maps, older tables too.
func TestFoldTable(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			seeds := newFoldSeeds()
			type entry struct {
				id  int
				col int
			}
			var tables []foldTable
			var models []map[entry]uint64
			table, model := foldTable{}, map[entry]uint64{}
			ids := 1 + r.IntN(60_000)
			for range 6 {
				next := map[entry]uint64{}
				for k, v := range model {
					next[k] = v
				}
				var updates []foldUpdate
				for range r.IntN(30_000) {
					e := entry{r.IntN(ids), r.IntN(foldColumns)}
					bits := foldBits(float64(r.IntN(100)), r.IntN(10) == 0)
					k := seeds.of(onTrajectory, fmt.Sprint(e.id))
					updates = append(updates, foldUpdate{key: k.key, dir: k.dir, col: uint8(e.col), bits: bits})
					next[e] = bits
				}
				table, model = table.advance(updates), next
				tables, models = append(tables, table), append(models, model)
			}
			for n := range tables {
				keys := map[int]bool{}
				for e := range models[n] {
					keys[e.id] = true
				}
				if tables[n].keys != int64(len(keys)) {
					t.Errorf("table %d has %d keys, want %d", n, tables[n].keys, len(keys))
				}
				for range 20_000 {
					e := entry{r.IntN(ids + 10), r.IntN(foldColumns)}
					want, ok := models[n][e]
					if !ok {
						want = foldAbsent
					}
					if got := tables[n].get(seeds.of(onTrajectory, fmt.Sprint(e.id)), e.col); got != want {
						t.Fatalf("table %d: %+v is %x, want %x", n, e, got, want)
					}
				}
			}
		})
	}
}

// TestFoldTablePlaces: a place once known stays with its key over updates.
func TestFoldTablePlaces(t *testing.T) {
	seeds := newFoldSeeds()
	var table foldTable
	for round := range 4 {
		var updates []foldUpdate
		for i := range 50_000 {
			k := seeds.of(onTrajectory, fmt.Sprint(round*10_000+i))
			updates = append(updates, foldUpdate{key: k.key, dir: k.dir, bits: foldBits(1, false)})
		}
		table = table.advance(updates)
		for i := range 50_000 {
			id := round*10_000 + i
			b, at := table.find(seeds.of(onTrajectory, fmt.Sprint(id)))
			if at < 0 {
				t.Fatalf("%d is not there", id)
			}
			got, known := b.place(at)
			if was := round > 0 && i < 40_000; known != was || known && got != int64(id)*3 {
				t.Fatalf("round %d: the place of %d is %d, %v", round, id, got, known)
			}
			b.setPlace(at, int64(id)*3)
		}
	}
}

// TestFoldBits: no number is taken for the absence of one.
func TestFoldBits(t *testing.T) {
	for _, v := range []float64{0, math.Copysign(0, -1), 1, math.MaxFloat64, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1)} {
		if b := foldBits(v, false); b == foldAbsent || b == foldNull != math.IsNaN(v) {
			t.Errorf("%v has the bits %x", v, b)
		}
	}
}

// TestFoldTableIsCompact holds the promise of the package's budget: at most 24
// bytes for a trajectory with a priority in a large table; a small one has the
// buckets' own cost to bear.
func TestFoldTableIsCompact(t *testing.T) {
	seeds := newFoldSeeds()
	const n = 400_000
	updates := make([]foldUpdate, n)
	for i := range updates {
		k := seeds.of(onTrajectory, fmt.Sprint(i))
		updates[i] = foldUpdate{key: k.key, dir: k.dir, col: uint8(notePriority), bits: foldBits(1, false)}
	}
	table := (&foldTable{}).advance(updates)
	own := float64(foldDirs * (8 + 24*(2+foldColumns)))
	per := (float64(table.bytes()) - own) / n
	if t.Logf("%.1f bytes for a trajectory at %d, %.1f with the buckets", per, n, per+own/n); per > 20.5 || own > 4<<20 {
		t.Errorf("%.1f bytes for a trajectory, and %.0f for the buckets", per, own)
	}
}
