"""Which process has had connections: gRPC's threads do not survive a fork.

Without this, the first call of a forked process crashes it or never comes back.
"""

from __future__ import annotations

import os

from .errors import UsageError

_HINT = (
    'start the workers before the first connect(), or as new processes: multiprocessing_context="spawn" '
    'of a DataLoader, multiprocessing.get_context("spawn")'
)
_used: set[int] = set()


def opening() -> int:
    """Note that this process opens a connection; returns its id.

    Raises:
        UsageError: the process was forked from one that had connections.
    """
    me = os.getpid()
    if _used - {me}:
        raise UsageError("connect: this process was forked from one that had a connection", hint=_HINT)
    _used.add(me)
    return me


def check(owner: int) -> None:
    """Refuse a connection that another process opened."""
    if os.getpid() != owner:
        raise UsageError("the connection belongs to the process that this one was forked from", hint=_HINT)
