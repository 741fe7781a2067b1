"""Arrow Flight: what comes as record batches."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from . import _faults, _process
from .errors import UsageError

_DETAILS = "grpc-status-details-bin"


class _Call(flight.ClientMiddleware):
    """Keeps the details of one call's status, which pyarrow's exceptions leave out."""

    def __init__(self) -> None:
        super().__init__()
        self.details = b""

    def received_headers(self, headers: Mapping[str, list]) -> None:
        for v in headers.get(_DETAILS, ()):
            self.details = v if isinstance(v, bytes) else v.encode("latin-1")


class _Calls(flight.ClientMiddlewareFactory):
    """Hands the middleware of a call to the thread that makes it."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def start_call(self, info: Any) -> _Call:
        self.here.call = _Call()
        return self.here.call


class Flights:
    """The Flight side of a connection. Safe for use by several threads."""

    def __init__(self, addr: str, owner: int) -> None:
        self._addr = addr
        self._owner = owner
        self._lock = threading.Lock()
        self._calls = _Calls()
        self._client: flight.FlightClient | None = None
        self._closed = False

    def _get(self, ticket: Mapping[str, Any]) -> tuple[flight.FlightStreamReader, _Call]:
        _process.check(self._owner)
        with self._lock:
            if self._closed:
                raise UsageError("the connection is closed")
            if self._client is None:
                self._client = flight.FlightClient(f"grpc://{self._addr}", middleware=[self._calls], generic_options=[("grpc.enable_http_proxy", 0)])
            client = self._client
        self._calls.here.call = None
        try:
            reader = client.do_get(flight.Ticket(json.dumps(ticket).encode()))
        except _faults.ARROW_ERRORS as e:
            call = self._calls.here.call
            raise _faults.from_arrow(e, call.details if call else b"") from None
        return reader, self._calls.here.call or _Call()

    def table(self, ticket: Mapping[str, Any]) -> pa.Table:
        """All of a ticket's record batches, as they came."""
        reader, call = self._get(ticket)
        try:
            return reader.read_all()
        except _faults.ARROW_ERRORS as e:
            raise _faults.from_arrow(e, call.details) from None

    def stream(self, ticket: Mapping[str, Any]) -> pa.RecordBatchReader:
        """A ticket's record batches, one after the other; closing the reader ends the call."""
        reader, call = self._get(ticket)

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                while True:
                    try:
                        yield reader.read_chunk().data
                    except StopIteration:
                        return
                    except _faults.ARROW_ERRORS as e:
                        raise _faults.from_arrow(e, call.details) from None
            finally:
                reader.cancel()

        return pa.RecordBatchReader.from_batches(reader.schema, batches())

    def batches(self, ticket: Mapping[str, Any]) -> Batches:
        """The batches of a ticket, one after the other, each with what the server says of it."""
        return Batches(*self._get(ticket))

    def close(self) -> None:
        """Refuse further calls; the connection goes when the running ones have ended. Idempotent."""
        with self._lock:
            self._closed = True
            self._client = None  # never closed by hand: that crashes the process under a running call


class Batches:
    """A call that gives batch after batch. read() is for one thread, cancel() for any."""

    def __init__(self, reader: flight.FlightStreamReader, call: _Call) -> None:
        self._reader = reader
        self._call = call

    def read(self) -> tuple[pa.RecordBatch, dict[str, Any]] | None:
        """The next record and its metadata; None when the call has ended."""
        try:
            chunk = self._reader.read_chunk()
        except StopIteration:
            return None
        except _faults.ARROW_ERRORS as e:
            raise _faults.from_arrow(e, self._call.details) from None
        return chunk.data, json.loads(chunk.app_metadata.to_pybytes()) if chunk.app_metadata is not None else {}

    def cancel(self) -> None:
        """Break the call off."""
        self._reader.cancel()
