"""Recurrent layers, cells of them, and those that walk both ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError
from cortex_compute.frozen import frozen
from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.activations import activation
from cortex_core.exchange.keras.at import At, flat, translates
from cortex_core.exchange.keras.convolution import around, numbers
from cortex_core.exchange.keras.legacy import OF_THEANO
from cortex_core.exchange.keras.model import Layer, Weight
from cortex_core.exchange.keras.numbered import snake_case
from cortex_core.exchange.keras.value import Value
from cortex_core.exchange.weights import from_keras

KINDS = {"SimpleRNN": "simple_rnn", "LSTM": "lstm", "GRU": "gru", "ConvLSTM2D": "conv_lstm2d"}
CELLS = {f"{kind}Cell": kind for kind in ("SimpleRNN", "LSTM", "GRU")}
STATES = {"lstm": ("last", "cell"), "conv_lstm2d": ("last", "cell")}
MERGES = {"concat": "concat", "sum": "sum", "mul": "multiply", "ave": "average"}
ALONE = {"concat": "concatenate", "sum": "add", "mul": "multiply", "ave": "average"}
BY_CLASS = "/cells/"
ZEROS_SINCE = (2, 4)
"""The version since which the sequences of both ways have zeros at steps that do not count; those of earlier
ones hold what they had."""


@frozen
class Told:
    """What a configuration says of one walk: a kind of ours, its fields and weights, and what is returned."""

    kind: str
    fields: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]
    backwards: bool
    sequence: bool
    state: bool
    zeros: bool

    @property
    def states(self) -> tuple[str, ...]:
        """The names of its states."""
        return STATES.get(self.kind, ("last",))

    @property
    def gives(self) -> str:
        """The field `return`."""
        return "both" if self.state else "sequence" if self.sequence else "last"


@frozen
class Called:
    """What a recurrent layer is called with: ``mask`` says which steps count for it, ``hands`` which do for
    what takes the sequence that it gives."""

    x: Value
    mask: str | None
    states: tuple[Value, ...]
    hands: str | None


@translates(*KINDS)
def recurrent(at: At) -> list[Value]:
    return _alone(at)


@translates("RNN")
def of_cells(at: At) -> list[Value]:
    several = at.get("cell")["class_name"] == "StackedRNNCells"
    return _stacked(at) if several else _alone(_with_cell(at))


def _alone(at: At) -> list[Value]:
    given, told = _called(at), _told(at)
    y, *states = _results(at, told, _walked(at, told, given))
    return [_turned(at, told, y, given.hands), *states]


def _stacked(at: At) -> list[Value]:
    """Cells that stand on each other are layers that do; their states follow each other."""
    given = _called(at)
    if at.version < (3,) and (given.states or at.get("return_state", False)):
        raise Unfit("states of stacked cells, given or returned, are not supported before Keras 3")
    cells = at.get("cell")["config"]["cells"]
    own = {key: at.get(key) for key in at.layer.config if key != "cell"}
    x, weights, first = given.x, _of_cells(at, cells), list(given.states)
    states: list[Value] = []
    for number, cell in enumerate(cells, 1):
        final = number == len(cells)
        config = {**own, "cell": cell, "return_sequences": not final or own.get("return_sequences", False)}
        inner = _with_cell(at.within(replace(at.layer, config=config, weights=weights[number - 1])))
        told = _told(inner)
        count = len(told.states)
        each = replace(given, x=x, states=tuple(first[:count]))
        first = first[count:]
        y = _walked(inner, told, each, "" if final else f"cell_{number}")
        x, *more = _results(inner, told, y)
        states += more
    if first:
        raise Unfit(f"it is given {len(first)} more states than its cells have")
    return [_turned(at, told, x, given.hands), *states]


def _of_cells(at: At, cells: Sequence[Mapping[str, Any]]) -> list[tuple[Weight, ...]]:
    """The weights of each cell; archives have them by the names of classes, not in the order of the cells."""
    if not any(BY_CLASS in w.name for w in at.layer.weights):
        return [at.next(2 + cell["config"].get("use_bias", True)) for cell in cells]
    groups: dict[str, tuple[Weight, ...]] = {}
    for weight in at.next(at.left()):
        label = weight.name.rpartition(BY_CLASS)[2].partition("/")[0]
        groups[label] = (*groups.get(label, ()), weight)
    found, seen = [], Counter[str]()
    for cell in cells:
        name = snake_case(cell["class_name"])
        found.append(groups.get(f"{name}_{seen[name]}" if seen[name] else name, ()))
        seen[name] += 1
    return found


@translates("Bidirectional")
def bidirectional(at: At) -> list[Value]:
    """One layer of ours where both ways are alike and their states are not asked for; else two."""
    ways = _ways(at)
    given = _called(at)
    forward, backward = (_told(way) for way in ways)
    if forward.backwards or not backward.backwards:
        raise Unfit("the layer goes backwards, or its backward layer does not: that is not supported")
    merge = at.expect("merge_mode", "concat", "sum", "mul", "ave", None)
    mask = given.hands if forward.sequence else None
    zeros = forward.sequence and at.version >= ZEROS_SINCE
    if merge and not forward.state and (forward.kind, forward.fields) == (backward.kind, backward.fields):
        y = _both(ways[0], forward, backward, given, MERGES[merge], zeros)
        return [replace(y, mask=mask)]
    half = len(given.states) // 2
    halves = given.states[:half], given.states[half:]
    found = []
    for way, told, states, part in zip(ways, (forward, backward), halves, ("forward", "backward")):
        y = _walked(way, replace(told, zeros=zeros), replace(given, states=states), part)
        found.append(_results(way, told, y))
    (y, *first), (z, *second) = found
    merged = [y, z] if merge is None else [at.put(ALONE[merge], [y, z])]
    return [*(replace(v, mask=mask) for v in merged), *first, *second]


def _ways(at: At) -> tuple[At, At]:
    """The layer, and the one that goes backwards, each with its half of the weights."""
    first = at.get("layer")
    second = at.get("backward_layer", None)
    if second is None:
        backwards = not first["config"].get("go_backwards", False)
        second = {**first, "config": {**first["config"], "go_backwards": backwards}}
    at.get("weights", None), at.get("num_constants", None)
    half = at.left() // 2
    halves = at.next(half), at.next(at.left())
    layers = (
        Layer(at.layer.name, way["class_name"], _inherited(at, way["config"]), (), weights)
        for way, weights in zip((first, second), halves)
    )
    one, other = map(at.within, layers)
    return one, other


def _inherited(at: At, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of a layer that stands in another: what is not trained there is not here."""
    return config if at.layer.config.get("trainable", True) else {**config, "trainable": False}


