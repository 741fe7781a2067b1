package pack

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/schema/parts"
)

// A frame is one row: its columns one after the other, each as a run of one
// element. A run of n elements of a type is
//
//	validity   1 byte: 0 all are valid, 1 none is, 2 a bitmap of ⌈n/8⌉ bytes follows
//	fixed      n values as they lie in memory
//	bool       1 byte each
//	variable   n lengths (uint32), then the bytes
//	list, map  n lengths (uint32), then a run of all their elements
//	struct     a run of n for each field
//
// Frames live as long as the process that wrote them; they are no format of the lake.

const (
	allValid = iota
	noneValid
	someValid
)

// appendRun appends elements lo … hi−1 of a as a run.
func appendRun(dst []byte, a arrow.Array, lo, hi int) ([]byte, error) {
	dst = appendValidity(dst, a, lo, hi)
	data := a.Data()
	base := data.Offset()
	switch t := a.DataType().(type) {
	case *arrow.BooleanType:
		b := a.(*array.Boolean)
		for i := lo; i < hi; i++ {
			v := byte(0)
			if b.IsValid(i) && b.Value(i) {
				v = 1
			}
			dst = append(dst, v)
		}
		return dst, nil
	case *arrow.StringType, *arrow.BinaryType:
		off := arrow.Int32Traits.CastFromBytes(data.Buffers()[1].Bytes())[base+lo : base+hi+1]
		for i := range hi - lo {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(off[i+1]-off[i]))
		}
		if values := data.Buffers()[2]; values != nil {
			dst = append(dst, values.Bytes()[off[0]:off[hi-lo]]...)
		}
		return dst, nil
	case *arrow.ListType, *arrow.MapType:
		off := arrow.Int32Traits.CastFromBytes(data.Buffers()[1].Bytes())[base+lo : base+hi+1]
		for i := range hi - lo {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(off[i+1]-off[i]))
		}
		return appendRun(dst, childOf(a), int(off[0]), int(off[hi-lo]))
	case *arrow.StructType:
		s := a.(*array.Struct)
		var err error
		for f := range s.NumField() { // Field gives children that begin where the struct does
			if dst, err = appendRun(dst, s.Field(f), lo, hi); err != nil {
				return nil, err
			}
		}
		return dst, nil
	case arrow.FixedWidthDataType:
		w := t.Bytes()
		return append(dst, data.Buffers()[1].Bytes()[(base+lo)*w:(base+hi)*w]...), nil
	}
	return nil, fmt.Errorf("columns of type %s are not kept", a.DataType())
}

// childOf is the elements of a list or map, from the beginning of their buffers.
func childOf(a arrow.Array) arrow.Array {
	switch l := a.(type) {
	case *array.List:
		return l.ListValues()
	case *array.Map:
		return l.ListValues()
	}
	return nil
}

func appendValidity(dst []byte, a arrow.Array, lo, hi int) []byte {
	if a.NullN() == 0 || hi == lo {
		return append(dst, allValid)
	}
	nulls := 0
	for i := lo; i < hi; i++ {
		if a.IsNull(i) {
			nulls++
		}
	}
	switch nulls {
	case 0:
		return append(dst, allValid)
	case hi - lo:
		return append(dst, noneValid)
	}
	dst = append(dst, someValid)
	at := len(dst)
	dst = append(dst, make([]byte, (hi-lo+7)/8)...)
	for i := lo; i < hi; i++ {
		if a.IsValid(i) {
			bitutil.SetBit(dst[at:], i-lo)
		}
	}
	return dst
}

// column puts runs together to an array.
type column struct {
	typ      arrow.DataType
	width    int // of fixed values; 0 for the others
	n, nulls int
	valid    []byte  // bitmap; nil while nothing is null
	offsets  []int32 // of lists, maps and variable values
	data     []byte
	children []*column

	planned, plannedBytes int // elements, and bytes of variable values, to come
}

func newColumn(t arrow.DataType) *column {
	c := &column{typ: t}
	switch t := t.(type) {
	case *arrow.BooleanType:
	case *arrow.StringType, *arrow.BinaryType:
		c.offsets = []int32{0}
	case *arrow.ListType:
		c.offsets, c.children = []int32{0}, []*column{newColumn(t.Elem())}
	case *arrow.MapType:
		c.offsets, c.children = []int32{0}, []*column{newColumn(t.Elem())}
	case *arrow.StructType:
		for _, f := range t.Fields() {
			c.children = append(c.children, newColumn(f.Type))
		}
	case arrow.FixedWidthDataType:
		c.width = t.Bytes()
	}
	return c
}

