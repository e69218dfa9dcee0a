"""What an estimator trains: its parameters and the shape of its data become a description, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np

from cortex_compute.errors import SpecError
from cortex_core.network import Network, with_train
from cortex_core.registry import OPTIMIZERS, Invalid, Named, unfold
from cortex_core.schedules import ReduceOnPlateau
from cortex_core.spec import Description, inspect, read
from cortex_core.spec.description import InputNode
from cortex_core.streams import CHOICES, SCALED
from cortex_core.training.data import pinned
from cortex_core.training.setup import check_learning

HIDDEN, ACTIVATION = (100,), "relu"
PEAK, DECAY, BATCH = 0.01, 0.3, 64
EPOCHS, STEPS = 30, 100  # of a fit, and the fewest steps that it has
"""How a network is trained of which nobody says it: one cycle of a large rate reaches in 30 epochs what a
small constant one takes a hundred for (Smith and Topin, 2019).

They hold up beside the digits and wine of the benchmark.  On breast_cancer, iris, moons and two sets of
make_classification (three folds each), a third or three times the rate, 0 or 1 for the decay, half or twice
the epochs are at best 1.6 points of accuracy better (3.2 on seven classes, with the decay 1); a lower rate or
fewer epochs are up to 6.7 points worse, on iris.
"""
STEADY = 0.001  # the rate of `partial_fit`, which knows no end and has no cycle
CONSTANT = "constant"
NO_END = "partial_fit does not know how many steps will come: expected constant"
REPLACED: dict[str, Any] = {
    "data": None,
    "test": None,
    "validation": None,
    "fold": None,
    "metrics": [],
    "seed": 0,
}
"""Options of a description in whose place stand X and y, validation_fraction, `score` and random_state."""


@dataclass(frozen=True)
class Task:
    """What is learned of X and y.

    ``losses``: the losses that can learn it; the first is taken where a description has none.  ``outputs``:
    how many numbers the network gives for an example, one for each of ``noun``.
    """

    losses: tuple[str, ...]
    outputs: int
    noun: str


def classes(count: int) -> Task:
    """The task to tell so many classes apart."""
    return Task(CHOICES, count, "the classes")


def targets(count: int) -> Task:
    """The task to predict so many numbers."""
    return Task(SCALED, count, "the targets")


@dataclass(frozen=True)
class Recipe:
    """A description that suits an estimator's data: one input, one target, one output."""

    description: Description

    @property
    def input(self) -> InputNode:
        return self.description.inputs[0]

    @cached_property
    def target(self) -> str:
        """The stream that the losses read."""
        return next(name for name in self.description.loss_streams if name != self.input.name)

    @property
    def train(self) -> Any:
        return self.description.train

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Equal where the same programs serve: the rate, and what the loop does with them, are left out."""
        data, options = dict(self.description.canonical), self.train
        optimizer = replace(options.optimizer, learning_rate=1.0)
        data["train"] = [repr(x) for x in (options.clip_norm, options.clip_value, options.precision)]
        named = [*(x.layer for x in self.description.layers), *(x.loss for x in self.description.losses)]
        return json.dumps(data, sort_keys=True), optimizer, tuple(map(type, named))

    def examples(self, x: np.ndarray) -> np.ndarray:
        """Rows of features (n, features) in the shape of the input."""
        return x.reshape(len(x), *self.input.shape)  # type: ignore[misc]


def recipe_of(canonical: Mapping[str, Any]) -> Recipe:
    """The recipe that `make` wrote down as ``description.canonical``."""
    return Recipe(read(canonical))


def make(estimator: Any, shape: tuple[int, int], task: Task, once: bool = False) -> Recipe:
    """What an estimator with these parameters trains on data of this shape, (examples, features).

    ``once``: for one pass over a part of the data, of which there will be more, at a constant rate.  Raises
    `SpecError` with each parameter that is wrong.
    """
    examples, features = shape
    wrong = list(_wrong(estimator))
    names = ("optimizer", "schedule", "batch_size", "epochs")
    changes = {name: plain(getattr(estimator, name)) for name in names}
    changes = {name: value for name, value in changes.items() if value is not None}
    rate = plain(estimator.learning_rate)
    if once and changes.get("schedule", CONSTANT) != CONSTANT:
        wrong.append(f"schedule is {changes['schedule']!r:.60}: {NO_END}")
    if estimator.description is None:
        data = {
            "inputs": {"x": [features]},
            "layers": list(_layers(estimator, task.outputs)),
            "loss": {task.losses[0]: {"of": "output", "target": "y"}},
            "train": _options(defaults(examples, changes, once), changes, rate, once),
        }
        made, problems = inspect(data)
        _report([*wrong, *map(str, problems)])
        assert made is not None  # or there were problems
        return Recipe(made)
    _report(wrong)
    description = _completed(_read(estimator.description), features, task)
    _report(_misfits(description, features, task))
    own = description.canonical.get("train") or defaults(examples, changes, once)
    description = with_train(description, **_options({**own, **REPLACED}, changes, rate, once))
    _report(_unsuited(description.train, once))
    return Recipe(description)


def defaults(examples: int, changes: Mapping[str, Any], once: bool) -> dict[str, Any]:
    """The options of a training of which nobody says them."""
    optimizer = {"adamw": {"learning_rate": STEADY if once else PEAK, "weight_decay": DECAY}}
    schedule = CONSTANT if once else "one_cycle"
    size = changes.get("batch_size", BATCH)
    fewest = -(-STEPS * min(size, examples) // examples) if isinstance(size, int) else 0
    epochs = max(EPOCHS, fewest)
    return {"optimizer": optimizer, "schedule": schedule, "batch_size": BATCH, "epochs": epochs}


def _options(own: Mapping[str, Any], changes: Mapping[str, Any], rate: Any, once: bool) -> dict[str, Any]:
    """The section ``train``: ``own`` with what the estimator changes."""
    options = {**own, **changes, **({"epochs": 1} if once else {})}
    if rate is None:
        return options
    try:
        written = unfold(options["optimizer"], Named(OPTIMIZERS, "optimizer").main_of)
    except Invalid:
        return options  # what is wrong with the optimiser is told with the rest
    return {**options, "optimizer": {written.name: {**written.fields, "learning_rate": rate}}}


def _wrong(estimator: Any) -> Iterator[str]:
    """What is wrong with the parameters that are no options of a description."""
    for name in ("early_stopping", "warm_start"):
        if not isinstance(getattr(estimator, name), (bool, np.bool_)):
            yield f"{name} is {getattr(estimator, name)!r:.60}: expected True or False"
    fraction, patience, sizes = estimator.validation_fraction, estimator.patience, _sizes(estimator)
    if not isinstance(fraction, (float, np.floating)) or not 0 < fraction < 1:
        yield f"validation_fraction is {fraction!r:.60}: expected a number between 0 and 1"
    if isinstance(patience, bool) or not isinstance(patience, (int, np.integer)) or patience < 1:
        yield f"patience is {patience!r:.60}: expected a whole number, at least 1"
    if not all(map(_is_size, sizes)):
        found = f"hidden_layer_sizes is {estimator.hidden_layer_sizes!r:.60}"
        yield f"{found}: expected whole numbers above 0, such as (100,)"
    if estimator.description is None:
        return
    told = "but a description has its own layers: give one of the two"
    if sizes != list(HIDDEN):
        yield f"hidden_layer_sizes is {estimator.hidden_layer_sizes!r:.60}, {told}"
    if plain(estimator.activation) != ACTIVATION:
        yield f"activation is {estimator.activation!r:.60}, {told}"


def _sizes(estimator: Any) -> list[Any]:
    sizes = estimator.hidden_layer_sizes
    found: list[Any] = plain(list(sizes) if np.iterable(sizes) else [sizes])
    return found


def _is_size(units: Any) -> bool:
    return isinstance(units, int) and not isinstance(units, bool) and units > 0


def plain(value: Any) -> Any:
    """Numbers and arrays of NumPy, such as those of a grid that is searched, as Python's."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _layers(estimator: Any, outputs: int) -> Iterator[dict[str, Any]]:
    """Dense layers of the sizes that are asked for, drawn as MLPClassifier draws them, and the last one."""
    drawn = {"kernel_initializer": "glorot_uniform"}
    for units in filter(_is_size, _sizes(estimator)):
        yield {"dense": {"units": units, "activation": plain(estimator.activation), **drawn}}
    yield {"dense": {"units": outputs, "id": "output", **drawn}}


