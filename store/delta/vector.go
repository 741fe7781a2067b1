package delta

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/go-json-experiment/json"
)

// Position is a version of one table and the number of rows ever committed up
// to it. A row is in the snapshot if its row_seq is below NextSeq.
type Position struct {
	Version int64 `json:"version"`
	NextSeq int64 `json:"nextSeq"`
}

// Vector is a snapshot of a lake: a position of each table, by table name. A
// table that is not in it is unknown to whoever wrote it.
type Vector map[string]Position

// Max is the component-wise maximum of v and w, as a new vector.
func (v Vector) Max(w Vector) Vector {
	out := make(Vector, max(len(v), len(w)))
	for _, x := range []Vector{v, w} {
		for table, p := range x {
			q, ok := out[table]
			if !ok {
				q = p
			}
			out[table] = Position{max(p.Version, q.Version), max(p.NextSeq, q.NextSeq)}
		}
	}
	return out
}

// Covers reports whether no component of v is below that of w.
func (v Vector) Covers(w Vector) bool {
	for table, p := range w {
		q, ok := v[table]
		if !ok || q.Version < p.Version || q.NextSeq < p.NextSeq {
			return false
		}
	}
	return true
}

// MaxIDs is the greatest number of id hashes that a commit carries.
const MaxIDs = 8192

// IDs are 64-bit hashes of row ids. In JSON they are one string: the hashes as
// eight bytes each, big-endian, in base64. (As numbers they would lose bits in
// every reader that takes JSON numbers for doubles.) Nil means not given.
type IDs []uint64

// MarshalJSON writes the one string.
func (ids IDs) MarshalJSON() ([]byte, error) {
	raw := make([]byte, 0, 8*len(ids))
	for _, id := range ids {
		raw = binary.BigEndian.AppendUint64(raw, id)
	}
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(raw))+2)
	out = append(out, '"')
	out = base64.StdEncoding.AppendEncode(out, raw)
	return append(out, '"'), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (ids *IDs) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("ids: %w", err)
	}
	if len(raw)%8 != 0 {
		return fmt.Errorf("ids: %d bytes are no whole number of 8-byte hashes", len(raw))
	}
	out := make(IDs, 0, len(raw)/8)
	for ; len(raw) > 0; raw = raw[8:] {
		out = append(out, binary.BigEndian.Uint64(raw))
	}
	*ids = out
	return nil
}
