"""The training loop of an estimator: over arrays in memory, writing nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice
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

    def given(rows: np.ndarray) -> dict[str, np.ndarray]:
        return {recipe.input.name: x.take(rows, 0), recipe.target: y.take(rows, 0)}

    options, compiled = recipe.train, engine.training
    size = min(options.batch_size, len(x))
    entry = compiled.entry(compiled.types(size))
    each, steps = -(-len(x) // size), -(-len(x) * options.epochs // size)
    compiled.reset(entry)
    engine.changed()
    epoch = 0
    for step, rows in enumerate(islice(batches(len(x), size, seed, first), steps)):
        compiled.set_scalars(entry, _rate(options, step, each, steps))
        compiled.launch(entry, given(rows), results=False)
        ended = (step + 1) * size >= (epoch + 1) * len(x)
        if (ended or compiled.due) and (skipped := compiled.look()):
            bad = step + 1 - skipped
            rows = next(islice(batches(len(x), size, seed, first), bad, None))
            when = f"epoch {bad * size // len(x) + 1}, step {bad + 1}"
            raise explain(engine.network, Batch(bad, given(rows), rows), when)
        if ended:
            epoch += 1
            loss = compiled.totals(entry)["loss"]
            compiled.reset(entry)
            if not watch(loss):
                return


def _rate(options: Any, step: int, each: int, steps: int) -> float:
    base: float = options.optimizer.learning_rate
    return base if options.schedule is None else float(options.schedule.rate(base, step, each, steps))
