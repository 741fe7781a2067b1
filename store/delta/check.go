package delta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// Problem is one fault that a check found.
type Problem struct {
	Kind   string // one of the Problem constants
	Object string // key in the bucket
	Detail string
}

// Kinds of problems of a log.
const (
	ProblemGap        = "log_gap"        // a version is missing
	ProblemUnreadable = "log_unreadable" // a version or checkpoint cannot be read or parsed
	ProblemForeign    = "log_foreign"    // a commit that is not interpreted; what follows is not checked
	ProblemCommit     = "log_commit"     // a commit contradicts itself or the one before
	ProblemCheckpoint = "log_checkpoint" // a checkpoint differs from the versions up to it
)

// logCheck folds a log and looks at each step.
type logCheck struct {
	l        *Log
	s        *State // before the version that comes next; nil while unknown
	txnIDs   map[string]int64
	problems []Problem
}

// CheckLog reads the whole log and reports everything that is wrong with it:
// gaps, versions that do not parse, places, counts and vectors that do not
// follow from the version before, files that are added twice, and checkpoints
// that are not the fold of the versions. The error says that the check could
// not be made.
func (l *Log) CheckLog(ctx context.Context) ([]Problem, error) {
	op := "check log of table " + l.table
	ls, err := l.list(ctx, "")
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	if len(ls.versions) == 0 {
		return nil, fault.New(fault.NotFound, op, "there is no table")
	}
	k := &logCheck{l: l, txnIDs: make(map[string]int64)}
	checkpoints := make(map[int64]bool)
	for _, v := range ls.checkpoints {
		checkpoints[v] = true
	}
	if ls.versions[0] == 0 {
		k.s = emptyState()
	}
	next := ls.versions[0]
	for _, v := range ls.versions {
		if v != next {
			k.add(ProblemGap, jsonName(next), "version %d is missing: the log goes on with %d", next, v)
			k.s = nil
		}
		next = v + 1
		c, err := l.version(ctx, v)
		switch {
		case fault.Is(err, fault.Corrupt):
			k.add(ProblemUnreadable, jsonName(v), "%v", err)
			k.s = nil
		case err != nil:
			return k.problems, fault.Wrap(op, err)
		default:
			if f := foreign(v, c); f != nil {
				k.add(ProblemForeign, jsonName(v), "version %d (%s by %s) %s", v, f.Operation, f.Engine, f.Reason)
				return k.problems, nil
			}
			k.version(v, c)
		}
		if checkpoints[v] {
			if err := k.checkpoint(ctx, v); err != nil {
				return k.problems, fault.Wrap(op, err)
			}
		}
	}
	if h, err := l.hint(ctx); err == nil && !checkpoints[h.Version] {
		k.add(ProblemCheckpoint, lastCheckpointName, "it names version %d, which has no checkpoint", h.Version)
	} else if fault.Is(err, fault.Corrupt) {
		k.add(ProblemUnreadable, lastCheckpointName, "%v", err)
	}
	return k.problems, nil
}

func (k *logCheck) add(kind, name, format string, args ...any) {
	k.problems = append(k.problems, Problem{kind, k.l.logKey(name), clipText(fmt.Sprintf(format, args...))})
}

// version checks a commit and applies it.
func (k *logCheck) version(v int64, c *commit) {
	name := jsonName(v)
	bad := func(format string, args ...any) { k.add(ProblemCommit, name, format, args...) }
	if c.ours() {
		switch other, twice := k.txnIDs[c.info.TxnID]; {
		case c.info.TxnID == "":
			bad("it has no txnId")
		case twice:
			bad("its txnId is that of version %d", other)
		}
		k.txnIDs[c.info.TxnID] = v
	}
	seen := make(map[string]bool)
	for _, a := range c.actions {
		path := ""
		switch {
		case a.Add != nil:
			path = a.Add.Path
		case a.Remove != nil:
			path = a.Remove.Path
		}
		if path != "" && seen[path] {
			bad("two actions of file %s", path)
		}
		seen[path] = true
	}
	if k.s == nil {
		return
	}
	if c.ours() {
		k.follows(v, c, bad)
	}
	k.s = k.s.apply(k.l.table, c)
}

