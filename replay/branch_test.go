package replay

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"

	"trajlake/replay/law"
	"trajlake/schema"
)

// TestPaths cuts paths from rows and from rules alike: a path is what is kept of the
// parent's path, then the segment's own tokens.
func TestPaths(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		var segments []segment
		var paths [][]int32 // of each segment, token by token
		end := int32(0)
		for i := range 1 + r.IntN(12) {
			s := segment{parent: -1, keep: -1, start: end, end: end + r.Int32N(4)}
			end = s.end
			var whole []int32
			if i > 0 && r.IntN(5) > 0 {
				s.parent = r.Int32N(int32(i))
				whole = slices.Clone(paths[s.parent])
				if r.IntN(2) == 0 {
					s.keep = r.Int32N(int32(len(whole)) + 1)
					whole = whole[:s.keep]
				}
			}
			for k := s.start; k < s.end; k++ {
				whole = append(whole, k)
			}
			segments, paths = append(segments, s), append(paths, whole)
		}
		ends := leaves(segments)
		for i := range segments {
			isLeaf := !slices.ContainsFunc(segments, func(s segment) bool { return s.parent == int32(i) })
			if len(ends) > 0 && slices.Contains(ends, int32(i)) != isLeaf {
				t.Fatalf("seed %d: leaves %v of %+v", seed, ends, segments)
			}
			var got []int32
			for _, stretch := range path(segments, int32(i)) {
				for k := stretch[0]; k < stretch[1]; k++ {
					got = append(got, k)
				}
			}
			if !slices.Equal(got, paths[i]) {
				t.Fatalf("seed %d: path to %d of %+v: %v, want %v", seed, i, segments, got, paths[i])
			}
		}
	}
	if leaves(nil) != nil || leaves([]segment{{parent: -1}, {parent: -1}}) != nil {
		t.Error("a row whose segments name no parents has branches")
	}
}

// forked: row i forks into i%3+1 branches of a prompt of two tokens, and one more
// that leaves it after the first token where i is 5.
func forked(i int, r *schema.Trajectory) {
	r.Reward = new(float64(i%4) / 2)
	r.Effort = new(levels[i%2])
	token := int32(0)
	add := func(parent, keep *int32, n int32) {
		r.Segments = append(r.Segments, schema.Segment{Parent: parent, PrefixLen: keep, Start: new(token), End: new(token + n)})
		token += n
	}
	add(nil, nil, 2)
	for range i%3 + 1 {
		add(new(int32(0)), nil, 3)
	}
	if i == 5 {
		add(new(int32(0)), new(int32(1)), 1)
	}
	r.TokenIDs, r.LossMask = nil, nil
	for k := range token {
		r.TokenIDs = append(r.TokenIDs, int32(100*i)+k)
		r.LossMask = append(r.LossMask, int8(min(k, 1)))
	}
}

// sameTokens: a Fetcher gives the rows of a batch the tokens that Sampler.Rows does,
// from the lake and from its cache.
func sameTokens(t *testing.T, s *Sampler, b *Batch, columns []string, want frame) {
	t.Helper()
	fetch := NewFetcher(nil)
	defer fetch.Close()
	for range 2 {
		rec, err := fetch.Rows(t.Context(), s, b, columns)
		if err != nil {
			t.Fatal(err)
		}
		if got := frameOf(rec); got["segments"] != nil || !array.Equal(got["token_ids"], want["token_ids"]) || !array.Equal(got["loss_mask"], want["loss_mask"]) {
			t.Errorf("fetched %v\nwant %v", got["token_ids"], want["token_ids"])
		}
	}
}

