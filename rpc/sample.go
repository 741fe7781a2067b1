package rpc

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/query"
	"trajlake/replay"
	"trajlake/rpc/rpcpb"
	"trajlake/schema/fault"
	"trajlake/store"
)

// BatchInfo is a batch without its payload: the answer of Sample, as JSON.
type BatchInfo struct {
	BatchID  string            `json:"batch_id"`
	Position uint64            `json:"position"`
	Version  int64             `json:"version"`
	Snapshot string            `json:"snapshot"`
	SpecHash string            `json:"spec_hash"`
	Rows     []json.RawMessage `json:"rows"` // objects: facts and the columns of the draw
}

// facts are the columns of trajectories that every batch carries.
var facts = []string{"trajectory_id", "task_id", "effort", "reward"}

// drawn is one batch, or a rank's slice of it, and where it came from.
type drawn struct {
	sampler *replay.Sampler
	batch   *replay.Batch
	units   int // of the whole batch: 0 says that nothing can be drawn at all
}

// draw does what Sample and batch tickets have in common.
func (s *Server) draw(ctx context.Context, text []byte, position uint64, ref string, rank, world int) (*drawn, error) {
	if err := s.role(RoleReplay, "draw batch"); err != nil {
		return nil, err
	}
	if len(text) == 0 {
		text = []byte("{}")
	}
	spec, err := replay.ParseSpec(text)
	if err != nil {
		return nil, err
	}
	spec = spec.Fill(replay.Pinned)
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	sampler, err := s.sampler(ctx, spec, ref)
	if err != nil {
		return nil, err
	}
	b, err := sampler.Draw(position)
	if err != nil {
		return nil, err
	}
	d := &drawn{sampler: sampler, batch: b, units: len(b.Slots)}
	return d, slice(b, rank, world)
}

// sampler gives the sampler of a spec at a snapshot; ref, when set, stands in for
// the spec's own.
func (s *Server) sampler(ctx context.Context, spec replay.Spec, ref string) (*replay.Sampler, error) {
	if ref == "" && spec.Snapshot.Mode == replay.AtToken {
		ref = spec.Snapshot.Token
	}
	if ref != "" {
		if known := s.samplers.known(ref, spec); known != nil {
			return known, nil
		}
	}
	var snap *store.Snapshot
	var err error
	if ref == "" {
		snap, err = replay.Resolve(ctx, s.lake, spec)
	} else {
		snap, err = s.lake.At(ctx, ref)
	}
	if err != nil {
		return nil, err
	}
	return s.samplers.open(ctx, snap, spec)
}

// slice keeps the units of rank's part of a batch: every world-th slot from the
// rank-th, so that the strata are spread over the ranks. It stays the same batch,
// with the same id.
func slice(b *replay.Batch, rank, world int) error {
	if world == 0 {
		world = 1
	}
	if world < 1 || rank < 0 || rank >= world {
		return fault.New(fault.Usage, "slice batch", "rank %d of %d", rank, world).WithField("rank").WithHint("ranks count from 0 to world-1")
	}
	if world == 1 {
		return nil
	}
	var mine []replay.Slot
	for i := rank; i < len(b.Slots); i += world {
		mine = append(mine, b.Slots[i])
	}
	b.Slots = mine
	return nil
}

// record fetches the rows: columns (nil: the spec's), then the facts that are not
// among them, then the columns of the draw. Its metadata says which batch it is.
func (d *drawn) record(ctx context.Context, columns []string) (arrow.Record, error) {
	if columns == nil {
		columns = d.sampler.Spec().Columns
	}
	all := slices.Clone(columns)
	for _, c := range facts {
		if !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	rec, err := d.sampler.Rows(ctx, d.batch, all)
	if err != nil {
		return nil, err
	}
	b := d.batch
	md := arrow.NewMetadata(
		[]string{"batch_id", "position", "version", "snapshot", "spec_hash", "units"},
		[]string{b.ID, strconv.FormatUint(b.Position, 10), strconv.FormatInt(b.Version, 10), b.Snapshot, b.SpecHash, strconv.Itoa(d.units)})
	return array.NewRecord(arrow.NewSchema(rec.Schema().Fields(), &md), rec.Columns(), rec.NumRows()), nil
}

// Sample implements the service.
func (l *lakeService) Sample(ctx context.Context, req *rpcpb.SampleRequest) (*rpcpb.SampleResponse, error) {
	d, err := l.draw(ctx, req.GetSpec(), req.GetPosition(), req.GetSnapshot(), int(req.GetRank()), int(req.GetWorld()))
	if err != nil {
		return nil, err
	}
	rec, err := d.record(ctx, []string{})
	if err != nil {
		return nil, err
	}
	b := d.batch
	out := BatchInfo{BatchID: b.ID, Position: b.Position, Version: b.Version, Snapshot: b.Snapshot, SpecHash: b.SpecHash, Rows: []json.RawMessage{}}
	for i := range int(rec.NumRows()) {
		out.Rows = append(out.Rows, query.AppendRow(nil, rec, i))
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, fault.Wrap("sample", err)
	}
	return &rpcpb.SampleResponse{Json: text}, nil
}
