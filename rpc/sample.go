package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/replay"
	"trajlake/rpc/rpcpb"
	"trajlake/store"
)

// BatchInfo is a batch without its payload: the answer of Sample, as JSON.
type BatchInfo struct {
	BatchMeta
	Rows []json.RawMessage `json:"rows"` // objects: facts and the columns of the draw
}

// drawn is one batch, or a rank's slice of it, and where it came from.
type drawn struct {
	sampler *replay.Sampler
	batch   *replay.Batch
	units   int             // of the whole batch: 0 says that nothing can be drawn at all
	waited  []replay.Waited // of a stream
	claim   *replay.Claim   // of a stream
	fetch   *replay.Fetcher
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
	d := &drawn{sampler: sampler, batch: b, units: len(b.Slots), fetch: s.fetch}
	return d, d.cut(rank, world)
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

// record fetches the rows: see replay.Fetcher. Its metadata says which batch it is.
func (d *drawn) record(ctx context.Context, columns []string) (arrow.Record, error) {
	rec, err := d.fetch.Rows(ctx, d.sampler, d.batch, columns)
	if err != nil {
		return nil, err
	}
	b := d.batch
	md := arrow.NewMetadata(
		[]string{"batch_id", "position", "version", "snapshot", "spec_hash", "units"},
		[]string{b.ID, strconv.FormatUint(b.Position, 10), strconv.FormatInt(b.Version, 10), b.Snapshot, b.SpecHash, strconv.Itoa(d.units)})
	return array.NewRecord(arrow.NewSchema(rec.Schema().Fields(), &md), rec.Columns(), rec.NumRows()), nil
}

// meta says which batch this is.
func (d *drawn) meta() BatchMeta {
	b := d.batch
	m := BatchMeta{BatchID: b.ID, Position: b.Position, Version: b.Version, Snapshot: b.Snapshot, SpecHash: b.SpecHash, Units: d.units,
		Dry: b.Dry}
	if c := d.claim; c != nil {
		m.Stream, m.Run, m.AsOf = c.Stream, c.Run, &b.AsOf
	}
	for _, w := range d.waited {
		m.Waited = append(m.Waited, fmt.Sprintf("%s for %s", w.Wait, w.For.Round(time.Millisecond)))
	}
	return m
}

// Sample implements the service.
func (l *lakeService) Sample(ctx context.Context, req *rpcpb.SampleRequest) (*rpcpb.SampleResponse, error) {
	d, err := l.draw(ctx, req.GetSpec(), req.GetPosition(), req.GetSnapshot(), int(req.GetRank()), int(req.GetWorld()))
	if err != nil {
		return nil, err
	}
	info, err := d.info(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := jsonAnswer("sample", info)
	return &rpcpb.SampleResponse{Json: answer.GetJson()}, err
}
