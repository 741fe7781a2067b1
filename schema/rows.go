package schema

// Trajectory is one row of the trajectories table: one agent's message graph in
// one episode, immutable once committed.
//
// Pointers are nullable columns; nil is null (unknown), which is never the same
// as zero or "". A nil and an empty list are the same. The tags give the column
// names and the Parquet encodings; everything else (Delta schema, Arrow schema,
// protobuf and JSON names) is derived from this declaration or tested against it.
// Scalars stand first, because statistics cover the leading columns.
type Trajectory struct {
	// Identity.
	TrajectoryID string  `parquet:"trajectory_id,plain" json:"trajectory_id"`
	TaskSet      *string `parquet:"task_set,optional,dict" json:"task_set,omitempty"`
	TaskID       *string `parquet:"task_id,optional,plain" json:"task_id,omitempty"`
	GroupID      *string `parquet:"group_id,optional,plain" json:"group_id,omitempty"`
	GroupIndex   *int32  `parquet:"group_index,optional" json:"group_index,omitempty"`
	GroupSize    *int32  `parquet:"group_size,optional" json:"group_size,omitempty"`

	// Outcome and what sampling reads.
	Reward           *float64 `parquet:"reward,optional" json:"reward,omitempty"`
	Success          *bool    `parquet:"success,optional" json:"success,omitempty"`
	Status           *string  `parquet:"status,optional,dict" json:"status,omitempty"`
	Effort           *string  `parquet:"effort,optional,dict" json:"effort,omitempty"`        // requested level's name
	EffortLevel      *int8    `parquet:"effort_level,optional" json:"effort_level,omitempty"` // 0–60, the requested level as a number
	Mode             *string  `parquet:"mode,optional,dict" json:"mode,omitempty"`            // thinking, instruct, unknown
	PolicyVersionMin *int64   `parquet:"policy_version_min,optional" json:"policy_version_min,omitempty"`
	PolicyVersionMax *int64   `parquet:"policy_version_max,optional" json:"policy_version_max,omitempty"`
	Split            *string  `parquet:"split,optional,dict" json:"split,omitempty"`
	Dataset          *string  `parquet:"dataset,optional,dict" json:"dataset,omitempty"`
	RunID            *string  `parquet:"run_id,optional,dict" json:"run_id,omitempty"`
	Model            *string  `parquet:"model,optional,dict" json:"model,omitempty"`
	Agent            *string  `parquet:"agent,optional,dict" json:"agent,omitempty"`
	NumTurns         *int32   `parquet:"num_turns,optional" json:"num_turns,omitempty"`
	NumToolCalls     *int32   `parquet:"num_tool_calls,optional" json:"num_tool_calls,omitempty"`
	NumToolErrors    *int32   `parquet:"num_tool_errors,optional" json:"num_tool_errors,omitempty"`
	PromptTokens     *int64   `parquet:"prompt_tokens,optional" json:"prompt_tokens,omitempty"` // cache included
	CompletionTokens *int64   `parquet:"completion_tokens,optional" json:"completion_tokens,omitempty"`
	ThinkingTokens   *int64   `parquet:"thinking_tokens,optional" json:"thinking_tokens,omitempty"`
	CostUSD          *float64 `parquet:"cost_usd,optional" json:"cost_usd,omitempty"`
	DurationMs       *int64   `parquet:"duration_ms,optional" json:"duration_ms,omitempty"`
	StartedAt        *Time    `parquet:"started_at,optional,timestamp(microsecond)" json:"started_at,omitempty"`
	FinishedAt       *Time    `parquet:"finished_at,optional,timestamp(microsecond)" json:"finished_at,omitempty"`
	IngestedAt       *Time    `parquet:"ingested_at,optional,timestamp(microsecond)" json:"ingested_at,omitempty"`

	// Structure.
	EpisodeID  *string `parquet:"episode_id,optional,plain" json:"episode_id,omitempty"`
	ParentID   *string `parquet:"parent_id,optional,plain" json:"parent_id,omitempty"`
	ParentCall *string `parquet:"parent_call,optional,plain" json:"parent_call,omitempty"`
	Attempt    *int32  `parquet:"attempt,optional" json:"attempt,omitempty"`

	// Task, policy, environment.
	PromptHash   *string `parquet:"prompt_hash,optional,plain" json:"prompt_hash,omitempty"`
	PromptRef    *string `parquet:"prompt_ref,optional,plain" json:"prompt_ref,omitempty"`
	TokenizerID  *string `parquet:"tokenizer_id,optional,dict" json:"tokenizer_id,omitempty"`
	TemplateHash *string `parquet:"template_hash,optional,dict" json:"template_hash,omitempty"`
	EnvID        *string `parquet:"env_id,optional,dict" json:"env_id,omitempty"`
	EnvVersion   *string `parquet:"env_version,optional,dict" json:"env_version,omitempty"`
	EnvDigest    *string `parquet:"env_digest,optional,dict" json:"env_digest,omitempty"`
	Harness      *string `parquet:"harness,optional,dict" json:"harness,omitempty"`
	ToolsDigest  *string `parquet:"tools_digest,optional,dict" json:"tools_digest,omitempty"`
	SystemDigest *string `parquet:"system_digest,optional,dict" json:"system_digest,omitempty"`
	Licence      *string `parquet:"licence,optional,dict" json:"licence,omitempty"`
	Visibility   *string `parquet:"visibility,optional,dict" json:"visibility,omitempty"`

	// Effort: requested, effective and observed are kept apart.
	EffortEffective  *string `parquet:"effort_effective,optional,dict" json:"effort_effective,omitempty"`
	EffortRaw        *string `parquet:"effort_raw,optional,plain" json:"effort_raw,omitempty"` // the vendor's words, verbatim
	EffortMode       *string `parquet:"effort_mode,optional,dict" json:"effort_mode,omitempty"`
	ThinkingBudget   *int64  `parquet:"thinking_budget,optional" json:"thinking_budget,omitempty"` // tokens
	ThinkingFidelity *string `parquet:"thinking_fidelity,optional,dict" json:"thinking_fidelity,omitempty"`

	// How it ended.
	Terminated     *bool   `parquet:"terminated,optional" json:"terminated,omitempty"`
	Truncated      *bool   `parquet:"truncated,optional" json:"truncated,omitempty"`
	Termination    *string `parquet:"termination,optional,dict" json:"termination,omitempty"`
	TerminationRaw *string `parquet:"termination_raw,optional,plain" json:"termination_raw,omitempty"`
	Fault          *string `parquet:"fault,optional,dict" json:"fault,omitempty"` // none, policy, environment, infrastructure, judge

	// Shape of the work.
	Trainable     *bool   `parquet:"trainable,optional" json:"trainable,omitempty"`
	ModelMs       *int64  `parquet:"model_ms,optional" json:"model_ms,omitempty"`
	EnvMs         *int64  `parquet:"env_ms,optional" json:"env_ms,omitempty"`
	WaitMs        *int64  `parquet:"wait_ms,optional" json:"wait_ms,omitempty"`
	LogprobMode   *string `parquet:"logprob_mode,optional,dict" json:"logprob_mode,omitempty"`     // raw, processed, unknown
	TokenFidelity *string `parquet:"token_fidelity,optional,dict" json:"token_fidelity,omitempty"` // exact, rebuilt, none

	// Place and digests, given by the lake (row_* are null in a fresh file).
	RowVersion   *int64 `parquet:"row_version,optional" json:"row_version,omitempty"`
	RowSeq       *int64 `parquet:"row_seq,optional" json:"row_seq,omitempty"`
	SourceDigest []byte `parquet:"source_digest,optional,plain" json:"source_digest,omitempty"`
	ContentHash  []byte `parquet:"content_hash,optional,plain" json:"content_hash,omitempty"`

	Source   *Source   `parquet:"source,optional" json:"source,omitempty"`
	Sampling *Sampling `parquet:"sampling,optional" json:"sampling,omitempty"`

	ToolKinds    []string      `parquet:"tool_kinds,optional,list" json:"tool_kinds,omitempty"`
	Flags        []string      `parquet:"flags,optional,list" json:"flags,omitempty"`
	ImportLoss   []string      `parquet:"import_loss,optional,list" json:"import_loss,omitempty"`
	Participants []Participant `parquet:"participants,optional,list" json:"participants,omitempty"`
	Rewards      []Reward      `parquet:"rewards,optional,list" json:"rewards,omitempty"`
	Segments     []Segment     `parquet:"segments,optional,list" json:"segments,omitempty"`
	Turns        []Turn        `parquet:"turns,optional,list" json:"turns,omitempty"`

	// Tensors: flat per trajectory, equal lengths, turns point into them.
	TokenIDs []int32   `parquet:"token_ids,optional,list" parquet-element:",delta" json:"token_ids,omitempty"`
	LossMask []int8    `parquet:"loss_mask,optional,list" json:"loss_mask,omitempty"`
	Logprobs []float32 `parquet:"logprobs,optional,list" json:"logprobs,omitempty"` // of the behaviour policy

	Metadata map[string]string `parquet:"metadata,optional" json:"metadata,omitempty"`
	Extra    *string           `parquet:"extra,optional,plain" json:"extra,omitempty"` // JSON object: what the source had and no column holds
}

