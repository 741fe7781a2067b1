// Package workload makes realistic trajectories from a seed, for demos, tests
// and benchmarks: the same seed and profile give the same rows, in the same
// order (on one processor architecture).
//
// What is realistic about them: token ids and words follow Zipf's law; rows of a
// task set share their system prompt with its tool schemas; groups of eight
// rollouts share their prompt and its tokens and have consecutive rows; reward
// depends on the task's difficulty and on effort, and is null where a rollout
// failed or was not scored; policy versions rise; some episodes have sub-agents;
// tools fail, infrastructure fails, rollouts run into limits.
package workload

import (
	"fmt"
	"io"
	"math/rand/v2"

	"trajlake/schema"
)

// GroupSize is the number of rollouts of one prompt.
const GroupSize = 8

// Profile is the size of rows, as schema.Size counts it: mostly within 40 % of
// the nominal size. Rows of the tiny profile have no tokens.
type Profile uint8

// The profiles. Mixed draws one of the others for each group: 20 % tiny, 45 %
// small, 30 % medium, 5 % large.
const (
	Mixed Profile = iota
	Tiny
	Small
	Medium
	Large
)

// plan is how rows of a profile are built.
type plan struct {
	name     string
	bytes    int // nominal size of a row
	fixed    int // what a row takes beside text and tokens, with one step
	step     int // what a further step takes beside text and tokens
	minSteps int
	maxSteps int // steps of thinking, calling a tool and reading its result
	tokens   bool
}

var plans = [...]plan{
	Mixed:  {name: "mixed"},
	Tiny:   {name: "tiny", bytes: 400, fixed: 160, minSteps: 0, maxSteps: 0},
	Small:  {name: "small", bytes: 4 << 10, fixed: 520, step: 200, minSteps: 1, maxSteps: 3, tokens: true},
	Medium: {name: "medium", bytes: 40 << 10, fixed: 900, step: 200, minSteps: 4, maxSteps: 12, tokens: true},
	Large:  {name: "large", bytes: 400 << 10, fixed: 900, step: 200, minSteps: 12, maxSteps: 40, tokens: true},
}

func (p Profile) plan() plan {
	if int(p) >= len(plans) {
		p = Mixed
	}
	return plans[p]
}

// String is the profile's name.
func (p Profile) String() string { return p.plan().name }

// Bytes is the nominal size of a row; 0 for Mixed.
func (p Profile) Bytes() int { return p.plan().bytes }

// Generator makes an endless sequence of trajectories. It is not safe for
// concurrent use; generators of different seeds are independent.
type Generator struct {
	seed    uint64
	profile Profile
	words   *vocabulary
	tokens  *zipf
	systems []string // the system prompt of each task set, as long as any row needs it
	group   uint64   // index of the next group
	queue   []*schema.Trajectory
}

// New makes the generator of a seed and a profile.
func New(seed uint64, p Profile) *Generator {
	g := &Generator{seed: seed, profile: p, words: newVocabulary(), tokens: newZipf(vocabularySize, zipfExponent)}
	for i := range taskSets {
		g.systems = append(g.systems, systemPrompt(g.words, &taskSets[i], rand.New(rand.NewPCG(seed, 1<<63|uint64(i)))))
	}
	return g
}

// Next makes the next trajectory; the caller owns it. Every row passes
// schema.Validate.
func (g *Generator) Next() *schema.Trajectory {
	if len(g.queue) == 0 {
		g.nextGroup()
	}
	t := g.queue[0]
	g.queue[0] = nil
	g.queue = g.queue[1:]
	return t
}

// WriteJSONL writes the next n trajectories as native JSON, one on each line.
func (g *Generator) WriteJSONL(w io.Writer, n int) error {
	var line []byte
	for i := range n {
		line = append(schema.AppendJSON(line[:0], g.Next()), '\n')
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("write row %d of the workload: %w", i, err)
		}
	}
	return nil
}
