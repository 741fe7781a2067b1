package schema

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"trajlake/schema/canon"
	"trajlake/schema/internal/rowgen"
)

// The goldens of this file are format: a change of one makes every lake's rows
// strangers to their next import. They were computed with Python's struct, json
// and hashlib.
func TestContentHashGolden(t *testing.T) {
	for _, c := range []struct{ name, in, text, hash string }{
		{"smallest", `{"trajectory_id":"a","token_ids":[1]}`, `{"token_ids":"i32:1:67abdd721024f0ff4e0b3f4c2fc13bc5bad42d0b7851d456d88d203d15aaa450","trajectory_id":"a"}`, ""},
		{"toy", toy, "", "a59b5c8d7351e795288b8b90a295200de83bedab7c3b0875b5e84862409e2ae2"},
		{"left out", `{"trajectory_id":"a","token_ids":[1],"row_seq":5,"row_version":2,"ingested_at":5,"source":{"format":"native"},"source_digest":"00","content_hash":"00","import_loss":["x"],"flags":["y"],"turns":[],"metadata":{}}`,
			`{"token_ids":"i32:1:67abdd721024f0ff4e0b3f4c2fc13bc5bad42d0b7851d456d88d203d15aaa450","trajectory_id":"a"}`, ""},
		{"times, floats, extra", `{"trajectory_id":"a","started_at":"2026-01-02T03:04:05.678901Z","reward":0.50,"logprobs":[-0.1],"token_ids":[1],"turns":[{"at":7,"usage":{}},{}],"metadata":{"b":"2","a":"1"},"zeta":{"b":1.0,"a":[null]}}`,
			`{"extra":{"zeta":{"a":[null],"b":1}},"logprobs":"f32:1:c0163c2ecd64a0a15ca02ecf8c7aef2d50721774aae0cc1fc14a092fbe999dbb","metadata":{"a":"1","b":"2"},"reward":0.5,"started_at":1767323045678901,"token_ids":"i32:1:67abdd721024f0ff4e0b3f4c2fc13bc5bad42d0b7851d456d88d203d15aaa450","trajectory_id":"a","turns":"json:2:29489938cbc081cb2d910ba15557eda509ade40d8b77375f3ecabba5eef703e0"}`, ""},
	} {
		got := hex.EncodeToString(ContentHash(fromJSON(t, c.in)))
		want := c.hash
		if c.text != "" {
			sum := sha256.Sum256([]byte(c.text))
			want = hex.EncodeToString(sum[:])
		}
		if got != want {
			t.Errorf("%s: got %s want %s", c.name, got, want)
		}
	}
}

func TestContentHashDependsOnEveryContentColumn(t *testing.T) {
	const seed = 5
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	none := string(ContentHash(&Trajectory{}))
	out := map[string]bool{"row_version": true, "row_seq": true, "ingested_at": true, "source_digest": true, "content_hash": true, "import_loss": true, "flags": true,
		"source.format": true, "source.version": true, "source.uri": true, "source.record": true}
	for _, leaf := range rowgen.Leaves(new(Trajectory)) {
		row := new(Trajectory)
		rowgen.Fill(r, row, func(path string) bool { return path == leaf })
		if same := string(ContentHash(row)) == none; same != out[leaf] {
			t.Errorf("%s: hash is the empty row's: %v", leaf, same)
		}
	}
}

// TestContentHashStreams compares the hash that is taken in pieces with that of
// the whole text, for rows larger than the buffer.
func TestContentHashStreams(t *testing.T) {
	const seed = 6
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	row := new(Trajectory)
	rowgen.Fill(r, row, rowgen.All)
	for range 2000 {
		row.Turns = append(row.Turns, row.Turns[0])
	}
	row.TokenIDs = make([]int32, 300_000)
	plain := func(columns ...string) []byte {
		w := jsonWriter{micros: true, skip: func(name string) bool { return notContent(name) || !slices.Contains(columns, name) }}
		w.row(Trajectories, reflect.ValueOf(row).Elem())
		return w.dst
	}
	turns := plain("turns")
	turnSum := sha256.Sum256(turns[len(`{"turns":`) : len(turns)-1])
	ids := make([]byte, 4*len(row.TokenIDs))
	idSum := sha256.Sum256(ids)
	w := jsonWriter{micros: true, skip: notContent, sums: newColumnSums()}
	w.row(Trajectories, reflect.ValueOf(row).Elem())
	for _, want := range []string{fmt.Sprintf(`"turns":"json:%d:%x"`, len(row.Turns), turnSum), fmt.Sprintf(`"token_ids":"i32:300000:%x"`, idSum)} {
		if !strings.Contains(string(w.dst), want) {
			t.Errorf("no %s in %.3000s", want, w.dst)
		}
	}
	if sum := sha256.Sum256(w.dst); string(sum[:]) != string(ContentHash(row)) {
		t.Error("the streamed hash differs")
	}
}

