"""Pointwise ops over arrays: literals, lists, gradients that are literals."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.errors import DTypeError
from cortex_compute.types import TensorType, float32
from cortex_core.graph.value import input_value
from cortex_core.ops import formulas, pointwise, reduce
from cortex_core.tensor import Tensor

BYTES = np.array([1, 2, 200], np.uint8)


@pytest.mark.parametrize("number", [300, -1, 2**70])
def test_an_integer_that_would_wrap_around_is_an_error(number: int) -> None:
    for op in (pointwise.add, pointwise.less, pointwise.maximum):
        with pytest.raises(DTypeError, match=f"{number} is no uint8"):
            op(Tensor(BYTES), number)
    with pytest.raises(DTypeError, match="cast the array"):
        pointwise.select(Tensor(BYTES > 1), Tensor(BYTES), number)


def test_an_integer_that_fits_takes_the_type_of_the_array() -> None:
    np.testing.assert_array_equal((Tensor(BYTES) < 200).numpy(), BYTES < 200)
    np.testing.assert_array_equal((Tensor(BYTES) + 55).numpy(), BYTES + np.uint8(55))


@pytest.mark.parametrize("zero", [0, 0.0])
def test_the_gradient_of_the_power_0(zero: float) -> None:
    x = Tensor(np.arange(3.0), requires_grad=True)
    reduce.sum(pointwise.pow(x, zero) * x).backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), np.ones(3))
    alone = Tensor(np.arange(3.0), requires_grad=True)
    reduce.sum(pointwise.pow(alone, zero)).backward()
    assert alone.grad is None


def test_a_list_of_numbers_has_one_type_in_both_interpreters() -> None:
    assert pointwise.add(Tensor(np.ones(2, np.float32)), [1.0, 2.0]).dtype is float32
    assert pointwise.add(input_value("x", TensorType((2,))), [1.0, 2.0]).dtype is float32


def test_numbers_alone_are_tensors_too() -> None:
    assert pointwise.exp(0.0).tolist() == 1.0
    assert pointwise.add(1, 2).tolist() == 3
    assert formulas.square(1.5).tolist() == 2.25
    assert pointwise.select(True, 1.5, 2.5).tolist() == 1.5
