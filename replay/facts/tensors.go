package facts

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/replay/law"
	"trajlake/schema"
	"trajlake/schema/where"
	"trajlake/store"
)

// tensorSets are, by the tensor's name, the rows that have it.
type tensorSets struct {
	mu   sync.Mutex
	sets map[string]*tensorSet
}

// tensorSet is the rows that have one tensor, whole, as far as rows and tensors
// are known, and the pieces that await the others or their row.
type tensorSet struct {
	turn    turn     // guards all the others
	words   []uint64 // replaced, never changed
	rows    int64    // rows below this were looked at
	tensors int64    // pieces below this were read
	waiting map[uint64][]*pieces
}

// pieces are those of one producer's version of a tensor.
type pieces struct {
	key    string // producer and version
	want   int
	free   int      // pieces of whatever row has the id
	owners [][]byte // of the others, the source digest of the row they came with
}

// whole reports whether the pieces that belong to a row of a source digest are all
// there.
func (p *pieces) whole(digest []byte) bool {
	n := p.free
	for _, o := range p.owners {
		if bytes.Equal(o, digest) {
			n++
		}
	}
	return n == p.want
}

// get gives the rows of v that have a tensor by v's snapshot.
func (t *tensorSets) get(ctx context.Context, v *View, name string) ([]uint64, error) {
	t.mu.Lock()
	if t.sets == nil {
		t.sets = map[string]*tensorSet{}
	}
	s := t.sets[name]
	if s == nil {
		s = &tensorSet{turn: newTurn()}
		t.sets[name] = s
	}
	t.mu.Unlock()
	if err := s.turn.take(ctx); err != nil {
		return nil, err
	}
	defer s.turn.give()
	if s.rows > v.rows || s.tensors > v.snap.Count(schema.Tensors) {
		s = &tensorSet{} // an older snapshot does not have all of them
	}
	if err := s.update(ctx, v, name); err != nil {
		return nil, err
	}
	return s.words, nil
}

// update reads new pieces and gives them to their rows. When it fails the set
// knows nothing.
func (s *tensorSet) update(ctx context.Context, v *View, name string) (err error) {
	limit := v.snap.Count(schema.Tensors)
	if s.rows == v.rows && s.tensors == limit && s.words != nil {
		return nil
	}
	defer func() {
		if err != nil {
			s.words, s.rows, s.tensors, s.waiting = nil, 0, 0, nil
		}
	}()
	if s.waiting == nil {
		s.waiting = map[uint64][]*pieces{}
	}
	if s.tensors < limit {
		if err := s.read(ctx, v, name, limit); err != nil {
			return err
		}
	}
	words := slices.Concat(s.words, make([]uint64, max(0, int((v.rows+63)/64)-len(s.words))))
	if err := s.join(ctx, v, words); err != nil {
		return err
	}
	s.words, s.rows, s.tensors = words, v.rows, limit
	return nil
}

// read takes the pieces up to limit that are not known.
func (s *tensorSet) read(ctx context.Context, v *View, name string, limit int64) error {
	pred, err := where.Parse("name = '" + strings.ReplaceAll(name, "'", "''") + "'")
	if err != nil {
		return err
	}
	o := store.ScanOptions{Table: schema.Tensors, Columns: []string{"trajectory_id", "producer", "version", "piece", "pieces", "source_digest"}, Where: pred, From: s.tensors, To: limit}
	for rec, err := range v.snap.Scan(ctx, o) {
		if err != nil {
			return err
		}
		rows, err := schema.NewRowReader[schema.Tensor](rec.Schema())
		if err != nil {
			return err
		}
		for i := range int(rec.NumRows()) {
			r, err := rows.Row(rec, i)
			if err != nil {
				return err
			}
			s.piece(r)
		}
	}
	return nil
}

func (s *tensorSet) piece(r *schema.Tensor) {
	id, key := law.ID64(r.TrajectoryID), tensorKey(r)
	at := slices.IndexFunc(s.waiting[id], func(p *pieces) bool { return p.key == key })
	if at < 0 {
		at = len(s.waiting[id])
		s.waiting[id] = append(s.waiting[id], &pieces{key: key, want: int(r.Pieces)})
	}
	p := s.waiting[id][at]
	if r.SourceDigest == nil {
		p.free++
	} else {
		p.owners = append(p.owners, slices.Clone(r.SourceDigest))
	}
}

func tensorKey(r *schema.Tensor) string {
	var b []byte
	if r.Version != nil {
		b = binary.AppendVarint(b, *r.Version)
	} else {
		b = binary.AppendVarint(b, 0)
	}
	if r.Producer != nil {
		b = append(b, *r.Producer...)
	}
	return string(b)
}

// sieveBits is the size of the sieve that tells most rows apart from those whose
// pieces wait.
const sieveBits = 20

// join sets the bits of the rows whose tensors are whole, and forgets their pieces.
func (s *tensorSet) join(ctx context.Context, v *View, words []uint64) error {
	sieve := make([]uint64, 1<<sieveBits/64)
	for id, waiting := range s.waiting {
		if slices.ContainsFunc(waiting, func(p *pieces) bool { return p.free+len(p.owners) >= p.want }) {
			at := id >> (64 - sieveBits)
			sieve[at/64] |= 1 << (at % 64)
		}
	}
	var owned []int64 // rows for which it depends on their source digest
	var ids []uint64
	for seq := int64(0); seq < v.rows; {
		for _, id := range v.IDs(seq) {
			if at := id >> (64 - sieveBits); sieve[at/64]>>(at%64)&1 == 1 && !v.absent(seq) {
				whole, depends := s.look(id)
				if whole {
					words[seq/64] |= 1 << (seq % 64)
					delete(s.waiting, id)
				} else if depends {
					owned, ids = append(owned, seq), append(ids, id)
				}
			}
			seq++
		}
	}
	return s.joinOwned(ctx, v, owned, ids, words)
}

// look reports whether a tensor of an id is whole whatever its row, and whether it
// may be with the right one.
func (s *tensorSet) look(id uint64) (whole, depends bool) {
	for _, p := range s.waiting[id] {
		whole = whole || p.whole(nil) && len(p.owners) == 0
		depends = depends || len(p.owners) > 0 && p.free+len(p.owners) >= p.want
	}
	return whole, depends
}

// joinOwned looks at the source digests of rows. A tensor that came together with a
// row is that row's only if the two have the same.
func (s *tensorSet) joinOwned(ctx context.Context, v *View, seqs []int64, ids []uint64, words []uint64) error {
	for lo := 0; lo < len(seqs); lo += touchBatch {
		hi := min(lo+touchBatch, len(seqs))
		rec, err := v.snap.Gather(ctx, seqs[lo:hi], []string{"source_digest"})
		if err != nil {
			return err
		}
		digests, ok := rec.Column(0).(*array.Binary)
		if !ok {
			return wrongType(rec, 0)
		}
		for i := range hi - lo {
			digest := []byte{}
			if digests.IsValid(i) {
				digest = digests.Value(i)
			}
			if slices.ContainsFunc(s.waiting[ids[lo+i]], func(p *pieces) bool { return p.whole(digest) }) {
				words[seqs[lo+i]/64] |= 1 << (seqs[lo+i] % 64)
				delete(s.waiting, ids[lo+i])
			}
		}
	}
	return nil
}
