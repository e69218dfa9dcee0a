"""Weights of the recurrent and attention layers of a description, as PyTorch and Keras have them.

Here a layer's arrays stand under the names of its parameters ("kernel", "recurrent_kernel", "bias", ...; of a
bidirectional layer "forward_kernel", "backward_kernel", ...), as `network.parameters` has them behind the
layer's id.  For PyTorch they are those of a state_dict, for Keras a list as `layer.get_weights()` gives it.

`kind` is simple_rnn, lstm, gru (the inner one of a bidirectional layer) or multi_head_attention.  What the
other side has no place for is an `ArgumentError`, and so are weights of another kind.

A gru that multiplies by the reset gate after the product has a recurrent_bias, and so is told from one that
does so before it.  Without biases nothing tells them apart: PyTorch's is always the former, and of Keras both
layers must have the same ``reset_after``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError

Arrays = dict[str, np.ndarray]
GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}
WAYS = {"forward_": "", "backward_": "_reverse"}  # a prefix here, and what ends a name in PyTorch
DENSE = ("query", "key", "value", "output")
ATTENTION = "multi_head_attention"


def to_torch(kind: str, arrays: Mapping[str, Any], layer: int = 0, reset_after: bool | None = None) -> Arrays:
    """The entries of a state_dict of `nn.RNN`, `nn.LSTM`, `nn.GRU` or `nn.MultiheadAttention`.

    ``layer`` is that of a stack.  Where PyTorch has two biases, the sum stands in the first, and 0 in the
    second.  ``reset_after`` is the field of a gru; one without biases needs it here.
    """
    if _is_attention(kind):
        return _attention_to_torch(arrays)
    found: Arrays = {}
    for prefix, end in _ways(arrays, "forward_kernel").items():
        way = _of_way(kind, arrays, prefix)
        if kind == "gru":
            _expect_reset_after(way, reset_after)
        found |= {f"{name}_l{layer}{end}": x for name, x in _recurrence_to_torch(kind, way).items()}
    return found


def from_torch(kind: str, state: Mapping[str, Any], layer: int = 0) -> Arrays:
    """A layer's arrays out of a state_dict; entries of other layers of a stack do not matter."""
    if _is_attention(kind):
        return _attention_from_torch(state)
    found: Arrays = {}
    for prefix, end in _ways(state, f"weight_ih_l{layer}_reverse").items():
        way = _recurrence_from_torch(kind, state, f"_l{layer}{end}")
        found |= {prefix + name: x for name, x in way.items()}
    return found


def to_keras(kind: str, arrays: Mapping[str, Any], heads: int | None = None) -> list[np.ndarray]:
    """What `set_weights` of Keras's layer takes; ``heads`` are those of an attention layer."""
    if _is_attention(kind):
        return _attention_to_keras(arrays, heads)
    found = []
    for prefix in _ways(arrays, "forward_kernel"):
        found += _recurrence_to_keras(kind, _of_way(kind, arrays, prefix))
    return found


def from_keras(kind: str, weights: Sequence[Any]) -> Arrays:
    """A layer's arrays out of what `get_weights` of Keras's layer gives.

    A gru has a bias (2, 3 units) with ``reset_after``, and (3 units,) without.
    """
    given = [np.asarray(x) for x in weights]
    if _is_attention(kind):
        return _attention_from_keras(given)
    if len(given) not in (2, 3, 4, 6):
        raise ArgumentError(f"{kind}: {len(given)} arrays; needs kernel, recurrent_kernel and perhaps bias")
    if len(given) < 4:
        return _recurrence_from_keras(kind, given)
    half = len(given) // 2
    parts = {"forward_": given[:half], "backward_": given[half:]}
    return {p + k: x for p, part in parts.items() for k, x in _recurrence_from_keras(kind, part).items()}


def _is_attention(kind: str) -> bool:
    if kind != ATTENTION and kind not in GATES:
        raise ArgumentError(f"unknown kind {kind!r}; choose {', '.join(GATES)} or {ATTENTION}")
    return kind == ATTENTION


def _ways(arrays: Mapping[str, Any], sign: str) -> dict[str, str]:
    """The directions: one without a prefix, or two, if there is an array of the name ``sign``."""
    return WAYS if sign in arrays else {"": ""}


