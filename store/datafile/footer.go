package datafile

import (
	"maps"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go/bloom"

	"trajlake/schema"
)

// bloom writes the row group's filter of row ids, about 1 % false positives.
func (k *core) bloom(m *chunkMeta) {
	f := make(bloom.SplitBlockFilter, bloom.NumSplitBlocksOf(int64(len(k.ids)), 10))
	for _, h := range k.ids {
		f.Insert(h)
	}
	k.ids = k.ids[:0]
	m.bloomOff = int64(len(k.out))
	w := compactWriter{b: k.out}
	w.begin(0)
	w.i32(1, int32(len(f.Bytes())))
	for id := int16(2); id <= 4; id++ { // split block, xxhash, uncompressed
		w.begin(id)
		w.begin(1)
		w.end()
		w.end()
	}
	w.end()
	k.out = append(w.b, f.Bytes()...)
	m.bloomLen = int32(int64(len(k.out)) - m.bloomOff)
}

// footer writes the page indexes and the footer.
func (k *core) footer(extra map[string]string) {
	for g := range k.groups {
		for i := range k.groups[g].chunks {
			if k.cols[i].top {
				k.columnIndex(&k.groups[g].chunks[i], k.cols[i].leaf, k.spots[g][i].bounds)
			}
		}
	}
	for g := range k.groups {
		for i := range k.groups[g].chunks {
			m := &k.groups[g].chunks[i]
			m.offIdx = int64(len(k.out))
			k.out = appendOffsetIndex(k.out, k.spots[g][i].locs)
			m.offLen = int32(int64(len(k.out)) - m.offIdx)
		}
	}
	at := len(k.out)
	k.fileMeta(extra)
	n := uint32(len(k.out) - at)
	k.out = append(k.out, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	k.out = append(k.out, "PAR1"...)
}

func appendOffsetIndex(b []byte, locs []pageLoc) []byte {
	w := compactWriter{b: b}
	w.begin(0)
	w.list(1, tStruct, len(locs))
	for _, p := range locs {
		w.begin(0)
		w.i64(1, p.off)
		w.i32(2, p.size)
		w.i64(3, p.row)
		w.end()
	}
	w.end()
	return w.b
}

// columnIndex writes the bounds of a chunk's pages, if every page has them.
func (k *core) columnIndex(m *chunkMeta, l *leaf, pages []bounds) {
	enc := make([]boundsMeta, len(pages))
	for i := range pages {
		var ok bool
		if enc[i], ok = pages[i].encode(l.typ); !ok && (pages[i].has || pages[i].bad) {
			return
		}
	}
	m.colIdx = int64(len(k.out))
	w := compactWriter{b: k.out}
	w.begin(0)
	w.list(1, tTrue, len(enc))
	for i := range enc {
		if pages[i].has {
			w.b = append(w.b, 2)
		} else {
			w.b = append(w.b, 1)
		}
	}
	w.list(2, tBinary, len(enc))
	for i := range enc {
		w.str(string(enc[i].min))
	}
	w.list(3, tBinary, len(enc))
	for i := range enc {
		w.str(string(enc[i].max))
	}
	w.i32(4, 0) // unordered
	w.list(5, tI64, len(enc))
	for i := range enc {
		w.varint(pages[i].nulls)
	}
	w.end()
	k.out = w.b
	m.colLen = int32(int64(len(k.out)) - m.colIdx)
}

func (k *core) fileMeta(extra map[string]string) {
	l := k.layout
	w := compactWriter{b: k.out}
	w.begin(0)
	w.i32(1, 1)
	w.field(2, tList)
	w.b = append(w.b, l.encoded...)
	w.i64(3, k.total)
	w.list(4, tStruct, len(k.groups))
	for i := range k.groups {
		k.groups[i].write(&w, i)
	}
	kv := map[string]string{MetaTable: l.table.Name, MetaSchema: strconv.Itoa(schema.Version)}
	maps.Copy(kv, extra)
	w.list(5, tStruct, len(kv))
	for _, key := range slices.Sorted(maps.Keys(kv)) {
		w.begin(0)
		w.string(1, key)
		w.string(2, kv[key])
		w.end()
	}
	w.string(6, CreatedBy)
	w.list(7, tStruct, len(l.leaves)) // every column has the order of its type
	for range l.leaves {
		w.begin(0)
		w.begin(1)
		w.end()
		w.end()
	}
	w.end()
	k.out = w.b
}

func (e *schemaElem) write(w *compactWriter, root bool) {
	w.begin(0)
	if e.typ >= 0 && e.kids == 0 {
		w.i32(1, e.typ)
	}
	if e.typeLen > 0 {
		w.i32(2, e.typeLen)
	}
	if !root {
		w.i32(3, e.rep)
	}
	w.string(4, e.name)
	if e.kids > 0 {
		w.i32(5, e.kids)
	}
	if e.conv >= 0 {
		w.i32(6, e.conv)
	}
	if e.logical != nil {
		w.field(10, tStruct)
		w.b = append(w.b, e.logical...)
	}
	w.end()
}

func (g *groupMeta) write(w *compactWriter, ordinal int) {
	var stored int64
	w.begin(0)
	w.list(1, tStruct, len(g.chunks))
	for i := range g.chunks {
		g.chunks[i].write(w)
		stored += g.chunks[i].size
	}
	w.i64(2, g.bytes)
	w.i64(3, g.rows)
	w.i64(5, g.chunks[0].start())
	w.i64(6, stored)
	if ordinal < 1<<15 {
		w.field(7, tI16)
		w.varint(int64(ordinal))
	}
	w.end()
}

func (c *chunkMeta) write(w *compactWriter) {
	w.begin(0)
	w.i64(2, 0)
	w.begin(3)
	w.i32(1, c.typ)
	w.list(2, tI32, len(c.encodings))
	for _, e := range c.encodings {
		w.varint(int64(e))
	}
	w.list(3, tBinary, len(c.leaf.path))
	for _, p := range c.leaf.path {
		w.str(p)
	}
	w.i32(4, c.codec)
	w.i64(5, c.values)
	w.i64(6, c.raw)
	w.i64(7, c.size)
	w.i64(9, c.dataOff)
	if c.dictOff > 0 {
		w.i64(11, c.dictOff)
	}
	w.begin(12)
	w.i64(3, c.stats.nulls)
	if c.stats.min != nil && c.stats.max != nil {
		w.bytes(5, c.stats.max)
		w.bytes(6, c.stats.min)
		w.bool(7, c.stats.maxExact)
		w.bool(8, c.stats.minExact)
	}
	w.end()
	if c.bloomOff > 0 {
		w.i64(14, c.bloomOff)
		w.i32(15, c.bloomLen)
	}
	if c.depths != nil {
		w.begin(16)
		w.list(3, tI64, len(c.depths))
		for _, n := range c.depths {
			w.varint(n)
		}
		w.end()
	}
	w.end()
	w.i64(4, c.offIdx)
	w.i32(5, c.offLen)
	if c.colLen > 0 {
		w.i64(6, c.colIdx)
		w.i32(7, c.colLen)
	}
	w.end()
}
