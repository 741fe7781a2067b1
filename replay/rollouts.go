package replay

import (
	"math"

	"trajlake/replay/facts"
)

// groupStats are over the rollouts of a group that group.stats lets count. A
// rollout is an episode, or a row without one; it counts once however many rows
// it became.
type groupStats struct {
	shown        bool
	count        int32
	scored       int32
	mean, spread float64
	least, most  float64 // rewards
}

// equal tells whether there are rewards and all of them are the same.
func (g groupStats) equal() bool { return g.scored > 0 && g.least == g.most }

// rollout is a rollout of a group: the reward of its first row that has one is its
// reward.
type rollout struct {
	episode uint32
	reward  float64 // NaN: null
}

// groupStats counts the rollouts of a group, in log order. Products are rounded
// before they are added, so that no processor fuses the two and all of them give
// the same bits.
func (s *Sampler) groupStats(code uint32) groupStats {
	members := s.view.Members(code)
	var c rollouts
	var r facts.Row
	for _, seq := range members {
		s.view.Read(seq, &r)
		if s.spec.Group.Stats == Eligible && !s.rules.eligible(&r).eligible() {
			continue
		}
		c.add(&r)
	}
	return statsOf(c.list, s.spec.Group)
}

// rollouts are those of some rows, in log order.
type rollouts struct {
	list     []rollout
	episodes map[uint32]int // which of the list an episode is
}

func (c *rollouts) add(r *facts.Row) {
	if r.Episode != 0 {
		if i, known := c.episodes[r.Episode]; known {
			if math.IsNaN(c.list[i].reward) {
				c.list[i].reward = r.Reward
			}
			return
		}
		if c.episodes == nil {
			c.episodes = map[uint32]int{}
		}
		c.episodes[r.Episode] = len(c.list)
	}
	c.list = append(c.list, rollout{r.Episode, r.Reward})
}

func statsOf(rollouts []rollout, spec Group) groupStats {
	g := groupStats{count: int32(len(rollouts)), least: math.Inf(1), most: math.Inf(-1)}
	g.shown = spec.Stats != CompleteOnly || int64(g.count) >= spec.Size
	for _, o := range rollouts {
		if !math.IsNaN(o.reward) {
			g.scored++
			g.mean += o.reward
			g.least, g.most = min(g.least, o.reward), max(g.most, o.reward)
		}
	}
	if g.scored == 0 {
		return g
	}
	g.mean /= float64(g.scored)
	for _, o := range rollouts {
		if !math.IsNaN(o.reward) {
			d := o.reward - g.mean
			g.spread += float64(d * d)
		}
	}
	g.spread = math.Sqrt(g.spread / float64(g.scored))
	return g
}
