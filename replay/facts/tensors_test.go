package facts

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"trajlake/internal/testlake"
	"trajlake/schema"
	"trajlake/store"
)

// tensorPiece is one piece of a tensor; owner is the digest of the row it comes with.
func tensorPiece(id string, version int64, piece, pieces int32, owner []byte) *schema.Tensor {
	return &schema.Tensor{TrajectoryID: id, Name: "ref", Producer: new("p"), Version: &version, Piece: piece, Pieces: pieces, DType: new("uint8"),
		Shape: []int64{2}, Data: [][]byte{{1, byte(piece)}}, SourceDigest: owner}
}

// TestRequiredTensors appends rows and pieces of tensors at random, some before
// their rows and some of other rows, and compares with what the lake says of each
// row, at every snapshot, whether it was advanced to or opened.
func TestRequiredTensors(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			l := testlake.Open(t)
			rows := testlake.Rows(l, "r", 60, seed)
			committed := 0
			v := openView(t, head(t, l), 0)
			var snaps []*store.Snapshot
			seen := map[string]bool{}
			for range 6 {
				var tensors []*schema.Tensor
				for range r.IntN(25) {
					k, version, pieces := r.IntN(len(rows)), r.Int64N(3), int32(1+r.IntN(2))
					row := rows[k]
					pieces = 1 + int32(k)%2
					piece := r.Int32N(pieces)
					owner := row.SourceDigest
					switch {
					case version == 2:
						owner = rows[(k+1)%len(rows)].SourceDigest // came with a row that was not taken
					case k < committed && r.IntN(2) == 0:
						owner = nil
					}
					if key := fmt.Sprint(k, version, piece); !seen[key] {
						seen[key] = true
						tensors = append(tensors, tensorPiece(row.TrajectoryID, version, piece, pieces, owner))
					}
				}
				if len(tensors) > 0 {
					if _, err := l.AppendTensors(ctx, tensors); err != nil {
						t.Fatal(err)
					}
				}
				if n := r.IntN(15); n > 0 && committed+n <= len(rows) {
					appendRows(t, l, rows[committed:committed+n]...)
					committed += n
				}
				s := head(t, l)
				snaps = append(snaps, s)
				var err error
				if v, _, err = v.Advance(ctx, s, 0); err != nil {
					t.Fatal(err)
				}
				checkTensors(t, v, rows, "advanced")
				checkTensors(t, openView(t, s, 0), rows, "opened")
			}
			old, _, err := v.Advance(ctx, snaps[2], 0)
			if err != nil {
				t.Fatal(err)
			}
			checkTensors(t, old, rows, "older")
			checkTensors(t, v, rows, "after the older one")
		})
	}
}

func checkTensors(t *testing.T, v *View, rows []*schema.Trajectory, what string) {
	t.Helper()
	b, err := v.Require(context.Background(), nil, []string{"ref"})
	if err != nil {
		t.Fatal(err)
	}
	var want []int64
	for i := range v.Rows() {
		infos, err := v.Snapshot().Tensors(context.Background(), rows[i].TrajectoryID, "ref")
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(infos, func(t store.TensorInfo) bool { return t.Complete }) {
			want = append(want, i)
		}
	}
	if got := places(b); !slices.Equal(got, want) {
		t.Errorf("%s: rows %v have the tensor, want %v", what, got, want)
	}
}

// TestGoneRow takes a row's facts from what a deletion kept.
func TestGoneRow(t *testing.T) {
	l := testlake.Open(t)
	v := openView(t, head(t, l), All)
	f := &filling{loading: &loading{v: v, need: All}, b: newBuilder(All, true, true, true), to: 2}
	f.b.reset(2)
	f.goneRow(1, store.GoneRow{Seq: 1, ID: "t-1", Scalars: `{"trajectory_id":"t-1","effort":"high","task_id":"a","reward":0.5,"success":true,"policy_version_max":9007199254740993,
		"prompt_tokens":5,"completion_tokens":7,"finished_at":"2026-03-01T00:00:00.5Z","ingested_at":1772323200000001,"group_index":3,"row_seq":1,"group_id":null}`})
	v.chunks, v.pages, v.rows = []*chunk{f.b.chunk(nil)}, []*page{f.b.page(0, nil)}, 2
	var r Row
	if v.Read(0, &r); !r.Absent {
		t.Errorf("a row of which nothing is left: %+v", r)
	}
	v.Read(1, &r)
	if v.Text(Effort, r.Effort) != "high" || v.Text(Task, r.Task) != "a" || r.Reward != 0.5 || r.RewardRaw != 0.5 || r.Success != 1 || r.PolicyMax != 9007199254740993 || r.PolicyMin != Null ||
		r.Tokens != 12 || r.Finished != 1772323200500000 || r.Ingested != 1772323200000001 || r.GroupIndex != 3 || r.Group != 0 || r.Absent {
		t.Errorf("%+v", r)
	}
	b, _, err := v.Match(context.Background(), nil)
	if err != nil || b.Count() != 1 || b.Has(0) {
		t.Errorf("all rows: %v, %v", places(b), err)
	}
}
