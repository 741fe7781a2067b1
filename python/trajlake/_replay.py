"""The iterator over batches."""

from __future__ import annotations

import json
import time
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ._batch import Batch
from .errors import ExhaustedError, TrajlakeError, UsageError

if TYPE_CHECKING:
    from ._lake import Lake

Spec = Mapping[str, Any]
"""A stream's spec: where, unit, weight, strata, batch, columns, seed, snapshot, ..."""


def is_pinned(spec: Spec) -> bool:
    """Whether the spec itself says which snapshot it draws from."""
    return isinstance(spec.get("snapshot"), Mapping)


class Replay(Iterator[Batch]):
    """An endless sequence of batches, beginning at a position.

    A spec without a snapshot is pinned to the lake's head when the first batch is
    drawn, and stays there. Iterating it twice goes on, it does not start again.
    The next batches are fetched while the trainer works on this one.

    Args:
        lake: the connection.
        spec: see the reference of specs.
        position: of the first batch, from 0.
        rank, world_size: which slice of each batch.
        step: distance between positions (loader workers take every n-th).
        prefetch: batches fetched ahead; 0 fetches when asked.

    Raises:
        ExhaustedError: from next(), where no row can be drawn at all, or where a stratum is
            dry and the spec says ``when_dry: fail``. An empty batch is never given; the slice
            of a rank may be empty where a batch has fewer units than there are ranks.
    """

    def __init__(self, lake: Lake, spec: Spec, *, position: int = 0, rank: int = 0, world_size: int = 1, step: int = 1, prefetch: int = 1) -> None:
        if not isinstance(spec, Mapping):
            raise UsageError("replay: a spec is a dict", hint="named streams are not served by this version")
        if position < 0 or step < 1 or prefetch < 0:
            raise UsageError("replay: position and prefetch are at least 0, step at least 1")
        if not 0 <= rank < world_size:
            raise UsageError(f"replay: rank {rank} is not below world_size {world_size}", field="rank")
        if world_size > 1 and not is_pinned(spec):
            warnings.warn("each rank pins the lake's head for itself; give the spec a snapshot so that all ranks draw from the same", RuntimeWarning, stacklevel=3)
        self._lake = lake
        self._spec = json.loads(json.dumps(dict(spec)))
        self._rank, self._world, self._step = rank, world_size, step
        self._prefetch = prefetch
        self._position = position
        self._snapshot = ""
        self._ahead: deque[Future[Batch]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def __iter__(self) -> Replay:
        return self

    def __next__(self) -> Batch:
        if self._closed:
            raise StopIteration
        if self._ahead:
            try:
                batch = self._ahead.popleft().result()
            except BaseException:
                self._drop()
                raise
        else:
            batch = self._fetch(self._position)
        self._snapshot = self._snapshot or batch.snapshot
        self._position += self._step
        self._fill()
        return batch

    def _fill(self) -> None:
        if not self._prefetch:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "trajlake-replay")
        while len(self._ahead) < self._prefetch:
            at = self._position + self._step * len(self._ahead)
            self._ahead.append(self._pool.submit(self._fetch, at))

    def _drop(self) -> None:
        for f in self._ahead:
            f.cancel()
        self._ahead.clear()

    def _fetch(self, position: int) -> Batch:
        """One batch; an unreachable server is asked again, for a batch is a function."""
        ticket = {"kind": "batch", "spec": self._spec, "position": position, "rank": self._rank, "world": self._world}
        if self._snapshot:
            ticket["snapshot"] = self._snapshot
        end = time.monotonic() + self._lake.retry_for
        pause = 0.05
        while True:
            try:
                table = self._lake._flights.table(ticket)
                if (table.schema.metadata or {}).get(b"units") == b"0":
                    raise ExhaustedError(
                        f"replay: no row can be drawn at position {position}",
                        hint="the lake is empty, no row satisfies where, or all of them are quarantined or have weight 0; stats() and ids(where) tell",
                    )
                return Batch(table, position, self._rank, self._world)
            except TrajlakeError as e:
                if self._closed or e.kind != "unavailable" or time.monotonic() + pause > end:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    @property
    def position(self) -> int:
        """Position of the batch that next() gives next."""
        return self._position

    @property
    def snapshot(self) -> str:
        """Token of the snapshot drawn from; "" before the first batch of a spec that names none."""
        return self._snapshot

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON from which load_state_dict goes on with the next batch, exactly."""
        return {"spec": self._spec, "snapshot": self._snapshot, "position": self._position, "rank": self._rank, "world_size": self._world}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where state_dict was taken.

        Raises:
            UsageError: the state is of another spec, rank or world size.
        """
        try:
            spec, snapshot, position = state["spec"], str(state["snapshot"]), int(state["position"])
            rank, world = int(state["rank"]), int(state["world_size"])
        except (KeyError, TypeError, ValueError) as e:
            raise UsageError(f"load_state_dict: not a state of replay: {e!r}") from None
        if spec != self._spec:
            raise UsageError("load_state_dict: the state is of another spec", hint="pass the spec that the state holds")
        if (rank, world) != (self._rank, self._world):
            raise UsageError(f"load_state_dict: the state is of rank {rank} of {world}, this is rank {self._rank} of {self._world}")
        self._drop()
        self._snapshot, self._position = snapshot, position

    def close(self) -> None:
        """Stop fetching ahead. Idempotent."""
        self._closed = True
        self._drop()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except (TrajlakeError, AttributeError, RuntimeError):
            pass
