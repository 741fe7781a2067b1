package delta

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
)

// hasher takes the digest of a state for its checkpoint. Parquet protects its
// pages at best; a changed bit in a footer or a page header can move values to
// other rows without any reader noticing.
type hasher struct {
	h   hash.Hash
	w   *bufio.Writer // never fails: a hash does not
	buf [8]byte
}

func (h *hasher) number(n int64) {
	binary.BigEndian.PutUint64(h.buf[:], uint64(n))
	_, _ = h.w.Write(h.buf[:])
}

func (h *hasher) text(s string) {
	h.number(int64(len(s)))
	_, _ = h.w.WriteString(s)
}

func (h *hasher) flag(b bool) {
	n := int64(0)
	if b {
		n = 1
	}
	h.number(n)
}

func (h *hasher) pairs(m map[string]string) {
	h.number(int64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		h.text(k)
		h.text(m[k])
	}
}

// digest is over everything in s that a checkpoint holds, without tombstones
// older than expired (ms since the epoch).
func digest(s *State, expired int64) (string, error) {
	h := &hasher{h: sha256.New()}
	h.w = bufio.NewWriterSize(h.h, 1<<14)
	h.number(s.Version)
	h.number(s.NextSeq)
	head, err := json.Marshal(struct {
		V    Vector
		R, W int32
		M    Metadata
		T    map[string]Txn
	}{s.Vector, s.Protocol.MinReaderVersion, s.Protocol.MinWriterVersion, s.Metadata, s.txns}, json.Deterministic(true))
	if err != nil {
		return "", err
	}
	h.text(string(head))
	for r := range s.tombs.all() {
		if r.DeletionTimestamp >= expired {
			h.text(r.Path)
			h.number(r.DeletionTimestamp)
			h.flag(r.DataChange)
		}
	}
	for f := range s.Files.byPath.all() {
		h.text(f.Path)
		h.number(f.Size)
		h.number(f.ModificationTime)
		h.flag(f.DataChange)
		h.text(f.Stats)
		h.pairs(f.PartitionValues)
		h.pairs(f.Tags)
	}
	_ = h.w.Flush()
	return hex.EncodeToString(h.h.Sum(nil)), nil
}
