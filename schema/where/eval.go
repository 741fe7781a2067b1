package where

import (
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
)

// Truth is a value of SQL's three-valued logic.
type Truth uint8

// The three truth values. Only True selects a row.
const (
	False Truth = iota
	True
	Unknown
)

var (
	notTable = [3]Truth{True, False, Unknown}
	andTable = [9]Truth{False, False, False, False, True, Unknown, False, Unknown, Unknown}
	orTable  = [9]Truth{False, True, Unknown, True, True, True, Unknown, True, Unknown}
)

// order maps the outcome of comparing two values, less (0), equal (1) or
// greater (2), to the truth of the comparison.
type order [3]Truth

var compareTables = map[string]order{
	"=": {False, True, False}, "<>": {True, False, True}, "distinct": {True, False, True},
	"<": {True, False, False}, "<=": {True, True, False}, ">": {False, False, True}, ">=": {False, True, True},
}

// Mask is the outcome of a predicate for each row of a record.
type Mask struct {
	truths []Truth
	count  int
}

// Len is the number of rows.
func (m *Mask) Len() int { return len(m.truths) }

// Count is the number of selected rows.
func (m *Mask) Count() int { return m.count }

// Selected reports whether the predicate is true for row i.
func (m *Mask) Selected(i int) bool { return m.truths[i] == True }

// Truth is the predicate's value for row i.
func (m *Mask) Truth(i int) Truth { return m.truths[i] }

// Filter evaluates the predicate for every row of rec, which must hold the
// columns that the predicate reads, by their lower-case names, as Arrow has them
// for their kinds (strings may be dictionaries); others are ignored. An integer
// result that does not fit 64 bits is a Usage fault. The mask does not refer to
// rec's memory.
func (b *Bound) Filter(rec arrow.Record) (*Mask, error) {
	truths, err := b.pred.truths(newBatch(rec, b.reads))
	if err != nil {
		return nil, err
	}
	m := &Mask{truths: truths}
	for _, t := range truths {
		m.count += int(bit(t == True))
	}
	return m, nil
}

// EvalFloat evaluates the expression for every row of rec as floats; null[i]
// says that row i has no value, and null is nil if every row has one. Division
// by zero gives ±Inf or NaN. The slices do not refer to rec's memory.
func (s *BoundScalar) EvalFloat(rec arrow.Record) (values []float64, null []bool, err error) {
	n := int(rec.NumRows())
	v, err := s.term.values(newBatch(rec, s.reads))
	if err != nil {
		return nil, nil, err
	}
	values = make([]float64, n)
	if v.null != nil {
		null = make([]bool, n)
	}
	for i := range values {
		k := v.at(i)
		if null != nil {
			null[i] = v.null[k]
		}
		switch {
		case null != nil && null[i]:
		case s.term.class() == classInt:
			values[i] = float64(v.ints[k])
		default:
			values[i] = v.floats[k]
		}
	}
	return values, null, nil
}

// batch is one record under evaluation, with the columns read so far.
type batch struct {
	rec   arrow.Record
	n     int
	cache []vec // by column.index
	known []bool
}

func newBatch(rec arrow.Record, reads []*column) *batch {
	return &batch{rec: rec, n: int(rec.NumRows()), cache: make([]vec, len(reads)), known: make([]bool, len(reads))}
}

// vec holds the values of one expression: ints (integers and instants), floats
// or strs by its class; one for each row, or one for all if same is set. Values
// of null rows are undefined.
type vec struct {
	same   bool
	null   []bool // nil: none is null
	ints   []int64
	floats []float64
	strs   []string
}

func (v *vec) at(i int) int {
	if v.same {
		return 0
	}
	return i
}

func (v *vec) stride() int {
	if v.same {
		return 0
	}
	return 1
}

func (v *vec) isNull(i int) bool { return v.null != nil && v.null[v.at(i)] }

type constScalar value

