package delta

import (
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// tombstoneAge is for how long a removed file stays in checkpoints: the
// delta.deletedFileRetentionDuration of new tables.
const tombstoneAge = 7 * 24 * time.Hour

// checkpointRows yields the actions of a checkpoint of s: protocol, metadata,
// transactions by appId, tombstones not older than expired (ms since the
// epoch), files by place.
func checkpointRows(s *State, expired int64) iter.Seq[cpRow] {
	return func(yield func(cpRow) bool) {
		p := s.Protocol
		if !yield(cpRow{Protocol: &cpProtocol{MinReaderVersion: p.MinReaderVersion, MinWriterVersion: p.MinWriterVersion}}) {
			return
		}
		if !yield(cpRow{MetaData: metadataRow(&s.Metadata)}) {
			return
		}
		for _, id := range slices.Sorted(maps.Keys(s.txns)) {
			t := s.txns[id]
			if !yield(cpRow{Txn: &cpTxn{t.AppID, t.Version, t.LastUpdated}}) {
				return
			}
		}
		for r := range s.tombs.all() {
			if r.DeletionTimestamp < expired {
				continue
			}
			if !yield(cpRow{Remove: &cpRemove{r.Path, &r.DeletionTimestamp, r.DataChange}}) {
				return
			}
		}
		for f := range s.Files.All() {
			row := cpAdd{
				Path: f.Path, PartitionValues: nullable(f.PartitionValues), Size: f.Size,
				ModificationTime: f.ModificationTime, DataChange: f.DataChange,
				Stats: optional(f.Stats),
			}
			if len(f.Tags) > 0 {
				row.Tags = make(map[string]*string, len(f.Tags))
				for k, v := range f.Tags {
					row.Tags[k] = &v
				}
			}
			if !yield(cpRow{Add: &row}) {
				return
			}
		}
	}
}

func metadataRow(m *Metadata) *cpMetadata {
	row := &cpMetadata{
		ID: m.ID, Name: optional(m.Name), Description: optional(m.Description),
		Format:       cpFormat{m.Format.Provider, m.Format.Options},
		SchemaString: m.SchemaString, PartitionColumns: m.PartitionColumns,
		CreatedTime: m.CreatedTime, Configuration: m.Configuration,
	}
	if row.Format.Options == nil {
		row.Format.Options = map[string]string{}
	}
	if row.Configuration == nil {
		row.Configuration = map[string]string{}
	}
	return row
}

// optional is nil for an empty string.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// nullable gives partition values their nulls back: "" is null.
func nullable(m map[string]string) map[string]*string {
	out := make(map[string]*string, len(m))
	for k, v := range m {
		out[k] = optional(v)
	}
	return out
}

func plain(m map[string]*string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[strings.Clone(k)] = strings.Clone(value(v))
	}
	return out
}

// checkpointFold gathers the rows of a checkpoint.
type checkpointFold struct {
	protocol *cpProtocol
	metadata *cpMetadata
	txns     map[string]Txn
	removes  []*Remove
	files    []*File
}

func (c *checkpointFold) row(r *cpRead) error {
	switch {
	case r.Sidecar != nil:
		return errors.New("it keeps files in sidecars")
	case r.Add != nil:
		if r.Add.Path == "" {
			return errors.New("an add without a path")
		}
		if dv := r.Add.DeletionVector; dv != nil && dv.StorageType != "" {
			return errors.New("it has deletion vectors")
		}
		a := Add{
			Path: r.Add.Path, PartitionValues: plain(r.Add.PartitionValues), Size: r.Add.Size,
			ModificationTime: r.Add.ModificationTime, DataChange: r.Add.DataChange, Stats: value(r.Add.Stats),
		}
		if len(r.Add.Tags) > 0 {
			a.Tags = plain(r.Add.Tags)
		}
		c.files = append(c.files, fileOf(&a))
	case r.Remove != nil:
		c.removes = append(c.removes, &Remove{
			Path: r.Remove.Path, DeletionTimestamp: value(r.Remove.DeletionTimestamp), DataChange: r.Remove.DataChange,
		})
	case r.Txn != nil:
		c.txns[r.Txn.AppID] = Txn{r.Txn.AppID, r.Txn.Version, r.Txn.LastUpdated}
	case r.MetaData != nil:
		c.metadata = r.MetaData
	case r.Protocol != nil:
		c.protocol = r.Protocol
	}
	return nil
}

func (c *checkpointFold) state() (*State, error) {
	if c.protocol == nil || c.metadata == nil {
		return nil, errors.New("it lacks the protocol or the metadata")
	}
	s := emptyState()
	s.Protocol = Protocol{MinReaderVersion: c.protocol.MinReaderVersion, MinWriterVersion: c.protocol.MinWriterVersion}
	if err := checkProtocol(s.Protocol); err != nil {
		return nil, err
	}
	m := c.metadata
	s.Metadata = Metadata{
		ID: m.ID, Name: value(m.Name), Description: value(m.Description),
		Format: Format{m.Format.Provider, m.Format.Options}, SchemaString: m.SchemaString,
		PartitionColumns: m.PartitionColumns, CreatedTime: m.CreatedTime, Configuration: m.Configuration,
	}
	if s.Metadata.PartitionColumns == nil {
		s.Metadata.PartitionColumns = []string{}
	}
	if len(c.txns) > 0 {
		s.txns = c.txns
	}
	s.Files = filesOf(c.files)
	s.tombs = sortedOf(cmpRemove, c.removes)
	return s, nil
}
