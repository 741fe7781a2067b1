package rpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"trajlake/ingest"
	"trajlake/rpc/rpcpb"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// raw opens an append stream without the client's help.
type raw struct {
	t      *testing.T
	stream rpcpb.Lake_AppendClient
	seq    uint64
}

func (h *harness) raw(t *testing.T) *raw {
	t.Helper()
	s, err := rpcpb.NewLakeClient(h.conn).Append(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &raw{t: t, stream: s}
}

func jsonItem(text string) *rpcpb.AppendItem { return &rpcpb.AppendItem{Json: []byte(text)} }

// send sends items as one request and returns its receipts.
func (r *raw) send(items ...*rpcpb.AppendItem) []*rpcpb.AppendReceipt {
	r.t.Helper()
	r.seq++
	req := &rpcpb.AppendRequest{Seq: r.seq}
	for _, it := range items {
		b, err := proto.Marshal(it)
		if err != nil {
			r.t.Fatal(err)
		}
		req.Items = append(req.Items, b)
	}
	if err := r.stream.Send(req); err != nil {
		r.t.Fatal(err)
	}
	return r.recv()
}

func (r *raw) recv() []*rpcpb.AppendReceipt {
	r.t.Helper()
	resp, err := r.stream.Recv()
	if err != nil {
		r.t.Fatal(Fault("append", err))
	}
	if resp.GetSeq() != r.seq {
		r.t.Fatalf("answer to request %d, want %d", resp.GetSeq(), r.seq)
	}
	return resp.GetReceipts()
}

func (r *raw) close() {
	r.t.Helper()
	if err := r.stream.CloseSend(); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.stream.Recv(); err != io.EOF {
		r.t.Fatalf("the stream ended with %v", err)
	}
}

func statuses(rs []*rpcpb.AppendReceipt) string {
	var out []string
	for _, r := range rs {
		out = append(out, strings.ToLower(r.GetStatus().String()))
	}
	return strings.Join(out, " ")
}

func wantStatuses(t *testing.T, rs []*rpcpb.AppendReceipt, want string) {
	t.Helper()
	if got := statuses(rs); got != want {
		for _, r := range rs {
			t.Log(r)
		}
		t.Fatalf("receipts %s, want %s", got, want)
	}
}

func TestAppend(t *testing.T) {
	h := start(t, nil)
	r := h.raw(t)
	wantStatuses(t, r.send(jsonItem(toyJSON(0)), jsonItem(toyJSON(1))), "committed committed")
	wantStatuses(t, r.send(jsonItem(toyJSON(1)), jsonItem(toyJSON(2))), "duplicate committed")
	changed := strings.Replace(toyJSON(2), "answer", "another", 1)
	got := r.send(jsonItem(toyJSON(3)), jsonItem(`{"trajectory_id":"bad","turns":"no"}`), jsonItem(`{"turns":`), jsonItem(changed), &rpcpb.AppendItem{}, jsonItem(toyJSON(4)))
	wantStatuses(t, got, "committed rejected rejected rejected rejected committed")
	if f := got[1].GetFault(); got[1].GetId() != "bad" || f.GetKind() != "invalid" || f.GetField() != "turns" {
		t.Errorf("rejected row: %v", got[1])
	}
	if f := got[3].GetFault(); f.GetKind() != "conflict" || f.GetHint() == "" {
		t.Errorf("conflict: %v", got[3])
	}
	r.close()
	rows, err := h.client.Get(t.Context(), []string{"toy-4", "nobody", "toy-0"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if rows[1] != nil || rows[0] == nil || rows[2] == nil || rows[2].TokenIDs[1] != 7 || *rows[0].Turns[1].Text != "answer" {
		t.Errorf("got %v", rows)
	}
}

// TestPackedArrays finds a row with arrays in its JSON, with packed ones, and as
// protobuf to be the same row.
func TestPackedArrays(t *testing.T) {
	h := start(t, nil)
	whole := toyJSON(7)
	cutAt := strings.Index(whole, `,"token_ids"`)
	packed := &rpcpb.AppendItem{Json: []byte(whole[:cutAt] + "}"), LossMask: []byte{0, 1, 1}}
	for _, v := range []int32{7, 7, 9} {
		packed.TokenIds = binary.LittleEndian.AppendUint32(packed.TokenIds, uint32(v))
	}
	for _, v := range []float32{0, -0.11, -0.25} {
		packed.Logprobs = binary.LittleEndian.AppendUint32(packed.Logprobs, math.Float32bits(v))
	}
	r := h.raw(t)
	wantStatuses(t, r.send(jsonItem(whole)), "committed")
	wantStatuses(t, r.send(packed), "duplicate")
	onlyTokens := &rpcpb.AppendItem{Json: []byte(`{"trajectory_id":"t"}`), TokenIds: packed.TokenIds}
	odd := &rpcpb.AppendItem{Json: []byte(`{"trajectory_id":"o"}`), TokenIds: packed.TokenIds[:7]}
	twice := &rpcpb.AppendItem{Json: []byte(whole), TokenIds: packed.TokenIds}
	got := r.send(onlyTokens, odd, twice)
	wantStatuses(t, got, "committed rejected rejected")
	if got[1].GetFault().GetField() != "token_ids" || got[2].GetFault().GetField() != "token_ids" {
		t.Errorf("faults %v, %v", got[1].GetFault(), got[2].GetFault())
	}
	r.close()

	// An idless row is one row by JSON with arrays inside, beside, and as protobuf.
	idless := strings.Replace(whole, `"trajectory_id":"toy-7",`, "", 1)
	packed.Json = []byte(strings.Replace(string(packed.Json), `"trajectory_id":"toy-7",`, "", 1))
	r = h.raw(t)
	first := r.send(jsonItem(idless))
	wantStatuses(t, first, "committed")
	r.close()
	r = h.raw(t)
	second := r.send(packed)
	wantStatuses(t, second, "duplicate")
	r.close()
	w := wireItem{json: []byte(idless)}
	row, err := w.trajectory()
	if err != nil {
		t.Fatal(err)
	}
	s, err := h.client.OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	third, err := s.Append(t.Context(), []ingest.Item{{Row: row}})
	if err != nil {
		t.Fatal(err)
	}
	if third[0].Status != store.Duplicate || third[0].ID != first[0].GetId() || second[0].GetId() != first[0].GetId() {
		t.Errorf("ids %q, %q, %q", first[0].GetId(), second[0].GetId(), third[0].ID)
	}
}

// TestResume breaks a writer's stream off and goes on: twins keep their numbers.
func TestResume(t *testing.T) {
	h := start(t, nil)
	twin := jsonItem(`{"turns":[{"role":"user","text":"same"}]}`)
	r := h.raw(t)
	a := r.send(twin, twin)
	wantStatuses(t, a, "committed committed")
	b := r.send(twin)
	wantStatuses(t, b, "committed")
	r.close()
	// The answer to the second request is taken for lost.
	r = h.raw(t)
	open := &rpcpb.AppendOpen{Session: "w1", Settled: append(append([]byte(nil), a[0].GetDigest()...), a[1].GetDigest()...)}
	if err := r.stream.Send(&rpcpb.AppendRequest{Open: open}); err != nil {
		t.Fatal(err)
	}
	again := r.send(twin)
	wantStatuses(t, again, "duplicate")
	if again[0].GetId() != b[0].GetId() {
		t.Errorf("the third twin was %s, sent again it is %s", b[0].GetId(), again[0].GetId())
	}
	wantStatuses(t, r.send(twin), "committed")
	r.close()
	if n := h.count(t); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
}

// TestClientSession appends through the client, over more sessions than it keeps
// streams for.
func TestClientSession(t *testing.T) {
	h := start(t, nil)
	row := func(text string) ingest.Item {
		return ingest.Item{Row: &schema.Trajectory{Turns: []schema.Turn{{Role: new("user"), Text: &text}}}}
	}
	var sessions []ingest.AppendSession
	for range 3 * maxIdle {
		s, err := h.client.OpenSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	for round := range 2 {
		for i, s := range sessions {
			bad := ingest.Item{Fault: fault.New(fault.Invalid, "read", "no")}
			got, err := s.Append(t.Context(), []ingest.Item{row(fmt.Sprint("session ", i)), bad})
			if err != nil {
				t.Fatal(err)
			}
			if got[0].Status != store.Committed || got[1].Status != store.Rejected {
				t.Fatalf("round %d, session %d: %+v", round, i, got)
			}
		}
	}
	if n := h.count(t); n != 6*maxIdle {
		t.Errorf("%d rows, want %d: a session forgot its twins", n, 6*maxIdle)
	}
}

// TestLargeRow appends a row of 100 MB in pieces, and one over the limit.
func TestLargeRow(t *testing.T) {
	h := start(t, &Options{MaxRowBytes: 128 << 20})
	s, err := h.client.OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	row := &schema.Trajectory{TrajectoryID: "large"}
	text := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	for range 100 {
		row.Turns = append(row.Turns, schema.Turn{Role: new("user"), Text: &text})
	}
	got, err := s.Append(t.Context(), []ingest.Item{{Row: row}})
	if err != nil || got[0].Status != store.Committed {
		t.Fatal(got, err)
	}
	rows, err := h.client.Get(t.Context(), []string{"large"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(rows[0].Turns) != 100 || *rows[0].Turns[99].Text != text {
		t.Error("the row came back changed")
	}
	for range 50 {
		row.Turns = append(row.Turns, schema.Turn{Role: new("user"), Text: &text})
	}
	row.TrajectoryID = "too-large"
	got, err = s.Append(t.Context(), []ingest.Item{{Row: row}, {Row: rows[0]}})
	if err != nil {
		t.Fatal(err)
	}
	if r := got[0]; r.Status != store.Rejected || r.ID != "too-large" || !fault.Is(r.Err, fault.Invalid) || fault.HintOf(r.Err) == "" {
		t.Errorf("a row over the limit: %+v", r)
	}
	if got[1].Status != store.Duplicate {
		t.Errorf("the row behind it: %+v", got[1])
	}
}

// TestBudgetComesBack leaves rows half sent and finds the server's budget whole.
func TestBudgetComesBack(t *testing.T) {
	h := start(t, &Options{MaxRowBytes: 1 << 20, MaxMessageBytes: 1 << 20, InFlightBytes: 1 << 20})
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := rpcpb.NewLakeClient(h.conn).Append(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(&rpcpb.AppendRequest{Seq: 1, Chunk: &rpcpb.RowChunk{Total: 1 << 20, Data: make([]byte, 1000)}}); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := s.Recv(); err == nil {
			t.Fatal("an answer to half a row")
		}
	}
	r := h.raw(t)
	wantStatuses(t, r.send(jsonItem(toyJSON(0))), "committed") // waits for the budget
	r.close()
}

// TestStalledRow breaks off a stream whose row does not go on.
func TestStalledRow(t *testing.T) {
	h := start(t, &Options{RowStall: 10 * time.Millisecond})
	r := h.raw(t)
	if err := r.stream.Send(&rpcpb.AppendRequest{Seq: 1, Chunk: &rpcpb.RowChunk{Total: 100, Data: make([]byte, 10)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.stream.Recv(); !fault.Is(Fault("append", err), fault.Cancelled) {
		t.Errorf("got %v", err)
	}
}

func TestTensors(t *testing.T) {
	h := start(t, nil)
	h.fill(t, 2)
	data := make([]byte, 3<<20+5)
	for i := range data {
		data[i] = byte(i * 7)
	}
	stream, err := rpcpb.NewLakeClient(h.conn).AppendTensors(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*rpcpb.TensorPart{
		{Header: &rpcpb.TensorHeader{TrajectoryId: "toy-1", Name: "routed_experts", Dtype: "uint8", Shape: []int64{int64(len(data))}}, Data: data[:1000]},
		{Data: data[1000:]},
		{Header: &rpcpb.TensorHeader{TrajectoryId: "nobody", Name: "x", Dtype: "uint8", Shape: []int64{1}}, Data: []byte{1}},
	} {
		if err := stream.Send(p); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := stream.CloseAndRecv()
	if err != nil {
		t.Fatal(err)
	}
	wantStatuses(t, resp.GetReceipts(), "committed rejected")
	snap, err := h.lake.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := snap.ReadTensor(t.Context(), "toy-1", "routed_experts", store.TensorOptions{})
	if err != nil || string(got.Data) != string(data) {
		t.Errorf("tensor: %d bytes, %v", len(got.Data), err)
	}
}

// TestAppendRows is TestAppend's core in one call.
func TestAppendRows(t *testing.T) {
	h := start(t, nil)
	twin := `{"turns":[{"role":"user","text":"same"}]}`
	req := &rpcpb.AppendRequest{Seq: 5}
	for _, text := range []string{toyJSON(0), twin, twin, `{"turns":"no"}`, toyJSON(1)} {
		b, err := proto.Marshal(jsonItem(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Items = append(req.Items, b)
	}
	client := rpcpb.NewLakeClient(h.conn)
	for _, want := range []string{"committed committed committed rejected committed", "duplicate duplicate duplicate rejected duplicate"} {
		resp, err := client.AppendRows(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		wantStatuses(t, resp.GetReceipts(), want)
		if resp.GetSeq() != 5 {
			t.Errorf("seq %d", resp.GetSeq())
		}
	}
	if _, err := client.AppendRows(t.Context(), &rpcpb.AppendRequest{Chunk: &rpcpb.RowChunk{}}); !fault.Is(Fault("", err), fault.Usage) {
		t.Errorf("a piece: %v", err)
	}
}
