package datafile

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/pierrec/lz4/v4"

	"trajlake/schema/fault"
)

// maxPage bounds one page, which the format itself bounds at 2 GiB.
const maxPage = 1 << 30

// slack is room after a page without which the zstd decoder takes a slower path.
const slack = 64

// decoder decodes pages. Its buffers are reused, so one belongs to one goroutine.
type decoder struct {
	raw  []byte
	ix   []uint32
	zstd *zstd.Decoder
	picking
}

var decoders = sync.Pool{New: func() any { return new(decoder) }} // scratch only

func (d *decoder) release() {
	if cap(d.raw) <= 8<<20 {
		decoders.Put(d)
	}
}

// header parses the page header at the start of b, checks its numbers against
// the chunk, and splits b into the page's stored body and what follows.
func header(b []byte, c *chunkMeta) (h pageHeader, body, rest []byte, err error) {
	h, n, err := parsePageHeader(b)
	if err != nil {
		return h, nil, nil, corruptf("page header: %w", err)
	}
	if h.size < 0 || int64(h.size) > int64(len(b)-n) || h.raw < 0 || h.raw > maxPage || int64(h.raw) > max(c.raw, 1<<10) {
		return h, nil, nil, corruptf("page header: %d bytes stored, %d raw, in a chunk of %d", h.size, h.raw, c.raw)
	}
	if h.values < 0 || h.values > maxEntries || (h.typ == pageData || h.typ == pageDataV2) && int64(h.values) > c.values {
		return h, nil, nil, corruptf("page header: %d values in a chunk of %d", h.values, c.values)
	}
	body, rest = b[n:n+int(h.size)], b[n+int(h.size):]
	if h.hasCRC && crc32.ChecksumIEEE(body) != h.crc {
		return h, nil, nil, corruptf("page checksum does not match")
	}
	return h, body, rest, nil
}

// inflate decompresses into the decoder's buffer, or gives src itself.
func (d *decoder) inflate(src []byte, codec int32, size int) ([]byte, error) {
	if codec == codecNone {
		if len(src) != size {
			return nil, corruptf("page of %d bytes instead of %d", len(src), size)
		}
		return src, nil
	}
	if cap(d.raw) < size+slack {
		d.raw = make([]byte, 0, max(size+slack, 2*cap(d.raw), 64<<10))
	}
	var out []byte
	var err error
	switch codec {
	case codecZstd:
		if d.zstd == nil {
			d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
			if err != nil {
				return nil, err
			}
		}
		out, err = d.zstd.DecodeAll(src, d.raw[:0:size+slack])
	case codecSnappy:
		var n int
		if n, err = snappy.DecodedLen(src); err == nil && n == size {
			out, err = snappy.Decode(d.raw[:size], src)
		}
	case codecLZ4Raw:
		var n int
		n, err = lz4.UncompressBlock(src, d.raw[:size])
		out = d.raw[:max(n, 0)]
	case codecGzip:
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(src)); err == nil {
			out = d.raw[:size]
			var n int
			n, err = io.ReadFull(z, out)
			out = out[:n]
		}
	default:
		return nil, fault.New(fault.Unsupported, "", "compression codec %d", codec)
	}
	if err != nil {
		return nil, corruptf("decompress page: %w", err)
	}
	if len(out) != size {
		return nil, corruptf("page decompresses to %d bytes instead of %d", len(out), size)
	}
	return out, nil
}

// split decompresses a data page and parts it into the levels and the values.
func (d *decoder) split(l *leaf, h *pageHeader, body []byte, codec int32) (rep, def, vals []byte, err error) {
	switch h.typ {
	case pageData:
		if vals, err = d.inflate(body, codec, int(h.raw)); err != nil {
			return nil, nil, nil, err
		}
		if l.rep > 0 {
			if rep, vals, err = prefixed(vals); err != nil {
				return nil, nil, nil, err
			}
		}
		if l.def > 0 {
			if def, vals, err = prefixed(vals); err != nil {
				return nil, nil, nil, err
			}
		}
	case pageDataV2:
		lv := int(h.repLen) + int(h.defLen)
		if h.repLen < 0 || h.defLen < 0 || lv > len(body) || lv > int(h.raw) {
			return nil, nil, nil, corruptf("level lengths of a page are out of range")
		}
		rep, def = body[:h.repLen], body[h.repLen:lv]
		if !h.compressed {
			codec = codecNone
		}
		if int(h.raw) == lv {
			codec, body = codecNone, body[:lv]
		}
		if vals, err = d.inflate(body[lv:], codec, int(h.raw)-lv); err != nil {
			return nil, nil, nil, err
		}
	}
	return rep, def, vals, nil
}

