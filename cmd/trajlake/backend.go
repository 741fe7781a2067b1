package main

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"os"

	"github.com/apache/arrow/go/v17/arrow"

	"trajlake/ingest"
	"trajlake/query"
	"trajlake/replay"
	"trajlake/rpc"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// access is what a verb wants of the lake.
type access uint8

const (
	reading  access = iota // of a lake that exists
	writing                // to a lake that exists
	creating               // writing, and making the lake if there is none
)

// place names the snapshot that an answer was read from.
type place struct {
	Version  int64  `json:"version"`
	Snapshot string `json:"snapshot"`
}

// batch is one drawn batch with its rows.
type batch struct {
	ID       string
	Position uint64
	SpecHash string
	place
	Records []arrow.Record // at least one, of one schema
}

// backend is the lake that a verb works on: this process's own or a server's. A
// ref is a version, a token, or "" for the newest snapshot.
type backend interface {
	io.Closer
	// Head is the newest snapshot.
	Head(ctx context.Context) (place, error)
	Stats(ctx context.Context, ref string) (*query.StatsReport, error)
	// IDs lists trajectories; see query.IDs.
	IDs(ctx context.Context, ref, pred string, columns []string) iter.Seq2[json.RawMessage, error]
	History(ctx context.Context) ([]store.VersionInfo, error)
	// Get fetches trajectories as they were stored, nil where there is none.
	Get(ctx context.Context, ref string, ids []string) ([]*schema.Trajectory, error)
	// GetBlob fetches a content-addressed object.
	GetBlob(ctx context.Context, digest string) ([]byte, error)
	// Rows hands over the trajectories that a predicate selects, in lake order.
	Rows(ctx context.Context, ref, pred string, each func(*schema.Trajectory) error) (place, error)
	// Sample draws the batch of a filled spec at a position. Columns, when not
	// nil, are fetched in place of the spec's.
	Sample(ctx context.Context, spec replay.Spec, position uint64, columns []string) (*batch, error)
	// CreateStream stores a stream; spec is YAML or JSON.
	CreateStream(ctx context.Context, name string, spec []byte) (rpc.StreamInfo, error)
	Stream(ctx context.Context, name string) (rpc.StreamInfo, error)
	Streams(ctx context.Context) ([]rpc.StreamLine, error)
	// DrawStream draws a batch of a stream without its payload.
	DrawStream(ctx context.Context, r replay.BatchRequest) (rpc.BatchInfo, error)
	// Explain tells what a stream, or a spec where the stream is "", could draw.
	Explain(ctx context.Context, stream string, spec []byte, ref string) (json.RawMessage, error)
	Ledger(ctx context.Context, f replay.LedgerFilter) iter.Seq2[replay.LedgerLine, error]
	LedgerDiff(ctx context.Context, runA, runB string) (replay.LedgerDiff, error)
	// Appender takes rows and annotations.
	Appender() ingest.Appender
	Verify(ctx context.Context, o store.VerifyOptions) (*store.Report, error)
	RebuildIndex(ctx context.Context) (store.RebuildResult, error)
}

// open opens what --lake or --server name.
func (a *app) open(ctx context.Context, want access) (backend, error) {
	lake, server, err := a.target()
	if err != nil {
		return nil, err
	}
	if server != "" {
		return dialServer(ctx, server)
	}
	return a.openLocal(ctx, lake, want)
}

// target is the lake or the server, exactly one of them; a flag goes before the
// environment.
func (a *app) target() (lake, server string, err error) {
	lake, server = a.lake, a.server
	if lake == "" && server == "" {
		lake, server = os.Getenv("TRAJLAKE_LAKE"), os.Getenv("TRAJLAKE_SERVER")
	}
	switch {
	case lake != "" && server != "":
		return "", "", fault.New(fault.Usage, "", "both a lake (%s) and a server (%s) are named", lake, server).
			WithHint("give --lake or --server; they go before TRAJLAKE_LAKE and TRAJLAKE_SERVER")
	case lake == "" && server == "":
		return "", "", fault.New(fault.Usage, "", "no lake is named").
			WithHint("give --lake PATH (or s3://bucket/prefix) or --server HOST:PORT, or set TRAJLAKE_LAKE or TRAJLAKE_SERVER")
	}
	return lake, server, nil
}

// with opens the lake, hands it to do and closes it.
func (a *app) with(ctx context.Context, want access, do func(backend) error) (err error) {
	b, err := a.open(ctx, want)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := b.Close(); err == nil {
			err = cerr
		}
	}()
	return do(b)
}
