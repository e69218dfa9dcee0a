"""Recurrent layers.  Sequences of ONNX are (steps, examples, features), or by layout 1 as ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortex_compute.frozen import frozen
from cortex_core.exchange.build import Unfit
from cortex_core.exchange.from_onnx.at import At
from cortex_core.exchange.from_onnx.operators import operator
from cortex_core.exchange.from_onnx.value import Known, Mixed, Value, shown

ACTIVATIONS = {
    **{"Tanh": "tanh", "Relu": "relu", "Sigmoid": "sigmoid", "Softsign": "softsign", "Softplus": "softplus"},
}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
KINDS = {"RNN": "simple_rnn", "GRU": "gru", "LSTM": "lstm"}
ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
"""Where ONNX has our gates: its are update, reset, hidden; and input, output, forget, cell."""
WAYS = {"forward": 1, "reverse": 1, "bidirectional": 2}


@frozen
class Axes:
    """Which axes of ONNX the steps, the examples and the directions are, of a sequence and of a state."""

    steps: int
    batch: int
    of_output: tuple[int, int, int]  # steps, directions and examples of Y
    of_state: tuple[int, int]  # directions and examples of Y_h and Y_c


LAYOUTS = {0: Axes(0, 1, (0, 1, 2), (0, 1)), 1: Axes(1, 0, (1, 2, 0), (1, 0))}


@operator("RNN", "LSTM", "GRU", since=(7, 14, 22))
def recurrent(at: At) -> list[Value]:
    x, axes = at.value(), LAYOUTS[at.expect("layout", 0, 1)]
    if x.rank != 3 or x.batch != axes.batch:
        raise Mixed(f"its input is {shown(x)}; the examples must lie along axis {axes.batch}")
    direction = at.expect("direction", *WAYS)
    w, r, count = at.weights(1), at.weights(2), WAYS[direction]
    units = at.attribute("hidden_size", r.shape[-1])
    gates = len(ORDER[at.op])
    if w.shape[:2] != (count, gates * units) or r.shape != (count, gates * units, units):
        raise Unfit(f"W and R have the shapes {[*w.shape]} and {[*r.shape]}, for hidden_size {units}")
    own = [_weights(at, way, units) for way in range(count)]
    fields = _fields(at, units, count, axes) | {"use_bias": "bias" in own[0]}
    lying = at.lay(x, [axes.steps, 2])
    kind = KINDS[at.op]
    if count == 1:
        y = at.put(kind, lying, weights=own[0], reverse=direction == "reverse", **fields)
    else:
        weights = {
            f"{way}_{name}": array
            for way, ws in zip(("forward", "backward"), own)
            for name, array in ws.items()
        }
        inner = {name.rstrip("_"): value for name, value in fields.items() if value is not None}
        y = at.put("bidirectional", lying, weights=weights, layer={kind: inner})
    return _results(at, y, units, count, axes)


def _weights(at: At, way: int, units: int) -> dict[str, np.ndarray]:
    """The weights of one direction, with the gates in our order."""
    order = ORDER[at.op]
    kernel, recurrent = (_turned(at.weights(i)[way], order, units).T for i in (1, 2))
    found = {"kernel": np.ascontiguousarray(kernel), "recurrent_kernel": np.ascontiguousarray(recurrent)}
    if at.has(3):
        of_x, of_h = (_turned(b, order, units) for b in np.split(at.weights(3)[way], 2))
        if at.op == "GRU" and at.attribute("linear_before_reset", 0):
            found["recurrent_bias"] = of_h[2 * units :]
            of_h = np.concatenate([of_h[: 2 * units], np.zeros(units, np.float32)])
        found["bias"] = of_x + of_h
    return found


def _turned(array: np.ndarray, order: tuple[int, ...], units: int) -> np.ndarray:
    """Rows of the gates in our order."""
    return np.concatenate([array[k * units : (k + 1) * units] for k in order])


def _fields(at: At, units: int, count: int, axes: Axes) -> dict[str, Any]:
    """What our layer says of its gates, its states and its steps."""
    names = at.attribute("activations", DEFAULTS[at.op] * count)
    given = {name: at.attribute(f"activation_{name}", []) for name in ("alpha", "beta")}
    found = _activations(names, given)
    if len(names) != len(DEFAULTS[at.op]) * count or found[: len(names) // count] * count != found:
        raise Unfit(f"activations are {names!r:.80}; supported are the same in both directions")
    if at.op == "LSTM" and found[1] != found[2]:
        raise Unfit(f"activations are {names!r:.80}; supported is one for the cell and what it gives")
    if at.attribute("clip", None) is not None or at.attribute("input_forget", 0):
        raise Unfit("clip and input_forget are not supported")
    if at.has(7) and at.op == "LSTM" and np.any(at.weights(7)):
        raise Unfit("peepholes (its input P) are not supported")
    fields: dict[str, Any] = {"units": units, "activation": found[-1], "return_": _gives(at)}
    if at.op != "RNN":
        fields["recurrent_activation"] = found[0]
    if at.op == "GRU":
        fields["reset_after"] = bool(at.attribute("linear_before_reset", 0))
    lengths = _lengths(at)
    return fields | {"initial": _initial(at, count, axes), "lengths": lengths}


def _activations(names: list[str], given: dict[str, list[float]]) -> list[Any]:
    """Those of our layer.  Alphas and betas follow one another as the activations do that have such."""
    alphas, betas = iter(given["alpha"]), iter(given["beta"])
    found: list[Any] = []
    for name in names:
        slope = next(alphas, 0.2) if name == "HardSigmoid" else 0
        if name == "HardSigmoid" and next(betas, 0.5) == 0.5:
            found.append({"hard_sigmoid": {"slope": slope}})
        elif name == "Elu":
            found.append({"elu": {"alpha": next(alphas, 1.0)}})
        elif name in ACTIVATIONS:
            found.append(ACTIVATIONS[name])
        else:
            told = f"{', '.join(ACTIVATIONS)}, Elu, and HardSigmoid with a beta of 0.5"
            raise Unfit(f"the activation {name!r:.40} with {given}; supported: {told}")
    if [*alphas, *betas]:
        raise Unfit(f"activations are {names!r:.80}; there are more of {given} than these have")
    return found


def _gives(at: At) -> str:
    sequence, states = at.wanted[0], any(at.wanted[1:])
    if sequence or any(at.wanted[2:]):
        return "both" if states else "sequence"
    return "last"


def _lengths(at: At) -> str | None:
    """How many steps count, where not all do."""
    found = at.any(4) if at.has(4) else None
    if isinstance(found, Value):
        return found.source
    if found is not None and not np.all(found.one == found.one.reshape(-1)[:1]):
        raise Unfit("sequence_lens is constant, and other for each example; make it an input")
    if (
        found is not None
        and found.one.size
        and at.value().sizes[LAYOUTS[at.attribute("layout", 0)].steps] != found.one.flat[0]
    ):
        raise Unfit("sequence_lens is constant, and not the number of steps; make it an input")
    return None


def _initial(at: At, count: int, axes: Axes) -> list[str] | None:
    """The first states: for each direction the hidden one, and of an lstm the cell."""
    given = [at.any(i) if at.has(i) else None for i in ((5, 6) if at.op == "LSTM" else (5,))]
    if all(x is None or (isinstance(x, Known) and not np.any(x.one)) for x in given):
        return None
    states = []
    for x in given:
        if not isinstance(x, Value):
            raise Unfit("its first states are constant, or one of them is; supported are zeros, and values")
        if x.rank != 3 or x.batch != axes.of_state[1]:
            raise Unfit(f"a first state is {shown(x)}; the examples must lie along axis {axes.of_state[1]}")
        lying = at.lay(x, [axes.of_state[0], 2])
        states.append(lying)
    found = []
    for way in range(count):
        for number, x in enumerate(states):
            found.append(
                at.put("select", x, part=f"initial_{number}_{way}", axis=1, index=way, order=(0, 1)).source
            )
    return found


def _results(at: At, y: Value, units: int, count: int, axes: Axes) -> list[Value]:
    """Y, Y_h and Y_c, with an axis of the directions."""
    gives = _gives(at)
    found: list[Value] = []
    state = _of_state(axes, count)
    if gives == "last":
        return [y, _apart(at, y, units, count, state, "last")]
    steps, ways, batch = axes.of_output
    places = {batch: 0, steps: 1, ways: 2, 3: 3} if count == 2 else {batch: 0, steps: 1, ways: None, 3: 2}
    order = tuple(places[i] for i in range(4))
    shape = [y.shape[0], count, units] if count == 2 else [*y.shape]
    found.append(at.reshape(y, shape, order, "directions"))
    for name in ("last", "cell") if at.op == "LSTM" else ("last",):
        if gives == "both":
            found.append(_apart(at, at.beside(y, name, (0, 1)), units, count, state, name))
    return found


def _of_state(axes: Axes, count: int) -> tuple[int | None, ...]:
    ways, batch = axes.of_state
    places: dict[int, int | None] = {batch: 0, ways: 1, 2: 2} if count == 2 else {batch: 0, ways: None, 2: 1}
    return tuple(places[i] for i in range(3))


def _apart(at: At, x: Value, units: int, count: int, order: tuple[int | None, ...], part: str) -> Value:
    """A state with both directions side by side, as two rows."""
    return at.reshape(x, [count, units] if count == 2 else [units], order, part)
