package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"
)

// side picks the lines of one system and the number in them.
type side struct {
	match figure
	value string
}

// goal is one line of the report: our figure, the peer's, and the bar, which is
// a ratio where there is a peer and a number where there is none. atMost turns
// the comparison around.
type goal struct {
	name   string
	ours   side
	peer   *side
	best   []side // peers of which the greatest counts, where peer is nil
	bar    float64
	atMost bool
}

func of(system, what, value string, more figure) side {
	m := figure{"what": what, "system": system}
	for k, v := range more {
		m[k] = v
	}
	return side{m, value}
}

// versus is a goal as a ratio to a peer's figure of the same name.
func versus(name, peer, what, value string, more figure, bar float64) goal {
	p := of(peer, what, value, more)
	return goal{name: name, ours: of("trajlake", what, value, more), peer: &p, bar: bar}
}

func goals() []goal {
	var out []goal
	for _, size := range []struct {
		name  string
		bytes int
		bar   float64
	}{{"4 KB", 4095, 1}, {"40 KB", 40959, 0.7}} {
		peer := of("dm-reverb", "insert", "rows_per_s", figure{"payload_bytes": size.bytes})
		for _, client := range []string{"go", "python"} {
			ours := of("trajlake", "insert", "rows_per_s", figure{"payload_bytes": size.bytes, "client": client})
			if client == "go" {
				ours.match["clients"] = 2
			}
			out = append(out, goal{name: "insert " + size.name + ", " + client + " client, rows/s, against dm-reverb in memory", ours: ours, peer: &peer, bar: size.bar})
		}
	}
	out = append(out,
		goal{name: "one client, one 4 KB row at a time, acknowledged rows/s", ours: of("trajlake", "insert", "rows_per_s", figure{"rows_per_call": 1, "clients": 1}), bar: 85},
		goal{name: "64 such clients, acknowledged rows/s", ours: of("trajlake", "insert", "rows_per_s", figure{"rows_per_call": 1, "clients": 64}), bar: 1500},
	)
	out = append(out,
		versus("8 processes on one directory lake, 10 rows each, commits/s, against Lance", "lance", "concurrent", "commits_per_s", nil, 1),
		goal{name: "appends of the 8 processes that failed", ours: of("trajlake", "concurrent", "failed", nil), bar: 0, atMost: true},
		versus("append of 1 row in process, rows/s, against Lance with fsync", "lance", "append", "rows_per_s", figure{"batch": 1, "durable": true}, 1),
		versus("append of 1,000 rows in process, rows per CPU-s, against delta-rs", "delta_held", "append", "rows_per_cpu_s", figure{"batch": 1000, "durable": true}, 1),
	)
	disk := versus("bytes on disk per row at 1,000-row batches, against delta-rs", "delta_held", "append", "disk_per_row", figure{"batch": 1000, "durable": true}, 1.15)
	disk.atMost = true
	out = append(out, disk)
	for _, c := range []struct {
		columns string
		bar     float64
	}{{"whole", 1.2}, {"tensors", 1.5}} {
		for _, n := range []int{1, 32, 256} {
			out = append(out, versus(fmt.Sprintf("take of %d, %s, rows per CPU-s, against Lance", n, c.columns), "lance", "take", "rows_per_cpu_s", figure{"columns": c.columns, "batch": n}, c.bar))
		}
	}
	out = append(out,
		versus("scan of 5 scalars, rows per CPU-s, against Lance", "lance", "scan5", "rows_per_cpu_s", nil, 1),
		versus("scan of 5 scalars, rows per CPU-s, against DuckDB", "duckdb", "scan5", "rows_per_cpu_s", nil, 1),
		versus("full decode to Arrow, MB per CPU-s, against DuckDB", "duckdb", "full", "mb_per_cpu_s", nil, 0.7),
		goal{name: "opening a lake of 1 M rows, warm index, s", ours: of("trajlake", "open_warm", "wall_s", nil), bar: 2, atMost: true},
		goal{name: "rebuilding the index, rows/s", ours: of("trajlake", "index_rebuild", "rows_per_s", nil), bar: 50_000},
		goal{name: "anonymous memory of an idle server over 1 M rows, MB", ours: of("trajlake", "serve_idle", "rss_anon_mb", nil), bar: 200, atMost: true},
		goal{name: "peak memory of importing one trajectory of 200 MB, MB", ours: of("trajlake", "big_import", "rss_peak_mb", nil), bar: 512, atMost: true},
	)
	return append(out, replayGoals()...)
}

