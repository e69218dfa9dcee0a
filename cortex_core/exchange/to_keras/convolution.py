"""Convolutions.  Kernels lie as Keras's; those of each channel have another shape there, (..., in, m)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cortex_core.exchange.to_keras.activations import behind, ending
from cortex_core.exchange.to_keras.at import REFUSED, At, exports
from cortex_core.exchange.to_keras.graph import Tensor

Pairs = Sequence[Sequence[int]]

REFUSED.update(
    dict.fromkeys(
        ("locally_connected1d", "locally_connected2d"),
        "Keras 3 has no layer with other kernels at each place, as Keras 2 had; train with conv1d or conv2d",
    )
)


def rank(at: At) -> int:
    """How many spatial axes the input has."""
    return len(at.x.shape) - 1


def padded(at: At, x: Tensor, pairs: Pairs) -> Tensor:
    """x with zeros around it."""
    if not any(map(any, pairs)):
        return x
    sizes = [n if n is None else n + sum(pair) for n, pair in zip(x.shape, pairs)]
    kind = f"ZeroPadding{len(pairs)}D"
    return at.put(kind, x, part="padding", shape=(*sizes, x.shape[-1]), padding=margins(pairs))


def margins(pairs: Pairs) -> list[Any]:
    """[before, behind] of a line; of pictures one such pair for each axis."""
    return [*map(list, pairs)] if len(pairs) > 1 else [*pairs[0]]


def _windows(at: At, causal: bool = False) -> tuple[Tensor, dict[str, Any]]:
    """The input, perhaps with a margin, and the configuration of a convolution."""
    layer, x, padding = at.layer, at.x, at.layer.padding
    if max(layer.stride) > 1 and max(layer.dilation) > 1:
        told = "a stride and a dilation above 1 exclude each other in Keras"
        at.fail(f"{told}; give it the stride 1, and a max pooling of size 1 with this stride behind it")
    reach = [(k - 1) * d for k, d in zip(layer.kernel, layer.dilation)]
    if causal and len(reach) == 1 and padding == ((reach[0], 0),) and reach[0]:
        padding = "causal"
    if not isinstance(padding, str):
        x, padding = padded(at, x, padding), "valid"
    return x, {
        "kernel_size": [*layer.kernel],
        "strides": [*layer.stride],
        "padding": padding,
        "dilation_rate": [*layer.dilation],
        "use_bias": layer.use_bias,
        "activation": ending(at),
    }


def _with_bias(at: At, *kernels: np.ndarray) -> list[np.ndarray]:
    return [*kernels, at.array("bias")] if at.layer.use_bias else [*kernels]


CONV = "; a margin that is neither valid nor same (nor causal) as `ZeroPadding1D` to `3D` before it"


@exports("conv1d", "conv2d", "conv3d", to="`Conv1D` to `Conv3D`" + CONV, refuses="stride with dilation")
def conv(at: At) -> Tensor:
    x, config = _windows(at, causal=True)
    weights = _with_bias(at, at.array("kernel"))
    config |= {"filters": at.layer.filters, "groups": at.layer.groups}
    return behind(at, at.put(f"Conv{rank(at)}D", x, weights=weights, **config))


def _of_each_channel(kernel: np.ndarray, multiplier: int) -> np.ndarray:
    return kernel.reshape(*kernel.shape[:-2], -1, multiplier)


@exports(
    "depthwise_conv1d",
    "depthwise_conv2d",
    to="`DepthwiseConv1D`, `DepthwiseConv2D`; margins as of `conv2d`",
    refuses="stride with dilation",
)
def depthwise(at: At) -> Tensor:
    x, config = _windows(at)
    multiplier = at.layer.multiplier
    weights = _with_bias(at, _of_each_channel(at.array("kernel"), multiplier))
    y = at.put(f"DepthwiseConv{rank(at)}D", x, weights=weights, depth_multiplier=multiplier, **config)
    return behind(at, y)


@exports(
    "separable_conv1d",
    "separable_conv2d",
    to="`SeparableConv1D`, `SeparableConv2D`; margins as of `conv2d`",
    refuses="stride with dilation",
)
def separable(at: At) -> Tensor:
    x, config = _windows(at)
    multiplier = at.layer.multiplier
    each = _of_each_channel(at.array("depthwise_kernel"), multiplier)
    weights = _with_bias(at, each, at.array("pointwise_kernel"))
    config |= {"filters": at.layer.filters, "depth_multiplier": multiplier}
    return behind(at, at.put(f"SeparableConv{rank(at)}D", x, weights=weights, **config))


@exports(
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    to="`Conv1DTranspose` to `Conv3DTranspose`; what padding cuts off as `Cropping1D` to `3D` behind it",
    refuses="groups; stride with dilation",
)
def transposed(at: At) -> Tensor:
    """`valid` makes (n - 1) stride + max(reach, stride) elements in Keras, unless output_padding is told."""
    layer = at.layer
    if layer.groups > 1:
        at.fail(
            "Keras has no groups in transposed convolutions; write one for each part, and concatenate them"
        )
    if max(layer.stride) > 1 and max(layer.dilation) > 1:
        at.fail("a stride and a dilation above 1 exclude each other in Keras; train it with one of them")
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel, layer.dilation)]
    extra = [*layer.output_padding]
    same, usual = layer.padding == "same", [max(0, s - r) for s, r in zip(layer.stride, reach)]
    pairs: Pairs = () if isinstance(layer.padding, str) else layer.padding
    axes = zip(at.x.shape, layer.stride, reach, extra)
    sizes = [n if n is None else (n - 1) * s + r + e for n, s, r, e in axes]
    y = at.put(
        f"Conv{rank(at)}DTranspose",
        at.x,
        weights=_with_bias(at, at.array("kernel")),
        shape=at.shape if same else (*sizes, layer.filters),
        filters=layer.filters,
        kernel_size=[*layer.kernel],
        strides=[*layer.stride],
        padding="same" if same else "valid",
        output_padding=None if same or extra == usual else extra,
        dilation_rate=[*layer.dilation],
        use_bias=layer.use_bias,
        activation=ending(at),
    )
    if any(map(any, pairs)):
        y = at.put(f"Cropping{rank(at)}D", y, part="cropping", cropping=margins(pairs))
    return behind(at, y)
