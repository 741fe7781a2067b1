package rpc

import (
	"encoding/binary"

	"github.com/apache/arrow/go/v17/arrow/ipc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// frame is a Flight message on its way out whose body lies where the record's
// columns lie: it is sent without being copied together first.
type frame struct {
	header []byte   // FlightData.data_header
	meta   []byte   // FlightData.app_metadata; nil where there is none
	body   [][]byte // parts of FlightData.data_body
	bytes  int      // of body
	own    bool     // the last part is a copy that small ones may be added to
}

// Tags of the fields of FlightData, all of wire type 2.
const (
	tagHeader = 2<<3 | 2
	tagMeta   = 3<<3 | 2
	tagBody   = 1000<<3 | 2
)

// frameCodec sends frames as they are and leaves every other message to the
// protobuf codec.
type frameCodec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	head := make([]byte, 0, len(f.header)+len(f.meta)+24)
	head = binary.AppendUvarint(head, tagHeader)
	head = binary.AppendUvarint(head, uint64(len(f.header)))
	head = append(head, f.header...)
	if f.meta != nil {
		head = binary.AppendUvarint(head, tagMeta)
		head = binary.AppendUvarint(head, uint64(len(f.meta)))
		head = append(head, f.meta...)
	}
	// The body goes last and always stands there, as Arrow's readers expect.
	head = binary.AppendUvarint(head, tagBody)
	head = binary.AppendUvarint(head, uint64(f.bytes))
	out := make(mem.BufferSlice, 0, len(f.body)+1)
	out = append(out, mem.SliceBuffer(head))
	for _, b := range f.body {
		out = append(out, mem.SliceBuffer(b))
	}
	return out, nil
}

// frameWriter sends the payloads of an ipc.Writer as frames. The memory of the
// records stays in use until the transport has sent it, after Send returned: it
// must be the collector's, not a pool's.
type frameWriter struct {
	stream grpc.ServerStream
	meta   []byte // app_metadata of the next record
	begun  bool   // the schema, which has none, was sent
}

// Start implements ipc.PayloadWriter.
func (*frameWriter) Start() error { return nil }

// Close implements ipc.PayloadWriter.
func (*frameWriter) Close() error { return nil }

// WritePayload implements ipc.PayloadWriter.
func (w *frameWriter) WritePayload(p ipc.Payload) error {
	m := p.Meta()
	defer m.Release()
	f := &frame{header: m.Bytes()}
	if w.begun {
		f.meta = w.meta
	}
	w.begun = true
	if err := p.SerializeBody(f); err != nil {
		return err
	}
	return w.stream.SendMsg(f)
}

// Write collects parts of the body; it implements io.Writer for SerializeBody,
// whose parts are the buffers of the columns and padding. Small ones are put together.
func (f *frame) Write(p []byte) (int, error) {
	const small = 1 << 10
	f.bytes += len(p)
	if n := len(f.body); n > 0 && len(p) <= small && f.own && len(f.body[n-1]) <= small {
		f.body[n-1] = append(f.body[n-1], p...)
		return len(p), nil
	}
	f.own = len(p) <= small
	if f.own {
		p = append(make([]byte, 0, 2*small), p...)
	}
	f.body = append(f.body, p)
	return len(p), nil
}