// dataPage decodes a data page to s.
func (d *decoder) dataPage(s *stream, h *pageHeader, body []byte, codec int32, dict *values) error {
	n, l := int(h.values), s.leaf
	rep, def, vals, err := d.split(l, h, body, codec)
	if err != nil {
		return err
	}
	nv := n
	if l.rep > 0 {
		if s.rep, err = appendLevels(s.rep, rep, n, l.rep); err != nil {
			return err
		}
	}
	if l.def > 0 {
		if s.def, err = appendLevels(s.def, def, n, l.def); err != nil {
			return err
		}
		nv = countByte(s.def[len(s.def)-n:], uint8(l.def))
	}
	s.n += n
	if nv == 0 {
		return nil
	}
	return d.values(&s.vals, l, vals, h.encoding, nv, dict)
}

func countByte(b []byte, c uint8) int { return bytes.Count(b, []byte{c}) }

// prefixed splits off a run of levels with its 4-byte length.
func prefixed(b []byte) (lv, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, corruptf("page is too short for its levels")
	}
	n := binary.LittleEndian.Uint32(b)
	if int64(n) > int64(len(b)-4) {
		return nil, nil, corruptf("page is too short for its levels")
	}
	return b[4 : 4+n], b[4+n:], nil
}

// values decodes n values of any encoding to v.
func (d *decoder) values(v *values, l *leaf, src []byte, enc int32, n int, dict *values) (err error) {
	switch enc {
	case encPlain:
		return v.appendPlain(l, src, n)
	case encPlainDict, encRLEDict:
		if dict == nil || len(src) == 0 {
			return corruptf("a dictionary page is missing")
		}
		if d.ix, err = appendIndexes(d.ix[:0], src[1:], int(src[0]), n, dict.n); err != nil {
			return err
		}
		return v.appendDict(dict, d.ix)
	case encRLE:
		if l.typ != physBoolean {
			break
		}
		if src, _, err = prefixed(src); err != nil {
			return err
		}
		v.bool, err = appendLevels(v.bool, src, n, 1)
		v.n += n
		return err
	case encDelta:
		return d.delta(v, l, src, n)
	case encDeltaLength:
		if l.typ == physBytes {
			return v.appendDeltaLength(src, n)
		}
	case encDeltaBytes:
		if l.typ == physBytes || l.typ == physFixed {
			return v.appendDeltaBytes(src, n)
		}
	case encSplit:
		return v.appendSplit(l, src, n)
	}
	return fault.New(fault.Unsupported, "", "column %v: encoding %d", l.path, enc)
}

// delta decodes DELTA_BINARY_PACKED.
func (d *decoder) delta(v *values, l *leaf, src []byte, n int) (err error) {
	switch l.typ {
	case physInt32:
		// The library's decoder is vectorised but trusts the count in the header.
		if total, ok := deltaCount(src); !ok || total != n {
			return corruptf("delta page holds another number of values than %d", n)
		}
		var enc delta.BinaryPackedEncoding
		at := len(v.i32)
		v.i32 = grow(v.i32, n)
		got, err := enc.DecodeInt32(v.i32[at:at:at+n], src)
		if err != nil || len(got) != n {
			return corruptf("delta page: %d of %d values: %w", len(got), n, err)
		}
		if &got[0] != &v.i32[at] {
			copy(v.i32[at:], got)
		}
	case physInt64:
		got, _, err := deltaInts(src, n)
		if err != nil {
			return err
		}
		v.i64 = append(v.i64, got...)
	default:
		return corruptf("column %v: delta encoding of a type it is not for", l.path)
	}
	v.n += n
	return nil
}

// dictPage decodes a dictionary page.
func (d *decoder) dictPage(l *leaf, h *pageHeader, body []byte, codec int32) (*values, error) {
	src, err := d.inflate(body, codec, int(h.raw))
	if err != nil {
		return nil, err
	}
	if int(h.values) > 8*len(src)+1 {
		return nil, corruptf("dictionary of %d values in %d bytes", h.values, len(src))
	}
	v := &values{}
	return v, v.appendPlain(l, src, int(h.values))
}

// appendPlain decodes n values of the plain encoding.
func (v *values) appendPlain(l *leaf, src []byte, n int) (err error) {
	switch l.typ {
	case physInt32:
		v.i32, err = appendRaw(v.i32, src, n)
	case physInt64:
		v.i64, err = appendRaw(v.i64, src, n)
	case physFloat:
		v.f32, err = appendRaw(v.f32, src, n)
	case physDouble:
		v.f64, err = appendRaw(v.f64, src, n)
	case physBoolean:
		if n > 8*len(src) {
			return corruptf("%d bytes are too few for %d booleans", len(src), n)
		}
		at := len(v.bool)
		v.bool = grow(v.bool, n)
		for i := range n {
			v.bool[at+i] = src[i/8] >> (i % 8) & 1
		}
	case physInt96:
		return v.appendInt96(src, n)
	case physFixed:
		if n > len(src)/l.typeLen {
			return corruptf("%d bytes are too few for %d values of %d", len(src), n, l.typeLen)
		}
		for i := range n {
			if err := v.addBytes(src[i*l.typeLen : (i+1)*l.typeLen]); err != nil {
				return err
			}
		}
	case physBytes:
		return v.appendPlainBytes(src, n)
	default:
		return corruptf("column %v: physical type %d", l.path, l.typ)
	}
	if err == nil {
		v.n += n
	}
	return err
}

