package ingest

import (
	"context"
	"fmt"
	"strconv"
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
// points to nothing. touched is false where no turn was changed.
func (g *Ingester) moveOversized(ctx context.Context, row *schema.Trajectory) (touched bool, err error) {
	for t := range row.Turns {
		turn := &row.Turns[t]
		move := func(field string, text **string) {
			if err == nil && textBytes(*text) > maxInline {
				touched = true
				err = g.moveText(ctx, turn, field, text)
			}
		}
		move("text", &turn.Text)
		move("thinking", &turn.Thinking)
		for c := range turn.ToolCalls {
			call := &turn.ToolCalls[c]
			if n := textBytes(call.Result); n > maxInline {
				if call.ResultBytes == nil {
					call.ResultBytes = &n
				}
				call.ResultTruncated = new(true)
				move("tool_calls["+strconv.Itoa(c)+"].result", &call.Result)
			}
			if textBytes(call.ArgsRaw) > maxInline {
				move("tool_calls["+strconv.Itoa(c)+"].args_raw", &call.ArgsRaw)
			}
		}
		if err != nil {
			return true, err
		}
	}
	return touched, nil
}

// moveText moves one oversized text, and records it as a block of
// type "oversized" whose extra names the field.
func (g *Ingester) moveText(ctx context.Context, turn *schema.Turn, field string, text **string) error {
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
