"""trajlake: append agent trajectories to a lake, stream reproducible batches to a trainer.

    import trajlake
    lake = trajlake.connect("127.0.0.1:7400")
    receipts = lake.append([{"task_id": "t", "turns": [{"role": "user", "text": "hi"}]}])
    for b in lake.replay({"where": "reward > 0", "batch": {"rows": 32}, "seed": 1}):
        tokens = b.tensor("token_ids")      # .values int32, .offsets cu_seqlens, no copy

``trajlake.torch`` has the PyTorch dataset; ``trajlake.errors`` the exceptions.
"""

from ._batch import Batch, Ragged
from ._lake import Lake, connect
from ._receipt import Receipt
from ._replay import Replay
from ._writer import Writer
from .errors import (
    CancelledError,
    ConflictError,
    CorruptError,
    DeniedError,
    ExhaustedError,
    GoneError,
    InvalidRowError,
    NotFoundError,
    TrajlakeError,
    UnavailableError,
    UnsupportedError,
    UsageError,
)

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "CancelledError",
    "ConflictError",
    "CorruptError",
    "DeniedError",
    "ExhaustedError",
    "GoneError",
    "InvalidRowError",
    "Lake",
    "NotFoundError",
    "Ragged",
    "Receipt",
    "Replay",
    "TrajlakeError",
    "UnavailableError",
    "UnsupportedError",
    "UsageError",
    "Writer",
    "connect",
]
