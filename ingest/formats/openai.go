package formats

import (
	"context"
	"io"
	"iter"
	"strings"

	"trajlake/schema/canon"
)

// openAI reads conversations in OpenAI's chat form: {messages, tools, …} rows,
// bare lists of messages, and recorded requests with their responses; as JSON
// lines, one object, or a list.
type openAI struct{}

func (openAI) Name() string { return "openai" }

func (openAI) Sniff(s *Sample) int {
	top := s.Top()
	if s.IsArray() && isMessage(top.At(0)) || s.IsArray() && isMessage(top.At(0).At(0)) {
		return 70
	}
	r := s.Record()
	switch {
	case isMessage(get(r, "messages").At(0)):
		return 60
	case isMessage(get(r, "prompt").At(0)) && isMessage(get(r, "completion").At(0)) && !r.Has("reward"):
		return 60
	case isMessage(get(requestOf(r), "messages").At(0)):
		return 65
	case get(responseOf(r), "choices").Len() > 0:
		return 55
	case r.Has("messages") && r.Len() <= 4:
		return 30
	case isMessage(r) && r.Len() <= 6:
		return 20 // refused by name
	}
	return 0
}

func isMessage(v canon.Value) bool {
	_, ok := get(v, "role").Str()
	return ok && (v.Has("content") || v.Has("tool_calls") || v.Has("function_call"))
}

// requestOf is the request of a recorded exchange; null if there is none.
func requestOf(v canon.Value) canon.Value {
	for _, k := range []string{"request", "request_body", "body"} {
		if r := get(v, k); r.Kind() == canon.Object {
			if b := get(r, "body"); b.Kind() == canon.Object {
				return b
			}
			return r
		}
	}
	return canon.Value{}
}

// responseOf is the completion of a recorded exchange, assembled if it was
// streamed; null if there is none.
func responseOf(v canon.Value) canon.Value {
	if v.Has("choices") {
		return v
	}
	for _, k := range []string{"response", "response_body", "completion"} {
		r := get(v, k)
		if b := get(r, "body"); !b.IsNull() {
			r = b
		}
		if inner := get(r, "__data__"); !inner.IsNull() {
			r = inner
		}
		if r.Kind() == canon.Array {
			return assemble(r)
		}
		if r.Kind() == canon.Object {
			return r
		}
	}
	return canon.Value{}
}

func (im openAI) Read(ctx context.Context, r io.Reader, src Source) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		o, err := openSource(r, src)
		if err != nil {
			yield(Record{Err: err})
			return
		}
		m := func(d document) []Record { return im.record(d, src) }
		list := o.sample().IsArray() && isMessage(o.sample().Top().At(0))
		switch {
		case !list:
			scanAll(ctx, o.r, src, canon.ScanOptions{MaxRecord: src.MaxRecord}, 0, m, yield)
		case o.sample().firstLineWhole():
			scanAll(ctx, o.r, src, canon.ScanOptions{Shape: canon.Values, MaxRecord: src.MaxRecord}, 0, m, yield)
		default:
			eachValue(ctx, o.r, src, m, yield)
		}
	}
}

func (im openAI) record(d document, src Source) []Record {
	v := d.value
	switch {
	case v.Kind() == canon.Array:
		return im.conversation(d, src, v, canon.Value{})
	case isMessage(v) && !v.Has("messages"):
		e := invalid(src.Name, d.line, "", "a single message is no trajectory")
		return []Record{{Line: d.line, Index: d.index, Err: e.WithHint("put the messages of a conversation into one list")}}
	case get(v, "messages").Kind() == canon.Array && !v.Has("choices"):
		return im.conversation(d, src, get(v, "messages"), v)
	}
	if req, resp := requestOf(v), responseOf(v); get(req, "messages").Kind() == canon.Array || resp.Has("choices") {
		return im.exchange(d, src, req, resp)
	}
	if isMessage(get(v, "prompt").At(0)) {
		return im.promptAnswer(d, src)
	}
	return wrong(src, d, im, "it has no messages")
}

