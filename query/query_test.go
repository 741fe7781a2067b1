package query

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
	"trajlake/schema/where"
	"trajlake/store"
	"trajlake/store/blob"
)

func openLake(t *testing.T) *store.Lake {
	t.Helper()
	lake, err := store.OpenBucket(context.Background(), blob.NewMemory(), "memory:query", &store.Options{Create: true, IndexDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lake.Close(); err != nil {
			t.Error(err)
		}
	})
	return lake
}

// rowOf reads one native row and makes it ready to append.
func rowOf(t *testing.T, lake *store.Lake, text string) *schema.Trajectory {
	t.Helper()
	v, err := canon.Parse([]byte(text), canon.Limits{Depth: 64})
	if err != nil {
		t.Fatal(err)
	}
	row, faults := schema.FromJSON(v)
	if err := faults.Err("row"); err != nil {
		t.Fatal(err)
	}
	row.SourceDigest = canon.SourceDigest(lake.Salt(), schema.NativeCanonical(row))
	schema.Derive(row)
	row.ContentHash = schema.ContentHash(row)
	return row
}

func appendRows(t *testing.T, lake *store.Lake, texts ...string) {
	t.Helper()
	var rows []*schema.Trajectory
	for _, text := range texts {
		rows = append(rows, rowOf(t, lake, text))
	}
	receipts, err := lake.Append(context.Background(), rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range receipts {
		if r.Status != store.Committed {
			t.Fatalf("%s: %s: %v", r.ID, r.Status, r.Err)
		}
	}
}

func head(t *testing.T, lake *store.Lake) *store.Snapshot {
	t.Helper()
	snap, err := lake.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func toy(id, taskSet, effort string, reward string, tokens int) string {
	return fmt.Sprintf(`{"trajectory_id":%q,"task_set":%s,"effort":%s,"reward":%s,"completion_tokens":%d,"thinking_tokens":%d,"prompt_tokens":7,
		"turns":[{"role":"user","text":"q"},{"role":"assistant","text":"a","tool_calls":[{"name":"run","args_raw":"{}","result":"x","result_status":"error"},{"name":"run","args_raw":"{}","result":"y","result_status":"ok"}]}]}`,
		id, taskSet, effort, reward, tokens, tokens/2)
}

func TestStats(t *testing.T) {
	lake := openLake(t)
	empty, err := Stats(context.Background(), head(t, lake))
	if err != nil {
		t.Fatal(err)
	}
	if empty.Trajectories != 0 || empty.Cells == nil || len(empty.Cells) != 0 {
		t.Fatalf("stats of an empty lake: %+v", empty)
	}
	appendRows(t, lake,
		toy("a", `"math"`, `"high"`, "1", 10),
		toy("b", `"math"`, `"high"`, "1.0", 20),
		toy("c", `"math"`, `"low"`, "null", 40),
		toy("d", "null", "null", "0.5", 80),
		`{"trajectory_id":"e","task_set":"math","effort":"none","turns":[{"role":"user","text":"q"}]}`)
	before := head(t, lake)
	_, _, err = lake.Annotate(context.Background(), []*schema.Annotation{
		{AnnotationID: "n1", Kind: new("reward"), TargetKind: new("trajectory"), TargetID: new("c"), Value: new(-2.0)},
		{AnnotationID: "n2", Kind: new("quarantine"), TargetKind: new("trajectory"), TargetID: new("b")},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Stats(context.Background(), head(t, lake))
	if err != nil {
		t.Fatal(err)
	}
	got := []int64{r.Trajectories, r.Quarantined, r.Scored, r.Turns, r.ToolCalls, r.ToolErrors, r.PromptTokens, r.ThinkingTokens, r.CompletionTokens}
	if want := []int64{5, 1, 4, 9, 8, 4, 28, 75, 150}; !slices.Equal(got, want) {
		t.Errorf("totals %v, want %v", got, want)
	}
	var cells []string
	for _, c := range r.Cells {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		cells = append(cells, string(text))
	}
	want := []string{
		`{"task_set":"math","mode":"instruct","effort":"none","reward_band":"unscored","rows":1,"tokens":0,"untold":1,"quarantined":0}`,
		`{"task_set":"math","mode":"thinking","effort":"low","reward_band":"\u003c0","rows":1,"tokens":40,"untold":0,"quarantined":0}`,
		`{"task_set":"math","mode":"thinking","effort":"high","reward_band":"1","rows":2,"tokens":30,"untold":0,"quarantined":1}`,
		`{"task_set":null,"mode":"thinking","effort":null,"reward_band":"(0.25,0.5]","rows":1,"tokens":80,"untold":0,"quarantined":0}`,
	}
	if !slices.Equal(cells, want) {
		t.Errorf("cells\n%s\nwant\n%s", join(cells), join(want))
	}
	old, err := Stats(context.Background(), before)
	if err != nil {
		t.Fatal(err)
	}
	if old.Scored != 3 || old.Quarantined != 0 {
		t.Errorf("the snapshot before the annotations says scored %d, quarantined %d", old.Scored, old.Quarantined)
	}
}

func join(lines []string) (out string) {
	for _, l := range lines {
		out += "\t" + l + "\n"
	}
	return out
}

func TestIDs(t *testing.T) {
	lake := openLake(t)
	ctx := context.Background()
	appendRows(t, lake, toy("z", `"math"`, `"high"`, "1", 10), toy("a\"\n", `"web"`, "null", "null", 3))
	appendRows(t, lake, toy("m", `"math"`, `"low"`, "0", 5))
	snap := head(t, lake)
	list := func(pred string, columns ...string) (out []string) {
		t.Helper()
		e, err := parse(pred)
		if err != nil {
			t.Fatal(err)
		}
		for line, err := range IDs(ctx, snap, e, columns) {
			if err != nil {
				t.Fatal(err)
			}
			if !json.Valid(line) {
				t.Fatalf("not JSON: %s", line)
			}
			var v map[string]any
			if err := json.Unmarshal(line, &v); err != nil {
				t.Fatal(err)
			}
			if h, _ := v["content_hash"].(string); len(h) != 64 {
				t.Errorf("content_hash %v", v["content_hash"])
			}
			out = append(out, v["trajectory_id"].(string))
		}
		return out
	}
	if got, want := list(""), []string{"z", "a\"\n", "m"}; !slices.Equal(got, want) {
		t.Errorf("ids %q, want %q: lake order", got, want)
	}
	if got, want := list("reward is not null and task_set = 'math'"), []string{"z", "m"}; !slices.Equal(got, want) {
		t.Errorf("ids %q, want %q", got, want)
	}
	var first map[string]any
	for line, err := range IDs(ctx, snap, nil, []string{"reward", "turns", "effort", "trajectory_id"}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(line, &first); err != nil {
			t.Fatal(err)
		}
		break // breaking off is allowed
	}
	turns, _ := first["turns"].([]any)
	if first["reward"] != 1.0 || first["effort"] != "high" || len(turns) != 2 || len(first) != 6 {
		t.Errorf("columns: %v", first)
	}
	for _, err := range IDs(ctx, snap, nil, []string{"nonsense"}) {
		if !fault.Is(err, fault.Usage) {
			t.Errorf("unknown column: %v", err)
		}
	}
}

func parse(text string) (*where.Expr, error) {
	if text == "" {
		return nil, nil
	}
	return where.Parse(text)
}

func TestAppendRowIsNativeJSON(t *testing.T) {
	lake := openLake(t)
	const text = `{"trajectory_id":"a","metadata":{"k":"v"},"extra":{"n":1},"started_at":"2026-01-02T03:04:05.5Z","turns":[{"role":"user","text":"<é>"}],"token_ids":[1,2],"loss_mask":[0,1],"logprobs":[0,-0.1]}`
	appendRows(t, lake, text)
	columns := []string{"trajectory_id", "metadata", "extra", "started_at", "turns", "token_ids", "loss_mask", "logprobs", "reward"}
	for rec, err := range head(t, lake).Scan(context.Background(), store.ScanOptions{Columns: columns}) {
		if err != nil {
			t.Fatal(err)
		}
		got := string(AppendRow(nil, rec, 0))
		want := text[:len(text)-1] + `,"reward":null}`
		if got != want {
			t.Errorf("row\n%s\nwant\n%s", got, want)
		}
	}
}
