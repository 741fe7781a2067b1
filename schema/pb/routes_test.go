package pb

import (
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"google.golang.org/protobuf/reflect/protoreflect"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/internal/rowgen"
)

func parse(t *testing.T, text []byte) *schema.Trajectory {
	t.Helper()
	v, err := canon.Parse(text, canon.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	row, faults := schema.FromJSON(v)
	if len(faults) > 0 {
		t.Fatalf("%s: %v", text, faults)
	}
	return row
}

// TestDigestIsTheSameByEveryRoute hands one row in as a line of a JSON file, as a
// protobuf message and as a row of an Arrow table.
func TestDigestIsTheSameByEveryRoute(t *testing.T) {
	const seed = 31
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	texts := [][]byte{
		[]byte(`{"token_ids":[1,2.0],"loss_mask":[true,0],"logprobs":[-0.110000000000000001,-0.0],"reward":5e-1,"sampling":{},"turns":[],"started_at":"1970-01-01T01:00:00+01:00","foo":{"x":1.0,"y":null},"metadata":{"a":1}}`),
		[]byte(`{"turns":[{"role":"user","text":"é 轨迹\n"},{},{"usage":{},"tool_calls":[{"args":{"b":[]}}],"mood":"x"}],"extra":{"b":null,"a":1e0},"group_index":0,"cost_usd":0,"task_id":""}`),
	}
	for _, p := range []float64{1, 0.5, 0.1} {
		row := new(schema.Trajectory)
		rowgen.Fill(r, row, rowgen.Some(r, p))
		row.TokenIDs = []int32{7}
		texts = append(texts, schema.AppendJSON(nil, row))
	}
	var salt [32]byte
	digest := func(row *schema.Trajectory) string {
		return hex.EncodeToString(canon.SourceDigest(salt, schema.NativeCanonical(row)))
	}
	for i, text := range texts {
		row := parse(t, text)
		byFile := digest(row)
		x, faults := wire(t, FromTrajectory(row)).Row()
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		rec, err := schema.BuildRecord(memory.DefaultAllocator, schema.Trajectories.Columns, []*schema.Trajectory{row})
		if err != nil {
			t.Fatal(err)
		}
		y, err := schema.RowFromArrow[schema.Trajectory](rec, 0)
		rec.Release()
		if err != nil {
			t.Fatal(err)
		}
		if byProto, byArrow := digest(x), digest(y); byProto != byFile || byArrow != byFile {
			t.Errorf("row %d: file %s, protobuf %s, Arrow %s\n%s", i, byFile, byProto, byArrow, text)
		}
		if again := digest(parse(t, schema.AppendJSON(nil, row))); again != byFile {
			t.Errorf("row %d: exported and read again %s, was %s", i, again, byFile)
		}
	}
	const golden = "b7397d18d44b33f21e59a1f0214eed998aeb0be49bb7ee878e51b3180971ada1" // computed with Python's hmac and hashlib
	if got := digest(parse(t, texts[0])); got != golden {
		t.Errorf("golden digest: %s", got)
	}
}

// TestFieldsAreColumns is the other half of the round trips, which show that
// every column has a field.
func TestFieldsAreColumns(t *testing.T) {
	var walk func(md protoreflect.MessageDescriptor, cols []*schema.Column)
	walk = func(md protoreflect.MessageDescriptor, cols []*schema.Column) {
		byName := make(map[string]*schema.Column)
		for _, c := range cols {
			byName[c.Name] = c
		}
		for i := range md.Fields().Len() {
			f := md.Fields().Get(i)
			c := byName[string(f.Name())]
			if f.Name() == "unknown_json" {
				continue
			}
			if c == nil {
				t.Errorf("%s is no column", f.FullName())
				continue
			}
			if !f.IsList() && !f.IsMap() && !f.HasOptionalKeyword() {
				t.Errorf("%s is not optional", f.FullName())
			}
			for c.Kind == schema.List {
				c = c.Elem
			}
			if c.Kind == schema.Struct {
				walk(f.Message(), c.Fields)
			}
		}
	}
	walk((&Trajectory{}).ProtoReflect().Descriptor(), schema.Trajectories.Columns)
	walk((&Annotation{}).ProtoReflect().Descriptor(), schema.Annotations.Columns)
	walk((&Tensor{}).ProtoReflect().Descriptor(), schema.Tensors.Columns)
}
