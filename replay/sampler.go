package replay

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"trajlake/replay/facts"
	"trajlake/replay/law"
	"trajlake/replay/pool"
	"trajlake/schema/fault"
	"trajlake/store"
)

// Sampler draws the batches of one spec from one snapshot, at one moment. It holds
// the candidates, some 2 to 12 bytes for each, and shares with the sampler it was
// advanced from what did not change; drawing reads nothing from the lake. It is
// safe for concurrent use and needs no closing.
type Sampler struct {
	view   *facts.View
	alone  bool // the view is nobody else's
	snap   *store.Snapshot
	spec   *Spec
	hash   string
	origin Origin
	asOf   AsOf   // Origin's, or that of the snapshot
	claim  []byte // see claimName

	schedule *law.Schedule
	parts    []int32       // shares in 1/10,000 by stratum
	piece    int           // of strata.steps
	fresh    *law.Schedule // of the two parts of a stratum; nil if there are none

	rules *rules
	exprs *expressions
	pools []*pool.Pool // by cell
	forks forks        // rows with several branches, where those are the units
	admit *marks       // eligible rows
	pages []ages
	rows  [reasons]int64      // rows by verdict
	units [reasons]int64      // units of several rows by verdict
	waits map[uint32]struct{} // groups whose verdict changes with time

	mu  sync.Mutex
	seq *sequence // of a sequential stream, made by the first draw; mu guards it
}

