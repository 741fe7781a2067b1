// Package replay draws batches of trajectories from a snapshot of the lake.
//
// A [Spec] says what a stream or a sample wants: which rows are eligible, how
// they are split over strata, what makes a row likely, how large a batch is. With
// a snapshot, a seed and a position it determines every batch; the law by which
// rows are drawn is package replay/law.
package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"time"
)

// The words of a spec. Which of them a key takes is in docs/reference/spec.schema.json.
const (
	Off = "off" // staleness, age_decay, caps, limiter

	Keyed = "keyed" // sampler
	Tree  = "tree"

	Live      = "live" // snapshot: a new one whenever the stream makes a claim
	Pinned    = "pinned"
	AtVersion = "version" // {version: 12}
	AtToken   = "token"   // {token: …}

	UnitTrajectory = "trajectory" // unit
	UnitGroup      = "group"
	UnitBranch     = "branch" // a path from the root to a leaf of a rollout that forked

	Versions = "versions" // unit of ages: policy versions, trainer steps, or wall time
	Steps    = "steps"
	Seconds  = "seconds"

	ByEffort     = "effort" // strata.by
	ByMode       = "mode"
	ByTaskSet    = "task_set"
	ByRewardBand = "reward_band"
	ByAge        = "age" // in bands, see Strata.Ages

	Unknown = "unknown" // stratum of rows whose column is null

	PerRows   = "rows" // strata.per
	PerTokens = "tokens"

	DryFail         = "fail" // strata.when_dry: no batch, an error
	DryWait         = "wait"
	DryRedistribute = "redistribute" // the slots go to the other strata
	DryAccept       = "accept"       // the batch is shorter

	WeightUniform      = "uniform" // weight
	WeightReward       = "reward"
	WeightAdvantage    = "advantage"    // its size
	WeightLearnability = "learnability" // p(1−p) of the row's task
	WeightPriority     = "priority"
	WeightExpr         = "expr"

	OrderFIFO   = "fifo" // weight, alone: no chance, rows come in an order
	OrderLIFO   = "lifo"
	OrderNewest = "newest" // the greatest policy version first

	All          = "all"           // group.members, group.stats
	Eligible     = "eligible"      // group.members, group.stats
	CompleteOnly = "complete_only" // group.stats

	TimeoutDrop  = "drop"  // group.on_timeout: it is not drawn
	TimeoutServe = "serve" // it is drawn as it is
	TimeoutPad   = "pad"   // it is drawn, and filled up to its size

	Keep = "keep" // group.zero_variance
	Drop = "drop"
)

// Spec is what a stream or a sample wants, see docs/reference/spec.md. In a Spec as it was
// written the zero value of a field means "not said"; Fill writes the defaults in.
type Spec struct {
	Law        int    // version of the law of the draw
	Sampler    string // Keyed or Tree
	Snapshot   Snapshot
	Unit       string    // what is drawn: UnitTrajectory, UnitGroup, …
	Where      string    // predicate over the folded view; "" lets every row through
	Split      []string  // splits whose rows may be drawn; none lets every row through
	Scorer     string    // whose rewards count; "" takes the newest of any scorer
	Require    Require   // what a row must have
	Difficulty Band      // pass rates of tasks whose rows may be drawn
	Staleness  Staleness // how old, by outcome, a row may be
	Fresh      Fresh     // the part of the slots that only fresh rows fill
	Strata     Strata
	Weight     []Weight // multiplied, or one order
	Beta       float64  // exponent of importance weights; 0 makes all of them 1
	AgeDecay   AgeDecay
	Caps       Caps
	Limiter    Limiter
	Group      Group
	Batch      BatchSize
	Columns    []string // top-level columns of trajectories that batches carry
	Tensors    []string // names of late or fat tensors that batches carry
	Seed       uint64

	betaSaid bool // a Beta of 0 was said, or filled in
}

// Snapshot says which state of the lake is drawn from.
type Snapshot struct {
	Mode    string // Live, Pinned, AtVersion or AtToken
	Version int64  // of the trajectories table, for AtVersion
	Token   string // for AtToken
}

