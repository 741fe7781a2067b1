"""A row on its way out: native JSON, and beside it the token arrays as packed bytes."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import sys
import uuid
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._pb import trajlake_service_pb2 as pb
from .errors import InvalidRowError

Row = Mapping[str, Any]
"""One trajectory in the keys of native JSON."""

# Name on the wire, typecode of array, dtype.
_ARRAYS = (("token_ids", "i", np.dtype("<i4")), ("loss_mask", "b", np.dtype("i1")), ("logprobs", "f", np.dtype("<f4")))
_SWAP = sys.byteorder == "big"


def pack(row: Row) -> bytes:
    """The serialized AppendItem of row.

    Lists and numpy arrays of numbers are packed by C code. What does not fit its
    type (a fraction among token ids, a null) stays in the JSON, so that the
    server names the place. A float16, bfloat16 or float64 logprob becomes float32.

    Raises:
        InvalidRowError: the row holds what JSON has no form for; ``field`` says where.
    """
    if not isinstance(row, Mapping):
        raise InvalidRowError(f"a row is a dict, not {type(row).__name__}")
    item = pb.AppendItem()
    rest = dict(row)
    for name, code, dtype in _ARRAYS:
        value = rest.get(name)
        if value is None:
            continue
        packed = _packed(value, code, dtype)
        if packed is not None:
            del rest[name]
            setattr(item, name, packed)
        elif not isinstance(value, list):
            rest[name] = _plain(value)
    item.json = encode(rest)
    return item.SerializeToString()


def _packed(value: Any, code: str, dtype: np.dtype) -> bytes | None:
    """value as little-endian bytes of dtype; None if it does not fit."""
    if isinstance(value, (list, tuple)):
        try:
            a = array(code, value)
        except (TypeError, OverflowError, ValueError):
            return None
        if _SWAP:
            a.byteswap()
        return a.tobytes()
    if not isinstance(value, np.ndarray):
        if not hasattr(value, "__array__"):
            return None
        if hasattr(value, "detach"):  # a torch tensor; bfloat16 has no numpy form
            value = value.detach().cpu()
            value = value.float() if code == "f" else value
        value = np.asarray(value)
    if value.ndim != 1 or value.dtype.kind not in ("biu" if code != "f" else "fiu"):
        return None
    if code != "f" and value.size and value.dtype.kind != "b" and value.dtype != dtype:
        info = np.iinfo(dtype)
        if value.min() < info.min or value.max() > info.max:
            return None
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(value, dtype=dtype).tobytes()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else list(value)


def encode(obj: Any) -> bytes:
    """obj as UTF-8 JSON; numpy scalars and arrays, dates and times have their JSON form."""
    try:
        text = json.dumps(obj, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_default)
    except (ValueError, TypeError, RecursionError) as e:
        path, why = _culprit(obj, "", 0) or ("", str(e))
        raise InvalidRowError(f"{path}: {why}" if path else why, field=path) from None
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: the server names its place
        return json.dumps(obj, allow_nan=False, separators=(",", ":"), default=_default).encode()


def _default(v: Any) -> Any:
    if isinstance(v, (np.generic, np.ndarray)):
        return v.tolist()
    if isinstance(v, dt.datetime):
        v = v.replace(tzinfo=dt.timezone.utc) if v.tzinfo is None else v.astimezone(dt.timezone.utc)
        return v.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(v, dt.date):
        return v.isoformat()
    if isinstance(v, decimal.Decimal):
        return int(v) if v == v.to_integral_value() else float(v)
    if isinstance(v, uuid.UUID):
        return str(v)
    if isinstance(v, Mapping):
        return dict(v)
    if isinstance(v, (set, frozenset)):
        raise TypeError("a set has no order and no JSON form")
    raise TypeError(f"a {type(v).__name__} has no JSON form")


def _culprit(v: Any, path: str, depth: int) -> tuple[str, str] | None:
    """Path and reason of the first value below v that has no JSON form."""
    if depth > 900:
        return path[:100], "nested too deeply"
    if isinstance(v, (np.generic, np.ndarray)):
        v = v.tolist()
    if isinstance(v, float) and (v != v or v in (float("inf"), float("-inf"))):
        return path, f"{v} is not a number that a column can hold"
    if isinstance(v, Mapping):
        for k, x in v.items():
            if not isinstance(k, (str, int, float, bool, type(None))):
                return path, f"a key is a {type(k).__name__}, not a string"
            if bad := _culprit(x, f"{path}.{k}" if path else str(k), depth + 1):
                return bad
        return None
    if isinstance(v, (list, tuple)):
        for i, x in enumerate(v):
            if bad := _culprit(x, f"{path}[{i}]", depth + 1):
                return bad
        return None
    if v is None or isinstance(v, (str, int, float, bool)):
        return None
    try:
        return _culprit(_default(v), path, depth + 1)
    except TypeError as e:
        return path, str(e)


def row_id(row: Any) -> str:
    """The id that the caller gave, or ""."""
    v = row.get("trajectory_id") if isinstance(row, Mapping) else None
    return v if isinstance(v, str) else ""
