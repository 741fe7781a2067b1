package datafile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go"

	"trajlake/schema"
)

// layout is how a table's rows become leaf columns. It is immutable.
type layout struct {
	table   *schema.Table
	encoded []byte // the list of schema elements, as it stands in footers
	own     *fileShape
	arrow   map[*schema.Column]arrow.Field // of the top-level columns
	leaves  []*leaf
	enc     []int32 // encoding of each leaf: encPlain, encDelta or encRLEDict
	top     []*schema.Column
	root    *shape
	idLeaf  int // leaf that gets a bloom filter; -1 for none
	cores   sync.Pool
}

// shape is one column, or one field of a nested one, of a Go row and of a
// record. Its leaves are the contiguous ones from lo up to hi.
type shape struct {
	col              *schema.Column
	off              uintptr // in the enclosing struct
	ptr              bool    // behind a pointer
	size             uintptr // of an element, for a list
	null             bool    // may be null
	def              uint8   // definition level when not null
	elemDef, elemRep uint8   // of a list's or map's elements
	lo, hi           int
	kids             []*shape
}

// layouts holds one layout per table: derived once, the same for everybody.
var layouts sync.Map

func layoutOf(t *schema.Table) (*layout, error) {
	if l, ok := layouts.Load(t); ok {
		return l.(*layout), nil
	}
	l, err := newLayout(t)
	if err != nil {
		return nil, fmt.Errorf("layout of table %s: %w", t.Name, err)
	}
	got, _ := layouts.LoadOrStore(t, l)
	return got.(*layout), nil
}

// newLayout takes the physical schema from the footer of an empty file that
// parquet-go writes for the table's declaration.
func newLayout(t *schema.Table) (*layout, error) {
	var b bytes.Buffer
	w := parquet.NewWriter(&b, t.Parquet())
	if err := w.Close(); err != nil {
		return nil, err
	}
	n := b.Len()
	foot := int(binary.LittleEndian.Uint32(b.Bytes()[n-8:]))
	m, err := parseFileMeta(b.Bytes()[n-8-foot:n-8], nil)
	if err != nil {
		return nil, err
	}
	root, leaves, err := buildTree(m.schema)
	if err != nil {
		return nil, err
	}
	l := &layout{table: t, leaves: leaves, arrow: map[*schema.Column]arrow.Field{}, idLeaf: -1, enc: make([]int32, len(leaves)), top: make([]*schema.Column, len(leaves))}
	for i, leaf := range leaves {
		c, ok := t.Parquet().Lookup(leaf.path...)
		if !ok {
			return nil, fmt.Errorf("no leaf column %v", leaf.path)
		}
		switch enc := c.Node.Encoding(); {
		case leaf.typ == physInt32 && leaf.bits == 8 && leaf.rep > 0:
			l.enc[i] = encRLEDict // masks
		case leaf.typ == physInt32 && inner(leaf):
			l.enc[i] = encDelta // places of turns and tokens: they ascend
		case enc == nil:
		case enc.Encoding() == encDelta && leaf.typ == physInt32:
			l.enc[i] = encDelta
		case enc.Encoding() == encRLEDict && leaf.typ == physBytes:
			l.enc[i] = encRLEDict
		}
	}
	l.root = &shape{col: &schema.Column{Name: t.Name, Kind: schema.Struct, Fields: t.Columns}, hi: len(leaves)}
	if l.root.kids, err = shapes(t.Columns, root, t.Type, 0); err != nil {
		return nil, err
	}
	for _, s := range l.root.kids {
		if len(s.kids) == 0 {
			l.top[s.lo] = s.col
		}
	}
	if c := t.Columns[0]; c.Kind == schema.String && c.Required {
		l.idLeaf = 0
	}
	for _, c := range t.Columns {
		l.arrow[c] = schema.ArrowField(c)
	}
	if l.own, err = newFileShape(t, m.schema); err != nil {
		return nil, err
	}
	enc := compactWriter{}
	enc.listHead(tStruct, len(m.schema))
	for i := range m.schema {
		m.schema[i].write(&enc, i == 0)
	}
	l.encoded = enc.b
	l.cores.New = func() any { return newCore(l) }
	return l, nil
}

func shapes(cols []*schema.Column, n *node, t reflect.Type, lo int) ([]*shape, error) {
	if len(cols) != len(n.kids) {
		return nil, fmt.Errorf("%s has %d fields in Parquet, %d columns", n.name, len(n.kids), len(cols))
	}
	var out []*shape
	for i, c := range cols {
		f := t.Field(c.Field)
		s, err := shapeOf(c, n.kids[i], f.Type, lo)
		if err != nil {
			return nil, err
		}
		s.off = f.Offset
		lo = s.hi
		out = append(out, s)
	}
	return out, nil
}

func shapeOf(c *schema.Column, n *node, t reflect.Type, lo int) (*shape, error) {
	s := &shape{col: c, null: n.rep == optional, def: uint8(n.def), lo: lo, hi: lo + 1}
	if n.name != c.Name {
		return nil, fmt.Errorf("column %s stands at the place of %s", n.name, c.Name)
	}
	if t.Kind() == reflect.Pointer {
		s.ptr, t = true, t.Elem()
	}
	var err error
	switch c.Kind {
	case schema.Struct:
		s.kids, err = shapes(c.Fields, n, t, lo)
	case schema.List:
		list := n.kids[0]
		s.elemDef, s.elemRep, s.size = uint8(list.def), uint8(list.lvl), t.Elem().Size()
		var elem *shape
		elem, err = shapeOf(c.Elem, list.kids[0], t.Elem(), lo)
		s.kids = []*shape{elem}
	case schema.Map:
		kv := n.kids[0]
		s.elemDef, s.elemRep = uint8(kv.def), uint8(kv.lvl)
		for i, c := range mapColumns {
			k := kv.kids[i]
			s.kids = append(s.kids, &shape{col: c, null: k.rep == optional, def: uint8(k.def), lo: lo + i, hi: lo + i + 1})
		}
	}
	if err != nil {
		return nil, err
	}
	if len(s.kids) > 0 {
		s.hi = s.kids[len(s.kids)-1].hi
	}
	return s, nil
}
