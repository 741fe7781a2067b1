package facts

import (
	"slices"
	"sort"
	"sync"
)

// memberColumns are the columns by whose codes rows are found.
var memberColumns = [...]int{colGroup, colEpisode, colTask}

// memberIndex is the rows of a chunk in the order of their codes, for each of the
// memberColumns. It is made at first use.
type memberIndex struct {
	once  [len(memberColumns)]sync.Once
	order [len(memberColumns)][]uint16 // nil: log order is the order of codes
	mu    sync.Mutex
	bytes int64
}

func (m *memberIndex) size() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}

// Members are the places of a group's rows, ascending: MembersOf(Group, group).
func (v *View) Members(group uint32) []int64 { return v.MembersOf(Group, group) }

// MembersOf are the places of the rows with a code in a column, ascending,
// without the absent ones; nil for code 0. The column is Group, Episode or Task,
// and the view must hold it. What it takes to find them, up to two bytes a row,
// is made on first use and shared by all views that share the rows.
func (v *View) MembersOf(col Set, code uint32) []int64 {
	c := textColumn(col)
	k := slices.Index(memberColumns[:], c)
	if code == 0 || k < 0 || v.has&col == 0 {
		return nil
	}
	var out []int64
	for i, ch := range v.chunks {
		if p := &ch.ints[c]; int64(code) < p.lo || int64(code) > p.hi {
			continue
		}
		base := int64(i) << chunkBits
		for _, at := range ch.members(k, int64(code)) {
			if seq := base + int64(at); seq < v.rows && !v.absent(seq) {
				out = append(out, seq)
			}
		}
	}
	return out
}

// members are the rows of the chunk with a code, ascending.
func (c *chunk) members(k int, code int64) []uint16 {
	p := &c.ints[memberColumns[k]]
	order := c.order(k)
	at := func(i int) int {
		if order == nil {
			return i
		}
		return int(order[i])
	}
	first := sort.Search(c.rows, func(i int) bool { return p.get(at(i), 0) >= code })
	var out []uint16
	for i := first; i < c.rows && p.get(at(i), 0) == code; i++ {
		out = append(out, uint16(at(i)))
	}
	return out
}

// order sorts the rows by code, then place.
func (c *chunk) order(k int) []uint16 {
	c.index.once[k].Do(func() {
		codes := c.ints[memberColumns[k]].unpack(make([]int64, 0, c.rows), c.rows)
		for i := range codes {
			codes[i] = max(codes[i], 0) // null
		}
		if slices.IsSorted(codes) {
			return
		}
		keys := make([]int64, len(codes)) // codes have 32 bits, rows 14
		for i, code := range codes {
			keys[i] = code<<chunkBits | int64(i)
		}
		slices.Sort(keys)
		order := make([]uint16, len(keys))
		for i, key := range keys {
			order[i] = uint16(key & chunkMask)
		}
		c.index.order[k] = order
		c.index.mu.Lock()
		c.index.bytes += int64(2 * cap(order))
		c.index.mu.Unlock()
	})
	return c.index.order[k]
}
