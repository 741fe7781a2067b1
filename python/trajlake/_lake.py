"""A connection to a server."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa

from . import _faults, _process, _spool
from ._flight import Flights
from ._pb import trajlake_service_pb2 as pb
from ._receipt import Receipt, receipt_of
from ._replay import Replay, Spec
from ._rows import Row, encode, pack, row_id
from ._session import TARGET_BYTES, TARGET_ROWS, Session
from ._streams import Streams, ref
from ._writer import Writer
from .errors import ExhaustedError, InvalidRowError, NotFoundError, TrajlakeError, UnavailableError, UsageError

_SERVICE = "/trajlake.v1.Lake/"
_MAX_MESSAGE = 96 << 20
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 60_000),
]
_ARRAY_DTYPES = {"token_ids": np.int32, "loss_mask": np.int8, "logprobs": np.float32}
_TENSOR_PART = 1 << 20  # bytes of one message
_TABLE_ROWS = 1024  # of a table, turned into rows at a time


def connect(addr: str | None = None, *, timeout: float = 120.0, retry_for: float = 60.0) -> Lake:
    """A connection to the server at addr ("host:port").

    Nothing is sent yet: a server that is not there is an error of the first call.

    Args:
        addr: None reads the environment's TRAJLAKE_SERVER.
        timeout: seconds after which a reading call or annotate gives up.
        retry_for: seconds for which append and replay try again while the server or
            the store cannot be reached.
    """
    addr = addr or os.environ.get("TRAJLAKE_SERVER", "")
    if not addr:
        raise UsageError("connect: no server", hint='pass an address, as in connect("127.0.0.1:7400"), or set TRAJLAKE_SERVER')
    return Lake(addr, timeout=timeout, retry_for=retry_for)


class Lake(Streams):
    """A connection; see connect(). Safe for use by several threads.

    It does not survive a fork, and a process that has had a connection cannot fork
    others that connect: gRPC's threads are missing there. Both are a UsageError.

    Every error is a TrajlakeError; see trajlake.errors.
    """

    def __init__(self, addr: str, *, timeout: float = 120.0, retry_for: float = 60.0) -> None:
        self._owner = _process.opening()
        self.addr = addr.removeprefix("grpc://")
        self.timeout = timeout
        self.retry_for = retry_for
        self._channel = grpc.insecure_channel(self.addr, options=_OPTIONS)
        self._calls: dict[str, Callable] = {}
        self._flights = Flights(self.addr, self._owner)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._channel.close()
        self._flights.close()

    def __enter__(self) -> Lake:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Calls.

    def _unary(self, name: str, request: Any, answer: Any, *, timeout: float | None = -1.0, service: str = _SERVICE) -> Any:
        _process.check(self._owner)
        call = self._calls.get(name)
        if call is None:
            call = self._channel.unary_unary(service + name, type(request).SerializeToString, answer.FromString)
            self._calls[name] = call
        try:
            return call(request, timeout=self.timeout if timeout == -1.0 else timeout)
        except grpc.RpcError as e:
            raise _faults.from_rpc(e) from None

    def _stream(self, name: str, request: Any, answer: Any, *, service: str = _SERVICE) -> Iterable[Any]:
        _process.check(self._owner)
        call = self._channel.unary_stream(service + name, type(request).SerializeToString, answer.FromString)
        try:
            yield from call(request)
        except grpc.RpcError as e:
            raise _faults.from_rpc(e) from None

    def _session(self, **options: Any) -> Session:
        _process.check(self._owner)
        append = self._channel.stream_stream(_SERVICE + "Append", pb.AppendRequest.SerializeToString, pb.AppendResponse.FromString)
        return Session(append, **options)

    # Writing.

    def append(self, rows: Iterable[Row]) -> list[Receipt]:
        """Commit rows; returns one receipt for each, in order, once they are durable and visible.

        A row is a dict in the keys of native JSON. ``token_ids`` (int32), ``loss_mask``
        (int8, 0 or 1) and ``logprobs`` (float32) may be lists or 1-d numpy arrays of
        equal length. Faults of a row are receipts with status "rejected"; the others
        are in. Calling it again with the same rows gives duplicates, never second rows.

        Raises:
            UnavailableError: the server or its store could not be reached for
                ``retry_for`` seconds. Its ``receipts`` has those that came; append all again.
        """
        if isinstance(rows, (dict, str, bytes)):
            raise UsageError("append: takes a list of rows", hint="append([row])")
        receipts: list[Receipt] = []
        few: list[tuple[int, bytes]] | None = []  # rows for one plain call; None: there are too many
        size = 0
        session = self._session(retry_for=self.retry_for, eager=False)

        def settle(at: int, r: pb.AppendReceipt) -> None:
            receipt = receipt_of(r)
            receipt.trajectory_id = receipt.trajectory_id or receipts[at].trajectory_id
            receipts[at] = receipt

        try:
            for at, row in enumerate(rows):
                try:
                    item = pack(row)
                except InvalidRowError as e:
                    receipts.append(Receipt("rejected", row_id(row), error=e))
                    continue
                receipts.append(Receipt("pending", row_id(row)))
                size += len(item)
                if few is not None:
                    few.append((at, item))
                    if size <= TARGET_BYTES and len(few) <= TARGET_ROWS:
                        continue
                    for n, i in few:
                        session.put(i, partial(settle, n))
                    few = None
                else:
                    session.put(item, partial(settle, at))
            if few is None:
                session.flush()
            elif few:
                answer = self._append_rows([i for _, i in few])
                for (n, _), r in zip(few, answer.receipts):
                    settle(n, r)
        except TrajlakeError as e:
            e.receipts = receipts  # type: ignore[attr-defined]
            raise
        finally:
            session.close(abort=True)
        return receipts

    def _append_rows(self, items: list[bytes]) -> pb.AppendResponse:
        """One plain call, made again while nobody answers: rows that were committed come back as duplicates."""
        request = pb.AppendRequest(items=items)
        end = time.monotonic() + self.retry_for
        pause = 0.05
        while True:
            try:
                return self._unary("AppendRows", request, pb.AppendResponse, timeout=None)
            except (UnavailableError, ExhaustedError):
                if time.monotonic() + pause > end:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 5.0)

    def append_table(self, table: pa.Table | pa.RecordBatch) -> list[Receipt]:
        """Commit the rows of a table whose columns have the names of native JSON.

        A column of structs is an object, a list is an array, a map an object, a
        timestamp without zone is UTC, a date its ISO form, a decimal a number; nulls are
        as if the key were not there. A row with bytes in it is rejected: JSON has none. Columns
        that the lake has not are kept in ``extra``. Token columns go without work per element.
        """
        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        if not isinstance(table, pa.Table):
            raise UsageError(f"append_table: takes a pyarrow table, not {type(table).__name__}", hint="append(rows) takes dicts; pyarrow.Table.from_pylist makes a table of them")
        return self.append(_table_rows(table))

    def writer(self, *, spool_dir: str | os.PathLike[str] | None = None, retry_for: float = 300.0, patience: float = 5.0) -> Writer:
        """A batching writer; see Writer.

        Args:
            spool_dir: a folder of this machine that keeps the rows while the lake does not take them.
            retry_for: without a spool: seconds of an unreachable lake after which it is an error.
            patience: with a spool: seconds for which close() waits while no row is taken.
        """
        return Writer(self, spool_dir=spool_dir, retry_for=retry_for, patience=patience)

    def drain(self, spool_dir: str | os.PathLike[str]) -> list[Receipt]:
        """Bring the rows that closed or crashed writers left in spool_dir into the lake.

        Returns their receipts. Rows that the lake refuses are kept in
        ``spool_dir/rejected.jsonl`` with the reason.

        Raises:
            UnavailableError: the lake could not be reached for ``retry_for`` seconds; the
                rows without a receipt are still in the folder.
        """
        out: list[Receipt] = []
        for log in _spool.SpoolLog.abandoned(Path(spool_dir)):
            _spool.drain(
                log,
                lambda name, settled, on_settled: self._session(retry_for=self.retry_for, name=name, settled=settled, on_settled=on_settled),
                lambda n, item, receipt: out.append(receipt),
            )
        return out

    def annotate(self, rows: Iterable[Row]) -> list[Receipt]:
        """Append facts learned later: late rewards, labels, priorities, quarantine, reviews.

        Each row needs ``target_id`` and ``kind``; ``target_kind`` is "trajectory" unless
        said. ``trajectory_id`` of the receipts is the annotation's id, ``snapshot`` the
        token at which it is visible. The same row again is a duplicate.
        """
        if isinstance(rows, (dict, str, bytes)):
            raise UsageError("annotate: takes a list of annotations", hint="annotate([annotation])")
        docs = [encode(dict(r)) for r in rows]
        out: list[Receipt] = []
        for at in range(0, len(docs), 5000):
            a = self._unary("Annotate", pb.AnnotateRequest(json=docs[at : at + 5000]), pb.AnnotateResponse)
            out.extend(receipt_of(r, a.snapshot) for r in a.receipts)
        return out

    def append_tensor(
        self,
        trajectory_id: str,
        name: str,
        array: np.ndarray,
        *,
        dtype: str | None = None,
        producer: str | None = None,
        version: int | None = None,
        alignment: str | None = None,
        missing: str | None = None,
    ) -> Receipt:
        """Commit a late or fat array of a trajectory: routed experts, teacher log-probabilities, advantages by token.

        It is read only where a spec or a call names it. The same bytes again are a duplicate; other
        bytes under the same (trajectory, name, producer, version) are rejected.

        Args:
            array: of any shape; sent little-endian and row-major.
            dtype: what the bytes mean where numpy has no word for it ("bfloat16"); None is the array's.
            alignment, missing: how rows of the array belong to tokens, and which value is none; kept as given.
        """
        data = np.ascontiguousarray(array)
        data = data.astype(data.dtype.newbyteorder("<"), copy=False)
        header = pb.TensorHeader(trajectory_id=trajectory_id, name=name, dtype=dtype or data.dtype.name, shape=data.shape)
        for key, value in (("producer", producer), ("version", version), ("alignment", alignment), ("missing", missing)):
            if value is not None:
                setattr(header, key, value)
        raw = memoryview(data).cast("B") if data.size else memoryview(b"")

        def parts() -> Iterable[pb.TensorPart]:
            yield pb.TensorPart(header=header, data=bytes(raw[:_TENSOR_PART]))
            for at in range(_TENSOR_PART, len(raw), _TENSOR_PART):
                yield pb.TensorPart(data=bytes(raw[at : at + _TENSOR_PART]))

        _process.check(self._owner)
        call = self._channel.stream_unary(_SERVICE + "AppendTensors", pb.TensorPart.SerializeToString, pb.AppendResponse.FromString)
        try:
            return receipt_of(call(parts(), timeout=self.timeout).receipts[0])
        except grpc.RpcError as e:
            raise _faults.from_rpc(e) from None

    # Reading.

    def info(self) -> dict[str, Any]:
        """Lake id, version, snapshot token, roles and limits of the server."""
        i = self._unary("Info", pb.InfoRequest(), pb.InfoResponse)
        return {
            "lake_id": i.lake_id,
            "version": i.version,
            "snapshot": i.snapshot,
            "server_version": i.server_version,
            "roles": list(i.roles),
            "max_row_bytes": i.max_row_bytes,
        }

    def get(self, trajectory_id: str, *, snapshot: str | int | None = None) -> dict[str, Any]:
        """One trajectory as a native JSON object, with its arrays as lists.

        Raises:
            NotFoundError: there is none of that id in the snapshot.
        """
        row = self.get_many([trajectory_id], snapshot=snapshot)[0]
        if row is None:
            raise NotFoundError(f"get: no trajectory {trajectory_id!r}" + (f" at {snapshot}" if snapshot else ""), field="trajectory_id")
        return row

    def get_many(self, trajectory_ids: Sequence[str], *, snapshot: str | int | None = None) -> list[dict[str, Any] | None]:
        """Trajectories in the order asked; None where there is none."""
        if isinstance(trajectory_ids, str):
            raise UsageError("get_many: takes a list of ids")
        out: list[dict[str, Any] | None] = [None] * len(trajectory_ids)
        parts: list[bytes] = []
        for r in self._stream("Get", pb.GetRequest(ids=list(trajectory_ids), snapshot=ref(snapshot)), pb.GetResponse):
            if r.absent:
                continue
            parts.append(r.json)
            if r.last:
                out[r.index] = json.loads(b"".join(parts))
                parts = []
        return out

    def stats(self, *, snapshot: str | int | None = None) -> dict[str, Any]:
        """Counts of the lake, and its cells by task set, mode, effort and reward band."""
        return json.loads(self._unary("Stats", pb.SnapshotRequest(snapshot=ref(snapshot)), pb.JsonResponse).json)

    def ids(self, where: str = "", *, columns: Sequence[str] = (), snapshot: str | int | None = None) -> Iterable[dict[str, Any]]:
        """trajectory_id, content_hash and version of each trajectory that satisfies where, in lake order."""
        for r in self._stream("Ids", pb.IdsRequest(where=where, columns=list(columns), snapshot=ref(snapshot)), pb.LinesResponse):
            for line in r.json:
                yield json.loads(line)

    def versions(self) -> list[dict[str, Any]]:
        """The lake's versions, oldest first."""
        return [json.loads(line) for r in self._stream("Versions", pb.VersionsRequest(), pb.LinesResponse) for line in r.json]

    def scan(
        self,
        columns: Sequence[str] | None = None,
        where: str = "",
        *,
        table: str = "trajectories",
        snapshot: str | int | None = None,
    ) -> pa.RecordBatchReader:
        """Rows of a table in log order, as a stream of record batches of 1 to 4 MB.

        Args:
            columns: None is all stored columns.
            where: as in a spec; "" is every row.
            table: trajectories (with annotations folded in), annotations, tensors or ledger.
            snapshot: version or token; None is the head.
        """
        ticket: dict[str, Any] = {"kind": "scan", "table": table, "where": where, "snapshot": ref(snapshot)}
        if columns is not None:
            ticket["columns"] = list(columns)
        return self._flights.stream(ticket)

    def replay(
        self,
        source: Spec | str,
        *,
        run: str = "",
        position: int = 0,
        rank: int = 0,
        world_size: int = 1,
        prefetch: int = 1,
        policy_version: int | None = None,
        incarnation: int | None = None,
        patience: float | None = None,
    ) -> Replay:
        """An endless iterator of batches drawn as a spec or a named stream says; see Replay and Batch.

        Args:
            source: a spec (where, unit, weight, strata, batch, columns, seed, snapshot, …; without a
                snapshot the lake's head is pinned when the first batch is drawn), or a stream's name.
            run: of a stream: the training run that the batches are for, so that they may be acknowledged.
            position: of the first batch. ``position=b.position`` draws b again.
            rank, world_size: this trainer's slice of each batch.
            prefetch: batches fetched while the trainer works.
            policy_version, incarnation, patience: of a stream, see Replay.
        """
        return Replay(
            self,
            source,
            run=run,
            position=position,
            rank=rank,
            world_size=world_size,
            prefetch=prefetch,
            policy_version=policy_version,
            incarnation=incarnation,
            patience=patience,
        )


