"""From the wire's errors to exceptions: gRPC statuses, Flight errors, faults in receipts."""

from __future__ import annotations

import re
import urllib.parse

import grpc
import pyarrow as pa
import pyarrow.flight as flight

from ._pb import trajlake_service_pb2 as pb
from .errors import TrajlakeError, error_of

_DETAILS = "grpc-status-details-bin"

# What a status without a fault in its details means: it comes from gRPC itself.
_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: "unavailable",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "exhausted",
    grpc.StatusCode.CANCELLED: "cancelled",
    grpc.StatusCode.DEADLINE_EXCEEDED: "cancelled",
    grpc.StatusCode.UNIMPLEMENTED: "unsupported",
    grpc.StatusCode.INVALID_ARGUMENT: "usage",
    grpc.StatusCode.NOT_FOUND: "not_found",
    grpc.StatusCode.PERMISSION_DENIED: "denied",
    grpc.StatusCode.UNAUTHENTICATED: "denied",
}


def from_fault(f: pb.Fault) -> TrajlakeError:
    """The exception of a fault in a receipt or a status."""
    text = f.message or f.kind
    if f.field and not text.startswith(f.field):
        text = f"{f.field}: {text}"
    wait = None
    if f.HasField("wait"):
        wait = {"reason": f.wait.reason, "stratum": f.wait.stratum, "have": f.wait.have, "want": f.wait.want}
    return error_of(f.kind, f"{f.op}: {text}" if f.op else text, f.field, f.hint, wait)


def _fault_in(details: bytes) -> pb.Fault | None:
    """The fault among the details of a google.rpc.Status, if there is one."""
    status = pb.RpcStatus()
    try:
        status.ParseFromString(details)
        for d in status.details:
            if d.type_url.rpartition("/")[2] == "trajlake.v1.Fault":
                return pb.Fault.FromString(d.value)
    except Exception:  # not a status: the error is told by its code
        return None
    return None


def from_rpc(e: grpc.RpcError) -> TrajlakeError:
    """The exception of a failed gRPC call."""
    for item in e.trailing_metadata() or ():  # type: ignore[attr-defined]
        if item[0] == _DETAILS:
            f = _fault_in(item[1])
            if f is not None:
                return from_fault(f)
    text = e.details() or str(e)  # type: ignore[attr-defined]
    if refused := _refused(text):
        return refused
    kind = _BY_CODE.get(e.code(), "internal")  # type: ignore[attr-defined]
    hint = "is the server running at this address?" if kind == "unavailable" else ""
    return error_of(kind, text, hint=hint)


def _refused(text: str) -> TrajlakeError | None:
    """The exception of a refused connection, told by the text that gRPC makes of it."""
    m = re.search(r"ipv[46]:(\S+): .*[Cc]onnection refused", text)
    if m is None:
        return None
    addr = urllib.parse.unquote(m[1])
    hint = f"start one with `trajlake serve --lake LAKE --listen {addr}`, or name another address"
    return error_of("unavailable", f"no server answers at {addr}", hint=hint)


def from_arrow(e: BaseException, details: bytes = b"") -> TrajlakeError:
    """The exception of a failed Flight call; details is the trailer of the status, if it is known."""
    f = _fault_in(details) if details else None
    if f is not None:
        return from_fault(f)
    if refused := _refused(str(e)):
        return refused
    kind, hint = "internal", ""
    if isinstance(e, flight.FlightUnavailableError):
        kind, hint = "unavailable", "is the server running at this address?"
    elif isinstance(e, (flight.FlightTimedOutError, flight.FlightCancelledError)):
        kind = "cancelled"
    elif isinstance(e, pa.ArrowKeyError):
        kind = "not_found"
    elif isinstance(e, pa.ArrowInvalid):
        kind = "usage"
    return error_of(kind, str(e), hint=hint)


ARROW_ERRORS = (flight.FlightError, pa.ArrowException)
"""What pyarrow.flight raises; some gRPC codes come as plain Arrow exceptions."""

RETRYABLE = frozenset({"unavailable", "exhausted"})
"""Kinds after which the same call may be made again."""