def _read(given: Any) -> Description:
    if not isinstance(given, (Mapping, str, PathLike)):
        raise SpecError(f"description is {given!r:.60}: expected a dict, or the path of a YAML file")
    return read(given)


def _completed(description: Description, features: int, task: Task) -> Description:
    """The description with what it leaves to the data, and with a loss."""
    stream = _Features((features,), "float32")
    description = pinned(description, {x.name: stream for x in description.inputs})
    if description.losses or len(description.outputs) != 1:
        return description
    loss = {task.losses[0]: {"of": description.outputs[0], "target": "y"}}
    return read({**description.canonical, "loss": loss})


@dataclass(frozen=True)
class _Features:
    """The stream that X is."""

    shape: tuple[int, ...]
    dtype: str
    classes: None = None


def _misfits(description: Description, features: int, task: Task) -> Iterator[str]:
    """Why an estimator cannot train a description on such data."""
    names = [x.name for x in description.inputs]
    if len(names) != 1:
        yield f"the description has the inputs {', '.join(names)}: expected one, which X is"
    for x in description.inputs[:1]:
        shape = x.shape or ()
        if None in shape or math.prod(n or 0 for n in shape) != features:
            found = f"input {x.name!r} is {list(shape)}"
            yield f"{x.place}: {found}, but X has {features} features: expected {[features]}, or auto"
        if x.dtype != "float32":
            yield f"{x.place}: input {x.name!r} is {x.dtype}: expected float32; X is read as real numbers"
    compared = [node for node in description.compared if node.kind in task.losses]
    streams = set(description.loss_streams) - set(names)
    if not compared:
        expected = f"{', '.join(task.losses[:-1])} or {task.losses[-1]}"
        yield f"the description has no loss that learns {task.noun} of y: expected {expected}"
    if len(streams) > 1:
        yield f"its losses read {', '.join(sorted(streams))}: expected one stream, which y is"
    compared_ids = {node.of for node in compared}
    softmax = {x.id for x in description.layers if x.kind == "softmax" and x.sources[0] in compared_ids}
    if len(description.outputs) != 1 or (compared and description.outputs[0] not in compared_ids | softmax):
        found = ", ".join(description.outputs)
        yield f"outputs: {found}: expected the one that a loss compares with y, {', '.join(compared_ids)}"


