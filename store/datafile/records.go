package datafile

import (
	"context"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/schema"
	"trajlake/schema/fault"
)

// RecordWriter builds one data file in memory from Arrow records. It belongs to
// one goroutine.
type RecordWriter struct{ recordWriter }

// NewRecordWriter begins a file of t's rows.
func NewRecordWriter(t *schema.Table, opt *WriteOptions) (*RecordWriter, error) {
	w := &RecordWriter{}
	return w, w.open(t, opt)
}

// WriteRecord adds the rows of a record. Columns are matched by name, as Read
// gives them; the table's columns that it lacks are written as null.
//
// Errors: fault.Invalid for a null where the table allows none and for a row that
// no page can hold, fault.Unsupported for a column of another type than the
// table's. After an error the writer is of no use.
func (w *RecordWriter) WriteRecord(rec arrow.Record) error { return w.write(rec, nil) }

// place gives the version and position of row i of a record.
type placer func(i int) (version, seq int64)

func (w *recordWriter) write(rec arrow.Record, place placer) error {
	k := w.core
	if k == nil {
		return errClosed()
	}
	op := "write data file of " + k.layout.table.Name
	cols := make([]*boundArray, len(k.layout.root.kids))
	for i, s := range k.layout.root.kids {
		ix := rec.Schema().FieldIndices(s.col.Name)
		if len(ix) == 0 {
			if s.col.Required {
				return fault.New(fault.Invalid, op, "the record has no such column").WithField(s.col.Name)
			}
			continue
		}
		if t := rec.Column(ix[0]).DataType(); !arrow.TypeEqual(t, k.layout.arrow[s.col].Type) {
			return fault.New(fault.Unsupported, op, "type %v instead of %v", t, k.layout.arrow[s.col].Type).WithField(s.col.Name)
		}
		cols[i] = bindArray(s, rec.Column(ix[0]))
	}
	for row := range int(rec.NumRows()) {
		for i, s := range k.layout.root.kids {
			b := cols[i]
			if place != nil && (s.col.Name == "row_version" || s.col.Name == "row_seq") && (b == nil || b.arr.IsNull(row)) {
				version, seq := place(row)
				if s.col.Name == "row_seq" {
					version = seq
				}
				k.cols[s.lo].putInt64(0, version)
				continue
			}
			if b == nil {
				k.absent(s, 0, 0)
				continue
			}
			if err := k.put(b, row, 0, 0); err != nil {
				return fault.Wrap(op, err)
			}
		}
		if err := w.endRow(); err != nil {
			return err
		}
	}
	return nil
}

// boundArray is an array, or one within a nested array, with its shape.
type boundArray struct {
	s    *shape
	arr  arrow.Array
	offs func(i int) (from, to int64)
	kids []*boundArray
}

func bindArray(s *shape, a arrow.Array) *boundArray {
	b := &boundArray{s: s, arr: a}
	switch a := a.(type) {
	case *array.Struct:
		for i, k := range s.kids {
			b.kids = append(b.kids, bindArray(k, a.Field(i)))
		}
	case *array.Map:
		b.offs = a.ValueOffsets
		b.kids = []*boundArray{bindArray(s.kids[0], a.Keys()), bindArray(s.kids[1], a.Items())}
	case *array.List:
		b.offs = a.ValueOffsets
		b.kids = []*boundArray{bindArray(s.kids[0], a.ListValues())}
	}
	return b
}

