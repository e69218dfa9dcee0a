"""The pointwise kernels: values by hand, special numbers, aliasing, blocks, what a call allocates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.expression import E
from cortex_compute.numpy_backend.pointwise import BLOCK, block_slices, coalesce
from cortex_compute.numpy_backend.steps import plan
from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.protocol import Offer
from cortex_compute.types import TensorType, float32, float64
from cortex_compute.verify.families.elementwise import adam, formula, make, single
from tests.compute.kernels import BACKEND, allocated, compute, operand

INF, NAN = math.inf, math.nan


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("op", "args", "expected"),
    [
        ("relu", [f32(-1, 0, 2, NAN, INF, -INF)], [0, 0, 2, NAN, INF, 0]),
        ("max", [f32(1, NAN, 1), f32(2, 1, NAN)], [2, NAN, NAN]),
        ("min", [f32(1, NAN, 1), f32(2, 1, NAN)], [1, NAN, NAN]),
        ("sigmoid", [f32(0, -1000, 1000, NAN)], [0.5, 0, 1, NAN]),
        ("rsqrt", [f32(4, 0, INF, -1)], [0.5, INF, 0, NAN]),
        ("expm1", [f32(1e-8, -INF)], [1e-8, -1]),
        ("log1p", [f32(1e-8, -1)], [1e-8, -INF]),
        ("floor", [f32(-0.5, 1.5)], [-1, 1]),
        ("isfinite", [f32(1, NAN, INF)], [True, False, False]),
        ("div", [np.array([7, -7, 1]), np.array([2, 2, 0])], [3.5, -3.5, INF]),
        ("add", [np.array([True, True]), np.array([True, False])], [2, 1]),
        ("and", [f32(0, 0.5, NAN), f32(1, 2, 3)], [False, True, True]),
        ("not", [f32(0, 0.5)], [True, False]),
        ("select", [np.array([True, False]), f32(NAN, NAN), f32(1, 2)], [NAN, 2]),
        ("select", [f32(0, -0.0, 0.1, NAN), f32(1, 1, 1, 1), f32(2, 2, 2, 2)], [2, 2, 1, 1]),
        ("cast:int32", [f32(1.9, -1.9)], [1, -1]),
        ("cast:bool", [f32(0, 0.5)], [False, True]),
        ("floor", [np.array([3, -3])], [3, -3]),
        ("abs", [np.array([True, False])], [1, 0]),
    ],
)  # fmt: skip
def test_values_by_hand(op: str, args: list[np.ndarray], expected: list[Any]) -> None:
    arity = [None] * len(args)
    np.testing.assert_allclose(compute(single(op, *arity), *args), expected, rtol=1e-6)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_the_sign_of_zero_and_the_bits_of_nan_pass_through_select(zero: float) -> None:
    a, nan = f32(zero, zero), np.array([0x7FC12345, 0xFFC00001], np.uint32).view(np.float32)
    choose = single("select", None, None, None)
    first = compute(choose, np.array([True, True]), a, nan)
    second = compute(choose, np.array([False, False]), a, nan)
    assert first.tobytes() == a.tobytes()
    assert second.tobytes() == nan.tobytes()


@pytest.mark.parametrize("literal", [0.0, -0.0, NAN, 1.5])
@pytest.mark.parametrize("first", [True, False])
def test_select_of_a_literal(literal: float, first: bool) -> None:
    a = f32(1, NAN, -INF, 4)
    args = (None, literal, None) if first else (None, None, literal)
    y = compute(single("select", *args), np.array([True, False, True, False]), a)
    expected = np.where(np.array([True, False, True, False]) == first, np.float32(literal), a)
    assert y.tobytes() == expected.tobytes()


def test_an_operand_of_no_axes_is_read_at_each_run() -> None:
    """It is memory, the learning rate say, and no constant; for max and select as well."""
    x, rate = f32(1, 2, 3), np.array(2, np.float32)
    for p in (single("max", None, None), single("mul", None, None)):
        offer = BACKEND.offer(p, [operand(x), operand(rate)])
        assert isinstance(offer, Offer)
        y = np.empty(3, np.float32)
        launch = offer.build().bind([x, rate], [y], np.empty(offer.workspace, np.uint8))
        stream = BACKEND.devices()[0].stream()
        for value in (2.0, 10.0):
            rate[...] = value
            launch(stream)
            np.testing.assert_array_equal(
                y, (x * value) if p == single("mul", None, None) else np.maximum(x, value)
            )


def test_adam_by_hand_in_place() -> None:
    """One step from zero moments with rate 0.1: m = 0.1 g, v = 0.001 g², p -= 0.1 m / (sqrt(v) + 1e-8)."""
    p, g, m, v = f32(1, 1), f32(2, -3), f32(0, 0), f32(0, 0)
    kernel = formula(adam, 5)
    arrays = [p, g, m, v, np.array(0.1, np.float32)]
    offer = BACKEND.offer(kernel, [operand(a) for a in arrays])
    assert isinstance(offer, Offer)
    assert {(0, 0), (2, 1), (3, 2)} <= set(offer.reuse)
    launch = offer.build().bind(arrays, [p, m, v], np.empty(offer.workspace, np.uint8))
    launch(BACKEND.devices()[0].stream())
    np.testing.assert_allclose(m, [0.2, -0.3], rtol=1e-6)
    np.testing.assert_allclose(v, [0.004, 0.009], rtol=1e-6)
    np.testing.assert_allclose(p, [1 - 0.02 / 0.0632456, 1 + 0.03 / 0.0948683], rtol=1e-5)
    np.testing.assert_array_equal(g, [2, -3])


def test_operands_that_change_places_share_no_memory() -> None:
    swap = formula(lambda a, b: [b, a], 2)
    offer = BACKEND.offer(swap, [operand(f32(1)), operand(f32(2))])
    assert isinstance(offer, Offer)
    assert offer.reuse == ()


OPS = ["add", "sub", "mul", "max", "min", "select", "neg", "relu", "abs", "tanh", "sigmoid"]


@st.composite
def codes(draw: st.DrawFn) -> tuple[Elementwise, int]:
    """A random formula over three operands with one to three results."""
    steps = draw(
        st.lists(st.tuples(st.sampled_from(OPS), *[st.integers(0, 30)] * 3), min_size=1, max_size=12)
    )
    wanted = draw(st.lists(st.integers(0, 30), min_size=1, max_size=3))

    def f(*operands: E) -> list[E]:
        values = list(operands)
        for op, i, j, k in steps:
            a, b, c = (values[n % len(values)] for n in (i, j, k))
            if op == "select":
                values.append(make("select", c > 0, a, b))
            elif op in ("add", "sub", "mul", "max", "min"):
                values.append(make(op, a, b))
            else:
                values.append(make(op, a))
        made = values[3:]
        return [made[n % len(made)] for n in wanted]

    return formula(f, 3), len(wanted)


@given(codes(), st.integers(0, 2**32), st.permutations(range(3)), st.sampled_from([1, 7, BLOCK + 3]))
@settings(deadline=None, max_examples=150)
def test_random_code_with_results_over_operands(
    drawn: tuple[Elementwise, int], seed: int, over: list[int], n: int
) -> None:
    """Each result over another operand: the same bits as in memory of their own."""
    p, count = drawn
    arrays = [a.astype(np.float32) for a in np.random.default_rng(seed).standard_normal((3, n))]
    apart = compute(p, *[a.copy() for a in arrays])
    apart = apart if count > 1 else [apart]
    offer = BACKEND.offer(p, [operand(a) for a in arrays])
    assert isinstance(offer, Offer)
    pairs = [(k, j) for j, k in zip(range(count), over) if (k, j) in offer.reuse]
    outputs = [np.empty(n, np.float32) for _ in range(count)]
    for k, j in pairs:
        outputs[j] = arrays[k]
    workspace = np.full(offer.workspace, 0xFF, np.uint8)
    with np.errstate(all="ignore"):
        offer.build().bind(arrays, outputs, workspace)(BACKEND.devices()[0].stream())
    for a, b in zip(apart, outputs):
        np.testing.assert_array_equal(a, b)


SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, max_side=5, min_side=0)


@given(SHAPES, st.data())
@settings(deadline=None)
def test_broadcasts_and_strides_are_numpys(shapes: Any, data: st.DataObject) -> None:
    rng = np.random.default_rng(0)
    arrays = []
    for shape in shapes.input_shapes:
        axes = data.draw(st.permutations(range(len(shape))))
        steps = [data.draw(st.sampled_from([1, 2, -1])) for _ in shape]
        base = rng.standard_normal([2 * shape[a] for a in axes]).astype(np.float32)
        turned = base.transpose(np.argsort(axes))
        arrays.append(turned[tuple(slice(None, None, s) for s in steps)][tuple(slice(0, n) for n in shape)])
    a, b, c = arrays
    y = compute(formula(lambda a, b, c: a * b + c, 3), a, b, c)
    np.testing.assert_allclose(y, a * b + c, rtol=1e-6)


@given(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6), st.integers(1, 40))
def test_blocks_cover_a_space_once(shape: tuple[int, ...], limit: int) -> None:
    count = np.zeros(shape, int)
    for index in block_slices(shape, limit):
        assert count[index].size <= limit
        count[index] += 1
    assert (count == 1).all()


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        ([(2, 3, 4), (2, 3, 4)], 1),
        ([(2, 3, 4), (4,)], 2),
        ([(2, 3, 4), (2, 1, 1)], 2),
        ([(2, 3, 4), (3, 1)], 3),
        ([(1, 3, 1), (1, 3, 1)], 1),
        ([(1, 1), (1, 1)], 1),
        ([(2, 3, 4), ()], 1),
    ],
)
def test_coalesced_axes(shapes: list[tuple[int, ...]], axes: int) -> None:
    arrays = [np.broadcast_to(np.zeros(s), shapes[0]) for s in shapes]
    assert {v.ndim for v in coalesce(shapes[0], arrays)} == {axes}


def test_a_dying_argument_gives_its_register() -> None:
    """sqrt(a * b + a) - b needs one register, however long it goes on."""

    def f(a: E, b: E) -> E:
        for _ in range(10):
            a = make("sqrt", a * b + b) - b
        return a

    assert plan(formula(f, 2).code, (float32, float32), ()).registers == 1


def test_wide_and_narrow_types_share_no_register_while_alive() -> None:
    wide = formula(
        lambda a, b: make("cast:float64", a) * make("cast:float64", b) + make("cast:float64", a), 2
    )
    a, b = np.random.default_rng(0).standard_normal((2, 50)).astype(np.float32)
    np.testing.assert_array_equal(compute(wide, a, b), a.astype(float) * b + a.astype(float))


@pytest.mark.parametrize("shape", [(BLOCK * 3 + 5,), (700, 60)])
def test_a_call_allocates_next_to_nothing(shape: tuple[int, ...]) -> None:
    x, bias = np.ones(shape, np.float32), np.ones(shape[-1:], np.float32)
    scale = np.array(2, np.float32)
    assert allocated(formula(lambda x, b: make("relu", x + b), 2), x, bias) < 4096
    assert allocated(formula(adam, 5), x, x, x, x, scale) < 4096
    assert allocated(formula(lambda y, g: make("select", y > 0, g, 0.0), 2), x, x) < 4096
    assert allocated(formula(lambda n, x: make("cast:float32", n) * x, 2), x.astype(np.int32), x) < 4096


def test_rejections() -> None:
    add = formula(lambda a, b: a + b, 2)
    with pytest.raises(ShapeError, match=r"add: shapes \(2, 3\) and \(4,\) do not broadcast"):
        add.infer(TensorType((2, 3)), TensorType((4,)))
    with pytest.raises(DTypeError, match="float32 and float64 do not mix"):
        add.infer(TensorType((2,)), TensorType((2,), float64))
    with pytest.raises(ShapeError, match="takes 2 operands, got 1"):
        add.infer(TensorType((2,)))
