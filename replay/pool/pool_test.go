package pool

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"trajlake/replay/law"
)

// model is a pool in the simplest form.
type model map[uint32]Candidate

func (m model) keys() []uint32 { return slices.Sorted(maps.Keys(m)) }

func randomWeight(r *rand.Rand) uint64 {
	switch r.IntN(4) {
	case 0:
		return 1 << 32
	case 1:
		return 0
	}
	return r.Uint64N(1<<63) >> r.IntN(63)
}

func idsOf(m model) func(uint32) []uint64 {
	return func(key uint32) []uint64 { // in pieces of one to seven
		var out []uint64
		for k := key; len(out) == 0 || k%7 != 0; k++ {
			out = append(out, law.Mix64(uint64(k)))
		}
		return out
	}
}

func compare(t *testing.T, r *rand.Rand, p *Pool, m model) {
	t.Helper()
	p.Seal()
	keys := m.keys()
	got := slices.Collect(p.All())
	if len(got) != len(keys) || p.Len() != len(keys) {
		t.Fatalf("%d candidates, Len %d, want %d", len(got), p.Len(), len(keys))
	}
	var total law.Sum
	var buckets law.Buckets
	var tree law.Tree
	var candidates []law.Candidate
	for i, key := range keys {
		c := m[key]
		if got[i] != c || p.Weight(key) != c.Weight {
			t.Fatalf("candidate %d is %+v, want %+v", i, got[i], c)
		}
		total = plus(total, law.Sum{Lo: c.Weight})
		buckets.Add(c.Weight)
		tree.Set(i, c.Weight)
		id := c.ID
		if !p.withIDs {
			id = law.Mix64(uint64(key))
		}
		candidates = append(candidates, law.Candidate{ID64: id, Weight: c.Weight, Seq: int64(key)})
	}
	if p.Total() != total || *p.Buckets() != buckets {
		t.Fatalf("total %v, want %v", p.Total(), total)
	}
	back := slices.Collect(p.Backward())
	slices.Reverse(back)
	if !slices.Equal(back, got) {
		t.Fatal("backward is not forward reversed")
	}
	if len(keys) == 0 {
		return
	}
	lo := keys[r.IntN(len(keys))] + r.Uint32N(3) - 1
	hi := lo + r.Uint32N(2000)
	want := slices.DeleteFunc(slices.Clone(got), func(c Candidate) bool { return c.Key < lo || c.Key >= hi })
	if between := slices.Collect(p.Between(lo, hi)); !slices.Equal(between, want) {
		t.Fatalf("between %d and %d: %d candidates, want %d", lo, hi, len(between), len(want))
	}
	for range 20 {
		i := r.IntN(len(keys))
		if got, want := p.find(p.before(keys[i])), m[keys[i]]; got != want {
			t.Fatalf("find(before(%d)) is %+v", keys[i], got)
		}
	}
	seed, position := r.Uint64(), r.Uint64()
	checkTree(t, p, &tree, keys, seed, position, min(len(keys)+1, 40))
	q := p.Keyed(seed, position, 1+r.IntN(30), idsOf(m))
	for i, want := range slices.Collect(law.Order(candidates, seed, position, 50)) {
		got, ok := q.Next()
		if !ok || got.Seq != want.Seq || got.L != want.L || got.Weight != want.Weight {
			t.Fatalf("keyed %d: %+v %v, want %+v", i, got, ok, want)
		}
	}
	if _, ok := q.Next(); ok {
		t.Fatal("more candidates than there are")
	}
}

