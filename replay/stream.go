package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"trajlake/schema/fault"
)

// Stream is a named spec that is stored in the lake. It never changes.
type Stream struct {
	Name     string
	Spec     Spec // filled
	SpecHash string
	Snapshot string // token: what a pinned stream draws from, the head when a live one was created
	Created  time.Time
	Node     string // who created it
}

// StreamInfo is a stream and how far it has come.
type StreamInfo struct {
	Stream
	Position uint64 // the first position that nobody has asked this process for, or that no claim holds
	Last     string // token of the newest claim's snapshot; of a stream without claims its own
}

// streamJSON is a stream as it is stored.
type streamJSON struct {
	Format   int             `json:"format"`
	Stream   string          `json:"stream"`
	SpecHash string          `json:"spec_hash"`
	Spec     json.RawMessage `json:"spec"`
	Snapshot string          `json:"snapshot"`
	Created  string          `json:"created_at"`
	Node     string          `json:"node"`
}

// JSON is the stream as it is stored and shown.
func (s *Stream) JSON() []byte {
	return objectJSON(streamJSON{objectFormat, s.Name, s.SpecHash, s.Spec.JSON(), s.Snapshot, stamp(s.Created), s.Node})
}

// Live reports whether the stream takes a new snapshot at every claim.
func (s *Stream) Live() bool { return s.Spec.Snapshot.Mode == Live }

// endless reports whether one claim holds all positions.
func (s *Stream) endless() bool { return !s.Live() && !s.Spec.Sequential() }

// parseStream reads the stream that is stored under a name.
func parseStream(name string, body []byte) (*Stream, error) {
	op := "read stream " + name
	var j streamJSON
	if err := readObject(op, body, &j, &j.Format); err != nil {
		return nil, err
	}
	if j.Stream != name {
		return nil, fault.New(fault.Corrupt, op, "it says that it is stream %q", j.Stream)
	}
	if sum := sha256.Sum256(j.Spec); hex.EncodeToString(sum[:]) != j.SpecHash {
		return nil, fault.New(fault.Corrupt, op, "its spec has another hash than it says")
	}
	spec, err := ParseSpec(j.Spec)
	if err != nil {
		return nil, fault.WrapAs(fault.Unsupported, op, err)
	}
	if spec = spec.Fill(Live); spec.Hash() != j.SpecHash {
		return nil, fault.New(fault.Unsupported, op, "this build would draw by another spec than the stored one").WithHint("use the trajlake that made the stream, or a newer one")
	}
	return &Stream{Name: name, Spec: spec, SpecHash: j.SpecHash, Snapshot: j.Snapshot, Created: unstamp(j.Created), Node: j.Node}, nil
}
