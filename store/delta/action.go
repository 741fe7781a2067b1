package delta

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"trajlake/schema/fault"
)

// Action is one line of a commit. Exactly one field is set.
type Action struct {
	CommitInfo *CommitInfo `json:"commitInfo,omitzero"`
	Protocol   *Protocol   `json:"protocol,omitzero"`
	Metadata   *Metadata   `json:"metaData,omitzero"`
	Txn        *Txn        `json:"txn,omitzero"`
	Remove     *Remove     `json:"remove,omitzero"`
	Add        *Add        `json:"add,omitzero"`
}

// CommitInfo says who made a commit, and why. The order of its fields is the
// order in the file.
type CommitInfo struct {
	Timestamp           int64     `json:"timestamp"` // ms since the epoch, by the writer's clock: for people
	Operation           string    `json:"operation"`
	OperationParameters Params    `json:"operationParameters"`
	ReadVersion         *int64    `json:"readVersion,omitzero"` // the version it was built on; nil for version 0
	IsolationLevel      string    `json:"isolationLevel,omitzero"`
	IsBlindAppend       *bool     `json:"isBlindAppend,omitzero"`
	EngineInfo          string    `json:"engineInfo,omitzero"`
	TxnID               string    `json:"txnId,omitzero"`
	Trajlake            *Trajlake `json:"trajlake,omitzero"` // nil in commits of other engines
}

// Params is a map of strings. Values of other JSON types, which some engines
// write, are kept as their JSON text.
type Params map[string]string

// UnmarshalJSON accepts an object with values of any type, or null.
func (p *Params) UnmarshalJSON(b []byte) error {
	var raw map[string]jsontext.Value
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	out := make(Params, len(raw))
	for k, v := range raw {
		var s string
		if v.Kind() != '"' || json.Unmarshal(v, &s) != nil {
			s = string(v)
		}
		out[k] = s
	}
	*p = out
	return nil
}

// Trajlake is trajlake's own part of a commitInfo. Its presence marks a commit
// as ours.
type Trajlake struct {
	NextSeq  int64  `json:"nextSeq"`           // rows ever committed to the table, after this commit
	Snapshot Vector `json:"snapshot,omitzero"` // what the writer knew of all tables
	IDs      IDs    `json:"ids,omitzero"`      // 64-bit hashes of the ids of the new rows, in row order
}

// Protocol is the protocol that a table needs. This package writes (1,2).
type Protocol struct {
	MinReaderVersion int32    `json:"minReaderVersion"`
	MinWriterVersion int32    `json:"minWriterVersion"`
	ReaderFeatures   []string `json:"readerFeatures,omitzero"`
	WriterFeatures   []string `json:"writerFeatures,omitzero"`
}

// Format is the format of the data files.
type Format struct {
	Provider string            `json:"provider"`
	Options  map[string]string `json:"options"`
}

// Metadata describes the table: its schema in Spark's JSON, its partition
// columns and its properties.
type Metadata struct {
	ID               string            `json:"id"`
	Name             string            `json:"name,omitzero"`
	Description      string            `json:"description,omitzero"`
	Format           Format            `json:"format"`
	SchemaString     string            `json:"schemaString"`
	PartitionColumns []string          `json:"partitionColumns"`
	CreatedTime      *int64            `json:"createdTime,omitzero"` // ms since the epoch
	Configuration    map[string]string `json:"configuration"`
}

// Add puts a data file into the table.
type Add struct {
	Path             string            `json:"path"`             // relative to the table; [A-Za-z0-9._=/-] in files of ours
	PartitionValues  map[string]string `json:"partitionValues"`  // "" is null
	Size             int64             `json:"size"`             // bytes
	ModificationTime int64             `json:"modificationTime"` // ms since the epoch
	DataChange       bool              `json:"dataChange"`       // false: the same rows in other files
	Stats            string            `json:"stats,omitzero"`   // see Stats
	Tags             map[string]string `json:"tags,omitzero"`
}

// Remove takes a data file out of the table.
type Remove struct {
	Path                 string            `json:"path"`
	DeletionTimestamp    int64             `json:"deletionTimestamp,omitzero"` // ms since the epoch
	DataChange           bool              `json:"dataChange"`
	ExtendedFileMetadata bool              `json:"extendedFileMetadata,omitzero"` // PartitionValues and Size are given
	PartitionValues      map[string]string `json:"partitionValues,omitzero"`
	Size                 int64             `json:"size,omitzero"`
}