// Source says where a row came from.
type Source struct {
	Format  *string `parquet:"format,optional,dict" json:"format,omitempty"`
	Version *string `parquet:"version,optional,dict" json:"version,omitempty"`
	URI     *string `parquet:"uri,optional,plain" json:"uri,omitempty"`
	Record  *int64  `parquet:"record,optional" json:"record,omitempty"` // line or index in the file, from 0
}

// Sampling is how the behaviour policy was sampled.
type Sampling struct {
	Temperature *float64 `parquet:"temperature,optional" json:"temperature,omitempty"`
	TopP        *float64 `parquet:"top_p,optional" json:"top_p,omitempty"`
	TopK        *int32   `parquet:"top_k,optional" json:"top_k,omitempty"`
	MaxTokens   *int64   `parquet:"max_tokens,optional" json:"max_tokens,omitempty"`
	Seed        *int64   `parquet:"seed,optional" json:"seed,omitempty"`
}

// Participant is somebody who acts in the trajectory.
type Participant struct {
	Kind      *string `parquet:"kind,optional,plain" json:"kind,omitempty"` // agent, user_sim, human, tool, judge
	Name      *string `parquet:"name,optional,plain" json:"name,omitempty"`
	Model     *string `parquet:"model,optional,plain" json:"model,omitempty"`
	Trainable *bool   `parquet:"trainable,optional" json:"trainable,omitempty"`
}

