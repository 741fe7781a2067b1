package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
)

// ContentHash is SHA-256 of what a stored row says, whichever way it came and
// whenever: its native object in canonical form with times in microseconds,
// without what the lake or the importer adds to it (row_version, row_seq,
// ingested_at, source, source_digest, import_loss, flags, content_hash). Null
// columns are not part of it, so that a column added later changes no hash.
func ContentHash(t *Trajectory) []byte {
	w := jsonWriter{dst: make([]byte, 0, flushAt+4096), sink: sha256.New(), micros: true, skip: notContent}
	w.row(Trajectories, reflect.ValueOf(t).Elem())
	return w.sink.Sum(nil)
}

func notContent(column string) bool {
	switch column {
	case "source", "import_loss", "flags":
		return true
	}
	return isPlace(column)
}

// NativeCanonical is the bytes of which canon.SourceDigest is taken for a native
// row: everything that was handed in, in canonical form, without the columns that
// only the lake gives. It must be taken before Derive and before an id is minted.
//
// It is a function of the row struct alone, which is why the digest of a row is
// the same by every route: a file, an append call, a protobuf message and an
// Arrow table all become a Trajectory first, null and empty are one there, and
// float32 columns hold float32 values.
func NativeCanonical(t *Trajectory) []byte {
	w := jsonWriter{micros: true, skip: isPlace}
	w.row(Trajectories, reflect.ValueOf(t).Elem())
	return w.dst
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
