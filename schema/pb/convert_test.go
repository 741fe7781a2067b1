package pb

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/internal/rowgen"
)

// roundTrip sends full rows, sparse rows and rows of one leaf column through the wire.
func roundTrip[T any](t *testing.T, through func(*T) (*T, schema.Faults)) {
	const seed = 21
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	check := func(name string, want func(string) bool) {
		row := new(T)
		rowgen.Fill(r, row, want)
		got, faults := through(row)
		if len(faults) > 0 || !reflect.DeepEqual(got, row) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, faults, got, row)
		}
	}
	for range 5 {
		check("all columns", rowgen.All)
		check("half of the columns", rowgen.Some(r, 0.5))
	}
	check("no column", func(string) bool { return false })
	for _, leaf := range rowgen.Leaves(new(T)) {
		check(leaf, func(path string) bool { return path == leaf })
	}
}

func wire[M any, P interface {
	*M
	proto.Message
}](t *testing.T, in P) P {
	t.Helper()
	b, err := proto.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out := P(new(M))
	if err := proto.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	t.Run("trajectories", func(t *testing.T) {
		roundTrip(t, func(row *schema.Trajectory) (*schema.Trajectory, schema.Faults) {
			return wire(t, FromTrajectory(row)).Row()
		})
	})
	t.Run("annotations", func(t *testing.T) {
		roundTrip(t, func(row *schema.Annotation) (*schema.Annotation, schema.Faults) {
			return wire(t, FromAnnotation(row)).Row()
		})
	})
	t.Run("tensors", func(t *testing.T) {
		roundTrip(t, func(row *schema.Tensor) (*schema.Tensor, schema.Faults) { return wire(t, FromTensor(row)).Row() })
	})
}

func TestUnknownKeysAreKeptAsInJSON(t *testing.T) {
	x := &Trajectory{
		TokenIds:    pack([]int32{1}),
		Extra:       proto.String(`{"k": 1.0}`),
		UnknownJson: proto.String(`{"zeta":{"x":null,"z":[null,{}]},"nothing":null}`),
		Source:      &Source{UnknownJson: proto.String(`{"who":"me"}`)},
		Sampling:    &Sampling{},
		Turns: []*Turn{{
			UnknownJson: proto.String(`{"mood":"good"}`),
			Blocks:      []*Block{{UnknownJson: proto.String(`{"phase":2}`)}},
			ToolCalls:   []*ToolCall{{UnknownJson: proto.String(`{"score":0.5}`)}},
			Usage:       &Usage{UnknownJson: proto.String(`{"audio":3}`)},
		}},
	}
	got, faults := wire(t, x).Row()
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	v, err := canon.Parse([]byte(`{"token_ids":[1],"zeta":{"x":null,"z":[null,{}]},"nothing":null,"source":{"who":"me"},"sampling":{},"extra":{"k":1},
		"turns":[{"mood":"good","blocks":[{"phase":2}],"tool_calls":[{"score":0.5}],"usage":{"audio":3}}]}`), canon.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want, faults := schema.FromJSON(v)
	if len(faults) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %s\nwant %s", faults, schema.AppendJSON(nil, got), schema.AppendJSON(nil, want))
	}
}

func TestFaults(t *testing.T) {
	x := &Trajectory{
		TokenIds: []byte{1, 2, 3}, Logprobs: []byte{0}, EffortLevel: proto.Int32(300), UnknownJson: proto.String(`[]`), Extra: proto.String(`{"b":1}`),
		Turns: []*Turn{{}, {UnknownJson: proto.String(`{"text":"x"}`), ToolCalls: []*ToolCall{{UnknownJson: proto.String(`{`)}}}},
	}
	_, faults := x.Row()
	want := "effort_level: 300 is out of the range of a 8-bit integer; turns[1].tool_calls[0].unknown_json: the string holds no JSON object; " +
		"turns[1].text: the key is a column, but stands in unknown_json; token_ids: 3 bytes are no whole number of elements of 4; " +
		"logprobs: 1 bytes are no whole number of elements of 4; unknown_json: the string holds no JSON object"
	if faults.Error() != want {
		t.Errorf("\n got %s\nwant %s", faults, want)
	}
	if _, faults := (&Tensor{UnknownJson: proto.String(`{"a":1}`)}).Row(); faults.Error() != "a: the table has no such column" {
		t.Error(faults)
	}
	if _, faults := (&Trajectory{Extra: proto.String(`{"a":1}`), UnknownJson: proto.String(`{"a":1}`)}).Row(); faults.Error() != "a: the key stands in extra too" {
		t.Error(faults)
	}
}

// TestNewerMessage shows that fields of a newer producer do no harm.
func TestNewerMessage(t *testing.T) {
	b, err := proto.Marshal(&Trajectory{TrajectoryId: proto.String("a"), TokenIds: pack([]int32{1})})
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, 0xaa, 0x3f, 3, 'n', 'e', 'w') // field 1013, length-delimited
	x := new(Trajectory)
	if err := proto.Unmarshal(b, x); err != nil {
		t.Fatal(err)
	}
	if row, faults := x.Row(); len(faults) > 0 || row.TrajectoryID != "a" || len(row.TokenIDs) != 1 {
		t.Error(row, faults)
	}
}
