package blob

import (
	"io"
	"os"
	"path"
)

// dirFS is what writing an object needs of a file system. It exists so that
// tests can record the order of the calls and fail any one of them; the only
// product implementation is rootFS. Names are slash-separated and relative to
// the root of the bucket.
type dirFS interface {
	create(name string) (dirFile, error) // fails if name exists
	link(oldname, newname string) error  // fails if newname exists
	rename(oldname, newname string) error
	remove(name string) error
	mkdir(name string) error
	openDir(name string) (syncCloser, error)
}

// dirFile is a file being written.
type dirFile interface {
	io.Writer
	syncCloser
}

// syncCloser is an open file or directory that can be flushed.
type syncCloser interface {
	io.Closer
	Sync() error
}

// rootFS is dirFS on an os.Root, which resolves every name beneath an open
// directory and so cannot be led outside, not even by a symbolic link planted
// in the bucket.
type rootFS struct{ root *os.Root }

func (f rootFS) create(name string) (dirFile, error) {
	return f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
}

func (f rootFS) link(oldname, newname string) error   { return f.root.Link(oldname, newname) }
func (f rootFS) rename(oldname, newname string) error { return f.root.Rename(oldname, newname) }
func (f rootFS) remove(name string) error             { return f.root.Remove(name) }
func (f rootFS) mkdir(name string) error              { return f.root.Mkdir(name, 0o755) }

func (f rootFS) openDir(name string) (syncCloser, error) { return f.root.Open(name) }

// ancestors lists dir and the directories above it, outermost last. The root
// is ".".
func ancestors(dir string) []string {
	var up []string
	for ; dir != "."; dir = path.Dir(dir) {
		up = append(up, dir)
	}
	return append(up, ".")
}
