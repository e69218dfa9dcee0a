"""Parts of values: what `x[:, 0]` becomes in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.arithmetic import Operation, operation, valued
from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.core import free
from cortex_core.exchange.keras.functions import of_keras
from cortex_core.exchange.keras.value import Value

WHOLE = slice(None)
MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
"""Attributes of a node, in each of which a bit stands for each axis."""


@translates("SlicingOpLambda")
def slice_of_tensorflow(at: At) -> Value:
    """tf.keras: ``slice_spec`` says what is taken."""
    at.expect("function", "__operators__.getitem", "_operators.getitem")
    return sliced(at, at.any(), at.keyword("slice_spec"))


@operation("getitem")
def called(found: Operation) -> Value:
    x, key = valued(found, "key", "slice_spec")
    return sliced(found.at, x, key)


translates("ops.GetItem")(of_keras)


@operation("stridedslice")
def strided(found: Operation) -> Value:
    """A node of TensorFlow: three lists of numbers, and for each a bit that says what it stands for."""
    x, *lists = found.operands
    numbers = [[*part] for part in lists if isinstance(part, Sequence)]
    if not isinstance(x, Value) or len(numbers) != 3 or len({*map(len, numbers)}) != 1:
        raise Unfit("expected a value, and as many places where it begins and ends as steps")
    found.option("Index")  # the type of the numbers
    begin, end, dots, new, single = (_bits(found.option(name)) for name in MASKS)
    key: list[Any] = []
    for i, (start, stop, step) in enumerate(zip(*numbers)):
        if dots >> i & 1:
            key.append(...)
        elif new >> i & 1:
            key.append(None)
        elif single >> i & 1:
            key.append(start)
        else:
            key.append(slice(None if begin >> i & 1 else start, None if end >> i & 1 else stop, step))
    return sliced(found.at, x, key)


def _bits(given: Any) -> int:
    """The number of an attribute, which may stand as text in a list."""
    told = given[0] if isinstance(given, list) and given else given
    return int(told or 0)


def sliced(at: At, x: Value, key: Any) -> Value:
    """x[key], of numbers, slices, None and Ellipsis.  Raises `Unfit` for other keys."""
    x = at.plain(x)
    keys = _of_each_axis(key if isinstance(key, (list, tuple)) else [key], len(x.shape) + 1)
    if not keys or keys[0] != WHOLE:
        raise Unfit(f"the key {_shown(key)} takes examples apart; they stay together here")
    wanted: list[tuple[str, dict[str, Any]]] = []
    axis, single = 0, []
    for k in keys:
        if isinstance(k, slice) and k != WHOLE:
            fields = {name: getattr(k, name) for name in ("start", "stop", "step")}
            wanted.append(("slice", {"axis": axis, **fields}))
        elif isinstance(k, int):
            single.append(("select", {"axis": axis, "index": k}))
        axis += k is not None
    wanted += reversed(single)  # the last axis first: the others keep their places
    for number, (kind, fields) in enumerate(wanted, 1):
        part = "" if number == len(wanted) and None not in keys else f"part_{number}"
        x = at.put(kind, x, part=part, **fields)
    return _with_new_axes(at, x, [k for k in keys[1:] if not isinstance(k, int)])


def _of_each_axis(keys: Sequence[Any], rank: int) -> list[Any]:
    """The keys with as many slices as the Ellipsis stands for, and behind the last."""
    good = all(k is None or k is ... or (type(k) in (int, slice) and _is_plain(k)) for k in keys)
    count = sum(k is not None and k is not ... for k in keys)
    if not good or count > rank or [*map(type, keys)].count(type(...)) > 1:
        raise Unfit(f"the key {_shown(keys)} is not supported: numbers, slices, None and ... are")
    keys = [_shortest(k) if isinstance(k, slice) else k for k in keys]
    if not any(k is ... for k in keys):
        keys.append(...)
    place = next(i for i, k in enumerate(keys) if k is ...)
    return [*keys[:place], *[WHOLE] * (rank - count), *keys[place + 1 :]]


def _is_plain(k: Any) -> bool:
    parts = (k.start, k.stop, k.step) if isinstance(k, slice) else (k,)
    return all(n is None or type(n) is int for n in parts)


def _shortest(k: slice) -> slice:
    """The same part: 0::1 is all."""
    return slice(k.start or None, k.stop) if k.step in (None, 1) else k


def _with_new_axes(at: At, x: Value, keys: Sequence[Any]) -> Value:
    """The value with an axis of size 1 for each None among the keys of its axes."""
    if None not in keys:
        return x
    sizes = iter(x.shape)
    return at.put("reshape", x, shape=free([1 if k is None else next(sizes) for k in keys]))


def _shown(key: Any) -> str:
    parts = key if isinstance(key, (list, tuple)) else [key]
    told = [f"{k.start}:{k.stop}:{k.step}" if isinstance(k, slice) else repr(k) for k in parts]
    return f"[{', '.join(told)}]".replace("None", "").replace("Ellipsis", "...")[:80]
