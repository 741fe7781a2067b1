package schema

import (
	"encoding/hex"
	"math"
	"reflect"
	"strings"
	"unicode/utf8"

	"trajlake/schema/canon"
)

// Limits bounds a row. A zero field takes its default.
type Limits struct {
	Turns      int   // turns of a trajectory; 100,000
	RowBytes   int64 // size of a row as Size counts it; 256 MiB
	TextBytes  int64 // one text; 64 MiB
	IDBytes    int   // one identifier; 512
	ExtraDepth int   // nesting of extra and value_json; 128
}

func (l Limits) filled() Limits {
	set := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	set(&l.Turns, 100_000)
	set(&l.IDBytes, 512)
	set(&l.ExtraDepth, 128)
	if l.RowBytes <= 0 {
		l.RowBytes = 256 << 20
	}
	if l.TextBytes <= 0 {
		l.TextBytes = 64 << 20
	}
	return l
}

// Validate checks a trajectory against the rules of the schema and the limits,
// and reports everything that is wrong with it. An empty trajectory_id is no
// fault: it means that the lake derives one.
func Validate(t *Trajectory, lim Limits) Faults {
	c := checkRow(Trajectories, reflect.ValueOf(t).Elem(), lim)
	if len(t.Turns) == 0 && len(t.TokenIDs) == 0 {
		c.add("turns", FaultMissing, "a trajectory needs turns or token_ids")
	}
	if len(t.Turns) > c.lim.Turns {
		c.add("turns", FaultLimit, "%d turns are more than the limit of %d", len(t.Turns), c.lim.Turns)
	}
	c.level("effort_level", t.EffortLevel)
	c.digest("source_digest", t.SourceDigest)
	c.digest("content_hash", t.ContentHash)
	if t.PolicyVersionMin != nil && t.PolicyVersionMax != nil && *t.PolicyVersionMin > *t.PolicyVersionMax {
		c.add("policy_version_min", FaultRange, "greater than policy_version_max")
	}
	c.tokens(t)
	c.segments(t)
	c.turns(t)
	return c.done()
}

// ValidateAnnotation is Validate for a row of the annotations table.
func ValidateAnnotation(a *Annotation, lim Limits) Faults {
	c := checkRow(Annotations, reflect.ValueOf(a).Elem(), lim)
	for _, f := range []struct {
		name string
		text *string
	}{{"kind", a.Kind}, {"target_id", a.TargetID}} {
		if f.text == nil || *f.text == "" {
			c.add(f.name, FaultMissing, "an annotation needs it")
		}
	}
	if a.Kind != nil && a.Value == nil && (*a.Kind == "reward" || *a.Kind == "priority" || *a.Kind == "advantage") {
		c.add("value", FaultMissing, "an annotation of kind %s needs it", *a.Kind)
	}
	if a.Kind != nil && *a.Kind == "priority" && a.Value != nil && *a.Value < 0 {
		c.add("value", FaultRange, "a priority is not negative")
	}
	if a.TargetKind != nil {
		switch *a.TargetKind {
		case "call":
			c.need("call", a.Call == nil)
			c.need("turn", a.Turn == nil)
		case "turn":
			c.need("turn", a.Turn == nil)
		case "span":
			c.need("span_start", a.SpanStart == nil)
			c.need("span_end", a.SpanEnd == nil)
		}
	}
	if a.SpanStart != nil && a.SpanEnd != nil && *a.SpanStart > *a.SpanEnd {
		c.add("span_start", FaultOrder, "behind span_end")
	}
	return c.done()
}

func (c *checker) need(column string, missing bool) {
	if missing {
		c.add(column, FaultMissing, "this target_kind needs it")
	}
}

