package replay

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"trajlake/replay/facts"
)

func TestSamplersEqualTheModel(t *testing.T) {
	seed := rand.Uint64()
	rounds := 40
	if testing.Short() {
		rounds = 15
	}
	drawn, advanced := 0, 0
	for round := range rounds {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		m := newModelLake(t, r)
		m.append(t, 30+r.IntN(120))
		spec := m.spec(t)
		name := fmt.Sprintf("seed %d round %d spec %s", seed, round, spec.JSON())
		view, err := facts.Open(t.Context(), head(t, m.lake), Needs(spec)|facts.Tokens)
		if err != nil {
			t.Fatal(name, err)
		}
		s, err := OpenAt(t.Context(), view, spec, m.origin(spec, 0, nil))
		if err != nil {
			t.Fatal(name, err)
		}
		for step := range 6 {
			m.check(t, s, fmt.Sprint(name, " step ", step))
			drawn += m.drawAll(t, s, name)
			first := s.origin.First + 2
			uses, err := s.UsesAt(first)
			if err != nil {
				uses = s.origin.Uses
			}
			if r.IntN(2) == 0 {
				m.append(t, 1+r.IntN(40))
			}
			m.annotate(t, r.IntN(12))
			next, change, err := view.Advance(t.Context(), head(t, m.lake), Needs(spec)|facts.Tokens)
			if err != nil {
				t.Fatal(name, err)
			}
			view = next
			o := m.origin(spec, first, uses)
			if r.IntN(3) == 0 {
				o.AsOf = s.origin.AsOf
			}
			if s, err = s.Advance(t.Context(), view, change, o); err != nil {
				t.Fatal(name, err)
			}
			fresh, err := OpenAt(t.Context(), view, spec, o)
			if err != nil {
				t.Fatal(name, err)
			}
			sameSampler(t, s, fresh, name)
			advanced++
		}
	}
	if drawn < rounds || advanced == 0 {
		t.Errorf("seed %d: %d slots drawn: this proves nothing", seed, drawn)
	}
}

// same fails if an advanced sampler is not what one made anew is.
func sameSampler(t *testing.T, a, b *Sampler, name string) {
	t.Helper()
	if a.rows != b.rows || a.units != b.units {
		t.Fatalf("%s: verdicts\n%v %v, want\n%v %v", name, a.rows, a.units, b.rows, b.units)
	}
	if !slices.Equal(a.pages, b.pages) || len(a.waits) != len(b.waits) {
		t.Fatalf("%s: ages or waits differ", name)
	}
	for seq := range a.view.Rows() {
		if a.admit.has(seq) != b.admit.has(seq) {
			t.Fatalf("%s: row %d is eligible: %v", name, seq, a.admit.has(seq))
		}
	}
	for cell := range b.pools {
		x, y := slices.Collect(a.pools[cell].All()), slices.Collect(b.pools[cell].All())
		if !slices.Equal(x, y) {
			t.Fatalf("%s: cell %d\n%v, want\n%v", name, cell, x, y)
		}
	}
	for k := range uint64(3) {
		x, errX := a.Draw(a.origin.First + k)
		y, errY := b.Draw(b.origin.First + k)
		if (errX == nil) != (errY == nil) || errX == nil && (x.ID != y.ID || !slices.EqualFunc(x.Slots, y.Slots, func(p, q Slot) bool {
			return p.Stratum == q.Stratum && p.P32 == q.P32 && p.N == q.N && slices.Equal(p.Members, q.Members)
		})) {
			t.Fatalf("%s: batch %d\n%+v %v, want\n%+v %v", name, k, x, errX, y, errY)
		}
	}
}

// check compares the candidates with the model's.
func (m *modelLake) check(t *testing.T, s *Sampler, name string) {
	t.Helper()
	at, uses := s.origin.AsOf, s.origin.Uses
	type want struct{ weight, n float64 }
	cells := make([]map[uint32]*want, len(s.pools))
	for i := range cells {
		cells[i] = map[uint32]*want{}
	}
	count := map[string]int{}
	for i, x := range m.rows {
		ok := m.eligible(*s.spec, at, uses, i)
		if s.admit.has(int64(i)) != ok {
			t.Fatalf("%s: row %d %+v: eligible %v, want %v", name, i, *x, !ok, ok)
		}
		if !ok || s.spec.Unit != UnitTrajectory {
			continue
		}
		stratum, fresh := m.stratum(*s.spec, at, i)
		if stratum < 0 {
			count["no_share"]++
			continue
		}
		w := m.weight(*s.spec, at, i)
		if w == 0 {
			count["weight_zero"]++
			continue
		}
		cell := stratum
		if s.spec.Fresh.Share > 0 {
			if cell = 2*stratum + 1; fresh {
				cell = 2 * stratum
			}
		}
		cells[cell][uint32(i)] = &want{w * m.decays(*s.spec, at, i), 1}
	}
	if s.spec.Unit == UnitGroup {
		return // their rows are compared; see TestGroupsEqualTheModel
	}
	if int(s.rows[noShare]) != count["no_share"] || int(s.rows[weightZero]) != count["weight_zero"] {
		t.Fatalf("%s: %v without a share or weight, want %v", name, s.rows, count)
	}
	unit := 0.0 // what the model's 1 is among the weights
	for _, cell := range cells {
		for key, w := range cell {
			if got := 0; got == 0 && unit == 0 {
				for _, p := range s.pools {
					if x := p.Weight(key); x > 1<<20 {
						unit = float64(x) / w.weight
					}
				}
			}
		}
	}
	for cell, p := range s.pools {
		if p.Len() != len(cells[cell]) {
			t.Fatalf("%s: cell %d has %d candidates, want %d", name, cell, p.Len(), len(cells[cell]))
		}
		for c := range p.All() {
			w := cells[cell][c.Key]
			if w == nil {
				t.Fatalf("%s: cell %d has row %d", name, cell, c.Key)
			}
			if got := float64(c.Weight); unit > 0 && math.Abs(got-unit*w.weight) > got*1e-5+4 {
				t.Fatalf("%s: row %d %+v: weight %v, want %v", name, c.Key, *m.rows[c.Key], got, unit*w.weight)
			}
		}
	}
}

