"""Whether the streams of some data fit a description; known without reading any data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cortex_compute.types import TensorType, dtype
from cortex_core.given import lookups
from cortex_core.place import Problem
from cortex_core.registry import nearest
from cortex_core.spec.description import AUTO

SCALED = ("mse", "mae", "huber", "censor_loss")  # losses that measure distances to their target
TRUTHS = ("binary_cross_entropy", "binary_focal", "hinge")  # losses whose target is yes or no
CHOICES = ("softmax_cross_entropy", "focal")  # losses whose target is a class, of as many as the node has


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
    places = {node.id: node.place for node in description.layers}
    for found in lookups(description):
        classes = getattr(streams.get(found.stream), "classes", None) or ()
        if len(classes) > found.tokens:
            told = f"'{found.id}' has {found.tokens} tokens"
            place = places[found.id]
            yield Problem(place.path, told, f"'{found.stream}' of {what} has {len(classes)}", "", place)
    for loss in description.losses:
        for name in loss.streams:
            if name not in streams and name not in inputs and (name != loss.target or loss.derive):
                yield _absent(loss.place, name, streams, what, has)
    metrics = description.train.metrics if description.train is not None else ()
    for node in (*description.compared, *metrics):
        if node.target in inputs:
            continue
        if node.target not in streams:
            yield _absent(node.place, node.target, streams, what, has)
            continue
        if node.derive is not None:
            continue
        stream, of = streams[node.target], types.get(node.of)
        wrong = _target(node, stream, None if of is None else of.shape[1:], f"'{node.target}' of {what}")
        if wrong is not None:
            yield Problem(node.place.path, *wrong, "", node.place)


def _target(node: Any, stream: Any, of: tuple[int, ...] | None, what: str) -> tuple[str, str] | None:
    """What is wrong with a target, and what is expected; ``of`` is the shape of the node, None where it is
    not known."""
    classes, loss = stream.classes, node.kind if hasattr(node, "loss") else ""
    if loss in SCALED and of in ((), (1,)) and classes:
        told = f"{what} has classes, which {loss} would take for quantities"
        expected = "expected softmax_cross_entropy, or a number"
        return told, f"{expected}: {{columns: {{{node.target}: number}}}}"
    if loss in TRUTHS and classes and len(classes) > 2:
        told = f"{what} has {len(classes)} classes"
        return told, f"expected softmax_cross_entropy with {len(classes)} outputs, or two classes"
    if loss == "center_loss" and classes and len(classes) > node.loss.classes:
        return f"'classes' is {node.loss.classes}", f"{what} has {len(classes)} classes"
    if node.kind not in CHOICES or of is None:
        return None
    if dtype(stream.dtype).kind == "float" and tuple(stream.shape) in ((), (1,)):
        told = f"{what} is a number, which {node.kind} would need to be a class"
        return told, f"expected mse or mae, or a label: {{columns: {{{node.target}: label}}}}"
    if classes and _fits(stream.shape, of[:-1]) and len(classes) > of[-1]:
        told = f"'{node.of}' has {of[-1]} output{'s' if of[-1] != 1 else ''}"
        fitting = f"give {len(classes)} outputs, or other data (train.data=..., in evaluate --data)"
        return told, f"{what} has {len(classes)} classes; {fitting}"
    return None


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