// TestDigester: one digester over many rows gives what the plain functions give,
// also when the row changes between the two digests as it does on its way in, and
// when a row has the arrays of the one before.
func TestDigester(t *testing.T) {
	const seed = 8
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	d := NewDigester()
	check := func(row *Trajectory, change func()) {
		t.Helper()
		if got, want := d.NativeSum(row), sha256.Sum256(NativeCanonical(row)); got != want {
			t.Fatalf("native digest %x, want %x", got, want)
		}
		change()
		if got, want := d.ContentHash(row), ContentHash(row); string(got) != string(want) {
			t.Fatalf("content hash %x, want %x", got, want)
		}
		if got, want := d.ContentHash(row), ContentHash(row); string(got) != string(want) {
			t.Fatalf("content hash taken alone %x, want %x", got, want)
		}
	}
	for range 200 {
		row := new(Trajectory)
		rowgen.Fill(r, row, rowgen.All)
		for range r.IntN(3) * r.IntN(5000) {
			row.TokenIDs = append(row.TokenIDs, r.Int32())
			row.Logprobs = append(row.Logprobs, -float32(r.ExpFloat64()))
			row.LossMask = append(row.LossMask, int8(r.IntN(2)))
		}
		check(row, func() { Derive(row); row.TrajectoryID += "x" })
		check(row, func() { row.Turns = append(row.Turns, Turn{Role: p("user")}) })
		check(row, func() {
			d.Forget()
			row.Turns[len(row.Turns)-1].Text = p("moved")
		})
		for i := range row.TokenIDs {
			row.TokenIDs[i]++
		}
		check(row, func() {})
		other := &Trajectory{TrajectoryID: "other", TokenIDs: row.TokenIDs, LossMask: row.LossMask}
		d.NativeSum(row)
		if len(row.TokenIDs) > 0 {
			row.TokenIDs[0]++
		}
		if got, want := d.ContentHash(other), ContentHash(other); string(got) != string(want) {
			t.Fatalf("content hash of another row %x, want %x", got, want)
		}
	}
	check(&Trajectory{TrajectoryID: "long", TokenIDs: make([]int32, 300_000)}, func() {})
}

func TestAddingAColumnChangesNoHash(t *testing.T) {
	type turn struct {
		Role *string `parquet:"role,optional"`
		New  *string `parquet:"new_text,optional"`
		Text *string `parquet:"text,optional"`
	}
	type next struct {
		TrajectoryID string   `parquet:"trajectory_id"`
		Brand        *int64   `parquet:"brand_new,optional"`
		Turns        []turn   `parquet:"turns,optional,list"`
		TokenIDs     []int32  `parquet:"token_ids,optional,list"`
		List         []string `parquet:"newer_list,optional,list"`
	}
	v := next{TrajectoryID: "a", TokenIDs: []int32{1}, Turns: []turn{{Role: p("user"), Text: p("x")}}}
	w := jsonWriter{sink: sha256.New(), micros: true, skip: notContent, sums: newColumnSums()}
	columns := fieldsOf(reflect.TypeFor[next]())
	w.row(&Table{Columns: columns, plan: planOf("next", columns)}, reflect.ValueOf(&v).Elem())
	old := &Trajectory{TrajectoryID: "a", TokenIDs: []int32{1}, Turns: []Turn{{Role: p("user"), Text: p("x")}}}
	if string(w.sink.Sum(nil)) != string(ContentHash(old)) {
		t.Error("a null column of a newer schema changes the hash")
	}
}

