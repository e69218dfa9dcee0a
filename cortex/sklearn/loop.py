"""The training loop of an estimator: over arrays in memory, writing nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np

from cortex.sklearn.engine import Engine
from cortex.sklearn.recipe import Recipe
from cortex_core.training.feed import Batch, order
from cortex_core.training.nonfinite import explain

Watch = Callable[[float], bool]
"""Told the loss of each epoch; whether to go on."""


def batches(examples: int, size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Which rows each batch has, without end: each epoch in a new random order, one behind the other.

    A batch may hold the end of an epoch and the beginning of the next.  So all batches have one size, no
    example comes twice before all others came once, and one program does.
    """
    left = np.empty(0, np.intp)
    for number in count(epoch):
        rows = np.concatenate([left, order(examples, seed, number)])
        whole = len(rows) - len(rows) % size
        yield from rows[:whole].reshape(-1, size)
        left = rows[whole:]


def train(
    engine: Engine, recipe: Recipe, x: np.ndarray, y: np.ndarray, seed: int, watch: Watch, first: int = 0
) -> None:
    """Trains the numbers of the engine for the epochs of the recipe, or until ``watch`` has seen enough.

    ``first`` is the number of the first epoch, which its order follows from.  Raises `NonFiniteError`, which
    names the layer, where the loss stops being finite.
    """
    options, compiled = recipe.train, engine.training
    size = min(options.batch_size, len(x))
    entry = compiled.entry(compiled.types(size))
    each, steps = -(-len(x) // size), -(-len(x) * options.epochs // size)
    feed = batches(len(x), size, seed, first)
    compiled.reset(entry)
    engine.changed()
    epoch = 0
    for step in range(steps):
        rows = next(feed)
        arrays = {recipe.input.name: x.take(rows, 0), recipe.target: y.take(rows, 0)}
        compiled.set_scalars(entry, _rate(options, step, each, steps))
        compiled.launch(entry, arrays, results=False)
        if compiled.due and compiled.look():
            raise explain(engine.network, Batch(step, arrays, rows), f"epoch {epoch + 1}, step {step + 1}")
        if (step + 1) * size >= (epoch + 1) * len(x):
            epoch += 1
            loss = compiled.totals(entry)["loss"]
            compiled.reset(entry)
            if not watch(loss):
                return


def _rate(options: Any, step: int, each: int, steps: int) -> float:
    base: float = options.optimizer.learning_rate
    return base if options.schedule is None else float(options.schedule.rate(base, step, each, steps))
