package schema

import "encoding/binary"

// Token arrays are looked through eight bytes at a time: nearly always there is
// nothing to find. A test of a word may say yes for one that holds nothing, and
// must not say no for one that does.

// firstWith is the index of the first element, of size bytes, of the first word
// of b that test picks out; without any, of the first element behind the last
// whole word.
func firstWith(b []byte, size int, test func(word uint64) bool) int {
	i := 0
	for ; i+8 <= len(b) && !test(binary.NativeEndian.Uint64(b[i:])); i += 8 {
	}
	return i / size
}

const signs32 = 1<<63 | 1<<31

func anyNegative(w uint64) bool { return w&signs32 != 0 }

func anyNoMask(w uint64) bool { return w&^0x0101010101010101 != 0 }

// anyInfinite looks for exponents of all ones: adding one to them carries into
// the sign, which was cleared.
func anyInfinite(w uint64) bool { return (w&^signs32+0x00800000_00800000)&signs32 != 0 }

// anyMinusZero looks for a half of which only the sign is set.
func anyMinusZero(w uint64) bool {
	w ^= signs32 // which makes it 0
	return (w-0x00000001_00000001)&^w&signs32 != 0
}
