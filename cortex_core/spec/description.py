"""What a description says, resolved: frozen data that the tracer, the trainer and the tools read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Union

from cortex_compute.frozen import frozen
from cortex_core.place import Place

AUTO = "auto"
"""The shape, or the data type, of an input that leaves it to the data."""

UNKNOWN_SOURCE = "?"
"""Stands among the sources of a layer of which it is not known what it takes (only after a mistake)."""


Named = Union[str, tuple[str, ...]]
"""What a field of a layer names: an id, or several."""


def flat(named: Iterable[Named]) -> tuple[str, ...]:
    """All ids, one after the other."""
    return tuple(id_ for found in named for id_ in ((found,) if isinstance(found, str) else found))


def owner(source: str, ids: Collection[str]) -> str:
    """The layer that gives a source: ``words`` for ``words.mask``."""
    base = source.rpartition(".")[0]
    return base if source not in ids and base in ids else source


@frozen
class InputNode:
    """A stream that the network reads.  ``shape`` is without the batch axis; None in it is any length.

    ``shape`` itself is None where it is not known: where the description leaves it to the data (``auto``;
    then ``dtype`` may be "auto" too), and after a mistake.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    place: Place


@frozen
class Penalty:
    """Adds ``value`` times the sum of squares (l2) or of absolute values (l1) of a parameter to the loss."""

    parameter: str
    kind: str
    value: float
    place: Place


@frozen
class LayerNode:
    """One layer.  ``sources`` are ids, names of inputs, or ``ID.OUTPUT`` such as ``words.mask``: first those
    of ``from``, then those that fields name, which ``keywords`` lists with their fields.

    ``layer`` is the instance of the registered class; None where its fields are wrong.
    ``learning_rate`` is a multiplier.
    """

    id: str
    kind: str
    layer: Any
    sources: tuple[str, ...]
    trainable: bool
    learning_rate: float
    penalties: tuple[Penalty, ...]
    place: Place
    keywords: tuple[tuple[str, Named], ...] = ()

    @property
    def positional(self) -> tuple[str, ...]:
        """The sources of ``from``."""
        return self.sources[: len(self.sources) - len(flat(named for _, named in self.keywords))]


@frozen
class LossNode:
    """One term of the loss: ``weight * loss(of, target)``; ``target`` is a stream of the data or an input."""

    name: str
    kind: str
    loss: Any
    of: str
    target: str
    weight: float
    place: Place


@frozen
class MetricNode:
    """One metric of ``of`` against ``target``."""

    name: str
    kind: str
    metric: Any
    of: str
    target: str
    place: Place


@frozen
class Description:
    """A network, and how it is trained.

    ``layers`` stand in an order in which sources come first.  ``canonical`` is the same description as plain
    data, every default written out and blocks unfolded; reading it again gives an equal description.
    ``hash`` is the SHA-256 of its JSON.  ``notes`` say what was done that nobody asked for.  ``home`` is the
    folder of its file, where the files that it names are looked for first; it is no part of the data.
    """

    name: str
    inputs: tuple[InputNode, ...]
    layers: tuple[LayerNode, ...]
    outputs: tuple[str, ...]
    losses: tuple[LossNode, ...]
    train: Any
    canonical: dict[str, Any]
    hash: str
    notes: tuple[str, ...] = ()
    home: str = "."