// Require is what a row must have to be drawn.
type Require struct {
	Columns []string // top-level columns that are neither null nor empty
	Tensors []string // tensors that exist for the row
}

// Band is a range of pass rates, with both ends: the successes of a task among its
// rollouts with a reward. In a filled spec 0 to 1 is off.
type Band struct{ Min, Max float64 }

// Off tells whether the band lets every row through, those of tasks without a
// scored rollout too.
func (b Band) Off() bool { return b.Min <= 0 && b.Max >= 1 }

// Staleness bounds how far a row may be behind the trainer.
type Staleness struct {
	Success, Failure int64
	Unit             string // Off, or Versions, Steps, Seconds
}

// Fresh keeps a part of every stratum's slots for rows of at most an age: the
// anchor of a mix of new rows and replayed ones.
type Fresh struct {
	Share int32  // in 1/10,000 of the slots
	Age   int64  // greatest age of a fresh row
	Unit  string // Off, or Versions, Steps, Seconds
}

// Weight is one factor of a row's weight, or an order in its place.
type Weight struct {
	Name  string     // WeightUniform, …, WeightExpr, or OrderFIFO, …
	Expr  string     // for WeightExpr: a number over the folded columns
	Alpha float64    // exponent of the factor; not of uniform and of orders
	Prior [2]float64 // successes and failures that learnability adds to those of a task
}

// AgeDecay makes old rows less likely: weight × exp(−age/tau).
type AgeDecay struct {
	Tau  float64
	Unit string // Off, or Versions, Steps, Seconds
}

// TauMilli is tau in thousandths of its unit, as the law takes it.
func (d AgeDecay) TauMilli() int64 { return int64(math.Floor(float64(d.Tau*1000) + 0.5)) }

// Caps bound how often something comes; 0 is no bound.
type Caps struct {
	PerTask   int64 // rows of one task in a batch
	PerPrompt int64 // rows of one prompt in a batch
	Reuse     int64 // how often a row is drawn in the stream
	Cooldown  int64 // batches before a row is drawn again
}

// Limiter holds a stream back until there is enough, or enough new, data: units
// drawn ≤ samples per insert × rows + slack. The zero Limiter is off.
type Limiter struct {
	MinSize          int64   // rows in the lake before the first batch
	SamplesPerInsert float64 // 0 is no bound
	Slack            int64   // units that samples may run ahead
}

// Group says when a group of rollouts is drawn, and what comes back of it.
type Group struct {
	Size         int64         // rollouts of a complete group; 0 if any number is
	Min          int64         // members that must be eligible
	Timeout      time.Duration // how long a live stream waits for late members; pinned ones never wait
	OnTimeout    string        // TimeoutDrop, TimeoutServe, TimeoutPad
	Members      string        // All committed members come back, or only the Eligible ones
	Stats        string        // rollouts that group statistics are taken over: All, Eligible, CompleteOnly
	ZeroVariance string        // Keep, or Drop groups all of whose counted rewards are equal
}

// BatchSize is the size of a batch: units, or tokens.
type BatchSize struct {
	Rows   int64
	Tokens int64
}

// Order is the order in which rows come in place of chance, "" where they are
// drawn by weight.
func (s Spec) Order() string {
	if len(s.Weight) == 1 && slices.Contains(orders, s.Weight[0].Name) {
		return s.Weight[0].Name
	}
	return ""
}

var orders = []string{OrderFIFO, OrderLIFO, OrderNewest}

// Sequential tells whether a batch depends on the batches before it, so that
// positions are computed one after the other and claims carry state.
func (s Spec) Sequential() bool {
	order := s.Order()
	return s.Strata.Per == PerTokens || s.Batch.Tokens > 0 || s.Caps.Reuse > 0 || s.Caps.Cooldown > 0 ||
		order == OrderFIFO || order == OrderLIFO
}

// Hash is the identity of a filled spec: SHA-256 of its JSON, in hexadecimal.
func (s Spec) Hash() string {
	sum := sha256.Sum256(s.JSON())
	return hex.EncodeToString(sum[:])
}
