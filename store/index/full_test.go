package index

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFullDisk: a disk that fills up under an open index costs the index, not the
// process, which Badger's mapped files would kill.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=300m"); err != nil {
		t.Skipf("NOT RUN: mounting a small disk: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	ix, _, err := Open(filepath.Join(dir, "ix"), "lake")
	if err != nil {
		t.Fatal(err)
	}
	items := make([]Item, 1000)
	for i := range items {
		items[i] = Item{Key: KeyOf('t', string(rune(i+1))), Entry: Entry{Seq: int64(i)}}
	}
	if err := ix.Apply("trajectories", items, Mark{Version: 1}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, zeros{})
	if err = errors.Join(err, f.Close()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	if err := ix.Apply("trajectories", items, Mark{Version: 2}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("writing: %v", err)
	}
	if got, err := ix.Lookup([]Key{items[7].Key}); err != nil || got[0].Seq != 7 {
		t.Errorf("reading: %v, %v", got, err)
	}
	if err := ix.Close(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("closing: %v", err)
	}
	if _, _, err := Open(filepath.Join(dir, "ix"), "lake"); !errors.Is(err, ErrNoSpace) {
		t.Errorf("opening again: %v", err)
	}
}

// zeros is an endless stream.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
