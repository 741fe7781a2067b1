package replay

import (
	"cmp"
	"crypto/sha256"
	"math/big"
	"slices"
	"strings"
	"sync"
)

// The oracle draws batches as docs/format/draw.md reads, the slowest way that
// there is: whole lists sorted, big integers and fractions, nothing shared with
// this package or package law. Its rows are in memory; what annotations do to them
// is done by hand.

// fact is a row as the law sees it.
type fact struct {
	seq                     int64
	id, group, task, prompt string // "" is null
	effort, mode, set       string
	reward, own, priority   *float64
	quarantined             bool
}

// wish is a spec in the oracle's terms, and the same as text for ParseSpec.
type wish struct {
	text     string
	unit     string
	where    func(f fact) bool
	by       []string
	shares   []wishShare
	dry      string
	weight   []string
	perTask  int
	perPromp int
	min      int
	rows     int
	seed     uint64
}

type wishShare struct {
	name  string
	parts int64
}

// want is one slot that the oracle expects.
type want struct {
	stratum string
	p32     int64
	members []Member
}

var (
	two64 = new(big.Int).Lsh(big.NewInt(1), 64)
	two32 = new(big.Int).Lsh(big.NewInt(1), 32)
)

func bigU(x uint64) *big.Int { return new(big.Int).SetUint64(x) }

func oracleMix(x *big.Int) *big.Int {
	xorShift := func(v *big.Int, n uint) *big.Int { return new(big.Int).Xor(v, new(big.Int).Rsh(v, n)) }
	times := func(v *big.Int, by string) *big.Int {
		m, _ := new(big.Int).SetString(by, 16)
		return m.Mul(m, v).Mod(m, two64)
	}
	golden, _ := new(big.Int).SetString("9e3779b97f4a7c15", 16)
	x = golden.Add(golden, x).Mod(golden, two64)
	x = times(xorShift(x, 30), "bf58476d1ce4e5b9")
	x = times(xorShift(x, 27), "94d049bb133111eb")
	return xorShift(x, 31)
}

// oracleKey is L.
func oracleKey(id string, seed, position uint64) *big.Int {
	sum := sha256.Sum256([]byte(id))
	inner := oracleMix(new(big.Int).Xor(bigU(seed), oracleMix(bigU(position))))
	u := oracleMix(new(big.Int).Xor(new(big.Int).SetBytes(sum[:8]), inner))
	if u.Sign() == 0 {
		u = big.NewInt(1)
	}
	n := u.BitLen() - 1
	m := new(big.Int).Lsh(u, uint(63-n))
	digits := new(strings.Builder)
	for range 57 {
		m = m.Mul(m, m)
		m.Rsh(m, 64)
		if m.Bit(63) == 1 {
			digits.WriteByte('1')
		} else {
			digits.WriteByte('0')
			m.Lsh(m, 1)
		}
	}
	f, _ := new(big.Int).SetString(digits.String(), 2)
	l := new(big.Int).Lsh(big.NewInt(int64(64-n)), 57)
	return l.Sub(l, f)
}

// oracleWeight is a weight in 2^−32.
func oracleWeight(w float64) *big.Int {
	if !(w > 0) {
		return new(big.Int)
	}
	r := new(big.Rat).SetFloat64(w)
	r.Mul(r, new(big.Rat).SetInt(two32)).Add(r, big.NewRat(1, 2))
	out := new(big.Int).Quo(r.Num(), r.Denom())
	if most := new(big.Int).Sub(new(big.Int).Rsh(two64, 1), big.NewInt(1)); out.Cmp(most) > 0 {
		return most
	}
	if out.Sign() == 0 {
		return big.NewInt(1)
	}
	return out
}

// oracleRoots are 2^(64−2^−i), from square roots of 1/2 taken again and again with 640 places.
var oracleRoots = sync.OnceValue(func() (out []*big.Int) {
	root := new(big.Int).Lsh(big.NewInt(1), 639)
	for range 58 {
		out = append(out, new(big.Int).Rsh(root, 576))
		root = new(big.Int).Sqrt(new(big.Int).Lsh(root, 640))
	}
	return out
})

