from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fault(_message.Message):
    __slots__ = ("kind", "op", "message", "field", "hint", "wait")
    KIND_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    op: str
    message: str
    field: str
    hint: str
    wait: Wait
    def __init__(self, kind: _Optional[str] = ..., op: _Optional[str] = ..., message: _Optional[str] = ..., field: _Optional[str] = ..., hint: _Optional[str] = ..., wait: _Optional[_Union[Wait, _Mapping]] = ...) -> None: ...

class Wait(_message.Message):
    __slots__ = ("reason", "stratum", "have", "want")
    REASON_FIELD_NUMBER: _ClassVar[int]
    STRATUM_FIELD_NUMBER: _ClassVar[int]
    HAVE_FIELD_NUMBER: _ClassVar[int]
    WANT_FIELD_NUMBER: _ClassVar[int]
    reason: str
    stratum: str
    have: int
    want: int
    def __init__(self, reason: _Optional[str] = ..., stratum: _Optional[str] = ..., have: _Optional[int] = ..., want: _Optional[int] = ...) -> None: ...

class InfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class InfoResponse(_message.Message):
    __slots__ = ("lake_id", "version", "snapshot", "server_version", "roles", "max_row_bytes", "max_message_bytes")
    LAKE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    MAX_ROW_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    lake_id: str
    version: int
    snapshot: str
    server_version: str
    roles: _containers.RepeatedScalarFieldContainer[str]
    max_row_bytes: int
    max_message_bytes: int
    def __init__(self, lake_id: _Optional[str] = ..., version: _Optional[int] = ..., snapshot: _Optional[str] = ..., server_version: _Optional[str] = ..., roles: _Optional[_Iterable[str]] = ..., max_row_bytes: _Optional[int] = ..., max_message_bytes: _Optional[int] = ...) -> None: ...

class AppendRequest(_message.Message):
    __slots__ = ("open", "seq", "items", "chunk")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    open: AppendOpen
    seq: int
    items: _containers.RepeatedScalarFieldContainer[bytes]
    chunk: RowChunk
    def __init__(self, open: _Optional[_Union[AppendOpen, _Mapping]] = ..., seq: _Optional[int] = ..., items: _Optional[_Iterable[bytes]] = ..., chunk: _Optional[_Union[RowChunk, _Mapping]] = ...) -> None: ...

class AppendOpen(_message.Message):
    __slots__ = ("session", "settled")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    session: str
    settled: bytes
    def __init__(self, session: _Optional[str] = ..., settled: _Optional[bytes] = ...) -> None: ...

class RowChunk(_message.Message):
    __slots__ = ("total", "data", "last")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    total: int
    data: bytes
    last: bool
    def __init__(self, total: _Optional[int] = ..., data: _Optional[bytes] = ..., last: bool = ...) -> None: ...

class AppendItem(_message.Message):
    __slots__ = ("json", "row", "token_ids", "loss_mask", "logprobs", "source_sum")
    JSON_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LOSS_MASK_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SUM_FIELD_NUMBER: _ClassVar[int]
    json: bytes
    row: bytes
    token_ids: bytes
    loss_mask: bytes
    logprobs: bytes
    source_sum: bytes
    def __init__(self, json: _Optional[bytes] = ..., row: _Optional[bytes] = ..., token_ids: _Optional[bytes] = ..., loss_mask: _Optional[bytes] = ..., logprobs: _Optional[bytes] = ..., source_sum: _Optional[bytes] = ...) -> None: ...

class AppendResponse(_message.Message):
    __slots__ = ("seq", "receipts")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    receipts: _containers.RepeatedCompositeFieldContainer[AppendReceipt]
    def __init__(self, seq: _Optional[int] = ..., receipts: _Optional[_Iterable[_Union[AppendReceipt, _Mapping]]] = ...) -> None: ...

class AppendReceipt(_message.Message):
    __slots__ = ("id", "status", "version", "fault", "digest")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[AppendReceipt.Status]
        COMMITTED: _ClassVar[AppendReceipt.Status]
        DUPLICATE: _ClassVar[AppendReceipt.Status]
        REJECTED: _ClassVar[AppendReceipt.Status]
    STATUS_UNSPECIFIED: AppendReceipt.Status
    COMMITTED: AppendReceipt.Status
    DUPLICATE: AppendReceipt.Status
    REJECTED: AppendReceipt.Status
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: AppendReceipt.Status
    version: int
    fault: Fault
    digest: bytes
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[AppendReceipt.Status, str]] = ..., version: _Optional[int] = ..., fault: _Optional[_Union[Fault, _Mapping]] = ..., digest: _Optional[bytes] = ...) -> None: ...

