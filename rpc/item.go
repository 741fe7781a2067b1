package rpc

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"trajlake/ingest"
	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
	"trajlake/schema/pb"
)

// maxNesting is the greatest depth of a row's JSON.
const maxNesting = 512

// Numbers of fields of AppendItem that are written by hand.
const (
	fieldRow = 2
	fieldSum = 6
)

// wireItem is an AppendItem whose fields lie in the received bytes. It is read by
// hand because the generated code copies every field, and a row may have 256 MiB.
type wireItem struct {
	json, row, sum               []byte
	tokenIDs, lossMask, logprobs []byte
}

// readItem takes a serialized AppendItem apart; unknown fields are skipped.
func readItem(data []byte) (it wireItem, err error) {
	const op = "read row"
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return it, fault.New(fault.Invalid, op, "not an AppendItem: %v", protowire.ParseError(n))
		}
		data = data[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, data); n < 0 {
				return it, fault.New(fault.Invalid, op, "not an AppendItem: %v", protowire.ParseError(n))
			}
			data = data[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return it, fault.New(fault.Invalid, op, "not an AppendItem: %v", protowire.ParseError(n))
		}
		data = data[n:]
		switch num {
		case 1:
			it.json = v
		case fieldRow:
			it.row = v
		case 3:
			it.tokenIDs = v
		case 4:
			it.lossMask = v
		case 5:
			it.logprobs = v
		case fieldSum:
			it.sum = v
		}
	}
	return it, nil
}

// decodeItem turns the bytes of one AppendItem into an item of ingest; what is
// wrong with them becomes the item's fault. explicit reports whether the row
// brought its own id.
func decodeItem(data []byte) (item ingest.Item, explicit bool) {
	w, err := readItem(data)
	if err != nil {
		return ingest.Item{Fault: err}, false
	}
	row, err := w.trajectory()
	if row != nil {
		explicit = row.TrajectoryID != ""
	}
	if len(w.sum) != 0 && len(w.sum) != sha256.Size && err == nil {
		err = fault.New(fault.Invalid, "read row", "%d bytes are no SHA-256", len(w.sum)).WithField("source_sum")
	}
	// A sum that is no copy would hold the whole message in memory.
	return ingest.Item{Row: row, Sum: slices.Clone(w.sum), Fault: err}, explicit
}

// trajectory is the row of an item. Beside an error it is what could be read, or nil.
func (w *wireItem) trajectory() (*schema.Trajectory, error) {
	const op = "read row"
	if (w.json == nil) == (w.row == nil) {
		return nil, fault.New(fault.Invalid, op, "an item has a row as JSON or as protobuf, exactly one of them")
	}
	if w.row != nil {
		if err := checkMessages(w.row); err != nil {
			return nil, err
		}
		msg := new(pb.Trajectory)
		if err := proto.Unmarshal(w.row, msg); err != nil {
			return nil, fault.WrapAs(fault.Invalid, op, err)
		}
		row, faults := msg.Row()
		if len(w.tokenIDs)+len(w.lossMask)+len(w.logprobs) > 0 {
			faults = append(faults, schema.Fault{Field: "row", Kind: schema.FaultTwice, Reason: "packed arrays go beside JSON only"})
		}
		return row, faults.Err(op)
	}
	v, err := canon.Parse(w.json, canon.Limits{Depth: maxNesting})
	if err != nil {
		return nil, fault.WrapAs(fault.Invalid, op, err)
	}
	row, faults := schema.FromJSON(v)
	if len(w.tokenIDs) > 0 {
		faults = slices.DeleteFunc(faults, func(f schema.Fault) bool { return f.Field == "turns" && f.Kind == schema.FaultMissing })
	}
	faults = append(faults, w.arrays(row)...)
	return row, faults.Err(op)
}

// arrays puts the packed arrays into the row.
func (w *wireItem) arrays(row *schema.Trajectory) (faults schema.Faults) {
	check := func(field string, data []byte, size int, there bool) bool {
		switch {
		case len(data) == 0:
			return false
		case there:
			faults = append(faults, schema.Fault{Field: field, Kind: schema.FaultTwice, Reason: "stands in the JSON and beside it"})
		case len(data)%size != 0:
			faults = append(faults, schema.Fault{Field: field, Kind: schema.FaultType, Reason: "its bytes are no whole number of elements"})
		default:
			return true
		}
		return false
	}
	if check("token_ids", w.tokenIDs, 4, len(row.TokenIDs) > 0) {
		row.TokenIDs = unpack32(w.tokenIDs, func(u uint32) int32 { return int32(u) })
	}
	if check("loss_mask", w.lossMask, 1, len(row.LossMask) > 0) {
		row.LossMask = slices.Clone(unsafe.Slice((*int8)(unsafe.Pointer(&w.lossMask[0])), len(w.lossMask)))
	}
	if check("logprobs", w.logprobs, 4, len(row.Logprobs) > 0) {
		row.Logprobs = unpack32(w.logprobs, math.Float32frombits)
	}
	return faults
}

// unpack32 reads little-endian 32-bit elements.
func unpack32[T int32 | float32](data []byte, of func(uint32) T) []T {
	out := make([]T, len(data)/4)
	for i := range out {
		out[i] = of(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

// encodeItem is the inverse of decodeItem, for a client.
func encodeItem(it *ingest.Item) ([]byte, error) {
	const op = "encode row"
	msg := pb.FromTrajectory(it.Row)
	size := proto.Size(msg)
	// Written by hand around the row, which is then in memory once.
	data := make([]byte, 0, size+len(it.Sum)+32)
	data = protowire.AppendTag(data, fieldRow, protowire.BytesType)
	data = protowire.AppendVarint(data, uint64(size))
	data, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(data, msg)
	if err != nil { // text that is not UTF-8
		return nil, fault.WrapAs(fault.Invalid, op, err)
	}
	if len(it.Sum) > 0 {
		data = protowire.AppendTag(data, fieldSum, protowire.BytesType)
		data = protowire.AppendBytes(data, it.Sum)
	}
	return data, nil
}
