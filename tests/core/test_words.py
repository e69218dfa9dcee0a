"""PyTorch's words for Tensors, as its documentation has them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import BackendError, DTypeError
from cortex_core.generator import manual_seed
from cortex_core.tensor import Tensor
from cortex_core.tracing import trace

X = Tensor(np.arange(6.0).reshape(2, 3))


def test_what_it_is() -> None:
    assert (X.numel(), X.nelement(), X.dim(), X.element_size()) == (6, 6, 2, 8)
    assert X.is_floating_point()
    assert not Tensor([1]).is_floating_point()
    assert X.device == "cpu"
    assert X.cpu() is X


def test_contiguous_is_itself_or_a_copy_in_row_major_order() -> None:
    assert X.contiguous() is X
    for view in (X.t(), X[:, ::2], X[0, ::2]):
        made = view.contiguous()
        assert made.numpy().flags.c_contiguous
        np.testing.assert_array_equal(made.numpy(), view.numpy())
    w = Tensor(np.ones((2, 3)), requires_grad=True)
    (w.t().contiguous() * Tensor(X.numpy().T)).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), X.numpy())


def test_to_takes_types_and_places() -> None:
    assert X.to(dtype="float32").dtype.name == "float32"
    assert X.to("cpu", "int64").dtype.name == "int64"
    assert X.to(device="cpu", dtype="float16").dtype.name == "float16"
    assert X.to(Tensor([1])).dtype.name == "int64"
    assert X.to(device="numpy").backend == "numpy"
    with pytest.raises(BackendError, match=r"unknown backend 'cuda'; known are .*numpy"):
        X.to(device="cuda")
    for nothing in (lambda: X.to(None), lambda: X.to(), lambda: X.to(dtype=None)):
        with pytest.raises(TypeError, match="names no data type and no backend"):
            nothing()


def test_where_is_a_method_of_what_stands_where_it_holds() -> None:
    np.testing.assert_array_equal(X.where(X > 2, -1.0).numpy(), [[-1, -1, -1], [3, 4, 5]])


def test_new_tensors_have_its_type() -> None:
    assert X.new_zeros(2, 1).tolist() == [[0.0], [0.0]]
    assert X.new_ones((2,)).tolist() == [1.0, 1.0]
    assert X.new_full((2,), 3).tolist() == [3.0, 3.0]
    assert X.new_tensor([1, 2]).tolist() == [1.0, 2.0]
    made = (X.new_zeros(1), X.new_ones(1), X.new_full((1,), 3), X.new_tensor([1]))
    assert {x.dtype.name for x in made} == {"float64"}
    assert X.new_zeros(1, dtype="int8").dtype.name == "int8"


def test_code_that_asks_for_places_and_sizes_can_be_traced() -> None:
    def forward(x: Any) -> Any:
        state = x.new_zeros(x.shape[0], 1).to(x.device)
        flat = x.view(x.shape[0], -1).contiguous().cpu()
        return flat.where(flat > 0, state).to("cpu", dtype="float64") * x.dim() / x.numel()

    x = Tensor(np.arange(-3.0, 3.0).reshape(1, 2, 3))
    np.testing.assert_array_equal(trace(forward, x)(x).numpy(), forward(x).numpy())


def test_random_numbers_in_place() -> None:
    manual_seed(0)
    x = Tensor(np.empty(4000))
    assert x.normal_(3.0, 2.0) is x
    assert abs(x.mean().item() - 3) < 0.2
    assert abs(x.std().item() - 2) < 0.2
    x.uniform_(2.0, 4.0)
    assert 2 <= x.min().item() < 2.1 < 3.9 < x.max().item() <= 4


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("masked_fill_", ([True, False, True], 7.0), [7, 2, 7]),
        ("scatter_", (0, [2, 0], Tensor(np.array([8.0, 9.0]))), [9, 2, 8]),
        ("scatter_add_", (0, [2, 2], Tensor(np.array([8.0, 9.0]))), [1, 2, 20]),
        ("index_fill_", (0, [1], 5.0), [1, 5, 3]),
        ("index_add_", (0, [1], Tensor(np.array([5.0]))), [1, 7, 3]),
    ],
)
def test_changes_in_place(name: str, arguments: tuple[Any, ...], expected: list[float]) -> None:
    x = Tensor(np.array([1.0, 2.0, 3.0]))
    numbers = x.numpy()
    given = [np.array(a) if isinstance(a, list) else a for a in arguments]
    assert getattr(x, name)(*given) is x
    np.testing.assert_array_equal(numbers, expected)


def test_detach_in_place_forgets_and_what_was_made_of_it_does_not() -> None:
    w = Tensor([3.0], requires_grad=True)
    hidden = w * w
    before = hidden * 2
    assert hidden.detach_() is hidden
    assert hidden.is_leaf
    assert not hidden.requires_grad
    assert not (hidden * 2).requires_grad
    before.backward()
    assert w.grad is not None
    assert w.grad.tolist() == [12.0]
    assert not w.detach_().requires_grad


def test_python_tells_the_name_that_was_meant() -> None:
    """By itself where a traceback is printed, for nothing stands in its way: `__getattr__` would cost each
    `np.asarray(x)` the time of two unknown names.
    """
    code = "import cortex; cortex.zeros(2).sofmax"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    assert "Did you mean: 'softmax'?" in printed
    assert not hasattr(Tensor, "__getattr__")


def test_none_is_not_compared() -> None:
    with pytest.raises(DTypeError, match="`x is None`"):
        X == None  # noqa: B015, E711
