package replay

import (
	"context"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/replay/law"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// Sampler draws the batches of one spec from one snapshot. It holds the
// candidates, some 24 to 56 bytes for each, so that a draw reads nothing from the lake.
// It is safe for concurrent use and needs no closing.
type Sampler struct {
	snap     *store.Snapshot
	spec     Spec
	hash     string
	schedule *law.Schedule
	strata   []stratum
	shares   map[string]int // stratum by its values, see shareKey
	eligible bitset         // by place

	bytes atomic.Int64 // that all this takes

	mu    sync.Mutex
	stats *rollouts // read when rows are first fetched; mu guards it
}

// stratum is the candidates of one stratum, in log order. tasks and prompts are
// filled for caps only; members for groups only.
type stratum struct {
	name           string
	candidates     []law.Candidate
	tasks, prompts []uint64 // hashes; 0 for null, which no cap counts
	members        [][]Member
}

// Member is one row of a drawn unit.
type Member struct {
	Seq      int64 // place in trajectories
	Eligible bool  // satisfies the spec's predicate and is not quarantined
}

// Resolve opens the snapshot that a filled spec names: pinned is the head.
func Resolve(ctx context.Context, lake *store.Lake, spec Spec) (*store.Snapshot, error) {
	switch spec.Snapshot.Mode {
	case AtVersion:
		return lake.At(ctx, strconv.FormatInt(spec.Snapshot.Version, 10))
	case AtToken:
		return lake.At(ctx, spec.Snapshot.Token)
	case Pinned:
		return lake.Head(ctx)
	}
	return nil, fault.New(fault.Usage, "open snapshot", "%q names no snapshot", spec.Snapshot.Mode).WithField("snapshot").
		WithHint("use pinned, {version: …} or {token: …}")
}

// Open reads the candidates of a filled and valid spec from a snapshot.
func Open(ctx context.Context, snap *store.Snapshot, spec Spec) (*Sampler, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	schedule, err := spec.Strata.Schedule()
	if err != nil {
		return nil, fault.WrapAs(fault.Usage, "schedule strata", err)
	}
	s := &Sampler{snap: snap, spec: spec, hash: spec.Hash(), schedule: schedule, eligible: newBitset(snap.Count(schema.Trajectories))}
	s.strata, s.shares = []stratum{{name: All}}, map[string]int{shareKey(nil): 0}
	if len(spec.Strata.By) > 0 {
		s.strata = make([]stratum, len(spec.Strata.Shares))
		for i, share := range spec.Strata.Shares {
			s.strata[i].name = share.Name()
			s.shares[shareKey(share.Of)] = i
		}
	}
	if spec.Unit == UnitGroup {
		err = s.readGroups(ctx)
	} else {
		err = s.readTrajectories(ctx)
	}
	if err != nil {
		return nil, fault.Wrap("read candidates of "+snap.String(), err)
	}
	s.bytes.Store(int64(8 * cap(s.eligible)))
	for i := range s.strata {
		s.bytes.Add(s.strata[i].size())
	}
	return s, nil
}

// Bytes is the memory that the sampler holds, about. It grows once, when Rows is
// first called. It waits for nothing.
func (s *Sampler) Bytes() int64 { return s.bytes.Load() }

func (t *stratum) size() int64 {
	const candidate, slice, member = 24, 24, 16
	n := candidate*cap(t.candidates) + 8*(cap(t.tasks)+cap(t.prompts)) + slice*cap(t.members)
	for _, m := range t.members {
		n += member * cap(m)
	}
	return int64(n)
}

// Spec is the spec that the sampler serves.
func (s *Sampler) Spec() Spec { return s.spec }

// Snapshot is what the sampler draws from.
func (s *Sampler) Snapshot() *store.Snapshot { return s.snap }

// row is what eligibility, stratum, weight and caps of one trajectory need.
type row struct {
	seq          int64
	id, group    string
	stratum      int // −1: it has no share
	weight       uint64
	task, prompt uint64
}

// scan yields the rows that satisfy the predicate and are not quarantined.
func (s *Sampler) scan(ctx context.Context, yield func(row)) error {
	var pred *where.Expr
	if s.spec.Where != "" {
		var err error
		if pred, err = where.Parse(s.spec.Where); err != nil {
			return err
		}
	}
	columns := s.neededColumns()
	for rec, err := range s.snap.Scan(ctx, store.ScanOptions{Columns: columns, Where: pred}) {
		if err != nil {
			return err
		}
		f := frameOf(rec)
		for i := range int(rec.NumRows()) {
			if f.truth("quarantined", i) {
				continue
			}
			seq := f.long("row_seq", i)
			s.eligible.set(seq)
			id, _ := f.text("trajectory_id", i)
			group, _ := f.text("group_id", i)
			yield(row{seq: seq, id: id, group: group, stratum: s.stratumOf(f, i), weight: s.weightOf(f, i),
				task: f.hash("task_id", i), prompt: f.hash("prompt_hash", i)})
		}
	}
	return nil
}

func (s *Sampler) neededColumns() []string {
	columns := []string{"row_seq", "trajectory_id", "quarantined"}
	need := map[string]bool{"group_id": s.spec.Unit == UnitGroup, "task_id": s.spec.Caps.PerTask > 0, "prompt_hash": s.spec.Caps.PerPrompt > 0}
	for _, by := range s.spec.Strata.By {
		if by == ByRewardBand {
			by = "reward"
		}
		need[by] = true
	}
	for _, f := range s.spec.Weight {
		if f.Name != WeightUniform {
			need[f.Name] = true
		}
	}
	for _, name := range []string{"reward", "priority", ByEffort, ByMode, ByTaskSet, "task_id", "prompt_hash", "group_id"} {
		if need[name] {
			columns = append(columns, name)
		}
	}
	return columns
}

func (s *Sampler) stratumOf(f frame, i int) int {
	values := make([]string, len(s.spec.Strata.By))
	for k, by := range s.spec.Strata.By {
		if by == ByRewardBand {
			values[k] = schema.RewardBand(f.double("reward", i))
			continue
		}
		text, ok := f.text(by, i)
		if !ok {
			text = Unknown
		}
		values[k] = text
	}
	if t, ok := s.shares[shareKey(values)]; ok {
		return t
	}
	return -1
}

// shareKey is the values of a stratum as a key of a map.
func shareKey(values []string) string { return strings.Join(values, "\x00") }

// weightOf multiplies the factors: reward counts from 0, null is 0; a row without
// a priority has priority 1.
func (s *Sampler) weightOf(f frame, i int) uint64 {
	w := 1.0
	for _, factor := range s.spec.Weight {
		switch factor.Name {
		case WeightReward:
			reward := f.double("reward", i)
			if reward == nil {
				return 0
			}
			w *= max(*reward, 0)
		case WeightPriority:
			if priority := f.double("priority", i); priority != nil {
				w *= max(*priority, 0)
			}
		}
	}
	return law.Weight(w)
}

func (s *Sampler) readTrajectories(ctx context.Context) error {
	return s.scan(ctx, func(r row) {
		if r.stratum < 0 || r.weight == 0 {
			return
		}
		s.strata[r.stratum].add(law.Candidate{ID64: law.ID64(r.id), Weight: r.weight, Seq: r.seq}, r, s.spec.Caps)
	})
}

func (t *stratum) add(c law.Candidate, r row, caps Caps) {
	t.candidates = append(t.candidates, c)
	if caps.PerTask > 0 {
		t.tasks = append(t.tasks, r.task)
	}
	if caps.PerPrompt > 0 {
		t.prompts = append(t.prompts, r.prompt)
	}
}

// group gathers the rows of one group.
type group struct {
	id      string
	first   row // the first eligible member: stratum, task and prompt are its
	sum     law.Sum
	n       uint64 // eligible members
	members []Member
}

// readGroups reads eligible members first, then all members of their groups.
func (s *Sampler) readGroups(ctx context.Context) error {
	var order []*group
	byID := map[string]*group{}
	err := s.scan(ctx, func(r row) {
		g := byID[r.group]
		if g == nil || r.group == "" {
			g = &group{id: r.group, first: r}
			order = append(order, g)
			if r.group == "" { // a unit of its own
				g.id, g.members = r.id, []Member{{r.seq, true}}
			} else {
				byID[r.group] = g
			}
		}
		var carry uint64
		g.sum.Lo, carry = bits.Add64(g.sum.Lo, r.weight, 0)
		g.sum.Hi += carry
		g.n++
	})
	if err != nil {
		return err
	}
	for rec, err := range s.snap.Scan(ctx, store.ScanOptions{Columns: []string{"row_seq", "group_id"}}) {
		if err != nil {
			return err
		}
		f := frameOf(rec)
		for i := range int(rec.NumRows()) {
			id, ok := f.text("group_id", i)
			if g := byID[id]; ok && g != nil {
				seq := f.long("row_seq", i)
				g.members = append(g.members, Member{seq, s.eligible.has(seq)})
			}
		}
	}
	for _, g := range order {
		if g.n < uint64(s.spec.Group.Min) || g.first.stratum < 0 || g.sum == (law.Sum{}) {
			continue
		}
		mean, _ := bits.Div64(g.sum.Hi, g.sum.Lo, g.n) // weights are below 2^63, so the mean is
		t := &s.strata[g.first.stratum]
		t.add(law.Candidate{ID64: law.ID64(g.id), Weight: max(mean, 1), Seq: g.members[0].Seq}, g.first, s.spec.Caps)
		t.members = append(t.members, g.members)
	}
	return nil
}

// frame finds the columns of a record by name. Columns that it has not read as null.
type frame map[string]arrow.Array

func frameOf(rec arrow.Record) frame {
	f := make(frame, rec.NumCols())
	for i, field := range rec.Schema().Fields() {
		f[field.Name] = rec.Column(i)
	}
	return f
}

func (f frame) text(name string, i int) (string, bool) {
	col, ok := f[name].(array.StringLike)
	if !ok || col.IsNull(i) {
		return "", false
	}
	return col.Value(i), true
}

func (f frame) hash(name string, i int) uint64 {
	text, ok := f.text(name, i)
	if !ok {
		return 0
	}
	return law.ID64(text)
}

func (f frame) double(name string, i int) *float64 {
	col, ok := f[name].(*array.Float64)
	if !ok || col.IsNull(i) || math.IsNaN(col.Value(i)) {
		return nil
	}
	v := col.Value(i)
	return &v
}

func (f frame) long(name string, i int) int64 {
	col, ok := f[name].(*array.Int64)
	if !ok || col.IsNull(i) {
		return 0
	}
	return col.Value(i)
}

func (f frame) truth(name string, i int) bool {
	col, ok := f[name].(*array.Boolean)
	return ok && col.IsValid(i) && col.Value(i)
}

// bitset is a set of places.
type bitset []uint64

func newBitset(n int64) bitset { return make(bitset, (n+63)/64) }

func (b bitset) set(i int64) { b[i/64] |= 1 << (i % 64) }

func (b bitset) has(i int64) bool { return i/64 < int64(len(b)) && b[i/64]>>(i%64)&1 == 1 }
