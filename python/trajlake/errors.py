"""The exceptions of trajlake: one class for each kind of the server's error table.

Decide by class or by ``kind``, never by text. ``hint`` says what the caller can
do, when there is something; ``field`` names the field at fault, when one is.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "TrajlakeError",
    "UsageError",
    "InvalidRowError",
    "ConflictError",
    "NotFoundError",
    "GoneError",
    "UnavailableError",
    "ExhaustedError",
    "CorruptError",
    "UnsupportedError",
    "DeniedError",
    "CancelledError",
]


class TrajlakeError(Exception):
    """Base of all errors of trajlake; by itself it is an unexpected failure (``kind`` "internal").

    Attributes:
        kind: name of the kind, as on the wire and in JSON.
        message: what was being done and what went wrong.
        field: the field or key at fault, or "".
        hint: what the caller can do, or "".
        wait: what a batch of a stream has to wait for, where that is all: ``{"reason": "stratum",
            "stratum": "high", "have": 3, "want": 8}``; else None.
    """

    kind: ClassVar[str] = "internal"

    def __init__(self, message: str, *, field: str = "", hint: str = "", wait: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.hint = hint
        self.wait = wait

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint and self.hint not in self.message else self.message

    def __reduce__(self):  # type: ignore[override]
        return (_rebuild, (type(self), self.message, self.field, self.hint, self.wait))


class UsageError(TrajlakeError):
    """A wrong argument, spec or predicate."""

    kind = "usage"


class InvalidRowError(TrajlakeError):
    """A row that breaks the schema or a limit."""

    kind = "invalid"


class ConflictError(TrajlakeError):
    """The id is there with other content. Nothing was overwritten."""

    kind = "conflict"


class NotFoundError(TrajlakeError):
    """No such lake, version, trajectory or blob."""

    kind = "not_found"


class GoneError(TrajlakeError):
    """It was there once and was deleted on purpose."""

    kind = "gone"


class UnavailableError(TrajlakeError):
    """Store or server cannot be reached or is behind. Nothing is lost; try again."""

    kind = "unavailable"


class ExhaustedError(TrajlakeError):
    """A limit of memory, size or queue was hit; try again later, or smaller."""

    kind = "exhausted"


class CorruptError(TrajlakeError):
    """Stored bytes are damaged."""

    kind = "corrupt"


class UnsupportedError(TrajlakeError):
    """A newer format, a foreign commit, or a feature that this version has not."""

    kind = "unsupported"


class DeniedError(TrajlakeError):
    """Not allowed: a role the server does not have, a read-only lake, credentials."""

    kind = "denied"


class CancelledError(TrajlakeError):
    """The caller gave up, or its deadline passed."""

    kind = "cancelled"


def _rebuild(cls: type[TrajlakeError], message: str, field: str, hint: str, wait: dict[str, Any] | None = None) -> TrajlakeError:
    return cls(message, field=field, hint=hint, wait=wait)


_CLASSES: dict[str, type[TrajlakeError]] = {
    c.kind: c
    for c in (
        TrajlakeError,
        UsageError,
        InvalidRowError,
        ConflictError,
        NotFoundError,
        GoneError,
        UnavailableError,
        ExhaustedError,
        CorruptError,
        UnsupportedError,
        DeniedError,
        CancelledError,
    )
}


def error_of(kind: str, message: str, field: str = "", hint: str = "", wait: dict[str, Any] | None = None) -> TrajlakeError:
    """The exception of a kind; a kind this client does not know is a TrajlakeError."""
    return _CLASSES.get(kind, TrajlakeError)(message, field=field, hint=hint, wait=wait)
