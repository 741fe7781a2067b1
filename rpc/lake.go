package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"trajlake/query"
	"trajlake/rpc/rpcpb"
	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// Sizes of what is sent in pieces.
const (
	chunkBytes   = 1 << 20 // of a trajectory's JSON
	linesBytes   = 256 << 10
	maxBlobBytes = 32 << 20
	maxIDs       = 100_000 // of one Get or Lookup
	getAtATime   = 16      // trajectories held in memory by one Get
)

// lakeService is the service Lake.
type lakeService struct {
	rpcpb.UnimplementedLakeServer
	*Server
}

// Info implements the service.
func (l *lakeService) Info(ctx context.Context, _ *rpcpb.InfoRequest) (*rpcpb.InfoResponse, error) {
	snap, err := l.lake.Head(ctx)
	if err != nil {
		return nil, err
	}
	return &rpcpb.InfoResponse{
		LakeId: l.lake.ID(), Version: snap.Version(), Snapshot: snap.Token(), ServerVersion: l.opt.Version,
		Roles: l.opt.Roles, MaxRowBytes: l.opt.MaxRowBytes, MaxMessageBytes: int64(l.opt.MaxMessageBytes),
	}, nil
}

// Annotate implements the service.
func (l *lakeService) Annotate(ctx context.Context, req *rpcpb.AnnotateRequest) (*rpcpb.AnnotateResponse, error) {
	const op = "annotate"
	if err := l.role(RoleIngest, op); err != nil {
		return nil, err
	}
	receipts := make([]store.Receipt, len(req.GetJson()))
	var rows []*schema.Annotation
	var at []int
	for i, text := range req.GetJson() {
		row, err := annotation(text)
		if err != nil {
			receipts[i] = store.Receipt{Status: store.Rejected, Version: -1, Seq: -1, Err: err}
			continue
		}
		rows, at = append(rows, row), append(at, i)
	}
	got, token, err := l.ing.Annotate(ctx, rows)
	if err != nil {
		return nil, err
	}
	for i, r := range got {
		receipts[at[i]] = r
	}
	snap, err := l.lake.At(ctx, token)
	if err != nil {
		return nil, err
	}
	out := &rpcpb.AnnotateResponse{Version: snap.Version(), Snapshot: snap.Token(), Receipts: make([]*rpcpb.AppendReceipt, len(receipts))}
	for i, r := range receipts {
		out.Receipts[i] = receiptOut(r, false)
	}
	return out, nil
}

// annotation reads one annotation in native JSON.
func annotation(text []byte) (*schema.Annotation, error) {
	const op = "read annotation"
	v, err := canon.Parse(text, canon.Limits{Depth: maxNesting})
	if err != nil {
		return nil, fault.WrapAs(fault.Invalid, op, err)
	}
	row, faults := schema.AnnotationFromJSON(v)
	return row, faults.Err(op)
}

