package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// tempDir holds objects that are being written. No key begins with a dot,
	// so nothing in it can be listed or read as an object, and it lies beside
	// the tables, not inside one, so other engines do not meet it either.
	tempDir = ".tmp"
	// tempAge is when a temporary file counts as left over from a crash. No
	// Put takes this long; one that did would fail at its link, unpublished.
	tempAge = time.Hour
	// writeChunk is how much is written between two looks at the context.
	writeChunk = 8 << 20
)

// Dir is a Bucket in a directory: the file of a key lies at the path that the
// key spells. Any number of processes may use one directory at a time. Use
// OpenDir.
type Dir struct {
	path string   // absolute
	root *os.Root // for reading
	fs   dirFS    // for writing

	sweep sync.Once // of leftovers in tempDir, before the first Put

	mu      sync.Mutex
	anchors map[string]bool // directories whose own names are known durable
	broken  error           // the first failed flush; refuses every later Put
}

// OpenDir opens the directory at path. With create it is made, with its
// parents, if it does not exist; else its absence is ErrNoBucket. Nothing is
// written before the first Put.
func OpenDir(path string, create bool) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", path, err)
	}
	if create {
		if err := mkdirDurable(abs); err != nil {
			return nil, fmt.Errorf("create directory %s: %w", abs, deniedToo(err))
		}
	}
	root, err := os.OpenRoot(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open directory %s: %w", abs, ErrNoBucket)
	case err != nil:
		return nil, fmt.Errorf("open directory %s: %w", abs, deniedToo(err))
	}
	return &Dir{path: abs, root: root, fs: rootFS{root}, anchors: make(map[string]bool)}, nil
}

// mkdirDurable makes dir and its parents and flushes the name of each new one.
func mkdirDurable(dir string) error {
	switch err := os.Mkdir(dir, 0o755); {
	case errors.Is(err, fs.ErrExist):
		return nil // OpenRoot complains if it is not a directory
	case errors.Is(err, fs.ErrNotExist):
		if err := mkdirDurable(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case err != nil:
		return err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// Path returns the absolute path of the directory.
func (d *Dir) Path() string { return d.path }

// Close releases the directory. Later calls fail.
func (d *Dir) Close() error { return d.root.Close() }

// LocalPath implements LocalPather.
func (d *Dir) LocalPath(key string) (string, bool) {
	if CheckKey(key) != nil {
		return "", false
	}
	return filepath.Join(d.path, filepath.FromSlash(key)), true
}

// open opens the regular file of key.
func (d *Dir) open(ctx context.Context, op, key string) (*os.File, fs.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, keyError(op, key, err)
	}
	if err := CheckKey(key); err != nil {
		return nil, nil, keyError(op, key, err)
	}
	// O_NONBLOCK: a named pipe planted under a key must not hang the reader.
	f, err := d.root.OpenFile(key, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, keyError(op, key, dirError(err))
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = ErrNotExist // a directory, or something that no Put made
	}
	if err != nil {
		return nil, nil, errors.Join(keyError(op, key, err), f.Close())
	}
	return f, st, nil
}

// Get implements Bucket.
func (d *Dir) Get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	f, st, err := d.open(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	defer f.Close() // nothing was written
	n, err = clip(off, n, st.Size())
	if err != nil {
		return nil, keyError("get", key, err)
	}
	body := make([]byte, n)
	if _, err := f.ReadAt(body, off); err != nil {
		return nil, keyError("get", key, err)
	}
	return body, nil
}

// Stat implements Bucket.
func (d *Dir) Stat(ctx context.Context, key string) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, keyError("stat", key, err)
	}
	if err := CheckKey(key); err != nil {
		return Info{}, keyError("stat", key, err)
	}
	st, err := d.root.Stat(key)
	if err != nil {
		return Info{}, keyError("stat", key, dirError(err))
	}
	if !st.Mode().IsRegular() {
		return Info{}, keyError("stat", key, ErrNotExist)
	}
	return fileInfo(key, st), nil
}

// OpenReader implements ReaderOpener.
func (d *Dir) OpenReader(ctx context.Context, key string) (Reader, error) {
	f, st, err := d.open(ctx, "open", key)
	if err != nil {
		return nil, err
	}
	return fileReader{f, st.Size()}, nil
}

type fileReader struct {
	*os.File
	size int64
}

