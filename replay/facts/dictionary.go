package facts

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"sync"
)

// dictionary gives the texts of one column codes from 1 on, in the order in which
// they come. It only grows, and is safe for concurrent use: views that share it
// know different parts of it.
//
// A text is kept as what differs from the text before it; every eighth stands
// whole. Rows of a run come together, so that their ids have much in common.
// Long hexadecimal texts, such as hashes, are halved first.
type dictionary struct {
	mu     sync.RWMutex
	seed   maphash.Seed
	n      int      // texts
	bytes  []byte   // of all texts: shared length, own length, own bytes
	blocks []uint64 // where every eighth text begins
	last   []byte   // the newest text, packed
	slots  []slot   // by hash, in whose order they stand
	pack   []byte   // scratch
	text   []byte   // scratch
}

const (
	blockTexts = 8
	minHex     = 16
	plainText  = 0
	hexText    = 1
)

// slot is a place of the hash table; code 0 is free.
type slot struct{ hash, code uint32 }

func newDictionary() *dictionary { return &dictionary{seed: maphash.MakeSeed()} }

// code is the code of a text, which is added if it is new. The caller holds mu.
func (d *dictionary) code(text string) uint32 {
	if 5*(d.n+1) > 4*len(d.slots) {
		d.grow()
	}
	d.pack = packText(d.pack[:0], text)
	h := d.hash(d.pack)
	at, code := d.find(h, d.pack, &d.text)
	if code != 0 {
		return code
	}
	d.add(d.pack)
	d.slots[at] = slot{h, uint32(d.n)}
	return uint32(d.n)
}

// lookup is the code of a text; 0 when there is none.
func (d *dictionary) lookup(text string) uint32 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.slots) == 0 {
		return 0
	}
	var scratch []byte
	packed := packText(nil, text)
	_, code := d.find(d.hash(packed), packed, &scratch)
	return code
}

// get is the text of a code; "" when there is none.
func (d *dictionary) get(code uint32) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if code == 0 || int(code) > d.n {
		return ""
	}
	return unpackText(d.read(nil, int(code-1)))
}

// len is the greatest code.
func (d *dictionary) len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.n
}

func (d *dictionary) size() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return int64(cap(d.bytes) + 8*cap(d.blocks) + 8*cap(d.slots))
}

func (d *dictionary) hash(packed []byte) uint32 { return uint32(maphash.Bytes(d.seed, packed) >> 32) }

// find is the slot of a packed text with a hash, and its code, or a free one and 0.
func (d *dictionary) find(h uint32, packed []byte, scratch *[]byte) (at int, code uint32) {
	for at = d.first(h); d.slots[at].code != 0; at = d.after(at) {
		s := d.slots[at]
		if s.hash != h {
			continue
		}
		if *scratch = d.read((*scratch)[:0], int(s.code-1)); bytes.Equal(*scratch, packed) {
			return at, s.code
		}
	}
	return at, 0
}

// first is the slot at which a hash begins to look.
func (d *dictionary) first(h uint32) int { return int(uint64(h) * uint64(len(d.slots)) >> 32) }

func (d *dictionary) after(at int) int {
	if at++; at == len(d.slots) {
		return 0
	}
	return at
}

// grow makes room for more texts. Slots stand in the order of hashes, so that both
// tables are walked from front to back.
func (d *dictionary) grow() {
	old := d.slots
	d.slots = make([]slot, max(64, len(old)*3/2))
	for _, s := range old {
		if s.code == 0 {
			continue
		}
		at := d.first(s.hash)
		for d.slots[at].code != 0 {
			at = d.after(at)
		}
		d.slots[at] = s
	}
}

// add appends a packed text.
func (d *dictionary) add(packed []byte) {
	shared := 0
	if d.n%blockTexts == 0 {
		d.blocks = append(d.blocks, uint64(len(d.bytes)))
	} else {
		for shared < min(len(packed), len(d.last)) && packed[shared] == d.last[shared] {
			shared++
		}
	}
	d.bytes = binary.AppendUvarint(d.bytes, uint64(shared))
	d.bytes = binary.AppendUvarint(d.bytes, uint64(len(packed)-shared))
	d.bytes = append(d.bytes, packed[shared:]...)
	d.last = append(d.last[:0], packed...)
	d.n++
}

// next reads the text at pos, given the one before it, into the same memory.
func (d *dictionary) next(before []byte, pos uint64) (text []byte, after uint64) {
	shared, n := binary.Uvarint(d.bytes[pos:])
	pos += uint64(n)
	own, n := binary.Uvarint(d.bytes[pos:])
	pos += uint64(n)
	return append(before[:shared], d.bytes[pos:pos+own]...), pos + own
}

// read appends packed text i to an empty dst.
func (d *dictionary) read(dst []byte, i int) []byte {
	pos := d.blocks[i/blockTexts]
	for range i%blockTexts + 1 {
		dst, pos = d.next(dst, pos)
	}
	return dst
}

// packText appends a text in its kept form.
func packText(dst []byte, text string) []byte {
	if len(text) < minHex || len(text)%2 != 0 || !isHex(text) {
		return append(append(dst, plainText), text...)
	}
	dst = append(dst, hexText)
	for i := 0; i < len(text); i += 2 {
		dst = append(dst, nibble(text[i])<<4|nibble(text[i+1]))
	}
	return dst
}

func unpackText(b []byte) string {
	if b[0] == hexText {
		return hex.EncodeToString(b[1:])
	}
	return string(b[1:])
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func nibble(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'a' + 10
}
