package datafile

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"trajlake/schema"
)

// workRow makes a trajectory of about size bytes: Zipf text in turns, and from
// 16 KB on tokens and logprobs for half of it.
func workRow(r *rand.Rand, z *rand.Zipf, i, size int) *schema.Trajectory {
	text := func(n int) *string {
		var b strings.Builder
		for b.Len() < n {
			fmt.Fprintf(&b, "w%d ", z.Uint64())
		}
		s := b.String()
		return &s
	}
	p := func(s string) *string { return &s }
	n := func(v int64) *int64 { return &v }
	n32 := func(v int32) *int32 { return &v }
	reward := r.Float64()
	success := reward > 0.5
	level := int8(10 * r.IntN(7))
	t := &schema.Trajectory{
		TrajectoryID: fmt.Sprintf("%016x-%08x", r.Uint64(), i),
		TaskSet:      p("swe"), TaskID: p(fmt.Sprintf("task-%d", r.IntN(500))), GroupID: p(fmt.Sprintf("run7/task-%d", r.IntN(500))),
		GroupIndex: n32(int32(i % 8)), Reward: &reward, Success: &success, Status: p("completed"), EffortLevel: &level,
		PolicyVersionMin: n(int64(i / 100)), PolicyVersionMax: n(int64(i/100 + 1)), RunID: p("run7"), Model: p("policy-8b"),
		NumTurns: n32(6), PromptTokens: n(4000), CompletionTokens: n(900), DurationMs: n(r.Int64N(1e6)),
		SourceDigest: []byte(fmt.Sprintf("%032x", r.Uint64())), ContentHash: []byte(fmt.Sprintf("%032x", r.Uint64())),
	}
	left := size - 250
	if size >= 16<<10 {
		k := size / 2 / 9
		left -= 8 * k
		for range k {
			t.TokenIDs = append(t.TokenIDs, int32(r.IntN(150000)))
			t.LossMask = append(t.LossMask, int8(min(len(t.TokenIDs)/100%2, 1)))
			t.Logprobs = append(t.Logprobs, -float32(r.ExpFloat64()))
		}
	}
	turns := max(2, min(left/1500, 40))
	for k := range turns {
		turn := schema.Turn{Role: p([]string{"user", "assistant"}[k%2]), Text: text(max(left/turns-60, 10))}
		if k%2 == 1 {
			turn.ToolCalls = []schema.ToolCall{{Name: p("bash"), ArgsRaw: p(`{"cmd":"ls"}`), Result: p("ok"), ResultStatus: p("ok")}}
		}
		t.Turns = append(t.Turns, turn)
	}
	return t
}

func workRows(n, size int) []*schema.Trajectory {
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.2, 4, 50000)
	rows := make([]*schema.Trajectory, n)
	for i := range rows {
		rows[i] = workRow(r, z, i, size)
	}
	return rows
}

// cpu is the processor time of the process: the machine may be shared.
func cpu() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

func report(b *testing.B, began float64, rows int, bytes int64) {
	d := cpu() - began
	b.ReportMetric(float64(rows)*float64(b.N)/d, "rows/cpu-s")
	if bytes > 0 {
		b.ReportMetric(float64(bytes)*float64(b.N)/d/1e6, "MB/cpu-s")
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range []struct{ n, size int }{{1, 4 << 10}, {16, 4 << 10}, {1000, 400}, {1000, 4 << 10}, {500, 40 << 10}, {50, 400 << 10}} {
		rows := workRows(c.n, c.size)
		for _, page := range []int{16 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("%dx%d/page%dK", c.n, c.size, page>>10), func(b *testing.B) {
				began := cpu()
				var size int
				for b.Loop() {
					e, err := Encode(schema.Trajectories, rows, &WriteOptions{PageBytes: page})
					if err != nil {
						b.Fatal(err)
					}
					size = len(e.Bytes)
				}
				report(b, began, c.n, int64(c.n*c.size))
				b.ReportMetric(float64(size)/float64(c.n*c.size), "stored/raw")
			})
		}
	}
}

func benchFile(b *testing.B, n, size, page int, cache *Cache) *File {
	e, err := Encode(schema.Trajectories, workRows(n, size), &WriteOptions{PageBytes: page})
	if err != nil {
		b.Fatal(err)
	}
	f, err := Open(bytes.NewReader(e.Bytes), int64(len(e.Bytes)), schema.Trajectories, &OpenOptions{Cache: cache})
	if err != nil {
		b.Fatal(err)
	}
	return f
}

func BenchmarkOpen(b *testing.B) {
	e, err := Encode(schema.Trajectories, workRows(16, 4<<10), nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Open(bytes.NewReader(e.Bytes), int64(len(e.Bytes)), schema.Trajectories, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRead(b *testing.B, f *File, columns []string) {
	began := cpu()
	var bytes int64
	for b.Loop() {
		bytes = 0
		for rec, err := range f.Read(context.Background(), ReadOptions{Columns: columns}) {
			if err != nil {
				b.Fatal(err)
			}
			bytes += RecordBytes(rec)
		}
	}
	report(b, began, int(f.NumRows()), bytes)
}

func BenchmarkScanScalars(b *testing.B) {
	cols := []string{"reward", "effort_level", "policy_version_min", "num_turns", "duration_ms"}
	benchRead(b, benchFile(b, 100000, 300, 0, nil), cols)
}

func BenchmarkReadAll(b *testing.B) {
	for _, size := range []int{4 << 10, 40 << 10} {
		for _, page := range []int{16 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("%d/page%dK", size, page>>10), func(b *testing.B) { benchRead(b, benchFile(b, 20<<20/size, size, page, nil), nil) })
		}
	}
}

func BenchmarkGather(b *testing.B) {
	for _, cols := range [][]string{nil, {"token_ids", "logprobs"}} {
		for _, page := range []int{16 << 10, 64 << 10} {
			f := benchFile(b, 1200, 32<<10, page, NewCache(0))
			b.Run(fmt.Sprintf("%d columns/page%dK", len(cols), page>>10), func(b *testing.B) {
				r := rand.New(rand.NewPCG(3, 4))
				began := cpu()
				for b.Loop() {
					at := make([]int64, 32)
					for i := range at {
						at[i] = r.Int64N(f.NumRows())
					}
					if _, err := f.Gather(context.Background(), at, cols); err != nil {
						b.Fatal(err)
					}
				}
				report(b, began, 32, 0)
			})
		}
	}
}
