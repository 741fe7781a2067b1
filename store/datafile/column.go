package datafile

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/bits"

	"github.com/klauspost/compress/zstd"

	"trajlake/schema/fault"
	"trajlake/schema/parts"
)

// column writes one leaf column of a row group.
type column struct {
	leaf  *leaf
	enc   int32 // encoding wanted for the row group
	top   bool  // a top-level scalar: bounds are kept
	inner bool  // in a list of structs

	// The page that is being filled.
	def, rep []uint8
	n        int // entries
	plain    []byte
	long     []longText // that belongs between the bytes of plain
	longs    int        // bytes of long
	i32      []int32    // of delta encoding
	bool     []uint8
	ix       []uint32 // of dictionary encoding
	mask     []repeat // of dictionary encoding of 8-bit integers
	masked   int      // values of mask
	page     bounds

	// The row group so far.
	dict    map[string]uint32
	small   *[256]uint32 // of a column of bytes: index + 1 by value
	words   int          // in the dictionary
	dictRaw []byte
	usesIx  bool // some page is dictionary-encoded
	plainly bool // some page is not, or there is no dictionary
	codec   int32
	decided bool
	pages   []byte
	tail    parts.Buffer // what follows pages, from the first streamed one on
	locs    []pageLoc    // offsets within pages and tail
	index   []bounds     // of each page
	values  int64
	raw     int64
	group   bounds

	file   bounds
	absent int64 // rows whose top-level column is null

	depths []int64 // of a row group of nulls: entries by definition level
}

const (
	maxDict     = 64 << 10 // bytes of a dictionary, above which the column goes plain
	entryWeight = 32       // bytes
	nullWeight  = 4        // bytes, in a page without any value
	wideEntry   = 256      // bytes of a text on average from which on pages of texts are larger
	widePage    = 40 << 10 // bytes of such a page
	minCompress = 160      // bytes of a lone page below which compressing is not tried
)

// size is what a page's end is decided by. Each entry of a column within a list
// of structs weighs something even when it is null: whoever wants one row has to
// read the levels of all of the page's, in each of the struct's columns.
func (c *column) size() int {
	n := len(c.plain) + c.longs + 4*len(c.i32) + len(c.bool)/8 + 2*(len(c.ix)+c.masked) + len(c.rep)/8
	switch {
	case c.inner && n > len(c.rep)/8:
		n += entryWeight * c.n
	case c.inner:
		n += nullWeight * c.n
	}
	return n
}

// room is the size at which the page ends where others do at limit. Long texts
// within turns take larger pages, which compress better: their rows are so large
// that a page holds few of them all the same.
func (c *column) room(limit int) int {
	if c.inner && limit == defaultPageBytes && len(c.plain)+c.longs >= wideEntry*c.n {
		return widePage
	}
	return limit
}

func (c *column) levels(rep, def uint8) {
	if c.leaf.def > 0 {
		c.def = append(c.def, def)
	}
	if c.leaf.rep > 0 {
		c.rep = append(c.rep, rep)
	}
	c.n++
}

// run adds n present elements, the first at level rep and the rest at elemRep.
func (c *column) run(n int, rep, elemRep uint8) {
	at := len(c.def)
	c.def = grow(c.def, n)
	fill(c.def[at:], uint8(c.leaf.def))
	at = len(c.rep)
	c.rep = grow(c.rep, n)
	fill(c.rep[at:], elemRep)
	c.rep[at] = rep
	c.n += n
}

func (c *column) null(rep, def uint8) {
	c.levels(rep, def)
	c.page.nulls++
}

func (c *column) putString(rep uint8, s string) {
	c.levels(rep, uint8(c.leaf.def))
	if c.top {
		c.page.addString(s)
	}
	c.appendString(s, true)
}

// putView is putString for a string whose memory may change later.
func (c *column) putView(rep uint8, s string) {
	c.levels(rep, uint8(c.leaf.def))
	if c.top && c.page.widens(s) {
		c.page.addString(string([]byte(s)))
	}
	c.appendString(s, false)
}

