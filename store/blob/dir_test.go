package blob

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// scriptFS is a dirFS that records every call under stable names and can fail
// or hold any of them.
type scriptFS struct {
	dirFS
	mu   sync.Mutex
	ops  []string
	temp string                // name of the last temporary file
	on   func(op string) error // called before each operation
}

func (s *scriptFS) do(op string, f func() error) error {
	s.mu.Lock()
	if s.temp != "" {
		op = strings.ReplaceAll(op, s.temp, "TEMP")
	}
	s.ops = append(s.ops, op)
	s.mu.Unlock()
	if s.on != nil {
		if err := s.on(op); err != nil {
			return err
		}
	}
	return f()
}

func (s *scriptFS) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ops := s.ops
	s.ops = nil
	return ops
}

func (s *scriptFS) create(name string) (f dirFile, err error) {
	s.mu.Lock()
	s.temp = name
	s.mu.Unlock()
	err = s.do("create "+name, func() (err error) { f, err = s.dirFS.create(name); return err })
	return &scriptFile{f, s, name}, err
}

func (s *scriptFS) link(a, b string) error {
	return s.do("link "+a+" "+b, func() error { return s.dirFS.link(a, b) })
}

func (s *scriptFS) rename(a, b string) error {
	return s.do("rename "+a+" "+b, func() error { return s.dirFS.rename(a, b) })
}

func (s *scriptFS) remove(name string) error {
	return s.do("remove "+name, func() error { return s.dirFS.remove(name) })
}

func (s *scriptFS) mkdir(name string) error {
	return s.do("mkdir "+name, func() error { return s.dirFS.mkdir(name) })
}

func (s *scriptFS) openDir(name string) (syncCloser, error) {
	d, err := s.dirFS.openDir(name)
	return &scriptDir{d, s, name}, err
}

type scriptFile struct {
	dirFile
	s    *scriptFS
	name string
}

func (f *scriptFile) Write(p []byte) (n int, err error) {
	err = f.s.do("write "+f.name, func() (err error) { n, err = f.dirFile.Write(p); return err })
	return n, err
}

func (f *scriptFile) Sync() error { return f.s.do("sync "+f.name, f.dirFile.Sync) }

type scriptDir struct {
	syncCloser
	s    *scriptFS
	name string
}

func (d *scriptDir) Sync() error { return d.s.do("syncdir "+d.name, d.syncCloser.Sync) }