// Reward is one named component of the reward that the source stated.
type Reward struct {
	Name          *string  `parquet:"name,optional,plain" json:"name,omitempty"`
	Value         *float64 `parquet:"value,optional" json:"value,omitempty"`
	Weight        *float64 `parquet:"weight,optional" json:"weight,omitempty"`
	Kind          *string  `parquet:"kind,optional,plain" json:"kind,omitempty"`
	Scorer        *string  `parquet:"scorer,optional,plain" json:"scorer,omitempty"`
	ScorerVersion *string  `parquet:"scorer_version,optional,plain" json:"scorer_version,omitempty"`
}

// Segment is a run of tokens with one origin. Parent names an earlier segment
// of which PrefixLen tokens are kept before this one's own [Start, End).
type Segment struct {
	Parent        *int32   `parquet:"parent,optional" json:"parent,omitempty"`
	PrefixLen     *int32   `parquet:"prefix_len,optional" json:"prefix_len,omitempty"`
	Start         *int32   `parquet:"start,optional" json:"start,omitempty"`
	End           *int32   `parquet:"end,optional" json:"end,omitempty"`
	PolicyVersion *int64   `parquet:"policy_version,optional" json:"policy_version,omitempty"`
	Temperature   *float64 `parquet:"temperature,optional" json:"temperature,omitempty"`
	Reason        *string  `parquet:"reason,optional,plain" json:"reason,omitempty"` // sampled, prompt, tool, forced, injected, copied, redacted
}

