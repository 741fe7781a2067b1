package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow/go/v17/arrow/flight"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"trajlake/ingest"
	"trajlake/replay"
	"trajlake/replay/pack"
	"trajlake/rpc/rpcpb"
	"trajlake/schema/fault"
	"trajlake/store"
)

// Roles of a server.
const (
	RoleIngest = "ingest" // Append, AppendTensors, Annotate, PutBlob
	RoleReplay = "replay" // Sample and batches
	RoleQuery  = "query"  // everything else that reads
)

// Roles lists every role.
func Roles() []string { return []string{RoleIngest, RoleReplay, RoleQuery} }

// closeWithin is how long Shutdown waits for the ledger at the end.
const closeWithin = 5 * time.Second

// Options are the settings of a Server; the zero value is good.
type Options struct {
	Roles           []string      // nil = all
	Version         string        // of the program, for Info
	MaxMessageBytes int           // of one message received; 0 = 64 MiB
	MaxRowBytes     int64         // of one row, over all of its pieces; 0 = 256 MiB
	InFlightBytes   int64         // of appended rows received and not answered, over all streams; 0 = 512 MiB
	MaxBatchBytes   int64         // of a batch that is sent as one record batch; 0 = 64 MB
	MaxStreams      uint32        // calls at a time on one connection; 0 = 256
	RowStall        time.Duration // longest pause between two pieces of a row; 0 = 1 min
	RowCacheDir     string        // of the local cache of rows; "" = the system's folder for temporary files
	RowCacheBytes   int64         // its size on disk; 0 = 4 GiB, below 0 = none
	Logger          *slog.Logger  // nil = discard
}

func (o *Options) withDefaults() Options {
	out := Options{}
	if o != nil {
		out = *o
	}
	if out.Roles == nil {
		out.Roles = Roles()
	}
	if out.MaxMessageBytes <= 0 {
		out.MaxMessageBytes = 64 << 20
	}
	if out.MaxRowBytes <= 0 {
		out.MaxRowBytes = 256 << 20
	}
	if out.InFlightBytes <= 0 {
		out.InFlightBytes = 512 << 20
	}
	out.InFlightBytes = max(out.InFlightBytes, out.MaxRowBytes, int64(out.MaxMessageBytes))
	if out.MaxBatchBytes <= 0 {
		out.MaxBatchBytes = 64_000_000
	}
	if out.MaxStreams == 0 {
		out.MaxStreams = 256
	}
	if out.RowStall <= 0 {
		out.RowStall = time.Minute
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	return out
}

// Server serves one lake on one port. Serve it once; Shutdown drains it. The lake
// and the ingester stay open and are the caller's to close, afterwards.
type Server struct {
	lake   *store.Lake
	ing    *ingest.Ingester
	opt    Options
	grpc   *grpc.Server
	health *health.Server

	inflight *semaphore.Weighted // bytes of appended rows
	drain    chan struct{}       // closed when the server stops taking work
	once     sync.Once
	readers  sync.WaitGroup // goroutines that read append streams
	samplers samplers
	fetch    *replay.Fetcher
	streams  StreamView // without an engine where the role of replay is not served
}

// New makes a server of lake. ing may be nil when the roles do not include ingest.
func New(lake *store.Lake, ing *ingest.Ingester, o *Options) *Server {
	s := &Server{lake: lake, ing: ing, opt: o.withDefaults(), drain: make(chan struct{}), health: health.NewServer()}
	s.inflight = semaphore.NewWeighted(s.opt.InFlightBytes)
	s.fetch = replay.NewFetcher(&pack.Options{Dir: s.opt.RowCacheDir, Limit: s.opt.RowCacheBytes})
	if slices.Contains(s.opt.Roles, RoleReplay) {
		s.streams = StreamsOf(lake, replay.NewEngine(lake, &replay.EngineOptions{Logger: s.opt.Logger}), s.fetch)
	}
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(s.opt.MaxMessageBytes+64<<10),
		grpc.MaxSendMsgSize(1<<31-1),
		grpc.MaxConcurrentStreams(s.opt.MaxStreams),
		grpc.WriteBufferSize(128<<10), // what fits the processor's cache is copied quicker
		grpc.ReadBufferSize(1<<20),
		grpc.InitialWindowSize(64<<20),
		grpc.InitialConnWindowSize(64<<20),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.ForceServerCodecV2(frameCodec{encoding.GetCodecV2("proto")}),
		grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream),
	)
	rpcpb.RegisterLakeServer(s.grpc, &lakeService{Server: s})
	rpcpb.RegisterReplayServer(s.grpc, &replayService{Server: s})
	rpcpb.RegisterAdminServer(s.grpc, &adminService{Server: s})
	flight.RegisterFlightServiceServer(s.grpc, &flightService{Server: s})
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	return s
}