// ValidateTensor is Validate for a row of the tensors table.
func ValidateTensor(t *Tensor, lim Limits) Faults {
	c := checkRow(Tensors, reflect.ValueOf(t).Elem(), lim)
	if t.TrajectoryID == "" {
		c.add("trajectory_id", FaultMissing, "a tensor needs it")
	}
	if t.Name == "" {
		c.add("name", FaultMissing, "a tensor needs it")
	}
	if t.Pieces < 1 || t.Piece >= t.Pieces {
		c.add("piece", FaultRange, "piece %d of %d", t.Piece, t.Pieces)
	}
	c.digest("source_digest", t.SourceDigest)
	for i, b := range t.Data {
		if len(b) > MaxTensorPiece {
			c.enter("data")
			c.enter("")
			c.at(i)
			c.here(FaultLimit, "%d bytes are more than the limit of %d", len(b), MaxTensorPiece)
			c.leave()
			c.leave()
		}
	}
	return c.done()
}

// MaxTensorPiece is the greatest size of one element of a tensor row's data, in bytes.
const MaxTensorPiece = 1 << 20

// checker walks one row.
type checker struct {
	collector
	lim  Limits
	size int64
}

func checkRow(t *Table, v reflect.Value, lim Limits) *checker {
	c := &checker{lim: lim.filled()}
	c.fields(t.plan, v)
	if c.size > c.lim.RowBytes {
		c.add("", FaultLimit, "the row of %d bytes is larger than the limit of %d", c.size, c.lim.RowBytes)
	}
	return c
}

func (c *checker) fields(p *plan, v reflect.Value) {
	base := v.Addr().UnsafePointer()
	for i, col := range p.columns {
		if col.absent(base) {
			continue
		}
		c.enter(col.Name)
		c.value(p, i, col, v.Field(col.Field))
		c.leave()
	}
}

// value checks one value of column i of p; col is the column or its element.
func (c *checker) value(p *plan, i int, col *Column, f reflect.Value) {
	switch f.Kind() {
	case reflect.Pointer:
		c.value(p, i, col, f.Elem())
	case reflect.Struct:
		c.fields(col.plan, f)
	case reflect.String:
		c.text(p, i, f.String())
	case reflect.Int8, reflect.Int32, reflect.Int64:
		c.size += int64(f.Type().Size())
		c.number(col, f.Int(), p.signed[i])
	case reflect.Float32, reflect.Float64:
		c.size += 8
		c.finite(f.Float())
	case reflect.Bool:
		c.size++
	case reflect.Map:
		c.texts(f.Interface().(map[string]string))
	case reflect.Slice:
		c.list(p, i, col, f)
	}
}

func (c *checker) list(p *plan, i int, col *Column, f reflect.Value) {
	switch a := f.Interface().(type) {
	case []byte:
		c.size += int64(len(a))
		return
	case []int32:
		c.size += 4 * int64(len(a))
		for k := firstWith(bytesOf(a), 4, anyNegative); k < len(a); k++ {
			if a[k] < 0 {
				c.element(k, FaultRange, "negative: %d", a[k])
			}
		}
		return
	case []int8:
		c.size += int64(len(a))
		for k := firstWith(bytesOf(a), 1, anyNoMask); k < len(a); k++ {
			if a[k] != 0 && a[k] != 1 {
				c.element(k, FaultRange, "want 0 or 1, got %d", a[k])
			}
		}
		return
	case []float32:
		c.size += 4 * int64(len(a))
		for k := firstWith(bytesOf(a), 4, anyInfinite); k < len(a); k++ {
			if n := a[k]; n-n != 0 {
				c.element(k, FaultRange, "not a finite number: %v", n)
			}
		}
		return
	}
	c.enter("")
	for k := range f.Len() {
		c.at(k)
		c.value(p, i, col.Elem, f.Index(k))
	}
	c.leave()
}

func (c *checker) element(k int, kind, format string, args ...any) {
	c.enter("")
	c.at(k)
	c.here(kind, format, args...)
	c.leave()
}

func (c *checker) number(col *Column, n int64, signed bool) {
	switch {
	case col.Kind == Timestamp:
		if Time(n) < minTime || Time(n) > maxTime {
			c.here(FaultRange, "the time is outside of the years 1 to 9999")
		}
	case n < 0 && !signed:
		c.here(FaultRange, "negative: %d", n)
	}
}

