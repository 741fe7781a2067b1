package schema

// tokens checks the flat token arrays against each other.
func (c *checker) tokens(t *Trajectory) {
	n := len(t.TokenIDs)
	for _, a := range []struct {
		name string
		len  int
	}{{"loss_mask", len(t.LossMask)}, {"logprobs", len(t.Logprobs)}} {
		if a.len > 0 && a.len != n {
			c.add(a.name, FaultLength, "%d elements, but token_ids has %d", a.len, n)
		}
	}
}

// segments checks that segments lie inside the tokens and build only on earlier
// ones. The length of a segment's path is the part it keeps of its parent's path
// and its own tokens.
func (c *checker) segments(t *Trajectory) {
	paths := make([]int64, len(t.Segments))
	c.enter("segments")
	c.enter("")
	for i := range t.Segments {
		c.at(i)
		s := &t.Segments[i]
		start, end := int64(value(s.Start)), int64(value(s.End))
		c.span(s.Start, s.End, len(t.TokenIDs), "start", "end")
		if start <= end {
			paths[i] = end - start
		}
		if s.Parent == nil {
			if value(s.PrefixLen) > 0 {
				c.field("prefix_len", FaultOrder, "%d without a parent", *s.PrefixLen)
			}
			continue
		}
		if p := int64(*s.Parent); p >= int64(i) {
			c.field("parent", FaultOrder, "%d is no earlier segment", p)
		} else if p >= 0 {
			keep := paths[p]
			if s.PrefixLen != nil {
				keep = int64(*s.PrefixLen)
			}
			if keep > paths[p] {
				c.field("prefix_len", FaultOrder, "%d is more than the %d tokens of the parent's path", keep, paths[p])
			}
			paths[i] += keep
		}
	}
	c.leave()
	c.leave()
}

// turns checks the graph of turns and their spans.
func (c *checker) turns(t *Trajectory) {
	c.enter("turns")
	c.enter("")
	for i := range t.Turns {
		c.at(i)
		turn := &t.Turns[i]
		if p := turn.Parent; p != nil && int(*p) >= i {
			c.field("parent", FaultOrder, "%d is no earlier turn", *p)
		}
		c.span(turn.TokenStart, turn.TokenEnd, len(t.TokenIDs), "token_start", "token_end")
	}
	c.leave()
	c.leave()
}

// span checks start <= end <= n. Negative values are reported elsewhere.
func (c *checker) span(start, end *int32, n int, startName, endName string) {
	if (start == nil) != (end == nil) {
		c.field(startName, FaultMissing, "%s and %s come together", startName, endName)
		return
	}
	if start == nil {
		return
	}
	if *start > *end {
		c.field(startName, FaultOrder, "%d is behind %s %d", *start, endName, *end)
	}
	if int(*end) > n {
		c.field(endName, FaultOrder, "%d is behind the last of %d tokens", *end, n)
	}
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
