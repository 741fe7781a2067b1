package schema

import (
	"encoding/base64"
	"encoding/hex"
	"hash"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"

	"trajlake/schema/canon"
)

// JSONOptions says what AppendJSONWith writes.
type JSONOptions struct {
	// WithoutPlace leaves out what the lake gives a row: row_version, row_seq,
	// ingested_at, source_digest and content_hash.
	WithoutPlace bool
}

// AppendJSON appends the native JSON object of t to dst: one line, keys sorted,
// null columns, empty lists and all-null structs left out, digests in hex, times
// in RFC 3339 UTC, extra as an object. It is canonical (canon.Append of it is
// itself), and FromJSON of it gives t again. The row must be valid.
func AppendJSON(dst []byte, t *Trajectory) []byte { return AppendJSONWith(dst, t, JSONOptions{}) }

// AppendJSONWith is AppendJSON with options.
func AppendJSONWith(dst []byte, t *Trajectory, opt JSONOptions) []byte {
	w := jsonWriter{dst: dst}
	if opt.WithoutPlace {
		w.skip = isPlace
	}
	w.row(Trajectories, reflect.ValueOf(t).Elem())
	return w.dst
}

// AppendAnnotationJSON is AppendJSON for a row of the annotations table.
func AppendAnnotationJSON(dst []byte, a *Annotation) []byte {
	w := jsonWriter{dst: dst}
	w.row(Annotations, reflect.ValueOf(a).Elem())
	return w.dst
}

// AppendTensorJSON is AppendJSON for a row of the tensors table; pieces of data
// are base64.
func AppendTensorJSON(dst []byte, t *Tensor) []byte {
	w := jsonWriter{dst: dst}
	w.row(Tensors, reflect.ValueOf(t).Elem())
	return w.dst
}

// AppendLedgerJSON is AppendJSON for a row of the ledger.
func AppendLedgerJSON(dst []byte, l *LedgerEntry) []byte {
	w := jsonWriter{dst: dst}
	w.row(Ledger, reflect.ValueOf(l).Elem())
	return w.dst
}

func isPlace(column string) bool {
	switch column {
	case "row_version", "row_seq", "ingested_at", "source_digest", "content_hash":
		return true
	}
	return false
}

// flushAt is how many bytes a writer with a sink gathers.
const flushAt = 32 << 10

// jsonWriter writes rows in canonical form, to dst or through it into a hash.
type jsonWriter struct {
	dst    []byte
	sink   hash.Hash
	micros bool                     // times as integers
	sums   *columnSums              // nil, or: large columns stand as their sums
	skip   func(column string) bool // top-level columns to leave out
}

func (w *jsonWriter) row(t *Table, v reflect.Value) {
	w.fields(t.plan, v, w.skip)
	if w.sink != nil {
		w.sink.Write(w.dst)
		w.dst = w.dst[:0]
	}
}

func (w *jsonWriter) flush() {
	if w.sink != nil && len(w.dst) >= flushAt {
		w.sink.Write(w.dst)
		w.dst = w.dst[:0]
	}
}

func (w *jsonWriter) fields(p *plan, v reflect.Value, skip func(string) bool) {
	w.dst = append(w.dst, '{')
	first := true
	base := v.Addr().UnsafePointer()
	for _, i := range p.sorted {
		c := p.columns[i]
		if c.absent(base) {
			continue
		}
		f := v.Field(c.Field)
		if isNull(c, f) || skip != nil && skip(c.Name) {
			continue
		}
		if !first {
			w.dst = append(w.dst, ',')
		}
		first = false
		w.dst = append(w.dst, '"')
		w.dst = append(w.dst, c.Name...)
		w.dst = append(w.dst, '"', ':')
		if i == p.extra {
			w.extra(f.Elem().String())
		} else {
			w.value(c, f)
		}
		w.flush()
	}
	w.dst = append(w.dst, '}')
}

// isNull reports whether a column says nothing: nil, an empty list or map, a
// struct of which all columns are null, or the empty text of a required one.
func isNull(c *Column, f reflect.Value) bool {
	switch f.Kind() {
	case reflect.Pointer:
		if f.IsNil() {
			return true
		}
		if c.Kind == Struct {
			return allNull(c.plan, f.Elem())
		}
		return c.Name == "extra" && f.Elem().String() == "{}"
	case reflect.Slice, reflect.Map:
		return f.Len() == 0
	case reflect.String:
		return f.Len() == 0
	}
	return false
}

func allNull(p *plan, v reflect.Value) bool {
	base := v.Addr().UnsafePointer()
	for _, c := range p.columns {
		if !c.absent(base) && !isNull(c, v.Field(c.Field)) {
			return false
		}
	}
	return true
}

