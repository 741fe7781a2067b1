package store

import (
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
	"trajlake/schema/fault"
)

// RawRow is row i of a record that has reward_raw in the place of reward, as a
// trajectory.
func RawRow(rec arrow.Record, i int) (*schema.Trajectory, error) {
	r, err := newRawReader(rec.Schema())
	if err != nil {
		return nil, err
	}
	return r.row(rec, i)
}

// rawReader reads trajectories out of records that have reward_raw in the place
// of reward.
type rawReader struct {
	rows *schema.RowReader[schema.Trajectory]
	raw  int // column of reward_raw; -1 if there is none
}

func newRawReader(s *arrow.Schema) (*rawReader, error) {
	rows, err := schema.NewRowReader[schema.Trajectory](s)
	if err != nil {
		return nil, err
	}
	r := &rawReader{rows, -1}
	if at := s.FieldIndices(colRewardRaw); len(at) == 1 {
		r.raw = at[0]
	}
	return r, nil
}

func (r *rawReader) row(rec arrow.Record, i int) (*schema.Trajectory, error) {
	row, err := r.rows.Row(rec, i)
	if err != nil || r.raw < 0 {
		return row, err
	}
	if raw, ok := rec.Column(r.raw).(*array.Float64); ok && raw.IsValid(i) {
		row.Reward = new(raw.Value(i))
	}
	return row, nil
}

// idColumns are the columns trajectory_id and row_seq, in this order, of a record.
func idColumns(rec arrow.Record) (*array.String, []int64, error) {
	ids, ok1 := rec.Column(0).(*array.String)
	seqs, ok2 := rec.Column(1).(*array.Int64)
	if !ok1 || !ok2 {
		return nil, nil, fault.New(fault.Internal, "read ids", "columns of types %s and %s", rec.Column(0).DataType(), rec.Column(1).DataType())
	}
	return ids, seqs.Int64Values(), nil
}

// stringAt is the text in column c, row i of rec.
func stringAt(rec arrow.Record, c, i int) (string, error) {
	a, ok := rec.Column(c).(*array.String)
	if !ok || a.IsNull(i) {
		return "", fault.New(fault.Corrupt, "read ids", "column %s is null or no text", rec.ColumnName(c))
	}
	return a.Value(i), nil
}

// bytesAt is the binary value in column c, row i of rec; nil when null.
func bytesAt(rec arrow.Record, c, i int) []byte {
	a, ok := rec.Column(c).(*array.Binary)
	if !ok || a.IsNull(i) {
		return nil
	}
	return a.Value(i)
}
