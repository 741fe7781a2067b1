package pack

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
)

// place says where a frame lies: the number of its segment, counted from 1, and the
// offset in it. 0 is nowhere.
type place uint64

const offsetBits = 32

// lengthBytes stand before every frame in a segment.
const lengthBytes = 4

// segments are the files, the oldest first. The Cache's mutex guards them.
type segments struct {
	opt   Options
	size  int64  // of a full segment
	first uint64 // segments that were dropped
	list  []*segment
	bytes int64 // of all that is in list
	off   bool  // the disk took no more
	buf   []byte
}

// segment is one file without a name, mapped into memory.
type segment struct {
	file *os.File
	mem  []byte
	used int64
	pins int // calls that read from mem
	gone bool
}

const maxSegment = 64 << 20

func newSegments(o Options) segments {
	return segments{opt: o, size: min(maxSegment, max(o.Limit/8, 1<<16))}
}

// of is the segment that holds a place, nil if it was dropped.
func (s *segments) of(p place) *segment {
	i := uint64(p>>offsetBits) - 1 - s.first // wraps around where it is nowhere, or was dropped
	if i >= uint64(len(s.list)) {
		return nil
	}
	return s.list[i]
}

// frame is the bytes at a place; they stay while the segment is pinned.
func (g *segment) frame(p place) []byte {
	b := g.mem[uint32(p):]
	return b[lengthBytes:][:binary.LittleEndian.Uint32(b)]
}

// put appends a frame; ok is false if it is too large or the disk does not take it.
func (s *segments) put(frame []byte) (p place, ok bool) {
	size := int64(lengthBytes + len(frame))
	if s.off || size > s.size {
		return 0, false
	}
	var seg *segment
	if n := len(s.list); n > 0 {
		seg = s.list[n-1]
	}
	if seg == nil || seg.used+size > s.size {
		var err error
		if seg, err = s.grow(); err != nil {
			s.off = true
			return 0, false
		}
	}
	s.buf = append(binary.LittleEndian.AppendUint32(s.buf[:0], uint32(len(frame))), frame...)
	if _, err := seg.file.WriteAt(s.buf, seg.used); err != nil {
		s.off = true
		return 0, false
	}
	p = place((s.first+uint64(len(s.list)))<<offsetBits | uint64(seg.used))
	seg.used += size
	s.bytes += size
	return p, true
}

// grow adds a segment and drops the oldest ones that do not fit the limit.
func (s *segments) grow() (*segment, error) {
	f, err := os.CreateTemp(s.opt.Dir, "trajlake-rows-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil { // gone with the process, however it ends
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(s.size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, int(s.size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	for len(s.list) > 0 && s.bytes+s.size > s.opt.Limit {
		old := s.list[0]
		s.list, s.first = s.list[1:], s.first+1
		s.bytes -= old.used
		old.drop()
	}
	seg := &segment{file: f, mem: mem}
	s.list = append(s.list, seg)
	return seg, nil
}

// drop gives the segment back when nobody reads from it.
func (g *segment) drop() {
	g.gone = true
	if g.pins == 0 {
		_ = g.release()
	}
}

func (g *segment) unpin() {
	g.pins--
	if g.gone && g.pins == 0 {
		_ = g.release()
	}
}

func (g *segment) release() error {
	err := syscall.Munmap(g.mem)
	g.mem = nil
	return errors.Join(err, g.file.Close())
}

func (s *segments) close() error {
	var err error
	for _, g := range s.list {
		g.gone = true
		if g.pins == 0 {
			err = errors.Join(err, g.release())
		}
	}
	s.list, s.off = nil, true
	return err
}
