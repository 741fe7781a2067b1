package formats

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

// setters are the columns that Source.Set may fill.
var setters = map[string]func(r *schema.Trajectory) **string{
	"task_set":      func(r *schema.Trajectory) **string { return &r.TaskSet },
	"task_id":       func(r *schema.Trajectory) **string { return &r.TaskID },
	"dataset":       func(r *schema.Trajectory) **string { return &r.Dataset },
	"split":         func(r *schema.Trajectory) **string { return &r.Split },
	"run_id":        func(r *schema.Trajectory) **string { return &r.RunID },
	"model":         func(r *schema.Trajectory) **string { return &r.Model },
	"agent":         func(r *schema.Trajectory) **string { return &r.Agent },
	"harness":       func(r *schema.Trajectory) **string { return &r.Harness },
	"env_id":        func(r *schema.Trajectory) **string { return &r.EnvID },
	"env_version":   func(r *schema.Trajectory) **string { return &r.EnvVersion },
	"env_digest":    func(r *schema.Trajectory) **string { return &r.EnvDigest },
	"tokenizer_id":  func(r *schema.Trajectory) **string { return &r.TokenizerID },
	"template_hash": func(r *schema.Trajectory) **string { return &r.TemplateHash },
	"licence":       func(r *schema.Trajectory) **string { return &r.Licence },
	"visibility":    func(r *schema.Trajectory) **string { return &r.Visibility },
	"effort":        func(r *schema.Trajectory) **string { return &r.Effort },
	"mode":          func(r *schema.Trajectory) **string { return &r.Mode },
}

// Settable lists the names that Source.Set may hold, sorted. Besides them
// policy_version sets both ends of the range.
func Settable() []string {
	names := []string{"policy_version"}
	for n := range setters {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// CheckSet reports the first name or value of set that is not acceptable, as a
// fault of kind Usage.
func CheckSet(set map[string]string) error {
	names := make([]string, 0, len(set))
	for n := range set {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if n == "policy_version" {
			if _, err := strconv.ParseInt(set[n], 10, 64); err != nil {
				return fault.New(fault.Usage, "set policy_version", "%q is not an integer", set[n])
			}
			continue
		}
		if _, ok := setters[n]; !ok {
			return fault.New(fault.Usage, "set "+n, "no such column to set").WithHint("one of %s", strings.Join(Settable(), ", "))
		}
	}
	return nil
}

// applySet fills the columns that the source left null.
func applySet(row *schema.Trajectory, set map[string]string) {
	for n, v := range set {
		if field, ok := setters[n]; ok {
			first(field(row), &v)
		} else if version, err := strconv.ParseInt(v, 10, 64); n == "policy_version" && err == nil && row.PolicyVersionMin == nil && row.PolicyVersionMax == nil {
			row.PolicyVersionMin, row.PolicyVersionMax = &version, &version
		}
	}
}

// localTimes are the ways in which sources write times without a zone.
var localTimes = []string{"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"}

// time reads an instant: RFC 3339, a local time (read as UTC, which is an
// approximation), or Unix seconds or milliseconds. Nil if it is none of them.
func (b *builder) time(v canon.Value) *schema.Time {
	if f, ok := v.Float(); ok {
		if f > 1e11 || f < -1e11 {
			f /= 1000
		}
		if f > 1e11 || f < -1e11 {
			return nil
		}
		sec := int64(f)
		return some(schema.Time(sec*1e6 + int64((f-float64(sec))*1e6+0.5)))
	}
	s, ok := v.Str()
	if !ok {
		return nil
	}
	if at, err := time.Parse(time.RFC3339Nano, strings.Replace(s, " ", "T", 1)); err == nil {
		return some(schema.TimeOf(at))
	}
	for _, layout := range localTimes {
		if at, err := time.Parse(layout, s); err == nil {
			b.lose("time zone", LossApproximated)
			return some(schema.TimeOf(at))
		}
	}
	return nil
}

// timeOr is the time of a member, which is kept as it is where it is none.
func (b *builder) timeOr(key string, v canon.Value) *schema.Time {
	at := b.time(v)
	if at == nil {
		b.keep(key, v)
	}
	return at
}

// float is a number that may be null; another kind rejects the record.
func (b *builder) float(field string, v canon.Value) *float64 {
	if v.IsNull() {
		return nil
	}
	f := number(v)
	if f == nil {
		b.bad(field, "a number", v)
	}
	return f
}

// int is an integer that may be null; another kind rejects the record.
func (b *builder) int(field string, v canon.Value) *int64 {
	if v.IsNull() {
		return nil
	}
	n := integer(v)
	if n == nil {
		b.bad(field, "an integer", v)
	}
	return n
}
