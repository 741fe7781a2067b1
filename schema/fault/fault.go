// Package fault is the closed set of error kinds of trajlake and the one table
// that maps a kind to a gRPC code, an HTTP status, a process exit code and a
// Python exception name.
//
// An error says what was being done (Op), to which object, why it failed, and
// what the caller can do about it (Hint). Callers decide by Kind, never by
// text. Errors of other packages are wrapped with %w, so that errors.Is and
// errors.As see through.
package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Kind is what sort of failure an error is. The zero value is Internal.
type Kind uint8

// The kinds. Their names (see String) are part of the wire and JSON contract.
const (
	Internal    Kind = iota // a broken invariant or an unexpected failure of a library
	Usage                   // wrong flag, argument, spec, predicate or SQL
	Invalid                 // a row or record that breaks the schema or a limit
	Conflict                // same id, other content; or a lost race that cannot be retried
	NotFound                // lake, version, stream, trajectory or file that does not exist
	Gone                    // existed once and was deleted on purpose
	Unavailable             // store or server cannot be reached or is behind; try again
	Exhausted               // a limit of memory, size or queue was hit; try again later or smaller
	Corrupt                 // stored bytes are damaged; never retried
	Unsupported             // a newer format, a foreign commit, a feature this version has not
	Denied                  // not allowed: credentials, listen address, read-only lake
	Cancelled               // the caller gave up, or its deadline passed
)

// Codes is one row of the table: what a kind becomes at each boundary.
type Codes struct {
	Name   string // snake_case, on the wire and in JSON
	GRPC   uint32 // google.golang.org/grpc/codes value
	HTTP   int    // HTTP status
	Exit   int    // process exit code
	Python string // exception class of the Python client
}

// Table is the one mapping of every kind, indexed by Kind.
var table = [...]Codes{
	Internal:    {"internal", 13, 500, 1, "TrajlakeError"},
	Usage:       {"usage", 3, 400, 2, "UsageError"},
	Invalid:     {"invalid", 3, 422, 3, "InvalidRowError"},
	Conflict:    {"conflict", 6, 409, 3, "ConflictError"},
	NotFound:    {"not_found", 5, 404, 6, "NotFoundError"},
	Gone:        {"gone", 9, 410, 6, "GoneError"},
	Unavailable: {"unavailable", 14, 503, 5, "UnavailableError"},
	Exhausted:   {"exhausted", 8, 429, 5, "ExhaustedError"},
	Corrupt:     {"corrupt", 15, 500, 4, "CorruptError"},
	Unsupported: {"unsupported", 12, 501, 1, "UnsupportedError"},
	Denied:      {"denied", 7, 403, 1, "DeniedError"},
	Cancelled:   {"cancelled", 1, 499, 1, "CancelledError"},
}

// Kinds lists every kind, in the order of the table.
func Kinds() []Kind {
	out := make([]Kind, len(table))
	for i := range table {
		out[i] = Kind(i)
	}
	return out
}

// Codes returns the kind's row of the table; an unknown kind is Internal.
func (k Kind) Codes() Codes {
	if int(k) >= len(table) {
		k = Internal
	}
	return table[k]
}

// String is the kind's name on the wire and in JSON.
func (k Kind) String() string { return k.Codes().Name }

// ParseKind is the inverse of String; ok is false for a name not in the table.
func ParseKind(name string) (k Kind, ok bool) {
	for i := range table {
		if table[i].Name == name {
			return Kind(i), true
		}
	}
	return Internal, false
}

// Error is the error type of trajlake. Op and Msg make one sentence; Hint, when
// set, says what the caller can do. Err is the cause, if any.
type Error struct {
	Kind  Kind
	Op    string // what was being done, to which object: "open lake /data/lake"
	Msg   string // what went wrong
	Field string // the field or key at fault, if one is
	Hint  string // what the caller can do
	Err   error
}

// Error is one line: op: msg (field): cause. The hint is not part of it; see Hint.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteString(": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteString(": ")
	}
	b.WriteString(e.Msg)
	if e.Err != nil {
		if e.Msg != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of kind k; op says what was being done to which object.
func New(k Kind, op, format string, args ...any) *Error {
	return &Error{Kind: k, Op: op, Msg: fmt.Sprintf(format, args...)}
}

// Wrap puts op around err and keeps err's kind; nil stays nil.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Op: op, Err: err}
}

// WrapAs puts op around err under kind k; nil stays nil.
func WrapAs(k Kind, op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: k, Op: op, Err: err}
}

// WithHint returns e with the hint set; it modifies and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithField returns e with the field set; it modifies and returns e.
func (e *Error) WithField(name string) *Error {
	e.Field = name
	return e
}

// KindOf is the kind of the outermost Error in err's chain; context errors are
// Cancelled; anything else is Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Cancelled
	}
	return Internal
}

// HintOf is the first non-empty hint in err's chain, outermost first.
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// FieldOf is the first non-empty field in err's chain, outermost first.
func FieldOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Field != "" {
			return e.Field
		}
		err = e.Err
	}
	return ""
}

// Is reports whether err is of kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }
