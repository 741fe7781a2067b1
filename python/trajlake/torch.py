"""trajlake as a PyTorch dataset.

    ds = trajlake.torch.ReplayDataset("127.0.0.1:7400", "mix-a", run="r1")
    for step, b in enumerate(ds.loader(num_workers=2)):
        b["token_ids"], b["token_ids_offsets"]          # int32 values, cu_seqlens
        ds.ack(b, step)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from . import _process
from ._batch import Batch
from ._lake import Lake, connect
from ._replay import Replay, Spec, is_pinned
from .errors import TrajlakeError, UsageError, error_of

__all__ = ["ReplayDataset"]


class ReplayDataset(IterableDataset):
    """Batches of a named stream, or of a spec, as an iterable dataset.

    Iterate loader(), or a ``DataLoader(ds, batch_size=None)``. Worker w of n draws positions w, w + n, …,
    and the loader gives them in order. Nothing is connected before iteration, so that workers may be
    forked, unless this process has had a connection: then they must be spawned, as loader() does by itself.

    A named stream with a run is acknowledged by the process that trains, with ack(); the workers only
    draw. Iterating it again goes on. Of a spec, iterating again begins again; one without a snapshot is
    pinned once, through a child process, so that all workers draw from the same one.

    Args:
        addr: the server; None reads TRAJLAKE_SERVER.
        source: the name of a stream, or a spec; see Lake.replay.
        run: the training run that the batches are for; needed to acknowledge them.
        position: of the first batch.
        rank, world_size: this trainer's slice of each batch. Without them those of torch.distributed
            where it is initialised, else all. Ranks of which several work on the same rows (tensor or
            pipeline parallel) pass their data-parallel rank.
        batches: an iteration ends after that many; None is endless.
        transform: what to yield for a batch; the default is Batch.to_torch, a dict of tensors.
        prefetch: batches each worker fetches ahead, beside the loader's ``prefetch_factor``.
        policy_version: of the trainer, from which staleness is measured; ack() updates it, in all workers.
        patience: see Replay. The error is raised from the loader.
    """

    def __init__(
        self,
        addr: str | None,
        source: Spec | str,
        *,
        run: str = "",
        position: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        batches: int | None = None,
        transform: Callable[[Batch], Any] = Batch.to_torch,
        prefetch: int = 1,
        policy_version: int | None = None,
        patience: float | None = None,
    ) -> None:
        super().__init__()
        self.addr = addr or os.environ.get("TRAJLAKE_SERVER", "")
        if not self.addr:
            raise UsageError("ReplayDataset: no server", hint="pass an address or set TRAJLAKE_SERVER")
        if batches is not None and batches < 1:
            raise UsageError("ReplayDataset: batches is at least 1", field="batches")
        self.stream = source if isinstance(source, str) else ""
        if run and not self.stream:
            raise UsageError("ReplayDataset: a run belongs to a named stream", field="run", hint="create_stream(name, spec) makes one")
        self.spec: dict[str, Any] = {} if isinstance(source, str) else json.loads(json.dumps(dict(source)))
        self.run = run
        self.snapshot = "" if self.stream or is_pinned(self.spec) else _head(self.addr)
        self._asked = rank is not None or world_size is not None
        here, all_of_them = (0, 1) if self._asked else _distributed()
        self.rank = here if rank is None else rank
        self.world_size = all_of_them if world_size is None else world_size
        self.position, self.batches, self.transform = position, batches, transform
        self.prefetch, self.patience = prefetch, patience
        self._taken = 0  # batches after position that were given out
        self._from = 0  # of a spec: where the next iteration begins, after a loaded state
        self._drawn, self._workers = 0, 1  # batches that this worker drew beyond them, and how many workers there are
        self._begun = 0  # the process in which an iteration began last
        # What the trainer last said, in memory that the workers share: its policy version and step; -1 is unknown.
        self._told = torch.tensor([-1 if policy_version is None else policy_version, -1], dtype=torch.int64).share_memory_()
        self._acks: Replay | None = None

    # Drawing.

    def loader(self, num_workers: int = 0, **options: Any) -> Iterator[Any]:
        """What DataLoader gives, counting what it gives: state_dict() then stands after the last batch that was given out.

        Args:
            num_workers: processes that draw; 0 draws here.
            options: of torch.utils.data.DataLoader. Workers are spawned where this process has had a connection.
        """
        if not options.get("in_order", True):
            raise UsageError("loader: batches come in order", field="in_order")
        if num_workers and _process._used:
            options.setdefault("multiprocessing_context", "spawn")
        loading = iter(DataLoader(self, batch_size=None, num_workers=num_workers, **options))
        if num_workers:
            self._begin()  # what the workers have done with their copies
            if self.run:
                self.join()  # after they are there: this connects
        for item in loading:
            self._taken += 1 if num_workers else 0
            yield item

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        if self._drawn and workers != self._workers:
            raise UsageError(f"ReplayDataset: the loaded state is of {self._workers} workers, these are {workers}")
        if info is not None and self._begun == os.getpid() and self.stream:
            raise UsageError("ReplayDataset: a worker cannot know where a stream goes on", hint="leave out persistent_workers")
        start, drawn = self._begin(), self._drawn
        end = None if self.batches is None else self.position + self._last(start)
        self._workers = workers
        if info is None and self.run:
            self.join()
        with connect(self.addr) as lake, self._replay(lake, self.position + start + worker + drawn * workers, workers) as replay:
            while end is None or replay.position < end:
                batch = next(replay)
                if info is None:
                    self._taken += 1
                else:
                    self._drawn += 1
                yield self.transform(batch)

    def _begin(self) -> int:
        """How many batches after position the iteration that begins leaves out."""
        if get_worker_info() is None:
            self._check()
        if not self.stream:
            self._taken, self._from = self._from, 0
            if self._begun:
                self._drawn = 0
        self._begun = os.getpid()
        return self._taken

    def _last(self, start: int) -> int:
        """The end of an iteration from start on, in batches after position. A stream goes on: there it is the next multiple."""
        assert self.batches is not None
        return (start // self.batches + 1) * self.batches if self.stream else self.batches

    def _replay(self, lake: Lake, position: int, workers: int) -> Replay:
        replay = _Told(
            lake,
            self.stream or self.spec,
            run=self.run,
            position=position,
            rank=self.rank,
            world_size=self.world_size,
            step=workers,
            prefetch=self.prefetch,
            patience=self.patience,
            incarnation=0,  # whoever acknowledges joins, and that is not this replay
        )
        replay.told = self._told
        if not self.stream:
            replay.load_state_dict({**replay.state_dict(), "snapshot": self.snapshot})
        return replay

    def _check(self) -> None:
        if not self._asked and (self.rank, self.world_size) != _distributed():
            raise UsageError("ReplayDataset: torch.distributed was initialised later, or otherwise, than this dataset", hint="make it after init_process_group, or pass rank and world_size")

    # Acknowledging, in the process that trains.

    def join(self) -> int:
        """This process's incarnation of (stream, run, rank): acks of earlier processes are refused from now on.

        Called when loader() begins, when this process draws, and by the first ack(); see Replay.join. It connects.
        """
        return self._replayed("join").join()

    def ack(self, batch: Batch | Mapping[str, Any], step: int, policy_version: int | None = None) -> None:
        """Say that batch was trained on in the trainer's step; durable when this returns.

        state_dict() stands after it then, whichever loader gave it.

        Args:
            batch: a Batch, or a dict with its ``batch_id`` and ``position``, as Batch.to_torch makes it.
            step: of the trainer. Several batches may have the same one.
            policy_version: of the trainer from now on; batches that are drawn later are measured from it.

        Raises:
            UsageError: there is no stream or no run, or batch is neither.
            ConflictError: a newer process has joined as this rank, or the batch is not of this run.
        """
        given = _given(batch)
        self._replayed("ack").ack(given, step, policy_version)
        self._told[1] = max(step, int(self._told[1]))
        if policy_version is not None:
            self._told[0] = policy_version
        self._taken = max(self._taken, given.position + 1 - self.position)

    def nack(self, batch: Batch | Mapping[str, Any], reason: str) -> None:
        """Say that batch was not trained on, and why; the ledger keeps it."""
        given = _given(batch)
        self._replayed("nack").nack(given, reason)
        self._taken = max(self._taken, given.position + 1 - self.position)

    def _replayed(self, what: str) -> Replay:
        if not self.run:
            raise UsageError(f"{what}: only batches of a run stand in the ledger", field="run", hint='ReplayDataset(addr, "stream", run="my-run")')
        if get_worker_info() is not None:
            raise UsageError(f"{what}: the process that trains does that, not a worker")
        if self._acks is None:
            self._check()
            self._acks = Replay(connect(self.addr), self.stream, run=self.run, rank=self.rank, world_size=self.world_size, prefetch=0)
        return self._acks

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_acks": None}  # a connection is of one process

    # State.

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON from which load_state_dict goes on.

        In the process that trains it stands after the batches that were given out here, by loader() or by
        iterating without workers, or were acknowledged: what workers have drawn ahead does not count. In a
        worker, as for loaders that keep the states of their workers, it stands after what that worker has drawn.
        """
        return {
            "spec": self.spec,
            "stream": self.stream,
            "run": self.run,
            "snapshot": self.snapshot,
            "position": self.position,
            "taken": self._taken,
            "drawn": self._drawn,
            "workers": self._workers,
            "rank": self.rank,
            "world_size": self.world_size,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the batches that state counts, with any number of workers and ranks.

        Only the state of a worker needs as many workers as there were.

        Raises:
            UsageError: the state is of another spec, stream or run.
        """
        try:
            mine, theirs = (self.stream, self.run, self.spec), (state["stream"], state["run"], state["spec"])
            position, taken, drawn, workers = (int(state[k]) for k in ("position", "taken", "drawn", "workers"))
            snapshot = str(state["snapshot"])
        except (KeyError, TypeError, ValueError) as e:
            raise UsageError(f"load_state_dict: not a state of ReplayDataset: {e!r}") from None
        if mine != theirs:
            raise UsageError(f"load_state_dict: the state is of stream {theirs[0]!r}, run {theirs[1]!r} or of another spec; this is {mine[0]!r}, {mine[1]!r}")
        self.snapshot, self.position, self._taken, self._from = snapshot, position, taken, taken
        self._drawn, self._workers, self._begun = drawn, workers, 0


class _Told(Replay):
    """A replay that measures staleness from what another process was told last."""

    told: torch.Tensor

    def _ticket(self, position: int) -> dict[str, Any]:
        policy, step = self.told.tolist()
        self._policy = None if policy < 0 else policy
        self._trained = None if step < 0 else step
        return super()._ticket(position)


def _given(batch: Batch | Mapping[str, Any]) -> Batch:
    """What an ack needs of a batch that may have come as a dict."""
    if isinstance(batch, Batch):
        return batch
    if not isinstance(batch, Mapping) or "batch_id" not in batch or "position" not in batch:
        raise UsageError("ack: takes a Batch, or a dict that has its batch_id and position", hint="let transform keep both")
    return Batch(None, {"batch_id": str(batch["batch_id"]), "position": int(batch["position"])})


def _distributed() -> tuple[int, int]:
    """(rank, world size) of torch.distributed; (0, 1) without it."""
    d = torch.distributed
    return (d.get_rank(), d.get_world_size()) if d.is_available() and d.is_initialized() else (0, 1)


_ASK = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
import trajlake
try:
    with trajlake.connect(sys.argv[1]) as lake:
        print(json.dumps({"snapshot": lake.info()["snapshot"]}))
except trajlake.TrajlakeError as e:
    print(json.dumps({"kind": e.kind, "message": e.message, "field": e.field, "hint": e.hint}))
"""


def _head(addr: str) -> str:
    """Token of the head, asked by a child process: a connection made here would not survive a fork."""
    r = subprocess.run([sys.executable, "-c", _ASK, addr, json.dumps(sys.path)], capture_output=True, text=True, check=False)
    try:
        answer = json.loads(r.stdout)
    except ValueError:
        last = (r.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TrajlakeError(f"ReplayDataset: pin the head of {addr}: {last}") from None
    if "snapshot" not in answer:
        raise error_of(answer["kind"], f"ReplayDataset: pin the head of {addr}: {answer['message']}", answer["field"], answer["hint"])
    return answer["snapshot"]
