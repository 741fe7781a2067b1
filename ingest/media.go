package ingest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

// Bytes of images, sound and files that stand in a row as text (a data: URI, or
// plain base64 in a part that is no text) are stored once per lake as a
// content-addressed blob. In their place stands a reference,
//
//	trajlake-blob:<hex SHA-256>          for plain base64
//	trajlake-blob:<hex SHA-256>;<type>   for data:<type>;base64,…
//
// and the block has digest, mime and bytes of the first of them. Only canonical
// base64 of at least minMedia characters is moved, so that Restore gives back
// exactly what stood there; everything else stays as it is.
const (
	minMedia  = 1 << 10
	blobRef   = "trajlake-blob:"
	dataURI   = "data:"
	base64Tag = ";base64,"
)

// mediaTypes are the types of blocks in which plain base64 is looked for.
var mediaTypes = map[string]bool{"image": true, "audio": true, "video": true, "file": true, "document": true}

// payloadKeys are the names under which vendors keep plain base64 in such parts.
var payloadKeys = map[string]bool{"data": true, "file_data": true, "b64_json": true, "image": true, "audio": true, "bytes": true}

// moveMedia moves the payloads of all blocks of the row. The blobs are stored
// before the row is committed. touched is false where no block was changed.
func (g *Ingester) moveMedia(ctx context.Context, row *schema.Trajectory) (touched bool, err error) {
	for t := range row.Turns {
		for i := range row.Turns[t].Blocks {
			b := &row.Turns[t].Blocks[i]
			if textBytes(b.Text) < minMedia && textBytes(b.Extra) < minMedia {
				continue
			}
			touched = true
			if err := g.moveBlock(ctx, b); err != nil {
				return true, err
			}
		}
	}
	return touched, nil
}

func (g *Ingester) moveBlock(ctx context.Context, b *schema.Block) error {
	media := b.Type != nil && mediaTypes[*b.Type]
	move := func(plain bool, s string) (string, error) { return g.moveString(ctx, b, plain, s) }
	if b.Text != nil && media && len(*b.Text) >= minMedia {
		ref, err := move(true, *b.Text)
		if err != nil {
			return err
		}
		b.Text = &ref
	}
	if b.Extra == nil || len(*b.Extra) < minMedia {
		return nil
	}
	v, err := canon.Parse([]byte(*b.Extra), canon.Limits{})
	if err != nil {
		return nil // not JSON, or beyond the limits: it stays
	}
	out, changed, err := mapStrings(v, "", func(key, s string) (string, error) {
		if len(s) < minMedia {
			return s, nil
		}
		return move(media && payloadKeys[key], s)
	})
	if err != nil {
		return err
	}
	if changed {
		b.Extra = new(string(canon.Append(nil, out)))
	}
	return nil
}

// moveString stores the payload in s and gives the reference to it; s itself if
// there is none. plain says that s may be base64 without a data: URI around it.
func (g *Ingester) moveString(ctx context.Context, b *schema.Block, plain bool, s string) (string, error) {
	payload, mime := s, ""
	if rest, ok := strings.CutPrefix(s, dataURI); ok {
		if mime, payload, ok = strings.Cut(rest, base64Tag); !ok || mime == "" {
			return s, nil
		}
	} else if !plain {
		return s, nil
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(payload)
	if err != nil || len(payload) < minMedia || strings.ContainsAny(payload, "\r\n") {
		return s, nil
	}
	digest, err := g.lake.PutBlob(ctx, raw)
	if err != nil {
		return "", err
	}
	if b.Digest == nil || *b.Digest == digest {
		b.Digest, b.Bytes = &digest, new(int64(len(raw)))
		if b.Mime == nil && mime != "" {
			b.Mime = &mime
		}
	}
	if mime != "" {
		return blobRef + digest + ";" + mime, nil
	}
	return blobRef + digest, nil
}

// Restore puts the payloads that were moved to blobs back into the row's blocks,
// for a format that has no blobs. get fetches a blob by its digest; one that it
// reports as fault.NotFound stays a reference.
func Restore(ctx context.Context, row *schema.Trajectory, get func(ctx context.Context, digest string) ([]byte, error)) error {
	restore := func(_, s string) (string, error) {
		ref, ok := strings.CutPrefix(s, blobRef)
		digest, mime, typed := strings.Cut(ref, ";")
		if raw, err := hex.DecodeString(digest); !ok || err != nil || len(raw) != 32 {
			return s, nil
		}
		body, err := get(ctx, digest)
		if fault.Is(err, fault.NotFound) {
			return s, nil
		}
		if err != nil {
			return "", fault.Wrap("restore trajectory "+row.TrajectoryID, err)
		}
		text := base64.StdEncoding.EncodeToString(body)
		if typed {
			text = dataURI + mime + base64Tag + text
		}
		return text, nil
	}
	for t := range row.Turns {
		for i := range row.Turns[t].Blocks {
			b := &row.Turns[t].Blocks[i]
			if b.Text != nil && b.Digest != nil && strings.HasPrefix(*b.Text, blobRef) {
				s, err := restore("", *b.Text)
				if err != nil {
					return err
				}
				b.Text = &s
			}
			if b.Extra == nil || !strings.Contains(*b.Extra, blobRef) {
				continue
			}
			v, err := canon.Parse([]byte(*b.Extra), canon.Limits{})
			if err != nil {
				continue
			}
			out, changed, err := mapStrings(v, "", restore)
			if err != nil {
				return err
			}
			if changed {
				b.Extra = new(string(canon.Append(nil, out)))
			}
		}
	}
	return nil
}

// mapStrings gives v with every string in it replaced by what fn makes of it; fn
// gets the name of the member that it is the value of.
func mapStrings(v canon.Value, key string, fn func(key, s string) (string, error)) (out canon.Value, changed bool, err error) {
	switch v.Kind() {
	case canon.String:
		s, _ := v.Str()
		t, err := fn(key, s)
		if err != nil || t == s {
			return v, false, err
		}
		return canon.Str(t), true, nil
	case canon.Array:
		items := make([]canon.Value, v.Len())
		for i, it := range v.Items() {
			c := false
			if items[i], c, err = mapStrings(it, key, fn); err != nil {
				return v, false, err
			}
			changed = changed || c
		}
		if changed {
			return canon.Arr(items...), true, nil
		}
	case canon.Object:
		members := make([]canon.Member, 0, v.Len())
		for name, m := range v.Members() {
			x, c, err := mapStrings(m, name, fn)
			if err != nil {
				return v, false, err
			}
			changed = changed || c
			members = append(members, canon.M(name, x))
		}
		if changed {
			return canon.Obj(members...), true, nil
		}
	}
	return v, false, nil
}
