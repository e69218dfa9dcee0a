"""What a description says, resolved: frozen data that the tracer, the trainer and the tools read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar, Union

from cortex_compute.frozen import frozen
from cortex_core.place import Place
from cortex_core.registry import name_of_stream, streams_of

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
class Constraint:
    """What holds for a parameter after each update: ``rule`` is the instance of the registered class."""

    parameter: str
    rule: Any
    place: Place


ALL = ""
"""Among what a layer shares: all of its parameters."""


@frozen
class LayerNode:
    """One layer.  ``sources`` are ids, names of inputs, or ``ID.OUTPUT`` such as ``words.mask``: first those
    of ``from``, then those that fields name, which ``keywords`` lists with their fields.

    ``layer`` is the instance of the registered class; None where its fields are wrong.
    ``learning_rate`` is a multiplier.  ``shared`` maps parameters to those of other layers that they are
    (``ID/kernel``), and `ALL` to the id of the layer whose parameters it has.
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
    shared: tuple[tuple[str, str], ...] = ()
    constraints: tuple[Constraint, ...] = ()

    def name_of(self, parameter: str) -> str:
        """What a parameter is called in the network: "dense/kernel"."""
        if not self.shared:
            return f"{self.id}/{parameter}"
        found = dict(self.shared)
        return found.get(parameter) or f"{found.get(ALL, self.id)}/{parameter}"

    @property
    def holder(self) -> str:
        """The layer whose parameters it has: itself, unless it shares all of another one's."""
        return dict(self.shared).get(ALL, self.id)

    @property
    def positional(self) -> tuple[str, ...]:
        """The sources of ``from``."""
        return self.sources[: len(self.sources) - len(flat(named for _, named in self.keywords))]


@frozen
class LossNode:
    """One term of the loss: ``weight * loss(of, target)``.

    ``of`` is a layer, or a parameter where ``parameter`` says so.  ``target`` is a stream of the data or an
    input, empty where the loss has none; ``derive`` is what makes the target of it, if anything.
    ``sample_weight``: the stream that weighs the examples, or what is made of one.  ``keywords``: the values
    that its fields name.
    """

    name: str
    kind: str
    loss: Any
    of: str
    target: str
    weight: float
    place: Place
    derive: Any = None
    sample_weight: Any = None
    keywords: tuple[tuple[str, Named], ...] = ()
    parameter: str = ""
    shared: ClassVar[tuple[tuple[str, str], ...]] = ()
    trainable: ClassVar[bool] = True  # what the loss itself learns
    learning_rate: ClassVar[float] = 1.0
    constraints: ClassVar[tuple[Constraint, ...]] = ()

    @property
    def id(self) -> str:
        """What stands before the names of its own parameters and variables."""
        return self.name

    def name_of(self, parameter: str) -> str:
        """What a parameter or variable of the loss is called in the network: "center_loss/centers"."""
        return f"{self.name}/{parameter}"

    @property
    def sources(self) -> tuple[str, ...]:
        """The layers and inputs that it reads."""
        return (self.of, *flat(named for _, named in self.keywords))

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams of the data that it reads."""
        weighs = () if self.sample_weight is None else (name_of_stream(self.sample_weight),)
        others = tuple(name_of_stream(used) for used in streams_of(self.loss).values())
        return tuple(dict.fromkeys(((self.target,) if self.target else ()) + weighs + others))


@frozen
class MetricNode:
    """One metric of ``of`` against ``target``, or against what ``derive`` makes of it."""

    name: str
    kind: str
    metric: Any
    of: str
    target: str
    place: Place
    derive: Any = None


@frozen
class Description:
    """A network, and how it is trained.

    ``layers`` stand in an order in which sources come first.  ``canonical`` is the same description as plain
    data, every default written out and blocks unfolded; reading it again gives an equal description.
    ``notes`` say what was done that nobody asked for.  ``home`` is the folder of its file, where the files
    that it names are looked for first; it is no part of the data.
    """

    name: str
    inputs: tuple[InputNode, ...]
    layers: tuple[LayerNode, ...]
    outputs: tuple[str, ...]
    losses: tuple[LossNode, ...]
    train: Any
    canonical: dict[str, Any]
    notes: tuple[str, ...] = ()
    home: str = "."

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical data as JSON with sorted keys."""
        return hash_of(self.canonical)

    @property
    def compared(self) -> tuple[LossNode, ...]:
        """The losses that compare a layer with a stream as it is in the data."""
        return tuple(node for node in self.losses if node.target and node.derive is None)

    @property
    def loss_streams(self) -> tuple[str, ...]:
        """The streams that losses read, each once."""
        return tuple(dict.fromkeys(name for node in self.losses for name in node.streams))


def hash_of(canonical: dict[str, Any]) -> str:
    """See `Description.hash`."""
    import hashlib
    import json

    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
