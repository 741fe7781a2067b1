package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"trajlake/internal/term"
	"trajlake/schema/fault"
)

// app is one run of the program: where its output goes and the flags that every
// verb has.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	style          term.Style // of stderr

	lake, server string
	version      string // a version or a token; "" = the head
	json, quiet  bool
	logLevel     string
	log          *slog.Logger

	verb string // the verb that ran; "" while arguments are being read
}

// outcome is the end of a verb that did what it could and said so: nothing more
// is printed and it is the exit code.
type outcome int

// Exit codes of outcomes; those of errors are in the table of package fault.
const (
	someRejected outcome = 3
	damageFound  outcome = 4
)

func (outcome) Error() string { return "see the report" }

// run runs one command line and returns the exit code. It never exits.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, style: term.StyleOf(stderr, os.Getenv), log: slog.New(slog.DiscardHandler)}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return a.exit(root.ExecuteContext(ctx))
}

// root is the command tree.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "trajlake",
		Short: "A lake of agent trajectories between rollout and training",
		Long: `trajlake keeps agent trajectories: it commits them exactly once, draws
reproducible batches for training, and shows and exports them.

A lake is a folder or a bucket: --lake PATH, file://… or s3://bucket/prefix.
A running server is reached with --server HOST:PORT instead. TRAJLAKE_LAKE and
TRAJLAKE_SERVER stand in for the two flags.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some of the input was rejected,
4 damage found, 5 store or server unavailable (try again), 6 not found.`,
		Example: `  trajlake import --lake ./lake runs/*.jsonl
  trajlake stats --lake ./lake
  trajlake sample --lake ./lake --where 'reward > 0' --batch 8 --seed 1
  trajlake serve --lake ./lake`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			cmd.SuggestionsMinimumDistance = 2
			err := fault.New(fault.Usage, "", "unknown command %q", args[0])
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				return err.WithHint("did you mean %s?", strings.Join(near, " or "))
			}
			return err.WithHint("see `trajlake --help`")
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return fault.New(fault.Usage, "", "no verb was given").WithHint("trajlake VERB --help says what a verb does")
		},
	}
	a.globalFlags(root.PersistentFlags())
	root.AddCommand(a.serveCmd(), a.importCmd(), a.statsCmd(), a.idsCmd(), a.annotateCmd(), a.versionsCmd(), a.showCmd(),
		a.sampleCmd(), a.streamCmd(), a.explainCmd(), a.ledgerCmd(), a.exportCmd(), a.verifyCmd(), a.indexCmd(), a.versionCmd(), a.completionCmd())
	each(root, a.finish)
	return root
}

func (a *app) globalFlags(f *pflag.FlagSet) {
	f.StringVar(&a.lake, "lake", "", "the lake: a path, file://… or s3://bucket/prefix (TRAJLAKE_LAKE)")
	f.StringVar(&a.server, "server", "", "a running server, HOST:PORT (TRAJLAKE_SERVER)")
	f.StringVar(&a.version, "version", "", "read this version or snapshot token; default the newest")
	f.BoolVar(&a.json, "json", false, "print JSON on stdout: one object, or one per line where rows are listed")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no remarks on stderr")
	f.StringVar(&a.logLevel, "log-level", "warn", "log to stderr from this level on: debug, info, warn, error, off")
}

// each visits a command and all below it.
func each(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		each(c, visit)
	}
}

// finish gives a command what all have: logging, and errors of the command line
// that are told from errors of the verb.
func (a *app) finish(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		a.verb = verbOf(c)
		return usage(c, flagError(err))
	})
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			a.verb = verbOf(c)
			return usage(c, check(c, args))
		}
	}
	if verb := cmd.RunE; verb != nil {
		cmd.RunE = func(c *cobra.Command, args []string) error {
			a.verb = verbOf(c)
			if err := a.setLogger(); err != nil {
				return err
			}
			return verb(c, args)
		}
	}
	completeFlags(cmd)
}

// verbOf is the verb's name as errors state it, empty for the program itself.
func verbOf(cmd *cobra.Command) string {
	return strings.TrimSpace(strings.TrimPrefix(cmd.CommandPath(), "trajlake"))
}

// noArgs is for verbs that take flags only.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("takes no arguments, but %q was given", args[0])
}

// usage is an error of the command line, with a hint unless it has its own.
func usage(cmd *cobra.Command, err error) error {
	if err == nil || fault.HintOf(err) != "" {
		return err
	}
	return fault.WrapAs(fault.Usage, "", err).(*fault.Error).WithHint("see `%s --help`", cmd.CommandPath())
}

var logLevels = []string{"debug", "info", "warn", "error", "off"}

func (a *app) setLogger() error {
	var level slog.Level
	switch a.logLevel {
	case "debug":
		level = slog.LevelDebug
	case "info":
		level = slog.LevelInfo
	case "warn":
		level = slog.LevelWarn
	case "error":
		level = slog.LevelError
	case "off":
		return nil
	default:
		return fault.New(fault.Usage, "", "--log-level %q is not known", a.logLevel).WithHint("one of %s", strings.Join(logLevels, ", "))
	}
	a.log = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	return nil
}
