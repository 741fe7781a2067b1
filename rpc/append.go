package rpc

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"runtime/debug"
	"time"

	"trajlake/ingest"
	"trajlake/rpc/rpcpb"
	"trajlake/schema/fault"
	"trajlake/store"
)

// groupBytes is how much of a stream is handed to one append while more is waiting.
const groupBytes = 32 << 20

// hugeRow is the size of a request from which on its memory is given back as soon
// as it is decoded.
const hugeRow = 64 << 20

// giveBack is after how many bytes of such a row the memory of its pieces is given
// back while it is received.
const giveBack = 24 << 20

// appendCall is one numbered request of a stream, decoded.
type appendCall struct {
	seq      uint64
	items    []ingest.Item
	explicit []bool // the row brought its own id
	bytes    int64  // held of the server's budget
}

// appendStream is one Append call: a reader decodes what arrives while the
// handler commits what came before.
type appendStream struct {
	s      *Server
	stream rpcpb.Lake_AppendServer
	ctx    context.Context
	cancel context.CancelCauseFunc
	calls  chan *appendCall
	seen   map[string]int64 // digests that earlier streams of the writer had receipts for
	row    []byte           // pieces of a large row so far; nil when it is over the limit
	total  uint64           // bytes of that row; 0 when there is none
	got    uint64           // of them, so far
	held   int64            // of the server's budget, for that row
	stall  *time.Timer
}

// Append implements the service.
func (l *lakeService) Append(stream rpcpb.Lake_AppendServer) error {
	const op = "append"
	if err := l.role(RoleIngest, op); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	a := &appendStream{s: l.Server, stream: stream, ctx: ctx, cancel: cancel, calls: make(chan *appendCall, 4), seen: map[string]int64{}}
	l.readers.Add(1)
	go func() {
		defer l.readers.Done()
		a.read()
	}()
	err := a.commit()
	if cause := context.Cause(ctx); cause != nil && err != nil && stream.Context().Err() == nil {
		err = cause // the reader gave up and says why
	}
	cancel(err)
	l.readers.Add(1)
	go func() { // what nobody will answer gives its bytes back; the reader ends when this call has
		defer l.readers.Done()
		for c := range a.calls {
			l.inflight.Release(c.bytes)
		}
	}()
	return err
}

// read receives and decodes until the client has no more; it closes calls.
func (a *appendStream) read() {
	defer close(a.calls)
	defer func() {
		if a.stall != nil {
			a.stall.Stop()
		}
		a.s.inflight.Release(a.held) // of a row that never came to its end
	}()
	defer func() {
		if p := recover(); p != nil {
			var err error
			a.s.recovered("append", p, &err)
			a.cancel(err)
		}
	}()
	for {
		req, err := a.stream.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				a.cancel(Fault("append", err))
			}
			return
		}
		c, err := a.decode(req)
		if err != nil {
			a.cancel(err)
			return
		}
		if c == nil {
			continue
		}
		select {
		case a.calls <- c:
		case <-a.ctx.Done():
			a.s.inflight.Release(c.bytes)
			return
		}
	}
}

// decode takes one message in; nil without an error is a message that completes nothing.
func (a *appendStream) decode(req *rpcpb.AppendRequest) (*appendCall, error) {
	if o := req.GetOpen(); o != nil {
		return nil, a.open(o)
	}
	c := &appendCall{seq: req.GetSeq()}
	rows := req.GetItems()
	if p := req.GetChunk(); p != nil {
		whole, done, err := a.piece(p)
		if !done || err != nil {
			return nil, err
		}
		if whole == nil {
			c.items, c.explicit = []ingest.Item{{Fault: tooLarge(p.GetTotal(), a.s.opt.MaxRowBytes)}}, []bool{true}
			return c, nil
		}
		rows = [][]byte{whole}
		c.bytes = int64(len(whole))
	} else {
		for _, r := range rows {
			c.bytes += int64(len(r))
		}
		if err := a.s.inflight.Acquire(a.ctx, min(c.bytes, a.s.opt.InFlightBytes)); err != nil {
			return nil, fault.WrapAs(fault.Cancelled, "append", err)
		}
	}
	c.bytes = min(c.bytes, a.s.opt.InFlightBytes)
	if c.bytes >= hugeRow {
		debug.FreeOSMemory() // of the pieces, before as much is decoded
	}
	c.items, c.explicit = decodeItems(rows)
	if c.bytes >= hugeRow {
		clear(rows)
		debug.FreeOSMemory() // else the message stays beside the row while that is written
	}
	return c, nil
}

