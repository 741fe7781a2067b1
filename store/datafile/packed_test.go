package datafile

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/delta"
)

// TestDeltaIsReadByTheLibrary decodes what appendDelta writes with parquet-go,
// for numbers of every width and counts around the sizes of blocks.
func TestDeltaIsReadByTheLibrary(t *testing.T) {
	const seed = 21
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var lib delta.BinaryPackedEncoding
	check := func(v []int32) {
		t.Helper()
		b := appendDelta([]byte("x"), v)[1:]
		got, err := lib.DecodeInt32(nil, b)
		if err != nil || !slices.Equal(got, v) {
			t.Fatalf("%d values: %v\n got %.30v\nwant %.30v", len(v), err, got, v)
		}
	}
	for _, n := range []int{0, 1, 2, 3, 32, 33, 34, 64, 65, 127, 128, 129, 130, 160, 161, 257, 1000} {
		for width := range 33 {
			v := make([]int32, n)
			for i := range v {
				v[i] = int32(r.Uint64N(1 << width))
			}
			check(v)
		}
		v := make([]int32, n)
		for i := range v {
			v[i] = []int32{math.MinInt32, math.MaxInt32, 0, -1}[r.IntN(4)]
		}
		check(v)
	}
}

// TestRepeatsAreIndexes decodes what putRepeats writes and compares it with the
// indexes one by one, for runs of all lengths.
func TestRepeatsAreIndexes(t *testing.T) {
	const seed = 22
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	k := &core{}
	for round := range 2000 {
		words := 1 + r.IntN(1+round%200)
		width := bits.Len(uint(words - 1))
		var list []repeat
		var want []uint32
		for range r.IntN(30) {
			n := []int{1, 1 + r.IntN(20), 8, 7, 1 + r.IntN(3000)}[r.IntN(5)]
			x := repeat{uint32(r.IntN(words)), n}
			list = append(list, x)
			want = append(want, slices.Repeat([]uint32{x.index}, n)...)
		}
		b := k.putRepeats(nil, list, width)
		got, err := appendIndexes(nil, b, width, len(want), words)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("round %d, %v: %v, %d of %d values", round, list, err, len(got), len(want))
		}
	}
}

func BenchmarkDelta(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 0))
	v := make([]int32, 4096)
	for i := range v {
		v[i] = r.Int32N(150_000)
	}
	buf := make([]byte, 0, 64<<10)
	var lib delta.BinaryPackedEncoding
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(4 * int64(len(v)))
		for b.Loop() {
			buf = appendDelta(buf[:0], v)
		}
	})
	b.Run("parquet-go", func(b *testing.B) {
		b.SetBytes(4 * int64(len(v)))
		for b.Loop() {
			buf, _ = lib.EncodeInt32(buf[:0], v) // it has no error to give
		}
	})
}