func oracleInclusion(w, next, wNext *big.Int) int64 {
	x := new(big.Int).Mul(w, next)
	x.Quo(x, wNext)
	m := new(big.Int).Sub(two64, big.NewInt(1))
	for i := 1; i <= 57; i++ {
		if x.Bit(57-i) == 1 {
			m.Mul(m, oracleRoots()[i]).Rsh(m, 64)
		}
	}
	whole := new(big.Int).Rsh(x, 57)
	if whole.Cmp(big.NewInt(64)) >= 0 {
		m.SetInt64(0)
	} else {
		m.Rsh(m, uint(whole.Int64()))
	}
	p := new(big.Int).Sub(two64, big.NewInt(1))
	p.Sub(p, m).Rsh(p, 32)
	return max(p.Int64(), 1)
}

// oracleSchedule is the stratum of each slot of one period.
func oracleSchedule(shares []wishShare) []int {
	const d = 10_000
	out, given := make([]int, d), make([]int64, len(shares))
	q := int64(2*len(shares) - 2)
	for n := range int64(d) {
		best, least := -1, new(big.Rat)
		for i, s := range shares {
			sigma := s.parts*(n+1) - given[i]*d
			if len(shares) == 1 {
				best = 0
				break
			}
			if sigma*q < d {
				continue
			}
			if due := big.NewRat((q-1)*d-q*sigma, s.parts); best < 0 || due.Cmp(least) < 0 {
				best, least = i, due
			}
		}
		given[best]++
		out[n] = best
	}
	return out
}

// unitOf is a candidate.
type unitOf struct {
	id           string
	key, weight  *big.Int
	place        int64
	task, prompt string
	members      []Member
	stratum      int
}

func (w wish) stratum(f fact) int {
	var values []string
	for _, by := range w.by {
		v := map[string]string{"effort": f.effort, "mode": f.mode, "task_set": f.set}[by]
		if v == "" {
			v = "unknown"
		}
		if by == "reward_band" {
			v = oracleBand(f.reward)
		}
		values = append(values, v)
	}
	if len(w.by) == 0 {
		return 0
	}
	return slices.IndexFunc(w.shares, func(s wishShare) bool { return s.name == strings.Join(values, "/") })
}

func (w wish) allShares() []wishShare {
	if len(w.by) == 0 {
		return []wishShare{{"all", 10_000}}
	}
	return w.shares
}

func oracleBand(r *float64) string {
	if r == nil {
		return "unscored"
	}
	for _, b := range []struct {
		is   bool
		name string
	}{{*r < 0, "<0"}, {*r == 0, "0"}, {*r <= 0.25, "(0,0.25]"}, {*r <= 0.5, "(0.25,0.5]"}, {*r <= 0.75, "(0.5,0.75]"}, {*r < 1, "(0.75,1)"}, {*r == 1, "1"}} {
		if b.is {
			return b.name
		}
	}
	return ">1"
}

func (w wish) weightOf(f fact) *big.Int {
	x := 1.0
	for _, name := range w.weight {
		switch {
		case name == "reward" && (f.reward == nil || *f.reward < 0):
			x = 0
		case name == "reward":
			x *= *f.reward
		case name == "priority" && f.priority != nil:
			x *= max(*f.priority, 0)
		}
	}
	return oracleWeight(x)
}

