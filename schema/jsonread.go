package schema

import (
	"encoding/base64"
	"encoding/hex"
	"reflect"
	"strconv"
	"strings"
	"time"

	"trajlake/schema/canon"
)

// FromJSON reads a native JSON object. It is strict about types and reports all
// faults of the row at once; the row it returns beside faults holds what could
// be read.
//
// Keys that are no columns are kept: at the top, in a turn, in a block, in the
// extra of that object; in a struct that has no extra column (a tool call, a
// segment, source, …), in the row's extra under the path of the key, such as
// "turns[3].tool_calls[0].score". Of such values, nulls, empty lists and empty
// objects are dropped at every depth, as they are of columns.
//
// Generous where meaning is certain: loss_mask takes booleans; args_raw that is
// not a string, or a key args, becomes its JSON text; metadata values that are
// not strings become their JSON text; times are RFC 3339 with any offset or
// integer microseconds; extra is an object or a string that holds one; digests
// are hex.
func FromJSON(v canon.Value) (*Trajectory, Faults) {
	t := new(Trajectory)
	r := readRow(Trajectories, v, reflect.ValueOf(t).Elem())
	if v.Kind() == canon.Object && len(t.Turns) == 0 && len(t.TokenIDs) == 0 && !r.faulty("turns", "token_ids") {
		r.add("turns", FaultMissing, "a trajectory needs turns or token_ids")
	}
	return t, r.done()
}

// AnnotationFromJSON reads one row of the annotations table. A string under
// target is taken as target_id.
func AnnotationFromJSON(v canon.Value) (*Annotation, Faults) {
	a := new(Annotation)
	return a, readRow(Annotations, v, reflect.ValueOf(a).Elem()).done()
}

// TensorFromJSON reads one row of the tensors table; data is a list of base64 texts.
func TensorFromJSON(v canon.Value) (*Tensor, Faults) {
	t := new(Tensor)
	return t, readRow(Tensors, v, reflect.ValueOf(t).Elem()).done()
}

// LedgerFromJSON reads one row of the ledger.
func LedgerFromJSON(v canon.Value) (*LedgerEntry, Faults) {
	l := new(LedgerEntry)
	return l, readRow(Ledger, v, reflect.ValueOf(l).Elem()).done()
}

// reader fills one row from JSON. Unknown keys of structs without an extra
// column gather in loose, by path.
type reader struct {
	collector
	table *Table
	loose []canon.Member
	held  int64 // bytes of the lists of structs so far
}

// maxHeld bounds the memory of a row's lists of structs, texts not counted.
const maxHeld = 192 << 20

func readRow(t *Table, v canon.Value, row reflect.Value) *reader {
	r := &reader{table: t}
	if v.Kind() != canon.Object {
		r.here(FaultType, "want a JSON object, got %s", v.Kind())
		return r
	}
	r.fields(t.plan, row, v, true)
	return r
}

// faulty reports whether a fault names one of the top-level columns.
func (r *reader) faulty(columns ...string) bool {
	for _, f := range r.faults {
		for _, c := range columns {
			if strings.HasPrefix(f.Field, c) {
				return true
			}
		}
	}
	return r.more > 0
}

func (r *reader) wrong(want string, got canon.Value) {
	r.here(FaultType, "want %s, got %s", want, got.Kind())
}

// fields reads the members of an object into the struct v.
func (r *reader) fields(p *plan, v reflect.Value, obj canon.Value, top bool) {
	var unknown []canon.Member
	var extra canon.Value
	for key, m := range obj.Members() {
		i, ok := p.byName[key]
		if !ok {
			if i, ok = alias(p, key, obj, m); !ok {
				if !top || key != PartitionColumn || !fromLake(obj) {
					unknown = r.unknown(p, unknown, key, m)
				}
				continue
			}
		}
		if m.IsNull() {
			continue
		}
		c := p.columns[i]
		r.enter(c.Name)
		if i == p.extra {
			extra = r.object(m)
		} else {
			r.column(c, v.Field(c.Field), m)
		}
		r.leave()
	}
	if top {
		unknown = append(unknown, r.loose...)
	}
	if p.extra >= 0 {
		r.keep(v.Field(p.columns[p.extra].Field), extra, unknown)
	}
}

