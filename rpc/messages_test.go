package rpc

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"trajlake/schema/fault"
	"trajlake/schema/pb"
)

// TestManyEmptyMessages: a row of empty messages is refused before it is decoded,
// at the top and within a turn.
func TestManyEmptyMessages(t *testing.T) {
	turns := (*pb.Trajectory)(nil).ProtoReflect().Descriptor().Fields().ByName("turns")
	calls := turns.Message().Fields().ByName("tool_calls")
	many := func(num protowire.Number) []byte {
		return bytes.Repeat(protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), nil), maxMessages+1)
	}
	nested := protowire.AppendBytes(protowire.AppendTag(nil, turns.Number(), protowire.BytesType), many(calls.Number()))
	for name, row := range map[string][]byte{"turns": many(turns.Number()), "calls of a turn": nested} {
		item := protowire.AppendBytes(protowire.AppendTag(nil, fieldRow, protowire.BytesType), row)
		if it, _ := decodeItem(item); !fault.Is(it.Fault, fault.Invalid) || it.Row != nil {
			t.Errorf("%s: fault %v", name, it.Fault)
		}
	}
}
