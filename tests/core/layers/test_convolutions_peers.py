"""Convolutions against PyTorch and Keras from equal weights, in float64: values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_core.initializers import fans
from cortex_core.registry import LAYERS
from tests.core.keras_in_float64 import keras_in_float64
from tests.core.layers.use import Used

pytestmark = pytest.mark.peers

RNG = np.random.default_rng(19)
INPUTS = {1: (2, 7, 4), 2: (2, 5, 6, 4), 3: (1, 4, 5, 3, 4)}


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-9, atol=1e-11)


def used(kind: str, **fields: Any) -> Used:
    """The layer with random weights, after the gradient of the sum of the cubes of its values."""
    cls = LAYERS[kind]
    names = [name for name in cls.__dataclass_fields__ if name.endswith("_initializer")]
    made = cls(**fields, **{name: {"normal": 0.3} for name in names})
    found = Used(made, RNG.standard_normal(INPUTS[cls.rank]))
    (found.output * found.output * found.output).sum().backward()
    return found


# PyTorch: channels first, weights (out, in / groups, *K), or (in, out / groups, *K) of transposed ones


TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "volume": ("conv3d", {"stride": (1, 2, 1), "padding": 1, "dilation": (1, 1, 2)}),
    "volume in groups": ("conv3d", {"groups": 2}),
    "up a line": ("conv_transpose1d", {"stride": 3, "padding": 1, "output_padding": 2}),
    "up a line in groups": ("conv_transpose1d", {"stride": 2, "groups": 2, "dilation": 2}),
    "up": ("conv_transpose2d", {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)}),
    "up in groups": ("conv_transpose2d", {"stride": 2, "groups": 2, "dilation": (2, 1)}),
    "up a volume": (
        "conv_transpose3d",
        {"stride": (1, 2, 3), "padding": 1, "output_padding": (0, 1, 2)},
    ),
    "much cut off": ("conv_transpose2d", {"stride": 2, "padding": 4}),
    "each channel": ("depthwise_conv2d", {"stride": 2, "padding": 2, "dilation": 2}),
}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("multiplier", [1, 3])
def test_pytorch(name: str, multiplier: int) -> None:
    torch = pytest.importorskip("torch")
    kind, options = TORCH[name]
    depthwise = kind == "depthwise_conv2d"
    fields = {"multiplier": multiplier} if depthwise else {"filters": 2 * multiplier}
    ours = used(kind, kernel=3, **fields, **options)
    x = torch.tensor(ours.inputs[0].numpy(), requires_grad=True)
    w, b = (torch.tensor(ours.parameters[n].numpy(), requires_grad=True) for n in ("kernel", "bias"))
    f = torch.nn.functional.conv2d if depthwise else getattr(torch.nn.functional, kind)
    groups = {"groups": 4} if depthwise else {}
    y = f(x.movedim(-1, 1), w.movedim(-1, 0).movedim(-1, 1), b, **options, **groups).movedim(1, -1)
    (y * y * y).sum().backward()
    close(ours.y, y.detach())
    for mine, theirs in ((ours.inputs[0], x), (ours.parameters["kernel"], w), (ours.parameters["bias"], b)):
        close(mine.grad.numpy(), theirs.grad)


# Keras: its kernels lie as ours, only that of a depthwise convolution has another shape


KERAS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "volume": ("conv3d", "Conv3D", {"strides": (1, 2, 2), "padding": "same"}),
    "up a line, same": ("conv_transpose1d", "Conv1DTranspose", {"strides": 2, "padding": "same"}),
    "up a line, valid": ("conv_transpose1d", "Conv1DTranspose", {"strides": 3}),
    "up, same": ("conv_transpose2d", "Conv2DTranspose", {"strides": (2, 1), "padding": "same"}),
    "up, gaps": ("conv_transpose2d", "Conv2DTranspose", {"strides": (4, 5), "padding": "same"}),
    "up, same, dilated": ("conv_transpose2d", "Conv2DTranspose", {"dilation_rate": 2, "padding": "same"}),
    "up, valid": ("conv_transpose2d", "Conv2DTranspose", {"strides": 2, "dilation_rate": 1}),
    "up a volume, same": ("conv_transpose3d", "Conv3DTranspose", {"strides": (1, 2, 2), "padding": "same"}),
    "channels of a line": ("depthwise_conv1d", "DepthwiseConv1D", {"strides": 2, "depth_multiplier": 2}),
    "separable line": ("separable_conv1d", "SeparableConv1D", {"dilation_rate": 2, "padding": "same"}),
    "channels, same": ("depthwise_conv2d", "DepthwiseConv2D", {"strides": 2, "padding": "same"}),
    "channels, dilated": ("depthwise_conv2d", "DepthwiseConv2D", {"dilation_rate": 2, "depth_multiplier": 3}),
    "separable": ("separable_conv2d", "SeparableConv2D", {"strides": 2, "depth_multiplier": 2}),
    "separable, same": ("separable_conv2d", "SeparableConv2D", {"padding": "same", "dilation_rate": 2}),
}
NAMES = {"strides": "stride", "dilation_rate": "dilation", "depth_multiplier": "multiplier"}


@pytest.mark.parametrize("name", KERAS)
@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_keras(name: str, kernel: int) -> None:
    keras = keras_in_float64()
    kind, cls, options = KERAS[name]
    if kernel == 4 and "dilation_rate" in options and "same" not in options.values():
        options = {**options, "dilation_rate": 1}  # a wider window does not fit
    filters = {} if kind.startswith("depthwise") else {"filters": 3}
    fields: dict[str, Any] = {NAMES.get(n, n): v for n, v in options.items()}
    if name == "up a line, valid" and kernel < fields["stride"]:
        fields["output_padding"] = fields["stride"] - kernel  # is part of Keras's valid
    ours = used(kind, kernel=kernel, **filters, **fields)
    theirs = getattr(keras.layers, cls)(kernel_size=kernel, **filters, **options)
    x = ours.inputs[0].numpy()
    theirs.build(x.shape)
    given = ours.parameters.values()
    theirs.set_weights([p.numpy().reshape(w.shape) for p, w in zip(given, theirs.weights, strict=True)])
    close(ours.y, theirs(x))


# Initial weights: what the peers count


def test_pytorchs_fan_in_is_ours_and_its_fan_out_counts_all_groups() -> None:
    torch = pytest.importorskip("torch")
    calculate = torch.nn.init._calculate_fan_in_and_fan_out
    for groups, module in ((1, torch.nn.Conv2d(4, 6, 3)), (2, torch.nn.Conv2d(4, 6, 3, groups=2))):
        (ours, _) = LAYERS["conv2d"](filters=6, kernel=3, groups=groups).parameters(image())
        fan_in, fan_out = calculate(module.weight)
        assert ours.fan == (fan_in, fan_out // groups)
    (ours, _) = LAYERS["depthwise_conv2d"](kernel=3).parameters(image())
    assert ours.fan[0] == calculate(torch.nn.Conv2d(4, 4, 3, groups=4).weight)[0]


def image() -> Any:
    return Used(LAYERS["relu"](), RNG.standard_normal(INPUTS[2])).output.type


def test_kerass_fans_are_those_of_the_shape() -> None:
    """Which are ours, but for kernels that see less than their shape tells."""
    keras_in_float64()
    compute_fans = pytest.importorskip("keras.src.initializers.random_initializers").compute_fans
    for shape in ((4, 6), (3, 3, 4, 6), (2, 3, 4, 5, 6)):
        assert compute_fans(shape) == fans(shape)
