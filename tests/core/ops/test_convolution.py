"""The ops of convolution: derivatives against central differences and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ShapeError
from cortex_core.ops.convolution import conv, conv_transpose
from cortex_core.ops.reduce import sum as total
from cortex_core.tensor import Tensor
from tests.core.ops.gradients import check_gradients

RNG = np.random.default_rng(13)

# x, w, stride, padding, dilation, groups
GEOMETRIES: dict[str, tuple[Any, ...]] = {
    "line": ((2, 6, 2), (3, 2, 3), 2, 1, 1, 1),
    "image": ((1, 4, 5, 2), (2, 3, 2, 2), 1, 0, 1, 1),
    "asymmetric": ((1, 5, 4, 1), (2, 2, 1, 2), (2, 1), ((0, 2), (1, 0)), (1, 2), 1),
    "groups": ((1, 3, 4, 4), (2, 2, 2, 2), 1, 1, 1, 2),
    "depthwise": ((2, 3, 3, 2), (2, 2, 1, 4), 1, (1, 0), 1, 2),
    "one element": ((2, 2, 3, 2), (1, 1, 2, 3), 1, 0, 1, 1),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_first_and_second_derivatives(name: str) -> None:
    x, w, *fields = GEOMETRIES[name]
    check_gradients(lambda x, w: conv(x, w, *fields), RNG.standard_normal(x), RNG.standard_normal(w))


@pytest.mark.parametrize("output_padding", [0, 1])
def test_derivatives_of_the_transpose(output_padding: int) -> None:
    x, w = RNG.standard_normal((1, 3, 2, 2)), RNG.standard_normal((2, 3, 1, 2))
    check_gradients(lambda x, w: conv_transpose(x, w, 2, (0, 1), output_padding=output_padding), x, w)


def test_the_transpose_is_the_adjoint() -> None:
    """<conv(x, w), y> = <x, conv_transpose(y, w)>"""
    fields = (2, 3), ((1, 0), (2, 1)), (1, 2), 2
    x, w = RNG.standard_normal((2, 7, 9, 4)), RNG.standard_normal((2, 3, 2, 6))
    forward = conv(Tensor(x), Tensor(w), *fields).data
    y = RNG.standard_normal(forward.shape)
    back = conv_transpose(Tensor(y), Tensor(w), *fields, output_padding=(0, 1)).data
    assert back.shape == x.shape
    np.testing.assert_allclose((forward * y).sum(), (x * back).sum(), rtol=1e-12)


def test_the_transpose_spreads_by_its_stride() -> None:
    x, w = np.array([1.0, 2.0]).reshape(1, 2, 1), np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)
    y = conv_transpose(Tensor(x), Tensor(w), 2).data
    assert y.ravel().tolist() == [1, 10, 102, 20, 200]


def test_arguments_that_do_not_fit_the_axes_are_refused() -> None:
    x, w = Tensor(np.zeros((1, 4, 4, 1))), Tensor(np.zeros((2, 2, 1, 1)))
    with pytest.raises(ShapeError, match=r"conv: stride \(1, 1, 1\) is for 3 spatial axes, x has 2"):
        conv(x, w, (1, 1, 1))
    with pytest.raises(ShapeError, match="conv: padding"):
        conv(x, w, 1, ((1, 1, 1), (0, 0)))
    with pytest.raises(ShapeError, match="conv_transpose: w has shape"):
        conv_transpose(x, Tensor(np.zeros((2, 1, 1))))
    with pytest.raises(
        ShapeError, match=r"output_padding \(1, 2\) with stride \(2, 2\); it must be at least 0"
    ):
        conv_transpose(x, w, 2, output_padding=(1, 2))
    with pytest.raises(ShapeError, match=r"output_padding \(-1, 0\)"):
        conv_transpose(x, w, 2, output_padding=(-1, 0))
    with pytest.raises(
        ShapeError, match=r"padding \(\(3, 3\), \(0, 0\)\) leaves nothing of x \(1, 4, 4, 1\)"
    ):
        conv_transpose(x, w, 1, ((3, 3), (0, 0)))


def first(a: Any) -> Any:
    """Channels last to channels first, in PyTorch."""
    return a.movedim(-1, 1)


@pytest.mark.peers
@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [
    (1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 2), ((2, 1), (0, 1), (1, 2), 4),
])  # fmt: skip
@pytest.mark.parametrize("transposed", [False, True])
def test_derivatives_are_pytorchs(
    stride: Any, padding: Any, dilation: Any, groups: int, transposed: bool
) -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional.conv_transpose2d if transposed else torch.nn.functional.conv2d
    arrays = RNG.standard_normal((2, 7, 6, 4)), RNG.standard_normal((3, 2, 4 // groups, 4))
    x, w = (Tensor(a, requires_grad=True) for a in arrays)
    tx, tw = (torch.tensor(a, requires_grad=True) for a in arrays)
    ours = conv_transpose if transposed else conv
    y = ours(x, w, stride, padding, dilation, groups)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    z = f(first(tx), tw.movedim(-1, 0).movedim(-1, 1), **options)
    np.testing.assert_allclose(first(torch.tensor(y.data)), z.detach(), rtol=1e-10, atol=1e-10)

    total(y * y * y).backward(create_graph=True)
    gx, gw = torch.autograd.grad((z * z * z).sum(), (tx, tw), create_graph=True)
    assert x.grad is not None
    assert w.grad is not None
    np.testing.assert_allclose(x.grad.data, gx.detach(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(w.grad.data, gw.detach(), rtol=1e-9, atol=1e-9)

    penalty = total(x.grad * x.grad) + total(w.grad * w.grad)
    x.grad = w.grad = None
    penalty.backward()
    hx, hw = torch.autograd.grad((gx * gx).sum() + (gw * gw).sum(), (tx, tw))
    np.testing.assert_allclose(x.grad.data, hx, rtol=1e-8, atol=1e-6)
    np.testing.assert_allclose(w.grad.data, hw, rtol=1e-8, atol=1e-6)
