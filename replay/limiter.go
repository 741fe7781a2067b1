package replay

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"trajlake/schema/fault"
)

// Why a batch cannot be drawn yet.
const (
	WaitMinSize = "min_size"           // the lake has fewer rows than limiter.min_size
	WaitRatio   = "samples_per_insert" // samples are as far ahead of inserts as the limiter lets them
	WaitDry     = "stratum"            // a stratum is dry, and the spec says wait
	WaitGroup   = "group"              // members of groups are awaited
)

// Wait is a reason why a batch cannot be drawn yet; the zero value is none.
type Wait struct {
	Reason  string // WaitMinSize, …
	Stratum string // of WaitDry
	Have    int64  // rows there are, samples taken, or units that can be drawn
	Want    int64  // that are needed
}

// String tells a person why a trainer waits.
func (w Wait) String() string {
	switch w.Reason {
	case "":
		return "nothing to wait for"
	case WaitMinSize:
		return fmt.Sprintf("starved for inserts: %d of %d rows (limiter.min_size)", w.Have, w.Want)
	case WaitRatio:
		return fmt.Sprintf("limited by ratio: %d samples are taken, %d more need more inserts (limiter.samples_per_insert)", w.Have, w.Want)
	case WaitDry:
		return fmt.Sprintf("stratum %s is dry: %d of %d units", w.Stratum, w.Have, w.Want)
	case WaitGroup:
		return fmt.Sprintf("groups are incomplete: %d of %d can be drawn", w.Have, w.Want)
	}
	return "waiting for " + w.Reason
}

// Waited is how long a call waited for one reason.
type Waited struct {
	Wait
	For time.Duration
}

// allow says how many more units may be drawn: drawn were drawn in the chain so
// far, inserts rows are in the lake. Above 2^53 it is the nearest double's worth.
func (l Limiter) allow(inserts, drawn int64) (units int64, w Wait) {
	if inserts < l.MinSize {
		return 0, Wait{Reason: WaitMinSize, Have: inserts, Want: l.MinSize}
	}
	if l.SamplesPerInsert <= 0 {
		return math.MaxInt64, Wait{}
	}
	most := math.Floor(l.SamplesPerInsert*float64(inserts)) + float64(l.Slack)
	if most >= math.MaxInt64 {
		return math.MaxInt64, Wait{}
	}
	return max(int64(most)-drawn, 0), Wait{}
}

// batches is how many batches of so many units may be drawn.
func (l Limiter) batches(inserts, drawn, rows int64) (uint64, Wait) {
	units, w := l.allow(inserts, drawn)
	if w.Reason != "" {
		return 0, w
	}
	if units < rows {
		return 0, Wait{Reason: WaitRatio, Have: drawn, Want: rows - units}
	}
	return uint64(units / rows), Wait{}
}

// check refuses a limiter under which nothing could ever be drawn.
func (l Limiter) check(op string) error {
	if l.MinSize < 0 || l.Slack < 0 || l.SamplesPerInsert < 0 || math.IsNaN(l.SamplesPerInsert) || math.IsInf(l.SamplesPerInsert, 0) {
		return fault.New(fault.Usage, op, "min_size, samples_per_insert and slack are numbers from 0").WithField("limiter")
	}
	return nil
}

// limitJSON is a change of a stream's limiter as it is stored: one epoch of the
// lease limit/<stream>.
type limitJSON struct {
	Format           int     `json:"format"`
	Stream           string  `json:"stream"`
	MinSize          int64   `json:"min_size"`
	SamplesPerInsert float64 `json:"samples_per_insert"`
	Slack            int64   `json:"slack"`
	Node             string  `json:"node"`
	At               string  `json:"at"`
}

// limitState is what this process knows of a stream's limiter.
type limitState struct {
	mu   sync.Mutex
	read time.Time // when the lease was last read
	l    Limiter
}

// How long a changed limiter may go unnoticed by other nodes.
const limitAge = time.Second

// limiter is the limiter that holds now for a stream.
func (e *Engine) limiter(ctx context.Context, st *Stream) (Limiter, error) {
	e.mu.Lock()
	s := e.limits[st.Name]
	if s == nil {
		s = &limitState{l: st.Spec.Limiter}
		e.limits[st.Name] = s
	}
	e.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.read.IsZero() && time.Since(s.read) < limitAge {
		return s.l, nil
	}
	began := time.Now()
	_, body, err := e.lake.LastLease(ctx, limitName(st.Name))
	switch {
	case fault.Is(err, fault.NotFound):
		s.l = st.Spec.Limiter
	case err != nil:
		return Limiter{}, err
	default:
		if s.l, err = parseLimit(st.Name, body); err != nil {
			return Limiter{}, err
		}
	}
	s.read = began
	return s.l, nil
}

func limitName(stream string) string { return "limit/" + stream }

func parseLimit(stream string, body []byte) (Limiter, error) {
	op := "read the limiter of stream " + stream
	var j limitJSON
	if err := readObject(op, body, &j, &j.Format); err != nil {
		return Limiter{}, err
	}
	l := Limiter{MinSize: j.MinSize, SamplesPerInsert: j.SamplesPerInsert, Slack: j.Slack}
	return l, l.check(op)
}

// Limit puts another limiter in the place of a stream's, at once for this process
// and within a second for others. It says when claims are made, never what they
// hold: batches that were drawn stay as they are. The zero Limiter is off.
func (e *Engine) Limit(ctx context.Context, stream string, l Limiter) error {
	op := "change the limiter of stream " + stream
	if err := errorsFirst(e.open(op), l.check(op)); err != nil {
		return err
	}
	st, err := e.Get(ctx, stream)
	if err != nil {
		return err
	}
	if !st.Live() {
		return fault.New(fault.Usage, op, "the stream is pinned: it waits for nothing").WithField("limiter")
	}
	body := objectJSON(limitJSON{objectFormat, stream, l.MinSize, l.SamplesPerInsert, l.Slack, e.node, stamp(e.now())})
	if _, err := e.nextEpoch(ctx, limitName(stream), func(uint64, []byte) ([]byte, error) { return body, nil }); err != nil {
		return fault.Wrap(op, err)
	}
	e.mu.Lock()
	s := e.limits[stream]
	e.mu.Unlock()
	if s != nil {
		s.mu.Lock()
		s.read = time.Time{}
		s.mu.Unlock()
	}
	return nil
}

// errorsFirst is the first of several errors.
func errorsFirst(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// nextEpoch makes the next epoch of a lease: next gives its body from the body of
// the one before (nil where there is none), again after each lost race.
func (e *Engine) nextEpoch(ctx context.Context, name string, next func(epoch uint64, before []byte) ([]byte, error)) (uint64, error) {
	for range 100 {
		epoch, before, err := e.lake.LastLease(ctx, name)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return 0, err
		}
		body, err := next(epoch+1, before)
		if err != nil {
			return 0, err
		}
		_, won, err := e.lake.PutLease(ctx, name, epoch+1, body)
		if err != nil {
			return 0, err
		}
		if won {
			return epoch + 1, nil
		}
	}
	return 0, fault.New(fault.Unavailable, "take the next epoch of "+name, "others were faster, many times over").WithHint("try again")
}
