// Package parts gathers bytes whose number is not known beforehand, and makes
// one slice of them in little more memory than they take.
//
// A slice that grows is copied again and again, and is held twice whenever that
// happens. Of a record or a page of hundreds of megabytes two copies are more
// than a process may have.
package parts

import (
	"runtime/debug"
	"strings"
	"unsafe"
)

const (
	mostPiece = 4 << 20
	giveBack  = 16 << 20 // bytes moved between two times that memory is given back
	huge      = 64 << 20 // from which on memory is given back
	uncleared = 64 << 10 // from which on clearing costs more than not to
)

// Buffer collects bytes in pieces. The zero value is empty. It is not safe for
// concurrent use.
type Buffer struct {
	list [][]byte
	size int
}

// Len is the number of bytes.
func (b *Buffer) Len() int { return b.size }

// Reset forgets everything.
func (b *Buffer) Reset() { *b = Buffer{} }

// Write implements io.Writer; it copies p and does not fail.
func (b *Buffer) Write(p []byte) (int, error) {
	b.size += len(p)
	for rest := p; len(rest) > 0; {
		if k := len(b.list); k == 0 || len(b.list[k-1]) == cap(b.list[k-1]) {
			b.list = append(b.list, Make(min(b.size, mostPiece)))
		}
		last := &b.list[len(b.list)-1]
		n := min(len(rest), cap(*last)-len(*last))
		*last = append(*last, rest[:n]...)
		rest = rest[n:]
	}
	return len(p), nil
}

// Move takes the bytes of o, without copying them, behind those of b; o is empty
// then.
func (b *Buffer) Move(o *Buffer) {
	b.list = append(b.list, o.list...)
	b.size += o.size
	o.Reset()
}

// Take is everything as one slice; b is empty then.
func (b *Buffer) Take() []byte {
	if len(b.list) == 1 {
		whole := b.list[0]
		b.Reset()
		return whole
	}
	return b.AppendTo(Make(b.size))
}

// AppendTo appends everything to dst; b is empty then. Of a great many bytes the
// pieces are given back to the system as they are copied: if dst has room for
// them and comes from Make, they are at no time in memory twice.
func (b *Buffer) AppendTo(dst []byte) []byte {
	list, size := b.list, b.size
	b.Reset()
	moved := 0
	for i, p := range list {
		dst = append(dst, p...)
		list[i] = nil
		if moved += len(p); size >= huge && (moved >= giveBack || i == len(list)-1) {
			debug.FreeOSMemory()
			moved = 0
		}
	}
	return dst
}

// Make is an empty slice with room for n bytes. Unlike that of make its memory is
// not cleared, so that of a large one only what is written becomes resident.
func Make(n int) []byte {
	if n < uncleared {
		return make([]byte, 0, n)
	}
	var b strings.Builder // the one way to memory that is not cleared
	b.Grow(n)
	b.WriteByte(0) // an empty string may point anywhere
	return unsafe.Slice(unsafe.StringData(b.String()), n)[:0]
}
