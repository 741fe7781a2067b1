// Package rowgen fills row structs by reflection for tests, so that a column
// added to a row is tested by every round trip without a word about it.
package rowgen

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
)

// Leaves lists the paths of all leaf columns below a pointer to a row struct:
// turns.tool_calls.name. A list or map of scalars is one leaf.
func Leaves(row any) []string { return leaves("", reflect.TypeOf(row).Elem()) }

func leaves(prefix string, t reflect.Type) (out []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		path := prefix + column(f)
		if s := structOf(f.Type); s != nil {
			out = append(out, leaves(path+".", s)...)
		} else {
			out = append(out, path)
		}
	}
	return out
}

func column(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("parquet"), ",")
	return name
}

func structOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct {
		return t
	}
	return nil
}

// Fill sets every leaf for which want says so, with values drawn from r; lists
// get two or three elements. It reports whether anything was set.
func Fill(r *rand.Rand, row any, want func(path string) bool) bool {
	return fill(r, "", reflect.ValueOf(row).Elem(), want)
}

// All wants every leaf.
func All(string) bool { return true }

// Some wants each leaf with probability p.
func Some(r *rand.Rand, p float64) func(string) bool {
	return func(string) bool { return r.Float64() < p }
}

func fill(r *rand.Rand, prefix string, v reflect.Value, want func(string) bool) (any bool) {
	for i := range v.NumField() {
		name := column(v.Type().Field(i))
		f, path := v.Field(i), prefix+name
		if structOf(f.Type()) == nil {
			if want(path) {
				f.Set(leaf(r, name, f.Type()))
				any = true
			}
			continue
		}
		if f.Kind() == reflect.Pointer {
			s := reflect.New(f.Type().Elem())
			if fill(r, path+".", s.Elem(), want) {
				f.Set(s)
				any = true
			}
			continue
		}
		n := 2 + r.IntN(2)
		list := reflect.MakeSlice(f.Type(), n, n)
		set := false
		for k := range n {
			set = fill(r, path+".", list.Index(k), want) || set
		}
		if set {
			f.Set(list)
			any = true
		}
	}
	return any
}

// leaf draws a value of a leaf column's Go type.
func leaf(r *rand.Rand, name string, t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(leaf(r, name, t.Elem()))
	case reflect.String:
		v.SetString(text(r, name))
	case reflect.Int8:
		v.SetInt(int64(r.IntN(2)))
	case reflect.Int32:
		v.SetInt(int64(r.Int32()))
	case reflect.Int64:
		v.SetInt(r.Int64N(4e15))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Float32:
		v.SetFloat(float64(float32(-r.ExpFloat64())))
	case reflect.Float64:
		v.SetFloat(r.NormFloat64() * 100)
	case reflect.Slice:
		n := 2 + r.IntN(3)
		v.Set(reflect.MakeSlice(t, n, n))
		for k := range n {
			if t.Elem().Kind() == reflect.Uint8 {
				v.Index(k).SetUint(uint64(r.IntN(256)))
			} else {
				v.Index(k).Set(leaf(r, name, t.Elem()))
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		for range 3 {
			v.SetMapIndex(reflect.ValueOf(text(r, "key")), reflect.ValueOf(text(r, "value")))
		}
	default:
		panic(fmt.Sprintf("rowgen: no value for column %s of %v", name, t))
	}
	return v
}

func text(r *rand.Rand, name string) string {
	switch name {
	case "extra", "value_json":
		return fmt.Sprintf(`{"a":%d,"b":[1.5,null,"é"]}`, r.IntN(1000))
	}
	return fmt.Sprintf("%s %d \"轨\"\n", name, r.IntN(1_000_000))
}
