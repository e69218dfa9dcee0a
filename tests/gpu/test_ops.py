"""`cortex_gpu.ops` on arrays of the stand-in for CuPy, by cuDNN's stand-in and by generated kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, BackendError, DTypeError, ShapeError
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad
from cortex_compute.primitives.normalization import BatchNorm, BatchNormGrad
from cortex_compute.primitives.pooling import AvgPool, AvgPoolGrad, MaxPool
from cortex_compute.verify.families import convolution as _convolution  # noqa: F401, they bring references
from cortex_compute.verify.families import normalization as _normalization  # noqa: F401
from cortex_compute.verify.families import pooling as _pooling  # noqa: F401
from cortex_compute.verify.reference import expected
from cortex_gpu import ops
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.ops import arrays
from tests.gpu.standin import Machine
from tests.gpu.standin.cudnn import library
from tests.gpu.standin.cudnn.layers import slopes

LAYOUTS = "NHWC", "NCHW"


def computing(monkeypatch: pytest.MonkeyPatch, cudnn: Any) -> CupyBackend:
    """What `ops` computes with: the library, or without one generated kernels alone."""
    from tests.gpu.standin.backend import cupy_backend

    made = cupy_backend(Gpu(cudnn=cudnn))
    monkeypatch.setattr(arrays, "_backend", lambda index, chosen: made)
    return made


REAL = pytest.param("gpu", marks=pytest.mark.gpu)


def real() -> CupyBackend:
    """The GPU of this machine."""
    try:
        return arrays.here()
    except BackendError as error:
        pytest.skip(f"there is no GPU to use: {error}")


@pytest.fixture(params=["cudnn", "cupy", REAL])
def backend(request: Any, monkeypatch: pytest.MonkeyPatch) -> CupyBackend:
    """What `ops` computes with: stand-ins with cuDNN and without, or a GPU."""
    if request.param == "gpu":
        return real()
    request.getfixturevalue("machine")
    return computing(monkeypatch, library() if request.param == "cudnn" else None)


@pytest.fixture(params=["cudnn", REAL])
def by_cudnn(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[CupyBackend]:
    """For what is cuDNN's alone."""
    if request.param == "gpu":
        yield real()
        return
    request.getfixturevalue("machine")
    made = computing(monkeypatch, library())
    yield made
    assert not made.gpu.cudnn.c.errors


