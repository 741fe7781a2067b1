package datafile

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
)

// seeded gives a random source and prints its seed.
func seeded(t testing.TB, seed uint64) *rand.Rand {
	t.Helper()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 17))
}

// randomRow fills a row of any table: nulls, empty lists and values at every depth.
func randomRow[T any](r *rand.Rand) *T {
	row := new(T)
	randomFill(r, reflect.ValueOf(row).Elem())
	return row
}

func randomFill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			randomFill(r, v.Field(i))
		}
	case reflect.Pointer:
		if r.IntN(5) > 1 {
			v.Set(reflect.New(v.Type().Elem()))
			randomFill(r, v.Elem())
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[[]byte]() {
			if r.IntN(3) > 0 {
				b := make([]byte, r.IntN(9))
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				v.SetBytes(b)
			}
			return
		}
		n := r.IntN(4)
		if v.Type().Elem().Kind() != reflect.Struct && r.IntN(4) == 0 {
			n = r.IntN(300)
		}
		if n == 0 && r.IntN(2) == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			randomFill(r, v.Index(i))
		}
	case reflect.Map:
		m := map[string]string{}
		for range r.IntN(3) {
			m[randomText(r)] = randomText(r)
		}
		v.Set(reflect.ValueOf(m))
	case reflect.String:
		v.SetString(randomText(r))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int8:
		v.SetInt(int64(int8(r.Uint32())))
	case reflect.Int32:
		v.SetInt(int64(int32(r.Uint32())))
	case reflect.Int64:
		v.SetInt(int64(r.Uint64()))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(float32(r.NormFloat64())))
	default:
		panic(fmt.Sprintf("no random %v", v.Type()))
	}
}

func randomText(r *rand.Rand) string {
	words := [...]string{"", "a", "low", "high", "轨迹", "tool call", "a much longer piece of text that is cut in statistics, if it is a bound: 0123456789"}
	if r.IntN(3) == 0 {
		return fmt.Sprintf("%x", r.Uint64())
	}
	return words[r.IntN(len(words))]
}

// canonical makes empty lists and maps nil at every depth, as the lake does.
func canonical(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			canonical(v.Field(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			canonical(v.Elem())
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[[]byte]() {
			return
		}
		if v.Len() == 0 {
			v.SetZero()
		}
		for i := range v.Len() {
			if e := v.Index(i); e.Type() == reflect.TypeFor[[]byte]() && e.Len() == 0 {
				e.SetZero() // parquet-go does the same
			} else {
				canonical(e)
			}
		}
	case reflect.Map:
		if v.Len() == 0 {
			v.SetZero()
		}
	}
}

// goRows turns a record back into rows, for comparison. Columns that the record
// has not stay zero.
func goRows[T any](t testing.TB, table *schema.Table, rec arrow.Record) []*T {
	t.Helper()
	out := make([]*T, rec.NumRows())
	for i := range out {
		out[i] = new(T)
		v := reflect.ValueOf(out[i]).Elem()
		for c, f := range rec.Schema().Fields() {
			col := table.Column(f.Name)
			goValue(v.Field(col.Field), col, rec.Column(c), i)
		}
	}
	return out
}

func goValue(v reflect.Value, col *schema.Column, a arrow.Array, i int) {
	if a.IsNull(i) {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch a := a.(type) {
	case *array.Struct:
		for k, f := range col.Fields {
			goValue(v.Field(f.Field), f, a.Field(k), i)
		}
	case *array.Map:
		from, to := a.ValueOffsets(i)
		if from == to {
			return
		}
		m := map[string]string{}
		for k := from; k < to; k++ {
			m[a.Keys().(*array.String).Value(int(k))] = a.Items().(*array.String).Value(int(k))
		}
		v.Set(reflect.ValueOf(m))
	case *array.List:
		from, to := a.ValueOffsets(i)
		if from == to {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), int(to-from), int(to-from)))
		for k := from; k < to; k++ {
			goValue(v.Index(int(k-from)), col.Elem, a.ListValues(), int(k))
		}
	case *array.String:
		v.SetString(a.Value(i))
	case *array.Binary:
		v.SetBytes(append([]byte{}, a.Value(i)...))
	case *array.Boolean:
		v.SetBool(a.Value(i))
	case *array.Int8:
		v.SetInt(int64(a.Value(i)))
	case *array.Int32:
		v.SetInt(int64(a.Value(i)))
	case *array.Int64:
		v.SetInt(a.Value(i))
	case *array.Timestamp:
		v.SetInt(int64(a.Value(i)))
	case *array.Float32:
		v.SetFloat(float64(a.Value(i)))
	case *array.Float64:
		v.SetFloat(a.Value(i))
	default:
		panic(fmt.Sprintf("no Go value of %v", a.DataType()))
	}
}

// sameRows compares rows up to nil and empty lists.
func sameRows[T any](t testing.TB, want, got []*T) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i := range want {
		a, b := reflect.ValueOf(want[i]).Elem(), reflect.ValueOf(got[i]).Elem()
		canonical(a)
		canonical(b)
		if reflect.DeepEqual(want[i], got[i]) {
			continue
		}
		for f := range a.NumField() {
			if x, y := a.Field(f).Interface(), b.Field(f).Interface(); !reflect.DeepEqual(x, y) {
				t.Fatalf("row %d: %s differs:\nwant %s\ngot  %s", i, a.Type().Field(f).Name, show(x), show(y))
			}
		}
	}
}

func show(v any) string {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer && !r.IsNil() {
		r = r.Elem()
	}
	return fmt.Sprintf("%+v", r)
}
