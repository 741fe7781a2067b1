package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"trajlake/schema/fault"
)

// Garbage collection of a server: with a small live heap a collection at every
// doubling costs much and saves little, so the heap may grow to heapFloor before
// the collector works hard; beyond that, to a multiple of what is live.
const (
	gcPercent = 300
	heapFloor = 320 << 20
	tuneEvery = 2 * time.Second
)

// tuneMemory keeps the collector's limit fitting to the live heap, and gives
// memory back when the process has become idle. It does nothing where GOGC or
// GOMEMLIMIT is set.
func tuneMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	percent, limit := debug.SetGCPercent(gcPercent), debug.SetMemoryLimit(-1)
	defer func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}()
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	tick := time.NewTicker(tuneEvery)
	defer tick.Stop()
	var allocated uint64
	quiet := 0
	for {
		metrics.Read(s)
		live, all := s[0].Value.Uint64(), s[1].Value.Uint64()
		debug.SetMemoryLimit(int64(max(heapFloor, 2*live)))
		if all-allocated < 8<<20 {
			quiet++
		} else {
			quiet = 0
		}
		allocated = all
		if quiet == 2 { // once for each time of rest
			debug.FreeOSMemory()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// serveDebug serves profiles on addr, if there is one, until stop is called; at is
// the address with the port that was taken.
func (a *app) serveDebug(addr string, metrics func(io.Writer) error) (at string, stop func(), err error) {
	if addr == "" {
		return "", func() {}, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, fault.WrapAs(fault.Unavailable, "listen for profiles", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		if err := metrics(w); err != nil {
			a.log.Debug("write metrics", "err", err)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			a.log.Warn("serve profiles", "err", err)
		}
	}()
	a.note("profiles at http://%s/debug/pprof/, metrics at /metrics", ln.Addr())
	return ln.Addr().String(), func() {
		_ = server.Close() // profiles in progress are broken off
		<-done
	}, nil
}
