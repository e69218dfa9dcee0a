"""Nested tuples, lists and dicts of arrays: taken apart into their arrays, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from cortex_core.ops.array import Array

Structure = tuple[Any, ...]
"""What remains of a tree without its arrays.  It can be compared and hashed, if what else is in it can."""

ARRAY: Structure = ("array",)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The arrays of a tree, in order, and its structure; anything but arrays and containers belongs to the
    structure.
    """
    arrays: list[Any] = []
    return arrays, _taken(tree, arrays)


def _taken(x: Any, arrays: list[Any]) -> Structure:
    if isinstance(x, (Array, np.ndarray)):
        arrays.append(x)
        return ARRAY
    if isinstance(x, (tuple, list)):
        return (type(x), *[_taken(y, arrays) for y in x])
    if isinstance(x, dict):
        return (dict, tuple(x), *[_taken(y, arrays) for y in x.values()])
    return ("other", type(x), x)  # with its type: 1 is not True, nor 1.0


def unflatten(structure: Structure, arrays: Iterable[Any]) -> Any:
    """The tree of this structure with these arrays in it."""
    return _put(structure, iter(arrays))


def _put(structure: Structure, rest: Iterator[Any]) -> Any:
    kind, *inner = structure
    if kind == "array":
        return next(rest)
    if kind == "other":
        return inner[1]
    if kind is dict:
        return dict(zip(inner[0], [_put(x, rest) for x in inner[1:]]))
    made = [_put(x, rest) for x in inner]
    return kind(*made) if hasattr(kind, "_fields") else kind(made)


def map_arrays(f: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with ``f(array)`` in the place of each array."""
    arrays, structure = flatten(tree)
    return unflatten(structure, map(f, arrays))
