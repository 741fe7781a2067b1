package datafile

import (
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/schema/fault"
)

// piece is rows [from, to) of one array.
type piece struct {
	d        arrow.ArrayData
	from, to int
}

// GatherRecord takes rows of a record by index, in the order given; an index may
// stand more than once. Every type of the lake's schema is known, nested ones
// too.
//
// Errors: fault.Usage for an index out of range, fault.Exhausted when a column
// would pass 32-bit offsets (take fewer rows), fault.Unsupported for a type that
// the lake does not use.
func GatherRecord(rec arrow.Record, rows []int) (arrow.Record, error) {
	const op = "gather rows of a record"
	n := int(rec.NumRows())
	for _, r := range rows {
		if r < 0 || r >= n {
			return nil, fault.New(fault.Usage, op, "row %d lies outside of the record's %d", r, n)
		}
	}
	cols := make([]arrow.Array, rec.NumCols())
	for i, c := range rec.Columns() {
		d, err := takeArray(c.DataType(), joined(c.Data(), rows))
		if err != nil {
			return nil, fault.Wrap(op+": column "+rec.ColumnName(i), err)
		}
		cols[i] = array.MakeFromData(d)
	}
	return array.NewRecord(rec.Schema(), cols, int64(len(rows))), nil
}

// joined joins runs of rows that follow each other.
func joined(d arrow.ArrayData, rows []int) []piece {
	var out []piece
	for _, r := range rows {
		if k := len(out); k > 0 && out[k-1].to == r {
			out[k-1].to++
		} else {
			out = append(out, piece{d, r, r + 1})
		}
	}
	return out
}

// Concat joins records of one schema; errors are those of GatherRecord, and
// fault.Usage where the schemas differ or there is no record.
func Concat(recs []arrow.Record) (arrow.Record, error) {
	const op = "join records"
	if len(recs) == 0 {
		return nil, fault.New(fault.Usage, op, "there are none")
	}
	var rows int64
	for _, r := range recs {
		if !r.Schema().Equal(recs[0].Schema()) {
			return nil, fault.New(fault.Usage, op, "their schemas differ: %v and %v", recs[0].Schema(), r.Schema())
		}
		rows += r.NumRows()
	}
	if len(recs) == 1 {
		return recs[0], nil
	}
	cols := make([]arrow.Array, recs[0].NumCols())
	for i := range cols {
		var ps []piece
		for _, r := range recs {
			ps = append(ps, piece{r.Column(i).Data(), 0, int(r.NumRows())})
		}
		d, err := takeArray(recs[0].Column(i).DataType(), ps)
		if err != nil {
			return nil, fault.Wrap(op+": column "+recs[0].ColumnName(i), err)
		}
		cols[i] = array.MakeFromData(d)
	}
	return array.NewRecord(recs[0].Schema(), cols, rows), nil
}

// takeArray copies pieces of arrays of one type end to end. Rows count from each
// array's own offset.
func takeArray(t arrow.DataType, ps []piece) (arrow.ArrayData, error) {
	n := 0
	for _, p := range ps {
		n += p.to - p.from
	}
	if n > math.MaxInt32 {
		return nil, errTooLong()
	}
	valid, missing := takeValidity(ps, n)
	bufs := []*memory.Buffer{valid, nil}
	switch t := t.(type) {
	case *arrow.StructType:
		kids := make([]arrow.ArrayData, t.NumFields())
		for i, f := range t.Fields() {
			sub := make([]piece, len(ps))
			for k, p := range ps {
				off := p.d.Offset()
				sub[k] = piece{p.d.Children()[i], p.from + off, p.to + off}
			}
			var err error
			if kids[i], err = takeArray(f.Type, sub); err != nil {
				return nil, err
			}
		}
		return array.NewData(t, n, bufs[:1], kids, missing, 0), nil
	case *arrow.MapType:
		return takeList(t, t.Elem(), ps, n, valid, missing)
	case *arrow.ListType:
		return takeList(t, t.Elem(), ps, n, valid, missing)
	case *arrow.StringType, *arrow.BinaryType:
		return takeBinary(t, ps, n, valid, missing)
	case *arrow.BooleanType:
		bufs[1] = buf(takeBits(ps, n, 1))
	case arrow.FixedWidthDataType:
		bufs[1] = buf(takeFixed(ps, n, t.BitWidth()/8))
	default:
		return nil, fault.New(fault.Unsupported, "", "type %v", t)
	}
	return array.NewData(t, n, bufs, nil, missing, 0), nil
}

