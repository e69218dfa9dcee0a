"""From a list of augmentations and a source of examples to a source of varied ones."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from cortex_compute.errors import DataError
from cortex_datasets.augment import geometry, mixing, values
from cortex_datasets.augment.draw import key_of
from cortex_datasets.augment.sources import Mixed, Soft, Step, Varied

__all__ = ["augmented", "geometry", "mixing", "values"]  # the modules register what they hold


def augmented(
    source: Any,
    augmentations: Sequence[Any],
    seed: int,
    inputs: Iterable[str],
    targets: Iterable[str] = (),
    labels: Container[str] = (),
) -> Any:
    """``source``, varied: in each epoch every example is drawn anew from (seed, epoch, row of ``source``).

    ``inputs`` are the streams that the network takes, ``targets`` those that losses compare with, ``labels``
    those of them that are classes, for a softmax.  Inputs of shape (height, width, channels), float32, are
    pictures; several pictures of an example are moved alike.  Mixing makes targets float32, and class indices
    probabilities (classes,), as ``streams`` of the result says.  Raises DataError for an augmentation that
    this data cannot take.
    """
    inputs = tuple(inputs)
    targets = tuple(name for name in targets if name not in inputs)
    steps = [Step(a, key_of(seed, position, a.kind)) for position, a in enumerate(augmentations)]
    for position, step in enumerate(steps):
        refused = next(_refused(step, source, inputs, targets, labels), None)
        if found := refused or _too_far(step, steps[position:]):
            raise DataError(f"train.augment[{position}]: {step.augmentation.kind}: {found}")
    for mixes, group in groupby(steps, key=lambda step: step.stage == "mix"):
        if not mixes:
            own = list(group)
            names = {name for step in own for name in _varied(step, source, inputs)}
            source = Varied(source, own, [name for name in inputs if name in names])
        for step in group if mixes else ():
            source = Mixed(Soft(source, targets, labels), step, inputs, targets)
    return source


def _pictures(source: Any, names: Iterable[str]) -> list[str]:
    return [n for n in names if source.streams[n].dtype == "float32" and len(source.streams[n].shape) == 3]


def _floats(source: Any, names: Iterable[str]) -> list[str]:
    return [n for n in names if source.streams[n].dtype == "float32"]


def _varied(step: Step, source: Any, inputs: Sequence[str]) -> list[str]:
    """The inputs that an augmentation changes: all floats, or the pictures."""
    return (_floats if step.takes == "numbers" else _pictures)(source, inputs)


def _too_far(step: Step, following: Sequence[Step]) -> str | None:
    """What speaks against erasing with a value that an augmentation behind it would find out of range."""
    value = getattr(step.augmentation, "value", 0) if step.augmentation.kind == "erase" else 0
    bounded = [s.augmentation.kind for s in following if getattr(s.augmentation, "bounded", False)]
    if 0 <= value <= 1 or not bounded:
        return None
    return f"value {value:g} is outside of 0..1, which {bounded[0]} behind it needs; put erase last"


def _refused(
    step: Step, source: Any, inputs: Sequence[str], targets: Sequence[str], labels: Container[str]
) -> Iterator[str]:
    """What speaks against an augmentation of this data."""
    streams = source.streams
    pictures = _pictures(source, inputs)
    shown = ", ".join(f"{n!r} is {streams[n].dtype} {list(streams[n].shape)}" for n in inputs)
    if step.takes == "numbers":
        if not _floats(source, inputs):
            yield f"needs an input of float32 numbers, but {shown}"
    elif not pictures:
        yield f"needs a picture among the inputs, float32 (height, width, channels), but {shown}"
    sizes = {streams[n].shape[:2] for n in pictures}
    if len(sizes) > 1:
        yield f"pictures of one example are varied alike and need equal height and width, but {shown}"
    for name in _varied(step, source, inputs):
        if None in streams[name].shape:
            yield f"input {name!r} has no fixed size, {list(streams[name].shape)}"
        if name in getattr(source, "padded", ()):
            yield f"input {name!r} is padded with zeros, which would be changed, too"
    if step.stage in ("pixels", "affine"):
        for name in targets:
            if streams[name].shape[:2] in sizes:
                yield f"target {name!r} is a picture too, and would not be moved along"
    if step.stage == "mix":
        yield from _unmixable(step, source, inputs, [name for name in targets if name in labels])


def _unmixable(step: Step, source: Any, inputs: Sequence[str], labels: Sequence[str]) -> Iterator[str]:
    streams = source.streams
    if getattr(source, "lengths", None) is not None:
        yield "examples of different lengths cannot be mixed"
    mixable = _floats(source, inputs) if step.takes == "numbers" else _pictures(source, inputs)
    for name in inputs:
        if name not in mixable:
            yield f"input {name!r} cannot be mixed: {streams[name].dtype} {list(streams[name].shape)}"
    for name in labels:
        stream = streams[name]
        if stream.dtype != "float32" and not (stream.shape == () and stream.classes):
            shown = f"{stream.dtype} {list(stream.shape)} without names of classes"
            remedy = f"name them, as the reader arrays does by `classes: {{{name}: 10}}`"
            yield f"target {name!r} cannot be mixed: it is {shown}; {remedy}"