def put(values: np.ndarray) -> Any:
    import cupy

    return cupy.asarray(np.ascontiguousarray(values, np.float32))


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def close(actual: Any, wanted: np.ndarray, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(actual.get(), wanted, rtol=tolerance, atol=tolerance)


def reference(p: Primitive, *values: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(a) for a in expected(p, [v.astype(np.float64) for v in values])]


def first(x: np.ndarray) -> np.ndarray:
    """An image with the channels first."""
    return np.moveaxis(x, -1, 1)


def laid(x: np.ndarray, layout: str) -> np.ndarray:
    return x if layout == "NHWC" else first(x)


def filters(w: np.ndarray, layout: str) -> np.ndarray:
    """A kernel (*K, C / groups, O) in a layout."""
    return w if layout == "NHWC" else np.moveaxis(w, (-1, -2), (0, 1))


# Convolution.

GEOMETRIES = {
    "image": ((2, 6, 7, 4), (3, 2), {"stride": (2, 1), "padding": (1, 0), "dilation": 1, "groups": 2}),
    "line": ((2, 9, 4), (3,), {"stride": 1, "padding": 2, "dilation": 2, "groups": 1}),
    "volume": ((1, 4, 5, 4, 2), (2, 3, 2), {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_convolution_and_both_gradients(backend: CupyBackend, name: str, layout: str) -> None:
    shape, window, given = GEOMETRIES[name]
    x, w = normal(*shape), normal(*window, shape[-1] // given["groups"], 6)
    axes = len(window)
    fields = {k: v if isinstance(v, tuple) else (v,) * axes for k, v in given.items() if k != "groups"}
    fields = {**fields, "padding": tuple((p, p) for p in fields["padding"]), "groups": given["groups"]}
    (y,) = reference(Conv(**fields), x, w)
    g = normal(*y.shape, seed=1)
    (dx,) = reference(ConvInputGrad(**fields, shape=shape), g, w)
    (dw,) = reference(ConvKernelGrad(**fields, kernel=window), x, g)
    on = {k: put(v) for k, v in (("x", laid(x, layout)), ("g", laid(g, layout)), ("w", filters(w, layout)))}
    close(ops.convolution(on["x"], on["w"], **given, layout=layout), laid(y, layout))
    wanted = on["x"].shape
    close(ops.convolution_backward_data(on["w"], on["g"], wanted, **given, layout=layout), laid(dx, layout))
    found = ops.convolution_backward_filter(on["x"], on["g"], window, **given, layout=layout)
    close(found, filters(dw, layout), 1e-4)


def test_float64_channels_first_is_cudnns(by_cudnn: CupyBackend) -> None:
    import cupy

    x, w = (cupy.asarray(normal(*s).astype(np.float64)) for s in ((2, 3, 5, 5), (4, 3, 3, 3)))
    y = ops.convolution(x, w, layout="NCHW")
    assert (y.shape, y.dtype) == ((2, 4, 3, 3), np.float64)
    wanted = reference(
        Conv((1, 1), ((0, 0), (0, 0)), (1, 1), 1),
        np.moveaxis(x.get(), 1, -1),
        np.moveaxis(w.get(), (0, 1), (-1, -2)),
    )[0]
    close(y, first(wanted), 1e-12)


# Pooling.


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", ["max", "average", "average, padding counts"])
def test_pooling_and_its_gradient(backend: CupyBackend, mode: str, layout: str) -> None:
    x = normal(2, 7, 6, 3)
    fields: dict[str, Any] = {"size": (3, 2), "stride": (2, 2), "padding": ((1, 1), (0, 0))}
    counting = mode == "average, padding counts"
    p: Any = MaxPool(**fields) if mode == "max" else AvgPool(**fields, count_padding=counting)
    y = reference(p, x)[0]
    g = normal(*y.shape, seed=1)
    given = {"size": (3, 2), "stride": 2, "padding": (1, 0), "mode": mode, "layout": layout}
    on_x, on_g = put(laid(x, layout)), put(laid(g, layout))
    on_y = ops.pooling(on_x, **given)
    close(on_y, laid(y, layout))
    if mode == "max":
        dx = slopes(lambda v: float((reference(p, v)[0] * g).sum()), x.astype(np.float64))
    else:
        (dx,) = reference(AvgPoolGrad(**fields, count_padding=counting, shape=x.shape), g)
    close(ops.pooling_backward(on_x, on_y, on_g, **given), laid(dx, layout))


# Normalisation.


@pytest.mark.parametrize("layout", LAYOUTS)
def test_batch_norm_in_training_and_its_gradients(backend: CupyBackend, layout: str) -> None:
    x, scale, shift, g = normal(3, 4, 5, 6), normal(6, seed=1), normal(6, seed=2), normal(3, 4, 5, 6, seed=3)
    y, mean, variance = reference(BatchNorm(1e-3), x, scale, shift)
    gradients = reference(BatchNormGrad(1e-3), x, scale, mean, variance, g)
    on = put(laid(x, layout)), put(scale)
    found, saved = ops.batch_norm(*on, put(shift), 1e-3, layout)
    close(found, laid(y, layout))
    close(saved.mean, mean)
    dx, dscale, dshift = ops.batch_norm_backward(on[0], put(laid(g, layout)), on[1], saved, 1e-3, layout)
    close(dx, laid(gradients[0], layout), 1e-4)
    close(dscale, gradients[1], 1e-4)
    close(dshift, gradients[2], 1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_batch_norm_with_given_statistics(backend: CupyBackend, layout: str) -> None:
    x, scale, shift, mean = normal(3, 4, 5, 6), normal(6, seed=1), normal(6, seed=2), normal(6, seed=3)
    variance = normal(6, seed=4) ** 2
    y = (x - mean) / np.sqrt(variance + 1e-3) * scale + shift
    vectors = [put(v) for v in (scale, shift, mean, variance)]
    close(ops.batch_norm_inference(put(laid(x, layout)), *vectors, 1e-3, layout), laid(y, layout), 1e-4)


def test_local_response(by_cudnn: CupyBackend) -> None:
    """Against the sum written out, and against its slopes."""
    x, g = normal(2, 3, 3, 7), normal(2, 3, 3, 7, seed=1)
    given = {"size": 5, "alpha": 0.1, "beta": 0.75, "k": 2.0}

    def formula(x: np.ndarray) -> np.ndarray:
        total = np.zeros(x.shape)
        for c in range(7):
            total[..., c] = (x[..., max(0, c - 2) : c + 3] ** 2).sum(-1)
        return np.asarray(x / (2.0 + 0.1 / 5 * total) ** 0.75)

    y = ops.local_response(put(x), **given)
    close(y, formula(x))
    dx = slopes(lambda v: float((formula(v) * g).sum()), x.astype(np.float64))
    close(ops.local_response_backward(put(x), y, put(g), **given), dx, 1e-4)


# Softmax and activations.


@pytest.mark.parametrize("logarithm", [False, True])
def test_softmax_and_its_gradient(backend: CupyBackend, logarithm: bool) -> None:
    x, g = normal(3, 4, 5), normal(3, 4, 5, seed=1)

    def formula(x: np.ndarray) -> np.ndarray:
        e = np.exp(x)
        p = e / e.sum(-1, keepdims=True)
        return np.asarray(np.log(p) if logarithm else p)

    y = ops.softmax(put(x), logarithm)
    close(y, formula(x))
    dx = slopes(lambda v: float((formula(v) * g).sum()), x.astype(np.float64))
    close(ops.softmax_backward(y, put(g), logarithm), dx)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "clipped_relu": lambda x: np.clip(x, 0, 0.5),
    "elu": lambda x: np.where(x > 0, x, 0.5 * np.expm1(x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(by_cudnn: CupyBackend, name: str) -> None:
    x, g, f = normal(3, 5), normal(3, 5, seed=1), ACTIVATIONS[name]
    y = ops.activation(put(x), name, 0.5)
    close(y, f(x))
    dx = slopes(lambda v: float((f(v) * g).sum()), x.astype(np.float64))
    close(ops.activation_backward(put(x), y, put(g), name, 0.5), dx, 1e-4)


# Recurrence.


def lstm(x: np.ndarray, p: dict[tuple[str, str, bool], np.ndarray], units: int) -> np.ndarray:
    """One LSTM layer over (N, T, C), from Hochreiter and Schmidhuber with forget gates."""
    s = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    h, c, out = np.zeros((len(x), units)), np.zeros((len(x), units)), []
    for t in range(x.shape[1]):
        a = {
            gate: x[:, t] @ p[gate, "input", False].T + p[gate, "input", True]
            + h @ p[gate, "recurrent", False].T + p[gate, "recurrent", True]
            for gate in ("input", "forget", "cell", "output")
        }  # fmt: skip
        c = s(a["forget"]) * c + s(a["input"]) * np.tanh(a["cell"])
        h = s(a["output"]) * np.tanh(c)
        out.append(h)
    return np.stack(out, 1)


def test_an_lstm_and_its_gradients(by_cudnn: CupyBackend) -> None:
    network, weights = ops.recurrence_weights("lstm", 3, 2)
    values = normal(weights.size, seed=5)
    weights.set(values)
    named = dict(ops.recurrence_parameters(network, weights))
    assert len(named) == 16
    assert sum(a.size for a in named.values()) == weights.size
    p = {(k.gate, k.of, k.bias): a.get().astype(np.float64) for k, a in named.items()}
    x, g = normal(2, 4, 3), normal(2, 4, 2, seed=1)
    y, hidden, cell, kept = ops.recurrence(network, weights, put(x), training=True)
    close(y, lstm(x, p, 2))
    close(hidden, y.get()[None, :, -1])
    assert cell.shape == (1, 2, 2)
    assert kept is not None
    dx, _, _, dweights = ops.recurrence_backward(kept, put(g))
    close(dx, slopes(lambda v: float((lstm(v, p, 2) * g).sum()), x.astype(np.float64)), 1e-4)
    start = next(k.start // 4 for k in named if (k.gate, k.of, k.bias) == ("forget", "recurrent", False))

    def moved(w: np.ndarray) -> float:
        return float((lstm(x, {**p, ("forget", "recurrent", False): w}, 2) * g).sum())

    wanted = slopes(moved, p["forget", "recurrent", False])
    close(dweights[start : start + 4].reshape(2, 2), wanted, 1e-4)


@pytest.mark.parametrize("mode", ["relu", "tanh", "gru"])
def test_deep_networks_in_both_directions(by_cudnn: CupyBackend, mode: str) -> None:
    network, weights = ops.recurrence_weights(mode, 3, 2, layers=2, bidirectional=True)
    weights.set(normal(weights.size))
    x = normal(2, 3, 3)
    y, hidden, cell, kept = ops.recurrence(network, weights, put(x), lengths=[3, 2], training=True)
    assert (y.shape, hidden.shape, cell) == ((2, 3, 4), (4, 2, 2), None)
    assert not y.get()[1, 2].any()  # behind the end
    assert kept is not None
    dx, dhidden, _, dweights = ops.recurrence_backward(kept, put(normal(2, 3, 4, seed=1)))
    assert (dx.shape, dhidden.shape, dweights.shape) == ((2, 3, 3), (4, 2, 2), weights.shape)


# What cuDNN lacks, empty arrays, and numbers of NumPy's.

CALLS: dict[str, Callable[[], Any]] = {
    "ConvolutionForward": lambda: ops.convolution(
        put(normal(2, 3, 6, 6)), put(normal(4, 3, 3, 3)), layout="NCHW"
    ),
    "ConvolutionBackwardData": lambda: ops.convolution_backward_data(
        put(normal(4, 3, 3, 3)), put(normal(2, 4, 4, 4)), (2, 3, 6, 6), layout="NCHW"
    ),
    "ConvolutionBackwardFilter": lambda: ops.convolution_backward_filter(
        put(normal(2, 3, 6, 6)), put(normal(2, 4, 4, 4)), (3, 3), layout="NCHW"
    ),
    "PoolingForward": lambda: ops.pooling(put(normal(2, 6, 6, 3)), 2),
    "PoolingBackward": lambda: ops.pooling_backward(
        put(normal(2, 4, 4, 3)), put(normal(2, 2, 2, 3)), put(normal(2, 2, 2, 3)), 2, mode="average"
    ),
    "BatchNormalizationForwardTraining": lambda: normalised(),
    "BatchNormalizationForwardInference": lambda: ops.batch_norm_inference(
        put(normal(3, 4, 5, 6)), *(put(normal(6, seed=k) ** 2) for k in range(4))
    ),
    "SoftmaxForward": lambda: ops.softmax(put(normal(3, 5))),
    "SoftmaxBackward": lambda: ops.softmax_backward(put(normal(3, 5)), put(normal(3, 5))),
}


def normalised() -> Any:
    """The gradient of a batch norm, from what its forward kept."""
    x, scale = put(normal(3, 4, 5, 6)), put(normal(6, seed=1))
    _, saved = ops.batch_norm(x, scale, put(normal(6, seed=2)))
    return ops.batch_norm_backward(x, put(normal(3, 4, 5, 6, seed=3)), scale, saved)[0]


@pytest.mark.parametrize("name", CALLS)
def test_what_cudnn_lacks_generated_kernels_compute(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    call = CALLS[name]
    wanted = computing(monkeypatch, None) and call()
    backend = computing(monkeypatch, library(failing={name: 3000}))
    close(call(), wanted.get())
    assert backend.gpu.cudnn.c.calls[name] > 0
    monkeypatch.setattr(backend, "gpu", replace(backend.gpu, policy="always"))
    with pytest.raises(BackendError, match=f"cudnn{name}: CUDNN_STATUS_NOT_SUPPORTED"):
        call()
    computing(monkeypatch, library(failing={name: 5000}))
    with pytest.raises(BackendError, match="CUDNN_STATUS_EXECUTION_FAILED"):
        call()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_empty_arrays(backend: CupyBackend, layout: str) -> None:
    shape, y = ((0, 6, 6, 2), (0, 4, 4, 4)) if layout == "NHWC" else ((0, 2, 6, 6), (0, 4, 4, 4))
    x, w = put(np.zeros(shape)), put(filters(normal(3, 3, 2, 4), layout))
    assert ops.convolution(x, w, layout=layout).shape == y
    assert ops.convolution_backward_data(w, put(np.zeros(y)), shape, layout=layout).shape == shape
    dw = ops.convolution_backward_filter(x, put(np.zeros(y)), (3, 3), layout=layout)
    assert not dw.get().any()
    pooled = ops.pooling(x, 2, layout=layout)
    assert pooled.size == 0
    assert ops.pooling_backward(x, pooled, pooled, 2, layout=layout).shape == shape
    v = put(normal(2))
    assert ops.batch_norm_inference(x, v, v, v, v, layout=layout).shape == shape
    assert ops.softmax(x).shape == ops.softmax_backward(x, x).shape == shape


def test_empty_arrays_of_what_is_cudnns(by_cudnn: CupyBackend) -> None:
    x = put(np.zeros((0, 3, 3, 4)))
    assert ops.activation(x, "relu").shape == ops.activation_backward(x, x, x, "relu").shape == x.shape
    assert ops.local_response(x).shape == ops.local_response_backward(x, x, x).shape == x.shape


def test_numbers_of_numpy(backend: CupyBackend) -> None:
    one, two = np.int64(1), np.int32(2)
    x, w = put(normal(2, 6, 6, 2)), put(normal(3, 3, 1, 4))
    wanted = ops.convolution(x, w, 1, (2, 1), groups=2).get()
    close(ops.convolution(x, w, one, (two, one), groups=two), wanted)
    close(ops.pooling(x, two), ops.pooling(x, 2).get())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_of_equal_elements_one_gets_the_gradient_and_always_the_same(
    backend: CupyBackend, layout: str
) -> None:
    x, g = put(np.ones(laid(normal(1, 4, 4, 2), layout).shape)), put(laid(normal(1, 2, 2, 2), layout))
    y = ops.pooling(x, 2, layout=layout)
    once, again = (ops.pooling_backward(x, y, g, 2, layout=layout).get() for _ in range(2))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(np.sort(once[once != 0]), np.sort(g.get().ravel()))


# What wrong arguments get.


WRONG: dict[str, tuple[type[Exception], str, Callable[[Any, Any], Any]]] = {
    "layout": (ArgumentError, "layout is 'CHWN'", lambda x, w: ops.convolution(x, w, layout="CHWN")),
    "stride": (ArgumentError, "stride is .1, 1, 1.; needs", lambda x, w: ops.convolution(x, w, (1, 1, 1))),
    "host": (
        ArgumentError,
        "w is a ndarray; needs a cupy",
        lambda x, w: ops.convolution(x, normal(3, 3, 2, 4)),
    ),
    "strided": (ArgumentError, "ascontiguousarray", lambda x, w: ops.convolution(x[:, ::2], w)),
    "types": (
        DTypeError,
        "x is float32, w is float64",
        lambda x, w: ops.convolution(x, zeros(w.shape, "f8")),
    ),
    "integers": (DTypeError, "needs a floating type", lambda x, w: ops.softmax(zeros((2, 3), "i4"))),
    "channels": (ShapeError, "has 2 channels", lambda x, w: ops.convolution(x, zeros((3, 3, 5, 4)))),
    "gradient": (ShapeError, "dy has", lambda x, w: ops.convolution_backward_data(w, x, (2, 6, 6, 2))),
    "mode": (ArgumentError, "mode is 'median'", lambda x, w: ops.pooling(x, 2, mode="median")),
    "groups": (
        ArgumentError,
        "groups is 0; needs a whole number, at least 1",
        lambda x, w: ops.convolution_backward_filter(x, x, (1, 1), groups=0),
    ),
    "half a group": (ArgumentError, "groups is 0.5", lambda x, w: ops.convolution(x, w, groups=0.5)),
    "array": (ArgumentError, "stride is array", lambda x, w: ops.convolution(x, w, np.ones(2, int))),
    "no axes": (ShapeError, "x has no axes", lambda x, w: ops.softmax(zeros(()))),
    "no axes of dy": (ShapeError, "y has no axes", lambda x, w: ops.softmax_backward(zeros(()), zeros(()))),
    "rank": (ShapeError, "spatial axes", lambda x, w: ops.pooling(zeros((2, 3)), 2)),
    "scale": (
        ShapeError,
        "scale has shape .3,., x",
        lambda x, w: ops.batch_norm(x, zeros((3,)), zeros((3,))),
    ),
}


def zeros(shape: Any, kind: str = "f4") -> Any:
    import cupy

    return cupy.zeros(shape, kind)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_told(backend: CupyBackend, name: str) -> None:
    error, words, call = WRONG[name]
    x, w = put(normal(2, 6, 6, 2)), put(normal(3, 3, 2, 4))
    with pytest.raises(error, match=words):
        call(x, w)


def test_a_network_wants_arrays_of_its_own(by_cudnn: CupyBackend) -> None:
    """cuDNN would read behind the end of weights that are too short."""
    network, weights = ops.recurrence_weights("gru", 2, 3)
    x = zeros((1, 4, 2))
    with pytest.raises(ShapeError, match="weights have 36 bytes, the network's"):
        ops.recurrence(network, zeros((9,)), x)
    with pytest.raises(ShapeError, match="recurrence_weights makes them"):
        list(ops.recurrence_parameters(network, zeros((9,))))
    with pytest.raises(DTypeError, match="weights, x: float16; the network is float32"):
        ops.recurrence(network, zeros(weights.shape, "f2"), zeros(x.shape, "f2"))
    with pytest.raises(ArgumentError, match="units is 0"):
        ops.recurrence_weights("gru", 2, 0)


def test_without_cudnn_what_it_alone_computes_says_what_to_install(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cortex_gpu.cudnn import library as cudnn

    backend = computing(monkeypatch, None)
    monkeypatch.setattr(cudnn, "SYSTEM", "libcudnn-of-nowhere.so.9")
    cudnn.load.cache_clear()
    for call in (
        lambda: ops.activation(put(normal(3)), "relu"),
        lambda: ops.local_response(put(normal(2, 3, 3, 4))),
        lambda: ops.recurrence_weights("gru", 2, 3),
    ):
        with pytest.raises(BackendError, match="Install the wheel nvidia-cudnn-cu12"):
            call()
    monkeypatch.setattr(backend, "gpu", replace(backend.gpu, policy="never"))
    with pytest.raises(BackendError, match="CORTEX_CUDNN=never forbids"):
        ops.activation(put(normal(3)), "relu")