// Turn is one message; it holds only what it adds.
type Turn struct {
	Parent        *int32     `parquet:"parent,optional" json:"parent,omitempty"` // index of the turn before in the graph; null = the turn before in the list
	Actor         *string    `parquet:"actor,optional,dict" json:"actor,omitempty"`
	Role          *string    `parquet:"role,optional,dict" json:"role,omitempty"` // system, developer, user, assistant, tool, environment, event
	RoleRaw       *string    `parquet:"role_raw,optional,dict" json:"role_raw,omitempty"`
	Sampled       *bool      `parquet:"sampled,optional" json:"sampled,omitempty"`
	IsDemo        *bool      `parquet:"is_demo,optional" json:"is_demo,omitempty"`
	Text          *string    `parquet:"text,optional,plain" json:"text,omitempty"`
	Thinking      *string    `parquet:"thinking,optional,plain" json:"thinking,omitempty"`
	Blocks        []Block    `parquet:"blocks,optional,list" json:"blocks,omitempty"`
	ToolCalls     []ToolCall `parquet:"tool_calls,optional,list" json:"tool_calls,omitempty"`
	FinishReason  *string    `parquet:"finish_reason,optional,dict" json:"finish_reason,omitempty"`
	FinishRaw     *string    `parquet:"finish_raw,optional,dict" json:"finish_raw,omitempty"`
	Model         *string    `parquet:"model,optional,dict" json:"model,omitempty"`
	Effort        *string    `parquet:"effort,optional,dict" json:"effort,omitempty"`
	Reward        *float64   `parquet:"reward,optional" json:"reward,omitempty"`
	PolicyVersion *int64     `parquet:"policy_version,optional" json:"policy_version,omitempty"`
	Usage         *Usage     `parquet:"usage,optional" json:"usage,omitempty"`
	CostUSD       *float64   `parquet:"cost_usd,optional" json:"cost_usd,omitempty"`
	TokenStart    *int32     `parquet:"token_start,optional" json:"token_start,omitempty"`
	TokenEnd      *int32     `parquet:"token_end,optional" json:"token_end,omitempty"`
	EnvStateRef   *string    `parquet:"env_state_ref,optional,plain" json:"env_state_ref,omitempty"`
	At            *Time      `parquet:"at,optional,timestamp(microsecond)" json:"at,omitempty"`
	Extra         *string    `parquet:"extra,optional,plain" json:"extra,omitempty"` // JSON object
}

// Usage is the token count of one turn; Prompt includes the cached part.
type Usage struct {
	Prompt     *int64 `parquet:"prompt,optional" json:"prompt,omitempty"`
	CacheRead  *int64 `parquet:"cache_read,optional" json:"cache_read,omitempty"`
	CacheWrite *int64 `parquet:"cache_write,optional" json:"cache_write,omitempty"`
	Completion *int64 `parquet:"completion,optional" json:"completion,omitempty"`
	Thinking   *int64 `parquet:"thinking,optional" json:"thinking,omitempty"`
}

// Block is one ordered part of a turn, where text alone loses something.
type Block struct {
	Type   *string `parquet:"type,optional,dict" json:"type,omitempty"` // text, thinking, redacted_thinking, refusal, image, audio, file, json, …
	Text   *string `parquet:"text,optional,plain" json:"text,omitempty"`
	Mime   *string `parquet:"mime,optional,dict" json:"mime,omitempty"`
	Digest *string `parquet:"digest,optional,plain" json:"digest,omitempty"` // content-addressed blob, hex SHA-256
	Bytes  *int64  `parquet:"bytes,optional" json:"bytes,omitempty"`
	Offset *int64  `parquet:"offset,optional" json:"offset,omitempty"` // placeholder position in text, bytes
	Extra  *string `parquet:"extra,optional,plain" json:"extra,omitempty"`
}