func (r fileReader) Size() int64 { return r.size }

func fileInfo(key string, st fs.FileInfo) Info {
	return Info{
		Key: key, Size: st.Size(), ModTime: st.ModTime(),
		ETag: fmt.Sprintf("%x-%x", st.Size(), st.ModTime().UnixNano()),
	}
}

// dirError adds the sentinel of this package that an error of the file system
// amounts to.
func dirError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENXIO):
		return fmt.Errorf("%w (%w)", ErrNotExist, err)
	case errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("%w: it is a directory (%w)", ErrInvalidKey, err)
	}
	return deniedToo(err)
}

func deniedToo(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w (%w)", ErrDenied, err)
	}
	return err
}

// Put implements Bucket. The bytes go to a temporary file, which is flushed
// and then given its final name by link(2), or by rename(2) when overwriting;
// then the directory is flushed.
func (d *Dir) Put(ctx context.Context, key string, body []byte, opt PutOptions) error {
	if err := ctx.Err(); err != nil {
		return keyError("put", key, err)
	}
	if err := CheckKey(key); err != nil {
		return keyError("put", key, err)
	}
	if err := d.health(); err != nil {
		return keyError("put", key, err)
	}
	d.sweep.Do(d.removeLeftovers)
	temp, err := d.writeTemp(ctx, body)
	if err != nil {
		return keyError("put", key, err)
	}
	renamed, err := d.publish(temp, key, opt)
	if !renamed {
		// Best effort: a leftover is invisible, and swept an hour later.
		_ = d.fs.remove(temp)
	}
	if err != nil {
		return keyError("put", key, err)
	}
	return nil
}

// writeTemp writes and flushes body under a fresh name in tempDir.
func (d *Dir) writeTemp(ctx context.Context, body []byte) (string, error) {
	name := tempDir + "/" + rand.Text()
	f, err := d.fs.create(name)
	if errors.Is(err, fs.ErrNotExist) {
		// The name of tempDir itself need not survive a crash.
		if err := d.fs.mkdir(tempDir); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", deniedToo(err)
		}
		f, err = d.fs.create(name)
	}
	if err != nil {
		return "", deniedToo(err)
	}
	err = d.fill(ctx, f, body)
	if err == nil {
		return name, nil
	}
	_ = d.fs.remove(name)
	return "", err
}

// fill writes, flushes and closes f.
func (d *Dir) fill(ctx context.Context, f dirFile, body []byte) error {
	for len(body) > 0 {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, f.Close())
		}
		n, err := f.Write(body[:min(len(body), writeChunk)])
		if err != nil {
			return errors.Join(err, f.Close())
		}
		body = body[n:]
	}
	// A failed fsync is final. The kernel marks the lost pages clean, so that
	// a second fsync succeeds without having written them.
	if err := f.Sync(); err != nil {
		return errors.Join(d.breakDown("flush temporary file", err), f.Close())
	}
	return f.Close()
}

// publish gives temp its final name and flushes the directory it is in. It
// reports whether temp was used up.
func (d *Dir) publish(temp, key string, opt PutOptions) (renamed bool, err error) {
	// A directory can vanish between being made and being used when somebody
	// tidies up, so try again, a few times.
	for range 3 {
		renamed, err = d.publishOnce(temp, key, opt)
		if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrUnknown) {
			break
		}
		d.forget(path.Dir(key))
	}
	return renamed, err
}

func (d *Dir) publishOnce(temp, key string, opt PutOptions) (renamed bool, err error) {
	dir := path.Dir(key)
	if err := d.anchor(dir); err != nil {
		return false, err
	}
	// Opened before the name is given, so that afterwards nothing can fail but
	// the flush itself.
	handle, err := d.fs.openDir(dir)
	if err != nil {
		return false, deniedToo(err)
	}
	defer handle.Close() // nothing is written through it
	if opt.IfAbsent {
		err = d.fs.link(temp, key)
	} else {
		err = d.fs.rename(temp, key)
	}
	switch {
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist) && d.isDir(key):
		return false, fmt.Errorf("%w: the key of an object cannot also be a directory (%w)", ErrInvalidKey, err)
	case errors.Is(err, fs.ErrExist) && opt.IfAbsent:
		// The winner may not have flushed its name yet. Whoever is told that
		// the object exists will build on it, so it has to be durable now.
		if err := handle.Sync(); err != nil {
			return false, d.breakDown("flush directory "+dir, err)
		}
		return false, ErrExists
	case opt.IfAbsent && (errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported)):
		return false, fmt.Errorf("%w: the file system at %s has no hard links (%w)", ErrNotAtomic, d.path, err)
	case err != nil:
		return false, deniedToo(err)
	}
	if err := handle.Sync(); err != nil {
		return !opt.IfAbsent, fmt.Errorf("%w; %w", ErrUnknown, d.breakDown("flush directory "+dir, err))
	}
	return !opt.IfAbsent, nil
}