func takeValidity(ps []piece, n int) (*memory.Buffer, int) {
	any := false
	for _, p := range ps {
		any = any || p.d.NullN() != 0 && hasBits(p.d)
	}
	if !any {
		return nil, 0
	}
	b := takeBits(ps, n, 0)
	missing := n
	for _, p := range ps {
		if !hasBits(p.d) {
			missing -= p.to - p.from
			continue
		}
		src, off := p.d.Buffers()[0].Bytes(), p.d.Offset()
		for i := p.from + off; i < p.to+off; i++ {
			missing -= int(src[i>>3] >> (i & 7) & 1)
		}
	}
	if missing == 0 {
		return nil, 0
	}
	return buf(b), missing
}

func hasBits(d arrow.ArrayData) bool { return d.Buffers()[0] != nil && d.Buffers()[0].Len() > 0 }

// takeBits copies bits of one buffer; without a buffer they are all set.
func takeBits(ps []piece, n, which int) []byte {
	out := make([]byte, (n+7)/8)
	k := 0
	for _, p := range ps {
		var src []byte
		if b := p.d.Buffers()[which]; b != nil && b.Len() > 0 {
			src = b.Bytes()
		}
		off := p.d.Offset()
		for i := p.from + off; i < p.to+off; i++ {
			if src == nil || src[i>>3]>>(i&7)&1 == 1 {
				out[k>>3] |= 1 << (k & 7)
			}
			k++
		}
	}
	return out
}

func takeFixed(ps []piece, n, size int) []byte {
	out := make([]byte, 0, n*size)
	for _, p := range ps {
		off := p.d.Offset()
		out = append(out, p.d.Buffers()[1].Bytes()[(p.from+off)*size:(p.to+off)*size]...)
	}
	return out
}

// takeOffsets adds up the offsets of the pieces, and gives the range of each
// one's elements or bytes.
func takeOffsets(ps []piece, n int) (offs []int32, spans []Range, err error) {
	offs = make([]int32, 1, n+1)
	var total int64
	for _, p := range ps {
		if p.from == p.to {
			spans = append(spans, Range{})
			continue
		}
		src := arrow.Int32Traits.CastFromBytes(p.d.Buffers()[1].Bytes())[p.d.Offset():]
		lo, hi := int64(src[p.from]), int64(src[p.to])
		if total+hi-lo > math.MaxInt32 {
			return nil, nil, errTooLong()
		}
		for _, o := range src[p.from+1 : p.to+1] {
			offs = append(offs, int32(total+int64(o)-lo))
		}
		total += hi - lo
		spans = append(spans, Range{lo, hi})
	}
	return offs, spans, nil
}

func takeBinary(t arrow.DataType, ps []piece, n int, valid *memory.Buffer, missing int) (arrow.ArrayData, error) {
	offs, spans, err := takeOffsets(ps, n)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, offs[n])
	for i, s := range spans {
		if s.From < s.To {
			data = append(data, ps[i].d.Buffers()[2].Bytes()[s.From:s.To]...)
		}
	}
	return array.NewData(t, n, []*memory.Buffer{valid, buf(raw(offs)), buf(data)}, nil, missing, 0), nil
}

func takeList(t, elem arrow.DataType, ps []piece, n int, valid *memory.Buffer, missing int) (arrow.ArrayData, error) {
	offs, spans, err := takeOffsets(ps, n)
	if err != nil {
		return nil, err
	}
	sub := make([]piece, 0, len(ps))
	for i, s := range spans {
		if s.From < s.To {
			sub = append(sub, piece{ps[i].d.Children()[0], int(s.From), int(s.To)})
		}
	}
	kid, err := takeArray(elem, sub)
	if err != nil {
		return nil, err
	}
	return array.NewData(t, n, []*memory.Buffer{valid, buf(raw(offs))}, []arrow.ArrayData{kid}, missing, 0), nil
}