def _table_rows(table: pa.Table) -> Iterable[dict[str, Any]]:
    """The rows of a table as dicts; token columns as numpy views."""
    fast = [n for n in _ARRAY_DTYPES if n in table.column_names and _is_numbers(table.schema.field(n).type)]
    maps = [f.name for f in table.schema if pa.types.is_map(f.type)]
    rest = [n for n in table.column_names if n not in fast]
    for batch in table.to_batches(max_chunksize=_TABLE_ROWS):
        plain = batch.select(rest).to_pylist() if rest else [{} for _ in range(batch.num_rows)]
        for name in fast:
            column = batch.column(name)
            offsets, values = column.offsets.to_numpy(), column.values
            valid = column.is_valid().to_numpy(zero_copy_only=False)
            if values.null_count:  # a null among numbers: the server names its place
                for row, v in zip(plain, column.to_pylist()):
                    row[name] = v
                continue
            flat = values.to_numpy(zero_copy_only=False)
            for i, row in enumerate(plain):
                row[name] = flat[offsets[i] : offsets[i + 1]] if valid[i] else None
        for row in plain:
            for name in maps:
                if row[name] is not None:
                    row[name] = dict(row[name])
            yield row


def _is_numbers(t: pa.DataType) -> bool:
    if not (pa.types.is_list(t) or pa.types.is_large_list(t)):
        return False
    v = t.value_type
    return pa.types.is_integer(v) or pa.types.is_floating(v) or pa.types.is_boolean(v)
