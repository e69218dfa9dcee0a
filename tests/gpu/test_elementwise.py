"""Elementwise and Copy on the GPU: how they are walked, what they move at once, what their sources share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cortex_compute.expression import E
from cortex_compute.primitives.base import Primitive
from cortex_compute.primitives.elementwise import Copy, Elementwise
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import TensorType, bfloat16, bool_, dtype, float16, float32, float64
from cortex_compute.verify.families.elementwise import adam, formula
from cortex_compute.verify.placement import Placed, spaced
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.elementwise import copy, elementwise
from tests.gpu.running import computed

ADD = formula(lambda a, b: a + b, 2)


def text(p: Elementwise, *operands: Operand) -> str:
    """The source for row-major outputs."""
    offer = elementwise(p, operands, Gpu())
    assert isinstance(offer, Offer)
    (source,) = offer.build().sources  # type: ignore[attr-defined]
    return str(source.text)


def of(*shapes: tuple[int, ...], d: Any = float32) -> list[Operand]:
    return [Operand(TensorType(s, d)) for s in shapes]


def bound(
    backend: CupyBackend,
    p: Primitive,
    operands: list[tuple[np.ndarray, Any]],
    outputs: list[Any],
    shift: int = 0,
) -> list[np.ndarray]:
    """The outputs of ``p``, where operands lie with these strides, ``shift`` elements into their memory."""
    device, stream = backend.devices()[0], backend.devices()[0].stream()
    inputs = []
    for values, strides in operands:
        memory = Placed(device, TensorType((2 * values.size + shift,), dtype(values.dtype)))
        array = memory.buffer.view(
            TensorType(values.shape, dtype(values.dtype)), 64 + shift * values.itemsize, strides
        )
        stream.copy(values, array)
        inputs.append(array)
    types = [TensorType(v.shape, dtype(v.dtype)) for v, _ in operands]
    offer = backend.offer(p, [Operand(t, Layout(s)) for t, (_, s) in zip(types, operands)])
    assert isinstance(offer, Offer)
    placed = [Placed(device, t, s) for t, s in zip(p.infer(*types), outputs)]
    for place in placed:
        place.poison(stream)
    launch = offer.build().bind(inputs, [place.array for place in placed], None)
    with stream.active():
        launch(stream)
    results = [place.read(stream) for place in placed]
    assert all(clean for _, clean in results)
    return [values for values, _ in results]


COMPOSED: dict[str, tuple[Callable[..., E], list[tuple[int, ...]]]] = {
    "all dense": (lambda a, b: a * 2.0 + b, [(5, 77), (5, 77)]),
    "a vector along rows": (lambda a, b: a * 2.0 + b, [(6, 3, 16), (16,)]),
    "a vector along rows that no pack divides": (lambda a, b: a * 2.0 + b, [(6, 3, 7), (7,)]),
    "a column": (lambda a, b: a * 2.0 + b, [(9, 24), (9, 1)]),
    "planes": (lambda a, b: a * 2.0 + b, [(2, 3, 4, 8), (2, 1, 1, 8)]),
    "one number": (lambda a, b: a * 2.0 + b, [(1000,), ()]),
    "outer": (lambda a, b: a * 2.0 + b, [(12, 1), (1, 16)]),
    "many": (lambda a, b: a * 2.0 + b, [(70001,), (70001,)]),
}


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("d", [np.float16, np.float32, np.float64])
def test_broadcasts(backend: CupyBackend, name: str, d: Any) -> None:
    f, shapes = COMPOSED[name]
    rng = np.random.default_rng(3)
    arrays = [rng.integers(-8, 8, s).astype(d) for s in shapes]  # whole numbers: no rounding
    (y,) = computed(backend, formula(f, 2), *arrays)
    np.testing.assert_array_equal(y, arrays[0] * d(2) + arrays[1])


@pytest.mark.parametrize("d", [np.float32, np.float64, np.int8])
def test_arrays_that_begin_anywhere(backend: CupyBackend, d: Any) -> None:
    x, y = np.arange(77).astype(d), np.arange(77)[::-1].astype(d)
    for shift in range(1, 5):
        (z,) = bound(backend, ADD, [(x, (1,)), (y, (1,))], [None], shift)
        np.testing.assert_array_equal(z, np.full(77, 76, d))


def test_outputs_that_lie_anyhow(backend: CupyBackend) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, 6, 5, 16)).astype(np.float32)
    both = formula(lambda a, b: [a + b, a - b], 2)
    dense = (80, 16, 1)
    for strides in (None, spaced(x.shape), (1, 6, 30), (-80, -16, -1)):
        sums, differences = bound(backend, both, [(x, dense), (y, dense)], [strides, None])
        np.testing.assert_array_equal(sums, x + y)
        np.testing.assert_array_equal(differences, x - y)


def test_rows_with_something_between_them(backend: CupyBackend) -> None:
    x = np.random.default_rng(6).integers(-8, 8, (6, 7)).astype(np.float32)
    memory = np.zeros((6, 8), np.float32)
    memory[:, :7] = x
    rows = memory[:, :7]
    (y,) = bound(backend, ADD, [(rows, (8, 1)), (rows, (8, 1))], [(8, 1)])
    np.testing.assert_array_equal(y, 2 * x)


def test_what_lies_together_is_moved_16_bytes_at_once() -> None:
    assert "Pack<float, 4>" in text(ADD, *of((40,), (40,)))
    assert "Pack<Brain, 8>" in text(ADD, *of((40,), (40,), d=bfloat16))
    assert "Pack<double, 2>" in text(ADD, *of((40,), (40,), d=float64))
    assert "Pack<float, 4>" in text(ADD, *of((5, 8), (8,)))
    assert "(((u64)x0 | (u64)x1 | (u64)y0) & 15) == 0" in text(ADD, *of((40,), (40,)))
    assert "Pack" not in text(ADD, *of((5, 7), (7,)))
    assert "Pack" not in text(ADD, Operand(TensorType((5, 8)), Layout((1, 5))), *of((5, 8)))
    mixed = formula(lambda a: a > 0, 1)
    assert all(f"Pack<{t}, 4>" in text(mixed, *of((40,))) for t in ("float", "bool"))


def test_a_source_serves_all_sizes_and_literals() -> None:
    f = formula(adam, 5)
    shapes = [[(n,)] * 4 + [()] for n in (3, 1 << 20)]
    assert len({text(f, *of(*s)) for s in [*shapes, [(7, 11)] * 4 + [()]]}) == 1
    assert text(formula(lambda a: a * 2.0, 1), *of((5,))) == text(formula(lambda a: a * 7.5, 1), *of((6, 1)))


def test_what_nobody_wants_is_not_in_the_source(backend: CupyBackend) -> None:
    both = formula(lambda a: [a + 1.0, a * 3.0], 1)
    x = np.arange(37, dtype=np.float32)
    device, stream = backend.devices()[0], backend.devices()[0].stream()
    given, result = Placed(device, TensorType(x.shape)), Placed(device, TensorType(x.shape))
    given.write(stream, x)
    offer = backend.offer(both, of(x.shape))
    assert isinstance(offer, Offer)
    launch = offer.build().bind([given.array], [None, result.array], None)
    with stream.active():
        launch(stream)
    np.testing.assert_array_equal(result.read(stream)[0], x * 3)


def test_only_dense_operands_of_equal_size_give_up_their_memory() -> None:
    def reuse(p: Elementwise, *operands: Operand) -> tuple[tuple[int, int], ...]:
        offer = elementwise(p, operands, Gpu())
        assert isinstance(offer, Offer)
        return offer.reuse

    assert reuse(ADD, *of((5, 4), (5, 4))) == ((0, 0), (1, 0))
    assert reuse(ADD, *of((5, 4), (4,))) == ((0, 0),)
    assert reuse(ADD, Operand(TensorType((5, 4)), Layout((1, 5))), *of((5, 4))) == ((1, 0),)
    assert reuse(formula(lambda a: a > 0, 1), *of((5,))) == ()
    assert reuse(formula(lambda a, b: [b, a], 2), *of((5,), (5,))) == ((0, 0), (0, 1), (1, 0), (1, 1))


TURNED: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "matrix": ((70, 45), (1, 0)),
    "whole tiles": ((64, 32), (1, 0)),
    "channels first": ((3, 5, 7, 19), (0, 3, 1, 2)),
    "channels last": ((3, 19, 5, 7), (0, 2, 3, 1)),
    "kernels": ((9, 9, 16, 20), (3, 0, 1, 2)),
    "all axes": ((9, 10, 11), (2, 1, 0)),
    "few columns": ((40, 3), (1, 0)),
    "middle": ((12, 9, 10), (1, 0, 2)),
}


@pytest.mark.parametrize("name", TURNED)
@pytest.mark.parametrize("d", [bool_, float32], ids=str)
def test_copies_that_turn_axes(backend: CupyBackend, name: str, d: Any) -> None:
    shape, order = TURNED[name]
    memory = np.random.default_rng(5).integers(0, 2, shape).astype(d.storage)
    if d is not bool_:
        memory = np.arange(memory.size).reshape(shape).astype(d.storage)
    x = memory.transpose(order)
    strides = tuple(s // x.itemsize for s in x.strides)
    for output in (None, spaced(x.shape)):
        (y,) = bound(backend, Copy(), [(x, strides)], [output])
        np.testing.assert_array_equal(y, x)


def test_axes_are_turned_through_tiles_where_that_pays() -> None:
    def name(shape: tuple[int, ...], strides: tuple[int, ...]) -> str:
        offer = copy(Copy(), [Operand(TensorType(shape), Layout(strides))], Gpu())
        assert isinstance(offer, Offer)
        return str(offer.build().sources[0].name)  # type: ignore[attr-defined]

    assert name((70, 45), (1, 70)) == "transpose"
    assert name((4, 8, 8, 16), (1024, 8, 1, 64)) == "transpose"
    assert name((40, 3), (1, 40)) == "copy"
    assert name((70, 45), (45, 1)) == name((70, 45), (-45, -1)) == name((6, 8, 9), (9, 54, 1)) == "copy"


def test_copies_change_no_bit(backend: CupyBackend) -> None:
    signalling = np.array([0x7F800001, 0xFF812345, 0x7FC00000, 0x80000000], np.uint32).view(np.float32)
    (y,) = computed(backend, Copy(), signalling)
    assert y.tobytes() == signalling.tobytes()
    short = np.array([0x7F81, 0xFFFF, 0x8000], np.uint16)
    for narrow in (bfloat16, float16):
        bits = short if narrow is bfloat16 else short.view(np.float16)
        (y,) = computed(backend, Copy(), bits, narrow=narrow)
        assert y.tobytes() == short.tobytes()


def test_no_layout_of_its_own() -> None:
    answer = copy(Copy(Layout(key="blocked", nbytes=64)), of((4,)), Gpu())
    assert isinstance(answer, Refusal)
    assert "blocked" in answer.reason
