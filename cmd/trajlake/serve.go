package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"trajlake/ingest"
	"trajlake/rpc"
	"trajlake/schema/fault"
	"trajlake/store"
)

// drainTime is how long running calls may take after the signal to stop.
const drainTime = 25 * time.Second

// How long a server waits for the index folder when it starts, which a server
// that was just killed may still hold, and how often it tries for it later.
const (
	indexWait  = 2 * time.Second
	indexRetry = 5 * time.Second
)

// serveFlags are the flags of serve.
type serveFlags struct {
	listen   string
	roles    []string
	insecure bool
	debug    string
	fold     time.Duration
	cacheDir string
	cache    int64 // MiB
}

// ready is the line that serve --json prints when it answers calls.
type ready struct {
	Event string `json:"event"`
	Addr  string `json:"addr"`
	place
	Index string `json:"index,omitempty"` // where the index of ids is: "folder" or "memory"
	Debug string `json:"debug,omitempty"` // address of the profiles
}

func (a *app) serveCmd() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a lake to writers, trainers and readers",
		Long: `serve opens a lake, which it makes if there is none, and answers on one port:
gRPC for appends and administration, Arrow Flight for batches and scans. In the
background small files are folded into larger ones, and versions that are older
than the tables' retention are taken out of the logs (their snapshots stay).

On SIGTERM or Ctrl-C it takes no new calls, answers what it has, commits and ends
with exit code 0; a second signal ends it at once, which loses nothing that was
acknowledged. With --json it prints one line when it is ready.

Only loopback addresses are served unless --insecure-listen is given: there are no
tokens and no TLS, so whoever reaches the port may read and write the lake.`,
		Example: `  trajlake serve --lake ./lake
  trajlake serve --lake s3://bucket/lake --listen 127.0.0.1:0 --json
  trajlake serve --lake ./lake --roles replay,query`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.listen, "listen", "127.0.0.1:7400", "HOST:PORT; port 0 takes a free one")
	fl.StringSliceVar(&f.roles, "roles", rpc.Roles(), "what is served: "+strings.Join(rpc.Roles(), ", "))
	fl.BoolVar(&f.insecure, "insecure-listen", false, "listen on an address that others can reach, without any protection")
	fl.StringVar(&f.debug, "debug-listen", "", "serve profiles (pprof) and metrics over HTTP on this loopback HOST:PORT")
	fl.StringVar(&f.cacheDir, "row-cache-dir", "", "folder for the local cache of rows that batches are made of; default the system's for temporary files")
	fl.Int64Var(&f.cache, "row-cache", 4096, "size of that cache on disk, in MiB; 0 = none")
	fl.DurationVar(&f.fold, "fold-every", 5*time.Second, "how often small files are folded and logs looked after; 0 = never")
	return cmd
}

func (f *serveFlags) check() error {
	for _, r := range f.roles {
		if !slices.Contains(rpc.Roles(), r) {
			return fault.New(fault.Usage, "", "there is no role %q", r).WithHint("--roles takes %s", strings.Join(rpc.Roles(), ", "))
		}
	}
	if len(f.roles) == 0 {
		return fault.New(fault.Usage, "", "--roles is empty").WithHint("--roles takes %s", strings.Join(rpc.Roles(), ", "))
	}
	if f.debug != "" {
		if err := rpc.CheckListen(f.debug, false); err != nil {
			return fault.WrapAs(fault.Usage, "--debug-listen", err)
		}
	}
	if err := rpc.CheckListen(f.listen, f.insecure); err != nil {
		return fault.WrapAs(fault.Usage, "", err)
	}
	return nil
}

