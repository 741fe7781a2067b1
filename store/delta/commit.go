package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// ErrNothing is returned by a Build that has nothing to commit, and then by
// Commit, together with the state it was built on.
var ErrNothing = errors.New("nothing to commit")

// Tx is one commit to be made.
type Tx struct {
	// Base is a state that the caller has seen, at most as new as Head. Commit
	// builds on the newest state that is known. Nil is fine.
	Base *State
	// Vector is what the writer knows of the versions of all tables. The
	// component of this table is put in by Commit.
	Vector Vector
	// Build gives the actions of a commit on top of base. It is called again,
	// with a newer base, after each lost race, and its error ends the Commit.
	//
	// At most one action may be a CommitInfo; what it leaves out is filled in,
	// and of its Trajlake part only IDs is looked at. Files that bring new rows
	// have DataChange, statistics with numRecords, and no TagPlaces; Commit
	// gives them their places in the order of the actions.
	Build func(ctx context.Context, base *State) ([]Action, error)
}

// Result of a Commit.
type Result struct {
	Version  int64  // the version that was made
	State    *State // the table at it
	Attempts int    // versions that were tried for
}

// Commit makes the next version of the table. It returns nil only when the
// version is durable and visible to every reader.
//
// fault.Unavailable: the store cannot be reached, or did not say in time
// whether the version was written. The data files have to be kept: the commit
// may be there, and the caller finds out by the ids of its rows.
// fault.Unsupported: the log ends with a commit that is not interpreted.
// fault.Conflict: the actions take away a file that is not live, or add one
// that is. The error of Build is returned as it is.
func (l *Log) Commit(ctx context.Context, tx Tx) (Result, error) {
	op := "commit to table " + l.table
	if err := acquire(ctx, l.committing); err != nil {
		return Result{}, fault.Wrap(op, err)
	}
	defer release(l.committing)

	base, err := l.commitBase(ctx)
	if err != nil {
		return Result{}, fault.Wrap(op, err)
	}
	txnID := l.opt.NewID()
	for n := 1; ; n++ {
		if base.Foreign != nil {
			return Result{}, base.Foreign.err(op, l.table)
		}
		res, err := l.attempt(ctx, tx, base, txnID)
		res.Attempts += n - 1
		if !errors.Is(err, errLost) {
			if errors.Is(err, ErrNothing) {
				return res, err
			}
			return res, fault.Wrap(op, err)
		}
		l.setCrowded(true)
		won := base.Version + 1
		if base, err = l.afterLoss(ctx, won); err != nil {
			return Result{}, fault.Wrap(op, err)
		}
	}
}

// errLost says that another commit has the version.
var errLost = errors.New("version is taken")

// commitBase is the state for the first attempt.
func (l *Log) commitBase(ctx context.Context) (*State, error) {
	l.mu.Lock()
	base, seen := l.head, l.seen
	l.mu.Unlock()
	if base.Foreign == nil && !l.stale(seen) {
		return base, nil
	}
	return l.Refresh(ctx)
}

// afterLoss reads the winner of version v and what came after it.
func (l *Log) afterLoss(ctx context.Context, v int64) (*State, error) {
	for n := 1; ; n++ {
		s, err := l.Refresh(ctx)
		if err != nil {
			return nil, err
		}
		if s.Version >= v || s.Foreign != nil {
			return s, nil
		}
		if n == 5 {
			return nil, fault.New(fault.Unavailable, "", "the store says that version %d exists, and does not give it", v)
		}
		if err := sleep(ctx, backoff(n)); err != nil {
			return nil, err
		}
	}
}

// attempt builds on base and puts the version after it. Losing is errLost.
func (l *Log) attempt(ctx context.Context, tx Tx, base *State, txnID string) (Result, error) {
	res := Result{Version: base.Version, State: base}
	l.mu.Lock()
	seen, crowded := l.seen, l.crowded // no version after base existed when it was seen
	l.mu.Unlock()
	actions, err := tx.Build(ctx, base)
	if err != nil {
		return res, err
	}
	if crowded {
		seen = l.opt.Now()
		if base, actions, err = l.catchUp(ctx, tx, base, actions); err != nil {
			return Result{Version: base.Version, State: base}, err
		}
	}
	c, err := l.stamp(base, actions, tx.Vector, txnID)
	if err != nil {
		return res, err
	}
	body, err := encodeCommit(append([]Action{{CommitInfo: &c.info}}, c.actions...))
	if err != nil {
		return res, fault.WrapAs(fault.Internal, "encode version", err)
	}
	v := base.Version + 1
	start := l.opt.Now()
	mine, err := l.putVersion(ctx, v, body, c.info.TxnID)
	if err != nil {
		return res, err
	}
	res.Attempts = 1
	if !mine {
		return res, errLost
	}
	if l.stale(seen) {
		if err := l.checkNotCleaned(ctx, v); err != nil {
			return res, err
		}
	}
	s := base.apply(l.table, c)
	l.advance(s, start)
	l.checkpointIfDue(s)
	return Result{Version: v, State: s, Attempts: 1}, nil
}

