package query

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// AppendRow appends row i of rec as one JSON object, its columns in the order of
// the record: names and values as in native JSON (times RFC 3339 in UTC, binary
// as hex, extra as the object it holds), null where a column is null.
func AppendRow(dst []byte, rec arrow.Record, i int) []byte {
	dst = append(dst, '{')
	for c := range int(rec.NumCols()) {
		if c > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, rec.ColumnName(c))
		dst = append(dst, ':')
		dst = appendColumn(dst, rec, c, i)
	}
	return append(dst, '}')
}

func appendColumn(dst []byte, rec arrow.Record, c, i int) []byte {
	return appendNamed(dst, rec.ColumnName(c), rec.Column(c), i)
}

// appendNamed is appendValue of a column or field by its name: a text named
// extra holds a JSON object.
func appendNamed(dst []byte, name string, a arrow.Array, i int) []byte {
	if s, ok := a.(*array.String); ok && name == "extra" && s.IsValid(i) {
		if v, err := canon.Parse([]byte(s.Value(i)), canon.Limits{Depth: 1 << 16}); err == nil {
			return append(dst, canon.Compact(v)...)
		}
	}
	return appendValue(dst, a, i)
}

func appendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return canon.AppendString(dst, s)
}

// appendValue appends value i of a.
func appendValue(dst []byte, a arrow.Array, i int) []byte {
	if a.IsNull(i) {
		return append(dst, "null"...)
	}
	switch a := a.(type) {
	case *array.String:
		return appendString(dst, a.Value(i))
	case *array.LargeString:
		return appendString(dst, a.Value(i))
	case *array.Boolean:
		return strconv.AppendBool(dst, a.Value(i))
	case *array.Int8:
		return strconv.AppendInt(dst, int64(a.Value(i)), 10)
	case *array.Int16:
		return strconv.AppendInt(dst, int64(a.Value(i)), 10)
	case *array.Int32:
		return strconv.AppendInt(dst, int64(a.Value(i)), 10)
	case *array.Int64:
		return strconv.AppendInt(dst, a.Value(i), 10)
	case *array.Uint32:
		return strconv.AppendUint(dst, uint64(a.Value(i)), 10)
	case *array.Uint64:
		return strconv.AppendUint(dst, a.Value(i), 10)
	case *array.Float32:
		return appendFloat(dst, float64(a.Value(i)), 32)
	case *array.Float64:
		return appendFloat(dst, a.Value(i), 64)
	case *array.Timestamp:
		return append(append(append(dst, '"'), schema.Time(a.Value(i)).String()...), '"')
	case *array.Binary:
		return append(hex.AppendEncode(append(dst, '"'), a.Value(i)), '"')
	case *array.Struct:
		return appendStruct(dst, a, i)
	case *array.Map: // before List: a map is one of structs
		return appendMap(dst, a, i)
	case array.ListLike:
		return appendList(dst, a, i)
	}
	return appendString(dst, a.ValueStr(i))
}

// appendFloat writes null for what JSON cannot hold.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return append(dst, "null"...)
	case bits == 32:
		return canon.AppendFloat32(dst, float32(f))
	}
	return canon.AppendFloat(dst, f)
}

// appendStruct writes the fields that are not null.
func appendStruct(dst []byte, a *array.Struct, i int) []byte {
	dst = append(dst, '{')
	first := true
	for f := range a.NumField() {
		if a.Field(f).IsNull(i) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		name := a.DataType().(*arrow.StructType).Field(f).Name
		dst = appendString(dst, name)
		dst = append(dst, ':')
		dst = appendNamed(dst, name, a.Field(f), i)
	}
	return append(dst, '}')
}

func appendList(dst []byte, a array.ListLike, i int) []byte {
	lo, hi := a.ValueOffsets(i)
	dst = append(dst, '[')
	for j := lo; j < hi; j++ {
		if j > lo {
			dst = append(dst, ',')
		}
		dst = appendValue(dst, a.ListValues(), int(j))
	}
	return append(dst, ']')
}

func appendMap(dst []byte, a *array.Map, i int) []byte {
	lo, hi := a.ValueOffsets(i)
	dst = append(dst, '{')
	for j := lo; j < hi; j++ {
		if j > lo {
			dst = append(dst, ',')
		}
		if keys, ok := a.Keys().(*array.String); ok {
			dst = appendString(dst, keys.Value(int(j)))
		} else {
			dst = appendString(dst, a.Keys().ValueStr(int(j)))
		}
		dst = append(dst, ':')
		dst = appendValue(dst, a.Items(), int(j))
	}
	return append(dst, '}')
}
