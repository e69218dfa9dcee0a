"""One layer of a description, as its translator sees it, and the table of translators."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from cortex_compute.frozen import frozen
from cortex_core.exchange.to_keras.graph import (
    LAYERS,
    OPERATIONS,
    Call,
    Graph,
    Layer,
    Tensor,
    Weights,
    encoded,
)
from cortex_core.spec.description import ALL, LayerNode, Named

Shape = tuple[int | None, ...]
Result = Tensor | Mapping[str, Tensor]
"""What a layer gives; by name what it gives beside its value, which has the name ""."""


class Unfit(Exception):
    """A layer that Keras cannot say: the message says why, and what is the way round."""


@frozen
class Said:
    """The translator of some layers, what they become (Markdown, for people), and what of them is refused."""

    translator: Callable[[At], Result]
    to: str
    refuses: str = ""


TABLE: dict[str, Said] = {}
"""By the kind of our layer."""

FORMATTED = re.compile(
    r".*(Conv|Pooling).*|(ZeroPadding|Cropping|UpSampling|SpatialDropout)[23]D|Resizing|Flatten"
)
"""Layers for which Keras must be told that channels are last: people may have set another default."""

MOST_CONSTANTS = 1 << 19
"""How many numbers a layer may have in the configuration of a model, which is text."""

REFUSED: dict[str, str] = {}
"""Kinds that Keras has no layer for, and why, with the way round."""


def exports(*kinds: str, to: str, refuses: str = "") -> Callable[[Callable[[At], Result]], Any]:
    """Registers what becomes of layers of these kinds."""

    def decorate(translator: Callable[[At], Result]) -> Callable[[At], Result]:
        TABLE.update(dict.fromkeys(kinds, Said(translator, to, refuses)))
        return translator

    return decorate


@dataclass(frozen=True)
class Whole:
    """What all layers of an export share: the graph, arrays and types by name, and notes for people.

    ``shapes`` and ``dtypes`` are those of the values of the description, without the batch axis; ``shared``
    are the layers of Keras that have weights, by the layer of ours that owns these, and the part of it.
    """

    graph: Graph
    nodes: Mapping[str, LayerNode]
    array: Callable[[str], np.ndarray]
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, str]
    notes: list[str]
    shared: dict[tuple[str, str], Layer]


class At:
    """A layer of a description: ``layer`` has its fields, ``inputs`` are the values of ``from``."""

    def __init__(
        self, node: LayerNode, inputs: Sequence[Tensor], named: Mapping[str, Any], whole: Whole
    ) -> None:
        self.node, self.layer, self.inputs = node, node.layer, [*inputs]
        self.named, self.whole = named, whole
        self._called = ""  # the name in Keras, once it has one

    @property
    def kind(self) -> str:
        return self.node.kind

    @property
    def x(self) -> Tensor:
        """The only input."""
        (x,) = self.inputs
        return x

    @property
    def shape(self) -> Shape:
        """That of what it gives, without the batch axis."""
        return self.shape_of("")

    def shape_of(self, output: str) -> Shape:
        """That of what it gives beside its value, such as "last"."""
        return self.whole.shapes[f"{self.node.id}.{output}" if output else self.node.id]

    @property
    def dtype(self) -> str:
        return self.whole.dtypes[self.node.id]

    def source(self, field: str) -> Named:
        """What a field names, as the description calls it; empty for none."""
        return dict(self.node.keywords).get(field, "")

    def array(self, name: str) -> np.ndarray:
        """A parameter or variable of the layer."""
        return self.whole.array(self.node.name_of(name))

    def arrays(self, *names: str) -> list[np.ndarray]:
        return [self.array(name) for name in names]

    def fail(self, told: str) -> NoReturn:
        raise Unfit(told)

    def note(self, told: str) -> None:
        self.whole.notes.append(f"{self.node.id}: {told}")

    def known(self, x: Tensor, why: str) -> tuple[int, ...]:
        """The shape of a value, all of whose axes must have a size that is known."""
        sizes = [n for n in x.shape if n is not None]
        if len(sizes) < len(x.shape):
            self.fail(
                f"{why}, and an axis has any length; `cortex surgery --resize-input` gives the input a size"
            )
        return tuple(sizes)

    def constant(self, array: np.ndarray) -> np.ndarray:
        """An array that the configuration will hold, if it is small enough to be text, and finite."""
        if array.size > MOST_CONSTANTS:
            self.fail(
                f"its {array.size:,} constants would be text in Keras; at most {MOST_CONSTANTS:,} may be"
            )
        if not np.isfinite(array).all():
            self.fail("one of its numbers is not finite, and would be a constant in Keras; train it anew")
        return array

    def put(
        self,
        kind: str,
        *args: Any,
        part: str = "",
        weights: Weights | Sequence[np.ndarray] = (),
        keywords: Mapping[str, Any] | None = None,
        shape: Shape | None = None,
        gives: str = "",
        **config: Any,
    ) -> Tensor:
        """Calls a layer of Keras, of this class and configuration; gives its first result.

        ``part`` names one of several that stand for one of ours; that with the weights has none.  The result
        has the shape and the type of what our layer gives, unless ``shape`` and ``gives`` tell others.
        """
        own = weights if isinstance(weights, Mapping) else {"": weights} if len(weights) else {}
        if own and not self.whole.nodes[self.node.holder].trainable:
            config["trainable"] = False
        if FORMATTED.fullmatch(kind):
            config["data_format"] = "channels_last"
        layer = self._shared(part, kind, config, own)
        call = Call(args, {key: x for key, x in (keywords or {}).items() if x is not None})
        return self.whole.graph.call(layer, call, *self._type(shape, gives))

    def op(
        self,
        kind: str,
        *args: Any,
        part: str = "",
        module: str = "numpy",
        shape: Shape | None = None,
        gives: str = "",
        **config: Any,
    ) -> Tensor:
        """Calls an operation of Keras: the class behind a function of ``keras.ops``."""
        layer = self._made(part, f"{OPERATIONS}.{module}", kind, config)
        return self.whole.graph.call(layer, Call(args, {}), *self._type(shape, gives))

    def _type(self, shape: Shape | None, gives: str) -> tuple[Shape, str]:
        return self.shape if shape is None else shape, gives or self.dtype

    def _made(
        self, part: str, module: str, kind: str, config: Mapping[str, Any], own: Weights | None = None
    ) -> Layer:
        """A new layer; a note says where that which has our name must have another one."""
        wanted = self.node.id.replace("/", "_")
        made = self.whole.graph.add(f"{wanted}_{part}" if part else wanted, module, kind, config, own)
        if not part and not self._called:
            self._called = made.name
            if made.name != wanted:
                self.note(f"it is called '{made.name}' in Keras")
        return made

    def _shared(self, part: str, kind: str, config: Mapping[str, Any], own: Weights) -> Layer:
        """The layer that has these weights already, if it is the same in all else; or a new one."""
        if not own:
            return self._made(part, LAYERS, kind, config)
        holder, shared = self.node.holder, dict(self.node.shared)
        first = self.whole.shared.get((holder, part))
        if first is not None and (first.kind, encoded(first.config)) == (kind, encoded(config)):
            return first
        if first is not None or any(parameter != ALL for parameter in shared):
            names = ", ".join(sorted({name.rpartition("/")[0] or name for name in shared.values()}))
            self.note(f"it has a copy of the numbers of {names} in Keras, where training moves them apart")
        made = self._made(part, LAYERS, kind, config, own)
        self.whole.shared.setdefault((holder, part), made)
        return made