// catchUp builds again on what other writers put while tx was being built. It is
// for when they have lately been faster: to look is cheaper than to lose, since a
// put that loses has flushed its bytes for nothing. It returns the base to commit on.
func (l *Log) catchUp(ctx context.Context, tx Tx, base *State, actions []Action) (*State, []Action, error) {
	s, err := l.Refresh(ctx)
	if err != nil {
		return base, nil, err
	}
	if s.Version == base.Version {
		l.setCrowded(false)
		return base, actions, nil
	}
	if s.Foreign != nil {
		return s, nil, s.Foreign.err("", l.table)
	}
	actions, err = tx.Build(ctx, s)
	return s, actions, err
}

func (l *Log) setCrowded(v bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.crowded = v
}

// checkNotCleaned is for a writer that was stopped for long between building
// and putting: version v may be one that a cleaner had removed, and then no
// reader will ever see what was just put.
func (l *Log) checkNotCleaned(ctx context.Context, v int64) error {
	cleaned, err := l.cleaned(ctx)
	if err != nil {
		return err
	}
	if v > cleaned {
		return nil
	}
	key := l.logKey(jsonName(v))
	if err := l.b.Delete(ctx, key); err != nil {
		return storeError("delete "+key, err)
	}
	return errLost
}

// stamp orders the actions, checks them and writes in what Commit promises:
// places, nextSeq, vector and the rest of the commitInfo.
func (l *Log) stamp(base *State, actions []Action, vector Vector, txnID string) (*commit, error) {
	version := base.Version + 1
	c := &commit{actions: make([]Action, 0, len(actions)+1)}
	own := Trajlake{NextSeq: base.NextSeq}
	ck := checker{base: base, seen: make(map[string]bool)}
	for _, a := range actions {
		if err := ck.check(a); err != nil {
			return nil, err
		}
		switch {
		case a.CommitInfo != nil:
			c.info = *a.CommitInfo
			if a.CommitInfo.Trajlake != nil {
				own.IDs = a.CommitInfo.Trajlake.IDs
			}
			continue
		case a.Add != nil && a.Add.fresh():
			add := *a.Add
			add.Tags = maps.Clone(add.Tags)
			if add.Tags == nil {
				add.Tags = make(map[string]string)
			}
			add.Tags[TagFirstSeq] = strconv.FormatInt(own.NextSeq, 10)
			add.Tags[TagVersion] = strconv.FormatInt(version, 10)
			own.NextSeq += numRecords(add.Stats)
			a.Add = &add
		}
		c.actions = append(c.actions, a)
	}
	if len(own.IDs) > MaxIDs {
		own.IDs = nil
	}
	if own.NextSeq != base.NextSeq {
		c.actions = append([]Action{{Txn: &Txn{AppID: AppNextSeq, Version: own.NextSeq}}}, c.actions...)
	}
	own.Snapshot = base.Vector.Max(vector)
	own.Snapshot[l.table] = Position{version, own.NextSeq}
	if c.info.TxnID == "" {
		c.info.TxnID = txnID
	}
	l.fillInfo(&c.info, "WRITE", map[string]string{})
	c.info.ReadVersion = &base.Version
	if c.info.IsolationLevel == "" {
		c.info.IsolationLevel = "WriteSerializable"
	}
	blind := ck.blind()
	c.info.IsBlindAppend = &blind
	c.info.Trajlake = &own
	return c, nil
}

// checker looks for actions that must not stand in one commit, or not on base.
type checker struct {
	base                       *State
	seen                       map[string]bool
	change, rearrange, removes bool
	declares                   bool // the table's schema or properties
}

// blind reports whether the commit only appends, without having read anything.
func (k *checker) blind() bool { return !k.removes && !k.rearrange && !k.declares }

func (k *checker) once(what, name string) error {
	key := what + "\x00" + name
	if k.seen[key] {
		return fault.New(fault.Internal, "", "two %s actions of %q in one commit", what, name)
	}
	k.seen[key] = true
	return nil
}

func (k *checker) check(a Action) error {
	switch {
	case a.Add != nil:
		return k.checkAdd(a.Add)
	case a.Remove != nil:
		k.removes = true
		if err := k.mode(a.Remove.DataChange); err != nil {
			return err
		}
		if k.base.Files.Get(a.Remove.Path) == nil {
			return fault.New(fault.Conflict, "", "remove %s: the file is not live at version %d", a.Remove.Path, k.base.Version)
		}
		return k.once("file", a.Remove.Path)
	case a.Txn != nil:
		if a.Txn.AppID == AppNextSeq {
			return fault.New(fault.Internal, "", "txn %s is written by Commit itself", AppNextSeq)
		}
		return k.once("txn", a.Txn.AppID)
	case a.CommitInfo != nil:
		return k.once("commitInfo", "")
	case a.Metadata != nil:
		k.declares = true
		return k.once("metaData", "")
	case a.Protocol != nil:
		if err := checkProtocol(*a.Protocol); err != nil {
			return fault.WrapAs(fault.Unsupported, "", err)
		}
		return k.once("protocol", "")
	}
	return fault.New(fault.Internal, "", "an empty action")
}

