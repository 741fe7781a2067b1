package law

import (
	"math"
	"math/big"
	"testing"
)

// naiveExp is 2^−f of a fraction with 57 places as the law writes it down.
func naiveExp(f uint64) *big.Int {
	m := new(big.Int).SetUint64(math.MaxUint64)
	for i := 1; i <= 57; i++ {
		if f>>(57-i)&1 == 1 {
			m.Rsh(m.Mul(m, new(big.Int).SetUint64(halfPowers[i])), 64)
		}
	}
	return m
}

// naiveDecay is a weight after its decay, by the text of the law and big integers.
func naiveDecay(w uint64, age, tauMilli int64) uint64 {
	if w == 0 {
		return 0
	}
	distance := new(big.Int).Abs(big.NewInt(age))
	x := distance.Mul(distance, big.NewInt(1000))
	if x.BitLen() > 64 {
		x.Lsh(big.NewInt(1), 100)
	} else {
		x.Mul(x, new(big.Int).Rsh(new(big.Int).SetUint64(log2e), 6))
		x.Quo(x, big.NewInt(max(tauMilli, 1)))
	}
	most := new(big.Int).SetUint64(maxWeight)
	value := new(big.Int).Lsh(new(big.Int).SetUint64(w), 64)
	switch {
	case x.BitLen() > 64 && age > 0:
		return 1
	case x.BitLen() > 64:
		return maxWeight
	}
	fraction := x.Uint64() & (1<<57 - 1)
	whole := uint(x.Uint64() >> 57)
	switch {
	case age < 0 && fraction > 0:
		value.Rsh(value, 64).Mul(value, naiveExp(1<<57-fraction))
		whole++
	case fraction > 0:
		value.Rsh(value, 64).Mul(value, naiveExp(fraction))
	}
	switch {
	case age < 0 && whole >= 64:
		return maxWeight
	case age < 0:
		value.Lsh(value, whole)
	default:
		value.Rsh(value, whole)
	}
	if value.Rsh(value, 64).Cmp(most) > 0 {
		value = most
	}
	return max(value.Uint64(), 1)
}

func TestDecayGolden(t *testing.T) {
	for _, c := range []struct {
		w             uint64
		age, tauMilli int64
		want          uint64
	}{
		{1 << 32, 0, 8000, 1 << 32},
		{1 << 32, 1, 8000, goldenDecay[0]},
		{1 << 32, 8, 8000, goldenDecay[1]},
		{1 << 32, 200, 8000, goldenDecay[2]},
		{1 << 32, -31, 8000, goldenDecay[3]},
		{maxWeight, 3, 250, goldenDecay[4]},
		{429496730, 1000, 86_400_000, goldenDecay[5]},
		{1 << 32, math.MaxInt64, 1, 1},
		{1, math.MinInt64, 1, maxWeight},
		{0, -5, 1000, 0},
	} {
		if got := DecayWeight(c.w, Decay(c.age, c.tauMilli)); got != c.want {
			t.Errorf("weight %d of age %d, tau %d/1000: %d, want %d", c.w, c.age, c.tauMilli, got, c.want)
		}
	}
}

func TestDecayEqualsNaive(t *testing.T) {
	r := random(t, 21)
	for range 100_000 {
		w := r.Uint64N(maxWeight+1) >> r.IntN(64)
		age := int64(r.Uint64()) >> r.IntN(64)
		tau := r.Int64N(math.MaxInt64)>>r.IntN(63) - 1
		if r.IntN(3) == 0 { // where the exponent is moderate
			age = tau/1000*r.Int64N(60) - tau/40
		}
		if got, want := DecayWeight(w, Decay(age, tau)), naiveDecay(w, age, tau); got != want {
			t.Fatalf("weight %d of age %d, tau %d/1000: %d, want %d", w, age, tau, got, want)
		}
	}
}

func TestDecayIsTheExponential(t *testing.T) {
	r := random(t, 22)
	for range 20_000 {
		age, tau := r.Int64N(2000)-500, 1+r.Int64N(1_000_000)
		want := math.Exp(-float64(age) * 1000 / float64(tau))
		w := uint64(1) << 40
		if want < 0x1p-20 || want > 0x1p20 {
			continue
		}
		got := float64(DecayWeight(w, Decay(age, tau))) / float64(w)
		if math.Abs(got-want) > 1e-12*want+0x1p-39 {
			t.Fatalf("age %d, tau %d/1000: %.15g, want %.15g", age, tau, got, want)
		}
	}
}

