package datafile

import (
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"trajlake/schema"
)

// node is one element of a file's physical schema, with the levels at which it
// is defined and repeated.
type node struct {
	schemaElem
	kids []*node
	leaf *leaf // nil for a group
	def  int
	lvl  int // repetition level
}

// leaf is one column chunk column of a file.
type leaf struct {
	index   int
	typ     int32
	typeLen int
	def     int // maximum definition level
	rep     int // maximum repetition level
	path    []string
	unit    int64 // of an INT64 timestamp: nanoseconds per step; 0 if it is not one
	bits    int   // width of a signed or unsigned integer; 0 if not stated
	uint    bool
}

// inner reports whether the leaf is a field of a list's structs.
func inner(l *leaf) bool { return l.rep > 0 && len(l.path) > 3 }

const (
	maxLeaves = 10000
	maxLevel  = 100
)

// buildTree links the flat schema into a tree and numbers its leaves.
func buildTree(elems []schemaElem) (*node, []*leaf, error) {
	if len(elems) == 0 {
		return nil, nil, fmt.Errorf("no schema")
	}
	b := &treeBuilder{elems: elems}
	root := b.next(0, 0, nil, 0)
	if b.err == nil && b.pos != len(elems) {
		b.err = fmt.Errorf("schema has %d elements too many", len(elems)-b.pos)
	}
	return root, b.leaves, b.err
}

type treeBuilder struct {
	elems  []schemaElem
	pos    int
	leaves []*leaf
	err    error
}

func (b *treeBuilder) next(def, rep int, path []string, depth int) *node {
	if b.pos >= len(b.elems) || depth > maxLevel {
		b.err = fmt.Errorf("schema tree is cut off or too deep")
		return &node{}
	}
	n := &node{schemaElem: b.elems[b.pos]}
	b.pos++
	if depth > 0 {
		path = append(path[:len(path):len(path)], n.name)
		switch n.rep {
		case required:
		case optional:
			def++
		case repeated:
			def++
			rep++
		default:
			b.err = fmt.Errorf("column %s: unknown repetition %d", strings.Join(path, "."), n.rep)
		}
	}
	n.def, n.lvl = def, rep
	if n.schemaElem.kids > 0 || n.typ < 0 {
		for i := int32(0); i < n.schemaElem.kids && b.err == nil; i++ {
			n.kids = append(n.kids, b.next(def, rep, path, depth+1))
		}
		return n
	}
	n.leaf = &leaf{index: len(b.leaves), typ: n.typ, typeLen: int(n.typeLen), def: def, rep: rep, path: path}
	n.leaf.logical(n.conv, n.schemaElem.logical)
	if b.leaves = append(b.leaves, n.leaf); len(b.leaves) > maxLeaves {
		b.err = fmt.Errorf("more than %d leaf columns", maxLeaves)
	}
	if n.typ == physFixed && (n.typeLen <= 0 || n.typeLen > 1<<20) {
		b.err = fmt.Errorf("column %s: fixed length %d", strings.Join(path, "."), n.typeLen)
	}
	return n
}

// Converted types that matter here.
const (
	convMap      = 1
	convMapKV    = 2
	convList     = 3
	convTSMillis = 9
	convTSMicros = 10
	convUint8    = 11
	convInt8     = 15
)

// logical takes the annotation of a leaf.
func (l *leaf) logical(conv int32, enc []byte) {
	switch {
	case conv == convTSMillis:
		l.unit = 1e6
	case conv == convTSMicros:
		l.unit = 1e3
	case conv >= convUint8 && conv < convUint8+4:
		l.bits, l.uint = 8<<(conv-convUint8), true
	case conv >= convInt8 && conv < convInt8+4:
		l.bits = 8 << (conv - convInt8)
	}
	r := &compactReader{b: enc}
	r.fields(func(id int16, typ byte) {
		switch {
		case id == 8 && typ == tStruct: // TIMESTAMP
			r.fields(func(id int16, typ byte) {
				if id != 2 || typ != tStruct {
					r.skip(typ)
					return
				}
				r.fields(func(id int16, typ byte) {
					if id >= 1 && id <= 3 {
						l.unit = [...]int64{0, 1e6, 1e3, 1}[id]
					}
					r.skip(typ)
				})
			})
		case id == 10 && typ == tStruct: // INTEGER
			r.fields(func(id int16, typ byte) {
				switch {
				case id == 1 && typ == tByte:
					l.bits = int(r.byte())
				case id == 2:
					l.uint = typ == tFalse
				default:
					r.skip(typ)
				}
			})
		default:
			r.skip(typ)
		}
	})
}

// isList reports whether a group is annotated as a list, isMap as a map.
func (n *node) isList() bool { return n.conv == convList || n.logicalID() == 3 }
func (n *node) isMap() bool {
	return n.conv == convMap || n.conv == convMapKV || n.logicalID() == 2
}

func (n *node) logicalID() int16 {
	var got int16
	r := &compactReader{b: n.logical}
	r.fields(func(id int16, typ byte) { got = id; r.skip(typ) })
	return got
}

// field is one column of the schema bound to the columns of one file.
type field struct {
	col  *schema.Column
	typ  arrow.DataType
	leaf *leaf    // of a scalar
	kids []*field // a struct's fields (nil where the file has none), a list's element, a map's key and value
	def  int      // definition level from which the value is not null
	// Lists and maps: the levels of the repeated node.
	elemDef, elemRep int
	probe            *leaf // the leaf beneath that has the fewest levels
}

