package rpc

import (
	"context"
	"encoding/json"
	"iter"

	"trajlake/replay"
	"trajlake/rpc/rpcpb"
	"trajlake/schema/fault"
)

// answer reads the JSON of an answer into v.
func answer(op string, resp *rpcpb.JsonResponse, err error, v any) error {
	if err != nil {
		return Fault(op, err)
	}
	return fault.WrapAs(fault.Internal, op, json.Unmarshal(resp.GetJson(), v))
}

// CreateStream stores a stream; spec is YAML or JSON, not filled in.
func (c *Client) CreateStream(ctx context.Context, name string, spec []byte) (out StreamInfo, err error) {
	resp, err := c.replay.CreateStream(ctx, &rpcpb.CreateStreamRequest{Name: name, Spec: spec})
	return out, answer("create stream "+name, resp, err, &out)
}

// Stream shows a stream.
func (c *Client) Stream(ctx context.Context, name string) (out StreamInfo, err error) {
	resp, err := c.replay.GetStream(ctx, &rpcpb.StreamRequest{Name: name})
	return out, answer("show stream "+name, resp, err, &out)
}

// Streams lists the streams by name.
func (c *Client) Streams(ctx context.Context) (out []StreamLine, err error) {
	const op = "list streams"
	stream, err := c.replay.ListStreams(ctx, &rpcpb.ListStreamsRequest{})
	if err != nil {
		return nil, Fault(op, err)
	}
	for line, err := range lines(op, stream.Recv, nil) {
		if err != nil {
			return nil, err
		}
		var s StreamLine
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, fault.WrapAs(fault.Internal, op, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// DrawStream draws one batch of a stream without its payload.
func (c *Client) DrawStream(ctx context.Context, r replay.BatchRequest) (out BatchInfo, err error) {
	resp, err := c.replay.Draw(ctx, &rpcpb.DrawRequest{Stream: r.Stream, Run: r.Run, Position: r.Position, Rank: int32(r.Rank), World: int32(r.World),
		WaitMs: uint32(r.Wait.Milliseconds())})
	if err != nil {
		return out, Fault("", err)
	}
	return out, fault.WrapAs(fault.Internal, "draw batch", json.Unmarshal(resp.GetJson(), &out))
}

// Explain tells what a stream, or a spec where stream is "", could draw.
func (c *Client) Explain(ctx context.Context, stream string, spec []byte, ref string) (out json.RawMessage, err error) {
	resp, err := c.replay.Explain(ctx, &rpcpb.ExplainRequest{Stream: stream, Spec: spec, Snapshot: ref})
	return out, answer("explain", resp, err, &out)
}

// Ledger streams the rows of the ledger that satisfy a filter.
func (c *Client) Ledger(ctx context.Context, f replay.LedgerFilter) iter.Seq2[replay.LedgerLine, error] {
	const op = "read ledger"
	return func(yield func(replay.LedgerLine, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.replay.Ledger(ctx, &rpcpb.LedgerRequest{Stream: f.Stream, Run: f.Run, Step: f.Step, Trajectory: f.Trajectory,
			Batch: f.Batch, Snapshot: f.At, Kind: f.Kind, Superseded: f.Superseded})
		var recv func() (*rpcpb.LinesResponse, error)
		if err == nil {
			recv = stream.Recv
		}
		for line, err := range lines(op, recv, err) {
			var l replay.LedgerLine
			if err == nil {
				err = fault.WrapAs(fault.Internal, op, json.Unmarshal(line, &l))
			}
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}

// LedgerDiff compares what two runs were trained on.
func (c *Client) LedgerDiff(ctx context.Context, runA, runB string) (out replay.LedgerDiff, err error) {
	resp, err := c.replay.LedgerDiff(ctx, &rpcpb.LedgerDiffRequest{RunA: runA, RunB: runB})
	return out, answer("compare runs", resp, err, &out)
}
