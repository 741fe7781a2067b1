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
	"trajlake/schema/parts"
)

// Long texts are not copied into the page that is being filled: they stay where
// the row holds them until the page ends. A page with a great many bytes of
// them, which is one enormous row, is compressed piece by piece and stays in pieces
// until the row group ends, so that beside the row only its compressed form is in
// memory, and that once.
const (
	longBytes = 16 << 10 // from which on a text stays in the row
	fatPage   = 16 << 20 // bytes of long texts from which on a page is streamed
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

// checked passes a stream on and takes its checksum.
type checked struct {
	to  parts.Buffer
	crc uint32
}

// Write implements io.Writer; it does not fail.
func (w *checked) Write(b []byte) (int, error) {
	w.crc = crc32.Update(w.crc, crc32.IEEETable, b)
	return w.to.Write(b)
}

// keptPages is how many bytes of finished pages a column gathers in memory that
// it uses again; what comes behind them is kept in pieces, which do not move when
// they become more.
const keptPages = 256 << 10

// store adds a finished page to the chunk: behind a streamed page, and behind
// many others, to the tail.
func (c *column) store(head, body []byte) {
	if c.tail.Len() == 0 && len(c.pages)+len(head)+len(body) <= keptPages {
		c.pages = append(append(c.pages, head...), body...)
		return
	}
	c.tail.Write(head)
	c.tail.Write(body)
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
	body := &checked{}
	if err := c.streamBody(body, levels); err != nil {
		return fault.WrapAs(fault.Internal, "compress", err)
	}
	k.head = appendPageHeader(k.head[:0], &pageHeader{typ: pageData, raw: int32(raw), size: int32(body.to.Len()), crc: body.crc, values: int32(c.n), encoding: encPlain})
	c.locs = append(c.locs, pageLoc{off: c.stored(), size: int32(len(k.head) + body.to.Len()), row: row})
	c.tail.Write(k.head)
	c.tail.Move(&body.to)
	c.endPage(int64(len(k.head)) + raw)
	return nil
}

// stored is how many bytes of pages the chunk has.
func (c *column) stored() int64 { return int64(len(c.pages) + c.tail.Len()) }

func (c *column) streamBody(body io.Writer, levels []byte) error {
	w := body
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
