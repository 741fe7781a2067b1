package schema

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math"
	"reflect"
	"slices"
	"strconv"
	"unsafe"
)

// columnSums writes the large columns of a row into the form of digests: a list
// of numbers as the SHA-256 of its packed values, turns as that of their own
// canonical JSON. The sums of the last row are kept until forget.
type columnSums struct {
	sink   hash.Hash // of one column at a time
	buf    []byte
	kept   []columnSum
	packed []byte
}

// columnSum is a column as it stands in the form of digests.
type columnSum struct {
	kind string
	at   unsafe.Pointer // the elements, kept alive by this
	len  int
	text string
}

func newColumnSums() *columnSums { return &columnSums{sink: sha256.New()} }

func (s *columnSums) forget() {
	clear(s.kept)
	s.kept = s.kept[:0]
}

// column writes c, of which f is the value, if it is one that stands as its sum.
func (s *columnSums) column(w *jsonWriter, c *Column, f reflect.Value) bool {
	switch v := f.Interface().(type) {
	case []int32:
		s.put(w, "i32", unsafe.Pointer(unsafe.SliceData(v)), len(v), func() { s.packInts(v) })
	case []int8:
		s.put(w, "i8", unsafe.Pointer(unsafe.SliceData(v)), len(v), func() { s.sink.Write(bytesOf(v)) })
	case []float32:
		s.put(w, "f32", unsafe.Pointer(unsafe.SliceData(v)), len(v), func() { s.packFloats(v) })
	default:
		if c.Name != "turns" {
			return false
		}
		s.put(w, "json", f.UnsafePointer(), f.Len(), func() { s.canonical(c, f) })
	}
	return true
}

// put writes "kind:count:sum", the sum being of what write gives to the sink; it
// is taken once for the same elements.
func (s *columnSums) put(w *jsonWriter, kind string, at unsafe.Pointer, n int, write func()) {
	i := slices.IndexFunc(s.kept, func(k columnSum) bool { return k.at == at && k.len == n && k.kind == kind })
	if i < 0 {
		s.sink.Reset()
		write()
		var sum [sha256.Size]byte
		text := append([]byte{'"'}, kind...)
		text = strconv.AppendInt(append(text, ':'), int64(n), 10)
		text = append(hex.AppendEncode(append(text, ':'), s.sink.Sum(sum[:0])), '"')
		i = len(s.kept)
		s.kept = append(s.kept, columnSum{kind, at, n, string(text)})
	}
	w.dst = append(w.dst, s.kept[i].text...)
}

// canonical gives the sink the canonical JSON of a list.
func (s *columnSums) canonical(c *Column, f reflect.Value) {
	w := jsonWriter{dst: s.buf[:0], sink: s.sink, micros: true}
	w.list(c, f)
	s.sink.Write(w.dst)
	if s.buf = w.dst[:0]; cap(s.buf) > 16*flushAt {
		s.buf = nil // a giant text was in it
	}
}

// littleEndian reports whether numbers in memory are as they stand in a digest.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// bytesOf is the memory of v.
func bytesOf[T int8 | int32 | float32](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(*new(T))))
}

func (s *columnSums) packInts(v []int32) {
	if littleEndian {
		s.sink.Write(bytesOf(v))
		return
	}
	s.pack(len(v), func(i int) uint32 { return uint32(v[i]) })
}

// packFloats writes -0 as 0, which is the same value.
func (s *columnSums) packFloats(v []float32) {
	const minusZero = 1 << 31
	if b := bytesOf(v); littleEndian {
		rest := v[firstWith(b, 4, anyMinusZero):]
		if !slices.ContainsFunc(rest, func(f float32) bool { return math.Float32bits(f) == minusZero }) {
			s.sink.Write(b)
			return
		}
	}
	s.pack(len(v), func(i int) uint32 {
		if b := math.Float32bits(v[i]); b != minusZero {
			return b
		}
		return 0
	})
}

// pack writes n numbers of 4 bytes, the lowest byte first.
func (s *columnSums) pack(n int, at func(int) uint32) {
	for i := range n {
		s.packed = binary.LittleEndian.AppendUint32(s.packed, at(i))
		if len(s.packed) >= flushAt || i == n-1 {
			s.sink.Write(s.packed)
			s.packed = s.packed[:0]
		}
	}
}
