package rpc

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"trajlake/ingest"
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

func (h *harness) count(t *testing.T) int64 {
	t.Helper()
	s, err := h.lake.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Count(schema.Trajectories)
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
