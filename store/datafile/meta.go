package datafile

import "bytes"

// The part of Parquet's metadata that this package reads and writes, by the
// field numbers of parquet.thrift.

// Physical types.
const (
	physBoolean = 0
	physInt32   = 1
	physInt64   = 2
	physInt96   = 3
	physFloat   = 4
	physDouble  = 5
	physBytes   = 6
	physFixed   = 7
)

// Encodings.
const (
	encPlain       = 0
	encPlainDict   = 2
	encRLE         = 3
	encDelta       = 5
	encDeltaLength = 6
	encDeltaBytes  = 7
	encRLEDict     = 8
	encSplit       = 9
)

// Codecs.
const (
	codecNone   = 0
	codecSnappy = 1
	codecGzip   = 2
	codecZstd   = 6
	codecLZ4Raw = 7
)

// Repetition types.
const (
	required = 0
	optional = 1
	repeated = 2
)

// Page types.
const (
	pageData   = 0
	pageIndex  = 1
	pageDict   = 2
	pageDataV2 = 3
)

type schemaElem struct {
	name    string
	typ     int32 // physical; -1 for a group
	typeLen int32
	rep     int32
	kids    int32
	conv    int32  // converted type; -1 for none
	logical []byte // logical type, encoded; nil for none
}

type fileMeta struct {
	schema    []schemaElem
	shape     *fileShape // instead of schema, where it is the layout's own
	rows      int64
	groups    []groupMeta
	keyValues map[string]string
	createdBy string
}

type groupMeta struct {
	chunks []chunkMeta
	bytes  int64
	rows   int64
}

type chunkMeta struct {
	elsewhere bool // the data stand in another file
	typ       int32
	codec     int32
	values    int64
	raw       int64 // uncompressed bytes, headers included
	size      int64 // stored bytes, headers included
	dataOff   int64
	dictOff   int64
	stats     boundsMeta
	bloomOff  int64
	bloomLen  int32
	offIdx    int64
	offLen    int32
	colIdx    int64
	colLen    int32
	depths    []int64 // entries by definition level; nil when unknown
	// Writing only.
	leaf      *leaf
	encodings []int32
}

// start is where the chunk's first page stands.
func (c *chunkMeta) start() int64 {
	if c.dictOff > 0 && c.dictOff < c.dataOff {
		return c.dictOff
	}
	return c.dataOff
}

// boundsMeta is what a Statistics struct says; nil bounds are unknown.
type boundsMeta struct {
	min, max           []byte
	minExact, maxExact bool
	nulls              int64 // -1 unknown
}

// parseFileMeta parses a footer. The schema of a file of our own, byte for byte,
// needs no parsing: l (which may be nil) has it.
func parseFileMeta(b []byte, l *layout) (*fileMeta, error) {
	r := &compactReader{b: b}
	m := &fileMeta{keyValues: map[string]string{}}
	r.fields(func(id int16, typ byte) {
		switch id {
		case 2:
			if l != nil && bytes.HasPrefix(r.b[r.pos:], l.encoded) {
				r.pos += len(l.encoded)
				m.shape = l.own
				return
			}
			r.each(typ, tStruct, func(n int) { m.schema = make([]schemaElem, n) }, func(i int) { r.schemaElem(&m.schema[i]) })
		case 3:
			if r.expect(typ, tI64) {
				m.rows = r.varint()
			}
		case 4:
			r.each(typ, tStruct, func(n int) { m.groups = make([]groupMeta, 0, min(n, 1024)) }, func(int) {
				m.groups = append(m.groups, groupMeta{})
				r.group(&m.groups[len(m.groups)-1])
			})
		case 5:
			r.each(typ, tStruct, func(int) {}, func(int) { r.keyValue(m.keyValues) })
		case 6:
			if r.expect(typ, tBinary) {
				m.createdBy = string(r.bytes())
			}
		default:
			r.skip(typ)
		}
	})
	return m, r.err
}

