package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"trajlake/replay"
	"trajlake/rpc/rpcpb"
	"trajlake/schema/fault"
)

// maxWait bounds how long one call waits for data; the client asks again.
const maxWait = 30 * time.Second

// replayService is the service Replay.
type replayService struct {
	rpcpb.UnimplementedReplayServer
	*Server
}

// RunInfo is what RunStatus tells.
type RunInfo struct {
	Stream   string           `json:"stream"`
	Run      string           `json:"run,omitempty"`
	Position uint64           `json:"position"`
	Snapshot string           `json:"snapshot"`
	AsOf     replay.AsOf      `json:"as_of"`
	Inserts  int64            `json:"inserts_since"`
	Waiting  string           `json:"waiting,omitempty"` // what the last call waited for in vain
	Limiter  *json.RawMessage `json:"limiter,omitempty"`
}

// replayOf is the engine, for calls of streams.
func (s *Server) replayOf(op string) (*replay.Engine, error) {
	if err := s.role(RoleReplay, op); err != nil {
		return nil, err
	}
	return s.streams.Engine, nil
}

// jsonAnswer makes the answer of a call that answers with JSON.
func jsonAnswer(op string, v any) (*rpcpb.JsonResponse, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	return &rpcpb.JsonResponse{Json: text}, nil
}

// CreateStream implements the service.
func (r *replayService) CreateStream(ctx context.Context, req *rpcpb.CreateStreamRequest) (*rpcpb.JsonResponse, error) {
	const op = "create stream"
	if err := r.role(RoleReplay, op); err != nil {
		return nil, err
	}
	info, err := r.streams.CreateStream(ctx, req.GetName(), req.GetSpec())
	if err != nil {
		return nil, err
	}
	return jsonAnswer(op, info)
}

