package facts

import (
	"context"
	"math"
	"slices"

	"trajlake/schema"
	"trajlake/schema/fault"
	"trajlake/store"
)

// View is the facts of all rows of one snapshot. It is immutable, safe for
// concurrent use and needs no closing.
type View struct {
	snap   *store.Snapshot
	has    Set
	rows   int64
	chunks []*chunk // may hold rows beyond the view's
	pages  []*page
	base   *base
	match  *matches
}

// base is what all views that were advanced from one share: codes, and which rows
// predicates over stored columns select.
type base struct {
	dictionaries [textColumns]*dictionary
	sets         *rowSets
	tensors      tensorSets
}

// foldedSets are the facts that annotations change.
const foldedSets = Reward | Priority | Advantage

// Open reads the facts in need of every row of snap.
func Open(ctx context.Context, snap *store.Snapshot, need Set) (*View, error) {
	b := &base{sets: newRowSets(snap.Lake())}
	for c := range b.dictionaries {
		b.dictionaries[c] = newDictionary()
	}
	v := &View{snap: snap, has: need & All, rows: snap.Count(schema.Trajectories), base: b, match: newMatches()}
	if err := v.load(ctx, loading{need: v.has, ids: true, static: true, pages: true}, 0, v.rows); err != nil {
		return nil, fault.Wrap("read facts of "+snap.String(), err)
	}
	return v, nil
}

// Advance makes the view of snap, with the facts that v holds and those in need.
// It shares all it can with v. Change says what differs, if snap is v's own
// snapshot or one after it; for an older one, or one that folds the rewards of
// another scorer, it says that every row is new.
func (v *View) Advance(ctx context.Context, snap *store.Snapshot, need Set) (*View, *Change, error) {
	if snap.Lake() != v.snap.Lake() {
		w, err := Open(ctx, snap, need|v.has)
		return w, &Change{}, err
	}
	w := &View{snap: snap, has: v.has | need&All, rows: snap.Count(schema.Trajectories), base: v.base}
	keep := min(v.rows, w.rows)
	later := newer(snap, v.snap)
	if !later && v.anyAbsent(0, int64(len(v.pages))) {
		keep = 0 // rows that are there in snap may be missing in v
	}
	w.chunks = slices.Clone(v.chunks[:(keep+chunkMask)>>chunkBits])
	missing := w.has &^ v.has
	l := loading{need: missing, static: missing != 0, pages: missing&foldedSets != 0}
	ch := &Change{NewFrom: v.rows}
	var err error
	if later {
		w.pages = slices.Clone(v.pages)
		var annotated []int64
		annotated, ch.Touched, err = w.touch(ctx, v)
		if v.Has(foldedSets) {
			annotated = ch.Touched
		}
		w.match = v.match.after(&Change{ch.NewFrom, annotated})
	} else {
		ch, w.match = &Change{}, newMatches()
		l.need, l.pages = missing|v.has&foldedSets, true
	}
	if err == nil && (l.static || l.pages) {
		err = w.load(ctx, l, 0, keep)
	}
	if err == nil {
		err = w.load(ctx, loading{need: w.has, ids: true, static: true, pages: true}, keep, w.rows)
	}
	if err != nil {
		return nil, nil, fault.Wrap("read facts of "+snap.String(), err)
	}
	return w, ch, nil
}

// newer reports whether nothing that since holds is missing in s.
func newer(s, since *store.Snapshot) bool {
	return s.Scorer() == since.Scorer() && s.Count(schema.Trajectories) >= since.Count(schema.Trajectories) && s.Count(schema.Annotations) >= since.Count(schema.Annotations)
}

// Rows is the number of places: rows ever committed up to the snapshot.
func (v *View) Rows() int64 { return v.rows }

// Snapshot is what the view is of.
func (v *View) Snapshot() *store.Snapshot { return v.snap }

// Has reports whether the view holds all facts of a set.
func (v *View) Has(s Set) bool { return v.has&s == s }

// Only is the view of the same rows with those facts of v that are in need; it
// takes no memory of its own. The fewer facts a view has, the quicker rows are read.
func (v *View) Only(need Set) *View {
	w := *v
	w.has &= need
	return &w
}

// Bytes is the memory that the view holds, about, with what it shares with others.
func (v *View) Bytes() int64 {
	n := int64(8*(cap(v.chunks)+cap(v.pages))) + v.base.sets.size() + v.match.size()
	for _, c := range v.chunks {
		n += c.size()
	}
	for _, p := range v.pages {
		n += p.size()
	}
	for _, d := range v.base.dictionaries {
		n += d.size()
	}
	return n
}

