package parts

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// text is n bytes that differ from place to place.
func text(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestBuffer: what went in comes out in order, however it was divided, and the
// buffer is empty and of use again.
func TestBuffer(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, total := range []int{0, 1, 1000, mostPiece, mostPiece + 1, 3*mostPiece + 77} {
		want := text(r, total)
		var b, tail Buffer
		fill := func(b *Buffer, part []byte) {
			for len(part) > 0 {
				n := min(len(part), 1+r.IntN(300_000))
				if got, err := b.Write(part[:n]); got != n || err != nil {
					t.Fatalf("Write gives %d, %v", got, err)
				}
				part = part[n:]
			}
		}
		for range 2 {
			cut := r.IntN(total + 1)
			fill(&b, want[:cut])
			fill(&tail, want[cut:])
			b.Move(&tail)
			if b.Len() != total || tail.Len() != 0 {
				t.Fatalf("%d and %d bytes of %d", b.Len(), tail.Len(), total)
			}
			if got := b.Take(); !bytes.Equal(got, want) {
				t.Fatalf("%d bytes came out otherwise", total)
			}
			if b.Len() != 0 {
				t.Fatalf("%d bytes are left", b.Len())
			}
		}
		b.Write([]byte("lost"))
		b.Reset()
		fill(&b, want)
		if got := b.AppendTo([]byte("head")); !bytes.Equal(got, append([]byte("head"), want...)) {
			t.Fatalf("%d bytes were appended otherwise", total)
		}
	}
}

// TestWriteCopies: the writer may use its slice again.
func TestWriteCopies(t *testing.T) {
	var b Buffer
	p := []byte("abc")
	b.Write(p)
	p[0] = 'x'
	if got := string(b.Take()); got != "abc" {
		t.Errorf("%q", got)
	}
}

// TestTakeOfHugeIsJoinedInPlace: of a huge buffer the whole has exactly the room
// that it was made with, so that it was copied once.
func TestTakeOfHugeIsJoinedInPlace(t *testing.T) {
	var b Buffer
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for b.Len() < huge+giveBack {
		b.Write(block)
	}
	n := b.Len()
	whole := b.Take()
	if len(whole) != n || cap(whole) != n {
		t.Errorf("%d bytes with room for %d, of %d", len(whole), cap(whole), n)
	}
	for i := 0; i < n; i += len(block) {
		if !bytes.Equal(whole[i:i+len(block)], block) {
			t.Fatalf("bytes from %d on are others", i)
		}
	}
}

func TestMake(t *testing.T) {
	for _, n := range []int{0, 1, uncleared - 1, uncleared, uncleared + 1, 1 << 20} {
		if b := Make(n); len(b) != 0 || cap(b) < n {
			t.Errorf("Make(%d) has %d bytes and room for %d", n, len(b), cap(b))
		}
	}
}