// alias finds the column that a second name of a key stands for.
func alias(p *plan, key string, obj, m canon.Value) (int, bool) {
	to := ""
	switch {
	case key == "args":
		to = "args_raw"
	case key == "target" && m.Kind() == canon.String:
		to = "target_id"
	}
	i, ok := p.byName[to]
	return i, ok && !obj.Has(to)
}

// fromLake reports whether a row was read out of a lake by another engine, which
// also shows the partition column.
func fromLake(obj canon.Value) bool { return obj.Has("content_hash") || obj.Has("row_seq") }

// object reads the value of an extra column: an object, or a string that holds one.
func (r *reader) object(m canon.Value) canon.Value {
	if s, ok := m.Str(); ok {
		v, err := canon.Parse([]byte(s), canon.Limits{})
		if err != nil || v.Kind() != canon.Object {
			r.here(FaultText, "the string holds no JSON object")
			return canon.Value{}
		}
		return v
	}
	if m.Kind() != canon.Object {
		r.wrong("an object", m)
		return canon.Value{}
	}
	return m
}

// column reads the value of one column, which is not null.
func (r *reader) column(c *Column, f reflect.Value, m canon.Value) {
	switch to := f.Addr().Interface().(type) {
	case *string:
		*to, _ = r.text(c, m)
	case **string:
		if s, ok := r.text(c, m); ok {
			*to = &s
		}
	case **bool:
		if b, ok := m.Bool(); ok {
			*to = &b
		} else {
			r.wrong("a boolean", m)
		}
	case **float64:
		if n, ok := r.float(m, 64); ok {
			*to = &n
		}
	case *int32:
		*to, _ = integer[int32](r, m, 32)
	case **int8:
		setInt(r, to, m, 8)
	case **int32:
		setInt(r, to, m, 32)
	case **int64:
		setInt(r, to, m, 64)
	case **Time:
		if at, ok := r.time(m); ok {
			*to = &at
		}
	case *[]byte:
		*to = r.binary(c, m)
	case *map[string]string:
		*to = r.texts(m)
	default:
		r.nested(c, f, m)
	}
}

func (r *reader) nested(c *Column, f reflect.Value, m canon.Value) {
	if c.Kind == Struct {
		if m.Kind() != canon.Object {
			r.wrong("an object", m)
			return
		}
		if f.Kind() == reflect.Pointer {
			s := reflect.New(f.Type().Elem())
			r.fields(c.plan, s.Elem(), m, false)
			if !allNull(c.plan, s.Elem()) {
				f.Set(s)
			}
			return
		}
		r.fields(c.plan, f, m, false)
		return
	}
	if m.Kind() != canon.Array {
		r.wrong("a list", m)
		return
	}
	if m.Len() == 0 {
		return
	}
	switch to := f.Addr().Interface().(type) {
	case *[]int32:
		*to = integers[int32](r, m, 32)
	case *[]int64:
		*to = integers[int64](r, m, 64)
	case *[]int8:
		*to = r.mask(m)
	case *[]float32:
		*to = make([]float32, m.Len())
		r.each(m, func(i int, e canon.Value) {
			n, _ := r.float(e, 32)
			(*to)[i] = float32(n)
		})
	case *[]float64:
		*to = make([]float64, m.Len())
		r.each(m, func(i int, e canon.Value) { (*to)[i], _ = r.float(e, 64) })
	default:
		// "{}," is three bytes of a document and hundreds of a row.
		if r.held += int64(m.Len()) * int64(f.Type().Elem().Size()); r.held > maxHeld {
			r.here(FaultRange, "%d elements: the row holds more structs than a row may", m.Len())
			return
		}
		list := reflect.MakeSlice(f.Type(), m.Len(), m.Len())
		r.each(m, func(i int, e canon.Value) {
			if e.IsNull() {
				r.here(FaultType, "null in a list")
				return
			}
			r.column(c.Elem, list.Index(i), e)
		})
		f.Set(list)
	}
}

