package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"trajlake/schema/fault"
)

// writeFile makes path with what write writes: under another name first, so that
// the file is whole or not there.
func writeFile(path string, write func(io.Writer) error) error {
	op := "write " + path
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fault.WrapAs(kindOfOS(err), op, err)
	}
	w := bufio.NewWriterSize(f, 256<<10)
	err = write(w)
	err = errors.Join(err, w.Flush())
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error that matters is the first one
		return fault.Wrap(op, err)
	}
	return nil
}

func kindOfOS(err error) fault.Kind {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fault.NotFound
	case errors.Is(err, os.ErrPermission):
		return fault.Denied
	}
	return fault.Internal
}

// described is the batch's schema with the batch's names as its metadata: what a
// lake and a server say beside them stays out, so that the same batch makes the
// same file.
func described(b *batch) *arrow.Schema {
	md := arrow.NewMetadata([]string{"batch_id", "position", "version", "snapshot", "spec_hash"},
		[]string{b.ID, strconv.FormatUint(b.Position, 10), strconv.FormatInt(b.Version, 10), b.Snapshot, b.SpecHash})
	return arrow.NewSchema(b.Records[0].Schema().Fields(), &md)
}

// writeBatch writes a batch as an Arrow IPC file or as Parquet.
func writeBatch(w io.Writer, format string, b *batch) error {
	s := described(b)
	var out interface {
		Write(arrow.Record) error
		Close() error
	}
	if format == "parquet" {
		// The writer closes what it writes to where that can be closed.
		f, err := pqarrow.NewFileWriter(s, struct{ io.Writer }{w},
			parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDictionaryDefault(false), parquet.WithStats(false)),
			pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
		if err != nil {
			return fault.Wrap("write Parquet", err)
		}
		out = f
	} else {
		f, err := ipc.NewFileWriter(&counted{w: w}, ipc.WithSchema(s))
		if err != nil {
			return fault.Wrap("write Arrow", err)
		}
		out = f
	}
	for _, rec := range b.Records {
		if rec.NumRows() == 0 {
			continue // the schema stands in the file already
		}
		if err := out.Write(array.NewRecord(s, rec.Columns(), rec.NumRows())); err != nil {
			return fault.Wrap("write "+format, err)
		}
	}
	return fault.Wrap("write "+format, out.Close())
}

// counted is a stream as the Arrow writer wants it: it asks for its place, and
// never goes back.
type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Seek implements io.Seeker for the present place only.
func (c *counted) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.New("a stream cannot go back")
	}
	return c.n, nil
}