// Read puts the facts of the row at a place, which must be in the view, into r.
// It allocates nothing.
func (v *View) Read(seq int64, r *Row) {
	c, p := v.chunks[seq>>chunkBits], v.pages[seq>>pageBits]
	i, k := int(seq&chunkMask), int(seq&pageMask)
	*r = Row{}
	r.Seq, r.GroupIndex, r.GroupSize, r.Success, r.PolicyMin, r.PolicyMax = seq, -1, -1, -1, Null, Null
	r.Reward, r.RewardRaw, r.Priority, r.Advantage = math.NaN(), math.NaN(), math.NaN(), math.NaN()
	if bitAt(p.absent, k) {
		r.Absent = true
		return
	}
	r.ID64, r.Quarantined = c.ids[i], bitAt(p.quarantined, k)
	v.readCodes(c, i, r)
	if v.has&GroupIndex != 0 {
		r.GroupIndex, r.GroupSize = int32(c.ints[colGroupIndex].get(i, -1)), int32(c.ints[colGroupSize].get(i, -1))
	}
	if v.has&Success != 0 {
		r.Success = int8(c.ints[colSuccess].get(i, -1))
	}
	if v.has&Policy != 0 {
		r.PolicyMin, r.PolicyMax = c.ints[colPolicyMin].get(i, Null), c.ints[colPolicyMax].get(i, Null)
	}
	if v.has&Times != 0 {
		r.Finished, r.Ingested = c.ints[colFinished].get(i, 0), c.ints[colIngested].get(i, 0)
	}
	if v.has&Tokens != 0 {
		r.Tokens = c.ints[colTokens].get(i, 0)
	}
	if v.has&Reward != 0 {
		r.RewardRaw = c.raw.get(i)
		r.Reward = r.RewardRaw
		if p.reward != nil {
			r.Reward = p.reward.get(k)
		}
	}
	if p.priority != nil && v.has&Priority != 0 {
		r.Priority = p.priority.get(k)
	}
	if p.advantage != nil && v.has&Advantage != 0 {
		r.Advantage = p.advantage.get(k)
	}
}

func (v *View) readCodes(c *chunk, i int, r *Row) {
	if v.has&Effort != 0 {
		r.Effort = uint32(c.ints[colEffort].get(i, 0))
	}
	if v.has&Mode != 0 {
		r.Mode = uint32(c.ints[colMode].get(i, 0))
	}
	if v.has&Split != 0 {
		r.Split = uint32(c.ints[colSplit].get(i, 0))
	}
	if v.has&Status != 0 {
		r.Status = uint32(c.ints[colStatus].get(i, 0))
	}
	if v.has&TaskSet != 0 {
		r.TaskSet = uint32(c.ints[colTaskSet].get(i, 0))
	}
	if v.has&Task != 0 {
		r.Task = uint32(c.ints[colTask].get(i, 0))
	}
	if v.has&Prompt != 0 {
		r.Prompt = uint32(c.ints[colPrompt].get(i, 0))
	}
	if v.has&Group != 0 {
		r.Group = uint32(c.ints[colGroup].get(i, 0))
	}
	if v.has&Episode != 0 {
		r.Episode = uint32(c.ints[colEpisode].get(i, 0))
	}
	if v.has&Parent != 0 {
		r.Parent = uint32(c.ints[colParent].get(i, 0))
	}
}

// IDs are the id64 of the rows from a place on to the end of a chunk: at least
// one for a place in the view. Those of absent rows may stand there or be 0. The
// caller must not change them.
func (v *View) IDs(seq int64) []uint64 {
	first := seq &^ chunkMask
	ids := v.chunks[seq>>chunkBits].ids
	return ids[seq-first : min(int64(len(ids)), v.rows-first)]
}

// Text is the text of a code of one column; "" for null, for codes that are none
// and for columns that the view does not hold.
func (v *View) Text(col Set, code uint32) string {
	if c := textColumn(col); c >= 0 {
		return v.base.dictionaries[c].get(code)
	}
	return ""
}

// Code is the code of a text in one column; ok is false when no row of this view,
// or of those that share its codes, has it.
func (v *View) Code(col Set, text string) (code uint32, ok bool) {
	if c := textColumn(col); c >= 0 {
		code = v.base.dictionaries[c].lookup(text)
	}
	return code, code != 0
}

// NewestPolicy is the greatest policy_version_max of the snapshot; Null when no
// row has one, or when the view does not hold Policy.
func (v *View) NewestPolicy() int64 {
	newest := int64(Null)
	if v.has&Policy == 0 {
		return newest
	}
	for i, c := range v.chunks {
		col := &c.ints[colPolicyMax]
		if col.lo > col.hi || col.hi <= newest {
			continue
		}
		n := int(min(v.rows-int64(i)<<chunkBits, chunkRows))
		if n == c.rows && !v.anyAbsent(int64(i)*chunkPages, int64(i+1)*chunkPages) {
			newest = col.hi
			continue
		}
		for j := range n {
			if !v.absent(int64(i)<<chunkBits + int64(j)) {
				newest = max(newest, col.get(j, Null))
			}
		}
	}
	return newest
}

// absent reports whether a row was deleted before the snapshot.
func (v *View) absent(seq int64) bool { return bitAt(v.pages[seq>>pageBits].absent, int(seq&pageMask)) }

// chunkPages is the number of pages of a chunk.
const chunkPages = chunkRows / pageRows

// anyAbsent reports whether a row of pages [from, to) is absent.
func (v *View) anyAbsent(from, to int64) bool {
	for _, p := range v.pages[from:min(to, int64(len(v.pages)))] {
		if p.absent != nil {
			return true
		}
	}
	return false
}
