package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/flight"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"google.golang.org/grpc"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// Kinds of a Ticket.
const (
	TicketBatch   = "batch"   // one batch of a spec
	TicketReplay  = "replay"  // batches of a spec, one after the other
	TicketStream  = "stream"  // batches of a named stream, one after the other
	TicketRefetch = "refetch" // a batch that the ledger knows, by its id
	TicketScan    = "scan"    // rows of a table
)

// maxTicketBytes bounds a ticket: a spec is a page of text.
const maxTicketBytes = 1 << 20

// scanBytes is the size of a scan's record batches, about.
const scanBytes = 2 << 20

// Ticket is what a Flight client asks DoGet for, as JSON.
type Ticket struct {
	Kind     string `json:"kind"`               // one of the kinds above
	Snapshot string `json:"snapshot,omitempty"` // version or token; "" = what the spec says, or the head

	// Of a batch.
	Spec     json.RawMessage `json:"spec,omitempty"` // as JSON, or a string that holds YAML
	Position uint64          `json:"position,omitempty"`
	Rank     int             `json:"rank,omitempty"`
	World    int             `json:"world,omitempty"` // 0 = 1

	// Of a sequence of batches.
	Stride  uint64 `json:"stride,omitempty"`  // from one position to the next; 0 = 1
	Batches uint64 `json:"batches,omitempty"` // 0 = until the client goes
	// Together lets several small batches come in one record, whose metadata has their
	// own under "batches", each with its rows.
	Together bool `json:"together,omitempty"`

	// Of a named stream, with position, rank and world.
	Stream string `json:"stream,omitempty"`
	Run    string `json:"run,omitempty"`
	Step   *int64 `json:"step,omitempty"`           // of the trainer
	Policy *int64 `json:"policy_version,omitempty"` // of the trainer
	WaitMS int64  `json:"wait_ms,omitempty"`        // how long a batch may wait for data

	BatchID string `json:"batch_id,omitempty"` // of a refetch

	// Of a scan.
	Table   string   `json:"table,omitempty"` // "" = trajectories
	Columns []string `json:"columns,omitempty"`
	Where   string   `json:"where,omitempty"`
}

