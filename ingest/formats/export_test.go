package formats

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// TestExportGolden: what each exporter writes of one row of each format, with
// its losses and the file beside it.
func TestExportGolden(t *testing.T) {
	for _, name := range []string{"native/toy.jsonl", "openai/dialects.jsonl", "tau2_bench/results.json", "mini_swe_agent/v1.traj.json", "atif/v1.7.json"} {
		im, data := detectFile(t, "testdata/"+name)
		var first *schema.Trajectory
		for rec := range im.Read(t.Context(), bytes.NewReader(data), source("testdata/"+name)) {
			if rec.Err == nil {
				first = rec.Row
				break
			}
		}
		for _, e := range Exporters() {
			if e.Name() == "native" {
				continue
			}
			t.Run(name+" as "+e.Name(), func(t *testing.T) {
				var got bytes.Buffer
				losses, err := e.Write(&got, first)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range losses {
					fmt.Fprintf(&got, "loss: %s %s\n", l.Kind, l.Field)
				}
				if suffix, beside := e.Beside(first); suffix != "" {
					fmt.Fprintf(&got, "%s%s: %s", FileName(first), suffix, beside)
				}
				golden := fmt.Sprintf("testdata/golden/export/%s.%s.txt", strings.ReplaceAll(name, "/", "-"), e.Name())
				if *update {
					os.MkdirAll(filepath.Dir(golden), 0o755)
					os.WriteFile(golden, got.Bytes(), 0o644)
					return
				}
				want, err := os.ReadFile(golden)
				if err != nil || !bytes.Equal(want, got.Bytes()) {
					t.Errorf("got\n%s\nwant\n%s (%v)", got.Bytes(), want, err)
				}
			})
		}
	}
}

// TestLossIsComplete: each column of a full row is carried or reported, by each
// exporter.
func TestLossIsComplete(t *testing.T) {
	text := `{"trajectory_id":"x","task_set":"s","task_id":"t","group_id":"g","group_index":1,"reward":0.5,"success":true,"cost_usd":1,"rewards":[{"name":"a","value":1}],
"termination":"max_turns","fault":"policy","metadata":{"k":"v"},"extra":{"e":1},"policy_version_min":1,"policy_version_max":2,"token_ids":[1],"loss_mask":[1],"sampling":{"top_k":3},
"turns":[{"role":"user","text":"u","tool_calls":[{"name":"f","actor":"user","result":"r"}]},{"role":"assistant","text":"a","thinking":"t","reward":1,"policy_version":1,"usage":{"prompt":1},"parent":0,"env_state_ref":"s"}]}`
	v, err := canon.Parse([]byte(text), canon.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	row, faults := schema.FromJSON(v)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for _, c := range []struct {
		e       Exporter
		carried []string
		kind    string
	}{{openAIExport{}, openAICarries, LossDropped}, {atifExport{}, atifCarries, LossMoved}} {
		losses, err := c.e.Write(&bytes.Buffer{}, row)
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]bool{"trajectory_id": true}
		for _, l := range losses {
			if l.Rows != 1 {
				t.Errorf("%+v counts %d rows", l, l.Rows)
			}
			told[l.Field] = true
		}
		for _, f := range c.carried {
			told[f] = true
		}
		for _, name := range present(row) {
			if !told[name] {
				t.Errorf("%s says nothing of %s", c.e.Name(), name)
			}
		}
	}
}

// TestBesideIsNoRecord: the exporter's second file is read without a complaint.
func TestBesideIsNoRecord(t *testing.T) {
	_, data := atifExport{}.Beside(&schema.Trajectory{TrajectoryID: "x", Reward: some(1.0), Agent: some("a")})
	im, err := Detect(data, "x.result.json")
	if err != nil || im.Name() != "atif" {
		t.Fatalf("%v, %v", im, err)
	}
	for rec := range im.Read(t.Context(), bytes.NewReader(data), Source{Name: "x.result.json"}) {
		t.Errorf("%+v", rec)
	}
}

func TestFileName(t *testing.T) {
	for id, want := range map[string]string{"toy-1": "toy-1", "": "-e3b0c44298fc", "../etc": "_etc-", "a/b": "a_b-", "轨迹": "__-"} {
		got := FileName(&schema.Trajectory{TrajectoryID: id})
		if !strings.HasPrefix(got, want) || strings.ContainsAny(got, "/\\") || strings.HasPrefix(got, ".") {
			t.Errorf("%q gives %q", id, got)
		}
	}
}
