"""What the lake answers for each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from . import _faults
from ._pb import trajlake_service_pb2 as pb
from .errors import TrajlakeError

Status = Literal["committed", "duplicate", "rejected", "spooled", "pending"]

_STATUS: dict[int, Status] = {
    pb.AppendReceipt.COMMITTED: "committed",
    pb.AppendReceipt.DUPLICATE: "duplicate",
    pb.AppendReceipt.REJECTED: "rejected",
}


@dataclass(slots=True)
class Receipt:
    """The answer for one row.

    Attributes:
        status: "committed": durable and visible at ``version``; "duplicate": it was
            there before, since ``version``; "rejected": ``error`` says why; "spooled":
            safe on this machine's disk and **not in the lake yet**; "pending": on its way.
        trajectory_id: the row's id, given or made by the lake; "" while unknown.
        version: the version that holds the row, or None.
        error: why the row was rejected, or None.
        snapshot: the token at which an annotation is visible, or None.
    """

    status: Status
    trajectory_id: str = ""
    version: int | None = None
    error: TrajlakeError | None = None
    snapshot: str | None = None


def receipt_of(r: pb.AppendReceipt, snapshot: str | None = None) -> Receipt:
    """A receipt from the wire."""
    error = _faults.from_fault(r.fault) if r.HasField("fault") else None
    status = _STATUS.get(r.status, "rejected")
    return Receipt(status, r.id, r.version if status != "rejected" else None, error, snapshot)
