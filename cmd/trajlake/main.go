// Command trajlake is the one binary of the lake: it serves, imports, samples,
// exports and checks. Every verb is a file of its own; docs/reference/cli.md
// lists them with their flags, JSON and exit codes.
//
// A verb works straight on a lake (--lake) or through a running server
// (--server); the seam between the two is the interface backend.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
