package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"trajlake/schema/fault"
	"trajlake/store/blob"
)

// The lake's own small objects beside the tables: specs of streams, claims and
// leases. Each is written once, by put-if-absent, and never changed or deleted:
// whoever comes second is told what stands there.
const (
	streamsPrefix = "_trajlake/streams/"
	claimsPrefix  = "_trajlake/claims/"
	leasesPrefix  = "_trajlake/leases/"
	specName      = "spec.json"
	claimSuffix   = ".json"
	noRun         = "-"     // stands for the run of claims without one
	maxName       = 100     // bytes of a stream's or run's name
	maxObject     = 8 << 20 // bytes of one such object
	numberDigits  = 20      // of a claim's first position and of an epoch: any uint64, in order as text
)

// PutStream stores the spec of the stream under name if there is none, and
// returns what stands there now. created tells whether this call put it there.
// body must be JSON. It is durable on return.
func (l *Lake) PutStream(ctx context.Context, name string, body []byte) (have []byte, created bool, err error) {
	op := "create stream " + name
	if err := checkName(op, "stream", name); err != nil {
		return nil, false, err
	}
	if !json.Valid(body) {
		return nil, false, fault.New(fault.Usage, op, "the spec is not JSON")
	}
	return l.putObject(ctx, op, streamKey(name), body)
}

// GetStream reads the spec of a stream; fault.NotFound where there is none.
func (l *Lake) GetStream(ctx context.Context, name string) ([]byte, error) {
	op := "read stream " + name
	if err := checkName(op, "stream", name); err != nil {
		return nil, err
	}
	return l.getObject(ctx, op, streamKey(name), "there is no such stream")
}