// promptAnswer reads {prompt: messages, completion: messages}.
func (im openAI) promptAnswer(d document, src Source) []Record {
	var all []canon.Value
	for _, k := range []string{"prompt", "completion"} {
		for _, m := range get(d.value, k).Items() {
			all = append(all, m)
		}
	}
	return im.conversation(d, src, canon.Arr(all...), d.value)
}

// conversation maps a list of messages and the members of the row around it.
func (im openAI) conversation(d document, src Source, messages, row canon.Value) []Record {
	b := newBuilder(im.Name())
	b.chat(messages, chat{list: "messages", key: b.openAIKey})
	if b.err == nil && messages.Len() == 0 {
		b.reject("messages", "the list is empty")
	}
	b.rowMembers(row)
	return b.done(src, d, d.canonical())
}

// openAIKey takes what a row's messages often carry beyond OpenAI's own keys.
func (b *builder) openAIKey(t *turn, m canon.Value, key string, v canon.Value) bool {
	switch key {
	case "timestamp", "created_at":
		t.At = b.time(v)
		return t.At != nil
	case "model":
		t.Model = str(m, key)
		return t.Model != nil
	case "weight": // fine-tuning's way to say what not to train on
		if f := number(v); f != nil && *f == 0 && *t.Role == "assistant" {
			t.Sampled = some(false)
			return true
		}
	}
	return false
}

// rowMembers maps what stands beside the messages.
func (b *builder) rowMembers(v canon.Value) {
	row := b.row
	for k, x := range v.Members() {
		switch k {
		case "messages":
		case "prompt", "completion":
			if x.Kind() != canon.Array {
				b.keep(k, x)
			}
		case "tools", "functions":
			b.tools(k, x)
		case "reward", "score":
			b.openAIReward(k, x)
		case "usage":
			b.rowUsage(k, x)
		case "created", "created_at", "timestamp":
			if row.StartedAt == nil {
				row.StartedAt = b.timeOr(k, x)
			} else {
				b.keep(k, x)
			}
		default:
			if !b.column(k, x) {
				b.keep(k, x)
			}
		}
	}
	b.sampled(v)
}

// sampled reads how the model was asked; the parameters stay in extra as well,
// in the vendor's words.
func (b *builder) sampled(v canon.Value) {
	if f := number(get(v, "temperature")); f != nil {
		b.sampling().Temperature = f
	}
	if f := number(get(v, "top_p")); f != nil {
		b.sampling().TopP = f
	}
	for _, k := range []string{"max_completion_tokens", "max_tokens"} {
		if n := integer(get(v, k)); n != nil {
			first(&b.sampling().MaxTokens, n)
		}
	}
	if n := integer(get(v, "seed")); n != nil {
		b.sampling().Seed = n
	}
	b.effort("openai", v)
}

// column sets a column of the same name.
func (b *builder) column(key string, v canon.Value) bool {
	var to **string
	switch key {
	case "model":
		to = &b.row.Model
	case "task_id":
		to = &b.row.TaskID
	case "task_set":
		to = &b.row.TaskSet
	case "dataset":
		to = &b.row.Dataset
	case "split":
		to = &b.row.Split
	case "run_id":
		to = &b.row.RunID
	case "group_id":
		to = &b.row.GroupID
	case "licence", "license":
		to = &b.row.Licence
	case "agent":
		to = &b.row.Agent
	default:
		return false
	}
	s := idText(v)
	if s == nil || *to != nil || len(*s) > 512 {
		return false
	}
	*to = s
	return true
}

// tools keeps the tools' schemas in extra and their digest in its column.
func (b *builder) tools(key string, v canon.Value) {
	if v.Len() > 0 {
		b.row.ToolsDigest = some(digest(canon.Append(nil, v)))
	}
	b.keep(key, v)
}

