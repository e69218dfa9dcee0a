"""The eager interpreter's own promises."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from cortex_core import nn
from cortex_core.modes import set_grad_enabled
from cortex_core.ops.pointwise import select
from cortex_core.tensor import Tensor


def test_a_field_of_a_record_is_read_as_it_lies() -> None:
    records = np.zeros(4, [("flag", "i1"), ("value", "f4")])
    records["value"] = [1, 2, 3, 4]
    np.testing.assert_array_equal(Tensor(records["value"])[1::2].numpy(), [2, 4])


@pytest.mark.parametrize("gradient", [np.ones((2, 3)), np.ones(1), np.ones(3, np.float32)])
def test_a_gradient_of_another_type_is_an_error(gradient: np.ndarray) -> None:
    y = Tensor(np.ones(3), requires_grad=True) * 2.0
    with pytest.raises((ValueError, TypeError), match=r"this tensor is float64\[3\], the gradient float"):
        y.backward(Tensor(gradient))


@pytest.mark.parametrize("other", ["int8", "int32", "uint8"])
def test_integers_of_two_widths_compare(other: str) -> None:
    places, labels = Tensor(np.array([1, 2, 100])), Tensor(np.array([1, 3, 100], other))
    assert (places == labels).tolist() == [True, False, True]
    assert (labels < places).tolist() == [False, False, False]
    with pytest.raises(TypeError, match="do not mix"):
        places + labels
    with pytest.raises(TypeError, match="do not mix"):  # no integer holds both
        Tensor(np.array([1], np.uint64)) == Tensor(np.array([1], np.int64))  # noqa: B015


def test_operators_of_truth() -> None:
    low, high = Tensor([1.0, 2.0]) < 1.5, Tensor([1, 2]) > 1
    assert (low & high).tolist() == [False, False]
    assert (low | high).tolist() == [True, True]
    assert (~low ^ high).tolist() == [False, False]
    assert (True & low).tolist() == [True, False]
    for wrong in (lambda x: x & 4, lambda x: 4 | x, lambda x: ~x, lambda x: x ^ x):
        with pytest.raises(TypeError, match="is of truth values, this is int"):
            wrong(Tensor([5, 6]))


def test_recording_is_switched_from_here_on() -> None:
    x = Tensor([1.0], requires_grad=True)
    set_grad_enabled(False)
    assert not (x * 2).requires_grad
    set_grad_enabled(True)
    with set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_leaves_are_pickled() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    copy = pickle.loads(pickle.dumps(model))
    assert [type(p) for p in copy.parameters()] == [nn.Parameter] * 4
    x = Tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(copy(x).numpy(), model(x).numpy())
    copy(x).sum().backward()
    assert copy[0].weight.grad is not None
    assert model[0].weight.grad is None
    with pytest.raises(RuntimeError, match="only leaves can be pickled"):
        pickle.dumps(model(x))


def test_arrays_in_a_list_keep_their_type() -> None:
    assert Tensor([np.ones(2), np.zeros(2)]).data.dtype == np.float64
    assert Tensor([np.float64(1.0)]).data.dtype == np.float64
    assert Tensor([1.0, 2.0]).data.dtype == np.float32
    assert Tensor([[Tensor([1.0]), Tensor([2.0])]]).shape == (1, 2, 1)


def test_numbers_of_others_are_not_changed_in_place() -> None:
    wide = Tensor([1.0])[0].expand(3, 3)
    with pytest.raises(RuntimeError, match=r"float32\[3, 3\], are not its own.*clone\(\)"):
        wide.add_(1.0)


def test_arrays_go_where_the_tensors_are() -> None:
    x = Tensor(np.ones((3, 2), np.float32)).to("numpy")
    for y in (
        x * np.ones(2, np.float32),
        nn.functional.layer_norm(x, (2,)),
        nn.Dropout(0.5)(x),
        select(x > 0, np.zeros(2, np.float32), x),
    ):
        assert y.backend == "numpy"
        assert (y + x).backend == "numpy"
    w = Tensor(np.ones(2, np.float32), requires_grad=True).to("numpy")
    (w * np.full(2, 3.0, np.float32)).sum().backward()
    if Tensor([1.0]).backend != "numpy":
        with pytest.raises(RuntimeError, match="operands on numpy and onednn"):
            x + Tensor(np.ones(2, np.float32))