// ListStreams lists the names of the lake's streams, sorted.
func (l *Lake) ListStreams(ctx context.Context) ([]string, error) {
	var out []string
	for info, err := range l.bucket.List(ctx, streamsPrefix, "") {
		if err != nil {
			return nil, objectError("list streams", err)
		}
		name, file, _ := strings.Cut(info.Key[len(streamsPrefix):], "/")
		if file == specName && validName(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// PutClaim stores a claim of positions from first on if nobody has claimed them,
// and returns what stands there now. run "" is the chain without a run. won tells
// whether body is what stands there, so that a claim sent again after an unknown
// outcome is won; to tell claimants apart, body must name its author. When the
// store cannot be asked the error is Unavailable and the claim may stand or not.
func (l *Lake) PutClaim(ctx context.Context, stream, run string, first uint64, body []byte) (have []byte, won bool, err error) {
	op := fmt.Sprintf("claim positions of stream %s from %d on", stream, first)
	prefix, err := claimPrefix(op, stream, run)
	if err != nil {
		return nil, false, err
	}
	have, _, err = l.putObject(ctx, op, prefix+number(first)+claimSuffix, body)
	return have, err == nil && bytes.Equal(have, body), err
}

// GetClaim reads the claim that begins at first; fault.NotFound where there is none.
func (l *Lake) GetClaim(ctx context.Context, stream, run string, first uint64) ([]byte, error) {
	op := fmt.Sprintf("read claim %d of stream %s", first, stream)
	prefix, err := claimPrefix(op, stream, run)
	if err != nil {
		return nil, err
	}
	return l.getObject(ctx, op, prefix+number(first)+claimSuffix, "no claim begins there")
}

// ListClaims yields the first positions of a chain's claims that are at least
// from, ascending. An error is yielded last. It walks the chain's whole folder:
// who knows the end of a chain asks for the next claim with GetClaim.
func (l *Lake) ListClaims(ctx context.Context, stream, run string, from uint64) iter.Seq2[uint64, error] {
	op := "list claims of stream " + stream
	return func(yield func(uint64, error) bool) {
		prefix, err := claimPrefix(op, stream, run)
		if err != nil {
			yield(0, err)
			return
		}
		for info, err := range l.bucket.List(ctx, prefix, startBefore(prefix, from)) {
			if err != nil {
				yield(0, objectError(op, err))
				return
			}
			name, ok := strings.CutSuffix(info.Key[len(prefix):], claimSuffix)
			first, isNumber := parseNumber(name)
			if ok && isNumber && first >= from && !yield(first, nil) {
				return
			}
		}
	}
}

// ListRuns lists the runs that have claims of a stream, sorted; "" is the chain
// without a run.
func (l *Lake) ListRuns(ctx context.Context, stream string) ([]string, error) {
	op := "list runs of stream " + stream
	if err := checkName(op, "stream", stream); err != nil {
		return nil, err
	}
	prefix := claimsPrefix + stream + "/"
	var out []string
	for after := prefix; ; {
		run, err := l.firstRun(ctx, prefix, after)
		if err != nil {
			return nil, objectError(op, err)
		}
		if run == "" {
			break
		}
		after = prefix + run + "0" // '0' follows '/': beyond all that is in the run's folder
		switch {
		case run == noRun:
			out = append(out, "")
		case validName(run):
			out = append(out, run)
		}
	}
	slices.Sort(out)
	return out, nil
}

// firstRun is the folder of the first object after a key; "" if there is none.
func (l *Lake) firstRun(ctx context.Context, prefix, after string) (string, error) {
	for info, err := range l.bucket.List(ctx, prefix, after) {
		if err != nil {
			return "", err
		}
		if run, _, ok := strings.Cut(info.Key[len(prefix):], "/"); ok {
			return run, nil
		}
	}
	return "", nil
}

// PutLease stores the epoch of a lease if nobody has it, and returns what stands
// there now; won as in PutClaim: body must name its author, or two holders would
// take one epoch for theirs. A lease's name is one to four names joined by '/'.
// The greatest epoch counts: who has won one holds the lease only as long as
// LastLease shows no greater one.
func (l *Lake) PutLease(ctx context.Context, name string, epoch uint64, body []byte) (have []byte, won bool, err error) {
	op := fmt.Sprintf("take epoch %d of lease %s", epoch, name)
	prefix, err := leasePrefix(op, name)
	if err != nil {
		return nil, false, err
	}
	have, _, err = l.putObject(ctx, op, prefix+number(epoch), body)
	return have, err == nil && bytes.Equal(have, body), err
}

// LastLease reads the greatest epoch of a lease; fault.NotFound where there is none.
func (l *Lake) LastLease(ctx context.Context, name string) (epoch uint64, body []byte, err error) {
	op := "read lease " + name
	prefix, err := leasePrefix(op, name)
	if err != nil {
		return 0, nil, err
	}
	var from uint64
	if known, ok := l.epochs.Load(name); ok {
		from, _ = known.(uint64)
	}
	found := false
	for info, err := range l.bucket.List(ctx, prefix, startBefore(prefix, from)) {
		if err != nil {
			return 0, nil, objectError(op, err)
		}
		if n, ok := parseNumber(info.Key[len(prefix):]); ok { // else a lease whose name begins with this one's
			epoch, found = max(epoch, n), true
		}
	}
	if !found {
		return 0, nil, fault.New(fault.NotFound, op, "nobody has taken it yet")
	}
	if body, err = l.getObject(ctx, op, prefix+number(epoch), "the epoch is gone"); err != nil {
		return 0, nil, err
	}
	l.epochs.Store(name, epoch)
	return epoch, body, nil
}

// putObject creates an object and settles who created it: mine is true only when
// this call did. have is what the key holds.
func (l *Lake) putObject(ctx context.Context, op, key string, body []byte) (have []byte, mine bool, err error) {
	if err := l.writable(op); err != nil {
		return nil, false, err
	}
	if len(body) == 0 || len(body) > maxObject {
		return nil, false, fault.New(fault.Usage, op, "the object has %d bytes, it may have 1 to %d", len(body), maxObject)
	}
	err = blob.PutUnique(ctx, l.bucket, key, body)
	if l.noteNotDurable(err) {
		return nil, false, notDurable(op, err)
	}
	switch {
	case err == nil:
		return bytes.Clone(body), true, nil
	case errors.Is(err, blob.ErrExists):
		have, err := l.getObject(ctx, op, key, "it was there and is gone")
		return have, false, err
	}
	return nil, false, objectError(op, err)
}

// getObject reads a small object; absent is the message of fault.NotFound.
func (l *Lake) getObject(ctx context.Context, op, key, absent string) ([]byte, error) {
	body, err := l.bucket.Get(ctx, key, 0, -1)
	if errors.Is(err, blob.ErrNotExist) {
		return nil, fault.New(fault.NotFound, op, "%s", absent)
	}
	if err != nil {
		return nil, objectError(op, err)
	}
	return body, nil
}

// objectError gives a bucket's error its kind.
func objectError(op string, err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.WrapAs(fault.Cancelled, op, err)
	case errors.Is(err, blob.ErrDenied):
		return fault.WrapAs(fault.Denied, op, err)
	}
	return (&fault.Error{Kind: fault.Unavailable, Op: op, Err: err}).WithHint("try again: what was sent before counts once")
}

func streamKey(name string) string { return streamsPrefix + name + "/" + specName }

// claimPrefix is the folder of a chain of claims.
func claimPrefix(op, stream, run string) (string, error) {
	if err := checkName(op, "stream", stream); err != nil {
		return "", err
	}
	if run == "" || run == noRun {
		return claimsPrefix + stream + "/" + noRun + "/", nil
	}
	if err := checkName(op, "run", run); err != nil {
		return "", err
	}
	return claimsPrefix + stream + "/" + run + "/", nil
}

// leaseParts bounds the names in a lease's name.
const leaseParts = 4

func leasePrefix(op, name string) (string, error) {
	parts := strings.Split(name, "/")
	if len(parts) > leaseParts {
		return "", fault.New(fault.Usage, op, "a lease's name has at most %d parts", leaseParts)
	}
	for _, p := range parts {
		if p == noRun { // a part may be the run of a chain without one
			continue
		}
		if err := checkName(op, "lease", p); err != nil {
			return "", err
		}
	}
	return leasesPrefix + name + "/", nil
}

// checkName refuses what is no name of a stream, run or part of a lease.
func checkName(op, what, name string) error {
	if validName(name) {
		return nil
	}
	return fault.New(fault.Usage, op, "%.120q is no name of a %s", name, what).
		WithField(what).WithHint("1 to %d of the letters A-Z, a-z, the digits and . _ -; not beginning with a dot, and not - alone", maxName)
}

func validName(name string) bool {
	if name == "" || name == noRun || len(name) > maxName || name[0] == '.' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

func number(n uint64) string { return fmt.Sprintf("%0*d", numberDigits, n) }

func parseNumber(text string) (uint64, bool) {
	if len(text) != numberDigits || text[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}

// startBefore is the key after which a list of numbered objects begins with n.
func startBefore(prefix string, n uint64) string {
	if n == 0 {
		return prefix
	}
	return prefix + number(n-1) + afterNumber
}

// afterNumber, behind a number, is above every object of that number.
const afterNumber = "z"
