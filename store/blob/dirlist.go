package blob

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"syscall"
)

// List implements Bucket. Each directory is read whole when the walk reaches
// it; the files in it are looked at as they are yielded.
func (d *Dir) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	if err := checkPrefix(prefix); err != nil {
		return failList(err)
	}
	return func(yield func(Info, error) bool) {
		w := dirWalk{d: d, ctx: ctx, prefix: prefix, startAfter: startAfter, yield: yield}
		if err := w.walk(""); err != nil && !errors.Is(err, errStopped) {
			yield(Info{}, keyError("list", prefix, err))
		}
	}
}

// errStopped ends a walk whose consumer has had enough.
var errStopped = errors.New("stopped")

type dirWalk struct {
	d          *Dir
	ctx        context.Context
	prefix     string
	startAfter string
	yield      func(Info, error) bool
}

// walk visits the directory whose keys begin with dir, which is empty or ends
// in '/'.
func (w *dirWalk) walk(dir string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	entries, err := w.read(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.isDir {
			err = w.walk(e.key)
		} else {
			err = w.visit(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dirEntry is a file, or a directory whose key ends in '/'. The slash puts
// entries into key order: "a.b" comes before what is in "a", "a0" after it.
type dirEntry struct {
	key   string
	isDir bool
	de    fs.DirEntry
}

func (w *dirWalk) read(dir string) ([]dirEntry, error) {
	name := strings.TrimSuffix(dir, "/")
	if name == "" {
		name = "."
	}
	f, err := w.d.root.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && dir != "" {
			return nil, nil // removed meanwhile
		}
		return nil, deniedToo(err)
	}
	found, err := f.ReadDir(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, deniedToo(err)
	}
	entries := make([]dirEntry, 0, len(found))
	for _, de := range found {
		e := dirEntry{key: dir + de.Name(), isDir: de.IsDir(), de: de}
		switch {
		case CheckKey(e.key) != nil:
		case e.isDir:
			e.key += "/"
			if under(e.key, w.prefix, w.startAfter) {
				entries = append(entries, e)
			}
		case de.Type().IsRegular() && strings.HasPrefix(e.key, w.prefix) && e.key > w.startAfter:
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b dirEntry) int { return strings.Compare(a.key, b.key) })
	return entries, nil
}

func (w *dirWalk) visit(e dirEntry) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	// By path, not by the entry's Info: the directory is closed by now.
	st, err := w.d.root.Lstat(e.key)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil // removed meanwhile
	}
	if err != nil {
		return deniedToo(err)
	}
	if !w.yield(fileInfo(e.key, st), nil) {
		return errStopped
	}
	return nil
}