// appendPlainBytes decodes n length-prefixed byte arrays.
func (v *values) appendPlainBytes(src []byte, n int) error {
	if n > len(src)/4 {
		return corruptf("%d bytes are too few for %d byte arrays", len(src), n)
	}
	if len(v.offs) == 0 {
		v.offs = append(v.offs, 0)
	}
	if int64(len(v.data))+int64(len(src)) > 1<<31-1 {
		return errTooLong()
	}
	at := len(v.offs)
	v.offs = grow(v.offs, n)
	offs := v.offs[at:]
	data := grow(v.data, len(src)-4*n)
	pos := len(v.data)
	for i := range offs {
		if len(src) < 4 {
			return corruptf("a byte array is cut off")
		}
		k := binary.LittleEndian.Uint32(src)
		src = src[4:]
		if uint64(k) > uint64(len(src)) || int(k) > len(data)-pos {
			return corruptf("a byte array of %d bytes is cut off", k)
		}
		copy(data[pos:], src[:k])
		src = src[k:]
		pos += int(k)
		offs[i] = int32(pos)
	}
	v.data = data[:pos]
	v.n += n
	return nil
}

// appendInt96 decodes Spark's old timestamps to nanoseconds since the epoch.
func (v *values) appendInt96(src []byte, n int) error {
	if n > len(src)/12 {
		return corruptf("%d bytes are too few for %d INT96", len(src), n)
	}
	for i := range n {
		b := src[12*i:]
		nanos := int64(binary.LittleEndian.Uint64(b))
		day := int64(int32(binary.LittleEndian.Uint32(b[8:]))) - 2440588 // Julian day of the epoch
		v.i64 = append(v.i64, day*86400e9+nanos)
	}
	v.n += n
	return nil
}

// appendSplit decodes BYTE_STREAM_SPLIT.
func (v *values) appendSplit(l *leaf, src []byte, n int) error {
	size := map[int32]int{physInt32: 4, physFloat: 4, physInt64: 8, physDouble: 8, physFixed: l.typeLen}[l.typ]
	if size == 0 || len(src)%size != 0 || n > len(src)/size {
		return corruptf("column %v: malformed byte stream split", l.path)
	}
	stride := len(src) / size
	plain := make([]byte, n*size)
	for k := range size {
		for i := range n {
			plain[i*size+k] = src[k*stride+i]
		}
	}
	return v.appendPlain(l, plain, n)
}

// appendDeltaLength decodes DELTA_LENGTH_BYTE_ARRAY.
func (v *values) appendDeltaLength(src []byte, n int) error {
	lens, src, err := deltaInts(src, n)
	if err != nil {
		return err
	}
	for _, k := range lens {
		if k < 0 || k > int64(len(src)) {
			return corruptf("a byte array of %d bytes is cut off", k)
		}
		if err := v.addBytes(src[:k]); err != nil {
			return err
		}
		src = src[k:]
	}
	v.n += n
	return nil
}

// appendDeltaBytes decodes DELTA_BYTE_ARRAY: shared prefixes and suffixes.
func (v *values) appendDeltaBytes(src []byte, n int) error {
	pre, src, err := deltaInts(src, n)
	if err != nil {
		return err
	}
	suf, src, err := deltaInts(src, n)
	if err != nil {
		return err
	}
	if len(v.offs) == 0 {
		v.offs = append(v.offs, 0)
	}
	var last int // where the previous value of this page begins
	var size int64
	for i := range n {
		if pre[i] < 0 || pre[i] > size || suf[i] < 0 || suf[i] > int64(len(src)) {
			return corruptf("a byte array's prefix or suffix is out of range")
		}
		if int64(len(v.data))+pre[i]+suf[i] > maxPage {
			return errTooLong()
		}
		at := len(v.data)
		v.data = append(v.data, v.data[last:last+int(pre[i])]...)
		v.data = append(v.data, src[:suf[i]]...)
		v.offs = append(v.offs, int32(len(v.data)))
		src = src[suf[i]:]
		last, size = at, pre[i]+suf[i]
	}
	v.n += n
	return nil
}
