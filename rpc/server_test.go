package rpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/flight"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"trajlake/ingest"
	"trajlake/replay"
	"trajlake/rpc/rpcpb"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
	"trajlake/store/blob"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is a server over a lake in memory and a client of it.
type harness struct {
	lake   *store.Lake
	ing    *ingest.Ingester
	server *Server
	conn   *grpc.ClientConn
	client *Client
	served chan error
	dial   grpc.DialOption
}

func start(t *testing.T, o *Options) *harness {
	t.Helper()
	return startOn(t, blob.NewMemory(), o)
}

func startOn(t *testing.T, bucket blob.Bucket, o *Options) *harness {
	t.Helper()
	ctx := t.Context()
	lake, err := store.OpenBucket(ctx, bucket, "memory:"+t.Name(), &store.Options{Create: true, IndexDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{lake: lake, ing: ingest.New(lake, nil), served: make(chan error, 1)}
	h.server = New(lake, h.ing, o)
	ln := bufconn.Listen(1 << 20)
	go func() { h.served <- h.server.Serve(ln) }()
	h.dial = grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) })
	if h.client, err = Dial(ctx, "passthrough:///lake", h.dial); err != nil {
		t.Fatal(err)
	}
	h.conn = h.client.conn
	t.Cleanup(func() {
		if err := h.client.Close(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := h.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-h.served; err != nil {
			t.Error(err)
		}
		if err := h.ing.Close(); err != nil {
			t.Error(err)
		}
		if err := lake.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// toyJSON is row i as native JSON.
func toyJSON(i int) string {
	return fmt.Sprintf(`{"trajectory_id":"toy-%d","task_set":"math","task_id":"t%d","group_id":"g%d","effort":"high","mode":"thinking","reward":%g,`+
		`"turns":[{"role":"user","text":"question %d"},{"role":"assistant","sampled":true,"text":"answer"}],`+
		`"token_ids":[%d,7,9],"loss_mask":[0,1,1],"logprobs":[0,-0.11,-0.25]}`, i, i%5, i/4, float64(i%4)/4, i, i)
}

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

func (h *harness) count(t *testing.T) int64 {
	t.Helper()
	s, err := h.lake.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Count(schema.Trajectories)
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

func (h *harness) fill(t *testing.T, n int) {
	t.Helper()
	r := h.raw(t)
	var items []*rpcpb.AppendItem
	for i := range n {
		items = append(items, jsonItem(toyJSON(i)))
	}
	r.send(items...)
	r.close()
}

// TestBatch finds a batch over Flight to be the one drawn here.
func TestBatch(t *testing.T) {
	h := start(t, nil)
	h.fill(t, 100)
	spec := []byte(`{"where":"reward > 0","weight":"reward","batch":{"rows":16},"seed":9}`)
	snap, err := h.lake.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := replay.ParseSpec(spec)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for pos := range uint64(4) {
		sampler, b, err := replay.Draw(t.Context(), snap, parsed.Fill(replay.Pinned), pos)
		if err != nil {
			t.Fatal(err)
		}
		want, err := sampler.Rows(t.Context(), b, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := h.fetchOne(t, &Ticket{Kind: TicketBatch, Spec: spec, Position: pos})
		sameColumns(t, got, want)
		md := got.Schema().Metadata()
		if id, _ := md.GetValue("batch_id"); id != b.ID || seen[id] {
			t.Errorf("position %d: batch id %q, want %q, a new one", pos, id, b.ID)
		}
		seen[b.ID] = true
		info, err := h.client.Sample(t.Context(), spec, pos, "")
		if err != nil {
			t.Fatal(err)
		}
		if info.BatchID != b.ID || len(info.Rows) != 16 {
			t.Errorf("sample says %s with %d rows", info.BatchID, len(info.Rows))
		}
		var ranks []string
		for rank := range 3 {
			part := h.fetchOne(t, &Ticket{Kind: TicketBatch, Spec: spec, Position: pos, Snapshot: snap.Token(), Rank: rank, World: 3})
			ranks = append(ranks, texts(part, "trajectory_id")...)
		}
		all := texts(got, "trajectory_id")
		if len(ranks) != len(all) || len(unique(append(ranks, all...))) != len(unique(all)) {
			t.Errorf("the ranks together have %v, the batch %v", ranks, all)
		}
	}
}

// TestBatchesAtOnce fetches many batches at a time and finds each as it is alone.
func TestBatchesAtOnce(t *testing.T) {
	h := start(t, nil)
	h.fill(t, 200)
	spec := []byte(`{"where":"reward > 0","weight":"reward","batch":{"rows":16},"seed":7}`)
	const positions = 12
	var alone [positions]arrow.Record
	for pos := range alone {
		alone[pos] = h.fetchOne(t, &Ticket{Kind: TicketBatch, Spec: spec, Position: uint64(pos)})
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 3 * positions {
				pos := (i*(worker+1) + worker) % positions
				for rec, err := range h.client.Fetch(t.Context(), &Ticket{Kind: TicketBatch, Spec: spec, Position: uint64(pos)}) {
					if err != nil {
						t.Error(err)
						return
					}
					sameColumns(t, rec, alone[pos])
				}
			}
		})
	}
	wg.Wait()
}

func unique(in []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range in {
		out[s] = true
	}
	return out
}

func texts(rec arrow.Record, column string) (out []string) {
	col := rec.Column(rec.Schema().FieldIndices(column)[0]).(*array.String)
	for i := range col.Len() {
		out = append(out, strings.Clone(col.Value(i)))
	}
	return out
}

// fetchOne is the only record of a ticket.
func (h *harness) fetchOne(t *testing.T, ticket *Ticket) (out arrow.Record) {
	t.Helper()
	for rec, err := range h.client.Fetch(t.Context(), ticket) {
		if err != nil {
			t.Fatal(err)
		}
		if out != nil {
			t.Fatal("more than one record")
		}
		rec.Retain()
		out = rec
	}
	return out
}

// sameColumns compares every column of want with got's of that name.
func sameColumns(t *testing.T, got, want arrow.Record) {
	t.Helper()
	for i, f := range want.Schema().Fields() {
		at := got.Schema().FieldIndices(f.Name)
		if len(at) != 1 {
			t.Errorf("%d columns %s", len(at), f.Name)
			continue
		}
		if !array.Equal(got.Column(at[0]), want.Column(i)) {
			t.Errorf("column %s: got %v, want %v", f.Name, got.Column(at[0]), want.Column(i))
		}
	}
}

func TestBatchInPieces(t *testing.T) {
	h := start(t, &Options{MaxBatchBytes: 4000})
	h.fill(t, 64)
	rows, pieces := int64(0), 0
	spec := []byte(`{"batch":{"rows":40},"columns":["token_ids","turns"]}`)
	for rec, err := range h.client.Fetch(t.Context(), &Ticket{Kind: TicketBatch, Spec: spec}) {
		if err != nil {
			t.Fatal(err)
		}
		rows += rec.NumRows()
		pieces++
	}
	if rows != 40 || pieces < 2 {
		t.Errorf("%d rows in %d pieces", rows, pieces)
	}
}

func TestScan(t *testing.T) {
	h := start(t, nil)
	h.fill(t, 50)
	rec := h.fetchOne(t, &Ticket{Kind: TicketScan, Columns: []string{"trajectory_id", "reward"}, Where: "reward >= 0.5"})
	if rec.NumRows() != 24 || rec.NumCols() != 2 {
		t.Errorf("%d rows of %d columns", rec.NumRows(), rec.NumCols())
	}
	none := h.fetchOne(t, &Ticket{Kind: TicketScan, Columns: []string{"trajectory_id"}, Where: "reward > 100"})
	if none.NumRows() != 0 || none.Schema().Field(0).Name != "trajectory_id" {
		t.Errorf("an empty scan: %v", none)
	}
	if notes := h.fetchOne(t, &Ticket{Kind: TicketScan, Table: "annotations"}); notes.NumRows() != 0 || notes.NumCols() != int64(len(schema.Annotations.Columns)) {
		t.Errorf("an empty table: %v", notes)
	}
	for _, bad := range []*Ticket{{Kind: "dance"}, {Kind: TicketScan, Where: "reward >"}, {Kind: TicketScan, Columns: []string{"nope"}}, {Kind: TicketBatch, Spec: []byte(`{"wher":"x"}`)}, {Kind: TicketBatch, Rank: 3, World: 2}} {
		for _, err := range h.client.Fetch(t.Context(), bad) {
			if !fault.Is(err, fault.Usage) {
				t.Errorf("%+v: %v (%s)", bad, err, fault.KindOf(err))
			}
		}
	}
	stream, err := h.client.flight.ListFlights(t.Context(), &flight.Criteria{})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	if err := allOf(stream.Recv, func(i *flight.FlightInfo) error {
		counts[i.GetFlightDescriptor().GetPath()[0]] = i.GetTotalRecords()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(counts) != 4 || counts["trajectories"] != 50 {
		t.Errorf("flights %v", counts)
	}
}

// TestScanCancel leaves a scan in the middle; TestMain sees a goroutine that stays.
func TestScanCancel(t *testing.T) {
	h := start(t, nil)
	h.fill(t, 200)
	for range 5 {
		for _, err := range h.client.Fetch(t.Context(), &Ticket{Kind: TicketScan}) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
}

func TestReads(t *testing.T) {
	h := start(t, nil)
	h.fill(t, 10)
	ctx := t.Context()
	stats, err := h.client.Stats(ctx, "")
	if err != nil || stats.Trajectories != 10 || stats.Snapshot == "" {
		t.Errorf("stats %+v, %v", stats, err)
	}
	n := 0
	for line, err := range h.client.IDs(ctx, "reward > 0", nil, "") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(line), `"trajectory_id":"toy-`) {
			t.Errorf("line %s", line)
		}
		n++
	}
	if n != 7 {
		t.Errorf("%d ids, want 7", n)
	}
	if h2, err := h.client.History(ctx); err != nil || len(h2) < 2 {
		t.Errorf("history %v, %v", h2, err)
	}
	seqs, err := h.client.Lookup(ctx, []string{"toy-3", "nobody"}, "")
	if err != nil || seqs[0] != 3 || seqs[1] != -1 {
		t.Errorf("lookup %v, %v", seqs, err)
	}
	if _, err := h.client.Stats(ctx, "999"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a version that is not there: %v", err)
	}
	receipts, token, err := h.client.Annotate(ctx, []*schema.Annotation{
		{TargetID: new("toy-3"), Kind: new("reward"), Name: new("tests"), Value: new(9.0)}, {Kind: new("reward")}})
	if err != nil || receipts[0].Status != store.Committed || receipts[1].Status != store.Rejected || token == "" {
		t.Errorf("annotate %+v %q %v", receipts, token, err)
	}
	rec := h.fetchOne(t, &Ticket{Kind: TicketScan, Columns: []string{"trajectory_id"}, Where: "reward = 9", Snapshot: token})
	if got := texts(rec, "trajectory_id"); len(got) != 1 || got[0] != "toy-3" {
		t.Errorf("rows with the late reward: %v", got)
	}
	digest, err := h.client.PutBlob(ctx, []byte("an image"))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := h.client.GetBlob(ctx, digest); err != nil || string(body) != "an image" {
		t.Errorf("blob %q, %v", body, err)
	}
	report, err := h.client.Verify(ctx, store.VerifyOptions{Deep: true})
	if err != nil || !report.OK || report.Trajectories != 10 {
		t.Errorf("verify %+v, %v", report, err)
	}
	if r, err := h.client.RebuildIndex(ctx); err != nil || r.Rows != 10 {
		t.Errorf("rebuild %+v, %v", r, err)
	}
	if _, err := h.client.Fold(ctx); err != nil {
		t.Error(err)
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

func TestRolesAndHealth(t *testing.T) {
	h := start(t, &Options{Roles: []string{RoleQuery}})
	r := h.raw(t)
	if _, err := r.stream.Recv(); !fault.Is(Fault("append", err), fault.Denied) {
		t.Errorf("append at a server without the role: %v", err)
	}
	if _, err := h.client.Sample(t.Context(), nil, 0, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("sample at a server without the role: %v", err)
	}
	got, err := grpc_health_v1.NewHealthClient(h.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health %v, %v", got, err)
	}
}

// TestDrain shuts a server down under writers: what was answered is in, and the
// open streams end as unavailable.
func TestDrain(t *testing.T) {
	h := start(t, nil)
	r := h.raw(t)
	wantStatuses(t, r.send(jsonItem(toyJSON(0))), "committed")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.stream.Recv(); !fault.Is(Fault("append", err), fault.Unavailable) || fault.HintOf(Fault("append", err)) == "" {
		t.Errorf("the stream ended with %v", err)
	}
	if err := h.server.Shutdown(ctx); err != nil {
		t.Errorf("a second shutdown: %v", err)
	}
	if h.count(t) != 1 {
		t.Error("the row is not in")
	}
}

func TestDialNobody(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := Dial(ctx, "127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials())); !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
		t.Errorf("got %v (%s)", err, fault.KindOf(err))
	}
}

func TestCheckListen(t *testing.T) {
	for addr, ok := range map[string]bool{"127.0.0.1:0": true, "localhost:7400": true, "[::1]:7400": true, "127.8.8.8:1": true,
		":7400": false, "0.0.0.0:7400": false, "10.0.0.1:7400": false, "example.org:7400": false, "[::]:1": false, "7400": false} {
		if err := CheckListen(addr, false); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if err := CheckListen("0.0.0.0:7400", true); err != nil {
		t.Error(err)
	}
}
