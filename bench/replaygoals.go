package main

import "fmt"

// replayGoals are the figures of the replay service. Peers' lines are those of their
// own scripts, which name op and peer, not what and system.
func replayGoals() []goal {
	var out []goal
	for _, size := range []struct {
		name   string
		bytes  int
		reverb float64
	}{{"4 KB", 4095, 4}, {"40 KB", 40959, 1.5}, {"400 KB", 409599, 1}} {
		ours := func(stream string, batch int) side {
			return of("trajlake", "sample", "rows_per_s", figure{"payload_bytes": size.bytes, "batch": batch, "stream": stream})
		}
		theirs := func(peer, op string) (out []side) {
			for _, batch := range []int{32, 256} {
				out = append(out, side{figure{"peer": peer, "op": op, "payload_bytes": size.bytes, "batch": batch}, "rows_per_s"})
			}
			return out
		}
		peers := []struct {
			name  string
			sides []side
			bar   float64
		}{
			{"dm-reverb", theirs("reverb", "sample_uniform_dataset"), size.reverb},
			{"Redis", theirs("redis", "sample_uniform"), 1},
			{"TorchRL by rpc", theirs("torchrl-rpc", "sample_uniform"), 1},
			{"TransferQueue", theirs("transferqueue", "sample_uniform"), 1},
		}
		for _, batch := range []int{256, 32} {
			for _, stream := range []string{"live", "uniform"} {
				kind := map[string]string{"live": "live", "uniform": "pinned"}[stream]
				for _, p := range peers {
					out = append(out, goal{name: fmt.Sprintf("sample %s, batch %d, %s, rows/s, against the better batch of %s", size.name, batch, kind, p.name), ours: ours(stream, batch), best: p.sides, bar: p.bar})
				}
			}
		}
		uniform := ours("uniform", 256)
		out = append(out,
			goal{name: "prioritised stream, " + size.name + ", batch 256, rows/s, against pinned uniform", ours: ours("priority", 256), peer: &uniform, bar: 0.9},
			goal{name: "stream with a predicate, " + size.name + ", batch 256, rows/s, against pinned uniform", ours: ours("where", 256), peer: &uniform, bar: 0.9})
	}
	for _, columns := range []string{"whole", "tensors"} {
		peer := of("hf_datasets", "take", "rows_per_s", figure{"columns": columns, "batch": 256})
		out = append(out, goal{name: "rows from the local cache, " + columns + ", batch 256, rows/s, against Hugging Face datasets", ours: of("trajlake", "take_cache", "rows_per_s", figure{"columns": columns, "batch": 256}), peer: &peer, bar: 1})
	}
	index := func(what, value string) side { return of("trajlake", what, value, figure{"items": 10_000_000}) }
	return append(out,
		goal{name: "256 weighted draws from 10 M rows, tree, µs", ours: index("draw_tree", "p50_us"), bar: 500, atMost: true},
		goal{name: "256 draws from 10 M rows by keys, first use of a position, µs", ours: index("draw_keyed", "p50_us"), bar: 100_000, atMost: true},
		goal{name: "priority updates in memory, 256 a call, 10 M rows, updates/s", ours: index("update", "per_s"), bar: 1_000_000},
		goal{name: "priorities written back durably, 100,000 a call, rows/s", ours: of("trajlake", "write_back", "rows_per_s", nil), bar: 100_000},
		goal{name: "anonymous memory per trajectory: index, annotations, one stream, B", ours: of("trajlake", "memory", "bytes_per_row", nil), bar: 100, atMost: true},
		goal{name: "and of each further stream, B", ours: of("trajlake", "memory", "further_bytes_per_row", nil), bar: 12, atMost: true},
		goal{name: "8 writers, 1,000 inserts/s, samples_per_insert 4: error of the ratio", ours: of("trajlake", "mixed", "ratio_error", figure{"wanted_inserts_per_s": 1000}), bar: 0.01, atMost: true},
		goal{name: "8 writers, as many inserts as the reader can use: error of the ratio", ours: of("trajlake", "mixed", "ratio_error", figure{"wanted_inserts_per_s": 0}), bar: 0.01, atMost: true},
		goal{name: "and the reader's rate, of its rate alone", ours: of("trajlake", "mixed", "rate_of_alone", figure{"wanted_inserts_per_s": 0}), bar: 0.7},
	)
}
