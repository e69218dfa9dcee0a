"""Clipping of gradients: by hand, and against PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, GradientError
from cortex_core.optim import clip_grad_norm_, clip_grad_value_
from cortex_core.tensor import Tensor


def parameters(*gradients: Any, dtype: str = "float64") -> list[Tensor]:
    made = []
    for g in gradients:
        p = Tensor(np.zeros(np.shape(g), dtype), requires_grad=True)
        p.grad = Tensor(np.array(g, dtype))
        made.append(p)
    return made


def some(dtype: str = "float64") -> list[Tensor]:
    return parameters(np.sin(np.arange(12)).reshape(3, 4), np.cos(np.arange(5)), 0.5, dtype=dtype)


@pytest.mark.peers
@pytest.mark.parametrize("max_norm", [0.0, 0.3, 2.0, 100.0])
@pytest.mark.parametrize("norm_type", [1, 2.0, 3.5, math.inf])
def test_norms_are_pytorchs(norm_type: float, max_norm: float) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = some(), [torch.nn.Parameter(torch.tensor(p.numpy())) for p in some()]
    for p, q in zip(ours, theirs):
        q.grad = torch.tensor(p.grad.numpy().copy())
    norm = clip_grad_norm_(ours, max_norm, norm_type)
    known = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert norm.item() == pytest.approx(known.item(), rel=1e-12)
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_three_and_four_are_five(dtype: str) -> None:
    ps = parameters([3.0], [[4.0]], dtype=dtype)
    norm = clip_grad_norm_((p for p in ps), 1.0)
    assert norm.item() == 5.0
    assert str(norm.dtype) == dtype
    assert [p.grad.item() for p in ps] == pytest.approx([0.6, 0.8], rel=1e-6)


def test_half_precision_gradients_are_scaled_not_lost() -> None:
    """The sum of their squares, 100000, is no float16."""
    (p,) = parameters(np.full(1000, 10.0), dtype="float16")
    assert clip_grad_norm_([p], 1.0).item() == pytest.approx(np.sqrt(1e5), rel=1e-3)
    np.testing.assert_allclose(p.grad.numpy(), np.sqrt(1e-3), rtol=2e-3)


def test_small_gradients_keep_their_bits() -> None:
    ps = some()
    before = [p.grad.numpy().copy() for p in ps]
    clip_grad_norm_(ps, 100.0)
    for p, g in zip(ps, before):
        np.testing.assert_array_equal(p.grad.numpy(), g)


def test_gradients_are_changed_in_their_own_memory() -> None:
    ps = some()
    memory = [p.grad.numpy() for p in ps]
    clip_grad_norm_(ps, 0.1)
    clip_grad_value_(ps, 0.01)
    for p, array in zip(ps, memory):
        assert np.shares_memory(p.grad.numpy(), array)
        assert abs(array).max() <= 0.01


def test_values_are_cut() -> None:
    (p,) = parameters([-3.0, 0.5, 2.0, math.nan, math.inf])
    clip_grad_value_(p, 1.0)
    np.testing.assert_array_equal(p.grad.numpy(), [-1.0, 0.5, 1.0, math.nan, 1.0])


def test_parameters_without_gradients_are_left_out() -> None:
    p = Tensor([1.0], requires_grad=True)
    assert clip_grad_norm_([p], 1.0).item() == 0.0
    clip_grad_value_([p], 1.0)
    assert p.grad is None


def test_a_norm_that_is_not_finite() -> None:
    ps = parameters([math.inf], [1.0])
    with pytest.raises(GradientError, match="norm of the gradients is inf"):
        clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)
    assert ps[1].grad.item() == 1.0
    assert clip_grad_norm_(ps, 1.0).item() == math.inf
    assert ps[1].grad.item() == 0.0
    assert math.isnan(ps[0].grad.item())


@pytest.mark.parametrize("bad", [-1.0, math.nan])
def test_limits_are_not_negative(bad: float) -> None:
    with pytest.raises(ArgumentError, match="max_norm"):
        clip_grad_norm_(some(), bad)
    with pytest.raises(ArgumentError, match="norm_type"):
        clip_grad_norm_(some(), 1.0, bad)
    with pytest.raises(ArgumentError, match="clip_value"):
        clip_grad_value_(some(), bad)