// put writes value i of b; see shred.
func (k *core) put(b *boundArray, i int, rep, def uint8) error {
	s := b.s
	if b.arr.IsNull(i) {
		if !s.null {
			return fault.New(fault.Invalid, "", "null where the table allows none").WithField(s.col.Name)
		}
		k.absent(s, rep, def)
		return nil
	}
	c := &k.cols[s.lo]
	switch a := b.arr.(type) {
	case *array.Struct:
		for _, f := range b.kids {
			if err := k.put(f, i, rep, s.def); err != nil {
				return err
			}
		}
	case *array.List, *array.Map:
		return k.putList(b, i, rep, def)
	case *array.String:
		v := a.Value(i)
		if s.lo == k.layout.idLeaf {
			k.id(v)
		}
		c.putView(rep, v)
	case *array.Binary:
		v := a.Value(i)
		c.putView(rep, unsafe.String(unsafe.SliceData(v), len(v)))
	case *array.Int8:
		c.putInt32(rep, int32(a.Value(i)))
	case *array.Int32:
		c.putInt32(rep, a.Value(i))
	case *array.Int64:
		c.putInt64(rep, a.Value(i))
	case *array.Timestamp:
		c.putInt64(rep, int64(a.Value(i)))
	case *array.Float32:
		c.putFloat(rep, a.Value(i))
	case *array.Float64:
		c.putDouble(rep, a.Value(i))
	case *array.Boolean:
		c.putBool(rep, a.Value(i))
	}
	return nil
}

func (k *core) putList(b *boundArray, i int, rep, def uint8) error {
	from, to := b.offs(i)
	if from == to {
		k.empty(b.s, rep, def)
		return nil
	}
	s := b.s
	elem := b.kids[0]
	c := &k.cols[elem.s.lo]
	if len(b.kids) == 1 && !elem.s.null && elem.arr.NullN() == 0 {
		switch a := elem.arr.(type) {
		case *array.Int32:
			c.putInts(rep, s.elemRep, a.Int32Values()[from:to])
			return nil
		case *array.Int8:
			c.putBytes(rep, s.elemRep, a.Int8Values()[from:to])
			return nil
		case *array.Float32:
			putNumbers(c, rep, s.elemRep, a.Float32Values()[from:to])
			return nil
		case *array.Int64:
			putNumbers(c, rep, s.elemRep, a.Int64Values()[from:to])
			return nil
		case *array.Float64:
			putNumbers(c, rep, s.elemRep, a.Float64Values()[from:to])
			return nil
		}
	}
	for j := from; j < to; j++ {
		for _, kid := range b.kids {
			if err := k.put(kid, int(j), rep, s.elemDef); err != nil {
				return err
			}
		}
		rep = s.elemRep
	}
	return nil
}

// FoldInput is one file that is folded into another.
type FoldInput struct {
	File *File
	// FirstSeq is the place of the file's first row in the log, and Version the
	// version that committed the file; they are what the commit says of a fresh
	// file. Rows that hold their place in row_seq and row_version keep it.
	FirstSeq int64
	Version  int64
	// Rows that are kept, as for Read; nil keeps all.
	Rows []Range
}

// Fold writes the rows of many files into one, in the order given, with their
// places in the columns row_version and row_seq. Beside the new file it holds
// one record at a time in memory.
//
// Errors: those of Read and WriteRecord; fault.Cancelled when ctx ends.
func Fold(ctx context.Context, t *schema.Table, inputs []FoldInput, opt *WriteOptions) (*Encoded, error) {
	w, err := NewRecordWriter(t, opt)
	if err != nil {
		return nil, err
	}
	for _, in := range inputs {
		if in.File.table != t {
			return nil, fault.New(fault.Internal, "fold "+in.File.name, "it holds rows of %s, not of %s", in.File.table.Name, t.Name)
		}
		if err := w.fold(ctx, &in); err != nil {
			return nil, err
		}
	}
	return w.Close()
}

func (w *RecordWriter) fold(ctx context.Context, in *FoldInput) error {
	ranges := in.Rows
	if ranges == nil {
		ranges = []Range{{0, in.File.NumRows()}}
	}
	next := func() (pos int64) {
		for ranges[0].From == ranges[0].To {
			ranges = ranges[1:]
		}
		pos = ranges[0].From
		ranges[0].From++
		return pos
	}
	ranges = append([]Range(nil), ranges...)
	for rec, err := range in.File.Read(ctx, ReadOptions{Rows: in.Rows}) {
		if err != nil {
			return err
		}
		at := make([]int64, rec.NumRows())
		for i := range at {
			at[i] = next()
		}
		if err := w.write(rec, func(i int) (int64, int64) { return in.Version, in.FirstSeq + at[i] }); err != nil {
			return fault.Wrap("fold "+in.File.name, err)
		}
	}
	return nil
}
