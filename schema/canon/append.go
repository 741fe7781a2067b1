package canon

import (
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"strings"
)

// Append appends the canonical bytes of v to dst: keys sorted by their UTF-8
// bytes, no blanks, numbers by value, strings with the fewest escapes. Two
// documents that mean the same have the same canonical bytes.
func Append(dst []byte, v Value) []byte {
	switch v.Kind() {
	case Number:
		return appendNumber(dst, v.text())
	case Array:
		dst = append(dst, '[')
		for i, e := range v.Items() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = Append(dst, e)
		}
		return append(dst, ']')
	case Object:
		return appendSorted(dst, v.members())
	}
	return appendScalar(dst, v)
}

func appendSorted(dst []byte, ms []Member) []byte {
	byKey := func(a, b Member) int { return strings.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(ms, byKey) {
		ms = slices.Clone(ms)
		slices.SortFunc(ms, byKey)
	}
	dst = append(dst, '{')
	for i := range ms {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, ms[i].Key)
		dst = append(dst, ':')
		dst = Append(dst, ms[i].Value)
	}
	return append(dst, '}')
}

// Compact is v in the order and with the number texts of the source, without
// blanks: what goes into columns that hold JSON text.
func Compact(v Value) []byte { return appendCompact(nil, v) }

func appendCompact(dst []byte, v Value) []byte {
	switch v.Kind() {
	case Number:
		return append(dst, v.text()...)
	case Array:
		dst = append(dst, '[')
		for i, e := range v.Items() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendCompact(dst, e)
		}
		return append(dst, ']')
	case Object:
		dst = append(dst, '{')
		for i, m := range v.members() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, m.Key)
			dst = append(dst, ':')
			dst = appendCompact(dst, m.Value)
		}
		return append(dst, '}')
	}
	return appendScalar(dst, v)
}

func appendScalar(dst []byte, v Value) []byte {
	switch v.Kind() {
	case String:
		return AppendString(dst, v.text())
	case Bool:
		if b, _ := v.Bool(); b {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	}
	return append(dst, "null"...)
}

// AppendString appends s as a JSON string with the fewest escapes: \" \\ \b \f
// \n \r \t, \u00xx for the other control characters below U+0020, and every
// other character as it is. s must be valid UTF-8.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for {
		n := plainEnd(s, 0)
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return append(dst, '"')
		}
		switch c := s[n]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[c>>4], hex[c&15])
		}
		s = s[n+1:]
	}
}

// SourceDigest is the identity of what was handed in: HMAC-SHA-256 with the
// lake's salt over the SHA-256 of the canonical bytes; 32 bytes. Without the
// salt nobody can test a guess at a deleted row's content.
func SourceDigest(salt [32]byte, canonical []byte) []byte {
	return DigestOfSum(salt, sha256.Sum256(canonical))
}

// DigestOfSum is SourceDigest where the SHA-256 of the canonical bytes is known.
func DigestOfSum(salt, sum [32]byte) []byte {
	mac := hmac.New(sha256.New, salt[:])
	mac.Write(sum[:])
	return mac.Sum(nil)
}
