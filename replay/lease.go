package replay

import (
	"context"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"trajlake/schema/fault"
)

// runJSON is what is known of a run of a stream beside its claims and its ledger
// rows: one epoch of the lease run/<stream>/<run>. Each epoch holds everything.
type runJSON struct {
	Format    int              `json:"format"`
	Stream    string           `json:"stream"`
	Run       string           `json:"run"`
	Ranks     map[string]int64 `json:"ranks"`     // rank → incarnation: the epoch in which it joined last
	Rollbacks []rollbackJSON   `json:"rollbacks"` // the ones that still decide something
	Event     string           `json:"event"`     // what this epoch is: join or rollback
	Nonce     string           `json:"nonce"`     // tells two authors apart
	Node      string           `json:"node"`
	At        string           `json:"at"`
}

// rollbackJSON says that ledger rows of incarnations before Epoch do not count
// from step Step on.
type rollbackJSON struct {
	Epoch int64 `json:"epoch"`
	Step  int64 `json:"step"`
}

func runName(stream, run string) string { return "run/" + stream + "/" + run }

// incarnation is the last one of a rank; 0 where it never joined.
func (r *runJSON) incarnation(rank int32) int64 {
	if r == nil {
		return 0
	}
	return r.Ranks[strconv.Itoa(int(rank))]
}

// fence is the incarnation that acks must at least have: no rank may go on after a
// rollback without joining again.
func (r *runJSON) fence() int64 {
	if r == nil || len(r.Rollbacks) == 0 {
		return 0
	}
	return r.Rollbacks[len(r.Rollbacks)-1].Epoch
}

// rolledBack reports whether a row of an incarnation was taken back.
func (r *runJSON) rolledBack(incarnation, step int64) bool {
	return r != nil && slices.ContainsFunc(r.Rollbacks, func(b rollbackJSON) bool { return incarnation < b.Epoch && step >= b.Step })
}

// admit says whether an ack counts. The error has kind Conflict.
func (r *runJSON) admit(op string, a *Ack) error {
	if a.Incarnation < r.fence() {
		e := fault.New(fault.Conflict, op, "the run was rolled back in incarnation %d, this ack is of %d", r.fence(), a.Incarnation)
		if r.rolledBack(a.Incarnation, a.Step) {
			e.Msg += ": its step comes from the future"
		}
		return e.WithHint("join again and go on from the step that the run was rolled back to")
	}
	if now := r.incarnation(int32(a.Rank)); a.Incarnation < now {
		return fault.New(fault.Conflict, op, "rank %d has a later incarnation: %d, this ack is of %d", a.Rank, now, a.Incarnation).
			WithHint("another process goes on for this rank; this one should end")
	} else if a.Incarnation > now && a.Incarnation > 0 {
		return fault.New(fault.Conflict, op, "rank %d never had incarnation %d", a.Rank, a.Incarnation).WithHint("join first")
	}
	return nil
}

func parseRun(stream, run string, body []byte) (*runJSON, error) {
	op := "read run " + run + " of stream " + stream
	r := &runJSON{}
	if err := readObject(op, body, r, &r.Format); err != nil {
		return nil, err
	}
	if r.Stream != stream || r.Run != run {
		return nil, fault.New(fault.Corrupt, op, "it says that it is run %q of stream %q", r.Run, r.Stream)
	}
	return r, nil
}

// runState reads what is known of a run now; nil where nobody joined it.
func (e *Engine) runState(ctx context.Context, stream, run string) (*runJSON, error) {
	_, body, err := e.lake.LastLease(ctx, runName(stream, run))
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseRun(stream, run, body)
}

// changeRun makes the next epoch of a run.
func (e *Engine) changeRun(ctx context.Context, stream, run, event string, change func(epoch int64, r *runJSON)) (int64, error) {
	nonce := uuid.NewString()
	epoch, err := e.nextEpoch(ctx, runName(stream, run), func(epoch uint64, before []byte) ([]byte, error) {
		r := &runJSON{Format: objectFormat, Stream: stream, Run: run}
		if before != nil {
			var err error
			if r, err = parseRun(stream, run, before); err != nil {
				return nil, err
			}
		}
		if r.Ranks == nil {
			r.Ranks = map[string]int64{}
		}
		r.Event, r.Nonce, r.Node, r.At = event, nonce, e.node, stamp(e.now())
		change(int64(epoch), r)
		return objectJSON(r), nil
	})
	return int64(epoch), err
}

// Join begins a new incarnation of a rank of a run, the process that acks from now
// on: acks of the ones before are refused. Incarnations of a run only grow.
func (e *Engine) Join(ctx context.Context, stream, run string, rank int) (incarnation int64, err error) {
	op := "join run " + run + " of stream " + stream
	if err := e.checkRun(ctx, op, stream, run, rank); err != nil {
		return 0, err
	}
	incarnation, err = e.changeRun(ctx, stream, run, "join", func(epoch int64, r *runJSON) { r.Ranks[strconv.Itoa(rank)] = epoch })
	return incarnation, fault.Wrap(op, err)
}

// Rollback says that the run goes on from a step: what its incarnations so far
// consumed from that step on no longer counts, and every rank has to join again
// before it acks. Rows that were acked stay in the ledger, superseded.
func (e *Engine) Rollback(ctx context.Context, stream, run string, step int64) error {
	op := "roll run " + run + " of stream " + stream + " back"
	if err := e.checkRun(ctx, op, stream, run, 0); err != nil {
		return err
	}
	if step < 0 {
		return fault.New(fault.Usage, op, "steps count from 0, this is %d", step).WithField("step")
	}
	_, err := e.changeRun(ctx, stream, run, "rollback", func(epoch int64, r *runJSON) {
		// A later rollback to the same or an earlier step says all that one said.
		r.Rollbacks = slices.DeleteFunc(r.Rollbacks, func(b rollbackJSON) bool { return b.Step >= step })
		r.Rollbacks = append(r.Rollbacks, rollbackJSON{Epoch: epoch, Step: step})
	})
	return fault.Wrap(op, err)
}

// checkRun checks what a run's calls have in common.
func (e *Engine) checkRun(ctx context.Context, op, stream, run string, rank int) error {
	if err := e.open(op); err != nil {
		return err
	}
	if run == "" || run == "-" {
		return fault.New(fault.Usage, op, "it needs the name of a run").WithField("run")
	}
	if rank < 0 || rank >= maxWorld {
		return fault.New(fault.Usage, op, "ranks are from 0 to %d, this is %d", maxWorld-1, rank).WithField("rank")
	}
	_, err := e.Get(ctx, stream)
	return err
}

// maxWorld bounds the ranks of a run.
const maxWorld = 1 << 16