// follows checks a commit of ours against the state it was built on.
func (k *logCheck) follows(v int64, c *commit, bad func(string, ...any)) {
	own := c.info.Trajlake
	seq := k.s.NextSeq
	told := int64(-1)
	for _, a := range c.actions {
		switch {
		case a.Add != nil:
			if k.s.Files.Get(a.Add.Path) != nil {
				bad("it adds file %s, which is live", a.Add.Path)
			}
			if !a.Add.fresh() {
				continue
			}
			if got := a.Add.Tags[TagFirstSeq]; got != fmt.Sprint(seq) {
				bad("file %s: %s is %q and should be %d", a.Add.Path, TagFirstSeq, got, seq)
			}
			if got := a.Add.Tags[TagVersion]; got != fmt.Sprint(v) {
				bad("file %s: %s is %q and should be %d", a.Add.Path, TagVersion, got, v)
			}
			n := numRecords(a.Add.Stats)
			if n < 0 {
				bad("file %s: the statistics lack numRecords", a.Add.Path)
			}
			seq += max(n, 0)
		case a.Remove != nil && k.s.Files.Get(a.Remove.Path) == nil:
			bad("it removes file %s, which is not live", a.Remove.Path)
		case a.Txn != nil && a.Txn.AppID == AppNextSeq:
			told = a.Txn.Version
		}
	}
	if own.NextSeq != seq {
		bad("nextSeq is %d; %d before and the rows of its files make %d", own.NextSeq, k.s.NextSeq, seq)
	}
	if told >= 0 && told != own.NextSeq || told < 0 && own.NextSeq != k.s.NextSeq {
		bad("txn %s says %d and nextSeq is %d", AppNextSeq, told, own.NextSeq)
	}
	if v > 0 && (c.info.ReadVersion == nil || *c.info.ReadVersion != v-1) {
		bad("it was not built on version %d", v-1)
	}
	if got := own.Snapshot[k.l.table]; got != (Position{v, own.NextSeq}) {
		bad("its vector has %+v for its own table", got)
	}
	if !own.Snapshot.Covers(k.s.Vector) {
		bad("its vector %v falls behind that of the version before, %v", own.Snapshot, k.s.Vector)
	}
}

// checkpoint compares the checkpoint of the version that was just applied.
func (k *logCheck) checkpoint(ctx context.Context, v int64) error {
	name := checkpointName(v)
	got, err := k.l.readCheckpoint(ctx, v, false)
	switch {
	case fault.Is(err, fault.Unsupported):
		return nil // another engine's: it is not used
	case fault.Is(err, fault.Corrupt):
		k.add(ProblemUnreadable, name, "%v", err)
		return nil
	case errors.Is(err, blob.ErrNotExist):
		return nil // cleaned meanwhile
	case err != nil:
		return err
	}
	if k.s == nil {
		k.s = got
		return nil
	}
	if d := difference(got, k.s); d != "" {
		k.add(ProblemCheckpoint, name, "it differs from the versions up to it: %s", d)
	}
	return nil
}

// difference tells one difference between a state that was read from a
// checkpoint and the fold of the versions; "" if there is none. Tombstones may
// have expired in the checkpoint.
func difference(got, want *State) string {
	switch {
	case got.NextSeq != want.NextSeq:
		return fmt.Sprintf("nextSeq %d, not %d", got.NextSeq, want.NextSeq)
	case !maps.Equal(got.Vector, want.Vector):
		return fmt.Sprintf("vector %v, not %v", got.Vector, want.Vector)
	case !reflect.DeepEqual(got.txns, want.txns):
		return fmt.Sprintf("transactions %v, not %v", got.txns, want.txns)
	case got.Protocol.MinReaderVersion != want.Protocol.MinReaderVersion || got.Protocol.MinWriterVersion != want.Protocol.MinWriterVersion:
		return "another protocol"
	case !sameMetadata(&got.Metadata, &want.Metadata):
		return "other metadata"
	}
	for f := range want.Files.All() {
		g := got.Files.Get(f.Path)
		if g == nil {
			return "file " + f.Path + " is missing"
		}
		if !sameFile(g, f) {
			return "file " + f.Path + " is described otherwise"
		}
	}
	for f := range got.Files.All() {
		if want.Files.Get(f.Path) == nil {
			return "file " + f.Path + " is not live"
		}
	}
	for r := range got.Tombstones() {
		if want.tombs.get(r) == nil {
			return "file " + r.Path + " was not removed"
		}
	}
	return ""
}

func sameFile(a, b *File) bool {
	return a.Size == b.Size && a.ModificationTime == b.ModificationTime && a.Stats == b.Stats &&
		a.FirstSeq == b.FirstSeq && a.Rows == b.Rows && a.Version == b.Version &&
		maps.Equal(a.Tags, b.Tags) && maps.Equal(a.PartitionValues, b.PartitionValues)
}

func sameMetadata(a, b *Metadata) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Description == b.Description && a.SchemaString == b.SchemaString &&
		a.Format.Provider == b.Format.Provider && maps.Equal(a.Format.Options, b.Format.Options) &&
		strings.Join(a.PartitionColumns, "\x00") == strings.Join(b.PartitionColumns, "\x00") &&
		value(a.CreatedTime) == value(b.CreatedTime) && maps.Equal(a.Configuration, b.Configuration)
}
