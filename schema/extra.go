package schema

import (
	"reflect"
	"strings"

	"trajlake/schema/canon"
)

// unknown notes a key that is no column, where the struct or its row keeps such.
func (r *reader) unknown(p *plan, own []canon.Member, key string, m canon.Value) []canon.Member {
	m = pruned(m)
	switch {
	case p.extra >= 0 && !empty(m):
		own = append(own, canon.M(key, m))
	case r.table.plan.extra < 0:
		r.add(strings.TrimPrefix(r.place.String()+"."+key, "."), FaultUnknown, "the table %s has no such column", r.table.Name)
	case !empty(m):
		r.loose = append(r.loose, canon.M(r.place.String()+"."+key, m))
	}
	return own
}

// keep joins what extra held with the unknown keys and sets the column to the
// canonical text.
func (r *reader) keep(f reflect.Value, extra canon.Value, unknown []canon.Member) {
	text, twice := joined(extra, unknown)
	for _, key := range twice {
		r.field(key, FaultTwice, "the key stands in extra too")
	}
	if text != nil {
		f.Set(reflect.ValueOf(text))
	}
}

// joined is the canonical text of extra with the unknown keys added; twice are
// the keys that both have.
func joined(extra canon.Value, unknown []canon.Member) (text *string, twice []string) {
	var all []canon.Member
	for k, m := range extra.Members() {
		all = append(all, canon.M(k, m))
	}
	for _, m := range unknown {
		if extra.Has(m.Key) {
			twice = append(twice, m.Key)
			continue
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, twice
	}
	s := string(canon.Append(nil, canon.Obj(all...)))
	return &s, twice
}

// KeepUnknown joins keys that a source has and no column holds with the text of
// an extra column, by the rules of FromJSON: nulls, empty lists and empty objects
// are dropped at every depth, and a key that extra has too is a fault, whose
// field is the key. Whoever turns another form than JSON into rows uses it, so
// that the rows are the same.
func KeepUnknown(extra *string, unknown []canon.Member) (*string, Faults) {
	var kept []canon.Member
	for _, m := range unknown {
		if v := pruned(m.Value); !empty(v) {
			kept = append(kept, canon.M(m.Key, v))
		}
	}
	var old canon.Value
	if extra != nil {
		var err error
		if old, err = canon.Parse([]byte(*extra), canon.Limits{}); err != nil || old.Kind() != canon.Object {
			return extra, Faults{{Field: "extra", Kind: FaultText, Reason: "the string holds no JSON object"}}
		}
	}
	text, twice := joined(old, kept)
	var faults Faults
	for _, key := range twice {
		faults = append(faults, Fault{Field: key, Kind: FaultTwice, Reason: "the key stands in extra too"})
	}
	return text, faults
}

// empty reports whether a value of an unknown key says nothing.
func empty(v canon.Value) bool {
	return v.IsNull() || v.Len() == 0 && (v.Kind() == canon.Array || v.Kind() == canon.Object)
}

// pruned is v without null, empty list and empty object members of objects.
// Elements of lists stay where they are.
func pruned(v canon.Value) canon.Value {
	switch v.Kind() {
	case canon.Object:
		var kept []canon.Member
		for k, m := range v.Members() {
			if m = pruned(m); !empty(m) {
				kept = append(kept, canon.M(k, m))
			}
		}
		return canon.Obj(kept...)
	case canon.Array:
		if v.Len() == 0 || v.At(0).Kind() == canon.Number {
			return v
		}
		items := make([]canon.Value, v.Len())
		for i, e := range v.Items() {
			items[i] = pruned(e)
		}
		return canon.Arr(items...)
	}
	return v
}
