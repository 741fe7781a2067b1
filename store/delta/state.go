package delta

import (
	"fmt"
	"iter"
	"maps"
	"strings"

	"trajlake/schema/fault"
)

// State is a table at one version, immutable.
type State struct {
	Version  int64
	Info     CommitInfo // of this version; zero if the version holds none
	Protocol Protocol
	Metadata Metadata
	Files    Files
	NextSeq  int64 // rows ever committed; the place of the next one
	Vector   Vector
	// Foreign is set when the version after this one is a commit that is not
	// interpreted. Reading goes on at this State; Commit refuses.
	Foreign *Foreign

	txns  map[string]Txn // by appId
	tombs sorted[Remove] // by path

	recent []recentCommit // the last versions, ascending, without a gap up to this one
}

// recentCommit is what later commits of the same process ask of a version.
type recentCommit struct {
	version int64
	rows    int64 // that it added
	ids     IDs
}

// maxRecent is of how many versions a state remembers the hashes of ids.
const maxRecent = 64

// IDsSince gives the 64-bit hashes of the ids of all rows that came after a
// version; ok is false if they are not all known, because the version is too old
// or a commit does not state them.
func (s *State) IDsSince(version int64) (ids []IDs, ok bool) {
	n := s.Version - version
	if n < 0 || n > int64(len(s.recent)) {
		return nil, false
	}
	for _, c := range s.recent[int64(len(s.recent))-n:] {
		if int64(len(c.ids)) != c.rows {
			return nil, false
		}
		ids = append(ids, c.ids)
	}
	return ids, true
}

// Foreign describes a commit that trajlake does not interpret.
type Foreign struct {
	Version   int64
	Operation string
	Engine    string
	Reason    string // why it is not interpreted
}

// err is the refusal to write behind a foreign commit.
func (f *Foreign) err(op, table string) error {
	what := f.Operation
	if what == "" {
		what = "commit"
	}
	if f.Engine != "" {
		what += " by " + clipText(f.Engine)
	}
	last := max(f.Version-1, 0)
	return fault.New(fault.Unsupported, op, "version %d (%s) %s", f.Version, what, f.Reason).WithHint(
		"trajlake reads on at version %d. To write again, restore that version: move %s/_delta_log/%s and every log entry and checkpoint of a later version out of the log, after saving what they added.",
		last, table, jsonName(f.Version))
}

// Txn is the last transaction of an application.
func (s *State) Txn(appID string) (Txn, bool) {
	t, ok := s.txns[appID]
	return t, ok
}

// Tombstones yields the removed files that readers of older versions may still
// need, by path.
func (s *State) Tombstones() iter.Seq[*Remove] { return s.tombs.all() }

// position of the state as a component of a vector.
func (s *State) position() Position { return Position{s.Version, s.NextSeq} }

func cmpRemove(a, b *Remove) int { return strings.Compare(a.Path, b.Path) }

func emptyState() *State {
	return &State{
		Version: -1, Vector: Vector{},
		Files: Files{sorted[File]{cmp: cmpSeq}, sorted[File]{cmp: cmpPath}},
		tombs: sorted[Remove]{cmp: cmpRemove},
	}
}

// foreign says why version v, holding c, is not interpreted; nil if it is.
func foreign(v int64, c *commit) *Foreign {
	f := &Foreign{Version: v, Operation: c.info.Operation, Engine: c.info.EngineInfo}
	for _, a := range c.actions {
		if p := a.Protocol; p != nil {
			if err := checkProtocol(*p); err != nil {
				f.Reason = err.Error()
				return f
			}
		}
	}
	if c.data && !c.ours() {
		f.Reason = "is a data commit of another engine"
		return f
	}
	return nil
}

func checkProtocol(p Protocol) error {
	if p.MinReaderVersion > 1 || p.MinWriterVersion > 2 {
		return fmt.Errorf("needs protocol (%d,%d); trajlake reads and writes (1,2)", p.MinReaderVersion, p.MinWriterVersion)
	}
	return nil
}

// apply derives the state of the next version, which holds c.
func (s *State) apply(table string, c *commit) *State {
	n := *s
	n.Version = s.Version + 1
	n.Info = c.info
	n.Foreign = nil
	n.recent = make([]recentCommit, 0, maxRecent)
	n.recent = append(n.recent, s.recent[max(0, len(s.recent)-maxRecent+1):]...)
	nextSeq := s.NextSeq
	ownTxns := false
	for i := range c.actions {
		switch a := &c.actions[i]; {
		case a.Add != nil:
			f := fileOf(a.Add)
			if a.Add.fresh() {
				if !placed(a.Add) { // ours always is; CheckLog reports it
					f.FirstSeq, f.Version = nextSeq, n.Version
				}
				nextSeq += max(f.Rows, 0)
			}
			n.Files = n.Files.with(f)
			n.tombs = n.tombs.without(&Remove{Path: f.Path})
		case a.Remove != nil:
			n.Files = n.Files.without(a.Remove.Path)
			n.tombs = n.tombs.with(a.Remove)
		case a.Txn != nil:
			if !ownTxns {
				n.txns, ownTxns = maps.Clone(n.txns), true
				if n.txns == nil {
					n.txns = make(map[string]Txn)
				}
			}
			n.txns[a.Txn.AppID] = *a.Txn
		case a.Metadata != nil:
			n.Metadata = *a.Metadata
		case a.Protocol != nil:
			n.Protocol = *a.Protocol
		}
	}
	if own := c.info.Trajlake; own != nil {
		n.NextSeq = own.NextSeq
		n.Vector = s.Vector.Max(own.Snapshot).Max(Vector{table: n.position()})
		n.recent = append(n.recent, recentCommit{n.Version, n.NextSeq - s.NextSeq, own.IDs})
	} else {
		n.recent = append(n.recent, recentCommit{version: n.Version})
	}
	return &n
}

// withForeign is s that stops before f.
func (s *State) withForeign(f *Foreign) *State {
	if s.Foreign == nil && f == nil {
		return s
	}
	n := *s
	n.Foreign = f
	return &n
}
