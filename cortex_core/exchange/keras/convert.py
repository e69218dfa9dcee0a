"""A model of Keras becomes a description with weights."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

from cortex_compute.errors import CortexError, SpecError
from cortex_compute.frozen import frozen
from cortex_core.exchange.build import Builder, Unfit
from cortex_core.exchange.keras import translators
from cortex_core.exchange.keras.at import At, Translator, flat
from cortex_core.exchange.keras.classes import text
from cortex_core.exchange.keras.config import TIME_DISTRIBUTED
from cortex_core.exchange.keras.model import Call, File, Layer, Model, Out, release
from cortex_core.exchange.keras.order import INPUT, steps
from cortex_core.exchange.keras.refused import REFUSED
from cortex_core.exchange.keras.steps import Steps
from cortex_core.exchange.keras.tokens import tokens
from cortex_core.exchange.keras.unsaid import penalties
from cortex_core.exchange.keras.value import Value
from cortex_core.registry import nearest

WIDE = ("int32", "int64", "uint32", "uint64")
"""Whole numbers that float32 does not hold; all others are what they are in it, too."""
SIGNED = ("int32", "int64")
"""Whose numbers are taken not to wrap."""
MOST_TOLD = 50
"""Of so many layers that cannot be imported it is said why."""

HOW_TO_MAP = "--map NAME=block.yaml maps a layer to a block; in Python maps={'NAME': block} does"


@frozen
class Fault:
    """A layer that cannot be imported, and why."""

    layer: str
    kind: str
    told: str

    def __str__(self) -> str:
        return f"{self.layer} ({self.kind}): {self.told}"


@dataclass
class Converted:
    """What became of a model.

    ``results`` holds, by the path of a Keras layer (``outer/inner``), the values of each of its calls.
    """

    builder: Builder
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    results: dict[str, list[list[Value]]] = field(default_factory=dict)
    faults: dict[Fault, None] = field(default_factory=dict)  # each once, in their order
    notes: list[str] = field(default_factory=list)

    def description(self, name: str) -> dict[str, Any]:
        """The description as plain data."""
        outputs = [v.source for v in self.outputs]
        return {
            "cortex": 1,
            "name": name,
            "inputs": self.builder.inputs,
            "layers": self.builder.layers,
            "outputs": list(dict.fromkeys(outputs)),
        }


def convert(
    file: File, maps: Mapping[str, Translator] | None = None, builder: Builder | None = None
) -> Converted:
    """The description and weights of all that a file holds.

    ``maps`` are the user's translators, by the path or the name of a layer, or by its class; ``builder`` is
    what puts the layers, where it is not a new one.  Raises
    `SpecError` with every layer that cannot be imported, all at once.
    """
    made = Converted(builder or Builder())
    walk = _Walk(made, maps or {}, release(file.version))
    walk.model(file.model)
    if made.faults:
        lines = [f"  {fault}" for fault in islice(made.faults, MOST_TOLD)]
        more = len(made.faults) - len(lines)
        lines += [f"  and {more:,} more"] if more else []
        told = f"{len(made.faults):,} of the model's layers cannot be imported:"
        raise SpecError("\n".join((told, *lines, HOW_TO_MAP, *walk.unmatched())))
    if walk.unused:
        raise SpecError("\n".join(walk.unmatched()))
    _drop_unused(made)
    return made


def _drop_unused(made: Converted) -> None:
    """What leads to no output is left out, such as the operations that make a mask which nobody takes."""
    kept = made.builder.keep(v.source for v in made.outputs)
    for path, calls in list(made.results.items()):
        found = [call for call in calls if all(v.source.partition(".")[0] in kept for v in call)]
        made.results[path] = found
        if not found:
            del made.results[path]


Table = dict[Out, Value | None]
Data = Mapping[str, Any]


class _Walk:
    """Calls each layer's translator in order; a value that depends on what is not known is None."""

    def __init__(self, made: Converted, maps: Mapping[str, Translator], version: tuple[int, ...]) -> None:
        self.made, self.maps, self.version = made, maps, version
        self.owners: dict[str, str] = {}
        self.unused = dict.fromkeys(maps)
        self.known: dict[str, None] = {}

    def model(self, model: Model) -> None:
        values: Table = {}
        layers = {layer.name: layer for layer in model.layers}
        whole = tokens(model)
        names = {out.layer for out in model.inputs}
        for out in model.inputs:
            values[out] = self._input(layers[out.layer], out in whole, names)
            self.made.inputs.append(values[out])  # type: ignore[arg-type]
        self._layers(model, values, "")
        found = [values.get(out) for out in model.outputs]
        self.made.outputs += [self._made(v) for v in found if v is not None]

    def _made(self, value: Value) -> Value:
        """An output; an input that is one as it is goes through a layer, as a description needs."""
        if value.source not in self.made.builder.inputs:
            return value
        id_ = self.made.builder.name(f"{value.source}_out")
        return replace(value, source=self.made.builder.put(id_, "linear", {}, [value.source], {}))

    def _input(self, layer: Layer, tokens: bool, names: Container[str]) -> Value:
        shape = layer.config["batch_shape"]
        dtype = layer.config.get("dtype") or "float32"
        dtype = dtype if isinstance(dtype, str) else "float32"
        for key in ("ragged", "sparse"):
            if layer.config.get(key):
                self._fault(layer.name, layer, f"it takes {key} tensors, which are not supported")
        if dtype == "string":
            self._fault(layer.name, layer, "it takes text; give numbers, and the model from there on")
        known, held = tuple(shape[1:]), "int64" if tokens else _held(dtype)
        source = self.made.builder.input(layer.name, known, held, names)
        if source != layer.name:
            self.made.notes.append(f"input '{text(layer.name)}' is called '{source}' here")
        return Value(source, known, held, whole=dtype if "int" in dtype and dtype not in SIGNED else "")

    def _layers(self, model: Model, values: Table, prefix: str) -> None:
        for layer, number in steps(model):
            if layer.kind == INPUT and Out(layer.name) in values:
                continue
            path = prefix + layer.name
            results = self._called(layer, layer.calls[number], values, path)
            if results is not None:
                self.made.results.setdefault(path, []).append(results)
            for index, value in enumerate(results or ()):
                values[Out(layer.name, number, index)] = value

    def _called(self, layer: Layer, call: Call, values: Table, path: str) -> list[Value] | None:
        args, unknown = _filled(call.args, values)
        keywords, also_unknown = _filled(dict(call.keywords), values)
        whole = layer.model is not None and layer.kind != TIME_DISTRIBUTED
        if whole and layer.refused:
            self._fault(path, layer, layer.refused)
            return None
        if whole:
            return None if unknown or also_unknown else self._nested(layer, args, keywords, path)
        translator = self._translator(layer, path)
        if translator is None:
            told = layer.refused or REFUSED.get(layer.kind, "this class is not known")
            self._fault(path, layer, f"{told}; map it to a block")
            return None
        if unknown or also_unknown:
            return None
        at = At(
            layer,
            args,
            keywords,
            self.made.builder,
            path.replace("/", "_"),
            self.version,
            self.owners,
            self.made.notes,
        )
        if layer.model is not None:
            at.model = partial(self._at_each_step, layer, path)
        try:
            found = translator(at)
            at.finish()
        except Unfit as unfit:
            self._fault(path, layer, str(unfit))
            return None
        except CortexError as error:
            self._fault(path, layer, str(error))
            return None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # A file may hold anything where a translator expects a number, or a list of them.
            told = f"its configuration is not as Keras writes it ({type(error).__name__}: {error})"
            self._fault(path, layer, told)
            return None
        if path not in self.made.results:
            self.made.notes += penalties(at)
        return [found] if isinstance(found, Value) else list(found)

    def _translator(self, layer: Layer, path: str) -> Translator | None:
        """The user's, for the layer or for its class (without its package); else that of its class."""
        for name in (path, layer.name, layer.kind, layer.kind.rpartition(">")[2]):
            self.known[name] = None
            if name in self.maps:
                self.unused.pop(name, None)
                return self.maps[name]
        return None if layer.refused else translators.find(layer.kind)

    def unmatched(self) -> list[str]:
        """What is to be said of names to which something is mapped, and which the model does not have."""
        return [
            f"no layer or class of the model is called {name}, so nothing is mapped to it. {hint}".rstrip()
            for name in self.unused
            for hint in (nearest(name, self.known),)
        ]

    def _nested(self, layer: Layer, args: Any, keywords: Data, path: str) -> list[Value] | None:
        model = layer.model
        assert model is not None
        try:
            given = _inputs(model, args, keywords, self.version)
        except Unfit as unfit:
            self._fault(path, layer, str(unfit))
            return None
        values: Table = dict(zip(model.inputs, given))
        self._layers(model, values, f"{path}/")
        found = [values.get(out) for out in model.outputs]
        return None if None in found else found  # type: ignore[return-value]

    def _at_each_step(self, layer: Layer, path: str, x: Value) -> list[Value] | None:
        """What the model in a TimeDistributed makes of a value of one step.  What its layers give is for them
        alone: Keras never shows it."""
        made = replace(self.made, builder=Steps(self.made.builder), results={})
        inside = _Walk(made, self.maps, self.version)
        inside.owners, inside.unused = self.owners, self.unused
        return inside._nested(layer, x, {}, path)

    def _fault(self, path: str, layer: Layer, told: str) -> None:
        self.made.faults[Fault(path, layer.kind, told)] = None


