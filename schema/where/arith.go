package where

import "math"

// arithScalar is a op b for op + - * /. Division is always of floats.
type arithScalar struct {
	op   byte
	cls  class
	a, b scalar
	at   place
}

func (s *arithScalar) class() class { return s.cls }

func (s *arithScalar) values(b *batch) (vec, error) {
	x, err := s.a.values(b)
	if err != nil {
		return vec{}, err
	}
	y, err := s.b.values(b)
	if err != nil {
		return vec{}, err
	}
	n := b.n
	out := vec{same: x.same && y.same}
	if out.same {
		n = 1
	}
	out.null = mergeNulls(&x, &y, n)
	if s.cls == classFloat {
		out.floats = make([]float64, n)
		floatLoop(s.op, out.floats, x.asFloats(s.a.class()), x.stride(), y.asFloats(s.b.class()), y.stride())
		return out, nil
	}
	out.ints = make([]int64, n)
	if !intLoop(s.op, out.ints, out.null, x.ints, x.stride(), y.ints, y.stride()) {
		return vec{}, s.at.overflow()
	}
	return out, nil
}

// mergeNulls marks the rows where either operand is null; nil if none is.
func mergeNulls(x, y *vec, n int) []bool {
	if x.null == nil && y.null == nil {
		return nil
	}
	out := make([]bool, n)
	for i := range out {
		out[i] = x.isNull(i) || y.isNull(i)
	}
	return out
}

func (v *vec) asFloats(c class) []float64 {
	if c == classFloat {
		return v.floats
	}
	out := make([]float64, len(v.ints))
	for i, x := range v.ints {
		out[i] = float64(x)
	}
	return out
}

func floatLoop(op byte, out, a []float64, sa int, b []float64, sb int) {
	switch op {
	case '+':
		for i := range out {
			out[i] = a[i*sa] + b[i*sb]
		}
	case '-':
		for i := range out {
			out[i] = a[i*sa] - b[i*sb]
		}
	case '*':
		for i := range out {
			out[i] = a[i*sa] * b[i*sb]
		}
	default:
		for i := range out {
			out[i] = a[i*sa] / b[i*sb]
		}
	}
}

// intLoop reports whether every result of a row that is not null fits.
func intLoop(op byte, out []int64, null []bool, a []int64, sa int, b []int64, sb int) bool {
	for i := range out {
		x, y := a[i*sa], b[i*sb]
		var z int64
		var ok bool
		switch op {
		case '+':
			z = x + y
			ok = (z > x) == (y > 0)
		case '-':
			z = x - y
			ok = (z < x) == (y > 0)
		default:
			z = x * y
			ok = x == 0 || z/x == y && !(x == -1 && y == math.MinInt64)
		}
		if !ok && (null == nil || !null[i]) {
			return false
		}
		out[i] = z
	}
	return true
}

// negateScalar is unary minus.
type negateScalar struct {
	cls class
	x   scalar
	at  place
}

func (s negateScalar) class() class { return s.cls }

func (s negateScalar) values(b *batch) (vec, error) {
	v, err := s.x.values(b)
	if err != nil {
		return vec{}, err
	}
	out := vec{same: v.same, null: v.null}
	if s.cls == classFloat {
		out.floats = make([]float64, len(v.floats))
		for i, f := range v.floats {
			out.floats[i] = -f
		}
		return out, nil
	}
	out.ints = make([]int64, len(v.ints))
	for i, x := range v.ints {
		if x == math.MinInt64 && (v.null == nil || !v.null[i]) {
			return vec{}, s.at.overflow()
		}
		out.ints[i] = -x
	}
	return out, nil
}
