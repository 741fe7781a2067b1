package replay

import (
	"encoding/binary"
	"fmt"
	"hash"
	"slices"

	"trajlake/replay/facts"
	"trajlake/replay/law"
	"trajlake/replay/pool"
	"trajlake/schema/fault"
)

// remembered is how many batches of a sequential stream a sampler keeps; an older
// one is drawn again from the origin on.
const remembered = 512

// maxAhead bounds the batches that are drawn on the way to one.
const maxAhead = 1 << 20

// sequence is how far a sequential stream was drawn.
type sequence struct {
	next    uint64 // position
	carry   Carry
	uses    *Uses              // the sequence's own
	counted map[int64]struct{} // pages of uses that nobody else has
	pools   []*pool.Pool
	own     map[int]bool // cells whose pool is the sequence's
	resting []rest       // ascending by when they return
	batches []*Batch     // of the positions before next
	carries []Carry      // before each of them
	err     error        // of position next
}

// rest is a unit that waits for its cooldown.
type rest struct {
	until  uint64 // first position that may draw it again
	cell   int
	key    uint32
	weight uint64
	id     uint64
}

func (s *Sampler) newSequence() *sequence {
	q := &sequence{next: s.origin.First, carry: s.origin.Carry, uses: s.origin.Uses.copy(), counted: map[int64]struct{}{},
		pools: slices.Clone(s.pools), own: map[int]bool{}}
	q.carry.Given = slices.Clone(q.carry.Given)
	if len(s.spec.Strata.Steps) > 0 && q.carry.Piece != s.piece {
		q.carry.Piece, q.carry.PieceFirst, q.carry.Given = s.piece, q.carry.Slots, nil
	}
	for _, d := range q.uses.recent {
		until := d.position + uint64(s.spec.Caps.Cooldown) + 1
		if until <= q.next {
			continue
		}
		for _, seq := range d.seqs {
			if seq < s.view.Rows() {
				first, n, cell := s.unitsOf(seq)
				for k := range n {
					q.rest(cell, first+uint32(k), until)
				}
			}
		}
	}
	return q
}

// rest takes a unit out until a position.
func (q *sequence) rest(cell int, key uint32, until uint64) {
	if cell < 0 {
		return
	}
	if weight := q.pools[cell].Weight(key); weight > 0 {
		q.resting = append(q.resting, rest{until, cell, key, weight, q.pools[cell].ID(key)})
		q.pool(cell).Set(key, 0, 0)
		q.pools[cell].Seal()
	}
}

func (q *sequence) pool(cell int) *pool.Pool {
	if !q.own[cell] {
		q.own[cell] = true
		q.pools[cell] = q.pools[cell].Clone()
	}
	return q.pools[cell]
}