func TestBranches(t *testing.T) {
	const n = 12
	lake := rowsLake(t, n, forked)
	for _, name := range []string{Keyed, Tree} {
		s := at(t, lake, bare+"unit: branch\nsampler: "+name+"\nbatch: {rows: 100}\nseed: 4", Origin{})
		b := draw(t, s, 3)
		if want := n + n + 1; len(b.Slots) != want { // 1, 2, 3, 1, … branches, and one more
			t.Fatalf("%d branches, want %d", len(b.Slots), want)
		}
		columns := []string{"trajectory_id", "token_ids", "loss_mask", "logprobs"}
		rec, err := s.Rows(t.Context(), b, columns)
		if err != nil {
			t.Fatal(err)
		}
		f := frameOf(rec)
		sameTokens(t, s, b, columns, f)
		seen, sum := map[string]bool{}, map[int64]float64{}
		for i, slot := range b.Slots {
			m := slot.Members[0]
			list := f["token_ids"].(*array.List)
			from, to := list.ValueOffsets(i)
			got := list.ListValues().(*array.Int32).Int32Values()[from:to]
			first := int32(100 * m.Seq)
			want := []int32{first, first + 1, first + 2 + 3*m.Path, first + 3 + 3*m.Path, first + 4 + 3*m.Path}
			if m.Seq == 5 && m.Path == 3 {
				want = []int32{first, first + 11}
			}
			mask := f["loss_mask"].(*array.List)
			if lo, hi := mask.ValueOffsets(i); int(hi-lo) != len(want) || rec.NumCols() != 4+16 || f["segments"] != nil {
				t.Errorf("row %d: %d of the mask, %d columns", i, hi-lo, rec.NumCols())
			}
			if !slices.Equal(got, want) {
				t.Errorf("branch %d of row %d: %v, want %v", m.Path, m.Seq, got, want)
			}
			seen[fmt.Sprint(m.Seq, "#", m.Path)] = true
			sum[m.Seq] += *f.double(ColRowWeight, i)
		}
		if len(seen) != len(b.Slots) {
			t.Errorf("%d different branches in %d slots", len(seen), len(b.Slots))
		}
		for seq, weight := range sum {
			if weight < 0.999 || weight > 1.001 {
				t.Errorf("row %d counts %v times", seq, weight)
			}
		}
		// More rows come, and some change sides: advancing is opening anew.
		moreRows(t, lake, n, 9, forked)
		view, change, err := s.View().Advance(t.Context(), head(t, lake), Needs(s.Spec()))
		if err != nil {
			t.Fatal(err)
		}
		next, err := s.Advance(t.Context(), view, change, Origin{})
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := OpenAt(t.Context(), view, s.Spec(), Origin{})
		if err != nil {
			t.Fatal(err)
		}
		sameSampler(t, next, fresh, name)
		lake = rowsLake(t, n, forked)
	}
}

// TestBranchKeys: the key of a branch is that of its name; the only branch of a row
// is the row.
func TestBranchKeys(t *testing.T) {
	const n = 12
	lake := rowsLake(t, n, forked)
	s := at(t, lake, bare+"unit: branch\nsampler: keyed\nbatch: {rows: 1}\nseed: 4", Origin{})
	best, want := uint64(1<<63), ""
	for i := range n {
		names := []string{fmt.Sprint("a", i)}
		if k := i%3 + 1 + map[bool]int{true: 1}[i == 5]; k > 1 {
			names = names[:0]
			for path := range k {
				names = append(names, fmt.Sprintf("a%d#%d", i, path))
			}
		}
		for _, id := range names {
			if l := law.Key(law.ID64(id), 4, 3); l < best {
				best, want = l, id
			}
		}
	}
	m := draw(t, s, 3).Slots[0].Members[0]
	if got := fmt.Sprintf("a%d#%d", m.Seq, m.Path); got != want && fmt.Sprint("a", m.Seq) != want {
		t.Errorf("drew %s, want %s", got, want)
	}
	// A row that was drawn as often as it may has no other branches left.
	s = at(t, lake, bare+"unit: branch\nbatch: {rows: 4}\ncaps: {reuse: 1}", Origin{})
	drawnAt := map[int64]uint64{}
	for position := range uint64(4) {
		for _, slot := range draw(t, s, position).Slots {
			if p, was := drawnAt[slot.Members[0].Seq]; was && p != position {
				t.Errorf("row %d at %d and %d", slot.Members[0].Seq, p, position)
			}
			drawnAt[slot.Members[0].Seq] = position
		}
	}
}

// TestHoles fetches a batch of which rows were deleted.
func TestHoles(t *testing.T) {
	lake := rowsLake(t, 9, mixed)
	s := at(t, lake, bare+"batch: {rows: 9}\ncolumns: [trajectory_id, token_ids, reward]", Origin{})
	b := draw(t, s, 0)
	for _, id := range []string{"a2", "a7"} {
		a := &schema.Annotation{AnnotationID: "gone-" + id, Kind: new("gone"), TargetKind: new("trajectory"), TargetID: &id, Reason: new("licence"), ValueJSON: new(`{"row_seq":` + id[1:] + `}`)}
		if _, _, err := lake.Annotate(t.Context(), []*schema.Annotation{a}); err != nil {
			t.Fatal(err)
		}
	}
	stored, gone, err := s.gatherAround(t.Context(), s.Places(b), s.spec.Columns)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.Finish(b, stored, s.spec.Columns, gone)
	if err != nil {
		t.Fatal(err)
	}
	f := frameOf(rec)
	for i, seq := range s.Places(b) {
		id, there := f.text("trajectory_id", i)
		why, hole := f.text(ColGone, i)
		deleted := seq == 2 || seq == 7
		if deleted != hole || deleted == there || deleted != f["token_ids"].IsNull(i) || there && id != fmt.Sprint("a", seq) || hole && why != "licence" || f.double(ColInclusion, i) == nil {
			t.Errorf("row %d: %q %v, gone %q %v", seq, id, there, why, hole)
		}
	}
}