// Origin is where the positions of a sampler begin: a claim. The zero Origin is
// that of a pinned stream that stands alone.
type Origin struct {
	Stream, Run string
	First       uint64
	AsOf        AsOf
	Carry       Carry
	Uses        *Uses // before First
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

// Open reads the facts that a filled and valid spec needs from a snapshot, and
// makes its sampler.
func Open(ctx context.Context, snap *store.Snapshot, spec Spec) (*Sampler, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	view, err := facts.Open(ctx, snap.ForScorer(spec.Scorer), Needs(spec))
	if err != nil {
		return nil, fault.Wrap("read candidates of "+snap.String(), err)
	}
	s, err := OpenAt(ctx, view, spec, Origin{})
	if err != nil {
		return nil, err
	}
	s.alone = true
	return s, nil
}

// OpenAt makes the sampler of a filled and valid spec from a view that holds what
// Needs says. A live stream's origin is its claim.
func OpenAt(ctx context.Context, view *facts.View, spec Spec, o Origin) (*Sampler, error) {
	s := &Sampler{view: view, snap: view.Snapshot(), spec: &spec, hash: spec.Hash(), origin: o}
	if err := s.prepare(ctx, nil); err != nil {
		return nil, fault.Wrap("read candidates of "+s.snap.String(), err)
	}
	if err := s.build(ctx); err != nil {
		return nil, fault.Wrap("read candidates of "+s.snap.String(), err)
	}
	return s, nil
}

// prepare fills in everything but what is known of rows; prev, if not nil, may
// have some of it.
func (s *Sampler) prepare(ctx context.Context, prev *Sampler) (err error) {
	if err := unsuited(s.view, *s.spec); err != nil {
		return err
	}
	if prev != nil {
		s.exprs = prev.exprs
	} else if s.exprs, err = newExpressions(s.spec); err != nil {
		return err
	}
	s.asOf = s.origin.AsOf
	if s.asOf == (AsOf{}) {
		s.asOf = AsOf{Policy: s.view.NewestPolicy(), Time: newestTime(s.view, s.spec)}
	}
	s.claim = s.claimName()
	shares, piece := s.spec.Strata.SharesAt(s.asOf.Step)
	s.piece = piece
	if prev != nil && prev.piece == piece {
		s.schedule, s.fresh, s.parts = prev.schedule, prev.fresh, prev.parts
	} else if err := s.share(shares); err != nil {
		return err
	}
	if s.spec.Unit == UnitBranch {
		var known forks
		from := int64(0)
		if prev != nil {
			known, from = prev.forks, prev.view.Rows()
		}
		if s.forks, err = readForks(ctx, s.snap, known, from, s.view.Rows()); err != nil {
			return err
		}
	}
	if s.view.Rows()+s.forks.total() > math.MaxUint32 {
		return fault.New(fault.Exhausted, "open sampler", "%d rows with %d more branches are more units than a sampler holds", s.view.Rows(), s.forks.total())
	}
	s.rules, err = newRules(ctx, s.view, s.spec, s.asOf, s.origin.Uses)
	return err
}

func (s *Sampler) share(shares []Share) (err error) {
	s.parts = []int32{law.SharesTotal}
	if len(s.spec.Strata.By) > 0 {
		s.parts = make([]int32, len(shares))
		for i, share := range shares {
			s.parts[i] = share.Parts
		}
	}
	if s.schedule, err = law.NewSchedule(s.parts); err != nil {
		return fault.WrapAs(fault.Usage, "schedule strata", err)
	}
	if f := s.spec.Fresh.Share; f > 0 {
		if s.fresh, err = law.NewSchedule([]int32{f, law.SharesTotal - f}); err != nil {
			return fault.WrapAs(fault.Usage, "schedule fresh rows", err)
		}
	}
	return nil
}

// newestTime is when the last row of a view was ingested: the moment of a pinned
// stream. It is looked for only if ages are measured in time.
func newestTime(view *facts.View, spec *Spec) (newest int64) {
	if !slices.Contains([]string{spec.Staleness.Unit, spec.AgeDecay.Unit, spec.Fresh.Unit, spec.Strata.AgeUnit}, Seconds) {
		return 0
	}
	var r facts.Row
	for seq := range view.Rows() {
		view.Read(seq, &r)
		newest = max(newest, r.Ingested)
	}
	return newest
}

// build judges every row and every unit.
func (s *Sampler) build(ctx context.Context) error {
	n := s.view.Rows()
	s.pages = make([]ages, (n+pageRows-1)/pageRows)
	s.admit, s.waits = &marks{}, map[uint32]struct{}{}
	var r facts.Row
	for i := range s.pages {
		s.pages[i] = noAges
		for seq := int64(i) * pageRows; seq < min(int64(i+1)*pageRows, n); seq++ {
			s.view.Read(seq, &r)
			s.pages[i].add(&r)
		}
	}
	if needTasks(s.spec) {
		s.rules.tasks = countTasks(s.view)
	}
	s.rules.decay = newDecay(s.spec, s.asOf, allAges(s.pages))
	vals, err := s.exprs.read(ctx, s.snap, 0, n, nil)
	if err != nil {
		return err
	}
	s.pools = make([]*pool.Pool, len(s.parts)*s.rules.cells.parts())
	for i := range s.pools {
		s.pools[i] = pool.New(s.spec.Unit != UnitTrajectory)
	}
	for seq := range n {
		if seq%(1<<16) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		s.view.Read(seq, &r)
		v := s.verdict(&r, vals)
		s.rows[v.reason]++
		s.admit.set(seq, v.reason.eligible())
		if v.weight > 0 {
			s.enterRow(s.pools[v.cell], &r, v.weight)
		}
	}
	if s.spec.Unit == UnitGroup {
		s.buildGroups(vals)
	}
	for _, p := range s.pools {
		p.Seal()
	}
	return nil
}

// verdict is that on a row as a unit of its own; where units are made of rows
// their weights are not looked at one by one.
func (s *Sampler) verdict(r *facts.Row, vals values) verdict {
	if s.spec.Unit == UnitGroup {
		return s.rules.place(r)
	}
	return s.rules.judge(r, vals.of(s.exprs, r.Seq))
}

func allAges(pages []ages) ages {
	all := noAges
	for _, p := range pages {
		for _, pair := range [][2]*span{{&all.born, &p.born}, {&all.newest, &p.newest}, {&all.finished, &p.finished}} {
			pair[0].lo, pair[0].hi = min(pair[0].lo, pair[1].lo), max(pair[0].hi, pair[1].hi)
		}
	}
	return all
}

// Bytes is the memory that the sampler holds, about; what it shares with others is
// counted in each. That of its view counts if Open made it.
func (s *Sampler) Bytes() int64 {
	const page = 48
	n := s.admit.size() + int64(page*cap(s.pages)) + s.rules.tasks.size()
	if s.alone {
		n += s.view.Bytes()
	}
	for _, p := range s.pools {
		n += p.Bytes()
	}
	return n
}

// Spec is the spec that the sampler serves.
func (s *Sampler) Spec() Spec { return *s.spec }

// Snapshot is what the sampler draws from.
func (s *Sampler) Snapshot() *store.Snapshot { return s.snap }

// View is the facts that the sampler draws by.
func (s *Sampler) View() *facts.View { return s.view }

// Admitted is how many rows the stream could draw whatever their age and use are:
// those that the predicate, splits, required columns and pass rates let through,
// and that are not quarantined. A limiter counts them as inserted.
func (s *Sampler) Admitted() (n int64) {
	for why, rows := range s.rows {
		if reason(why).admitted() {
			n += rows
		}
	}
	return n
}

// StalenessOf is how many policy versions a row's oldest span is behind the
// sampler's moment; known is false where either has none.
func (s *Sampler) StalenessOf(seq int64) (versions int64, known bool) {
	var r facts.Row
	s.view.Read(seq, &r)
	return clock{Versions, s.asOf}.ageOf(&r)
}

// shareKey is the values of a stratum as a key of a map.
func shareKey(values []string) string { return strings.Join(values, "\x00") }

// stratumOf is the stratum that a cell belongs to.
func (s *Sampler) stratumOf(cell int) int { return cell / s.rules.cells.parts() }

// nameOf is the name of a stratum in batches.
func (s *Sampler) nameOf(stratum int) string {
	if len(s.spec.Strata.By) == 0 {
		return All
	}
	return s.spec.Strata.Shares[stratum].Name()
}
