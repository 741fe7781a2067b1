package formats

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
)

func block(kind string, text *string) schema.Block { return schema.Block{Type: &kind, Text: text} }

func toolCall(name *string) schema.ToolCall { return schema.ToolCall{Name: name} }

func sortMembers(ms []canon.Member) {
	slices.SortFunc(ms, func(a, b canon.Member) int { return strings.Compare(a.Key, b.Key) })
}

// content reads a message's content: a text, or a list of parts, which become
// text and, where that is not all, ordered blocks.
func (b *builder) content(t *turn, v canon.Value, split bool) {
	switch v.Kind() {
	case canon.String:
		s, _ := v.Str()
		if split {
			b.splitThinking(t, s)
		} else {
			t.Text = &s
		}
	case canon.Array:
		b.parts(t, v)
	default:
		t.Text = some(string(canon.Compact(v)))
		t.keep(b, "content", v)
	}
}

// parts reads a list of content parts.
func (b *builder) parts(t *turn, list canon.Value) {
	var text strings.Builder
	var blocks []schema.Block
	plain := true
	for _, p := range list.Items() {
		bl := b.part(t, p)
		if *bl.Type == "text" && bl.Text != nil {
			bl.Offset = some(int64(text.Len()))
			text.WriteString(*bl.Text)
		} else {
			bl.Offset = some(int64(text.Len()))
		}
		plain = plain && *bl.Type == "text" && bl.Extra == nil
		blocks = append(blocks, bl)
	}
	if len(blocks) == 0 {
		return
	}
	if text.Len() > 0 || plain {
		t.Text = some(text.String())
	}
	if !plain || len(blocks) > 1 {
		t.Blocks = append(t.Blocks, blocks...)
	}
}

// part reads one content part of any vendor.
func (b *builder) part(t *turn, p canon.Value) schema.Block {
	if s, ok := p.Str(); ok {
		return block("text", &s)
	}
	kind, ok := get(p, "type").Str()
	if !ok {
		if s := str(p, "text"); s != nil {
			return withExtra(block("text", s), without(p, "text"))
		}
		return withExtra(block("json", nil), canon.Obj(canon.M("value", p)))
	}
	switch kind {
	case "text", "input_text", "output_text":
		return withExtra(block("text", str(p, "text")), without(p, "type", "text"))
	case "refusal":
		return withExtra(block("refusal", str(p, "refusal")), without(p, "type", "refusal"))
	case "thinking", "reasoning":
		key := "thinking"
		if !p.Has(key) {
			key = map[bool]string{true: "reasoning", false: "text"}[p.Has("reasoning")]
		}
		s := str(p, key)
		if s != nil {
			b.setThinking(t, *s, placeBlock, fidelityRaw)
		}
		return withExtra(block("thinking", s), without(p, "type", key))
	case "redacted_thinking":
		b.fidelity(fidelityCrypt)
		return withExtra(block("redacted_thinking", nil), without(p, "type"))
	case "image_url", "image", "input_image":
		return media("image", p)
	case "input_audio", "audio":
		return media("audio", p)
	case "file", "document", "input_file":
		return media("file", p)
	}
	return withExtra(block(kind, nil), without(p, "type"))
}

func withExtra(bl schema.Block, rest canon.Value) schema.Block {
	if rest = prune(rest); rest.Len() > 0 {
		bl.Extra = some(string(canon.Append(nil, rest)))
	}
	return bl
}

// mediaParts are OpenAI's names for the kinds of parts that are no text.
var mediaParts = map[string]string{"image": "image_url", "audio": "input_audio", "file": "file"}

// media is a part that is no text: its source is kept whole, and where that is a
// data URL, its type, size and digest are known.
func media(kind string, p canon.Value) schema.Block {
	rest := without(p, "type")
	if name, _ := get(p, "type").Str(); name != mediaParts[kind] {
		rest = p
	}
	bl := withExtra(block(kind, nil), rest)
	url, ok := get(p, "image_url", "url").Str()
	if !ok {
		url, _ = get(p, "image_url").Str()
	}
	head, data, found := strings.Cut(url, ";base64,")
	mime, isData := strings.CutPrefix(head, "data:")
	if !found || !isData {
		return bl
	}
	bl.Mime = &mime
	if raw, err := base64.StdEncoding.DecodeString(data); err == nil {
		sum := sha256.Sum256(raw)
		bl.Digest, bl.Bytes = some(hex.EncodeToString(sum[:])), some(int64(len(raw)))
	}
	return bl
}