func (k *checker) checkAdd(a *Add) error {
	if err := blob.CheckKey(a.Path); err != nil || a.Path[0] == '_' {
		return fault.New(fault.Internal, "", "add %.80q: the path has to be a key that does not begin with _", a.Path)
	}
	if err := k.mode(a.DataChange); err != nil {
		return err
	}
	if k.base.Files.Get(a.Path) != nil {
		return fault.New(fault.Conflict, "", "add %s: the file is live at version %d already", a.Path, k.base.Version)
	}
	if a.fresh() && numRecords(a.Stats) < 0 {
		return fault.New(fault.Internal, "", "add %s: the statistics lack numRecords", a.Path)
	}
	if a.PartitionValues == nil {
		return fault.New(fault.Internal, "", "add %s: partitionValues are missing", a.Path)
	}
	return k.once("file", a.Path)
}

// mode refuses a mix of dataChange true and false in one commit.
func (k *checker) mode(dataChange bool) error {
	k.change = k.change || dataChange
	k.rearrange = k.rearrange || !dataChange
	if k.change && k.rearrange {
		return fault.New(fault.Internal, "", "dataChange is true and false in one commit")
	}
	return nil
}

// putVersion puts body as version v if there is none, and finds out whether it
// is there: mine is false when another commit has the version. An error says
// that it is not known, or that nothing was written.
func (l *Log) putVersion(ctx context.Context, v int64, body []byte, txnID string) (mine bool, err error) {
	key := l.logKey(jsonName(v))
	op := "put " + key
	limit, cancel := context.WithTimeout(ctx, l.opt.Patience)
	defer cancel()
	unknown := false
	for n := 1; ; n++ {
		err := l.b.Put(limit, key, body, blob.PutOptions{IfAbsent: true})
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, blob.ErrNotDurable):
			return false, (&fault.Error{Kind: fault.Unavailable, Op: op, Err: err}).
				WithHint("The storage failed to flush. Nothing of this commit was acknowledged. Stop this process and check the disk; the data files are kept.")
		case limit.Err() != nil && ctx.Err() == nil: // our own patience ended, not the caller's
			unknown = unknown || errors.Is(err, blob.ErrUnknown)
			return l.lastLook(ctx, key, body, txnID, unknown, err)
		case definite(err) && !unknown:
			return false, storeError(op, err)
		}
		unknown = unknown || errors.Is(err, blob.ErrUnknown)
		was, readErr := l.readBack(limit, key, body, txnID)
		switch {
		case readErr == nil && was == versionMine:
			return true, nil
		case readErr == nil && was == versionOther:
			return false, nil
		case readErr != nil:
			err = errors.Join(err, readErr)
		}
		if sleep(limit, backoff(n)) != nil {
			return l.lastLook(ctx, key, body, txnID, unknown, err)
		}
	}
}

// definite reports a failure that rules out a write and that trying again does
// not mend. Of a Bucket's errors only ErrUnknown leaves the outcome open.
func definite(err error) bool {
	return !errors.Is(err, blob.ErrUnknown) && !errors.Is(err, blob.ErrUnavailable) && !errors.Is(err, blob.ErrExists)
}

// lastLook reads the version back once more when the caller's time is up, so
// that an answer that can be had is given.
func (l *Log) lastLook(ctx context.Context, key string, body []byte, txnID string, unknown bool, cause error) (bool, error) {
	const grace = 2 * time.Second
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	switch was, err := l.readBack(late, key, body, txnID); {
	case err == nil && was == versionMine:
		return true, nil
	case err == nil && was == versionOther:
		return false, nil
	}
	what := "nothing was committed"
	if unknown {
		what = "it is not known whether the version was committed"
	}
	e := fault.New(fault.Unavailable, "put "+key, "%s; the data files are kept", what).
		WithHint("The store cannot be reached. Send the same rows again later: those that are in the lake are answered as duplicates.")
	e.Err = cause
	return false, e
}

type ownership int

const (
	versionAbsent ownership = iota
	versionMine
	versionOther
)

// readBack reads whose commit a version is.
func (l *Log) readBack(ctx context.Context, key string, body []byte, txnID string) (ownership, error) {
	got, err := l.b.Get(ctx, key, 0, -1)
	switch {
	case errors.Is(err, blob.ErrNotExist):
		return versionAbsent, nil
	case err != nil:
		return versionAbsent, fmt.Errorf("read back: %w", err)
	case bytes.Equal(got, body):
		return versionMine, nil
	}
	if c, err := parseCommit(got); err == nil && c.info.TxnID == txnID {
		return versionMine, nil
	}
	return versionOther, nil
}

// backoff is the pause after the n-th failed try.
func backoff(n int) time.Duration {
	return min(10*time.Millisecond<<min(n, 10), 2*time.Second)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
