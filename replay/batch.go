package replay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"trajlake/replay/law"
	"trajlake/store"
)

// Batch says which units one batch holds: a function of snapshot, spec, seed and
// position, and for live and sequential streams of the claim. Rows fetches them.
type Batch struct {
	ID       string // the same for the same batch, wherever it is drawn
	Position uint64
	Version  int64  // of trajectories in the snapshot
	Snapshot string // token
	SpecHash string
	Stream   string // "" if it has none
	Run      string
	AsOf     AsOf // the moment that ages are measured against
	Slots    []Slot
	Dry      []string // what was short and what the spec's rule did about it, one line for each stratum
}

// Slot is one unit of a batch.
type Slot struct {
	Number  int // its place in the whole batch, from 0; it stays where ranks get parts
	Stratum string
	P32     uint64   // inclusion probability in 2^−32; law.One is 1
	Weight  uint64   // fixed point, see law.Weight; where an order draws, law.One
	N       int64    // candidates that it was drawn from
	Import  float64  // importance weight; the greatest of the batch has 1
	Uses    int32    // the most of its eligible members'
	Members []Member // its rows in log order; one for a trajectory
	Pad     bool     // members that stand for missing ones follow
}

// Member is one row of a drawn unit.
type Member struct {
	Seq      int64 // place in trajectories
	Eligible bool  // may be drawn by itself: satisfies the predicate, is not quarantined, not too old, …
	Tokens   int64 // 0 where the spec does not count tokens
	Uses     int32 // how often the run has drawn the row before; −1 where nobody counts
	Pad      bool  // stands for a missing member of its group: a copy that must not count
	Path     int32 // of a branch: which leaf of the row, from 0
}

// Probability is the inclusion probability.
func (s Slot) Probability() float64 { return float64(s.P32) / float64(law.One) }

// Draw draws one batch from a snapshot. A Sampler draws many without reading the
// candidates again.
func Draw(ctx context.Context, snap *store.Snapshot, spec Spec, position uint64) (*Sampler, *Batch, error) {
	s, err := Open(ctx, snap, spec)
	if err != nil {
		return nil, nil, err
	}
	b, err := s.Draw(position)
	return s, b, err
}

// Draw draws the batch at a position, counted from 0 over the run. It reads nothing
// from the lake. Batches of a sequential stream depend on those before them from
// Origin's First on, which are drawn on the way. The error has kind Exhausted where a
// stratum is dry and the spec says that this is a failure, or that the stream waits;
// it holds a *DryError.
func (s *Sampler) Draw(position uint64) (*Batch, error) {
	if s.spec.Sequential() {
		return s.drawInOrder(position)
	}
	d := s.begin(position, s.pools, s.origin.Uses)
	d.first = s.slotAt(position)
	return d.batch()
}

// slotCycle is a multiple of every period of slots: that of the schedule, and of
// the schedules within its strata.
const slotCycle = law.SharesTotal * law.SharesTotal

// slotAt is the first slot of a position of a stream whose batches all have the
// same number of slots, counted from where the piece of its shares began, modulo
// slotCycle.
func (s *Sampler) slotAt(position uint64) uint64 {
	slot := position % slotCycle * uint64(s.spec.Batch.Rows) % slotCycle
	return (slot + slotCycle - s.pieceFirst(s.origin.First*uint64(s.spec.Batch.Rows))%slotCycle) % slotCycle
}

// pieceFirst is the slot at which the piece of shares began that now holds, if
// slots were given before the origin.
func (s *Sampler) pieceFirst(slots uint64) uint64 {
	switch {
	case len(s.spec.Strata.Steps) == 0:
		return 0
	case s.piece == s.origin.Carry.Piece:
		return s.origin.Carry.PieceFirst
	}
	return slots
}

// header is a batch without slots.
func (s *Sampler) header(position uint64) *Batch {
	b := &Batch{Position: position, Version: s.snap.Version(), Snapshot: s.snap.Token(), SpecHash: s.hash,
		Stream: s.origin.Stream, Run: s.origin.Run, AsOf: s.asOf}
	name := fmt.Appendf(nil, "%s|%s|%d", b.SpecHash, b.Snapshot, position)
	name = append(name, s.claim...)
	sum := sha256.Sum256(name)
	b.ID = hex.EncodeToString(sum[:16])
	return b
}

// claimName is what the origin adds to the names of batches: nothing where they
// stand alone.
func (s *Sampler) claimName() []byte {
	o := s.origin
	carry, _ := json.Marshal(o.Carry) // numbers only: it cannot fail
	h := sha256.New()
	h.Write(carry)
	digest := ""
	if o.Uses.digest(h, o.First, s.spec.Caps.Cooldown) || string(carry) != "{}" {
		digest = hex.EncodeToString(h.Sum(nil)[:8])
	}
	if o.AsOf == (AsOf{}) && digest == "" {
		return nil
	}
	asOf, _ := json.Marshal(o.AsOf)
	return fmt.Appendf(nil, "|%s|%s", asOf, digest)
}