def _both(at: At, forward: Told, backward: Told, given: Called, merge: str, zeros: bool) -> Value:
    """A layer that walks both ways."""
    weights = {f"forward_{k}": w for k, w in forward.weights.items()}
    weights |= {f"backward_{k}": w for k, w in backward.weights.items()}
    inner = {**forward.fields, **_fields(replace(forward, backwards=False, zeros=zeros), given)}
    inner = {name.rstrip("_"): value for name, value in inner.items() if value is not None}
    return at.put("bidirectional", given.x, weights=weights, layer={forward.kind: inner}, merge=merge)


def _called(at: At) -> Called:
    """The sequence, its mask, and the states before its first step."""
    x, *states = flat(at.inputs)
    states += flat(at.keyword("initial_state"))
    mask = hands = at.mask_of(x)
    if states and at.version >= (3,) and not isinstance(at.keyword("mask"), Value):
        mask = None  # Keras 3 finds the mask of a sequence where that is the only tensor of the call
    if at.keyword("constants") is not None:
        raise Unfit("constants of a recurrent layer are not supported")
    return Called(at.plain(x), mask, tuple(states), hands)


def _told(at: At) -> Told:
    """What the configuration of a layer, or of a layer with a cell, says."""
    if at.kind == "RNN":
        return _told(_with_cell(at))
    if at.kind not in KINDS:
        raise Unfit(f"it holds a {at.kind}; supported: {', '.join(KINDS)}, and RNN of their cells")
    kind, use_bias = KINDS[at.kind], at.get("use_bias", True)
    fields: dict[str, Any] = {"use_bias": use_bias, "activation": _activation(at, "activation")}
    if kind != "simple_rnn":
        fields["recurrent_activation"] = _activation(at, "recurrent_activation")
    if kind == "gru":
        fields["reset_after"] = at.get("reset_after", False)
    fields |= _windows(at) if kind == "conv_lstm2d" else {"units": at.get("units")}
    at.get("unit_forget_bias", True)
    note_dropout(at, "dropout", "recurrent_dropout")
    told = Told(
        kind,
        fields,
        _weights(at, kind, use_bias),
        at.get("go_backwards", False),
        at.get("return_sequences", False),
        at.get("return_state", False),
        at.get("zero_output_for_mask", False),
    )
    stateful = at.get("stateful", False)
    at.finish()
    return replace(told, fields={**fields, **_carried(at, told)}) if stateful else told


