"""What was learned of pictures: their size, and the classes of their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets.source import ArraySource, Stream

Array = np.ndarray[Any, Any]
IMAGE = "image"
LARGEST = float(np.finfo(np.float32).max)


class PictureEncoding:
    """The shape of a picture, the classes of each column of labels, and the columns of numbers."""

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: Mapping[str, tuple[str, ...]],
        numbers: Sequence[str],
        notes: Sequence[str] = (),
    ) -> None:
        self.shape, self.classes, self.numbers, self.notes = shape, dict(classes), tuple(numbers), notes
        self.streams: dict[str, Stream] = {IMAGE: Stream(shape, "float32")}
        self.streams |= {name: Stream((), "int64", names) for name, names in self.classes.items()}
        self.streams |= {name: Stream((1,), "float32") for name in self.numbers}

    def state(self) -> dict[str, Any]:
        """Plain data for a model file."""
        classes = {name: list(names) for name, names in self.classes.items()}
        return {"shape": list(self.shape), "classes": classes, "numbers": list(self.numbers)}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> PictureEncoding:
        """The same from its plain data.  Raises DataError where they are damaged."""
        try:
            shape, classes, numbers = state["shape"], dict(state["classes"]), state["numbers"]
            lists = [shape, numbers, *classes.values()]
            texts = [*classes, *numbers, *(text for names in classes.values() for text in names)]
            good = all(isinstance(x, list) for x in lists) and all(isinstance(x, str) for x in texts)
            good = good and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            raise DataError("what the model file says of its pictures is damaged; take another copy of it")
        return cls(tuple(shape), {name: tuple(names) for name, names in classes.items()}, numbers)

    def encode(self, examples: Any, rows: Array, names: Sequence[str]) -> ArraySource:
        """The streams ``names`` of some examples.

        Raises DataError for pictures of another size, a class that the training part does not have, and a
        cell that holds no number.
        """
        if IMAGE in names and examples.pixels.shape[1:] != self.shape:
            raise DataError(f"pictures are {_size(examples.pixels.shape[1:])}, expected {_size(self.shape)}")
        files = examples.kept[rows]
        arrays: dict[str, Array] = {}
        for name in names:
            if name == IMAGE:
                arrays[name] = examples.pixels
            else:
                texts = examples.texts(name, rows)
                arrays[name] = np.zeros(
                    (len(examples.pixels), *self.streams[name].shape), self.streams[name].dtype
                )
                arrays[name][files] = self._numbers(name, texts, examples, files)
        served = {IMAGE: "float32"} if examples.pixels.dtype.kind == "f" and IMAGE in names else {}
        return ArraySource(arrays, self.classes, served=served).select(files)

    def without(self, names: Sequence[str]) -> PictureEncoding:
        """The same but for the columns ``names``, of which nothing is known then."""
        classes = {name: known for name, known in self.classes.items() if name not in names}
        numbers = [name for name in self.numbers if name not in names]
        return PictureEncoding(self.shape, classes, numbers, self.notes)

    def completed(self, learned: PictureEncoding, names: Sequence[str]) -> PictureEncoding:
        """The same, and the columns ``names`` as another one learned them."""
        classes = {name: known for name, known in learned.classes.items() if name in names}
        numbers = [name for name in learned.numbers if name in names]
        return PictureEncoding(self.shape, {**self.classes, **classes}, [*self.numbers, *numbers], self.notes)

    def resized(self, name: str, shape: tuple[int, ...]) -> PictureEncoding:
        """The same of pictures of another size."""
        return PictureEncoding(shape, self.classes, self.numbers, self.notes)

    def _numbers(self, name: str, texts: Array, examples: Any, files: Array) -> Array:
        """The cells of a column as classes or as numbers."""
        if name in self.classes:
            index = {text: i for i, text in enumerate(self.classes[name])}
            made = np.array([index.get(text, -1) for text in texts.tolist()])
            for i in np.flatnonzero(made < 0):
                told = f"{examples.listing.place(int(files[i]))}: {name!r} is {str(texts[i])!r}"
                known = ", ".join(self.classes[name])
                raise DataError(f"{told}, as no picture of the training part; there are {known}")
            return made
        return np.array([[_number(t, name, examples, f)] for t, f in zip(texts.tolist(), files)], np.float32)

    def decode(self, name: str, values: Array) -> Array:
        """Classes by name, numbers as (examples,), pixels as uint8."""
        if name in self.classes:
            return np.array(self.classes[name])[values]
        return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8) if name == IMAGE else values[..., 0]


def _number(text: str, name: str, examples: Any, file: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:  # nor NaN
        where = examples.listing.place(int(file))
        raise DataError(f"{where}: {name!r} is {text!r}, expected a number of float32")
    return value


def _size(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height} x {width} with {channels} channel{'s' * (channels != 1)}"
