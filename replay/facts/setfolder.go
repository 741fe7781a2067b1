package facts

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc64"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const (
	leastSaved   = 1 << 16 // rows; fewer are evaluated again as quickly as they are read
	maxSetFiles  = 64
	setMagic     = "tlrows1\n"
	setExtension = ".rows"
)

// setFolder keeps row sets on the local disk, one file each. Nothing depends on
// it: what is missing, damaged or of other rows is evaluated again, and what
// cannot be written is not kept.
type setFolder struct {
	dir   string // "" keeps nothing
	least int64  // rows worth keeping
}

func (f setFolder) path(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(f.dir, hex.EncodeToString(sum[:16])+setExtension)
}

// setHead is what the file of a set begins with.
func setHead(name string) []byte {
	return append(binary.AppendUvarint([]byte(setMagic), uint64(len(name))), name...)
}

// save writes the set of the rows of v, with a print of each chunk's ids by which
// a reader sees whether it is still of the same rows.
func (f setFolder) save(name string, v *View, words []uint64) bool {
	if f.dir == "" || os.MkdirAll(f.dir, 0o700) != nil {
		return false
	}
	b := binary.LittleEndian.AppendUint64(setHead(name), uint64(v.rows))
	for i := range v.chunks {
		b = binary.LittleEndian.AppendUint64(b, v.print(i, v.rows))
	}
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	b = binary.LittleEndian.AppendUint64(b, crc64.Checksum(b, crc64.MakeTable(crc64.ECMA)))
	tmp, err := os.CreateTemp(f.dir, "new-*")
	if err != nil {
		return false
	}
	_, err = tmp.Write(b)
	if cerr := tmp.Close(); err != nil || cerr != nil || os.Rename(tmp.Name(), f.path(name)) != nil {
		_ = os.Remove(tmp.Name())
		return false
	}
	f.prune()
	return true
}

// load reads a set, with the spans of places for which it is right. saved is the
// number of rows that the file knows; 0 when some of them are not those of v.
func (f setFolder) load(name string, v *View) (words []uint64, known []span, saved int64) {
	if f.dir == "" {
		return nil, nil, 0
	}
	b, err := os.ReadFile(f.path(name))
	if err != nil || len(b) < 8 {
		return nil, nil, 0
	}
	body, sum := b[:len(b)-8], binary.LittleEndian.Uint64(b[len(b)-8:])
	if crc64.Checksum(body, crc64.MakeTable(crc64.ECMA)) != sum {
		return nil, nil, 0
	}
	body, ok := bytes.CutPrefix(body, setHead(name))
	if !ok || len(body) < 8 {
		return nil, nil, 0
	}
	rows := int64(binary.LittleEndian.Uint64(body))
	body = body[8:]
	chunks, count := (rows+chunkMask)>>chunkBits, (rows+63)/64
	if rows < 0 || int64(len(body)) != 8*(chunks+count) {
		return nil, nil, 0
	}
	for i := range count {
		words = append(words, binary.LittleEndian.Uint64(body[8*(chunks+i):]))
	}
	saved = rows
	for i := range chunks {
		end := min((i+1)<<chunkBits, rows)
		if end > v.rows {
			break
		}
		if v.print(int(i), rows) != binary.LittleEndian.Uint64(body[8*i:]) {
			saved = 0
			continue
		}
		if n := len(known); n > 0 && known[n-1].to == i<<chunkBits {
			known[n-1].to = end
		} else {
			known = append(known, span{i << chunkBits, end})
		}
	}
	if len(known) == 0 {
		return nil, nil, 0
	}
	return words[:min(count, (v.rows+63)/64)], known, saved
}

// print is that of the ids of a chunk's rows below place rows.
func (v *View) print(chunk int, rows int64) uint64 {
	c, n := v.chunks[chunk], int(min(rows-int64(chunk)<<chunkBits, chunkRows))
	if n == c.rows {
		return c.print
	}
	return fingerprint(0, c.ids[:min(n, c.rows)])
}

// prune removes the oldest files above the greatest number, and what interrupted
// writers left.
func (f setFolder) prune() {
	entries, err := os.ReadDir(f.dir)
	if err != nil || len(entries) <= maxSetFiles {
		return
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return cmp.Compare(a.ModTime().UnixNano(), b.ModTime().UnixNano()) })
	for _, info := range files[:max(0, len(files)-maxSetFiles)] {
		_ = os.Remove(filepath.Join(f.dir, info.Name()))
	}
}