// openAIReward reads a reward that stands beside the messages.
func (b *builder) openAIReward(key string, v canon.Value) {
	f := number(v)
	switch {
	case key == "score" && f == nil: // a word, or a list of judges
		b.keep(key, v)
	case key == "score" && b.row.Reward != nil:
		b.row.Rewards = append(b.row.Rewards, reward(key, f, "source"))
	case v.IsNull():
	default:
		if f = b.float(key, v); f != nil {
			b.row.Rewards = append(b.row.Rewards, reward(key, f, "source"))
			b.row.Reward = f
		}
	}
}

// rowUsage reads token counts of the whole conversation.
func (b *builder) rowUsage(key string, v canon.Value) {
	u, rest := usageOf(v)
	if u != nil {
		b.row.PromptTokens, b.row.CompletionTokens, b.row.ThinkingTokens = u.Prompt, u.Completion, u.Thinking
		if u.CacheRead != nil || u.CacheWrite != nil {
			rest = v
		}
	}
	b.keep(key, rest)
}

// exchange maps a recorded request and response: the request's messages, then
// the answer; with several choices, one row each, as one group.
func (im openAI) exchange(d document, src Source, req, resp canon.Value) []Record {
	choices := get(resp, "choices")
	n := max(choices.Len(), 1)
	var out []Record
	for i := range n {
		b := newBuilder(im.Name())
		if req.Has("messages") {
			b.chat(get(req, "messages"), chat{list: "messages", key: b.openAIKey})
			b.inPrompt()
		}
		b.rowMembers(without(req, "messages"))
		if c := choices.At(i); !c.IsNull() {
			b.answer(c, resp, i, n)
		}
		b.keepRest(d.value, "request", "request_body", "body", "response", "response_body", "completion", "choices", "usage", "model", "created", "object", "messages")
		b.envelope(d.value)
		canonical := d.value
		if n > 1 {
			canonical = canon.Obj(canon.M("choice", canon.IntOf(int64(i))), canon.M("record", d.value))
		}
		out = append(out, b.done(src, d, canon.Append(nil, canonical))...)
	}
	return out
}

// inPrompt marks what the request held: it was sampled elsewhere, if at all.
func (b *builder) inPrompt() {
	for _, t := range b.turns {
		t.Sampled = some(false)
	}
}

// answer adds one choice of a response.
func (b *builder) answer(c, resp canon.Value, i, n int) {
	m := get(c, "message")
	if m.Kind() != canon.Object {
		b.bad("choices.message", "an object", m)
		return
	}
	b.message(m, chat{list: "choices"}, "assistant", "assistant", i)
	t := b.turns[len(b.turns)-1]
	t.setFinish(str(c, "finish_reason"))
	u, rest := usageOf(get(resp, "usage"))
	if n == 1 {
		t.Usage = u
	} else {
		rest = get(resp, "usage")
		b.row.GroupIndex, b.row.GroupSize = some(int32(i)), some(int32(n))
	}
	t.keep(b, "usage", rest)
	t.Model = str(resp, "model")
	first(&b.row.Model, t.Model)
	if at := b.time(get(resp, "created")); at != nil && *at > 0 {
		t.At = at
	}
	if id := str(resp, "id"); id != nil {
		t.keep(b, "response_id", canon.Str(*id))
		if n > 1 {
			b.row.GroupID = some("openai:" + *id)
		}
	}
	for k, v := range without(c, "message", "finish_reason", "index").Members() {
		t.keep(b, k, v)
	}
	for k, v := range resp.Members() {
		switch k {
		case "id", "choices", "model", "created", "usage", "object":
		default:
			t.keep(b, k, v)
		}
	}
}

// envelope keeps what a recorder wrote around the bodies of an exchange.
func (b *builder) envelope(v canon.Value) {
	for _, k := range []string{"request", "response"} {
		if r := get(v, k); r.Has("body") {
			b.keep(k, without(r, "body", "headers"))
			if h := get(r, "headers"); h.Len() > 0 {
				b.lose(strings.Join([]string{k, "headers"}, "."), LossDropped)
			}
		}
	}
}