// plan adds up what read will append for the same run, so that buffers are made
// once. It returns what is behind the run.
func (c *column) plan(b []byte, n int) []byte {
	c.planned += n
	b = skipValidity(b, n)
	switch {
	case c.width > 0:
		return b[n*c.width:]
	case c.offsets != nil:
		total := 0
		for i := range n {
			total += int(binary.LittleEndian.Uint32(b[4*i:]))
		}
		b = b[4*n:]
		if len(c.children) == 1 {
			return c.children[0].plan(b, total)
		}
		c.plannedBytes += total
		return b[total:]
	case c.children != nil:
		for _, f := range c.children {
			b = f.plan(b, n)
		}
		return b
	}
	return b[n:]
}

// null appends a run of one null.
func (c *column) null(dst []byte) []byte {
	dst = append(dst, noneValid)
	switch {
	case c.width > 0:
		return append(dst, make([]byte, c.width)...)
	case c.offsets != nil:
		dst = append(dst, 0, 0, 0, 0)
		if len(c.children) == 1 {
			return c.children[0].none(dst)
		}
		return dst
	case c.children != nil:
		for _, f := range c.children {
			dst = f.null(dst)
		}
		return dst
	}
	return append(dst, 0)
}

// none appends a run of no elements.
func (c *column) none(dst []byte) []byte {
	dst = append(dst, allValid)
	for _, f := range c.children {
		dst = f.none(dst)
	}
	return dst
}

// reserve makes room.
func (c *column) reserve() {
	switch {
	case c.width > 0:
		c.data = parts.Make(c.planned * c.width)[:0]
	case c.offsets != nil:
		c.offsets = append(make([]int32, 0, c.planned+1), 0)
		c.data = parts.Make(c.plannedBytes)[:0]
	case c.children == nil:
		c.data = make([]byte, 0, (c.planned+7)/8)
	}
	for _, f := range c.children {
		f.reserve()
	}
}

func skipValidity(b []byte, n int) []byte {
	if b[0] == someValid {
		return b[1+(n+7)/8:]
	}
	return b[1:]
}

// read appends a run of n elements and returns what is behind it.
func (c *column) read(b []byte, n int) []byte {
	b = c.readValidity(b, n)
	switch {
	case c.width > 0:
		c.data = append(c.data, b[:n*c.width]...)
		b = b[n*c.width:]
	case c.offsets != nil:
		end := c.offsets[len(c.offsets)-1]
		total := int32(0)
		for i := range n {
			total += int32(binary.LittleEndian.Uint32(b[4*i:]))
			c.offsets = append(c.offsets, end+total)
		}
		b = b[4*n:]
		if len(c.children) == 1 {
			b = c.children[0].read(b, int(total))
			break
		}
		c.data = append(c.data, b[:total]...)
		b = b[total:]
	case c.children != nil:
		for _, f := range c.children {
			b = f.read(b, n)
		}
	default:
		for i := range n {
			if c.n+i >= 8*len(c.data) {
				c.data = append(c.data, 0)
			}
			if b[i] == 1 {
				bitutil.SetBit(c.data, c.n+i)
			}
		}
		b = b[n:]
	}
	c.n += n
	return b
}

func (c *column) readValidity(b []byte, n int) []byte {
	kind := b[0]
	b = b[1:]
	if kind == allValid && c.valid == nil {
		return b
	}
	if c.valid == nil {
		c.valid = make([]byte, (c.n+n+7)/8)
		bitutil.SetBitsTo(c.valid, 0, int64(c.n), true)
	}
	if need := (c.n + n + 7) / 8; need > len(c.valid) {
		c.valid = append(c.valid, make([]byte, need-len(c.valid))...)
	}
	switch kind {
	case allValid:
		bitutil.SetBitsTo(c.valid, int64(c.n), int64(n), true)
		return b
	case noneValid:
		c.nulls += n
		return b
	}
	for i := range n {
		if bitutil.BitIsSet(b, i) {
			bitutil.SetBit(c.valid, c.n+i)
		} else {
			c.nulls++
		}
	}
	return b[(n+7)/8:]
}

// build is the array of all runs. It takes the buffers over.
func (c *column) build() arrow.ArrayData {
	var valid *memory.Buffer
	if c.nulls > 0 {
		valid = memory.NewBufferBytes(c.valid)
	}
	buffers := []*memory.Buffer{valid}
	switch {
	case c.offsets != nil && len(c.children) == 1:
		buffers = append(buffers, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(c.offsets)))
	case c.offsets != nil:
		buffers = append(buffers, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(c.offsets)), memory.NewBufferBytes(c.data))
	case c.children == nil:
		buffers = append(buffers, memory.NewBufferBytes(c.data))
	}
	var children []arrow.ArrayData
	for _, f := range c.children {
		children = append(children, f.build())
	}
	return array.NewData(c.typ, c.n, buffers, children, c.nulls, 0)
}
