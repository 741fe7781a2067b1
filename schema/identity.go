package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"reflect"
)

// ContentHash is SHA-256 of what a stored row says, whichever way it came and
// whenever: its native object in the form of digests (docs/format/identity.md)
// without what the lake or the importer adds to it (row_version, row_seq,
// ingested_at, source, source_digest, import_loss, flags, content_hash). Null
// columns are not part of it, so that a column added later changes no hash.
func ContentHash(t *Trajectory) []byte { return NewDigester().ContentHash(t) }

// NativeCanonical is the bytes of which canon.SourceDigest is taken for a native
// row: everything that was handed in, in the form of digests, without the columns
// that only the lake gives. It must be taken before Derive and before an id is
// minted.
//
// It is a function of the row struct alone, which is why the digest of a row is
// the same by every route: a file, an append call, a protobuf message and an
// Arrow table all become a Trajectory first, null and empty are one there, and
// float32 columns hold float32 values.
func NativeCanonical(t *Trajectory) []byte {
	w := jsonWriter{micros: true, skip: isPlace, sums: newColumnSums()}
	w.row(Trajectories, reflect.ValueOf(t).Elem())
	return w.dst
}

// Digester takes the digests of one row after the other as NativeCanonical and
// ContentHash define them, in a fraction of their time: the sums of a row's large
// columns are taken once for both, and buffers are used again. It is not safe for
// concurrent use.
type Digester struct {
	row  *Trajectory // of the last NativeSum
	buf  []byte
	sink hash.Hash
	sums *columnSums
}

// NewDigester makes a Digester.
func NewDigester() *Digester {
	return &Digester{buf: make([]byte, 0, 4096), sink: sha256.New(), sums: newColumnSums()}
}

// NativeSum is the SHA-256 of NativeCanonical(t).
func (d *Digester) NativeSum(t *Trajectory) (sum [32]byte) {
	d.sums.forget()
	d.row = t
	d.digest(t, isPlace, sum[:0])
	return sum
}

// ContentHash is ContentHash(t). If the last call was NativeSum of the same row,
// the columns turns, token_ids, loss_mask and logprobs must be as they were then,
// or Forget be called in between; every other column may have changed.
func (d *Digester) ContentHash(t *Trajectory) []byte {
	if d.row != t {
		d.sums.forget()
	}
	out := d.digest(t, notContent, make([]byte, 0, sha256.Size))
	d.Forget()
	return out
}

// Forget says that the row of the last NativeSum may have changed anywhere.
func (d *Digester) Forget() {
	d.sums.forget()
	d.row = nil
}

func (d *Digester) digest(t *Trajectory, skip func(string) bool, out []byte) []byte {
	d.sink.Reset()
	w := jsonWriter{dst: d.buf[:0], sink: d.sink, micros: true, skip: skip, sums: d.sums}
	w.row(Trajectories, reflect.ValueOf(t).Elem())
	if d.buf = w.dst[:0]; cap(d.buf) > 16*flushAt {
		d.buf = make([]byte, 0, flushAt) // a giant text was in it
	}
	return d.sink.Sum(out)
}

func notContent(column string) bool {
	switch column {
	case "source", "import_loss", "flags":
		return true
	}
	return isPlace(column)
}

// AnnotationID is the id of an annotation that was handed in without one: "a-"
// and 32 hex digits of the SHA-256 of its canonical native object without
// annotation_id, row_version and row_seq, taken before any default is filled in.
// The same fact handed in again is then the same annotation.
func AnnotationID(a *Annotation) string {
	w := jsonWriter{sink: sha256.New(), micros: true, skip: func(column string) bool {
		return column == "annotation_id" || isPlace(column)
	}}
	w.row(Annotations, reflect.ValueOf(a).Elem())
	return "a-" + hex.EncodeToString(w.sink.Sum(nil))[:32]
}