func TestNativeCanonical(t *testing.T) {
	const want = `{"extra":{"foo":{"x":1}},"logprobs":"f32:2:79d4bda5e21cc40ce6aa22250a6aa8eccff310024d5c28e8c6cc9c7e4873bf35",` +
		`"loss_mask":"i8:2:47dc540c94ceb704a23875c11273e16bb0b8a87aed84de911f2133568115f254","reward":0.5,"started_at":0,` +
		`"token_ids":"i32:2:34fb5c825de7ca4aea6e712f19d439c1da0c92c37b423936c5f618545ca4fa1f"}`
	for _, in := range []string{
		`{"token_ids":[1,2.0],"loss_mask":[true,0],"reward":5e-1,"sampling":{},"turns":[],"logprobs":[-0.110000000000000001,0],"started_at":"1970-01-01T01:00:00+01:00","foo":{"x":1.0,"y":null}}`,
		`{"started_at":0,"logprobs":[-0.11,-0.0],"loss_mask":[1,0],"token_ids":[1e0,2],"reward":0.5,"row_seq":7,"extra":"{\"foo\":{\"x\":1}}","metadata":{}}`,
	} {
		if got := string(NativeCanonical(fromJSON(t, in))); got != want {
			t.Errorf("%s: got %s", in, got)
		}
	}
}

// TestNumbersArePacked compares the memory of numbers, which is what is hashed
// here, with values packed one by one, as other machines do it.
func TestNumbersArePacked(t *testing.T) {
	const seed = 9
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, n := range []int{1, 2, 7, 20_000} {
		ids, logprobs := make([]int32, n), make([]float32, n)
		for i := range n {
			ids[i], logprobs[i] = int32(r.Uint32()), -r.Float32()
		}
		logprobs[r.IntN(n)] = float32(math.Copysign(0, -1))
		var want, wantLogprobs []byte
		for i := range n {
			want = binary.LittleEndian.AppendUint32(want, uint32(ids[i]))
			wantLogprobs = binary.LittleEndian.AppendUint32(wantLogprobs, math.Float32bits(logprobs[i]+0)) // -0 + 0 is 0
		}
		s := newColumnSums()
		for name, c := range map[string]struct {
			pack func()
			want []byte
		}{
			"i32":             {func() { s.packInts(ids) }, want},
			"i32, one by one": {func() { s.pack(n, func(i int) uint32 { return uint32(ids[i]) }) }, want},
			"f32":             {func() { s.packFloats(logprobs) }, wantLogprobs},
		} {
			s.sink.Reset()
			c.pack()
			if sum := sha256.Sum256(c.want); string(s.sink.Sum(nil)) != string(sum[:]) {
				t.Errorf("%d numbers, %s: other bytes were hashed", n, name)
			}
		}
	}
}

func TestAnnotationID(t *testing.T) {
	a := &Annotation{Kind: p("reward"), TargetID: p("toy-1"), Value: p(1.0)}
	id := AnnotationID(a)
	a.AnnotationID, a.RowSeq = "x", p(int64(4))
	if AnnotationID(a) != id || len(id) != 34 {
		t.Error(id)
	}
	a.At = p(Time(5))
	if AnnotationID(a) == id {
		t.Error("the time is part of the fact")
	}
}

func BenchmarkFromJSON(b *testing.B) {
	row, text := large()
	_ = row
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		v, err := canon.Parse(text, canon.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		FromJSON(v)
	}
}

func large() (*Trajectory, []byte) {
	r := rand.New(rand.NewPCG(1, 1))
	row := new(Trajectory)
	rowgen.Fill(r, row, rowgen.All)
	text := string(make([]rune, 0))
	for range 200 {
		text += "observation text "
	}
	for range 20 {
		row.Turns = append(row.Turns, Turn{Role: p("assistant"), Text: &text, ToolCalls: []ToolCall{{Name: p("bash"), Result: &text}}})
	}
	row.TokenIDs = make([]int32, 5000)
	row.LossMask = make([]int8, 5000)
	row.Logprobs = make([]float32, 5000)
	for i := range row.TokenIDs {
		row.TokenIDs[i], row.Logprobs[i] = r.Int32N(150_000), -r.Float32()
	}
	return row, AppendJSON(nil, row)
}

func BenchmarkContentHash(b *testing.B) {
	row, text := large()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		ContentHash(row)
	}
}

func BenchmarkDigester(b *testing.B) {
	row, _ := large()
	d := NewDigester()
	b.ReportAllocs()
	for b.Loop() {
		d.NativeSum(row)
		d.ContentHash(row)
	}
}

func BenchmarkValidate(b *testing.B) {
	row, text := large()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		Validate(row, Limits{})
	}
}
