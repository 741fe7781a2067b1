package datafile

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"runtime/debug"
	"unsafe"

	"github.com/klauspost/compress/zstd"

	"trajlake/schema/fault"
)

// Long texts are not copied into the page that is being filled: they stay where
// the row holds them until the page ends. A page with a great many bytes of
// them, which is one enormous row, is compressed piece by piece, so that beside
// the row only its compressed form is in memory.
const (
	longBytes = 16 << 10 // from which on a text stays in the row
	fatPage   = 16 << 20 // bytes of long texts from which on a page is streamed
	pieceSize = 1 << 20  // of a streamed page
)

// longText is a text whose bytes belong at offset at of the column's plain bytes.
type longText struct {
	at   int
	text string
}

func (c *column) appendLong(s string) {
	c.plain = binary.LittleEndian.AppendUint32(c.plain, uint32(len(s)))
	c.long = append(c.long, longText{len(c.plain), s})
	c.longs += len(s)
}

func (c *column) dropLong() {
	clear(c.long) // they hold rows in memory
	c.long, c.longs = c.long[:0], 0
}

// appendPlain appends the plain encoding of the page's values.
func (c *column) appendPlain(b []byte) []byte {
	b = grow(b, len(c.plain)+c.longs)[:len(b)]
	at := 0
	for _, l := range c.long {
		b = append(append(b, c.plain[at:l.at]...), l.text...)
		at = l.at
	}
	return append(b, c.plain[at:]...)
}

// writePlain writes what appendPlain appends.
func (c *column) writePlain(w io.Writer) error {
	at := 0
	for _, l := range c.long {
		if _, err := w.Write(c.plain[at:l.at]); err != nil {
			return err
		}
		// A view: io.WriteString would copy the text.
		if _, err := w.Write(unsafe.Slice(unsafe.StringData(l.text), len(l.text))); err != nil {
			return err
		}
		at = l.at
	}
	_, err := w.Write(c.plain[at:])
	return err
}

// pageParts gathers a stream without moving what it has.
type pageParts struct {
	list [][]byte
	size int
	crc  uint32
}

// Write implements io.Writer; it does not fail.
func (p *pageParts) Write(b []byte) (int, error) {
	p.crc = crc32.Update(p.crc, crc32.IEEETable, b)
	p.size += len(b)
	for rest := b; len(rest) > 0; {
		if n := len(p.list); n == 0 || len(p.list[n-1]) == cap(p.list[n-1]) {
			p.list = append(p.list, make([]byte, 0, pieceSize))
		}
		last := &p.list[len(p.list)-1]
		n := min(len(rest), cap(*last)-len(*last))
		*last = append(*last, rest[:n]...)
		rest = rest[n:]
	}
	return len(b), nil
}

// flushFat is flushPage for a page of long texts. It always compresses, unless
// an earlier page has decided otherwise.
func (c *column) flushFat(k *core, row int64) error {
	levels := c.levelBytes(k.body[:0])
	k.body = levels
	raw := int64(len(levels)) + int64(len(c.plain)) + int64(c.longs)
	if raw > maxPage || raw > math.MaxInt32 || c.n > maxEntries {
		return fault.New(fault.Invalid, "", "column %v: one row holds %d bytes in %d values, more than a page may", c.leaf.path, raw, c.n).WithHint("store fat arrays in the tensors table, in pieces")
	}
	c.plainly = true
	if !c.decided {
		c.decided, c.codec = true, codecZstd
	}
	debug.FreeOSMemory() // collections cost less here than second copies held
	body := &pageParts{}
	if err := c.streamBody(body, levels); err != nil {
		return fault.WrapAs(fault.Internal, "compress", err)
	}
	k.head = appendPageHeader(k.head[:0], &pageHeader{typ: pageData, raw: int32(raw), size: int32(body.size), crc: body.crc, values: int32(c.n), encoding: encPlain})
	c.locs = append(c.locs, pageLoc{off: int64(len(c.pages)), size: int32(len(k.head) + body.size), row: row})
	c.pages = append(grow(c.pages, len(k.head)+body.size)[:len(c.pages)], k.head...)
	for _, piece := range body.list {
		c.pages = append(c.pages, piece...)
	}
	c.endPage(int64(len(k.head)) + raw)
	body.list = nil
	debug.FreeOSMemory()
	return nil
}

func (c *column) streamBody(body *pageParts, levels []byte) error {
	var w io.Writer = body
	var z *zstd.Encoder
	if c.codec == codecZstd {
		z = newZstd()
		z.Reset(body)
		w = z
	}
	if _, err := w.Write(levels); err != nil {
		return err
	}
	if err := c.writePlain(w); err != nil {
		return err
	}
	if z != nil {
		return z.Close()
	}
	return nil
}