func decodeItems(rows [][]byte) (items []ingest.Item, explicit []bool) {
	items, explicit = make([]ingest.Item, len(rows)), make([]bool, len(rows))
	for i, r := range rows {
		items[i], explicit[i] = decodeItem(r)
	}
	return items, explicit
}

// AppendRows implements the service.
func (l *lakeService) AppendRows(ctx context.Context, req *rpcpb.AppendRequest) (*rpcpb.AppendResponse, error) {
	const op = "append rows"
	if err := l.role(RoleIngest, op); err != nil {
		return nil, err
	}
	if req.GetChunk() != nil || req.GetOpen() != nil {
		return nil, fault.New(fault.Usage, op, "pieces of rows and sessions need a stream").WithHint("call Append")
	}
	var bytes int64
	for _, r := range req.GetItems() {
		bytes += int64(len(r))
	}
	if err := l.inflight.Acquire(ctx, bytes); err != nil {
		return nil, fault.WrapAs(fault.Cancelled, op, err)
	}
	defer l.inflight.Release(bytes)
	items, explicit := decodeItems(req.GetItems())
	receipts, err := l.ing.Append(ctx, items)
	if err != nil {
		return nil, err
	}
	resp := &rpcpb.AppendResponse{Seq: req.GetSeq(), Receipts: make([]*rpcpb.AppendReceipt, len(items))}
	for i, r := range receipts {
		resp.Receipts[i] = receiptOut(r, !explicit[i])
	}
	return resp, nil
}

// open takes in what earlier streams of the writer had receipts for.
func (a *appendStream) open(o *rpcpb.AppendOpen) error {
	settled := o.GetSettled()
	if len(settled)%32 != 0 {
		return fault.New(fault.Usage, "open append session "+cut(o.GetSession(), 100), "settled holds %d bytes, not whole digests of 32", len(settled)).WithField("settled")
	}
	for ; len(settled) > 0; settled = settled[32:] {
		a.seen[hex.EncodeToString(settled[:32])]++
	}
	return nil
}

// piece adds a piece of a large row; it returns the whole at the last one. Of a
// row over the limit nothing is kept: its whole is empty, which is rejected.
func (a *appendStream) piece(p *rpcpb.RowChunk) (whole []byte, done bool, err error) {
	const op = "append row in pieces"
	if a.total == 0 {
		if p.GetTotal() == 0 {
			return nil, false, fault.New(fault.Usage, op, "the first piece does not say how many bytes the row has")
		}
		if p.GetTotal() <= uint64(a.s.opt.MaxRowBytes) {
			if err := a.s.inflight.Acquire(a.ctx, int64(p.GetTotal())); err != nil {
				return nil, false, fault.WrapAs(fault.Cancelled, op, err)
			}
			a.held = int64(p.GetTotal())
			a.row = make([]byte, 0, p.GetTotal())
		}
		a.total, a.got = p.GetTotal(), 0
		a.stall = time.AfterFunc(a.s.opt.RowStall, func() {
			a.cancel(fault.New(fault.Cancelled, op, "no piece came for %v", a.s.opt.RowStall))
		})
	}
	a.stall.Reset(a.s.opt.RowStall)
	a.got += uint64(len(p.GetData()))
	if p.GetTotal() != a.total || a.got > a.total || (p.GetLast() && a.got != a.total) {
		return nil, false, fault.New(fault.Usage, op, "the pieces do not make the %d bytes that the first one announced", a.total)
	}
	if a.row != nil {
		a.row = append(a.row, p.GetData()...)
		if n := uint64(len(p.GetData())); a.total >= hugeRow && a.got/giveBack != (a.got-n)/giveBack {
			debug.FreeOSMemory() // of the pieces; pools hold what they were received in until the collection after next
		}
	}
	if !p.GetLast() {
		return nil, false, nil
	}
	a.stall.Stop()
	whole = a.row
	a.row, a.total, a.held = nil, 0, 0 // its bytes of the budget go with the call
	return whole, true, nil
}

