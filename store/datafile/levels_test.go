package datafile

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"testing"
)

// TestLevels decodes what putLevels writes, for runs of all lengths and every
// width, and groups that hold a level which is too high.
func TestLevels(t *testing.T) {
	r := seeded(t, 31)
	for round := range 4000 {
		top := 1 + r.IntN(1+round%200)
		width := bits.Len(uint(top))
		var want []uint8
		for range r.IntN(30) {
			v := uint8(r.IntN(top + 1))
			for range []int{1, 1 + r.IntN(20), 8, r.IntN(3000)}[r.IntN(4)] {
				want = append(want, v)
			}
		}
		b := putLevels(nil, want, width)
		got, err := appendLevels([]uint8{77}, b, len(want), top)
		if err != nil || got[0] != 77 || !slices.Equal(got[1:], want) {
			t.Fatalf("round %d: %d levels up to %d: %v", round, len(want), top, err)
		}
		n := 1 + r.IntN(40)
		bad, at := make([]uint8, n), r.IntN(n)
		bad[at] = uint8(top + 1)
		if bits.Len(uint(top+1)) == width {
			packed := binary.AppendUvarint(nil, uint64(n+7)/8<<1|1)
			for i := 0; i < n; i += 8 {
				var w uint64
				for j, v := range bad[i:min(i+8, n)] {
					w |= uint64(v) << (j * width)
				}
				packed = append(packed, binary.LittleEndian.AppendUint64(nil, w)[:width]...)
			}
			if _, err := appendLevels(nil, packed, n, top); err == nil {
				t.Fatalf("level %d was read where %d is the highest", top+1, top)
			}
			if got, err := appendLevels(nil, packed, at, top); err != nil || !slices.Equal(got, bad[:at]) {
				t.Fatalf("what fills up a group of eight was looked at: %v", err)
			}
		}
	}
}

// TestSomeIndexes decodes ranges of what putIndexes writes.
func TestSomeIndexes(t *testing.T) {
	r := seeded(t, 32)
	for round := range 3000 {
		words := 1 + r.IntN(1+round%500)
		width := bits.Len(uint(words - 1))
		var want []uint32
		for range 1 + r.IntN(20) {
			v := uint32(r.IntN(words))
			for range []int{1, 1 + r.IntN(20), 8, r.IntN(1000)}[r.IntN(4)] {
				want = append(want, v)
			}
		}
		b := putIndexes(nil, want, width)
		from := r.IntN(len(want) + 1)
		to := from + r.IntN(len(want)-from+1)
		got, err := appendSome([]uint32{7}, b, width, len(want), words, from, to)
		if err != nil || got[0] != 7 || !slices.Equal(got[1:], want[from:to]) {
			t.Fatalf("round %d: indexes [%d, %d) of %d below %d: %v", round, from, to, len(want), words, err)
		}
	}
}
