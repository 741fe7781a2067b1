// Package facts holds what draws need to know of every row of a snapshot: some
// twenty scalars, as annotations left them, found by the row's place without
// reading the lake.
//
// A [View] is the facts of one snapshot. It never changes and may be read by any
// number of goroutines. [View.Advance] makes the view of another snapshot from
// it and reads only what is new: the rows committed since, and the annotated
// ones. Views share all that is equal in them.
//
// Texts are kept once and stand in rows as codes, which [View.Text] and
// [View.Code] translate. A code means the same text in a view and in all views
// advanced from it; codes of unrelated views have nothing to do with each other.
// Code 0 is null.
package facts

import "math"

// Set names facts: those a view is to hold, or one column of codes.
type Set uint64

// The facts. A row's id64, whether it is quarantined and whether it is absent are
// always held.
const (
	Effort     Set = 1 << iota // requested effort level: a code
	Mode                       // a code
	Split                      // a code
	Status                     // a code
	TaskSet                    // a code
	Task                       // task_id: a code
	Prompt                     // prompt_hash: a code
	Group                      // group_id: a code; makes Members work
	Episode                    // episode_id: a code
	GroupIndex                 // group_index and group_size
	Reward                     // folded, and the row's own
	Success
	Policy    // policy_version_min and policy_version_max
	Times     // finished_at and ingested_at
	Tokens    // reads token_ids, so it costs more than all the others
	Priority  // folded
	Advantage // folded
	Parent    // parent_id: a code

	// All is all facts.
	All = Parent<<1 - 1
)

// Null is an unknown integer of Row's policy versions.
const Null = math.MinInt64

// Row is the facts of one row. Fields whose facts the view does not hold have
// the values of null.
type Row struct {
	Seq  int64  // place
	ID64 uint64 // law.ID64 of the trajectory_id

	// Codes of texts; 0 is null.
	Effort, Mode, Split, Status, TaskSet, Task, Prompt, Group, Episode, Parent uint32

	GroupIndex, GroupSize int32 // −1: null

	// NaN: null.
	Reward, RewardRaw, Priority, Advantage float64

	Success              int8  // −1: null
	PolicyMin, PolicyMax int64 // Null: null

	Finished, Ingested int64 // microseconds, UTC; 0: null

	// Tokens is the number of token_ids, else the sum of prompt and completion
	// tokens, else 0.
	Tokens int64

	Quarantined bool

	// Absent says that the snapshot has no row at this place: it was deleted
	// before. Such a place is never drawn; all else about it is null.
	Absent bool
}

// Change is how a view differs from the one it was advanced from.
type Change struct {
	NewFrom int64   // rows from this place on are new
	Touched []int64 // older places whose folded facts may differ, ascending, unique
}
