"""Whether the streams of some data fit a description; known without reading any data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cortex_compute.types import TensorType, dtype
from cortex_core.place import Problem
from cortex_core.registry import nearest
from cortex_core.spec.description import AUTO

SCALED = ("mse", "mae", "huber")  # losses that measure distances to their target


def mismatches(
    description: Any, types: Mapping[str, TensorType], streams: Mapping[str, Any], what: str
) -> Iterator[Problem]:
    """Each stream that the description reads and ``what`` lacks, and each that has another shape or other
    classes.

    ``types`` are those of the nodes as far as they are known; ``streams`` maps names to shapes (without the
    batch axis), dtypes and classes.
    """
    has = ", ".join(f"'{name}' {tuple(s.shape)} {s.dtype}" for name, s in streams.items())
    inputs = {x.name for x in description.inputs}
    for x in description.inputs:
        if x.name not in streams:
            if x.shape is not None or x.dtype == AUTO:
                yield _absent(x.place, x.name, streams, what, has)
            continue
        found = streams[x.name]
        shape = tuple(found.shape)
        if x.shape is None:
            continue
        if not _fits(x.shape, shape):
            told = f"this input is {list(x.shape)}"
            expected = f"in {what} '{x.name}' is {list(shape)}"
            yield Problem(x.place.path, told, expected, _hint(x.shape, shape), x.place)
        elif dtype(x.dtype).kind != "float" and dtype(found.dtype).kind == "float":
            yield Problem(
                x.place.path, f"this input is {x.dtype}", f"in {what} it is {found.dtype}", "", x.place
            )
    for node in (*description.losses, *(description.train.metrics if description.train is not None else ())):
        if node.target in inputs:
            continue
        if node.target not in streams:
            yield _absent(node.place, node.target, streams, what, has)
            continue
        one = types[node.of].shape[1:] in ((), (1,)) if node.of in types else False
        if hasattr(node, "loss") and node.kind in SCALED and one and streams[node.target].classes:
            told = f"'{node.target}' of {what} has classes, which {node.kind} would take for quantities"
            expected = f"expected softmax_cross_entropy, or a number: {{columns: {{{node.target}: number}}}}"
            yield Problem(node.place.path, told, expected, "", node.place)
            continue
        classes, of = streams[node.target].classes, types.get(node.of)
        if (
            node.kind == "softmax_cross_entropy"
            and classes
            and of is not None
            and _fits(streams[node.target].shape, of.shape[1:-1])
            and len(classes) > of.shape[-1]
        ):
            told = f"'{node.of}' has {of.shape[-1]} output{'s' if of.shape[-1] != 1 else ''}"
            yield Problem(
                node.place.path, told, f"'{node.target}' of {what} has {len(classes)} classes", "", node.place
            )


def _fits(wanted: tuple[int | None, ...], shape: tuple[int | None, ...]) -> bool:
    """Whether a shape is the wanted one, in which None is any length."""
    return len(wanted) == len(shape) and all(n in (None, m) for n, m in zip(wanted, shape))


def _hint(given: tuple[int | None, ...], shape: tuple[int, ...]) -> str:
    """Habits of other houses: a batch axis in front, channels first."""
    if given[1:] == shape:
        return "Leave the batch axis out"
    return "Channels stand last" if given[1:] + given[:1] == shape else ""


def _absent(place: Any, name: str, streams: Mapping[str, Any], what: str, has: str) -> Problem:
    return Problem(
        place.path, f"'{name}' is no stream of {what}", f"it has {has}", nearest(name, streams), place
    )
