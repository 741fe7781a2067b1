"""trajlake as a PyTorch dataset.

    ds = trajlake.torch.ReplayDataset("127.0.0.1:7400", {"where": "reward > 0", "batch": {"rows": 64}})
    for b in torch.utils.data.DataLoader(ds, batch_size=None, num_workers=2):
        b["token_ids"], b["token_ids_offsets"]          # int32 values, cu_seqlens
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from ._batch import Batch
from ._lake import connect
from ._replay import Replay, Spec, is_pinned
from .errors import TrajlakeError, UsageError, error_of

__all__ = ["ReplayDataset"]


class ReplayDataset(IterableDataset):
    """Batches of a replay as an iterable dataset; use it with ``DataLoader(ds, batch_size=None)``.

    Nothing is connected before iteration, so that workers may be forked, unless this
    process has had a connection: then pass ``multiprocessing_context="spawn"``. A spec
    without a snapshot is pinned once, through a child process, so that all workers
    draw from the same one. Worker w of n draws positions w, w + n, …: the loader
    gives them in order.

    Each worker counts what it has drawn: the loader draws ahead, so take the
    position to resume at from the batches that were trained on and pass
    ``position=last + 1``, or use a loader that keeps the workers' state_dict.
    Iterating again begins again, with any number of workers.

    Args:
        addr: the server; None reads TRAJLAKE_SERVER.
        spec: see Lake.replay.
        position: of the first batch.
        rank, world_size: this trainer's slice of each batch.
        batches: end after that many; None is endless.
        transform: what to yield for a batch; the default is Batch.to_torch, a dict of tensors.
        prefetch: batches each worker fetches ahead.
    """

    def __init__(
        self,
        addr: str | None,
        spec: Spec,
        *,
        position: int = 0,
        rank: int = 0,
        world_size: int = 1,
        batches: int | None = None,
        transform: Callable[[Batch], Any] = Batch.to_torch,
        prefetch: int = 1,
    ) -> None:
        super().__init__()
        self.addr = addr or os.environ.get("TRAJLAKE_SERVER", "")
        if not self.addr:
            raise UsageError("ReplayDataset: no server", hint="pass an address or set TRAJLAKE_SERVER")
        self.spec = json.loads(json.dumps(dict(spec)))
        self.snapshot = "" if is_pinned(self.spec) else _head(self.addr)
        self.position, self.rank, self.world_size = position, rank, world_size
        self.batches, self.transform, self.prefetch = batches, transform, prefetch
        self._done = 0  # batches drawn by this iteration
        self._from = 0  # batches that a loaded state counts

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        self._done, self._from = self._from, 0
        with connect(self.addr) as lake:
            replay = Replay(
                lake,
                self.spec,
                position=self.position + worker + self._done * workers,
                rank=self.rank,
                world_size=self.world_size,
                step=workers,
                prefetch=self.prefetch,
            )
            replay.load_state_dict({**replay.state_dict(), "snapshot": self.snapshot})
            with replay:
                for batch in replay:
                    if self.batches is not None and batch.position >= self.position + self.batches:
                        return
                    self._done += 1
                    yield self.transform(batch)

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON: how far this process has drawn. In a loader's worker: that worker."""
        return {"spec": self.spec, "snapshot": self.snapshot, "position": self.position, "done": self._done, "rank": self.rank, "world_size": self.world_size}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the batches that state counts; the same number of workers is needed."""
        if (state["rank"], state["world_size"]) != (self.rank, self.world_size):
            raise UsageError("load_state_dict: the state is of another rank or world size")
        self.spec, self.snapshot = dict(state["spec"]), str(state["snapshot"])
        self.position, self._from = int(state["position"]), int(state["done"])
        self._done = self._from


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
