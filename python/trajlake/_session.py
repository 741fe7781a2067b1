"""One writer's append stream: batching, back-pressure, and retries that are exactly once.

Rows go out in order and are answered in order. When the stream breaks, it is
opened again with the digests of the rows that have had receipts, and the rows
without one are sent again: the lake then gives every row the identity it had,
so that one that was committed before the break comes back as a duplicate.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator

import grpc

from . import _faults
from ._pb import trajlake_service_pb2 as pb
from .errors import TrajlakeError, UnavailableError, UsageError

TARGET_BYTES = 2 << 20  # of one request
TARGET_ROWS = 4096
CHUNK_BYTES = 4 << 20  # a row above this is cut into pieces
INFLIGHT = 6  # requests without an answer
_GOODBYE = 2.0  # seconds
QUEUE_BYTES = 64 << 20  # rows that wait or are under way; put() blocks above

Settle = Callable[[pb.AppendReceipt], None]


class _Request:
    __slots__ = ("items", "nbytes", "seq", "settle")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.items: list[bytes] = []
        self.settle: list[Settle] = []
        self.nbytes = 0


class Session:
    """See the module. ``put`` and ``flush`` may be called from several threads.

    Args:
        append: the stub's Append.
        retry_for: seconds without progress after which an unreachable server is an error.
        name: the session's name, kept over restarts by a spool.
        settled: digests of rows that had receipts before (32 bytes each).
        on_settled: called with the receipts of each answered request, in order, after
            each row's own callback.
        eager: send what there is when nothing is under way; else full requests until a flush.
    """

    def __init__(
        self,
        append: Callable[..., Iterator[pb.AppendResponse]],
        *,
        retry_for: float = 60.0,
        name: str = "",
        settled: bytes = b"",
        on_settled: Callable[[list[pb.AppendReceipt]], None] | None = None,
        eager: bool = True,
    ) -> None:
        self._append = append
        self._retry_for = retry_for
        self.name = name or uuid.uuid4().hex
        self._settled = bytearray(settled)
        self._on_settled = on_settled
        self._eager = eager
        self._cond = threading.Condition()
        self._waiting: deque[tuple[bytes, Settle]] = deque()
        self._inflight: deque[_Request] = deque()
        self._sent = 0  # how many of _inflight this stream has been given
        self._bytes = 0
        self._seq = 0
        self._flushing = 0
        self._closing = False
        self._error: TrajlakeError | None = None
        self._last_error: TrajlakeError | None = None
        self._call: grpc.Call | None = None
        self._thread: threading.Thread | None = None

    def put(self, item: bytes, settle: Settle) -> None:
        """Queue one serialized AppendItem; blocks while too much is under way.

        settle is called with the receipt, on another thread.
        """
        with self._cond:
            while self._bytes and self._bytes + len(item) > QUEUE_BYTES and not self._error:
                self._cond.wait()
            self._check()
            self._waiting.append((item, settle))
            self._bytes += len(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="trajlake-append", daemon=True)
                self._thread.start()
            if len(self._waiting) == 1 or self._bytes >= TARGET_BYTES:
                self._cond.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every row put has its receipt; False when timeout (seconds) passed first.

        Raises:
            TrajlakeError: the session failed; see ``retry_for``.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._cond:
            self._flushing += 1
            self._cond.notify_all()
            try:
                while self._waiting or self._inflight:
                    self._check()
                    left = None if end is None else end - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    self._cond.wait(left)
                self._check()
                return True
            finally:
                self._flushing -= 1

    def close(self, abort: bool = False) -> None:
        """End the stream; with abort without waiting for answers. Idempotent."""
        with self._cond:
            self._closing = True
            abort = abort and bool(self._waiting or self._inflight or self._error)
            if abort and not self._error:
                self._error = UnavailableError("append: the session was closed", hint="rows without a receipt may be sent again")
            thread = self._thread
            self._cond.notify_all()
        if thread is None or thread is threading.current_thread():
            return
        if not abort and (self._waiting or self._inflight):
            thread.join()
        elif not abort:
            thread.join(_GOODBYE)  # all is answered: the end of the stream is a courtesy
        while thread.is_alive():
            with self._cond:
                if self._call is not None:
                    self._call.cancel()
            thread.join(0.1)

    @property
    def last_error(self) -> TrajlakeError | None:
        """Why the last stream broke, while the session tries again."""
        return self._last_error

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closing:
            raise UsageError("append: the session is closed")

    def _run(self) -> None:
        """Keep one stream open while there is work; on its own thread."""
        tries = 0
        failing: float | None = None  # since when streams have broken without an answer between
        while True:
            with self._cond:
                while not (self._waiting or self._inflight or self._closing or self._error):
                    self._cond.wait()
                if self._error or (self._closing and not self._waiting and not self._inflight):
                    return
                self._sent = 0
            before = self._seq - len(self._inflight)
            error = self._stream()
            with self._cond:
                if self._seq - len(self._inflight) > before:
                    tries, failing = 0, None
                if error is None or self._error:
                    continue
                self._last_error = error
                failing = failing or time.monotonic()
                if error.kind not in _faults.RETRYABLE or time.monotonic() - failing > self._retry_for:
                    self._error = error
                    self._cond.notify_all()
                    return
                tries += 1
                self._cond.wait_for(lambda: self._error is not None, min(5.0, 0.05 * 2**tries) * random.uniform(0.5, 1.0))

    def _stream(self) -> TrajlakeError | None:
        """Open one stream and work through it; None when there is nothing more to send."""
        stop = threading.Event()
        error: TrajlakeError | None = None
        try:
            call = self._append(self._requests(stop))
            with self._cond:
                self._call = call  # type: ignore[assignment]
                if self._error:
                    call.cancel()  # type: ignore[attr-defined]
            for response in call:
                self._settle(response)
        except grpc.RpcError as e:
            error = _faults.from_rpc(e)
        except Exception as e:  # a fault of this client: told, never retried
            error = TrajlakeError(f"append: {e}")
        with self._cond:
            stop.set()
            self._call = None
            self._cond.notify_all()
            if error is None and self._inflight:
                error = UnavailableError("append: the server ended the stream", hint="it is shutting down; the rows are sent again")
        return error

    def _requests(self, stop: threading.Event) -> Iterator[pb.AppendRequest]:
        with self._cond:
            settled = bytes(self._settled)
        for at in range(0, max(len(settled), 1), CHUNK_BYTES):
            yield pb.AppendRequest(open=pb.AppendOpen(session=self.name, settled=settled[at : at + CHUNK_BYTES]))
        while (r := self._next(stop)) is not None:
            yield from _messages(r)

    def _next(self, stop: threading.Event) -> _Request | None:
        """The next request to send: at once when nothing is under way, else a full one."""
        with self._cond:
            while not stop.is_set() and not self._error:
                if self._sent < len(self._inflight):
                    self._sent += 1
                    return self._inflight[self._sent - 1]
                full = self._bytes >= TARGET_BYTES or len(self._waiting) >= TARGET_ROWS
                eager = full or self._flushing or self._closing or (self._eager and not self._inflight)
                if self._waiting and eager and len(self._inflight) < INFLIGHT:
                    self._inflight.append(self._cut())
                    continue
                if self._closing and not self._waiting and not self._inflight:
                    return None
                self._cond.wait()
            return None

    def _cut(self) -> _Request:
        self._seq += 1
        r = _Request(self._seq)
        while self._waiting and len(r.items) < TARGET_ROWS:
            n = len(self._waiting[0][0])
            if r.items and (r.nbytes + n > TARGET_BYTES):
                break
            item, settle = self._waiting.popleft()
            r.items.append(item)
            r.settle.append(settle)
            r.nbytes += n
        return r

    def _settle(self, response: pb.AppendResponse) -> None:
        with self._cond:
            if not self._inflight or self._inflight[0].seq != response.seq or len(response.receipts) != len(self._inflight[0].items):
                raise RuntimeError(f"the server answered request {response.seq}, which was not the next one")
            r = self._inflight[0]
        receipts = list(response.receipts)
        for settle, receipt in zip(r.settle, receipts):
            settle(receipt)
        if self._on_settled is not None:
            self._on_settled(receipts)
        with self._cond:
            self._inflight.popleft()
            self._sent -= 1
            self._bytes -= r.nbytes
            for receipt in receipts:
                self._settled += receipt.digest
            self._cond.notify_all()


def _messages(r: _Request) -> Iterator[pb.AppendRequest]:
    if len(r.items) > 1 or r.nbytes <= CHUNK_BYTES:
        yield pb.AppendRequest(seq=r.seq, items=r.items)
        return
    item = memoryview(r.items[0])
    for at in range(0, len(item), CHUNK_BYTES):
        end = at + CHUNK_BYTES
        chunk = pb.RowChunk(total=len(item), data=bytes(item[at:end]), last=end >= len(item))
        yield pb.AppendRequest(seq=r.seq, chunk=chunk)
