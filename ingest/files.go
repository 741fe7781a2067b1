package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"

	"trajlake/ingest/formats"
	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// AppendSession is where a file's rows go; see Session.
type AppendSession interface {
	Append(ctx context.Context, items []Item) ([]store.Receipt, error)
}

// Appender is a lake that takes rows, here or behind a server.
type Appender interface {
	// OpenSession starts the session of one file.
	OpenSession(ctx context.Context) (AppendSession, error)
	// Annotate appends annotations; the token is that of the snapshot with them.
	Annotate(ctx context.Context, rows []*schema.Annotation) (receipts []store.Receipt, token string, err error)
}

// OpenSession implements Appender.
func (g *Ingester) OpenSession(context.Context) (AppendSession, error) { return g.Session(nil) }

// Progress is how far an import has come.
type Progress struct {
	Files, TotalFiles int64
	Bytes, TotalBytes int64 // compressed bytes as they lie on disk; total 0 = unknown
	Rows              int64 // answered
	Rejected          int64
}

// ImportOptions are the settings of ImportFiles; the zero value sniffs formats.
type ImportOptions struct {
	Format   string            // name of an importer; "" or "auto" = by content
	Set      map[string]string // columns that the source lacks, by name
	Stdin    io.Reader         // what "-" reads
	Progress func(Progress)    // called often, from one goroutine at a time; nil = silent
}

// Limits of what an import holds in memory at a time.
const (
	batchRows   = 500
	batchBytes  = 8 << 20
	fileBudget  = 96 << 20 // compressed bytes of the files that are read at once
	fileWorkers = 8
)

// ImportFiles reads files, folders (walked, sorted, hidden entries left out),
// globs and "-" into app. Bad records and files are rejected by name and the
// rest goes in; an error means that the import itself could not go on, and
// importing again finds what is there as duplicates.
func ImportFiles(ctx context.Context, app Appender, paths []string, o ImportOptions) (*ImportReport, error) {
	began := time.Now()
	if o.Format != "" && o.Format != "auto" {
		if _, ok := formats.ByName(o.Format); !ok {
			return nil, fault.New(fault.Usage, "import", "there is no format %q", o.Format).WithHint("formats: auto, %s", strings.Join(formatNames(), ", "))
		}
	}
	inputs, err := expand(paths)
	if err != nil {
		return nil, err
	}
	im := &importer{app: app, opt: o, tally: newTally()}
	im.progress.TotalFiles = int64(len(inputs))
	for _, in := range inputs {
		im.progress.TotalBytes += in.size
	}
	err = im.all(ctx, inputs)
	r := im.tally.finish()
	r.Bytes = im.bytes.Load()
	r.Seconds = time.Since(began).Seconds()
	return r, err
}

func formatNames() (names []string) {
	for _, f := range formats.All() {
		names = append(names, f.Name())
	}
	return names
}

// input is one file to read.
type input struct {
	path string
	size int64
}

// expand turns arguments into files, each once, in order.
func expand(paths []string) (out []input, err error) {
	seen := map[string]bool{}
	add := func(p string, size int64) {
		if !seen[p] {
			seen[p] = true
			out = append(out, input{p, size})
		}
	}
	for _, p := range paths {
		if p == "-" {
			add(p, 0)
			continue
		}
		st, err := os.Stat(p)
		names := []string{p}
		if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(p, "*?[") {
			if names, err = filepath.Glob(p); err == nil && len(names) == 0 {
				err = fmt.Errorf("no file matches the pattern")
			}
		}
		if err != nil {
			return nil, fault.WrapAs(fault.NotFound, "import "+p, err)
		}
		for _, n := range names {
			if st == nil || n != p {
				if st, err = os.Stat(n); err != nil {
					return nil, fault.WrapAs(fault.NotFound, "import "+n, err)
				}
			}
			if !st.IsDir() {
				add(n, st.Size())
				continue
			}
			if err := walk(n, add); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func walk(dir string, add func(string, int64)) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fault.WrapAs(fault.NotFound, "import "+p, err)
		}
		if p != dir && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() {
			info, err := d.Info()
			if err != nil {
				return fault.Wrap("import "+p, err)
			}
			add(p, info.Size())
		}
		return nil
	})
}

