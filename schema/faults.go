package schema

import (
	"fmt"
	"strings"

	"trajlake/schema/fault"
)

// Kinds of a Fault. They are part of the JSON contract of receipts and reports.
const (
	FaultType    = "type"     // another JSON or Arrow type than the column's
	FaultMissing = "missing"  // a required column is not there
	FaultRange   = "range"    // a number or time outside of what the column holds
	FaultName    = "name"     // not one of the closed set of names
	FaultLength  = "length"   // arrays that must be equally long are not
	FaultOrder   = "order"    // an index that points forward or outside
	FaultText    = "text"     // invalid UTF-8, control characters, malformed hex or JSON
	FaultLimit   = "limit"    // over a limit of size, number or nesting
	FaultTwice   = "twice"    // said in two places
	FaultUnknown = "unknown"  // a key that the table has no place for
	FaultMore    = "and_more" // how many faults of the row were left out
)

// maxFaults is how many faults of one row are kept; a last one of kind FaultMore
// counts the others.
const maxFaults = 100

// Fault is one thing that is wrong with a row.
type Fault struct {
	Field  string // where in the row: turns[3].tool_calls[0].name
	Kind   string // one of the Fault constants
	Reason string // what is wrong: want string, got number
}

// String is field and reason.
func (f Fault) String() string {
	if f.Field == "" {
		return f.Reason
	}
	return f.Field + ": " + f.Reason
}

// Faults is everything that is wrong with a row, in the order of its fields.
// Nil or empty means that the row is good.
type Faults []Fault

// Error lists the faults in one line.
func (fs Faults) Error() string {
	parts := make([]string, len(fs))
	for i, f := range fs {
		parts[i] = f.String()
	}
	return strings.Join(parts, "; ")
}

// Err is the faults as one error of kind Invalid about op, nil if there are
// none. Its field is that of the first fault; errors.As finds the Faults.
func (fs Faults) Err(op string) error {
	if len(fs) == 0 {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Op: op, Field: fs[0].Field, Err: errFaults{fs}}
}

// errFaults words the list so that the field, which the outer error names, does
// not stand twice.
type errFaults struct{ Faults }

func (e errFaults) Error() string {
	if len(e.Faults) == 1 {
		return e.Faults[0].Reason
	}
	return fmt.Sprintf("%s (and %d more: %s)", e.Faults[0].Reason, len(e.Faults)-1, e.Faults[1:].Error())
}

func (e errFaults) Unwrap() error { return e.Faults }

// place is where a walk through a row stands.
type place struct {
	names   []string // "" for an element
	indexes []int
}

func (p *place) enter(name string) {
	p.names, p.indexes = append(p.names, name), append(p.indexes, 0)
}

func (p *place) at(i int) { p.indexes[len(p.indexes)-1] = i }

func (p *place) leave() {
	p.names, p.indexes = p.names[:len(p.names)-1], p.indexes[:len(p.indexes)-1]
}

func (p *place) String() string {
	var b strings.Builder
	for i, n := range p.names {
		if n == "" {
			fmt.Fprintf(&b, "[%d]", p.indexes[i])
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(n)
	}
	return b.String()
}

// collector gathers the faults of one row.
type collector struct {
	place
	faults Faults
	more   int
}

// here notes a fault at the present place.
func (c *collector) here(kind, format string, args ...any) {
	if len(c.faults) >= maxFaults {
		c.more++
		return
	}
	c.add(c.place.String(), kind, format, args...)
}

func (c *collector) add(field, kind, format string, args ...any) {
	if len(c.faults) >= maxFaults {
		c.more++
		return
	}
	c.faults = append(c.faults, Fault{Field: field, Kind: kind, Reason: fmt.Sprintf(format, args...)})
}

// field notes a fault of one field below the present place.
func (c *collector) field(name, kind, format string, args ...any) {
	c.enter(name)
	c.here(kind, format, args...)
	c.leave()
}

func (c *collector) done() Faults {
	if c.more > 0 {
		c.faults = append(c.faults, Fault{Kind: FaultMore, Reason: fmt.Sprintf("%d more faults", c.more)})
	}
	return c.faults
}
