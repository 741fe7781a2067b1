package datafile

import (
	"maps"
	"reflect"
	"slices"
	"unsafe"

	"github.com/parquet-go/parquet-go/bloom"

	"trajlake/schema"
)

func typeOf(p any) reflect.Type { return reflect.TypeOf(p).Elem() }

// absent writes a null of a column or field to every leaf beneath it. A row
// without the top-level column counts as a null of that column.
func (k *core) absent(s *shape, rep, def uint8) {
	if def == 0 && rep == 0 {
		k.cols[s.lo].absent++
	}
	for i := s.lo; i < s.hi; i++ {
		k.cols[i].null(rep, def)
	}
}

// shred writes the field of s of the Go struct at p. rep and def are the levels
// that the struct stands at. Go's own layout is walked by the offsets that
// reflection gave: reading 150 fields of a row by reflection costs more than
// everything else of a small row.
func (k *core) shred(s *shape, p unsafe.Pointer, rep, def uint8) {
	p = unsafe.Add(p, s.off)
	if s.ptr {
		if p = *(*unsafe.Pointer)(p); p == nil {
			k.absent(s, rep, def)
			return
		}
	}
	switch s.col.Kind {
	case schema.Struct:
		for _, f := range s.kids {
			k.shred(f, p, rep, s.def)
		}
	case schema.List:
		k.shredList(s, p, rep, def)
	case schema.Map:
		k.shredMap(s, *(*map[string]string)(p), rep, def)
	default:
		k.shredScalar(s, p, rep, def)
	}
}

func (k *core) shredScalar(s *shape, p unsafe.Pointer, rep, def uint8) {
	c := &k.cols[s.lo]
	switch s.col.Kind {
	case schema.String:
		v := *(*string)(p)
		if s.lo == k.layout.idLeaf {
			k.id(v)
		}
		c.putString(rep, v)
	case schema.Byte:
		c.putInt32(rep, int32(*(*int8)(p)))
	case schema.Int:
		c.putInt32(rep, *(*int32)(p))
	case schema.Long, schema.Timestamp:
		c.putInt64(rep, *(*int64)(p))
	case schema.Float:
		c.putFloat(rep, *(*float32)(p))
	case schema.Double:
		c.putDouble(rep, *(*float64)(p))
	case schema.Boolean:
		c.putBool(rep, *(*bool)(p))
	case schema.Binary:
		v := *(*[]byte)(p)
		if v == nil && s.null {
			k.absent(s, rep, def)
			return
		}
		c.putString(rep, unsafe.String(unsafe.SliceData(v), len(v)))
	}
}

// id notes a row id for the bloom filter.
func (k *core) id(v string) {
	k.ids = append(k.ids, bloom.XXH64{}.Sum64(unsafe.Slice(unsafe.StringData(v), len(v))))
}

// shredList writes a list. A nil and an empty list are the same: null where the
// column may be null.
func (k *core) shredList(s *shape, p unsafe.Pointer, rep, def uint8) {
	n := len(*(*[]struct{})(p)) // every slice header is alike
	if n == 0 {
		k.empty(s, rep, def)
		return
	}
	elem := s.kids[0]
	c := &k.cols[elem.lo]
	switch {
	case elem.ptr || elem.null:
	case elem.col.Kind == schema.Int:
		c.putInts(rep, s.elemRep, *(*[]int32)(p))
		return
	case elem.col.Kind == schema.Byte:
		c.putBytes(rep, s.elemRep, *(*[]int8)(p))
		return
	case elem.col.Kind == schema.Float:
		putNumbers(c, rep, s.elemRep, *(*[]float32)(p))
		return
	case elem.col.Kind == schema.Long:
		putNumbers(c, rep, s.elemRep, *(*[]int64)(p))
		return
	case elem.col.Kind == schema.Double:
		putNumbers(c, rep, s.elemRep, *(*[]float64)(p))
		return
	}
	base := unsafe.Pointer(unsafe.SliceData(*(*[]byte)(p)))
	for i := range n {
		k.shred(elem, unsafe.Add(base, uintptr(i)*s.size), rep, s.elemDef)
		rep = s.elemRep
	}
}

func (k *core) empty(s *shape, rep, def uint8) {
	if !s.null {
		def = s.def
	}
	k.absent(s, rep, def)
}

// shredMap writes a map with its keys in order, so that equal rows have equal
// bytes.
func (k *core) shredMap(s *shape, m map[string]string, rep, def uint8) {
	if len(m) == 0 {
		k.empty(s, rep, def)
		return
	}
	k.keys = slices.AppendSeq(k.keys[:0], maps.Keys(m))
	slices.Sort(k.keys)
	for _, key := range k.keys {
		k.cols[s.lo].putString(rep, key)
		k.cols[s.lo+1].putString(rep, m[key])
		rep = s.elemRep
	}
}
