package main

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"trajlake/ingest"
	"trajlake/query"
	"trajlake/replay"
	"trajlake/replay/pack"
	"trajlake/rpc"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// local works on a lake that this process opens.
type local struct {
	lake     *store.Lake
	ingester *ingest.Ingester // nil until the lake is written to
	fetch    *replay.Fetcher
	rpc.StreamView
}

func (a *app) openLocal(ctx context.Context, url string, want access) (backend, error) {
	lake, err := store.Open(ctx, url, &store.Options{Create: want == creating, ReadOnly: want == reading, Logger: a.log})
	if err != nil {
		return nil, err
	}
	l := &local{lake: lake, fetch: replay.NewFetcher(&pack.Options{Limit: -1})} // one batch or two: nothing to cache
	l.StreamView = rpc.StreamsOf(lake, replay.NewEngine(lake, &replay.EngineOptions{Logger: a.log}), l.fetch)
	if want != reading {
		l.ingester = ingest.New(lake, &ingest.Options{Logger: a.log})
	}
	return l, nil
}

// closeWithin is how long Close waits for the ledger.
const closeWithin = 30 * time.Second

// Close commits what was accepted and closes the lake.
func (l *local) Close() error {
	var err error
	if l.ingester != nil {
		err = l.ingester.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	return errors.Join(err, l.Engine.Close(ctx), l.fetch.Close(), l.lake.Close())
}

func placeOf(s *store.Snapshot) place { return place{s.Version(), s.Token()} }

func (l *local) Head(ctx context.Context) (place, error) {
	s, err := l.lake.Head(ctx)
	if err != nil {
		return place{}, err
	}
	return placeOf(s), nil
}

func (l *local) Stats(ctx context.Context, ref string) (*query.StatsReport, error) {
	s, err := l.lake.At(ctx, ref)
	if err != nil {
		return nil, err
	}
	return query.Stats(ctx, s)
}

// parsePredicate parses a where; "" selects everything.
func parsePredicate(text string) (*where.Expr, error) {
	if text == "" {
		return nil, nil
	}
	return where.Parse(text)
}

func (l *local) IDs(ctx context.Context, ref, pred string, columns []string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		e, err := parsePredicate(pred)
		if err != nil {
			yield(nil, err)
			return
		}
		s, err := l.lake.At(ctx, ref)
		if err != nil {
			yield(nil, err)
			return
		}
		query.IDs(ctx, s, e, columns)(yield)
	}
}

func (l *local) History(ctx context.Context) ([]store.VersionInfo, error) { return l.lake.History(ctx) }

func (l *local) Get(ctx context.Context, ref string, ids []string) ([]*schema.Trajectory, error) {
	s, err := l.lake.At(ctx, ref)
	if err != nil {
		return nil, err
	}
	return s.Get(ctx, ids)
}

func (l *local) GetBlob(ctx context.Context, digest string) ([]byte, error) {
	return l.lake.GetBlob(ctx, digest)
}

func (l *local) Rows(ctx context.Context, ref, pred string, each func(*schema.Trajectory) error) (place, error) {
	e, err := parsePredicate(pred)
	if err != nil {
		return place{}, err
	}
	s, err := l.lake.At(ctx, ref)
	if err != nil {
		return place{}, err
	}
	for row, err := range s.Rows(ctx, e) {
		if err == nil {
			err = each(row)
		}
		if err != nil {
			return placeOf(s), err
		}
	}
	return placeOf(s), nil
}

func (l *local) Sample(ctx context.Context, spec replay.Spec, position uint64, columns []string) (*batch, error) {
	s, err := replay.Resolve(ctx, l.lake, spec)
	if err != nil {
		return nil, err
	}
	sampler, err := replay.Open(ctx, s, spec)
	if err != nil {
		return nil, err
	}
	b, err := sampler.Draw(position)
	if err != nil {
		return nil, err
	}
	rec, err := l.fetch.Rows(ctx, sampler, b, columns)
	if err != nil {
		return nil, err
	}
	return &batch{ID: b.ID, Position: b.Position, SpecHash: b.SpecHash, place: placeOf(s), Records: []arrow.Record{rec}}, nil
}

func (l *local) Appender() ingest.Appender { return l.ingester }

func (l *local) Verify(ctx context.Context, o store.VerifyOptions) (*store.Report, error) {
	return l.lake.Verify(ctx, o)
}

func (l *local) RebuildIndex(ctx context.Context) (store.RebuildResult, error) {
	return l.lake.RebuildIndex(ctx)
}

// rawColumns are the stored columns of a trajectory, the reward as the row has it.
func rawColumns() []string {
	var out []string
	for _, c := range schema.Trajectories.Columns {
		out = append(out, c.Name)
	}
	out[slices.Index(out, "reward")] = "reward_raw"
	return out
}

// errAbsent is the error for an id that the snapshot has not.
func errAbsent(id, ref string) error {
	at := "the newest version"
	if ref != "" {
		at = "version " + ref
	}
	return fault.New(fault.NotFound, "", "there is no trajectory %q in %s", id, at).WithHint("`trajlake ids` lists them")
}
