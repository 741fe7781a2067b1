package rpc

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"trajlake/rpc/rpcpb"
	"trajlake/schema"
	"trajlake/schema/fault"
)

// rowPieces is how many pieces of schema.MaxTensorPiece bytes one row of the
// tensors table holds.
const rowPieces = 16

// maxTensorBytes bounds the tensors of one stream, which are held in memory until
// they are committed.
const maxTensorBytes = 256 << 20

// tensorReader puts the parts of a stream together.
type tensorReader struct {
	rows    []*schema.Tensor
	header  *rpcpb.TensorHeader
	pending []byte   // of the open tensor, less than a piece
	pieces  [][]byte // of the open tensor, whole ones
	owners  []int    // tensor that each row belongs to
	heads   []*rpcpb.TensorHeader
	bytes   int64
}

// AppendTensors implements the service. There is one receipt for each tensor.
func (l *lakeService) AppendTensors(stream rpcpb.Lake_AppendTensorsServer) error {
	const op = "append tensors"
	if err := l.role(RoleIngest, op); err != nil {
		return err
	}
	if err := l.inflight.Acquire(stream.Context(), maxTensorBytes); err != nil {
		return fault.WrapAs(fault.Cancelled, op, err)
	}
	defer l.inflight.Release(maxTensorBytes)
	var r tensorReader
	for {
		p, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := r.part(p); err != nil {
			return err
		}
	}
	r.end()
	receipts, err := l.ing.Tensors(stream.Context(), r.rows)
	if err != nil {
		return err
	}
	out := &rpcpb.AppendResponse{Receipts: make([]*rpcpb.AppendReceipt, len(r.heads))}
	for i, rec := range receipts { // a tensor is as well off as the worst of its rows
		got := receiptOut(rec, false)
		at := &out.Receipts[r.owners[i]]
		switch {
		case *at == nil || got.GetStatus() == rpcpb.AppendReceipt_REJECTED:
			*at = got
		case got.GetStatus() == rpcpb.AppendReceipt_COMMITTED && (*at).GetStatus() == rpcpb.AppendReceipt_DUPLICATE:
			*at = got
		}
	}
	return stream.SendAndClose(out)
}

// part takes one message in.
func (r *tensorReader) part(p *rpcpb.TensorPart) error {
	const op = "append tensors"
	if h := p.GetHeader(); h != nil {
		r.end()
		r.header = h
		r.heads = append(r.heads, h)
	}
	if r.header == nil {
		return fault.New(fault.Usage, op, "the first part has no header")
	}
	if r.bytes += int64(len(p.GetData())); r.bytes > maxTensorBytes {
		return fault.New(fault.Exhausted, op, "more than %d bytes in one stream", int64(maxTensorBytes)).WithHint("send the tensors in several streams")
	}
	r.pending = append(r.pending, p.GetData()...)
	for len(r.pending) >= schema.MaxTensorPiece {
		r.pieces = append(r.pieces, r.pending[:schema.MaxTensorPiece:schema.MaxTensorPiece])
		r.pending = r.pending[schema.MaxTensorPiece:]
	}
	return nil
}

// end turns the open tensor into rows.
func (r *tensorReader) end() {
	h := r.header
	if h == nil {
		return
	}
	if len(r.pending) > 0 || len(r.pieces) == 0 {
		r.pieces = append(r.pieces, r.pending)
	}
	n := (len(r.pieces) + rowPieces - 1) / rowPieces
	for i := range n {
		data := r.pieces[i*rowPieces : min((i+1)*rowPieces, len(r.pieces))]
		sum := sha256.New()
		for _, d := range data {
			sum.Write(d)
		}
		r.rows = append(r.rows, &schema.Tensor{
			TrajectoryID: h.GetTrajectoryId(), Name: h.GetName(), Producer: h.Producer, Version: h.Version,
			Piece: int32(i), Pieces: int32(n), DType: new(h.GetDtype()), Shape: h.GetShape(), Alignment: h.Alignment, Missing: h.Missing,
			Digest: new(hex.EncodeToString(sum.Sum(nil))), Data: data,
		})
		r.owners = append(r.owners, len(r.heads)-1)
	}
	r.header, r.pending, r.pieces = nil, nil, nil
}
