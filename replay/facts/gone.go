package facts

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/replay/law"
	"trajlake/schema"
	"trajlake/schema/where"
	"trajlake/store"
)

// fillGone gives the rows of the chunk that no file holds any more, and that were
// there in the view's snapshot, the facts that their annotations of deletion
// kept. Their folded reward is their own.
func (f *filling) fillGone(ctx context.Context) error {
	var missing []int64
	for i := range f.b.rows {
		if !bitAt(f.b.present, i) {
			missing = append(missing, f.base+int64(i))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	rows, err := f.v.snap.Gone(ctx, missing)
	if err != nil || len(rows) == 0 {
		return err
	}
	deleted, err := f.v.deleted(ctx)
	if err != nil {
		return err
	}
	for _, seq := range missing {
		if row, ok := rows[seq]; ok && !deleted[seq] {
			f.goneRow(int(seq-f.base), row)
		}
	}
	return nil
}

// deleted are the places of the rows that were deleted up to the view's snapshot.
func (v *View) deleted(ctx context.Context) (map[int64]bool, error) {
	pred, err := where.Parse("kind = 'gone'")
	if err != nil {
		return nil, err
	}
	out := map[int64]bool{}
	for rec, err := range v.snap.Scan(ctx, store.ScanOptions{Table: schema.Annotations, Columns: []string{"value_json"}, Where: pred}) {
		if err != nil {
			return nil, err
		}
		texts, ok := rec.Column(0).(*array.String)
		if !ok {
			return nil, wrongType(rec, 0)
		}
		for i := range texts.Len() {
			var at struct {
				Seq *int64 `json:"row_seq"`
			}
			if texts.IsValid(i) && json.Unmarshal([]byte(texts.Value(i)), &at) == nil && at.Seq != nil {
				out[*at.Seq] = true
			}
		}
	}
	return out, nil
}

// goneRow takes a row from what its deletion kept.
func (f *filling) goneRow(at int, row store.GoneRow) {
	d := json.NewDecoder(bytes.NewReader([]byte(row.Scalars)))
	d.UseNumber()
	var scalars map[string]any
	if d.Decode(&scalars) != nil {
		return
	}
	b := f.b
	b.present[at/64] |= 1 << (at % 64)
	if b.ids != nil {
		b.ids[at] = law.ID64(row.ID)
	}
	for c, col := range columns {
		if b.ints[c] == nil || col.name == "" {
			continue
		}
		if text, ok := scalars[col.name].(string); ok && c < textColumns {
			d := f.v.base.dictionaries[c]
			d.mu.Lock()
			b.ints[c][at] = int64(d.code(text))
			d.mu.Unlock()
		} else if n, ok := integer(scalars[col.name]); ok && c >= textColumns {
			b.ints[c][at] = n
		}
	}
	if dst := b.ints[colTokens]; dst != nil {
		prompt, _ := integer(scalars["prompt_tokens"])
		completion, _ := integer(scalars["completion_tokens"])
		dst[at] = clampedSum(max(prompt, 0), completion)
	}
	if n, ok := scalars["reward"].(json.Number); ok && b.raw != nil {
		if v, err := n.Float64(); err == nil {
			b.raw[at] = v
		}
	}
	if own := b.folded[foldReward]; own != nil && b.raw != nil {
		own[at] = b.raw[at]
	}
}

// integer is a JSON value as a column of integers has it: times in microseconds,
// truth as 1.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, true
		}
		f, err := v.Float64()
		return int64(f), err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53
	case string:
		t, err := time.Parse(time.RFC3339Nano, v)
		return t.UnixMicro(), err == nil
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}
