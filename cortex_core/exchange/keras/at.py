"""One call of a Keras layer, as its translator sees it, and the table of translators."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_core.exchange.build import Builder, Shape, Unfit
from cortex_core.exchange.keras.model import Layer, Weight
from cortex_core.exchange.keras.steps import Steps
from cortex_core.exchange.keras.value import Value

REQUIRED: Any = object()
UNREAD = re.compile(
    r"name|dtype|trainable|(batch_)?(input_)?shape|input_(dtype|dim|length)|autocast|seed|\w*_initializer"
    r"|\w*_regularizer|\w*_constraint|activity_regularizer|synchronized|implementation|unroll"
)
"""Fields of a configuration that say nothing of what a trained layer computes, or that the builder reads."""

WHOLE = {
    *("flatten", "reshape", "permute", "repeat_vector", "flip", "slice", "select", "take", "linear"),
    *("concatenate", "relu", "clip", "maximum", "minimum", "masking", "where", "scale", "resize2d"),
    *(f"{kind}{rank}d" for kind in ("padding", "cropping", "upsampling") for rank in (1, 2, 3)),
    *(f"{kind}max_pool{rank}d" for kind in ("", "global_") for rank in (1, 2, 3)),
    "compare",
}
"""What gives the same of floating numbers as of narrow whole ones; of `scale` see `core.scaled`."""

Inputs = Sequence[Any]
Result = Value | Sequence[Value]
Translator = Callable[["At"], Result]
TRANSLATORS: dict[str, Translator] = {}
PASSES_MASK: set[str] = set()


def translates(*kinds: str, masks: bool = False) -> Callable[[Translator], Translator]:
    """Registers a translator for these classes of Keras.

    ``masks``: as in Keras, a mask of the (first) input holds for the result, unless the translator says
    another.
    """

    def decorate(translator: Translator) -> Translator:
        for kind in kinds:
            TRANSLATORS[kind] = translator
        PASSES_MASK.update(kinds if masks else ())
        return translator

    return decorate


class At:
    """One call of a layer: its configuration, inputs and weights, and how its layers are put.

    ``keywords`` are those of the call, `keyword` asks for one.  ``notes`` collects what a user should know,
    ``penalised`` the regularizers and constraints of the configuration that were looked at.  ``model`` puts
    the layers of the model that a TimeDistributed holds: it takes a value of one step, and gives what becomes
    of it, or None after a report.
    """

    model: Callable[[Value], Sequence[Value] | None] | None = None

    def __init__(
        self,
        layer: Layer,
        inputs: Inputs,
        keywords: Mapping[str, Any],
        builder: Builder,
        path: str,
        version: tuple[int, ...],
        owners: dict[str, str],
        notes: list[str],
    ) -> None:
        self.layer, self.inputs, self.keywords = layer, inputs, keywords
        self.path, self.version, self.notes = path, version, notes
        self._builder, self._owners = builder, owners
        self.penalised: set[str] = set()
        self._read: set[str] = set()
        self._asked: set[str] = set()
        self._taken = 0

    # What the file says

    @property
    def kind(self) -> str:
        return self.layer.kind

    def get(self, key: str, default: Any = REQUIRED) -> Any:
        """A field of the configuration.  What no translator asks for is refused, see `unread`."""
        self._read.add(key)
        found = self.layer.config.get(key, default)
        if found is REQUIRED:
            raise Unfit(f"its configuration has no '{key}'")
        return found

    def expect(self, key: str, *allowed: Any) -> Any:
        """A field that must have one of these values, the first by default."""
        found = self.get(key, allowed[0])
        if found not in allowed:
            raise Unfit(f"{key} is {found!r:.80}; supported: {', '.join(map(repr, allowed))}")
        return found

    def unread(self) -> Iterator[str]:
        """Fields that nobody has asked for, and which may change what the layer computes."""
        for key, value in self.layer.config.items():
            if key not in self._read and not UNREAD.fullmatch(key) and value not in (None, False):
                yield key

    def keyword(self, name: str, default: Any = None) -> Any:
        """What the call says under a keyword.  What no translator asks for is refused, see `finish`."""
        self._asked.add(name)
        return self.keywords.get(name, default)

    def mask_of(self, x: Value, key: str = "mask") -> str | None:
        """Which steps of a value count: what the call says, of several values' masks the first, or what the
        value brings."""
        found = self.keyword(key)
        if isinstance(found, (list, tuple)) and found:
            found = found[0]
        if found is None:
            return x.mask
        if not isinstance(found, Value):
            raise Unfit(f"its {key} is a constant; supported: a value that the model computes, or an input")
        return found.source

    def arrays(self, *names: str) -> list[np.ndarray]:
        """The next weights of the layer, in Keras's order, as many as there are names."""
        chosen = self.next(len(names))
        if len(chosen) < len(names):
            wanted = ", ".join(names[len(chosen) :])
            raise Unfit(f"the file has {len(self.layer.weights)} arrays for it; lacking are {wanted}")
        return [np.asarray(w.read(), np.float32) for w in chosen]

    def next(self, count: int) -> tuple[Weight, ...]:
        """The next weights of the layer, unread; fewer where there are no more."""
        chosen = self.layer.weights[self._taken : self._taken + count]
        self._taken += len(chosen)
        return chosen

    def left(self) -> int:
        """How many weights nobody has taken."""
        return len(self.layer.weights) - self._taken

    def finish(self) -> None:
        """Raises `Unfit` where the file says more than was asked for."""
        left = [f"{key}={self.layer.config[key]!r:.40}" for key in self.unread()]
        if left:
            raise Unfit(f"does not know {', '.join(left)}")
        asked = self._asked
        given = [k for k, x in self.keywords.items() if k not in asked and x is not None and x is not False]
        if given:
            raise Unfit(f"it is called with {', '.join(given)}, which is not supported")
        if self.left():
            raise Unfit(f"the file has {self.left()} more arrays for it than expected")

    def within(self, layer: Layer) -> At:
        """The same call, of a layer that this one wraps."""
        shared = (self._builder, self.path, self.version, self._owners, self.notes)
        made = At(layer, self.inputs, self.keywords, *shared)
        made._asked, made.penalised = self._asked, self.penalised
        return made

    def at_each_step(self, layer: Layer, x: Value) -> At:
        """The call of a layer that this one wraps, for each step of a sequence; x has no axis of time."""
        shared = (self.path, self.version, self._owners, self.notes)
        made = At(layer, [x], {}, Steps(self._builder), *shared)
        made.penalised = self.penalised
        return made

    # What it is called with

    def any(self) -> Value:
        """The only input, as it lies: for what works on each element by itself."""
        found = list(flat(self.inputs))
        if len(found) != 1:
            raise Unfit(f"it is called with {len(found)} values; expected one")
        return found[0]

    def one(self) -> Value:
        """The only input, with axes as Keras has them."""
        return self.plain(self.any())

    def several(self) -> list[Value]:
        """All inputs, with axes as Keras has them."""
        return [self.plain(x) for x in flat(self.inputs)]

    def plain(self, x: Value) -> Value:
        """A value with axes as Keras has them."""
        if not x.moved:
            return x
        rank = len(x.shape)
        return self._permuted(x, [rank, *range(1, rank)], moved=False)

    def last(self, x: Value) -> Value:
        """A value of Keras whose channels are first (axis 1), with its channels last."""
        if x.moved:
            return x
        return self._permuted(x, [*range(2, len(x.shape) + 1), 1], moved=True)

    def channels(self, x: Value) -> Value:
        """The input of a layer of pictures with its channels last, whatever ``data_format`` says."""
        first = self.expect("data_format", "channels_last", "channels_first", None) == "channels_first"
        return self.last(x) if first else self.plain(x)

    def _permuted(self, x: Value, axes: list[int], moved: bool) -> Value:
        id_ = self._builder.put(
            self._builder.name(f"{self.path}_axes"), "permute", {"axes": axes}, [x.source], {}
        )
        return replace(x, source=id_, moved=moved)

    def floats(self, x: Value) -> Value:
        """The value as floating numbers, where Keras casts whole ones."""
        if x.dtype == "float32":
            return replace(x, whole="")
        return replace(self.put("cast", replace(x, whole=""), part="floats"), mask=x.mask)

    # What becomes of it

    def put(
        self,
        kind: str,
        x: Value | Sequence[Value],
        /,
        *,
        part: str = "",
        weights: Mapping[str, np.ndarray] | None = None,
        fixed: bool = False,
        **fields: Any,
    ) -> Value:
        """Puts a layer of ours: ``kind`` and fields as in a description (``return_`` for ``return``).

        ``part`` names one of several layers that stand for one of Keras; the most important has none.  The
        result lies as the first of ``x`` does, and has its mask if the class of Keras hands masks on.
        Weights of a layer that is called again are shared with those of the first call; those that are
        ``fixed``, constants of this call, are not, and training leaves them as they are.  Beside weights
        whole numbers are cast, but for those that an embedding looks up.
        """
        given = [x] if isinstance(x, Value) else list(x)
        if weights:
            given = [replace(v, whole="") if kind == "embedding" else self.floats(v) for v in given]
        whole = _whole(kind, given, fields)
        told = {name.rstrip("_"): value for name, value in fields.items() if value is not None}
        path = f"{self.path}_{part}" if part else self.path
        owner = self._owners.get(path, "") if weights and not fixed else ""
        id_ = self._builder.name(path)
        common = {} if owner or not weights else {"trainable": False} if fixed else self._common(weights)
        sources = [v.source for v in given]
        self._builder.put(id_, kind, told, sources, {} if owner else weights or {}, owner, common)
        if weights and not fixed:
            self._owners.setdefault(path, id_)
        moved = given[0].moved
        shape = self._builder.shape(id_)
        shape = (shape[-1], *shape[:-1]) if moved else shape
        mask = given[0].mask if self.kind in PASSES_MASK else None
        dtype = self._builder.dtype(id_)
        return Value(id_, shape, dtype, moved, mask, whole if dtype != "bool" else "")

    def beside(self, x: Value, output: str) -> Value:
        """Another result of a layer of ours, such as the state ``last`` of an lstm."""
        source = f"{x.source}.{output}"
        return Value(source, self._builder.shape(source), self._builder.dtype(source))

    def shape_of(self, source: str) -> Shape:
        return self._builder.shape(source)

    def _common(self, weights: Iterable[str]) -> dict[str, Any]:
        """What the configuration says of the training of these weights."""
        found: dict[str, Any] = {} if self.layer.config.get("trainable", True) else {"trainable": False}
        from cortex_core.exchange.keras.training import constraint, penalty

        penalties = {w: p for w in weights if (p := penalty(self, w)) is not None}
        constraints = {w: c for w in weights if (c := constraint(self, w)) is not None}
        return (
            found
            | ({"penalty": penalties} if penalties else {})
            | ({"constraint": constraints} if constraints else {})
        )