// decays is exp(−age/tau) for ages that, unlike those of windows, are not rounded.
func (m *modelLake) decays(s Spec, at AsOf, i int) float64 {
	x, unit := m.rows[i], s.AgeDecay.Unit
	if unit == Off || unit != Seconds && at.Policy == UnknownPolicy {
		return 1
	}
	now, per, tau := float64(at.Policy), 1.0, math.Floor(s.AgeDecay.Tau*1000+0.5)/1000
	var t float64
	if unit == Seconds {
		now, t = math.Floor(float64(at.Time)/1e6), math.Floor(float64(x.born())/1e6)
	} else if unit == Steps && at.Step > 0 && at.Policy > 0 {
		per = max(math.Floor(float64(at.Step)/float64(at.Policy)+0.5), 1)
	}
	greatest := math.Inf(-1)
	for _, y := range m.rows {
		switch {
		case unit == Seconds && y.born() != 0:
			greatest = max(greatest, math.Floor(float64(y.born())/1e6))
		case unit == Seconds:
		case y.min != nil:
			greatest = max(greatest, float64(*y.min))
		}
	}
	if unit == Seconds && x.born() == 0 || unit != Seconds && x.min == nil { // counts as if it were of the landmark's time
		period := max(math.Floor(tau*4), 1)
		mark := math.Floor(min(greatest, now)*per/period) * period
		return math.Exp(-(now*per - mark) / tau)
	}
	if unit != Seconds {
		t = float64(*x.min)
	}
	return math.Exp(-(now - min(t, now)) * per / tau)
}

// drawAll draws some batches and looks at every row of them.
func (m *modelLake) drawAll(t *testing.T, s *Sampler, name string) (slots int) {
	t.Helper()
	uses := map[int64]int64{}
	last := map[int64]uint64{}
	for position := s.origin.First; position < s.origin.First+4; position++ {
		b, err := s.Draw(position)
		if err != nil {
			continue
		}
		slots += len(b.Slots)
		seen, tasks := map[int64]bool{}, map[string]int{}
		for _, slot := range b.Slots {
			good := 0
			for _, m2 := range slot.Members {
				x := m.rows[m2.Seq]
				if !m2.Eligible {
					continue
				}
				if good++; good == 1 {
					tasks[x.task]++
				}
				if !m.eligible(*s.spec, s.origin.AsOf, s.origin.Uses, int(m2.Seq)) || seen[m2.Seq] {
					t.Fatalf("%s: position %d: row %d is not to be drawn: %+v", name, position, m2.Seq, *x)
				}
				if limit := s.spec.Caps.Reuse; limit > 0 && uses[m2.Seq]+int64(s.origin.Uses.Count(m2.Seq)) >= limit {
					t.Fatalf("%s: position %d: row %d is used up", name, position, m2.Seq)
				}
				if p, was := last[m2.Seq]; was && position-p <= uint64(s.spec.Caps.Cooldown) {
					t.Fatalf("%s: position %d: row %d rests since %d", name, position, m2.Seq, p)
				}
				seen[m2.Seq] = true
			}
			least := 1
			if s.spec.Unit == UnitGroup {
				least = int(s.spec.Group.Min)
			}
			if good < least || slot.P32 == 0 || slot.Weight == 0 || slot.N == 0 {
				t.Fatalf("%s: position %d: slot %+v", name, position, slot)
			}
		}
		for seq := range seen {
			uses[seq]++
			last[seq] = position
		}
		for task, n := range tasks {
			if limit := s.spec.Caps.PerTask; limit > 0 && task != "" && int64(n) > limit {
				t.Fatalf("%s: position %d: %d rows of task %s", name, position, n, task)
			}
		}
	}
	return slots
}
