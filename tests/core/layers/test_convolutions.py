"""Convolutions of volumes, of each channel, and transposed ones: values, sizes, weights, what is refused."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.signal

import cortex
from cortex_compute import backends
from cortex_compute.errors import ShapeError, SpecError
from cortex_compute.types import TensorType, bfloat16, float64
from cortex_core.check import check
from cortex_core.registry import LAYERS
from tests.core.layers.use import Used

RNG = np.random.default_rng(41)
present = "onednn" in {row.name for row in backends.available() if row.present}
needs_onednn = pytest.mark.skipif(not present, reason="oneDNN is not installed")
needs_bfloat16 = pytest.mark.skipif(
    not present or bool(backends.get("onednn").precision(bfloat16)), reason="oneDNN has no bfloat16 here"
)


def layer(name: str, **fields: Any) -> Any:
    return LAYERS[name](**fields)


def test_volumes_are_convolved_as_scipy_does() -> None:
    x, w, b = RNG.normal(size=(2, 4, 5, 6, 2)), RNG.normal(size=(2, 3, 2, 2, 3)), RNG.normal(size=3)
    y = Used(layer("conv3d", filters=3, kernel=[2, 3, 2]), x, values={"kernel": w, "bias": b}).y
    wanted = [[scipy.signal.correlate(one, w[..., o], "valid")[..., 0] for o in range(3)] for one in x]
    np.testing.assert_allclose(y, np.moveaxis(np.array(wanted), 1, -1) + b, rtol=1e-12, atol=1e-12)
    strided = layer(
        "conv3d", filters=3, kernel=3, stride=[1, 2, 3], padding="same", kernel_initializer="ones"
    )
    assert Used(strided, x).y.shape == (2, 4, 3, 2, 3)


def spread(x: np.ndarray, w: np.ndarray, stride: int, dilation: int) -> np.ndarray:
    """Each element of x (B, H, W, in) times the kernel (K, K, out, in), laid down at its place and summed."""
    k, (h, b) = w.shape[0], x.shape[1:3]
    sizes = [(n - 1) * stride + (k - 1) * dilation + 1 for n in (h, b)]
    y = np.zeros((len(x), *sizes, w.shape[2]))
    for i, j, a, c in itertools.product(range(h), range(b), range(k), range(k)):
        y[:, i * stride + a * dilation, j * stride + c * dilation] += x[:, i, j] @ w[a, c].T
    return y


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "padding", "output_padding", "cut"),
    [
        (3, 2, 1, "valid", 0, slice(0, 9)),
        (3, 1, 2, "valid", 0, slice(0, 8)),
        (3, 2, 1, "same", 0, slice(0, 8)),  # 8 of 9: the surplus is cut off behind
        (4, 2, 1, "same", 0, slice(1, 9)),
        (5, 2, 1, "same", 0, slice(1, 9)),
        (3, 1, 2, "same", 0, slice(2, 6)),
        (3, 2, 1, 1, 0, slice(1, 8)),
        (3, 2, 1, 1, 1, slice(1, 9)),
        (3, 2, 1, [[2, 0], [2, 0]], 0, slice(2, 9)),
    ],
)
def test_conv_transpose2d(
    kernel: int, stride: int, dilation: int, padding: Any, output_padding: int, cut: slice
) -> None:
    x, w, b = RNG.normal(size=(2, 4, 4, 3)), RNG.normal(size=(kernel, kernel, 2, 3)), RNG.normal(size=2)
    fields = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}
    made = layer("conv_transpose2d", filters=2, output_padding=output_padding, **fields)
    wanted = spread(x, w, stride, dilation)[:, cut, cut] + b
    np.testing.assert_allclose(
        Used(made, x, values={"kernel": w, "bias": b}).y, wanted, rtol=1e-12, atol=1e-12
    )
    assert wanted.shape[1] == (4 * stride if padding == "same" else wanted.shape[1])


def test_windows_smaller_than_the_stride_leave_gaps_where_the_bias_is() -> None:
    x, w = np.array([[[2.0], [3.0]]]), np.array([[[5.0]]])
    values = {"kernel": w, "bias": np.array([1.0])}
    for fields, wanted in (
        ({"padding": "same"}, [11, 1, 1, 16, 1, 1]),
        ({}, [11, 1, 1, 16]),
        ({"output_padding": 2}, [11, 1, 1, 16, 1, 1]),  # what Keras calls valid
    ):
        made = layer("conv_transpose1d", filters=1, kernel=1, stride=3, **fields)
        assert Used(made, x, values=values).y.ravel().tolist() == wanted


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_same_is_the_adjoint_of_same(kernel: int, stride: int, groups: int) -> None:
    """<conv2d(y), x> = <y, conv_transpose2d(x)>, both `same`, with one kernel."""
    x, y = RNG.normal(size=(2, 2, 3, 4)), RNG.normal(size=(2, 2 * stride, 3 * stride, 6))
    fields = {"kernel": kernel, "stride": stride, "padding": "same", "groups": groups, "use_bias": False}
    values = {"kernel": RNG.normal(size=(kernel, kernel, 6 // groups, 4))}
    there = Used(layer("conv2d", filters=4, **fields), y, values=values).y
    back = Used(layer("conv_transpose2d", filters=6, **fields), x, values=values).y
    np.testing.assert_allclose((there * x).sum(), (y * back).sum(), rtol=1e-11)


def test_depthwise_keeps_the_channels_apart() -> None:
    x, w, b = RNG.normal(size=(2, 5, 6, 3)), RNG.normal(size=(2, 3, 1, 6)), RNG.normal(size=6)
    used = Used(
        layer("depthwise_conv2d", kernel=[2, 3], multiplier=2, activation="tanh"),
        x,
        values={"kernel": w, "bias": b},
    )
    kernels = w.reshape(2, 3, 3, 2)  # Keras's shape of the same numbers
    wanted = [
        [scipy.signal.correlate(one[..., c], kernels[..., c, m], "valid") for c in range(3) for m in range(2)]
        for one in x
    ]
    np.testing.assert_allclose(
        used.y, np.tanh(np.moveaxis(np.array(wanted), 1, -1) + b), rtol=1e-12, atol=1e-12
    )


def test_separable_is_depthwise_and_then_pointwise() -> None:
    x = RNG.normal(size=(2, 5, 6, 3))
    fields = {"kernel": 3, "stride": 2, "padding": "same", "multiplier": 2, "dilation": [1, 2]}
    made = layer(
        "separable_conv2d", filters=4, **fields, activation="sigmoid", pointwise_initializer="normal"
    )
    used = Used(made, x)
    p = {name: value.numpy() for name, value in used.parameters.items()}
    assert {name: v.shape for name, v in p.items()} == {
        "depthwise_kernel": (3, 3, 1, 6), "pointwise_kernel": (1, 1, 6, 4), "bias": (4,)
    }  # fmt: skip
    plain = layer("depthwise_conv2d", **fields, use_bias=False)
    each = Used(plain, x, values={"kernel": p["depthwise_kernel"]}).y
    wanted = 1 / (1 + np.exp(-(each @ p["pointwise_kernel"][0, 0] + p["bias"])))
    np.testing.assert_allclose(used.y, wanted, rtol=1e-12, atol=1e-12)


KINDS: dict[str, dict[str, Any]] = {
    "conv1d": {"filters": 6, "kernel": 3, "groups": 2},
    "conv2d": {"filters": 6, "kernel": 3, "groups": 2},
    "conv3d": {"filters": 6, "kernel": 3, "groups": 2},
    "conv_transpose1d": {"filters": 6, "kernel": 4, "groups": 2, "stride": 2},
    "conv_transpose2d": {"filters": 2, "kernel": [4, 3], "stride": [2, 1]},
    "conv_transpose3d": {"filters": 2, "kernel": 2, "groups": 2},
    "depthwise_conv1d": {"kernel": 3, "multiplier": 2},
    "depthwise_conv2d": {"kernel": 3, "multiplier": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights_count_what_an_output_sums_and_where_an_input_goes(kind: str) -> None:
    """Where all numbers are 1, an output inside is the number of its products, and so is a gradient."""
    made = layer(kind, **KINDS[kind], use_bias=False, kernel_initializer="ones")
    n = 13 if made.rank < 3 else 7
    used = Used(made, np.ones((1, *(n,) * made.rank, 4)))
    (declared,) = made.parameters(TensorType(used.inputs[0].shape, float64))
    used.output.sum().backward()
    inside = (0, *(slice(4, 4 + math.prod(getattr(made, "stride", (1,)))) if n > 7 else 3,) * made.rank)
    assert declared.fan == (used.y[inside].mean(), used.inputs[0].grad.numpy()[inside].mean())


def test_initial_weights_of_a_separable_convolution() -> None:
    made = layer("separable_conv2d", filters=5, kernel=3, multiplier=2)
    each, mixed, _ = made.parameters(TensorType((1, 9, 9, 4), float64))
    assert (each.fan, mixed.fan) == ((9, 18), None)
    assert mixed.shape == (1, 1, 8, 5)


@pytest.mark.parametrize("kind", ["depthwise_conv2d", "conv_transpose2d", "conv2d"])
def test_a_signal_keeps_its_variance(kind: str) -> None:
    """With weights of variance 1 / fan_in, by a network as people make it."""
    fields = {
        "depthwise_conv2d": {"kernel": 3},
        "conv_transpose2d": {"filters": 64, "kernel": 4, "stride": 2},
        "conv2d": {"filters": 64, "kernel": 3, "groups": 8},
    }[kind]
    layers = [{kind: {**fields, "kernel_initializer": "lecun_normal", "use_bias": False, "padding": "same"}}]
    network = cortex.network({"inputs": {"x": [24, 24, 64]}, "layers": layers})
    y = network.predict(RNG.normal(size=(8, 24, 24, 64)).astype(np.float32))
    assert y[:, 2:-2, 2:-2].var() == pytest.approx(1, abs=0.15)


UP, UPS = "conv_transpose1d", "conv_transpose2d"
WRONG: dict[str, tuple[str, list[int], dict[str, Any], str, str]] = {
    "channels in groups": (
        UPS, [4, 4, 3], {"filters": 4, "groups": 2}, "",
        "'x' is (4, 4, 3): conv_transpose2d cannot split 3 channels into 2 groups",
    ),
    "filters in groups": (
        UPS, [4, 4, 4], {"filters": 3, "groups": 2}, ".groups",
        "3 filters do not split into 2 groups: expected a number that divides filters",
    ),
    "output padding": (
        UPS, [4, 4, 4], {"filters": 3, "stride": 2, "output_padding": 2}, ".output_padding",
        "[2, 2] is not below the stride [2, 2]: expected less on each axis",
    ),
    "negative": (
        UPS, [4, 4, 4], {"filters": 3, "output_padding": -1}, ".output_padding",
        "-1 is too small: expected a whole number, at least 0, or a list of 2 of them",
    ),
    "same and more": (
        UP, [4, 4], {"filters": 3, "stride": 2, "output_padding": 1, "padding": "same"}, ".output_padding",
        "[1] beside padding: same: expected none, for same means input * stride",
    ),
    "all cut off": (
        UP, [2, 3], {"filters": 3, "padding": 2}, "",
        "'x' is (2, 3): conv_transpose1d with padding [[2, 2]] leaves nothing of it",
    ),
    "large window": (
        "depthwise_conv2d", [2, 9, 3], {}, "",
        "'x' is (2, 9, 3): depthwise_conv2d has a window of (3, 3), which does not fit into it",
    ),
    "wide window": (
        "separable_conv2d", [9, 9, 3], {"filters": 2, "dilation": 5}, "",
        "'x' is (9, 9, 3): separable_conv2d has a window of (11, 11), which does not fit into it",
    ),
    "multiplier": (
        "depthwise_conv2d", [9, 9, 3], {"multiplier": 0}, ".multiplier",
        "0 is too small: expected a whole number, at least 1",
    ),
    "no volume": (
        "conv3d", [9, 9, 3], {"filters": 2}, "",
        "'x' is (9, 9, 3): conv3d needs (depth, height, width, channels)",
    ),
    "no sequence": (
        UP, [9, 9, 3], {"filters": 2}, "", "'x' is (9, 9, 3): conv_transpose1d needs (length, channels)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_check_finds(name: str) -> None:
    kind, shape, fields, where, told = WRONG[name]
    spec = {"inputs": {"x": shape}, "layers": [{kind: {"kernel": 3, **fields}}]}
    (problem,) = check(spec).problems
    assert str(problem).endswith(f"layers[0].{kind}{where}: {told}")
    with pytest.raises((SpecError, ShapeError)):
        cortex.network(spec)


@pytest.mark.parametrize(
    ("entry", "flops"),
    [
        ({"depthwise_conv2d": {"kernel": 3, "padding": "same"}}, 2 * 9 * 64 * 6),
        ({"depthwise_conv2d": {"kernel": 3, "padding": "same", "multiplier": 2}}, 2 * 9 * 64 * 12),
        ({"separable_conv2d": {"filters": 5, "kernel": 3, "padding": "same"}}, 2 * 64 * (9 * 6 + 6 * 5)),
        ({"conv_transpose2d": {"filters": 5, "kernel": 3, "stride": 2}}, 2 * 9 * 64 * 6 * 5),
        ({"conv_transpose2d": {"filters": 4, "kernel": 3, "stride": 2, "groups": 2}}, 2 * 9 * 64 * 6 * 2),
        ({"conv2d": {"filters": 4, "kernel": 3, "padding": "same", "groups": 2}}, 2 * 9 * 64 * 3 * 4),
    ],
)
def test_check_counts_two_operations_for_each_product(entry: dict[str, Any], flops: int) -> None:
    (kind, fields), *_ = entry.items()
    report = check({"inputs": {"x": [8, 8, 6]}, "layers": [{kind: {**fields, "use_bias": False}}]})
    assert [row.flops for row in report.layers] == [flops]


STEPS: dict[str, tuple[list[int], dict[str, Any]]] = {
    "conv3d": ([4, 5, 6, 4], {"filters": 8, "kernel": 3, "padding": "same", "stride": [1, 2, 1]}),
    "conv_transpose1d": ([7, 4], {"filters": 8, "kernel": 4, "stride": 2, "padding": "same", "groups": 2}),
    "conv_transpose2d": (
        [5, 6, 4],
        {"filters": 8, "kernel": 3, "stride": 2, "padding": 1, "output_padding": 1},
    ),
    "conv_transpose3d": ([3, 4, 2, 4], {"filters": 4, "kernel": 3, "stride": [1, 2, 2], "padding": "same"}),
    "depthwise_conv1d": ([9, 16], {"kernel": 3, "padding": "same", "multiplier": 2}),
    "separable_conv1d": ([9, 16], {"filters": 8, "kernel": 3, "stride": 2}),
    "depthwise_conv2d": ([8, 8, 16], {"kernel": 3, "padding": "same", "multiplier": 2, "stride": 2}),
    "separable_conv2d": ([8, 8, 16], {"filters": 8, "kernel": 3, "padding": "same", "activation": "relu"}),
}


def moved(kind: str, backend: str, precision: str) -> np.ndarray:
    """What one step of gradient descent changes."""
    shape, fields = STEPS[kind]
    train = {"precision": precision, "optimizer": {"sgd": {"learning_rate": 1.0}}}
    network = cortex.network(
        {
            "inputs": {"x": shape},
            "layers": [{kind: fields}, "flatten", {"dense": {"units": 3, "id": "y"}}],
            "loss": {"mse": {"of": "y", "target": "t"}},
            "train": train,
        }
    )
    rng = np.random.default_rng(5)
    batch = {
        "x": rng.normal(size=(6, *shape)).astype(np.float32),
        "t": rng.normal(size=(6, 3)).astype(np.float32),
    }
    before = {name: np.array(a) for name, a in network.parameters.items()}
    cortex.compile(network, backend=backend, batch_size=6).run(batch)
    return np.concatenate([(before[name] - a).ravel() for name, a in network.parameters.items()])


@needs_onednn
@pytest.mark.parametrize("kind", STEPS)
def test_a_step_is_the_same_on_both_backends(kind: str) -> None:
    one, other = moved(kind, "numpy", "float32"), moved(kind, "onednn", "float32")
    assert np.linalg.norm(one - other) < 1e-5 * np.linalg.norm(one)


@needs_bfloat16
@pytest.mark.parametrize("kind", STEPS)
def test_a_step_in_bfloat16_is_that_of_float32(kind: str) -> None:
    wide, short = moved(kind, "onednn", "float32"), moved(kind, "onednn", "bfloat16")
    assert 0 < np.linalg.norm(short - wide) < 0.02 * np.linalg.norm(wide)


@needs_onednn
def test_each_channel_by_itself_has_a_kernel_of_its_own_on_onednn() -> None:
    """Its general kernels would take a channel for a group of one, many times slower."""
    network = cortex.network(
        {
            "inputs": {"x": [16, 16, 32]},
            "layers": [{"dense": 32}, {"depthwise_conv2d": {"kernel": 3, "padding": "same", "id": "y"}}],
            "loss": {"mse": {"of": "y", "target": "t"}},
        }
    )
    made = cortex.compile(network, backend="onednn", batch_size=8)
    x = RNG.normal(size=(8, 16, 16, 32)).astype(np.float32)
    program = made.entry(made.types(8)).program
    made.run({"x": x, "t": x})
    rows = [row for row in program.profile() if row["primitive"].startswith("Conv")]
    assert len(rows) == 3
    assert all("dw" in row["implementation"] for row in rows)
