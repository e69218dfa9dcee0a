"""Convolutions.  Kernels lie as ours; only those of each channel have another shape, (..., in, m)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.activations import activation
from cortex_core.exchange.keras.at import At, translates
from cortex_core.exchange.keras.legacy import OF_THEANO
from cortex_core.exchange.keras.model import each_axis
from cortex_core.exchange.keras.value import Value

Weights = dict[str, np.ndarray]


def numbers(at: At, key: str, rank: int) -> list[int]:
    """A field that has a number for each spatial axis, or one for all."""
    return each_axis(at.get(key), rank)


def _rank(x: Value) -> int:
    return len(x.shape) - 1


def _windows(at: At, x: Value) -> dict[str, Any]:
    """The windows of a convolution, its bias and its activation, as our fields."""
    rank = _rank(x)
    kernel, dilation = numbers(at, "kernel_size", rank), _dilation(at, rank)
    strides = numbers(at, "strides", rank)
    padding: Any = at.expect("padding", "valid", "same", "causal", OF_THEANO)
    reach = [(k - 1) * d for k, d in zip(kernel, dilation)]
    if padding == "causal":
        padding = [[r, 0] for r in reach]
    if padding == OF_THEANO:
        padding = around([(r + 1) // 2 for r in reach], reach, strides)
    return {
        "kernel": kernel,
        "stride": strides,
        "padding": padding,
        "dilation": dilation,
        "use_bias": at.get("use_bias", True),
        "activation": activation(at, moved=x.moved),
    }


def around(before: Sequence[int], reach: Sequence[int], strides: Sequence[int]) -> Any:
    """The padding of Theano: this before the first element, and behind the last what a window has more."""
    if all(s == 1 and b == r // 2 for b, r, s in zip(before, reach, strides)):
        return "same"
    return [[b, r - b] for b, r in zip(before, reach)]


def _dilation(at: At, rank: int) -> list[int]:
    return numbers(at, "dilation_rate", rank) if at.get("dilation_rate", None) else [1] * rank


def _weights(at: At, *kernels: str) -> Weights:
    names = (*kernels, "bias") if at.get("use_bias", True) else kernels
    return dict(zip(names, at.arrays(*names)))


@translates("Conv1D", "Conv2D", "Conv3D")
def conv(at: At) -> Value:
    x = at.channels(at.any())
    fields = _windows(at, x) | {"filters": at.get("filters"), "groups": at.get("groups", 1)}
    return at.put(f"conv{_rank(x)}d", x, weights=_weights(at, "kernel"), **fields)


def _of_each_channel(kernel: np.ndarray) -> np.ndarray:
    return kernel.reshape(*kernel.shape[:-2], 1, math.prod(kernel.shape[-2:]))


@translates("LocallyConnected1D", "LocallyConnected2D")
def locally_connected(at: At) -> Value:
    """Of Keras 1 and 2, with an array of kernels for each place."""
    x = at.channels(at.any())
    if at.get("implementation", 1) != 1:
        raise Unfit(
            f"its weights lie as implementation {at.get('implementation')!r:.20} keeps them; supported is 1, "
            "with a kernel (places, window, filters): build the model with it, in Keras, and copy the weights"
        )
    at.expect("padding", "valid")
    fields = {
        "filters": at.get("filters"),
        "kernel": numbers(at, "kernel_size", _rank(x)),
        "stride": numbers(at, "strides", _rank(x)),
        "use_bias": at.get("use_bias", True),
        "activation": activation(at, moved=x.moved),
    }
    return at.put(f"locally_connected{_rank(x)}d", x, weights=_weights(at, "kernel"), **fields)


@translates("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise(at: At) -> Value:
    x = at.channels(at.any())
    at.expect("groups", 1)
    weights = _weights(at, "kernel")
    weights["kernel"] = _of_each_channel(weights["kernel"])
    fields = _windows(at, x) | {"multiplier": at.get("depth_multiplier", 1)}
    return at.put(f"depthwise_conv{_rank(x)}d", x, weights=weights, **fields)


@translates("SeparableConv1D", "SeparableConv2D")
def separable(at: At) -> Value:
    x = at.channels(at.any())
    at.expect("groups", 1)
    weights = _weights(at, "depthwise_kernel", "pointwise_kernel")
    weights["depthwise_kernel"] = _of_each_channel(weights["depthwise_kernel"])
    fields = _windows(at, x) | {
        "filters": at.get("filters"),
        "multiplier": at.get("depth_multiplier", 1),
    }
    return at.put(f"separable_conv{_rank(x)}d", x, weights=weights, **fields)


@translates("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def transposed(at: At) -> Value:
    x = at.channels(at.any())
    rank = _rank(x)
    at.expect("padding", "valid", "same", OF_THEANO)
    at.expect("groups", 1)
    told = at.get("output_shape", None)
    sizes = _sizes(at, rank) if told is None else _told_sizes(at, x, told)
    fields = _windows(at, x) | {"filters": at.get("filters")} | sizes
    return at.put(f"conv_transpose{rank}d", x, weights=_weights(at, "kernel"), **fields)


def _sizes(at: At, rank: int) -> dict[str, Any]:
    """What is cut off and added, so that the output is as large as in Keras.

    Of n elements and windows that reach over r, `valid` makes (n - 1) stride + max(r, stride), `same`
    n stride; where the file says output_padding, (n - 1) stride + it, and r, of `same` r % 2, more.
    """
    reach = [(k - 1) * d + 1 for k, d in zip(numbers(at, "kernel_size", rank), _dilation(at, rank))]
    same = at.get("padding") == "same"
    if at.get("padding") == OF_THEANO:
        return _cut(reach, [r - s for r, s in zip(reach, numbers(at, "strides", rank))])
    if at.get("output_padding", None) is None:
        more = [max(0, s - r) for s, r in zip(numbers(at, "strides", rank), reach)]
        return {} if same else {"output_padding": more}
    extra = numbers(at, "output_padding", rank)
    if not same:
        return {"output_padding": extra}
    less = [r - r % 2 - e for r, e in zip(reach, extra)]
    pairs = [[max(0, n // 2), max(0, n - max(0, n // 2))] for n in less]
    return {"padding": pairs, "output_padding": [max(0, -n) for n in less]}


def _cut(reach: Sequence[int], less: Sequence[int]) -> dict[str, Any]:
    """The same of Theano, which cuts off half a window before the first element, whatever the stride; by
    ``less`` the output is shorter than what all windows reach over."""
    behind = [n - r // 2 for n, r in zip(less, reach)]
    pairs = [[r // 2, max(0, n)] for r, n in zip(reach, behind)]
    return {"padding": pairs, "output_padding": [max(0, -n) for n in behind]}


def _told_sizes(at: At, x: Value, told: Sequence[Any]) -> dict[str, Any]:
    """The same for Keras 1, which says how large the output is: ``told``, with its batch and channels."""
    rank = _rank(x)
    first = at.get("data_format", None) == "channels_first"
    wanted, lengths = [*(told[2:] if first else told[1:-1])], x.there[:-1]
    if len(wanted) != rank or None in (*wanted, *lengths):
        raise Unfit(f"output_shape is {told!r:.60}, of an input of {[*lengths]}: expected whole numbers")
    steps, kernel = numbers(at, "strides", rank), numbers(at, "kernel_size", rank)
    more = [w - (n - 1) * s - k for w, n, s, k in zip(wanted, lengths, steps, kernel)]  # type: ignore[operator]
    if at.get("padding") == OF_THEANO:
        return _cut(kernel, [-m for m in more])
    pairs = [[n // 2, n - n // 2] for n in (max(0, -m) for m in more)]
    return {"padding": pairs, "output_padding": [max(0, m) for m in more]}
