package rpc

import (
	"context"
	"encoding/json"
	"iter"
	"sync"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"trajlake/query"
	"trajlake/rpc/rpcpb"
	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
	"trajlake/store"
)

// Client speaks to a Server. It is safe for concurrent use. Its errors have the
// kinds, fields and hints that the server gave them.
type Client struct {
	addr   string
	conn   *grpc.ClientConn
	lake   rpcpb.LakeClient
	admin  rpcpb.AdminClient
	replay rpcpb.ReplayClient
	flight flight.FlightServiceClient
	info   *rpcpb.InfoResponse

	mu   sync.Mutex
	idle []*clientSession // open streams that no call uses, the oldest first
}

// Dial connects to the server at addr and asks what it serves; ctx bounds that.
func Dial(ctx context.Context, addr string, more ...grpc.DialOption) (*Client, error) {
	op := "connect to " + addr
	opts := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<31-1), grpc.MaxCallSendMsgSize(1<<31-1)),
		grpc.WithReadBufferSize(1 << 20), grpc.WithWriteBufferSize(1 << 20),
		grpc.WithInitialWindowSize(64 << 20), grpc.WithInitialConnWindowSize(64 << 20),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.WithNoProxy(),
	}, more...)
	conn, err := grpc.NewClient(addr, opts...)
	if err != nil {
		return nil, fault.WrapAs(fault.Usage, op, err)
	}
	c := &Client{addr: addr, conn: conn, lake: rpcpb.NewLakeClient(conn), admin: rpcpb.NewAdminClient(conn), replay: rpcpb.NewReplayClient(conn), flight: flight.NewFlightServiceClient(conn)}
	if c.info, err = c.lake.Info(ctx, &rpcpb.InfoRequest{}); err != nil {
		_ = conn.Close()
		return nil, Fault(op, err)
	}
	return c, nil
}

// Close ends all streams and the connection. Idempotent.
func (c *Client) Close() error {
	c.mu.Lock()
	idle := c.idle
	c.idle = nil
	c.mu.Unlock()
	for _, s := range idle {
		s.hangUp()
	}
	if err := c.conn.Close(); err != nil && Fault("", err) != nil && !fault.Is(Fault("", err), fault.Cancelled) {
		return Fault("close connection to "+c.addr, err)
	}
	return nil
}

// Head is the newest version of the lake and its token.
func (c *Client) Head(ctx context.Context) (version int64, token string, err error) {
	i, err := c.lake.Info(ctx, &rpcpb.InfoRequest{})
	if err != nil {
		return 0, "", Fault("ask "+c.addr, err)
	}
	return i.GetVersion(), i.GetSnapshot(), nil
}

// LakeID is the id of the lake that the server serves.
func (c *Client) LakeID() string { return c.info.GetLakeId() }

// Annotate implements ingest.Appender.
func (c *Client) Annotate(ctx context.Context, rows []*schema.Annotation) (receipts []store.Receipt, token string, err error) {
	const perCall = 5000
	for len(rows) > 0 || token == "" {
		n := min(perCall, len(rows))
		req := &rpcpb.AnnotateRequest{Json: make([][]byte, n)}
		for i, row := range rows[:n] {
			req.Json[i] = schema.AppendAnnotationJSON(nil, row)
		}
		resp, err := c.lake.Annotate(ctx, req)
		if err != nil {
			return receipts, token, Fault("annotate", err)
		}
		for _, r := range resp.GetReceipts() {
			receipts = append(receipts, receiptIn(r))
		}
		rows, token = rows[n:], resp.GetSnapshot()
	}
	return receipts, token, nil
}

// Get fetches trajectories by id, nil where there is none. ref is a version, a
// token, or "" for the head.
func (c *Client) Get(ctx context.Context, ids []string, ref string) ([]*schema.Trajectory, error) {
	const op = "get"
	stream, err := c.lake.Get(ctx, &rpcpb.GetRequest{Ids: ids, Snapshot: ref})
	if err != nil {
		return nil, Fault(op, err)
	}
	out := make([]*schema.Trajectory, len(ids))
	var text []byte
	err = allOf(stream.Recv, func(r *rpcpb.GetResponse) error {
		text = append(text, r.GetJson()...)
		if !r.GetLast() || r.GetAbsent() {
			return nil
		}
		v, err := canon.Parse(text, canon.Limits{})
		if err != nil {
			return fault.WrapAs(fault.Internal, op, err)
		}
		row, faults := schema.FromJSON(v)
		if err := faults.Err(op); err != nil {
			return fault.WrapAs(fault.Internal, op, err)
		}
		if int(r.GetIndex()) >= len(out) {
			return fault.New(fault.Internal, op, "the server answered for an id that was not asked")
		}
		out[r.GetIndex()], text = row, text[:0]
		return nil
	})
	return out, Fault(op, err)
}

// Lookup gives the places of trajectories, -1 where there is none.
func (c *Client) Lookup(ctx context.Context, ids []string, ref string) ([]int64, error) {
	resp, err := c.lake.Lookup(ctx, &rpcpb.LookupRequest{Ids: ids, Snapshot: ref})
	return resp.GetRowSeqs(), Fault("lookup", err)
}

