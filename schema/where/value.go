package where

import (
	"math"
	"strconv"
	"strings"

	"trajlake/schema"
)

// class is what sort of values an expression has. Widths of numbers do not
// matter to a predicate: all integers are int64, all floats float64.
type class uint8

const (
	classNull class = iota // the literal null: goes with every class
	classBool
	classInt
	classFloat
	classString
	classTime
	classBinary
	classStruct
	classList
	classMap
)

var classNames = [...]string{"null", "boolean", "integer", "float", "string", "timestamp", "binary", "struct", "list", "map"}

func (c class) String() string { return classNames[c] }

func (c class) numeric() bool { return c == classInt || c == classFloat }

// ordered reports whether values of the class can be compared at all.
func (c class) comparable() bool { return c <= classTime }

func classOf(k schema.Kind) class {
	switch k {
	case schema.String:
		return classString
	case schema.Byte, schema.Int, schema.Long:
		return classInt
	case schema.Float, schema.Double:
		return classFloat
	case schema.Boolean:
		return classBool
	case schema.Timestamp:
		return classTime
	case schema.Binary:
		return classBinary
	case schema.Struct:
		return classStruct
	case schema.List:
		return classList
	default:
		return classMap
	}
}

// value is one constant. i holds integers, microseconds and booleans (0, 1).
type value struct {
	cls class
	i   int64
	f   float64
	s   string
}

func boolValue(b bool) value {
	if b {
		return value{cls: classBool, i: 1}
	}
	return value{cls: classBool}
}

// compareValues orders two non-null values of comparable classes: -1, 0, 1.
func compareValues(a, b value) int {
	switch {
	case a.cls == classString:
		return strings.Compare(a.s, b.s)
	case a.cls == classFloat && b.cls == classFloat:
		return compareFloats(a.f, b.f)
	case a.cls == classFloat:
		return -compareIntFloat(b.i, a.f)
	case b.cls == classFloat:
		return compareIntFloat(a.i, b.f)
	default:
		return compareInts(a.i, b.i)
	}
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// compareFloats is the order of floats; NaN, which only arithmetic can make, is
// equal to itself and above everything else, as in DuckDB.
func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == b:
		return 0
	case a != a && b != b:
		return 0
	case a != a:
		return 1
	}
	return -1
}

// compareIntFloat compares by exact value: the integer is never rounded.
func compareIntFloat(i int64, f float64) int {
	const exact = 1 << 53
	switch {
	case -exact <= i && i <= exact:
		return compareFloats(float64(i), f)
	case f != f || f >= 1<<63:
		return -1
	case f < -(1 << 63):
		return 1
	}
	whole := math.Trunc(f)
	if c := compareInts(i, int64(whole)); c != 0 {
		return c
	}
	return -compareFloats(f-whole, 0)
}

// exactInt is the integer that f is, if it is one.
func exactInt(f float64) (int64, bool) {
	if f >= -(1<<63) && f < 1<<63 && f == math.Trunc(f) {
		return int64(f), true
	}
	return 0, false
}

// sql prints the value as a literal that DuckDB reads with the same meaning.
// Floats are printed with an exponent: without one DuckDB reads a decimal.
func (v value) sql() string {
	switch v.cls {
	case classBool:
		return strconv.FormatBool(v.i != 0)
	case classInt:
		return strconv.FormatInt(v.i, 10)
	case classFloat:
		return strconv.FormatFloat(v.f, 'e', -1, 64)
	case classString:
		return "'" + strings.ReplaceAll(v.s, "'", "''") + "'"
	case classTime:
		return "TIMESTAMPTZ '" + schema.Time(v.i).String() + "'"
	default:
		return "null"
	}
}
