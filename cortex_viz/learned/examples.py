"""The examples that a picture is made of, and how a user names a class of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import DataError, SpecError
from cortex_core.network import Network
from cortex_core.predict import in_units
from cortex_core.probe import Gradients, activations, gradients, scored
from cortex_core.registry import nearest
from cortex_core.streams import CHOICES
from cortex_core.tensor import Tensor
from cortex_core.training.pieces import lengths_of, shapes_of
from cortex_core.training.setup import CROSS_ENTROPIES
from cortex_core.training.source import Source
from cortex_viz.learned.drawing import Array

Examples = dict[str, Array]
"""{input: array (n, ...)}: what `probe.gradients` and `Network.predict` take."""


def picture_input(network: Network) -> str:
    """The name of the first input that holds pictures.  Raises `SpecError` where there is none."""
    inputs = network.description.inputs
    found: str | None = next((x.name for x in inputs if x.shape is not None and len(x.shape) == 3), None)
    if found is None:
        shapes = ", ".join(f"{x.name!r} {list(x.shape)}" for x in inputs)
        raise SpecError(
            f"{network.name}: this needs a picture input (height, width, channels); its inputs are {shapes}"
        )
    return found


def examples_of(network: Network, source: Source, rows: Sequence[int] | Array) -> Examples:
    """The inputs of some examples of a source.

    Raises `DataError` for a row that does not exist, or where their padded lengths differ.
    """
    wanted = np.asarray(rows, np.intp)
    for row in wanted:
        if not 0 <= row < len(source):
            raise DataError(f"there is no example {row}; they are 0 to {len(source) - 1}")
    lengths = lengths_of(source)
    length = None
    if lengths is not None:
        if len(set(lengths[wanted])) > 1:
            raise DataError("these examples differ in length; give one by one")
        length = int(lengths[wanted[0]])
    shapes = shapes_of(source, [x.name for x in network.description.inputs], length)
    arrays = {n: np.empty((len(wanted), *s), source.streams[n].dtype) for n, s in shapes.items()}
    source.gather(wanted, arrays)
    return arrays


def _loss(network: Network) -> Any:
    """The loss of the scores, or None."""
    return next((x for x in network.description.compared if x.of == scored(network)), None)


def is_single(network: Network) -> bool:
    """Whether one score stands for two classes: it speaks for the second, its negative for the first."""
    node = _loss(network)
    return node is not None and node.kind in CROSS_ENTROPIES and network.types[node.of].shape[1:] == (1,)


def class_names(network: Network, source: Source) -> list[str]:
    """What the classes of a network are called: as its data name them, else by their numbers.

    Without a cross entropy they are the numbers of its outputs.
    """
    count = 2 if is_single(network) else network.types[scored(network)].shape[-1]
    node, learned = _loss(network), getattr(network.encoding, "streams", {})
    streams: list[Any] = [known.get(node.target) for known in (source.streams, learned) if node is not None]
    names = next((x.classes for x in streams if x is not None and x.classes), ())
    return list(names) if len(names) == count else [str(i) for i in range(count)]


def predicted(network: Network, x: Examples, names: Sequence[str]) -> tuple[list[int], list[str]]:
    """The class that is predicted for each example, and its name; without a cross entropy the highest output,
    and its value."""
    scores, node = _scores(network, x), _loss(network)
    classes = _second(network, scores[:, 0]).astype(int) if is_single(network) else scores.argmax(axis=1)
    if node is None or node.kind in CROSS_ENTROPIES:
        return classes.tolist(), [names[c] for c in classes]
    values = in_units(network, {scored(network): scores})[scored(network)]
    return classes.tolist(), [_told(row[c]) for row, c in zip(values, classes)]


def titles_of(
    network: Network, source: Source, rows: Sequence[int], x: Examples, classes: Sequence[int]
) -> list[str]:
    """What the examples ``x``, those ``rows`` of a source, are, in lines: the true class, where the source
    has one, the predicted one, and the score, before any softmax, of the class that is looked at."""
    names, scores, node = class_names(network, source), _scores(network, x), _loss(network)
    words = predicted(network, x, names)[1]
    if is_single(network):
        scores = scores * [-1, 1]
    true = [""] * len(rows)
    exclusive = is_single(network) or (node is not None and node.kind in CHOICES)
    if exclusive and node.target in source.streams:
        true = [f"true {name}" for name in _true(source, node.target, rows, names)]
    return [
        "\n".join(
            filter(None, [f"example {row}", right, f"predicted {word}", f"score {s[c]:.3g} of {names[c]}"])
        )
        for row, right, word, c, s in zip(rows, true, words, classes, scores)
    ]


def _true(source: Source, target: str, rows: Sequence[int], names: Sequence[str]) -> list[str]:
    """The names of labels, which are numbers of classes, or a number for each class."""
    stream = source.streams[target]
    labels = np.empty((len(rows), *stream.shape), stream.dtype)
    source.gather(np.asarray(rows, np.intp), {target: labels})
    labels = labels.reshape(len(rows), -1)
    found = labels[:, 0].astype(int) if labels.shape[1] == 1 else labels.argmax(axis=1)
    return [names[c] if 0 <= c < len(names) else "not known" for c in found]


def _scores(network: Network, x: Examples) -> Array:
    """(n, classes), of sequences the first of each."""
    found = activations(network, x, [scored(network)])[scored(network)]
    return np.asarray(found.reshape(len(found), -1, found.shape[-1])[:, 0])


def class_gradients(
    network: Network, x: Examples, by: Sequence[str], classes: Sequence[int] | None
) -> Gradients:
    """`probe.gradients` of the score of a class of each example, by default of the predicted one."""
    if not is_single(network):
        return gradients(network, x, by, classes)
    found = gradients(network, x, by)
    chosen = _second(network, found.scores).astype(int) if classes is None else np.asarray(classes)
    if chosen.shape != found.scores.shape or not np.isin(chosen, (0, 1)).all():
        raise DataError(
            f"classes are {list(chosen)}; expected 0 or 1 for each of {len(found.scores)} examples"
        )
    signs = 2.0 * chosen.astype(np.float32) - 1
    signed = {id: (g.T * signs.astype(g.dtype)).T for id, g in found.gradients.items()}
    return Gradients(found.scores * signs, found.values, signed)


def _second(network: Network, scores: Array) -> Array:
    """Where one score predicts the second of two classes, as accuracy counts."""
    return np.asarray(_loss(network).loss.prediction(Tensor(scores)).numpy() >= 0.5)


def _told(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def class_of(names: Sequence[str], given: str | int) -> int:
    """The number of the class that is given by its name, or by its number.

    Raises `DataError` for one that does not exist.
    """
    if given in names:
        return list(names).index(str(given))
    if isinstance(given, int) or given.isdecimal():
        if int(given) < len(names):
            return int(given)
        raise DataError(f"there is no class {given}; the classes are 0 to {len(names) - 1}")
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise DataError(f"there is no class {given!r:.60}. {nearest(given, names) or f'The classes are {shown}'}")