// Txn is the last version that an application has written, by its own count.
type Txn struct {
	AppID       string `json:"appId"`
	Version     int64  `json:"version"`
	LastUpdated *int64 `json:"lastUpdated,omitzero"` // ms since the epoch
}

// Names of the keys that trajlake adds to a table.
const (
	TagFirstSeq   = "trajlake.firstSeq" // place of a file's first row; its least place when TagPlaces is set
	TagVersion    = "trajlake.version"  // version that committed a fresh file
	TagPlaces     = "trajlake.places"   // PlacesColumns: the file has columns row_version and row_seq
	PlacesColumns = "columns"           // value of TagPlaces
	AppNextSeq    = "trajlake.nextSeq"  // txn whose version is nextSeq
)

// commit is one parsed version.
type commit struct {
	info    CommitInfo // zero if the version holds none
	actions []Action   // all but the commitInfo, in line order
	data    bool       // holds add, remove or cdc
}

// ours reports whether trajlake made the commit.
func (c *commit) ours() bool { return c.info.Trajlake != nil }

// encodeCommit writes actions as one line each.
func encodeCommit(actions []Action) ([]byte, error) {
	var b bytes.Buffer
	for i := range actions {
		line, err := json.Marshal(&actions[i], json.Deterministic(true))
		if err != nil {
			return nil, err
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// parseCommit reads the body of one version. Lines with actions that this
// package does not know are skipped, as the protocol asks. Errors name the line.
func parseCommit(body []byte) (*commit, error) {
	c := &commit{}
	lines := 0
	for n := 1; len(body) > 0; n++ {
		line := body
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			line, body = body[:i], body[i+1:]
		} else {
			body = nil
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		lines++
		if err := c.parseLine(line); err != nil {
			return nil, fault.New(fault.Corrupt, fmt.Sprintf("line %d", n), "%s", clipText(err.Error()))
		}
	}
	if lines == 0 {
		return nil, fault.New(fault.Corrupt, "", "no action in it")
	}
	return c, nil
}

func (c *commit) parseLine(line []byte) error {
	var l struct {
		CommitInfo jsontext.Value `json:"commitInfo"`
		Protocol   *Protocol      `json:"protocol"`
		Metadata   *Metadata      `json:"metaData"`
		Txn        *Txn           `json:"txn"`
		Remove     *Remove        `json:"remove"`
		Add        *Add           `json:"add"`
		CDC        jsontext.Value `json:"cdc"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return err
	}
	if len(l.CommitInfo) > 0 && l.CommitInfo.Kind() != 'n' {
		info, err := parseInfo(l.CommitInfo)
		if err != nil {
			return err
		}
		c.info = info
	}
	switch {
	case l.Add != nil:
		if l.Add.Path == "" {
			return fmt.Errorf("add without a path")
		}
		c.data = true
		c.actions = append(c.actions, Action{Add: l.Add})
	case l.Remove != nil:
		if l.Remove.Path == "" {
			return fmt.Errorf("remove without a path")
		}
		c.data = true
		c.actions = append(c.actions, Action{Remove: l.Remove})
	case l.Txn != nil:
		c.actions = append(c.actions, Action{Txn: l.Txn})
	case l.Metadata != nil:
		c.actions = append(c.actions, Action{Metadata: l.Metadata})
	case l.Protocol != nil:
		c.actions = append(c.actions, Action{Protocol: l.Protocol})
	case len(l.CDC) > 0:
		c.data = true
	}
	return nil
}

// parseInfo is strict about a commitInfo of ours and takes what it can from
// others: the protocol leaves the contents of commitInfo to each engine.
func parseInfo(b jsontext.Value) (CommitInfo, error) {
	var info CommitInfo
	err := json.Unmarshal(b, &info)
	if err == nil {
		return info, nil
	}
	var fields map[string]jsontext.Value
	if json.Unmarshal(b, &fields) != nil {
		return CommitInfo{}, err
	}
	if own, ok := fields["trajlake"]; ok && own.Kind() != 'n' {
		return CommitInfo{}, err
	}
	info = CommitInfo{}
	for name, to := range map[string]any{
		"timestamp": &info.Timestamp, "operation": &info.Operation,
		"operationParameters": &info.OperationParameters,
		"engineInfo":          &info.EngineInfo, "txnId": &info.TxnID,
	} {
		if v, ok := fields[name]; ok {
			_ = json.Unmarshal(v, to) // a value of a strange type stays zero
		}
	}
	return info, nil
}

// clipText keeps errors that quote their input short.
func clipText(s string) string {
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
