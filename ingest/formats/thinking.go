package formats

import (
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// Where the thinking of a turn stood in the source (turn extra thinking_placement).
const (
	placeField    = "field"            // a field of its own beside the content
	placeBlock    = "block"            // a typed block
	placeTag      = "tag_in_content"   // <think>…</think> in the content
	placePrefill  = "prompt_prefilled" // the opening tag was in the prompt: only </think> in the content
	fidelityRaw   = "raw"
	fidelitySum   = "summary"
	fidelityCrypt = "encrypted"
)

const (
	openTag  = "<think>"
	closeTag = "</think>"
)

// setThinking gives a turn its thinking and says where it stood and how true it is.
func (b *builder) setThinking(t *turn, text, placement, fidelity string) {
	if t.Thinking != nil {
		text = *t.Thinking + "\n\n" + text
	}
	t.Thinking = &text
	b.place(t, placement)
	b.fidelity(fidelity)
}

// place notes where a turn's thinking stood.
func (b *builder) place(t *turn, placement string) {
	for _, m := range t.extra {
		if m.Key == "thinking_placement" {
			return
		}
	}
	t.extra = append(t.extra, canon.M("thinking_placement", canon.Str(placement)))
}

// fidelity takes the row's thinking fidelity down to f if f is worse.
func (b *builder) fidelity(f string) {
	rank := func(s *string) int {
		if s == nil {
			return -1
		}
		return strings.Index("raw summary encrypted omitted", *s)
	}
	if rank(&f) > rank(b.row.ThinkingFidelity) {
		b.row.ThinkingFidelity = &f
	}
}

// splitThinking takes thinking tags out of a content text. Text and thinking are
// cut exactly at the tags: content = "<think>" + thinking + "</think>" + text
// where there is one pair at the beginning; with more pairs, the blocks hold the
// parts in order. A text with tags that are not the model's own (inside a line,
// nested, unpaired in the middle) is left as it is.
func (b *builder) splitThinking(t *turn, content string) {
	t.Text = &content
	if strings.Contains(content, "<|channel|>") || strings.Contains(content, "<|message|>") {
		b.flag(FlagHarmonyLeak)
		return
	}
	opens, closes := strings.Count(content, openTag), strings.Count(content, closeTag)
	lead := len(content) - len(strings.TrimLeft(content, " \t\r\n"))
	switch {
	case opens == 0 && closes == 1:
		head, tail, _ := strings.Cut(content, closeTag)
		t.Text = &tail
		b.setThinking(t, head, placePrefill, fidelityRaw)
	case opens == 1 && closes == 0 && strings.HasPrefix(content[lead:], openTag):
		thought := content[lead+len(openTag):]
		t.Text = some("")
		b.setThinking(t, thought, placeTag, fidelityRaw)
		b.flag(FlagThinkUnbalanced)
	case opens != closes:
		b.flag(FlagThinkUnbalanced)
	case opens > 0:
		b.splitPairs(t, content)
	}
}

// splitPairs cuts a text at its paired tags.
func (b *builder) splitPairs(t *turn, content string) {
	type part struct {
		kind, text string
	}
	var parts []part
	var text, thought strings.Builder
	for rest := content; rest != ""; {
		before, after, found := strings.Cut(rest, openTag)
		if !found {
			parts = append(parts, part{"text", rest})
			text.WriteString(rest)
			break
		}
		inside, tail, closed := strings.Cut(after, closeTag)
		atLineStart := strings.TrimSpace(before) == "" || strings.HasSuffix(strings.TrimRight(before, " \t"), "\n")
		if !closed || !atLineStart || strings.Contains(inside, openTag) {
			return // not the model's own markup
		}
		if before != "" {
			parts = append(parts, part{"text", before})
			text.WriteString(before)
		}
		parts = append(parts, part{"thinking", inside})
		if thought.Len() > 0 {
			thought.WriteString("\n\n")
		}
		thought.WriteString(inside)
		rest = tail
	}
	t.Text = some(text.String())
	b.setThinking(t, thought.String(), placeTag, fidelityRaw)
	if len(parts) > 2 || len(parts) == 2 && parts[0].kind == "text" {
		for _, p := range parts {
			t.Blocks = append(t.Blocks, schema.Block{Type: some(p.kind), Text: some(p.text)})
		}
	}
}