class TensorPart(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: TensorHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[TensorHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class TensorHeader(_message.Message):
    __slots__ = ("trajectory_id", "name", "producer", "version", "dtype", "shape", "alignment", "missing")
    TRAJECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    ALIGNMENT_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    trajectory_id: str
    name: str
    producer: str
    version: int
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    alignment: str
    missing: str
    def __init__(self, trajectory_id: _Optional[str] = ..., name: _Optional[str] = ..., producer: _Optional[str] = ..., version: _Optional[int] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., alignment: _Optional[str] = ..., missing: _Optional[str] = ...) -> None: ...

class AnnotateRequest(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, json: _Optional[_Iterable[bytes]] = ...) -> None: ...

class AnnotateResponse(_message.Message):
    __slots__ = ("receipts", "version", "snapshot")
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    receipts: _containers.RepeatedCompositeFieldContainer[AppendReceipt]
    version: int
    snapshot: str
    def __init__(self, receipts: _Optional[_Iterable[_Union[AppendReceipt, _Mapping]]] = ..., version: _Optional[int] = ..., snapshot: _Optional[str] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("ids", "snapshot")
    IDS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    snapshot: str
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., snapshot: _Optional[str] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("index", "json", "last", "absent")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    index: int
    json: bytes
    last: bool
    absent: bool
    def __init__(self, index: _Optional[int] = ..., json: _Optional[bytes] = ..., last: bool = ..., absent: bool = ...) -> None: ...

class LookupRequest(_message.Message):
    __slots__ = ("ids", "snapshot")
    IDS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    snapshot: str
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., snapshot: _Optional[str] = ...) -> None: ...

class LookupResponse(_message.Message):
    __slots__ = ("row_seqs", "version", "snapshot")
    ROW_SEQS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    row_seqs: _containers.RepeatedScalarFieldContainer[int]
    version: int
    snapshot: str
    def __init__(self, row_seqs: _Optional[_Iterable[int]] = ..., version: _Optional[int] = ..., snapshot: _Optional[str] = ...) -> None: ...

class SnapshotRequest(_message.Message):
    __slots__ = ("snapshot",)
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    snapshot: str
    def __init__(self, snapshot: _Optional[str] = ...) -> None: ...

class JsonResponse(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: bytes
    def __init__(self, json: _Optional[bytes] = ...) -> None: ...

class IdsRequest(_message.Message):
    __slots__ = ("where", "columns", "snapshot")
    WHERE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    where: str
    columns: _containers.RepeatedScalarFieldContainer[str]
    snapshot: str
    def __init__(self, where: _Optional[str] = ..., columns: _Optional[_Iterable[str]] = ..., snapshot: _Optional[str] = ...) -> None: ...

class VersionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LinesResponse(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, json: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SampleRequest(_message.Message):
    __slots__ = ("spec", "position", "snapshot", "rank", "world")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    WORLD_FIELD_NUMBER: _ClassVar[int]
    spec: bytes
    position: int
    snapshot: str
    rank: int
    world: int
    def __init__(self, spec: _Optional[bytes] = ..., position: _Optional[int] = ..., snapshot: _Optional[str] = ..., rank: _Optional[int] = ..., world: _Optional[int] = ...) -> None: ...

class SampleResponse(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: bytes
    def __init__(self, json: _Optional[bytes] = ...) -> None: ...

class CreateStreamRequest(_message.Message):
    __slots__ = ("name", "spec")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    name: str
    spec: bytes
    def __init__(self, name: _Optional[str] = ..., spec: _Optional[bytes] = ...) -> None: ...

class StreamRequest(_message.Message):
    __slots__ = ("name", "run")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    name: str
    run: str
    def __init__(self, name: _Optional[str] = ..., run: _Optional[str] = ...) -> None: ...

class ListStreamsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DrawRequest(_message.Message):
    __slots__ = ("stream", "run", "position", "rank", "world", "step", "policy_version", "wait_ms", "batch_id")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    WORLD_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    stream: str
    run: str
    position: int
    rank: int
    world: int
    step: int
    policy_version: int
    wait_ms: int
    batch_id: str
    def __init__(self, stream: _Optional[str] = ..., run: _Optional[str] = ..., position: _Optional[int] = ..., rank: _Optional[int] = ..., world: _Optional[int] = ..., step: _Optional[int] = ..., policy_version: _Optional[int] = ..., wait_ms: _Optional[int] = ..., batch_id: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("stream", "spec", "run", "snapshot", "step", "policy_version")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    stream: str
    spec: bytes
    run: str
    snapshot: str
    step: int
    policy_version: int
    def __init__(self, stream: _Optional[str] = ..., spec: _Optional[bytes] = ..., run: _Optional[str] = ..., snapshot: _Optional[str] = ..., step: _Optional[int] = ..., policy_version: _Optional[int] = ...) -> None: ...

class SetLimiterRequest(_message.Message):
    __slots__ = ("stream", "min_size", "samples_per_insert", "slack")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_PER_INSERT_FIELD_NUMBER: _ClassVar[int]
    SLACK_FIELD_NUMBER: _ClassVar[int]
    stream: str
    min_size: int
    samples_per_insert: float
    slack: int
    def __init__(self, stream: _Optional[str] = ..., min_size: _Optional[int] = ..., samples_per_insert: _Optional[float] = ..., slack: _Optional[int] = ...) -> None: ...

class JoinRequest(_message.Message):
    __slots__ = ("stream", "run", "rank")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    stream: str
    run: str
    rank: int
    def __init__(self, stream: _Optional[str] = ..., run: _Optional[str] = ..., rank: _Optional[int] = ...) -> None: ...

class JoinResponse(_message.Message):
    __slots__ = ("incarnation",)
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    incarnation: int
    def __init__(self, incarnation: _Optional[int] = ...) -> None: ...

class AckRequest(_message.Message):
    __slots__ = ("stream", "run", "rank", "world", "incarnation", "batch_id", "position", "step", "policy_version", "lease")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    WORLD_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    stream: str
    run: str
    rank: int
    world: int
    incarnation: int
    batch_id: str
    position: int
    step: int
    policy_version: int
    lease: int
    def __init__(self, stream: _Optional[str] = ..., run: _Optional[str] = ..., rank: _Optional[int] = ..., world: _Optional[int] = ..., incarnation: _Optional[int] = ..., batch_id: _Optional[str] = ..., position: _Optional[int] = ..., step: _Optional[int] = ..., policy_version: _Optional[int] = ..., lease: _Optional[int] = ...) -> None: ...

class AckResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NackRequest(_message.Message):
    __slots__ = ("batch", "reason")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    batch: AckRequest
    reason: str
    def __init__(self, batch: _Optional[_Union[AckRequest, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("stream", "run", "step")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    stream: str
    run: str
    step: int
    def __init__(self, stream: _Optional[str] = ..., run: _Optional[str] = ..., step: _Optional[int] = ...) -> None: ...

class LeaseRequest(_message.Message):
    __slots__ = ("stream", "group", "consumer", "ttl_ms", "position", "epoch")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    stream: str
    group: str
    consumer: str
    ttl_ms: int
    position: int
    epoch: int
    def __init__(self, stream: _Optional[str] = ..., group: _Optional[str] = ..., consumer: _Optional[str] = ..., ttl_ms: _Optional[int] = ..., position: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class LeaseResponse(_message.Message):
    __slots__ = ("position", "epoch")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    position: int
    epoch: int
    def __init__(self, position: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("stream", "group", "consumer", "position", "epoch", "done")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    stream: str
    group: str
    consumer: str
    position: int
    epoch: int
    done: bool
    def __init__(self, stream: _Optional[str] = ..., group: _Optional[str] = ..., consumer: _Optional[str] = ..., position: _Optional[int] = ..., epoch: _Optional[int] = ..., done: bool = ...) -> None: ...

class LedgerRequest(_message.Message):
    __slots__ = ("run", "stream", "step", "trajectory", "batch", "snapshot", "kind", "superseded")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TRAJECTORY_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_FIELD_NUMBER: _ClassVar[int]
    run: str
    stream: str
    step: int
    trajectory: str
    batch: str
    snapshot: str
    kind: str
    superseded: bool
    def __init__(self, run: _Optional[str] = ..., stream: _Optional[str] = ..., step: _Optional[int] = ..., trajectory: _Optional[str] = ..., batch: _Optional[str] = ..., snapshot: _Optional[str] = ..., kind: _Optional[str] = ..., superseded: bool = ...) -> None: ...

class LedgerDiffRequest(_message.Message):
    __slots__ = ("run_a", "run_b")
    RUN_A_FIELD_NUMBER: _ClassVar[int]
    RUN_B_FIELD_NUMBER: _ClassVar[int]
    run_a: str
    run_b: str
    def __init__(self, run_a: _Optional[str] = ..., run_b: _Optional[str] = ...) -> None: ...

class BlobRequest(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    def __init__(self, digest: _Optional[str] = ...) -> None: ...

class Blob(_message.Message):
    __slots__ = ("digest", "body")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    digest: str
    body: bytes
    def __init__(self, digest: _Optional[str] = ..., body: _Optional[bytes] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("deep",)
    DEEP_FIELD_NUMBER: _ClassVar[int]
    deep: bool
    def __init__(self, deep: bool = ...) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("done", "total", "report")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    report: bytes
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., report: _Optional[bytes] = ...) -> None: ...

class RebuildIndexRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RebuildIndexResponse(_message.Message):
    __slots__ = ("version", "rows", "seconds")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    version: int
    rows: int
    seconds: float
    def __init__(self, version: _Optional[int] = ..., rows: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class FoldRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FoldResponse(_message.Message):
    __slots__ = ("folded",)
    FOLDED_FIELD_NUMBER: _ClassVar[int]
    folded: int
    def __init__(self, folded: _Optional[int] = ...) -> None: ...

class RpcStatus(_message.Message):
    __slots__ = ("code", "message", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[RpcAny]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[RpcAny, _Mapping]]] = ...) -> None: ...

class RpcAny(_message.Message):
    __slots__ = ("type_url", "value")
    TYPE_URL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    type_url: str
    value: bytes
    def __init__(self, type_url: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
