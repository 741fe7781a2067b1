package store

import (
	"cmp"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
)

// A foldTable maps what annotations are about to a few numbers. It never changes:
// advance makes a new one that shares every bucket without news, so that each
// snapshot has its own and a handful of annotations costs a handful of buckets.
//
// Texts are not kept. A key is 78 bits of two hashes under seeds of the process:
// 14 choose the bucket, 64 stand in it, sorted. Of ten million rows beside ten
// million annotated ones the probability that any two are taken for each other is
// about 10⁻⁹, and nobody outside can aim at it.
type foldTable struct {
	dir  []*foldBucket // nil while empty
	keys int64
}

const (
	foldDirBits = 14
	foldDirs    = 1 << foldDirBits
	foldColumns = 3
)

// foldKey is the hash of one target.
type foldKey struct {
	key uint64
	dir uint16
}

// foldBucket holds the keys of one part of the table, sorted, and beside each its
// numbers: columns that no key of the bucket has are nil.
type foldBucket struct {
	keys   []uint64
	cols   [foldColumns][]uint64 // bits of float64
	places []uint32              // of the trajectory, plus 1; 0 = not looked up yet. Atomic
}

// Bits of no float64 that an annotation can hold.
const (
	foldAbsent = 0x7ff8_0000_0000_0a05 // the key has no number in this column
	foldNull   = 0x7ff8_0000_0000_0a11 // the newest annotation's value is null
)

func foldBits(v float64, null bool) uint64 {
	if null || math.IsNaN(v) {
		return foldNull
	}
	return math.Float64bits(v)
}

// targetKind is a kind of target that decides how rows are seen.
type targetKind uint8

const (
	onTrajectory targetKind = iota
	onGroup
	onEpisode
	onTask
	onEnv
	targetKinds
)

var targetNames = map[string]targetKind{
	"": onTrajectory, "trajectory": onTrajectory, "group": onGroup, "episode": onEpisode, "task": onTask, "env": onEnv,
}

// foldSeeds key the hashes, by kind of target; the last is for quarantines.
type foldSeeds [targetKinds + 1][2]maphash.Seed

func newFoldSeeds() *foldSeeds {
	s := &foldSeeds{}
	for i := range s {
		s[i] = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	}
	return s
}

func (s *foldSeeds) of(kind targetKind, id string) foldKey {
	return foldKey{maphash.String(s[kind][0], id), uint16(maphash.String(s[kind][1], id) & (foldDirs - 1))}
}

func (s *foldSeeds) bytes(b []byte) foldKey {
	return foldKey{maphash.Bytes(s[targetKinds][0], b), uint16(maphash.Bytes(s[targetKinds][1], b) & (foldDirs - 1))}
}

// find is where k stands; i is -1 when it does not.
func (t *foldTable) find(k foldKey) (b *foldBucket, i int) {
	if t.dir == nil {
		return nil, -1
	}
	if b = t.dir[k.dir]; b == nil {
		return nil, -1
	}
	// Keys are spread evenly: the guess is off by about the root of their number.
	hi, _ := bits.Mul64(k.key, uint64(len(b.keys)))
	i = int(hi)
	for b.keys[i] < k.key {
		if i++; i == len(b.keys) {
			return b, -1
		}
	}
	for b.keys[i] > k.key {
		if i--; i < 0 {
			return b, -1
		}
	}
	if b.keys[i] != k.key {
		return b, -1
	}
	return b, i
}

// get is the number of k in a column, in bits; foldAbsent where there is none.
func (t *foldTable) get(k foldKey, col int) uint64 {
	b, i := t.find(k)
	if i < 0 {
		return foldAbsent
	}
	return b.at(col, i)
}

func (b *foldBucket) at(col, i int) uint64 {
	if b.cols[col] == nil {
		return foldAbsent
	}
	return b.cols[col][i]
}

