"""Sequences of different lengths as one: padded to the longest, or packed step by step.

A PackedSequence holds the first elements of all sequences, then the second ones of those that have them, and
so on; the longest sequence comes first.  Lengths are numbers: they cannot be symbolic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cortex_compute.errors import ArgumentError, DTypeError, ShapeError
from cortex_core.ops.indexing import gather, pad, stack
from cortex_core.ops.lift import as_array, known
from cortex_core.ops.pointwise import select
from cortex_core.ops.views import reshape
from cortex_core.tensor import Tensor


class PackedSequence(NamedTuple):
    """What `pack_sequence` and `pack_padded_sequence` make.

    data (sum of the lengths, ...); batch_sizes (T,): how many sequences have each step; sorted_indices (N,):
    which sequence of the batch each is, and unsorted_indices (N,), the other way round, or None for both
    where the batch was in order.
    """

    data: Any
    batch_sizes: Any
    sorted_indices: Any = None
    unsorted_indices: Any = None

    def to(self, *targets: object) -> PackedSequence:
        """The same with its data in another data type, or on another backend."""
        return self._replace(data=self.data.to(*targets))


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Packs sequences padded to one length.   input (T, N, ...), or (N, T, ...) with ``batch_first``

    ``lengths`` (N,), 1 or more each.  With ``enforce_sorted`` they must fall; without, the batch is sorted.
    """
    x, batch, steps = _batch("pack_padded_sequence", input, batch_first)
    sizes = _lengths("pack_padded_sequence", lengths, batch, steps)
    falls = bool((np.diff(sizes) <= 0).all())
    if enforce_sorted and not falls:
        raise ArgumentError(
            "pack_padded_sequence: with enforce_sorted the lengths must fall, the longest first; sort the "
            "batch, or say enforce_sorted=False"
        )
    order = np.arange(batch) if enforce_sorted else np.argsort(-sizes, kind="stable")
    has = np.arange(sizes.max())[:, None] < sizes[order]
    step, place = np.nonzero(has)
    rows = order[place] * steps + step if batch_first else step * batch + order[place]
    data = gather(reshape(x, (batch * steps, *x.shape[2:])), rows, 0)
    orders = (None, None) if enforce_sorted else (Tensor(order), Tensor(np.argsort(order)))
    return PackedSequence(data, Tensor(has.sum(1)), *orders)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Any, Tensor]:
    """Unpacks: (T, N, ...), or (N, T, ...) with ``batch_first``, padded by ``padding_value``; and the lengths

    (N,).  T is the greatest length, or ``total_length``.  The data type stays.
    """
    rows, has = _places(sequence)
    if sequence.unsorted_indices is not None:
        order = np.asarray(sequence.unsorted_indices)
        rows, has = rows[:, order], has[:, order]
    lengths = has.sum(0)
    more = 0 if total_length is None else total_length - len(rows)
    if more < 0:
        raise ArgumentError(
            f"pad_packed_sequence: total_length={total_length}; the longest sequence has {len(rows)}"
        )
    rows, has = (np.pad(a, ((0, more), (0, 0))) for a in (rows, has))
    if batch_first:
        rows, has = rows.T, has.T
    found = gather(sequence.data, rows, 0)
    seen = has.reshape(*has.shape, *(1,) * (len(found.shape) - 2))
    return select(seen, found, _filler("pad_packed_sequence", padding_value, found)), Tensor(lengths)