def _whole(kind: str, given: Sequence[Value], fields: Mapping[str, Any]) -> str:
    """The narrow type of what a layer of ours makes of values.  Raises `Unfit` where Keras would wrap or
    truncate numbers."""
    types = {x.whole for x in given if x.dtype != "bool"}
    if types <= {""}:
        return ""
    if len(types) == 1 and kind in WHOLE and fields.get("mode") != "bilinear":
        return types.pop()
    raise Unfit(
        f"{kind} of {', '.join(sorted(types - {''}))}: Keras computes in that type, which wraps and "
        "truncates, and here all is floating; cast or rescale the value before it, in Keras"
    )


def flat(x: Any) -> Iterator[Value]:
    """The values that arguments hold; those of a mapping by the order of their names, as Keras has it.

    Raises `Unfit` for constants: those that mean nothing are None, and False, as for ``training``.
    """
    if isinstance(x, Value):
        yield x
    elif isinstance(x, Mapping):
        for name in sorted(x):
            yield from flat(x[name])
    elif isinstance(x, (list, tuple)):
        for inner in x:
            yield from flat(inner)
    elif x is not None and x is not False:
        raise Unfit(
            f"it is called with {x!r:.40}; supported are values that the model computes, and its inputs: "
            "give what is constant as another input"
        )
