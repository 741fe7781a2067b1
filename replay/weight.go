package replay

import (
	"context"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/replay/facts"
	"trajlake/replay/law"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
)

// weightOf multiplies the factors in the spec's order, each put to its alpha
// first: a null reward or advantage is 0, a null priority 1, and nothing is below 0.
func (u *rules) weightOf(r *facts.Row, expressions []float64) uint64 {
	w := 1.0
	for _, factor := range u.spec.Weight {
		x := 1.0
		switch factor.Name {
		case WeightReward:
			x = max(orElse(r.Reward, 0), 0)
		case WeightAdvantage:
			x = math.Abs(orElse(r.Advantage, 0))
		case WeightPriority:
			x = max(orElse(r.Priority, 1), 0)
		case WeightLearnability:
			task := u.tasks.of(r.Task)
			x = law.Learnability(int64(task.successes), int64(task.trials), factor.Prior)
		case WeightExpr:
			x = max(orElse(expressions[0], 0), 0)
			expressions = expressions[1:]
		}
		if factor.Alpha != 0 && factor.Alpha != 1 {
			x = law.Pow(x, factor.Alpha)
		}
		w = float64(w * x)
	}
	return law.Weight(w)
}

func orElse(x, null float64) float64 {
	if math.IsNaN(x) {
		return null
	}
	return x
}

// decay makes old rows lighter. Ages are counted from a landmark that moves
// rarely, and weights change only when it does; see docs/format/draw.md.
type decay struct {
	unit     string // Off: nothing decays
	tauMilli int64
	landmark int64
	perUnit  int64 // steps per version
	now      int64 // rows from the future are no younger than now
}

// newDecay measures from the moment, or from the newest row where that is older.
func newDecay(spec *Spec, asOf AsOf, newest ages) decay {
	d := decay{unit: spec.AgeDecay.Unit, tauMilli: spec.AgeDecay.TauMilli(), perUnit: 1}
	c := clock{d.unit, asOf}
	greatest := newest.born.hi
	if d.unit == Seconds {
		greatest = newest.finished.hi
	}
	if c.silent() || greatest == math.MinInt64 {
		return decay{unit: Off}
	}
	if d.unit == Steps {
		d.perUnit = asOf.stepsPerVersion()
	}
	d.now = d.scale(c.now())
	d.landmark = law.Landmark(min(d.scale(greatest), d.now), d.tauMilli)
	return d
}

// edge is the moment after which rows weigh as much as one of that moment.
func (d decay) edge(asOf AsOf) edge {
	c := clock{d.unit, asOf}
	e := c.edge(0)
	e.at, e.above = c.now(), true
	return e
}

// like tells whether two give the same weights to rows before both moments.
func (d decay) like(old decay) bool {
	d.now = old.now
	return d == old
}

// scale is a place on the clock's scale in units of tau.
func (d decay) scale(t int64) int64 {
	if d.unit == Seconds {
		return t / microseconds
	}
	if t > math.MaxInt64/d.perUnit || t < math.MinInt64/d.perUnit {
		return t
	}
	return t * d.perUnit
}

func (d decay) apply(w uint64, r *facts.Row) uint64 {
	if d.unit == Off {
		return w
	}
	t, known := clock{unit: d.unit}.born(r)
	if t = min(d.scale(t), d.now); !known {
		t = d.landmark
	}
	age := d.landmark - t
	if t < 0 && d.landmark > math.MaxInt64+t {
		age = math.MaxInt64
	}
	return law.DecayWeight(w, law.Decay(age, d.tauMilli))
}

// expressions evaluates the expressions of a weight.
type expressions struct {
	columns []string // row_seq first
	bound   []*where.BoundScalar
}

// newExpressions binds what the spec's weights calculate; nil if they do not.
func newExpressions(spec *Spec) (*expressions, error) {
	x := &expressions{columns: []string{"row_seq"}}
	seen := map[string]bool{"row_seq": true}
	for _, factor := range spec.Weight {
		if factor.Name != WeightExpr {
			continue
		}
		scalar, err := where.ParseScalar(factor.Expr)
		if err != nil {
			return nil, fault.Wrap("read weight "+factor.Expr, err)
		}
		bound, err := scalar.Bind(where.FoldedColumns())
		if err != nil {
			return nil, fault.Wrap("read weight "+factor.Expr, err)
		}
		x.bound = append(x.bound, bound)
		for _, name := range scalar.Columns() {
			if !seen[name] {
				seen[name] = true
				x.columns = append(x.columns, name)
			}
		}
	}
	if len(x.bound) == 0 {
		return nil, nil
	}
	return x, nil
}

// values are the values of a weight's expressions by place; rows that are not in
// them are null.
type values map[int64][]float64

// read evaluates the rows from a place on, and some before it.
func (x *expressions) read(ctx context.Context, snap *store.Snapshot, from, to int64, before []int64) (values, error) {
	if x == nil {
		return nil, nil
	}
	out := make(values, to-from+int64(len(before)))
	if from < to {
		for rec, err := range snap.Scan(ctx, store.ScanOptions{Columns: x.columns, From: from, To: to}) {
			if err == nil {
				err = x.add(rec, out)
			}
			if err != nil {
				return nil, fault.Wrap("calculate weights of "+snap.String(), err)
			}
		}
	}
	if len(before) > 0 {
		rec, err := snap.Gather(ctx, before, x.columns)
		if err == nil {
			err = x.add(rec, out)
		}
		if err != nil {
			return nil, fault.Wrap("calculate weights of "+snap.String(), err)
		}
	}
	return out, nil
}

func (x *expressions) add(rec arrow.Record, out values) error {
	seqs := rec.Column(0).(*array.Int64).Int64Values()
	rows := make([]float64, len(seqs)*len(x.bound))
	for k, bound := range x.bound {
		v, null, err := bound.EvalFloat(rec)
		if err != nil {
			return err
		}
		for i := range seqs {
			rows[i*len(x.bound)+k] = v[i]
			if null != nil && null[i] {
				rows[i*len(x.bound)+k] = math.NaN()
			}
		}
	}
	for i, seq := range seqs {
		out[seq] = rows[i*len(x.bound) : (i+1)*len(x.bound)]
	}
	return nil
}

// of is the values of a row.
func (v values) of(x *expressions, seq int64) []float64 {
	if x == nil {
		return nil
	}
	if row, ok := v[seq]; ok {
		return row
	}
	row := make([]float64, len(x.bound))
	for i := range row {
		row[i] = math.NaN()
	}
	return row
}