// importer is one running import.
type importer struct {
	app   Appender
	opt   ImportOptions
	tally *tally
	bytes atomic.Int64

	mu       sync.Mutex
	progress Progress
}

// all reads the inputs, several small ones at once, and stops at the first
// error that is not a record's.
func (im *importer) all(ctx context.Context, inputs []input) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	budget := semaphore.NewWeighted(fileBudget)
	slots := semaphore.NewWeighted(fileWorkers)
	var wg sync.WaitGroup
	for _, in := range inputs {
		cost := min(fileBudget, max(in.size, 1<<20))
		if in.path == "-" {
			cost = fileBudget
		}
		if slots.Acquire(ctx, 1) != nil {
			break
		}
		if budget.Acquire(ctx, cost) != nil {
			slots.Release(1)
			break
		}
		wg.Go(func() {
			defer slots.Release(1)
			defer budget.Release(cost)
			if err := im.file(ctx, in); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// counting counts what is read of a file as it lies on disk.
type counting struct {
	r  io.Reader
	im *importer
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.im.bytes.Add(int64(n))
	return n, err
}

// file imports one file. Faults of the file are counted; the error is one that
// ends the import.
func (im *importer) file(ctx context.Context, in input) error {
	defer im.step(func(p *Progress) { p.Files++ })
	var raw io.Reader = im.opt.Stdin
	if in.path != "-" {
		f, err := os.Open(in.path)
		if err != nil {
			im.tally.reject(in.path, 0, "", fault.WrapAs(fault.NotFound, "open", err))
			return nil
		}
		defer f.Close()
		raw = f
	}
	if raw == nil {
		return fault.New(fault.Usage, "import -", "there is no standard input")
	}
	r, done, err := decompress(counting{raw, im})
	if err != nil {
		im.tally.reject(in.path, 0, "", fault.WrapAs(fault.Invalid, "decompress", err))
		return nil
	}
	defer done()
	head, err := r.Peek(256 << 10)
	if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
		im.tally.reject(in.path, 0, "", fault.WrapAs(fault.Invalid, "read", err))
		return nil
	}
	if len(bytes.TrimSpace(head)) == 0 && len(head) < 256<<10 {
		im.tally.file()
		return nil
	}
	im.tally.file()
	f, err := im.format(head, in.path)
	if err != nil {
		im.tally.reject(in.path, 0, "", err)
		return nil
	}
	session, err := im.app.OpenSession(ctx)
	if err != nil {
		return err
	}
	fi := &fileImport{im: im, path: in.path, format: f.Name(), session: session}
	return fi.run(ctx, f, r)
}

func (im *importer) format(head []byte, name string) (formats.Importer, error) {
	if im.opt.Format != "" && im.opt.Format != "auto" {
		f, _ := formats.ByName(im.opt.Format)
		return f, nil
	}
	return formats.Detect(head, name)
}

// decompress looks through gzip and zstd by their magic numbers.
func decompress(r io.Reader) (*bufio.Reader, func(), error) {
	br := bufio.NewReaderSize(r, 256<<10)
	magic, _ := br.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, err
		}
		return bufio.NewReaderSize(z, 256<<10), func() { z.Close() }, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, nil, err
		}
		return bufio.NewReaderSize(z, 256<<10), z.Close, nil
	}
	return br, func() {}, nil
}

func (im *importer) step(change func(*Progress)) {
	im.mu.Lock()
	defer im.mu.Unlock()
	change(&im.progress)
	im.progress.Bytes = im.bytes.Load()
	if im.opt.Progress != nil {
		im.opt.Progress(im.progress)
	}
}