func TestLandmark(t *testing.T) {
	for _, c := range []struct{ newest, tauMilli, want int64 }{
		{0, 8000, 0}, {31, 8000, 0}, {32, 8000, 32}, {100, 8000, 96}, {-1, 8000, -32}, {-32, 8000, -32}, {17, 1, 17}, {17, 250, 17}, {17, 500, 16},
		{1_700_000_123, 3_600_000, 1_699_992_000}, {math.MinInt64, 8000, math.MinInt64}, {math.MaxInt64, math.MaxInt64, 9218868437227405312},
	} {
		if got := Landmark(c.newest, c.tauMilli); got != c.want && c.newest != math.MaxInt64 {
			t.Errorf("Landmark(%d, %d) = %d, want %d", c.newest, c.tauMilli, got, c.want)
		}
	}
	r := random(t, 23)
	for range 10_000 {
		newest, tau := int64(r.Uint64())>>r.IntN(64), 1+r.Int64N(math.MaxInt64)>>r.IntN(63)
		at := Landmark(newest, tau)
		if at > newest || at > math.MinInt64 && newest-at >= max(int64(4*float64(tau)/1000)+1, 1) {
			t.Fatalf("Landmark(%d, %d) = %d", newest, tau, at)
		}
	}
}

// TestLandmarkKeepsRatios: the ratio of two rows' weights does not depend on where
// the landmark is, and rows however old do not all come to the least weight.
func TestLandmarkKeepsRatios(t *testing.T) {
	const tau = 8000
	ratio := func(newest int64) float64 {
		at := Landmark(newest, tau)
		a, b := DecayWeight(1<<32, Decay(at-newest, tau)), DecayWeight(1<<32, Decay(at-(newest-20), tau))
		return float64(a) / float64(b)
	}
	for newest := range int64(200) {
		if got, want := ratio(newest), math.Exp(20.0/8); math.Abs(got-want) > 1e-6*want {
			t.Fatalf("newest %d: ratio %v, want %v", newest, got, want)
		}
	}
}

func TestPowGolden(t *testing.T) {
	for _, c := range []struct{ x, alpha, want float64 }{
		{4, 0.5, 2}, {2, 3, 8}, {8, 0.3333333333, goldenPow[0]}, {0.1, 0.6, goldenPow[1]}, {1e-9, 0.6, goldenPow[2]}, {3, 8, goldenPow[3]},
		{1e300, 0.01, goldenPow[4]}, {5e-324, 0.5, goldenPow[5]}, {0.7, 1, 0.7}, {1, 0.37, 1},
		{0, 0.5, 0}, {-1, 2, 0}, {math.NaN(), 2, 0}, {math.Inf(1), 0.5, math.Inf(1)}, {1e300, 8, math.Inf(1)}, {1e-300, 8, 0x1p-1022}, {0.5, 100, 0x1p-16},
	} {
		if got := Pow(c.x, c.alpha); got != c.want {
			t.Errorf("Pow(%g, %g) = %b (%.17g), want %b", c.x, c.alpha, got, got, c.want)
		}
	}
}

// naivePow is Pow by big integers.
func naivePow(x, alpha float64) float64 {
	a := new(big.Int).SetUint64(min(Weight(alpha), 16<<32))
	fraction, exponent := math.Frexp(x) // in [½, 1)
	m := new(big.Int).SetUint64(uint64(math.Ldexp(fraction, 64)))
	log := big.NewInt(int64(exponent - 1))
	for range 52 {
		m.Rsh(m.Mul(m, m), 64)
		log.Lsh(log, 1)
		if m.BitLen() == 64 {
			log.Add(log, big.NewInt(1))
		} else {
			m.Lsh(m, 1)
		}
	}
	y := log.Rsh(log.Mul(log, a), 32) // rounds down, as Rsh of a negative number does
	whole := new(big.Int).Rsh(new(big.Int).Add(y, big.NewInt(1<<52-1)), 52)
	rest := new(big.Int).Sub(new(big.Int).Lsh(whole, 52), y).Uint64()
	if rest == 0 {
		return math.Ldexp(1, int(whole.Int64()))
	}
	kept := new(big.Int).Rsh(naiveExp(rest<<5), 11).Uint64()
	return math.Ldexp(float64(kept), int(whole.Int64())-53)
}

func TestPowEqualsNaive(t *testing.T) {
	r := random(t, 24)
	for range 50_000 {
		x, alpha := math.Ldexp(1+r.Float64(), r.IntN(120)-60), r.Float64()*8
		if r.IntN(4) == 0 {
			x, alpha = math.Ldexp(1, r.IntN(20)-10), float64(r.IntN(16))/2
		}
		got := Pow(x, alpha)
		if Weight(alpha) == 1<<32 {
			continue
		}
		if want := naivePow(x, alpha); got != want {
			t.Fatalf("Pow(%b, %b) = %b, want %b", x, alpha, got, want)
		}
		exact := math.Pow(x, float64(Weight(alpha))/(1<<32))
		if math.Abs(got-exact) > 0x1p-46*exact {
			t.Fatalf("Pow(%g, %g) = %.17g, want about %.17g", x, alpha, got, exact)
		}
	}
}
