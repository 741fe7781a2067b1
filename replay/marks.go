package replay

import "slices"

// pageRows is how many places share a page of marks, uses or ages.
const pageRows = 1024

// marks is a set of places. Copies share the pages that neither changes.
type marks struct {
	pages []*markPage        // nil where no place is marked
	mine  map[int64]struct{} // pages that may be changed; nil: all
}

type markPage [pageRows / 64]uint64

// clone is a copy that can be changed; m must not be changed any more.
func (m *marks) clone() *marks {
	return &marks{pages: slices.Clone(m.pages), mine: map[int64]struct{}{}}
}

func (m *marks) has(i int64) bool {
	page := i / pageRows
	return page < int64(len(m.pages)) && m.pages[page] != nil && m.pages[page][i%pageRows/64]>>(i%64)&1 == 1
}

func (m *marks) set(i int64, to bool) {
	if m.has(i) == to {
		return
	}
	page := i / pageRows
	for page >= int64(len(m.pages)) {
		m.pages = append(m.pages, nil)
	}
	if m.pages[page] == nil {
		m.pages[page] = new(markPage)
	} else if _, own := m.mine[page]; m.mine != nil && !own {
		c := *m.pages[page]
		m.pages[page] = &c
	}
	if m.mine != nil {
		m.mine[page] = struct{}{}
	}
	m.pages[page][i%pageRows/64] ^= 1 << (i % 64)
}

func (m *marks) size() int64 {
	n := int64(8 * cap(m.pages))
	for _, page := range m.pages {
		if page != nil {
			n += pageRows / 8
		}
	}
	return n
}

// Uses counts how often each row was drawn in a run of a stream, and knows which
// rows still rest. It never changes; With makes the next one, which shares what is
// equal. A nil *Uses is that of a run which has drawn nothing.
type Uses struct {
	pages  []*usePage // nil: none drawn
	recent []drawn    // what a cooldown still covers, ascending
}

type usePage [pageRows]uint16 // 65,535 stands for more

// drawn is what one position gave out.
type drawn struct {
	position uint64
	seqs     []int64
}

// With counts the rows that a position gave out, those that were eligible.
// Positions come in order. cooldown is the spec's: so many positions are remembered.
func (u *Uses) With(position uint64, seqs []int64, cooldown int64) *Uses {
	next := u.copy()
	next.add(position, seqs, cooldown, map[int64]struct{}{})
	return next
}

// copy shares all pages.
func (u *Uses) copy() *Uses {
	if u == nil {
		return &Uses{}
	}
	return &Uses{pages: slices.Clone(u.pages), recent: slices.Clone(u.recent)}
}

// add is With in place; own are the pages that nobody else has.
func (u *Uses) add(position uint64, seqs []int64, cooldown int64, own map[int64]struct{}) {
	u.recent = slices.DeleteFunc(u.recent, func(d drawn) bool { return position-d.position >= uint64(cooldown) })
	for _, seq := range seqs {
		i := seq / pageRows
		for i >= int64(len(u.pages)) {
			u.pages = append(u.pages, nil)
		}
		if u.pages[i] == nil {
			u.pages[i] = new(usePage)
		} else if _, is := own[i]; !is {
			c := *u.pages[i]
			u.pages[i] = &c
		}
		own[i] = struct{}{}
		if n := &u.pages[i][seq%pageRows]; *n < 1<<16-1 {
			*n++
		}
	}
	if cooldown > 0 && len(seqs) > 0 {
		u.recent = append(u.recent, drawn{position, slices.Clone(seqs)})
	}
}

// Count is how often a row was drawn.
func (u *Uses) Count(seq int64) int32 { return int32(u.times(seq)) }

func (u *Uses) times(seq int64) int64 {
	if u == nil {
		return 0
	}
	if i := seq / pageRows; i < int64(len(u.pages)) && u.pages[i] != nil {
		return int64(u.pages[i][seq%pageRows])
	}
	return 0
}

// differ calls yield for every row that two have counted differently.
func (u *Uses) differ(old *Uses, yield func(seq int64)) {
	var a, b []*usePage
	if u != nil {
		a = u.pages
	}
	if old != nil {
		b = old.pages
	}
	var none usePage
	for i := range max(len(a), len(b)) {
		x, y := &none, &none
		if i < len(a) && a[i] != nil {
			x = a[i]
		}
		if i < len(b) && b[i] != nil {
			y = b[i]
		}
		if x == y {
			continue
		}
		for k := range x {
			if x[k] != y[k] {
				yield(int64(i*pageRows + k))
			}
		}
	}
}
