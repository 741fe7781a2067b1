package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"trajlake/schema/fault"
)

// Kinds of problems of the lake's small objects.
const (
	ProblemStream = "stream" // a spec that is missing or damaged
	ProblemClaim  = "claim"  // a claim that is damaged, or does not go on where the one before ends
)

// objects checks the specs of streams and the chains of claims. A missing link is
// damage: nothing fills it.
func (v *verifier) objects(ctx context.Context) error {
	names, err := v.l.ListStreams(ctx)
	if err != nil {
		return err
	}
	hashes := map[string]string{}
	for _, name := range names {
		if hashes[name], err = v.stream(ctx, name); err != nil {
			return err
		}
	}
	claimed, err := v.claimed(ctx)
	if err != nil {
		return err
	}
	for _, stream := range claimed {
		if _, ok := hashes[stream]; !ok {
			v.problem(ProblemStream, streamKey(stream), "there are claims of this stream, and it is not there")
		}
		runs, err := v.l.ListRuns(ctx, stream)
		if err != nil {
			return err
		}
		for _, run := range runs {
			if err := v.chain(ctx, stream, run, hashes[stream]); err != nil {
				return err
			}
		}
	}
	return nil
}

// claimed lists the streams that have claims.
func (v *verifier) claimed(ctx context.Context) (out []string, err error) {
	for after := claimsPrefix; ; {
		stream, err := v.l.firstRun(ctx, claimsPrefix, after)
		if err != nil {
			return nil, objectError("list claims", err)
		}
		if stream == "" {
			return out, nil
		}
		after = claimsPrefix + stream + "0" // beyond its folder
		if !validName(stream) {
			v.problem(ProblemClaim, claimsPrefix+stream, "this is no name of a stream")
			continue
		}
		out = append(out, stream)
	}
}

// stream checks the spec of one stream and returns the hash that it states.
func (v *verifier) stream(ctx context.Context, name string) (hash string, err error) {
	body, err := v.l.GetStream(ctx, name)
	if err != nil {
		return "", err
	}
	var spec struct {
		Stream *string         `json:"stream"`
		Hash   string          `json:"spec_hash"`
		Spec   json.RawMessage `json:"spec"`
	}
	key := streamKey(name)
	if err := json.Unmarshal(body, &spec); err != nil {
		v.problem(ProblemStream, key, "it is not JSON: %v", err)
		return "", nil
	}
	if spec.Stream != nil && *spec.Stream != name {
		v.problem(ProblemStream, key, "it says that it is stream %q", *spec.Stream)
	}
	if spec.Hash != "" && spec.Spec != nil {
		if sum := sha256.Sum256(spec.Spec); hex.EncodeToString(sum[:]) != spec.Hash {
			v.problem(ProblemStream, key, "its spec has the hash %x, it says %s", sum, spec.Hash)
		}
	}
	return spec.Hash, nil
}

// claimLink is what a chain's check needs of a claim.
type claimLink struct {
	Stream   *string `json:"stream"`
	Run      *string `json:"run"`
	Hash     string  `json:"spec_hash"`
	Snapshot string  `json:"snapshot"`
	First    *uint64 `json:"first"`
	Count    uint64  `json:"count"`
	Previous *string `json:"previous"`

	at  uint64 // the position in its name
	err error  // of reading or parsing
}

// claimReaders is how many claims are read at a time.
const claimReaders = 16

