package query

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"iter"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// idColumns stand first in what IDs reads.
var idColumns = []string{"trajectory_id", "content_hash", "row_version"}

// IDs yields one JSON object for each trajectory that pred selects (nil: every
// one), in lake order: trajectory_id, content_hash in hex, version (the one that
// committed the row) and then the columns asked for, by name. Columns are those
// of the folded view; one that is null is null. After an error the sequence ends.
func IDs(ctx context.Context, snap *store.Snapshot, pred *where.Expr, columns []string) iter.Seq2[json.RawMessage, error] {
	const op = "list trajectories"
	return func(yield func(json.RawMessage, error) bool) {
		var more []string
		for _, c := range columns {
			switch c {
			case "trajectory_id", "content_hash", "version":
			default:
				more = append(more, c)
			}
		}
		asked := append(append([]string(nil), idColumns...), more...)
		for rec, err := range snap.Scan(ctx, store.ScanOptions{Columns: asked, Where: pred}) {
			if err != nil {
				yield(nil, fault.Wrap(op, err))
				return
			}
			if !idRows(rec, yield) {
				return
			}
		}
	}
}

func idRows(rec arrow.Record, yield func(json.RawMessage, error) bool) bool {
	ok := true
	ids, hashes, versions := as[*array.String](rec, 0, &ok), as[*array.Binary](rec, 1, &ok), as[*array.Int64](rec, 2, &ok)
	if !ok {
		yield(nil, fault.New(fault.Internal, "list trajectories", "unexpected columns %s", rec.Schema()))
		return false
	}
	for i := range int(rec.NumRows()) {
		line := make([]byte, 0, 192)
		line = append(line, `{"trajectory_id":`...)
		line = appendString(line, ids.Value(i))
		line = append(line, `,"content_hash":`...)
		if hashes.IsNull(i) {
			line = append(line, "null"...)
		} else {
			line = append(line, '"')
			line = hex.AppendEncode(line, hashes.Value(i))
			line = append(line, '"')
		}
		line = append(line, `,"version":`...)
		line = appendValue(line, versions, i)
		for c := len(idColumns); c < int(rec.NumCols()); c++ {
			line = append(line, ',')
			line = appendString(line, rec.ColumnName(c))
			line = append(line, ':')
			line = appendColumn(line, rec, c, i)
		}
		line = append(line, '}')
		if !yield(line, nil) {
			return false
		}
	}
	return true
}