func (d *Dir) isDir(key string) bool {
	st, err := d.root.Lstat(key)
	return err == nil && st.IsDir()
}

// anchor makes sure that dir exists and that its name, and those of the
// directories above it, are durable. Existing is not enough: another process
// may have made a directory and died, or not yet got so far as to flush it.
// So the first Put into each directory flushes all above it; later ones pay
// nothing.
func (d *Dir) anchor(dir string) error {
	d.mu.Lock()
	known := d.anchors[dir]
	d.mu.Unlock()
	if known {
		return nil
	}
	up := ancestors(dir)
	for i := len(up) - 2; i >= 0; i-- {
		switch err := d.fs.mkdir(up[i]); {
		case errors.Is(err, syscall.ENOTDIR):
			return fmt.Errorf("%w: %s is an object, not a directory", ErrInvalidKey, up[i+1])
		case err != nil && !errors.Is(err, fs.ErrExist):
			return deniedToo(err)
		}
		if err := d.flush(up[i+1]); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range up {
		d.anchors[a] = true
	}
	return nil
}

// forget makes the next anchor(dir) look at the file system again.
func (d *Dir) forget(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range ancestors(dir) {
		delete(d.anchors, a)
	}
}

// flush makes the names in dir durable.
func (d *Dir) flush(dir string) error {
	handle, err := d.fs.openDir(dir)
	if err != nil {
		return deniedToo(err)
	}
	defer handle.Close() // nothing is written through it
	if err := handle.Sync(); err != nil {
		return d.breakDown("flush directory "+dir, err)
	}
	return nil
}

// breakDown records a failed flush. What was written before it may be lost
// without another flush saying so, which is why the bucket stays shut.
func (d *Dir) breakDown(what string, err error) error {
	err = fmt.Errorf("%w: %s: %w", ErrNotDurable, what, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken == nil {
		d.broken = err
	}
	return err
}

func (d *Dir) health() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return fmt.Errorf("directory refuses writes after an earlier failure: %w", d.broken)
	}
	return nil
}

// Delete implements Bucket. The removal is durable when it returns nil, so
// that deleted content does not come back with the power. Directories stay.
func (d *Dir) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return keyError("delete", key, err)
	}
	if err := CheckKey(key); err != nil {
		return keyError("delete", key, err)
	}
	if d.isDir(key) {
		return nil // no object; and remove(2) would take an empty directory
	}
	err := d.fs.remove(key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return keyError("delete", key, deniedToo(err))
	}
	// Also when it was gone already: whoever removed it may not have flushed.
	err = d.flush(path.Dir(key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return keyError("delete", key, err)
	}
	return nil
}

// removeLeftovers deletes old temporary files of crashed processes. It is
// best effort: what it leaves takes space and nothing else.
func (d *Dir) removeLeftovers() {
	f, err := d.root.Open(tempDir)
	if err != nil {
		return
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			st, err := e.Info()
			if err == nil && st.Mode().IsRegular() && time.Since(st.ModTime()) > tempAge {
				_ = d.fs.remove(tempDir + "/" + e.Name())
			}
		}
		if err != nil || len(entries) == 0 {
			return
		}
	}
}

var _ io.Closer = (*Dir)(nil)

// under reports whether the subtree of the directory with this path (ending
// in '/') can hold keys that begin with prefix and are above startAfter.
func under(dir, prefix, startAfter string) bool {
	if !strings.HasPrefix(dir, prefix) && !strings.HasPrefix(prefix, dir) {
		return false
	}
	// Every key below dir begins with dir: all are above startAfter if dir is,
	// and some may be if startAfter lies inside.
	return dir > startAfter || strings.HasPrefix(startAfter, dir)
}
