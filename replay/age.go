package replay

import (
	"math"
	"math/bits"

	"trajlake/replay/facts"
)

// clock measures ages in one unit as of one moment. The age of a row is that of
// its oldest span: of its least policy version, or of the time at which it was
// finished, else ingested.
type clock struct {
	unit string // Off: nothing has an age
	asOf AsOf
}

// stepsPerVersion turns policy versions into trainer steps, which are not stored
// with rows: the whole number nearest to the steps that the trainer made for each
// version so far, at least 1.
func (o AsOf) stepsPerVersion() int64 {
	if o.Step <= 0 || o.Policy <= 0 {
		return 1
	}
	steps := o.Step / o.Policy
	if o.Step%o.Policy >= o.Policy-o.Policy/2 {
		steps++
	}
	return max(steps, 1)
}

// silent tells whether nobody knows what ages are measured against: then no
// window is closed to any row.
func (c clock) silent() bool {
	return c.unit == Off || c.unit != Seconds && c.asOf.Policy == UnknownPolicy
}

// born is a row's place on the clock's own scale, on which later is greater:
// policy versions, or microseconds.
func (c clock) born(r *facts.Row) (t int64, known bool) {
	if c.unit == Seconds {
		return finishedAt(r)
	}
	return r.PolicyMin, r.PolicyMin != facts.Null
}

func finishedAt(r *facts.Row) (t int64, known bool) {
	t = r.Finished
	if t == 0 {
		t = r.Ingested
	}
	return t, t != 0
}

// now is the moment on the same scale.
func (c clock) now() int64 {
	if c.unit == Seconds {
		return c.asOf.Time
	}
	return c.asOf.Policy
}

// oldest is the least place on the scale of rows that are at most age old.
func (c clock) oldest(age int64) int64 {
	switch c.unit {
	case Seconds:
		if age > math.MaxInt64/microseconds {
			return math.MinInt64
		}
		return minus(c.asOf.Time, age*microseconds)
	case Steps:
		age /= c.asOf.stepsPerVersion()
	}
	return minus(c.asOf.Policy, age)
}

const microseconds = 1_000_000

// minus is a − b, not below the least number; b is not negative.
func minus(a, b int64) int64 {
	if a < math.MinInt64+b {
		return math.MinInt64
	}
	return a - b
}

// age is the least age that covers a row born at t: the number a with which
// oldest(a) ≤ t. It is 0 for rows from the future, and not known where the moment is not.
func (c clock) age(t int64) (age int64, known bool) {
	if c.silent() {
		return 0, false
	}
	now := c.now()
	if t >= now {
		return 0, true
	}
	behind := uint64(now - t) // as unsigned numbers do, right even where now − t is not
	switch c.unit {
	case Seconds:
		return int64((behind-1)/microseconds + 1), true
	case Steps:
		if hi, lo := bits.Mul64(behind, uint64(c.asOf.stepsPerVersion())); hi == 0 {
			return int64(min(lo, math.MaxInt64)), true
		}
		return math.MaxInt64, true
	}
	return int64(min(behind, math.MaxInt64)), true
}

// span is the least and the greatest of some numbers; begin with none.
type span struct{ lo, hi int64 }

var noSpan = span{math.MaxInt64, math.MinInt64}

func (s *span) add(t int64) { s.lo, s.hi = min(s.lo, t), max(s.hi, t) }

// parts tells whether some t of the span may be below one of two edges and not
// below the other.
func (s span) parts(a, b int64) bool {
	return a != b && s.lo < max(a, b) && s.hi >= min(a, b)
}

// ages is where the rows of one page stand on the scales of ages.
type ages struct {
	born, newest, finished span // policy_version_min, policy_version_max, time
}

var noAges = ages{noSpan, noSpan, noSpan}

func (a *ages) add(r *facts.Row) {
	if r.PolicyMin != facts.Null {
		a.born.add(r.PolicyMin)
	}
	if r.PolicyMax != facts.Null {
		a.newest.add(r.PolicyMax)
	}
	if t, ok := finishedAt(r); ok {
		a.finished.add(t)
	}
}

// edge is a moment on one of the scales at which rows change sides.
type edge struct {
	scale int // 0 born, 1 newest, 2 finished
	at    int64
	above bool // all rows from the edge on change when it moves
}

func (c clock) edge(age int64) edge {
	if c.unit == Seconds {
		return edge{scale: 2, at: c.oldest(age)}
	}
	return edge{scale: 0, at: c.oldest(age)}
}

// moved tells whether a row of the page may have changed sides between two
// lists of the same edges.
func (a ages) moved(old, now []edge) bool {
	for i := range now {
		of := [...]span{a.born, a.newest, a.finished}[now[i].scale]
		if of.parts(old[i].at, now[i].at) || now[i].above && old[i] != now[i] && of.hi >= min(old[i].at, now[i].at) {
			return true
		}
	}
	return false
}

// ageOf is the age of a row; known is false where the row or the moment has none.
func (c clock) ageOf(r *facts.Row) (age int64, known bool) {
	t, known := c.born(r)
	if !known {
		return 0, false
	}
	return c.age(t)
}