// GetStream implements the service.
func (r *replayService) GetStream(ctx context.Context, req *rpcpb.StreamRequest) (*rpcpb.JsonResponse, error) {
	const op = "show stream"
	if err := r.role(RoleReplay, op); err != nil {
		return nil, err
	}
	info, err := r.streams.Stream(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return jsonAnswer(op, info)
}

// ListStreams implements the service.
func (r *replayService) ListStreams(_ *rpcpb.ListStreamsRequest, stream rpcpb.Replay_ListStreamsServer) error {
	const op = "list streams"
	if err := r.role(RoleReplay, op); err != nil {
		return err
	}
	list, err := r.streams.Streams(stream.Context())
	if err != nil {
		return err
	}
	out := &rpcpb.LinesResponse{}
	for _, s := range list {
		line, err := json.Marshal(s)
		if err != nil {
			return fault.Wrap(op, err)
		}
		out.Json = append(out.Json, line)
	}
	return stream.Send(out)
}

// Explain implements the service.
func (r *replayService) Explain(ctx context.Context, req *rpcpb.ExplainRequest) (*rpcpb.JsonResponse, error) {
	const op = "explain"
	if err := r.role(RoleReplay, op); err != nil {
		return nil, err
	}
	x, err := r.streams.Explain(ctx, req.GetStream(), req.GetSpec(), req.GetSnapshot())
	return &rpcpb.JsonResponse{Json: x}, err
}

// request reads what a draw asks of a stream.
func request(t *Ticket) replay.BatchRequest {
	r := replay.BatchRequest{Stream: t.Stream, Run: t.Run, Position: t.Position, Rank: t.Rank, World: t.World, Step: -1, Policy: -1,
		Wait: min(time.Duration(t.WaitMS)*time.Millisecond, maxWait)}
	if t.Step != nil {
		r.Step = *t.Step
	}
	if t.Policy != nil {
		r.Policy = *t.Policy
	}
	return r
}

// drawStream draws one batch of a stream, cut to the rank's part.
func (s *Server) drawStream(ctx context.Context, req replay.BatchRequest) (*drawn, error) {
	e, err := s.replayOf("draw batch")
	if err != nil {
		return nil, err
	}
	got, err := e.Batch(ctx, req)
	if err != nil {
		return nil, err
	}
	d := drawnOf(got, s.fetch)
	return d, d.cut(req.Rank, req.World)
}

// refetch has a batch again by its id.
func (s *Server) refetch(ctx context.Context, id string) (*drawn, error) {
	e, err := s.replayOf("fetch batch")
	if err != nil {
		return nil, err
	}
	got, err := e.Refetch(ctx, id)
	if err != nil {
		return nil, err
	}
	return drawnOf(got, s.fetch), nil
}

// Draw implements the service.
func (r *replayService) Draw(ctx context.Context, req *rpcpb.DrawRequest) (*rpcpb.SampleResponse, error) {
	var d *drawn
	var err error
	if id := req.GetBatchId(); id != "" {
		d, err = r.refetch(ctx, id)
	} else {
		d, err = r.drawStream(ctx, request(&Ticket{Stream: req.GetStream(), Run: req.GetRun(), Position: req.GetPosition(), Rank: int(req.GetRank()),
			World: int(req.GetWorld()), Step: req.Step, Policy: req.PolicyVersion, WaitMS: int64(req.GetWaitMs())}))
	}
	if err != nil {
		return nil, err
	}
	info, err := d.info(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := jsonAnswer("draw batch", info)
	return &rpcpb.SampleResponse{Json: answer.GetJson()}, err
}

// RunStatus implements the service.
func (r *replayService) RunStatus(ctx context.Context, req *rpcpb.StreamRequest) (*rpcpb.JsonResponse, error) {
	const op = "ask for a run"
	e, err := r.replayOf(op)
	if err != nil {
		return nil, err
	}
	s, err := e.Status(ctx, req.GetName(), req.GetRun())
	if err != nil {
		return nil, err
	}
	info := RunInfo{Stream: s.Stream, Run: s.Run, Position: s.Position, Snapshot: s.Snapshot, AsOf: s.AsOf, Inserts: s.Inserts}
	if s.Waiting.Reason != "" {
		info.Waiting = s.Waiting.String()
	}
	return jsonAnswer(op, info)
}

// SetLimiter implements the service.
func (r *replayService) SetLimiter(ctx context.Context, req *rpcpb.SetLimiterRequest) (*rpcpb.JsonResponse, error) {
	const op = "set limiter"
	e, err := r.replayOf(op)
	if err != nil {
		return nil, err
	}
	l := replay.Limiter{MinSize: req.GetMinSize(), SamplesPerInsert: req.GetSamplesPerInsert(), Slack: req.GetSlack()}
	if err := e.Limit(ctx, req.GetStream(), l); err != nil {
		return nil, err
	}
	return jsonAnswer(op, map[string]any{"stream": req.GetStream(), "min_size": l.MinSize, "samples_per_insert": l.SamplesPerInsert, "slack": l.Slack})
}

// Join implements the service.
func (r *replayService) Join(ctx context.Context, req *rpcpb.JoinRequest) (*rpcpb.JoinResponse, error) {
	e, err := r.replayOf("join run")
	if err != nil {
		return nil, err
	}
	n, err := e.Join(ctx, req.GetStream(), req.GetRun(), int(req.GetRank()))
	return &rpcpb.JoinResponse{Incarnation: n}, err
}

func ackOf(q *rpcpb.AckRequest) replay.Ack {
	a := replay.Ack{Stream: q.GetStream(), Run: q.GetRun(), Rank: int(q.GetRank()), World: int(q.GetWorld()), Incarnation: q.GetIncarnation(),
		BatchID: q.GetBatchId(), Position: q.GetPosition(), Step: q.GetStep(), Policy: -1, Lease: q.GetLease()}
	if q.PolicyVersion != nil {
		a.Policy = q.GetPolicyVersion()
	}
	return a
}

// Ack implements the service.
func (r *replayService) Ack(ctx context.Context, req *rpcpb.AckRequest) (*rpcpb.AckResponse, error) {
	e, err := r.replayOf("ack batch")
	if err != nil {
		return nil, err
	}
	return &rpcpb.AckResponse{}, e.Ack(ctx, ackOf(req))
}

// Nack implements the service.
func (r *replayService) Nack(ctx context.Context, req *rpcpb.NackRequest) (*rpcpb.AckResponse, error) {
	e, err := r.replayOf("hand back batch")
	if err != nil {
		return nil, err
	}
	return &rpcpb.AckResponse{}, e.Nack(ctx, ackOf(req.GetBatch()), req.GetReason())
}

// Rollback implements the service.
func (r *replayService) Rollback(ctx context.Context, req *rpcpb.RollbackRequest) (*rpcpb.AckResponse, error) {
	e, err := r.replayOf("roll run back")
	if err != nil {
		return nil, err
	}
	return &rpcpb.AckResponse{}, e.Rollback(ctx, req.GetStream(), req.GetRun(), req.GetStep())
}

// Lease implements the service.
func (r *replayService) Lease(ctx context.Context, req *rpcpb.LeaseRequest) (*rpcpb.LeaseResponse, error) {
	e, err := r.replayOf("lease position")
	if err != nil {
		return nil, err
	}
	if req.GetEpoch() != 0 {
		l := replay.Lease{Stream: req.GetStream(), Group: req.GetGroup(), Consumer: req.GetConsumer(), Position: req.GetPosition(), Epoch: req.GetEpoch(),
			TTL: time.Duration(req.GetTtlMs()) * time.Millisecond}
		return &rpcpb.LeaseResponse{Position: l.Position, Epoch: l.Epoch}, e.Renew(ctx, l)
	}
	l, err := e.Lease(ctx, req.GetStream(), req.GetGroup(), req.GetConsumer(), time.Duration(req.GetTtlMs())*time.Millisecond)
	return &rpcpb.LeaseResponse{Position: l.Position, Epoch: l.Epoch}, err
}

// Release implements the service.
func (r *replayService) Release(ctx context.Context, req *rpcpb.ReleaseRequest) (*rpcpb.AckResponse, error) {
	e, err := r.replayOf("release position")
	if err != nil {
		return nil, err
	}
	l := replay.Lease{Stream: req.GetStream(), Group: req.GetGroup(), Consumer: req.GetConsumer(), Position: req.GetPosition(), Epoch: req.GetEpoch()}
	return &rpcpb.AckResponse{}, e.Release(ctx, l, req.GetDone())
}

// Ledger implements the service.
func (r *replayService) Ledger(req *rpcpb.LedgerRequest, stream rpcpb.Replay_LedgerServer) error {
	e, err := r.replayOf("read ledger")
	if err != nil {
		return err
	}
	f := replay.LedgerFilter{Stream: req.GetStream(), Run: req.GetRun(), Step: req.Step, Trajectory: req.GetTrajectory(), Batch: req.GetBatch(),
		Kind: req.GetKind(), At: req.GetSnapshot(), Superseded: req.GetSuperseded()}
	out, size := &rpcpb.LinesResponse{}, 0
	for l, err := range e.Ledger(stream.Context(), f) {
		if err != nil {
			return err
		}
		line, err := json.Marshal(l)
		if err != nil {
			return fault.Wrap("read ledger", err)
		}
		out.Json, size = append(out.Json, line), size+len(line)
		if size > linesBytes {
			if err := stream.Send(out); err != nil {
				return err
			}
			out, size = &rpcpb.LinesResponse{}, 0
		}
	}
	return stream.Send(out)
}

// LedgerDiff implements the service.
func (r *replayService) LedgerDiff(ctx context.Context, req *rpcpb.LedgerDiffRequest) (*rpcpb.JsonResponse, error) {
	const op = "compare runs"
	e, err := r.replayOf(op)
	if err != nil {
		return nil, err
	}
	d, err := e.Diff(ctx, req.GetRunA(), req.GetRunB())
	if err != nil {
		return nil, err
	}
	return jsonAnswer(op, d)
}

// cut keeps the units of rank's part of a batch. It stays the same batch, with the same id.
func (d *drawn) cut(rank, world int) error {
	if world == 0 {
		world = 1
	}
	if world < 1 || rank < 0 || rank >= world {
		return fault.New(fault.Usage, "slice batch", "rank %d of %d", rank, world).WithField("rank").WithHint("ranks count from 0 to world-1")
	}
	if world == 1 {
		return nil
	}
	part := d.batch.Part(rank, world)
	b := *d.batch
	b.Slots = slices.Clone(b.Slots[:0])
	for _, i := range part {
		b.Slots = append(b.Slots, d.batch.Slots[i])
	}
	d.batch = &b
	return nil
}

// waitOf is what a failed draw waits for, nil if that is not why it failed.
func waitOf(err error) *rpcpb.Wait {
	var w *replay.WaitError
	if !errors.As(err, &w) {
		return nil
	}
	return &rpcpb.Wait{Reason: w.Reason, Stratum: w.Stratum, Have: w.Have, Want: w.Want}
}
