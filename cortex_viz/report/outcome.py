"""What a network says of examples whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from cortex_core.losses import of_each_sample
from cortex_core.network import Network
from cortex_core.predict import in_units
from cortex_core.probe import activations
from cortex_core.streams import CHOICES, SCALED
from cortex_core.tensor import Tensor
from cortex_core.training.setup import CROSS_ENTROPIES
from cortex_core.training.source import Source
from cortex_viz.report import measures
from cortex_viz.report.shown import Array, Shown, gathered

MOST = 20_000  # examples that are looked at
BYTES = 1 << 28  # of their outputs
OUTPUTS = 6  # numbers of an example that are drawn, each by itself
PIECE = 2048  # examples whose losses are computed together


@dataclass(frozen=True)
class Classes:
    """What a classifier said of m examples.

    ``rows`` (m,), ascending: which of the outcome's examples have a label that counts; ``labels`` (m,): the
    true class; ``predicted`` (m,): the likeliest; ``probabilities`` (m, k).  A single probability counts as
    two classes, the second from one half on.  ``weighted``: whether the loss weighs the classes, which is
    left out here.
    """

    rows: Array
    labels: Array
    predicted: Array
    probabilities: Array
    names: tuple[str, ...]
    weighted: bool = False

    @cached_property
    def areas(self) -> Array:
        """Below the ROC curve of each class, (k,), NaN where there is none."""
        return measures.areas(self.probabilities, self.labels)

    def of(self, row: int) -> tuple[str, str, float] | None:
        """The true class of an example of the outcome, the predicted one, and its probability; None where no
        label counts."""
        i = int(np.searchsorted(self.rows, row))
        if i == len(self.rows) or self.rows[i] != row:
            return None
        best = int(self.predicted[i])
        return self.names[self.labels[i]], self.names[best], float(self.probabilities[i, best])


@dataclass(frozen=True)
class Numbers:
    """What a regression said: ``actual`` and ``predicted``, (n, outputs), in the unit of the ``target``."""

    actual: Array
    predicted: Array
    target: str


@dataclass(frozen=True)
class Outcome:
    """What a network said of examples of a ``part`` ("test", "validation", "train") of ``whole`` examples.

    ``losses`` (n,): the loss of each, NaN where it does not count.  ``classes`` and ``numbers`` are None
    where there are none of the kind, and ``why`` says what is there instead.  ``note``: what else has to be
    said of the numbers.
    """

    part: str
    whole: int
    shown: Shown
    losses: Array
    classes: Classes | None = None
    numbers: Numbers | None = None
    why: str = ""
    note: str = ""

    def __len__(self) -> int:
        return len(self.losses)


def outcome_of(
    network: Network,
    source: Source,
    part: str,
    shown: Shown | None = None,
    rows: Array | None = None,
    backend: str = "auto",
    raw: Mapping[str, Array] | None = None,
) -> Outcome:
    """Predicts and measures the examples ``rows`` of a source, by default all, or 20,000 evenly chosen.

    ``shown`` shows the examples of the same source; ``raw``: what the layers that losses compare give for
    these rows, where that is known.  Compiles programs of its own, and changes nothing of the
    network.  Raises `DataError` where examples differ in the length of what is predicted.
    """
    nodes = [node for node in network.description.compared if _alone(node)]
    shown = shown or Shown(network, source)
    whole = len(source)
    chosen = _evenly(whole, _most(network)) if rows is None else np.asarray(rows)
    if len(chosen) < whole or rows is not None:
        source, shown = source.select(chosen), shown.select(chosen)
    if raw is None:
        raw = activations(network, source, [node.of for node in nodes], backend=backend)
    targets = gathered(source, list(dict.fromkeys(node.target for node in nodes)))
    unknown = np.full(len(chosen), np.nan)
    each = np.stack(
        [unknown, *(node.weight * _losses(node, raw[node.of], targets[node.target]) for node in nodes)]
    )
    losses = np.where(np.isnan(each).all(axis=0), np.nan, np.nansum(each, axis=0))
    made = Outcome(part, whole, shown, losses)
    return _with_answers(made, network, raw, targets)


def _evenly(count: int, most: int) -> Array:
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.intp)


def _most(network: Network) -> int:
    each = sum(4 * prod(network.types[node.of].shape[1:]) for node in network.description.compared)
    return max(1, min(MOST, BYTES // max(1, each)))


def _alone(node: Any) -> bool:
    """Whether a loss needs nothing but a node and its target."""
    return node.streams == (node.target,) and not node.keywords and not hasattr(node.loss, "parameters")


def _losses(node: Any, x: Array, target: Array) -> Array:
    """The loss of each example, (n,), without its weight; NaN where that is 0."""
    found = np.empty(len(x), np.float64)
    for start in range(0, len(x), PIECE):
        part = slice(start, start + PIECE)
        values, weights = of_each_sample(node.loss, Tensor(x[part]), Tensor(target[part]))
        found[part] = values.numpy()
        if weights is not None:
            found[part][weights.numpy() == 0] = np.nan
    return found


def _with_answers(
    made: Outcome, network: Network, raw: Mapping[str, Array], targets: Mapping[str, Array]
) -> Outcome:
    inputs = {x.name for x in network.description.inputs}
    why = "no loss compares with classes or with numbers of the data"
    classes: Classes | None = None
    numbers: Numbers | None = None
    told = dict[str, str]()
    for node in sorted(
        filter(_alone, network.description.compared), key=lambda node: node.kind not in CHOICES
    ):
        x, target = raw[node.of], targets[node.target]
        if node.target in inputs:
            why = f"{node.of!r} is compared with the input {node.target!r}"
        elif node.kind in CROSS_ENTROPIES and classes is None:
            classes = _classes(node, x, target, made.shown)
            told |= {node.of: "classes"} if classes else {}
            why = f"{node.of!r} has {list(x.shape[1:])} answers for each example, not one class"
        elif node.kind in SCALED and numbers is None:
            numbers = _numbers(node, x, target, network)
            told |= {node.of: "numbers"} if numbers else {}
            why = f"{node.of!r} has {list(x.shape[1:])} numbers for each example"
    note = _note(network, told, classes is not None and classes.weighted)
    return replace(made, classes=classes, numbers=numbers, why=why, note=note)


def _note(network: Network, told: Mapping[str, str], weighted: bool) -> str:
    """Which outputs the sections are of, where not all are; and that weights of classes are left out."""
    description, notes = network.description, list[str]()
    silent = [node.of for node in description.losses if node.of not in told and not node.parameter]
    counted = {node.of for node in description.compared if _alone(node)}
    parts = ["Shown are " + " and ".join(f"the {what} of {of!r}" for of, what in told.items())]
    for where, chosen in (("only in the loss", counted), ("not shown", {*silent} - counted)):
        names = [repr(of) for of in dict.fromkeys(silent) if of in chosen]
        are = "is" if len(names) == 1 else "are"
        parts += [f"{', '.join(names)} {are} trained as well, and {where} here"] if names else []
    notes += [f"{'; '.join(parts)}."] if told and silent else []
    if weighted:
        notes.append("Each example counts once here, without the class weights of loss and metrics.")
    return " ".join(notes)


def _classes(node: Any, x: Array, target: Array, shown: Shown) -> Classes | None:
    """What a cross entropy compared, where an example has one class."""
    single = prod(x.shape[1:]) == 1
    if not single and (x.ndim != 2 or node.kind not in CHOICES):
        return None
    probabilities = np.asarray(node.loss.prediction(Tensor(x)).numpy(), np.float64)
    if single:
        labels = (target.reshape(-1) > 0.5).astype(np.int64)
        probabilities = np.stack([1 - probabilities.reshape(-1), probabilities.reshape(-1)], axis=1)
        predicted = (probabilities[:, 1] >= 0.5).astype(np.int64)  # as accuracy counts
    else:
        predicted = probabilities.argmax(axis=1)
        labels = target.astype(np.int64) if target.ndim == 1 else target.argmax(axis=1)
    ignored = getattr(node.loss, "ignore_index", None)
    rows = np.arange(len(x)) if ignored is None else np.flatnonzero(labels != ignored)
    known, count = shown.source.streams[node.target].classes or (), probabilities.shape[1]
    names = (*known[:count], *map(str, range(len(known), count)))
    weighted = getattr(node.loss, "class_weights", None) is not None
    return Classes(rows, labels[rows], predicted[rows], probabilities[rows], names, weighted)


def _numbers(node: Any, x: Array, target: Array, network: Network) -> Numbers | None:
    """What a distance compared, where an example has a few numbers."""
    if not 1 <= prod(x.shape[1:]) <= OUTPUTS or x.ndim > 2:
        return None
    pair = [in_units(network, {node.of: values.reshape(x.shape)})[node.of] for values in (target, x)]
    if any(values.dtype.kind != "f" for values in pair):  # dates are learned as numbers
        pair = [target, x]
    actual, predicted = (np.asarray(values, np.float64).reshape(len(x), -1) for values in pair)
    return Numbers(actual, predicted, node.target)