func (c constScalar) class() class { return c.cls }

func (c constScalar) values(*batch) (vec, error) {
	v := vec{same: true}
	switch c.cls {
	case classNull:
		v.null = []bool{true}
	case classFloat:
		v.floats = []float64{c.f}
	case classString:
		v.strs = []string{c.s}
	default:
		v.ints = []int64{c.i}
	}
	return v, nil
}

type constPredicate Truth

func (c constPredicate) truths(b *batch) ([]Truth, error) {
	return slices.Repeat([]Truth{Truth(c)}, b.n), nil
}

type notPredicate struct{ of predicate }

func (p notPredicate) truths(b *batch) ([]Truth, error) {
	out, err := p.of.truths(b)
	for i, t := range out {
		out[i] = notTable[t]
	}
	return out, err
}

// logicPredicate is AND or OR over its operands.
type logicPredicate struct {
	table *[9]Truth
	unit  Truth
	of    []predicate
}

func (p *logicPredicate) truths(b *batch) ([]Truth, error) {
	out, err := p.of[0].truths(b)
	if err != nil {
		return nil, err
	}
	for _, next := range p.of[1:] {
		more, err := next.truths(b)
		if err != nil {
			return nil, err
		}
		for i, t := range more {
			out[i] = p.table[out[i]*3+t]
		}
	}
	return out, nil
}

type isNull struct{ of scalar }

func (p isNull) truths(b *batch) ([]Truth, error) {
	v, err := p.of.values(b)
	out := make([]Truth, b.n)
	if err != nil || v.null == nil {
		return out, err
	}
	for i := range out {
		out[i] = Truth(bit(v.isNull(i)))
	}
	return out, nil
}

type isUnknown struct{ of predicate }

func (p isUnknown) truths(b *batch) ([]Truth, error) {
	out, err := p.of.truths(b)
	for i, t := range out {
		out[i] = False
		if t == Unknown {
			out[i] = True
		}
	}
	return out, err
}

// comparePredicate compares two scalars.
type comparePredicate struct {
	table    order
	distinct bool
	a, b     scalar
}

func (p *comparePredicate) truths(b *batch) ([]Truth, error) {
	x, err := p.a.values(b)
	if err != nil {
		return nil, err
	}
	y, err := p.b.values(b)
	if err != nil {
		return nil, err
	}
	out := make([]Truth, b.n)
	compareVecs(out, p.table, &x, p.a.class(), &y, p.b.class())
	if !p.distinct {
		x.markUnknown(out)
		y.markUnknown(out)
		return out, nil
	}
	for i := range out {
		nx, ny := x.isNull(i), y.isNull(i)
		switch {
		case !nx && !ny:
		case nx && ny:
			out[i] = False
		default:
			out[i] = True
		}
	}
	return out, nil
}

// markUnknown makes the rows where v is null unknown.
func (v *vec) markUnknown(out []Truth) {
	switch {
	case v.null == nil:
	case !v.same:
		for i, null := range v.null {
			if null {
				out[i] = Unknown
			}
		}
	case v.null[0]:
		fillTruth(out, Unknown)
	}
}

// compareVecs fills out for the rows where both are values.
func compareVecs(out []Truth, t order, x *vec, xc class, y *vec, yc class) {
	sx, sy := x.stride(), y.stride()
	switch {
	case xc == classNull || yc == classNull:
	case xc == classString:
		if t[0] == t[2] {
			for i := range out {
				out[i] = t[0]
				if x.strs[i*sx] == y.strs[i*sy] {
					out[i] = t[1]
				}
			}
			return
		}
		for i := range out {
			out[i] = t[1+strings.Compare(x.strs[i*sx], y.strs[i*sy])]
		}
	case xc == classFloat && yc == classFloat:
		compareLoop(out, t, x.floats, sx, y.floats, sy)
	case xc == classFloat:
		for i := range out {
			out[i] = t[1-compareIntFloat(y.ints[i*sy], x.floats[i*sx])]
		}
	case yc == classFloat:
		for i := range out {
			out[i] = t[1+compareIntFloat(x.ints[i*sx], y.floats[i*sy])]
		}
	default:
		compareLoop(out, t, x.ints, sx, y.ints, sy)
	}
}