def _array(arrays: Mapping[str, Any], name: str) -> np.ndarray:
    if name not in arrays:
        raise ArgumentError(f"there is no {name!r} among {', '.join(arrays) or 'no arrays'}")
    found = arrays[name]
    return np.asarray(found.detach() if hasattr(found, "detach") else found)


def _of_way(kind: str, arrays: Mapping[str, Any], prefix: str) -> Arrays:
    """The arrays of one direction under the names of a layer that has but one."""
    names = ("kernel", "recurrent_kernel", "bias", "recurrent_bias", "projection")
    needed = [prefix + name for name in names[:2]]
    found = {name: _array(arrays, key) for name in names if (key := prefix + name) in (*arrays, *needed)}
    return _checked(kind, found)


def _checked(kind: str, arrays: Arrays) -> Arrays:
    """The same, if all shapes are those of the kind."""
    state = arrays["recurrent_kernel"]
    units = len(arrays.get("projection", state))
    columns = GATES[kind] * units
    expected: dict[str, tuple[int, ...]] = {
        "kernel": (len(arrays["kernel"]), columns),
        "recurrent_kernel": (len(state), columns),
        "bias": (columns,),
    }
    expected |= {"recurrent_bias": (units,)} if kind == "gru" else {}
    expected |= {"projection": (units, len(state))} if kind == "lstm" else {}
    for name, x in arrays.items():
        if name not in expected:
            raise ArgumentError(f"a {kind} has no {name}; this one is of shape {x.shape}")
        if x.shape != expected[name]:
            raise ArgumentError(
                f"{kind}: {name} has shape {x.shape}, recurrent_kernel {state.shape}; needs {expected[name]} "
                f"for {units} units and {GATES[kind]} * {units} columns"
            )
    return arrays


def _expect_reset_after(arrays: Arrays, told: bool | None) -> None:
    after = "recurrent_bias" in arrays if "bias" in arrays else told
    if after is None:
        raise ArgumentError("a gru without biases does not show its reset_after: give it, True or False")
    if not after or told is False:
        raise ArgumentError("PyTorch's GRU resets after the product; this one before it")


def _recurrence_to_torch(kind: str, arrays: Arrays) -> Arrays:
    found = {"weight_ih": _turned(arrays["kernel"]), "weight_hh": _turned(arrays["recurrent_kernel"])}
    if "bias" in arrays:
        second = np.zeros_like(arrays["bias"])
        if kind == "gru":
            inner = arrays["recurrent_bias"]
            second[-len(inner) :] = inner
        found |= {"bias_ih": arrays["bias"].copy(), "bias_hh": second}
    if "projection" in arrays:
        found["weight_hr"] = _turned(arrays["projection"])
    return found


def _recurrence_from_torch(kind: str, state: Mapping[str, Any], end: str) -> Arrays:
    found = {"kernel": _turned(_array(state, f"weight_ih{end}"))}
    found["recurrent_kernel"] = _turned(_array(state, f"weight_hh{end}"))
    if f"weight_hr{end}" in state:
        found["projection"] = _turned(_array(state, f"weight_hr{end}"))
    _checked(kind, found)
    if f"bias_ih{end}" in state:
        found |= _one_bias(kind, _array(state, f"bias_ih{end}"), _array(state, f"bias_hh{end}"))
    return _checked(kind, found)


def _one_bias(kind: str, of_input: np.ndarray, of_state: np.ndarray) -> Arrays:
    """The sum of both; the state's of a gru's candidate, which comes last, stays by itself."""
    if kind != "gru":
        return {"bias": of_input + of_state}
    gates = len(of_input) // 3 * 2
    bias = np.concatenate([of_input[:gates] + of_state[:gates], of_input[gates:]])
    return {"bias": bias, "recurrent_bias": of_state[gates:].copy()}


def _recurrence_to_keras(kind: str, arrays: Arrays) -> list[np.ndarray]:
    if "projection" in arrays:
        raise ArgumentError("Keras's LSTM has no projection")
    found = [arrays["kernel"], arrays["recurrent_kernel"]]
    if "bias" in arrays:
        bias = arrays["bias"]
        if "recurrent_bias" in arrays:
            inner = arrays["recurrent_bias"]
            bias = np.stack([bias, np.concatenate([np.zeros(2 * len(inner), inner.dtype), inner])])
        found.append(bias)
    return [_other_gates(kind, x) for x in found]


