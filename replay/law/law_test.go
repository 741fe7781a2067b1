package law

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// random is a generator with a seed that failures print.
func random(t testing.TB, seed uint64) *rand.Rand {
	t.Helper()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func TestMix64Golden(t *testing.T) {
	for x, want := range map[uint64]uint64{
		0: 0xe220a8397b1dcdaf, 1: 0x910a2dec89025cc1, math.MaxUint64: 0xe4d971771b652c20,
	} {
		if got := Mix64(x); got != want {
			t.Errorf("Mix64(%d) = %016x, want %016x", x, got, want)
		}
	}
}

func TestID64Golden(t *testing.T) {
	for id, want := range map[string]uint64{
		"": 0xe3b0c44298fc1c14, "toy-1": 0xbac604b2f89317f9, "轨迹": 0x5dbc76ad0b08525c,
	} {
		if got := ID64(id); got != want {
			t.Errorf("ID64(%q) = %016x, want %016x", id, got, want)
		}
	}
}

func TestNegLog2Golden(t *testing.T) {
	for u, want := range map[uint64]uint64{
		0: 0x8000000000000000, 1: 0x8000000000000000, 2: 0x7e00000000000000, 3: 0x7cd47fcb8c0852f1,
		1<<32 + 1: 0x3ffffffffd1d5714, 1 << 63: 0x0200000000000000, math.MaxUint64: 1,
		0x123456789abcdef0: 0x07a0a7eda4c112d2,
	} {
		if got := NegLog2(u); got != want {
			t.Errorf("NegLog2(%016x) = %016x, want %016x", u, got, want)
		}
	}
}

func TestKeyGolden(t *testing.T) {
	for _, c := range []struct {
		id             string
		seed, position uint64
		want           uint64
	}{
		{"toy-1", 0, 0, 0x0049ee47b4af6fb6},
		{"toy-1", 9, 4, 0x03124e0232fa3a6f},
		{"toy-2", 9, 4, 0x000bdad8fc6500bc},
	} {
		if got := Key(ID64(c.id), c.seed, c.position); got != c.want {
			t.Errorf("Key(%q, %d, %d) = %016x, want %016x", c.id, c.seed, c.position, got, c.want)
		}
	}
}

// someNumbers are 64-bit numbers of every length, the edges among them.
func someNumbers(r *rand.Rand, n int) []uint64 {
	out := []uint64{1, 2, 3, math.MaxUint64, math.MaxUint64 - 1}
	for i := range 64 {
		out = append(out, 1<<i, 1<<i+1, -(uint64(1) << i))
	}
	for range n {
		out = append(out, r.Uint64()>>r.IntN(64)|1, -(r.Uint64()>>r.IntN(64) | 1))
	}
	return out
}

func TestNegLog2IsTheLogarithm(t *testing.T) {
	for _, u := range someNumbers(random(t, 1), 20_000) {
		if u == 0 {
			continue
		}
		l := NegLog2(u)
		got, want := float64(l)/(1<<57), 64-math.Log2(float64(u))
		if -u < 1<<50 { // near 2^64 a float64 cannot hold u
			want = -math.Log1p(-float64(-u)/(1<<64)) * math.Log2E
		}
		if math.Abs(got-want) > 1e-12*max(1, want) {
			t.Fatalf("NegLog2(%d) = %.18g, want %.18g", u, got, want)
		}
		if floor := KeyFloor(u); floor > l {
			t.Fatalf("KeyFloor(%d) = %d is above the key %d", u, floor, l)
		}
	}
}

func TestKeyFloorIsTightWhereTheWinnersAre(t *testing.T) {
	u := uint64(math.MaxUint64) - 1<<50
	if l, floor := NegLog2(u), KeyFloor(u); float64(floor) < 0.999*float64(l) {
		t.Errorf("KeyFloor(%d) = %d for key %d", u, floor, l)
	}
}

func TestWeight(t *testing.T) {
	for _, c := range []struct {
		w    float64
		want uint64
	}{
		{0, 0}, {math.Copysign(0, -1), 0}, {-1, 0}, {math.NaN(), 0}, {math.Inf(-1), 0},
		{1e-9, 4}, {0.1, 429496730}, {0.25, 1 << 30}, {1, 1 << 32}, {1e9, 4294967296000000000},
		{5e-324, 1}, {0x1p-1022, 1}, {0x1p-34, 1}, {0x1p-33, 1}, {0x3p-33, 2}, {0x1.7ffffffffffffp-32, 1},
		{0x1p31 - 0x1p-22, 1<<63 - 1<<10}, {0x1p31, maxWeight}, {1e300, maxWeight}, {math.Inf(1), maxWeight},
	} {
		if got := Weight(c.w); got != c.want {
			t.Errorf("Weight(%g) = %d, want %d", c.w, got, c.want)
		}
	}
}

func TestWeightIsExact(t *testing.T) {
	r := random(t, 2)
	half, limit := big.NewFloat(0.5), new(big.Int).SetUint64(maxWeight)
	for range 50_000 {
		w := math.Ldexp(1+r.Float64(), r.IntN(110)-70)
		x := new(big.Float).SetPrec(300).SetFloat64(w)
		x.SetMantExp(x, 32)
		want, _ := x.Add(x, half).Int(nil)
		if want.Cmp(limit) > 0 {
			want = limit
		}
		if want.Sign() == 0 {
			want = big.NewInt(1)
		}
		if got := Weight(w); got != want.Uint64() {
			t.Fatalf("Weight(%b) = %d, want %d", w, got, want)
		}
	}
}

// TestHalfPowers computes ⌊2^64 · 2^(−2^−i)⌋ again, by repeated square roots.
func TestHalfPowers(t *testing.T) {
	const prec = 512
	x := new(big.Int).Lsh(big.NewInt(1), prec-1) // ½ at 512 bits
	for i := 1; i <= fractionBits; i++ {
		x.Sqrt(x.Lsh(x, prec))
		want := new(big.Int).Rsh(x, prec-64).Uint64()
		if halfPowers[i] != want {
			t.Errorf("constant %d = %016x, want %016x", i, halfPowers[i], want)
		}
	}
}

func TestInclusionGolden(t *testing.T) {
	for _, c := range []struct{ w, next, wNext, want uint64 }{
		{1 << 32, 1 << 57, 1 << 32, 0x80000000},
		{1 << 32, 1, 1 << 32, 1},
		{1 << 32, 3 << 57, 1 << 33, 0xa57d8666},
		{3 << 30, 0x03124e0232fa3a6f, 1 << 32, 0x8cc8ecde},
		{maxWeight, 1 << 63, 1, 0xffffffff},
		{0, 1 << 57, 1 << 32, 1},
		{1 << 32, 1 << 57, 0, 1},
	} {
		if got := Inclusion(c.w, c.next, c.wNext); got != c.want {
			t.Errorf("Inclusion(%d, %x, %d) = %08x, want %08x", c.w, c.next, c.wNext, got, c.want)
		}
	}
}

func TestInclusionIsTheProbability(t *testing.T) {
	r := random(t, 3)
	for range 20_000 {
		w, next, wNext := r.Uint64N(maxWeight)>>r.IntN(62)+1, r.Uint64N(1<<63)>>r.IntN(62)+1, r.Uint64N(maxWeight)>>r.IntN(62)+1
		want := -math.Expm1(-math.Ln2 * float64(w) / float64(wNext) * float64(next) / (1 << 57))
		got := float64(Inclusion(w, next, wNext)) / float64(One)
		if math.Abs(got-want) > 0x1p-32 {
			t.Fatalf("Inclusion(%d, %d, %d) = %.12g, want %.12g", w, next, wNext, got, want)
		}
	}
}

func TestLessComparesBy128Bits(t *testing.T) {
	r := random(t, 4)
	for range 50_000 {
		a := Pick{L: r.Uint64() >> r.IntN(64), Weight: r.Uint64() >> r.IntN(64), Seq: r.Int64N(3)}
		b := Pick{L: r.Uint64() >> r.IntN(64), Weight: r.Uint64() >> r.IntN(64), Seq: r.Int64N(3)}
		if r.IntN(4) == 0 {
			b.L, b.Weight = a.L, a.Weight
		}
		if got, want := a.before(b), naiveBefore(a, b); got != want {
			t.Fatalf("%+v before %+v: %v, want %v", a, b, got, want)
		}
	}
}

func naiveBefore(a, b Pick) bool {
	x := new(big.Int).Mul(new(big.Int).SetUint64(a.L), new(big.Int).SetUint64(b.Weight))
	y := new(big.Int).Mul(new(big.Int).SetUint64(b.L), new(big.Int).SetUint64(a.Weight))
	if c := x.Cmp(y); c != 0 {
		return c < 0
	}
	return a.Seq < b.Seq
}