// parseTicket reads a ticket; unknown keys are refused.
func parseTicket(data []byte) (*Ticket, error) {
	const op = "read ticket"
	if len(data) > maxTicketBytes {
		return nil, fault.New(fault.Usage, op, "%d bytes; the limit is %d", len(data), maxTicketBytes)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	t := new(Ticket)
	if err := d.Decode(t); err != nil {
		return nil, fault.WrapAs(fault.Usage, op, err).(*fault.Error).
			WithHint(`a ticket is JSON: {"kind":"batch","spec":{…},"position":0} or {"kind":"scan","table":"trajectories","columns":[…],"where":"…"}`)
	}
	switch t.Kind {
	case TicketBatch, TicketReplay, TicketStream, TicketRefetch, TicketScan:
		return t, nil
	}
	return nil, fault.New(fault.Usage, op, "unknown kind %q", t.Kind).WithField("kind").WithHint("batch, replay, stream, refetch or scan")
}

// flightService is the Flight side of the port.
type flightService struct {
	flight.BaseFlightServer
	*Server
}

// DoGet serves a batch, a sequence of batches, or a scan.
func (f *flightService) DoGet(tkt *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	t, err := parseTicket(tkt.GetTicket())
	if err != nil {
		return err
	}
	switch t.Kind {
	case TicketScan:
		return f.scan(stream, t)
	case TicketReplay:
		spec := specText(t.Spec)
		return f.sequence(stream, t, func(ctx context.Context, position uint64) (*drawn, error) {
			d, err := f.draw(ctx, spec, position, t.Snapshot, t.Rank, t.World)
			if err == nil {
				t.Snapshot = d.batch.Snapshot // the ones that follow are drawn from the same
			}
			return d, err
		})
	case TicketStream:
		req := request(t)
		return f.sequence(stream, t, func(ctx context.Context, position uint64) (*drawn, error) {
			req := req
			req.Position = position
			return f.drawStream(ctx, req)
		})
	case TicketRefetch:
		t.Batches = 1
		return f.sequence(stream, t, func(ctx context.Context, _ uint64) (*drawn, error) { return f.refetch(ctx, t.BatchID) })
	}
	return f.batch(stream, t)
}

// batch draws one batch and sends it, as one record batch if it is not larger
// than that is good for.
func (f *flightService) batch(stream grpc.ServerStream, t *Ticket) error {
	ctx := stream.Context()
	d, err := f.draw(ctx, specText(t.Spec), t.Position, t.Snapshot, t.Rank, t.World)
	if err != nil {
		return err
	}
	rec, err := d.record(ctx, nil)
	if err != nil {
		return err
	}
	w := recordWriter(stream, rec.Schema())
	if rec.NumRows() == 0 { // the slice of a rank that gets nothing: the schema goes alone
		return w.Close()
	}
	for _, part := range cutRecord(rec, f.opt.MaxBatchBytes) {
		if err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Close()
}

// specText is the text of a spec in a ticket: the JSON itself, or the string in it.
func specText(raw json.RawMessage) []byte {
	var yaml string
	if json.Unmarshal(raw, &yaml) == nil {
		return []byte(yaml)
	}
	return raw
}

// recordWriter writes records of a schema to a Flight stream without copying them.
func recordWriter(stream grpc.ServerStream, sc *arrow.Schema) *ipc.Writer {
	return ipc.NewWriterWithPayloadWriter(&frameWriter{stream: stream}, ipc.WithSchema(sc), ipc.WithAllocator(memory.NewGoAllocator()))
}

// cutRecord cuts a record into pieces of about limit bytes, at least a row each.
func cutRecord(rec arrow.Record, limit int64) []arrow.Record {
	size := recordBytes(rec)
	if size <= limit || rec.NumRows() < 2 {
		return []arrow.Record{rec}
	}
	pieces := min((size+limit-1)/limit, rec.NumRows())
	step := (rec.NumRows() + pieces - 1) / pieces
	var out []arrow.Record
	for lo := int64(0); lo < rec.NumRows(); lo += step {
		out = append(out, rec.NewSlice(lo, min(lo+step, rec.NumRows())))
	}
	return out
}

// recordBytes is the size of a record's buffers.
func recordBytes(rec arrow.Record) (n int64) {
	var of func(d arrow.ArrayData)
	of = func(d arrow.ArrayData) {
		for _, b := range d.Buffers() {
			if b != nil {
				n += int64(b.Len())
			}
		}
		for _, c := range d.Children() {
			of(c)
		}
	}
	for _, c := range rec.Columns() {
		of(c.Data())
	}
	return n
}

// scan streams the rows that a ticket asks for.
func (f *flightService) scan(stream grpc.ServerStream, t *Ticket) error {
	ctx := stream.Context()
	snap, opt, err := f.scanOptions(ctx, t)
	if err != nil {
		return err
	}
	var w *ipc.Writer
	for rec, err := range snap.Scan(ctx, opt) {
		if err != nil {
			return err
		}
		if f.draining() {
			return shuttingDown("scan")
		}
		if w == nil {
			w = recordWriter(stream, withSnapshot(rec.Schema(), snap))
		}
		if err := w.Write(rec); err != nil {
			return err
		}
	}
	if w == nil { // no row: the schema goes alone
		sc, err := scanSchema(ctx, snap, opt)
		if err != nil {
			return err
		}
		w = recordWriter(stream, withSnapshot(sc, snap))
	}
	return w.Close()
}

// scanSchema is the schema of a scan's records.
func scanSchema(ctx context.Context, snap *store.Snapshot, opt store.ScanOptions) (*arrow.Schema, error) {
	if opt.Table == nil || opt.Table == schema.Trajectories {
		rec, err := snap.Gather(ctx, nil, opt.Columns)
		if err != nil {
			return nil, err
		}
		return rec.Schema(), nil
	}
	var fields []arrow.Field
	for _, c := range opt.Table.Columns {
		if opt.Columns == nil {
			fields = append(fields, schema.ArrowField(c))
		}
	}
	for _, name := range opt.Columns {
		c := opt.Table.Column(name)
		if c == nil {
			return nil, fault.New(fault.Usage, "scan "+opt.Table.Name, "there is no column %q", name).WithField(name)
		}
		fields = append(fields, schema.ArrowField(c))
	}
	return arrow.NewSchema(fields, nil), nil
}

// scanOptions opens what a scan ticket names.
func (f *flightService) scanOptions(ctx context.Context, t *Ticket) (*store.Snapshot, store.ScanOptions, error) {
	const op = "scan"
	opt := store.ScanOptions{Columns: t.Columns, MaxBytes: scanBytes}
	if err := f.role(RoleQuery, op); err != nil {
		return nil, opt, err
	}
	if t.Table != "" {
		if opt.Table = schema.TableByName(t.Table); opt.Table == nil {
			return nil, opt, fault.New(fault.NotFound, op, "there is no table %q", t.Table).WithField("table").WithHint("trajectories, annotations, tensors or ledger")
		}
	}
	var err error
	if opt.Where, err = predicate(t.Where); err != nil {
		return nil, opt, err
	}
	snap, err := f.lake.At(ctx, t.Snapshot)
	return snap, opt, err
}

// withSnapshot names the snapshot in a schema's metadata.
func withSnapshot(sc *arrow.Schema, snap *store.Snapshot) *arrow.Schema {
	meta := sc.Metadata()
	md := arrow.NewMetadata(
		append(append([]string(nil), meta.Keys()...), "version", "snapshot"),
		append(append([]string(nil), meta.Values()...), strconv.FormatInt(snap.Version(), 10), snap.Token()))
	return arrow.NewSchema(sc.Fields(), &md)
}

// ticketOf is the ticket that a descriptor names: a table's path, or a ticket as the command.
func ticketOf(d *flight.FlightDescriptor) (*Ticket, error) {
	if d.GetType() == flight.DescriptorCMD {
		return parseTicket(d.GetCmd())
	}
	if p := d.GetPath(); len(p) == 1 {
		return &Ticket{Kind: TicketScan, Table: p[0]}, nil
	}
	return nil, fault.New(fault.NotFound, "find flight", "no flight has this descriptor").WithHint("a path of one table's name, or a ticket as command")
}

// GetFlightInfo tells the schema of a scan and the ticket that fetches it, pinned
// to a snapshot. Batches are drawn when they are fetched: their schema comes with them.
func (f *flightService) GetFlightInfo(ctx context.Context, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	t, err := ticketOf(d)
	if err != nil {
		return nil, err
	}
	return f.info(ctx, d, t)
}

func (f *flightService) info(ctx context.Context, d *flight.FlightDescriptor, t *Ticket) (*flight.FlightInfo, error) {
	out := &flight.FlightInfo{FlightDescriptor: d, TotalRecords: -1, TotalBytes: -1}
	if t.Kind == TicketScan {
		snap, opt, err := f.scanOptions(ctx, t)
		if err != nil {
			return nil, err
		}
		sc, err := scanSchema(ctx, snap, opt)
		if err != nil {
			return nil, err
		}
		out.Schema = flight.SerializeSchema(withSnapshot(sc, snap), memory.NewGoAllocator())
		t.Snapshot = snap.Token()
		if table := opt.Table; opt.Where == nil {
			if table == nil {
				table = schema.Trajectories
			}
			out.TotalRecords = snap.Count(table)
		}
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, fault.Wrap("find flight", err)
	}
	out.Endpoint = []*flight.FlightEndpoint{{Ticket: &flight.Ticket{Ticket: text}}}
	return out, nil
}

// GetSchema tells the schema of a scan.
func (f *flightService) GetSchema(ctx context.Context, d *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	info, err := f.GetFlightInfo(ctx, d)
	if err != nil {
		return nil, err
	}
	if info.GetSchema() == nil {
		return nil, fault.New(fault.Unsupported, "get schema", "a batch's schema comes with the batch")
	}
	return &flight.SchemaResult{Schema: info.GetSchema()}, nil
}

// ListFlights lists the four tables at the head.
func (f *flightService) ListFlights(_ *flight.Criteria, stream flight.FlightService_ListFlightsServer) error {
	for _, t := range schema.Tables() {
		d := &flight.FlightDescriptor{Type: flight.DescriptorPATH, Path: []string{t.Name}}
		info, err := f.info(stream.Context(), d, &Ticket{Kind: TicketScan, Table: t.Name})
		if err != nil {
			return err
		}
		if err := stream.Send(info); err != nil {
			return err
		}
	}
	return nil
}