// units are the candidates: trajectories, or groups with enough eligible members.
func (w wish) units(rows []fact, position uint64) (out []unitOf) {
	eligible := func(f fact) bool { return !f.quarantined && w.where(f) }
	named := map[string][]fact{}
	var order []string
	for _, f := range rows {
		name := "row " + f.id
		if w.unit == "group" && f.group != "" {
			name = "group " + f.group
		}
		if named[name] == nil {
			order = append(order, name)
		}
		named[name] = append(named[name], f)
	}
	for _, name := range order {
		u := unitOf{id: strings.SplitN(name, " ", 2)[1], weight: new(big.Int), place: named[name][0].seq, stratum: -1}
		n := int64(0)
		for _, f := range named[name] {
			u.members = append(u.members, Member{Seq: f.seq, Eligible: eligible(f), Uses: -1})
			if !eligible(f) {
				continue
			}
			if n == 0 {
				u.stratum, u.task, u.prompt = w.stratum(f), f.task, f.prompt
			}
			n++
			u.weight.Add(u.weight, w.weightOf(f))
		}
		least := int64(1)
		if w.unit == "group" {
			least = int64(w.min)
		}
		if n < least || u.weight.Sign() == 0 || u.stratum < 0 {
			continue
		}
		if u.weight.Quo(u.weight, big.NewInt(n)); u.weight.Sign() == 0 {
			u.weight.SetInt64(1)
		}
		u.key = oracleKey(u.id, w.seed, position)
		out = append(out, u)
	}
	return out
}

// draw is the batch at a position; dry says that there is none.
func (w wish) draw(rows []fact, schedule []int, position uint64) (out []want, dry bool) {
	shares := w.allShares()
	queues := make([][]unitOf, len(shares))
	for _, u := range w.units(rows, position) {
		queues[u.stratum] = append(queues[u.stratum], u)
	}
	for _, q := range queues {
		slices.SortFunc(q, ahead)
	}
	tasks, prompts := map[string]int{}, map[string]int{}
	skipped := make([]map[string]unitOf, len(shares)) // first one that was kept out, by the one cap that did
	look := func(t int) bool {                        // drops what the caps keep out from the head of the queue
		for len(queues[t]) > 0 {
			u := queues[t][0]
			byTask := w.perTask > 0 && u.task != "" && tasks[u.task] >= w.perTask
			byPrompt := w.perPromp > 0 && u.prompt != "" && prompts[u.prompt] >= w.perPromp
			if !byTask && !byPrompt {
				return true
			}
			name := "task " + u.task
			if byPrompt {
				name = "prompt " + u.prompt
			}
			if skipped[t] == nil {
				skipped[t] = map[string]unitOf{}
			}
			if _, known := skipped[t][name]; !known && byTask != byPrompt {
				skipped[t][name] = u
			}
			queues[t] = queues[t][1:]
		}
		return false
	}
	var picks []unitOf
	for j := range uint64(w.rows) {
		t := schedule[w.slotOf(position, j)]
		ok := look(t)
		for later := uint64(1); !ok && w.dry == "redistribute" && later < 10_000; later++ {
			if other := schedule[w.slotOf(position, j+later)]; look(other) {
				t, ok = other, true
			}
		}
		if !ok && w.dry == "fail" {
			return nil, true
		}
		if !ok {
			continue
		}
		u := queues[t][0]
		queues[t] = queues[t][1:]
		tasks[u.task]++
		prompts[u.prompt]++
		picks = append(picks, u)
	}
	for _, u := range picks {
		var next []unitOf
		if look(u.stratum) {
			next = append(next, queues[u.stratum][0])
		}
		for _, name := range []string{"task " + u.task, "prompt " + u.prompt} {
			if other, is := skipped[u.stratum][name]; is {
				next = append(next, other)
			}
		}
		slot := want{stratum: shares[u.stratum].name, p32: 1 << 32, members: u.members}
		if len(next) > 0 {
			first := slices.MinFunc(next, ahead)
			slot.p32 = oracleInclusion(u.weight, first.key, first.weight)
		}
		out = append(out, slot)
	}
	return out, false
}

// ahead orders candidates: the first ones are drawn.
func ahead(a, b unitOf) int {
	return cmp.Or(new(big.Int).Mul(a.key, b.weight).Cmp(new(big.Int).Mul(b.key, a.weight)), cmp.Compare(a.place, b.place))
}

// slotOf is a slot of the stream, modulo the schedule's period.
func (w wish) slotOf(position, slot uint64) int {
	at := new(big.Int).Mul(bigU(position), big.NewInt(int64(w.rows)))
	at.Add(at, bigU(slot)).Mod(at, big.NewInt(10_000))
	return int(at.Int64())
}
