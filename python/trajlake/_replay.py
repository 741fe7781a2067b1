"""The iterator over batches."""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ._batch import Batch
from .errors import ExhaustedError, TrajlakeError, UsageError

if TYPE_CHECKING:
    from ._flight import Batches
    from ._lake import Lake

Spec = Mapping[str, Any]
"""A stream's spec: where, unit, weight, strata, batch, columns, seed, snapshot, ..."""

_log = logging.getLogger("trajlake")
_WAIT_MS = 2_000  # that one call of a stream waits at the server before it says for what


def is_pinned(spec: Spec) -> bool:
    """Whether the spec itself says which snapshot it draws from."""
    return isinstance(spec.get("snapshot"), Mapping)


class Replay(Iterator[Batch]):
    """An endless sequence of batches, beginning at a position: of a spec, or of a named stream.

    A spec without a snapshot is pinned to the lake's head when the first batch is
    drawn, and stays there. A named stream is pinned or live as it was created; its
    batches may be acknowledged, and what was trained on stands in the ledger then.
    Iterating it twice goes on, it does not start again. The next batches are fetched
    while the trainer works on this one.

    Args:
        lake: the connection.
        source: a spec, or the name of a stream.
        run: the training run that the batches are for; needed to acknowledge them. Each
            run has its own sequence, from position 0.
        position: of the first batch, from 0.
        rank, world_size: which slice of each batch.
        step: distance between positions (loader workers take every n-th).
        prefetch: batches fetched ahead; 0 fetches when asked. Up to twice as many are drawn then, and
            these do not know of a new row, priority or quarantine; see the guide.
        policy_version: of the trainer, from which staleness is measured; ack() updates it. None
            takes the newest in the lake.
        incarnation: of the process that acknowledges, where that is another one (see join()).
        patience: seconds for which next() waits while a live stream has too little data; None is
            for ever. Meanwhile ``waiting``, and the log, say for what.

    Attributes:
        waiting: what the next batch is waiting for, as in TrajlakeError.wait, or None.

    Raises:
        UnavailableError: from next(), where the server cannot be reached for ``retry_for`` seconds, or
            where patience is over; its ``wait`` says for what then.
        ExhaustedError: from next(), where no row can be drawn at all, or where a stratum is
            dry and the spec says ``when_dry: fail``. An empty batch is never given; the slice
            of a rank may be empty where a batch has fewer units than there are ranks.
    """

    def __init__(
        self,
        lake: Lake,
        source: Spec | str,
        *,
        run: str = "",
        position: int = 0,
        rank: int = 0,
        world_size: int = 1,
        step: int = 1,
        prefetch: int = 1,
        policy_version: int | None = None,
        incarnation: int | None = None,
        patience: float | None = None,
    ) -> None:
        if not isinstance(source, (str, Mapping)):
            raise UsageError(f"replay: takes a spec as a dict or the name of a stream, not {type(source).__name__}")
        if position < 0 or step < 1 or prefetch < 0:
            raise UsageError("replay: position and prefetch are at least 0, step at least 1")
        if not 0 <= rank < world_size:
            raise UsageError(f"replay: rank {rank} is not below world_size {world_size}", field="rank")
        self._lake = lake
        self._stream = source if isinstance(source, str) else ""
        self._spec: dict[str, Any] = {} if isinstance(source, str) else json.loads(json.dumps(dict(source)))
        if run and not self._stream:
            raise UsageError("replay: a run belongs to a named stream", field="run", hint="create_stream(name, spec) makes one")
        if world_size > 1 and not self._stream and not is_pinned(self._spec):
            warnings.warn("each rank pins the lake's head for itself; give the spec a snapshot so that all ranks draw from the same", RuntimeWarning, stacklevel=3)
        self._run, self._rank, self._world, self._step = run, rank, world_size, step
        self._prefetch = prefetch
        self._position = position
        self._snapshot = ""
        self._policy = policy_version
        self._trained: int | None = None
        self._incarnation = incarnation
        self._pinned: bool | None = None  # of a stream; None: not asked yet
        self._patience = patience
        self.waiting: dict[str, Any] | None = None
        self._feed: _Feed | None = None
        self._closed = False

    def __iter__(self) -> Replay:
        return self

    def __next__(self) -> Batch:
        if self._closed:
            raise StopIteration
        if self._run:
            self.join()
        if self._feed is None:
            self._feed = _Feed(self, self._position)
        try:
            batch = self._feed.next()
        except BaseException:
            self._drop()
            raise
        if not self._stream:
            self._snapshot = self._snapshot or batch.snapshot
        self._position = batch.position + self._step
        batch._replay = self
        return batch

    def _drop(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()

    def _ticket(self, position: int) -> dict[str, Any]:
        t: dict[str, Any] = {"position": position, "rank": self._rank, "world": self._world, "stride": self._step}
        if not self._stream:
            t.update(kind="replay", spec=self._spec, batches=0 if self._prefetch else 1, together=bool(self._prefetch))
            if self._snapshot:
                t["snapshot"] = self._snapshot
            return t
        t.update(kind="stream", stream=self._stream, run=self._run, wait_ms=_WAIT_MS)
        # A pinned stream never changes: it may come in one call. Of a live one no more is drawn than is asked for.
        whole = bool(self._prefetch) and self._is_pinned()
        t.update(batches=0 if whole else max(1, self._prefetch), together=whole)
        if self._policy is not None:
            t["policy_version"] = self._policy
        if self._trained is not None:
            t["step"] = self._trained
        return t

    def _is_pinned(self) -> bool:
        if self._pinned is None:
            self._pinned = self._lake.stream(self._stream)["spec"]["snapshot"] != "live"
        return self._pinned

    # Acknowledging.

    def join(self) -> int:
        """This process's incarnation of (stream, run, rank): acks of earlier processes are refused from now on.

        Called by the first next() of a replay with a run. Where others acknowledge what this process
        draws, or the other way round, pass the number as ``incarnation``.
        """
        if not self._run:
            raise UsageError("join: the replay has no run", field="run", hint='replay("name", run="my-run")')
        if self._incarnation is None:
            self._incarnation = self._lake._join(self._stream, self._run, self._rank)
        return self._incarnation

    def ack(self, batch: Batch, step: int, policy_version: int | None = None) -> None:
        """Say that batch was trained on in the trainer's step; durable when this returns.

        Raises:
            UsageError: the replay is of no named stream, or has no run.
            ConflictError: a newer process has joined as this rank, or the batch is not of this run.
        """
        self._lake._ack(self, batch, step, policy_version)
        self._trained = step if self._trained is None else max(step, self._trained)
        if policy_version is not None:
            self._policy = policy_version

    def nack(self, batch: Batch, reason: str) -> None:
        """Say that batch was not trained on, and why; the ledger keeps it."""
        self._lake._nack(self, batch, reason)

    # State.

    @property
    def position(self) -> int:
        """Position of the batch that next() gives next."""
        return self._position

    @property
    def snapshot(self) -> str:
        """Token of the snapshot that a spec is drawn from; "" before the first batch, and for streams."""
        return self._snapshot

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON from which load_state_dict goes on with the next batch, exactly."""
        state: dict[str, Any] = {"position": self._position, "rank": self._rank, "world_size": self._world}
        if self._stream:
            return {"stream": self._stream, "run": self._run, **state}
        return {"spec": self._spec, "snapshot": self._snapshot, **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where state_dict was taken: here, or by another number of ranks.

        Raises:
            UsageError: the state is of another spec, stream or run.
        """
        try:
            mine, theirs = (self._stream, self._run), (str(state.get("stream", "")), str(state.get("run", "")))
            position, snapshot, spec = int(state["position"]), str(state.get("snapshot", "")), state.get("spec", {})
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            raise UsageError(f"load_state_dict: not a state of replay: {e!r}") from None
        if theirs != mine or position < 0:
            raise UsageError(f"load_state_dict: the state is of stream {theirs[0]!r}, run {theirs[1]!r}, this is {mine[0]!r}, {mine[1]!r}")
        if not self._stream and (spec != self._spec or "snapshot" not in state):
            raise UsageError("load_state_dict: the state is of another spec", hint="pass the spec that the state holds")
        self._drop()
        self._snapshot, self._position = snapshot, position

    def close(self) -> None:
        """Stop fetching ahead. Idempotent."""
        self._closed = True
        self._drop()

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except (TrajlakeError, AttributeError, RuntimeError):
            pass


class _Feed:
    """Fetches the batches of a replay in order, ahead of the one who asks.

    Its thread holds no reference to the replay, so that a forgotten replay is closed.
    """

    def __init__(self, replay: Replay, position: int) -> None:
        self._replay = weakref.ref(replay)
        self._flights = replay._lake._flights
        self._retry_for, self._patience = replay._lake.retry_for, replay._patience
        self._at, self._stride = position, replay._step
        self._rank, self._world = replay._rank, replay._world
        self._reader: Batches | None = None
        self._pending: deque[Batch] = deque()  # that came together with the last one given
        self._closed = threading.Event()
        self._ready: queue.Queue[Batch | BaseException] | None = None
        self._owner = os.getpid()
        if replay._prefetch:
            self._ready = queue.Queue(replay._prefetch)
            self._thread = threading.Thread(target=self._run, args=(self._ready,), name="trajlake-replay", daemon=True)
            self._thread.start()
            _running.add(self)

    def next(self) -> Batch:
        """The next batch; errors of the fetching are raised here."""
        got = self._fetch() if self._ready is None else self._ready.get()
        if isinstance(got, BaseException):
            raise got
        return got

    def close(self) -> None:
        """Stop. A call that is waiting at the server is broken off."""
        self._closed.set()
        reader = self._reader
        if reader is not None:
            reader.cancel()

    def end(self) -> None:
        """Stop, and wait for the thread: a thread inside of gRPC aborts an interpreter that ends."""
        if self._owner == os.getpid():
            self.close()
            self._thread.join(5)

    def _run(self, ready: queue.Queue[Batch | BaseException]) -> None:
        while not self._closed.is_set():
            try:
                got: Batch | BaseException = self._fetch()
            except BaseException as e:  # raised again in the thread that asks
                got = e
            while not self._closed.is_set():
                try:
                    ready.put(got, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if isinstance(got, BaseException):
                return

    def _fetch(self) -> Batch:
        """One batch; an unreachable server is asked again, for a batch is a function."""
        began = time.monotonic()
        end = began + self._retry_for
        pause = 0.05
        while True:
            try:
                batch = self._read()
                self._waits(None)
                return batch
            except TrajlakeError as e:
                self._reader = None
                now = time.monotonic()
                if self._closed.is_set() or e.kind != "unavailable":
                    raise
                if e.wait is not None:  # nothing is wrong: there is too little data yet
                    self._waits(e.wait)
                    if self._patience is not None and now > began + self._patience:
                        raise
                    end, pause = now + self._retry_for, 0.05
                elif now + pause > end:
                    raise
            self._closed.wait(pause)
            pause = min(2 * pause, 5.0)

    def _waits(self, wait: dict[str, Any] | None) -> None:
        replay = self._replay()
        if replay is None:
            return
        if wait is not None and (replay.waiting is None or wait["reason"] != replay.waiting["reason"]):
            _log.info("batch %d waits: %s", self._at, wait)
        replay.waiting = wait

    def _call(self) -> Batches:
        replay = self._replay()
        if replay is None or self._closed.is_set():
            raise UsageError("the replay is closed")
        reader = self._reader = self._flights.batches(replay._ticket(self._at))
        if self._closed.is_set():  # close() came before it could see the call
            reader.cancel()
        return reader

    def _read(self) -> Batch:
        if not self._pending:
            self._pending.extend(self._receive())
        self._at += self._stride
        return self._pending.popleft()

    def _receive(self) -> list[Batch]:
        """The next batch, from as many records as it has, or the batches of one record."""
        pieces: list[pa.RecordBatch] = []
        while True:
            got = (self._reader or self._call()).read()
            if got is None:  # the call has given all that it was asked for
                self._reader = None
                continue
            record, meta = got
            metas = meta.get("batches", [meta])
            if metas[0].get("units") == 0:
                raise ExhaustedError(
                    f"replay: no row can be drawn at position {self._at}",
                    hint="the lake is empty, no row satisfies where, or all of them are quarantined or have weight 0; stats() and ids(where) tell",
                )
            if "batches" in meta:
                out, at = [], 0
                for m in metas:
                    if m["units"] == 0:  # asked for again, alone, when those before it are given out
                        self._reader.cancel()
                        self._reader = None
                        break
                    out.append(Batch(pa.Table.from_batches([record.slice(at, m["rows"])]), m, self._rank, self._world))
                    at += m["rows"]
                return out
            pieces.append(record)
            if len(pieces) >= meta.get("pieces", 1):
                return [Batch(pa.Table.from_batches(pieces), meta, self._rank, self._world)]


_running: weakref.WeakSet[_Feed] = weakref.WeakSet()


@atexit.register
def _end() -> None:
    for feed in list(_running):
        feed.end()
