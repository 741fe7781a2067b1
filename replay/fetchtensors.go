package replay

import (
	"context"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/replay/pack"
	"trajlake/schema/fault"
	"trajlake/store"
)

// TensorType is the type of the column that a tensor of the spec makes: null where a
// row has no such tensor; data is little-endian and row-major.
func TensorType() *arrow.StructType {
	return arrow.StructOf(
		arrow.Field{Name: "dtype", Type: arrow.BinaryTypes.String, Nullable: true},
		arrow.Field{Name: "shape", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
		arrow.Field{Name: "data", Type: arrow.BinaryTypes.Binary, Nullable: true})
}

// tensors reads one tensor of every row; rows that were drawn more than once are
// read once. ids is a frame with trajectory_id.
func (s *Sampler) tensors(ctx context.Context, name string, ids frame, seqs []int64) (arrow.Array, error) {
	b := array.NewStructBuilder(memory.DefaultAllocator, TensorType())
	dtype, shape, data := b.FieldBuilder(0).(*array.StringBuilder), b.FieldBuilder(1).(*array.ListBuilder), b.FieldBuilder(2).(*array.BinaryBuilder)
	dims := shape.ValueBuilder().(*array.Int64Builder)
	read := map[int64]*store.TensorData{}
	total := int64(0)
	for i, seq := range seqs {
		id, ok := ids.text("trajectory_id", i)
		if seq == pack.Null || !ok {
			b.AppendNull()
			continue
		}
		t, known := read[seq]
		if !known {
			var err error
			t, err = s.snap.ReadTensor(ctx, id, name, store.TensorOptions{})
			if err != nil && !fault.Is(err, fault.NotFound) {
				return nil, err
			}
			read[seq] = t
		}
		if t == nil {
			b.AppendNull()
			continue
		}
		if total += int64(len(t.Data)); total > math.MaxInt32 {
			return nil, fault.New(fault.Exhausted, "read tensor "+name, "the batch's have more than 2 GiB").WithField("tensors").WithHint("make batches smaller")
		}
		b.Append(true)
		dtype.Append(t.DType)
		shape.Append(true)
		dims.AppendValues(t.Shape, nil)
		data.Append(t.Data)
	}
	return b.NewArray(), nil
}
