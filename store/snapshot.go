package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store/delta"
)

// Snapshot is one version of each table, fixed for ever. It is safe for
// concurrent use and needs no closing.
type Snapshot struct {
	lake   *Lake
	vector delta.Vector
	states map[string]*delta.State // physical states that serve it; each at least as new as the vector

	scorer string // "" = rewards of all; else of this one only
	folded atomic.Pointer[view]

	sortOnce sync.Once
	sorted   []*delta.File // of trajectories, by first place
}

// Head reads the tails of all logs and returns the newest snapshot.
func (l *Lake) Head(ctx context.Context) (*Snapshot, error) {
	states, err := l.refresh(ctx)
	if err != nil {
		return nil, err
	}
	v := delta.Vector{}
	for name, st := range states {
		v[name] = delta.Position{Version: st.Version, NextSeq: st.NextSeq}
	}
	return &Snapshot{lake: l, vector: v, states: states}, nil
}

// refresh brings every log up to date.
func (l *Lake) refresh(ctx context.Context) (map[string]*delta.State, error) {
	states := make(map[string]*delta.State, len(l.logs))
	for _, t := range schema.Tables() {
		st, err := l.logs[t.Name].Refresh(ctx)
		if err != nil {
			return nil, fault.Wrap("read the log of "+t.Name, err)
		}
		if st.Foreign != nil {
			l.log.Warn("reading stops before a foreign commit", "table", t.Name, "version", st.Foreign.Version, "operation", st.Foreign.Operation)
		}
		states[t.Name] = st
	}
	return states, nil
}

// At is the snapshot that ref names: "" is the head, a decimal number the
// vector in that version of trajectories, anything else a token of Token.
func (l *Lake) At(ctx context.Context, ref string) (*Snapshot, error) {
	if ref == "" {
		return l.Head(ctx)
	}
	op := "open snapshot " + ref
	states, err := l.refresh(ctx)
	if err != nil {
		return nil, err
	}
	var v delta.Vector
	if n, nerr := strconv.ParseInt(ref, 10, 64); nerr == nil {
		v, err = l.vectorOf(ctx, n, states)
	} else {
		v, err = l.decodeToken(ref)
	}
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	for name, st := range states {
		p, ok := v[name]
		if !ok {
			p = delta.Position{Version: 0}
			v[name] = p
		}
		if p.Version > st.Version || p.NextSeq > st.NextSeq || p.Version < 0 || p.NextSeq < 0 {
			return nil, fault.New(fault.NotFound, op, "%s has no version %d with %d rows; its newest is %d", name, p.Version, p.NextSeq, st.Version).
				WithHint("`trajlake versions` lists what there is; a token belongs to one lake")
		}
	}
	return &Snapshot{lake: l, vector: v, states: states}, nil
}

// vectorOf is the vector that version n of trajectories states.
func (l *Lake) vectorOf(ctx context.Context, n int64, states map[string]*delta.State) (delta.Vector, error) {
	name := schema.Trajectories.Name
	if head := states[name]; n > head.Version || n < 0 {
		return nil, fault.New(fault.NotFound, "", "there is no version %d; the newest is %d", n, head.Version).
			WithHint("`trajlake versions` lists them")
	}
	at, err := l.logs[name].Logical(ctx, n)
	if err != nil {
		return nil, err
	}
	out := delta.Vector{name: {Version: n, NextSeq: at.NextSeq}}
	for table, p := range at.Vector {
		if table != name {
			out[table] = p
		}
	}
	return out, nil
}

// Version is the version of the trajectories table.
func (s *Snapshot) Version() int64 { return s.vector[schema.Trajectories.Name].Version }

// Count is how many rows were ever committed to t, up to the snapshot.
func (s *Snapshot) Count(t *schema.Table) int64 { return s.vector[t.Name].NextSeq }