// Get implements the service.
func (l *lakeService) Get(req *rpcpb.GetRequest, stream rpcpb.Lake_GetServer) error {
	ctx := stream.Context()
	snap, err := l.reading(ctx, "get", req.GetSnapshot(), len(req.GetIds()))
	if err != nil {
		return err
	}
	for lo := 0; lo < len(req.GetIds()); lo += getAtATime {
		ids := req.GetIds()[lo:min(lo+getAtATime, len(req.GetIds()))]
		rows, err := snap.Get(ctx, ids)
		if err != nil {
			return err
		}
		for i, row := range rows {
			if err := sendRow(stream, uint32(lo+i), row); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendRow sends one trajectory in pieces.
func sendRow(stream rpcpb.Lake_GetServer, index uint32, row *schema.Trajectory) error {
	if row == nil {
		return stream.Send(&rpcpb.GetResponse{Index: index, Absent: true, Last: true})
	}
	text := schema.AppendJSON(nil, row)
	for {
		n := min(chunkBytes, len(text))
		if err := stream.Send(&rpcpb.GetResponse{Index: index, Json: text[:n], Last: n == len(text)}); err != nil {
			return err
		}
		if text = text[n:]; len(text) == 0 {
			return nil
		}
	}
}

// reading opens the snapshot of a call that reads n ids.
func (l *lakeService) reading(ctx context.Context, op, ref string, n int) (*store.Snapshot, error) {
	if err := l.role(RoleQuery, op); err != nil {
		return nil, err
	}
	if n > maxIDs {
		return nil, fault.New(fault.Exhausted, op, "%d ids in one call; the limit is %d", n, maxIDs).WithHint("ask in several calls")
	}
	return l.lake.At(ctx, ref)
}

// Lookup implements the service.
func (l *lakeService) Lookup(ctx context.Context, req *rpcpb.LookupRequest) (*rpcpb.LookupResponse, error) {
	snap, err := l.reading(ctx, "lookup", req.GetSnapshot(), len(req.GetIds()))
	if err != nil {
		return nil, err
	}
	seqs, err := snap.Lookup(ctx, req.GetIds())
	if err != nil {
		return nil, err
	}
	return &rpcpb.LookupResponse{RowSeqs: seqs, Version: snap.Version(), Snapshot: snap.Token()}, nil
}

// Stats implements the service.
func (l *lakeService) Stats(ctx context.Context, req *rpcpb.SnapshotRequest) (*rpcpb.JsonResponse, error) {
	snap, err := l.reading(ctx, "stats", req.GetSnapshot(), 0)
	if err != nil {
		return nil, err
	}
	report, err := query.Stats(ctx, snap)
	if err != nil {
		return nil, err
	}
	return jsonOf("stats", report)
}

func jsonOf(op string, v any) (*rpcpb.JsonResponse, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	return &rpcpb.JsonResponse{Json: text}, nil
}

// lineSender gathers JSON lines into messages.
type lineSender struct {
	send  func(*rpcpb.LinesResponse) error
	lines [][]byte
	bytes int
}

func (s *lineSender) add(text []byte) error {
	s.lines = append(s.lines, text)
	if s.bytes += len(text); s.bytes < linesBytes {
		return nil
	}
	return s.flush()
}

func (s *lineSender) flush() error {
	if len(s.lines) == 0 {
		return nil
	}
	err := s.send(&rpcpb.LinesResponse{Json: s.lines})
	s.lines, s.bytes = nil, 0
	return err
}

// Ids implements the service.
func (l *lakeService) Ids(req *rpcpb.IdsRequest, stream rpcpb.Lake_IdsServer) error {
	const op = "ids"
	ctx := stream.Context()
	snap, err := l.reading(ctx, op, req.GetSnapshot(), 0)
	if err != nil {
		return err
	}
	pred, err := predicate(req.GetWhere())
	if err != nil {
		return err
	}
	out := lineSender{send: stream.Send}
	for row, err := range query.IDs(ctx, snap, pred, req.GetColumns()) {
		if err != nil {
			return err
		}
		if err := out.add(row); err != nil {
			return err
		}
	}
	return out.flush()
}

// predicate parses a where; "" is none.
func predicate(text string) (*where.Expr, error) {
	if text == "" {
		return nil, nil
	}
	return where.Parse(text)
}

// Versions implements the service.
func (l *lakeService) Versions(_ *rpcpb.VersionsRequest, stream rpcpb.Lake_VersionsServer) error {
	const op = "versions"
	if err := l.role(RoleQuery, op); err != nil {
		return err
	}
	infos, err := l.lake.History(stream.Context())
	if err != nil {
		return err
	}
	out := lineSender{send: stream.Send}
	for _, v := range infos {
		text, err := json.Marshal(v)
		if err != nil {
			return fault.Wrap(op, err)
		}
		if err := out.add(text); err != nil {
			return err
		}
	}
	return out.flush()
}

// GetBlob implements the service.
func (l *lakeService) GetBlob(ctx context.Context, req *rpcpb.BlobRequest) (*rpcpb.Blob, error) {
	if err := l.role(RoleQuery, "get blob"); err != nil {
		return nil, err
	}
	body, err := l.lake.GetBlob(ctx, req.GetDigest())
	if err != nil {
		return nil, err
	}
	return &rpcpb.Blob{Digest: req.GetDigest(), Body: body}, nil
}

// PutBlob implements the service.
func (l *lakeService) PutBlob(ctx context.Context, req *rpcpb.Blob) (*rpcpb.BlobRequest, error) {
	const op = "put blob"
	if err := l.role(RoleIngest, op); err != nil {
		return nil, err
	}
	if len(req.GetBody()) > maxBlobBytes {
		return nil, fault.New(fault.Exhausted, op, "%d bytes; the limit is %d", len(req.GetBody()), maxBlobBytes)
	}
	digest, err := l.lake.PutBlob(ctx, req.GetBody())
	if err != nil {
		return nil, err
	}
	return &rpcpb.BlobRequest{Digest: digest}, nil
}

// adminService is the service Admin.
type adminService struct {
	rpcpb.UnimplementedAdminServer
	*Server
}

// Verify implements the service.
func (a *adminService) Verify(req *rpcpb.VerifyRequest, stream rpcpb.Admin_VerifyServer) error {
	const op = "verify"
	var mu sync.Mutex
	var sendErr error
	report, err := a.lake.Verify(stream.Context(), store.VerifyOptions{Deep: req.GetDeep(), Progress: func(done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if sendErr == nil {
			sendErr = stream.Send(&rpcpb.VerifyResponse{Done: done, Total: total})
		}
	}})
	if err = errors.Join(err, sendErr); err != nil {
		return err
	}
	text, err := json.Marshal(report)
	if err != nil {
		return fault.Wrap(op, err)
	}
	return stream.Send(&rpcpb.VerifyResponse{Report: text})
}

// RebuildIndex implements the service.
func (a *adminService) RebuildIndex(ctx context.Context, _ *rpcpb.RebuildIndexRequest) (*rpcpb.RebuildIndexResponse, error) {
	r, err := a.lake.RebuildIndex(ctx)
	if err != nil {
		return nil, err
	}
	return &rpcpb.RebuildIndexResponse{Version: r.Version, Rows: r.Rows, Seconds: r.Seconds}, nil
}

// Fold implements the service.
func (a *adminService) Fold(ctx context.Context, _ *rpcpb.FoldRequest) (*rpcpb.FoldResponse, error) {
	n, err := a.lake.Fold(ctx)
	if err != nil {
		return nil, err
	}
	return &rpcpb.FoldResponse{Folded: int64(n)}, nil
}

// allOf receives a stream of answers to its end.
func allOf[T any](recv func() (T, error), each func(T) error) error {
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := each(m); err != nil {
			return err
		}
	}
}
