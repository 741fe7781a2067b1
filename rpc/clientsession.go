package rpc

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/ingest"
	"trajlake/rpc/rpcpb"
	"trajlake/schema/fault"
	"trajlake/store"
)

const (
	pieceBytes   = 4 << 20 // of a request, and of a piece of a large row
	settledBytes = 4 << 20 // of settled digests in one message; a multiple of 32
	maxIdle      = 16      // streams kept open between the calls of their sessions
)

// clientSession is ingest.AppendSession through a server: the stream is opened
// when it is needed, and a session whose stream was given up or broke opens
// another one with the digests that were answered, so that twins keep their numbers.
type clientSession struct {
	c       *Client
	stream  rpcpb.Lake_AppendClient
	cancel  context.CancelFunc
	seq     uint64
	settled []byte
}

// OpenSession implements ingest.Appender.
func (c *Client) OpenSession(context.Context) (ingest.AppendSession, error) {
	return &clientSession{c: c}, nil
}

// Append implements ingest.AppendSession: one call at a time.
func (s *clientSession) Append(ctx context.Context, items []ingest.Item) ([]store.Receipt, error) {
	const op = "append"
	receipts := make([]store.Receipt, len(items))
	var bodies [][]byte
	var at []int
	for i := range items {
		if err := items[i].Fault; err != nil || items[i].Row == nil {
			receipts[i] = rejectedHere(&items[i])
			continue
		}
		body, err := encodeItem(&items[i])
		if err != nil {
			receipts[i] = store.Receipt{ID: items[i].Row.TrajectoryID, Status: store.Rejected, Version: -1, Seq: -1, Err: err}
			continue
		}
		bodies, at = append(bodies, body), append(at, i)
	}
	if len(bodies) == 0 {
		return receipts, nil
	}
	if err := s.dial(); err != nil {
		return nil, Fault(op, err)
	}
	stop := context.AfterFunc(ctx, s.cancel)
	answers, err := s.exchange(bodies)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.hangUp()
		if ctx.Err() != nil {
			return nil, fault.WrapAs(fault.Cancelled, op, ctx.Err())
		}
		return nil, Fault(op, err)
	}
	for i, r := range answers {
		receipts[at[i]] = receiptIn(r)
		if r.GetId() == "" { // the server could not read it
			receipts[at[i]].ID = items[at[i]].Row.TrajectoryID
		}
		s.settled = append(s.settled, r.GetDigest()...)
	}
	s.park()
	return receipts, nil
}

func rejectedHere(it *ingest.Item) store.Receipt {
	r := store.Receipt{Status: store.Rejected, Version: -1, Seq: -1, Err: it.Fault}
	if it.Row != nil {
		r.ID = it.Row.TrajectoryID
	}
	if r.Err == nil {
		r.Err = fault.New(fault.Invalid, "append row", "no row")
	}
	return r
}

// dial makes sure of an open stream that no other call closes.
func (s *clientSession) dial() error {
	s.c.mu.Lock()
	if i := slices.Index(s.c.idle, s); i >= 0 {
		s.c.idle = slices.Delete(s.c.idle, i, i+1)
	}
	open := s.stream != nil
	s.c.mu.Unlock()
	if open {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := s.c.lake.Append(ctx)
	if err != nil {
		cancel()
		return err
	}
	s.stream, s.cancel, s.seq = stream, cancel, 0
	for rest := s.settled; len(rest) > 0; {
		n := min(settledBytes, len(rest))
		if err := stream.Send(&rpcpb.AppendRequest{Open: &rpcpb.AppendOpen{Settled: rest[:n]}}); err != nil {
			return s.whyClosed(err)
		}
		rest = rest[n:]
	}
	return nil
}

// exchange sends rows in requests of moderate size and gathers their receipts.
func (s *clientSession) exchange(bodies [][]byte) ([]*rpcpb.AppendReceipt, error) {
	var answers []*rpcpb.AppendReceipt
	received := make(chan error, 1)
	want := len(bodies)
	go func() {
		for len(answers) < want {
			resp, err := s.stream.Recv()
			if err != nil {
				received <- err
				return
			}
			answers = append(answers, resp.GetReceipts()...)
		}
		received <- nil
	}()
	sendErr := s.send(bodies)
	if sendErr != nil && !errors.Is(sendErr, io.EOF) {
		s.cancel() // else the receiver would wait for answers to what was not sent
	}
	err := <-received
	if errors.Is(err, io.EOF) {
		err = fault.New(fault.Unavailable, "append", "the server ended the stream").WithHint("send the rows again; nothing is lost or doubled")
	}
	if err == nil && len(answers) != want {
		err = fault.New(fault.Internal, "append", "%d receipts for %d rows", len(answers), want)
	}
	return answers, err
}

func (s *clientSession) send(bodies [][]byte) error {
	for len(bodies) > 0 {
		s.seq++
		if len(bodies[0]) > pieceBytes {
			if err := s.sendPieces(bodies[0]); err != nil {
				return err
			}
			bodies = bodies[1:]
			continue
		}
		n, bytes := 0, 0
		for n < len(bodies) && (n == 0 || bytes+len(bodies[n]) <= pieceBytes) {
			bytes += len(bodies[n])
			n++
		}
		if err := s.stream.Send(&rpcpb.AppendRequest{Seq: s.seq, Items: bodies[:n]}); err != nil {
			return err
		}
		bodies = bodies[n:]
	}
	return nil
}

func (s *clientSession) sendPieces(body []byte) error {
	total := uint64(len(body))
	for len(body) > 0 {
		n := min(pieceBytes, len(body))
		chunk := &rpcpb.RowChunk{Total: total, Data: body[:n], Last: n == len(body)}
		if err := s.stream.Send(&rpcpb.AppendRequest{Seq: s.seq, Chunk: chunk}); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

// whyClosed is the status of a stream on which sending failed with io.EOF.
func (s *clientSession) whyClosed(err error) error {
	if errors.Is(err, io.EOF) {
		if _, rerr := s.stream.Recv(); rerr != nil {
			err = rerr
		}
	}
	s.hangUp()
	return err
}

// park leaves the stream open for the session's next call; the one that was idle
// longest is given up when there are many.
func (s *clientSession) park() {
	s.c.mu.Lock()
	s.c.idle = append(s.c.idle, s)
	var oldest *clientSession
	if len(s.c.idle) > maxIdle {
		oldest, s.c.idle = s.c.idle[0], slices.Delete(s.c.idle, 0, 1)
		oldest.hangUp()
	}
	s.c.mu.Unlock()
}

// hangUp ends the stream; the session can open another one. It is called by the
// call that owns the stream, or under the client's lock while it is idle.
func (s *clientSession) hangUp() {
	if s.stream == nil {
		return
	}
	_ = s.stream.CloseSend()
	s.cancel()
	s.stream = nil
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// emptyRecord is a record of no rows.
func emptyRecord(sc *arrow.Schema) arrow.Record {
	b := array.NewRecordBuilder(memory.NewGoAllocator(), sc)
	defer b.Release()
	return b.NewRecord()
}
