"""A batching writer."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ._pb import trajlake_service_pb2 as pb
from ._receipt import Receipt, receipt_of
from ._rows import Row, pack, row_id
from ._session import Session
from ._spool import Spooler
from .errors import InvalidRowError, UsageError

if TYPE_CHECKING:
    from ._lake import Lake


class Writer:
    """Rows go out in batches while the caller goes on; ``with lake.writer() as w: w.write(row)``.

    Without ``spool_dir`` a row is on its way once written, and write() blocks while
    the lake is more than 64 MB behind; a lake that cannot be reached for ``retry_for``
    seconds is an error of write(), flush() or close().

    With ``spool_dir`` every row goes to this machine's disk first (fsynced), and from
    there to the lake: write() does not wait for the lake. Rows that the lake has not
    taken when the writer closes have the status "spooled"; the next writer with that
    folder, or ``lake.drain(folder)``, brings them in, each exactly once, also after a crash.

    One thread writes. Equal rows without an id are kept apart within one writer.
    """

    def __init__(self, lake: Lake, *, spool_dir: str | os.PathLike[str] | None = None, retry_for: float = 300.0, patience: float = 5.0) -> None:
        self._receipts: list[Receipt] = []
        self._patience = patience
        self._closed = False
        self._session: Session | None = None
        self._spooler: Spooler | None = None
        self._places: list[int] = []  # number in the spool to index of the receipt

        def make(name: str = "", settled: bytes = b"", on_settled: Callable[[list[pb.AppendReceipt]], None] | None = None, forever: bool = True) -> Session:
            return lake._session(retry_for=float("inf") if forever else retry_for, name=name, settled=settled, on_settled=on_settled)

        if spool_dir is None:
            self._session = make(forever=False)
        else:
            self._spooler = Spooler(Path(spool_dir), make, lambda n, r: self._set(self._places[n], r))

    def write(self, row: Row) -> int:
        """Hand in one row; returns its index in receipts(). A row that has no JSON form is rejected at once."""
        if self._closed:
            raise UsageError("write: the writer is closed")
        at = len(self._receipts)
        try:
            item = pack(row)
        except InvalidRowError as e:
            self._receipts.append(Receipt("rejected", row_id(row), error=e))
            return at
        self._receipts.append(Receipt("pending", row_id(row)))
        if self._session is not None:
            self._session.put(item, lambda r: self._set(at, r))
        elif self._spooler is not None:
            self._places.append(at)
            self._spooler.put(item)
        return at

    def _set(self, at: int, r: pb.AppendReceipt) -> None:
        receipt = receipt_of(r)
        receipt.trajectory_id = receipt.trajectory_id or self._receipts[at].trajectory_id
        self._receipts[at] = receipt

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every row written has its receipt, with a spool until it is on disk.

        Returns:
            False when timeout (seconds) passed first; the rows are still on their way.
        """
        if self._session is not None:
            return self._session.flush(timeout)
        if self._spooler is not None:
            self._spooler.flush()
            for at in self._places:
                r = self._receipts[at]
                if r.status == "pending":
                    r.status = "spooled"
        return True

    def close(self) -> None:
        """Flush and end; with a spool wait for the lake, too, while it takes rows. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._session is not None:
            try:
                self._session.flush()
            finally:
                self._session.close(abort=True)
        elif self._spooler is not None:
            try:
                self._spooler.close(self._patience)
            finally:
                for at in self._places:
                    if self._receipts[at].status == "pending":
                        self._receipts[at].status = "spooled"

    def receipts(self) -> list[Receipt]:
        """One receipt for each row, in the order written; complete once closed."""
        return list(self._receipts)

    def drained(self) -> list[Receipt]:
        """Receipts of rows that earlier writers had left in the spool folder."""
        return list(self._spooler.drained) if self._spooler is not None else []

    def counts(self) -> dict[str, int]:
        """Rows by status."""
        return dict(Counter(r.status for r in self._receipts))

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except Exception as e:
            error.add_note(f"closing the writer failed too: {e}") if hasattr(error, "add_note") else None
