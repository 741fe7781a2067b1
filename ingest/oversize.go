package ingest

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"trajlake/schema"
)

// A text longer than maxInline bytes is stored once per lake as a
// content-addressed blob; the row keeps its first keepInline bytes, and a block
// with the digest, the full size and where it stood.
const (
	maxInline  = 16 << 20
	keepInline = 64 << 10
)

// moveOversized replaces every oversized text of the row's turns by reference.
// It stores the blobs before the row is committed, so that a committed row never
// points to nothing.
func (g *Ingester) moveOversized(ctx context.Context, row *schema.Trajectory) error {
	for t := range row.Turns {
		turn := &row.Turns[t]
		for _, part := range []struct {
			name string
			text **string
		}{{"text", &turn.Text}, {"thinking", &turn.Thinking}} {
			if err := g.moveText(ctx, turn, part.name, part.text); err != nil {
				return err
			}
		}
		for c := range turn.ToolCalls {
			call := &turn.ToolCalls[c]
			long := call.Result != nil && len(*call.Result) > maxInline
			if long && call.ResultBytes == nil {
				call.ResultBytes = new(int64(len(*call.Result)))
			}
			if err := g.moveText(ctx, turn, fmt.Sprintf("tool_calls[%d].result", c), &call.Result); err != nil {
				return err
			}
			if long {
				call.ResultTruncated = new(true)
			}
			if err := g.moveText(ctx, turn, fmt.Sprintf("tool_calls[%d].args_raw", c), &call.ArgsRaw); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveText moves one text when it is oversized, and records it as a block of
// type "oversized" whose extra names the field.
func (g *Ingester) moveText(ctx context.Context, turn *schema.Turn, field string, text **string) error {
	if *text == nil || len(**text) <= maxInline {
		return nil
	}
	full := **text
	digest, err := g.lake.PutBlob(ctx, []byte(full))
	if err != nil {
		return err
	}
	cut := keepInline
	for cut > 0 && !utf8.RuneStart(full[cut]) {
		cut--
	}
	kept := strings.Clone(full[:cut])
	turn.Blocks = append(turn.Blocks, schema.Block{
		Type:   new("oversized"),
		Mime:   new("text/plain; charset=utf-8"),
		Digest: new(digest),
		Bytes:  new(int64(len(full))),
		Offset: new(int64(cut)),
		Extra:  new(fmt.Sprintf(`{"field":%q}`, field)),
	})
	*text = &kept
	return nil
}