func (w *jsonWriter) value(c *Column, f reflect.Value) {
	switch f.Kind() {
	case reflect.Pointer:
		w.value(c, f.Elem())
	case reflect.Struct:
		w.fields(c.plan, f, nil)
	case reflect.String:
		w.text(f.String())
	case reflect.Int8, reflect.Int32, reflect.Int64:
		if c.Kind == Timestamp && !w.micros {
			w.dst = append(append(append(w.dst, '"'), Time(f.Int()).String()...), '"')
			return
		}
		w.dst = strconv.AppendInt(w.dst, f.Int(), 10)
	case reflect.Bool:
		w.dst = strconv.AppendBool(w.dst, f.Bool())
	case reflect.Float32:
		w.dst = appendFloat(w.dst, f.Float(), true)
	case reflect.Float64:
		w.dst = appendFloat(w.dst, f.Float(), false)
	case reflect.Slice:
		w.list(c, f)
	case reflect.Map:
		w.texts(f.Interface().(map[string]string))
	}
}

// text writes a string, a long one piece by piece into the sink.
func (w *jsonWriter) text(s string) {
	if w.sink == nil || len(s) <= flushAt {
		w.dst = canon.AppendString(w.dst, s)
		return
	}
	w.dst = append(w.dst, '"')
	for len(s) > 0 {
		n := min(len(s), flushAt)
		from := len(w.dst)
		w.dst = canon.AppendString(w.dst, s[:n]) // escapes are of single bytes: it may be cut anywhere
		copy(w.dst[from:], w.dst[from+1:])       // without its quotes
		w.dst = w.dst[:len(w.dst)-2]
		s = s[n:]
		w.flush()
	}
	w.dst = append(w.dst, '"')
}

// appendFloat writes null for what a valid row does not hold.
func appendFloat(dst []byte, f float64, single bool) []byte {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return append(dst, "null"...)
	case single:
		return canon.AppendFloat32(dst, float32(f))
	}
	return canon.AppendFloat(dst, f)
}

func (w *jsonWriter) list(c *Column, f reflect.Value) {
	if c.Kind == Binary {
		w.dst = append(w.dst, '"')
		if c.Name == "element" {
			w.dst = base64.StdEncoding.AppendEncode(w.dst, f.Bytes())
		} else {
			w.dst = hex.AppendEncode(w.dst, f.Bytes())
		}
		w.dst = append(w.dst, '"')
		return
	}
	if w.sums != nil && w.sums.column(w, c, f) {
		return
	}
	w.dst = append(w.dst, '[')
	switch a := f.Interface().(type) {
	case []int32:
		writeNumbers(w, a, canon.AppendInt32s)
	case []int8:
		writeNumbers(w, a, canon.AppendInt8s)
	case []float32:
		writeNumbers(w, a, appendFloats)
	default:
		for i := range f.Len() {
			w.comma(i)
			w.value(c.Elem, f.Index(i))
		}
	}
	w.dst = append(w.dst, ']')
}

// appendFloats writes floats with commas between them.
func appendFloats(dst []byte, v []float32) []byte {
	for i, f := range v {
		if i > 0 {
			dst = append(dst, ',')
		}
		if f-f != 0 { // NaN or infinite
			dst = append(dst, "null"...)
			continue
		}
		dst = canon.AppendFloat32(dst, f)
	}
	return dst
}

// numbersAtOnce is how many elements are written between two flushes.
const numbersAtOnce = 1024

func writeNumbers[T int8 | int32 | float32](w *jsonWriter, v []T, write func([]byte, []T) []byte) {
	for i := 0; i < len(v); i += numbersAtOnce {
		w.comma(i)
		w.dst = write(w.dst, v[i:min(len(v), i+numbersAtOnce)])
	}
}

func (w *jsonWriter) comma(i int) {
	if i > 0 {
		w.dst = append(w.dst, ',')
		w.flush()
	}
}

func (w *jsonWriter) texts(m map[string]string) {
	w.dst = append(w.dst, '{')
	for i, k := range sortedKeys(m) {
		w.comma(i)
		w.dst = canon.AppendString(w.dst, k)
		w.dst = append(w.dst, ':')
		w.dst = canon.AppendString(w.dst, m[k])
	}
	w.dst = append(w.dst, '}')
}

// extra writes the text of an extra column as the object it holds; text that
// holds none, which a valid row has not, as a string.
func (w *jsonWriter) extra(text string) {
	v, err := canon.Parse([]byte(text), canon.Limits{Depth: 1 << 16})
	if err != nil || v.Kind() != canon.Object {
		w.dst = canon.AppendString(w.dst, text)
		return
	}
	w.dst = canon.Append(w.dst, v)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
