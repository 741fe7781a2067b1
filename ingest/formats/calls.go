package formats

import (
	"strconv"
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// How a tool result was matched to its call (ToolCall.Link).
const (
	linkID         = "id"          // by the vendor's id
	linkOrder      = "order"       // the first call that had no result yet
	linkNameOrder  = "name_order"  // the first call of that name that had no result yet
	linkSameObject = "same_object" // call and result stand in one object
	linkAdjacency  = "adjacency"   // the next message is the result
	linkNone       = "none"        // no result
)

// setArgs fills args_raw and args_error from arguments as they are found: an
// object, a string that is JSON, or a string that is not.
func setArgs(b *builder, c *schema.ToolCall, args canon.Value) {
	switch args.Kind() {
	case canon.Null:
		return
	case canon.String:
		s, _ := args.Str()
		c.ArgsRaw = &s
		v, err := canon.Parse([]byte(s), canon.Limits{})
		if err == nil && v.Kind() == canon.String { // JSON in JSON in JSON
			inner, _ := v.Str()
			v, err = canon.Parse([]byte(inner), canon.Limits{})
		}
		switch {
		case strings.TrimSpace(s) == "":
		case err != nil:
			c.ArgsError = some(clip(err.Error(), 200))
			b.flag(FlagArgsUnparsable)
		case v.Kind() != canon.Object:
			c.ArgsError = some("arguments are a JSON " + v.Kind().String() + ", not an object")
			b.flag(FlagArgsUnparsable)
		}
	default:
		c.ArgsRaw = some(string(canon.Compact(args)))
		if args.Kind() != canon.Object {
			c.ArgsError = some("arguments are a JSON " + args.Kind().String() + ", not an object")
			b.flag(FlagArgsUnparsable)
		}
	}
}

// addCall appends a call to a turn; rest is what of its source no column holds.
func (t *turn) addCall(c schema.ToolCall, rest []canon.Member) *schema.ToolCall {
	if c.Name != nil {
		c.Kind = some(schema.ToolKind(*c.Name))
	}
	t.ToolCalls = append(t.ToolCalls, c)
	t.calls = append(t.calls, rest)
	t.results = append(t.results, nil)
	t.linked = append(t.linked, false)
	return &t.ToolCalls[len(t.ToolCalls)-1]
}

// openAICall reads one element of a tool_calls list of the OpenAI kind, or a
// JSON string that holds one.
func openAICall(b *builder, t *turn, v canon.Value, ordinal int) {
	if s, ok := v.Str(); ok {
		if inner, err := canon.Parse([]byte(s), canon.Limits{}); err == nil && inner.Kind() == canon.Object {
			v = inner
			b.lose("turns.tool_calls", LossApproximated)
		}
	}
	if v.Kind() != canon.Object {
		b.bad("tool_calls["+strconv.Itoa(ordinal)+"]", "an object", v)
		return
	}
	var c schema.ToolCall
	var rest []canon.Member
	for k, m := range v.Members() {
		switch k {
		case "id":
			c.IDRaw = idText(m)
		case "function":
			fn := m
			c.Name = str(fn, "name")
			setArgs(b, &c, get(fn, "arguments"))
			if more := without(fn, "name", "arguments"); !more.IsNull() {
				rest = append(rest, canon.M(k, more))
			}
		case "custom":
			c.Name = str(m, "name")
			c.ArgsRaw = str(m, "input")
			if more := without(m, "name", "input"); !more.IsNull() {
				rest = append(rest, canon.M(k, more))
			}
		case "name":
			c.Name = str(v, k)
		case "arguments":
			setArgs(b, &c, m)
		case "requestor":
			c.Actor = str(v, k)
		case "type":
			if s, _ := m.Str(); s != "function" && !m.IsNull() {
				rest = append(rest, canon.M(k, m))
			}
		case "index":
			if n, ok := m.Int(); !ok || n != int64(ordinal) {
				rest = append(rest, canon.M(k, m))
			}
		default:
			if !m.IsNull() {
				rest = append(rest, canon.M(k, m))
			}
		}
	}
	t.addCall(c, rest)
}

// result is a tool result on its way to its call.
type result struct {
	id, name *string
	actor    *string // who asked
	text     *string
	status   *string
	at       *schema.Time
	rest     []canon.Member // what no column holds

	subagents []string
}

// openTurn is the last turn with calls; -1 if there is none.
func (b *builder) openTurn() int {
	for i := len(b.turns) - 1; i >= 0; i-- {
		if len(b.turns[i].ToolCalls) > 0 {
			return i
		}
	}
	return -1
}

// find is the call that a result belongs to: by id in the open turn, by id
// before it, then in the open turn by order or by name and order.
func (b *builder) find(r *result) (turn, call int, link string) {
	open := b.openTurn()
	if open < 0 {
		return 0, 0, linkNone
	}
	free := func(i int, match func(c *schema.ToolCall) bool) int {
		t := b.turns[i]
		for k := range t.ToolCalls {
			if !t.linked[k] && match(&t.ToolCalls[k]) {
				return k
			}
		}
		return -1
	}
	if r.id != nil && *r.id != "" {
		sameID := func(c *schema.ToolCall) bool { return c.IDRaw != nil && *c.IDRaw == *r.id }
		if k := free(open, sameID); k >= 0 {
			return open, k, linkID
		}
		for i := range open {
			if k := free(i, sameID); k >= 0 {
				return i, k, linkID
			}
		}
	}
	sameName := func(c *schema.ToolCall) bool { return r.name != nil && c.Name != nil && *c.Name == *r.name }
	unnamed := func(c *schema.ToolCall) bool { return r.id == nil || *r.id == "" || c.IDRaw == nil }
	if r.name == nil {
		if k := free(open, unnamed); k >= 0 {
			return open, k, linkOrder
		}
		return 0, 0, linkNone
	}
	next := free(open, func(*schema.ToolCall) bool { return true })
	k := free(open, func(c *schema.ToolCall) bool { return sameName(c) && unnamed(c) })
	switch {
	case k >= 0 && k == next:
		return open, k, linkOrder
	case k >= 0:
		return open, k, linkNameOrder
	}
	return 0, 0, linkNone
}

// link gives a result to its call; ok is false where no call waits for it.
func (b *builder) link(r *result) bool {
	ti, k, how := b.find(r)
	if how == linkNone {
		b.flag(FlagOrphanResult)
		return false
	}
	b.give(b.turns[ti], k, r, how)
	return true
}

// give puts a result into call k of a turn.
func (b *builder) give(t *turn, k int, r *result, how string) {
	c := &t.ToolCalls[k]
	c.Result, c.ResultStatus, c.Link = r.text, r.status, some(how)
	t.results[k], t.linked[k] = r.rest, true
	if r.name != nil && c.Name != nil && *r.name != *c.Name {
		t.results[k] = append(t.results[k], canon.M("name", canon.Str(*r.name)))
	}
	if r.actor != nil && (c.Actor == nil || *r.actor != *c.Actor) {
		t.results[k] = append(t.results[k], canon.M("requestor", canon.Str(*r.actor)))
	}
	if r.at == nil {
		return
	}
	from := t.At
	if t.at != nil {
		from = t.at
	}
	if from != nil && *r.at >= *from {
		c.LatencyMs = some((int64(*r.at) - int64(*from)) / 1000)
	}
	t.at = r.at
}

// closeCalls marks the calls without a result and the ids that stand twice.
func (b *builder) closeCalls() {
	seen := map[string]bool{}
	for _, t := range b.turns {
		for k := range t.ToolCalls {
			c := &t.ToolCalls[k]
			if !t.linked[k] {
				c.Link, c.ResultStatus = some(linkNone), some("missing")
				b.flag(FlagMissingResult)
			}
			if c.IDRaw == nil || *c.IDRaw == "" {
				continue
			}
			if seen[*c.IDRaw] {
				b.flag(FlagDuplicateCallID)
			}
			seen[*c.IDRaw] = true
		}
	}
}
