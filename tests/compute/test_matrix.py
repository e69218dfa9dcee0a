"""The matrix product: values by hand, strides, epilogues, rejections, allocation."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, ShapeError
from cortex_compute.expression import build
from cortex_compute.numpy_backend.matrix import blas_reads
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.protocol import Refusal
from cortex_compute.types import TensorType, float64, int32
from cortex_compute.verify.families.matrix import fused
from tests.compute.kernels import BACKEND, allocated, compute, operand

A = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
B = np.array([[1, 0], [0, 2], [1, 1]], np.float32)
AB = np.array([[4, 7], [10, 16]], np.float32)


def test_values_by_hand() -> None:
    np.testing.assert_array_equal(compute(Gemm(), A, B), AB)
    np.testing.assert_array_equal(compute(Gemm(transpose_a=True), np.ascontiguousarray(A.T), B), AB)
    np.testing.assert_array_equal(compute(Gemm(transpose_b=True), A, np.ascontiguousarray(B.T)), AB)
    np.testing.assert_array_equal(compute(Gemm(True, True), np.ascontiguousarray(A.T), B.T.copy()), AB)


def test_sums_beside_the_product() -> None:
    product, sums = compute(Gemm(sums=True), A, B)
    np.testing.assert_array_equal(product, AB)
    np.testing.assert_array_equal(sums, [2, 3])


def test_strided_operands() -> None:
    wide = np.zeros((4, 9), np.float32)
    wide[::2, ::3] = A
    np.testing.assert_array_equal(compute(Gemm(), wide[::2, ::3], B), AB)
    np.testing.assert_array_equal(compute(Gemm(), A[:, ::-1], B[::-1]), AB)
    np.testing.assert_array_equal(compute(Gemm(), np.broadcast_to(A[0], (2, 3)), B), AB[[0, 0]])


def test_an_inner_size_of_nothing_gives_zeros() -> None:
    y = compute(Gemm(), np.zeros((2, 0), np.float32), np.zeros((0, 3), np.float32))
    np.testing.assert_array_equal(y, np.zeros((2, 3)))


def test_bias_and_relu() -> None:
    p = fused(lambda c, b: c.builder.make("relu", c + b), 2)
    np.testing.assert_array_equal(compute(p, A, B, np.array([-5, -10], np.float32)), [[0, 0], [5, 6]])


def test_an_epilogue_that_changes_the_type_is_refused() -> None:
    """The compiler then leaves it unfused."""
    built = build(lambda c: c > 0, 1)
    p = Gemm(epilogue=built.code, literals=built.literals)
    answer = BACKEND.offer(p, [operand(A), operand(B)])
    assert isinstance(answer, Refusal)
    assert not answer


@pytest.mark.parametrize(
    ("shape", "strides", "fits"),
    [
        ((3, 4), None, True),
        ((3, 4), (4, 1), True),
        ((3, 4), (9, 1), True),
        ((3, 4), (1, 3), True),
        ((3, 4), (8, 2), False),
        ((3, 4), (-4, 1), False),
        ((3, 4), (0, 1), False),
        ((3, 4), (2, 1), False),
        ((1, 4), (0, 1), True),
    ],
)
def test_what_blas_reads(shape: tuple[int, ...], strides: tuple[int, ...] | None, fits: bool) -> None:
    assert blas_reads(TensorType(shape), strides) == fits


def test_a_call_allocates_next_to_nothing() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200, 200)).astype(np.float32)
    bias = np.ones(200, np.float32)
    p = fused(lambda c, b: c.builder.make("relu", c + b), 2)
    for x in (a, a.T, a[::-1], a[:, ::-1], np.broadcast_to(a[0], a.shape), a[None].repeat(3, 0)):
        assert allocated(Gemm(), x, b) < 4096
        assert allocated(Gemm(), b, x) < 4096
        assert allocated(Gemm(True, True), x, b) < 4096
        assert allocated(p, x, b, bias) < 4096


@pytest.mark.parametrize(
    ("p", "types", "message"),
    [
        (Gemm(), [TensorType((2, 3)), TensorType((4, 5))], "inner sizes differ: a is 2 x 3, b is 4 x 5"),
        (Gemm(True), [TensorType((2, 3)), TensorType((3, 5))], "inner sizes differ: a is 3 x 2, b is 3 x 5"),
        (Gemm(), [TensorType((3,)), TensorType((3, 5))], r"a has shape \(3,\); needs at least two axes"),
        (
            Gemm(),
            [TensorType((2, 4, 3)), TensorType((5, 3, 4))],
            r"shapes \(2,\) and \(5,\) do not broadcast",
        ),
        (Gemm(), [TensorType((2, 3)), TensorType((3, 4)), TensorType((4,))], "takes 0 operands, got 1"),
        (
            fused(lambda c, b: c + b, 2),
            [TensorType((2, 3)), TensorType((3, 4)), TensorType((5, 2, 4))],
            r"enlarge \(2, 4\) to \(5, 2, 4\)",
        ),
        (Gemm(sums=True), [TensorType((5, 2, 3)), TensorType((3, 4))], "sums are of a plain b with two axes"),
        (Gemm(False, True, sums=True), [TensorType((2, 3)), TensorType((4, 3))], "sums are of a plain b"),
    ],
)
def test_shapes_that_do_not_fit(p: Gemm, types: list[TensorType], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        p.infer(*types)


def test_dtypes_that_do_not_fit() -> None:
    with pytest.raises(DTypeError, match="Gemm: a is float32, b is float64; cast one of them"):
        Gemm().infer(TensorType((2, 3)), TensorType((3, 4), float64))
    with pytest.raises(DTypeError, match="Gemm: a is int32; needs a floating type"):
        Gemm().infer(TensorType((2, 3), int32), TensorType((3, 4), int32))


def test_flops() -> None:
    assert Gemm().flops(TensorType((2, 3)), TensorType((3, 4))) == 2 * 2 * 3 * 4
    assert Gemm(sums=True).flops(TensorType((2, 3)), TensorType((3, 4))) == 2 * 2 * 3 * 4 + 12
    bias = fused(lambda c, b: c + b, 2)
    assert bias.flops(TensorType((5, 2, 3)), TensorType((3, 4)), TensorType((4,))) == 5 * 8 * (6 + 1)
