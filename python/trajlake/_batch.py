"""A batch of replay and the views on its arrays."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from .errors import UsageError

if TYPE_CHECKING:
    import torch

    from ._replay import Replay


class Ragged:
    """A list column as one flat array and row boundaries: the packed layout of varlen attention.

    Attributes:
        values: 1-d array of all rows' elements, one after the other: int32 for
            token_ids, int8 for loss_mask, float32 for logprobs. A read-only view of
            the received bytes, unless ``copied``.
        offsets: 1-d int32 (int64 above 2**31 elements) of n + 1 entries; row i is
            ``values[offsets[i]:offsets[i + 1]]``. These are ``cu_seqlens``. A null row is empty.
        copied: True when the batch came in several pieces, which had to be joined.
    """

    __slots__ = ("_array", "copied", "offsets", "values")

    def __init__(self, array: pa.Array, offsets: np.ndarray, copied: bool = False) -> None:
        self._array = array
        self.values: np.ndarray = array.to_numpy(zero_copy_only=True)
        self.offsets = offsets
        self.copied = copied

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        """Row i, a view."""
        n = len(self)
        if not -n <= i < n:
            raise IndexError(i)
        i %= n
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Elements of each row: shape (n,), dtype of offsets."""
        return np.diff(self.offsets)

    def padded(self, pad_id: float = 0, length: int | None = None) -> np.ndarray:
        """A new array of shape (n, length), dtype of values, filled up with pad_id on the right.

        Args:
            length: columns; None is the longest row. Longer rows are cut.
        """
        lengths = self.lengths
        width = int(lengths.max(initial=0)) if length is None else length
        out = np.full((len(self), width), pad_id, dtype=self.values.dtype)
        if width >= int(lengths.max(initial=0)):
            out[np.arange(width) < lengths[:, None]] = self.values
        else:
            for i in range(len(self)):
                row = self[i][:width]
                out[i, : len(row)] = row
        return out

    def torch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(values, offsets) as tensors over the same memory. Do not write to values."""
        import torch

        try:
            values = torch.from_dlpack(self._array)
        except (AttributeError, TypeError, BufferError, RuntimeError):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the array is read-only, which torch cannot say
                values = torch.from_numpy(self.values)
        return values, torch.from_numpy(self.offsets)


class Batch:
    """One batch: a function of (snapshot, spec, position, rank).

    Attributes:
        table: pyarrow.Table, one row per trajectory, in the order drawn: the spec's
            columns and at least trajectory_id, inclusion_probability, stratum, reward,
            effort, task_id.
        position: the batch's place in the sequence, from 0; ``replay(..., position=position)``
            draws this batch again, ``position + 1`` the next one.
        batch_id: digest of snapshot, spec and position, by which ``lake.batch(id)`` has it again.
        version: version of the trajectories that was drawn from.
        snapshot: token of the snapshot that was drawn from.
        spec_hash: hash of the filled-in spec.
        stream, run: of a named stream; else "".
        meta: all that the server said of the batch, as_of and what it waited for included.
        rank, world_size: whose slice this is.
    """

    __slots__ = ("_replay", "batch_id", "meta", "position", "rank", "run", "snapshot", "spec_hash", "stream", "table", "version", "world_size")

    def __init__(self, table: pa.Table, meta: Mapping[str, Any] | int = 0, rank: int = 0, world_size: int = 1) -> None:
        self.meta: dict[str, Any] = {"position": meta} if isinstance(meta, int) else dict(meta)
        self.table = table
        self.position = int(self.meta.get("position", 0))
        self.batch_id: str = self.meta.get("batch_id", "")
        self.version = int(self.meta.get("version", 0))
        self.snapshot: str = self.meta.get("snapshot", "")
        self.spec_hash: str = self.meta.get("spec_hash", "")
        self.stream: str = self.meta.get("stream", "")
        self.run: str = self.meta.get("run", "")
        self.rank = rank
        self.world_size = world_size
        self._replay: Replay | None = None

    @property
    def step(self) -> int:
        """Another name of position."""
        return self.position

    def __len__(self) -> int:
        """Rows."""
        return self.table.num_rows

    def __repr__(self) -> str:
        return f"Batch(position={self.position}, rows={len(self)}, batch_id={self.batch_id!r}, version={self.version})"

    def __reduce__(self) -> Any:
        return (Batch, (self.table, self.meta, self.rank, self.world_size))

    def ack(self, step: int, policy_version: int | None = None) -> None:
        """Say that the batch was trained on in the trainer's step; durable when this returns. See Replay.ack."""
        self._of().ack(self, step, policy_version)

    def nack(self, reason: str) -> None:
        """Say that the batch was not trained on, and why."""
        self._of().nack(self, reason)

    def _of(self) -> Replay:
        if self._replay is None:
            raise UsageError("the batch has left its replay", hint="replay.ack(batch, step) takes a batch that came from another process")
        return self._replay

    def tensor(self, name: str) -> Ragged:
        """The list column as flat values and offsets, without copying.

        A batch above 64 MB comes in several pieces; they are joined, which copies:
        the result's ``copied`` is True then, and a warning says so once.

        Raises:
            UsageError: there is no such column, or it is no list of numbers.
        """
        at = self.table.schema.get_field_index(name)
        if at < 0:
            raise UsageError(f"the batch has no column {name!r}", field=name, hint="name it in the spec's columns; it has " + ", ".join(self.table.column_names))
        column = self.table.column(at)
        kind = column.type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_primitive(kind.value_type):
            raise UsageError(f"column {name!r} is {kind}, not a list of numbers", field=name)
        copied = column.num_chunks > 1
        if copied:
            warnings.warn("a batch in several pieces was joined, which copies; smaller batches do without", RuntimeWarning, stacklevel=2)
        if column.num_chunks == 0:
            array = pa.array([], kind)
        else:
            array = column.chunk(0) if not copied else pa.concat_arrays(column.chunks)
        return _ragged(array, copied)

    def arrays(self, name: str) -> list[np.ndarray | None]:
        """A tensor that the spec names, row by row: arrays of their own shape and dtype, None where a row has none.

        They are read-only views of the received bytes. A dtype that numpy does not know (bfloat16) is
        given as unsigned integers of its width.
        """
        at = self.table.schema.get_field_index(name)
        if at < 0 or not pa.types.is_struct(self.table.schema.field(at).type):
            raise UsageError(f"the batch has no tensor {name!r}", field=name, hint="name it in the spec's tensors")
        out: list[np.ndarray | None] = []
        for chunk in self.table.column(at).chunks:
            dtypes, shapes, data = chunk.field("dtype"), chunk.field("shape"), chunk.field("data")
            for i in range(len(chunk)):
                if not chunk[i].is_valid:
                    out.append(None)
                    continue
                shape = shapes[i].as_py()
                raw = np.frombuffer(data[i].as_buffer(), dtype=np.uint8)
                try:
                    kind = np.dtype(dtypes[i].as_py())
                except TypeError:
                    kind = np.dtype(f"u{max(1, raw.size // max(1, int(np.prod(shape))))}")
                out.append(raw.view(kind).reshape(shape))
        return out

    def to_torch(self) -> dict[str, Any]:
        """A plain dict for collating and passing between processes.

        Each list column of numbers becomes two tensors of their own memory, ``name``
        (values) and ``name_offsets``; numeric columns become one tensor, with NaN for
        null; strings a list. ``position``, ``batch_id``, ``version`` and ``snapshot`` are there too.
        """
        import torch

        out: dict[str, Any] = {"position": self.position, "batch_id": self.batch_id, "version": self.version, "snapshot": self.snapshot}
        for f in self.table.schema:
            if (pa.types.is_list(f.type) or pa.types.is_large_list(f.type)) and pa.types.is_primitive(f.type.value_type):
                r = self.tensor(f.name)
                out[f.name] = torch.from_numpy(r.values.copy())
                out[f.name + "_offsets"] = torch.from_numpy(r.offsets.copy())
            elif pa.types.is_integer(f.type) or pa.types.is_floating(f.type):
                out[f.name] = torch.from_numpy(np.array(self.table[f.name].to_numpy()))
            else:
                out[f.name] = self.table[f.name].to_pylist()
        return out


def _ragged(array: pa.Array, copied: bool) -> Ragged:
    offsets = array.offsets.to_numpy(zero_copy_only=True)
    values = array.values
    first, last = int(offsets[0]), int(offsets[-1])
    if array.null_count and int(np.diff(offsets)[~np.asarray(array.is_valid())].sum()):
        array = pa.array(array.to_pylist(), array.type)  # null rows with something under them: foreign, and rare
        return _ragged(array, True)
    if first or last != len(values):
        values = values.slice(first, last - first)
        offsets = offsets - offsets.dtype.type(first)
    if not offsets.flags.writeable:
        offsets = offsets.copy()  # n + 1 numbers: so that tensors over them may be written to
    if values.null_count:
        raise UsageError("a list of numbers holds nulls")
    return Ragged(values, offsets, copied)
