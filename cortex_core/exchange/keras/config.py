"""The configuration of a model, as any version of Keras writes it, in one form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.classes import IS_CODE, judged, text
from cortex_core.exchange.keras.legacy import WRAPPERS
from cortex_core.exchange.keras.model import Call, Layer, Model, Out, release
from cortex_core.exchange.keras.nodes import GRAPHS, called, from_zero, references
from cortex_core.exchange.keras.old import SILENT, modern, orders
from cortex_core.exchange.keras.order import INPUT, check, count
from cortex_core.exchange.keras.values import decoded

SEQUENTIAL, TIME_DISTRIBUTED = "Sequential", "TimeDistributed"
INNER = ("layer", "backward_layer", "cell")
"""Fields of wrappers that hold another layer; `cells` holds several."""

Data = Mapping[str, Any]
Chain = tuple[list[Layer], list[Out], list[Out]]  # layers, their inputs, and what the last of them give

SHARED = "shared_object_id"
MAX_CALLS = 100_000
MAX_NESTING = 32


def version_of(config: Data, told: str = "") -> str:
    """The version of Keras that wrote a configuration; "3" where only Keras 3 would say so little."""
    found = told or config.get("keras_version") or ("3" if "module" in config else "")
    return found if isinstance(found, str) else ""


def read_model(config: Data, version: str = "") -> Model:
    """The model of a configuration, without weights.

    ``config`` is the JSON of `model.to_json()`, of ``config.json`` in an archive, or of ``model_config`` in
    an HDF5 file.  Raises `SpecError` for what is no model; a layer that must not be imported says so in
    `Layer.refused`.
    """
    if "class_name" not in _mapping(config, "the configuration"):
        there = ", ".join(map(text, islice(config, 8))) or "nothing"
        told = f"it holds {there:.200}, and no 'class_name'; expected what `model.to_json()` writes"
        raise SpecError(f"this is no architecture of Keras: {told}")
    kind, refused = judged(config)
    if kind not in (SEQUENTIAL, *GRAPHS) or refused:
        told = f"the model is of the class '{kind}', whose code is not in the file"
        raise SpecError(f"{told}: give a description of it, and the file as its weights")
    version = version_of(config, version)
    found = orders(config) if release(version) < (2,) else set()
    model = _Reader(version, found).model(config, kind.lower(), ())
    if any(layer.config["batch_shape"] is None for layer in inputs_of(model)):
        raise SpecError(f"{model.name}: the configuration does not say the shape of its input")
    if count(model) > MAX_CALLS:
        raise SpecError(f"{model.name}: its layers are called more than {MAX_CALLS:,} times")
    return model


class _Reader:
    """Reads the layers of one version; ``outer`` are the names of the models around.

    ``orders``: of the axes, in the layers that say theirs, where the version does not write those of all.
    """

    def __init__(self, version: str, orders: set[str]) -> None:
        self.version = version
        self.orders = orders
        self.invented = 0

    def model(self, data: Data, name: str, outer: Sequence[str]) -> Model:
        config = data.get("config")
        told = config.get("name") if isinstance(config, Mapping) else None
        name = _name(told, "a model") if told is not None else name
        if len(outer) >= MAX_NESTING:
            raise SpecError(f"models nest deeper than {MAX_NESTING} levels")
        inside = (*outer, name)
        made = self._sequential(config, inside) if _is_list(data) else self._graph(config, inside)
        check(made, "/".join(inside))
        return made

    # Sequential

    def _sequential(self, config: Any, inside: Sequence[str]) -> Model:
        place = "/".join(inside)
        told = {"layers": config} if isinstance(config, list) else _mapping(config, place)
        entries = _list(told.get("layers"), f"{place}: layers")
        if not entries:
            raise SpecError(f"{place}: the model has no layers")
        first = _mapping(entries[0], f"{place}: its first layer")
        layers, inputs, last = self._branches(first, inside) if _merges(first) else _nothing()
        for entry in entries:
            layer = self.layer(entry, inside)
            if not layers:
                layers += [layer] if layer.kind == INPUT else _before(layer, told.get("build_input_shape"))
                inputs = last = [Out(x.name) for x in layers]
            if layer is layers[0]:
                continue
            call = Call((last[0] if len(last) == 1 else last,), {})
            layers.append(replace(layer, calls=(call,)))
            last = [Out(layer.name)]
        return Model(inside[-1], tuple(layers), tuple(inputs), tuple(last))

    def _branches(self, merge: Data, inside: Sequence[str]) -> Chain:
        """The layers of the models that a Merge of Keras 1 puts together; the file has their weights as if
        they were of the model itself."""
        place = f"{'/'.join(inside)}: the layers of a Merge"
        layers, inputs, last = _nothing()
        for entry in _list(merge["config"]["layers"], place):
            if not _is_list(_mapping(entry, place)):
                raise SpecError(f"{place}: expected Sequential models alone")
            branch = self.model(entry, self._invented(), inside)
            layers += branch.layers
            inputs += branch.inputs
            last += branch.outputs
        return layers, inputs, last

    def _invented(self) -> str:
        """A name for a model that Keras 1 writes without one."""
        self.invented += 1
        return f"sequential_{self.invented}"

    # Graphs

    def _graph(self, config: Any, inside: Sequence[str]) -> Model:
        place = "/".join(inside)
        entries = _list(_mapping(config, place).get("layers"), f"{place}: layers")
        layers = [self._called(entry, inside) for entry in entries]
        old = any(isinstance(node, list) for entry in entries for node in entry.get("inbound_nodes") or ())
        with _at(place):
            inputs = references(config.get("input_layers"))
            found, outputs = from_zero(layers, references(config.get("output_layers")), old)
        return Model(inside[-1], found, inputs, outputs)

    def _called(self, entry: Any, inside: Sequence[str]) -> Layer:
        layer = self.layer(entry, inside)
        place = f"{'/'.join(inside)}/{layer.name}"
        faults = [layer.refused] if layer.refused else []
        nodes = _list(entry.get("inbound_nodes") or [], f"{place}: inbound_nodes")
        with _at(place):
            calls = tuple(called(node, faults) for node in nodes)
        return replace(layer, calls=calls, refused=_told(faults))

    # Layers

    def layer(self, entry: Any, inside: Sequence[str]) -> Layer:
        """A layer that nothing calls yet."""
        place = f"a layer of {'/'.join(inside)}"
        data = _mapping(entry, place)
        kind, refused = judged(data)
        faults = [refused] if refused else []
        if not refused and (_is_list(data) or kind in GRAPHS):
            return self._nested(data, kind, inside)
        name = data.get("name") or _mapping(data.get("config"), place).get("name")
        if not refused and kind == TIME_DISTRIBUTED and _holds_model(data):
            return self._at_each_step(data, _name(name, place), inside)
        found, config = self.config(kind, data.get("config"), faults, f"{place} ({text(name)})")
        if found == INPUT:
            config = _input_config(config, name)
        named, shared = _name(name, place), shared_by(data)
        return Layer(named, found, config, (), refused=_told(faults), written=kind, shared=shared)

    def _nested(self, data: Data, kind: str, inside: Sequence[str]) -> Layer:
        name = data.get("name")
        model = self.model(data, self._invented() if name is None else _name(name, "a model"), inside)
        trainable = data["config"].get("trainable", True) if isinstance(data["config"], Mapping) else True
        return Layer(model.name if name is None else name, kind, {"trainable": trainable}, (), (), model)

    def _at_each_step(self, data: Data, name: str, inside: Sequence[str]) -> Layer:
        """A TimeDistributed that holds a model, like a model in a model."""
        faults: list[str] = []
        own = decoded({key: x for key, x in data["config"].items() if key != "layer"}, faults)
        model = self.layer(data["config"]["layer"], (*inside, name)).model
        kind, config = modern(TIME_DISTRIBUTED, own, self.version)
        return Layer(name, kind, config, (), (), model, _told(faults))

    def config(self, kind: str, config: Any, faults: list[str], place: str) -> tuple[str, dict[str, Any]]:
        """The class and the configuration of a layer, with those of a layer inside."""
        found = decoded(_mapping(config, f"{place}: config"), faults)
        for key in INNER:
            if isinstance(config.get(key), Mapping) or (key == "layer" and kind in WRAPPERS):
                found[key] = self._inner(config[key], faults, f"{place}: {key}")
        if isinstance(config.get("cells"), list):
            found["cells"] = [self._inner(cell, faults, f"{place}: cells") for cell in config["cells"]]
        kind, found = modern(kind, found, self.version)
        if kind in SILENT:
            self._ordered(found, faults)
        if kind == "Merge" and found["mode"] != "cos":
            told = f"its mode {text(found['mode'])} is not supported"
            faults.append(IS_CODE if config.get("mode_type") == "lambda" else told)
        return kind, found

    def _ordered(self, fields: dict[str, Any], faults: list[str]) -> None:
        """A layer that does not say the order of its axes has that of the others."""
        if len(self.orders) > 1 and "data_format" not in fields:
            faults.append("the file does not say the order of its axes, and its other layers have both")
        for order in self.orders:
            fields.setdefault("data_format", order)

    def _inner(self, data: Any, faults: list[str], place: str) -> dict[str, Any]:
        kind, refused = judged(_mapping(data, place))
        if refused:
            faults.append(f"the layer in it, {kind}: {refused}")
        if _is_list(data) or kind in GRAPHS:
            return {"class_name": kind, "config": decoded(data.get("config"), faults)}
        kind, config = self.config(kind, data.get("config"), faults, place)
        number = shared_by(data)
        return {"class_name": kind, "config": config, **({} if number is None else {SHARED: number})}


def shared_by(data: Data) -> int | None:
    """The number of an object that the file has several times; None where it does not say so."""
    found = data.get(SHARED)
    return found if type(found) is int else None


def _holds_model(data: Data) -> bool:
    """Whether the layer in a wrapper is a model."""
    config = data.get("config")
    inner = config.get("layer") if isinstance(config, Mapping) else None
    return isinstance(inner, Mapping) and judged(inner)[0] in (SEQUENTIAL, *GRAPHS) and not judged(inner)[1]


def _merges(first: Data) -> bool:
    """Whether it is a Merge of Keras 1 that holds the models before it."""
    config = first.get("config")
    return first.get("class_name") == "Merge" and isinstance(config, Mapping) and "layers" in config


def _nothing() -> Chain:
    return [], [], []


def _before(layer: Layer, built: Any) -> list[Layer]:
    """The inputs of a Sequential model that writes none: its first layer says their shapes."""
    if layer.model is not None and layer.kind != TIME_DISTRIBUTED:
        given = [(x.config["batch_shape"], x.config["dtype"]) for x in inputs_of(layer.model)]
    else:
        shape = layer.config.get("batch_shape") or layer.config.get("build_input_shape")
        given = [(shape, layer.config.get("input_dtype") or layer.config.get("dtype"))]
    if len(given) == 1 and given[0][0] is None:
        given = [(built, given[0][1])]
    ends = [f"_{number}" if len(given) > 1 else "" for number in range(len(given))]
    return [_input(f"{layer.name}_input{end}", *told) for end, told in zip(ends, given)]


def _input(name: str, shape: Any, dtype: Any) -> Layer:
    return Layer(name, INPUT, _input_config({"batch_shape": shape, "dtype": dtype}, name), ())


def _input_config(config: Mapping[str, Any], name: Any) -> dict[str, Any]:
    shape = config.get("batch_shape")
    good = isinstance(shape, list) and shape and all(x is None or (type(x) is int and x >= 0) for x in shape)
    if shape is not None and not good:
        raise SpecError(f"{text(name)}: the shape {text(shape)} is no list of whole numbers and null")
    dtype = config.get("input_dtype") or config.get("dtype")
    return {**config, "batch_shape": shape, "dtype": dtype if isinstance(dtype, str) else "float32"}


def inputs_of(model: Model) -> list[Layer]:
    """The layers that are a model's inputs, in their order."""
    layers = {layer.name: layer for layer in model.layers}
    return [layers[out.layer] for out in model.inputs]


def _is_list(data: Data) -> bool:
    return data.get("class_name") == SEQUENTIAL


def _told(faults: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(faults))


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Says where, in an error of what is inside."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{place}: {error}") from None


def _mapping(x: Any, place: str) -> Data:
    if not isinstance(x, Mapping):
        raise SpecError(f"{place}: {text(x)} is no mapping")
    return x


def _list(x: Any, place: str) -> list[Any]:
    if not isinstance(x, list):
        raise SpecError(f"{place}: {text(x)} is no list")
    return x


def _name(x: Any, place: str) -> str:
    if not (isinstance(x, str) and x and x.isprintable() and len(x) <= 500):
        raise SpecError(f"{place}: {text(x)} is no name")
    return x
