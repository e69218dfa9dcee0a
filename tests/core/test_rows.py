"""Gradients of rows: the numbers of the dense ones, used as rows where that changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import GradientError
from cortex_core import nn, optim
from cortex_core.ops.indexing import gather
from cortex_core.optim import Optimizer
from cortex_core.rows import Rows
from cortex_core.tensor import Tensor

IDS = [np.array([[1, 2, 2], [5, 1, 1]]), np.array([[0, 5, 7], [7, 7, 7]]), np.array([[1, 1, 1], [3, 0, 2]])]

MAKERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "decay": lambda p: optim.SGD(p, lr=0.1, weight_decay=0.1),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1),
    "adagrad, from": lambda p: optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1),
    "adam": lambda p: optim.Adam(p, lr=0.1),
}


def table(dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(0).normal(size=(8, 3)).astype(dtype)


def loss(x: Any) -> Any:
    return (x**2).sum() + (x**3).sum()


def trained(make: Callable[[Any], Optimizer], dense: bool) -> np.ndarray:
    weight = Tensor(table(), requires_grad=True)
    optimizer = make([weight])
    for ids in IDS:
        optimizer.zero_grad()
        loss(gather(weight, Tensor(ids))).backward()
        assert isinstance(weight.grad, Rows)
        if dense:
            weight.grad = Tensor(weight.grad.numpy().copy())
        optimizer.step()
    return weight.numpy()


@pytest.mark.parametrize("name", MAKERS)
def test_a_step_by_rows_is_a_dense_step(name: str) -> None:
    np.testing.assert_array_equal(trained(MAKERS[name], False), trained(MAKERS[name], True))


def test_the_rows_add_up_to_the_dense_gradient() -> None:
    weight = Tensor(table(), requires_grad=True)
    ids = np.array([1, 4, 1, -3, 99])  # what is out of range takes the nearest row
    (gather(weight, Tensor(ids)) * Tensor(np.arange(15.0).reshape(5, 3))).sum().backward()
    expected = np.zeros((8, 3))
    np.add.at(expected, np.clip(ids, 0, 7), np.arange(15.0).reshape(5, 3))
    assert isinstance(weight.grad, Rows)
    np.testing.assert_array_equal(weight.grad.numpy(), expected)


def test_rows_accumulate_as_rows() -> None:
    weight = Tensor(table(), requires_grad=True)
    expected = np.zeros((8, 3))
    for ids in IDS:
        gather(weight, Tensor(ids)).sum().backward()
        np.add.at(expected, ids, 1.0)
    assert isinstance(weight.grad, Rows)
    ids, values = weight.grad.coalesced()
    np.testing.assert_array_equal(ids, [0, 1, 2, 3, 5, 7])
    np.testing.assert_array_equal(values, expected[ids])


def test_looking_at_a_gradient_changes_no_step_and_changing_it_does() -> None:
    weight = Tensor(table(), requires_grad=True)
    gather(weight, Tensor(IDS[0])).sum().backward()
    assert isinstance(weight.grad, Rows)
    str(weight.grad)
    weight.grad.mul_(2.0)
    before = weight.numpy().copy()
    optim.SGD([weight], lr=0.1).step()
    expected = before - 0.2 * np.add.reduce([np.eye(8)[i] for i in IDS[0].reshape(-1)])[:, None]
    np.testing.assert_allclose(weight.numpy(), expected)


def test_clipping_reaches_the_rows() -> None:
    weight = Tensor(table(), requires_grad=True)
    loss(gather(weight, Tensor(IDS[0]))).backward()
    before = weight.numpy().copy()
    optim.clip_grad_norm_([weight], 0.5)
    optim.SGD([weight], lr=1.0).step()
    np.testing.assert_allclose(np.linalg.norm(before - weight.numpy()), 0.5, rtol=1e-5)


def test_lazy_adam_leaves_other_rows_alone() -> None:
    weight = Tensor(table(), requires_grad=True)
    optimizer = optim.Adam([weight], lr=0.1, lazy=True)
    for ids in IDS[:2]:
        optimizer.zero_grad()
        before = weight.numpy().copy()
        loss(gather(weight, Tensor(ids))).backward()
        optimizer.step()
        moved = np.flatnonzero((before != weight.numpy()).any(axis=1))
        np.testing.assert_array_equal(moved, np.unique(ids))


def test_a_tied_table_has_a_dense_gradient() -> None:
    weight = Tensor(table(), requires_grad=True)
    hidden = gather(weight, Tensor(IDS[0][0]))
    (hidden @ weight.T).sum().backward()
    assert not isinstance(weight.grad, Rows)


def test_a_gradient_that_is_differentiated_again_is_no_gradient_of_rows() -> None:
    weight = Tensor(table(), requires_grad=True)
    loss(gather(weight, Tensor(IDS[0]))).backward(create_graph=True)
    assert not isinstance(weight.grad, Rows)
    assert weight.grad.requires_grad


@pytest.mark.parametrize("change", ["in place", "through NumPy", "another array"])
def test_a_gradient_that_is_changed_beyond_its_rows_counts_as_a_whole(change: str) -> None:
    weight = Tensor(table(), requires_grad=True)
    loss(gather(weight, Tensor(IDS[0]))).backward()
    expected = weight.numpy() - 0.1 * (weight.grad.numpy() + 1.0)
    if change == "in place":
        weight.grad.add_(1.0)
    elif change == "through NumPy":
        weight.grad.numpy()[...] += 1.0
    else:
        weight.grad.data = weight.grad.data + 1.0
    optim.SGD([weight], lr=0.1).step()
    np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-15)


def test_ids_that_change_before_the_gradient_are_noticed() -> None:
    weight, ids = Tensor(table(), requires_grad=True), Tensor(np.array([1, 2]))
    y = gather(weight, ids)
    ids.add_(1)
    with pytest.raises(GradientError, match=r"changed in place at .*test_rows"):
        y.sum().backward()


def test_a_copy_of_rows_is_dense() -> None:
    weight = Tensor(table(), requires_grad=True)
    gather(weight, Tensor(IDS[0])).sum().backward()
    copied = copy.deepcopy(weight.grad)
    assert not copied.is_sparse
    np.testing.assert_array_equal(copied.numpy(), weight.grad.numpy())


@pytest.mark.peers
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "SparseAdam"])
def test_pytorch_takes_the_same_steps(name: str) -> None:
    torch = pytest.importorskip("torch")

    torch.sparse.check_sparse_tensor_invariants.enable()  # it warns where one does not choose
    theirs = torch.nn.Embedding(8, 3, sparse=True, dtype=torch.float64)
    ours = nn.Embedding(8, 3, dtype="float64", sparse=True)
    theirs.weight.data = torch.tensor(table())
    ours.weight.data[...] = table()
    # (PyTorch adds epsilon to another root in SparseAdam than in Adam.)
    theirs_also, ours_also = (
        ({"eps": 1e-15}, {"eps": 1e-15, "lazy": True}) if name == "SparseAdam" else ({}, {})
    )
    their_optimizer = getattr(torch.optim, name)(theirs.parameters(), lr=0.1, **theirs_also)
    make: Any = {"SGD": optim.SGD, "Adagrad": optim.Adagrad, "SparseAdam": optim.Adam}[name]
    our_optimizer = make(list(ours.parameters()), lr=0.1, **ours_also)
    for ids in IDS * 3:
        their_optimizer.zero_grad()
        our_optimizer.zero_grad()
        loss(theirs(torch.tensor(ids))).backward()
        loss(ours(Tensor(ids))).backward()
        their_optimizer.step()
        our_optimizer.step()
    np.testing.assert_allclose(ours.weight.numpy(), theirs.weight.detach().numpy(), rtol=1e-10)