// report prints the goals as a Markdown table, from lines of all rounds.
func report(_ context.Context, s *settings) error {
	f, err := os.Open(s.rows)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	var lines []figure
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var l figure
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			return fmt.Errorf("read %s: %w", s.rows, err)
		}
		lines = append(lines, l)
	}
	if err := sc.Err(); err != nil {
		return err
	}
	fmt.Printf("%s, %d processors (%s). Medians of the rounds, with least and greatest ratio of one round.\n\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.NumCPU(), runtime.GOARCH)
	fmt.Println("| figure | ours | peer | ratio | bar | met |\n|---|---|---|---|---|---|")
	for _, g := range goals() {
		fmt.Println(g.row(lines))
	}
	for _, l := range lines {
		if l["what"] == "not_run" || l["error"] != nil {
			fmt.Printf("\nNOT RUN: %v%v %v\n", l["reason"], l["system"], l["error"])
		}
	}
	return nil
}

// rival is the peer's figure: the median of all, and the median of each round. Of
// several peers, or several figures of one, the greatest counts, in each round.
func (g *goal) rival(lines []figure) (value float64, byRound map[float64]float64, any bool) {
	sides := g.best
	if g.peer != nil {
		sides = []side{*g.peer}
	}
	byRound = map[float64]float64{}
	for i := range sides {
		all, mine := sides[i].pick(lines)
		if len(all) == 0 {
			continue
		}
		value, any = max(value, median(all)), true
		for r, v := range mine {
			byRound[r] = max(byRound[r], v)
		}
	}
	return value, byRound, any
}

// pick gathers the values of a side; those of one round are one, their median.
func (s *side) pick(lines []figure) (all []float64, byRound map[float64]float64) {
	rounds := map[float64][]float64{}
	for _, l := range lines {
		ok := true
		for k, want := range s.match {
			if n, is := want.(int); is {
				want = float64(n) // as numbers of JSON are
			}
			ok = ok && fmt.Sprint(l[k]) == fmt.Sprint(want)
		}
		v, num := l[s.value].(float64)
		if !ok || !num {
			continue
		}
		all = append(all, v)
		if r, isNum := l["round"].(float64); isNum {
			rounds[r] = append(rounds[r], v)
		}
	}
	byRound = map[float64]float64{}
	for r, v := range rounds {
		byRound[r] = median(v)
	}
	return all, byRound
}

func (g *goal) row(lines []figure) string {
	ours, mine := g.ours.pick(lines)
	if len(ours) == 0 {
		return fmt.Sprintf("| %s | not run | | | %s | |", g.name, g.barText())
	}
	value, peerText, ratioText := median(ours), "", ""
	judged := value
	if g.relative() {
		theirs, other, any := g.rival(lines)
		if !any {
			return fmt.Sprintf("| %s | %s | not run | | %s | |", g.name, number(value), g.barText())
		}
		var ratios []float64
		for r, v := range mine {
			if p, ok := other[r]; ok && p > 0 {
				ratios = append(ratios, v/p)
			}
		}
		judged = median(ratios)
		peerText = number(theirs)
		ratioText = fmt.Sprintf("%.2f (%.2f–%.2f)", judged, quantile(ratios, 0), quantile(ratios, 1))
	}
	met := "no"
	if g.atMost && judged <= g.bar || !g.atMost && judged >= g.bar {
		met = "yes"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", g.name, number(value), peerText, ratioText, g.barText(), met)
}

// relative tells whether the bar is a ratio.
func (g *goal) relative() bool { return g.peer != nil || len(g.best) > 0 }

func (g *goal) barText() string {
	sign := "≥"
	if g.atMost {
		sign = "≤"
	}
	if g.relative() {
		return fmt.Sprintf("%s %g×", sign, g.bar)
	}
	return sign + " " + number(g.bar)
}

func number(v float64) string {
	if v >= 100 || v == float64(int64(v)) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
