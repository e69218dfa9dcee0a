"""The ops of pooling: values and derivatives against central differences and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ShapeError
from cortex_core.ops.pooling import avg_pool, max_pool
from cortex_core.ops.reduce import sum as total
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

RNG = np.random.default_rng(14)

# x, size, stride, padding, ceil
GEOMETRIES: dict[str, tuple[Any, ...]] = {
    "line": ((2, 5, 2), 2, None, 0, False),
    "halves": ((1, 4, 5, 2), 2, None, 0, False),
    "overlapping": ((1, 5, 4, 2), (3, 2), (2, 1), ((1, 1), (0, 1)), False),
    "ceil": ((1, 4, 6, 1), 3, 2, (1, 0), True),
}


def apart(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers far enough from each other that no small step changes a winner."""
    return RNG.permutation(np.linspace(-2, 2, int(np.prod(shape)))).reshape(shape)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_derivatives_of_the_maximum(name: str) -> None:
    x, *fields = GEOMETRIES[name]
    check_gradients(lambda x: max_pool(x * x * x, *fields), apart(x))


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_derivatives_of_the_mean(name: str, counted: bool) -> None:
    x, *fields = GEOMETRIES[name]
    check_gradients(lambda x: avg_pool(x * x * x, *fields, count_padding=counted), RNG.standard_normal(x))


def test_the_stride_is_the_size_unless_given() -> None:
    x = Tensor(np.arange(6.0).reshape(1, 6, 1))
    assert max_pool(x, 3).data.ravel().tolist() == [2, 5]
    assert avg_pool(x, 3).data.ravel().tolist() == [1, 4]
    assert max_pool(x, 3, 1).data.ravel().tolist() == [2, 3, 4, 5]


def test_sizes_that_do_not_fit_the_axes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"max_pool: size \(2,\) is for 1 spatial axes, x has 2"):
        max_pool(Tensor(np.zeros((1, 4, 4, 1))), (2,))


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["max", "mean", "mean, padding counts"])
@pytest.mark.parametrize(("size", "stride", "padding", "ceil"), [
    (2, 2, 0, False), (2, 2, 0, True), (3, 2, 1, False), (3, 2, 1, True), ((3, 1), (1, 2), (1, 0), False),
    (2, 3, 0, True),
])  # fmt: skip
@pytest.mark.parametrize("ties", [False, True])
def test_derivatives_are_pytorchs(
    kind: str, size: Any, stride: Any, padding: Any, ceil: bool, ties: bool
) -> None:
    torch = pytest.importorskip("torch")
    a = RNG.standard_normal((2, 7, 8, 3))
    a = np.round(a) if ties else a
    x, tx = Tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    if kind == "max":
        y = max_pool(x, size, stride, padding, ceil)
        z = torch.nn.functional.max_pool2d(tx.movedim(-1, 1), size, stride, padding, 1, ceil)
    else:
        counted = kind != "mean"
        y = avg_pool(x, size, stride, padding, ceil, counted)
        z = torch.nn.functional.avg_pool2d(tx.movedim(-1, 1), size, stride, padding, ceil, counted)
    np.testing.assert_allclose(y.data, z.movedim(1, -1).detach(), rtol=1e-12)

    total(y * y * y).backward(create_graph=True)
    (g,) = torch.autograd.grad((z * z * z).sum(), tx, create_graph=True)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.data, g.detach(), rtol=1e-12, atol=1e-12)

    penalty = total(x.grad * x.grad)
    x.grad = None
    penalty.backward()
    (h,) = torch.autograd.grad((g * g).sum(), tx)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.data, h, rtol=1e-12, atol=1e-12)