// place is the trajectory's place, if it is known.
func (b *foldBucket) place(i int) (int64, bool) {
	p := atomic.LoadUint32(&b.places[i])
	return int64(p) - 1, p != 0
}

// setPlace remembers a trajectory's place, which never changes.
func (b *foldBucket) setPlace(i int, seq int64) {
	if seq >= 0 && seq < math.MaxUint32 {
		atomic.StoreUint32(&b.places[i], uint32(seq+1))
	}
}

// foldUpdate is one number to be set.
type foldUpdate struct {
	key  uint64
	bits uint64
	dir  uint16
	col  uint8
}

// advance is t with the updates, of which later ones win. It reorders updates.
func (t *foldTable) advance(updates []foldUpdate) foldTable {
	if len(updates) == 0 {
		return *t
	}
	sorted, ends := byBucket(updates)
	out := foldTable{dir: make([]*foldBucket, foldDirs), keys: t.keys}
	copy(out.dir, t.dir)
	lo := int32(0)
	for d, hi := range ends {
		if group := sorted[lo:hi]; len(group) > 0 {
			slices.SortStableFunc(group, func(a, b foldUpdate) int {
				return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.col, b.col))
			})
			old := out.dir[d]
			out.dir[d] = old.merge(group)
			out.keys += int64(len(out.dir[d].keys))
			if old != nil {
				out.keys -= int64(len(old.keys))
			}
		}
		lo = hi
	}
	return out
}

// byBucket orders updates by bucket, equal ones as they were, and tells where
// each bucket's end.
func byBucket(updates []foldUpdate) (sorted []foldUpdate, ends []int32) {
	ends = make([]int32, foldDirs)
	for i := range updates {
		ends[updates[i].dir]++
	}
	at := int32(0)
	for d, n := range ends {
		ends[d] = at
		at += n
	}
	sorted = make([]foldUpdate, len(updates))
	for i := range updates {
		d := updates[i].dir
		sorted[ends[d]] = updates[i]
		ends[d]++
	}
	return sorted, ends
}

// merge is b, which may be nil, with updates sorted by key and column.
func (b *foldBucket) merge(group []foldUpdate) *foldBucket {
	if b == nil {
		b = &foldBucket{}
	}
	fresh, i := 0, 0
	var has [foldColumns]bool
	for n, u := range group {
		has[u.col] = true
		if n > 0 && group[n-1].key == u.key {
			continue
		}
		for i < len(b.keys) && b.keys[i] < u.key {
			i++
		}
		if i == len(b.keys) || b.keys[i] != u.key {
			fresh++
		}
	}
	n := len(b.keys) + fresh
	out := &foldBucket{keys: make([]uint64, n), places: make([]uint32, n)}
	for c := range has {
		if has[c] || b.cols[c] != nil {
			out.cols[c] = make([]uint64, n)
		}
	}
	i = 0
	for at := range n {
		switch {
		case i < len(b.keys) && (len(group) == 0 || b.keys[i] <= group[0].key):
			out.keys[at] = b.keys[i]
			out.places[at] = atomic.LoadUint32(&b.places[i])
			for c := range out.cols {
				if out.cols[c] != nil {
					out.cols[c][at] = b.at(c, i)
				}
			}
			i++
		default:
			out.keys[at] = group[0].key
			for c := range out.cols {
				if out.cols[c] != nil {
					out.cols[c][at] = foldAbsent
				}
			}
		}
		for len(group) > 0 && group[0].key == out.keys[at] {
			out.cols[group[0].col][at] = group[0].bits
			group = group[1:]
		}
	}
	return out
}

// bytes is about the memory that the table holds.
func (t *foldTable) bytes() int64 {
	n := int64(8 * len(t.dir))
	for _, b := range t.dir {
		if b == nil {
			continue
		}
		n += 24*(2+foldColumns) + int64(8*cap(b.keys)+4*cap(b.places))
		for _, c := range b.cols {
			n += int64(8 * cap(c))
		}
	}
	return n
}