func (r *compactReader) keyValue(m map[string]string) {
	var k, v string
	r.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == tBinary:
			k = string(r.bytes())
		case id == 2 && typ == tBinary:
			v = string(r.bytes())
		default:
			r.skip(typ)
		}
	})
	m[k] = v
}

func (r *compactReader) schemaElem(e *schemaElem) {
	e.typ, e.conv = -1, -1
	r.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == tI32:
			e.typ = r.i32()
		case id == 2 && typ == tI32:
			e.typeLen = r.i32()
		case id == 3 && typ == tI32:
			e.rep = r.i32()
		case id == 4 && typ == tBinary:
			e.name = string(r.bytes())
		case id == 5 && typ == tI32:
			e.kids = r.i32()
		case id == 6 && typ == tI32:
			e.conv = r.i32()
		case id == 10 && typ == tStruct:
			from := r.pos
			r.skip(typ)
			e.logical = append([]byte(nil), r.b[from:r.pos]...)
		default:
			r.skip(typ)
		}
	})
}

func (r *compactReader) group(g *groupMeta) {
	r.fields(func(id int16, typ byte) {
		switch {
		case id == 1:
			r.each(typ, tStruct, func(n int) { g.chunks = make([]chunkMeta, 0, min(n, 1024)) }, func(int) {
				g.chunks = append(g.chunks, chunkMeta{})
				r.chunk(&g.chunks[len(g.chunks)-1])
			})
		case id == 2 && typ == tI64:
			g.bytes = r.varint()
		case id == 3 && typ == tI64:
			g.rows = r.varint()
		default:
			r.skip(typ)
		}
	})
}

func (r *compactReader) chunk(c *chunkMeta) {
	c.stats.nulls = -1
	r.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == tBinary:
			c.elsewhere = len(r.bytes()) > 0
		case id == 3 && typ == tStruct:
			r.columnMeta(c)
		case id == 4 && typ == tI64:
			c.offIdx = r.varint()
		case id == 5 && typ == tI32:
			c.offLen = r.i32()
		case id == 6 && typ == tI64:
			c.colIdx = r.varint()
		case id == 7 && typ == tI32:
			c.colLen = r.i32()
		default:
			r.skip(typ)
		}
	})
}

func (r *compactReader) columnMeta(c *chunkMeta) {
	r.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == tI32:
			c.typ = r.i32()
		case id == 4 && typ == tI32:
			c.codec = r.i32()
		case id == 5 && typ == tI64:
			c.values = r.varint()
		case id == 6 && typ == tI64:
			c.raw = r.varint()
		case id == 7 && typ == tI64:
			c.size = r.varint()
		case id == 9 && typ == tI64:
			c.dataOff = r.varint()
		case id == 11 && typ == tI64:
			c.dictOff = r.varint()
		case id == 12 && typ == tStruct:
			r.bounds(&c.stats)
		case id == 14 && typ == tI64:
			c.bloomOff = r.varint()
		case id == 15 && typ == tI32:
			c.bloomLen = r.i32()
		case id == 16 && typ == tStruct:
			r.fields(func(id int16, typ byte) {
				if id == 3 {
					r.each(typ, tI64, func(n int) { c.depths = make([]int64, n) }, func(i int) { c.depths[i] = r.varint() })
					return
				}
				r.skip(typ)
			})
		default:
			r.skip(typ)
		}
	})
}

// bounds reads a Statistics struct. The deprecated fields 1 and 2 are ignored:
// their order is undefined for strings.
func (r *compactReader) bounds(s *boundsMeta) {
	s.minExact, s.maxExact = true, true
	r.fields(func(id int16, typ byte) {
		switch {
		case id == 3 && typ == tI64:
			s.nulls = r.varint()
		case id == 5 && typ == tBinary:
			s.max = append([]byte{}, r.bytes()...)
		case id == 6 && typ == tBinary:
			s.min = append([]byte{}, r.bytes()...)
		case id == 7 && (typ == tTrue || typ == tFalse):
			s.maxExact = typ == tTrue
		case id == 8 && (typ == tTrue || typ == tFalse):
			s.minExact = typ == tTrue
		default:
			r.skip(typ)
		}
	})
}

