package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"trajlake/schema/fault"
)

// AsOf is the moment at which a claim looks at the lake: what ages are measured
// against. The zero value is that of a pinned stream, whose moment is its snapshot's.
type AsOf struct {
	Time   int64 `json:"time"`   // microseconds UTC, by the clock of the node that claimed; never goes back within a chain
	Step   int64 `json:"step"`   // of the trainer, −1 if it did not say
	Policy int64 `json:"policy"` // version of the trainer's policy, or UnknownPolicy
}

// UnknownPolicy is the policy version of an AsOf when neither the trainer said it
// nor any row has one.
const UnknownPolicy = math.MinInt64

// Carry is what a sequential stream hands from one claim to the next.
type Carry struct {
	Slots      uint64  `json:"slots,omitempty"`       // given in the chain so far
	Given      []int64 `json:"given,omitempty"`       // tokens given so far, by stratum in the spec's order
	Total      int64   `json:"total,omitempty"`       // tokens given so far
	Piece      int     `json:"piece,omitempty"`       // of strata.steps
	PieceFirst uint64  `json:"piece_first,omitempty"` // slot at which the piece began
}

// Claim pins a range of positions of one run of a stream to a snapshot. It is an
// object of the lake, written once; the claims of a run form a chain without gaps
// from position 0, and a batch is a function of its claim and its position.
type Claim struct {
	Stream   string
	Run      string // "" without a run
	SpecHash string
	Snapshot string // token
	AsOf     AsOf
	Carry    Carry
	First    uint64
	Count    uint64 // Endless for a pinned stream
	Drawn    int64  // units drawn in the chain before First
	Previous string // name of the claim before it, "" for the first
	Node     string // who made it
	At       time.Time
}

// Endless is the count of the one claim of a pinned stream.
const Endless = uint64(math.MaxInt64)

// How many positions a claim may hold. A lookup of a position reads the names of
// as many claims as can lie before it.
const (
	maxClaim      = 4096
	maxSequential = 256
)

// End is the first position after the claim.
func (c *Claim) End() uint64 {
	if c.Count >= Endless-c.First {
		return Endless
	}
	return c.First + c.Count
}

// Name is the claim's name within its run: its first position in 20 digits.
func (c *Claim) Name() string { return claimName(c.First) }

func claimName(first uint64) string { return fmt.Sprintf("%020d", first) }

// claimJSON is a claim as it is stored.
type claimJSON struct {
	Format   int    `json:"format"`
	Stream   string `json:"stream"`
	Run      string `json:"run"`
	SpecHash string `json:"spec_hash"`
	Snapshot string `json:"snapshot"`
	AsOf     AsOf   `json:"as_of"`
	Carry    Carry  `json:"carry"`
	First    uint64 `json:"first"`
	Count    uint64 `json:"count"`
	Drawn    int64  `json:"drawn"`
	Previous string `json:"previous"`
	Node     string `json:"node"`
	At       string `json:"at"`
}

// objectFormat is the version of the stream, claim, limit and lease objects that
// this build writes. Objects of a higher one are refused.
const objectFormat = 1

// JSON is the claim as it is stored.
func (c *Claim) JSON() []byte {
	return objectJSON(claimJSON{objectFormat, c.Stream, c.Run, c.SpecHash, c.Snapshot, c.AsOf, c.Carry, c.First, c.Count, c.Drawn, c.Previous, c.Node, stamp(c.At)})
}

// parseClaim reads the claim that stands at first in a run of a stream and checks
// that it is that one.
func parseClaim(st *Stream, run string, first uint64, body []byte) (*Claim, error) {
	op := fmt.Sprintf("read claim %s of stream %s, run %q", claimName(first), st.Name, run)
	var j claimJSON
	if err := readObject(op, body, &j, &j.Format); err != nil {
		return nil, err
	}
	c := &Claim{j.Stream, j.Run, j.SpecHash, j.Snapshot, j.AsOf, j.Carry, j.First, j.Count, j.Drawn, j.Previous, j.Node, unstamp(j.At)}
	switch {
	case c.Stream != st.Name || c.Run != run || c.First != first:
		return nil, fault.New(fault.Corrupt, op, "it says that it is claim %d of stream %q, run %q", c.First, c.Stream, c.Run)
	case c.SpecHash != st.SpecHash:
		return nil, fault.New(fault.Corrupt, op, "it was made for spec %.16s, the stream has %.16s", c.SpecHash, st.SpecHash)
	case c.Count == 0 || c.Snapshot == "":
		return nil, fault.New(fault.Corrupt, op, "it holds no positions or no snapshot")
	}
	return c, nil
}

// objectJSON is one line of JSON, with the characters of predicates as they are.
func objectJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // the types have nothing that could fail
		return []byte("{}\n")
	}
	return b.Bytes()
}

// readObject decodes one of the engine's own objects. Unknown keys are those of a
// newer build of the same format, and let be.
func readObject(op string, body []byte, into any, format *int) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fault.WrapAs(fault.Corrupt, op, err)
	}
	if *format < 1 {
		return fault.New(fault.Corrupt, op, "it has no format")
	}
	if *format > objectFormat {
		return fault.New(fault.Unsupported, op, "it has format %d, this build knows up to %d", *format, objectFormat).WithHint("use a newer trajlake")
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// unstamp is for people only: what cannot be read is no time.
func unstamp(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}
