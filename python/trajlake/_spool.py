"""Rows on this machine's disk until they are in the lake.

A spool folder holds one folder for each writer that wrote there, and in it:

- ``<first>.seg``: the rows, in order; ``first`` is the number of the segment's first row.
  Rows that were fsynced together are one frame (length, CRC-32, bytes; little-endian),
  which holds a length and the bytes for each. Appended to, never changed.
- ``acks``: frames of (rows answered so far, digests of answered rows without an id).
- ``lock``: held by the process that writes or drains it.

A row counts as spooled once the fsync after it has returned, and the next frame is
written after that only: a broken frame with nothing behind it was never counted,
any other one is damage. What is lost of ``acks`` in a crash only makes rows go out again under the
identity they had.

Beside the folders, ``rejected.jsonl`` keeps each row that the lake refused, with
the reason.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ._pb import trajlake_service_pb2 as pb
from ._receipt import Receipt, receipt_of
from ._session import Session
from .errors import CorruptError, UnavailableError

SEGMENT_BYTES = 64 << 20
_FRAME = struct.Struct("<II")
_COUNT = struct.Struct("<Q")
_LENGTH = struct.Struct("<I")


class SpoolLog:
    """One writer's folder. Appending and reading may go on at the same time, each on one thread."""

    def __init__(self, root: Path, name: str, lock: int) -> None:
        self.root, self.name, self.dir = root, name, root / name
        self._lock = lock
        self._out: int | None = None
        self._out_bytes = 0
        self._acks: int | None = None
        self.synced = 0
        self.settled = 0
        self.digests = b""

    @classmethod
    def create(cls, root: Path) -> SpoolLog:
        """A new writer's folder below root, which is made if it is not there."""
        root.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        hidden = root / ("." + name)  # not seen by others before it is locked
        hidden.mkdir()
        lock = os.open(hidden / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        hidden.rename(root / name)
        _sync_dir(root)
        return cls(root, name, lock)

    @classmethod
    def abandoned(cls, root: Path) -> Iterator[SpoolLog]:
        """The folders below root that no living process holds, oldest first, locked one by one."""
        if not root.is_dir():
            return
        dirs = sorted((d for d in root.iterdir() if d.is_dir() and not d.name.startswith(".")), key=lambda d: (d.stat().st_mtime, d.name))
        for d in dirs:
            try:
                lock = os.open(d / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            if not d.is_dir():  # drained by another process in the meantime
                os.close(lock)
                continue
            log = cls(root, d.name, lock)
            log._load()
            yield log

    def _load(self) -> None:
        acks = self.dir / "acks"
        if acks.exists():
            digests = bytearray()
            for payload in _frames(acks, torn=True):
                (self.settled,) = _COUNT.unpack_from(payload)
                digests += payload[_COUNT.size :]
            self.digests = bytes(digests)
        segments = self._segments()
        self.synced = self.settled
        for i, (first, path) in enumerate(segments):
            if i == len(segments) - 1:
                self.synced = max(self.settled, first + sum(1 for _ in _rows(path, torn=True)))

    def _segments(self) -> list[tuple[int, Path]]:
        return sorted((int(p.stem), p) for p in self.dir.glob("*.seg"))

    def append(self, items: list[bytes]) -> None:
        """Write items and fsync; they count once this has returned."""
        if self._out is None or self._out_bytes >= SEGMENT_BYTES:
            if self._out is not None:
                os.close(self._out)
            path = self.dir / f"{self.synced:020d}.seg"
            self._out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._out_bytes = 0
            _sync_dir(self.dir)
        payload = b"".join(part for i in items for part in (_LENGTH.pack(len(i)), i))
        _write_all(self._out, _FRAME.pack(len(payload), zlib.crc32(payload)) + payload)
        os.fsync(self._out)
        self._out_bytes += _FRAME.size + len(payload)
        self.synced += len(items)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Rows start … end-1, which must be synced."""
        at = start
        segments = self._segments()
        for i, (first, path) in enumerate(segments):
            after = segments[i + 1][0] if i + 1 < len(segments) else end
            if after <= at or first >= end:
                continue
            for n, item in enumerate(_rows(path, torn=i == len(segments) - 1), first):
                if n >= end:
                    break
                if n >= at:
                    yield item
                    at = n + 1
        if at != end:
            raise CorruptError(f"spool {self.dir}: rows {at} to {end - 1} are missing", hint="the folder was changed by something else than trajlake")

    def settle(self, receipts: list[pb.AppendReceipt]) -> None:
        """Note that the next rows have had their receipts; whole answered segments are removed."""
        if self._acks is None:
            self._acks = os.open(self.dir / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.settled += len(receipts)
        payload = _COUNT.pack(self.settled) + b"".join(r.digest for r in receipts)
        _write_all(self._acks, _FRAME.pack(len(payload), zlib.crc32(payload)) + payload)
        segments = self._segments()
        done = [p for (_, p), (after, _) in zip(segments, segments[1:]) if after <= self.settled]
        if done:
            os.fsync(self._acks)
            for p in done:
                p.unlink()

    def reject(self, item: bytes, receipt: Receipt) -> None:
        """Keep a refused row with its reason beside the folders."""
        e = receipt.error
        line = {"trajectory_id": receipt.trajectory_id, "kind": e.kind if e else "", "field": e.field if e else "", "reason": str(e), "row": _unpacked(item)}
        fd = os.open(self.root / "rejected.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, json.dumps(line).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Let go of the folder; when every row has its receipt it is removed. Idempotent."""
        for fd in (self._out, self._acks):
            if fd is not None:
                os.close(fd)
        self._out = self._acks = None
        if self._lock < 0:
            return
        if self.settled >= self.synced:
            shutil.rmtree(self.dir, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1


class Spooler:
    """A writer's spool at work: one thread makes rows durable, another feeds them to the lake.

    Args:
        root: the spool folder.
        make: opens a session: make(name, settled, on_settled).
        settle: called with (number of the row, receipt), on another thread.
    """

    def __init__(self, root: Path, make: Callable[..., Session], settle: Callable[[int, pb.AppendReceipt], None]) -> None:
        self._make, self._settle = make, settle
        self._log = SpoolLog.create(root)
        self._cond = threading.Condition()
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._put = 0
        self._closing = False
        self._abort = False
        self._error: BaseException | None = None
        self._session: Session | None = None
        self.drained: list[Receipt] = []
        self._threads = [threading.Thread(target=self._guard, args=(f,), name=f"trajlake-spool-{f.__name__[1:]}", daemon=True) for f in (self._sync, self._feed)]
        for t in self._threads:
            t.start()

    def put(self, item: bytes) -> None:
        """Queue a row; blocks while the disk is behind by 64 MB."""
        with self._cond:
            while self._buffered and self._buffered + len(item) > SEGMENT_BYTES and not self._error:
                self._cond.wait()
            self._check()
            self._buffer.append(item)
            self._buffered += len(item)
            self._put += 1
            self._cond.notify_all()

    def flush(self) -> None:
        """Wait until every row put is on disk."""
        with self._cond:
            while self._log.synced < self._put:
                self._check()
                self._cond.wait()

    def close(self, patience: float) -> None:
        """Make every row durable, then go on feeding until all have receipts, or none came for patience seconds."""
        try:
            self.flush()
        finally:
            with self._cond:
                self._closing = True
                self._cond.notify_all()
            last = -1
            while self._threads[1].is_alive() and (seen := self._log.settled + len(self.drained)) != last:
                last = seen
                self._threads[1].join(patience)
            with self._cond:
                self._abort = True
                session = self._session
                self._cond.notify_all()
            if session is not None:
                session.close(abort=True)
            for t in self._threads:
                t.join()
            self._log.close()
        if self._error is not None and not isinstance(self._error, UnavailableError):
            raise self._error

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as e:
            with self._cond:
                if not self._abort:
                    self._error = self._error or e
                self._cond.notify_all()

    def _sync(self) -> None:
        while True:
            with self._cond:
                while not self._buffer and not self._closing:
                    self._cond.wait()
                if not self._buffer:
                    return
                items, self._buffer, self._buffered = self._buffer, [], 0
            self._log.append(items)
            with self._cond:
                self._cond.notify_all()

    def _feed(self) -> None:
        for old in SpoolLog.abandoned(self._log.root):
            drain(old, self._open, lambda n, item, r: self.drained.append(r))
        log = self._log
        fed = 0
        session = self._open(log.name, b"", log.settle)
        while True:
            with self._cond:
                while log.synced == fed and not self._closing:
                    self._cond.wait()
                end = log.synced
            if end == fed:
                break
            for item in log.read(fed, end):
                session.put(item, self._settler(fed, item))
                fed += 1
        session.flush()
        session.close()

    def _open(self, name: str, settled: bytes, on_settled: Callable) -> Session:
        with self._cond:
            if self._abort:
                raise UnavailableError("spool: closed while rows were waiting")
            self._session = self._make(name, settled, on_settled)
            return self._session

    def _settler(self, n: int, item: bytes) -> Callable[[pb.AppendReceipt], None]:
        def settle(r: pb.AppendReceipt) -> None:
            if r.status == pb.AppendReceipt.REJECTED:
                self._log.reject(item, receipt_of(r))
            self._settle(n, r)

        return settle


def drain(log: SpoolLog, make: Callable[..., Session], seen: Callable[[int, bytes, Receipt], None]) -> None:
    """Bring a left-over folder's rows into the lake and remove it; seen gets each receipt."""
    session: Session | None = None
    try:
        session = make(log.name, log.digests, log.settle)

        def settler(n: int, item: bytes) -> Callable[[pb.AppendReceipt], None]:
            def settle(r: pb.AppendReceipt) -> None:
                receipt = receipt_of(r)
                if receipt.status == "rejected":
                    log.reject(item, receipt)
                seen(n, item, receipt)

            return settle

        for n, item in enumerate(log.read(log.settled, log.synced), log.settled):
            session.put(item, settler(n, item))
        session.flush()
    finally:
        if session is not None:
            session.close(abort=True)
        log.close()


def _rows(path: Path, torn: bool) -> Iterator[bytes]:
    for payload in _frames(path, torn):
        at = 0
        while at < len(payload):
            (n,) = _LENGTH.unpack_from(payload, at)
            at += _LENGTH.size + n
            yield payload[at - n : at]


def _frames(path: Path, torn: bool) -> Iterator[bytes]:
    """The frames of a file; with torn, a broken one that nothing follows is the end."""
    size = path.stat().st_size
    at = 0
    with open(path, "rb") as f:
        while at < size:
            head = f.read(_FRAME.size)
            if len(head) < _FRAME.size:
                end = size
                break
            n, crc = _FRAME.unpack(head)
            end = at + _FRAME.size + n if n else size  # an empty frame is never written: blank space
            payload = f.read(n) if end <= size else b""
            if not n or len(payload) < n or zlib.crc32(payload) != crc:
                break
            at = end
            yield payload
        else:
            return
    if not torn or end < size:
        raise CorruptError(f"spool {path}: broken frame at byte {at}", hint="the rows before it are intact")


def _unpacked(item: bytes) -> object:
    i = pb.AppendItem.FromString(item)
    try:
        row = json.loads(i.json)
    except ValueError:
        return i.json.decode(errors="replace")
    for name, dtype in (("token_ids", "<i4"), ("loss_mask", "i1"), ("logprobs", "<f4")):
        if data := getattr(i, name):
            row[name] = np.frombuffer(data, dtype).tolist()
    return row


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