func checkTree(t *testing.T, p *Pool, tree *law.Tree, keys []uint32, seed, position uint64, slots int) {
	t.Helper()
	taken, out := map[int]struct{}{}, []uint32{}
	var all []uint64
	for slot := range uint64(slots) {
		all = append(all, slot)
	}
	for slot, c := range p.First(seed, position, all) {
		if one, ok := p.Throw(seed, position, uint64(slot), 0, func(uint32) bool { return false }); !ok || one != c {
			t.Fatalf("slot %d: first try %+v, want %+v", slot, c, one)
		}
	}
	for slot := range uint64(slots) {
		want, wantOK := tree.Draw(seed, position, slot, taken)
		got, ok := p.Throw(seed, position, slot, 0, func(key uint32) bool { return slices.Contains(out, key) })
		if !ok {
			got, ok = p.Last(seed, position, slot, out)
		}
		if ok != wantOK || ok && got.Key != keys[want] {
			t.Fatalf("slot %d: %+v %v, want key %v", slot, got, ok, want)
		}
		if ok {
			taken[want] = struct{}{}
			out = append(out, got.Key)
		}
	}
}

// TestPoolEqualsModel grows and changes pools at random, beside a map, through
// clones of which the old ones must stay as they were.
func TestPoolEqualsModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for round := range 30 {
		withIDs, even := round%2 == 0, round%5 == 0
		p, m := New(withIDs), model{}
		span := []uint32{300, 5000, 400_000, 1 << 31}[r.IntN(4)]
		set := func(key uint32) {
			c := Candidate{Key: key, Weight: randomWeight(r)}
			if even {
				c.Weight &= 1 << 32
			}
			if old, ok := m[key]; ok && withIDs {
				c.ID = old.ID
			} else if withIDs {
				c.ID = r.Uint64()
			}
			p.Set(key, c.Weight, c.ID)
			if m[key] = c; c.Weight == 0 {
				delete(m, key)
			}
		}
		for i := range uint32(r.IntN(4000)) { // built in order
			set(i * max(span/4000, 1))
		}
		compare(t, r, p, m)
		for range 4 {
			old, was := p, maps.Clone(m)
			p = p.Clone()
			for range r.IntN(3000) {
				set(r.Uint32N(span))
			}
			if r.IntN(2) == 0 {
				for _, key := range m.keys() {
					if r.IntN(10) > 0 {
						p.Set(key, 0, 0)
						delete(m, key)
					}
				}
			}
			compare(t, r, p, m)
			compare(t, r, old, was)
		}
	}
}

func TestEmptyPool(t *testing.T) {
	p := New(false)
	p.Seal()
	p.Set(3, 0, 0)
	if _, ok := p.Throw(1, 1, 0, 0, func(uint32) bool { return false }); ok {
		t.Error("an empty pool gave a candidate")
	}
	if _, ok := p.Last(1, 1, 0, []uint32{1, 2}); ok {
		t.Error("an empty pool gave a last candidate")
	}
	if _, ok := p.Keyed(1, 1, 5, nil).Next(); ok {
		t.Error("an empty pool gave a first candidate")
	}
	if p.Weight(0) != 0 || p.Len() != 0 || p.Total() != (law.Sum{}) {
		t.Error("an empty pool has something in it")
	}
}

// TestParallelKeyed is a draw that is large enough for all processors.
func TestParallelKeyed(t *testing.T) {
	p := New(false)
	r := rand.New(rand.NewPCG(4, 4))
	ids := make([]uint64, parallelFrom+1000)
	candidates := make([]law.Candidate, len(ids))
	for i := range ids {
		ids[i] = r.Uint64()
		candidates[i] = law.Candidate{ID64: ids[i], Weight: 1 + r.Uint64N(1<<40), Seq: int64(i)}
		p.Set(uint32(i), candidates[i].Weight, 0)
	}
	p.Seal()
	q := p.Keyed(9, 4, 100, func(key uint32) []uint64 { return ids[key:min(int(key)+1000, len(ids))] })
	for i, want := range law.Draw(candidates, 9, 4, 300) {
		if got, _ := q.Next(); got.Seq != want.Seq || got.L != want.L {
			t.Fatalf("%d: %+v, want %+v", i, got, want)
		}
	}
}
