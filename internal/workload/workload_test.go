package workload

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"trajlake/schema"
)

var profiles = []Profile{Mixed, Tiny, Small, Medium, Large}

func TestSameSeedSameRows(t *testing.T) {
	for _, p := range profiles {
		var a, b, other bytes.Buffer
		for buf, seed := range map[*bytes.Buffer]uint64{&a: 7, &b: 7, &other: 8} {
			if err := New(seed, p).WriteJSONL(buf, 40); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%v: seed 7 gives different rows", p)
		}
		if bytes.Equal(a.Bytes(), other.Bytes()) {
			t.Errorf("%v: seeds 7 and 8 give the same rows", p)
		}
		if n := bytes.Count(a.Bytes(), []byte("\n")); n != 40 {
			t.Errorf("%v: %d lines, want 40", p, n)
		}
	}
}

func TestRowsAreValidAndSized(t *testing.T) {
	for _, p := range profiles {
		g := New(3, p)
		seen := map[string]bool{}
		sum, off := int64(0), 0
		const rows = 300
		for range rows {
			row := g.Next()
			if err := schema.Validate(row, schema.Limits{}).Err("validate " + row.TrajectoryID); err != nil {
				t.Fatalf("%v: %v", p, err)
			}
			if seen[row.TrajectoryID] {
				t.Fatalf("%v: %s twice", p, row.TrajectoryID)
			}
			seen[row.TrajectoryID] = true
			size := schema.Size(row)
			sum += size
			if ratio := float64(size) / float64(p.Bytes()); ratio < 0.6 || ratio > 1.4 {
				off++
			}
			checkTokens(t, row)
		}
		if p == Mixed {
			continue
		}
		t.Logf("%v: %d bytes a row, %d of %d beyond 40 %%", p, sum/rows, off, rows)
		if off > rows/20 || math.Abs(float64(sum)/rows/float64(p.Bytes())-1) > 0.1 {
			t.Errorf("%v: %d bytes a row, %d of %d rows beyond 40 %% of %d", p, sum/rows, off, rows, p.Bytes())
		}
	}
}

// checkTokens compares loss_mask with the spans of turns and segments.
func checkTokens(t *testing.T, row *schema.Trajectory) {
	t.Helper()
	want := make([]int8, len(row.TokenIDs))
	for _, turn := range row.Turns {
		if turn.TokenStart == nil || !turn.IsSampled() {
			continue
		}
		for i := *turn.TokenStart; i < *turn.TokenEnd; i++ {
			want[i] = 1
		}
	}
	next := int32(0)
	for _, s := range row.Segments {
		if *s.Start != next {
			t.Fatalf("%s: a segment starts at %d, want %d", row.TrajectoryID, *s.Start, next)
		}
		next = *s.End
		for i := *s.Start; i < *s.End; i++ {
			if want[i] != row.LossMask[i] || (want[i] == 1) != (*s.Reason == "sampled") || want[i] == 0 && row.Logprobs[i] != 0 {
				t.Fatalf("%s: token %d has mask %d in a segment %s, its turn says %d", row.TrajectoryID, i, row.LossMask[i], *s.Reason, want[i])
			}
		}
	}
	if int(next) != len(row.TokenIDs) {
		t.Fatalf("%s: segments end at %d of %d tokens", row.TrajectoryID, next, len(row.TokenIDs))
	}
}

func TestMix(t *testing.T) {
	g := New(11, Small)
	count := map[string]int{}
	groups := map[string][]*schema.Trajectory{}
	byID := map[string]*schema.Trajectory{}
	last := int64(0)
	for range 4000 {
		row := g.Next()
		byID[row.TrajectoryID] = row
		level := "null"
		if row.Effort != nil {
			level = *row.Effort
		}
		count["effort "+level]++
		count["mode "+*row.Mode]++
		count["task_set "+*row.TaskSet]++
		count["band "+schema.RewardBand(row.Reward)]++
		count["fault "+*row.Fault]++
		if *row.Truncated {
			count["truncated"]++
		}
		if *row.NumToolErrors > 0 {
			count["tool errors"]++
		}
		if row.GroupID != nil {
			groups[*row.GroupID] = append(groups[*row.GroupID], row)
		}
		if *row.PolicyVersionMin < last {
			t.Fatalf("%s: policy version %d after %d", row.TrajectoryID, *row.PolicyVersionMin, last)
		}
		last = *row.PolicyVersionMin
		if row.ParentID != nil {
			count["sub-agents"]++
			if parent := byID[*row.ParentID]; parent == nil || row.ParentCall == nil || *row.EpisodeID != *row.ParentID || *parent.EpisodeID != *row.EpisodeID {
				t.Errorf("%s: parent %v", row.TrajectoryID, *row.ParentID)
			}
		}
	}
	for _, level := range append(schema.Efforts.Names(), "null") {
		if count["effort "+level] < 100 {
			t.Errorf("effort %s: %d rows", level, count["effort "+level])
		}
	}
	for _, what := range []string{"mode thinking", "mode instruct", "mode unknown", "fault infrastructure", "truncated", "tool errors", "sub-agents"} {
		if count[what] < 50 {
			t.Errorf("%s: %d rows", what, count[what])
		}
	}
	for _, band := range schema.RewardBands() {
		if count["band "+band] == 0 {
			t.Errorf("no row in reward band %s", band)
		}
	}
	full := 0
	for id, rows := range groups {
		for i, row := range rows {
			if int(*row.GroupIndex) != i || *row.TaskID != *rows[0].TaskID || *row.Turns[1].Text != *rows[0].Turns[1].Text {
				t.Fatalf("group %s: row %d does not belong", id, i)
			}
		}
		if len(rows) == GroupSize {
			full++
		}
	}
	if full < len(groups)-1 {
		t.Errorf("%d of %d groups are full", full, len(groups))
	}
	t.Log(count)
}

func TestZipf(t *testing.T) {
	z := newZipf(vocabularySize, zipfExponent)
	r := rand.New(rand.NewPCG(5, 5))
	const draws = 400_000
	var count [3]int
	for range draws {
		if i := z.draw(r); i < 3 {
			count[i]++
		}
	}
	sum := 0.0
	for i := range vocabularySize {
		sum += math.Pow(float64(i+1), -zipfExponent)
	}
	for i, n := range count {
		p := math.Pow(float64(i+1), -zipfExponent) / sum
		if sigma := math.Sqrt(draws * p * (1 - p)); math.Abs(float64(n)-draws*p) > 6*sigma {
			t.Errorf("rank %d: %d draws, want %.0f ± %.0f (seed 5)", i, n, draws*p, sigma)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	for _, p := range profiles[1:] {
		b.Run(p.String(), func(b *testing.B) {
			g := New(1, p)
			for b.Loop() {
				g.Next()
			}
		})
	}
}
