package rpc

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"trajlake/schema/fault"
	"trajlake/schema/pb"
)

// An empty message takes two bytes on the wire and hundreds in memory: of a row
// of countFrom bytes or more the messages are counted before it is decoded.
const (
	countFrom   = 1 << 20
	maxMessages = 1 << 20
)

// checkMessages refuses a serialized row of too many messages. Bytes that are no
// protobuf are left to the decoder.
func checkMessages(row []byte) error {
	if len(row) < countFrom {
		return nil
	}
	if left := countMessages(row, (*pb.Trajectory)(nil).ProtoReflect().Descriptor(), maxMessages); left < 0 {
		return fault.New(fault.Invalid, "read row", "it holds more than %d turns, calls and other structs", maxMessages)
	}
	return nil
}

// countMessages takes the messages within one from left, and ends below zero.
func countMessages(data []byte, d protoreflect.MessageDescriptor, left int) int {
	for len(data) > 0 && left >= 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			break
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(num, typ, data); n < 0 {
			break
		}
		value := data[:n]
		data = data[n:]
		f := d.Fields().ByNumber(num)
		if f == nil || f.Message() == nil || typ != protowire.BytesType {
			continue
		}
		body, _ := protowire.ConsumeBytes(value)
		left = countMessages(body, f.Message(), left-1)
	}
	return left
}
