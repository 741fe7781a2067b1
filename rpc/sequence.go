package rpc

import (
	"context"
	"encoding/json"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"google.golang.org/grpc"

	"trajlake/replay"
)

// aheadBatches is how many batches of a sequence are made while the one before is sent.
const aheadBatches = 2

// BatchMeta says which batch a record is. It travels as JSON: as app_metadata of
// the record in a sequence, and as metadata of the schema where a ticket asks for one batch.
type BatchMeta struct {
	BatchID  string       `json:"batch_id"`
	Position uint64       `json:"position"`
	Version  int64        `json:"version"`
	Snapshot string       `json:"snapshot"`
	SpecHash string       `json:"spec_hash"`
	Units    int          `json:"units"`            // of the whole batch; 0: nothing can be drawn at all
	Piece    int          `json:"piece,omitempty"`  // a batch above 64 MB comes in pieces, counted from 0
	Pieces   int          `json:"pieces,omitempty"` // 0 and absent: the batch is whole
	Stream   string       `json:"stream,omitempty"`
	Run      string       `json:"run,omitempty"`
	AsOf     *replay.AsOf `json:"as_of,omitempty"`
	Dry      []string     `json:"dry,omitempty"`    // strata that had too few rows
	Waited   []string     `json:"waited,omitempty"` // what the batch had to wait for
}

// made is a batch of a sequence, ready to be sent.
type made struct {
	rec  arrow.Record
	meta BatchMeta
	err  error
}

// sequence sends the batches of a ticket one after the other, in one stream of
// records of one schema, and makes the next ones meanwhile. It ends after t.Batches, when
// the client goes or the server drains, or with the error of a batch that cannot be made.
func (f *flightService) sequence(stream grpc.ServerStream, t *Ticket, draw func(ctx context.Context, position uint64) (*drawn, error)) error {
	ctx, cancel := context.WithCancel(stream.Context())
	ready := make(chan made, aheadBatches-1)
	done := make(chan struct{})
	defer func() {
		cancel()
		<-done
	}()
	go func() {
		defer close(done)
		defer close(ready)
		stride := max(t.Stride, 1)
		for i := uint64(0); t.Batches == 0 || i < t.Batches; i++ {
			m := f.make(ctx, t.Position+i*stride, draw)
			select {
			case ready <- m:
			case <-ctx.Done():
				return
			}
			if m.err != nil {
				return
			}
		}
	}()
	out := &frameWriter{stream: stream}
	var w *ipc.Writer
	for m := range ready {
		if m.err != nil {
			return m.err
		}
		if w == nil {
			w = ipc.NewWriterWithPayloadWriter(out, ipc.WithSchema(m.rec.Schema()), ipc.WithAllocator(memory.NewGoAllocator()))
		}
		if err := f.sendBatch(out, w, m); err != nil {
			return err
		}
		if f.draining() {
			return shuttingDown("stream batches")
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if w == nil {
		return nil
	}
	return w.Close()
}

// make draws a batch and fetches its rows.
func (f *flightService) make(ctx context.Context, position uint64, draw func(context.Context, uint64) (*drawn, error)) made {
	d, err := draw(ctx, position)
	if err != nil {
		return made{err: err}
	}
	rec, err := d.record(ctx, nil)
	if err != nil {
		return made{err: err}
	}
	return made{rec: plain(rec), meta: d.meta()}
}

// plain is a record without metadata: the schema of a sequence names no batch.
func plain(rec arrow.Record) arrow.Record {
	return array.NewRecord(arrow.NewSchema(rec.Schema().Fields(), nil), rec.Columns(), rec.NumRows())
}

// sendBatch writes one batch, in pieces where it is too large for one record.
func (f *flightService) sendBatch(out *frameWriter, w *ipc.Writer, m made) error {
	parts := cutRecord(m.rec, f.opt.MaxBatchBytes)
	for i, part := range parts {
		if len(parts) > 1 {
			m.meta.Piece, m.meta.Pieces = i, len(parts)
		}
		text, err := json.Marshal(m.meta)
		if err != nil {
			return err
		}
		out.meta = text
		if err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}
