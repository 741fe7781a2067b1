package store

import (
	"context"
	"errors"
	"time"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/delta"
)

// cleanEvery is the least time between two looks for expired versions of the
// logs: each of them lists every log.
const cleanEvery = time.Hour

// Maintained is what Maintain did.
type Maintained struct {
	Folded  int   // small files that were joined into larger ones
	Cleaned int64 // versions that were taken out of the logs
}

// Maintain does what a lake needs from time to time: it folds small files, writes
// checkpoints that are due, and, at most once an hour, takes versions out of the
// logs that are older than the tables' delta.logRetentionDuration. Their counts
// and vectors are kept first, so that every snapshot can still be opened. It can
// be stopped at any point and is safe beside other writers and other processes
// that do the same.
func (l *Lake) Maintain(ctx context.Context) (Maintained, error) {
	var m Maintained
	var err error
	if m.Folded, err = l.Fold(ctx); err != nil {
		return m, err
	}
	for _, t := range schema.Tables() {
		if err := l.logs[t.Name].CheckpointDue(ctx); err != nil {
			return m, fault.Wrap("write a checkpoint of "+t.Name, err)
		}
	}
	if !l.cleanDue() {
		return m, nil
	}
	for _, t := range schema.Tables() {
		c, err := l.logs[t.Name].CleanExpired(ctx)
		if err != nil {
			return m, err
		}
		m.Cleaned += c.Versions
		if c.Versions > 0 {
			l.log.Info("cleaned the log", "table", t.Name, "versions", c.Versions, "oldest", c.Oldest)
		}
	}
	return m, nil
}

// cleanDue reports whether the logs are to be looked through now.
func (l *Lake) cleanDue() bool {
	l.schemas.mu.Lock()
	defer l.schemas.mu.Unlock()
	now := l.opt.Now()
	if last := l.schemas.cleaned; !last.IsZero() && now.Sub(last) < cleanEvery {
		return false
	}
	l.schemas.cleaned = now
	return true
}

// evolution compares what a table declares at st with what this build knows.
func (l *Lake) evolution(t *schema.Table, st *delta.State) (schema.Evolution, error) {
	l.schemas.mu.Lock()
	defer l.schemas.mu.Unlock()
	c, ok := l.schemas.known[t.Name]
	if ok && c.declared == st.Metadata.SchemaString {
		return c.e, nil
	}
	e, err := schema.Evolve(st.Metadata.SchemaString, t)
	if err != nil {
		return e, err
	}
	if l.schemas.known == nil {
		l.schemas.known = map[string]comparedSchema{}
	}
	l.schemas.known[t.Name] = comparedSchema{st.Metadata.SchemaString, e}
	return e, nil
}

// comparedSchema is a comparison that was made.
type comparedSchema struct {
	declared string
	e        schema.Evolution
}

// evolve adds the columns to the table's declaration that an older build did not
// know, in a version of its own, before the first write. Columns that only a
// newer build knows stay declared.
func (l *Lake) evolve(ctx context.Context, t *schema.Table) error {
	log := l.logs[t.Name]
	if e, err := l.evolution(t, log.Head()); err != nil || len(e.Missing) == 0 {
		return err
	}
	_, err := log.Commit(ctx, delta.Tx{Vector: l.known(), Build: func(_ context.Context, st *delta.State) ([]delta.Action, error) {
		e, err := l.evolution(t, st)
		if err != nil {
			return nil, err
		}
		if len(e.Missing) == 0 {
			return nil, delta.ErrNothing // another process was faster
		}
		l.log.Info("adding columns", "table", t.Name, "columns", e.Missing)
		m := st.Metadata
		m.SchemaString = e.Schema
		return []delta.Action{{CommitInfo: &delta.CommitInfo{Operation: "ADD COLUMNS", OperationParameters: delta.Params{}}}, {Metadata: &m}}, nil
	}})
	if errors.Is(err, delta.ErrNothing) {
		return nil
	}
	l.noteNotDurable(err)
	return fault.Wrap("add columns to "+t.Name, err)
}
