package datafile

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"trajlake/schema"
)

// ColumnStats are the exact bounds of one top-level column over a whole file.
// Min and Max are nil when unknown: for lists, maps, structs and binary columns,
// when every value is null, and when a float is NaN. Otherwise they are a
// string, int64 (byte, integer, long), float64 (float, double), bool or
// schema.Time.
type ColumnStats struct {
	Min, Max any
	Nulls    int64
}

// bounds gathers the bounds of a leaf's values.
type bounds struct {
	has    bool
	bad    bool // a value with no place in the order, or none wanted
	nulls  int64
	i0, i1 int64
	f0, f1 float64
	s0, s1 string
}

func (b *bounds) addInt(v int64) {
	if !b.has {
		b.has, b.i0, b.i1 = true, v, v
		return
	}
	b.i0, b.i1 = min(b.i0, v), max(b.i1, v)
}

func (b *bounds) addFloat(v float64) {
	if v != v {
		b.bad = true
		return
	}
	if !b.has {
		b.has, b.f0, b.f1 = true, v, v
		return
	}
	b.f0, b.f1 = min(b.f0, v), max(b.f1, v)
}

// addString keeps s as it is: it must not change later.
func (b *bounds) addString(s string) {
	if !b.has {
		b.has, b.s0, b.s1 = true, s, s
		return
	}
	if s < b.s0 {
		b.s0 = s
	} else if s > b.s1 {
		b.s1 = s
	}
}

// widens reports whether addString(s) would keep s.
func (b *bounds) widens(s string) bool { return !b.has || s < b.s0 || s > b.s1 }

func (b *bounds) merge(o *bounds, typ int32) {
	b.nulls += o.nulls
	b.bad = b.bad || o.bad
	if !o.has {
		return
	}
	switch typ {
	case physFloat, physDouble:
		b.addFloat(o.f0)
		b.addFloat(o.f1)
	case physBytes:
		b.addString(o.s0)
		b.addString(o.s1)
	default:
		b.addInt(o.i0)
		b.addInt(o.i1)
	}
}

// maxBound is how many bytes of a string stand in the file's own statistics.
const maxBound = 64

// encode gives the bounds as Parquet statistics; ok is false if there are none.
func (b *bounds) encode(typ int32) (m boundsMeta, ok bool) {
	m.nulls = b.nulls
	if !b.has || b.bad {
		return m, false
	}
	m.minExact, m.maxExact = true, true
	le := binary.LittleEndian
	switch typ {
	case physBoolean:
		m.min, m.max = []byte{byte(b.i0)}, []byte{byte(b.i1)}
	case physInt32:
		m.min, m.max = le.AppendUint32(nil, uint32(b.i0)), le.AppendUint32(nil, uint32(b.i1))
	case physInt64:
		m.min, m.max = le.AppendUint64(nil, uint64(b.i0)), le.AppendUint64(nil, uint64(b.i1))
	case physFloat, physDouble:
		lo, hi := b.f0, b.f1
		if lo == 0 {
			lo = math.Copysign(0, -1) // readers may take -0 and +0 apart
		}
		hi += 0 // turns -0 into +0
		if typ == physFloat {
			m.min, m.max = le.AppendUint32(nil, math.Float32bits(float32(lo))), le.AppendUint32(nil, math.Float32bits(float32(hi)))
		} else {
			m.min, m.max = le.AppendUint64(nil, math.Float64bits(lo)), le.AppendUint64(nil, math.Float64bits(hi))
		}
	case physBytes:
		m.min, m.minExact = []byte(b.s0), true
		if len(b.s0) > maxBound {
			m.min, m.minExact = []byte(cutString(b.s0, maxBound)), false
		}
		m.max = []byte(b.s1)
		if len(b.s1) > maxBound {
			up, ok := raise(cutString(b.s1, maxBound))
			if !ok {
				return m, false
			}
			m.max, m.maxExact = []byte(up), false
		}
	default:
		return m, false
	}
	return m, true
}

// cutString cuts s to at most n bytes, never within a rune.
func cutString(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// raise gives a valid string above every string that begins with s.
func raise(s string) (string, bool) {
	for len(s) > 0 {
		r, n := utf8.DecodeLastRuneInString(s)
		if r == utf8.RuneError && n <= 1 {
			return "", false
		}
		s = s[:len(s)-n]
		switch {
		case r == 0xD7FF:
			return s + string(rune(0xE000)), true
		case r < utf8.MaxRune:
			return s + string(r+1), true
		}
	}
	return "", false
}

// stats gives the bounds as ColumnStats of a column.
func (b *bounds) stats(k schema.Kind) ColumnStats {
	s := ColumnStats{Nulls: b.nulls}
	if !b.has || b.bad {
		return s
	}
	switch k {
	case schema.String:
		s.Min, s.Max = b.s0, b.s1
	case schema.Boolean:
		s.Min, s.Max = b.i0 != 0, b.i1 != 0
	case schema.Timestamp:
		s.Min, s.Max = schema.Time(b.i0), schema.Time(b.i1)
	case schema.Float, schema.Double:
		s.Min, s.Max = b.f0, b.f1
	case schema.Byte, schema.Int, schema.Long:
		s.Min, s.Max = b.i0, b.i1
	}
	return s
}
