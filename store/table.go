package store

import (
	"context"
	"strings"
	"sync"

	"trajlake/schema"
	"trajlake/store/datafile"
	"trajlake/store/delta"
)

// createTable makes a table's log, version 0, or opens the one that another
// process made meanwhile.
func (l *Lake) createTable(ctx context.Context, t *schema.Table) (*delta.Log, error) {
	meta := delta.TableMeta{
		Name:             t.Name,
		SchemaString:     schema.DeltaSchemaString(t),
		PartitionColumns: []string{schema.PartitionColumn},
	}
	return delta.Create(ctx, l.bucket, t.Name, meta, delta.CommitInfo{}, delta.Options{Logger: l.log, Now: l.opt.Now})
}

// statsOf is the statistics text of an encoded file, columns in schema order.
func statsOf(t *schema.Table, enc *datafile.Encoded) string {
	s := delta.Stats{NumRecords: enc.Rows}
	for _, c := range t.Columns {
		st, ok := enc.Stats[c.Name]
		if !ok {
			continue
		}
		s.Columns = append(s.Columns, delta.ColumnStats{Column: c.Name, Min: st.Min, Max: st.Max, NullCount: st.Nulls})
	}
	return s.JSON()
}

// fileStats are a file's statistics as a predicate sees them. A column whose
// folded value can differ from the stored one says nothing.
type fileStats struct {
	pl     *plan
	file   *delta.File
	parsed *delta.ParsedStats
}

func (pl *plan) fileStats(p part) fileStats {
	return fileStats{pl, p.file, pl.s.lake.stats.of(p.file)}
}

// statsCache keeps parsed statistics of files: a scan looks at those of every
// file.
type statsCache struct {
	mu     sync.Mutex
	parsed map[*delta.File]*delta.ParsedStats
}

// maxParsed bounds the parsed statistics in memory.
const maxParsed = 1024

func (c *statsCache) of(f *delta.File) *delta.ParsedStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.parsed[f]
	if ok {
		return p
	}
	p, err := delta.ParseStats(f.Stats)
	if err != nil { // another writer's, or damaged: no pruning
		p = nil
	}
	if c.parsed == nil || len(c.parsed) >= maxParsed {
		c.parsed = map[*delta.File]*delta.ParsedStats{}
	}
	c.parsed[f] = p
	return p
}

// Column implements where.Stats.
func (s fileStats) Column(name string) (lo, hi any, nulls, rows int64, ok bool) {
	if last, known := lastSeq(s.file); known && name == "row_seq" && s.file.Rows >= 0 {
		return s.file.FirstSeq, last, 0, s.file.Rows, true
	}
	if s.parsed == nil {
		return nil, nil, -1, -1, false
	}
	stored, ok := s.pl.storedName(name)
	if !ok {
		return nil, nil, -1, -1, false
	}
	top, _, _ := strings.Cut(stored, ".")
	c := s.pl.table.Column(top)
	if c == nil || strings.Contains(stored, ".") || c.Kind == schema.List || c.Kind == schema.Map || c.Kind == schema.Struct || c.Kind == schema.Binary {
		return nil, nil, -1, -1, false
	}
	b := s.parsed.Column(stored, c.Kind)
	return b.Min, b.Max, b.NullCount, s.parsed.NumRecords, true
}

// storedName is the stored column behind a column of the view; ok is false when
// there is none, or its values can differ.
func (pl *plan) storedName(name string) (string, bool) {
	switch name {
	case "row_seq", "row_version", colPriority, colAdvantage, colQuarantined:
		return "", false
	case colRewardRaw:
		return "reward", true
	case "reward":
		return name, !pl.fold.any(noteReward)
	}
	return name, true
}
