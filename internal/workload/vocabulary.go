package workload

import (
	"math"
	"math/rand/v2"
	"strings"
)

const (
	vocabularySize = 150_000 // token ids
	zipfExponent   = 1.1
	wordCount      = 20_000
)

// zipf draws from Zipf's law over 0 … n-1 by Walker's alias method: one random
// number and one look into a table for each draw.
type zipf struct {
	keep  []uint32 // chance, of 2^32, that slot i gives i
	alias []int32  // what it gives otherwise
}

func newZipf(n int, exponent float64) *zipf {
	weights := make([]float64, n)
	sum := 0.0
	for i := range weights {
		weights[i] = math.Pow(float64(i+1), -exponent)
		sum += weights[i]
	}
	z := &zipf{keep: make([]uint32, n), alias: make([]int32, n)}
	var small, large []int32
	for i := range weights {
		weights[i] *= float64(n) / sum
		z.keep[i], z.alias[i] = math.MaxUint32, int32(i)
		if weights[i] < 1 {
			small = append(small, int32(i))
		} else {
			large = append(large, int32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		z.keep[s], z.alias[s] = uint32(weights[s]*math.MaxUint32), l
		if weights[l] -= 1 - weights[s]; weights[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	return z
}

func (z *zipf) draw(r *rand.Rand) int32 {
	x := r.Uint64()
	i := int32((x >> 32) * uint64(len(z.keep)) >> 32)
	if uint32(x) <= z.keep[i] {
		return i
	}
	return z.alias[i]
}

// vocabulary is a fixed list of made-up words, frequent ones first and short.
type vocabulary struct {
	words []string
	zipf  *zipf
}

func newVocabulary() *vocabulary {
	onsets := strings.Fields("b c d f g h j k l m n p r s t v w z st tr pl ch sh")
	nuclei := strings.Fields("a e i o u ai ea ou é")
	codas := []string{"", "", "n", "r", "s", "t", "l", "nd"}
	r := rand.New(rand.NewPCG(1, 1))
	v := &vocabulary{zipf: newZipf(wordCount, 1.05)}
	seen := make(map[string]bool, wordCount)
	var b strings.Builder
	for len(v.words) < wordCount {
		b.Reset()
		for range 1 + r.IntN(1+len(v.words)*4/wordCount+1) {
			b.WriteString(onsets[r.IntN(len(onsets))])
			b.WriteString(nuclei[r.IntN(len(nuclei))])
			b.WriteString(codas[r.IntN(len(codas))])
		}
		if w := b.String(); !seen[w] {
			seen[w] = true
			v.words = append(v.words, w)
		}
	}
	return v
}

// text is prose of at most n bytes, and of nearly as many.
func (v *vocabulary) text(r *rand.Rand, n int) string {
	var b strings.Builder
	b.Grow(max(n, 0))
	for sentence := 3 + r.IntN(15); ; sentence-- {
		w := v.words[v.zipf.draw(r)]
		if b.Len()+len(w)+2 > n {
			return b.String()
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w)
		if sentence == 0 {
			b.WriteByte('.')
			sentence = 3 + r.IntN(15)
		}
	}
}

// name is an identifier of two words.
func (v *vocabulary) name(r *rand.Rand) string {
	return v.words[r.IntN(2000)] + "_" + v.words[r.IntN(wordCount)]
}
