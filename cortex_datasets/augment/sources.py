"""The sources that vary examples: `Varied` changes each alone, `Mixed` mixes two, `Soft` prepares labels.

Each wraps another source and remembers, also after ``select``, which row an example had there: what is drawn
for it does not depend on the part it is in.  The partners of `Mixed` come from the part alone, so there it
depends on the part who they are.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.augment.draw import Array, Draws, draw
from cortex_datasets.augment.resample import Bank, Taps, chained, copy_pixels, pixel_index
from cortex_datasets.source import Stream

BLOCK_BYTES = 512 * 1024  # examples worked on at a time: they stay in the level-2 cache from step to step

Steps = Sequence[tuple[Any, Draws]]


class Step:
    """One augmentation of the list, and the key of its random numbers."""

    def __init__(self, augmentation: Any, key: Array) -> None:
        self.augmentation, self.key = augmentation, key
        self.stage: str = getattr(augmentation, "stage", "values")
        self.takes: str = getattr(augmentation, "takes", "pictures")


class Wrapped:
    """A source that changes what another one gives.  ``samples``: by which numbers draws know its rows."""

    fixed = False  # every epoch sees other examples

    def __init__(self, source: Any) -> None:
        self.source = source
        self.streams: Mapping[str, Any] = source.streams
        self.notes: Sequence[str] = getattr(source, "notes", ())
        self.samples = np.arange(len(source))

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def lengths(self) -> Array | None:
        """The padded length of each example, where they differ."""
        return getattr(self.source, "lengths", None)

    def select(self, indices: Array) -> Any:
        """The examples ``indices``, in that order, each varied as before."""
        part = copy.copy(self)
        part.source, part.samples = self.source.select(indices), self.samples.take(indices)
        part._allocate()
        return part

    def _allocate(self) -> None:
        """Scratch memory, of each part its own."""

    def _block(self, names: Sequence[str]) -> int:
        """How many examples of these streams are worked on at a time."""
        values = sum(math.prod(self.streams[name].shape) for name in names)
        return max(1, BLOCK_BYTES // int(4 * max(1, values)))


class Varied(Wrapped):
    """Applies augmentations, one after the other, to the streams ``names``: those that take pictures to the
    pictures among them alone.

    Neighbours that move whole pixels are one copy, neighbours that are affine maps with the same fill one
    resampling.
    """

    def __init__(self, source: Any, steps: Sequence[Step], names: Sequence[str]) -> None:
        super().__init__(source)
        self.steps, self.names = steps, tuple(names)
        self.pictures = [name for name in names if len(self.streams[name].shape) == 3]
        self.stages = [list(group) for _, group in groupby(enumerate(steps), key=_mergeable)]
        self.moves = sum(group[0][1].stage != "values" for group in self.stages)
        self._allocate()

    def _allocate(self) -> None:
        """Every move reads a bank and writes the next one, the last one writes the batch."""
        self.count = self._block(self.names)
        self.banks = {
            name: [Bank(self.count, self.streams[name].shape) for _ in range(min(2, self.moves))]
            for name in self.pictures
        }
        if self.moves:
            self.size = self.streams[self.pictures[0]].shape[:2]
        if any(step.stage == "affine" for step in self.steps):
            self.taps = Taps(self.count, *self.size)

    def gather(self, indices: Array, out: Mapping[str, Array], *, epoch: int = 0) -> None:
        """Writes rows ``indices`` of each stream named in ``out``, as ``epoch`` sees them."""
        same = {name: array for name, array in out.items() if name not in self.names}
        varied = {name: array for name, array in out.items() if name in self.names}
        if same:
            self.source.gather(indices, same, epoch=epoch)
        if not varied:
            return
        draws = draw([step.key for step in self.steps], self.samples.take(indices), epoch)
        for span in spans(len(indices), self.count):
            parts = [d.part(span) for d in draws]
            self._vary(indices[span], {n: a[span] for n, a in varied.items()}, parts, epoch)

    def _vary(self, indices: Array, out: Mapping[str, Array], draws: Sequence[Draws], epoch: int) -> None:
        moved, count = 0, len(indices)
        pictures = {name: array for name, array in out.items() if name in self.pictures}
        others = {name: array for name, array in out.items() if name not in self.pictures}
        banks, current = self._place(pictures, moved, count)
        self.source.gather(indices, {**current, **others}, epoch=epoch)
        for group in self.stages:
            steps = [(step.augmentation, draws[index]) for index, step in group]
            stage = group[0][1].stage
            if stage == "values":
                self._change(group[0][1], draws[group[0][0]], {**current, **others})
                continue
            if not pictures:
                continue
            moved += 1
            following, targets = self._place(pictures, moved, count)
            move = self._copy if stage == "pixels" else self._resample
            move(steps, banks, targets)
            banks, current = following, targets

    def _place(
        self, out: Mapping[str, Array], moved: int, count: int
    ) -> tuple[dict[str, Bank], dict[str, Array]]:
        """Where the examples lie after so many moves."""
        if moved == self.moves:
            return {}, dict(out)
        banks = {name: self.banks[name][moved % 2] for name in out}
        return banks, {name: bank.pictures[:count] for name, bank in banks.items()}

    def _change(self, step: Step, draws: Draws, current: Mapping[str, Array]) -> None:
        augmentation = step.augmentation
        for name, examples in current.items():
            picture = name in self.pictures
            if step.takes != "numbers" and not picture:
                continue
            bounded = picture and getattr(augmentation, "bounded", False)
            if bounded:
                _check_range(augmentation, name, examples, draws.samples)
            augmentation.apply(draws.again(self.names.index(name)), examples)
            if bounded:
                np.clip(examples, 0, 1, out=examples)

    def _copy(self, steps: Steps, banks: Mapping[str, Bank], targets: Mapping[str, Array]) -> None:
        (first, numbers), *others = steps
        rows, columns = first.apply(numbers, *self.size)
        for augmentation, numbers in others:
            later_rows, later_columns = augmentation.apply(numbers, *self.size)
            rows, columns = chained(rows, later_rows), chained(columns, later_columns)
        index = pixel_index(rows, columns, next(iter(banks.values())))
        for name, target in targets.items():
            copy_pixels(banks[name], index, target)

    def _resample(self, steps: Steps, banks: Mapping[str, Bank], targets: Mapping[str, Array]) -> None:
        (first, numbers), *others = steps
        maps = first.apply(numbers, *self.size)
        for augmentation, numbers in others:
            maps = maps @ augmentation.apply(numbers, *self.size)
        self.taps.aim(maps, first.fill)
        for name, target in targets.items():
            self.taps.read(banks[name].pictures[: len(target)], target)


def _mergeable(numbered: tuple[int, Step]) -> tuple[Any, ...]:
    """What neighbours have in common that are worked on together."""
    index, step = numbered
    if step.stage == "pixels":
        return ("pixels",)
    return ("affine", step.augmentation.fill) if step.stage == "affine" else ("values", index)


def _check_range(augmentation: Any, name: str, pictures: Array, samples: Array) -> None:
    low, high = pictures.min(), pictures.max()
    if low >= -1e-3 and high <= 1.001:  # resampling rounds
        return
    bad = (pictures < -1e-3) | (pictures > 1.001)
    row = samples[bad.reshape(len(pictures), -1).any(axis=1).argmax()]
    raise DataError(
        f"train.augment: {augmentation.kind} needs pictures in 0..1, but in example {row} {name!r} reaches "
        f"from {low:g} to {high:g}; scale it, or leave {augmentation.kind} out"
    )


class Soft(Wrapped):
    """The streams ``targets`` as float32: of ``labels``, class indices as probabilities (classes,), of others
    the numbers as they are."""

    def __init__(self, source: Any, targets: Sequence[str], labels: Container[str]) -> None:
        super().__init__(source)
        given = source.streams
        self.whole = [name for name in targets if given[name].dtype != "float32"]
        self.labels = [name for name in self.whole if name in labels]
        soft = {n: (len(given[n].classes),) if n in self.labels else given[n].shape for n in self.whole}
        self.streams = {**given, **{name: Stream(shape, "float32") for name, shape in soft.items()}}

    def gather(self, indices: Array, out: Mapping[str, Array], *, epoch: int = 0) -> None:
        """Writes rows ``indices`` of each stream named in ``out``."""
        given, count = self.source.streams, len(indices)
        whole = {n: np.empty((count, *given[n].shape), np.int64) for n in out if n in self.whole}
        self.source.gather(indices, {**out, **whole}, epoch=epoch)
        for name, numbers in whole.items():
            target = out[name][:count]
            if name in self.labels:
                target.fill(0)
                target[np.arange(count), numbers] = 1
            else:
                target[...] = numbers


class Mixed(Wrapped):
    """Mixes each example with a partner, drawn from this source, in ``inputs`` and ``targets``.

    The partner is gathered from the same source, so that it is varied as itself.  A box is pasted into each
    input, and into targets of the same height and width; other targets are blended.
    """

    def __init__(self, source: Any, step: Step, inputs: Sequence[str], targets: Sequence[str]) -> None:
        super().__init__(source)
        self.step, self.mixed = step, (*inputs, *targets)
        shapes = [self.streams[name].shape for name in inputs]
        self.size = next((shape[:2] for shape in shapes if len(shape) == 3), (1, 1))
        self._allocate()

    def _allocate(self) -> None:
        self.count = self._block(self.mixed)
        self.partners = {
            name: np.empty((self.count, *self.streams[name].shape), np.float32) for name in self.mixed
        }

    def gather(self, indices: Array, out: Mapping[str, Array], *, epoch: int = 0) -> None:
        """Writes rows ``indices`` of each stream named in ``out``, as ``epoch`` sees them."""
        self.source.gather(indices, out, epoch=epoch)
        mine = {name: array for name, array in out.items() if name in self.mixed}
        (numbers,) = draw([self.step.key], self.samples.take(indices), epoch)
        for span in spans(len(indices) if mine else 0, self.count):
            self._mix({n: a[span] for n, a in mine.items()}, numbers.part(span), epoch)

    def _mix(self, mine: Mapping[str, Array], numbers: Draws, epoch: int) -> None:
        partners = numbers.below(len(self))
        share, boxes = self.step.augmentation.apply(numbers, *self.size)
        if (share == 1).all():
            return
        others = {name: self.partners[name][: len(numbers)] for name in mine}
        self.source.gather(partners, others, epoch=epoch)
        for name, examples in mine.items():
            if boxes is not None and self.streams[name].shape[:2] == self.size:
                for own, other, y0, y1, x0, x1 in zip(examples, others[name], *boxes):
                    own[y0:y1, x0:x1] = other[y0:y1, x0:x1]
            else:
                blend(examples, others[name], share)


def blend(mine: Array, other: Array, share: Array) -> None:
    """``mine`` = share mine + (1 - share) other, example by example; ``other`` is used up."""
    weight = share.astype(np.float32)[:, None]
    mine, other = mine.reshape(len(share), -1), other.reshape(len(share), -1)
    mine *= weight
    other *= 1 - weight
    mine += other


def spans(count: int, size: int) -> Iterator[slice]:
    """0 .. count - 1 in pieces of at most ``size``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