// compareLoop has no branches: what rows hold cannot be predicted.
func compareLoop[T int64 | float64](out []Truth, t order, a []T, sa int, b []T, sb int) {
	table := [4]Truth{t[0], t[1], t[2]}
	for i := range out {
		x, y := a[i*sa], b[i*sb]
		nanX, nanY := bit(x != x), bit(y != y) // NaN is equal to itself and above all else
		less := bit(x < y) | nanY&^nanX
		greater := bit(x > y) | nanX&^nanY
		out[i] = table[(1+greater-less)&3]
	}
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// compareBools compares two conditions; false is less than true.
type compareBools struct {
	table    order
	distinct bool
	a, b     predicate
}

func (p *compareBools) of(x, y Truth) Truth {
	switch {
	case x != Unknown && y != Unknown:
		return p.table[1+int(x)-int(y)]
	case !p.distinct:
		return Unknown
	case x == y:
		return False
	}
	return True
}

func (p *compareBools) truths(b *batch) ([]Truth, error) {
	out, err := p.a.truths(b)
	if err != nil {
		return nil, err
	}
	other, err := p.b.truths(b)
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i] = p.of(out[i], other[i])
	}
	return out, nil
}

// inPredicate is IN over constants of a class that goes with x's.
type inPredicate struct {
	x      scalar
	items  []value // without null
	null   bool    // null is among the items
	ints   map[int64]bool
	floats map[float64]bool
	strs   map[string]bool
}

func newInPredicate(x scalar, items []value) *inPredicate {
	p := &inPredicate{x: x, ints: map[int64]bool{}, floats: map[float64]bool{}, strs: map[string]bool{}}
	for _, v := range items {
		if v.cls == classNull {
			p.null = true
			continue
		}
		p.items = append(p.items, v)
		switch {
		case v.cls == classString:
			p.strs[v.s] = true
		case x.class() == classFloat && v.cls == classFloat:
			p.floats[v.f] = true
		case x.class() == classFloat: // an integer that no float equals matches nothing
			if f := float64(v.i); compareIntFloat(v.i, f) == 0 {
				p.floats[f] = true
			}
		case v.cls == classFloat:
			if i, ok := exactInt(v.f); ok {
				p.ints[i] = true
			}
		default:
			p.ints[v.i] = true
		}
	}
	return p
}

func (p *inPredicate) truths(b *batch) ([]Truth, error) {
	v, err := p.x.values(b)
	if err != nil {
		return nil, err
	}
	out := make([]Truth, b.n)
	miss := False
	if p.null {
		miss = Unknown
	}
	for i := range out {
		k, hit := v.at(i), false
		switch {
		case v.null != nil && v.null[k]:
			out[i] = Unknown
			continue
		case p.x.class() == classString:
			hit = p.strs[v.strs[k]]
		case p.x.class() == classFloat:
			hit = p.floats[v.floats[k]]
		default:
			hit = p.ints[v.ints[k]]
		}
		out[i] = miss
		if hit {
			out[i] = True
		}
	}
	return out, nil
}

type likePredicate struct {
	x scalar
	p *pattern
}

func (p likePredicate) truths(b *batch) ([]Truth, error) {
	v, err := p.x.values(b)
	if err != nil {
		return nil, err
	}
	out := make([]Truth, b.n)
	for i := range out {
		k := v.at(i)
		switch {
		case v.null != nil && v.null[k]:
			out[i] = Unknown
		case p.p.match(v.strs[k]):
			out[i] = True
		}
	}
	return out, nil
}