def pad_sequence(
    sequences: Sequence[Any],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Any:
    """Sequences (T_n, ...) as one array, (T, N, ...) or (N, T, ...), padded behind or (``left``) in front."""
    arrays = _sequences("pad_sequence", sequences)
    if padding_side not in ("left", "right"):
        raise ArgumentError(f"pad_sequence: padding_side={padding_side!r}; choose 'left' or 'right'")
    longest = max(x.shape[0] for x in arrays)
    filled = []
    for x in arrays:
        more = longest - x.shape[0]
        margins = [(0, more) if padding_side == "right" else (more, 0), *[(0, 0)] * (len(x.shape) - 1)]
        filled.append(pad(x, margins, _filler("pad_sequence", padding_value, x)))
    return stack(filled, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Any]:
    """The sequences that `pad_sequence` padded behind, each with its own length."""
    x, batch, steps = _batch("unpad_sequence", padded_sequences, batch_first)
    sizes = _lengths("unpad_sequence", lengths, batch, steps)
    return [x[i, :n] if batch_first else x[:n, i] for i, n in enumerate(sizes.tolist())]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences (T_n, ...).  With ``enforce_sorted`` the longest must come first."""
    arrays = _sequences("pack_sequence", sequences)
    lengths = np.array([x.shape[0] for x in arrays])
    return pack_padded_sequence(pad_sequence(arrays), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Any]:
    """The sequences that were packed, each with its own length."""
    found, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(found, lengths, batch_first=True)


def padded(sequence: PackedSequence) -> tuple[Any, np.ndarray]:
    """x (N, T, ...) in the packed order, the longest first, and where it has steps, (N, T).

    Beyond the end of a sequence there stands anything.
    """
    rows, has = _places(sequence)
    return gather(sequence.data, rows.T, 0), has.T


def repacked(x: Any, like: PackedSequence) -> PackedSequence:
    """x (N, T, ...), in the packed order, packed as ``like``."""
    step, place = np.nonzero(_places(like)[1])
    batch, steps = x.shape[:2]
    data = gather(reshape(x, (batch * steps, *x.shape[2:])), place * steps + step, 0)
    return like._replace(data=data)


def _places(sequence: PackedSequence) -> tuple[np.ndarray, np.ndarray]:
    """Where step t of sequence n lies in the data, and whether there is one, both (T, N)."""
    if not isinstance(sequence, PackedSequence):
        raise ArgumentError(f"got a {type(sequence).__name__}; needs a PackedSequence of pack_sequence")
    if not known(sequence.batch_sizes):
        raise DTypeError(
            "a PackedSequence as an argument of a traced function: what it computes depends on its lengths. "
            "Give the padded array, and pack it inside by lengths that are part of the program"
        )
    sizes, rows = np.asarray(sequence.batch_sizes), sequence.data.shape[0]
    counts = sizes.ndim == 1 and sizes.size > 0 and sizes.dtype.kind in "iu"
    if not counts or (sizes[1:] > sizes[:-1]).any() or sizes[-1] < 1 or sizes.sum() != rows:
        raise ArgumentError(
            f"a PackedSequence of {rows} rows with batch_sizes {sizes.tolist()}: these must be whole numbers "
            "that never rise, 1 or more each, and their sum the number of rows"
        )
    within = np.arange(sizes[0])
    has = within < sizes[:, None]
    return np.where(has, (np.cumsum(sizes) - sizes)[:, None] + within, 0), has


def _batch(what: str, padded: Any, batch_first: bool) -> tuple[Any, int, int]:
    """The array, how many sequences it has, and how many steps."""
    x = as_array(padded)
    if len(x.shape) < 2:
        raise ShapeError(f"{what}: the input has shape {x.shape}; needs time and batch at least")
    batch, steps = x.shape[:2] if batch_first else x.shape[1::-1]
    return x, batch, steps


def _filler(what: str, value: float, x: Any) -> float:
    """``padding_value`` as a number of x's type, which padding does not change."""
    kind = x.dtype.kind
    if kind == "float":
        return float(value)
    if not math.isfinite(value) or int(value) != value or (kind == "bool" and value not in (0, 1)):
        raise ArgumentError(f"{what}: padding_value={value} is no {x.dtype}, the type of the sequences")
    return bool(value) if kind == "bool" else int(value)


def _lengths(what: str, lengths: Any, batch: int, steps: int) -> np.ndarray:
    if not known(lengths):
        raise DTypeError(f"{what}: the lengths are a symbolic value, which has no numbers yet; give numbers")
    sizes = np.asarray(lengths)
    if sizes.shape != (batch,) or sizes.dtype.kind not in "iu":
        raise ArgumentError(
            f"{what}: lengths of shape {sizes.shape} and type {sizes.dtype}; needs one whole number for each "
            f"of {batch} sequences"
        )
    if sizes.size == 0 or sizes.min() < 1 or sizes.max() > steps:
        place = int(np.argmax((sizes < 1) | (sizes > steps))) if sizes.size else 0
        told = f"sequence {place} has {sizes[place]}" if sizes.size else "there are none"
        raise ArgumentError(f"{what}: lengths must be 1 to {steps}; {told}")
    return sizes.astype(np.int64)


def _sequences(what: str, sequences: Sequence[Any]) -> list[Any]:
    arrays = [as_array(x) for x in sequences]
    if not arrays or any(x.shape[1:] != arrays[0].shape[1:] or not x.shape for x in arrays):
        shapes = ", ".join(str(x.shape) for x in arrays[:4]) or "no sequence"
        raise ShapeError(
            f"{what}: got {shapes}; needs sequences (T_n, ...) that are equal but for the length"
        )
    return arrays
