package formats

import (
	"context"
	"io"
	"iter"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// native reads the lake's own JSON: one object per line, one object, or a list
// of them. It is what the native exporter and show --json write.
type native struct{}

func (native) Name() string { return "native" }

// nativeKeys are columns that hardly another format has at the top of a record.
var nativeKeys = []string{"trajectory_id", "task_set", "group_id", "policy_version_min", "token_ids", "loss_mask", "content_hash", "effort", "turns"}

func (native) Sniff(s *Sample) int {
	r := s.Record()
	if r.Kind() != canon.Object || r.Has("messages") || r.Has("traj") || r.Has("steps") {
		return 0
	}
	n := 0
	for _, k := range nativeKeys {
		if r.Has(k) {
			n++
		}
	}
	first := get(r, "turns").At(0)
	switch {
	case first.Has("role") && (first.Has("text") || first.Has("tool_calls") || first.Has("thinking") || first.Has("sampled") || first.Has("blocks")):
		return 85 + min(n, 10)
	case r.Has("token_ids") && n >= 2, r.Has("turns") && n >= 2:
		return 70 + n
	case r.Has("turns"), r.Has("token_ids"):
		return 40
	case n >= 2:
		return 30
	}
	return 0
}

func (im native) Read(ctx context.Context, r io.Reader, src Source) iter.Seq[Record] {
	return eachRecord(ctx, r, src, func(d document) []Record { return im.record(d, src) })
}

// largeRecord is the size of a document from which on its canonical bytes are
// only hashed.
const largeRecord = 1 << 20

func (im native) record(d document, src Source) []Record {
	rec := Record{Line: d.line, Index: d.index}
	if v := d.value; v.Kind() == canon.Object && !v.Has("turns") && !v.Has("token_ids") {
		if other := detectRecord(sampleOf(v)); other != "" && other != im.Name() {
			return wrong(src, d, im, "it has no turns and no token_ids")
		}
	}
	row, faults := schema.FromJSON(d.value)
	if len(faults) > 0 {
		rec.Err = faults.Err(at(src.Name, d.line))
		return []Record{rec}
	}
	if d.size >= largeRecord {
		sum := schema.NewDigester().NativeSum(row)
		rec.Sum = sum[:]
	} else {
		rec.Canonical = schema.NativeCanonical(row)
	}
	applySet(row, src.Set)
	if row.Source == nil {
		row.Source = &schema.Source{}
	}
	first(&row.Source.Format, some(im.Name()))
	first(&row.Source.URI, some(src.Name))
	first(&row.Source.Record, &d.index)
	if faults := schema.Validate(row, schema.Limits{}); len(faults) > 0 {
		rec.Err = faults.Err(at(src.Name, d.line))
		return []Record{rec}
	}
	schema.Derive(row)
	rec.Row, rec.ExplicitID = row, row.TrajectoryID != ""
	return []Record{rec}
}