func (c *checker) finite(n float64) {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		c.here(FaultRange, "not a finite number: %v", n)
	}
}

func (c *checker) text(p *plan, i int, s string) {
	c.size += int64(len(s))
	name := p.columns[i].Name
	switch {
	case int64(len(s)) > c.lim.TextBytes:
		c.here(FaultLimit, "text of %d bytes is larger than the limit of %d", len(s), c.lim.TextBytes)
	case !utf8.ValidString(s):
		c.here(FaultText, "invalid UTF-8 at byte %d", invalidByte(s))
	case p.enums[i] != nil && !p.enums[i].Has(s):
		c.here(FaultName, "%q is none of %s", short(s), strings.Join(p.enums[i].names, ", "))
	case p.ids[i]:
		c.id(s)
	case i == p.extra || name == "value_json":
		c.json(s, i == p.extra)
	case name == "digest":
		if !isHexDigest(s) {
			c.here(FaultText, "want 64 hex digits of a SHA-256")
		}
	}
}

func (c *checker) id(s string) {
	if len(s) > c.lim.IDBytes {
		c.here(FaultLimit, "identifier of %d bytes is longer than the limit of %d", len(s), c.lim.IDBytes)
		return
	}
	if k := strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }); k >= 0 {
		c.here(FaultText, "control character in an identifier at byte %d", k)
	}
}

func (c *checker) json(s string, object bool) {
	v, err := canon.Parse([]byte(s), canon.Limits{Depth: c.lim.ExtraDepth})
	if err != nil {
		c.here(FaultText, "not acceptable JSON: %v", err)
	} else if object && v.Kind() != canon.Object {
		c.here(FaultText, "want the text of a JSON object, got that of a %s", v.Kind())
	}
}

func (c *checker) texts(m map[string]string) {
	for k, s := range m {
		c.size += int64(len(k) + len(s))
		if !utf8.ValidString(k) || !utf8.ValidString(s) {
			c.here(FaultText, "invalid UTF-8 under the key %q", short(k))
		} else if len(k) > c.lim.IDBytes {
			c.here(FaultLimit, "key of %d bytes is longer than the limit of %d", len(k), c.lim.IDBytes)
		} else if int64(len(s)) > c.lim.TextBytes {
			c.here(FaultLimit, "text of %d bytes under the key %q is larger than the limit of %d", len(s), short(k), c.lim.TextBytes)
		}
	}
}

func (c *checker) level(column string, n *int8) {
	if n != nil && *n > 60 {
		c.add(column, FaultRange, "%d is outside of 0 to 60", *n)
	}
}

func (c *checker) digest(column string, b []byte) {
	if b != nil && len(b) != 32 {
		c.add(column, FaultLength, "want 32 bytes, got %d", len(b))
	}
}

func isHexDigest(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 64 && s == strings.ToLower(s)
}

func invalidByte(s string) int {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return i
		}
	}
	return len(s)
}

// Size is the size of a trajectory's values in bytes: texts and arrays by their
// length, numbers by their width. It is what Limits.RowBytes and the memory
// bounds of writers count.
func Size(t *Trajectory) int64 {
	return sizeOf(reflect.ValueOf(t).Elem())
}

func sizeOf(v reflect.Value) (n int64) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			n = sizeOf(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += sizeOf(v.Field(i))
		}
	case reflect.String:
		n = int64(v.Len())
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			n += int64(it.Key().Len() + it.Value().Len())
		}
	case reflect.Slice:
		if k := v.Type().Elem().Kind(); k != reflect.Struct && k != reflect.String && k != reflect.Slice {
			return int64(v.Len()) * int64(v.Type().Elem().Size())
		}
		for i := range v.Len() {
			n += sizeOf(v.Index(i))
		}
	default:
		n = int64(v.Type().Size())
	}
	return n
}
