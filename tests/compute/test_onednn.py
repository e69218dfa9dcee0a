"""oneDNN's kernels pass the conformance kit, are the ones that run, and keep what NumPy's keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cortex_compute.backends import available, get
from cortex_compute.composed import Composed
from cortex_compute.expression import build
from cortex_compute.onednn_backend.descriptors import Unimplemented, strided
from cortex_compute.onednn_backend.matrix import settled
from cortex_compute.onednn_backend.packing import layout_of, packed
from cortex_compute.primitives.attention import Attention, AttentionGrad
from cortex_compute.primitives.base import OPAQUE, Primitive
from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad
from cortex_compute.primitives.elementwise import Copy, Elementwise
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.normalization import (
    BatchNorm,
    BatchNormGrad,
    BatchNormRelu,
    BatchNormReluGrad,
    LayerNorm,
    LayerNormGrad,
)
from cortex_compute.primitives.pooling import AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad
from cortex_compute.primitives.reduce import Reduce
from cortex_compute.primitives.softmax import LogSoftmax, Softmax
from cortex_compute.protocol import ANY, ROW_MAJOR, Backend, Layout, Offer, Operand, Refusal
from cortex_compute.types import DType, TensorType, bfloat16, dtype, float32, uint8
from cortex_compute.verify import Result, summary
from cortex_compute.verify.case import cases_of
from cortex_compute.verify.run import primitives
from cortex_compute.verify.trial import Trial

ROW = next(row for row in available() if row.name == "onednn")
pytestmark = pytest.mark.skipif(not ROW.present, reason=ROW.reason)

FUSES_RELU = ROW.facts.get("instructions") not in ("SSE4.1", "AVX")
fuses_relu = pytest.mark.skipif(not FUSES_RELU, reason="oneDNN fuses batch norm and ReLU from AVX2 on")

HAS_BFLOAT16 = not get("onednn").precision(bfloat16) if ROW.present else False
has_bfloat16 = pytest.mark.skipif(not HAS_BFLOAT16, reason="this CPU has no instructions for bfloat16")
TYPES = [float32, pytest.param(bfloat16, marks=has_bfloat16)]
FAMILIES = (
    "matrix", "convolution", "pooling", "normalization", "softmax", "reduce", "elementwise", "attention",
)  # fmt: skip
KERNELS = [p for p in primitives() if p.__module__.rpartition(".")[2] in FAMILIES]
IMAGE, ROWS = TensorType((8, 12, 12, 32)), TensorType((64, 96))
HEADS = TensorType((64, 64, 4, 32))
HALVES: Any = {"size": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
OVERLAPPING: Any = {"size": (3, 3), "stride": (2, 2), "padding": ((1, 1), (0, 1)), "ceil": True}
HALF = TensorType((8, 6, 6, 32))
MASK = Layout(key="onednn relu")


class Wherever(Composed):
    """oneDNN's kernel wherever it has one: for small operands, too, where NumPy's is cheaper."""

    def _offer(self, primitive: Primitive, operands: tuple[Operand, ...]) -> Offer | Refusal:
        first, second = (part.offer(primitive, operands) for part in self.parts)
        return first or second


@pytest.mark.slow
@pytest.mark.parametrize("d", TYPES, ids=str)  # all others are NumPy's
@pytest.mark.parametrize("primitive", KERNELS, ids=lambda p: p.__name__)
def test_the_kit_passes(primitive: type[Primitive], d: DType) -> None:
    made = get("onednn")
    assert isinstance(made, Composed)
    backend = Wherever(*made.parts)
    device = backend.devices()[0]
    streams = device.stream(), device.stream(worker=True)
    found: list[Result] = []
    for case in cases_of(primitive):
        if d in case.dtypes:
            found.append(Trial(backend, case, d, streams).run(case.name))
    streams[1].close()
    assert found
    assert all(r.passed for r in found), summary(found)


def vectors(x: TensorType, n: int) -> list[TensorType]:
    return [TensorType(x.shape[-1:])] * n


def columns(x: TensorType) -> list[TensorType]:
    return [TensorType(x.shape[:-1])] * 2


PLAIN: list[Any] = [
    (MaxPool(**HALVES), [IMAGE]),
    (MaxPool(**OVERLAPPING), [IMAGE]),
    (MaxPoolGrad(**HALVES), [IMAGE, HALF, OPAQUE, HALF]),
    (AvgPool(**HALVES), [IMAGE]),
    (AvgPool(**OVERLAPPING), [IMAGE]),
    (AvgPoolGrad(**HALVES, shape=IMAGE.shape), [HALF]),
    (BatchNorm(), [IMAGE, *vectors(IMAGE, 2)]),
    (BatchNorm(), [ROWS, *vectors(ROWS, 2)]),
    (BatchNormGrad(), [IMAGE, *vectors(IMAGE, 3), IMAGE]),
    pytest.param(BatchNormRelu(), [IMAGE, *vectors(IMAGE, 2)], marks=fuses_relu, id="BatchNormRelu"),
    (LayerNorm(), [ROWS, *vectors(ROWS, 2)]),
    (LayerNormGrad(), [ROWS, *vectors(ROWS, 1), *columns(ROWS), ROWS]),
    (Softmax(), [ROWS]),
    (Attention(0.2, True), [HEADS] * 3),
    (AttentionGrad(0.2, True), [*[HEADS] * 4, TensorType((64, 4, 64)), HEADS]),
    (Reduce("sum", (1,)), [TensorType((4096, 64))]),
    (Reduce("mean", (1, 2)), [TensorType((512, 32, 16))]),
]


@pytest.mark.parametrize(("primitive", "types"), PLAIN, ids=lambda p: getattr(p, "name", ""))
def test_onednn_runs(primitive: Primitive, types: Sequence[TensorType]) -> None:
    layouts = [Layout(key="numpy") if t == OPAQUE else ROW_MAJOR for t in types]
    offer = get("onednn").offer(primitive, list(map(Operand, types, layouts)))
    assert isinstance(offer, Offer)
    assert offer.implementation.startswith("onednn ")
    assert "ref" not in offer.implementation


def half(t: TensorType) -> TensorType:
    return TensorType(t.shape, bfloat16)


def formula(f: Any, arity: int) -> dict[str, Any]:
    built = build(f, arity)
    return {"code": built.code, "literals": built.literals}


def relu(x: Any) -> Any:
    return x.builder.make("relu", x)


def adam(p: Any, g: Any, m: Any, v: Any, rate: Any) -> list[Any]:
    make = p.builder.make
    g = make("cast:float32", g)
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * (g * g)
    p = p - rate * m / (make("sqrt", v) + 1e-8)
    return [p, m, v, make("cast:bfloat16", p)]


BIASED = formula(lambda y, b: relu(y + b), 2)
EPILOGUE: Any = {"epilogue": BIASED["code"]}
SAME: Any = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
A, B, FILTERS, FLAT = map(half, map(TensorType, [(128, 784), (784, 256), (3, 3, 32, 32), (256,)]))
X, Y, R = half(IMAGE), half(HALF), half(ROWS)
C24 = half(TensorType((8, 6, 6, 24)))
LONG = TensorType((100_000,))
HALVED: dict[str, tuple[Primitive, list[TensorType]]] = {
    "Gemm": (Gemm(**EPILOGUE), [A, B, FLAT]),
    "Gemm turned, with sums": (Gemm(transpose_a=True, sums=True), [A, half(TensorType((128, 256)))]),
    "Conv": (Conv(**SAME, **EPILOGUE), [X, FILTERS, half(TensorType((32,)))]),
    "ConvInputGrad": (ConvInputGrad(**SAME, shape=X.shape), [X, FILTERS]),
    "ConvKernelGrad": (ConvKernelGrad(**SAME, kernel=(3, 3), bias=True), [X, X]),
    "BatchNorm": (BatchNorm(), [X, *vectors(X, 2)]),
    "BatchNormGrad": (BatchNormGrad(), [X, *vectors(X, 3), X]),
    "BatchNormRelu": (BatchNormRelu(), [X, *vectors(X, 2)]),
    "BatchNormReluGrad": (BatchNormReluGrad(), [X, *vectors(X, 3), X, OPAQUE, X]),
    "BatchNorm of 24 channels": (BatchNorm(), [C24, *vectors(C24, 2)]),
    "BatchNormReluGrad of 24 channels": (BatchNormReluGrad(), [C24, *vectors(C24, 3), C24, OPAQUE, C24]),
    "LayerNorm": (LayerNorm(), [R, *vectors(R, 2)]),
    "LayerNormGrad": (LayerNormGrad(), [R, *vectors(R, 1), *columns(R), R]),
    "MaxPool": (MaxPool(**OVERLAPPING), [X]),
    "MaxPoolGrad": (MaxPoolGrad(**HALVES), [X, Y, OPAQUE, Y]),
    "AvgPool": (AvgPool(**HALVES), [X]),
    "AvgPoolGrad": (AvgPoolGrad(**HALVES, shape=X.shape), [Y]),
    "Softmax": (Softmax(), [R]),
    "copy of float32": (Elementwise(**formula(lambda x: x.builder.make("cast:bfloat16", x), 1)), [LONG]),
    "float32 copy": (Elementwise(**formula(lambda x: x.builder.make("cast:float32", x), 1)), [half(LONG)]),
    "sum and ReLU": (Elementwise(**formula(lambda x, y: relu(x + y), 2)), [X, X]),
    "gradient of ReLU": (
        Elementwise(**formula(lambda y, g, k: y.builder.make("select", y > 0, g + k, 0.0), 3)),
        [X, X, X],
    ),
    "adam": (Elementwise(**formula(adam, 5)), [LONG, half(LONG), LONG, LONG, TensorType(())]),
}


@has_bfloat16
@pytest.mark.parametrize("name", HALVED)
def test_onednn_runs_in_bfloat16(name: str) -> None:
    primitive, types = HALVED[name]
    residual = MASK if isinstance(primitive, BatchNormReluGrad) else Layout(key="numpy")
    layouts = [residual if t == OPAQUE else ROW_MAJOR for t in types]
    offer = get("onednn").offer(primitive, list(map(Operand, types, layouts)))
    assert isinstance(offer, Offer)
    assert offer.implementation.startswith("onednn ")
    assert "ref" not in offer.implementation


@pytest.mark.parametrize(
    ("primitive", "types"),
    [
        (LogSoftmax(), [ROWS]),  # oneDNN's logarithm is not exact enough
        (MaxPool((16, 16), (1, 1), ((0, 0), (0, 0))), [TensorType((2, 20, 20, 16))]),  # 256 elements: 4 bytes
        (AvgPool(**OVERLAPPING, count_padding=True), [IMAGE]),  # oneDNN divides by 9 beyond the padding
        (BatchNorm(), [TensorType((8, 5)), *vectors(TensorType((8, 5)), 2)]),
        (Softmax(), [TensorType((0, 5))]),
        (Softmax(), [TensorType((4, 5), dtype("float64"))]),
    ],
    ids=lambda p: getattr(p, "name", ""),
)
def test_numpy_runs_the_rest(primitive: Primitive, types: Sequence[TensorType]) -> None:
    offer = get("onednn").offer(primitive, list(map(Operand, types)))
    assert isinstance(offer, Offer)
    assert offer.implementation == "numpy"


def run(
    backend: Backend, p: Primitive, arrays: Sequence[np.ndarray], residual: Layout = ROW_MAJOR
) -> tuple[list[np.ndarray], Layout]:
    """The results, and the layout of the residual; an operand of bytes is one in the layout ``residual``."""
    types = [OPAQUE if a.dtype == np.uint8 else TensorType(a.shape, dtype(a.dtype)) for a in arrays]
    strided = [Layout(tuple(s // a.itemsize for s in a.strides)) for a in arrays]
    offer = backend.offer(p, [Operand(t, residual if t == OPAQUE else s) for t, s in zip(types, strided)])
    assert isinstance(offer, Offer), offer
    results = [
        np.full(offer.residual, 0xFF, np.uint8) if t == OPAQUE else np.full(t.shape, np.nan, t.dtype.storage)
        for t in p.infer(*types)
    ]
    launch = offer.build().bind(arrays, results, np.full(offer.workspace, 0xFF, np.uint8))
    stream = backend.devices()[0].stream()
    with stream.active():
        launch(stream)
    return results, offer.residual_layout


def numbers(shape: Sequence[int], *, whole: bool = False) -> np.ndarray:
    rng = np.random.default_rng(5)
    made: Any = rng.integers(-2, 3, shape) if whole else rng.standard_normal(shape)
    return np.asarray(made, np.float32)


@pytest.mark.parametrize("fields", [HALVES, OVERLAPPING], ids=["halves", "overlapping"])
@pytest.mark.parametrize("bad", [None, np.nan, np.inf, -np.inf])
def test_the_winners_are_kept_as_numpy_keeps_them(fields: Any, bad: float | None) -> None:
    x = numbers(IMAGE.shape, whole=True)  # with many ties
    if bad is not None:
        x[2, 3:9, 3:9, 4] = bad
    (y, winners), layout = run(get("onednn"), MaxPool(**fields), [x])
    (expected, expected_winners), _ = run(get("numpy"), MaxPool(**fields), [x])
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(winners, expected_winners)
    operands = [x, y, winners, numbers(y.shape, whole=True)]
    (dx,), (expected_dx,) = (
        run(get(n), MaxPoolGrad(**fields), operands, layout)[0] for n in ("onednn", "numpy")
    )
    np.testing.assert_array_equal(dx, expected_dx)


@fuses_relu
@pytest.mark.parametrize("channels", [8, 16, 40])
@pytest.mark.parametrize("bad", [None, 0, 1, 2], ids=["finite", "NaN in x", "NaN in scale", "NaN in shift"])
def test_relu_after_batch_norm_keeps_a_bit_for_each_element(channels: int, bad: int | None) -> None:
    operands = [numbers((37, channels)), numbers((channels,)), numbers((channels,))]
    if bad is not None:
        operands[bad][..., 3] = np.nan
    (y, mean, variance, bits), layout = run(get("onednn"), BatchNormRelu(), operands)
    assert layout == MASK
    np.testing.assert_array_equal(np.isnan(y).any(0), np.arange(channels) == (3 if bad is not None else -1))
    np.testing.assert_array_equal(bits, np.packbits(y > 0, bitorder="little"))
    x, scale, _ = operands
    rest = [mean, variance, y, bits, numbers(y.shape)[::-1].copy()]
    found, _ = run(get("onednn"), BatchNormReluGrad(), [x, scale, *rest], layout)
    expected, _ = run(get("numpy"), BatchNormReluGrad(), [x, scale, *rest])
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    columns = [*rest[:-1], np.asfortranarray(rest[-1])]
    for a, b in zip(run(get("onednn"), BatchNormReluGrad(), [x, scale, *columns], layout)[0], found):
        np.testing.assert_array_equal(a, b)


def test_a_channel_without_variance_and_epsilon_is_nan() -> None:
    operands = [np.full((8, 16), 2.0, np.float32), *[np.ones(16, np.float32)] * 2]
    (y, *_), _ = run(get("onednn"), BatchNormRelu(0.0), operands)
    assert np.isnan(y).all()


def test_the_gradient_of_relu_where_numbers_are_not_finite() -> None:
    """As select(y > 0, g, 0) but for what the module says: NaN for an infinite g, or NaN, times 0."""
    inf, nan = np.inf, np.nan
    gate = Elementwise(**formula(lambda y, g: y.builder.make("select", y > 0, g, 0.0), 2))
    y, g = np.meshgrid([nan, -inf, -1, -0.0, 0, 1, inf], [nan, -inf, inf, -2, 0, 3], indexing="ij")
    n = 40_000 // y.size * y.size  # NumPy's kernel is the cheaper one for few
    operands = [np.resize(a, n).astype(np.float32) for a in (y, g)]
    offer = get("onednn").offer(gate, [Operand(TensorType((n,)))] * 2)
    assert isinstance(offer, Offer)
    assert offer.implementation.startswith("onednn ")
    expected = np.where(y > 0, g, np.where(np.isfinite(g), 0, nan))
    (out,), _ = run(get("onednn"), gate, operands)
    np.testing.assert_array_equal(out, np.resize(expected, n).astype(np.float32))


# Operands that oneDNN has no description for, or that lie oddly.


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_flipped_matrix_is_left_to_numpy(k: int, axis: int) -> None:
    operands = [numbers((40, 40)), numbers((40, 40)).T.copy()]
    operands[k] = np.flip(operands[k], axis)
    (out,), _ = run(get("onednn"), Gemm(), operands)
    np.testing.assert_allclose(out, operands[0] @ operands[1], rtol=1e-5, atol=1e-5)


def test_a_refused_description_says_what_it_was_of() -> None:
    with pytest.raises(Unimplemented, match=r"float32\[4, 4\] with strides \[-4, 1\]: .+ \(status [23]\)"):
        strided((4, 4), (-4, 1), float32)


def test_an_epilogue_from_the_left_is_refused_by_its_order() -> None:
    built = build(lambda y: 1.0 - y, 1)
    made = get("onednn")
    assert isinstance(made, Composed)
    p = Gemm(epilogue=built.code, literals=built.literals)
    refusal = made.parts[0].offer(p, [Operand(TensorType((4, 4)))] * 2)
    assert isinstance(refusal, Refusal)
    assert "sub has no post-op with the chain on its right" in str(refusal)


def test_a_chain_that_is_too_long_is_refused() -> None:
    """Such as the sum of the gradients of fifty steps."""
    made = get("onednn")
    assert isinstance(made, Composed)
    for count, fits in ((32, True), (33, False)):
        built = build(lambda *y: sum(y[1:], y[0]), count + 1)
        p = Gemm(epilogue=built.code, literals=built.literals)
        offer = made.parts[0].offer(p, [Operand(TensorType((4, 4)))] * (count + 2))
        assert isinstance(offer, Refusal) != fits
        assert fits or "33 post-ops; 32 are possible" in str(offer)


def test_thirteen_axes_are_left_to_numpy() -> None:
    x = numbers((2,) * 13)
    add = Elementwise(**formula(lambda x: x + 1.0, 1))
    (out,), _ = run(get("onednn"), add, [x])
    np.testing.assert_array_equal(out, x + 1)
    (out,), _ = run(get("onednn"), Reduce("sum", (12,)), [x])
    np.testing.assert_allclose(out, x.sum(12), rtol=1e-6)


def test_an_axis_of_one_element_may_have_any_stride() -> None:
    x, w = numbers((4, 1, 8)), numbers((8, 300))
    strange = np.lib.stride_tricks.as_strided(x, strides=(32, 128, 4))
    made = get("onednn")
    assert isinstance(made, Composed)
    (out,), _ = run(Wherever(*made.parts), Gemm(), [strange, w])
    np.testing.assert_allclose(out, x @ w, rtol=1e-5, atol=1e-5)


# Weights in oneDNN's own layout.


def launched(offer: Any, arrays: Sequence[Any], out: Any) -> Any:
    """A kernel's only result, over new memory; ``out`` is its type, or the bytes of an opaque one."""
    device = get("onednn").devices()[0]
    made = TensorType((out,), uint8) if isinstance(out, int) else out
    result = device.empty(max(1, made.nbytes)).view(made)
    workspace = device.empty(max(1, offer.workspace)).view(TensorType((offer.workspace,), uint8))
    stream = device.stream()
    with stream.active():
        offer.build().bind(arrays, [result], workspace)(stream)
    return result