def _recurrence_from_keras(kind: str, given: Sequence[np.ndarray]) -> Arrays:
    _checked(kind, {"kernel": given[0], "recurrent_kernel": given[1]})
    kernel, state, *bias = (_other_gates(kind, x) for x in given)
    found = {"kernel": kernel, "recurrent_kernel": state}
    for b in bias:
        found |= _one_bias(kind, *b) if kind == "gru" and b.ndim == 2 else {"bias": b}
    return _checked(kind, found)


def _other_gates(kind: str, x: np.ndarray) -> np.ndarray:
    """Keras has a gru's update gate before the reset gate, on the last axis."""
    if kind != "gru":
        return x.copy()
    first, second, candidate = np.split(x, 3, -1)
    return np.concatenate([second, first, candidate], -1)


def _attention_to_torch(arrays: Mapping[str, Any]) -> Arrays:
    q, k, v, out = (_turned(_array(arrays, f"{name}_kernel")) for name in DENSE)
    size = q.shape[1]
    if not len(q) == len(k) == len(v) == out.shape[0] == size:
        raise ArgumentError(
            f"PyTorch's MultiheadAttention has one size for query, heads and output; here {size} channels "
            f"become {len(q)}, {len(k)} and {len(v)}, and {out.shape[0]} at the end"
        )
    if k.shape[1] == v.shape[1] == size:
        found = {"in_proj_weight": np.concatenate([q, k, v])}
    else:
        found = {"q_proj_weight": q, "k_proj_weight": k, "v_proj_weight": v}
    found["out_proj.weight"] = out
    if "query_bias" in arrays:
        q_bias, k_bias, v_bias, out_bias = (_array(arrays, f"{name}_bias") for name in DENSE)
        found |= {"in_proj_bias": np.concatenate([q_bias, k_bias, v_bias]), "out_proj.bias": out_bias.copy()}
    return found


def _attention_from_torch(state: Mapping[str, Any]) -> Arrays:
    if "bias_k" in state:
        raise ArgumentError("a layer of a description has no bias_k and bias_v (add_bias_kv)")
    if "in_proj_weight" in state:
        weights = np.split(_array(state, "in_proj_weight"), 3)
    else:
        weights = [_array(state, f"{name}_proj_weight") for name in "qkv"]
    weights.append(_array(state, "out_proj.weight"))
    found = {f"{name}_kernel": _turned(x) for name, x in zip(DENSE, weights)}
    if "in_proj_bias" in state:
        biases = [*np.split(_array(state, "in_proj_bias"), 3), _array(state, "out_proj.bias")]
        found |= {f"{name}_bias": x.copy() for name, x in zip(DENSE, biases)}
    return found


def _attention_to_keras(arrays: Mapping[str, Any], heads: int | None) -> list[np.ndarray]:
    width = _array(arrays, "query_kernel").shape[1]
    if not heads or width % heads:
        raise ArgumentError(f"heads={heads}: say into how many heads {width} numbers are split")
    size = width // heads
    found = []
    for name in DENSE:
        kernel = _array(arrays, f"{name}_kernel")
        last = name == "output"
        found.append(kernel.reshape((-1, size, kernel.shape[1]) if last else (kernel.shape[0], -1, size)))
        if f"{name}_bias" in arrays:
            bias = _array(arrays, f"{name}_bias")
            found.append(bias if last else bias.reshape(-1, size))
    return [x.copy() for x in found]


def _attention_from_keras(given: Sequence[np.ndarray]) -> Arrays:
    if len(given) not in (4, 8):
        raise ArgumentError(
            f"{ATTENTION}: {len(given)} arrays; needs 4 kernels, and perhaps a bias after each"
        )
    step = len(given) // 4
    found: Arrays = {}
    for name, kernel in zip(DENSE, given[::step]):
        rows = kernel.shape[0] if name != "output" else -1
        found[f"{name}_kernel"] = kernel.reshape(rows, -1 if name != "output" else kernel.shape[-1]).copy()
    if step == 2:
        found |= {f"{name}_bias": x.flatten() for name, x in zip(DENSE, given[1::2])}
    return found


def _turned(x: Any) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(x).T)
