package ingest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"trajlake/ingest"
	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/store"
)

func TestPayloadsOfMediaAreBlobs(t *testing.T) {
	lake := testlake.Open(t)
	g := ingest.New(lake, nil)
	defer g.Close()
	ctx := context.Background()
	picture, sound := bytes.Repeat([]byte("picture\x00"), 400), bytes.Repeat([]byte("sound"), 1000)
	b64 := base64.StdEncoding.EncodeToString
	extra := map[string]string{
		"image": `{"image_url":{"detail":"low","url":"data:image/png;base64,` + b64(picture) + `"}}`,
		"audio": `{"input_audio":{"data":"` + b64(sound) + `","format":"wav"}}`,
		"tool":  `{"data":"` + b64(sound) + `"}`,                                        // not a part of media: stays
		"file":  `{"file":{"file_data":"` + strings.Repeat("not base64! ", 200) + `"}}`, // stays
		"icon":  `{"url":"data:image/gif;base64,` + b64([]byte("small")) + `"}`,         // stays
	}
	kinds := []string{"image", "audio", "tool", "file", "icon", "image"}
	build := func() *schema.Trajectory {
		row := testlake.Row("m", 1)
		for _, k := range kinds {
			row.Turns[0].Blocks = append(row.Turns[0].Blocks, schema.Block{Type: new(k), Extra: new(extra[k])})
		}
		row.Turns[1].Blocks = []schema.Block{{Type: new("image"), Mime: new("image/jpeg"), Text: new(b64(picture))}}
		return row
	}
	session := func() *ingest.Session {
		s, err := g.Session(nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	rs, err := session().Append(ctx, []ingest.Item{{Row: build()}})
	if err != nil || rs[0].Status != store.Committed {
		t.Fatalf("%+v %v", rs, err)
	}
	s, err := lake.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(ctx, []string{"m"})
	if err != nil {
		t.Fatal(err)
	}
	row := got[0]
	for i, want := range map[int][]byte{0: picture, 1: sound, 5: picture} {
		b := row.Turns[0].Blocks[i]
		if b.Digest == nil || b.Bytes == nil || *b.Bytes != int64(len(want)) || len(*b.Extra) > 300 {
			t.Fatalf("block %d: %+v", i, b)
		}
		if body, err := lake.GetBlob(ctx, *b.Digest); err != nil || !bytes.Equal(body, want) {
			t.Errorf("block %d: its blob has %d bytes, %v", i, len(body), err)
		}
	}
	if b := row.Turns[0].Blocks[0]; b.Mime == nil || *b.Mime != "image/png" {
		t.Errorf("type of the picture: %v", b.Mime)
	}
	for _, i := range []int{2, 3, 4} {
		if b := row.Turns[0].Blocks[i]; *b.Extra != extra[kinds[i]] || b.Digest != nil {
			t.Errorf("block %d was changed", i)
		}
	}
	if b := row.Turns[1].Blocks[0]; !strings.HasPrefix(*b.Text, "trajlake-blob:") || *b.Mime != "image/jpeg" {
		t.Errorf("base64 in the text: %+v", b)
	}
	if err := ingest.Restore(ctx, row, lake.GetBlob); err != nil {
		t.Fatal(err)
	}
	for i, k := range kinds {
		if *row.Turns[0].Blocks[i].Extra != extra[k] {
			t.Errorf("block %d came back as %.80s", i, *row.Turns[0].Blocks[i].Extra)
		}
	}
	if *row.Turns[1].Blocks[0].Text != b64(picture) {
		t.Error("the text came back changed")
	}
	// The restored row is the same row again, and so is the source.
	for name, again := range map[string]*schema.Trajectory{"restored": row, "source": build()} {
		rs, err := session().Append(ctx, []ingest.Item{{Row: again}})
		if err != nil || rs[0].Status != store.Duplicate {
			t.Errorf("%s: %+v %v", name, rs, err)
		}
	}
	// A reference that the source made up is left alone.
	fake := &schema.Trajectory{TrajectoryID: "f", Turns: []schema.Turn{{Blocks: []schema.Block{{Extra: new(`{"x":"trajlake-blob:` + strings.Repeat("ab", 32) + `"}`)}}}}}
	if err := ingest.Restore(ctx, fake, lake.GetBlob); err != nil {
		t.Error(err)
	}
}
