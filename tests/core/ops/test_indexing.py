"""The ops of indexing: values against NumPy, gradients against central differences and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DTypeError, ShapeError
from cortex_core.ops.indexing import (
    concatenate,
    cumsum,
    gather,
    one_hot,
    pad,
    scatter_add,
    split,
    stack,
    take_along,
    top_k,
    unslice,
)
from cortex_core.ops.views import flip, slice_
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

RNG = np.random.default_rng(5)
X = RNG.standard_normal((4, 5, 3))
IDS = np.array([[1, 4, 1], [0, 1, 3]])
ALONG = np.array([[2, 0, 2], [4, 4, 1], [0, 0, 0], [3, 1, 3]])


def cubed(f: Any) -> Any:
    """``f`` of cubes: a function whose second derivative is not zero."""
    return lambda x, *rest: f(x * x * x, *rest)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_takes_slices(axis: int) -> None:
    ids = IDS % X.shape[axis]
    np.testing.assert_array_equal(gather(Tensor(X), ids, axis).data, np.take(X, ids, axis))


def test_gather_clips_what_is_out_of_range() -> None:
    np.testing.assert_array_equal(gather(Tensor(X[0]), np.array([-7, 99])).data, X[0][[0, 4]])


def test_scatter_add_adds_repeated_ids() -> None:
    g = np.arange(12.0).reshape(2, 3, 2)
    y = scatter_add(Tensor(np.ones((5, 2))), IDS, Tensor(g)).data
    wanted = np.array([[7, 8], [1 + 0 + 4 + 8, 1 + 1 + 5 + 9], [1, 1], [11, 12], [3, 4]], float)
    np.testing.assert_array_equal(y, wanted)


def test_take_along_is_numpys() -> None:
    x = X[:, :, 0]
    np.testing.assert_array_equal(take_along(Tensor(x), ALONG).data, np.take_along_axis(x, ALONG, 1))


def test_joining_and_cutting() -> None:
    a, b = X[:, :2], X[:, 2:]
    np.testing.assert_array_equal(concatenate([Tensor(a), Tensor(b)], 1).data, X)
    np.testing.assert_array_equal(stack([Tensor(X), Tensor(-X)], -1).data, np.stack([X, -X], -1))
    for sizes in (2, [1, 0, 4]):
        pieces = split(Tensor(X), sizes, 1)
        wanted = np.split(X, [2, 4] if sizes == 2 else [1, 1], 1)
        assert len(pieces) == len(wanted)
        for piece, part in zip(pieces, wanted):
            np.testing.assert_array_equal(piece.data, part)


def test_pad_is_numpys_and_crops() -> None:
    x = X[0]
    np.testing.assert_array_equal(
        pad(Tensor(x), [[1, 2], [0, 1]], 7.0).data, np.pad(x, [[1, 2], [0, 1]], constant_values=7.0)
    )
    np.testing.assert_array_equal(
        pad(Tensor(x), [[-1, 0], [1, -2]]).data, np.pad(x, [[0, 0], [1, 0]])[1:, :2]
    )


def test_unslice_puts_back() -> None:
    g = RNG.standard_normal((2, 3))
    wanted = np.zeros((7, 9))
    wanted[5:1:-2, 1:8:3] = g
    np.testing.assert_array_equal(unslice(Tensor(g), (7, 9), (5, 1), (-2, 3)).data, wanted)
    empty = unslice(Tensor(g[:, :0]), (2, 4), (0, 3), (1, -1)).data
    np.testing.assert_array_equal(empty, np.zeros((2, 4)))


def test_one_hot_top_k_cumsum() -> None:
    np.testing.assert_array_equal(one_hot(Tensor(IDS), 5).data, np.eye(5, dtype=np.float32)[IDS])
    assert not one_hot(Tensor(np.array([-1, 5])), 5).data.any()
    values, ids = top_k(Tensor(X), 2)
    np.testing.assert_array_equal(ids.data, np.argsort(-X, -1)[..., :2])
    np.testing.assert_array_equal(values.data, -np.sort(-X, -1)[..., :2])
    np.testing.assert_array_equal(top_k(Tensor(np.array([1.0, 3, 3, 1])), 4)[1].data, [1, 2, 0, 3])
    np.testing.assert_allclose(cumsum(Tensor(X), 1).data, np.cumsum(X, 1), rtol=1e-14)
    backwards = np.flip(np.cumsum(np.flip(X, 0), 0), 0)
    np.testing.assert_allclose(cumsum(Tensor(X), 0, reverse=True).data, backwards, rtol=1e-14)


GRADIENTS: dict[str, Any] = {
    "gather": (lambda x: gather(x, IDS, 1), X),
    "gather of one": (lambda x: gather(x, np.array(2), -1), X),
    "scatter_add": (lambda x, g: scatter_add(x, IDS, g), X[0], RNG.standard_normal((2, 3, 3))),
    "scatter_add, last axis": (
        lambda x, g: scatter_add(x, IDS % 3, g, -1),
        X[0],
        RNG.standard_normal((5, 2, 3)),
    ),
    "take_along": (lambda x: take_along(x, ALONG, 1), X[:, :, 0]),
    "take_along, first axis": (lambda x: take_along(x, ALONG.T, 0), X[:, :, 0].T.copy()),
    "concatenate": (lambda x, y: concatenate([x, y, x], 1), X, X[:, :1] * 2),
    "stack": (lambda x, y: stack([x, y, x], 1), X[0], X[1]),
    "split": (lambda x: split(x, [2, 0, 3], 1), X),
    "pad": (lambda x: pad(x, [[1, 0], [2, 1], [0, 0]], 0.5), X),
    "pad that crops": (lambda x: pad(x, [[-1, 1], [2, -3], [-1, -1]]), X),
    "pad that crops all": (lambda x: pad(x, [[-4, 2], [0, 0], [0, 0]]), X),
    "slice": (lambda x: slice_(x, (1, 4, 0), (2, 2, 3), (2, -3, 1)), X),
    "slice of one": (lambda x: slice_(x, (3, 2, 1), (1, 1, 1), (-1, 7, 1)), X),
    "flip": (lambda x: flip(x, (0, 2)), X),
    "unslice": (lambda x: unslice(x, (9, 5, 4), (8, 0, 1), (-2, 1, 1)), X),
    "top_k": (lambda x: top_k(x, 2), X),
    "top_k smallest": (lambda x: top_k(x, 2, largest=False), X),
    "cumsum": (lambda x: cumsum(x, 1), X),
    "cumsum reversed": (lambda x: cumsum(x, -1, reverse=True), X),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    f, *arrays = GRADIENTS[name]
    check_gradients(cubed(f), *arrays)


def test_no_gradient_through_places() -> None:
    x = Tensor(X, requires_grad=True)
    values, ids = top_k(x, 2)
    (values.sum() + one_hot(ids, 3, "float64").sum()).backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.data.sum(-1), np.full((4, 5), 2.0))
    assert not ids.requires_grad


@pytest.mark.peers
def test_gradients_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    flat = X[:, :, 0]
    cases = [
        (lambda x: gather(x, IDS, 1), lambda x: x[:, torch.tensor(IDS)], X),
        (lambda x: take_along(x, ALONG), lambda x: torch.gather(x, 1, torch.tensor(ALONG)), flat),
        (lambda x: pad(x, [[0, 0], [1, -2], [2, 0]]), lambda x: torch.nn.functional.pad(x, (2, 0, 1, -2)), X),
        (lambda x: top_k(x, 2)[0], lambda x: torch.topk(x, 2).values, X),
        (lambda x: cumsum(x, 0), lambda x: torch.cumsum(x, 0), X),
        (lambda x: concatenate([x, x * x], 1), lambda x: torch.cat([x, x * x], 1), X),
    ]
    for ours, theirs, array in cases:
        a = Tensor(array, requires_grad=True)
        b = torch.tensor(array, requires_grad=True)
        y, z = ours(a * a * a), theirs(b * b * b)
        (y * y).sum().backward()
        (z * z).sum().backward()
        np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda x: gather(x, np.zeros(2)), DTypeError, "Gather: ids is float64"),
        (lambda x: gather(x, np.zeros(2, np.uint64)), DTypeError, "uint64"),
        (lambda x: gather(x, IDS, 3), ShapeError, "gather: axis 3"),
        (lambda x: gather(x[:0], IDS), ShapeError, r"x of shape \(0, 5, 3\) is empty on axis 0"),
        (lambda x: scatter_add(x, IDS, x), ShapeError, r"g has shape \(4, 5, 3\).*\(2, 3, 5, 3\)"),
        (lambda x: take_along(x, IDS), ShapeError, r"ids \(2, 3\) and x \(4, 5, 3\)"),
        (
            lambda x: concatenate([x, x[:, :2]]),
            ShapeError,
            r"operand 1 \(4, 2, 3\) and operand 0 \(4, 5, 3\)",
        ),
        (lambda x: concatenate([x, x.astype("float32")]), DTypeError, "float32"),
        (lambda x: concatenate([]), ShapeError, "at least one array"),
        (lambda x: stack([x, x[0]]), ShapeError, r"array 1 has shape \(5, 3\)"),
        (lambda x: split(x, 0), ShapeError, "pieces of size 0"),
        (lambda x: split(x, [3, 3]), ShapeError, "do not add up"),
        (lambda x: pad(x, [[1, 1]]), ShapeError, r"\(4, 5, 3\)"),
        (lambda x: pad(x, [[-3, -3], [0, 0], [0, 0]]), ShapeError, "would become"),
        (lambda x: pad(one_hot(IDS, 3, "int32"), [[1, 1]] * 3, 0.5), DTypeError, "0.5 does not fit"),
        (lambda x: one_hot(x, 3), DTypeError, "OneHot: ids is float64"),
        (lambda x: top_k(x, 4), ShapeError, r"k is 4; x has shape \(4, 5, 3\)"),
        (lambda x: top_k(one_hot(IDS, 3, "int32"), 1), DTypeError, "needs a floating type"),
        (lambda x: cumsum(x, 3), ShapeError, "cumsum: axis 3"),
    ],
)
def test_rejections(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make(Tensor(X))