// drawInOrder draws a batch of a sequential stream, and those before it that were
// not yet drawn.
func (s *Sampler) drawInOrder(position uint64) (*Batch, error) {
	if position < s.origin.First {
		return nil, fault.New(fault.Usage, fmt.Sprintf("draw batch %d", position), "the claim begins at position %d", s.origin.First)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.reach(position)
	if err == nil && q.next == position {
		q, err = s.reach(position + 1) // cannot overflow: position was reached
	}
	if err != nil {
		return nil, err
	}
	return q.batches[uint64(len(q.batches))-(q.next-position)], nil
}

// step draws the next batch and takes what it does to later ones into account.
func (q *sequence) step(s *Sampler) error {
	before := q.carry
	before.Given = slices.Clone(q.carry.Given)
	q.wake()
	d := s.begin(q.next, q.pools, q.uses)
	d.first = q.carry.Slots - q.carry.PieceFirst
	if s.spec.Strata.Per == PerTokens {
		schedule, err := law.NewTokenSchedule(s.parts, q.carry.Given)
		if err != nil {
			return fault.WrapAs(fault.Corrupt, fmt.Sprintf("draw batch %d", q.next), err)
		}
		d.byTokens, d.mean = schedule, max(q.carry.Total/int64(max(q.carry.Slots, 1)), 1)
	}
	b, err := d.batch()
	if err != nil {
		return err
	}
	q.carry.Slots += uint64(d.slots)
	q.carry.Total += d.tokens
	if d.byTokens != nil {
		q.carry.Given = d.byTokens.Owed()
	}
	q.use(s, d)
	if len(q.batches) == remembered {
		q.batches, q.carries = slices.Delete(q.batches, 0, remembered/2), slices.Delete(q.carries, 0, remembered/2)
	}
	q.batches, q.carries = append(q.batches, b), append(q.carries, before)
	q.next++
	return nil
}

// wake brings back the units whose cooldown is over.
func (q *sequence) wake() {
	n := 0
	for ; n < len(q.resting) && q.resting[n].until <= q.next; n++ {
		r := q.resting[n]
		q.pool(r.cell).Set(r.key, r.weight, r.id)
		q.pools[r.cell].Seal()
	}
	q.resting = q.resting[n:]
}

// use counts what a batch drew, and takes out what is used up or has to rest.
func (q *sequence) use(s *Sampler, d *drawing) {
	caps := s.spec.Caps
	if caps.Reuse == 0 && caps.Cooldown == 0 {
		return
	}
	var seqs []int64
	for _, p := range d.picks {
		for _, m := range p.members {
			if m.Eligible {
				seqs = append(seqs, m.Seq)
			}
		}
	}
	q.uses.add(q.next, seqs, caps.Cooldown, q.counted)
	for _, p := range d.picks {
		first, n := p.cand.key, 1
		if s.spec.Unit == UnitBranch { // the other branches are of the same row
			first, n = s.keysOf(p.members[0].Seq)
		}
		for k := range n {
			if caps.Reuse > 0 && s.leftOf(p.members, q.uses) < s.least() {
				q.pool(p.cell).Set(first+uint32(k), 0, 0)
				q.pools[p.cell].Seal()
			} else if caps.Cooldown > 0 {
				q.rest(p.cell, first+uint32(k), q.next+uint64(caps.Cooldown)+1)
			}
		}
	}
}

// leftOf is how many rows of a unit may still be drawn.
func (s *Sampler) leftOf(members []Member, uses *Uses) (n int64) {
	for _, m := range members {
		if m.Eligible && uses.times(m.Seq) < s.spec.Caps.Reuse {
			n++
		}
	}
	return n
}

// least is how many eligible rows make a unit.
func (s *Sampler) least() int64 {
	if s.spec.Unit == UnitGroup {
		return s.spec.Group.Min
	}
	return 1
}

// CarryAt is what a claim that begins at a position carries, after the positions
// before it. It is zero for streams whose batches stand alone.
func (s *Sampler) CarryAt(position uint64) (Carry, error) {
	if !s.spec.Sequential() {
		if len(s.spec.Strata.Steps) == 0 {
			return Carry{}, nil
		}
		rows := uint64(s.spec.Batch.Rows)
		return Carry{Slots: position * rows, Piece: s.piece, PieceFirst: s.pieceFirst(s.origin.First * rows)}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.reach(position)
	if err != nil {
		return Carry{}, err
	}
	carry := q.carry
	if position < q.next {
		carry = q.carries[uint64(len(q.carries))-(q.next-position)]
	}
	carry.Given = slices.Clone(carry.Given)
	return carry, nil
}

// UsesAt is how often rows were drawn before a position; nil if the stream does
// not count.
func (s *Sampler) UsesAt(position uint64) (*Uses, error) {
	if s.spec.Caps.Reuse == 0 && s.spec.Caps.Cooldown == 0 {
		return s.origin.Uses, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, err := s.reach(position)
	if err != nil {
		return nil, err
	}
	if position < q.next { // count again what was drawn before it
		q = s.newSequence()
		for q.next < position {
			if err := q.step(s); err != nil {
				return nil, err
			}
		}
	}
	clear(q.counted)
	return q.uses.copy(), nil
}

// reach draws up to a position, not including it, and gives the sequence, which
// remembers the state before it; mu is held.
func (s *Sampler) reach(position uint64) (*sequence, error) {
	if position < s.origin.First {
		return nil, fault.New(fault.Usage, "look up the state of a stream", "position %d is before the claim, which begins at %d", position, s.origin.First)
	}
	if position-s.origin.First > maxAhead {
		return nil, fault.New(fault.Exhausted, "draw in sequence", "position %d is more than %d batches away from %d, where the sequence begins", position, maxAhead, s.origin.First).
			WithHint("a named stream begins anew with every claim")
	}
	if s.seq == nil || position+uint64(len(s.seq.batches)) < s.seq.next {
		s.seq = s.newSequence()
	}
	for s.seq.next < position {
		if s.seq.err == nil {
			s.seq.err = s.seq.step(s)
		}
		if s.seq.err != nil {
			return nil, s.seq.err // no later batch can be drawn either
		}
	}
	return s.seq, nil
}

// digest feeds a hash with everything that bears on draws from a position on, and
// tells whether there is anything.
func (u *Uses) digest(h hash.Hash, first uint64, cooldown int64) (any bool) {
	if u == nil {
		return false
	}
	for i, page := range u.pages {
		if page == nil || *page == (usePage{}) {
			continue
		}
		any = true
		body := binary.BigEndian.AppendUint64(nil, uint64(i))
		for _, n := range page {
			body = binary.BigEndian.AppendUint16(body, n)
		}
		h.Write(body)
	}
	for _, d := range u.recent {
		if first-d.position > uint64(max(cooldown, 0)) {
			continue
		}
		any = true
		body := binary.BigEndian.AppendUint64(nil, d.position)
		for _, seq := range slices.Sorted(slices.Values(d.seqs)) {
			body = binary.BigEndian.AppendUint64(body, uint64(seq))
		}
		h.Write(body)
	}
	return any
}

// unitsOf finds the units that a row is drawn with: n keys from first on; the cell
// is −1 if it is in none.
func (s *Sampler) unitsOf(seq int64) (first uint32, n, cell int) {
	var r facts.Row
	s.view.Read(seq, &r)
	if s.spec.Unit == UnitGroup && r.Group != 0 {
		u, _ := s.placeGroup(r.Group)
		return u.key, 1, int(u.cell)
	}
	first, n = s.keysOf(seq)
	return first, n, int(s.rules.place(&r).cell)
}
