"""Named streams and the ledger: that part of a connection."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ._batch import Batch
from ._pb import trajlake_service_pb2 as pb
from .errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._flight import Flights
    from ._replay import Replay, Spec

_REPLAY = "/trajlake.v1.Replay/"


class Streams:
    """What a Lake has for streams: it is one."""

    _flights: Flights
    retry_for: float

    def _unary(self, name: str, request: Any, answer: Any, *, timeout: float | None = -1.0, service: str = "") -> Any:
        raise NotImplementedError

    def _stream(self, name: str, request: Any, answer: Any, *, service: str = "") -> Iterable[Any]:
        raise NotImplementedError

    def _json(self, name: str, request: Any) -> dict[str, Any]:
        return json.loads(self._unary(name, request, pb.JsonResponse, service=_REPLAY).json)

    def create_stream(self, name: str, spec: Spec | str) -> dict[str, Any]:
        """Store a stream: {"stream", "spec_hash", "spec", "snapshot", …}. The same spec again is the same stream.

        Args:
            name: letters, digits, ``.``, ``_``, ``-``; at most 100.
            spec: a dict, or a text in YAML or JSON. It is live unless it says otherwise.

        Raises:
            ConflictError: a stream of this name has another spec.
            UsageError: the spec is impossible; the message has every fault.
        """
        return self._json("CreateStream", pb.CreateStreamRequest(name=name, spec=_spec_text(spec)))

    def stream(self, name: str) -> dict[str, Any]:
        """A stream: {"stream", "spec_hash", "spec", "snapshot", …}."""
        return self._json("GetStream", pb.StreamRequest(name=name))

    def streams(self) -> list[dict[str, Any]]:
        """All streams by name: {"stream", "spec_hash", "position", "snapshot"}."""
        return [json.loads(line) for r in self._stream("ListStreams", pb.ListStreamsRequest(), pb.LinesResponse, service=_REPLAY) for line in r.json]

    def run_status(self, stream: str, run: str = "") -> dict[str, Any]:
        """How far a run of a stream is, and what it waits for."""
        return self._json("RunStatus", pb.StreamRequest(name=stream, run=run))

    def explain(self, source: Spec | str, *, snapshot: str | int | None = None) -> dict[str, Any]:
        """What a stream (by name) or a spec could draw: {"candidates", "eligible", "excluded", "strata", "staleness", …}."""
        if isinstance(source, str):
            return self._json("Explain", pb.ExplainRequest(stream=source, snapshot=ref(snapshot)))
        return self._json("Explain", pb.ExplainRequest(spec=_spec_text(source), snapshot=ref(snapshot)))

    def set_limiter(self, stream: str, *, min_size: int = 0, samples_per_insert: float = 0.0) -> dict[str, Any]:
        """Change a stream's limiter while it runs; 0 is off."""
        return self._json("SetLimiter", pb.SetLimiterRequest(stream=stream, min_size=min_size, samples_per_insert=samples_per_insert))

    def rollback(self, stream: str, run: str, step: int) -> None:
        """Say that a run goes on from an earlier state: step is the next one that it takes."""
        self._unary("Rollback", pb.RollbackRequest(stream=stream, run=run, step=step), pb.AckResponse, service=_REPLAY)

    def lease(self, stream: str, group: str, consumer: str, *, ttl: float = 60.0) -> tuple[int, int]:
        """A position that no other consumer of the group has: (position, epoch).

        Draw it with ``replay(stream, run=group, position=position)``, and give it back with release()
        within ttl seconds; another consumer gets it otherwise. lease() again prolongs nothing: it gives another one.
        """
        if ttl <= 0:
            raise UsageError("lease: ttl is above 0", field="ttl")
        r = self._unary("Lease", pb.LeaseRequest(stream=stream, group=group, consumer=consumer, ttl_ms=int(ttl * 1000)), pb.LeaseResponse, service=_REPLAY)
        return r.position, r.epoch

    def release(self, stream: str, group: str, consumer: str, position: int, epoch: int, *, done: bool) -> None:
        """End a lease: done, or for somebody else to have."""
        request = pb.ReleaseRequest(stream=stream, group=group, consumer=consumer, position=position, epoch=epoch, done=done)
        self._unary("Release", request, pb.AckResponse, service=_REPLAY)

    def batch(self, batch_id: str) -> Batch:
        """A batch that was served or consumed, by its id: the same rows with the same values as then.

        A row that was deleted since is there with ``gone`` set and without its columns.

        Raises:
            NotFoundError: the ledger has no such batch.
        """
        reader = self._flights.batches({"kind": "refetch", "batch_id": batch_id})
        pieces, meta = [], {}
        while (got := reader.read()) is not None:
            pieces.append(got[0])
            meta = got[1]
        return Batch(pa.Table.from_batches(pieces), meta)

    # The ledger.

    def ledger(
        self,
        *,
        run: str = "",
        stream: str = "",
        step: int | None = None,
        trajectory: str = "",
        batch: str = "",
        snapshot: str | int | None = None,
    ) -> list[dict[str, Any]]:
        """What was claimed, served and consumed: rows that satisfy all that is given.

        ``ledger(run="r1", step=7)``: what step 7 was trained on. ``ledger(trajectory="t-1")``: which steps used it.
        """
        request = pb.LedgerRequest(run=run, stream=stream, step=step, trajectory=trajectory, batch=batch, snapshot=ref(snapshot))
        return [json.loads(line) for r in self._stream("Ledger", request, pb.LinesResponse, service=_REPLAY) for line in r.json]

    def ledger_diff(self, run_a: str, run_b: str) -> dict[str, Any]:
        """Compare what two runs were trained on: {"same_steps", "first_difference", "only_a", "only_b"}."""
        return self._json("LedgerDiff", pb.LedgerDiffRequest(run_a=run_a, run_b=run_b))

    def _join(self, stream: str, run: str, rank: int) -> int:
        return self._unary("Join", pb.JoinRequest(stream=stream, run=run, rank=rank), pb.JoinResponse, service=_REPLAY).incarnation

    def _ack(self, replay: Replay, batch: Batch, step: int, policy_version: int | None) -> None:
        self._retried("Ack", _ack_of(replay, batch, step, policy_version))

    def _nack(self, replay: Replay, batch: Batch, reason: str) -> None:
        self._retried("Nack", pb.NackRequest(batch=_ack_of(replay, batch, -1, None), reason=reason))

    def _retried(self, name: str, request: Any) -> None:
        """A call that may be made twice, made again while nobody answers."""
        end = time.monotonic() + self.retry_for
        pause = 0.05
        while True:
            try:
                self._unary(name, request, pb.AckResponse, service=_REPLAY)
                return
            except UnavailableError:
                if time.monotonic() + pause > end:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 5.0)


def _spec_text(spec: Spec | str) -> bytes:
    return spec.encode() if isinstance(spec, str) else json.dumps(dict(spec)).encode()


def _ack_of(replay: Replay, batch: Batch, step: int, policy_version: int | None) -> pb.AckRequest:
    if not replay._stream:
        raise UsageError("ack: a batch of a spec stands in no ledger", hint="create_stream(name, spec), then replay(name, run=...)")
    return pb.AckRequest(
        stream=replay._stream,
        run=replay._run,
        rank=replay._rank,
        world=replay._world,
        incarnation=replay.join(),
        batch_id=batch.batch_id,
        position=batch.position,
        step=step,
        policy_version=policy_version,
    )


def ref(snapshot: str | int | None) -> str:
    """A version or token as the wire has it; "" is the head."""
    return "" if snapshot is None else str(snapshot)
