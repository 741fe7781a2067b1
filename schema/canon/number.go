package canon

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxExact is 2^53, up to which every integer is a float64.
const maxExact = 1 << 53

// IntOf is an integer.
func IntOf(n int64) Value { return textValue(Number, strconv.FormatInt(n, 10)) }

// FloatOf is the number f in canonical text; null for NaN and the infinities,
// which JSON has not.
func FloatOf(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}
	}
	return textValue(Number, string(AppendFloat(nil, f)))
}

// Num is a number by its text; ok is false where the text is no JSON number.
func Num(text string) (v Value, ok bool) {
	if n := numberLen(text); n == 0 || n != len(text) {
		return Value{}, false
	}
	return textValue(Number, text), true
}

func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func parseFloat(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// numberLen is the length of the JSON number that s begins with; 0 if none.
func numberLen(s string) int {
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	switch {
	case i < len(s) && s[i] == '0':
		i++
	case i < len(s) && isDigit(s[i]):
		i = digits(s, i)
	default:
		return 0
	}
	if i+1 < len(s) && s[i] == '.' {
		n := digits(s, i+1)
		if n == i+1 {
			return 0
		}
		i = n
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		n := digits(s, j)
		if n == j {
			return 0
		}
		i = n
	}
	return i
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func digits(s string, i int) int {
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}

// exactInt is the value of a JSON number's text where that is an integer of 64
// bits, without passing through a float.
func exactInt(s string) (int64, bool) {
	neg := s[0] == '-'
	if neg {
		s = s[1:]
	}
	if n, ok := shortInt(s); ok {
		if neg {
			n = -n
		}
		return n, true
	}
	mant, exp, frac := s, 0, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.Atoi(s[i+1:])
		mant = s[:i]
		if err != nil || e > 1<<30 || e < -1<<30 {
			return 0, isZero(mant)
		}
		exp = e
	}
	if i := strings.IndexByte(mant, '.'); i >= 0 {
		mant, frac = mant[:i], strings.TrimRight(mant[i+1:], "0")
	}
	exp -= len(frac)
	all := mant
	if frac != "" {
		all = strings.TrimLeft(mant+frac, "0")
	}
	if all == "0" || all == "" {
		return 0, true
	}
	for exp < 0 && strings.HasSuffix(all, "0") {
		all, exp = all[:len(all)-1], exp+1
	}
	if exp < 0 || len(all)+exp > 19 {
		return 0, false
	}
	var u uint64
	for i := range len(all) {
		u = u*10 + uint64(all[i]-'0')
	}
	for range exp {
		u *= 10
	}
	if neg {
		return -int64(u), u <= 1<<63
	}
	return int64(u), u < 1<<63
}

// shortInt reads up to 18 digits, which is what almost every integer is.
func shortInt(s string) (n int64, ok bool) {
	if len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

func isZero(mant string) bool { return strings.Trim(mant, "0.") == "" }

// appendNumber writes the canonical form of a number's text: an integral number
// up to 2^53 as digits, a number beyond 2^53 as written, any other as the
// shortest decimal that gives the same float64.
func appendNumber(dst []byte, s string) []byte {
	if plainInt(s) {
		return append(dst, s...)
	}
	if n, ok := exactInt(s); ok && n <= maxExact && n >= -maxExact {
		return strconv.AppendInt(dst, n, 10)
	}
	f, ok := parseFloat(s)
	if !ok || math.Abs(f) >= maxExact {
		return append(dst, s...)
	}
	return AppendFloat(dst, f)
}

// plainInt reports whether s is an integer of at most 15 digits that is already canonical.
func plainInt(s string) bool {
	if len(s) > 15 || s == "-0" {
		return false
	}
	for i := range len(s) {
		if !isDigit(s[i]) && (i > 0 || s[i] != '-') {
			return false
		}
	}
	return true
}

// AppendFloat writes f, which must be finite, as the canonical form does: -0 as
// 0, with an exponent below 1e-6 and from 1e21 on, else without.
func AppendFloat(dst []byte, f float64) []byte { return appendFloat(dst, f, 64) }

func appendFloat(dst []byte, f float64, bits int) []byte {
	if f == 0 {
		return append(dst, '0')
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, bits)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
	if n := len(dst); dst[n-4] == 'e' && dst[n-2] == '0' { // e-07 becomes e-7
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}
