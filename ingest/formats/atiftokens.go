package formats

import (
	"trajlake/schema"
	"trajlake/schema/canon"
)

// tokens turns ATIF's token ids, which repeat the whole prompt in each step, into
// the flat arrays of a row: a step adds the part of its prompt that is not yet
// there, and its completion. A prompt that does not go on from the step before
// names the part that it shares with it. No token is made up: every id stands in
// the source, and each step's prompt is the path of its segment.
type tokens struct {
	b        *builder
	path     []int32 // what the last segment's path holds
	ids      []int32
	mask     []int8
	logprobs []float32
	segments []schema.Segment
	spans    []*turn // turns with a completion
	from, to []int32 // their spans
	broken   bool    // a completion without logprobs of its length: none are kept
}

// step adds the tokens of one step; false if its ids cannot be kept as columns.
func (tk *tokens) step(t *turn, metrics canon.Value) bool {
	prompt, ok := tk.list("metrics.prompt_token_ids", get(metrics, "prompt_token_ids"))
	done, ok2 := tk.list("metrics.completion_token_ids", get(metrics, "completion_token_ids"))
	if !ok || !ok2 {
		return false
	}
	if len(prompt) == 0 && len(done) == 0 {
		return get(metrics, "logprobs").Len() == 0
	}
	lp := get(metrics, "logprobs")
	if lp.Len() != len(done) {
		tk.broken = true
	}
	if len(prompt) > 0 {
		shared := 0
		for shared < len(prompt) && shared < len(tk.path) && prompt[shared] == tk.path[shared] {
			shared++
		}
		reason := "prompt"
		if len(tk.spans) > 0 {
			reason = "tool"
		}
		tk.segment(prompt[shared:], shared, reason)
		tk.path = append(tk.path[:shared:shared], prompt[shared:]...)
	} else {
		tk.path = nil // the context is not known
	}
	if len(done) == 0 {
		return lp.Len() == 0
	}
	start := int32(len(tk.ids))
	tk.segment(done, len(tk.path), "sampled")
	tk.path = append(tk.path, done...)
	tk.spans = append(tk.spans, t)
	tk.from, tk.to = append(tk.from, start), append(tk.to, int32(len(tk.ids)))
	for i := range done {
		tk.mask[int(start)+i] = 1
		f, isNumber := lp.At(i).Float()
		if !isNumber {
			tk.broken = true
		}
		tk.logprobs[int(start)+i] = float32(f)
	}
	return lp.Len() == 0 || lp.Len() == len(done)
}

// segment appends tokens that follow keep tokens of the last segment's path.
func (tk *tokens) segment(ids []int32, keep int, reason string) {
	start := int32(len(tk.ids))
	tk.ids = append(tk.ids, ids...)
	tk.mask = append(tk.mask, make([]int8, len(ids))...)
	tk.logprobs = append(tk.logprobs, make([]float32, len(ids))...)
	if len(ids) == 0 && len(tk.segments) > 0 && keep == len(tk.path) {
		return // goes on where the last one ended
	}
	s := schema.Segment{Start: &start, End: some(int32(len(tk.ids))), Reason: &reason}
	if keep > 0 {
		s.Parent, s.PrefixLen = some(int32(len(tk.segments)-1)), some(int32(keep))
	}
	tk.segments = append(tk.segments, s)
}

// list reads token ids; an id that is none rejects the record.
func (tk *tokens) list(field string, v canon.Value) ([]int32, bool) {
	if v.IsNull() {
		return nil, true
	}
	if v.Kind() != canon.Array {
		tk.b.bad(field, "a list of token ids", v)
		return nil, false
	}
	out := make([]int32, v.Len())
	for i := range out {
		x := v.At(i)
		n, ok := x.Int()
		if !ok || n < 0 || n >= 1<<31 {
			tk.b.bad(field, "token ids from 0 to 2147483647", x)
			return nil, false
		}
		out[i] = int32(n)
	}
	return out, true
}

// close puts the arrays into the row.
func (tk *tokens) close() {
	if len(tk.ids) == 0 {
		return
	}
	row := tk.b.row
	row.TokenIDs, row.LossMask, row.Segments = tk.ids, tk.mask, tk.segments
	for i, t := range tk.spans {
		t.TokenStart, t.TokenEnd = &tk.from[i], &tk.to[i]
		if t.Sampled != nil && !*t.Sampled {
			for k := tk.from[i]; k < tk.to[i]; k++ {
				row.LossMask[k] = 0 // copied from another trajectory, where it is trained on
			}
		}
	}
	if tk.broken {
		tk.b.lose("metrics.logprobs", LossDropped)
		return
	}
	row.Logprobs, row.LogprobMode = tk.logprobs, some("unknown")
}
