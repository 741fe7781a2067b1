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

// aheadBatches is how many messages of a sequence are made while the one before is sent.
const aheadBatches = 2

// Small batches go together into one message where the client takes that: as many
// as make about togetherBytes, at most togetherMost.
const (
	togetherBytes = 1 << 20
	togetherMost  = 32
)

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
	Rows     int64        `json:"rows,omitempty"`   // of a batch that is one of several in a record
	Stream   string       `json:"stream,omitempty"`
	Run      string       `json:"run,omitempty"`
	AsOf     *replay.AsOf `json:"as_of,omitempty"`
	Dry      []string     `json:"dry,omitempty"`    // strata that had too few rows
	Waited   []string     `json:"waited,omitempty"` // what the batch had to wait for
}

// made is a message of a sequence, ready to be sent: a batch, or several small ones.
type made struct {
	rec   arrow.Record
	metas []BatchMeta // of the batches whose rows rec has, one after the other
	err   error
}

// several is the metadata of a record that holds more than one batch.
type several struct {
	Batches []BatchMeta `json:"batches"`
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
		p := producer{f: f, t: t, draw: draw}
		for t.Batches == 0 || p.drawn < t.Batches {
			m := p.next(ctx)
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

// producer makes the messages of a sequence.
type producer struct {
	f      *flightService
	t      *Ticket
	draw   func(ctx context.Context, position uint64) (*drawn, error)
	drawn  uint64 // batches so far
	bytes  int64  // of a batch, as the last ones were; 0 before the first
	failed error  // of a batch behind those of the last message
}

// next draws one batch, or as many small ones as go together, and fetches their rows at once.
func (p *producer) next(ctx context.Context) made {
	if p.failed != nil {
		return made{err: p.failed}
	}
	most := uint64(1)
	if p.t.Together && p.bytes > 0 {
		most = uint64(min(max(togetherBytes/p.bytes, 1), togetherMost))
	}
	if p.t.Batches > 0 {
		most = min(most, p.t.Batches-p.drawn)
	}
	var ds []*drawn
	for uint64(len(ds)) < most {
		d, err := p.draw(ctx, p.t.Position+p.drawn*max(p.t.Stride, 1))
		if err == nil && len(ds) > 0 && d.sampler != ds[0].sampler { // the next claim: it begins the next message
			break
		}
		if err != nil {
			p.failed = err
			break
		}
		ds = append(ds, d)
		p.drawn++
	}
	if len(ds) == 0 {
		return made{err: p.failed}
	}
	m := made{metas: make([]BatchMeta, len(ds))}
	all := *ds[0]
	batch := *all.batch
	if len(ds) > 1 {
		batch.Slots = nil
	}
	for i, d := range ds {
		m.metas[i] = d.meta()
		if len(ds) > 1 {
			m.metas[i].Rows = int64(len(d.sampler.Places(d.batch)))
			batch.Slots = append(batch.Slots, d.batch.Slots...)
		}
	}
	all.batch = &batch
	rec, err := all.record(ctx, nil)
	if err != nil {
		return made{err: err}
	}
	m.rec = plain(rec)
	p.bytes = max(recordBytes(rec)/int64(len(ds)), 1)
	return m
}

// plain is a record without metadata: the schema of a sequence names no batch.
func plain(rec arrow.Record) arrow.Record {
	return array.NewRecord(arrow.NewSchema(rec.Schema().Fields(), nil), rec.Columns(), rec.NumRows())
}

// sendBatch writes one batch, in pieces where it is too large for one record, or
// several small ones.
func (f *flightService) sendBatch(out *frameWriter, w *ipc.Writer, m made) error {
	if len(m.metas) > 1 {
		text, err := json.Marshal(several{m.metas})
		if err != nil {
			return err
		}
		out.meta = text
		return w.Write(m.rec)
	}
	meta := m.metas[0]
	parts := cutRecord(m.rec, f.opt.MaxBatchBytes)
	for i, part := range parts {
		if len(parts) > 1 {
			meta.Piece, meta.Pieces = i, len(parts)
		}
		text, err := json.Marshal(meta)
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
