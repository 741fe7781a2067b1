package store

import (
	"reflect"
	"slices"
	"testing"

	"trajlake/schema"
)

// TestAnnotationDigest: every column counts, but for places and the time, and no
// column's value is taken for another's.
func TestAnnotationDigest(t *testing.T) {
	seen := map[[16]byte]string{annotationDigest(&schema.Annotation{}): "nothing"}
	kind := reflect.TypeFor[schema.Annotation]()
	for i := range kind.NumField() {
		name := kind.Field(i).Name
		var a schema.Annotation
		f := reflect.ValueOf(&a).Elem().Field(i)
		if f.Kind() == reflect.Pointer {
			f.Set(reflect.New(f.Type().Elem()))
			f = f.Elem()
		}
		var values []any
		switch f.Kind() {
		case reflect.String:
			values = []any{"x", "xx"}
		case reflect.Int32:
			values = []any{int32(0), int32(1), int32(-1)}
		case reflect.Int64:
			values = []any{int64(0), int64(1), int64(-1)}
		case reflect.Float64:
			values = []any{0.0, 1.0, -1.0}
		default:
			t.Fatalf("%s is of kind %s", name, f.Kind())
		}
		for _, v := range values {
			f.Set(reflect.ValueOf(v).Convert(f.Type()))
			d := annotationDigest(&a)
			if slices.Contains([]string{"At", "RowVersion", "RowSeq"}, name) {
				if seen[d] != "nothing" {
					t.Errorf("%s changes the digest", name)
				}
				continue
			}
			if have, ok := seen[d]; ok {
				t.Errorf("%s = %v has the digest of %s", name, v, have)
			}
			seen[d] = name
		}
	}
}