PRODUCTS = [
    (Gemm(), [(32, 300), (300, 200)]),
    (Conv(**SAME), [(2, 9, 9, 32), (3, 3, 32, 48)]),
    (Conv(**{**SAME, "groups": 2}), [(2, 9, 9, 32), (3, 3, 16, 64)]),
]


@pytest.mark.parametrize(("primitive", "shapes"), PRODUCTS, ids=["Gemm", "Conv", "Conv, grouped"])
def test_weights_in_a_layout_of_its_own_give_the_same_product(primitive: Any, shapes: Any) -> None:
    backend = get("onednn")
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    types = [TensorType(s) for s in shapes]
    (y,) = primitive.infer(*types)
    asked = backend.offer(primitive, (Operand(types[0]), Operand(types[1], ANY)))
    assert isinstance(asked, Offer)
    assert asked.layouts is not None
    layout = asked.layouts[1]
    if not layout.key and not ROW.facts["instructions"].startswith("AVX-512"):
        pytest.skip("on this CPU oneDNN wants the weights as they are")
    assert layout.key
    copy = backend.offer(Copy(layout), (Operand(types[1]),))
    laid = launched(copy, [w], layout.nbytes)
    offer = backend.offer(primitive, (Operand(types[0]), Operand(types[1], layout)))
    assert isinstance(offer, Offer)
    expected = launched(get("numpy").offer(primitive, list(map(Operand, types))), [x, w], y)
    np.testing.assert_allclose(launched(offer, [x, laid], y), expected, rtol=1e-4, atol=1e-4)