// chain checks the claims of one run of a stream: from position 0 on each begins
// where the one before ends and names it.
func (v *verifier) chain(ctx context.Context, stream, run, hash string) error {
	var firsts []uint64
	for first, err := range v.l.ListClaims(ctx, stream, run, 0) {
		if err != nil {
			return err
		}
		firsts = append(firsts, first)
	}
	prefix, err := claimPrefix("", stream, run)
	if err != nil {
		return err
	}
	next, previous, open := uint64(0), "", true // open: next is known
	for batch := range slices.Chunk(firsts, 256) {
		for _, c := range v.readClaims(ctx, stream, run, batch) {
			key := prefix + number(c.at) + claimSuffix
			if c.err != nil {
				if fault.Is(c.err, fault.Cancelled) || fault.Is(c.err, fault.Unavailable) {
					return c.err
				}
				v.problem(ProblemClaim, key, "%v", c.err)
				next, previous, open = 0, number(c.at), false
				continue
			}
			if open && c.at > next { // put while the folder was listed?
				if late, err := v.linkAt(ctx, stream, run, next, c.at); err != nil {
					return err
				} else if late != nil {
					next, previous = c.at, number(late.at)
				}
			}
			if err := v.link(ctx, c, key, stream, run, hash); err != nil {
				return err
			}
			switch {
			case !open:
			case c.at > next:
				v.problem(ProblemClaim, key, "a link is missing: the claim before ends at position %d", next)
			case c.at < next:
				v.problem(ProblemClaim, key, "the claim before it goes to position %d", next)
			case c.Previous != nil && strings.TrimSuffix(*c.Previous, claimSuffix) != previous:
				v.problem(ProblemClaim, key, "it says that it follows %q, it follows %q", *c.Previous, previous)
			}
			next, previous, open = c.at+c.Count, number(c.at), true
		}
	}
	return nil
}

// link checks one claim by itself.
func (v *verifier) link(ctx context.Context, c claimLink, key, stream, run, hash string) error {
	switch {
	case c.First == nil || *c.First != c.at:
		v.problem(ProblemClaim, key, "it does not say that it begins at %d", c.at)
	case c.Count == 0 || c.at+c.Count < c.at:
		v.problem(ProblemClaim, key, "it holds %d positions", c.Count)
	case c.Stream != nil && *c.Stream != stream, c.Run != nil && *c.Run != run:
		v.problem(ProblemClaim, key, "it says that it is of another stream or run")
	case c.Hash != "" && hash != "" && c.Hash != hash:
		v.problem(ProblemClaim, key, "it was made for the spec %s, the stream has %s", c.Hash, hash)
	}
	if c.Snapshot == "" {
		return nil
	}
	vector, err := v.l.decodeToken(c.Snapshot)
	if err != nil {
		v.problem(ProblemClaim, key, "its snapshot: %v", err)
		return nil
	}
	for name, p := range vector {
		st := v.l.logs[name].Head()
		if p.Version > st.Version || p.NextSeq > st.NextSeq { // the lake may have grown since the check began
			if st, err = v.l.logs[name].Refresh(ctx); err != nil {
				return err
			}
		}
		if p.Version > st.Version || p.NextSeq > st.NextSeq {
			v.problem(ProblemClaim, key, "its snapshot holds version %d of %s, the newest is %d", p.Version, name, st.Version)
		}
	}
	return nil
}

// linkAt looks for claims between next and the position end that the list did not
// show, since they were put while it was made; it returns the last if they close
// the gap, nil if they do not.
func (v *verifier) linkAt(ctx context.Context, stream, run string, next, end uint64) (*claimLink, error) {
	for {
		c := v.readClaims(ctx, stream, run, []uint64{next})[0]
		switch {
		case fault.Is(c.err, fault.Cancelled), fault.Is(c.err, fault.Unavailable):
			return nil, c.err
		case c.err != nil, c.Count == 0, c.at+c.Count > end, c.at+c.Count < c.at:
			return nil, nil
		case c.at+c.Count == end:
			return &c, nil
		}
		next = c.at + c.Count
	}
}

// readClaims reads claims by their first positions, in order.
func (v *verifier) readClaims(ctx context.Context, stream, run string, firsts []uint64) []claimLink {
	out := make([]claimLink, len(firsts))
	var wg sync.WaitGroup
	for w := range min(claimReaders, len(firsts)) {
		wg.Go(func() {
			for i := w; i < len(firsts); i += claimReaders {
				c := &out[i]
				body, err := v.l.GetClaim(ctx, stream, run, firsts[i])
				if err == nil {
					if err = json.Unmarshal(body, c); err != nil {
						err = fault.WrapAs(fault.Corrupt, "it is not JSON", err)
					}
				}
				c.at, c.err = firsts[i], err
			}
		})
	}
	wg.Wait()
	return out
}