// each goes over a list with the place kept.
func (r *reader) each(m canon.Value, do func(int, canon.Value)) {
	r.enter("")
	for i, e := range m.Items() {
		r.at(i)
		do(i, e)
	}
	r.leave()
}

// text reads a string. JSON text columns take any value and keep its text.
func (r *reader) text(c *Column, m canon.Value) (string, bool) {
	if s, ok := m.Str(); ok {
		return s, true
	}
	if c.Name == "args_raw" || c.Name == "value_json" {
		return string(canon.Compact(m)), true
	}
	r.wrong("string", m)
	return "", false
}

func (r *reader) float(m canon.Value, bits int) (float64, bool) {
	if m.Kind() != canon.Number {
		r.wrong("a number", m)
		return 0, false
	}
	n, err := strconv.ParseFloat(m.Raw(), 64)
	if err != nil || bits == 32 && float32Overflows(n) {
		r.here(FaultRange, "%s is out of the range of a %d-bit float", short(m.Raw()), bits)
		return 0, false
	}
	return n, true
}

func float32Overflows(n float64) bool {
	f := float32(n)
	return f-f != 0 // infinite
}

func integer[T int8 | int32 | int64](r *reader, m canon.Value, bits int) (T, bool) {
	if m.Kind() != canon.Number {
		r.wrong("an integer", m)
		return 0, false
	}
	n, ok := m.Int()
	switch {
	case !ok && strings.ContainsAny(m.Raw(), ".eE"):
		r.here(FaultType, "want an integer, got %s", short(m.Raw()))
	case !ok || int64(T(n)) != n:
		r.here(FaultRange, "%s is out of the range of a %d-bit integer", short(m.Raw()), bits)
	default:
		return T(n), true
	}
	return 0, false
}

func short(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func setInt[T int8 | int32 | int64](r *reader, to **T, m canon.Value, bits int) {
	if n, ok := integer[T](r, m, bits); ok {
		*to = &n
	}
}

func integers[T int32 | int64](r *reader, m canon.Value, bits int) []T {
	out := make([]T, m.Len())
	r.each(m, func(i int, e canon.Value) { out[i], _ = integer[T](r, e, bits) })
	return out
}

// mask reads 8-bit integers or booleans.
func (r *reader) mask(m canon.Value) []int8 {
	out := make([]int8, m.Len())
	r.each(m, func(i int, e canon.Value) {
		if b, ok := e.Bool(); ok {
			if b {
				out[i] = 1
			}
			return
		}
		out[i], _ = integer[int8](r, e, 8)
	})
	return out
}

// Times that native JSON can write: the years 1 to 9999.
const (
	minTime = Time(-62135596800_000_000)
	maxTime = Time(253402300799_999_999)
)

func (r *reader) time(m canon.Value) (Time, bool) {
	var at Time
	if s, ok := m.Str(); ok {
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			r.here(FaultText, "%q is no RFC 3339 time", short(s))
			return 0, false
		}
		at = TimeOf(t)
	} else if n, ok := m.Int(); ok {
		at = Time(n)
	} else {
		r.wrong("a time (RFC 3339 text or integer microseconds)", m)
		return 0, false
	}
	if at < minTime || at > maxTime {
		r.here(FaultRange, "the time is outside of the years 1 to 9999")
		return 0, false
	}
	return at, true
}

func (r *reader) binary(c *Column, m canon.Value) []byte {
	s, ok := m.Str()
	if !ok {
		r.wrong("string", m)
		return nil
	}
	if c.Name == "element" {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			r.here(FaultText, "not base64")
		}
		return b
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		r.here(FaultText, "not hex")
	}
	return b
}

func (r *reader) texts(m canon.Value) map[string]string {
	if m.Kind() != canon.Object {
		r.wrong("an object", m)
		return nil
	}
	if m.Len() == 0 {
		return nil
	}
	out := make(map[string]string, m.Len())
	for k, e := range m.Members() {
		if s, ok := e.Str(); ok {
			out[k] = s
		} else if !e.IsNull() {
			out[k] = string(canon.Compact(e))
		}
	}
	return out
}
