"""Where ops go wrong: nothing at all, one number, NaN, kinks, whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.types import float16, float32, float64, int64
from cortex_core.ops.table import OPS, Draw, Op, Sample, face
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients
from tests.core.ops.samples import arrays, call

F: Any = type("F", (), {name: staticmethod(f) for name, f in face().items()})
NAN, INF = np.nan, np.inf

POINTWISE = [
    (op, sample)
    for op in OPS.values()
    for sample in op.samples
    if op.function.__module__.endswith(("pointwise", "formulas", "inverse"))
    and all(isinstance(a, Draw) for a in sample.arguments)
]


@pytest.mark.parametrize("shape", [(0, 3), (), (1,)])
@pytest.mark.parametrize(("op", "sample"), POINTWISE, ids=[op.name for op, _ in POINTWISE])
def test_pointwise_ops_of_nothing_and_of_one_number(op: Op, sample: Sample, shape: tuple[int, ...]) -> None:
    resized = Sample(tuple(a._replace(shape=shape) for a in sample.arguments), sample.keywords)
    tensors = [Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays(resized)]
    (y,) = call(op.function, resized, tensors)
    assert y.shape == shape
    if y.requires_grad:
        y.sum().backward()
        assert all(x.grad is None or x.grad.shape == shape for x in tensors)


EMPTY, ROWS = np.zeros((0, 3)), np.zeros((2, 0))
OF_NOTHING: dict[str, tuple[Any, Any]] = {
    "sum": (lambda x: x.sum(), np.array(0.0)),
    "sum of rows": (lambda x: x.sum(0), np.zeros(3)),
    "mean of rows": (lambda x: x.mean(0), np.full(3, NAN)),
    "prod": (lambda x: x.prod(0), np.ones(3)),
    "var": (lambda x: x.var(0), np.full(3, NAN)),
    "norm": (lambda x: x.norm(), np.array(0.0)),
    "max": (lambda x: x.max(1), np.zeros(0)),
    "any": (lambda x: (x > 0).any(), np.array(False)),
    "all": (lambda x: (x > 0).all(0), np.full(3, True)),
    "argmax": (lambda x: x.argmax(1), np.zeros(0, int)),
    "cumsum": (lambda x: x.cumsum(0), EMPTY),
    "softmax": (lambda x: x.softmax(-1), EMPTY),
    "logsumexp": (lambda x: x.logsumexp(1), np.zeros(0)),
    "sort": (lambda x: x.sort(0).values, EMPTY),
    "topk": (lambda x: x.topk(2).indices, np.zeros((0, 2), int)),
    "matmul": (lambda x: x.T @ x, np.zeros((3, 3))),
    "einsum": (lambda x: F.einsum("ij,ij->", x, x), np.array(0.0)),
    "cat": (lambda x: F.cat([x, x + 1.0, Tensor(np.ones((1, 3)))]), np.ones((1, 3))),
    "flip": (lambda x: x.flip(0), EMPTY),
    "roll": (lambda x: x.roll(1, 0), EMPTY),
    "tile": (lambda x: x.tile((2, 1)), EMPTY),
    "tril": (lambda x: x.tril(), EMPTY),
    "pad": (lambda x: x.pad([[1, 0], [0, 0]]), np.zeros((1, 3))),
    "diagonal": (lambda x: x.diagonal(), np.zeros(0)),
    "index": (lambda x: x[:, [0, 2, 2]], EMPTY),
    "mask": (lambda x: x[x > 0], np.zeros(0)),
    "assign": (lambda x: F.assign(x, slice(None), 1.0), EMPTY),
    "chunk": (lambda x: x.chunk(2)[0], EMPTY),
    "unbind": (lambda x: F.stack(x.unbind(1), 1), EMPTY),
}


@pytest.mark.parametrize("name", OF_NOTHING)
def test_of_nothing(name: str) -> None:
    f, wanted = OF_NOTHING[name]
    x = Tensor(EMPTY, requires_grad=True)
    y = f(x)
    np.testing.assert_array_equal(y.numpy(), wanted)
    if y.requires_grad:
        y.sum().backward()
        assert x.grad is None or x.grad.shape == (0, 3)


def test_nan() -> None:
    x = Tensor(np.array([2.0, NAN, -1.0]))
    assert np.isnan(x.max().item())
    assert np.isnan(x.sum().item())
    np.testing.assert_array_equal(x.sort().values.numpy(), [-1, 2, NAN])
    np.testing.assert_array_equal(x.sort(descending=True).indices.numpy(), [1, 0, 2])
    np.testing.assert_array_equal(x.clip(0.0, 1.0).numpy(), [1, NAN, 0])
    np.testing.assert_array_equal(x.sign().numpy(), [1, NAN, -1])
    np.testing.assert_array_equal(x.round().numpy(), [2, NAN, -1])
    np.testing.assert_array_equal(F.where(x > 0, x, 0.0).numpy(), [2, 0, 0])


@pytest.mark.parametrize("k", [3, 8, 9, 200])
def test_sorting_of_many_equals_is_stable(k: int) -> None:
    rng = np.random.default_rng(4)
    x = rng.integers(-3, 4, (5, 200)) * 1.0
    x[:, ::17], x[:, 5] = NAN, -0.0
    for largest in (True, False):
        values, places = Tensor(x).topk(k, largest=largest)
        keys = np.where(np.isnan(x), INF, x)
        order = np.argsort(-keys if largest else keys, -1, kind="stable")[:, :k]
        np.testing.assert_array_equal(places.numpy(), order)
        np.testing.assert_array_equal(values.numpy(), np.take_along_axis(x, order, -1))


def test_infinity() -> None:
    x = Tensor(np.array([INF, -INF, 1.0]))
    np.testing.assert_array_equal(x.round().numpy(), [INF, -INF, 1])
    np.testing.assert_array_equal(x.norm(INF).numpy(), INF)
    assert Tensor(np.full(2, -INF)).logsumexp().item() == -INF
    assert Tensor(np.array([1000.0, 1000.0])).logsumexp().item() == pytest.approx(1000 + np.log(2))


# A function, a place where its derivative jumps, and what PyTorch says there.
KINKS: dict[str, tuple[Any, Any, Any]] = {
    "norm at 0": (lambda x: x.norm(), [0.0, 0.0], [0, 0]),
    "norm of rows at 0": (lambda x: x.reshape(2, 1).norm(dim=1).sum(), [0.0, -2.0], [0, -1]),
    "norm 3 at 0": (lambda x: x.norm(3), [0.0, 0.0], [0, 0]),
    "norm 1 at 0": (lambda x: x.norm(1), [0.0, 2.0], [0, 1]),
    "std of equals": (lambda x: x.std(), [3.0, 3.0], [0, 0]),
    "clip at its bounds": (lambda x: x.clip(-1.0, 1.0).sum(), [-1.0, 1.0, 2.0], [1, 1, 0]),
    "abs at 0": (lambda x: x.abs().sum(), [0.0, -1.0], [0, -1]),
    "relu at 0": (lambda x: x.relu().sum(), [0.0, 1.0], [0, 1]),
    "max of equals": (lambda x: x.max(), [2.0, 1.0, 2.0], [0.5, 0, 0.5]),
    "maximum of equals": (lambda x: F.maximum(x, Tensor(np.ones(2))).sum(), [1.0, 2.0], [0.5, 1]),
    "sign": (lambda x: (x.sign() * x).sum(), [0.0, -2.0], [0, -1]),
    "sinh at 0": (lambda x: x.sinh().sum(), [0.0, -0.0], [1, 1]),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks(name: str) -> None:
    f, at, wanted = KINKS[name]
    x = Tensor(np.array(at), requires_grad=True)
    f(x).backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), wanted)


def test_whole_numbers_have_no_gradient() -> None:
    x, n = Tensor(np.ones(3), requires_grad=True), Tensor(np.arange(3))
    y = (x * n).sum() + n.sum() + (x > n).sum()
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 1, 2])
    assert not any(z.requires_grad for z in (n.sum(), x > 0, x.argmax(), x.sort().indices, n * 2, x.any()))
    assert n.grad is None


def test_whole_numbers_stay_exact() -> None:
    big = Tensor(np.array([2**40 + 1, -(2**40) - 1]))
    assert (big // 2).tolist() == [2**39, -(2**39) - 1]
    assert (big % 2).tolist() == [1, 1]
    assert big.sort().values.tolist() == [-(2**40) - 1, 2**40 + 1]
    close = [2**53 - 1, 2**53 - 2, 2**53 - 3]
    assert Tensor(np.array(close)).sort().values.tolist() == close[::-1]
    assert F.einsum("i,i->i", big, Tensor(np.array([1, 1]))).dtype is int64
    assert (big.round() + 2**53).round().tolist() == [2**53 + 2**40 + 1, 2**53 - 2**40 - 1]
    assert F.assign(Tensor(np.arange(3)), 1, 2.7).tolist() == [0, 2, 2]


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "int64"])
def test_whole_quotients_are_numpys(kind: str) -> None:
    rng = np.random.default_rng(5)
    limits = np.iinfo(kind)
    a = rng.integers(max(limits.min, -(2**62)), min(limits.max, 2**62), 500).astype(kind)
    b = rng.integers(max(limits.min, -(2**40)), min(limits.max, 2**40), 500).astype(kind)
    b[(b == 0) | (b == -1)] = 3  # -128 / -1 is no int8
    for y, wanted in [
        (Tensor(a) // Tensor(b), a // b),
        (Tensor(a) % Tensor(b), a % b),
        (Tensor(a) // 3, a // np.array(3, kind)),
        (7 // Tensor(b), np.array(7, kind) // b),
    ]:
        np.testing.assert_array_equal(y.numpy(), wanted)
        assert y.numpy().dtype == kind


def test_hyperbolic_functions_far_out_and_close_to_0() -> None:
    at = np.array([1000.0, -1000.0, 30.0, -30.0, 1e-9, -1e-9])
    x = Tensor(at, requires_grad=True)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(x.sinh().numpy(), np.sinh(at), rtol=1e-14)
        np.testing.assert_allclose(x.cosh().numpy(), np.cosh(at), rtol=1e-14)
    x = Tensor(at[2:], requires_grad=True)
    x.cosh().sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.sinh(at[2:]), rtol=1e-14)


@pytest.mark.parametrize("kind", [float16, float32, float64])
def test_types_stay(kind: Any) -> None:
    x = Tensor(np.array([[0.5, 1.5], [1.0, 2.0]], kind.storage))
    made = [
        x.exp(), x.pow(3), x.clip(0.0, 1.0), x.var(), x.norm(), x.softmax(-1), x @ x, x.sort().values,
        x.cumsum(0), x.round(), x.sign(), x % 2, x // 2.0, x[[0, 0]], F.assign(x, 0, 1.0),
        F.einsum("ij->j", x), x.logsumexp(), x.log2(), x.norm(3), x.prod(), F.tril(x), x.sinh(),
    ]  # fmt: skip
    assert {y.dtype for y in made} == {kind}


@pytest.mark.parametrize("shape", [(70_000,), (2000, 1), (256, 16), (3, 2000)])
def test_sums_of_half_precision_are_kept_wider(shape: tuple[int, ...]) -> None:
    """Their sum is no float16, and added up in float16 a column stops growing."""
    x = np.full(shape, 99.0, np.float16)
    np.testing.assert_array_equal(Tensor(x).mean().numpy(), np.float16(99))
    np.testing.assert_array_equal(Tensor(x).mean(0).numpy(), np.full(shape[1:], 99, np.float16))
    small = Tensor(x / np.float16(990 * 8)).sum(0).numpy().astype(float)
    np.testing.assert_allclose(small, (x / np.float16(990 * 8)).astype(float).sum(0), rtol=1e-3)


def test_deep_indices_into_views() -> None:
    """Of a transposed, reversed, strided view: places count in its own order."""
    base = np.arange(24.0).reshape(4, 6)
    x, n = Tensor(base).T[::-1, 1:], base.T[::-1, 1:]
    np.testing.assert_array_equal(x[[0, 5], [1, 2]].numpy(), n[[0, 5], [1, 2]])
    np.testing.assert_array_equal(x[n > 7].numpy(), n[n > 7])
    check_gradients(lambda y: (y * y).T[::-1][[0, 0, 2], 1:], base)


COPIES: dict[str, Any] = {
    "sum of one": lambda x: x[0].sum(),
    "max over no axes": lambda x: x.max(dim=()),
    "tile": lambda x: x.tile(1),
    "repeat": lambda x: x.repeat(3, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2),
    "roll by nothing": lambda x: x.roll(2),
    "assign to nothing": lambda x: F.assign(x, slice(0, 0), Tensor(np.zeros(0))),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_result_that_is_no_view_is_changed_alone(name: str) -> None:
    x = Tensor(np.array([3.0, 4.0]))
    y = COPIES[name](x)
    y += 1.0
    assert x.tolist() == [3, 4]


def test_sizes_and_axes_from_numpy() -> None:
    x, two = Tensor(np.arange(4.0)), np.int64(2)
    made = [
        x.reshape(two, two), x.reshape(np.array([2, 2])), x.reshape(np.int64(4)), x[:1].expand(two),
        x.repeat(two), x.tile(two), x.roll(two), x.roll(1, np.int64(0)), x.flip(np.int64(0)),
        x.split(two)[0], x.reshape(2, 2).moveaxis(np.int64(0), np.int64(1)), x.repeat_interleave(two),
    ]  # fmt: skip
    assert [y.shape for y in made] == [
        (2, 2), (2, 2), (4,), (2,), (8,), (8,), (4,), (4,), (4,), (2,), (2, 2), (8,),
    ]  # fmt: skip
    assert all(type(n) is int for y in made for n in y.shape)
    assert x.roll(two).tolist() == [2, 3, 0, 1]
