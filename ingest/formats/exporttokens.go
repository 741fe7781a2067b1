package formats

import (
	"slices"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// stepTokens are the token ids of a turn in ATIF's way: the whole prompt that
// its segment's path holds before it, and its own tokens.
func stepTokens(row *schema.Trajectory, t *schema.Turn) (ms []canon.Member) {
	start, end := int(*t.TokenStart), int(*t.TokenEnd)
	prompt := promptOf(row, start)
	if len(prompt) > 0 {
		ms = append(ms, canon.M("prompt_token_ids", intList(prompt)))
	}
	ms = append(ms, canon.M("completion_token_ids", intList(row.TokenIDs[start:end])))
	if len(row.Logprobs) > 0 {
		items := make([]canon.Value, end-start)
		for i := range items {
			items[i], _ = canon.Num(string(canon.AppendFloat32(nil, row.Logprobs[start+i])))
		}
		ms = append(ms, canon.M("logprobs", canon.Arr(items...)))
	}
	return ms
}

func intList(ids []int32) canon.Value {
	items := make([]canon.Value, len(ids))
	for i, n := range ids {
		items[i] = canon.IntOf(int64(n))
	}
	return canon.Arr(items...)
}

// promptOf is what stands before a token on the path of its segment; without
// segments, what stands before it in the row.
func promptOf(row *schema.Trajectory, start int) []int32 {
	if len(row.Segments) == 0 {
		return row.TokenIDs[:start]
	}
	at := slices.IndexFunc(row.Segments, func(s schema.Segment) bool {
		return s.Start != nil && s.End != nil && int(*s.Start) <= start && start < int(*s.End)
	})
	if at < 0 {
		return nil
	}
	own := row.TokenIDs[*row.Segments[at].Start:start]
	return append(pathOf(row, row.Segments[at].Parent, row.Segments[at].PrefixLen), own...)
}

// pathOf is the first keep tokens of a segment's path; all of it if keep is nil.
func pathOf(row *schema.Trajectory, parent, keep *int32) []int32 {
	if parent == nil {
		return nil
	}
	s := &row.Segments[*parent]
	path := append(pathOf(row, s.Parent, s.PrefixLen), row.TokenIDs[*s.Start:*s.End]...)
	if keep != nil {
		path = path[:*keep]
	}
	return path
}

// tokensFit reports whether steps can carry the row's tokens: reading them back
// gives the same arrays.
func tokensFit(row *schema.Trajectory) bool {
	if len(row.TokenIDs) == 0 || !spansFit(row) {
		return false
	}
	b := newBuilder("atif")
	tk := tokens{b: b}
	for i := range row.Turns {
		t := &row.Turns[i]
		if t.TokenStart == nil {
			continue
		}
		copied := &turn{Turn: *t}
		if t.Role == nil || *t.Role != "assistant" || !tk.step(copied, canon.Obj(stepTokens(row, t)...)) {
			return false
		}
	}
	tk.close()
	return slices.Equal(b.row.TokenIDs, row.TokenIDs) && slices.Equal(b.row.LossMask, row.LossMask) && slices.Equal(b.row.Logprobs, row.Logprobs) &&
		slices.EqualFunc(b.row.Segments, row.Segments, sameSegment)
}

// spansFit reports whether all spans and segments lie inside the tokens.
func spansFit(row *schema.Trajectory) bool {
	n := int32(len(row.TokenIDs))
	in := func(start, end *int32) bool {
		return start != nil && end != nil && 0 <= *start && *start <= *end && *end <= n
	}
	for i := range row.Segments {
		s := &row.Segments[i]
		if !in(s.Start, s.End) || s.Parent != nil && (*s.Parent < 0 || int(*s.Parent) >= i) {
			return false
		}
	}
	for i := range row.Turns {
		if t := &row.Turns[i]; t.TokenStart != nil && (!in(t.TokenStart, t.TokenEnd) || *t.TokenStart == *t.TokenEnd) {
			return false
		}
	}
	return len(row.Logprobs) == 0 || len(row.Logprobs) == len(row.TokenIDs)
}

func sameSegment(a, b schema.Segment) bool {
	same := func(x, y *int32) bool { return x == y || x != nil && y != nil && *x == *y }
	return same(a.Parent, b.Parent) && same(a.PrefixLen, b.PrefixLen) && same(a.Start, b.Start) && same(a.End, b.End) &&
		text(a.Reason) == text(b.Reason) && a.PolicyVersion == nil && a.Temperature == nil && b.PolicyVersion == nil && b.Temperature == nil
}
