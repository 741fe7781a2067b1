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
	"strings"
	"time"

	"trajlake/replay/law"
	"trajlake/schema"
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

	ByEffort     = "effort" // strata.by
	ByMode       = "mode"
	ByTaskSet    = "task_set"
	ByRewardBand = "reward_band"

	Unknown = "unknown" // stratum of rows whose column is null

	PerRows   = "rows" // strata.per
	PerTokens = "tokens"

	DryFail         = "fail" // strata.when_dry: no batch, an error
	DryWait         = "wait"
	DryRedistribute = "redistribute" // the slots go to the other strata
	DryAccept       = "accept"       // the batch is shorter

	WeightUniform  = "uniform" // weight
	WeightReward   = "reward"
	WeightPriority = "priority"
	WeightExpr     = "expr"

	All          = "all"           // group.members, group.stats
	Eligible     = "eligible"      // group.members, group.stats
	CompleteOnly = "complete_only" // group.stats
)

// Spec is what a stream or a sample wants, see docs/reference/spec.md. In a Spec as it was
// written the zero value of a field means "not said"; Fill writes the defaults in.
type Spec struct {
	Law       int    // version of the law of the draw
	Sampler   string // Keyed or Tree
	Snapshot  Snapshot
	Unit      string    // what is drawn: UnitTrajectory, UnitGroup, …
	Where     string    // predicate over the folded view; "" lets every row through
	Scorer    string    // whose rewards count; "" takes the newest of any scorer
	Staleness Staleness // how old, by outcome, a row may be
	Strata    Strata
	Weight    []Weight // multiplied
	AgeDecay  AgeDecay
	Caps      Caps
	Limiter   Limiter
	Group     Group
	Batch     BatchSize
	Columns   []string // top-level columns of trajectories that batches carry
	Tensors   []string // names of late or fat tensors that batches carry
	Seed      uint64
}

// Snapshot says which state of the lake is drawn from.
type Snapshot struct {
	Mode    string // Live, Pinned, AtVersion or AtToken
	Version int64  // of the trajectories table, for AtVersion
	Token   string // for AtToken
}

// Staleness bounds how far a row may be behind the trainer's policy.
type Staleness struct {
	Success, Failure int64
	Unit             string // Off, or versions, steps, seconds
}

// Strata splits the slots of the stream by columns. Without By there is one stratum.
type Strata struct {
	By      []string // ByEffort, …
	Shares  []Share  // in an order that decides ties of the schedule
	Per     string   // PerRows or PerTokens
	WhenDry string   // what happens if a stratum has fewer rows than slots in a batch
}

// Share is a stratum and its part of the slots. Rows of strata without a share are not drawn.
type Share struct {
	Of    []string // one value for each column of By
	Parts int32    // in 1/10,000
}

// Name is the stratum as batches name it: its values, joined by "/".
func (s Share) Name() string { return strings.Join(s.Of, "/") }

// Weight is one factor of a row's weight.
type Weight struct {
	Name string // WeightUniform, …, or WeightExpr
	Expr string // for WeightExpr
}

// AgeDecay makes old rows less likely: weight × exp(−age/tau).
type AgeDecay struct {
	Tau  float64
	Unit string // Off, or versions, steps, seconds
}

// Caps bound how often something comes; 0 is no bound.
type Caps struct {
	PerTask   int64 // rows of one task in a batch
	PerPrompt int64 // rows of one prompt in a batch
	Reuse     int64 // how often a row is drawn in the stream
	Cooldown  int64 // batches before a row is drawn again
}

// Limiter holds a stream back until there is enough, or enough new, data. The zero Limiter is off.
type Limiter struct {
	MinSize          int64
	SamplesPerInsert float64
}

// Group says when a group of rollouts is drawn, and what comes back of it.
type Group struct {
	Size      int64         // rollouts of a complete group; 0 if any number is
	Min       int64         // members that must be eligible
	Timeout   time.Duration // how long a live stream waits for late members; pinned ones never wait
	OnTimeout string        // drop, serve, pad
	Members   string        // All committed members come back, or only the Eligible ones
	Stats     string        // rollouts that group statistics are taken over: All, Eligible, CompleteOnly
}

// BatchSize is the size of a batch: units, or tokens.
type BatchSize struct {
	Rows   int64
	Tokens int64
}

// defaultRows is the number of units of a batch.
const defaultRows = 32

// Fill returns the spec with every default written in, so that a default that
// changes later does not change it. snapshot is what a spec that says nothing
// about it means: Live for streams, Pinned for samples and nameless replays.
// Filling again changes nothing.
func (s Spec) Fill(snapshot string) Spec {
	setTo(&s.Law, law.Version)
	setTo(&s.Snapshot.Mode, snapshot)
	live := s.Snapshot.Mode == Live
	setTo(&s.Unit, UnitTrajectory)
	if live {
		setTo(&s.Sampler, Tree)
		if s.Staleness.Unit == "" {
			s.Staleness = Staleness{Success: 8, Failure: 4, Unit: "versions"}
		}
		if s.AgeDecay.Unit == "" {
			s.AgeDecay = AgeDecay{Tau: 8, Unit: "versions"}
		}
	}
	setTo(&s.Sampler, Keyed)
	setTo(&s.Staleness.Unit, Off)
	setTo(&s.AgeDecay.Unit, Off)
	s.Strata = s.Strata.fill(live)
	if s.Weight == nil {
		s.Weight = []Weight{{Name: WeightUniform}}
	}
	s.Group = s.Group.fill()
	if s.Batch == (BatchSize{}) {
		s.Batch.Rows = defaultRows
	}
	if s.Columns == nil {
		for _, c := range schema.Trajectories.Columns {
			s.Columns = append(s.Columns, c.Name)
		}
	}
	return s
}

func (s Strata) fill(live bool) Strata {
	setTo(&s.Per, PerRows)
	switch {
	case len(s.By) == 0:
		setTo(&s.WhenDry, DryAccept)
	case live:
		setTo(&s.WhenDry, DryWait)
	}
	setTo(&s.WhenDry, DryFail)
	return s
}

func (g Group) fill() Group {
	setTo(&g.Min, 2)
	if g.Size == 1 {
		g.Min = 1
	}
	setTo(&g.Timeout, 10*time.Minute)
	setTo(&g.OnTimeout, "drop")
	setTo(&g.Members, All)
	setTo(&g.Stats, All)
	return g
}

// setTo gives a field that says nothing its default.
func setTo[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// Hash is the identity of a filled spec: SHA-256 of its JSON, in hexadecimal.
func (s Spec) Hash() string {
	sum := sha256.Sum256(s.JSON())
	return hex.EncodeToString(sum[:])
}

// Schedule is the schedule of the strata's shares; without strata every slot
// belongs to stratum 0.
func (s Strata) Schedule() (*law.Schedule, error) {
	if len(s.By) == 0 {
		return law.NewSchedule([]int32{law.SharesTotal})
	}
	shares := make([]int32, len(s.Shares))
	for i, share := range s.Shares {
		shares[i] = share.Parts
	}
	return law.NewSchedule(shares)
}