// ToolCall is one call with its result. Its identity is (turn, ordinal); the
// vendor's id is kept verbatim and never trusted to be unique.
type ToolCall struct {
	IDRaw           *string  `parquet:"id_raw,optional,plain" json:"id_raw,omitempty"`
	Name            *string  `parquet:"name,optional,dict" json:"name,omitempty"`
	Kind            *string  `parquet:"kind,optional,dict" json:"kind,omitempty"` // search, code, browser, shell, file, agent, other
	ArgsRaw         *string  `parquet:"args_raw,optional,plain" json:"args_raw,omitempty"`
	ArgsError       *string  `parquet:"args_error,optional,plain" json:"args_error,omitempty"`
	Actor           *string  `parquet:"actor,optional,dict" json:"actor,omitempty"`
	Result          *string  `parquet:"result,optional,plain" json:"result,omitempty"`
	ResultStatus    *string  `parquet:"result_status,optional,dict" json:"result_status,omitempty"` // ok, error, timeout, cancelled, rejected, missing
	ResultTruncated *bool    `parquet:"result_truncated,optional" json:"result_truncated,omitempty"`
	ResultBytes     *int64   `parquet:"result_bytes,optional" json:"result_bytes,omitempty"` // full size, before any cut
	Link            *string  `parquet:"link,optional,dict" json:"link,omitempty"`            // id, order, name_order, same_object, adjacency, none
	LatencyMs       *int64   `parquet:"latency_ms,optional" json:"latency_ms,omitempty"`
	SubagentIDs     []string `parquet:"subagent_ids,optional,list" json:"subagent_ids,omitempty"`
}

// Annotation is one row of the annotations table: a fact learned later about a
// trajectory or a part or a family of them. Annotations are appended, never
// changed; the fold is the greatest row_seq per (target, kind, name, scorer).
type Annotation struct {
	AnnotationID  string   `parquet:"annotation_id,plain" json:"annotation_id"`
	Kind          *string  `parquet:"kind,optional,dict" json:"kind,omitempty"`               // reward, label, priority, advantage, quarantine, restore, review, gone, supersede
	TargetKind    *string  `parquet:"target_kind,optional,dict" json:"target_kind,omitempty"` // trajectory, turn, call, span, group, episode, task, env
	TargetID      *string  `parquet:"target_id,optional,plain" json:"target_id,omitempty"`
	Turn          *int32   `parquet:"turn,optional" json:"turn,omitempty"`
	Call          *int32   `parquet:"call,optional" json:"call,omitempty"`
	SpanStart     *int32   `parquet:"span_start,optional" json:"span_start,omitempty"` // tokens
	SpanEnd       *int32   `parquet:"span_end,optional" json:"span_end,omitempty"`
	Name          *string  `parquet:"name,optional,dict" json:"name,omitempty"`
	Value         *float64 `parquet:"value,optional" json:"value,omitempty"`
	ValueText     *string  `parquet:"value_text,optional,plain" json:"value_text,omitempty"`
	ValueJSON     *string  `parquet:"value_json,optional,plain" json:"value_json,omitempty"`
	Scorer        *string  `parquet:"scorer,optional,dict" json:"scorer,omitempty"`
	ScorerVersion *string  `parquet:"scorer_version,optional,dict" json:"scorer_version,omitempty"`
	PolicyVersion *int64   `parquet:"policy_version,optional" json:"policy_version,omitempty"`
	RunID         *string  `parquet:"run_id,optional,dict" json:"run_id,omitempty"`
	Author        *string  `parquet:"author,optional,dict" json:"author,omitempty"`
	Reason        *string  `parquet:"reason,optional,plain" json:"reason,omitempty"`
	At            *Time    `parquet:"at,optional,timestamp(microsecond)" json:"at,omitempty"`
	RowVersion    *int64   `parquet:"row_version,optional" json:"row_version,omitempty"`
	RowSeq        *int64   `parquet:"row_seq,optional" json:"row_seq,omitempty"`
	Extra         *string  `parquet:"extra,optional,plain" json:"extra,omitempty"`
}

