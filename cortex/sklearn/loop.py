"""The training loop of an estimator: over arrays in memory, writing nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cortex.sklearn.engine import Engine
from cortex.sklearn.recipe import Recipe
from cortex_compute.frozen import frozen
from cortex_core.training.feed import Batch, order
from cortex_core.training.nonfinite import explain

Watch = Callable[[float], bool]
"""Told the loss of each epoch; whether to go on."""


@frozen
class Batches:
    """Which rows each batch has: those of all epochs, each in a new random order, one behind the other.

    A batch may hold the end of an epoch and the beginning of the next.  They are as few as hold at most
    ``size`` rows, and as equal as can be: so each example comes once in an epoch, no batch is small, and two
    programs do.
    """

    examples: int
    size: int
    seed: int
    epochs: range

    def __len__(self) -> int:
        return -(-self.examples * len(self.epochs) // self.size)

    @property
    def sizes(self) -> list[int]:
        """How many rows each batch has: the first ones may have one more than the others."""
        shorter, longer = divmod(self.examples * len(self.epochs), len(self))
        return [shorter + 1] * longer + [shorter] * (len(self) - longer)

    def __iter__(self) -> Iterator[np.ndarray]:
        rows, epochs = np.empty(0, np.intp), iter(self.epochs)
        for size in self.sizes:
            if len(rows) < size:
                rows = np.concatenate([rows, order(self.examples, self.seed, next(epochs))])
            yield rows[:size]
            rows = rows[size:]


def train(
    engine: Engine, recipe: Recipe, x: np.ndarray, y: np.ndarray, seed: int, watch: Watch, first: int = 0
) -> None:
    """Trains the numbers of the engine for the epochs of the recipe, or until ``watch`` has seen enough.

    ``first`` is the number of the first epoch, which its order follows from.  Raises `NonFiniteError`, which
    names the layer, where the loss stops being finite.
    """
    options, compiled = recipe.train, engine.training
    batches = Batches(len(x), min(options.batch_size, len(x)), seed, range(first, first + options.epochs))
    entries = {size: compiled.entry(compiled.types(size)) for size in sorted({*batches.sizes})}
    compiled.reset(entries[batches.sizes[0]])
    engine.changed()
    epoch = seen = 0
    for step, rows in enumerate(batches):
        entry = entries[len(rows)]
        compiled.set_scalars(entry, _rate(options, step, len(batches)))
        compiled.launch(entry, _given(recipe, x, y, rows), results=False)
        seen += len(rows)
        ended = seen >= (epoch + 1) * len(x)
        if (ended or compiled.due) and (skipped := compiled.look()):
            bad = step + 1 - skipped
            *before, rows = (rows for rows, _ in zip(batches, range(bad + 1)))
            when = f"epoch {sum(map(len, before)) // len(x) + 1}, step {bad + 1}"
            raise explain(engine.network, Batch(bad, _given(recipe, x, y, rows), rows), when)
        if ended:
            epoch += 1
            loss = compiled.totals(entry)["loss"]
            compiled.reset(entry)  # of both programs: they add to the same sums
            if not watch(loss):
                return


def _given(recipe: Recipe, x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {recipe.input.name: x.take(rows, 0), recipe.target: y.take(rows, 0)}


def _rate(options: Any, step: int, steps: int) -> float:
    base: float = options.optimizer.learning_rate
    if options.schedule is None:
        return base
    return float(options.schedule.rate(base, step, steps / options.epochs, steps))