def _inputs(model: Model, args: Any, keywords: Data, version: tuple[int, ...]) -> list[Value]:
    """What a nested model is called with.  Raises `Unfit`.

    A mask among the keywords stays with its value, also where that is another input too; None takes a mask
    away, before Keras 3.
    """
    given = list(flat(args))
    if len(given) != len(model.inputs):
        raise Unfit(f"it is called with {len(given)} values; expected {len(model.inputs)}")
    ignored = [key for key, x in keywords.items() if key != "mask" and x is not None and x is not False]
    if ignored:
        raise Unfit(f"it is called with {', '.join(ignored)}, which is not supported of a model in a model")
    if keywords.get("mask") is None:
        return given
    masks = list(_leaves(keywords["mask"]))
    if len(masks) != len(given) or not all(x is None or isinstance(x, Value) for x in masks):
        raise Unfit("its mask is no value, or None, for each of its inputs")
    told = [(x.source, mask) for x, mask in zip(given, masks) if mask is not None or version < (3,)]
    of = {source: mask and mask.source for source, mask in told}
    return [replace(x, mask=of.get(x.source, x.mask)) for x in given]


def _leaves(x: Any) -> Iterator[Any]:
    """What an argument holds, in the order of `flat`."""
    if isinstance(x, Mapping):
        x = [x[name] for name in sorted(x)]
    if isinstance(x, (list, tuple)):
        for inner in x:
            yield from _leaves(inner)
    else:
        yield x


def _held(dtype: str) -> str:
    """What an input holds here."""
    return {**dict.fromkeys(WIDE, "int64"), "bool": "bool"}.get(dtype, "float32")


def _filled(x: Any, values: Table) -> tuple[Any, bool]:
    """Arguments with values in place of `Out`, and whether one of them is not known."""
    if isinstance(x, Out):
        value = values.get(x)
        return value, value is None
    if isinstance(x, Mapping):
        pairs = {k: _filled(v, values) for k, v in x.items()}
        return {k: v for k, (v, _) in pairs.items()}, any(u for _, u in pairs.values())
    if isinstance(x, (list, tuple)):
        items = [_filled(v, values) for v in x]
        return [v for v, _ in items], any(u for _, u in items)
    return x, False