func tooLarge(bytes uint64, limit int64) error {
	return fault.New(fault.Invalid, "append row", "it has %d bytes; the limit is %d", bytes, limit).
		WithHint("store oversized parts as blobs, or cut the trajectory into an episode of several")
}

// commit appends what the reader decoded, in order, and answers.
func (a *appendStream) commit() error {
	var session *ingest.Session
	for {
		group, err := a.next()
		if err != nil || group == nil {
			return err
		}
		if session == nil {
			if session, err = a.s.ing.Session(a.seen); err != nil {
				a.release(group)
				return err
			}
		}
		err = a.answer(session, group)
		a.release(group)
		if err != nil {
			return err
		}
	}
}

// next waits for a request and takes with it those that wait behind it. nil is
// the end of the stream.
func (a *appendStream) next() (group []*appendCall, err error) {
	var bytes int64
	select {
	case c, ok := <-a.calls:
		if !ok {
			return nil, context.Cause(a.ctx)
		}
		group, bytes = append(group, c), c.bytes
	case <-a.ctx.Done():
		return nil, context.Cause(a.ctx)
	case <-a.s.drain:
		select { // what was received is answered
		case c, ok := <-a.calls:
			if ok {
				return []*appendCall{c}, nil
			}
			return nil, context.Cause(a.ctx)
		default:
			return nil, shuttingDown("append")
		}
	}
	for bytes < groupBytes {
		select {
		case c, ok := <-a.calls:
			if !ok {
				return group, nil
			}
			group, bytes = append(group, c), bytes+c.bytes
			continue
		default:
		}
		break
	}
	return group, nil
}

// answer commits a group and sends one response for each of its requests.
func (a *appendStream) answer(session *ingest.Session, group []*appendCall) error {
	items := group[0].items
	if len(group) > 1 {
		items = nil
		for _, c := range group {
			items = append(items, c.items...)
		}
	}
	receipts, err := session.Append(a.ctx, items)
	if err != nil {
		return err
	}
	for _, c := range group {
		resp := &rpcpb.AppendResponse{Seq: c.seq, Receipts: make([]*rpcpb.AppendReceipt, len(c.items))}
		for i := range c.items {
			resp.Receipts[i] = receiptOut(receipts[i], !c.explicit[i])
		}
		receipts = receipts[len(c.items):]
		if err := a.stream.Send(resp); err != nil {
			return err
		}
	}
	return nil
}

func (a *appendStream) release(group []*appendCall) {
	for _, c := range group {
		a.s.inflight.Release(c.bytes)
		c.items = nil
	}
}

// receiptOut puts a receipt into a message; withDigest is for rows without an id.
func receiptOut(r store.Receipt, withDigest bool) *rpcpb.AppendReceipt {
	out := &rpcpb.AppendReceipt{Id: r.ID, Version: r.Version}
	switch r.Status {
	case store.Committed:
		out.Status = rpcpb.AppendReceipt_COMMITTED
	case store.Duplicate:
		out.Status = rpcpb.AppendReceipt_DUPLICATE
	default:
		out.Status = rpcpb.AppendReceipt_REJECTED
		out.Fault = faultOf(r.Err)
	}
	if withDigest {
		out.Digest = r.Digest
	}
	return out
}

// receiptIn is the inverse of receiptOut.
func receiptIn(r *rpcpb.AppendReceipt) store.Receipt {
	out := store.Receipt{ID: r.GetId(), Version: r.GetVersion(), Seq: -1, Digest: r.GetDigest()}
	switch r.GetStatus() {
	case rpcpb.AppendReceipt_COMMITTED:
		out.Status = store.Committed
	case rpcpb.AppendReceipt_DUPLICATE:
		out.Status = store.Duplicate
	default:
		out.Status = store.Rejected
		out.Err = errorOf(r.GetFault())
	}
	return out
}