def test_a_layout_has_one_key_and_another_has_another() -> None:
    plain, turned, blocked = (strided((4, 6), s, float32) for s in ((6, 1), (1, 4), (8, 1)))
    same = strided.__wrapped__((4, 6), (1, 4), float32)
    assert layout_of(plain, plain) == ROW_MAJOR
    assert layout_of(plain, turned) == layout_of(plain, same)
    layouts = [layout_of(plain, turned), layout_of(plain, blocked), layout_of(turned, plain)]
    assert len({x.key for x in layouts}) == 3
    assert [packed(x) for x in layouts] == [(plain, turned), (plain, blocked), (turned, plain)]


def test_a_layout_of_its_own_is_for_those_who_know_it() -> None:
    layout = layout_of(*(strided((4, 4), s, float32) for s in ((4, 1), (1, 4))))
    t = TensorType((4, 4))
    assert not get("numpy").offer(Copy(layout), (Operand(t),))
    for name in ("numpy", "onednn"):
        assert not get(name).offer(Copy(Layout(key="someone's")), (Operand(t),))
        assert not get(name).offer(Gemm(), (Operand(t, ANY), Operand(t)))
        assert not get(name).offer(Gemm(transpose_b=True), (Operand(t), Operand(t, ANY)))


def test_descriptions_that_differ_in_axes_of_one_element_are_made_the_same() -> None:
    """oneDNN's cache takes them for the same, and their scratchpads differ: a crash."""
    assert settled((1, 1), (4, 1)) == (1, 1)
    assert settled((5, 1), (7, 3)) == (7, 1)
    assert settled((1, 5), (9, 2)) == (10, 2)
    assert settled((2, 1, 3), (6, 99, 1)) == (6, 3, 1)
    one, onednn = TensorType((1, 1)), get("onednn").parts[0]
    for strides in (None, (4, 1), (1, 4), (-2, -2), (1, 1)):
        offer = onednn.offer(Gemm(), (Operand(one, Layout(strides)),) * 2)
        assert isinstance(offer, Offer)
        assert launched(offer, [np.full((1, 1), 3, np.float32)] * 2, one) == 9
