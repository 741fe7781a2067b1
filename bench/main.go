// Command bench measures the lake and prints one JSON line for each figure, in
// the words of the peers' scripts, so that the two can be set side by side:
// rows_per_cpu_s counts user and system time of all processes that took part.
//
//	bench load    -rows FILE -lake DIR            make the lake that take and scan read
//	bench append  -rows FILE -dir DIR             batches of 1, 10, 100, 1,000 rows in process
//	bench take    -lake DIR                       random rows, batches of 1, 32, 256
//	bench scan    -lake DIR                       five scalars; full decode to Arrow
//	bench writers -rows FILE -dir DIR             eight processes on one lake, ten rows each time
//	bench insert  -addr ADDR -tokens N            one client process of a server
//	bench index   -dir DIR                        opening and indexing a million rows
//	bench idle    -bin TRAJLAKE -lake DIR         memory of an idle server
//	bench big     -bin TRAJLAKE -dir DIR          import of one trajectory of 200 MB
//	bench draws   -n 10000000                     256 weighted draws and updates, 10,000 to n rows
//	bench cached  -lake DIR -dir DIR              random rows from the local cache of rows
//	bench memory  -dir DIR                        priorities written back; memory per row of streams
//	bench report  -rows FILE                      a table of all the lines in FILE
//
// FILE is an Arrow stream of the peers' workload; without it rows of about the
// same shape are generated.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"
)

// settings are the flags of all measurements; each looks at its own.
type settings struct {
	rows    string
	lake    string
	dir     string
	bin     string
	addr    string
	limit   int
	seconds float64
	tokens  int
	clients int
	single  bool
	worker  bool
	sizes   string
	profile string
}

func main() {
	verbs := map[string]func(context.Context, *settings) error{
		"load": load, "append": appends, "take": takes, "scan": scans, "writers": writers,
		"insert": insert, "index": indexing, "idle": idle, "big": big,
		"draws": draws, "cached": cached, "memory": memory, "report": report,
	}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bench load|append|take|scan|writers|insert|index|idle|big|draws|cached|memory|report [flags]; see the command's doc comment")
		os.Exit(2)
	}
	var s settings
	fl := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	fl.StringVar(&s.rows, "rows", "", "Arrow stream of the rows; none = generated ones")
	fl.StringVar(&s.lake, "lake", "", "lake to read")
	fl.StringVar(&s.dir, "dir", "", "folder to write under")
	fl.StringVar(&s.bin, "bin", "", "the trajlake binary")
	fl.StringVar(&s.addr, "addr", "", "address of a server")
	fl.IntVar(&s.limit, "n", 0, "rows at most; 0 = the measurement's own number")
	fl.Float64Var(&s.seconds, "seconds", 4, "length of one window")
	fl.IntVar(&s.tokens, "tokens", 455, "tokens of one inserted row, 9 bytes each")
	fl.IntVar(&s.clients, "clients", 1, "concurrent callers of insert")
	fl.BoolVar(&s.single, "single", false, "insert: each caller sends one row and waits for its receipt")
	fl.BoolVar(&s.worker, "worker", false, "writers: be one of the processes")
	fl.StringVar(&s.sizes, "sizes", "1,10,100,1000", "append: rows of one batch")
	fl.StringVar(&s.profile, "cpuprofile", "", "write a CPU profile here")
	_ = fl.Parse(os.Args[2:]) // exits by itself
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := profiled(s.profile, func() error { return verbs[os.Args[1]](ctx, &s) }); err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
		stop()
		os.Exit(1)
	}
}

// profiled runs fn, with a CPU profile if a path is given.
func profiled(path string, fn func() error) error {
	if path == "" {
		return fn()
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close() // a truncated profile says so when it is read
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return fn()
}

// figure is one line of output; the order of its members is theirs.
type figure map[string]any

func emit(f figure) {
	line, err := json.Marshal(f)
	if err != nil {
		line = fmt.Appendf(nil, `{"error":%q}`, err)
	}
	fmt.Println(string(line))
}

// cpu is the processor time of this process and of its children that have ended.
func cpu() float64 {
	var total float64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err == nil {
			total += float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
		}
	}
	return total
}

// medians calls fn once to warm up and then at least five times, for about a
// second, within budget, and returns the medians of wall and processor seconds.
func medians(budget time.Duration, fn func() error) (wall, used float64, runs int, err error) {
	if err := fn(); err != nil {
		return 0, 0, 0, err
	}
	var walls, cpus []float64
	began := time.Now()
	for len(walls) < 5 || time.Since(began) < time.Second && len(walls) < 200 {
		c, t := cpu(), time.Now()
		if err := fn(); err != nil {
			return 0, 0, 0, err
		}
		walls, cpus = append(walls, time.Since(t).Seconds()), append(cpus, cpu()-c)
		if time.Since(began) > budget && len(walls) >= 3 {
			break
		}
	}
	return median(walls), max(median(cpus), 1e-9), len(walls), nil
}

// median is the middle value, or the mean of the two in the middle.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Clone(v)
	slices.Sort(s)
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Clone(v)
	slices.Sort(s)
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

// diskBytes is the size of all files below dir.
func diskBytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

func round(v float64) float64 { return float64(int64(v*100+0.5)) / 100 }
