"""A reader of the tests' own, the smallest that learns something: lines such as ``1.5 -2 red``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import DataError
from cortex_core.registry import base, field
from cortex_core.training.source import Arrays, ArrayStream

Array = np.ndarray[Any, Any]
Find = Callable[[str], Path]
COLUMNS = ("x", "y", "kind")


@base
class Points:
    """Streams: `x` and `y`, standardised; `kind`, the index of a word."""

    file: str | None = field(default=None, doc="lines of a number, a number, a word")
    test: str | None = field(default=None, doc="the lines of the test part")

    def open(self, find: Find) -> PointExamples:
        named = {"train": self.file, "test": self.test}
        made = PointExamples({part: lines(find(name)) for part, name in named.items() if name})
        made.notes = [f"{len(made)} points read"]
        return made

    def read(self, given: Any, find: Find) -> PointExamples:
        rows = lines(find(str(given))) if isinstance(given, (str, Path)) else given
        return PointExamples({"train": [dict(row) for row in rows]})

    def restore(self, state: Mapping[str, Any]) -> PointEncoding:
        try:
            x, y = ((float(a), float(b)) for a, b in (state["x"], state["y"]))
            return PointEncoding(x, y, tuple(map(str, state["kinds"])))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"these are no points: {error!r}") from None


class PointExamples:
    def __init__(self, parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self.rows = [row for rows in parts.values() for row in rows]
        ends = np.cumsum([0, *map(len, parts.values())])
        self.parts = {part: np.arange(ends[i], ends[i + 1]) for i, part in enumerate(parts)}
        self.notes: list[str] = []

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> Array:
        if any(name not in row for row in self.rows):
            raise DataError(f"the points have no column {name!r}")
        return np.array([row[name] for row in self.rows])

    def learn(self, rows: Array, inputs: Sequence[str], targets: Sequence[str]) -> PointEncoding:
        x, y, kind = (self.column(name)[rows] for name in COLUMNS)
        scales = (float(x.mean()), float(x.std())), (float(y.mean()), float(y.std()))
        return PointEncoding(*scales, tuple(sorted(set(kind.tolist()))))


class PointEncoding:
    notes = ("x and y are standardised",)

    def __init__(self, x: tuple[float, float], y: tuple[float, float], kinds: tuple[str, ...]) -> None:
        self.scales, self.kinds = {"x": x, "y": y}, kinds
        self.streams = {name: ArrayStream(np.empty((0, 1), np.float32)) for name in self.scales}
        self.streams["kind"] = ArrayStream(np.empty(0, np.int64))
        self.streams["kind"].classes = kinds

    def state(self) -> dict[str, Any]:
        return {**self.scales, "kinds": self.kinds}

    def encode(self, examples: PointExamples, rows: Array, names: Sequence[str]) -> Arrays:
        arrays: dict[str, Array] = {}
        far = 0
        for name in names:
            values = examples.column(name)[rows]
            if name == "kind":
                arrays[name] = np.searchsorted(self.kinds, values)
                continue
            centre, spread = self.scales[name]
            arrays[name] = ((values - centre) / spread).astype(np.float32)[:, None]
            far += int((abs(arrays[name]) > 100).sum())
        source = Arrays(arrays)
        source.streams = {name: self.streams[name] for name in names}
        source.notes = [f"{far} numbers far away"] if far else []  # type: ignore[attr-defined]
        return source

    def decode(self, name: str, values: Array) -> Array:
        if name == "kind":
            return np.array(self.kinds)[values]
        centre, spread = self.scales[name]
        return np.asarray(values * spread + centre, np.float64)


def lines(path: Path) -> list[dict[str, Any]]:
    """The points of a file."""
    cells = [line.split() for line in path.read_text().splitlines()]
    return [{"x": float(x), "y": float(y), "kind": kind} for x, y, kind in cells]


def save(path: Path, count: int = 40, seed: int = 0, scale: float = 100.0) -> list[dict[str, Any]]:
    """Points of y = ``scale`` (3 x + 1), red above 0 and blue below."""
    xs = np.random.default_rng(seed).normal(size=count).round(3).tolist()
    path.write_text("".join(f"{x} {scale * (3 * x + 1):.9g} {'red' if x > 0 else 'blue'}\n" for x in xs))
    return lines(path)


def telling(data: Any = "points.dots", **train: Any) -> dict[str, Any]:
    """A network that tells the kind of a point."""
    return {
        "name": "kinds",
        "inputs": {"x": "auto"},
        "layers": [{"dense": {"units": 4, "activation": "tanh"}}, {"dense": {"units": 2, "id": "out"}}],
        "loss": {"softmax_cross_entropy": {"of": "out", "target": "kind"}},
        "train": {"data": data, "batch_size": 8, "epochs": 1, **train},
    }


def fitting(data: Any = "points.dots", **train: Any) -> dict[str, Any]:
    """A linear regression."""
    return {
        "name": "line",
        "inputs": {"x": "auto"},
        "layers": [{"dense": {"units": 1, "id": "out"}}],
        "loss": {"mse": {"of": "out", "target": "y"}},
        "train": {"data": data, "batch_size": 8, "epochs": 1, **train},
    }
