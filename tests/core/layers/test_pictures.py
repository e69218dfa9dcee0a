"""Margins, sizes and channels of pictures: against NumPy, tables of others, PyTorch and Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute import backends
from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.types import TensorType
from cortex_core.graph.value import Graph, input_value
from cortex_core.layers.scope import Scope
from cortex_core.ops.pointwise import cast
from cortex_core.program import Program, compile_graph
from cortex_core.registry import LAYERS, Invalid, build
from cortex_core.spec import inspect
from cortex_core.store import Store
from cortex_core.tensor import Tensor
from tests.core.layers.use import Used


def layer(name: str, **fields: Any) -> Any:
    return LAYERS[name](**fields)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape)


def used(name: str, x: np.ndarray, **fields: Any) -> np.ndarray:
    return Used(layer(name, **fields), x).y


@pytest.mark.parametrize(
    ("mode", "numpys"), [("zero", "constant"), ("reflect", "reflect"), ("replicate", "edge")]
)
@pytest.mark.parametrize("padding", [1, [[2, 0], [1, 3]], [[0, 0], [0, 2]], 0])
def test_padding_is_numpys(mode: str, numpys: Any, padding: Any) -> None:
    x = images(2, 3, 4, 2)
    pairs = [[padding] * 2] * 2 if isinstance(padding, int) else padding
    wanted = np.pad(x, [(0, 0), *pairs, (0, 0)], mode=numpys)
    np.testing.assert_array_equal(used("padding2d", x, padding=padding, mode=mode), wanted)


def test_cropping_takes_margins_off() -> None:
    x = images(2, 5, 6, 3)
    np.testing.assert_array_equal(used("cropping2d", x, cropping=[[1, 0], [2, 3]]), x[:, 1:, 2:3])
    np.testing.assert_array_equal(used("cropping2d", x, cropping=1), x[:, 1:-1, 1:-1])
    padded = used("padding2d", x, padding=[[3, 1], [0, 2]])
    np.testing.assert_array_equal(used("cropping2d", padded, cropping=[[3, 1], [0, 2]]), x)


def test_upsampling_repeats() -> None:
    x = images(2, 3, 2, 4)
    wanted = x.repeat(2, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(used("upsampling2d", x, size=[2, 3]), wanted)
    np.testing.assert_array_equal(used("upsampling2d", x, size=1), x)
    np.testing.assert_array_equal(used("upsampling2d", np.arange(4).reshape(1, 2, 2, 1))[0, :, :, 0],
                                  [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]])  # fmt: skip


def test_bilinear_upsampling_weighs_by_distance() -> None:
    """New elements lie at -1/4, 1/4, 3/4, ... of old ones; beyond the last one it goes on as it is."""
    x = np.array([0.0, 4.0, 12.0]).reshape(1, 1, 3, 1)
    y = used("upsampling2d", x, size=[1, 2], mode="bilinear")
    np.testing.assert_allclose(y.ravel(), [0, 1, 3, 6, 10, 12], rtol=1e-14)
    turned = used("upsampling2d", x.swapaxes(1, 2), size=[2, 1], mode="bilinear")
    np.testing.assert_allclose(turned.ravel(), y.ravel(), rtol=1e-14)
    thirds = used("upsampling2d", x, size=[2, 3], mode="bilinear")
    row = [0, 0, 4 / 3, 8 / 3, 4, 20 / 3, 28 / 3, 12, 12]
    np.testing.assert_allclose(thirds[0, :, :, 0], [row, row], rtol=1e-14, atol=1e-14)


def test_lines_and_volumes_have_margins_and_sizes_too() -> None:
    line, film = images(2, 5, 3), images(2, 3, 4, 2, 1)
    wanted = np.pad(line, ((0, 0), (2, 1), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(used("padding1d", line, padding=[[2, 1]], mode="reflect"), wanted)
    pairs = [[1, 0], [0, 2], [1, 1]]
    wanted = np.pad(film, [(0, 0), *pairs, (0, 0)])
    padded = used("padding3d", film, padding=pairs)
    np.testing.assert_array_equal(padded, wanted)
    np.testing.assert_array_equal(used("cropping3d", padded, cropping=pairs), film)
    np.testing.assert_array_equal(used("cropping1d", line, cropping=[[1, 2]]), line[:, 1:3])
    np.testing.assert_array_equal(used("upsampling1d", line, size=3), line.repeat(3, 1))
    wanted = film.repeat(2, 1).repeat(3, 3)
    np.testing.assert_array_equal(used("upsampling3d", film, size=[2, 1, 3]), wanted)


def test_linear_upsampling_goes_axis_by_axis() -> None:
    """A volume that is a product of lines becomes the product of the longer lines."""
    a, b, c = (images(1, n, 1)[0, :, 0] for n in (3, 2, 4))
    film = np.einsum("i,j,k->ijk", a, b, c)[None, ..., None]
    longer = [
        used("upsampling1d", one[None, :, None], size=n, mode="linear")[0, :, 0]
        for one, n in zip((a, b, c), (2, 3, 1))
    ]
    y = used("upsampling3d", film, size=[2, 3, 1], mode="trilinear")
    np.testing.assert_allclose(y[0, ..., 0], np.einsum("i,j,k->ijk", *longer), rtol=1e-12, atol=1e-14)
    rising = used("upsampling1d", np.array([0.0, 4.0, 12.0]).reshape(1, 3, 1), size=2, mode="linear")
    np.testing.assert_allclose(rising.ravel(), [0, 1, 3, 6, 10, 12], rtol=1e-14)


def windows_of(x: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """x (B, *S, C) -> (B, *S', C, size) of windows beside each other, of the elements of each."""
    found = np.lib.stride_tricks.sliding_window_view(x, sizes, axis=tuple(range(1, x.ndim - 1)))
    for axis, size in enumerate(sizes, 1):
        found = found.take(np.arange(0, found.shape[axis], size), axis)
    return found.reshape(*found.shape[: x.ndim], -1)


def test_volumes_are_pooled() -> None:
    film = images(2, 4, 3, 6, 2)
    windows = windows_of(film, (2, 1, 3))
    np.testing.assert_array_equal(used("max_pool3d", film, size=[2, 1, 3]), windows.max(-1))
    np.testing.assert_allclose(used("avg_pool3d", film, size=[2, 1, 3]), windows.mean(-1), rtol=1e-12)
    padded = used("avg_pool3d", np.ones((1, 3, 3, 3, 1)), size=2, padding="same")
    np.testing.assert_allclose(padded, np.ones((1, 2, 2, 2, 1)), rtol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pooling_over_everything_may_keep_the_axes(rank: int) -> None:
    x = images(2, *(3, 4, 2)[:rank], 5)
    axes = tuple(range(1, rank + 1))
    for kind, function in (("avg", np.mean), ("max", np.max)):
        wanted = function(x, axis=axes, keepdims=True)
        name = f"global_{kind}_pool{rank}d"
        np.testing.assert_allclose(used(name, x, keepdims=True), wanted, rtol=1e-12)
        np.testing.assert_allclose(used(name, x), wanted.reshape(2, 5), rtol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_largest_of_windows_that_overlap(rank: int) -> None:
    x, sizes = images(2, *(5, 3, 4)[:rank], 2), (3, 2, 3)[:rank]
    wanted = np.empty((2, *sizes, 2))
    for place in np.ndindex(*sizes):
        inside = [slice(i * n // m, -(-(i + 1) * n // m)) for i, n, m in zip(place, (5, 3, 4), sizes)]
        wanted[(slice(None), *place)] = x[(slice(None), *inside)].max(tuple(range(1, rank + 1)))
    np.testing.assert_array_equal(used(f"adaptive_max_pool{rank}d", x, size=list(sizes)), wanted)


def test_a_vector_is_repeated() -> None:
    x = images(2, 3)
    np.testing.assert_array_equal(used("repeat_vector", x, times=4), x[:, None].repeat(4, 1))
    image = images(2, 3, 4)
    np.testing.assert_array_equal(used("repeat_vector", image, times=2), np.stack([image, image], 1))


@pytest.mark.parametrize("size", [[1, 1], [2, 3], [3, 2], [4, 6], [5, 7], [6, 9]])
def test_adaptive_means_are_those_of_their_windows(size: list[int]) -> None:
    x = images(2, 4, 6, 3)
    wanted = np.empty((2, *size, 3))
    for i in range(size[0]):
        for j in range(size[1]):
            top, bottom = i * 4 // size[0], -(-(i + 1) * 4 // size[0])
            left, right = j * 6 // size[1], -(-(j + 1) * 6 // size[1])
            wanted[:, i, j] = x[:, top:bottom, left:right].mean((1, 2))
    np.testing.assert_allclose(used("adaptive_avg_pool2d", x, size=size), wanted, rtol=1e-12)


# The tables of the first Cortex (cuDNN's), for three channels of a picture of 2 x 2 that counts from 0:
# k = alpha = beta = 1, where alpha is divided by the size of the window.
LRN = {
    1: (
        [0, 1 / 2, 2 / 5, 3 / 10, 4 / 17, 5 / 26, 6 / 37, 7 / 50, 8 / 65, 9 / 82, 10 / 101, 11 / 122],
        [1, 0, -0.12, -0.08, -0.0519031141868512, -0.03550295857988165, -0.02556610664718773, -0.0192,
         -0.0149112426035503, -0.01189767995240928, -0.009704930889128518, -0.008062348830959416],
    ),
    3: (
        [0, 0.10344827586206898, 0.13953488372093023, 0.14754098360655737, 0.14457831325301207,
         0.13636363636363638, 0.1258741258741259, 0.11538461538461539, 0.28915662650602414,
         0.24770642201834867, 0.21582733812949642, 0.19075144508670522],
        [0.15789473684210528, 0.09383457316653729, 0.05326649810721716, 0.030864211553852466,
         -0.005661199012919144, -0.04352114602312829, -0.04715638623434852, -0.04169062137988738,
         -0.047466976339091305, -0.03569676147971518, -0.027076332292621106, -0.020863959610017586],
    ),
}  # fmt: skip


@pytest.mark.parametrize("size", LRN)
def test_local_response_is_that_of_the_first_cortex(size: int) -> None:
    x = np.arange(12.0).reshape(1, 3, 2, 2).transpose(0, 2, 3, 1)  # the tables are channels first
    made = Used(layer("local_response_normalization", size=size, alpha=1 / size, beta=1, k=1), x)
    made.output.sum().backward()
    values, gradients = LRN[size]
    np.testing.assert_allclose(made.y.transpose(0, 3, 1, 2).ravel(), values, rtol=1e-12)
    found = made.inputs[0].grad.numpy().transpose(0, 3, 1, 2).ravel()
    np.testing.assert_allclose(found, gradients, rtol=0, atol=1e-12)


def test_local_response_is_the_formula_of_the_paper() -> None:
    """b_i = a_i / (k + alpha sum a_j^2)^beta, j from max(0, i - n/2) to min(N - 1, i + n/2)."""
    x = 3 * images(2, 2, 3, 8)
    wanted = np.empty_like(x)
    for i in range(8):
        near = x[..., max(0, i - 2) : min(7, i + 2) + 1]
        wanted[..., i] = x[..., i] / (2 + 0.3 * (near**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(used("local_response_normalization", x, alpha=0.3), wanted, rtol=1e-13)
    line = used("local_response_normalization", x[:, 0, 0], alpha=0.3)
    np.testing.assert_allclose(line, wanted[:, 0, 0], rtol=1e-13)


@pytest.mark.parametrize("size", [9, 10**9 + 1])
def test_a_window_wider_than_all_channels_is_the_sum_over_them(size: int) -> None:
    x = images(2, 3, 3, 5)
    wanted = x / (2 + 0.3 * (x**2).sum(-1, keepdims=True)) ** 0.75
    found = used("local_response_normalization", x, size=size, alpha=0.3)
    np.testing.assert_allclose(found, wanted, rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("spatial_dropout1d", (40, 5, 60)),
        ("spatial_dropout2d", (40, 3, 4, 60)),
        ("spatial_dropout3d", (40, 2, 1, 3, 60)),
    ],
)
def test_spatial_dropout_drops_whole_channels(name: str, shape: tuple[int, ...]) -> None:
    x = np.abs(images(*shape)) + 1
    y = used(name, x, rate=0.25)
    channels = (y / x).reshape(40, -1, 60)
    np.testing.assert_allclose(channels, np.broadcast_to(channels[:, :1], channels.shape), rtol=1e-12)
    kept = channels[:, 0]
    assert set(np.unique(kept.round(9))) == {0.0, round(4 / 3, 9)}
    assert abs((kept == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / kept.size)
    np.testing.assert_array_equal(Used(layer(name, rate=0.25), x, training=False).y, x)


@pytest.mark.parametrize(
    ("made", "needs"),
    [
        (layer("padding2d", padding=1), "padding2d needs (height, width, channels)"),
        (layer("cropping2d", cropping=1), "cropping2d needs (height, width, channels)"),
        (layer("cropping3d", cropping=1), "cropping3d needs (depth, height, width, channels)"),
        (layer("max_pool3d", size=1), "max_pool3d needs (depth, height, width, channels)"),
        (layer("upsampling2d"), "upsampling2d needs (height, width, channels)"),
        (layer("adaptive_avg_pool2d", size=1), "adaptive_avg_pool2d needs (height, width, channels)"),
        (layer("spatial_dropout2d", rate=0.5), "spatial_dropout2d needs (height, width, channels)"),
    ],
)
def test_pictures_have_three_axes(made: Any, needs: str) -> None:
    with pytest.raises(ShapeError) as caught:
        Used(made, np.zeros((2, 5, 3)))
    assert str(caught.value) == f"the input is (5, 3): {needs}"


def test_what_does_not_fit_is_refused() -> None:
    x = np.zeros((2, 4, 3, 1))
    with pytest.raises(
        ShapeError, match=r"the input is \(4, 3, 1\): padding2d cannot mirror \[\[0, 0\], \[0, 3\]\]"
    ):
        used("padding2d", x, padding=[[0, 0], [0, 3]], mode="reflect")
    with pytest.raises(ShapeError, match=r"cropping2d of \[\[2, 2\], \[0, 0\]\] leaves nothing of it"):
        used("cropping2d", x, cropping=[[2, 2], [0, 0]])
    for name, told in (("adaptive_avg_pool2d", "by means of windows"), ("adaptive_max_pool2d", "overlap")):
        with pytest.raises(
            ShapeError, match=f"axis.* of 4 elements cannot become one of 1,073,741,824.*{told}"
        ):
            used(name, x, size=2**30)
    for name, fields in (("upsampling2d", {"mode": "bilinear"}), ("adaptive_avg_pool2d", {"size": 3})):
        with pytest.raises(DTypeError, match=f"{name} needs a floating type, not int64"):
            used(name, np.zeros((2, 4, 3, 1), np.int64), **fields)
    with pytest.raises(Invalid, match="4 channels have no middle"):
        build(LAYERS["local_response_normalization"], {"size": 4})


WRONG = [
    ({"padding2d": {"padding": [1, 2]}}, "padding2d.padding: this is a list of 2: expected a whole number of "
     "at least 0, or [[before, after], [before, after]]. Write [[1, 1], [2, 2]]"),
    ({"padding2d": "same"}, "padding2d.padding: 'same' is text"),
    ({"cropping2d": [[1, -1], [0, 0]]}, "cropping2d.cropping[0][1]: -1 is too small"),
    ({"upsampling2d": {"mode": "linear"}}, "upsampling2d.mode: 'linear' is text: expected nearest or"),
    ({"upsampling2d": 0}, "upsampling2d.size: 0 is too small"),
    ({"local_response_normalization": {"k": 0}}, "local_response_normalization.k: 0 is too small"),
    ({"spatial_dropout2d": 1}, "spatial_dropout2d.rate: 1 is too large"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "told"), WRONG)
def test_wrong_fields_are_told_with_their_path(wrong: Any, told: str) -> None:
    (problem,) = inspect({"inputs": {"x": [6, 6, 2]}, "layers": [wrong]})[1]
    assert str(problem).removeprefix("layers[0].").startswith(told)


def test_a_network_of_them_computes_what_its_layers_do() -> None:
    layers = [
        {"upsampling2d": {"size": 2, "mode": "bilinear"}},
        {"padding2d": {"padding": [[1, 0], [2, 3]], "mode": "reflect"}},
        {"cropping2d": [[2, 1], [0, 4]]},
        {"local_response_normalization": {"alpha": 0.5}},
        {"adaptive_avg_pool2d": [3, 4]},
    ]
    x = images(3, 4, 5, 6).astype(np.float32)
    found = cortex.network({"inputs": {"x": [4, 5, 6]}, "layers": layers}).predict(x)
    for one in layers:
        ((name, fields),) = one.items()
        cls = LAYERS[name]
        x = used(name, x, **(fields if isinstance(fields, dict) else {cls.main: fields}))
    np.testing.assert_allclose(found, x, rtol=2e-6, atol=1e-6)


SIXTEEN = [
    layer("padding2d", padding=1, mode="reflect"),
    layer("upsampling2d", size=2),
    layer("upsampling2d", size=2, mode="bilinear"),
    layer("adaptive_avg_pool2d", size=[3, 2]),
    layer("local_response_normalization", alpha=0.5),
    layer("spatial_dropout2d", rate=0.5),
]


@pytest.mark.parametrize("made", SIXTEEN, ids=lambda made: str(made.kind))
@pytest.mark.parametrize(("name", "eps"), [("bfloat16", 2.0**-8), ("float16", 2.0**-11)])
def test_sixteen_bits_are_those_of_more_rounded(made: Any, name: str, eps: float) -> None:
    x = images(2, 4, 5, 7).astype(np.float32)

    def forward(x: Any) -> Any:
        scope = Scope({}, True, "it", np.array([1, 0], np.uint64))
        return cast(made.forward(scope, cast(x, name)), "float32")

    exact = made.forward(Scope({}, True, "it", Tensor(np.array([1, 0], np.uint64))), Tensor(x)).numpy()
    given = input_value("x", TensorType(x.shape))
    backend = backends.get("numpy")
    plan = compile_graph(Graph((given,), {"y": forward(given)}), backend)
    compiled = Program(plan, backend, Store(backend.devices()[0])).run({"x": x})["y"].numpy()
    for found in (forward(Tensor(x)).numpy(), compiled):
        assert np.abs(found - exact).max() <= 2 * eps * np.abs(exact).max()


# Keras's own of the same meaning: its class and arguments, ours.
KERAS = {
    "padding2d": ("ZeroPadding2D", {"padding": ((1, 0), (2, 3))}, {"padding": [[1, 0], [2, 3]]}),
    "cropping2d": ("Cropping2D", {"cropping": ((1, 0), (2, 1))}, {"cropping": [[1, 0], [2, 1]]}),
    "upsampling2d": ("UpSampling2D", {"size": (2, 3)}, {"size": [2, 3]}),
    "upsampling2d bilinear": (
        "UpSampling2D",
        {"size": (3, 2), "interpolation": "bilinear"},
        {"size": [3, 2], "mode": "bilinear"},
    ),
    "padding1d": ("ZeroPadding1D", {"padding": (1, 2)}, {"padding": [[1, 2]]}),
    "padding3d": (
        "ZeroPadding3D",
        {"padding": ((1, 0), (2, 3), (0, 1))},
        {"padding": [[1, 0], [2, 3], [0, 1]]},
    ),
    "cropping1d": ("Cropping1D", {"cropping": (1, 2)}, {"cropping": [[1, 2]]}),
    "cropping3d": (
        "Cropping3D",
        {"cropping": ((1, 0), (2, 1), (0, 1))},
        {"cropping": [[1, 0], [2, 1], [0, 1]]},
    ),
    "upsampling1d": ("UpSampling1D", {"size": 3}, {"size": 3}),
    "upsampling3d": ("UpSampling3D", {"size": (2, 1, 3)}, {"size": [2, 1, 3]}),
    "repeat_vector": ("RepeatVector", {"n": 3}, {"times": 3}),
}


SHAPES = {"1d": (2, 6, 3), "3d": (2, 3, 4, 5, 2), "or": (2, 3)}  # by the end of a layer's name


@pytest.mark.peers
@pytest.mark.parametrize("name", KERAS)
def test_values_are_keras(name: str) -> None:
    from tests.core.keras_in_float64 import keras_in_float64

    theirs, arguments, ours = KERAS[name]
    x = images(*SHAPES.get(name[-2:], (2, 4, 5, 3)))
    wanted = np.asarray(getattr(keras_in_float64().layers, theirs)(**arguments)(x))
    np.testing.assert_allclose(used(name.split()[0], x, **ours), wanted, rtol=1e-12, atol=1e-14)


# PyTorch's function, which is given the picture channels first, and ours.
TORCH = {
    "padding2d": (lambda f, x: f.pad(x, (2, 3, 1, 0), "reflect"),
                  {"padding": [[1, 0], [2, 3]], "mode": "reflect"}),
    "upsampling1d": (lambda f, x: f.interpolate(x, scale_factor=3, mode="linear"),
                     {"size": 3, "mode": "linear"}),
    "upsampling2d": (lambda f, x: f.interpolate(x, scale_factor=(2, 3), mode="bilinear"),
                     {"size": [2, 3], "mode": "bilinear"}),
    "upsampling3d": (lambda f, x: f.interpolate(x, scale_factor=(2, 1, 3), mode="trilinear"),
                     {"size": [2, 1, 3], "mode": "trilinear"}),
    "padding3d": (lambda f, x: f.pad(x, (1, 0, 2, 1, 0, 1), "replicate"),
                  {"padding": [[0, 1], [2, 1], [1, 0]], "mode": "replicate"}),
    "max_pool3d": (lambda f, x: f.max_pool3d(x, (2, 1, 3), 2, (1, 0, 1)),
                   {"size": [2, 1, 3], "stride": 2, "padding": [[1, 1], [0, 0], [1, 1]]}),
    "avg_pool3d": (lambda f, x: f.avg_pool3d(x, 2, 1, 1, count_include_pad=False),
                   {"size": 2, "stride": 1, "padding": 1}),
    "adaptive_avg_pool3d": (lambda f, x: f.adaptive_avg_pool3d(x, (2, 3, 4)), {"size": [2, 3, 4]}),
    "adaptive_max_pool2d": (lambda f, x: f.adaptive_max_pool2d(x, (3, 4)), {"size": [3, 4]}),
    "adaptive_avg_pool2d": (lambda f, x: f.adaptive_avg_pool2d(x, (3, 4)), {"size": [3, 4]}),
    "local_response_normalization": (lambda f, x: f.local_response_norm(x, 5, 1.5, 0.75, 2.0),
                                     {"alpha": 0.3}),
}  # fmt: skip


@pytest.mark.peers
@pytest.mark.parametrize("name", TORCH)
def test_values_and_gradients_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    function, fields = TORCH[name]
    x = images(*SHAPES.get(name[-2:], (2, 4, 5, 7)))
    made = Used(layer(name, **fields), x)
    tx = torch.tensor(x, requires_grad=True)
    z = function(torch.nn.functional, tx.movedim(-1, 1)).movedim(1, -1)
    np.testing.assert_allclose(made.y, z.detach(), rtol=1e-12, atol=1e-14)
    (made.output**3).sum().backward()
    (z**3).sum().backward()
    np.testing.assert_allclose(made.inputs[0].grad.numpy(), tx.grad, rtol=1e-10, atol=1e-12)
