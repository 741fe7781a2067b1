package ingest

import (
	"context"
	"time"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// Annotate validates and appends annotations as one version: one receipt for
// each, in order, and the token of a snapshot that holds them. A missing
// annotation_id is derived from what was handed in, a missing target_kind means
// trajectory, a missing time is now. An error is about the call; sending all of
// it again is safe.
func (g *Ingester) Annotate(ctx context.Context, rows []*schema.Annotation) (receipts []store.Receipt, token string, err error) {
	receipts = make([]store.Receipt, len(rows))
	var keep []*schema.Annotation
	var at []int
	for i, r := range rows {
		if faults := schema.ValidateAnnotation(r, g.opt.Limits); len(faults) > 0 {
			receipts[i] = store.Receipt{ID: r.AnnotationID, Status: store.Rejected, Version: -1, Seq: -1, Err: faults.Err("annotate")}
			continue
		}
		if r.AnnotationID == "" {
			r.AnnotationID = schema.AnnotationID(r)
		}
		if r.TargetKind == nil {
			r.TargetKind = new("trajectory")
		}
		if r.At == nil {
			r.At = new(schema.TimeOf(time.Now()))
		}
		r.RowVersion, r.RowSeq = nil, nil
		keep, at = append(keep, r), append(at, i)
	}
	ctx, cancel := context.WithTimeout(ctx, g.opt.CommitTime)
	defer cancel()
	got, snap, err := g.lake.Annotate(ctx, keep)
	if err != nil {
		return nil, "", fault.Wrap("annotate", err)
	}
	for i, r := range got {
		receipts[at[i]] = r
	}
	return receipts, snap.Token(), nil
}

// Tensors validates and appends tensor pieces as one version: one receipt for
// each, in order.
func (g *Ingester) Tensors(ctx context.Context, rows []*schema.Tensor) ([]store.Receipt, error) {
	receipts := make([]store.Receipt, len(rows))
	var keep []*schema.Tensor
	var at []int
	for i, r := range rows {
		if faults := schema.ValidateTensor(r, g.opt.Limits); len(faults) > 0 {
			receipts[i] = store.Receipt{ID: r.TrajectoryID, Status: store.Rejected, Version: -1, Seq: -1, Err: faults.Err("append tensor")}
			continue
		}
		r.RowVersion, r.RowSeq = nil, nil
		keep, at = append(keep, r), append(at, i)
	}
	ctx, cancel := context.WithTimeout(ctx, g.opt.CommitTime)
	defer cancel()
	got, err := g.lake.AppendTensors(ctx, keep)
	if err != nil {
		return nil, fault.Wrap("append tensors", err)
	}
	for i, r := range got {
		receipts[at[i]] = r
	}
	return receipts, nil
}
