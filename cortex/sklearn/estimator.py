"""What both estimators are: parameters, training and prediction over arrays, state as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from sklearn.utils import check_random_state  # type: ignore[import-untyped]
from sklearn.utils.validation import check_is_fitted, validate_data  # type: ignore[import-untyped]

from cortex.sklearn.engine import Arrays, Engine, lent, read_only
from cortex.sklearn.loop import train
from cortex.sklearn.recipe import ACTIVATION, HIDDEN, Recipe, Task, check_network, make, recipe_of
from cortex_core.network import Network

SEEDS = 2**31


class CortexEstimator(BaseEstimator):  # type: ignore[misc]
    """The base of `CortexClassifier` and `CortexRegressor`; these say what the parameters mean.

    What it learns is plain: arrays, numbers and text.  ``_going``: of `partial_fit`, what the next one goes
    on with.  ``_recipe``: the description, read; no part of what is pickled.
    """

    weights_: Arrays
    description_: dict[str, Any]
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    _going: dict[str, Any] | None
    _recipe: Recipe

    def __init__(
        self,
        hidden_layer_sizes: Any = HIDDEN,
        *,
        activation: Any = ACTIVATION,
        description: Any = None,
        optimizer: Any = None,
        learning_rate: float | None = None,
        schedule: Any = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        warm_start: bool = False,
        random_state: Any = None,
        backend: str = "auto",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.description = description
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.warm_start = warm_start
        self.random_state = random_state
        self.backend = backend

    @property
    def network_(self) -> Network:
        """A `cortex.Network` of its own with what was learned: to save, draw, export, or train on."""
        check_is_fitted(self)
        network = Network(self._ready().description)
        for name, array in self.weights_.items():
            network.store.write(name, array)
        return network

    def _fit(self, x: np.ndarray, y: np.ndarray, task: Task) -> None:
        """A whole training on examples that are validated: from the start, or with ``warm_start`` from the
        weights that are there."""
        recipe = make(self, x.shape, task)
        draws = check_random_state(self.random_state)
        seed = int(draws.randint(SEEDS))
        start = getattr(self, "weights_", None) if self.warm_start else None
        x, y, held = self._held_out(x, y, draws)
        with self._lent(recipe, task, seed, start) as engine:
            score = None if held is None else partial(self._score_of, engine, recipe, *held)
            progress = Progress(engine, score, self.patience)
            train(engine, recipe, recipe.examples(x), y, seed, progress.watch)
            self.weights_ = progress.best or engine.weights()
        self._keep(recipe, progress.losses)
        self._going, self.validation_scores_ = None, progress.scores or None

    def _partial_fit(self, x: np.ndarray, y: np.ndarray, task: Task) -> None:
        """One pass over examples that are validated, going on where the last one ended."""
        if self.early_stopping:
            raise ValueError("early_stopping is True, which partial_fit cannot do: it never sees all data")
        recipe = make(self, x.shape, task, once=True)
        going = getattr(self, "_going", None)
        seed = going["seed"] if going else int(check_random_state(self.random_state).randint(SEEDS))
        passes = going["passes"] if going else 0
        with self._lent(recipe, task, seed, getattr(self, "weights_", None)) as engine:
            if going:
                engine.resume(going)
            progress = Progress(engine, None, self.patience)
            train(engine, recipe, recipe.examples(x), y, seed, progress.watch, first=passes)
            self.weights_ = engine.weights()
            self._going = {**engine.moments(), "seed": seed, "passes": passes + 1}
        self._keep(recipe, [*getattr(self, "loss_curve_", []), *progress.losses])
        self.validation_scores_ = None

    @contextmanager
    def _lent(self, recipe: Recipe, task: Task, seed: int, start: Any) -> Iterator[Engine]:
        """An engine with new numbers, or with those of ``start``."""
        with lent(recipe, self.backend) as engine:
            check_network(engine.network, task)
            engine.draw(seed)
            if start is not None:
                self._check_same(engine, start)
                engine.load(start)
            yield engine

    def _keep(self, recipe: Recipe, losses: list[float]) -> None:
        self._recipe = recipe
        self.description_ = recipe.description.canonical
        self.loss_curve_, self.loss_, self.n_iter_ = losses, losses[-1], len(losses)

    def _outputs(self, given: Any) -> np.ndarray:
        """What the network gives for each example, in float64: (examples, outputs)."""
        check_is_fitted(self)
        x = validate_data(self, given, reset=False, dtype=np.float32, order="C")
        recipe = self._ready()
        with lent(recipe, self.backend) as engine:
            engine.load(self.weights_)
            return engine.predict(recipe.examples(x)).astype(np.float64)

    def _ready(self) -> Recipe:
        """The recipe that the weights are of; what was unpickled reads it anew."""
        if not hasattr(self, "_recipe"):
            self._recipe = recipe_of(self.description_)
        return self._recipe

    def _held_out(self, x: np.ndarray, y: np.ndarray, draws: Any) -> tuple[Any, Any, Any]:
        """What is trained on, and what early stopping looks at, if anything."""
        if not self.early_stopping:
            return x, y, None
        labels, fraction = y if y.ndim == 1 else None, self.validation_fraction
        try:
            parts = train_test_split(x, y, test_size=fraction, random_state=draws, stratify=labels)
        except ValueError as error:
            told = f"early_stopping cannot hold out a validation_fraction of {fraction} of {len(x)} examples"
            why = str(error).rstrip(".")
            raise ValueError(f"{told}: {why}. Give another fraction, or early_stopping=False") from None
        return np.ascontiguousarray(parts[0]), parts[2], (parts[1], parts[3])

    def _score_of(self, engine: Engine, recipe: Recipe, x: np.ndarray, y: np.ndarray) -> float:
        return self._score(engine.predict(recipe.examples(x)), y)

    def _score(self, outputs: np.ndarray, y: np.ndarray) -> float:
        """How good the outputs are for examples that were held out; more is better."""
        raise NotImplementedError

    def _check_same(self, engine: Engine, weights: Mapping[str, np.ndarray]) -> None:
        """Raises ValueError where weights are those of another network."""
        has = {**engine.network.parameters, **engine.network.variables}
        now, then = ({n: a.shape for n, a in found.items()} for found in (has, weights))
        if now != then:
            raise ValueError(
                "the layers have changed since the last fit, whose weights this one would go on with: "
                "fit with warm_start=False"
            )

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        state = {name: value for name, value in state.items() if name != "_recipe"}
        return {**state, "weights_": dict(state["weights_"])} if "weights_" in state else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrays of a pickle, or of a copy, can be written into until here."""
        super().__setstate__(state)
        if "weights_" in state:
            self.weights_ = read_only(state["weights_"])


class Progress:
    """The losses of the epochs; with ``score`` their scores, and the weights of the best."""

    def __init__(self, engine: Engine, score: Callable[[], float] | None, patience: int) -> None:
        self.engine, self.score, self.patience = engine, score, patience
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best: Arrays | None = None

    def watch(self, loss: float) -> bool:
        """Takes down an epoch; whether to go on."""
        self.losses.append(loss)
        if self.score is None:
            return True
        score = self.score()
        if score > max(self.scores, default=-np.inf):
            self.best = self.engine.weights()
        self.scores.append(score)
        return len(self.scores) - int(np.argmax(self.scores)) <= self.patience