func (a *app) serve(ctx context.Context, f *serveFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	if a.server != "" || a.version != "" {
		return fault.New(fault.Usage, "", "serve takes neither --server nor --version").WithHint("name the lake with --lake")
	}
	url, server, err := a.target()
	if err != nil {
		return err
	}
	if server != "" {
		return fault.New(fault.Usage, "", "TRAJLAKE_SERVER names a server to serve from").WithHint("name the lake with --lake")
	}
	writes := slices.Contains(f.roles, rpc.RoleIngest)
	lake, err := store.Open(ctx, url, &store.Options{Create: true, IndexWait: indexWait, Logger: a.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lake.Close()) }()
	ln, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fault.WrapAs(fault.Unavailable, "listen", err).(*fault.Error).WithHint("is another server running there? --listen 127.0.0.1:0 takes a free port")
	}
	defer ln.Close() // a second close is harmless; this one is for the ways out below
	if writes {
		if err := lake.Warm(ctx); err != nil {
			return err
		}
	}
	var ing *ingest.Ingester
	if writes {
		ing = ingest.New(lake, &ingest.Options{Logger: a.log})
		defer func() { err = errors.Join(err, ing.Close()) }()
	}
	cache := f.cache << 20
	if cache == 0 {
		cache = -1
	}
	s := rpc.New(lake, ing, &rpc.Options{Roles: f.roles, Version: thisBuild().Version, Logger: a.log, RowCacheDir: f.cacheDir, RowCacheBytes: cache})
	return a.answer(ctx, lake, s, ln, f)
}

// answer serves until ctx ends, with the work of the background, and drains.
func (a *app) answer(ctx context.Context, lake *store.Lake, s *rpc.Server, ln net.Listener, f *serveFlags) error {
	debug, stopDebug, err := a.serveDebug(f.debug, s.WriteMetrics)
	if err != nil {
		return err
	}
	defer stopDebug()
	snap, err := lake.Head(ctx)
	if err != nil {
		return err
	}
	background, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { a.maintainOften(background, lake, f.fold) })
	wg.Go(func() { tuneMemory(background) })
	wg.Go(func() { a.keepIndex(background, lake) })
	served := make(chan error, 1)
	wg.Go(func() { served <- s.Serve(ln) })

	addr := ln.Addr().String()
	if a.json {
		if err := a.printJSON(ready{"ready", addr, placeOf(snap), lake.IndexState().Place, debug}); err != nil {
			return err
		}
	} else {
		a.note("serving %s at %s (%s), version %d", lake.URL(), addr, strings.Join(f.roles, ", "), snap.Version())
	}
	select {
	case err := <-served:
		return err
	case <-lake.Broken(): // a flush failed: nothing may be acknowledged any more
	case <-ctx.Done():
	}
	a.log.Info("draining")
	limit, done := context.WithTimeout(context.Background(), drainTime)
	defer done()
	err = s.Shutdown(limit)
	if fault.Is(err, fault.Cancelled) {
		a.log.Warn("calls were broken off", "after", drainTime)
		err = nil // every row that was acknowledged is in
	}
	return errors.Join(err, <-served, lake.Err())
}

// keepIndex moves an index that is in memory, from the start or after a failure,
// to its folder as soon as that can be had.
func (a *app) keepIndex(ctx context.Context, lake *store.Lake) {
	tick := time.NewTicker(indexRetry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if lake.IndexState().Place != "memory" {
			continue
		}
		if _, err := lake.RetryIndex(ctx); err != nil && ctx.Err() == nil {
			a.log.Debug("the index stays in memory", "err", err)
		}
	}
}

// maintainOften folds small files, and what else a lake needs, when versions came
// in since the last time.
func (a *app) maintainOften(ctx context.Context, lake *store.Lake, every time.Duration) {
	if every <= 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		snap, err := lake.Head(ctx)
		if err == nil && snap.Token() == last {
			continue
		}
		if err == nil {
			_, err = lake.Maintain(ctx)
		}
		if err == nil {
			snap, err = lake.Head(ctx)
		}
		if err != nil {
			if ctx.Err() == nil {
				a.log.Warn("maintain the lake", "err", err)
			}
			continue
		}
		last = snap.Token()
	}
}