def _unsuited(options: Any, once: bool) -> Iterator[str]:
    """Options of training that an estimator cannot honour."""
    if once and getattr(options.schedule, "kind", CONSTANT) != CONSTANT:
        yield f"train.schedule is {options.schedule.kind}: {NO_END}"
    if options.augment:
        yield "train.augment: an estimator does not vary examples; train such a network with cortex.train"
    if options.early_stopping is not None:
        yield "train.early_stopping: give early_stopping=True and patience to the estimator instead"
    if isinstance(options.schedule, ReduceOnPlateau):
        yield "train.schedule: reduce_on_plateau is for cortex.train; expected a schedule of time"


def check_network(network: Network, task: Task) -> None:
    """Raises `SpecError` where a network learns nothing, does not give what the task asks for, or carries a
    state along."""
    check_learning(network)
    (output,) = network.description.outputs
    shape = network.types[output].shape[1:]
    if shape != (task.outputs,):
        told = f"the output {output!r} of the description is {list(shape)}"
        raise SpecError(f"{told}: expected {[task.outputs]}, a number for each of {task.noun} of y")
    if network.carried:
        told = f"{network.carried[0]!r} is carried from batch to batch"
        raise SpecError(f"{told}, but the examples of an estimator stand alone; use cortex.train")


def _report(problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        raise SpecError("\n".join(found))