// Tensor is one row of the tensors table: one piece of a fat or late per-token
// array of a trajectory. Key (trajectory_id, name, producer, version, piece).
type Tensor struct {
	TrajectoryID string   `parquet:"trajectory_id,plain" json:"trajectory_id"`
	Name         string   `parquet:"name,dict" json:"name"`
	Producer     *string  `parquet:"producer,optional,dict" json:"producer,omitempty"`
	Version      *int64   `parquet:"version,optional" json:"version,omitempty"`
	Piece        int32    `parquet:"piece" json:"piece"`   // from 0
	Pieces       int32    `parquet:"pieces" json:"pieces"` // how many rows make the tensor
	DType        *string  `parquet:"dtype,optional,dict" json:"dtype,omitempty"`
	Alignment    *string  `parquet:"alignment,optional,dict" json:"alignment,omitempty"`
	Missing      *string  `parquet:"missing,optional,plain" json:"missing,omitempty"` // the value that means missing, as text
	Digest       *string  `parquet:"digest,optional,plain" json:"digest,omitempty"`   // hex SHA-256 of the piece's bytes
	SourceDigest []byte   `parquet:"source_digest,optional,plain" json:"source_digest,omitempty"`
	RowVersion   *int64   `parquet:"row_version,optional" json:"row_version,omitempty"`
	RowSeq       *int64   `parquet:"row_seq,optional" json:"row_seq,omitempty"`
	Shape        []int64  `parquet:"shape,optional,list" json:"shape,omitempty"`
	Data         [][]byte `parquet:"data,optional,list" json:"data,omitempty"` // binary pieces of at most 1 MiB
}

// LedgerEntry is one row of the ledger: a claim of positions, or one served or
// consumed batch.
type LedgerEntry struct {
	Kind          *string   `parquet:"kind,optional,dict" json:"kind,omitempty"` // claim, served, consumed, nack, refused
	Stream        *string   `parquet:"stream,optional,dict" json:"stream,omitempty"`
	SpecHash      *string   `parquet:"spec_hash,optional,dict" json:"spec_hash,omitempty"`
	Run           *string   `parquet:"run,optional,dict" json:"run,omitempty"`
	Incarnation   *int64    `parquet:"incarnation,optional" json:"incarnation,omitempty"`
	First         *int64    `parquet:"first,optional" json:"first,omitempty"`
	Count         *int64    `parquet:"count,optional" json:"count,omitempty"`
	Step          *int64    `parquet:"step,optional" json:"step,omitempty"`
	Rank          *int32    `parquet:"rank,optional" json:"rank,omitempty"`
	World         *int32    `parquet:"world,optional" json:"world,omitempty"`
	BatchID       *string   `parquet:"batch_id,optional,plain" json:"batch_id,omitempty"`
	Snapshot      *string   `parquet:"snapshot,optional,plain" json:"snapshot,omitempty"`
	PolicyVersion *int64    `parquet:"policy_version,optional" json:"policy_version,omitempty"`
	AsOf          *Time     `parquet:"as_of,optional,timestamp(microsecond)" json:"as_of,omitempty"`
	Carry         *string   `parquet:"carry,optional,plain" json:"carry,omitempty"`
	Node          *string   `parquet:"node,optional,dict" json:"node,omitempty"`
	At            *Time     `parquet:"at,optional,timestamp(microsecond)" json:"at,omitempty"`
	RowVersion    *int64    `parquet:"row_version,optional" json:"row_version,omitempty"`
	RowSeq        *int64    `parquet:"row_seq,optional" json:"row_seq,omitempty"`
	TrajectoryIDs []string  `parquet:"trajectory_ids,optional,list" json:"trajectory_ids,omitempty"`
	RowSeqs       []int64   `parquet:"row_seqs,optional,list" json:"row_seqs,omitempty"`
	Inclusion     []float64 `parquet:"inclusion,optional,list" json:"inclusion,omitempty"`
	Staleness     []int64   `parquet:"staleness,optional,list" json:"staleness,omitempty"`
}