// Serve answers calls on ln until Shutdown, and returns nil then. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	s.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
	err := s.grpc.Serve(ln)
	if errors.Is(err, grpc.ErrServerStopped) {
		err = nil
	}
	return fault.Wrap("serve "+ln.Addr().String(), err)
}

// Shutdown stops taking connections and rows, answers what was received, and waits
// for the calls that are running. When ctx ends first, it breaks them off and
// returns an error of kind Cancelled. Idempotent.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() {
		s.health.Shutdown()
		close(s.drain)
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
		s.readers.Wait()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
		err = fault.WrapAs(fault.Cancelled, "drain the server", ctx.Err())
	}
	if e := s.streams.Engine; e != nil { // what acks wait for is written even where ctx has ended
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
		defer cancel()
		err = errors.Join(err, e.Close(closing))
	}
	return errors.Join(err, s.fetch.Close())
}

// draining reports whether Shutdown was called.
func (s *Server) draining() bool {
	select {
	case <-s.drain:
		return true
	default:
		return false
	}
}

// shuttingDown is the answer to work that comes while the server drains.
func shuttingDown(op string) error {
	return fault.New(fault.Unavailable, op, "the server is shutting down").WithHint("try again at the restarted server; what was not answered may be sent again")
}

// role refuses a call that this server does not serve.
func (s *Server) role(name, op string) error {
	if !slices.Contains(s.opt.Roles, name) || (name == RoleIngest && s.ing == nil) {
		return fault.New(fault.Denied, op, "this server does not have the role %s", name).WithHint("start one with --roles %s", name)
	}
	return nil
}

// unary guards and translates every plain call.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		s.recovered(info.FullMethod, recover(), &err)
	}()
	if s.draining() {
		return nil, Status(shuttingDown(info.FullMethod)).Err()
	}
	resp, err = handler(ctx, req)
	return resp, translated(err)
}

// stream guards and translates every streaming call.
func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer func() {
		s.recovered(info.FullMethod, recover(), &err)
	}()
	if s.draining() {
		return Status(shuttingDown(info.FullMethod)).Err()
	}
	return translated(handler(srv, ss))
}

// translated gives an error of trajlake its status; a status stays.
func translated(err error) error {
	if err == nil {
		return nil
	}
	var e *fault.Error
	if _, ok := status.FromError(err); ok && !errors.As(err, &e) {
		return err
	}
	return Status(err).Err()
}

// recovered turns a panic of one call into its error; the server goes on.
func (s *Server) recovered(method string, panicked any, err *error) {
	if panicked == nil {
		return
	}
	s.opt.Logger.Error("a call panicked", "method", method, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
	*err = Status(fault.New(fault.Internal, method, "unexpected failure: %v", panicked)).Err()
}

// CheckListen refuses an address that is not loopback unless insecure says that
// the operator knows: there are no tokens and no TLS yet.
func CheckListen(addr string, insecure bool) error {
	const op = "listen on "
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fault.New(fault.Usage, op+addr, "%v", err).WithHint("an address is host:port, as in 127.0.0.1:7400")
	}
	if ip := net.ParseIP(host); insecure || host == "localhost" || (ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fault.New(fault.Denied, op+addr, "only loopback addresses are served without protection").
		WithHint("listen on 127.0.0.1, or say --insecure-listen when everybody who can reach this address may read and write the lake")
}
