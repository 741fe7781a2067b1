package store

import "trajlake/schema/fault"

// Status is what became of one row.
type Status uint8

// The outcomes of a row.
const (
	Committed Status = iota // in the lake at Receipt.Version
	Duplicate               // was there already, since Receipt.Version
	Rejected                // not taken; Receipt.Err says why
)

// String is the status in JSON and on the wire.
func (s Status) String() string { return [...]string{"committed", "duplicate", "rejected"}[s] }

// Receipt is the answer for one row.
type Receipt struct {
	ID      string // trajectory_id, annotation_id or key of the tensor piece
	Status  Status
	Version int64  // of the row's table; -1 when rejected
	Seq     int64  // the row's place; -1 when rejected
	Digest  []byte // source digest of a trajectory, where it was taken
	Err     error  // of kind Conflict, Gone or Invalid when rejected
}

func rejected(id string, err error) Receipt {
	return Receipt{ID: id, Status: Rejected, Version: -1, Seq: -1, Err: err}
}

func conflict(what, id string, have, want [16]byte) error {
	return fault.New(fault.Conflict, "append "+what+" "+id, "the lake has other content under this id (digest %x, handed in %x)", have, want).
		WithHint("rows are immutable: give the changed row another id, or annotate the one that is there")
}