def _activation(at: At, key: str) -> Any:
    """What our field says, whose default is not linear; a configuration that says nothing is refused."""
    at.get(key)
    return activation(at, key) or "linear"


def _with_cell(at: At) -> At:
    """A layer as if it was written without its cell."""
    cell = at.get("cell")
    if cell["class_name"] not in CELLS:
        raise Unfit(f"its cell is {cell['class_name']!r:.60}; supported: {', '.join(CELLS)}")
    own = {key: at.get(key) for key in at.layer.config if key not in ("cell", "name", "dtype")}
    config = {**cell["config"], **own}
    return at.within(Layer(at.layer.name, CELLS[cell["class_name"]], config, (), at.next(at.left())))


def _windows(at: At) -> dict[str, Any]:
    """The fields of a convolution."""
    at.expect("data_format", "channels_last", None)
    if at.get("dilation_rate", 1) not in (1, [1, 1]):
        raise Unfit(f"dilation_rate is {at.get('dilation_rate')}; supported: 1")
    return {
        "filters": at.get("filters"),
        "kernel": numbers(at, "kernel_size", 2),
        "stride": numbers(at, "strides", 2),
        "padding": _padding(at),
    }


def _padding(at: At) -> str:
    padding = at.expect("padding", "valid", "same", OF_THEANO)
    if padding != OF_THEANO:
        return str(padding)
    reach = [n - 1 for n in numbers(at, "kernel_size", 2)]
    if around([(r + 1) // 2 for r in reach], reach, numbers(at, "strides", 2)) != "same":
        raise Unfit("with strides, or windows of even size, the padding of Theano is not supported")
    return "same"


def _weights(at: At, kind: str, use_bias: bool) -> dict[str, np.ndarray]:
    names = ("kernel", "recurrent_kernel", "bias")[: 2 + use_bias]
    arrays = at.arrays(*names)
    if kind == "conv_lstm2d":
        return dict(zip(names, arrays))
    try:
        return from_keras(kind, arrays)
    except ArgumentError as error:
        raise Unfit(str(error)) from None


def note_dropout(at: At, *keys: str) -> None:
    """Says that rates of this configuration are not imported: they change no prediction."""
    rates = {key: at.get(key, 0) for key in keys}
    told = ", ".join(f"{key} {rate:g}" for key, rate in rates.items() if rate)
    if told:
        at.notes.append(f"{at.path}: {told} is not imported; training goes on without it")


def _carried(at: At, told: Told) -> dict[str, Any]:
    """The field of a layer that goes on from the batch before; here it does so in training alone."""
    at.notes.append(f"{at.path}: it is stateful; predictions here begin anew with each batch")
    return {} if told.backwards else {"stateful": True}


def _walked(at: At, told: Told, given: Called, part: str = "") -> Value:
    """The layer of ours; what it gives stands in the order of the steps."""
    if told.zeros and given.mask and not told.sequence:
        raise Unfit("zero_output_for_mask without return_sequences is not supported")
    fields = {**told.fields, **_fields(told, given)}
    return at.put(told.kind, given.x, part=part, weights=told.weights, **fields)


def _fields(told: Told, given: Called) -> dict[str, Any]:
    """What a layer says beside what is in its cell."""
    states = [s.source for s in given.states]
    held = given.mask and told.sequence and not told.zeros
    return {
        "return_": told.gives,
        "reverse": told.backwards,
        "mask": given.mask,
        "masked": "hold" if held else None,
        "initial": states or None,
    }


def _results(at: At, told: Told, y: Value) -> list[Value]:
    """The output, and the states that are asked for."""
    if not told.state:
        return [y]
    states = [at.beside(y, name) for name in told.states]
    return [y if told.sequence else states[0], *states]


def _turned(at: At, told: Told, y: Value, mask: str | None) -> Value:
    """Keras gives a sequence in the order in which it was walked along."""
    if not told.sequence:
        return replace(y, mask=None)
    return replace(at.put("flip", y, part="turned", axis=1) if told.backwards else y, mask=mask)