// Position is the version and row count of t in the snapshot.
func (s *Snapshot) Position(t *schema.Table) (version, nextSeq int64) {
	p := s.vector[t.Name]
	return p.Version, p.NextSeq
}

// Lake is the lake that the snapshot belongs to.
func (s *Snapshot) Lake() *Lake { return s.lake }

// tokenPrefix marks the first form of tokens.
const tokenPrefix = "s1."

// Token is the snapshot's opaque name: it opens the same snapshot again on any
// node, on any copy of the lake that is at least as new.
func (s *Snapshot) Token() string { return s.lake.encodeToken(s.vector) }

// lakeMark is the beginning of a token: part of the hash of the lake's id, which
// copies of the lake share.
func (l *Lake) lakeMark() []byte {
	sum := sha256.Sum256([]byte(l.meta.LakeID))
	return sum[:4]
}

func (l *Lake) encodeToken(v delta.Vector) string {
	b := l.lakeMark()
	for _, t := range schema.Tables() {
		p := v[t.Name]
		b = binary.AppendUvarint(b, uint64(p.Version))
		b = binary.AppendUvarint(b, uint64(p.NextSeq))
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

func (l *Lake) decodeToken(token string) (delta.Vector, error) {
	bad := fault.New(fault.Usage, "", "%.80q is neither a version nor a snapshot token", token).
		WithHint("take the \"version\" or the \"snapshot\" of an answer")
	if len(token) < len(tokenPrefix) || token[:len(tokenPrefix)] != tokenPrefix {
		return nil, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(token[len(tokenPrefix):])
	if err != nil || len(b) < 4 {
		return nil, bad
	}
	if !bytes.Equal(b[:4], l.lakeMark()) {
		return nil, fault.New(fault.Usage, "", "%.80q is a snapshot of another lake", token).
			WithHint("a token opens its own lake and copies of it")
	}
	b = b[4:]
	v := delta.Vector{}
	for _, t := range schema.Tables() {
		var n [2]int64
		for i := range n {
			u, used := binary.Uvarint(b)
			if used <= 0 || u > 1<<62 {
				return nil, bad
			}
			n[i], b = int64(u), b[used:]
		}
		v[t.Name] = delta.Position{Version: n[0], NextSeq: n[1]}
	}
	if len(b) != 0 {
		return nil, bad
	}
	return v, nil
}

// part is one data file of a snapshot and how many of its leading places count.
type part struct {
	table *schema.Table
	file  *delta.File
	limit int64 // places below this are in the snapshot
}

// parts yields the data files of t that hold rows of the snapshot, in log order.
func (s *Snapshot) parts(t *schema.Table) iter.Seq[part] {
	limit := s.vector[t.Name].NextSeq
	return func(yield func(part) bool) {
		for f := range s.states[t.Name].Files.All() {
			if f.FirstSeq >= limit {
				return
			}
			if !yield(part{t, f, limit}) {
				return
			}
		}
	}
}

// VersionInfo is one version of the trajectories table.
type VersionInfo struct {
	Version   int64     `json:"version"`
	At        time.Time `json:"at"`
	Operation string    `json:"operation"`
	Rows      int64     `json:"rows"` // that the version added
}

// History lists the versions of the trajectories table, oldest first.
func (l *Lake) History(ctx context.Context) ([]VersionInfo, error) {
	log := l.logs[schema.Trajectories.Name]
	if _, err := log.Refresh(ctx); err != nil {
		return nil, fault.Wrap("list versions", err)
	}
	var out []VersionInfo
	for e, err := range log.History(ctx) {
		if err != nil {
			return nil, fault.Wrap("list versions", err)
		}
		out = append(out, VersionInfo{Version: e.Version, At: e.At.UTC(), Operation: e.Operation, Rows: e.Rows})
	}
	slices.Reverse(out)
	return out, nil
}

// String names the snapshot for messages.
func (s *Snapshot) String() string { return fmt.Sprintf("version %d (%s)", s.Version(), s.Token()) }
