package canon

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// TestShortFloats compares the fast path with strconv: all powers of two with
// their neighbours, decimals of few digits, and random bit patterns of every
// exponent.
func TestShortFloats(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	check := func(f float32) {
		t.Helper()
		if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
			return
		}
		got, want := string(AppendFloat32(nil, f)), string(appendFloat(nil, float64(f), 32))
		if got != want {
			t.Fatalf("seed %d: bits %08x: %s, want %s", seed, math.Float32bits(f), got, want)
		}
	}
	for exp := range uint32(255) {
		for _, sig := range []uint32{0, 1, 2, 1<<23 - 1, 1<<23 - 2, 1 << 22} {
			check(math.Float32frombits(exp<<23 | sig))
			check(-math.Float32frombits(exp<<23 | sig))
		}
		for range 2000 {
			check(math.Float32frombits(exp<<23 | r.Uint32()&(1<<23-1)))
		}
	}
	for n := range 100_000 {
		for _, d := range []float64{1, 10, 1000, 1e5, 1e7, 1e9} {
			check(float32(float64(n) / d))
			check(float32(-float64(n) * d))
		}
	}
	for range 300_000 {
		check(-float32(r.ExpFloat64()))
	}
}

func TestNumberArrays(t *testing.T) {
	ints := []int32{0, -1, 9, 10, 99, 100, 101, -150000, 999999999, 1000000000, math.MaxInt32, math.MinInt32}
	want := ""
	for i, n := range ints {
		if i > 0 {
			want += ","
		}
		want += strconv.Itoa(int(n))
	}
	if got := string(AppendInt32s(nil, ints)); got != want {
		t.Errorf("int32: %s, want %s", got, want)
	}
	if got, want := string(AppendInt8s([]byte("["), []int8{0, 1, 1, 9, 10, -1, 127, -128})), "[0,1,1,9,10,-1,127,-128"; got != want {
		t.Errorf("int8: %s, want %s", got, want)
	}
	if got := len(AppendInt32s(nil, nil)); got != 0 {
		t.Errorf("an empty array gives %d bytes", got)
	}
}

func BenchmarkFloat32s(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	v := make([]float32, 2000)
	for i := range v {
		v[i] = -float32(r.ExpFloat64())
	}
	var dst []byte
	for b.Loop() {
		dst = dst[:0]
		for _, f := range v {
			dst = AppendFloat32(dst, f)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(v)), "ns/number")
}

func BenchmarkInt32s(b *testing.B) {
	v := make([]int32, 2000)
	for i := range v {
		v[i] = rand.Int32N(150_000)
	}
	var dst []byte
	for b.Loop() {
		dst = AppendInt32s(dst[:0], v)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(v)), "ns/number")
}
