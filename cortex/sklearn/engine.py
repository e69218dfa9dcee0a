"""Compiled networks that are lent to one estimator after the other.

To compile the step of a small network takes as long as a hundred steps.  The fits of a cross-validation, or
of a search, train networks that differ in their numbers alone: so they take turns with the same programs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np

from cortex.sklearn.recipe import Recipe
from cortex_compute.backends import get
from cortex_core.compiled import Compiled
from cortex_core.declared import KEY
from cortex_core.network import Network
from cortex_core.predict import predict

Arrays = Mapping[str, np.ndarray]
KEPT = 8  # networks that wait for the next estimator
KEPT_BYTES = 2**28  # together, but for the last one
ROWS = (32, 256)
"""Examples are predicted so many at once: few programs are made, and the numbers of an example depend little
on how many others are predicted with it."""


class Engine:
    """A network, its programs, and whose numbers it has."""

    def __init__(self, recipe: Recipe, backend: str) -> None:
        self.key = recipe.key, get(backend)
        self.backend = backend
        self.network = Network(recipe.description)
        self.training = Compiled(self.network, get(backend), "train", halting=True)
        self._holds: Arrays | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are kept with it."""
        return self.network.store.nbytes + self.network.store.arena.nbytes

    def draw(self, seed: int) -> None:
        """Draws new numbers."""
        self.changed()
        self.network.initialize(seed)

    def load(self, weights: Arrays) -> None:
        """Takes over the numbers of an estimator, where it has others."""
        if self._holds is weights:
            return
        for name, array in weights.items():
            self.network.store.write(name, array)
        self._holds = weights

    def weights(self) -> Arrays:
        """Copies of all parameters and running statistics, by name."""
        names = [*self.network.parameters, *self.network.variables]
        return read_only({name: self.network.store.array(name).copy() for name in names})

    def changed(self) -> None:
        """Says that the numbers are nobody's: they are being trained."""
        self._holds = None

    def moments(self) -> dict[str, Any]:
        """What a training needs, beside the weights, to go on: moments, random key, step."""
        store = self.network.store
        arrays = {f"{moment} of {name}": store.array(name, moment).copy() for name, moment in self._moments()}
        return {"arrays": arrays, "key": store.array(KEY).copy(), "step": self.network.step}

    def resume(self, moments: Mapping[str, Any]) -> None:
        """Goes on where `moments` were taken."""
        store = self.network.store
        for name, moment in self._moments():
            store.write(name, moments["arrays"][f"{moment} of {name}"], moment)
        store.write(KEY, moments["key"])
        self.network.step = moments["step"]

    def _moments(self) -> Iterator[tuple[str, str]]:
        for name, slot in self.network.slots.items():
            for moment in self.network.training.optimizer.state if slot.segment.trainable else ():
                yield name, moment

    def predict(self, examples: np.ndarray) -> np.ndarray:
        """What the network gives for each example."""
        count = len(examples)
        size = ROWS[0] if count <= ROWS[0] else ROWS[1]
        if count < size:  # of more, `predict` pads the last batch
            padding = np.zeros((size - count, *examples.shape[1:]), examples.dtype)
            examples = np.concatenate([examples, padding])
        given = {self.network.description.inputs[0].name: examples}
        found: np.ndarray = predict(self.network, given, size, backend=self.backend)
        return found[:count]


def read_only(arrays: Arrays) -> Arrays:
    """The same arrays, in which nothing can be changed: an engine knows by them what it holds."""
    for array in arrays.values():
        array.flags.writeable = False
    return MappingProxyType(dict(arrays))


_idle: list[Engine] = []  # the one that was used last stands last
_lock = threading.Lock()


@contextmanager
def lent(recipe: Recipe, backend: str) -> Iterator[Engine]:
    """An engine that nobody else has for as long; after an error it is not lent again."""
    key = recipe.key, get(backend)
    with _lock:
        found = next((engine for engine in reversed(_idle) if engine.key == key), None)
        if found is not None:
            _idle.remove(found)
    engine = Engine(recipe, backend) if found is None else found
    yield engine
    with _lock:
        _idle.append(engine)
        while len(_idle) > KEPT or (len(_idle) > 1 and sum(e.nbytes for e in _idle) > KEPT_BYTES):
            _idle.pop(0)