// appendString adds a value; a stable one may be kept as it is until the page ends.
func (c *column) appendString(s string, stable bool) {
	if c.enc == encRLEDict {
		if i, ok := c.dict[s]; ok {
			c.ix = append(c.ix, i)
			return
		}
		if len(c.dictRaw)+len(s)+4 <= maxDict {
			i := uint32(c.words)
			c.words++
			if c.dict == nil {
				c.dict = map[string]uint32{}
			}
			c.dict[string([]byte(s))] = i
			c.dictRaw = appendPrefixed(c.dictRaw, s)
			c.ix = append(c.ix, i)
			return
		}
		c.spill()
	}
	if stable && len(s) >= longBytes {
		c.appendLong(s)
		return
	}
	c.plain = appendPrefixed(c.plain, s)
}

// spill turns the page's indexes into values: the dictionary is full.
func (c *column) spill() {
	c.enc = encPlain
	words := make([]string, len(c.dict))
	for s, i := range c.dict {
		words[i] = s
	}
	for _, i := range c.ix {
		c.plain = appendPrefixed(c.plain, words[i])
	}
	c.ix = c.ix[:0]
}

func appendPrefixed(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func (c *column) putInt32(rep uint8, v int32) {
	c.levels(rep, uint8(c.leaf.def))
	if c.top {
		c.page.addInt(int64(v))
	}
	switch c.enc {
	case encDelta:
		c.i32 = append(c.i32, v)
	case encRLEDict:
		c.addRepeat(c.smallIndex(int8(v)), 1)
	default:
		c.plain = binary.LittleEndian.AppendUint32(c.plain, uint32(v))
	}
}

func (c *column) putInt64(rep uint8, v int64) {
	c.levels(rep, uint8(c.leaf.def))
	if c.top {
		c.page.addInt(v)
	}
	c.plain = binary.LittleEndian.AppendUint64(c.plain, uint64(v))
}

func (c *column) putFloat(rep uint8, v float32) {
	c.levels(rep, uint8(c.leaf.def))
	if c.top {
		c.page.addFloat(float64(v))
	}
	c.plain = binary.LittleEndian.AppendUint32(c.plain, math.Float32bits(v))
}

func (c *column) putDouble(rep uint8, v float64) {
	c.levels(rep, uint8(c.leaf.def))
	if c.top {
		c.page.addFloat(v)
	}
	c.plain = binary.LittleEndian.AppendUint64(c.plain, math.Float64bits(v))
}

func (c *column) putBool(rep uint8, v bool) {
	c.levels(rep, uint8(c.leaf.def))
	var b uint8
	if v {
		b = 1
	}
	if c.top {
		c.page.addInt(int64(b))
	}
	c.bool = append(c.bool, b)
}

// putInts adds a list's elements in one go; there is at least one.
func (c *column) putInts(rep, elemRep uint8, v []int32) {
	c.run(len(v), rep, elemRep)
	if c.enc == encDelta {
		c.i32 = append(c.i32, v...)
		return
	}
	c.plain = append(c.plain, raw(v)...)
}

func (c *column) smallIndex(x int8) uint32 {
	if c.small == nil {
		c.small = new([256]uint32)
	}
	i := c.small[uint8(x)]
	if i == 0 {
		c.dictRaw = binary.LittleEndian.AppendUint32(c.dictRaw, uint32(int32(x)))
		c.words++
		i = uint32(c.words)
		c.small[uint8(x)] = i
	}
	return i - 1
}

func putNumbers[T int64 | float32 | float64](c *column, rep, elemRep uint8, v []T) {
	c.run(len(v), rep, elemRep)
	c.plain = append(c.plain, raw(v)...)
}

// flushPage ends the page; row is the first row of the page in the row group.
func (c *column) flushPage(k *core, row int64) error {
	if c.n == 0 {
		return nil
	}
	if c.longs >= fatPage {
		return c.flushFat(k, row)
	}
	if c.decided && c.codec == codecNone && c.enc == encPlain && c.longs+len(c.bool) == 0 && len(c.plain) <= maxPage/2 && c.n <= maxEntries {
		c.flushPlain(k, row)
		return nil
	}
	b, enc := c.body(k)
	if len(b) > maxPage || c.n > maxEntries {
		return fault.New(fault.Invalid, "", "column %v: one row holds %d bytes in %d values, more than a page may", c.leaf.path, len(b), c.n).WithHint("store fat arrays in the tensors table, in pieces")
	}
	body := c.compress(k, b)
	k.head = appendPageHeader(k.head[:0], &pageHeader{typ: pageData, raw: int32(len(b)), size: int32(len(body)), crc: crc32.ChecksumIEEE(body), values: int32(c.n), encoding: enc})
	c.locs = append(c.locs, pageLoc{off: c.stored(), size: int32(len(k.head) + len(body)), row: row})
	c.store(k.head, body)
	c.endPage(int64(len(k.head) + len(b)))
	return nil
}

// flushPlain is flushPage for values that stay as they are: they are copied once.
func (c *column) flushPlain(k *core, row int64) {
	k.body = c.levelBytes(k.body[:0])
	size := int32(len(k.body) + len(c.plain))
	sum := crc32.Update(crc32.ChecksumIEEE(k.body), crc32.IEEETable, c.plain)
	k.head = appendPageHeader(k.head[:0], &pageHeader{typ: pageData, raw: size, size: size, crc: sum, values: int32(c.n), encoding: encPlain})
	c.locs = append(c.locs, pageLoc{off: c.stored(), size: int32(len(k.head)) + size, row: row})
	c.store(k.head, k.body)
	c.store(nil, c.plain)
	c.plainly = true
	c.endPage(int64(len(k.head)) + int64(size))
}

// endPage counts the page, of raw bytes uncompressed, and begins the next one.
func (c *column) endPage(raw int64) {
	c.raw += raw
	c.values += int64(c.n)
	if c.top {
		c.index = append(c.index, c.page)
	}
	if c.nested() && c.page.nulls == int64(c.n) {
		for _, d := range c.def {
			c.depths[d]++
		}
	}
	c.group.merge(&c.page, c.leaf.typ)
	c.page = bounds{}
	c.def, c.rep, c.n = c.def[:0], c.rep[:0], 0
	c.dropValues()
}

func (c *column) dropValues() {
	c.plain, c.i32, c.bool, c.ix = c.plain[:0], c.i32[:0], c.bool[:0], c.ix[:0]
	c.mask, c.masked = c.mask[:0], 0
	c.dropLong()
}

// levelBytes appends the page's levels.
func (c *column) levelBytes(b []byte) []byte {
	for _, lv := range [2]struct {
		top int
		s   []uint8
	}{{c.leaf.rep, c.rep}, {c.leaf.def, c.def}} {
		if lv.top == 0 {
			continue
		}
		at := len(b)
		b = putLevels(append(b, 0, 0, 0, 0), lv.s, bits.Len(uint(lv.top)))
		binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	}
	return b
}

// body is the uncompressed page in the core's buffer, and its encoding.
func (c *column) body(k *core) ([]byte, int32) {
	b := c.levelBytes(k.body[:0])
	enc := int32(encPlain)
	switch {
	case c.enc == encDelta:
		enc = encDelta
		b = appendDelta(b, c.i32)
	case c.enc == encRLEDict && c.words > 0:
		enc = encRLEDict
		c.usesIx = true
		width := bits.Len(uint(c.words - 1))
		if b = append(b, byte(width)); c.leaf.typ == physInt32 {
			b = k.putRepeats(b, c.mask, width)
		} else {
			b = putIndexes(b, c.ix, width)
		}
	case c.leaf.typ == physBoolean:
		at := len(b)
		b = grow(b, (len(c.bool)+7)/8)
		clear(b[at:])
		for i, v := range c.bool {
			b[at+i/8] |= v << (i % 8)
		}
	default:
		b = c.appendPlain(b)
	}
	c.plainly = c.plainly || enc == encPlain
	k.body = b
	return b, enc
}

// compress decides the column's codec by its first page, for the whole file:
// parquet-go takes the first row group's codec for all of them. A page that is
// alone in its column and small, and numbers that do not shrink, stay as they
// are.
func (c *column) compress(k *core, b []byte) []byte {
	if c.decided && c.codec == codecNone {
		return b
	}
	first := !c.decided
	lone := first && k.last && len(k.groups) == 0
	c.decided, c.codec = true, codecZstd
	if lone && len(b) < minCompress {
		c.codec = codecNone
		return b
	}
	k.packedPage = k.zstd.EncodeAll(b, k.packedPage[:0])
	gain := len(b) - len(k.packedPage)
	numbers := c.leaf.typ != physBytes && len(b) >= 1<<10
	packed := c.inner && c.enc != encPlain // and not worth two steps to read for little
	if first && (lone && gain <= 0 || numbers && gain < len(b)/16 || packed && gain < len(b)*3/8) {
		c.codec = codecNone
		return b
	}
	return k.packedPage
}

// flushChunk appends the chunk to the file and gives its description.
func (c *column) flushChunk(k *core, m *chunkMeta) {
	m.typ, m.leaf, m.codec = c.leaf.typ, c.leaf, c.codec
	m.encodings = append(make([]int32, 0, 4), encRLE)
	base := int64(len(k.out))
	if c.usesIx {
		m.dictOff = base
		body := c.dictRaw
		if c.codec == codecZstd {
			k.packedPage = k.zstd.EncodeAll(c.dictRaw, k.packedPage[:0])
			body = k.packedPage
		}
		k.head = appendPageHeader(k.head[:0], &pageHeader{typ: pageDict, raw: int32(len(c.dictRaw)), size: int32(len(body)), crc: crc32.ChecksumIEEE(body), values: int32(c.words), encoding: encPlain})
		k.out = append(append(k.out, k.head...), body...)
		c.raw += int64(len(k.head) + len(c.dictRaw))
		m.encodings = append(m.encodings, encRLEDict)
	}
	switch {
	case c.enc == encDelta:
		m.encodings = append(m.encodings, encDelta)
	case c.plainly || c.usesIx:
		m.encodings = append(m.encodings, encPlain)
	}
	m.dataOff = int64(len(k.out))
	for i := range c.locs {
		c.locs[i].off += m.dataOff
	}
	k.out = c.tail.AppendTo(append(k.out, c.pages...))
	m.values, m.raw, m.size = c.values, c.raw, int64(len(k.out))-base
	m.stats, _ = c.group.encode(c.leaf.typ)
	if !c.top {
		m.stats = boundsMeta{nulls: c.group.nulls}
	}
	if c.group.nulls == c.values {
		m.depths = c.depths
	}
	c.file.merge(&c.group, c.leaf.typ)
}

// startChunk forgets the row group but keeps the buffers.
func (c *column) startChunk(enc int32) {
	c.enc = enc
	clear(c.dict)
	c.small, c.words = nil, 0
	c.dictRaw, c.usesIx, c.plainly = c.dictRaw[:0], false, false
	c.pages, c.locs, c.index = c.pages[:0], c.locs[:0], c.index[:0]
	c.tail.Reset()
	c.values, c.raw, c.group = 0, 0, bounds{}
	c.depths = nil
	if c.nested() {
		c.depths = make([]int64, c.leaf.def+1)
	}
}

// nested reports whether an entry of the leaf may be null for several reasons.
func (c *column) nested() bool { return c.leaf.def > 1 }

func appendPageHeader(b []byte, h *pageHeader) []byte {
	w := compactWriter{b: b}
	w.begin(0)
	w.i32(1, h.typ)
	w.i32(2, h.raw)
	w.i32(3, h.size)
	w.i32(4, int32(h.crc))
	if h.typ == pageDict {
		w.begin(7)
		w.i32(1, h.values)
		w.i32(2, h.encoding)
	} else {
		w.begin(5)
		w.i32(1, h.values)
		w.i32(2, h.encoding)
		w.i32(3, encRLE)
		w.i32(4, encRLE)
	}
	w.end()
	w.end()
	return w.b
}

// newZstd makes the encoder of a core: pages are encoded one by one.
func newZstd() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
}