// leaves appends every leaf beneath f.
func (f *field) leaves(out []*leaf) []*leaf {
	if f == nil {
		return out
	}
	if f.leaf != nil {
		return append(out, f.leaf)
	}
	for _, k := range f.kids {
		out = k.leaves(out)
	}
	return out
}

// bind finds the columns of n that hold col. It returns nil, nil where the file
// holds nothing of it, and an error where it holds something else.
func bind(col *schema.Column, n *node) (*field, error) {
	f := &field{col: col, typ: schema.ArrowType(col), def: n.def}
	var err error
	switch col.Kind {
	case schema.Struct:
		err = f.bindStruct(n)
	case schema.List:
		err = f.bindList(n)
	case schema.Map:
		err = f.bindMap(n)
	default:
		if n.leaf == nil || n.rep == repeated {
			return nil, fmt.Errorf("column %s: the file holds a group, want %v", col.Name, col.Kind)
		}
		if !n.leaf.holds(col.Kind) {
			return nil, fmt.Errorf("column %s: the file's physical type %d (%d bits) does not fit %v", col.Name, n.leaf.typ, n.leaf.bits, col.Kind)
		}
		f.leaf = n.leaf
	}
	if err != nil {
		return nil, err
	}
	for _, l := range f.leaves(nil) {
		if f.probe == nil || l.rep < f.probe.rep || l.rep == f.probe.rep && l.def < f.probe.def {
			f.probe = l
		}
	}
	if f.probe == nil {
		return nil, nil
	}
	return f, nil
}

func (f *field) bindStruct(n *node) error {
	if n.leaf != nil || n.rep == repeated {
		return fmt.Errorf("column %s: want a struct", f.col.Name)
	}
	return f.bindFields(n)
}

func (f *field) bindFields(n *node) error {
	f.kids = make([]*field, len(f.col.Fields))
	for i, c := range f.col.Fields {
		for _, k := range n.kids {
			if k.name == c.Name {
				b, err := bind(c, k)
				if err != nil {
					return fmt.Errorf("%s.%w", f.col.Name, err)
				}
				f.kids[i] = b
				break
			}
		}
	}
	return nil
}

// bindList knows the three-level layout under any names, the two-level ones of
// older writers, and a bare repeated column.
func (f *field) bindList(n *node) error {
	rep := n
	if n.rep != repeated {
		if n.leaf != nil || len(n.kids) != 1 || n.kids[0].rep != repeated {
			return fmt.Errorf("column %s: want a list", f.col.Name)
		}
		rep = n.kids[0]
	} else {
		f.def = 0
	}
	f.elemDef, f.elemRep = rep.def, rep.lvl
	elem := rep
	if rep != n && rep.leaf == nil && len(rep.kids) == 1 && rep.name != "array" && rep.name != f.col.Name+"_tuple" {
		elem = rep.kids[0]
	}
	if elem == rep {
		e := *rep // the repeated node is the element itself: required, seen from inside
		e.rep = required
		elem = &e
	}
	b, err := bind(f.col.Elem, elem)
	if err != nil {
		return fmt.Errorf("%s.%w", f.col.Name, err)
	}
	if b != nil {
		f.kids = []*field{b}
	}
	return nil
}

func (f *field) bindMap(n *node) error {
	if n.leaf != nil || len(n.kids) != 1 || n.kids[0].rep != repeated || len(n.kids[0].kids) != 2 {
		return fmt.Errorf("column %s: want a map", f.col.Name)
	}
	kv := n.kids[0]
	f.elemDef, f.elemRep = kv.def, kv.lvl
	for i := range 2 {
		b, err := bind(mapColumns[i], kv.kids[i])
		if err != nil {
			return fmt.Errorf("%s.%w", f.col.Name, err)
		}
		if b == nil {
			return fmt.Errorf("column %s: want a map", f.col.Name)
		}
		f.kids = append(f.kids, b)
	}
	return nil
}

// mapColumns are the key and value of every map of the schema.
var mapColumns = [2]*schema.Column{
	{Name: "key", Kind: schema.String, Required: true},
	{Name: "value", Kind: schema.String},
}

// holds reports whether the leaf's values are a column's of kind k without loss.
func (l *leaf) holds(k schema.Kind) bool {
	narrow := func(bits int) bool { // an INT32 whose stated width fits
		b := l.bits
		if b == 0 {
			b = 32
		}
		if l.uint {
			b++
		}
		return l.typ == physInt32 && b <= bits
	}
	switch k {
	case schema.String, schema.Binary:
		return l.typ == physBytes || l.typ == physFixed
	case schema.Byte:
		return narrow(8)
	case schema.Int:
		return narrow(32)
	case schema.Long:
		return l.typ == physInt64 && !l.uint && l.unit == 0 || l.typ == physInt32
	case schema.Float:
		return l.typ == physFloat
	case schema.Double:
		return l.typ == physDouble || l.typ == physFloat
	case schema.Boolean:
		return l.typ == physBoolean
	case schema.Timestamp:
		return l.typ == physInt96 || l.typ == physInt64 && l.unit != 0
	}
	return false
}
