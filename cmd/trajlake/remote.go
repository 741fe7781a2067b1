package main

import (
	"context"
	"encoding/json"
	"iter"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"

	"trajlake/ingest"
	"trajlake/query"
	"trajlake/replay"
	"trajlake/rpc"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// remote works through a running server.
type remote struct{ *rpc.Client }

func dialServer(ctx context.Context, addr string) (backend, error) {
	c, err := rpc.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return remote{c}, nil
}

func (r remote) Head(ctx context.Context) (place, error) {
	version, token, err := r.Client.Head(ctx)
	return place{version, token}, err
}

func (r remote) IDs(ctx context.Context, ref, pred string, columns []string) iter.Seq2[json.RawMessage, error] {
	return r.Client.IDs(ctx, pred, columns, ref)
}

func (r remote) Get(ctx context.Context, ref string, ids []string) ([]*schema.Trajectory, error) {
	return r.Client.Get(ctx, ids, ref)
}

func (r remote) Stats(ctx context.Context, ref string) (*query.StatsReport, error) {
	return r.Client.Stats(ctx, ref)
}

func (r remote) Rows(ctx context.Context, ref, pred string, each func(*schema.Trajectory) error) (p place, err error) {
	ticket := rpc.Ticket{Kind: rpc.TicketScan, Snapshot: ref, Where: pred, Columns: rawColumns()}
	for rec, err := range r.Fetch(ctx, &ticket) {
		if err != nil {
			return p, err
		}
		if p, err = placeIn(rec); err != nil {
			return p, err
		}
		for i := range int(rec.NumRows()) {
			row, err := store.RawRow(rec, i)
			if err == nil {
				err = each(row)
			}
			if err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// placeIn is the snapshot that a scan's schema names.
func placeIn(rec arrow.Record) (place, error) {
	md := rec.Schema().Metadata()
	token, ok := md.GetValue("snapshot")
	text, _ := md.GetValue("version")
	version, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return place{}, fault.New(fault.Internal, "scan", "the server does not say which snapshot it read")
	}
	return place{version, token}, nil
}

func (r remote) Sample(ctx context.Context, spec replay.Spec, position uint64, columns []string) (*batch, error) {
	info, err := r.Client.Sample(ctx, spec.JSON(), position, "")
	if err != nil {
		return nil, err
	}
	b := &batch{ID: info.BatchID, Position: info.Position, SpecHash: info.SpecHash, place: place{info.Version, info.Snapshot}}
	if columns != nil { // the draw does not look at them
		spec.Columns = columns
	}
	ticket := rpc.Ticket{Kind: rpc.TicketBatch, Snapshot: info.Snapshot, Spec: json.RawMessage(spec.JSON()), Position: position}
	for rec, err := range r.Fetch(ctx, &ticket) {
		if err != nil {
			return nil, err
		}
		rec.Retain() // it would be gone with the next one
		b.Records = append(b.Records, rec)
	}
	return b, nil
}

func (r remote) Appender() ingest.Appender { return r.Client }
