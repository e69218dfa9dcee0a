"""Creation: PyTorch's shapes and types; random numbers of the generator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import BackendError, DTypeError, ShapeError
from cortex_core import creation
from cortex_core.generator import manual_seed
from cortex_core.tensor import Tensor

X = Tensor(np.ones((2, 3)))

# A call, PyTorch's shape and type, and its numbers, where they do not depend on chance.
CASES: list[tuple[str, Any, tuple[int, ...], str, Any]] = [
    ("zeros", (2, 3), (2, 3), "float32", 0),
    ("zeros", ((2, 3),), (2, 3), "float32", 0),
    ("zeros", ((),), (), "float32", 0),
    ("zeros", (Tensor(2), 3), (2, 3), "float32", 0),
    ("zeros", (Tensor(2),), (2,), "float32", 0),
    ("zeros", (Tensor([2, 3]),), (2, 3), "float32", 0),
    ("normal", (X,), (2, 3), "float64", None),
    ("normal", (0.0, 1.0, (2,)), (2,), "float32", None),
    ("multinomial", (X, 2), (2, 2), "int64", None),
    ("bernoulli", (X,), (2, 3), "float64", 1),
    ("ones", ([2],), (2,), "float32", 1),
    ("full", ((2,), 7), (2,), "int64", 7),
    ("full", (2, 0.5), (2,), "float32", 0.5),
    ("full", ((2,), True), (2,), "bool", True),
    ("eye", (2,), (2, 2), "float32", np.eye(2)),
    ("eye", (2, 3), (2, 3), "float32", np.eye(2, 3)),
    ("arange", (4,), (4,), "int64", [0, 1, 2, 3]),
    ("arange", (4.0,), (4,), "float32", [0, 1, 2, 3]),
    ("arange", (1, 0, -0.5), (2,), "float32", [1, 0.5]),
    ("arange", (2, 9, 3), (3,), "int64", [2, 5, 8]),
    ("linspace", (0, 1, 5), (5,), "float32", [0, 0.25, 0.5, 0.75, 1]),
    ("linspace", (3, 1, 1), (1,), "float32", [3]),
    ("zeros_like", (X,), (2, 3), "float64", 0),
    ("ones_like", (X,), (2, 3), "float64", 1),
    ("full_like", (X, 3), (2, 3), "float64", 3),
    ("empty", (0, 2), (0, 2), "float32", 0),
    ("empty_like", (X,), (2, 3), "float64", None),
    ("tensor", ([[1, 2]],), (1, 2), "int64", [[1, 2]]),
    ("tensor", ([1.0],), (1,), "float32", [1]),
    ("rand", (2, 3), (2, 3), "float32", None),
    ("randn", ((4,),), (4,), "float32", None),
    ("randint", (5, (2, 2)), (2, 2), "int64", None),
    ("rand_like", (X,), (2, 3), "float64", None),
    ("randn_like", (X,), (2, 3), "float64", None),
    ("randint_like", (X, 5), (2, 3), "float64", None),
    ("randperm", (5,), (5,), "int64", None),
]


@pytest.mark.parametrize(("name", "arguments", "shape", "dtype", "numbers"), CASES)
def test_shape_type_and_numbers(
    name: str, arguments: Any, shape: tuple[int, ...], dtype: str, numbers: Any
) -> None:
    made = getattr(creation, name)(*arguments)
    assert made.shape == shape
    assert made.dtype.name == dtype
    assert not made.requires_grad
    if numbers is not None:
        np.testing.assert_array_equal(made.numpy(), np.broadcast_to(numbers, shape))


def known_to_pytorch(case: Any) -> bool:
    """PyTorch takes no Tensor for a size."""
    return all(a is X or not isinstance(a, Tensor) for a in case[1])


@pytest.mark.peers
@pytest.mark.parametrize(
    ("name", "arguments", "shape", "dtype", "numbers"), list(filter(known_to_pytorch, CASES))
)
def test_pytorch_makes_the_same(
    name: str, arguments: Any, shape: tuple[int, ...], dtype: str, numbers: Any
) -> None:
    torch = pytest.importorskip("torch")
    if name == "full" and not isinstance(arguments[0], tuple):
        arguments = ((arguments[0],), *arguments[1:])
    theirs = getattr(torch, name)(*(torch.tensor(a.numpy()) if a is X else a for a in arguments))
    assert tuple(theirs.shape) == shape
    assert str(theirs.dtype) == f"torch.{dtype}"
    if numbers is not None and not name.startswith("empty"):
        np.testing.assert_array_equal(theirs, np.broadcast_to(numbers, shape))


def test_a_seed_gives_the_same_numbers() -> None:
    draws = []
    for _ in range(2):
        manual_seed(7)
        draws.append(
            [creation.rand(3), creation.randn(2, 2), creation.randint(0, 100, (5,)), creation.rand(3)]
        )
    for a, b in zip(*draws):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert (draws[0][0].numpy() != draws[0][3].numpy()).any()


def test_random_whole_numbers_are_fair() -> None:
    manual_seed(11)
    counts = np.bincount(creation.randint(-2, 4, (60_000,)).numpy() + 2, minlength=6)
    assert len(counts) == 6
    assert abs(counts - 10_000).max() < 450  # 5 standard deviations of a binomial of p = 1/6 are 456
    huge = creation.randint(2**32, (1000,)).numpy()
    assert huge.max() > 2**31
    assert (huge % 256 != 0).any()


def test_a_permutation_is_one() -> None:
    manual_seed(1)
    order = creation.randperm(1000).numpy()
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    assert (order != np.arange(1000)).any()


def test_moments() -> None:
    manual_seed(2)
    uniform, normal = creation.rand(100_000).numpy(), creation.randn(100_000, dtype="float64").numpy()
    assert abs(uniform.mean() - 0.5) < 5 * 0.29 / 316
    assert 0 <= uniform.min() <= uniform.max() < 1
    assert abs(normal.mean()) < 5 / 316
    assert abs(normal.std() - 1) < 5 / 447


def test_memory_and_gradients() -> None:
    array = np.ones(2)
    shared, copied = creation.from_numpy(array), creation.tensor(array)
    array[0] = 5
    assert shared.tolist() == [5, 1]
    assert copied.tolist() == [1, 1]
    assert creation.as_tensor(shared) is shared
    assert creation.rand(2, requires_grad=True).requires_grad
    assert creation.zeros(2, requires_grad=True).requires_grad


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: creation.zeros(2, -1), ShapeError, "zeros: size -1"),
        (lambda: creation.rand(1.5, 2), ShapeError, "rand: size 1.5"),
        (lambda: creation.ones(2.5), ShapeError, "ones: size 2.5 in .2.5,.; needs whole numbers"),
        (lambda: creation.zeros(2, device="cuda"), BackendError, "unknown backend 'cuda'; known are"),
        (lambda: creation.rand(2, device="cuda"), BackendError, "unknown backend 'cuda'; known are"),
        (lambda: creation.normal(), ShapeError, "normal: needs a size, or a tensor"),
        (lambda: creation.multinomial(X[0], 4), ShapeError, "4 of 3 places .*replacement=True"),
        (lambda: creation.arange(0, 5, -1), ShapeError, "arange: steps of -1 do not lead from 0 to 5"),
        (lambda: creation.arange(0, 5, 0), ShapeError, "steps of 0"),
        (lambda: creation.randint(3, 3, (2,)), ShapeError, "randint: needs low < high"),
        (lambda: creation.randint(3), ShapeError, "and a size"),
        (lambda: creation.randn(2, dtype="int64"), DTypeError, "randn: int64"),
        (lambda: creation.zeros(2, dtype="complex64"), DTypeError, "unknown data type"),
        (lambda: creation.zeros(2, dtyp="int64"), TypeError, "dtyp"),
        (lambda: creation.ones(2, dtype="int64", requires_grad=True), DTypeError, "int64"),
    ],
)
def test_rejections(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_devices() -> None:
    assert creation.ones(2, device="cpu").tolist() == [1, 1]
    assert creation.ones(2, device="numpy").backend == "numpy"
    assert creation.as_tensor(X, device="numpy").backend == "numpy"
    assert creation.rand(2, device="numpy", requires_grad=True).is_leaf


def test_what_is_a_tensor() -> None:
    assert creation.is_tensor(X)
    assert not creation.is_tensor(X.numpy())


def test_normal_numbers_of_tensors_of_means() -> None:
    manual_seed(0)
    x = creation.normal(creation.full((4000, 2), 3.0), Tensor([0.5, 2.0]))
    np.testing.assert_allclose(x.numpy().mean(0), 3, atol=0.15)
    np.testing.assert_allclose(x.numpy().std(0), [0.5, 2], rtol=0.05)


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_draws_in_the_ratio_of_the_weights(replacement: bool) -> None:
    """Of two that are drawn the first is drawn by the weights; without replacement no two are equal."""
    manual_seed(0)
    weights = np.array([1.0, 0.0, 3.0, 4.0])
    drawn = creation.multinomial(Tensor(np.tile(weights, (8000, 1))), 2, replacement).numpy()
    counts = np.bincount(drawn[:, 0], minlength=4)
    np.testing.assert_allclose(counts / 8000, weights / 8, atol=0.02)
    assert (drawn[:, 0] == drawn[:, 1]).any() == replacement
    assert not (drawn == 1).any()


def test_bernoulli_is_1_with_each_probability() -> None:
    manual_seed(0)
    drawn = creation.bernoulli(Tensor(np.tile([0.0, 0.3, 1.0], (8000, 1)))).numpy()
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(0), [0, 0.3, 1], atol=0.02)
