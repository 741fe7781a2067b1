package where

// Conjuncts lists the operands of the predicate's outermost AND, each as a
// predicate of its own; of a predicate without one that predicate alone, of the
// empty predicate none. A row is selected exactly if all of them select it, so
// that they may be evaluated apart and kept as sets of rows.
func (e *Expr) Conjuncts() []*Expr {
	if e == nil {
		return nil
	}
	return e.root.conjuncts(e.src, nil)
}

func (n *node) conjuncts(src *source, out []*Expr) []*Expr {
	if n.kind != kindAnd || n.not {
		return append(out, &Expr{root: n, src: src})
	}
	for _, k := range n.kids {
		out = k.conjuncts(src, out)
	}
	return out
}
