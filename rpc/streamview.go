package rpc

import (
	"context"
	"encoding/json"
	"iter"
	"strconv"
	"time"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/query"
	"trajlake/replay"
	"trajlake/replay/facts"
	"trajlake/schema/fault"
	"trajlake/store"
)

// StreamInfo is a stream as it is shown.
type StreamInfo struct {
	Stream    string          `json:"stream"`
	SpecHash  string          `json:"spec_hash"`
	Spec      json.RawMessage `json:"spec"`
	Version   int64           `json:"version"`
	Snapshot  string          `json:"snapshot"`
	CreatedAt time.Time       `json:"created_at"`
}

// StreamLine is a stream as it is listed.
type StreamLine struct {
	Stream   string `json:"stream"`
	SpecHash string `json:"spec_hash"`
	Position uint64 `json:"position"` // the first that no claim of its furthest run holds
	Version  int64  `json:"version"`
	Snapshot string `json:"snapshot"` // of its newest claim
}

// StreamView shows the streams of an engine in the forms of the wire: for the server,
// and for a program that has the lake itself.
type StreamView struct {
	Engine *replay.Engine
	lake   *store.Lake
	fetch  *replay.Fetcher
}

// StreamsOf are the streams of an engine over lake; fetch reads the rows.
func StreamsOf(lake *store.Lake, e *replay.Engine, fetch *replay.Fetcher) StreamView {
	return StreamView{e, lake, fetch}
}

// CreateStream stores a stream; spec is YAML or JSON, not filled in.
func (s StreamView) CreateStream(ctx context.Context, name string, spec []byte) (StreamInfo, error) {
	parsed, err := replay.ParseSpec(spec)
	if err != nil {
		return StreamInfo{}, err
	}
	st, err := s.Engine.Create(ctx, name, parsed)
	if err != nil {
		return StreamInfo{}, err
	}
	return s.show(ctx, st)
}

// Stream shows a stream.
func (s StreamView) Stream(ctx context.Context, name string) (StreamInfo, error) {
	st, err := s.Engine.Get(ctx, name)
	if err != nil {
		return StreamInfo{}, err
	}
	return s.show(ctx, st)
}

func (s StreamView) show(ctx context.Context, st *replay.Stream) (StreamInfo, error) {
	v, err := s.versionOf(ctx, st.Snapshot)
	return StreamInfo{st.Name, st.SpecHash, st.Spec.JSON(), v, st.Snapshot, st.Created.UTC()}, err
}

// versionOf is the version that a token names.
func (s StreamView) versionOf(ctx context.Context, token string) (int64, error) {
	snap, err := s.lake.At(ctx, token)
	if err != nil {
		return 0, err
	}
	return snap.Version(), nil
}

// Streams lists the streams by name.
func (s StreamView) Streams(ctx context.Context) ([]StreamLine, error) {
	list, err := s.Engine.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]StreamLine, len(list))
	for i, st := range list {
		v, err := s.versionOf(ctx, st.Last)
		if err != nil {
			return nil, err
		}
		out[i] = StreamLine{st.Name, st.SpecHash, st.Position, v, st.Last}
	}
	return out, nil
}

// DrawStream draws a batch of a stream without its payload.
func (s StreamView) DrawStream(ctx context.Context, r replay.BatchRequest) (BatchInfo, error) {
	got, err := s.Engine.Batch(ctx, r)
	if err != nil {
		return BatchInfo{}, err
	}
	d := drawnOf(got, s.fetch)
	if err := d.cut(r.Rank, r.World); err != nil {
		return BatchInfo{}, err
	}
	return d.info(ctx)
}

// Explain tells what a stream could draw now, or a spec where stream is "". ref is a
// version, a token, or "" for what the stream or spec says, and the head.
func (s StreamView) Explain(ctx context.Context, stream string, spec []byte, ref string) (json.RawMessage, error) {
	x, err := s.explain(ctx, stream, spec, ref)
	if err != nil {
		return nil, fault.Wrap("explain", err)
	}
	text, err := json.Marshal(x)
	return text, fault.Wrap("explain", err)
}

func (s StreamView) explain(ctx context.Context, stream string, text []byte, ref string) (*replay.Explanation, error) {
	var spec replay.Spec
	if stream != "" {
		st, err := s.Engine.Get(ctx, stream)
		if err != nil {
			return nil, err
		}
		if spec = st.Spec; ref == "" && !st.Live() {
			ref = st.Snapshot
		}
	} else {
		parsed, err := replay.ParseSpec(text)
		if err != nil {
			return nil, err
		}
		spec = parsed.Fill(replay.Live)
		if err := spec.Validate(); err != nil {
			return nil, err
		}
	}
	var snap *store.Snapshot
	var err error
	if ref == "" && spec.Snapshot.Mode != replay.Live {
		snap, err = replay.Resolve(ctx, s.lake, spec)
	} else {
		snap, err = s.lake.At(ctx, ref)
	}
	if err != nil {
		return nil, err
	}
	view, err := facts.Open(ctx, snap.ForScorer(spec.Scorer), replay.Needs(spec))
	if err != nil {
		return nil, err
	}
	var now replay.Origin
	if ref == "" && spec.Snapshot.Mode == replay.Live { // as a claim would be made now
		now.AsOf = replay.AsOf{Time: time.Now().UnixMicro(), Policy: view.NewestPolicy()}
	}
	return replay.Explain(ctx, view, spec, now)
}

// Ledger yields the rows of the ledger that satisfy a filter.
func (s StreamView) Ledger(ctx context.Context, f replay.LedgerFilter) iter.Seq2[replay.LedgerLine, error] {
	return s.Engine.Ledger(ctx, f)
}

// LedgerDiff compares what two runs were trained on.
func (s StreamView) LedgerDiff(ctx context.Context, runA, runB string) (replay.LedgerDiff, error) {
	return s.Engine.Diff(ctx, runA, runB)
}

// drawnOf is a batch of a stream on its way out.
func drawnOf(got *replay.Drawn, fetch *replay.Fetcher) *drawn {
	return &drawn{sampler: got.Sampler, batch: got.Batch, units: len(got.Slots), waited: got.Waited, fetch: fetch, claim: &got.Claim}
}

// info is a batch without its payload.
func (d *drawn) info(ctx context.Context) (BatchInfo, error) {
	out := BatchInfo{BatchMeta: d.meta(), Rows: []json.RawMessage{}}
	rec, err := d.record(ctx, []string{})
	if err != nil {
		return out, err
	}
	age := rec.Schema().FieldIndices(replay.ColVersions)
	for i := range int(rec.NumRows()) {
		row := query.AppendRow(nil, rec, i)
		if len(age) == 1 { // the short name that scripts know
			staleness := "null"
			if col, ok := rec.Column(age[0]).(*array.Int64); ok && col.IsValid(i) {
				staleness = strconv.FormatInt(col.Value(i), 10)
			}
			row = append(append(append(row[:len(row)-1], `,"staleness":`...), staleness...), '}')
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}