// flatText is a content as one text; exact is false where the text alone loses
// something.
func flatText(v canon.Value) (text string, exact bool) {
	switch v.Kind() {
	case canon.String:
		s, _ := v.Str()
		return s, true
	case canon.Array:
		var out strings.Builder
		exact = v.Len() == 1
		for _, p := range v.Items() {
			if s, ok := p.Str(); ok {
				out.WriteString(s)
			} else if s := str(p, "text"); s != nil {
				out.WriteString(*s)
				exact = exact && without(p, "type", "text").IsNull()
			} else {
				exact = false
			}
		}
		return out.String(), exact
	}
	return string(canon.Compact(v)), false
}

// reasoning reads a field that holds the thinking as text. Dialects repeat it
// under several names: equal text counts once.
func (b *builder) reasoning(t *turn, m canon.Value, key string, v canon.Value) {
	s, ok := v.Str()
	switch {
	case !ok:
		t.keep(b, key, v)
	case s == "":
	case t.Thinking == nil:
		b.setThinking(t, s, placeField, fidelityRaw)
		if key != "reasoning_content" {
			t.extra = append(t.extra, canon.M("thinking_field", canon.Str(key)))
		}
	case *t.Thinking == s:
		b.lose("turns."+key, LossRepeated)
	default:
		t.keep(b, key, v)
	}
}

// thinkingBlocks reads the lists in which LiteLLM and OpenRouter keep signed,
// summarised and encrypted thinking.
func (b *builder) thinkingBlocks(t *turn, key string, v canon.Value) {
	if v.Kind() != canon.Array {
		t.keep(b, key, v)
		return
	}
	var all strings.Builder
	var blocks []schema.Block
	for _, p := range v.Items() {
		kind, _ := get(p, "type").Str()
		field, fid := "thinking", fidelityRaw
		switch {
		case kind == "redacted_thinking", strings.HasSuffix(kind, "encrypted"):
			b.fidelity(fidelityCrypt)
			blocks = append(blocks, withExtra(block("redacted_thinking", nil), without(p, "type")))
			continue
		case strings.HasSuffix(kind, "summary"):
			field, fid = "summary", fidelitySum
		case strings.HasSuffix(kind, "text"):
			field = "text"
		}
		s := str(p, field)
		if s == nil {
			blocks = append(blocks, withExtra(block(kindOr(kind, "thinking"), nil), without(p, "type")))
			continue
		}
		b.fidelity(fid)
		all.WriteString(*s)
		blocks = append(blocks, withExtra(block("thinking", s), without(p, "type", field)))
	}
	if all.Len() > 0 && t.Thinking == nil {
		t.Thinking = some(all.String())
	}
	b.place(t, placeBlock)
	t.Blocks = append(t.Blocks, blocks...)
}

func kindOr(kind, other string) string {
	if kind == "" {
		return other
	}
	return kind
}

// repeated keeps of an object what does not repeat the message it stands in.
func (b *builder) repeated(t *turn, m canon.Value, key string, v canon.Value) {
	if v.Kind() != canon.Object {
		t.keep(b, key, v)
		return
	}
	var rest []canon.Member
	for k, x := range v.Members() {
		same, has := m.Get(k)
		switch {
		case x.IsNull():
		case has && equal(same, x):
			b.lose("turns."+key+"."+k, LossRepeated)
		default:
			rest = append(rest, canon.M(k, x))
		}
	}
	if len(rest) > 0 {
		t.keep(b, key, canon.Obj(rest...))
	}
}

// equal compares two values by their canonical bytes.
func equal(a, b canon.Value) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	if s, ok := a.Str(); ok {
		o, _ := b.Str()
		return s == o
	}
	return string(canon.Append(nil, a)) == string(canon.Append(nil, b))
}
