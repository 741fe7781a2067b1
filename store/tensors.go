package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
)

// TensorInfo describes one tensor of a trajectory, without its bytes.
type TensorInfo struct {
	Name      string  `json:"name"`
	Producer  string  `json:"producer"`
	Version   int64   `json:"version"`
	DType     string  `json:"dtype"`
	Shape     []int64 `json:"shape"`
	Alignment string  `json:"alignment,omitempty"`
	Missing   string  `json:"missing,omitempty"`
	Pieces    int32   `json:"pieces"`
	Complete  bool    `json:"complete"` // every piece is there
}

// TensorOptions choose one tensor of a name, and a range of it.
type TensorOptions struct {
	Producer *string // nil = any
	Version  *int64  // nil = the greatest
	Offset   int64   // first byte
	Length   int64   // bytes; 0 = to the end
}

// TensorData is a tensor, or a range of its bytes in row-major order.
type TensorData struct {
	TensorInfo
	Data []byte
}

var tensorScalars = []string{"trajectory_id", "name", "producer", "version", "piece", "pieces", "dtype", "alignment", "missing", "digest", "source_digest", "shape", "row_seq"}

// Tensors lists the tensors of a trajectory; name "" means all. Tensors that
// were appended together with a row of another source digest are not its own
// and are left out. The bytes are not read.
func (s *Snapshot) Tensors(ctx context.Context, id, name string) ([]TensorInfo, error) {
	rows, err := s.tensorRows(ctx, id, name, tensorScalars)
	if err != nil {
		return nil, err
	}
	var out []TensorInfo
	for _, group := range groupTensors(rows) {
		out = append(out, infoOf(group))
	}
	return out, nil
}

// ReadTensor reads a tensor's bytes, or a range of them. Pieces are read one after
// the other up to the end of the range, since only their bytes tell how long they
// are; what lies behind the range is not touched, and only the range is kept.
func (s *Snapshot) ReadTensor(ctx context.Context, id, name string, o TensorOptions) (*TensorData, error) {
	op := fmt.Sprintf("read tensor %s of %s", name, id)
	rows, err := s.tensorRows(ctx, id, name, tensorScalars)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	var best []*schema.Tensor
	for _, g := range groupTensors(rows) {
		if o.Producer != nil && text(g[0].Producer) != *o.Producer || o.Version != nil && tensorVersion(g[0]) != *o.Version {
			continue
		}
		if best == nil || tensorVersion(g[0]) > tensorVersion(best[0]) {
			best = g
		}
	}
	if best == nil {
		return nil, fault.New(fault.NotFound, op, "there is no such tensor")
	}
	info := infoOf(best)
	if !info.Complete {
		return nil, fault.New(fault.NotFound, op, "only %d of its %d pieces are there", len(best), info.Pieces)
	}
	if o.Offset < 0 || o.Length < 0 {
		return nil, fault.New(fault.Usage, op, "offset %d, length %d", o.Offset, o.Length)
	}
	end := int64(math.MaxInt64)
	if o.Length > 0 && o.Length < end-o.Offset {
		end = o.Offset + o.Length
	}
	out, at := []byte{}, int64(0)
	for _, r := range best {
		if at >= end {
			break
		}
		data, err := s.pieceData(ctx, *r.RowSeq)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		for _, d := range data {
			n := int64(len(d))
			lo, hi := min(max(o.Offset-at, 0), n), min(max(end-at, 0), n)
			out = append(out, d[lo:hi]...)
			at += n
		}
	}
	if o.Offset > at {
		return nil, fault.New(fault.Usage, op, "byte %d of %d", o.Offset, at)
	}
	return &TensorData{info, out}, nil
}

// pieceData reads the bytes of the tensor row at a place.
func (s *Snapshot) pieceData(ctx context.Context, seq int64) ([][]byte, error) {
	for rec, err := range s.Scan(ctx, ScanOptions{Table: schema.Tensors, Columns: []string{"data"}, From: seq, To: seq + 1}) {
		if err != nil {
			return nil, err
		}
		r, err := schema.RowFromArrow[schema.Tensor](rec, 0)
		if err != nil {
			return nil, err
		}
		return r.Data, nil
	}
	return nil, fault.New(fault.Corrupt, "read tensor piece", "there is no row at place %d", seq)
}

func tensorVersion(r *schema.Tensor) int64 {
	if r.Version == nil {
		return 0
	}
	return *r.Version
}

// tensorRows reads the tensor rows of one trajectory, sorted by name, producer,
// version and piece.
func (s *Snapshot) tensorRows(ctx context.Context, id, name string, columns []string) ([]*schema.Tensor, error) {
	expr := "trajectory_id = " + quote(id)
	if name != "" {
		expr += " AND name = " + quote(name)
	}
	pred, err := where.Parse(expr)
	if err != nil {
		return nil, err
	}
	owner, err := s.sourceDigest(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []*schema.Tensor
	for rec, err := range s.Scan(ctx, ScanOptions{Table: schema.Tensors, Columns: columns, Where: pred}) {
		if err != nil {
			return nil, err
		}
		for i := range int(rec.NumRows()) {
			r, err := schema.RowFromArrow[schema.Tensor](rec, i)
			if err != nil {
				return nil, err
			}
			if r.SourceDigest == nil || owner != nil && bytes.Equal(r.SourceDigest, owner) {
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, func(a, b *schema.Tensor) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(text(a.Producer), text(b.Producer)),
			cmp.Compare(tensorVersion(a), tensorVersion(b)), cmp.Compare(a.Piece, b.Piece))
	})
	return out, nil
}

// sourceDigest is the source digest of a trajectory; nil if there is none.
func (s *Snapshot) sourceDigest(ctx context.Context, id string) ([]byte, error) {
	seqs, err := s.Lookup(ctx, []string{id})
	if err != nil || seqs[0] < 0 {
		return nil, err
	}
	rec, err := s.Gather(ctx, seqs, []string{"source_digest"})
	if err != nil {
		return nil, err
	}
	return bytesAt(rec, 0, 0), nil
}

// groupTensors cuts sorted rows into tensors.
func groupTensors(rows []*schema.Tensor) (out [][]*schema.Tensor) {
	for i, r := range rows {
		if i > 0 {
			p := rows[i-1]
			if p.Name == r.Name && text(p.Producer) == text(r.Producer) && tensorVersion(p) == tensorVersion(r) {
				out[len(out)-1] = append(out[len(out)-1], r)
				continue
			}
		}
		out = append(out, []*schema.Tensor{r})
	}
	return out
}

func infoOf(g []*schema.Tensor) TensorInfo {
	r := g[0]
	return TensorInfo{
		Name: r.Name, Producer: text(r.Producer), Version: tensorVersion(r), DType: text(r.DType), Shape: r.Shape,
		Alignment: text(r.Alignment), Missing: text(r.Missing), Pieces: r.Pieces, Complete: int(r.Pieces) == len(g),
	}
}