// pageHeader is the header of a data or dictionary page.
type pageHeader struct {
	typ      int32
	raw      int32 // bytes before compression
	size     int32 // bytes stored
	crc      uint32
	hasCRC   bool
	values   int32
	encoding int32
	// Version 2 only.
	nulls, rows    int32
	defLen, repLen int32
	compressed     bool
}

// parsePageHeader reads a page header at the start of b and gives its length.
func parsePageHeader(b []byte) (h pageHeader, n int, err error) {
	r := &compactReader{b: b}
	h.typ, h.compressed = -1, true
	r.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == tI32:
			h.typ = r.i32()
		case id == 2 && typ == tI32:
			h.raw = r.i32()
		case id == 3 && typ == tI32:
			h.size = r.i32()
		case id == 4 && typ == tI32:
			h.crc, h.hasCRC = uint32(r.i32()), true
		case (id == 5 || id == 7) && typ == tStruct:
			r.fields(func(id int16, typ byte) {
				switch {
				case id == 1 && typ == tI32:
					h.values = r.i32()
				case id == 2 && typ == tI32:
					h.encoding = r.i32()
				default:
					r.skip(typ)
				}
			})
		case id == 8 && typ == tStruct:
			r.headerV2(&h)
		default:
			r.skip(typ)
		}
	})
	return h, r.pos, r.err
}

func (r *compactReader) headerV2(h *pageHeader) {
	r.fields(func(id int16, typ byte) {
		switch {
		case id == 7 && (typ == tTrue || typ == tFalse):
			h.compressed = typ == tTrue
		case id >= 1 && id <= 6 && typ == tI32:
			v := r.i32()
			switch id {
			case 1:
				h.values = v
			case 2:
				h.nulls = v
			case 3:
				h.rows = v
			case 4:
				h.encoding = v
			case 5:
				h.defLen = v
			case 6:
				h.repLen = v
			}
		default:
			r.skip(typ)
		}
	})
}

// pageLoc is where a data page stands, and its first row in the row group.
type pageLoc struct {
	off  int64
	size int32
	row  int64
}

func parseOffsetIndex(b []byte) ([]pageLoc, error) {
	r := &compactReader{b: b}
	var out []pageLoc
	r.fields(func(id int16, typ byte) {
		if id != 1 {
			r.skip(typ)
			return
		}
		r.each(typ, tStruct, func(n int) { out = make([]pageLoc, n) }, func(i int) {
			p := &out[i]
			r.fields(func(id int16, typ byte) {
				switch {
				case id == 1 && typ == tI64:
					p.off = r.varint()
				case id == 2 && typ == tI32:
					p.size = r.i32()
				case id == 3 && typ == tI64:
					p.row = r.varint()
				default:
					r.skip(typ)
				}
			})
		})
	})
	return out, r.err
}

// columnIndex holds the bounds of each page of a column chunk.
type columnIndex struct {
	nullPage []bool
	min, max [][]byte
	nulls    []int64 // nil when unknown
}

func parseColumnIndex(b []byte) (*columnIndex, error) {
	r := &compactReader{b: b}
	x := &columnIndex{}
	r.fields(func(id int16, typ byte) {
		switch id {
		case 1:
			r.each(typ, tTrue, func(n int) { x.nullPage = make([]bool, n) }, func(i int) { x.nullPage[i] = r.byte() == 1 })
		case 2:
			r.each(typ, tBinary, func(n int) { x.min = make([][]byte, n) }, func(i int) { x.min[i] = r.bytes() })
		case 3:
			r.each(typ, tBinary, func(n int) { x.max = make([][]byte, n) }, func(i int) { x.max[i] = r.bytes() })
		case 5:
			r.each(typ, tI64, func(n int) { x.nulls = make([]int64, n) }, func(i int) { x.nulls[i] = r.varint() })
		default:
			r.skip(typ)
		}
	})
	return x, r.err
}
