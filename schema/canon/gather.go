package canon

import "runtime/debug"

const (
	leastPiece = 1 << 20
	mostPiece  = 16 << 20
	hugeRecord = 64 << 20 // from which on memory is given back when the pieces are joined
)

// gather collects a record of unknown size in pieces, so that a record that
// turns out to be too large has cost no more than the limit.
type gather struct {
	pieces [][]byte
	size   int64
}

func (g *gather) add(part []byte) {
	g.size += int64(len(part))
	for len(part) > 0 {
		k := len(g.pieces)
		if k == 0 || len(g.pieces[k-1]) == cap(g.pieces[k-1]) {
			n := min(max(int(g.size), leastPiece), mostPiece)
			g.pieces = append(g.pieces, make([]byte, 0, n))
			k++
		}
		last := &g.pieces[k-1]
		n := min(len(part), cap(*last)-len(*last))
		*last = append(*last, part[:n]...)
		part = part[n:]
	}
}

// drop forgets everything.
func (g *gather) drop() { *g = gather{} }

// take is the whole, and forgets it.
func (g *gather) take() []byte {
	pieces, size := g.pieces, g.size
	g.drop()
	if len(pieces) == 1 {
		return pieces[0]
	}
	whole := make([]byte, 0, size)
	for i, p := range pieces {
		whole = append(whole, p...)
		pieces[i] = nil
	}
	if size >= hugeRecord {
		debug.FreeOSMemory() // else the pieces stay beside the record while it is read
	}
	return whole
}