// Stats is query.Stats at the server.
func (c *Client) Stats(ctx context.Context, ref string) (*query.StatsReport, error) {
	resp, err := c.lake.Stats(ctx, &rpcpb.SnapshotRequest{Snapshot: ref})
	if err != nil {
		return nil, Fault("stats", err)
	}
	out := new(query.StatsReport)
	return out, fault.Wrap("stats", json.Unmarshal(resp.GetJson(), out))
}

// lines receives JSON lines.
func lines(op string, recv func() (*rpcpb.LinesResponse, error), err error) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for err == nil {
			var m *rpcpb.LinesResponse
			if m, err = recv(); err != nil {
				break
			}
			for _, line := range m.GetJson() {
				if !yield(line, nil) {
					return
				}
			}
		}
		if e := Fault(op, err); e != nil && !isEOF(e) {
			yield(nil, e)
		}
	}
}

// IDs streams one JSON object for each trajectory that satisfies where, in lake
// order; columns adds further ones to trajectory_id, content_hash and version.
func (c *Client) IDs(ctx context.Context, where string, columns []string, ref string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.lake.Ids(ctx, &rpcpb.IdsRequest{Where: where, Columns: columns, Snapshot: ref})
		var recv func() (*rpcpb.LinesResponse, error)
		if err == nil {
			recv = stream.Recv
		}
		lines("ids", recv, err)(yield)
	}
}

// History lists the versions, oldest first.
func (c *Client) History(ctx context.Context) ([]store.VersionInfo, error) {
	const op = "versions"
	stream, err := c.lake.Versions(ctx, &rpcpb.VersionsRequest{})
	if err != nil {
		return nil, Fault(op, err)
	}
	var out []store.VersionInfo
	for line, err := range lines(op, stream.Recv, nil) {
		if err != nil {
			return nil, err
		}
		var v store.VersionInfo
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, fault.Wrap(op, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// Sample draws a batch without its payload. spec is YAML or JSON; ref, when set,
// stands in for the spec's snapshot.
func (c *Client) Sample(ctx context.Context, spec []byte, position uint64, ref string) (*BatchInfo, error) {
	resp, err := c.lake.Sample(ctx, &rpcpb.SampleRequest{Spec: spec, Position: position, Snapshot: ref})
	if err != nil {
		return nil, Fault("sample", err)
	}
	out := new(BatchInfo)
	return out, fault.Wrap("sample", json.Unmarshal(resp.GetJson(), out))
}

// Fetch streams the record batches of a ticket: one for a batch that is not too
// large, many for a scan. Each is valid until the next one is asked for.
func (c *Client) Fetch(ctx context.Context, t *Ticket) iter.Seq2[arrow.Record, error] {
	op := "fetch " + t.Kind
	return func(yield func(arrow.Record, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		text, err := json.Marshal(t)
		if err != nil {
			yield(nil, fault.Wrap(op, err))
			return
		}
		stream, err := c.flight.DoGet(ctx, &flight.Ticket{Ticket: text})
		if err != nil {
			yield(nil, Fault(op, err))
			return
		}
		r, err := flight.NewRecordReader(stream)
		if err != nil {
			yield(nil, Fault(op, err))
			return
		}
		defer r.Release()
		any := false
		for r.Next() {
			any = true
			if !yield(r.Record(), nil) {
				return
			}
		}
		if err := r.Err(); err != nil && !isEOF(err) {
			yield(nil, Fault(op, err))
			return
		}
		if !any {
			yield(emptyRecord(r.Schema()), nil)
		}
	}
}

// Verify checks the lake at the server; progress may be nil.
func (c *Client) Verify(ctx context.Context, o store.VerifyOptions) (*store.Report, error) {
	const op = "verify"
	stream, err := c.admin.Verify(ctx, &rpcpb.VerifyRequest{Deep: o.Deep})
	if err != nil {
		return nil, Fault(op, err)
	}
	var out *store.Report
	err = allOf(stream.Recv, func(r *rpcpb.VerifyResponse) error {
		if r.GetReport() != nil {
			out = new(store.Report)
			return json.Unmarshal(r.GetReport(), out)
		}
		if o.Progress != nil {
			o.Progress(r.GetDone(), r.GetTotal())
		}
		return nil
	})
	return out, Fault(op, err)
}

// RebuildIndex makes the server's index anew.
func (c *Client) RebuildIndex(ctx context.Context) (store.RebuildResult, error) {
	r, err := c.admin.RebuildIndex(ctx, &rpcpb.RebuildIndexRequest{})
	return store.RebuildResult{Version: r.GetVersion(), Rows: r.GetRows(), Seconds: r.GetSeconds()}, Fault("rebuild index", err)
}

// Fold rewrites small files into larger ones and says how many it took.
func (c *Client) Fold(ctx context.Context) (int, error) {
	r, err := c.admin.Fold(ctx, &rpcpb.FoldRequest{})
	return int(r.GetFolded()), Fault("fold", err)
}

// GetBlob fetches a content-addressed object.
func (c *Client) GetBlob(ctx context.Context, digest string) ([]byte, error) {
	r, err := c.lake.GetBlob(ctx, &rpcpb.BlobRequest{Digest: digest})
	return r.GetBody(), Fault("get blob "+digest, err)
}

// PutBlob stores a content-addressed object and gives its digest.
func (c *Client) PutBlob(ctx context.Context, body []byte) (string, error) {
	r, err := c.lake.PutBlob(ctx, &rpcpb.Blob{Body: body})
	return r.GetDigest(), Fault("put blob", err)
}