func newScripted(t *testing.T) (*Dir, *scriptFS) {
	t.Helper()
	d, err := OpenDir(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	s := &scriptFS{dirFS: d.fs}
	d.fs = s
	return d, s
}

func wantOps(t *testing.T, what string, got []string, want string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(want), "\n")
	if !slices.Equal(got, lines) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

var once = PutOptions{IfAbsent: true}

func TestDirOrderOfPut(t *testing.T) {
	d, s := newScripted(t)
	ctx := t.Context()
	if err := d.Put(ctx, "t/day=1/a", []byte("x"), PutOptions{}); err != nil {
		t.Fatal(err)
	}
	wantOps(t, "first put into new directories", s.take(), `
create TEMP
mkdir .tmp
create TEMP
write TEMP
sync TEMP
mkdir t
syncdir .
mkdir t/day=1
syncdir t
rename TEMP t/day=1/a
syncdir t/day=1`)
	if err := d.Put(ctx, "t/day=1/b", []byte("x"), once); err != nil {
		t.Fatal(err)
	}
	wantOps(t, "create in a known directory", s.take(), `
create TEMP
write TEMP
sync TEMP
link TEMP t/day=1/b
syncdir t/day=1
remove TEMP`)
	if err := d.Put(ctx, "t/day=1/b", []byte("y"), once); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	wantOps(t, "create what exists", s.take(), `
create TEMP
write TEMP
sync TEMP
link TEMP t/day=1/b
syncdir t/day=1
remove TEMP`)
	// Another handle did not make the directories and so cannot know whether
	// their names are durable.
	other, err := OpenDir(d.Path(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	so := &scriptFS{dirFS: other.fs}
	other.fs = so
	if err := other.Put(ctx, "t/day=1/c", []byte("z"), once); err != nil {
		t.Fatal(err)
	}
	wantOps(t, "create through another handle", so.take(), `
create TEMP
write TEMP
sync TEMP
mkdir t
syncdir .
mkdir t/day=1
syncdir t
link TEMP t/day=1/c
syncdir t/day=1
remove TEMP`)
	if err := d.Delete(ctx, "t/day=1/c"); err != nil {
		t.Fatal(err)
	}
	wantOps(t, "delete", s.take(), `
remove t/day=1/c
syncdir t/day=1`)
}

// TestDirNothingPartial holds a put before each of its steps and looks.
func TestDirNothingPartial(t *testing.T) {
	d, s := newScripted(t)
	ctx := t.Context()
	const key = "t/a"
	looked := 0
	s.on = func(op string) error {
		visible := strings.HasPrefix(op, "syncdir t") && looked > 0 || op == "remove TEMP"
		for info, err := range d.List(ctx, "", "") {
			if err != nil || !visible || info.Key != key || info.Size != 20<<20 {
				t.Errorf("before %q the bucket lists %+v, %v", op, info, err)
			}
		}
		if _, err := d.Get(ctx, key, 0, 1); !visible && !errors.Is(err, ErrNotExist) {
			t.Errorf("before %q get = %v", op, err)
		}
		if strings.HasPrefix(op, "link") {
			looked++
		}
		return nil
	}
	if err := d.Put(ctx, key, make([]byte, 20<<20), once); err != nil {
		t.Fatal(err)
	}
	if looked != 1 {
		t.Fatalf("looked %d times before a link", looked)
	}
}

// TestDirFailures fails each step of a put in turn.
func TestDirFailures(t *testing.T) {
	for _, c := range []struct {
		op       string
		err      error
		want     []error
		not      []error
		visible  bool
		shut     bool // later puts are refused
		leftover bool
	}{
		{op: "create TEMP", err: syscall.ENOSPC, want: []error{syscall.ENOSPC}, not: []error{ErrUnknown}},
		{op: "create TEMP", err: syscall.EACCES, want: []error{ErrDenied}, not: []error{ErrUnknown}},
		{op: "write TEMP", err: syscall.ENOSPC, want: []error{syscall.ENOSPC}, not: []error{ErrUnknown, ErrNotDurable}},
		{op: "sync TEMP", err: syscall.EIO, want: []error{ErrNotDurable, syscall.EIO}, not: []error{ErrUnknown}, shut: true},
		{op: "mkdir t", err: syscall.EROFS, want: []error{ErrDenied}, not: []error{ErrUnknown}},
		{op: "syncdir .", err: syscall.EIO, want: []error{ErrNotDurable}, not: []error{ErrUnknown}, shut: true},
		{op: "link TEMP t/k", err: syscall.EPERM, want: []error{ErrNotAtomic}, not: []error{ErrUnknown, ErrDenied}},
		{op: "link TEMP t/k", err: syscall.EOPNOTSUPP, want: []error{ErrNotAtomic}, not: []error{ErrUnknown}},
		{op: "link TEMP t/k", err: syscall.EIO, want: []error{syscall.EIO}, not: []error{ErrUnknown, ErrNotDurable}},
		{op: "syncdir t", err: syscall.EIO, want: []error{ErrNotDurable, ErrUnknown, syscall.EIO}, visible: true, shut: true},
		{op: "remove TEMP", err: syscall.EIO, visible: true, leftover: true},
	} {
		t.Run(c.op+"/"+c.err.Error(), func(t *testing.T) {
			d, s := newScripted(t)
			ctx := t.Context()
			failed := false
			s.on = func(op string) error {
				if op == c.op && !failed {
					failed = true
					return &os.PathError{Op: op, Path: "x", Err: c.err}
				}
				return nil
			}
			err := d.Put(ctx, "t/k", []byte("x"), once)
			if !failed {
				t.Fatalf("no %q among %q", c.op, s.take())
			}
			if (err == nil) != (len(c.want) == 0) {
				t.Errorf("put = %v", err)
			}
			for _, w := range c.want {
				if !errors.Is(err, w) {
					t.Errorf("put = %v, want %v", err, w)
				}
			}
			for _, w := range c.not {
				if errors.Is(err, w) {
					t.Errorf("put = %v, must not be %v", err, w)
				}
			}
			if _, err := d.Stat(ctx, "t/k"); (err == nil) != c.visible {
				t.Errorf("afterwards stat = %v", err)
			}
			if left, err := os.ReadDir(filepath.Join(d.Path(), tempDir)); err == nil && (len(left) > 0) != c.leftover {
				t.Errorf("%d temporary files left", len(left))
			}
			err = d.Put(ctx, "t/later", []byte("x"), once)
			if errors.Is(err, ErrNotDurable) != c.shut || !c.shut && err != nil {
				t.Errorf("later put = %v", err)
			}
		})
	}
}

// TestDirLoserFlushes: being told ErrExists promises that the other object is
// durable, so a failed flush must not be told as ErrExists.
func TestDirLoserFlushes(t *testing.T) {
	d, s := newScripted(t)
	if err := d.Put(t.Context(), "t/k", []byte("x"), once); err != nil {
		t.Fatal(err)
	}
	s.on = func(op string) error {
		if op == "syncdir t" {
			return syscall.EIO
		}
		return nil
	}
	err := d.Put(t.Context(), "t/k", []byte("y"), once)
	if !errors.Is(err, ErrNotDurable) || errors.Is(err, ErrExists) {
		t.Errorf("put = %v", err)
	}
}

// TestDirVanishedDirectory: somebody removes an empty directory between two
// puts, and once more in the middle of one.
func TestDirVanishedDirectory(t *testing.T) {
	d, s := newScripted(t)
	ctx := t.Context()
	if err := d.Put(ctx, "t/day=1/a", nil, once); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(d.Path(), "t")); err != nil {
		t.Fatal(err)
	}
	removed := false
	s.on = func(op string) error {
		if strings.HasPrefix(op, "link") && !removed {
			removed = true
			return os.RemoveAll(filepath.Join(d.Path(), "t"))
		}
		return nil
	}
	if err := d.Put(ctx, "t/day=1/a", []byte("again"), once); err != nil || !removed {
		t.Fatalf("put = %v, directory removed: %v", err, removed)
	}
	if body, err := d.Get(ctx, "t/day=1/a", 0, -1); err != nil || string(body) != "again" {
		t.Errorf("get = %q, %v", body, err)
	}
}

func TestDirLeftovers(t *testing.T) {
	dir := t.TempDir()
	temp := filepath.Join(dir, tempDir)
	if err := os.Mkdir(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	old, young := filepath.Join(temp, "OLD"), filepath.Join(temp, "YOUNG")
	for _, f := range []string{old, young} {
		if err := os.WriteFile(f, []byte("half an obj"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * tempAge)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for info, err := range d.List(t.Context(), "", "") {
		t.Errorf("lists %+v, %v", info, err)
	}
	if _, err := os.Stat(old); err != nil {
		t.Errorf("reading removed a leftover: %v", err)
	}
	if err := d.Put(t.Context(), "a", nil, once); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("old leftover: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("young leftover, which may be in use: %v", err)
	}
}

// TestDirStaysInside plants what an attacker or an accident may.
func TestDirStaysInside(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("s3cret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"file": secret, "dir": outside, "up": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "not a key"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, key := range []string{"file", "dir/secret", "up/x", "pipe"} {
		if body, err := d.Get(ctx, key, 0, -1); err == nil {
			t.Errorf("get %s = %q", key, body)
		}
	}
	for _, key := range []string{"dir/new", "dir/sub/new", "up/new", "pipe"} {
		if err := d.Put(ctx, key, []byte("x"), once); err == nil {
			t.Errorf("put %s succeeds", key)
		}
	}
	for info, err := range d.List(ctx, "", "") {
		t.Errorf("lists %+v, %v", info, err)
	}
	// A plain put replaces a link and does not write through it.
	if err := d.Put(ctx, "file", []byte("mine"), PutOptions{}); err != nil {
		t.Error(err)
	}
	if body, err := os.ReadFile(secret); err != nil || string(body) != "s3cret" {
		t.Errorf("file outside = %q, %v", body, err)
	}
	if found, err := os.ReadDir(outside); err != nil || len(found) != 1 {
		t.Errorf("outside holds %v, %v", found, err)
	}
}

func TestDirObjectIsNoDirectory(t *testing.T) {
	d, _ := newScripted(t)
	ctx := t.Context()
	if err := d.Put(ctx, "a/b", nil, once); err != nil {
		t.Fatal(err)
	}
	for _, opt := range []PutOptions{{}, once} {
		for _, key := range []string{"a", "a/b/c"} {
			if err := d.Put(ctx, key, nil, opt); !errors.Is(err, ErrInvalidKey) {
				t.Errorf("put %s %+v = %v", key, opt, err)
			}
		}
	}
}

func TestOpenDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if _, err := OpenDir(dir, false); !errors.Is(err, ErrNoBucket) {
		t.Errorf("open of an absent directory = %v", err)
	}
	d, err := OpenDir(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Errorf("closing twice = %v", err)
	}
	if _, err := d.Get(t.Context(), "a", 0, -1); err == nil {
		t.Error("get after close succeeds")
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(file, true); err == nil {
		t.Error("open of a file succeeds")
	}
}

func TestLocalPath(t *testing.T) {
	d, _ := newScripted(t)
	if err := d.Put(t.Context(), "a/b", []byte("x"), once); err != nil {
		t.Fatal(err)
	}
	for _, b := range []Bucket{d, NewRetry(d, RetryOptions{})} {
		p, ok := LocalPath(b, "a/b")
		if body, err := os.ReadFile(p); !ok || err != nil || string(body) != "x" {
			t.Errorf("%T: %q, %v holds %q, %v", b, p, ok, body, err)
		}
		if p, ok := LocalPath(b, "../b"); ok {
			t.Errorf("%T: LocalPath of an invalid key = %q", b, p)
		}
	}
	for _, b := range []Bucket{NewMemory(), NewFaulty(d), NewTrace(d)} {
		if p, ok := LocalPath(b, "a/b"); ok {
			t.Errorf("%T has local path %q", b, p)
		}
	}
}
